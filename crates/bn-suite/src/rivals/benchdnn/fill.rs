//! benchdnn's data: values whose mean and variance every order of summation finds
//! exactly, as long as they last.
//!
//! d is the number of significant bits of the data type, L = N·D·H·W the number
//! of values of a channel, and l = n·D·H·W + 478·c + sp a running number of the
//! value at the place sp of image n in channel c. Neighbours with l = 2k, 2k + 1
//! are mean ± the same, so their sum is exact; with
//!
//! > free = ⌊(d − ⌈log₂ L⌉)/2⌋ − 1
//!
//! bits for what varies, their squares are too. Where fewer than 3 bits are free,
//! the mean is 0 and most values are 0: all but 2^(d − 2·flex) in L, as a coin
//! decides. bf16 has d = 8: at L = 98 the fill is 98 values with one not 0 on
//! average, and in a layer of a real network many channels hold nothing but 0.

use crate::tensor::DType;

/// The least and the wanted number of bits that vary.
const LEAST_FLEX: i64 = 3;
const WANTED_FLEX: i64 = 6;

/// How the channels of one problem are filled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fill {
    per_channel: usize,
    per_image: usize,
    flex: i64,
    /// The share of values that are not set to 0, where the mean is 0.
    density: Option<f32>,
}

impl Fill {
    /// The fill of an array (N, C, *).
    pub(super) fn new(dtype: DType, shape: &[usize]) -> Self {
        let per_image: usize = shape[2..].iter().product();
        let per_channel = shape[0] * per_image;
        let digits = digits(dtype);
        let free = (digits - (per_channel as f32).log2().ceil() as i64) / 2 - 1;
        if free >= LEAST_FLEX {
            return Fill { per_channel, per_image, flex: free.min(digits), density: None };
        }
        let flex = WANTED_FLEX.min(digits / 2);
        let density = (1i64 << (digits - 2 * flex)) as f32 / per_channel as f32;
        Fill { per_channel, per_image, flex, density: Some(density) }
    }

    /// The value at place `sp` of image `n` in channel `c`.
    pub(super) fn value(&self, n: usize, c: usize, sp: usize) -> f64 {
        let l = running_number(n * self.per_image, c, sp);
        if self.density.is_some_and(|density| !coin(l / 2 * 257, density)) {
            return 0.0;
        }
        let g = (l / 2 * 1637) & ((1 << self.flex) - 1);
        let f = if l % 2 == 0 { 1.0 } else { -1.0 } * g as f64 / (1i64 << self.flex) as f64;
        let mean = scale(c) * 2.0;
        let last = self.per_channel % 2 == 1 && n * self.per_image + sp == self.per_channel - 1;
        match self.density {
            Some(_) if last => 0.0,
            Some(_) => f,
            None if last => mean,
            None => mean * (1.0 + f),
        }
    }
}

/// The value where the statistics are given: an integer from −32 to 32.
pub(super) fn value_beside_global_statistics(per_image: usize, n: usize, c: usize, sp: usize) -> f64 {
    (running_number(n * per_image, c, sp) % 65 - 32) as f64
}

/// l; even at the start of every channel.
fn running_number(base: usize, c: usize, sp: usize) -> i64 {
    (base + 478 * c + sp) as i64
}

/// benchdnn's coin: true for about this share of the seeds.
fn coin(seed: i64, probability: f32) -> bool {
    const BIG_PRIME: i64 = 1_000_003;
    ((seed * 753_737 % BIG_PRIME) as f32) < probability * BIG_PRIME as f32
}

/// 2^(c mod 7)/8.
pub(super) fn scale(c: usize) -> f64 {
    2f64.powi((c % 7) as i32 - 3)
}

/// ((c mod 3) − 1)·2^(c mod 7)/512.
pub(super) fn shift(c: usize) -> f64 {
    ((c % 3) as f64 - 1.0) * scale(c) / 64.0
}

/// Significant bits.
pub(super) fn digits(dtype: DType) -> i64 {
    match dtype {
        DType::Bf16 => 8,
        DType::F16 => 11,
        _ => 24,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(fill: &Fill, c: usize) -> impl Iterator<Item = f64> {
        (0..fill.per_channel).map(move |i| fill.value(i / fill.per_image, c, i % fill.per_image))
    }

    #[test]
    fn f32_means_are_powers_of_two_exactly() {
        for shape in [[2, 512, 7, 7], [3, 8, 5, 7]] {
            let fill = Fill::new(DType::F32, &shape);
            for c in 0..8 {
                let mean = channel(&fill, c).sum::<f64>() / fill.per_channel as f64;
                assert_eq!(mean, 0.25 * 2f64.powi((c % 7) as i32), "{shape:?}, channel {c}");
            }
        }
    }

    #[test]
    fn seven_bits_are_free_in_f32_at_98_values() {
        assert_eq!(Fill::new(DType::F32, &[2, 512, 7, 7]).flex, (24 - 7) / 2 - 1);
    }

    /// 256×56×56, four layers of ResNet-50, with 32 images.
    #[test]
    fn in_bf16_whole_layers_are_zero() {
        let fill = Fill::new(DType::Bf16, &[32, 256, 56, 56]);
        assert!((0..32).all(|c| channel(&fill, c).all(|value| value == 0.0)));
    }

    /// 2048×7×7 with 2 images: 20 of the first 32 channels are zero, as in a second
    /// implementation of the formulas above.
    #[test]
    fn in_bf16_most_channels_of_the_smallest_layer_are_zero() {
        let fill = Fill::new(DType::Bf16, &[2, 2048, 7, 7]);
        let zero = (0..32).filter(|&c| channel(&fill, c).all(|value| value == 0.0)).count();
        assert_eq!(zero, 20);
    }
}
