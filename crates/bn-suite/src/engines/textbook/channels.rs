//! Which elements of an (N, C, *) array belong to which channel.

/// The shape (N, C, *) seen as N blocks of C rows of `spatial` values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Extents {
    /// N.
    pub batch: usize,
    /// C.
    pub channels: usize,
    /// The product of the extents after C.
    pub spatial: usize,
}

impl Extents {
    /// The shape must have a channel axis: rank 2 or more.
    pub fn of(shape: &[usize]) -> Self {
        Extents { batch: shape[0], channels: shape[1], spatial: shape[2..].iter().product() }
    }

    /// n, the number of values per channel.
    pub fn per_channel(self) -> usize {
        self.batch * self.spatial
    }

    /// Where the values of a channel lie in row-major data, one row per block.
    fn rows(self, channel: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
        (0..self.batch).map(move |block| {
            let row = (block * self.channels + channel) * self.spatial;
            row..row + self.spatial
        })
    }

    /// The values of a channel, as a list.
    pub fn gather(self, data: &[f64], channel: usize) -> Vec<f64> {
        let mut values = Vec::with_capacity(self.per_channel());
        self.rows(channel).for_each(|row| values.extend_from_slice(&data[row]));
        values
    }

    /// Puts a list back where its channel lies.
    pub fn scatter(self, values: &[f64], channel: usize, data: &mut [f64]) {
        for (row, values) in self.rows(channel).zip(values.chunks(self.spatial.max(1))) {
            data[row].copy_from_slice(values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gather_and_scatter_are_inverse() {
        let extents = Extents::of(&[2, 3, 2]);
        let data: Vec<f64> = (0..12).map(f64::from).collect();
        assert_eq!(extents.gather(&data, 1), [2.0, 3.0, 8.0, 9.0]);
        let mut copy = vec![0.0; 12];
        for channel in 0..3 {
            extents.scatter(&extents.gather(&data, channel), channel, &mut copy);
        }
        assert_eq!(copy, data);
    }
}
