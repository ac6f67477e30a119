//! What PyTorch refuses, and in which order, before and after a forward pass.

use super::channels::Extents;
use super::format::Format;
use super::module::{Module, Vector};
use crate::case::{Mode, Pass, Rank};
use crate::outcome::RefusalKind;
use crate::tensor::DType;

/// What the checks of a forward pass settle.
pub(super) struct Plan {
    /// `Train` where the batch's statistics are used, `Eval` where the running ones are.
    pub statistics: Mode,
    /// The weight of the new value, where the running statistics are updated.
    pub update: Option<f64>,
}

impl Module<'_> {
    /// The checks of PyTorch's module and functional forms, in their order. The
    /// counter rises before most of them.
    pub fn check(&mut self, mode: Mode, shape: &[usize], dtype: DType) -> Result<Plan, RefusalKind> {
        if !rank_fits(self.layer.rank, shape.len()) {
            return Err(RefusalKind::Rank);
        }
        let tracking = mode == Mode::Train && self.layer.track_running_stats;
        let factor = self.count_batch(tracking)?;
        let buffers = (self.running_mean.is_some(), self.running_var.is_some());
        let batch_statistics = mode == Mode::Train || buffers == (false, false);
        if batch_statistics && Extents::of(shape).per_channel() == 1 {
            return Err(RefusalKind::TooFewValues);
        }
        let eps = self.layer.eps;
        if (batch_statistics && eps <= 0.0) || eps < 0.0 {
            return Err(RefusalKind::Eps);
        }
        self.check_buffers(shape[1], tracking, !batch_statistics)?;
        self.check_dtypes(dtype)?;
        Ok(Plan {
            statistics: if batch_statistics { Mode::Train } else { Mode::Eval },
            update: (tracking && buffers.0).then_some(factor),
        })
    }

    /// Raises the counter where tracking, and gives the weight of the new value:
    /// momentum, or for the cumulative average 1/counter; without a counter 0.
    fn count_batch(&mut self, tracking: bool) -> Result<f64, RefusalKind> {
        let momentum = self.layer.momentum.map(|m| m.0);
        let Some(counter) = self.num_batches_tracked.as_mut().filter(|_| tracking) else {
            return Ok(momentum.unwrap_or(0.0));
        };
        // PyTorch's int64 wraps.
        *counter = counter.wrapping_add(1);
        match momentum {
            Some(momentum) => Ok(momentum),
            None if *counter == 0 => Err(RefusalKind::CounterZero),
            None => Ok(1.0 / *counter as f64),
        }
    }

    /// Each of running_mean, running_var, weight, bias in turn: a running statistic
    /// that evaluation needs may not be absent, and what is passed must have the
    /// right length. Only then does training miss the other running statistic.
    pub fn check_buffers(
        &self,
        channels: usize,
        tracking: bool,
        evaluating: bool,
    ) -> Result<(), RefusalKind> {
        let buffers = [&self.running_mean, &self.running_var];
        for buffer in buffers.into_iter().filter(|_| tracking || evaluating) {
            if buffer.is_none() && evaluating {
                return Err(RefusalKind::RunningStats);
            }
            check_length(buffer, channels)?;
        }
        check_length(&self.weight, channels)?;
        check_length(&self.bias, channels)?;
        if tracking && buffers[0].is_some() != buffers[1].is_some() {
            return Err(RefusalKind::RunningStats);
        }
        Ok(())
    }

    /// One floating-point dtype throughout, or f16 or bf16 input with f32 for all the rest.
    pub fn check_dtypes(&self, input: DType) -> Result<(), RefusalKind> {
        let all = |dtype: DType| self.vectors().all(|vector| vector.dtype == dtype);
        let low = matches!(input, DType::F16 | DType::Bf16);
        let allowed = Format::of(input).is_some() && (all(input) || (low && all(DType::F32)));
        if allowed { Ok(()) } else { Err(RefusalKind::Dtype) }
    }
}

fn check_length(vector: &Option<Vector>, channels: usize) -> Result<(), RefusalKind> {
    let fits = vector.as_ref().is_none_or(|vector| vector.values.len() == channels);
    if fits { Ok(()) } else { Err(RefusalKind::NumFeatures) }
}

fn rank_fits(rank: Rank, dimensions: usize) -> bool {
    match rank {
        Rank::One => matches!(dimensions, 2 | 3),
        Rank::Two => dimensions == 4,
        Rank::Three => dimensions == 5,
        Rank::Any => dimensions >= 2,
    }
}

/// grad_output and the cotangents must match what they are cotangents of.
pub(super) fn check_cotangents(pass: &Pass) -> Result<(), RefusalKind> {
    let cotangents = pass.cotangents.clone().unwrap_or_default();
    let channels = [pass.input.shape[1]];
    let like_input = [&pass.grad_output, &cotangents.grad_input].into_iter().flatten();
    let like_parameters = [&cotangents.grad_weight, &cotangents.grad_bias].into_iter().flatten();
    if like_input.clone().any(|tensor| tensor.shape != pass.input.shape)
        || like_parameters.into_iter().any(|tensor| tensor.shape != channels)
    {
        return Err(RefusalKind::Shape);
    }
    if like_input.into_iter().any(|tensor| tensor.dtype != pass.input.dtype) {
        return Err(RefusalKind::Dtype);
    }
    Ok(())
}
