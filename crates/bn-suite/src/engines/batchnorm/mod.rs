//! The crate `batchnorm` as an engine.
//!
//! A case carries its dtypes as data; `batchnorm` has them in its types. Between
//! the two stands [`AnyLayer`], one variant per dtype of the parameters, and
//! [`with_types`], which names the types that a pair of dtypes stands for. A pair
//! that batch norm does not take has no types: it is handed to the crate's
//! run-time checks, which refuse it when its turn comes.

mod arrays;

use std::collections::BTreeMap;

use ::batchnorm::admit::{Request, Signature};
use ::batchnorm::{BatchNorm, Config, Error, Map, MixesWith, Momentum, OutputMask, Saved, check_dtypes};
use half::{bf16, f16};
use ndarray::Array1;

use crate::capability::Capability;
use crate::case::{self, Case, Fold, FoldInto, Mode, Pass, Reset, Step};
use crate::engine::{About, Engine, EngineError};
use crate::outcome::{Field, Outcome, Refusal, RefusalKind};
use crate::tensor::{DType, Layout, Tensor};
use arrays::{Buffer, our_dtype, tensor, vector};

/// The engine: our own implementation, which claims everything.
pub struct BatchnormEngine {
    about: About,
}

impl Default for BatchnormEngine {
    fn default() -> Self {
        let about = About {
            name: "batchnorm".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            claims: Capability::all(),
        };
        BatchnormEngine { about }
    }
}

/// The arrays of an answer.
type Fields = BTreeMap<Field, Tensor>;

/// The backward passes of a step, to run now or later.
type Backward<'c> = Box<dyn FnOnce() -> Result<Fields, Stop> + 'c>;

impl Engine for BatchnormEngine {
    fn about(&self) -> &About {
        &self.about
    }

    fn run(&mut self, case: &Case) -> Result<Vec<Outcome>, EngineError> {
        let mut layer = AnyLayer::new(case, DType::F32, case.state.num_batches_tracked);
        let mut outcomes: Vec<Outcome> = Vec::new();
        let mut at_end: Vec<(usize, Backward)> = Vec::new();
        for (index, step) in case.steps.iter().enumerate() {
            if case.state.tensors().next().is_none() {
                // Nothing fixes the layer's dtype: each input brings its own.
                layer = AnyLayer::new(case, dtype_of(step), layer.counter());
            }
            let mut answer = play(&mut layer, step);
            if let (Ok((_, backward)), Step::BatchNorm(pass)) = (&mut answer, step)
                && pass.backward_at_end
                && let Some(backward) = backward.take()
            {
                at_end.push((index, backward));
            }
            let fields = answer.and_then(|(fields, backward)| with_gradients(fields, backward));
            outcomes.push(layer.outcome(fields)?);
        }
        for (index, backward) in at_end {
            let outcome = &mut outcomes[index];
            match backward() {
                Ok(fields) => outcome.fields.extend(fields),
                Err(stop) => {
                    outcome.refused = Some(stop.refusal()?);
                    outcome.fields.retain(|field, _| matches!(field, Field::RunningMean | Field::RunningVar));
                }
            }
        }
        Ok(outcomes)
    }
}

fn with_gradients(mut fields: Fields, backward: Option<Backward>) -> Result<Fields, Stop> {
    if let Some(backward) = backward {
        fields.extend(backward()?);
    }
    Ok(fields)
}

/// Why a step ended early.
enum Stop {
    /// The layer refused it.
    Refused(Refusal),
    /// This adapter cannot put the question.
    Unable(EngineError),
}

impl Stop {
    fn refusal(self) -> Result<Refusal, EngineError> {
        match self {
            Stop::Refused(refusal) => Ok(refusal),
            Stop::Unable(error) => Err(error),
        }
    }

    fn dtype(message: String) -> Self {
        Stop::Refused(Refusal { kind: RefusalKind::Dtype, message })
    }
}

