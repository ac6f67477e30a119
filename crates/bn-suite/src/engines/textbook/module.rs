//! The layer around the formulas: what it remembers, which statistics a pass
//! uses, and what it declines, in the order in which PyTorch declines it.

use super::channels::Channels;
use super::formulas::{Statistics, running_update};
use super::rounding;
use crate::case::{Layer, Mode, Rank, Reset, State};
use crate::outcome::{Refusal, RefusalKind};
use crate::tensor::{DType, Tensor};

/// A layer in the middle of a script.
pub(super) struct Module<'a> {
    pub(super) layer: &'a Layer,
    pub(super) state: State,
}

/// What the checks found out about a pass.
pub(super) struct Plan {
    /// Whether the batch's own statistics normalise.
    pub(super) own_statistics: bool,
    /// The weight of the new value, where the running statistics are to be updated.
    update: Option<f64>,
}

fn refuse<T>(kind: RefusalKind, message: String) -> Result<T, Refusal> {
    Err(Refusal { kind, message })
}

impl Module<'_> {
    /// Counts the batch and makes every check. The counter rises before most
    /// checks: a refused batch is counted all the same.
    pub(super) fn plan(&mut self, input: &Tensor, mode: Mode) -> Result<Plan, Refusal> {
        self.check_rank(input)?;
        let training = mode == Mode::Train;
        let tracking = training && self.layer.track_running_stats;
        let momentum = self.momentum_after_counting(tracking)?;
        let has_buffers = self.state.running_mean.is_some() || self.state.running_var.is_some();
        let own_statistics = training || !has_buffers;
        // A layer that trains without tracking hands its buffers to nobody.
        let uses_buffers = tracking || !own_statistics;
        self.check_size(input, own_statistics)?;
        self.check_eps(own_statistics)?;
        self.check_buffers_and_lengths(input, own_statistics, uses_buffers)?;
        self.check_dtypes(input.dtype, uses_buffers)?;
        Ok(Plan { own_statistics, update: (tracking && has_buffers).then_some(momentum) })
    }

    fn check_rank(&self, input: &Tensor) -> Result<(), Refusal> {
        let (taken, words) = match self.layer.rank {
            Rank::One => (2..=3, "2D or 3D"),
            Rank::Two => (4..=4, "4D"),
            Rank::Three => (5..=5, "5D"),
            Rank::Any => (2..=usize::MAX, "at least 2D"),
        };
        let rank = input.shape.len();
        if taken.contains(&rank) {
            return Ok(());
        }
        refuse(RefusalKind::Rank, format!("expected {words} input (got {rank}D input)"))
    }

    /// The weight of the new value. Momentum null asks for the cumulative
    /// average, 1/num_batches_tracked; without a counter that is never more than 0.
    fn momentum_after_counting(&mut self, tracking: bool) -> Result<f64, Refusal> {
        if let (true, Some(counter)) = (tracking, &mut self.state.num_batches_tracked) {
            *counter += 1;
        }
        match (self.layer.momentum, self.state.num_batches_tracked) {
            (Some(momentum), _) => Ok(momentum.0),
            (None, Some(0)) if tracking => refuse(
                RefusalKind::CounterZero,
                "the cumulative average divides by num_batches_tracked, which is 0".into(),
            ),
            (None, Some(counter)) if tracking => Ok(1.0 / counter as f64),
            (None, _) => Ok(0.0),
        }
    }

    fn check_size(&self, input: &Tensor, own_statistics: bool) -> Result<(), Refusal> {
        if !own_statistics || Channels::of(&input.shape).values_per_channel() != 1 {
            return Ok(());
        }
        let message = format!("expected more than 1 value per channel when training, got {:?}", input.shape);
        refuse(RefusalKind::TooFewValues, message)
    }

    /// One after the other: what evaluation needs must be there, and what is passed
    /// must have a value for each channel. Only then does training miss one of the
    /// running statistics where it has the other.
    fn check_buffers_and_lengths(
        &self,
        input: &Tensor,
        own_statistics: bool,
        uses_buffers: bool,
    ) -> Result<(), Refusal> {
        let State { weight, bias, running_mean, running_var, .. } = &self.state;
        let channels = input.shape[1];
        let buffers = [("running_mean", running_mean), ("running_var", running_var)];
        for (name, buffer) in buffers.into_iter().filter(|_| uses_buffers) {
            if buffer.is_none() && !own_statistics {
                return refuse(
                    RefusalKind::RunningStats,
                    format!("{name} must be defined in evaluation mode"),
                );
            }
            check_length(name, buffer.as_ref(), channels)?;
        }
        check_length("weight", weight.as_ref(), channels)?;
        check_length("bias", bias.as_ref(), channels)?;
        if uses_buffers && running_mean.is_some() != running_var.is_some() {
            let message = "running_mean and running_var must either both be None or neither be None";
            return refuse(RefusalKind::RunningStats, message.into());
        }
        Ok(())
    }

    pub(super) fn check_dtypes(&self, input: DType, uses_buffers: bool) -> Result<(), Refusal> {
        let State { weight, bias, running_mean, running_var, .. } = &self.state;
        let buffers = [running_mean, running_var].into_iter().filter(|_| uses_buffers);
        let tensors: Vec<&Tensor> = buffers.chain([weight, bias]).flatten().collect();
        let all = |dtype: DType| tensors.iter().all(|tensor| tensor.dtype == dtype);
        let taken = match input {
            DType::F64 | DType::F32 => all(input),
            DType::F16 | DType::Bf16 => all(input) || all(DType::F32),
            DType::I64 | DType::Bool => false,
        };
        if taken {
            return Ok(());
        }
        let names: Vec<&str> = tensors.iter().map(|tensor| tensor.dtype.name()).collect();
        let message = format!("{} input does not go with parameters and buffers {names:?}", input.name());
        refuse(RefusalKind::Dtype, message)
    }

    /// NaN passes, as it does in PyTorch: it is not ≤ 0.
    pub(super) fn check_eps(&self, own_statistics: bool) -> Result<(), Refusal> {
        let eps = self.layer.eps;
        let (refused, wanted) =
            if own_statistics { (eps <= 0.0, "positive") } else { (eps < 0.0, "non-negative") };
        if !refused {
            return Ok(());
        }
        refuse(RefusalKind::Eps, format!("batch_norm eps must be {wanted}, but got {eps:?}"))
    }

    /// The statistics of every channel for this pass.
    pub(super) fn statistics(&self, input: &Tensor, plan: &Plan) -> Vec<Statistics> {
        let channels = Channels::of(&input.shape);
        (0..channels.count)
            .map(|c| match (plan.own_statistics, &self.state.running_mean, &self.state.running_var) {
                (false, Some(mean), Some(var)) => Statistics::of_buffers(mean.data[c], var.data[c]),
                _ => Statistics::of_batch(&channels.gather(&input.data, c)),
            })
            .collect()
    }

    /// Moves the running statistics towards the batch's mean and its *unbiased*
    /// variance, σ²·n/(n − 1). An empty batch has neither.
    pub(super) fn track(&mut self, statistics: &[Statistics], n: usize, plan: &Plan) {
        let (Some(momentum), true) = (plan.update, n > 0) else { return };
        let bessel = n as f64 / (n as f64 - 1.0);
        let means = statistics.iter().map(|s| s.mean + s.mean_rest);
        let vars = statistics.iter().map(|s| s.var_biased * bessel);
        update(&mut self.state.running_mean, means, momentum);
        update(&mut self.state.running_var, vars, momentum);
    }

    /// `reset_running_stats()` does nothing in a layer that tracks none.
    pub(super) fn reset(&mut self, what: Reset) {
        if self.layer.track_running_stats {
            fill(&mut self.state.running_mean, 0.0);
            fill(&mut self.state.running_var, 1.0);
            self.state.num_batches_tracked = self.state.num_batches_tracked.map(|_| 0);
        }
        if what == Reset::Parameters {
            fill(&mut self.state.weight, 1.0);
            fill(&mut self.state.bias, 0.0);
        }
    }
}

/// The length of a parameter or buffer must be `expected`, the number of channels.
pub(super) fn check_length(name: &str, tensor: Option<&Tensor>, expected: usize) -> Result<(), Refusal> {
    match tensor.map_or(expected, Tensor::len) {
        length if length == expected => Ok(()),
        length => refuse(
            RefusalKind::NumFeatures,
            format!("{name} should contain {expected} elements not {length}"),
        ),
    }
}

fn update(buffer: &mut Option<Tensor>, batch: impl Iterator<Item = f64>, momentum: f64) {
    let Some(buffer) = buffer else { return };
    for (old, batch) in buffer.data.iter_mut().zip(batch) {
        *old = rounding::round(running_update(*old, batch, momentum), buffer.dtype);
    }
}

fn fill(tensor: &mut Option<Tensor>, value: f64) {
    if let Some(tensor) = tensor {
        tensor.data.fill(value);
    }
}
