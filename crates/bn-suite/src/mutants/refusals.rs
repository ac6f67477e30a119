//! Refusals: what must be refused is, what need not is not, a refused step changes
//! nothing but the counter, and the first reason in PyTorch's order is the one given.

use std::borrow::Cow;

use super::{Mutant, mutant};
use crate::case::{Layer, Mode, Pass, State};
use crate::engines::textbook::channels::Extents;
use crate::engines::textbook::module::{self, Forward, Module, Plan, refuse};
use crate::engines::textbook::recipe::{Context, Recipe};
use crate::engines::textbook::rounding::round;
use crate::outcome::{Refusal, RefusalKind};
use crate::tensor::DType;

pub(super) fn mutants() -> Vec<Mutant> {
    [missing(), too_many(), state_changed(), order()].into_iter().flatten().collect()
}

fn missing() -> Vec<Mutant> {
    vec![
        mutant!("any-rank-taken", "BatchNorm1d, 2d and 3d take any rank from 2 up", "", {
            fn check_rank(&self, layer: &Layer, shape: &[usize]) -> Result<(), Refusal> {
                if shape.len() >= 2 { Ok(()) } else { module::check_rank(layer, shape) }
            }
        }),
        mutant!("rank-not-checked-in-eval", "evaluation takes any rank from 2 up", "", {
            fn plan(
                &self,
                module: &mut Module,
                shape: &[usize],
                input: DType,
                mode: Mode,
            ) -> Result<Plan, Refusal> {
                if mode == Mode::Train || shape.len() < 2 {
                    return module::plan(self, module, shape, input, mode);
                }
                let layer = Layer { rank: crate::case::Rank::Any, ..module.layer.clone() };
                let mut any = Module { layer: &layer, state: module.state.clone() };
                let plan = module::plan(self, &mut any, shape, input, mode);
                module.state = any.state;
                plan
            }
        }),
        mutant!("one-value-taken", "one value per channel is not refused", "torch/nn#1271", {
            fn check_size(&self, _shape: &[usize], _own_statistics: bool) -> Result<(), Refusal> {
                Ok(())
            }
            fn bessel(&self, cx: &Context) -> f64 {
                cx.n() / (cx.n() - 1.0).max(1.0)
            }
        }),
        mutant!("one-value-taken-in-images", "one value per channel is refused in (N, C) only", "", {
            fn check_size(&self, shape: &[usize], own_statistics: bool) -> Result<(), Refusal> {
                if shape.len() > 2 { Ok(()) } else { module::check_size(shape, own_statistics) }
            }
        }),
        mutant!(
            "one-value-taken-in-eval",
            "one value per channel is taken in evaluation by batch statistics",
            "",
            {
                fn plan(
                    &self,
                    module: &mut Module,
                    shape: &[usize],
                    input: DType,
                    mode: Mode,
                ) -> Result<Plan, Refusal> {
                    let plan = module::plan(self, module, shape, input, mode);
                    match plan {
                        Err(refusal) if refusal.kind == RefusalKind::TooFewValues && mode == Mode::Eval => {
                            Ok(Plan { own_statistics: true, update: None })
                        }
                        plan => plan,
                    }
                }
            }
        ),
        mutant!("eps-0-taken-in-training", "an eps of 0 is not refused in training", "", {
            fn check_eps(&self, layer: &Layer, _own_statistics: bool) -> Result<(), Refusal> {
                module::check_eps(layer, false)
            }
        }),
        mutant!("negative-eps-taken-in-eval", "a negative eps is not refused in evaluation", "", {
            fn check_eps(&self, layer: &Layer, own_statistics: bool) -> Result<(), Refusal> {
                if own_statistics { module::check_eps(layer, true) } else { Ok(()) }
            }
        }),
        mutant!("long-weight-taken", "a weight longer than C is not refused", "", {
            fn check_lengths(
                &self,
                state: &State,
                channels: usize,
                own: bool,
                uses: bool,
            ) -> Result<(), Refusal> {
                let long = |len: usize| len > channels;
                let weight = state.weight.clone().filter(|weight| !long(weight.len()));
                module::check_lengths(&State { weight, ..state.clone() }, channels, own, uses)
            }
        }),
        mutant!("long-buffers-taken", "running statistics longer than C are not refused", "", {
            fn check_lengths(
                &self,
                state: &State,
                channels: usize,
                own: bool,
                uses: bool,
            ) -> Result<(), Refusal> {
                match module::check_lengths(state, channels, own, uses) {
                    Err(refusal) if refusal.message.starts_with("running_") => {
                        let buffers = [&state.running_mean, &state.running_var];
                        let long = buffers.into_iter().flatten().all(|buffer| buffer.len() >= channels);
                        if long && refusal.kind == RefusalKind::NumFeatures { Ok(()) } else { Err(refusal) }
                    }
                    checked => checked,
                }
            }
        }),
        mutant!("one-buffer-taken-in-training", "training with one running statistic is not refused", "", {
            fn check_lengths(
                &self,
                state: &State,
                channels: usize,
                own: bool,
                uses: bool,
            ) -> Result<(), Refusal> {
                module::check_lengths(
                    state,
                    channels,
                    own,
                    uses && !(own && state.running_mean.is_some() != state.running_var.is_some()),
                )
            }
        }),
        mutant!("mixed-dtypes-taken", "any mix of floating-point dtypes is taken", "", {
            fn check_dtypes(&self, state: &State, input: DType, uses_buffers: bool) -> Result<(), Refusal> {
                let is_float = |dtype: DType| !matches!(dtype, DType::I64 | DType::Bool);
                let floats = is_float(input) && state.tensors().all(|tensor| is_float(tensor.dtype));
                if floats { Ok(()) } else { module::check_dtypes(state, input, uses_buffers) }
            }
        }),
        mutant!("integers-taken", "integer input is taken, and the output cut off to integers", "", {
            fn round(&self, value: f64, dtype: DType) -> f64 {
                if dtype == DType::I64 { value.trunc() } else { round(value, dtype) }
            }
            fn check_dtypes(&self, state: &State, input: DType, uses_buffers: bool) -> Result<(), Refusal> {
                if input == DType::I64 { Ok(()) } else { module::check_dtypes(state, input, uses_buffers) }
            }
        }),
        mutant!(
            "grad-output-of-any-shape",
            "a grad_output of another shape and the same size is taken",
            "",
            {
                fn check_shapes(&self, pass: &Pass) -> Result<(), Refusal> {
                    let fits = |count: usize| count == pass.input.len();
                    match &pass.grad_output {
                        Some(grad_output) if fits(grad_output.len()) => Ok(()),
                        _ => module::check_shapes(pass),
                    }
                }
            }
        ),
        mutant!("counter-0-taken", "a cumulative average with a counter of 0 divides by 1", "", {
            fn momentum(&self, layer: &Layer, state: &State, tracking: bool) -> Result<f64, Refusal> {
                match (layer.momentum, state.num_batches_tracked) {
                    (None, Some(0)) => Ok(1.0),
                    _ => module::momentum(layer, state, tracking),
                }
            }
        }),
    ]
}

