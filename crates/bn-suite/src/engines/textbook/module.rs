//! The layer around the formulas: what it remembers, which statistics a pass
//! uses, and what it declines, in the order in which PyTorch declines it.

use std::borrow::Cow;

use super::channels::Extents;
use super::formulas::{Channel, Statistics};
use super::recipe::{Context, Recipe};
use crate::case::{Layer, Mode, Pass, Rank, Reset, State};
use crate::outcome::{Refusal, RefusalKind};
use crate::tensor::{DType, Tensor};

/// A layer in the middle of a script.
pub(crate) struct Module<'a> {
    pub layer: &'a Layer,
    pub state: State,
}

/// What the checks found out about a pass.
pub(crate) struct Plan {
    /// Whether the batch's own statistics normalise.
    pub own_statistics: bool,
    /// The weight of the new value, where the running statistics are to be updated.
    pub update: Option<f64>,
}

/// What a backward pass needs of the forward pass that it belongs to. Copies,
/// so that later steps of the script change nothing.
#[derive(Clone)]
pub(crate) struct Forward<'a> {
    pub cx: Context<'a>,
    /// The input, in logical order.
    pub values: Cow<'a, [f64]>,
    pub statistics: Vec<Statistics>,
    pub weight: Option<Tensor>,
    pub bias: Option<Tensor>,
}

/// Counts the batch and makes every check. The counter rises before most checks:
/// a refused batch is counted all the same.
pub(crate) fn plan(
    recipe: &dyn Recipe,
    module: &mut Module,
    shape: &[usize],
    input: DType,
    mode: Mode,
) -> Result<Plan, Refusal> {
    let Module { layer, state } = module;
    recipe.check_rank(layer, shape)?;
    let tracking = recipe.tracks(layer, mode);
    if tracking {
        recipe.count_batch(state);
    }
    let momentum = recipe.momentum(layer, state, tracking)?;
    let own_statistics = recipe.uses_own_statistics(layer, state, mode);
    // A layer that trains without tracking hands its buffers to nobody.
    let uses_buffers = tracking || !own_statistics;
    recipe.check_size(shape, own_statistics)?;
    recipe.check_eps(layer, own_statistics)?;
    recipe.check_lengths(state, shape[1], own_statistics, uses_buffers)?;
    recipe.check_dtypes(state, input, uses_buffers)?;
    Ok(Plan { own_statistics, update: tracking.then_some(momentum) })
}

/// Checks, statistics, and the update of the running statistics.
pub(crate) fn forward<'a>(
    recipe: &dyn Recipe,
    module: &mut Module,
    values: Cow<'a, [f64]>,
    cx: Context<'a>,
) -> Result<Forward<'a>, Refusal> {
    let plan = recipe.plan(module, cx.shape, cx.input, cx.mode)?;
    let cx = Context { own_statistics: plan.own_statistics, ..cx };
    let statistics = recipe.statistics(&module.state, &values, &cx);
    if let Some(momentum) = plan.update {
        recipe.track(&mut module.state, &statistics, momentum, &cx);
    }
    let State { weight, bias, .. } = &module.state;
    Ok(Forward { cx, values, statistics, weight: weight.clone(), bias: bias.clone() })
}

/// The statistics of every channel for this pass.
pub(crate) fn statistics(
    recipe: &dyn Recipe,
    state: &State,
    values: &[f64],
    cx: &Context,
) -> Vec<Statistics> {
    let of_channel = |c: usize| {
        let cx = cx.at(c);
        match (cx.own_statistics, &state.running_mean, &state.running_var) {
            (false, Some(mean), Some(var)) => recipe.running_statistics(mean.data[c], var.data[c], &cx),
            _ if cx.parts.is_empty() => recipe.batch_statistics(&recipe.gather(values, &cx), &cx),
            _ => recipe.merged_statistics(&parts(&recipe.gather(values, &cx), &cx), &cx),
        }
    };
    (0..cx.extents().channels).map(of_channel).collect()
}

/// The values of a channel, part by part.
fn parts(mut x: &[f64], cx: &Context) -> Vec<Vec<f64>> {
    let mut part = |&batch: &usize| {
        let (part, rest) = x.split_at(batch * cx.extents().spatial);
        x = rest;
        part.to_vec()
    };
    cx.parts.iter().map(&mut part).collect()
}

