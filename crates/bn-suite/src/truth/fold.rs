//! Folding an evaluating batch norm into the linear map or convolution before it.
//!
//! With s = w/√(running_var + eps) per output channel:
//! W′ = W·s over the output channels, b′ = (b − running_mean)·s + bias.

use crate::allowance::Tracked;
use crate::case::{Fold, FoldInto};
use crate::model::Precision;
use crate::outcome::RefusalKind;

/// For each element of the weight, in logical order, its output channel.
///
/// Linear and convolution weights are (out, in/groups, *). A transposed
/// convolution's are (in, out/groups, *): group k holds the input channels
/// from k·in/groups on, and its j-th output is channel k·out/groups + j.
pub(super) fn output_channels(fold: &Fold) -> Result<Vec<usize>, RefusalKind> {
    let shape = &fold.weight.shape;
    if shape.len() < 2 || fold.groups == 0 || !shape[0].is_multiple_of(fold.groups) {
        return Err(RefusalKind::Shape);
    }
    let (rows, columns) = (shape[0], shape[1]);
    let kernel: usize = shape[2..].iter().product();
    let channel = |row: usize, column: usize| match fold.into {
        FoldInto::Linear | FoldInto::Conv => row,
        FoldInto::ConvTranspose => row / (rows / fold.groups) * columns + column,
    };
    let positions = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
    Ok(positions.flat_map(|(row, column)| std::iter::repeat_n(channel(row, column), kernel)).collect())
}

/// The number of output channels of the map.
pub(super) fn out_features(fold: &Fold) -> usize {
    match fold.into {
        FoldInto::Linear | FoldInto::Conv => fold.weight.shape[0],
        FoldInto::ConvTranspose => fold.weight.shape[1] * fold.groups,
    }
}

/// s, running mean and bias of one channel.
pub(super) struct Folded {
    pub scale: Tracked,
    pub mean: Tracked,
    pub bias: Option<Tracked>,
}

/// W′.
pub(super) fn fold_weight(fold: &Fold, owners: &[usize], channels: &[Folded]) -> Vec<Tracked> {
    let pairs = fold.weight.data.iter().zip(owners);
    pairs.map(|(&w, &c)| &Tracked::exact(w, channels[c].scale.arithmetic) * &channels[c].scale).collect()
}

/// b′ = (b − μ)·s + bias, or b·s + (bias − μ·s), which rounds the products; all of it
/// is a channel's, so that it may be kept as the statistics are. A map without bias
/// counts as one with bias 0.
pub(super) fn fold_bias(fold: &Fold, channels: &[Folded], precision: Precision) -> Vec<Tracked> {
    let before = |c: usize| fold.bias.as_ref().map_or(0.0, |bias| bias.data[c]);
    let after = |(c, channel): (usize, &Folded)| {
        let before = Tracked::exact(before(c), channel.scale.arithmetic);
        let distance = (&before - &channel.mean).kept_in(precision.statistics);
        let shifted = (&distance * &channel.scale).kept_in(precision.statistics);
        let whole = channel.bias.as_ref().map_or_else(|| shifted.clone(), |bias| &shifted + bias);
        let products = (before.magnitude() + 2.0 * channel.mean.magnitude()) * channel.scale.magnitude();
        let shift = channel.bias.as_ref().map_or(0.0, Tracked::magnitude);
        let kept = precision.elements.unit_roundoff() + precision.statistics.unit_roundoff();
        let rounding = kept * (products + shift);
        if precision.folded { whole.widened(rounding) } else { whole }
    };
    channels.iter().enumerate().map(after).collect()
}
