//! The kernels before the conformance suite.

mod tensors;

use batchnorm::{Config, Error as Refused, Momentum, OutputMask, Rank};
use bn_suite::capability::Capability;
use bn_suite::case::{self, Case, Mode, Pass, Reset, Step};
use bn_suite::engine::{About, Engine, EngineError};
use bn_suite::outcome::{Field, Outcome, Refusal, RefusalKind};
use bn_suite::tensor::Tensor;

use self::tensors::{download, download_vector, dtype, is_computed_with, upload, upload_vector};
use crate::array::{Array, Vector};
use crate::device::Device;
use crate::layer::{BatchNorm, Error, Saved, State};

/// [`BatchNorm`] over a device, as an engine.
pub struct CudaEngine<D: Device> {
    about: About,
    device: D,
}

impl<D: Device> CudaEngine<D> {
    /// An engine of that name on that device.
    pub fn new(name: &str, device: D) -> Self {
        use Capability::*;
        let version = format!("{} on {}", env!("CARGO_PKG_VERSION"), device.name());
        let claims = [
            F32,
            F16WithF32,
            Bf16WithF32,
            OtherDtypes,
            Train,
            Eval,
            TrainBackward,
            EvalBackward,
            DeferredBackward,
            OutputMask,
            NoAffine,
            PartialAffine,
            NoTracking,
            CumulativeMomentum,
            Counter,
            Rank1d,
            Rank2d,
            Rank3d,
            RankAny,
            ChannelsLast,
            Strided,
            Empty,
            Reset,
        ];
        CudaEngine { about: About::new(name, &version, claims), device }
    }

    /// The device.
    pub fn device(&self) -> &D {
        &self.device
    }
}

impl<D: Device> Engine for CudaEngine<D> {
    fn about(&self) -> &About {
        &self.about
    }

    fn run(&mut self, case: &Case) -> Result<Vec<Outcome>, EngineError> {
        let mut player = Player::new(&self.device, case)?;
        let mut at_end = Vec::new();
        let mut outcomes = Vec::with_capacity(case.steps.len());
        for (index, step) in case.steps.iter().enumerate() {
            let mut outcome = Outcome::default();
            let answer = player.step(step, &mut outcome);
            let backward = player.refused_or(answer, &mut outcome)?.flatten();
            player.answer_buffers(&mut outcome)?;
            if let (Some(backward), Step::BatchNorm(pass)) = (backward, step) {
                if pass.backward_at_end {
                    at_end.push((index, pass, backward));
                } else {
                    let answer = player.backward(pass, backward, &mut outcome);
                    player.refused_or(answer, &mut outcome)?;
                }
            }
            outcomes.push(outcome);
        }
        for (index, pass, backward) in at_end {
            let answer = player.backward(pass, backward, &mut outcomes[index]);
            player.refused_or(answer, &mut outcomes[index])?;
        }
        Ok(outcomes)
    }
}

/// A forward pass whose gradients are asked for.
struct Forward<D: Device> {
    input: Array<D>,
    saved: Saved<D>,
}

/// A case in play.
struct Player<'a, D: Device> {
    device: &'a D,
    layer: BatchNorm<D>,
}

impl<'a, D: Device> Player<'a, D> {
    fn new(device: &'a D, case: &Case) -> Result<Self, EngineError> {
        let vector = |tensor: &Option<Tensor>| {
            tensor.as_ref().map(|tensor| upload_vector(device, tensor)).transpose().map_err(failed)
        };
        let held = &case.state;
        let state = State {
            weight: vector(&held.weight)?,
            bias: vector(&held.bias)?,
            running_mean: vector(&held.running_mean)?,
            running_var: vector(&held.running_var)?,
            num_batches_tracked: held.num_batches_tracked,
        };
        Ok(Player { device, layer: BatchNorm::new(rank(case.layer.rank), config(case), state) })
    }

    /// Plays a step's forward part; what its backward part needs, where there is one.
    fn step(&mut self, step: &Step, outcome: &mut Outcome) -> Result<Option<Forward<D>>, Stop> {
        match step {
            Step::BatchNorm(pass) => self.forward(pass, outcome),
            Step::Reset { what } => self.reset(*what, outcome).map(|()| None),
            Step::Fold(_) => Err(Stop::Unable(EngineError::Unsupported("folding".into()))),
            Step::Merge { .. } => Err(Stop::Unable(EngineError::Unsupported("a batch in parts".into()))),
        }
    }

    fn forward(&mut self, pass: &Pass, outcome: &mut Outcome) -> Result<Option<Forward<D>>, Stop> {
        self.layer.set_training(pass.mode == Mode::Train);
        let (given, shape) = (dtype(pass.input.dtype), &pass.input.shape);
        if !is_computed_with(given) {
            // There is no kernel to run, but there may be a reason to refuse.
            self.layer.admit(given, shape)?;
            return Err(Stop::Unable(EngineError::Unsupported(format!("{given} input"))));
        }
        if shape.len() < 2 {
            self.layer.admit(given, shape)?;
        }
        let input = upload(self.device, &pass.input)?;
        let (output, saved) = self.layer.forward(self.device, &input)?;
        outcome.fields.insert(Field::Output, download(self.device, &output, &pass.input.layout)?);
        Ok(pass.grad_output.is_some().then_some(Forward { input, saved }))
    }

