//! Why libtorch stopped: a refusal, which is an answer, or a failure, which is not.

use bn_suite::outcome::{Refusal, RefusalKind};
use tch::TchError;

/// Why a step went no further.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Stop {
    /// libtorch, or the module around it, declined the step.
    #[error("refused ({}): {}", .0.kind.name(), .0.message)]
    Refused(Refusal),
    /// libtorch raised an exception that is none of the refusals it is known for.
    #[error("libtorch: {0}")]
    Raised(String),
    /// Something went wrong on this side: the case gets no answer.
    #[error("{0}")]
    Failed(String),
}

impl Stop {
    /// A refusal with the message that PyTorch gives.
    pub fn refused(kind: RefusalKind, message: impl Into<String>) -> Self {
        Stop::Refused(Refusal { kind, message: message.into() })
    }

    /// In a backward pass any exception is how PyTorch declines: autograd refuses
    /// for reasons of its own (a tensor that it keeps was changed, a derivative
    /// that it has not), which have no kind.
    pub fn of_autograd(self) -> Self {
        match self {
            Stop::Raised(message) => Stop::refused(RefusalKind::Unsorted, message),
            other => other,
        }
    }
}

/// libtorch's messages, each with the reason that it stands for. Compared by
/// content, since the numbers in them vary.
const MESSAGES: &[(&str, RefusalKind)] = &[
    ("Expected more than 1 value per channel", RefusalKind::TooFewValues),
    ("must either both be None or neither be None", RefusalKind::RunningStats),
    ("must be defined in evaluation mode", RefusalKind::RunningStats),
    ("should contain ", RefusalKind::NumFeatures),
    ("eps must be", RefusalKind::Eps),
    ("expected scalar type", RefusalKind::Dtype),
    ("mixed dtype (CPU)", RefusalKind::Dtype),
    ("not implemented for '", RefusalKind::Dtype),
    ("Only Tensors of floating point", RefusalKind::Dtype),
    // In evaluation, for parameters and buffers of different dtypes.
    (
        "INTERNAL ASSERT FAILED at \"/__w/pytorch/pytorch/aten/src/ATen/native/cpu/Loops.h\"",
        RefusalKind::Dtype,
    ),
];

impl From<TchError> for Stop {
    /// A known message is a refusal; any other is not, so that a fault of ours or
    /// of libtorch cannot pass for a refusal that a case expects.
    fn from(error: TchError) -> Self {
        let text = error.to_string();
        let message = first_line(&text);
        match MESSAGES.iter().find(|(part, _)| message.contains(part)) {
            Some(&(_, kind)) => Stop::refused(kind, message),
            None => Stop::Raised(message.into()),
        }
    }
}

/// The message without the C++ stack that libtorch appends.
fn first_line(text: &str) -> &str {
    let text = text.strip_prefix("Internal torch error: ").unwrap_or(text);
    text.lines().next().unwrap_or_default()
}
