//! Folding a layer, in evaluation, into the linear map or convolution before it.
//!
//! With fixed statistics batch norm is affine in its input, and so one with the
//! map that makes the input: with s = bn_weight/√(running_var + eps),
//! W′ = W·s over the output channels and b′ = (b − running_mean)·s + bn_bias.

use super::module::{Module, refuse};
use super::recipe::Recipe;
use super::rounding;
use crate::case::{Fold, FoldInto};
use crate::outcome::{Refusal, RefusalKind};
use crate::tensor::Tensor;

/// The folded weight and bias, in the dtypes of the map's own.
pub(crate) fn fold(recipe: &dyn Recipe, module: &Module, map: &Fold) -> Result<(Tensor, Tensor), Refusal> {
    let state = &module.state;
    let out_channels = out_channels(map);
    let (Some(mean), Some(var)) = (&state.running_mean, &state.running_var) else {
        return refuse(RefusalKind::RunningStats, "folding needs running_mean and running_var".into());
    };
    recipe.check_lengths(state, out_channels, false, true)?;
    recipe.check_dtypes(state, map.weight.dtype, true)?;
    recipe.check_eps(module.layer, false)?;

    let at = |tensor: &Option<Tensor>, channel: usize| tensor.as_ref().map(|tensor| tensor.data[channel]);
    let scale: Vec<f64> = (0..out_channels)
        .map(|c| recipe.fold_scale(at(&state.weight, c), var.data[c], module.layer))
        .collect();
    let bias: Vec<f64> = (0..out_channels)
        .map(|c| recipe.fold_bias(at(&map.bias, c), mean.data[c], scale[c], at(&state.bias, c)))
        .collect();
    let weight: Vec<f64> =
        map.weight.data.iter().enumerate().map(|(i, w)| w * scale[recipe.fold_channel(map, i)]).collect();
    let bias_dtype = map.bias.as_ref().map_or(map.weight.dtype, |bias| bias.dtype);
    Ok((
        rounding::tensor(recipe, map.weight.dtype, &map.weight.shape, &weight),
        rounding::tensor(recipe, bias_dtype, &[out_channels], &bias),
    ))
}

/// Linear (out, in) and convolution (out, in/groups, *kernel) have the output
/// channels first; a transposed convolution (in, out/groups, *kernel) has those
/// of one group second.
pub(crate) fn out_channels(map: &Fold) -> usize {
    match map.into {
        FoldInto::Linear | FoldInto::Conv => map.weight.shape[0],
        FoldInto::ConvTranspose => map.weight.shape[1] * map.groups,
    }
}

/// The output channel that an element of the map's weight, by its place in
/// row-major order, contributes to. In a transposed convolution the input
/// channels of group k make the output channels of group k.
pub(crate) fn out_channel(map: &Fold, place: usize) -> usize {
    let shape = &map.weight.shape;
    let kernel: usize = shape[2..].iter().product();
    let (first, second) = (place / kernel / shape[1], place / kernel % shape[1]);
    match map.into {
        FoldInto::Linear | FoldInto::Conv => first,
        FoldInto::ConvTranspose => first / (shape[0] / map.groups) * shape[1] + second,
    }
}