    fn backward(&self, pass: &Pass, forward: Forward<D>, outcome: &mut Outcome) -> Result<(), Stop> {
        let Some(grad_output) = &pass.grad_output else { return Ok(()) };
        if grad_output.dtype != pass.input.dtype {
            let (expected, actual) = (pass.input.dtype.name(), grad_output.dtype.name());
            let message = format!("expected a gradient of dtype {expected}, got {actual}");
            return Err(Stop::Refused(Refusal { kind: RefusalKind::Dtype, message }));
        }
        let mask = pass.output_mask.map_or(OutputMask::ALL, |mask| OutputMask {
            input: mask.input,
            weight: mask.weight,
            bias: mask.bias,
        });
        let Forward { input, saved } = forward;
        let grad_output = upload(self.device, grad_output)?;
        let gradients = self.layer.backward(self.device, &saved, &input, &grad_output, mask)?;
        if let Some(gradient) = &gradients.input {
            outcome.fields.insert(Field::GradInput, download(self.device, gradient, &pass.input.layout)?);
        }
        self.answer(outcome, Field::GradWeight, &gradients.weight)?;
        self.answer(outcome, Field::GradBias, &gradients.bias)?;
        Ok(())
    }

    fn reset(&mut self, what: Reset, outcome: &mut Outcome) -> Result<(), Stop> {
        match what {
            Reset::RunningStats => self.layer.reset_running_stats(self.device)?,
            Reset::Parameters => self.layer.reset_parameters(self.device)?,
        }
        self.answer(outcome, Field::Weight, &self.layer.state().weight)?;
        self.answer(outcome, Field::Bias, &self.layer.state().bias)?;
        Ok(())
    }

    fn answer_buffers(&self, outcome: &mut Outcome) -> Result<(), EngineError> {
        let state = self.layer.state();
        self.answer(outcome, Field::RunningMean, &state.running_mean).map_err(failed)?;
        self.answer(outcome, Field::RunningVar, &state.running_var).map_err(failed)?;
        outcome.num_batches_tracked = state.num_batches_tracked;
        Ok(())
    }

    /// Answers a vector, where there is one and its dtype is one to answer in.
    fn answer(&self, outcome: &mut Outcome, field: Field, vector: &Option<Vector<D>>) -> Result<(), Error> {
        if let Some(vector) = vector
            && let Some(tensor) = download_vector(self.device, vector)?
        {
            outcome.fields.insert(field, tensor);
        }
        Ok(())
    }

    /// Notes a refusal in the outcome, which then answers the buffers alone.
    fn refused_or<T>(
        &self,
        answer: Result<T, Stop>,
        outcome: &mut Outcome,
    ) -> Result<Option<T>, EngineError> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(Stop::Unable(error)) => Err(error),
            Err(Stop::Refused(refusal)) => {
                outcome.fields.retain(|field, _| matches!(field, Field::RunningMean | Field::RunningVar));
                outcome.refused = Some(refusal);
                Ok(None)
            }
        }
    }
}

/// Why a step ended early.
enum Stop {
    /// Batch norm refuses it.
    Refused(Refusal),
    /// It could not be put to the device, or the device failed.
    Unable(EngineError),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let kind = match error {
            Error::Refused(refused) => kind(&refused),
            Error::Unsupported { .. } | Error::Axes { .. } => {
                return Stop::Unable(EngineError::Unsupported(message));
            }
            error => return Stop::Unable(failed(error)),
        };
        Stop::Refused(Refusal { kind, message })
    }
}

fn kind(refused: &Refused) -> RefusalKind {
    match refused {
        Refused::Rank { .. } => RefusalKind::Rank,
        Refused::CounterZero => RefusalKind::CounterZero,
        Refused::TooFewValues { .. } => RefusalKind::TooFewValues,
        Refused::UnpairedRunningStats { .. } | Refused::MissingRunningStat { .. } => {
            RefusalKind::RunningStats
        }
        Refused::NumFeatures { .. } => RefusalKind::NumFeatures,
        Refused::Dtype { .. } => RefusalKind::Dtype,
        Refused::EpsNotPositive { .. } | Refused::EpsNegative { .. } => RefusalKind::Eps,
        Refused::Shape { .. } => RefusalKind::Shape,
        _ => RefusalKind::Unsorted,
    }
}

fn failed(error: impl Into<Error>) -> EngineError {
    EngineError::Failed(error.into().to_string())
}

fn config(case: &Case) -> Config {
    let momentum = case.layer.momentum;
    Config {
        eps: case.layer.eps,
        momentum: momentum.map_or(Momentum::Cumulative, |momentum| Momentum::Exponential(momentum.0)),
        weight: case.state.weight.is_some(),
        bias: case.state.bias.is_some(),
        track_running_stats: case.layer.track_running_stats,
        ..Config::new(case.layer.num_features)
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
