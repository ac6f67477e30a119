//! A tensor (N, C, *) as C channels of n values, and back.
//!
//! Within a channel, what happens to a value depends on the value alone (and on
//! the gradients that come in at its place), not on where it lies. So a channel
//! is kept as the distinct ones among its values and how often each occurs: four
//! million values of which a few hundred are distinct cost a few hundred.

use std::collections::HashMap;

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

/// The values of one channel, equal ones together.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Channel {
    /// x.
    pub input: Vec<f64>,
    /// g, beside each x; zeros where no gradient comes in.
    pub grad_output: Vec<f64>,
    /// u, the cotangent of grad_input, beside each x; zeros where there is none.
    pub cotangent: Vec<f64>,
    /// How often each of these occurs.
    pub counts: Vec<usize>,
    /// For each position of the channel, in logical order, which of these it holds.
    places: Vec<usize>,
}

impl Channel {
    /// n, the number of values.
    pub fn n(&self) -> usize {
        self.places.len()
    }

    fn new(values: impl Iterator<Item = [f64; 3]>) -> Self {
        let mut known: HashMap<[u64; 3], usize> = HashMap::new();
        let mut channel =
            Channel { input: vec![], grad_output: vec![], cotangent: vec![], counts: vec![], places: vec![] };
        for value in values {
            let next = channel.counts.len();
            let place = *known.entry(value.map(f64::to_bits)).or_insert(next);
            if place == next {
                channel.input.push(value[0]);
                channel.grad_output.push(value[1]);
                channel.cotangent.push(value[2]);
                channel.counts.push(0);
            }
            channel.counts[place] += 1;
            channel.places.push(place);
        }
        channel
    }
}

/// The channels of an input, and of what comes in beside it in a backward pass
/// (both of the input's shape).
pub(super) fn split(
    input: &Tensor,
    grad_output: Option<&Tensor>,
    cotangent: Option<&Tensor>,
) -> Vec<Channel> {
    let extents = Extents::of(&input.shape);
    let beside = |tensor: Option<&Tensor>, i: usize| tensor.map_or(0.0, |tensor| tensor.data[i]);
    let channel = |c: usize| {
        Channel::new(
            extents.positions(c).map(|i| [input.data[i], beside(grad_output, i), beside(cotangent, i)]),
        )
    };
    (0..extents.channels).map(channel).collect()
}

/// What was made of the distinct values of each channel, at every position.
pub(super) fn join<T: Copy + Default>(extents: Extents, channels: &[Channel], made: &[Vec<T>]) -> Vec<T> {
    let mut joined = vec![T::default(); extents.per_channel() * extents.channels];
    for (c, (channel, made)) in channels.iter().zip(made).enumerate() {
        for (position, &place) in extents.positions(c).zip(&channel.places) {
            joined[position] = made[place];
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::DType;

    #[test]
    fn split_counts_and_join_puts_back() {
        let data = vec![1.0, 2.0, 3.0, 3.0, 2.0, 1.0, 3.0, 4.0];
        let input = Tensor::new(DType::F64, &[2, 2, 2], data.clone());
        let channels = split(&input, None, None);
        assert_eq!((channels[0].input.clone(), channels[0].counts.clone()), (vec![1.0, 2.0], vec![2, 2]));
        assert_eq!((channels[1].input.clone(), channels[1].counts.clone()), (vec![3.0, 4.0], vec![3, 1]));
        let made: Vec<Vec<f64>> = channels.iter().map(|channel| channel.input.clone()).collect();
        assert_eq!(join(Extents::of(&input.shape), &channels, &made), data);
    }

    #[test]
    fn equal_inputs_under_different_gradients_are_kept_apart() {
        let input = Tensor::new(DType::F64, &[3, 1], vec![1.0; 3]);
        let grad_output = Tensor::new(DType::F64, &[3, 1], vec![5.0, 6.0, 5.0]);
        let channel = split(&input, Some(&grad_output), None).remove(0);
        assert_eq!((channel.grad_output, channel.counts), (vec![5.0, 6.0], vec![2, 1]));
    }
}
