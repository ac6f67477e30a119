//! A layer whose parameter dtype is known at run time only.

use ::batchnorm::admit::{Plan, Request, Signature};
use ::batchnorm::{BatchNorm, Config, Element, Error, Momentum, Rank, State};
use half::{bf16, f16};
use ndarray::Array1;

use super::arrays::{our_dtype, tensor, vector};
use super::{Fields, Stop};
use crate::case::{self, Case, Reset};
use crate::engine::EngineError;
use crate::outcome::{Field, Outcome};
use crate::tensor::{DType, Layout, Tensor};

/// A layer, its parameter dtype known at run time.
pub(super) enum AnyLayer {
    F64(BatchNorm<f64>),
    F32(BatchNorm<f32>),
    F16(BatchNorm<f16>),
    Bf16(BatchNorm<bf16>),
    /// Parameters of several dtypes, or of one that is no float.
    Foreign(Foreign),
}

/// Runs `$body` with `$layer` bound to the typed layer and `$T` to the input's
/// type, or `$other` where batch norm does not take the two together.
macro_rules! with_types {
    ($any:expr, $dtype:expr, |$layer:ident, $T:ident| $body:expr, $other:expr) => {
        match ($any, $dtype) {
            (AnyLayer::F64($layer), DType::F64) => with_types!(@ $T, f64, $body),
            (AnyLayer::F32($layer), DType::F32) => with_types!(@ $T, f32, $body),
            (AnyLayer::F32($layer), DType::F16) => with_types!(@ $T, f16, $body),
            (AnyLayer::F32($layer), DType::Bf16) => with_types!(@ $T, bf16, $body),
            (AnyLayer::F16($layer), DType::F16) => with_types!(@ $T, f16, $body),
            (AnyLayer::Bf16($layer), DType::Bf16) => with_types!(@ $T, bf16, $body),
            _ => $other,
        }
    };
    (@ $T:ident, $type:ty, $body:expr) => {{
        type $T = $type;
        $body
    }};
}

/// Runs `$body` with `$layer` bound to whichever layer it is.
macro_rules! with_layer {
    ($any:expr, |$layer:ident| $body:expr) => {
        match $any {
            AnyLayer::F64($layer) => $body,
            AnyLayer::F32($layer) => $body,
            AnyLayer::F16($layer) => $body,
            AnyLayer::Bf16($layer) => $body,
            AnyLayer::Foreign($layer) => $body,
        }
    };
}

impl AnyLayer {
    /// The case's layer; without parameters or buffers, one that takes `input`.
    pub fn new(case: &Case, input: DType, num_batches_tracked: Option<i64>) -> Self {
        let dtype = match case.state.dtypes().as_slice() {
            [] => input,
            [dtype] => *dtype,
            _ => return AnyLayer::Foreign(Foreign::new(case, num_batches_tracked)),
        };
        match dtype {
            DType::F64 => AnyLayer::F64(typed(case, num_batches_tracked)),
            DType::F32 => AnyLayer::F32(typed(case, num_batches_tracked)),
            DType::F16 => AnyLayer::F16(typed(case, num_batches_tracked)),
            DType::Bf16 => AnyLayer::Bf16(typed(case, num_batches_tracked)),
            DType::I64 | DType::Bool => AnyLayer::Foreign(Foreign::new(case, num_batches_tracked)),
        }
    }

    pub fn counter(&self) -> Option<i64> {
        with_layer!(self, |layer| layer.state().num_batches_tracked)
    }

    /// What the step answers: its arrays and the buffers, or the buffers alone.
    pub fn outcome(&self, answer: Result<Fields, Stop>) -> Result<Outcome, EngineError> {
        let (mut fields, refused) = match answer {
            Ok(fields) => (fields, None),
            Err(stop) => (Fields::new(), Some(stop.refusal()?)),
        };
        fields.extend(with_layer!(self, |layer| layer.buffers()));
        Ok(Outcome { fields, num_batches_tracked: self.counter(), refused })
    }

    /// The refusal of an input whose dtype this layer does not take.
    pub fn refuse(&mut self, training: bool, dtype: DType, shape: &[usize]) -> Stop {
        with_layer!(self, |layer| {
            layer.set_training(training);
            match layer.admit(our_dtype(dtype), shape) {
                Err(error) => error.into(),
                Ok(_) => unreachable!("a mix that is admitted has types"),
            }
        })
    }
}

/// What the adapter asks of a layer besides its passes.
pub(super) trait Held {
    /// Dtypes and lengths of what the layer has.
    fn held(&self) -> Signature;
    /// The running statistics, as they are.
    fn buffers(&self) -> Fields;
    /// Resets, and answers the parameters.
    fn reset(&mut self, what: Reset) -> Fields;
}

