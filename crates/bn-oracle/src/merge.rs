//! A training forward over a batch that arrives in parts.
//!
//! SyncBatchNorm's own arithmetic (`batch_norm_stats`, `batch_norm_gather_stats`)
//! exists in libtorch for CUDA only. Writing its formula again from tensor
//! operations would check our formula against our formula, so the oracle answers
//! by what merging *means*: the parts joined along N, one training forward over
//! the whole, and the mean and biased variance of the whole by `var_mean`.

use bn_suite::case::Mode;
use bn_suite::outcome::{Field, Outcome};
use bn_suite::tensor::{Layout, Tensor as Array};
use tch::{Kind, Tensor};

use crate::module::Module;
use crate::refusal::Stop;
use crate::tensors;

/// Output, mean, var_biased and the buffers of the joined batch.
pub fn merge(module: &mut Module, parts: &[Array]) -> Result<Outcome, Stop> {
    let tensors = parts.iter().map(tensors::into_torch).collect::<Result<Vec<_>, _>>()?;
    let whole = Tensor::f_cat(&tensors, 0)?;
    let (weight, bias) = (alias(&module.weight), alias(&module.bias));
    let output = module.forward(Mode::Train, &whole, weight.as_ref(), bias.as_ref())?;
    let (var_biased, mean) = statistics(&whole)?;
    let kind = module.parameter_kind().unwrap_or(whole.f_kind()?);
    let (var_biased, mean) = (var_biased.f_to_kind(kind)?, mean.f_to_kind(kind)?);
    let mut outcome = module.buffers()?;
    let layout = parts.first().map_or(Layout::Contiguous, |part| part.layout.clone());
    outcome.fields.insert(Field::Output, tensors::from_torch(&output, &layout)?);
    outcome.fields.insert(Field::Mean, tensors::vector_from_torch(&mean)?);
    outcome.fields.insert(Field::VarBiased, tensors::vector_from_torch(&var_biased)?);
    Ok(outcome)
}

fn alias(tensor: &Option<Tensor>) -> Option<Tensor> {
    tensor.as_ref().map(Tensor::shallow_clone)
}

/// Biased variance and mean per channel, in f32 at least, as libtorch
/// accumulates low precision.
fn statistics(whole: &Tensor) -> Result<(Tensor, Tensor), Stop> {
    let kind = if whole.f_kind()? == Kind::Double { Kind::Double } else { Kind::Float };
    let axes: Vec<i64> = [0].into_iter().chain(2..whole.dim() as i64).collect();
    Ok(whole.f_to_kind(kind)?.f_var_mean_correction(&axes[..], 0, false)?)
}
