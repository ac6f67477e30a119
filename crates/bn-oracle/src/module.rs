//! What `torch.nn.BatchNorm*` adds to the C++ function `torch.batch_norm`.
//!
//! In PyTorch the module and `torch.nn.functional.batch_norm` are Python; this is
//! their code (torch/nn/modules/batchnorm.py and torch/nn/functional.py of
//! 2.13.0) in the same order, with the same messages:
//!
//! 1. the rank of the input;
//! 2. the counter, which rises now, whatever is refused below;
//! 3. the factor: momentum, or 1 / counter where momentum is null;
//! 4. which statistics: the batch's in training, and in evaluation where the
//!    layer has neither running mean nor running variance;
//! 5. more than one value per channel, where the batch's are used;
//! 6. `eps`: positive where the batch's are used, not negative elsewhere;
//! 7. `torch.batch_norm`, which checks statistics, lengths and dtypes itself.

use bn_suite::case::{Layer, Mode, Rank, Reset, State};
use bn_suite::outcome::{Field, Outcome, RefusalKind};
use tch::{Kind, Tensor};

use crate::refusal::Stop;
use crate::tensors;

/// A layer: configuration, parameters, buffers and counter.
pub struct Module {
    layer: Layer,
    /// γ, if the layer has one.
    pub weight: Option<Tensor>,
    /// β, if the layer has one.
    pub bias: Option<Tensor>,
    /// The running mean, if the layer has one.
    pub running_mean: Option<Tensor>,
    /// The running (unbiased) variance, if the layer has one.
    pub running_var: Option<Tensor>,
    num_batches_tracked: Option<i64>,
}

impl Module {
    /// The layer of a case, in the state that the case gives.
    pub fn new(layer: &Layer, state: &State) -> Result<Self, Stop> {
        let tensor = |array: &Option<_>| array.as_ref().map(tensors::into_torch).transpose();
        Ok(Module {
            layer: layer.clone(),
            weight: tensor(&state.weight)?,
            bias: tensor(&state.bias)?,
            running_mean: tensor(&state.running_mean)?,
            running_var: tensor(&state.running_var)?,
            num_batches_tracked: state.num_batches_tracked,
        })
    }

    /// ε, which goes under the root.
    pub fn eps(&self) -> f64 {
        self.layer.eps
    }

    /// The dtype of parameters and buffers, by the first that the layer has.
    pub fn parameter_kind(&self) -> Option<Kind> {
        let all = [&self.weight, &self.bias, &self.running_mean, &self.running_var];
        all.into_iter().flatten().next().map(Tensor::kind)
    }

    /// `forward`: the output, with the buffers and the counter updated as the
    /// mode asks. `weight` and `bias` stand in for the layer's own, so that each
    /// pass can ask for gradients of its own.
    pub fn forward(
        &mut self,
        mode: Mode,
        input: &Tensor,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
    ) -> Result<Tensor, Stop> {
        check_rank(self.layer.rank, input.dim())?;
        let training = mode == Mode::Train;
        let factor = self.count_batch(training)?;
        let batch_statistics = training || (self.running_mean.is_none() && self.running_var.is_none());
        if batch_statistics {
            check_values_per_channel(&input.size())?;
        }
        check_eps(self.layer.eps, batch_statistics)?;
        // In training without tracking the buffers stay out of sight.
        let visible = !training || self.layer.track_running_stats;
        Ok(input.f_batch_norm(
            weight,
            bias,
            self.running_mean.as_ref().filter(|_| visible),
            self.running_var.as_ref().filter(|_| visible),
            batch_statistics,
            factor,
            self.layer.eps,
            // Only a choice between CUDA kernels; True is PyTorch's default.
            true,
        )?)
    }

    /// Raises the counter where it counts, and gives the weight of the new value
    /// in the running statistics.
    fn count_batch(&mut self, training: bool) -> Result<f64, Stop> {
        let factor = self.layer.momentum.map_or(0.0, |momentum| momentum.0);
        let counter =
            self.num_batches_tracked.as_mut().filter(|_| training && self.layer.track_running_stats);
        let Some(counter) = counter else { return Ok(factor) };
        // A 0-d int64 tensor wraps as well.
        *counter = counter.wrapping_add(1);
        match (self.layer.momentum, *counter) {
            (Some(_), _) => Ok(factor),
            (None, 0) => Err(Stop::refused(RefusalKind::CounterZero, "float division by zero")),
            (None, count) => Ok(1.0 / count as f64),
        }
    }

