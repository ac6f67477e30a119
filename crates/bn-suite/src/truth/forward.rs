//! The forward pass of one channel.
//!
//! μ = Σx/n,  v = Σ(x − μ)²/n,  σ = √(v + eps),  x̂ = (x − μ)/σ,  y = w·x̂ + b
//!
//! In training μ and v are the batch's; in evaluation they are the running
//! statistics. The quotient by σ, rather than a product with 1/σ, keeps exact
//! what is exact, so that a tie of the final rounding is seen as one.

use crate::allowance::{Precision, Tracked, sum};

/// Mean and biased variance of one channel.
#[derive(Clone, Debug)]
pub(super) struct Statistics {
    pub mean: Tracked,
    pub var_biased: Tracked,
}

/// What a backward pass needs of the forward pass that it belongs to, for one channel.
pub(super) struct Normalised {
    /// σ = √(v + eps).
    pub deviation: Tracked,
    /// x̂.
    pub values: Vec<Tracked>,
}

/// μ = Σx/n and v = Σ(x − μ)²/n.
///
/// The bound of v carries the mean's error δ to first order, 2·σ·δ, although for
/// the two-pass form that term cancels (Σ(x − μ) = 0): Welford's update and merged
/// partial variances are right too, and in them it does not cancel (Chan, Golub,
/// LeVeque 1983).
pub(super) fn batch_statistics(values: &[f64], precision: Precision) -> Statistics {
    let arithmetic = precision.arithmetic;
    let exact: Vec<Tracked> = values.iter().map(|&x| Tracked::exact(x, arithmetic)).collect();
    let n = Tracked::exact(values.len() as f64, arithmetic);
    let mean = (&sum(exact.iter(), arithmetic) / &n).kept_in(precision.statistics);
    let squares: Vec<Tracked> = exact
        .iter()
        .map(|x| {
            let distance = x - &mean;
            &distance * &distance
        })
        .collect();
    let var_biased = &sum(squares.iter(), arithmetic) / &n;
    Statistics { mean, var_biased }
}

/// v·n/(n − 1); NaN for n = 1, where it is 0/0.
pub(super) fn unbiased(var_biased: &Tracked, n: usize) -> Tracked {
    let arithmetic = var_biased.arithmetic;
    &(var_biased * &Tracked::exact(n as f64, arithmetic)) / &Tracked::exact(n as f64 - 1.0, arithmetic)
}

/// σ = √(v + eps), kept as an engine keeps it (or its inverse).
pub(super) fn deviation(var_biased: &Tracked, eps: f64, precision: Precision) -> Tracked {
    (var_biased + &Tracked::setting(eps, precision.arithmetic)).sqrt().kept_in(precision.statistics)
}

/// x̂ = (x − μ)/σ.
pub(super) fn normalise(values: &[f64], statistics: &Statistics, deviation: Tracked) -> Normalised {
    let arithmetic = deviation.arithmetic;
    let values =
        values.iter().map(|&x| &(&Tracked::exact(x, arithmetic) - &statistics.mean) / &deviation).collect();
    Normalised { deviation, values }
}

/// y = w·x̂ + b, for an engine that computes it so, or folded as x·α + β with
/// α = w/σ and β = b − μ·α. The folded form rounds xα, μα and β, whose sizes may
/// exceed y's by far: u·(|xα| + 2|μα| + |b|).
pub(super) fn affine(
    values: &[f64],
    statistics: &Statistics,
    normalised: &Normalised,
    weight: Option<&Tracked>,
    bias: Option<&Tracked>,
) -> Vec<Tracked> {
    let scale = weight.map_or(1.0, Tracked::magnitude) / normalised.deviation.approximate;
    let shift = bias.map_or(0.0, Tracked::magnitude);
    let constant = 2.0 * statistics.mean.magnitude() * scale + shift;
    values
        .iter()
        .zip(&normalised.values)
        .map(|(x, x_hat)| {
            let scaled = weight.map_or_else(|| x_hat.clone(), |w| x_hat * w);
            let y = bias.map_or_else(|| scaled.clone(), |b| &scaled + b);
            let folding = y.arithmetic.unit_roundoff() * (x.abs() * scale + constant);
            Tracked::new(y.value, y.error + folding, y.arithmetic)
        })
        .collect()
}

/// running ← (1 − m)·running + m·batch.
pub(super) fn update_running(running: &Tracked, batch: &Tracked, momentum: f64) -> Tracked {
    let arithmetic = running.arithmetic;
    let momentum = Tracked::setting(momentum, arithmetic);
    let keep = &Tracked::exact(1.0, arithmetic) - &momentum;
    &(&keep * running) + &(&momentum * batch)
}