fn too_many() -> Vec<Mutant> {
    vec![
        mutant!("batch-of-one-refused", "N = 1 is refused in training, though H·W > 1", "", {
            fn check_size(&self, shape: &[usize], own_statistics: bool) -> Result<(), Refusal> {
                if own_statistics && shape[0] == 1 {
                    return refuse(RefusalKind::TooFewValues, "expected more than 1 sample".into());
                }
                module::check_size(shape, own_statistics)
            }
        }),
        mutant!("one-value-refused-in-eval", "one value per channel is refused in evaluation", "", {
            fn check_size(&self, shape: &[usize], _own_statistics: bool) -> Result<(), Refusal> {
                module::check_size(shape, true)
            }
        }),
        mutant!("empty-batch-refused", "a batch without elements is refused", "", {
            fn check_size(&self, shape: &[usize], own_statistics: bool) -> Result<(), Refusal> {
                if Extents::of(shape).per_channel() == 0 {
                    return refuse(RefusalKind::TooFewValues, "expected more than 0 values".into());
                }
                module::check_size(shape, own_statistics)
            }
        }),
        mutant!("eps-0-refused-in-eval", "an eps of 0 is refused in evaluation", "", {
            fn check_eps(&self, layer: &Layer, _own_statistics: bool) -> Result<(), Refusal> {
                module::check_eps(layer, true)
            }
        }),
        mutant!("large-eps-refused", "an eps above 1 is refused", "", {
            fn check_eps(&self, layer: &Layer, own_statistics: bool) -> Result<(), Refusal> {
                if layer.eps > 1.0 {
                    return refuse(RefusalKind::Eps, "eps is too large".into());
                }
                module::check_eps(layer, own_statistics)
            }
        }),
        mutant!("odd-momentum-refused", "a momentum outside 0 … 1 is refused", "", {
            fn momentum(&self, layer: &Layer, state: &State, tracking: bool) -> Result<f64, Refusal> {
                match layer.momentum {
                    Some(momentum) if !(0.0..=1.0).contains(&momentum.0) => {
                        refuse(RefusalKind::Unsorted, "momentum must be between 0 and 1".into())
                    }
                    _ => module::momentum(layer, state, tracking),
                }
            }
        }),
        mutant!("weight-alone-refused", "a weight without a bias is refused", "", {
            fn check_lengths(
                &self,
                state: &State,
                channels: usize,
                own: bool,
                uses: bool,
            ) -> Result<(), Refusal> {
                if state.weight.is_some() && state.bias.is_none() {
                    return refuse(RefusalKind::Unsorted, "a weight needs a bias".into());
                }
                module::check_lengths(state, channels, own, uses)
            }
        }),
        mutant!(
            "untracked-buffer-refused",
            "training without tracking refuses one buffer without the other",
            "",
            {
                fn check_lengths(
                    &self,
                    state: &State,
                    channels: usize,
                    own: bool,
                    _uses: bool,
                ) -> Result<(), Refusal> {
                    module::check_lengths(state, channels, own, true)
                }
            }
        ),
        mutant!("f16-with-f32-refused", "16-bit input with f32 parameters is refused", "", {
            fn check_dtypes(&self, state: &State, input: DType, uses_buffers: bool) -> Result<(), Refusal> {
                if state.tensors().any(|tensor| tensor.dtype != input) {
                    return refuse(RefusalKind::Dtype, "one dtype throughout".into());
                }
                module::check_dtypes(state, input, uses_buffers)
            }
        }),
        mutant!("no-channels-refused", "C = 0 is refused", "", {
            fn check_size(&self, shape: &[usize], own_statistics: bool) -> Result<(), Refusal> {
                if shape[1] == 0 {
                    return refuse(RefusalKind::NumFeatures, "no channels".into());
                }
                module::check_size(shape, own_statistics)
            }
        }),
    ]
}

