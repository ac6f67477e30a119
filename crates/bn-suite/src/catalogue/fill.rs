//! Where the numbers of a case come from: seeded generators that any language
//! can repeat, because they count in integers and divide by powers of two only.
//!
//! | word | meaning |
//! |---|---|
//! | bits | SplitMix64 (Steele, Lea, Flood 2014): s ← s + 0x9e3779b97f4a7c15, then two multiply-xor-shift rounds |
//! | seed | FNV-1a (64 bits) of `case name#label`, where the label names the array: `weight`, `0 input`, `0 grad_output`, … with the step's index |
//! | uniform | the top q bits of one draw, an integer in 0 … 2^q − 1 |
//! | normal | z = (Σ of 12 uniforms − 6·(2^q − 1)) / 2^q: mean 0, deviation 1, within ±6 (Irwin–Hall) |
//!
//! What a formula below makes of them is rounded to the array's dtype, to
//! nearest, ties to even: every value of a case is a value of its dtype.

use super::exact;
use crate::tensor::DType;
use crate::truth::format::nearest;

/// A generator of 64-bit words.
#[derive(Debug)]
pub(crate) struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// The generator for one array of one case.
    pub(crate) fn seeded(case: &str, label: &str) -> Self {
        let text = format!("{case}#{label}");
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        SplitMix64 { state: hash }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// An integer in 0 … 2^bits − 1.
    pub(crate) fn uniform(&mut self, bits: u32) -> u64 {
        self.next() >> (64 - bits)
    }

    /// An integer in 0 … limit − 1. The remainder of 64 bits: what that favours is
    /// less than limit/2⁶⁴.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// z on a grid of 2^−bits.
    pub(crate) fn normal(&mut self, bits: u32) -> f64 {
        let total: u64 = (0..12).map(|_| self.uniform(bits)).sum();
        let centred = total as i64 - 6 * ((1 << bits) - 1);
        centred as f64 / (1u64 << bits) as f64
    }
}

/// The grid of everyday inputs: coarse, so that the files stay short.
const COARSE: u32 = 8;
/// The grid where every bit of the dtype is to be in use.
const FINE: u32 = 26;

/// What the channels of an input hold.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fill {
    /// 2^k·(z + offset), with k and the offset different from channel to channel:
    /// whoever mixes channels up, or normalises over them, cannot be right.
    Channels,
    /// mean + deviation·z.
    Normal { mean: f64, deviation: f64 },
    /// mean + deviation·z, z on a coarse grid: few distinct values, however many there are.
    Coarse { mean: f64, deviation: f64 },
    /// mean + deviation·z, but the value in the middle of each channel is `outlier`.
    Outlier { mean: f64, deviation: f64, outlier: f64 },
    /// The same value everywhere.
    Constant(f64),
    /// 2^⌊277·z/64⌋·(1 + u/256): log₂ has the deviation 4.33, as that of a
    /// lognormal with σ = 3 has.
    HeavyTail,
    /// As [`exact::dense`].
    Dense,
    /// As [`exact::balanced`].
    Balanced,
}

impl Fill {
    /// The values of an array (N, C, *), in row-major order.
    pub(super) fn draw(self, random: &mut SplitMix64, shape: &[usize], dtype: DType) -> Vec<f64> {
        match self {
            Fill::Dense => return exact::dense(random, shape),
            Fill::Balanced => return exact::balanced(random, shape),
            _ => {}
        }
        let inner: usize = shape[2..].iter().product();
        let per_channel = shape[0] * inner;
        (0..shape.iter().product())
            .map(|place: usize| {
                let channel = place / inner % shape[1];
                let position = place / inner / shape[1] * inner + place % inner;
                nearest(dtype, self.value(random, channel, position == per_channel / 2))
            })
            .collect()
    }

