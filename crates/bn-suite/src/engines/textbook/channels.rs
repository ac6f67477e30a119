//! Which elements of an (N, C, *) array belong to which channel, and where the
//! elements of an answer lie in memory.

use crate::tensor::{Layout, Tensor};

/// The shape (N, C, *) seen as N blocks of C rows of `inner` values.
pub(super) struct Channels {
    outer: usize,
    pub(super) count: usize,
    inner: usize,
}

impl Channels {
    /// The shape must have a channel axis: rank 2 or more.
    pub(super) fn of(shape: &[usize]) -> Self {
        Channels { outer: shape[0], count: shape[1], inner: shape[2..].iter().product() }
    }

    /// n, the number of values per channel.
    pub(super) fn values_per_channel(&self) -> usize {
        self.outer * self.inner
    }

    /// Where the values of a channel lie in row-major data.
    fn places(&self, channel: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.outer).flat_map(move |block| {
            let row = (block * self.count + channel) * self.inner;
            row..row + self.inner
        })
    }

    /// The values of a channel, as a list.
    pub(super) fn gather(&self, data: &[f64], channel: usize) -> Vec<f64> {
        self.places(channel).map(|place| data[place]).collect()
    }

    /// Puts a list back where its channel lies.
    pub(super) fn scatter(&self, values: &[f64], channel: usize, data: &mut [f64]) {
        for (place, value) in self.places(channel).zip(values) {
            data[place] = *value;
        }
    }
}

/// The memory order of output and grad_input: the input's own when it is
/// contiguous or channels-last; for other strides the one of the two that they
/// resemble.
pub(super) fn answer_layout(input: &Tensor) -> Layout {
    match &input.layout {
        Layout::Strided { strides, .. } if resembles_channels_last(&input.shape, strides) => {
            Layout::ChannelsLast
        }
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

    #[test]
    fn gather_and_scatter_are_inverse() {
        let channels = Channels::of(&[2, 3, 2]);
        let data: Vec<f64> = (0..12).map(f64::from).collect();
        assert_eq!(channels.gather(&data, 1), [2.0, 3.0, 8.0, 9.0]);
        let mut copy = vec![0.0; 12];
        for channel in 0..3 {
            channels.scatter(&channels.gather(&data, channel), channel, &mut copy);
        }
        assert_eq!(copy, data);
    }

    #[test]
    fn strides_are_told_apart() {
        // A channels-last array of 4 channels of which 3 are taken; every second column of a contiguous one.
        assert!(resembles_channels_last(&[2, 3, 5, 7], &[140, 1, 28, 4]));
        assert!(!resembles_channels_last(&[2, 3, 5, 7], &[210, 70, 14, 2]));
        // (N, 1, 1, 1): nothing to tell.
        assert!(!resembles_channels_last(&[4, 1, 1, 1], &[1, 1, 1, 1]));
        assert!(!resembles_channels_last(&[4, 3, 5], &[15, 1, 3]));
    }
}