fn state_changed() -> Vec<Mutant> {
    vec![
        mutant!(
            "refused-step-updates",
            "the running statistics are updated before a batch is refused",
            "",
            {
                fn forward<'a>(
                    &self,
                    module: &mut Module,
                    values: Cow<'a, [f64]>,
                    cx: Context<'a>,
                ) -> Result<Forward<'a>, Refusal> {
                    let forward = module::forward(self, module, values, cx);
                    if let Err(Refusal { kind: RefusalKind::TooFewValues | RefusalKind::Eps, .. }) = &forward
                    {
                        for buffer in [&mut module.state.running_mean, &mut module.state.running_var] {
                            let values = buffer.iter_mut().flat_map(|buffer| &mut buffer.data);
                            values.for_each(|value| *value *= 0.5);
                        }
                    }
                    forward
                }
            }
        ),
        mutant!("refused-step-resets", "a batch refused for its length resets the running mean", "", {
            fn forward<'a>(
                &self,
                module: &mut Module,
                values: Cow<'a, [f64]>,
                cx: Context<'a>,
            ) -> Result<Forward<'a>, Refusal> {
                let forward = module::forward(self, module, values, cx);
                if let Err(Refusal { kind: RefusalKind::NumFeatures, .. }) = &forward {
                    module.state.running_mean.iter_mut().for_each(|mean| mean.data.fill(0.0));
                }
                forward
            }
        }),
        mutant!(
            "refused-step-makes-nan",
            "the running variance of one value per channel is NaN, and refused",
            "Flux.jl#1992",
            {
                fn forward<'a>(
                    &self,
                    module: &mut Module,
                    values: Cow<'a, [f64]>,
                    cx: Context<'a>,
                ) -> Result<Forward<'a>, Refusal> {
                    let forward = module::forward(self, module, values, cx);
                    if let Err(Refusal { kind: RefusalKind::TooFewValues, .. }) = &forward
                        && self.tracks(cx.layer, cx.mode)
                    {
                        module.state.running_var.iter_mut().for_each(|var| var.data.fill(f64::NAN));
                    }
                    forward
                }
            }
        ),
    ]
}

fn order() -> Vec<Mutant> {
    vec![
        mutant!("lengths-checked-before-eps", "a wrong length is reported before a wrong eps", "", {
            fn plan(
                &self,
                module: &mut Module,
                shape: &[usize],
                input: DType,
                mode: Mode,
            ) -> Result<Plan, Refusal> {
                let plan = module::plan(self, module, shape, input, mode);
                match plan {
                    Err(Refusal { kind: RefusalKind::Eps, .. }) => {
                        let own = self.uses_own_statistics(module.layer, &module.state, mode);
                        let uses = self.tracks(module.layer, mode) || !own;
                        self.check_lengths(&module.state, shape[1], own, uses)?;
                        plan
                    }
                    plan => plan,
                }
            }
        }),
        mutant!("dtypes-checked-first", "a wrong mix of dtypes is reported before all else", "", {
            fn plan(
                &self,
                module: &mut Module,
                shape: &[usize],
                input: DType,
                mode: Mode,
            ) -> Result<Plan, Refusal> {
                let plan = module::plan(self, module, shape, input, mode).map_err(|refusal| {
                    self.check_dtypes(&module.state, input, true).err().unwrap_or(refusal)
                })?;
                Ok(plan)
            }
        }),
        mutant!("buffers-checked-before-size", "a missing buffer is reported before too few values", "", {
            fn plan(
                &self,
                module: &mut Module,
                shape: &[usize],
                input: DType,
                mode: Mode,
            ) -> Result<Plan, Refusal> {
                let plan = module::plan(self, module, shape, input, mode);
                let one = module.state.running_mean.is_some() != module.state.running_var.is_some();
                match plan {
                    Err(Refusal { kind: RefusalKind::TooFewValues, .. }) if one => {
                        refuse(RefusalKind::RunningStats, "both or neither".into())
                    }
                    plan => plan,
                }
            }
        }),
    ]
}
