//! A kernel as an engine: the textbook's player with every formula computed by the
//! kernel, in a type that the parameters choose.

use std::marker::PhantomData;

use super::float::Float;
use super::kernel::{Kernel, Moments, Saved, Scale};
use super::second_gradients;
use crate::case::{Fold, Layer};
use crate::engines::textbook::fold;
use crate::engines::textbook::formulas::{Channel, Cotangents, Gradients, SecondGradients, Statistics};
use crate::engines::textbook::module::Module;
use crate::engines::textbook::recipe::{Context, Recipe};
use crate::engines::textbook::rounding::round;
use crate::outcome::Refusal;
use crate::tensor::{DType, Tensor};

/// A kernel computing in `D` where the parameters are f64, and in `S` otherwise.
pub(super) struct Computed<K, S, D> {
    kernel: K,
    /// Whether mean, inverse deviation and the products of a running update are
    /// rounded to the parameters' dtype.
    narrow_statistics: bool,
    types: PhantomData<fn() -> (S, D)>,
}

impl<K, S, D> Computed<K, S, D>
where
    K: Kernel<S> + Kernel<D> + 'static,
    S: Float,
    D: Float,
{
    /// As a recipe, for the player.
    pub fn recipe(kernel: K) -> Box<dyn Recipe> {
        Box::new(Computed { kernel, narrow_statistics: false, types: PhantomData::<fn() -> (S, D)> })
    }

    /// The same, with mean, inverse deviation and the products of a running update
    /// rounded to the parameters' dtype.
    pub fn narrow(kernel: K) -> Box<dyn Recipe> {
        Box::new(Computed { kernel, narrow_statistics: true, types: PhantomData::<fn() -> (S, D)> })
    }

    fn keep(&self, value: f64, cx: &Context) -> f64 {
        if self.narrow_statistics { round(value, cx.parameters) } else { value }
    }
}

/// Calls a function of this file in the type that the dtype chooses.
macro_rules! in_type_of {
    ($dtype:expr, $function:ident($($argument:expr),*)) => {
        if $dtype == DType::F64 { $function::<D>($($argument),*) } else { $function::<S>($($argument),*) }
    };
}

impl<K, S, D> Recipe for Computed<K, S, D>
where
    K: Kernel<S> + Kernel<D> + 'static,
    S: Float,
    D: Float,
{
    fn batch_statistics(&self, x: &[f64], cx: &Context) -> Statistics {
        let statistics = in_type_of!(cx.parameters, batch_statistics(&self.kernel, x));
        Statistics { mean: self.keep(statistics.mean, cx), ..statistics }
    }

    fn merged_statistics(&self, parts: &[Vec<f64>], cx: &Context) -> Statistics {
        let statistics = in_type_of!(cx.parameters, merged_statistics(&self.kernel, parts));
        Statistics { mean: self.keep(statistics.mean, cx), ..statistics }
    }

    fn invstd(&self, statistics: &Statistics, cx: &Context) -> f64 {
        self.keep(in_type_of!(cx.parameters, invstd(&self.kernel, statistics, cx.layer)), cx)
    }

    fn normalise(&self, x: &[f64], statistics: &Statistics, cx: &Context) -> Vec<f64> {
        let affine = (None, None);
        let invstd = self.invstd(statistics, cx);
        in_type_of!(cx.parameters, normalise(&self.kernel, x, statistics, invstd, affine, cx.layer))
    }

    fn output(
        &self,
        x: &[f64],
        statistics: &Statistics,
        weight: Option<f64>,
        bias: Option<f64>,
        cx: &Context,
    ) -> Vec<f64> {
        let affine = (weight, bias);
        let invstd = self.invstd(statistics, cx);
        in_type_of!(cx.parameters, output(&self.kernel, x, statistics, invstd, affine, cx.layer))
    }

    fn backward(&self, channel: &Channel, g: &[f64], cx: &Context) -> Gradients {
        in_type_of!(cx.parameters, backward(&self.kernel, channel, g, cx))
    }

    fn double_backward(
        &self,
        channel: &Channel,
        g: &[f64],
        cotangents: &Cotangents,
        cx: &Context,
    ) -> SecondGradients {
        in_type_of!(cx.parameters, double_backward(&self.kernel, channel, g, cotangents, cx))
    }

    fn update_running_var(&self, old: f64, statistics: &Statistics, momentum: f64, cx: &Context) -> f64 {
        let unbiased = in_type_of!(cx.parameters, unbiased(&self.kernel, statistics.var_biased, cx.n()));
        self.running_update(old, unbiased, momentum, cx)
    }

    fn running_update(&self, old: f64, batch: f64, momentum: f64, cx: &Context) -> f64 {
        if self.narrow_statistics {
            let kept = self.keep((1.0 - momentum) * old, cx);
            return kept + self.keep(momentum * self.keep(batch, cx), cx);
        }
        in_type_of!(cx.parameters, running(&self.kernel, old, batch, momentum))
    }

    fn fold(&self, module: &Module, map: &Fold) -> Result<(Tensor, Tensor), Refusal> {
        let parameters = module.state.tensors().next().map_or(map.weight.dtype, |tensor| tensor.dtype);
        match parameters {
            DType::F64 => {
                fold::fold(&Folding { kernel: &self.kernel, float: PhantomData::<fn() -> D> }, module, map)
            }
            _ => fold::fold(&Folding { kernel: &self.kernel, float: PhantomData::<fn() -> S> }, module, map),
        }
    }
}

