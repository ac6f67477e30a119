//! A tensor (N, C, *) as C channels of n values, and back.

use crate::allowance::Tracked;
use crate::tensor::Tensor;

/// The extents that batch norm sees: (N, C, S) with S the product of the rest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Extents {
    pub batch: usize,
    pub channels: usize,
    pub spatial: usize,
}

impl Extents {
    /// Of a shape of rank 2 or more.
    pub fn of(shape: &[usize]) -> Self {
        Extents { batch: shape[0], channels: shape[1], spatial: shape[2..].iter().product() }
    }

    /// n, the number of values per channel.
    pub fn per_channel(self) -> usize {
        self.batch * self.spatial
    }

    /// The positions, in logical order, of channel `c`'s values.
    fn positions(self, c: usize) -> impl Iterator<Item = usize> {
        (0..self.batch).flat_map(move |n| {
            let start = (n * self.channels + c) * self.spatial;
            start..start + self.spatial
        })
    }
}

/// The values of each channel, in logical order.
pub(super) fn split(tensor: &Tensor) -> Vec<Vec<f64>> {
    let extents = Extents::of(&tensor.shape);
    (0..extents.channels).map(|c| extents.positions(c).map(|i| tensor.data[i]).collect()).collect()
}

/// The inverse of [`split`].
pub(super) fn join(extents: Extents, channels: Vec<Vec<Tracked>>) -> Vec<Tracked> {
    let mut joined: Vec<Option<Tracked>> = vec![None; extents.per_channel() * extents.channels];
    for (c, values) in channels.into_iter().enumerate() {
        for (position, value) in extents.positions(c).zip(values) {
            joined[position] = Some(value);
        }
    }
    joined.into_iter().map(|value| value.expect("every position belongs to one channel")).collect()
}