/// Moves the running statistics towards the batch's mean and its *unbiased*
/// variance. An empty batch has neither.
pub(crate) fn track(
    recipe: &dyn Recipe,
    state: &mut State,
    statistics: &[Statistics],
    momentum: f64,
    cx: &Context,
) {
    let State { running_mean, running_var, .. } = state;
    let (Some(mean), Some(var), true) = (running_mean, running_var, cx.extents().per_channel() > 0) else {
        return;
    };
    for (c, batch) in statistics.iter().enumerate() {
        let cx = cx.at(c);
        let new_mean = recipe.update_running_mean(mean.data[c], batch, momentum, &cx);
        let new_var = recipe.update_running_var(var.data[c], batch, momentum, &cx);
        mean.data[c] = recipe.round(new_mean, mean.dtype);
        var.data[c] = recipe.round(new_var, var.dtype);
    }
}

/// `reset_running_stats()` does nothing in a layer that tracks none.
pub(crate) fn reset(layer: &Layer, state: &mut State, what: Reset) {
    let State { weight, bias, running_mean, running_var, num_batches_tracked } = state;
    if layer.track_running_stats {
        fill(running_mean, 0.0);
        fill(running_var, 1.0);
        *num_batches_tracked = num_batches_tracked.map(|_| 0);
    }
    if what == Reset::Parameters {
        fill(weight, 1.0);
        fill(bias, 0.0);
    }
}

fn fill(tensor: &mut Option<Tensor>, value: f64) {
    if let Some(tensor) = tensor {
        tensor.data.fill(value);
    }
}

impl Forward<'_> {
    /// One channel, as the output needs it: its context, values, statistics, weight and bias.
    pub fn channel(&self, recipe: &dyn Recipe, c: usize) -> Channel {
        let cx = self.cx.at(c);
        let at = |tensor: &Option<Tensor>| tensor.as_ref().map(|tensor| tensor.data[c]);
        let x = recipe.gather(&self.values, &cx);
        let statistics = self.statistics[c];
        let x_hat = recipe.normalise(&x, &statistics, &cx);
        let invstd = recipe.invstd(&statistics, &cx);
        Channel { x, x_hat, statistics, invstd, weight: at(&self.weight), bias: at(&self.bias) }
    }

    /// y, channel by channel.
    pub fn output(&self, recipe: &dyn Recipe) -> Vec<Vec<f64>> {
        let at = |tensor: &Option<Tensor>, c: usize| tensor.as_ref().map(|tensor| tensor.data[c]);
        let of_channel = |c: usize| {
            let cx = self.cx.at(c);
            let x = recipe.gather(&self.values, &cx);
            recipe.output(&x, &self.statistics[c], at(&self.weight, c), at(&self.bias, c), &cx)
        };
        (0..self.statistics.len()).map(of_channel).collect()
    }
}

pub(crate) fn refuse<T>(kind: RefusalKind, message: String) -> Result<T, Refusal> {
    Err(Refusal { kind, message })
}

/// `BatchNorm1d` takes rank 2 and 3, `BatchNorm2d` 4, `BatchNorm3d` 5; the function
/// under them any rank from 2 up.
pub(crate) fn check_rank(layer: &Layer, shape: &[usize]) -> Result<(), Refusal> {
    let (taken, words) = match layer.rank {
        Rank::One => (2..=3, "2D or 3D"),
        Rank::Two => (4..=4, "4D"),
        Rank::Three => (5..=5, "5D"),
        Rank::Any => (2..=usize::MAX, "at least 2D"),
    };
    let rank = shape.len();
    if taken.contains(&rank) {
        return Ok(());
    }
    refuse(RefusalKind::Rank, format!("expected {words} input (got {rank}D input)"))
}

/// The weight of the new value. Momentum null asks for the cumulative average,
/// 1/num_batches_tracked; without a counter that is never more than 0.
pub(crate) fn momentum(layer: &Layer, state: &State, tracking: bool) -> Result<f64, Refusal> {
    match (layer.momentum, state.num_batches_tracked) {
        (Some(momentum), _) => Ok(momentum.0),
        (None, Some(0)) if tracking => refuse(
            RefusalKind::CounterZero,
            "the cumulative average divides by num_batches_tracked, which is 0".into(),
        ),
        (None, Some(counter)) if tracking => Ok(1.0 / counter as f64),
        (None, _) => Ok(0.0),
    }
}

