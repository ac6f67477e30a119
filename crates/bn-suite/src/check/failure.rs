//! What can be wrong with an answer, in words that suffice to reproduce it.

use std::fmt;

use half::{bf16, f16};

use super::{Difference, ratio_text};
use crate::engine::EngineError;
use crate::outcome::{Field, Refusal, RefusalKind};
use crate::tensor::DType;

/// One thing wrong with a step, or with an answer as a whole.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// The engine crashed, took too long, or answered what is no answer; or it
    /// declined a case that needs only what it claims.
    NoAnswer(EngineError),
    /// Not one outcome per step.
    StepCount {
        /// Steps of the case.
        expected: usize,
        /// Outcomes of the answer.
        got: usize,
    },
    /// A step was refused that must be done.
    Refused {
        /// What the engine said.
        refusal: Refusal,
    },
    /// A step was done that must be refused.
    NotRefused {
        /// Why it must be refused.
        expected: RefusalKind,
        /// The arrays of the answer that hold NaN or an infinity.
        not_finite: Vec<Field>,
    },
    /// A step was refused for another reason than the one that holds.
    WrongRefusal {
        /// The reason that holds.
        expected: RefusalKind,
        /// What the engine said.
        refusal: Refusal,
    },
    /// An array is absent that was asked for.
    Missing {
        /// The array.
        field: Field,
    },
    /// An array was answered that was not asked for, or that the layer does not have.
    NotAsked {
        /// The array.
        field: Field,
    },
    /// An array of another shape.
    Shape {
        /// The array.
        field: Field,
        /// The right shape.
        expected: Vec<usize>,
        /// The answered one.
        got: Vec<usize>,
    },
    /// An array of another dtype.
    DType {
        /// The array.
        field: Field,
        /// The right dtype.
        expected: DType,
        /// The answered one.
        got: DType,
    },
    /// An array whose data do not fit its own shape and dtype.
    NotAnArray {
        /// The array.
        field: Field,
        /// What does not fit.
        problem: String,
    },
    /// The right elements in the wrong places of memory.
    MemoryOrder {
        /// The array.
        field: Field,
        /// The orders that are right.
        expected: String,
        /// The answered one.
        got: String,
    },
    /// The counter of training batches is wrong.
    Counter {
        /// The right count; none where the layer has no counter.
        expected: Option<i64>,
        /// The answered one.
        got: Option<i64>,
    },
    /// Elements further from the truth than allowed.
    Elements {
        /// The array.
        field: Field,
        /// Its dtype, in which the bits are shown.
        dtype: DType,
        /// The worst element.
        worst: Difference,
        /// Its place along each axis.
        multi_index: Vec<usize>,
        /// How many elements are wrong.
        failing: usize,
        /// How many there are.
        elements: usize,
    },
    /// The case passes although the catalogue says that this engine fails it.
    DisputeNotNeeded {
        /// The catalogue's note.
        note: String,
    },
}