impl From<EngineError> for Stop {
    fn from(error: EngineError) -> Self {
        Stop::Unable(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Rank { .. } => RefusalKind::Rank,
            Error::CounterZero => RefusalKind::CounterZero,
            Error::TooFewValues { .. } => RefusalKind::TooFewValues,
            Error::UnpairedRunningStats { .. } | Error::MissingRunningStat { .. } => {
                RefusalKind::RunningStats
            }
            Error::NumFeatures { .. } => RefusalKind::NumFeatures,
            Error::Dtype { .. } | Error::UnknownDtype { .. } => RefusalKind::Dtype,
            Error::EpsNotPositive { .. } | Error::EpsNegative { .. } => RefusalKind::Eps,
            Error::Shape { .. } | Error::NoParts | Error::MapWeight { .. } => RefusalKind::Shape,
            Error::MissingEntry { .. } | Error::UnexpectedEntry { .. } | Error::EntryKind { .. } => {
                RefusalKind::Unsorted
            }
        };
        Stop::Refused(Refusal { kind, message: error.to_string() })
    }
}

/// A layer, its parameter dtype known at run time.
enum AnyLayer {
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
    fn new(case: &Case, input: DType, num_batches_tracked: Option<i64>) -> Self {
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

    fn counter(&self) -> Option<i64> {
        with_layer!(self, |layer| layer.state().num_batches_tracked)
    }

    /// What the step answers: its arrays and the buffers, or the buffers alone.
    fn outcome(&self, answer: Result<Fields, Stop>) -> Result<Outcome, EngineError> {
        let (mut fields, refused) = match answer {
            Ok(fields) => (fields, None),
            Err(stop) => (Fields::new(), Some(stop.refusal()?)),
        };
        fields.extend(with_layer!(self, |layer| layer.buffers()));
        Ok(Outcome { fields, num_batches_tracked: self.counter(), refused })
    }

    /// The refusal of an input whose dtype this layer does not take.
    fn refuse(&mut self, training: bool, dtype: DType, shape: &[usize]) -> Stop {
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
trait Held {
    /// Dtypes and lengths of what the layer has.
    fn held(&self) -> Signature;
    /// The running statistics, as they are.
    fn buffers(&self) -> Fields;
    /// Resets, and answers the parameters.
    fn reset(&mut self, what: Reset) -> Result<Fields, Stop>;
}

impl<P: ::batchnorm::Element> Held for BatchNorm<P> {
    fn held(&self) -> Signature {
        self.state().signature()
    }

    fn reset(&mut self, what: Reset) -> Result<Fields, Stop> {
        match what {
            Reset::RunningStats => self.reset_running_stats(),
            Reset::Parameters => self.reset_parameters(),
        }
        let state = self.state();
        Ok(vectors([(Field::Weight, &state.weight), (Field::Bias, &state.bias)]))
    }

    fn buffers(&self) -> Fields {
        let state = self.state();
        let both = [(Field::RunningMean, &state.running_mean), (Field::RunningVar, &state.running_var)];
        vectors(both)
    }
}

fn vectors<P: ::batchnorm::Element, const N: usize>(of: [(Field, &Option<Array1<P>>); N]) -> Fields {
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

fn rank(of: case::Rank) -> ::batchnorm::Rank {
    match of {
        case::Rank::One => ::batchnorm::Rank::One,
        case::Rank::Two => ::batchnorm::Rank::Two,
        case::Rank::Three => ::batchnorm::Rank::Three,
        case::Rank::Any => ::batchnorm::Rank::Any,
    }
}

fn typed<P: ::batchnorm::Element>(case: &Case, num_batches_tracked: Option<i64>) -> BatchNorm<P> {
    let state = ::batchnorm::State {
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
struct Foreign {
    rank: ::batchnorm::Rank,
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

    fn admit(
        &mut self,
        input: ::batchnorm::DType,
        shape: &[usize],
    ) -> Result<::batchnorm::admit::Plan, Error> {
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

    fn reset(&mut self, _: Reset) -> Result<Fields, Stop> {
        let dtypes: Vec<&str> = self.state.dtypes().into_iter().map(DType::name).collect();
        Err(Stop::Unable(EngineError::Unsupported(format!("a reset of parameters of dtypes {dtypes:?}"))))
    }

    /// No pass changes a buffer of a dtype that none accepts: such are not answered.
    fn buffers(&self) -> Fields {
        let both =
            [(Field::RunningMean, &self.state.running_mean), (Field::RunningVar, &self.state.running_var)];
        let float = |tensor: &Tensor| !matches!(tensor.dtype, DType::I64 | DType::Bool);
        both.into_iter().filter_map(|(field, t)| Some((field, t.clone().filter(float)?))).collect()
    }
}

/// The dtype that a step brings.
fn dtype_of(step: &Step) -> DType {
    match step {
        Step::BatchNorm(pass) => pass.input.dtype,
        Step::Fold(fold) => fold.weight.dtype,
        Step::Merge { parts } => parts.first().map_or(DType::F32, |part| part.dtype),
        Step::Reset { .. } => DType::F32,
    }
}

type Answer<'c> = Result<(Fields, Option<Backward<'c>>), Stop>;

fn play<'c>(layer: &mut AnyLayer, step: &'c Step) -> Answer<'c> {
    match step {
        Step::BatchNorm(pass) => {
            let (training, input) = (pass.mode == Mode::Train, &pass.input);
            with_types!(
                &mut *layer,
                input.dtype,
                |layer, T| passes::<T, _>(layer, pass),
                Err(layer.refuse(training, input.dtype, &input.shape))
            )
        }
        Step::Merge { parts } => {
            let joined = joined_shape(parts)?;
            let dtype = dtype_of(step);
            let fields = with_types!(
                &mut *layer,
                dtype,
                |layer, T| merge::<T, _>(layer, parts),
                Err(layer.refuse(true, dtype, &joined))
            );
            Ok((fields?, None))
        }
        Step::Fold(map) => {
            let fields = with_types!(
                &*layer,
                map.weight.dtype,
                |layer, T| fold::<T, _>(layer, map),
                Err(with_layer!(&*layer, |layer| refuse_fold(layer.held(), map.weight.dtype)))
            );
            Ok((fields?, None))
        }
        Step::Reset { what } => Ok((reset(layer, *what)?, None)),
    }
}

/// A forward pass, and its backward passes for when their time comes.
fn passes<'c, T: MixesWith<P>, P: ::batchnorm::Element>(
    layer: &mut BatchNorm<P>,
    pass: &'c Pass,
) -> Answer<'c> {
    let input = Buffer::<T>::new(&pass.input);
    layer.set_training(pass.mode == Mode::Train);
    let (output, saved) = layer.forward(input.view()?)?;
    let fields = Fields::from([(Field::Output, tensor(&output, &pass.input.layout))]);
    let Some(grad_output) = &pass.grad_output else { return Ok((fields, None)) };
    let backward = move || gradients(pass, &input, grad_output, &saved);
    Ok((fields, Some(Box::new(backward))))
}

fn gradients<T: MixesWith<P>, P: ::batchnorm::Element>(
    pass: &Pass,
    input: &Buffer<T>,
    grad_output: &Tensor,
    saved: &Saved<P>,
) -> Result<Fields, Stop> {
    let like = &pass.input.layout;
    let of_input = |given: &Tensor| match given.dtype == pass.input.dtype {
        true => Ok(Buffer::<T>::new(given)),
        false => Err(Stop::dtype(format!(
            "expected a gradient of dtype {}, got {}",
            pass.input.dtype.name(),
            given.dtype.name()
        ))),
    };
    let grad_output = of_input(grad_output)?;
    let mask = pass.output_mask.map_or(OutputMask::ALL, |mask| OutputMask {
        input: mask.input,
        weight: mask.weight,
        bias: mask.bias,
    });
    let first = saved.backward(input.view()?, grad_output.view()?, mask)?;
    let mut fields = vectors([(Field::GradWeight, &first.weight), (Field::GradBias, &first.bias)]);
    fields.extend(first.input.map(|array| (Field::GradInput, tensor(&array, like))));
    if let Some(cotangents) = &pass.cotangents {
        let u = cotangents.grad_input.as_ref().map(of_input).transpose()?;
        let u = u.as_ref().map(Buffer::view).transpose()?;
        let (v, t) = (vector(&cotangents.grad_weight), vector(&cotangents.grad_bias));
        let (v, t) = (v.as_ref().map(|v| v.view()), t.as_ref().map(|v| v.view()));
        let second = saved.double_backward(input.view()?, grad_output.view()?, u, v, t)?;
        fields.insert(Field::SecondGradOutput, tensor(&second.grad_output, like));
        fields.insert(Field::SecondGradInput, tensor(&second.input, like));
        fields.extend(vectors([(Field::SecondGradWeight, &second.weight)]));
    }
    Ok(fields)
}

/// The shape of the parts joined along N, where they have one dtype.
fn joined_shape(parts: &[Tensor]) -> Result<Vec<usize>, Stop> {
    let first = parts.first().ok_or(Error::NoParts)?;
    if let Some(other) = parts.iter().find(|part| part.dtype != first.dtype) {
        let (expected, actual) = (first.dtype.name(), other.dtype.name());
        return Err(Stop::dtype(format!("expected parts of dtype {expected}, got {actual}")));
    }
    let mut shape = first.shape.clone();
    if let Some(n) = shape.first_mut() {
        *n = parts.iter().filter_map(|part| part.shape.first()).sum();
    }
    Ok(shape)
}

fn merge<T: MixesWith<P>, P: ::batchnorm::Element>(
    layer: &mut BatchNorm<P>,
    parts: &[Tensor],
) -> Result<Fields, Stop> {
    layer.set_training(true);
    let buffers: Vec<Buffer<T>> = parts.iter().map(Buffer::new).collect();
    let views = buffers.iter().map(Buffer::view).collect::<Result<Vec<_>, _>>()?;
    let (outputs, saved) = layer.forward_parts(&views)?;
    let outputs: Vec<_> = outputs.iter().map(|output| output.view()).collect();
    let joined = ndarray::concatenate(ndarray::Axis(0), &outputs).expect("the parts were joined before");
    let moments = saved.moments().expect("a training pass measures");
    let measured = |value: fn(&::batchnorm::Moments) -> f64| {
        Some(moments.iter().map(|m| P::from_f64(value(m))).collect::<Array1<P>>())
    };
    let (mean, var) = (measured(|m| m.mean()), measured(|m| m.var_biased()));
    let mut fields = vectors([(Field::Mean, &mean), (Field::VarBiased, &var)]);
    let joined = joined.as_standard_layout().into_owned();
    fields.insert(Field::Output, tensor(&joined, &Layout::Contiguous));
    Ok(fields)
}

fn fold<T: MixesWith<P>, P: ::batchnorm::Element>(layer: &BatchNorm<P>, fold: &Fold) -> Result<Fields, Stop> {
    let map = match fold.into {
        FoldInto::Linear => Map::Linear,
        FoldInto::Conv => Map::Conv { groups: fold.groups },
        FoldInto::ConvTranspose => Map::ConvTranspose { groups: fold.groups },
    };
    let (weight, bias) = (Buffer::<T>::new(&fold.weight), vector::<T>(&fold.bias));
    let (weight, bias) = layer.fold(map, weight.view()?, bias.as_ref().map(|v| v.view()))?;
    let plain = &Layout::Contiguous;
    Ok([(Field::FoldedWeight, tensor(&weight, plain)), (Field::FoldedBias, tensor(&bias, plain))].into())
}

/// The refusal of a map whose dtype the layer does not take.
fn refuse_fold(held: Signature, weight: DType) -> Stop {
    let missing = [("running_mean", held.running_mean), ("running_var", held.running_var)];
    if let Some((name, _)) = missing.into_iter().find(|(_, vector)| vector.is_none()) {
        return Error::MissingRunningStat { name }.into();
    }
    match check_dtypes(our_dtype(weight), &held.dtypes()) {
        Err(error) => error.into(),
        Ok(()) => unreachable!("a mix that is admitted has types"),
    }
}

fn reset(layer: &mut AnyLayer, what: Reset) -> Result<Fields, Stop> {
    with_layer!(layer, |layer| layer.reset(what))
}
