//! The forward pass of one channel.
//!
//! μ = Σx/n,  v = Σ(x − μ)²/n,  σ = √(v + eps),  x̂ = (x − μ)/σ,  y = w·x̂ + b
//!
//! In training μ and v are the batch's; in evaluation they are the running
//! statistics. The quotient by σ, rather than a product with 1/σ, keeps exact
//! what is exact, so that a tie of the final rounding is seen as one.

use super::channels::Channel;
use crate::allowance::{Tracked, chain, sum};
use crate::model::Precision;

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
    /// x̂, of the distinct values.
    pub values: Vec<Tracked>,
    /// |x| + |μ|, which rounding is relative to where x is scaled before μ is subtracted.
    pub sizes: Vec<f64>,
    /// In which arithmetic.
    pub precision: Precision,
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
        let moments = precision.moments;
        let radicand = &var.clone().computed_in(moments) + &Tracked::setting(eps, moments);
        let sigma = radicand.sqrt();
        let inverse = &Tracked::exact(1.0, moments).value / &sigma.value;
        if radicand.error == f64::INFINITY {
            let inverse = Tracked::new(inverse, f64::INFINITY, moments);
            return Deviation { sigma, inverse };
        }
        // No engine's variance is negative, so that its radicand is at least eps, held in its arithmetic.
        let least = (radicand.approximate - radicand.error).max(eps * (1.0 - moments.unit_roundoff()));
        let most = radicand.approximate + radicand.error;
        let exact = 1.0 / radicand.approximate.sqrt();
        let from_var = (1.0 / least.sqrt() - exact).max(exact - 1.0 / most.sqrt());
        // Root and quotient are rounded, or the last of Newton's steps to the inverse root is.
        let rounding = 4.0 * moments.unit_roundoff() * (exact + from_var);
        let inverse = Tracked::new(inverse, from_var + rounding, moments).kept_in(precision.statistics);
        Deviation { sigma, inverse }
    }

    /// a/σ: the exact quotient, which keeps exact what is exact; its bound is that
    /// of a·(1/σ).
    pub fn divide(&self, a: &Tracked) -> Tracked {
        let bound = a * &self.inverse;
        Tracked::new(&a.value / &self.sigma.value, bound.error, bound.arithmetic)
    }
}

/// μ = Σx/n and v = Σ(x − μ)²/n.
///
/// The bound of v carries the mean's error δ to first order, 2·σ·δ, although for
/// the two-pass form that term cancels (Σ(x − μ) = 0): Welford's update and merged
/// partial variances are right too, and in them it does not cancel (Chan, Golub,
/// LeVeque 1983).
pub(super) fn batch_statistics(channel: &Channel, precision: Precision) -> Statistics {
    let Precision { moments, sums, statistics, .. } = precision;
    let exact: Vec<Tracked> = channel.input.iter().map(|&x| Tracked::exact(x, sums)).collect();
    let n = Tracked::exact(channel.n() as f64, sums);
    let mean = (&sum(&exact, &channel.counts, sums) / &n).kept_in(statistics);
    let distances: Vec<Tracked> = exact.into_iter().map(|x| &x.computed_in(moments) - &mean).collect();
    let squares: Vec<Tracked> = distances.iter().map(|distance| distance * distance).collect();
    let var_biased = &sum(&squares, &channel.counts, sums).completed(moments) / &n;
    // A mean in two words is a number near the mean, and the mean of the distances from it.
    let spread: f64 =
        distances.iter().zip(&channel.counts).map(|(d, &count)| d.approximate.abs() * count as f64).sum();
    let rounding = moments.unit_roundoff() * spread / n.approximate;
    let mean = if sums.unit_roundoff() < moments.unit_roundoff() { mean.widened(rounding) } else { mean };
    // Who shifts by one of the values, or squares them in more than their precision, has
    // squares as large as (2·max|x|)²; around an infinite value there is ∞ − ∞ in them.
    let largest = channel.input.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
    let squares = n.approximate * (2.0 * largest).powi(2);
    let unpromised = largest.is_infinite() || squares > moments.max_finite();
    let var_biased = if unpromised { Tracked { error: f64::INFINITY, ..var_biased } } else { var_biased };
    Statistics { mean, var_biased }
}

/// v·n/(n − 1); NaN for n = 1, where it is 0/0.
pub(super) fn unbiased(var_biased: &Tracked, n: usize) -> Tracked {
    let arithmetic = var_biased.arithmetic;
    &(var_biased * &Tracked::exact(n as f64, arithmetic)) / &Tracked::exact(n as f64 - 1.0, arithmetic)
}

/// x̂ = (x − μ)/σ with the running statistics.
pub(super) fn normalise(
    channel: &Channel,
    statistics: &Statistics,
    deviation: Deviation,
    precision: Precision,
) -> Normalised {
    let Precision { elements, folded, .. } = precision;
    let (mean, inverse) = (&statistics.mean, deviation.inverse.magnitude());
    let kept = elements.unit_roundoff() + precision.statistics.unit_roundoff();
    let size = |x: &f64| x.abs() + mean.magnitude();
    let value = |x: &f64| {
        let distance = &Tracked::exact(*x, elements) - mean;
        // A mean in two words is subtracted in two operations.
        let twice = elements.unit_roundoff() * distance.approximate.abs();
        let x_hat =
            deviation.divide(&if precision.keeps_more() { distance.widened(twice) } else { distance });
        // Folded: x·(1/σ) − μ·(1/σ), with the product of the channel kept.
        let product = elements.unit_roundoff() * mean.magnitude();
        let folding = match inverse * size(x) > elements.max_finite() {
            true => f64::INFINITY,
            false => inverse * (kept * size(x) + product),
        };
        if folded { x_hat.widened(folding) } else { x_hat }
    };
    let values = channel.input.iter().map(value).collect();
    let sizes = channel.input.iter().map(size).collect();
    Normalised { deviation, values, sizes, precision }
}