impl Fault {
    /// A short word for the kind of fault, as reports carry it.
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::NoAnswer(EngineError::Unsupported(_)) => "claimed_but_unsupported",
            Fault::NoAnswer(EngineError::Failed(_)) => "failed",
            Fault::NoAnswer(EngineError::Crashed(_)) => "crashed",
            Fault::NoAnswer(EngineError::TimedOut { .. }) => "timed_out",
            Fault::NoAnswer(EngineError::Malformed(_)) => "malformed",
            Fault::NoAnswer(EngineError::NotStarted(_)) => "not_started",
            Fault::NoAnswer(EngineError::GivenUp(_)) => "given_up",
            Fault::StepCount { .. } => "step_count",
            Fault::Refused { .. } => "refused",
            Fault::NotRefused { .. } => "not_refused",
            Fault::WrongRefusal { .. } => "wrong_refusal",
            Fault::Missing { .. } => "missing",
            Fault::NotAsked { .. } => "not_asked",
            Fault::Shape { .. } => "shape",
            Fault::DType { .. } => "dtype",
            Fault::NotAnArray { .. } => "not_an_array",
            Fault::MemoryOrder { .. } => "memory_order",
            Fault::Counter { .. } => "counter",
            Fault::Elements { .. } => "elements",
            Fault::DisputeNotNeeded { .. } => "dispute_not_needed",
        }
    }

    /// The array at fault, or `num_batches_tracked`.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Fault::Missing { field }
            | Fault::NotAsked { field }
            | Fault::Shape { field, .. }
            | Fault::DType { field, .. }
            | Fault::NotAnArray { field, .. }
            | Fault::MemoryOrder { field, .. }
            | Fault::Elements { field, .. } => Some(field.name()),
            Fault::Counter { .. } => Some("num_batches_tracked"),
            _ => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |n: &Option<i64>| n.map_or("none".to_owned(), |n| n.to_string());
        match self {
            Fault::NoAnswer(EngineError::Unsupported(why)) => {
                write!(f, "the engine claims all that this case needs, and answered \"unsupported\": {why}")
            }
            Fault::NoAnswer(error) => error.fmt(f),
            Fault::StepCount { expected, got } => {
                write!(f, "expected {expected} outcomes, one per step, got {got}")
            }
            Fault::Refused { refusal: Refusal { kind, message } } => {
                write!(f, "expected an answer, got a refusal ({}): {message}", kind.name())
            }
            Fault::NotRefused { expected, not_finite } => {
                write!(f, "expected a refusal ({}), got an answer", expected.name())?;
                let names: Vec<&str> = not_finite.iter().map(|field| field.name()).collect();
                match names.as_slice() {
                    [] => Ok(()),
                    names => write!(f, " with NaN or infinity in {}", names.join(", ")),
                }
            }
            Fault::WrongRefusal { expected, refusal: Refusal { kind, message } } => {
                write!(
                    f,
                    "expected a refusal ({}), got another ({}): {message}",
                    expected.name(),
                    kind.name()
                )
            }
            Fault::Missing { field } => write!(f, "{field}: expected an array, got none"),
            Fault::NotAsked { field } => {
                write!(f, "{field}: expected none, since it was not asked for, got an array")
            }
            Fault::Shape { field, expected, got } => {
                write!(f, "{field}: expected shape {expected:?}, got {got:?}")
            }
            Fault::DType { field, expected, got } => {
                write!(f, "{field}: expected dtype {}, got {}", expected.name(), got.name())
            }
            Fault::NotAnArray { field, problem } => {
                write!(f, "{field}: not an array of its dtype and shape: {problem}")
            }
            Fault::MemoryOrder { field, expected, got } => {
                write!(f, "{field}: expected memory order {expected}, got {got}")
            }
            Fault::Counter { expected, got } => {
                write!(f, "num_batches_tracked: expected {}, got {}", count(expected), count(got))
            }
            Fault::Elements { field, dtype, worst, multi_index, failing, elements } => {
                let &Difference { index, got, expected, allowance } = worst;
                let place =
                    if multi_index.len() > 1 { format!(" at {multi_index:?}") } else { String::new() };
                writeln!(
                    f,
                    "{field}: {failing} of {elements} elements wrong, worst {field}[{index}]{place}"
                )?;
                writeln!(f, "    got        {} ({})", decimal(*dtype, got), bits(*dtype, got))?;
                writeln!(f, "    expected   {} ({})", decimal(*dtype, expected), bits(*dtype, expected))?;
                writeln!(f, "    allowance  {allowance:e}")?;
                write!(f, "    off by     {:e}: {}", worst.distance(), ratio_text(worst.ratio()))
            }
            Fault::DisputeNotNeeded { note } => {
                write!(f, "dispute no longer needed: the case passes, yet its note says: {note}")
            }
        }
    }
}

/// The place of a row-major index along each axis.
pub fn multi_index(index: usize, shape: &[usize]) -> Vec<usize> {
    let mut rest = index;
    let mut place: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&extent| {
            let at = rest % extent;
            rest /= extent;
            at
        })
        .collect();
    place.reverse();
    place
}

/// A value of `dtype` in the shortest decimal that names it in that dtype.
pub fn decimal(dtype: DType, value: f64) -> String {
    match dtype {
        DType::F32 => format!("{:?}", value as f32),
        // Exact in f32, whose shortest form is short enough.
        DType::F16 | DType::Bf16 => format!("{:?}", value as f32),
        DType::F64 => format!("{value:?}"),
        DType::I64 | DType::Bool => format!("{value}"),
    }
}

/// The bits of a value of `dtype`.
pub fn bits(dtype: DType, value: f64) -> String {
    // Conversions go through f32, in which every f16 and bf16 value is exact.
    match dtype {
        DType::F16 => format!("0x{:04x}", f16::from_f32(value as f32).to_bits()),
        DType::Bf16 => format!("0x{:04x}", bf16::from_f32(value as f32).to_bits()),
        DType::F32 => format!("0x{:08x}", (value as f32).to_bits()),
        DType::F64 => format!("0x{:016x}", value.to_bits()),
        DType::I64 | DType::Bool => format!("0x{:x}", value as i64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_unravelled_row_by_row() {
        assert_eq!(multi_index(0, &[2, 3, 4]), [0, 0, 0]);
        assert_eq!(multi_index(23, &[2, 3, 4]), [1, 2, 3]);
        assert_eq!(multi_index(5, &[2, 3, 1]), [1, 2, 0]);
    }

    #[test]
    fn values_are_shown_in_their_own_dtype() {
        assert_eq!(decimal(DType::F32, f64::from(0.1f32)), "0.1");
        assert_eq!(bits(DType::F32, f64::from(0.1f32)), "0x3dcccccd");
        assert_eq!(bits(DType::F64, 0.1), "0x3fb999999999999a");
        assert_eq!(bits(DType::F16, 1.0), "0x3c00");
        assert_eq!(bits(DType::Bf16, 1.0), "0x3f80");
        assert_eq!(bits(DType::I64, -1.0), "0xffffffffffffffff");
        assert_eq!(decimal(DType::Bf16, f64::NEG_INFINITY), "-inf");
    }
}