/// The constants of a folded layer in the type `F`.
struct Folding<'k, K, F> {
    kernel: &'k K,
    float: PhantomData<fn() -> F>,
}

impl<K: Kernel<F>, F: Float> Recipe for Folding<'_, K, F> {
    fn fold_scale(&self, weight: Option<f64>, running_var: f64, layer: &Layer) -> f64 {
        let invstd = self.kernel.invstd(F::from_f64(running_var), F::from_f64(layer.eps));
        (parameter::<F>(weight, 1.0) * invstd).to_f64()
    }

    fn fold_bias(&self, before: Option<f64>, running_mean: f64, scale: f64, bias: Option<f64>) -> f64 {
        let (mean, scale) = (F::from_f64(running_mean), F::from_f64(scale));
        self.kernel.folded_bias(parameter(before, 0.0), mean, scale, parameter(bias, 0.0)).to_f64()
    }
}

fn parameter<F: Float>(value: Option<f64>, absent: f64) -> F {
    F::from_f64(value.unwrap_or(absent))
}

fn values<F: Float>(values: &[f64]) -> Vec<F> {
    values.iter().map(|&value| F::from_f64(value)).collect()
}

fn to_f64<F: Float>(values: Vec<F>) -> Vec<f64> {
    values.into_iter().map(F::to_f64).collect()
}

fn batch_statistics<F: Float>(kernel: &impl Kernel<F>, x: &[f64]) -> Statistics {
    statistics(kernel.moments(&values::<F>(x)))
}

fn merged_statistics<F: Float>(kernel: &impl Kernel<F>, parts: &[Vec<f64>]) -> Statistics {
    let parts: Vec<Vec<F>> = parts.iter().map(|part| values(part)).collect();
    statistics(kernel.merged(&parts))
}

fn statistics<F: Float>(moments: Moments<F>) -> Statistics {
    let (mean, mean_rest) = moments.mean.parts();
    Statistics { mean, mean_rest, var_biased: moments.var_biased().to_f64() }
}

fn invstd<F: Float>(kernel: &impl Kernel<F>, statistics: &Statistics, layer: &Layer) -> f64 {
    kernel.invstd(F::from_f64(statistics.var_biased), F::from_f64(layer.eps)).to_f64()
}

fn unbiased<F: Float>(kernel: &impl Kernel<F>, var: f64, n: f64) -> f64 {
    kernel.unbiased(F::from_f64(var), F::from_f64(n)).to_f64()
}

fn running<F: Float>(kernel: &impl Kernel<F>, old: f64, new: f64, momentum: f64) -> f64 {
    kernel.running(F::from_f64(old), F::from_f64(new), F::from_f64(momentum)).to_f64()
}

fn scale<F: Float>(
    statistics: &Statistics,
    invstd: f64,
    (weight, bias): (Option<f64>, Option<f64>),
    layer: &Layer,
) -> Scale<F> {
    Scale {
        mean: F::from_f64(statistics.mean) + F::from_f64(statistics.mean_rest),
        var: F::from_f64(statistics.var_biased),
        eps: F::from_f64(layer.eps),
        invstd: F::from_f64(invstd),
        weight: parameter(weight, 1.0),
        bias: parameter(bias, 0.0),
    }
}

fn normalise<F: Float>(
    kernel: &impl Kernel<F>,
    x: &[f64],
    statistics: &Statistics,
    invstd: f64,
    affine: (Option<f64>, Option<f64>),
    layer: &Layer,
) -> Vec<f64> {
    to_f64(kernel.normalise(&values(x), &scale(statistics, invstd, affine, layer)))
}

fn output<F: Float>(
    kernel: &impl Kernel<F>,
    x: &[f64],
    statistics: &Statistics,
    invstd: f64,
    affine: (Option<f64>, Option<f64>),
    layer: &Layer,
) -> Vec<f64> {
    to_f64(kernel.output(&values(x), &scale(statistics, invstd, affine, layer)))
}

fn saved<F: Float>(channel: &Channel, cx: &Context) -> Saved<F> {
    let affine = (channel.weight, channel.bias);
    Saved {
        x: values(&channel.x),
        x_hat: values(&channel.x_hat),
        scale: scale(&channel.statistics, channel.invstd, affine, cx.layer),
        own_statistics: cx.own_statistics,
    }
}

fn backward<F: Float>(kernel: &impl Kernel<F>, channel: &Channel, g: &[f64], cx: &Context) -> Gradients {
    if g.is_empty() {
        // Empty sums are 0, though there is no mean and no deviation.
        return Gradients { input: Vec::new(), weight: 0.0, bias: 0.0 };
    }
    let (saved, g) = (saved::<F>(channel, cx), values(g));
    Gradients {
        input: to_f64(kernel.grad_input(&saved, &g)),
        weight: kernel.grad_weight(&saved, &g).to_f64(),
        bias: kernel.sum(&g).to_f64(),
    }
}

fn double_backward<F: Float>(
    kernel: &impl Kernel<F>,
    channel: &Channel,
    g: &[f64],
    cotangents: &Cotangents,
    cx: &Context,
) -> SecondGradients {
    let (saved, g, u) = (saved::<F>(channel, cx), values(g), values(&cotangents.input));
    let (v, t) = (F::from_f64(cotangents.weight), F::from_f64(cotangents.bias));
    SecondGradients {
        grad_output: to_f64(second_gradients::grad_output(kernel, &saved, (&u, v, t))),
        input: to_f64(second_gradients::input(kernel, &saved, &g, (&u, v))),
        weight: kernel.second_grad_weight(&saved, &g, &u).to_f64(),
    }
}
