//! The gradients of S = Σ u·grad_input + v·grad_weight + t·grad_bias.
//!
//! Let M be the map of `through_normalisation`, so that grad_input = w·M g.
//!
//! - grad_output: M is symmetric, so ∂S/∂g = w·M u + v·x̂ + t.
//! - weight: only grad_input contains w, so ∂S/∂w = Σ u·(M g).
//! - input: x enters through s and x̂. Written with them,
//!   S = w·s·Q + v·Σ(g·x̂) + t·Σg, where
//!   Q = Σ(u·g) − Σu·Σg/n − Σ(u·x̂)·Σ(g·x̂)/n, so
//!   ∂S/∂s = w·Q and a = ∂S/∂x̂ = v·g − (w·s/n)·(u·Σ(g·x̂) + g·Σ(u·x̂)).
//!   With ∂s/∂x = −s²·x̂/n: ∂S/∂x = M a − w·Q·s²·x̂/n.
//!   With fixed statistics s is constant and S's only x̂ is grad_weight's: ∂S/∂x = s·v·g.

use super::{Channel, Cotangents};
use crate::engines::textbook::recipe::{Context, Recipe};

/// ∂S/∂g = w·M u + v·x̂ + t.
pub(crate) fn grad_output(
    recipe: &dyn Recipe,
    channel: &Channel,
    cotangents: &Cotangents,
    cx: &Context,
) -> Vec<f64> {
    let Cotangents { input: u, weight: v, bias: t } = cotangents;
    let w = channel.weight_or_one();
    let through_u = recipe.through_normalisation(channel, u, cx);
    through_u.iter().zip(&channel.x_hat).map(|(through_u, x_hat)| w * through_u + v * x_hat + t).collect()
}

/// ∂S/∂x = M a − (s·∂S/∂s)·s·x̂/n.
pub(crate) fn input(
    recipe: &dyn Recipe,
    channel: &Channel,
    g: &[f64],
    cotangents: &Cotangents,
    cx: &Context,
) -> Vec<f64> {
    let s = channel.invstd;
    if !cx.own_statistics {
        return g.iter().map(|g| s * cotangents.weight * g).collect();
    }
    let a = recipe.second_grad_x_hat(channel, g, cotangents, cx);
    let through_a = recipe.through_normalisation(channel, &a, cx);
    let by_invstd = recipe.second_grad_invstd(channel, g, cotangents, cx) * s / channel.n();
    through_a.iter().zip(&channel.x_hat).map(|(through_a, x_hat)| through_a - by_invstd * x_hat).collect()
}

/// a = ∂S/∂x̂ = v·g − (w·s/n)·(u·Σ(g·x̂) + g·Σ(u·x̂)).
pub(crate) fn x_hat(
    recipe: &dyn Recipe,
    channel: &Channel,
    g: &[f64],
    cotangents: &Cotangents,
    cx: &Context,
) -> Vec<f64> {
    let Cotangents { input: u, weight: v, .. } = cotangents;
    let ws_n = channel.weight_or_one() * channel.invstd / channel.n();
    let (u_x_hat, g_x_hat) = (recipe.dot(u, &channel.x_hat, cx), recipe.dot(g, &channel.x_hat, cx));
    g.iter().zip(u).map(|(g, u)| v * g - ws_n * (u * g_x_hat + g * u_x_hat)).collect()
}

/// s·∂S/∂s = w·s·Q = w·Σ u·(M g), without a division by s: the cancellation inside
/// M g is per element and harmless, that between the three sums of Q is not.
pub(crate) fn invstd(
    recipe: &dyn Recipe,
    channel: &Channel,
    g: &[f64],
    cotangents: &Cotangents,
    cx: &Context,
) -> f64 {
    let through_g = recipe.through_normalisation(channel, g, cx);
    channel.weight_or_one() * recipe.dot(&cotangents.input, &through_g, cx)
}
