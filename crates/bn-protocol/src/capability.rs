//! What an engine may claim, and what a case needs: derived from the case
//! itself, so that no case can be mislabelled.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::case::{Case, Mode, Pass, Rank, Step};
use crate::tensor::{DType, Layout, Tensor};

/// One thing that an engine can or cannot do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// f64 input with f64 parameters.
    F64,
    /// f32 input with f32 parameters.
    F32,
    /// f16 input with f32 parameters.
    F16WithF32,
    /// bf16 input with f32 parameters.
    Bf16WithF32,
    /// f16 throughout.
    F16,
    /// bf16 throughout.
    Bf16,
    /// Answers a mix of dtypes outside the list above (which must be refused).
    OtherDtypes,
    /// Training forward passes.
    Train,
    /// Evaluation forward passes.
    Eval,
    /// First gradients of a training forward pass.
    TrainBackward,
    /// First gradients of an evaluation forward pass.
    EvalBackward,
    /// Second gradients.
    DoubleBackward,
    /// Backward passes that run after later forward passes.
    DeferredBackward,
    /// Any choice of the gradients asked for.
    OutputMask,
    /// Layers without weight and bias.
    NoAffine,
    /// Layers with a weight and no bias, or a bias and no weight.
    PartialAffine,
    /// `track_running_stats=False`, and layers without running statistics.
    NoTracking,
    /// Momentum null: the cumulative average.
    CumulativeMomentum,
    /// The counter of training batches.
    Counter,
    /// (N, C) and (N, C, L) input.
    #[serde(rename = "rank_1d")]
    Rank1d,
    /// (N, C, H, W) input.
    #[serde(rename = "rank_2d")]
    Rank2d,
    /// (N, C, D, H, W) input.
    #[serde(rename = "rank_3d")]
    Rank3d,
    /// Layers that take any rank from 2 up.
    RankAny,
    /// Channels-last input, and output in the same order.
    ChannelsLast,
    /// Input with arbitrary strides and offset.
    Strided,
    /// N = 0, or a spatial extent of 0, or no channels.
    Empty,
    /// Resets of the running statistics and the parameters.
    Reset,
    /// Folding into a linear map or convolution.
    Fold,
    /// Batches that arrive in parts.
    Merge,
}

impl Capability {
    /// Everything there is to claim.
    pub fn all() -> BTreeSet<Capability> {
        use Capability::*;
        [
            F64,
            F32,
            F16WithF32,
            Bf16WithF32,
            F16,
            Bf16,
            OtherDtypes,
            Train,
            Eval,
            TrainBackward,
            EvalBackward,
            DoubleBackward,
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
            Fold,
            Merge,
        ]
        .into()
    }

    /// The name in JSON and in messages.
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            other => unreachable!("a unit variant serialises to a string, not {other:?}"),
        }
    }
}

impl Case {
    /// What an engine must be able to do to answer this case.
    pub fn requires(&self) -> BTreeSet<Capability> {
        let mut needs = BTreeSet::new();
        let state = &self.state;
        needs.insert(match self.layer.rank {
            Rank::One => Capability::Rank1d,
            Rank::Two => Capability::Rank2d,
            Rank::Three => Capability::Rank3d,
            Rank::Any => Capability::RankAny,
        });
        match (&state.weight, &state.bias) {
            (None, None) => _ = needs.insert(Capability::NoAffine),
            (Some(_), Some(_)) => {}
            _ => _ = needs.insert(Capability::PartialAffine),
        }
        if !self.layer.track_running_stats || state.running_mean.is_none() || state.running_var.is_none() {
            needs.insert(Capability::NoTracking);
        }
        if self.layer.momentum.is_none() {
            needs.insert(Capability::CumulativeMomentum);
        }
        if state.num_batches_tracked.is_some() {
            needs.insert(Capability::Counter);
        }
        for step in &self.steps {
            match step {
                Step::BatchNorm(pass) => self.pass_requires(pass, &mut needs),
                Step::Reset { .. } => _ = needs.insert(Capability::Reset),
                Step::Fold(fold) => {
                    needs.insert(Capability::Fold);
                    needs.insert(self.dtype_requires(fold.weight.dtype));
                }
                Step::Merge { parts } => {
                    needs.insert(Capability::Merge);
                    for part in parts {
                        self.input_requires(part, &mut needs);
                    }
                }
            }
        }
        needs
    }

    fn pass_requires(&self, pass: &Pass, needs: &mut BTreeSet<Capability>) {
        self.input_requires(&pass.input, needs);
        if pass.input.is_empty() {
            needs.insert(Capability::Empty);
        }
        needs.insert(match pass.mode {
            Mode::Train => Capability::Train,
            Mode::Eval => Capability::Eval,
        });
        if pass.grad_output.is_some() {
            needs.insert(match pass.mode {
                Mode::Train => Capability::TrainBackward,
                Mode::Eval => Capability::EvalBackward,
            });
        }
        if pass.output_mask.is_some() {
            needs.insert(Capability::OutputMask);
        }
        if pass.backward_at_end {
            needs.insert(Capability::DeferredBackward);
        }
        if pass.cotangents.is_some() {
            needs.insert(Capability::DoubleBackward);
        }
    }

    fn input_requires(&self, input: &Tensor, needs: &mut BTreeSet<Capability>) {
        needs.insert(self.dtype_requires(input.dtype));
        match input.layout {
            Layout::Contiguous => {}
            Layout::ChannelsLast => _ = needs.insert(Capability::ChannelsLast),
            Layout::Strided { .. } => _ = needs.insert(Capability::Strided),
        }
    }

    /// The mix of the input's dtype with those of the parameters and buffers.
    fn dtype_requires(&self, input: DType) -> Capability {
        match (input, self.state.dtypes().as_slice()) {
            (DType::F64, [] | [DType::F64]) => Capability::F64,
            (DType::F32, [] | [DType::F32]) => Capability::F32,
            (DType::F16, [DType::F32]) => Capability::F16WithF32,
            (DType::Bf16, [DType::F32]) => Capability::Bf16WithF32,
            (DType::F16, [] | [DType::F16]) => Capability::F16,
            (DType::Bf16, [] | [DType::Bf16]) => Capability::Bf16,
            _ => Capability::OtherDtypes,
        }
    }
}

impl crate::case::State {
    /// The parameters and buffers that are present, in PyTorch's order.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        [&self.weight, &self.bias, &self.running_mean, &self.running_var].into_iter().flatten()
    }

    /// The dtypes among the parameters and buffers, each once.
    pub fn dtypes(&self) -> Vec<DType> {
        let distinct: BTreeSet<DType> = self.tensors().map(|tensor| tensor.dtype).collect();
        distinct.into_iter().collect()
    }
}
