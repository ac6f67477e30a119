//! Batch norm of one channel: its n values, wherever in the batch and in space
//! they lie, are a list. Everything here is a formula over such lists.
//!
//! Words: x the input, g = ∂loss/∂output, w the weight (1 if there is none), b
//! the bias (0 if there is none), μ and σ² the mean and the variance that
//! normalise, s = 1/√(σ² + eps) the inverse deviation, x̂ = (x − μ)·s.

pub(crate) mod double_backward;

use super::recipe::{Context, Recipe};

/// Σ values, by halves down to eights: a term is rounded about log₂ n times on its
/// way into the total instead of n times, and one infinity stays an infinity.
pub(crate) fn sum(values: &[f64]) -> f64 {
    if values.len() <= 8 {
        return values.iter().sum();
    }
    let (left, right) = values.split_at(values.len() / 2);
    sum(left) + sum(right)
}

/// Σ aᵢ·bᵢ.
pub(crate) fn dot(recipe: &dyn Recipe, a: &[f64], b: &[f64], cx: &Context) -> f64 {
    let products: Vec<f64> = a.iter().zip(b).map(|(a, b)| a * b).collect();
    recipe.sum(&products, cx)
}

/// The statistics that normalise a channel. The mean is `mean + mean_rest`, two
/// numbers that are never added: next to a mean of 10¹² an f64 has no room for
/// the digits that matter to a deviation of 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Statistics {
    pub mean: f64,
    pub mean_rest: f64,
    pub var_biased: f64,
}

/// μ = Σx/n and σ² = Σ(x − μ)²/n, in two passes: E[x²] − E[x]² would cancel when
/// the mean is large.
pub(crate) fn batch_statistics(recipe: &dyn Recipe, x: &[f64], cx: &Context) -> Statistics {
    let (mean, mean_rest) = recipe.mean(x, cx);
    Statistics { mean, mean_rest, var_biased: recipe.var_biased(x, mean, mean_rest, cx) }
}

/// What the first mean m₀ = Σx/n is wrong by is the mean of x − m₀, and these
/// differences are small and nearly exact.
pub(crate) fn mean(recipe: &dyn Recipe, x: &[f64], cx: &Context) -> (f64, f64) {
    let n = x.len() as f64;
    let mean = recipe.sum(x, cx) / n;
    if !mean.is_finite() {
        // The differences would turn an infinite mean into NaN.
        return (mean, 0.0);
    }
    let differences: Vec<f64> = x.iter().map(|x| x - mean).collect();
    (mean, recipe.sum(&differences, cx) / n)
}

/// Σ(x − μ)²/n. Without a finite mean there is no variance.
pub(crate) fn var_biased(recipe: &dyn Recipe, x: &[f64], mean: f64, mean_rest: f64, cx: &Context) -> f64 {
    if !mean.is_finite() {
        return f64::NAN;
    }
    let deviations: Vec<f64> = x.iter().map(|x| (x - mean) - mean_rest).collect();
    recipe.dot(&deviations, &deviations, cx) / x.len() as f64
}

/// x̂ = (x − μ)·s.
pub(crate) fn normalise(recipe: &dyn Recipe, x: &[f64], statistics: &Statistics, cx: &Context) -> Vec<f64> {
    let s = recipe.invstd(statistics, cx);
    x.iter().map(|x| ((x - statistics.mean) - statistics.mean_rest) * s).collect()
}

/// y = x̂·w + b.
pub(crate) fn affine(x_hat: &[f64], weight: Option<f64>, bias: Option<f64>) -> Vec<f64> {
    let (weight, bias) = (weight.unwrap_or(1.0), bias.unwrap_or(0.0));
    x_hat.iter().map(|x_hat| x_hat * weight + bias).collect()
}

/// What a backward pass needs to know of the forward pass of its channel.
pub(crate) struct Channel {
    /// The input.
    pub x: Vec<f64>,
    /// (x − μ)·s.
    pub x_hat: Vec<f64>,
    /// μ and σ², of the batch or the running ones.
    pub statistics: Statistics,
    /// s.
    pub invstd: f64,
    /// w, where the layer has a weight.
    pub weight: Option<f64>,
    /// b, where the layer has a bias.
    pub bias: Option<f64>,
}

/// The first gradients of one channel.
pub(crate) struct Gradients {
    pub input: Vec<f64>,
    pub weight: f64,
    pub bias: f64,
}

/// The cotangents u, v, t of one channel's first gradients.
pub(crate) struct Cotangents {
    pub input: Vec<f64>,
    pub weight: f64,
    pub bias: f64,
}

/// The gradients of S = Σ u·grad_input + v·grad_weight + t·grad_bias.
pub(crate) struct SecondGradients {
    pub grad_output: Vec<f64>,
    pub input: Vec<f64>,
    pub weight: f64,
}

impl Channel {
    /// w.
    pub fn weight_or_one(&self) -> f64 {
        self.weight.unwrap_or(1.0)
    }

    /// n.
    pub fn n(&self) -> f64 {
        self.x_hat.len() as f64
    }
}

/// How a gradient a = ∂loss/∂x̂ reaches x.
///
/// With fixed statistics ∂x̂ᵢ/∂xⱼ = s·δᵢⱼ. With the batch's own, ∂μ/∂xⱼ = 1/n and
/// ∂s/∂xⱼ = −s²·x̂ⱼ/n, hence ∂x̂ᵢ/∂xⱼ = s·(δᵢⱼ − 1/n − x̂ᵢ·x̂ⱼ/n), and
/// Σᵢ aᵢ·∂x̂ᵢ/∂xⱼ = s·(aⱼ − Σa/n − x̂ⱼ·Σ(a·x̂)/n).
///
/// The matrix is symmetric, so the same map also takes a change of x to the
/// change of x̂.
pub(crate) fn through_normalisation(
    recipe: &dyn Recipe,
    channel: &Channel,
    a: &[f64],
    cx: &Context,
) -> Vec<f64> {
    let s = channel.invstd;
    if !cx.own_statistics {
        return a.iter().map(|a| a * s).collect();
    }
    let mean = recipe.sum(a, cx) / channel.n();
    let slope = recipe.dot(a, &channel.x_hat, cx) / channel.n();
    a.iter().zip(&channel.x_hat).map(|(a, x_hat)| s * (a - mean - x_hat * slope)).collect()
}

/// ∂loss/∂x̂ = w·g taken through the normalisation.
pub(crate) fn grad_input(recipe: &dyn Recipe, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
    let weight = channel.weight_or_one();
    recipe.through_normalisation(channel, g, cx).iter().map(|gradient| gradient * weight).collect()
}

#[cfg(test)]
mod tests;