/// x̂ = (x − μ)/σ with the batch's own statistics.
///
/// However badly mean and variance are known, an engine that normalises by its own
/// ends with Σx̂² ≤ n, so that no |x̂| exceeds √n; nor does the true one. The error
/// is therefore at most |x̂| + √n, with a little for the rounding of what Σx̂² ≤ n
/// takes for granted: all that is left where the offset swamps the deviation. An
/// engine whose statistics overflow is not bound by it.
pub(super) fn normalise_by_own(
    channel: &Channel,
    statistics: &Statistics,
    deviation: Deviation,
    precision: Precision,
) -> Normalised {
    let mut normalised = normalise(channel, statistics, deviation, precision);
    if statistics.mean.error.is_finite() && statistics.var_biased.error.is_finite() {
        let limit = (channel.n() as f64).sqrt() * 1.01;
        for x_hat in &mut normalised.values {
            x_hat.error = x_hat.error.min(x_hat.approximate.abs() + limit);
        }
    }
    normalised
}

/// y = w·x̂ + b, for an engine that computes it so, or folded as x·α + β with
/// α = w/σ and β = b − μ·α. That the folded form rounds xα and μα is in the bound of
/// x̂ already; it also keeps β, b in it, as it keeps other values of a channel.
pub(super) fn affine(
    normalised: &Normalised,
    weight: Option<&Tracked>,
    bias: Option<&Tracked>,
) -> Vec<Tracked> {
    let Precision { elements, statistics, folded, .. } = normalised.precision;
    let kept = elements.unit_roundoff() + statistics.unit_roundoff();
    let shift = kept * bias.map_or(0.0, Tracked::magnitude);
    let scale = weight.map_or(1.0, Tracked::magnitude) * normalised.deviation.inverse.magnitude();
    let affine = |(x_hat, size): (&Tracked, &f64)| {
        let scaled = weight.map_or_else(|| x_hat.clone(), |w| x_hat * w);
        let y = bias.map_or_else(|| scaled.clone(), |b| &scaled + b);
        // ∞·x − ∞·μ is NaN, or overflows.
        let overflows = scale * size > elements.max_finite();
        let y = if folded && scale.is_infinite() { Tracked { error: f64::INFINITY, ..y } } else { y };
        if folded { y.widened(if overflows { f64::INFINITY } else { shift }) } else { y }
    };
    normalised.values.iter().zip(&normalised.sizes).map(affine).collect()
}

/// running ← (1 − m)·running + m·batch, or running + m·(batch − running), which
/// rounds a difference that may be larger than what comes out.
///
/// The buffers are arrays of their own dtype, and an engine may update them by
/// arithmetic of that dtype: both products are then rounded to it.
pub(super) fn update_running(
    running: &Tracked,
    batch: &Tracked,
    momentum: f64,
    precision: Precision,
) -> Tracked {
    let Precision { moments, statistics: buffers, .. } = precision;
    let momentum = Tracked::setting(momentum, moments);
    let keep = &Tracked::exact(1.0, moments) - &momentum;
    let running = running.clone().computed_in(moments);
    let batch = batch.clone().kept_in(buffers).computed_in(moments);
    let blended = &(&keep * &running).kept_in(buffers) + &(&momentum * &batch).kept_in(buffers);
    let step = &momentum * &(&batch - &running).kept_in(buffers);
    let stepped = &running + &step.kept_in(buffers);
    if !blended.value.is_finite() && stepped.approximate.to_bits() != blended.approximate.to_bits() {
        // 0·∞ in the one form and not in the other: only that it is not finite is known.
        return Tracked { error: f64::INFINITY, ..blended };
    }
    let error = blended.error.max(stepped.error);
    Tracked { error, ..blended }
}

/// What summing g·x and subtracting μ·Σg costs above summing g·x̂, for an engine
/// that differentiates the folded form: (chain + 2)·u·Σ|g|·(|x| + |μ|)/σ.
pub(super) fn folded_dot(channel: &Channel, normalised: &Normalised) -> f64 {
    let Precision { sums, folded, .. } = normalised.precision;
    let total = folded_total(channel, normalised);
    match total > sums.max_finite() {
        _ if !folded || channel.n() == 0 => 0.0,
        true => f64::INFINITY,
        false => {
            let inverse = normalised.deviation.inverse.magnitude();
            (chain(channel.n()) + 2.0) * sums.unit_roundoff() * total * inverse
        }
    }
}

/// Whether the gradient of 1/σ may overflow, w·Σg·x, for an engine that goes the way
/// of the formulas, mean and variance having gradients of their own, times up to 1/σ³.
pub(super) fn product_overflows(channel: &Channel, normalised: &Normalised, weight: &Tracked) -> bool {
    let Precision { sums, folded, .. } = normalised.precision;
    let scale = weight.magnitude() * normalised.deviation.inverse.magnitude().max(1.0).powi(3);
    folded && scale * folded_total(channel, normalised) > sums.max_finite()
}

/// Σ|g|·(|x| + |μ|).
fn folded_total(channel: &Channel, normalised: &Normalised) -> f64 {
    let sizes = channel.grad_output.iter().zip(&normalised.sizes).zip(&channel.counts);
    // Where g is 0, so is the product, however large x is.
    sizes.map(|((g, size), &n)| if *g == 0.0 { 0.0 } else { g.abs() * size * n as f64 }).sum()
}
