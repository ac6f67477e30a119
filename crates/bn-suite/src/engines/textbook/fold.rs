//! Folding a layer, in evaluation, into the linear map or convolution before it.
//!
//! With fixed statistics batch norm is affine in its input, and so one with the
//! map that makes the input: with s = bn_weight/√(running_var + eps),
//! W′ = W·s over the output channels and b′ = (b − running_mean)·s + bn_bias.

use super::module::{Module, check_length};
use super::rounding;
use crate::case::{Fold, FoldInto};
use crate::outcome::{Refusal, RefusalKind};
use crate::tensor::Tensor;

/// The folded weight and bias, in the dtypes of the map's own.
pub(super) fn fold(module: &Module, fold: &Fold) -> Result<(Tensor, Tensor), Refusal> {
    let state = &module.state;
    let out_channels = out_channels(fold);
    let (Some(mean), Some(var)) = (&state.running_mean, &state.running_var) else {
        return Err(Refusal {
            kind: RefusalKind::RunningStats,
            message: "folding needs running_mean and running_var".into(),
        });
    };
    check_length("running_mean", Some(mean), out_channels)?;
    check_length("running_var", Some(var), out_channels)?;
    check_length("weight", state.weight.as_ref(), out_channels)?;
    check_length("bias", state.bias.as_ref(), out_channels)?;
    module.check_dtypes(fold.weight.dtype, true)?;
    module.check_eps(false)?;

    let of = |tensor: &Option<Tensor>, channel: usize, otherwise: f64| {
        tensor.as_ref().map_or(otherwise, |tensor| tensor.data[channel])
    };
    let scale: Vec<f64> = (0..out_channels)
        .map(|channel| of(&state.weight, channel, 1.0) / (var.data[channel] + module.layer.eps).sqrt())
        .collect();
    let bias: Vec<f64> = (0..out_channels)
        .map(|channel| {
            let shifted = of(&fold.bias, channel, 0.0) - mean.data[channel];
            shifted * scale[channel] + of(&state.bias, channel, 0.0)
        })
        .collect();
    let weight: Vec<f64> =
        fold.weight.data.iter().enumerate().map(|(i, w)| w * scale[out_channel(fold, i)]).collect();
    let bias_dtype = fold.bias.as_ref().map_or(fold.weight.dtype, |bias| bias.dtype);
    Ok((
        rounding::tensor(fold.weight.dtype, &fold.weight.shape, &weight),
        rounding::tensor(bias_dtype, &[out_channels], &bias),
    ))
}

/// Linear (out, in) and convolution (out, in/groups, *kernel) have the output
/// channels first; a transposed convolution (in, out/groups, *kernel) has those
/// of one group second.
fn out_channels(fold: &Fold) -> usize {
    match fold.into {
        FoldInto::Linear | FoldInto::Conv => fold.weight.shape[0],
        FoldInto::ConvTranspose => fold.weight.shape[1] * fold.groups,
    }
}

/// The output channel that an element of the map's weight, by its place in
/// row-major order, contributes to. In a transposed convolution the input
/// channels of group k make the output channels of group k.
fn out_channel(fold: &Fold, place: usize) -> usize {
    let shape = &fold.weight.shape;
    let kernel: usize = shape[2..].iter().product();
    let (first, second) = (place / kernel / shape[1], place / kernel % shape[1]);
    match fold.into {
        FoldInto::Linear | FoldInto::Conv => first,
        FoldInto::ConvTranspose => first / (shape[0] / fold.groups) * shape[1] + second,
    }
}
