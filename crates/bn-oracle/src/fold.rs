//! Folding a batch norm, in evaluation, into the map before it.
//!
//! With s = weight / √(running_var + eps), per channel:
//!
//! ```text
//! W' = W·s          over the map's output channels
//! b' = (b − running_mean)·s + bias
//! ```
//!
//! PyTorch composes this from tensor operations (`fuse_conv_bn_weights` and
//! `fuse_linear_bn_weights` in torch/nn/utils/fusion.py); the same operations
//! run here, in the same order and dtypes. One thing is added: in a transposed
//! convolution with groups the output channels are spread over two axes, group
//! and out / groups, which PyTorch's function does not know (pytorch#180995:
//! wrong or refused for groups > 1).

use bn_suite::case::{Fold, FoldInto};
use bn_suite::outcome::{Field, Outcome, RefusalKind};
use tch::Tensor;

use crate::module::Module;
use crate::refusal::Stop;
use crate::tensors;

/// The folded weight and bias, beside the buffers as they stand.
pub fn fold(module: &Module, fold: &Fold) -> Result<Outcome, Stop> {
    let weight = tensors::into_torch(&fold.weight)?;
    let (Some(mean), Some(var)) = (&module.running_mean, &module.running_var) else {
        let message = "bn.running_mean and bn.running_var must not be None";
        return Err(Stop::refused(RefusalKind::RunningStats, message));
    };
    let bias = fold.bias.as_ref().map(tensors::into_torch).transpose()?;
    let vectors = [
        ("running_mean", Some(mean)),
        ("running_var", Some(var)),
        ("weight", module.weight.as_ref()),
        ("bias", module.bias.as_ref()),
        ("the map's bias", bias.as_ref()),
    ];
    check_lengths(out_channels(fold)?, &vectors)?;
    let bias_kind = bias.as_ref().unwrap_or(&weight).f_kind()?;
    let bias = bias.map_or_else(|| mean.f_zeros_like(), Ok)?;
    let bn_weight = module.weight.as_ref().map_or_else(|| mean.f_ones_like(), |w| Ok(w.shallow_clone()))?;
    let bn_bias = module.bias.as_ref().map_or_else(|| mean.f_zeros_like(), |b| Ok(b.shallow_clone()))?;

    let invstd = var.f_add_scalar(module.eps())?.f_rsqrt()?;
    let scale = bn_weight.f_mul(&invstd)?;
    let folded_weight = scale_outputs(&weight, &scale, fold)?.f_to_kind(weight.f_kind()?)?;
    let folded_bias =
        bias.f_sub(mean)?.f_mul(&invstd)?.f_mul(&bn_weight)?.f_add(&bn_bias)?.f_to_kind(bias_kind)?;

    let mut outcome = module.buffers()?;
    outcome.fields.insert(Field::FoldedWeight, tensors::from_torch(&folded_weight, &fold.weight.layout)?);
    outcome.fields.insert(Field::FoldedBias, tensors::vector_from_torch(&folded_bias)?);
    Ok(outcome)
}

/// How many channels the map gives, by the axes of its weight.
fn out_channels(fold: &Fold) -> Result<i64, Stop> {
    let shape = &fold.weight.shape;
    let axes = match fold.into {
        FoldInto::Linear => shape.len() == 2,
        FoldInto::Conv | FoldInto::ConvTranspose => (3..=5).contains(&shape.len()),
    };
    if !axes || fold.groups == 0 || !shape[0].is_multiple_of(fold.groups) {
        return Err(Stop::Failed(format!(
            "{:?} in {} groups has no weight of shape {shape:?}",
            fold.into, fold.groups
        )));
    }
    Ok(match fold.into {
        FoldInto::Linear | FoldInto::Conv => shape[0] as i64,
        FoldInto::ConvTranspose => (shape[1] * fold.groups) as i64,
    })
}

/// Tensor operations would broadcast a single channel over all.
fn check_lengths(channels: i64, vectors: &[(&str, Option<&Tensor>)]) -> Result<(), Stop> {
    for (name, tensor) in vectors {
        if let Some(tensor) = tensor.filter(|tensor| tensor.size() != [channels]) {
            let message = format!("{name} should contain {channels} elements not {}", tensor.numel());
            return Err(Stop::refused(RefusalKind::NumFeatures, message));
        }
    }
    Ok(())
}

/// W·s with s along the output channels: axis 0, or for a transposed
/// convolution, whose weight is (in, out/groups, *kernel), the pair of the group
/// (the outer part of axis 0) and axis 1.
fn scale_outputs(weight: &Tensor, scale: &Tensor, fold: &Fold) -> Result<Tensor, Stop> {
    let shape = weight.size();
    let kernel = vec![1; shape.len() - 2];
    if fold.into != FoldInto::ConvTranspose {
        return Ok(weight.f_mul(&scale.f_reshape([vec![-1, 1], kernel].concat())?)?);
    }
    let groups = fold.groups as i64;
    let split = [vec![groups, shape[0] / groups], shape[1..].to_vec()].concat();
    let scale = scale.f_reshape([vec![groups, 1, shape[1]], kernel].concat())?;
    Ok(weight.f_reshape(split)?.f_mul(&scale)?.f_reshape(shape)?)
}
