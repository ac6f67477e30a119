//! What a row says besides its shape: the operation, the dtype, the layout, the state
//! of the cache.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "axes", derive(clap::ValueEnum, schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Op {
    /// Statistics of the batch, output, update of the running statistics.
    ForwardTrain,
    /// Output by the running statistics.
    ForwardEval,
    /// grad_input, grad_weight and grad_bias of a training pass.
    BackwardTrain,
    /// The same of an evaluation pass.
    BackwardEval,
    /// relu of [`Self::ForwardTrain`]'s output.
    ForwardTrainRelu,
    /// relu of that output and another array, added.
    ForwardTrainAddRelu,
    /// relu of [`Self::ForwardEval`]'s output.
    ForwardEvalRelu,
    /// [`Self::BackwardTrain`] through a relu.
    BackwardTrainRelu,
    /// The same, and the gradient of the other array.
    BackwardTrainAddRelu,
}

impl Op {
    /// As the record has it: `forward-train`.
    pub fn name(self) -> &'static str {
        match self {
            Op::ForwardTrain => "forward-train",
            Op::ForwardEval => "forward-eval",
            Op::BackwardTrain => "backward-train",
            Op::BackwardEval => "backward-eval",
            Op::ForwardTrainRelu => "forward-train-relu",
            Op::ForwardTrainAddRelu => "forward-train-add-relu",
            Op::ForwardEvalRelu => "forward-eval-relu",
            Op::BackwardTrainRelu => "backward-train-relu",
            Op::BackwardTrainAddRelu => "backward-train-add-relu",
        }
    }

    /// The batch norm in it: [`Self::ForwardTrain`] of [`Self::ForwardTrainAddRelu`].
    pub fn norm(self) -> Op {
        match self {
            Op::ForwardTrain | Op::ForwardTrainRelu | Op::ForwardTrainAddRelu => Op::ForwardTrain,
            Op::ForwardEval | Op::ForwardEvalRelu => Op::ForwardEval,
            Op::BackwardTrain | Op::BackwardTrainRelu | Op::BackwardTrainAddRelu => Op::BackwardTrain,
            Op::BackwardEval => Op::BackwardEval,
        }
    }

    /// Whether the batch norm is followed by relu.
    pub fn relu(self) -> bool {
        self != self.norm()
    }

    /// Whether another array is added before that.
    pub fn adds(self) -> bool {
        matches!(self, Op::ForwardTrainAddRelu | Op::BackwardTrainAddRelu)
    }

    /// Whether the statistics are the batch's.
    pub fn trains(self) -> bool {
        matches!(self.norm(), Op::ForwardTrain | Op::BackwardTrain)
    }

    /// Whether the results are gradients.
    pub fn is_backward(self) -> bool {
        matches!(self.norm(), Op::BackwardTrain | Op::BackwardEval)
    }

    /// How many arrays of the input's size must cross the bus at the least: x and y
    /// forward; x, grad_output and grad_input backward. (In evaluation too: grad_weight
    /// = Σ grad_output·x̂ reads x.) What is added, or its gradient, is one more. Of relu
    /// a bit for each element would do.
    pub fn streams(self) -> usize {
        (if self.is_backward() { 3 } else { 2 }) + usize::from(self.adds())
    }
}

/// What the input, the output and their gradients are made of. Parameters and buffers
/// are f64 beside f64, and f32 beside the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "axes", derive(clap::ValueEnum, schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum DType {
    /// IEEE binary32.
    F32,
    /// IEEE binary64.
    F64,
    /// bfloat16.
    Bf16,
    /// IEEE binary16.
    F16,
}

impl DType {
    /// As the record has it: `f32`.
    pub fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::Bf16 => "bf16",
            DType::F16 => "f16",
        }
    }

    /// Bytes of a number.
    pub fn bytes(self) -> usize {
        match self {
            DType::F64 => 8,
            DType::F32 => 4,
            DType::Bf16 | DType::F16 => 2,
        }
    }
}

/// Where the channel axis lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "axes", derive(clap::ValueEnum, schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// N, C, *: a channel's values of one sample lie side by side.
    Contiguous,
    /// N, *, C: the channels of one place lie side by side.
    ChannelsLast,
}

impl Layout {
    /// As the record has it: `channels-last`.
    pub fn name(self) -> &'static str {
        match self {
            Layout::Contiguous => "contiguous",
            Layout::ChannelsLast => "channels-last",
        }
    }
}

/// What the caches hold when a sample begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "axes", derive(clap::ValueEnum, schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Cache {
    /// What an untimed call of the same contestant has left there.
    Warm,
    /// Something else: a buffer larger than the last cache was read in between.
    Cold,
}

impl Cache {
    /// As the record has it: `cold`.
    pub fn name(self) -> &'static str {
        match self {
            Cache::Warm => "warm",
            Cache::Cold => "cold",
        }
    }
}

macro_rules! displays_its_name {
    ($($axis:ty),*) => {$(
        impl fmt::Display for $axis {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    )*};
}

displays_its_name!(Op, DType, Layout, Cache);

#[cfg(all(test, feature = "axes"))]
mod tests {
    use clap::ValueEnum;

    use super::*;

    /// The command line, the record and the tables use one name each.
    #[test]
    fn an_axis_has_one_name() {
        fn check<A: ValueEnum + Serialize + fmt::Display>() {
            for value in A::value_variants() {
                let name = value.to_string();
                assert_eq!(value.to_possible_value().unwrap().get_name(), name);
                assert_eq!(serde_json::to_value(value).unwrap(), serde_json::json!(name));
            }
        }
        check::<Op>();
        check::<DType>();
        check::<Layout>();
        check::<Cache>();
    }
}
