//! The crate `batchnorm` as an engine.
//!
//! A case carries its dtypes as data; `batchnorm` has them in its types. Between
//! the two stands `AnyLayer`, one variant per dtype of the parameters, and
//! `with_types`, which names the types that a pair of dtypes stands for. A pair
//! that batch norm does not take has no types: it is handed to the crate's
//! run-time checks, which refuse it when its turn comes.

mod any_layer;
mod arrays;
mod steps;
mod timing;

use std::collections::BTreeMap;

use ::batchnorm::Error;

use crate::capability::Capability;
use crate::case::{Case, Step};
use crate::engine::{About, Engine, EngineError, Offer};
use crate::outcome::{Field, Outcome, Refusal, RefusalKind};
use crate::protocol::timing::{Timed, Timing};
use crate::tensor::{DType, Tensor};
use any_layer::AnyLayer;
use steps::{Backward, dtype_of, play};

/// The engine: our own implementation, which claims everything.
pub struct BatchnormEngine {
    about: About,
}

impl Default for BatchnormEngine {
    fn default() -> Self {
        let about = About::new("batchnorm", env!("CARGO_PKG_VERSION"), Capability::all());
        BatchnormEngine { about: about.offering([Offer::Time]) }
    }
}

/// The arrays of an answer.
type Fields = BTreeMap<Field, Tensor>;

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

    fn time(&mut self, timing: &Timing) -> Result<Timed, EngineError> {
        timing::time(timing)
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