impl<P: Element> Held for BatchNorm<P> {
    fn held(&self) -> Signature {
        self.state().signature()
    }

    fn reset(&mut self, what: Reset) -> Fields {
        match what {
            Reset::RunningStats => self.reset_running_stats(),
            Reset::Parameters => self.reset_parameters(),
        }
        let state = self.state();
        vectors([(Field::Weight, &state.weight), (Field::Bias, &state.bias)])
    }

    fn buffers(&self) -> Fields {
        let state = self.state();
        let both = [(Field::RunningMean, &state.running_mean), (Field::RunningVar, &state.running_var)];
        vectors(both)
    }
}

pub(super) fn vectors<P: Element, const N: usize>(of: [(Field, &Option<Array1<P>>); N]) -> Fields {
    of.into_iter().filter_map(|(field, v)| Some((field, tensor(v.as_ref()?, &Layout::Contiguous)))).collect()
}

fn config(layer: &case::Layer, state: &case::State) -> Config {
    Config {
        eps: layer.eps,
        momentum: layer.momentum.map_or(Momentum::Cumulative, |momentum| Momentum::Exponential(momentum.0)),
        weight: state.weight.is_some(),
        bias: state.bias.is_some(),
        track_running_stats: layer.track_running_stats,
        ..Config::new(layer.num_features)
    }
}

fn rank(of: case::Rank) -> Rank {
    match of {
        case::Rank::One => Rank::One,
        case::Rank::Two => Rank::Two,
        case::Rank::Three => Rank::Three,
        case::Rank::Any => Rank::Any,
    }
}

fn typed<P: Element>(case: &Case, num_batches_tracked: Option<i64>) -> BatchNorm<P> {
    let state = State {
        weight: vector(&case.state.weight),
        bias: vector(&case.state.bias),
        running_mean: vector(&case.state.running_mean),
        running_var: vector(&case.state.running_var),
        num_batches_tracked,
    };
    BatchNorm::from_state(rank(case.layer.rank), config(&case.layer, &case.state), state)
}

/// A layer whose state is no [`BatchNorm`]'s: every pass is refused, but in order,
/// and the counter counts.
pub(super) struct Foreign {
    rank: Rank,
    config: Config,
    training: bool,
    state: case::State,
}

impl Foreign {
    fn new(case: &Case, num_batches_tracked: Option<i64>) -> Self {
        let state = case::State { num_batches_tracked, ..case.state.clone() };
        Foreign {
            rank: rank(case.layer.rank),
            config: config(&case.layer, &case.state),
            training: true,
            state,
        }
    }

    fn state(&self) -> &case::State {
        &self.state
    }

    fn set_training(&mut self, training: bool) {
        self.training = training;
    }

    fn admit(&mut self, input: ::batchnorm::DType, shape: &[usize]) -> Result<Plan, Error> {
        let (config, rank, signature, training) = (&self.config, self.rank, self.held(), self.training);
        let request = Request { config, rank, signature, training, input, shape };
        request.admit(&mut self.state.num_batches_tracked)
    }
}

impl Held for Foreign {
    fn held(&self) -> Signature {
        let held = |tensor: &Option<Tensor>| tensor.as_ref().map(|t| (our_dtype(t.dtype), t.len()));
        let state = &self.state;
        Signature {
            weight: held(&state.weight),
            bias: held(&state.bias),
            running_mean: held(&state.running_mean),
            running_var: held(&state.running_var),
        }
    }

    fn reset(&mut self, what: Reset) -> Fields {
        let fill = |vector: &mut Option<Tensor>, value| {
            vector.iter_mut().for_each(|vector| vector.data.fill(value));
        };
        let state = &mut self.state;
        if self.config.track_running_stats {
            fill(&mut state.running_mean, 0.0);
            fill(&mut state.running_var, 1.0);
            state.num_batches_tracked = state.num_batches_tracked.map(|_| 0);
        }
        if what == Reset::Parameters {
            fill(&mut state.weight, 1.0);
            fill(&mut state.bias, 0.0);
        }
        answered([(Field::Weight, &state.weight), (Field::Bias, &state.bias)])
    }

    fn buffers(&self) -> Fields {
        answered([
            (Field::RunningMean, &self.state.running_mean),
            (Field::RunningVar, &self.state.running_var),
        ])
    }
}

/// Those of the vectors that are floats: no pass accepts the others, none changes
/// them, and none answers them.
fn answered<const N: usize>(of: [(Field, &Option<Tensor>); N]) -> Fields {
    let float = |tensor: &Tensor| !matches!(tensor.dtype, DType::I64 | DType::Bool);
    of.into_iter().filter_map(|(field, vector)| Some((field, vector.clone().filter(float)?))).collect()
}

pub(super) use {with_layer, with_types};