    fn value(self, random: &mut SplitMix64, channel: usize, middle: bool) -> f64 {
        match self {
            Fill::Channels => scale(channel) * (random.normal(COARSE) + offset(channel)),
            Fill::Normal { mean, deviation } => mean + deviation * random.normal(FINE),
            Fill::Coarse { mean, deviation } => mean + deviation * random.normal(COARSE),
            Fill::Outlier { mean, deviation, outlier } => {
                let usual = mean + deviation * random.normal(FINE);
                if middle { outlier } else { usual }
            }
            Fill::Constant(value) => value,
            Fill::HeavyTail => {
                let exponent = (random.normal(COARSE) * 277.0 / 64.0).floor() as i32;
                let mantissa = 1.0 + random.uniform(8) as f64 / 256.0;
                2f64.powi(exponent) * mantissa
            }
            Fill::Dense | Fill::Balanced => unreachable!("drawn channel by channel"),
        }
    }
}

/// The unit of a channel, a power of two from 1/8 to 8.
pub(super) fn scale(channel: usize) -> f64 {
    2f64.powi((channel * 5 % 7) as i32 - 3)
}

/// The mean of a channel, in its units.
pub(super) fn offset(channel: usize) -> f64 {
    [0.75, -1.5, 2.25, -0.5, 1.0][channel % 5]
}

/// Gradients that come in: level + z/2. The usual level is 1/4, so that neither
/// Σg nor Σg·x̂ vanishes.
pub(super) fn gradient(random: &mut SplitMix64, count: usize, dtype: DType, level: f64) -> Vec<f64> {
    (0..count).map(|_| nearest(dtype, level + random.normal(COARSE) / 2.0)).collect()
}

/// Parameters ±(k/16), k = 4 … 39 without 16: of both signs, and neither 0 nor ±1.
pub(super) fn parameters(random: &mut SplitMix64, count: usize) -> Vec<f64> {
    let draw = |_| {
        let sixteenths = 4 + random.uniform(5) % 35;
        let without_one = sixteenths + u64::from(sixteenths >= 16);
        let sign = if random.uniform(1) == 0 { 1.0 } else { -1.0 };
        sign * without_one as f64 / 16.0
    };
    (0..count).map(draw).collect()
}

/// Running means near, but not at, the channels' own.
pub(super) fn running_means(random: &mut SplitMix64, count: usize) -> Vec<f64> {
    let jitter = |random: &mut SplitMix64| (1 + random.uniform(3)) as f64 / 8.0;
    (0..count).map(|c| scale(c) * (offset(c) + jitter(random))).collect()
}

/// Running variances between a half and twice the channels' own, never equal to it.
pub(super) fn running_vars(random: &mut SplitMix64, count: usize) -> Vec<f64> {
    (0..count).map(|c| scale(c) * scale(c) * (17 + random.uniform(4)) as f64 / 16.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published first outputs of SplitMix64 from state 1234567.
    #[test]
    fn splitmix64_is_the_published_one() {
        let mut random = SplitMix64 { state: 1_234_567 };
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([random.next(), random.next(), random.next()], expected);
    }

    /// With 20 000 draws the mean of z has the deviation 0.007 and its variance,
    /// whose terms have the variance 1.9, one of 0.01: five of each are allowed.
    #[test]
    fn normal_has_mean_0_and_deviation_1() {
        let mut random = SplitMix64::seeded("fill", "normal");
        let values: Vec<f64> = (0..20_000).map(|_| random.normal(COARSE)).collect();
        let mean = values.iter().sum::<f64>() / 20_000.0;
        let var = values.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.035 && (var - 1.0).abs() < 0.05, "{mean} {var}");
    }

    #[test]
    fn parameters_ask_questions() {
        let mut random = SplitMix64::seeded("fill", "parameters");
        let values = parameters(&mut random, 1000);
        assert!(values.iter().all(|v| *v != 0.0 && v.abs() != 1.0 && v.abs() < 2.5));
        assert!(values.iter().any(|v| *v < 0.0) && values.iter().any(|v| *v > 0.0));
    }
}
