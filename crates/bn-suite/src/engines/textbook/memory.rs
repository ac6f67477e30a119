//! Where the elements of an array lie in memory: laid out as a case says, and
//! read back.
//!
//! A case gives elements in logical order and says, apart from that, how they are
//! laid out. An implementation sees the memory alone, so the player lays out what
//! is not contiguous and the recipe reads it. Memory between the elements, and
//! before the first one, holds NaN: who reads it, shows it.

use std::borrow::Cow;

use super::recipe::Recipe;
use crate::tensor::{Layout, Tensor};

/// The element with the index (i₀, i₁, …) lies at `offset + Σ iₖ·strides[k]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Strides {
    /// Where the first element lies.
    pub offset: usize,
    /// Distance between neighbours along each axis.
    pub strides: Vec<usize>,
}

impl Strides {
    /// What a layout means for a shape.
    pub fn of(shape: &[usize], layout: &Layout) -> Self {
        let rank = shape.len();
        match layout {
            Layout::Contiguous => Strides::packed(shape, (0..rank).collect()),
            Layout::ChannelsLast => {
                Strides::packed(shape, [0].into_iter().chain(2..rank).chain([1]).collect())
            }
            Layout::Strided { strides, offset } => Strides { offset: *offset, strides: strides.clone() },
        }
    }

    /// No gaps, and the axes in this order, the last one fastest.
    pub fn packed(shape: &[usize], order: Vec<usize>) -> Self {
        let mut strides = vec![0; shape.len()];
        let mut reach = 1;
        for axis in order.into_iter().rev() {
            strides[axis] = reach;
            reach *= shape[axis];
        }
        Strides { offset: 0, strides }
    }

    /// The places of all elements, in logical order.
    pub fn places(&self, shape: &[usize]) -> Vec<usize> {
        let mut places = vec![self.offset];
        for (&extent, &stride) in shape.iter().zip(&self.strides) {
            let row = |place: usize| (0..extent).map(move |index| place + index * stride);
            places = places.into_iter().flat_map(row).collect();
        }
        places
    }
}

/// An array in memory.
pub(crate) struct Memory<'m> {
    /// The memory, from its first address on.
    pub cells: Cow<'m, [f64]>,
    /// The array's shape.
    pub shape: &'m [usize],
    /// How the array lies in it.
    pub layout: &'m Layout,
}

impl<'m> Memory<'m> {
    /// Lays an array out; one that is contiguous lies there already.
    pub fn of(array: &'m Tensor) -> Self {
        let Tensor { shape, layout, data, .. } = array;
        let cells = match layout {
            Layout::Contiguous => Cow::Borrowed(data.as_slice()),
            _ => Cow::Owned(laid_out(data, &Strides::of(shape, layout).places(shape))),
        };
        Memory { cells, shape, layout }
    }
}

fn laid_out(data: &[f64], places: &[usize]) -> Vec<f64> {
    let end = places.iter().max().map_or(0, |last| last + 1);
    let mut cells = vec![f64::NAN; end];
    for (&place, &value) in places.iter().zip(data) {
        cells[place] = value;
    }
    cells
}

/// The elements in logical order. What lies beyond the end of the memory reads as
/// NaN, so that wrong strides show and do not crash.
pub(crate) fn read<'m>(recipe: &dyn Recipe, memory: &Memory<'m>) -> Cow<'m, [f64]> {
    if *memory.layout == Layout::Contiguous {
        return memory.cells.clone();
    }
    let places = recipe.strides(memory.shape, memory.layout).places(memory.shape);
    places.into_iter().map(|place| memory.cells.get(place).copied().unwrap_or(f64::NAN)).collect()
}

/// The memory order of output and grad_input: the input's own when it is
/// contiguous or channels-last; for other strides the one of the two that they
/// resemble.
pub(crate) fn answer_layout(shape: &[usize], layout: &Layout) -> Layout {
    match layout {
        Layout::Strided { strides, .. } if resembles_channels_last(shape, strides) => Layout::ChannelsLast,
        Layout::Strided { .. } => Layout::Contiguous,
        ordinary => ordinary.clone(),
    }
}

/// PyTorch's rule (`is_channels_last_strides_2d` and `_3d`): going from the
/// channel axis through the spatial axes, last first, to the batch axis, each
/// stride must reach at least across all axes before it. An array where batch
/// and channel strides do not tell the two orders apart counts as contiguous.
fn resembles_channels_last(shape: &[usize], strides: &[usize]) -> bool {
    if !(4..=5).contains(&shape.len()) || strides[1] == 0 {
        return false;
    }
    let mut reach = 0;
    for axis in std::iter::once(1).chain((2..shape.len()).rev()).chain([0]) {
        let ambiguous = axis == 0 && reach == strides[1];
        if shape[axis] == 0 || strides[axis] < reach || ambiguous {
            return false;
        }
        reach = strides[axis] * shape[axis].max(1);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::textbook::Right;
    use crate::tensor::DType;

    #[test]
    fn strides_are_told_apart() {
        // A channels-last array of 4 channels of which 3 are taken; every second column of a contiguous one.
        assert!(resembles_channels_last(&[2, 3, 5, 7], &[140, 1, 28, 4]));
        assert!(!resembles_channels_last(&[2, 3, 5, 7], &[210, 70, 14, 2]));
        // (N, 1, 1, 1): nothing to tell.
        assert!(!resembles_channels_last(&[4, 1, 1, 1], &[1, 1, 1, 1]));
        assert!(!resembles_channels_last(&[4, 3, 5], &[15, 1, 3]));
    }

    #[test]
    fn what_is_laid_out_is_read_back() {
        let data: Vec<f64> = (0..24).map(f64::from).collect();
        let array = Tensor::new(DType::F32, &[2, 3, 2, 2], data.clone());
        let gaps = Layout::Strided { strides: vec![40, 1, 16, 4], offset: 5 };
        for layout in [Layout::Contiguous, Layout::ChannelsLast, gaps] {
            let array = array.clone().with_layout(layout);
            assert_eq!(*read(&Right, &Memory::of(&array)), data);
        }
    }

    #[test]
    fn gaps_and_offset_hold_nan() {
        let layout = Layout::Strided { strides: vec![3, 2], offset: 1 };
        let array = Tensor::new(DType::F32, &[2, 1], vec![7.0, 8.0]).with_layout(layout);
        let cells = Memory::of(&array).cells.into_owned();
        assert!(cells[0].is_nan() && cells[2].is_nan() && cells[3].is_nan());
        assert_eq!((cells[1], cells[4], cells.len()), (7.0, 8.0, 5));
    }
}
