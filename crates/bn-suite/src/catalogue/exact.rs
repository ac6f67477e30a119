//! Values that are exact and dense: no 0, no sum that an f32 accumulator would
//! round, whatever the order and however many there are.
//!
//! A fill for tests in low precision must not owe its agreement to rounding, nor
//! to zeros: where most values are 0 whole channels are, and whatever an engine
//! does there is right. Here every value is k·2^e with a small integer k ≠ 0, so
//! that it has at most 8 significant bits and fits f16 and bf16, and
//!
//! > Σ|k| ≤ 2²⁴ and Σk² ≤ 2²⁴
//!
//! holds for each channel: all partial sums of values and of squares are integers
//! that f32 holds. [`crate::lint`] checks it with integers.

use std::collections::HashSet;

use super::fill::{SplitMix64, scale};

/// Σk² may reach this: the integers up to 2²⁴ are values of f32.
const LARGEST_SUM: usize = 1 << 24;

/// The largest |k| where n is small: few distinct values, short decimals.
const LARGEST: usize = 48;

/// A channel that is like an earlier one is drawn again, this often.
const ATTEMPTS: usize = 1000;

/// Dense values: k from −K/2 to K without 0 (K = 48, or less where n·K² would
/// exceed 2²⁴), negated in every third channel, in the channel's unit. No channel
/// has the mean 0, the mean of its neighbour, or the values of any other.
pub(super) fn dense(random: &mut SplitMix64, shape: &[usize]) -> Vec<f64> {
    let n = per_channel(shape);
    let most = (LARGEST_SUM / n.max(1)).isqrt().min(LARGEST);
    let (below, choices) = (most / 2, most + most / 2);
    let (mut seen, mut last_sum) = (HashSet::new(), 0.0);
    by_channel(shape, |channel| {
        let unit = if channel % 3 == 1 { -scale(channel) } else { scale(channel) };
        let mut draw = || -> Vec<f64> {
            let integer = |choice: usize| choice as f64 - below as f64 + f64::from(choice >= below);
            (0..n).map(|_| unit * integer(random.below(choices))).collect()
        };
        for _ in 0..ATTEMPTS {
            let values = draw();
            let sum: f64 = values.iter().sum();
            let is_flat = n > 1 && values.iter().all(|value| *value == values[0]);
            let key: Vec<u64> = values.iter().map(|value| value.to_bits()).collect();
            if n == 0 || (sum != 0.0 && sum != last_sum && !is_flat && seen.insert(key)) {
                last_sum = sum;
                return values;
            }
        }
        panic!("{shape:?} has more channels than there are to tell apart");
    })
}

/// Balanced values, for long sums: m − 2, m, m, m + 2 in equal parts and random
/// order, and m again for what n leaves over 4; m = 1, −1, 3, −3 by channel. The
/// mean is m, the variance 2 (where 4 divides n), and all sums of values, squares,
/// and squared distances are exact, so that plain recursion in f32 has nothing to
/// lose even at n = 4 million. With eps = 2 the deviation is exactly 2.
pub(super) fn balanced(random: &mut SplitMix64, shape: &[usize]) -> Vec<f64> {
    let n = per_channel(shape);
    by_channel(shape, |channel| {
        let mean = [1.0, -1.0, 3.0, -3.0][channel % 4];
        let mut left = [n / 4, n - n / 4 * 2, n / 4];
        let mut draw = |remaining: usize| {
            let ticket = random.below(remaining);
            let kind = if ticket < left[0] { 0 } else { 1 + usize::from(ticket >= left[0] + left[1]) };
            left[kind] -= 1;
            mean + [-2.0, 0.0, 2.0][kind]
        };
        (0..n).rev().map(|still| draw(still + 1)).collect()
    })
}

