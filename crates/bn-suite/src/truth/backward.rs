//! The backward pass of one channel.
//!
//! gb = Σg,  gw = Σg·x̂
//! training: gi = w/σ·(g − gb/n − x̂·gw/n), because μ and σ depend on x;
//! evaluation: gi = w/σ·g, because they do not.

use super::channels::Channel;
use super::forward::{self, Normalised};
use crate::allowance::{Tracked, sum};
use crate::case::Mode;
use crate::model::Precision;

/// The gradients of one channel.
pub(super) struct Gradients {
    pub input: Vec<Tracked>,
    pub weight: Tracked,
    pub bias: Tracked,
}

/// The gradients that belong to `normalised`, for which `statistics` says
/// whether the batch's own statistics were used.
pub(super) fn backward(
    channel: &Channel,
    normalised: &Normalised,
    weight: Option<&Tracked>,
    statistics: Mode,
) -> Gradients {
    let Precision { elements, moments, sums, .. } = normalised.precision;
    let g: Vec<Tracked> = channel.grad_output.iter().map(|&g| Tracked::exact(g, elements)).collect();
    let products: Vec<Tracked> = g.iter().zip(&normalised.values).map(|(g, x_hat)| g * x_hat).collect();
    let grad_bias = sum(&g, &channel.counts, sums).completed(moments);
    let folded = forward::folded_dot(channel, normalised);
    let grad_weight = sum(&products, &channel.counts, sums).widened(folded).completed(moments);
    let weight = weight.cloned().unwrap_or_else(|| Tracked::exact(1.0, elements));
    let scale = normalised.deviation.divide(&weight);
    let unpromised = statistics == Mode::Train && forward::product_overflows(channel, normalised, &weight);
    let input: Vec<Tracked> = match statistics {
        Mode::Eval => g.iter().map(|g| g * &scale).collect(),
        Mode::Train => {
            let n = Tracked::exact(channel.n() as f64, sums);
            let (mean_g, mean_gx) = (&grad_bias / &n, &grad_weight / &n);
            g.iter()
                .zip(&normalised.values)
                .map(|(g, x_hat)| &(&(g - &mean_g) - &(x_hat * &mean_gx)) * &scale)
                .collect()
        }
    };
    let unless = |gi: Tracked| if unpromised { gi.widened(f64::INFINITY) } else { gi };
    let input = input.into_iter().map(unless).collect();
    Gradients { input, weight: grad_weight, bias: grad_bias }
}