    /// `reset_running_stats()` or `reset_parameters()`.
    pub fn reset(&mut self, what: Reset) -> Result<(), Stop> {
        let _guard = tch::no_grad_guard();
        if self.layer.track_running_stats {
            fill(&self.running_mean, 0.0)?;
            fill(&self.running_var, 1.0)?;
            self.num_batches_tracked = self.num_batches_tracked.map(|_| 0);
        }
        if what == Reset::Parameters {
            fill(&self.weight, 1.0)?;
            fill(&self.bias, 0.0)?;
        }
        Ok(())
    }

    /// Buffers and counter as they stand now. A buffer of integers, which no step
    /// accepts or changes, is not answered.
    pub fn buffers(&self) -> Result<Outcome, Stop> {
        let mut outcome = Outcome { num_batches_tracked: self.num_batches_tracked, ..Outcome::default() };
        for (field, tensor) in
            [(Field::RunningMean, &self.running_mean), (Field::RunningVar, &self.running_var)]
        {
            if let Some(tensor) = tensor.as_ref().filter(|tensor| tensor.is_floating_point()) {
                outcome.fields.insert(field, tensors::vector_from_torch(tensor)?);
            }
        }
        Ok(outcome)
    }

    /// Parameters, buffers and counter as they stand now.
    pub fn everything(&self) -> Result<Outcome, Stop> {
        let mut outcome = self.buffers()?;
        for (field, tensor) in [(Field::Weight, &self.weight), (Field::Bias, &self.bias)] {
            if let Some(tensor) = tensor {
                outcome.fields.insert(field, tensors::vector_from_torch(tensor)?);
            }
        }
        Ok(outcome)
    }
}

fn fill(tensor: &Option<Tensor>, value: f64) -> Result<(), Stop> {
    if let Some(tensor) = tensor {
        let _ = tensor.shallow_clone().f_fill_(value)?;
    }
    Ok(())
}

/// `_check_input_dim` of the class, and for the bare function what keeps
/// `input.size(1)` within the shape, which libtorch itself does not check.
fn check_rank(rank: Rank, dim: usize) -> Result<(), Stop> {
    let (fits, message) = match rank {
        Rank::One => (dim == 2 || dim == 3, format!("expected 2D or 3D input (got {dim}D input)")),
        Rank::Two => (dim == 4, format!("expected 4D input (got {dim}D input)")),
        Rank::Three => (dim == 5, format!("expected 5D input (got {dim}D input)")),
        Rank::Any => (dim >= 2, format!("expected at least 2D input (got {dim}D input)")),
    };
    if fits { Ok(()) } else { Err(Stop::refused(RefusalKind::Rank, message)) }
}

/// `_verify_batch_size`: the extents but for the channels', multiplied. An empty
/// batch passes.
fn check_values_per_channel(size: &[i64]) -> Result<(), Stop> {
    let per_channel: i64 = size[0] * size[2..].iter().product::<i64>();
    if per_channel != 1 {
        return Ok(());
    }
    let message =
        format!("Expected more than 1 value per channel when training, got input size torch.Size({size:?})");
    Err(Stop::refused(RefusalKind::TooFewValues, message))
}

/// The check of `eps` in `torch.nn.functional.batch_norm`; NaN passes both.
fn check_eps(eps: f64, batch_statistics: bool) -> Result<(), Stop> {
    if batch_statistics && eps <= 0.0 {
        let message = format!("batch_norm eps must be positive during training, but got {eps:?}");
        return Err(Stop::refused(RefusalKind::Eps, message));
    }
    if eps < 0.0 {
        let message = format!("batch_norm eps must be non-negative, but got {eps:?}");
        return Err(Stop::refused(RefusalKind::Eps, message));
    }
    Ok(())
}
