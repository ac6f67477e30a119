//! The forward pass of one channel.
//!
//! μ = Σx/n,  v = Σ(x − μ)²/n,  σ = √(v + eps),  x̂ = (x − μ)/σ,  y = w·x̂ + b
//!
//! In training μ and v are the batch's; in evaluation they are the running
//! statistics. The quotient by σ, rather than a product with 1/σ, keeps exact
//! what is exact, so that a tie of the final rounding is seen as one.

use super::format::Format;
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
    pub deviation: Deviation,
    /// x̂.
    pub values: Vec<Tracked>,
}

/// σ = √(v + eps), and what an engine may have made of 1/σ.
///
/// σ's own bound is of no use below a quotient where v is known badly: σ ± e may
/// reach 0, while what an engine divides by is a root of something that is at
/// least eps. So the bound of 1/σ is taken from the ends of the interval of v.
pub(super) struct Deviation {
    sigma: Tracked,
    inverse: Tracked,
}

impl Deviation {
    /// From v (biased, or running) and eps, kept as an engine keeps it (or its inverse).
    pub fn new(var: &Tracked, eps: f64, precision: Precision) -> Self {
        let arithmetic = precision.arithmetic;
        let radicand = var + &Tracked::setting(eps, arithmetic);
        let sigma = radicand.sqrt();
        let inverse = &Tracked::exact(1.0, arithmetic).value / &sigma.value;
        // No engine's variance is negative, so that its radicand is at least eps, held in its arithmetic.
        let least = (radicand.approximate - radicand.error).max(eps * (1.0 - arithmetic.unit_roundoff()));
        let most = radicand.approximate + radicand.error;
        let exact = 1.0 / radicand.approximate.sqrt();
        let from_var = (1.0 / least.sqrt() - exact).max(exact - 1.0 / most.sqrt());
        // The root and the quotient are rounded.
        let rounding = 2.0 * arithmetic.unit_roundoff() * (exact + from_var);
        let inverse = Tracked::new(inverse, from_var + rounding, arithmetic).kept_in(precision.statistics);
        Deviation { sigma, inverse }
    }

    /// a/σ: the exact quotient, which keeps exact what is exact; its bound is that
    /// of a·(1/σ).
    pub fn divide(&self, a: &Tracked) -> Tracked {
        let bound = a * &self.inverse;
        Tracked::new(&a.value / &self.sigma.value, bound.error, bound.arithmetic)
    }

    /// The format in which the engine computes.
    pub fn arithmetic(&self) -> Format {
        self.inverse.arithmetic
    }
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

/// x̂ = (x − μ)/σ with the running statistics.
pub(super) fn normalise(values: &[f64], statistics: &Statistics, deviation: Deviation) -> Normalised {
    let arithmetic = deviation.arithmetic();
    let distance = |x: &f64| &Tracked::exact(*x, arithmetic) - &statistics.mean;
    let values = values.iter().map(|x| deviation.divide(&distance(x))).collect();
    Normalised { deviation, values }
}

/// x̂ = (x − μ)/σ with the batch's own statistics.
///
/// However badly mean and variance are known, an engine that normalises by its own
/// ends with Σx̂² ≤ n, so that no |x̂| exceeds √n; nor does the true one. The error
/// is therefore at most |x̂| + √n, with a little for the rounding of what Σx̂² ≤ n
/// takes for granted: all that is left where the offset swamps the deviation.
pub(super) fn normalise_by_own(values: &[f64], statistics: &Statistics, deviation: Deviation) -> Normalised {
    let limit = (values.len() as f64).sqrt() * 1.01;
    let mut normalised = normalise(values, statistics, deviation);
    for x_hat in &mut normalised.values {
        x_hat.error = x_hat.error.min(x_hat.approximate.abs() + limit);
    }
    normalised
}

/// y = w·x̂ + b, for an engine that computes it so, or folded as x·α + β with
/// α = w/σ and β = b − μ·α. The folded form rounds xα, μα and β, whose sizes may
/// exceed y's by far, and keeps α and β as it keeps other values of a channel, in
/// the statistics format: (u + u_statistics)·(|xα| + |μα| + |b|) + u·|μα|.
pub(super) fn affine(
    values: &[f64],
    statistics: &Statistics,
    normalised: &Normalised,
    weight: Option<&Tracked>,
    bias: Option<&Tracked>,
    precision: Precision,
) -> Vec<Tracked> {
    let scale = weight.map_or(1.0, Tracked::magnitude) * normalised.deviation.inverse.magnitude();
    let shift = bias.map_or(0.0, Tracked::magnitude);
    let product = statistics.mean.magnitude() * scale;
    let unit = normalised.deviation.arithmetic().unit_roundoff();
    let kept = unit + precision.statistics.unit_roundoff();
    values
        .iter()
        .zip(&normalised.values)
        .map(|(x, x_hat)| {
            let scaled = weight.map_or_else(|| x_hat.clone(), |w| x_hat * w);
            let y = bias.map_or_else(|| scaled.clone(), |b| &scaled + b);
            let folding = kept * (x.abs() * scale + product + shift) + unit * product;
            Tracked::new(y.value, y.error + folding, y.arithmetic)
        })
        .collect()
}

/// running ← (1 − m)·running + m·batch.
///
/// The buffers are arrays of their own dtype, and an engine may update them by
/// arithmetic of that dtype: both products are then rounded to it.
pub(super) fn update_running(running: &Tracked, batch: &Tracked, momentum: f64, buffers: Format) -> Tracked {
    let arithmetic = running.arithmetic;
    let momentum = Tracked::setting(momentum, arithmetic);
    let keep = &Tracked::exact(1.0, arithmetic) - &momentum;
    &(&keep * running).kept_in(buffers) + &(&momentum * &batch.clone().kept_in(buffers)).kept_in(buffers)
}
