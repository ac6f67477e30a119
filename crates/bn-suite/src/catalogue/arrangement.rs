//! The orders in memory that the cases use: contiguous, channels last, and what
//! slices, steps and transposes of larger arrays look like.

use crate::tensor::Layout;

/// How the elements of an input lie in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Arrangement {
    /// As [`Layout::Contiguous`].
    Contiguous,
    /// As [`Layout::ChannelsLast`].
    ChannelsLast,
    /// Rows of a wider array: the last axis goes on for 2 more elements; starts at 3.
    Rows,
    /// Every second element along the last axis; starts at 1.
    EverySecond,
    /// The first axis varies fastest, as in Fortran.
    FirstFastest,
    /// Channels last, and one more channel in memory than in the view.
    SomeChannels,
}

impl Arrangement {
    /// What the arrangement means for a shape.
    pub(super) fn layout(self, shape: &[usize]) -> Layout {
        let rank = shape.len();
        let natural: Vec<usize> = (0..rank).collect();
        let channels_last: Vec<usize> = [0].into_iter().chain(2..rank).chain([1]).collect();
        match self {
            Arrangement::Contiguous => Layout::Contiguous,
            Arrangement::ChannelsLast => Layout::ChannelsLast,
            Arrangement::Rows => Layout::Strided { strides: strides(shape, &natural, 2, 1), offset: 3 },
            Arrangement::EverySecond => {
                Layout::Strided { strides: strides(shape, &natural, 0, 2), offset: 1 }
            }
            Arrangement::FirstFastest => {
                let reversed: Vec<usize> = (0..rank).rev().collect();
                Layout::Strided { strides: strides(shape, &reversed, 0, 1), offset: 0 }
            }
            Arrangement::SomeChannels => {
                Layout::Strided { strides: strides(shape, &channels_last, 1, 1), offset: 0 }
            }
        }
    }
}

/// Strides of an array whose axes lie in this order, the last one fastest; that
/// one is `more` elements longer in memory, and its neighbours lie `step` apart.
fn strides(shape: &[usize], order: &[usize], more: usize, step: usize) -> Vec<usize> {
    let mut strides = vec![0; shape.len()];
    let mut reach = step;
    for (place, &axis) in order.iter().rev().enumerate() {
        strides[axis] = reach;
        reach *= shape[axis] + if place == 0 { more } else { 0 };
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrangements() {
        let strides_of = |arrangement: Arrangement| match arrangement.layout(&[2, 3, 4, 5]) {
            Layout::Strided { strides, .. } => strides,
            other => panic!("{other:?}"),
        };
        assert_eq!(strides_of(Arrangement::Rows), [84, 28, 7, 1]);
        assert_eq!(strides_of(Arrangement::EverySecond), [120, 40, 10, 2]);
        assert_eq!(strides_of(Arrangement::FirstFastest), [1, 2, 6, 24]);
        assert_eq!(strides_of(Arrangement::SomeChannels), [80, 1, 20, 4]);
    }
}