pub(crate) fn check_size(shape: &[usize], own_statistics: bool) -> Result<(), Refusal> {
    if !own_statistics || Extents::of(shape).per_channel() != 1 {
        return Ok(());
    }
    let message = format!("expected more than 1 value per channel when training, got {shape:?}");
    refuse(RefusalKind::TooFewValues, message)
}

/// NaN passes, as it does in PyTorch: it is not ≤ 0.
pub(crate) fn check_eps(layer: &Layer, own_statistics: bool) -> Result<(), Refusal> {
    let eps = layer.eps;
    let (refused, wanted) =
        if own_statistics { (eps <= 0.0, "positive") } else { (eps < 0.0, "non-negative") };
    if !refused {
        return Ok(());
    }
    refuse(RefusalKind::Eps, format!("batch_norm eps must be {wanted}, but got {eps:?}"))
}

/// One after the other: what evaluation needs must be there, and what is passed
/// must have a value for each channel. Only then does training miss one of the
/// running statistics where it has the other.
pub(crate) fn check_lengths(
    state: &State,
    channels: usize,
    own_statistics: bool,
    uses_buffers: bool,
) -> Result<(), Refusal> {
    let State { weight, bias, running_mean, running_var, .. } = state;
    let buffers = [("running_mean", running_mean), ("running_var", running_var)];
    for (name, buffer) in buffers.into_iter().filter(|_| uses_buffers) {
        if buffer.is_none() && !own_statistics {
            return refuse(RefusalKind::RunningStats, format!("{name} must be defined in evaluation mode"));
        }
        check_length(name, buffer.as_ref(), channels)?;
    }
    check_length("weight", weight.as_ref(), channels)?;
    check_length("bias", bias.as_ref(), channels)?;
    if uses_buffers && running_mean.is_some() != running_var.is_some() {
        let message = "running_mean and running_var must either both be None or neither be None";
        return refuse(RefusalKind::RunningStats, message.into());
    }
    Ok(())
}

/// The length of a parameter or buffer must be `expected`, the number of channels.
fn check_length(name: &str, tensor: Option<&Tensor>, expected: usize) -> Result<(), Refusal> {
    match tensor.map_or(expected, Tensor::len) {
        length if length == expected => Ok(()),
        length => refuse(
            RefusalKind::NumFeatures,
            format!("{name} should contain {expected} elements not {length}"),
        ),
    }
}

pub(crate) fn check_dtypes(state: &State, input: DType, uses_buffers: bool) -> Result<(), Refusal> {
    let State { weight, bias, running_mean, running_var, .. } = state;
    let buffers = [running_mean, running_var].into_iter().filter(|_| uses_buffers);
    let tensors: Vec<&Tensor> = buffers.chain([weight, bias]).flatten().collect();
    let all = |dtype: DType| tensors.iter().all(|tensor| tensor.dtype == dtype);
    let taken = match input {
        DType::F64 | DType::F32 => all(input),
        DType::F16 | DType::Bf16 => all(input) || all(DType::F32),
        DType::I64 | DType::Bool => false,
    };
    if taken {
        return Ok(());
    }
    let names: Vec<&str> = tensors.iter().map(|tensor| tensor.dtype.name()).collect();
    let message = format!("{} input does not go with parameters and buffers {names:?}", input.name());
    refuse(RefusalKind::Dtype, message)
}

/// The gradients must have the shapes of what they are gradients of.
pub(crate) fn check_shapes(pass: &Pass) -> Result<(), Refusal> {
    let cotangent = pass.cotangents.as_ref().and_then(|cotangents| cotangents.grad_input.as_ref());
    for (name, tensor) in [("grad_output", pass.grad_output.as_ref()), ("cotangent of grad_input", cotangent)]
    {
        if let Some(tensor) = tensor.filter(|tensor| tensor.shape != pass.input.shape) {
            let message = format!("{name} should have shape {:?}, not {:?}", pass.input.shape, tensor.shape);
            return refuse(RefusalKind::Shape, message);
        }
    }
    Ok(())
}
