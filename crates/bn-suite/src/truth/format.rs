//! Rounding a real number to a floating-point format: to nearest, ties to even,
//! subnormals and overflow included.
//!
//! Written out, because the ready-made conversions are not to be trusted at the
//! edges (subnormals, and f16 and bf16 reached by way of f64, which rounds twice).

use dashu_base::Sign;
use dashu_int::Word;

use super::real::{Finite, Real};
use crate::tensor::DType;

/// A binary format: `precision` bits with the leading one, and the exponents of
/// the smallest and largest normal powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    precision: i64,
    min_exponent: i64,
    max_exponent: i64,
}

/// IEEE binary16.
pub const F16: Format = Format { precision: 11, min_exponent: -14, max_exponent: 15 };
/// bfloat16.
pub const BF16: Format = Format { precision: 8, min_exponent: -126, max_exponent: 127 };
/// IEEE binary32.
pub const F32: Format = Format { precision: 24, min_exponent: -126, max_exponent: 127 };
/// IEEE binary64.
pub const F64: Format = Format { precision: 53, min_exponent: -1022, max_exponent: 1023 };
/// binary64 whose exponent does not end: what a kernel has that scales its
/// numbers by powers of two. For bounds, not for values.
pub const EXTENDED: Format = Format { precision: 53, min_exponent: -16382, max_exponent: 16383 };
/// An unevaluated sum of two binary64 numbers, without an end of the exponent.
/// For bounds, not for values.
pub const TWO_WORDS: Format = Format { precision: 106, min_exponent: -16382, max_exponent: 16383 };

impl Format {
    /// The format of a floating-point dtype; `None` for integers and booleans.
    pub fn of(dtype: DType) -> Option<Format> {
        match dtype {
            DType::F16 => Some(F16),
            DType::Bf16 => Some(BF16),
            DType::F32 => Some(F32),
            DType::F64 => Some(F64),
            DType::I64 | DType::Bool => None,
        }
    }

    /// Unit roundoff: half the gap between 1 and the next value, 2^−precision.
    pub fn unit_roundoff(self) -> f64 {
        power_of_two(-self.precision)
    }

    /// The smallest positive value, a subnormal.
    pub fn min_positive(self) -> f64 {
        power_of_two(self.min_exponent - self.precision + 1)
    }

    /// The smallest positive normal value.
    pub fn min_normal(self) -> f64 {
        power_of_two(self.min_exponent)
    }

    /// The largest finite value; infinite where an f64 cannot say it.
    pub fn max_finite(self) -> f64 {
        (2.0 - 2.0 * self.unit_roundoff()) * power_of_two(self.max_exponent)
    }

    /// The gap between neighbouring values at `value`'s magnitude.
    pub fn ulp(self, value: f64) -> f64 {
        let exponent = if value == 0.0 { self.min_exponent } else { exponent_of(value.abs()) };
        power_of_two(exponent.max(self.min_exponent) - self.precision + 1)
    }

    /// The value of this format nearest to `real`, as an f64 that equals it.
    pub fn round(self, real: &Real) -> f64 {
        match real {
            Real::Nan => f64::NAN,
            Real::Infinite(true) => f64::INFINITY,
            Real::Infinite(false) => f64::NEG_INFINITY,
            Real::Finite(x) => self.round_finite(x),
        }
    }

    /// With x = ±m·2^e: the quantum is 2^q, as fine as the precision allows at
    /// x's magnitude and no finer than the subnormals; m·2^(e−q) is rounded to an
    /// integer by its first dropped bit and whether any bit below it is set.
    fn round_finite(self, x: &Finite) -> f64 {
        let (sign, words) = x.repr().significand().as_sign_words();
        let bits = bit_length(words);
        if bits == 0 {
            return 0.0;
        }
        let exponent = x.repr().exponent() as i64;
        let leading = exponent + bits - 1;
        let quantum = (leading - self.precision + 1).max(self.min_exponent - self.precision + 1);
        let integer = round_shift(words, exponent - quantum);
        let rounded_leading = quantum + (64 - i64::from(integer.leading_zeros())) - 1;
        let value =
            if rounded_leading > self.max_exponent { f64::INFINITY } else { compose(integer, quantum) };
        if sign == Sign::Negative { -value } else { value }
    }
}

/// The value of the dtype nearest to `value`: ties to even, or away from 0 among whole numbers.
pub fn nearest(dtype: DType, value: f64) -> f64 {
    match dtype {
        DType::F64 => value,
        DType::F32 => f64::from(value as f32),
        _ => Format::of(dtype).map_or(value.round(), |format| format.round(&Real::from(value))),
    }
}

const WORD_BITS: i64 = Word::BITS as i64;

/// The number of bits of a magnitude in little-endian words without leading zero words.
fn bit_length(words: &[Word]) -> i64 {
    words.last().map_or(0, |top| words.len() as i64 * WORD_BITS - i64::from(top.leading_zeros()))
}