/// Gradients that come in with such an input: j/4, where j is 2 or 3 for
/// the upper values of a channel and −1 or 1 for the lower ones. So Σg is not 0,
/// and Σg·x̂ is not small: a gradient that is near 0 tells nothing.
pub(super) fn gradient(random: &mut SplitMix64, shape: &[usize], input: &[f64]) -> Vec<f64> {
    let channels = channels_of(shape, input);
    by_channel(shape, |channel| {
        let values = &channels[channel];
        let (least, most) =
            values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &x| (x.min(a), x.max(b)));
        let middle = least / 2.0 + most / 2.0;
        loop {
            let draw = |&x: &f64| {
                let quarters = match (x > middle, random.below(2)) {
                    (true, coin) => 2.0 + coin as f64,
                    (false, coin) => 2.0 * coin as f64 - 1.0,
                };
                quarters / 4.0
            };
            let drawn: Vec<f64> = values.iter().map(draw).collect();
            if drawn.is_empty() || drawn.iter().sum::<f64>() != 0.0 {
                return drawn;
            }
        }
    })
}

/// The number of values of a channel.
fn per_channel(shape: &[usize]) -> usize {
    shape[0] * shape[2..].iter().product::<usize>()
}

/// An array (N, C, *) in row-major order, made channel by channel.
fn by_channel(shape: &[usize], mut make: impl FnMut(usize) -> Vec<f64>) -> Vec<f64> {
    let inner: usize = shape[2..].iter().product();
    let channels: Vec<Vec<f64>> = (0..shape[1]).map(&mut make).collect();
    let mut data = Vec::with_capacity(shape.iter().product());
    for sample in 0..shape[0] {
        for channel in &channels {
            data.extend_from_slice(&channel[sample * inner..(sample + 1) * inner]);
        }
    }
    data
}

/// The values of each channel of an array (N, C, *).
pub(crate) fn channels_of(shape: &[usize], data: &[f64]) -> Vec<Vec<f64>> {
    let mut channels = vec![Vec::with_capacity(per_channel(shape)); shape[1]];
    let inner = shape[2..].iter().product::<usize>().max(1);
    for (place, block) in data.chunks(inner).enumerate() {
        channels[place % shape[1]].extend_from_slice(block);
    }
    channels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_go_apart_and_together() {
        let data: Vec<f64> = (0..12).map(f64::from).collect();
        let channels = channels_of(&[2, 3, 2], &data);
        assert_eq!(channels[1], [2.0, 3.0, 8.0, 9.0]);
        assert_eq!(by_channel(&[2, 3, 2], |channel| channels[channel].clone()), data);
    }

    /// The promise of [`balanced`]: mean m and variance 2, exactly.
    #[test]
    fn balanced_values_have_the_mean_and_variance_that_they_promise() {
        let values = balanced(&mut SplitMix64::seeded("exact", "balanced"), &[256, 2, 4]);
        for (channel, mean) in channels_of(&[256, 2, 4], &values).iter().zip([1.0, -1.0]) {
            assert_eq!(channel.iter().sum::<f64>(), mean * 1024.0);
            assert_eq!(channel.iter().map(|x| (x - mean).powi(2)).sum::<f64>(), 2048.0);
        }
        let first = &values[..16];
        assert!(first.contains(&3.0) && first.contains(&-1.0), "{first:?}");
    }

    #[test]
    fn dense_values_stay_exact_up_to_four_million() {
        for (n, largest) in [(9, 48.0), (1 << 16, 16.0), (1 << 22, 2.0)] {
            let values = dense(&mut SplitMix64::seeded("exact", "dense"), &[n, 1]);
            let most = values.iter().map(|x| x.abs()).fold(0.0, f64::max) / scale(0);
            assert!(most <= largest && values.iter().all(|x| *x != 0.0), "{n}: {most}");
            let squares: f64 = values.iter().map(|x| (x / scale(0)).powi(2)).sum();
            assert!(squares <= LARGEST_SUM as f64, "{n}: {squares}");
        }
    }
}
