//! Memory order: which arrangements may an answer have?
//!
//! `output` and `grad_input` keep the input's order, as PyTorch does: contiguous
//! stays contiguous, channels-last stays channels-last. Any other strides give
//! the *suggested* format: channels-last where the strides are ordered so, else
//! contiguous; an engine may also answer contiguous in either case. No order is
//! promised for other arrays.
//!
//! Two layouts are the same order when they put every element at the same
//! distance from the first: strides along axes of extent 1 do not matter, so
//! that (N, C, 1, 1) is contiguous and channels-last at once.

use crate::case::Step;
use crate::outcome::Field;
use crate::tensor::{Layout, Tensor};

/// The orders that `field` of an answer to `asked` may have; none where any will do.
pub fn permitted_orders(asked: &Step, field: Field) -> Option<Vec<Layout>> {
    let Step::BatchNorm(pass) = asked else { return None };
    if !matches!(field, Field::Output | Field::GradInput) {
        return None;
    }
    Some(match &pass.input.layout {
        Layout::Strided { strides, .. } if may_be_channels_last(&pass.input, strides) => {
            vec![Layout::Contiguous, Layout::ChannelsLast]
        }
        Layout::Strided { .. } => vec![Layout::Contiguous],
        plain => vec![plain.clone()],
    })
}

/// Whether strided input is channels-last memory under another name (only strides
/// along axes of extent 1 differ), or suggests that order.
fn may_be_channels_last(input: &Tensor, strides: &[usize]) -> bool {
    let has_order = (4..=5).contains(&strides.len());
    has_order
        && (same_order(&input.shape, &input.layout, &Layout::ChannelsLast)
            || suggests_channels_last(input, strides))
}

/// Whether the strides are those of channels-last memory, perhaps with gaps:
/// PyTorch's `is_channels_last_strides` (c10/core/MemoryFormat.h), which walks
/// the axes from C over the innermost spatial axis out to N and wants the
/// strides to grow. Its two early exits tell an (N, 1, H, W) or (N, C, 1, 1)
/// array that is merely contiguous from a channels-last one.
fn suggests_channels_last(input: &Tensor, strides: &[usize]) -> bool {
    let rank = strides.len();
    if !(4..=5).contains(&rank) || strides[1] == 0 {
        return false;
    }
    let mut least = 0;
    for axis in std::iter::once(1).chain((2..rank).rev()).chain([0]) {
        let (extent, stride) = (input.shape[axis], strides[axis]);
        if extent == 0 || stride < least || (axis == 0 && least == strides[1]) {
            return false;
        }
        least = stride * extent.max(1);
    }
    true
}

/// Whether two layouts of one shape put the elements in the same places.
pub(super) fn same_order(shape: &[usize], a: &Layout, b: &Layout) -> bool {
    if shape.contains(&0) {
        return true;
    }
    let (a, b) = (strides(shape, a), strides(shape, b));
    shape.iter().zip(a.iter().zip(&b)).all(|(&extent, (a, b))| extent == 1 || a == b)
}

/// The distance between neighbours along each axis, in elements.
fn strides(shape: &[usize], layout: &Layout) -> Vec<usize> {
    let outermost_last: Vec<usize> = match layout {
        Layout::Strided { strides, .. } => return strides.clone(),
        Layout::Contiguous => (0..shape.len()).rev().collect(),
        Layout::ChannelsLast => std::iter::once(1).chain((2..shape.len()).rev()).chain([0]).collect(),
    };
    let mut strides = vec![0; shape.len()];
    let mut next = 1;
    for axis in outermost_last {
        strides[axis] = next;
        next *= shape[axis];
    }
    strides
}

/// The layout in words.
pub(super) fn describe(layout: &Layout) -> String {
    match layout {
        Layout::Contiguous => "contiguous".into(),
        Layout::ChannelsLast => "channels_last".into(),
        Layout::Strided { strides, offset } => format!("strides {strides:?} at offset {offset}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Mode, Pass};
    use crate::tensor::DType;

    fn orders(shape: &[usize], layout: Layout) -> Option<Vec<Layout>> {
        let input = Tensor::new(DType::F32, shape, vec![0.0; shape.iter().product()]).with_layout(layout);
        permitted_orders(&Step::BatchNorm(Box::new(Pass::forward(Mode::Train, input))), Field::Output)
    }

    #[test]
    fn the_input_decides() {
        use Layout::*;
        assert_eq!(orders(&[2, 3, 4, 5], Contiguous), Some(vec![Contiguous]));
        assert_eq!(orders(&[2, 3, 4, 5], ChannelsLast), Some(vec![ChannelsLast]));
        // Every second row of a channels-last image.
        let gaps = Strided { strides: vec![120, 1, 30, 3], offset: 7 };
        assert_eq!(orders(&[2, 3, 4, 5], gaps), Some(vec![Contiguous, ChannelsLast]));
        // Channels last, but for strides along axes of extent 1, which mean nothing.
        let odd = Strided { strides: vec![6, 1, 30, 2, 30], offset: 0 };
        assert_eq!(orders(&[5, 2, 1, 3, 1], odd), Some(vec![Contiguous, ChannelsLast]));
        let transposed = Strided { strides: vec![60, 20, 1, 4], offset: 0 };
        assert_eq!(orders(&[2, 3, 4, 5], transposed), Some(vec![Contiguous]));
    }

    #[test]
    fn only_axes_longer_than_one_count() {
        let strided = |strides: &[usize]| Layout::Strided { strides: strides.to_vec(), offset: 3 };
        assert!(same_order(&[2, 3, 1, 1], &Layout::Contiguous, &Layout::ChannelsLast));
        assert!(same_order(&[2, 1, 4, 5], &Layout::Contiguous, &Layout::ChannelsLast));
        assert!(!same_order(&[2, 3, 4, 1], &Layout::Contiguous, &Layout::ChannelsLast));
        assert!(same_order(&[2, 3, 4, 5], &Layout::ChannelsLast, &strided(&[60, 1, 15, 3])));
        assert!(!same_order(&[2, 3, 4, 5], &Layout::ChannelsLast, &strided(&[60, 20, 5, 1])));
        assert!(same_order(&[0, 3, 4, 5], &Layout::Contiguous, &Layout::ChannelsLast));
    }
}