/// magnitude·2^shift as an integer of at most 53 bits, to nearest, ties to even.
fn round_shift(magnitude: &[Word], shift: i64) -> u64 {
    if shift >= 0 {
        return bits_from(magnitude, 0) << shift;
    }
    let dropped = -shift;
    let kept = bits_from(magnitude, dropped);
    let half = bits_from(magnitude, dropped - 1) & 1 == 1;
    kept + u64::from(half && (kept & 1 == 1 || any_bit_below(magnitude, dropped - 1)))
}

/// The 64 bits of the magnitude from position `from` up.
fn bits_from(magnitude: &[Word], from: i64) -> u64 {
    let (word, bit) = ((from / WORD_BITS) as usize, from % WORD_BITS);
    let at = |index: usize| magnitude.get(index).map_or(0, |&word| u128::from(word));
    let window = at(word)
        | at(word + 1) << WORD_BITS
        | if WORD_BITS < 64 { at(word + 2) << (2 * WORD_BITS) } else { 0 };
    (window >> bit) as u64
}

/// Whether any bit under position `end` is set.
fn any_bit_below(magnitude: &[Word], end: i64) -> bool {
    let (word, bit) = ((end / WORD_BITS) as usize, end % WORD_BITS);
    let whole = magnitude.iter().take(word).any(|&word| word != 0);
    whole || magnitude.get(word).is_some_and(|&word| word & ((1 << bit) - 1) != 0)
}

/// integer·2^exponent, which must be an f64 value.
fn compose(integer: u64, exponent: i64) -> f64 {
    // Two exact multiplications, because 2^exponent itself may lie outside f64.
    let half = exponent / 2;
    integer as f64 * power_of_two(half) * power_of_two(exponent - half)
}

/// 2^exponent, exactly, for every f64 power of two, the subnormal ones included.
fn power_of_two(exponent: i64) -> f64 {
    match exponent {
        1024.. => f64::INFINITY,
        -1022.. => f64::from_bits(((exponent + 1023) as u64) << 52),
        -1074.. => f64::from_bits(1 << (exponent + 1074)),
        _ => 0.0,
    }
}

/// ⌊log₂ x⌋ for positive finite x.
fn exponent_of(x: f64) -> i64 {
    let biased = (x.to_bits() >> 52) as i64;
    if biased > 0 { biased - 1023 } else { -1011 - i64::from(x.to_bits().leading_zeros()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every f16 and bf16 value, its neighbour and the midpoint between them:
    /// values stay, midpoints go to the even one, a hair beside them to the nearer.
    #[test]
    fn low_precision_values_and_midpoints() {
        for (format, to_f64) in [
            (F16, (|bits| half::f16::from_bits(bits).to_f64()) as fn(u16) -> f64),
            (BF16, |bits| half::bf16::from_bits(bits).to_f64()),
        ] {
            for bits in 0..u16::MAX / 2 {
                let (low, high) = (to_f64(bits), to_f64(bits + 1));
                if !high.is_finite() {
                    break;
                }
                assert_eq!(format.round(&Real::from(low)), low);
                let middle = low + (high - low) / 2.0;
                let even = if bits & 1 == 0 { low } else { high };
                assert_eq!(format.round(&Real::from(middle)), even, "midpoint above {low:e}");
                // Far closer to the midpoint than f64 can say.
                let hair = &Real::from(middle) * &Real::from(2f64.powi(-150));
                assert_eq!(format.round(&(&Real::from(middle) + &hair)), high);
                assert_eq!(format.round(&(&Real::from(middle) - &hair)), low);
            }
        }
    }

    /// The hardware rounds f64 to f32; both must agree, subnormals included.
    #[test]
    fn f32_agrees_with_the_hardware() {
        let mut state = 1u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = f64::from_bits(state);
            for value in [value, f64::from(f32::from_bits((state >> 32) as u32)) * 1.000_000_1] {
                if value.is_finite() {
                    assert_eq!(F32.round(&Real::from(value)), f64::from(value as f32), "{value:e}");
                    assert_eq!(F64.round(&Real::from(value)), value);
                }
            }
        }
    }

    #[test]
    fn overflow_starts_half_an_ulp_above_the_largest() {
        assert_eq!(F16.max_finite(), 65504.0);
        assert_eq!(F16.round(&Real::from(65519.99)), 65504.0);
        assert_eq!(F16.round(&Real::from(65520.0)), f64::INFINITY);
        assert_eq!(F32.round(&Real::from(-1e39)), f64::NEG_INFINITY);
        assert_eq!(F64.max_finite(), f64::MAX);
    }

    #[test]
    fn f64_subnormals_round_to_even() {
        let tiny = Real::from(5e-324);
        let half = &tiny / &Real::from(2.0);
        assert_eq!(F64.round(&half), 0.0);
        assert_eq!(F64.round(&(&tiny + &half)), 1e-323);
        assert_eq!(F64.min_positive(), 5e-324);
        assert_eq!(F64.min_normal(), f64::MIN_POSITIVE);
        assert_eq!(
            (F32.ulp(0.0), F32.ulp(1.0), F64.ulp(5e-320)),
            (f64::from(f32::from_bits(1)), 2f64.powi(-23), 5e-324)
        );
    }
}
