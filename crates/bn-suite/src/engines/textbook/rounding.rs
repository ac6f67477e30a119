//! What a number becomes when it is put into an array of a dtype.
//!
//! The textbook computes in f64 and rounds once, at the end. An f64 goes to f16
//! and bf16 by way of an f32 that is *rounded to odd*: cut off, with its last bit
//! set when anything was lost. A plain f64 → f32 → f16 rounds to nearest twice,
//! and the first rounding can land on a midpoint of the second; an odd last bit
//! never is a midpoint, and still tells on which side of one the number lay
//! (Boldo and Melquiond, *Emulation of FMA and correctly rounded sums*, 2008:
//! right whenever the middle format has two bits more than the last one).

use half::{bf16, f16};

use super::recipe::Recipe;
use crate::tensor::{DType, Tensor};

/// The value of `dtype` nearest to `value`, ties to even.
pub(crate) fn round(value: f64, dtype: DType) -> f64 {
    match dtype {
        DType::F16 => f16::from_f32(round_to_odd(value)).to_f64(),
        DType::Bf16 => bf16::from_f32(round_to_odd(value)).to_f64(),
        DType::F32 => f64::from(value as f32),
        // The textbook refuses to compute with integers and booleans.
        DType::F64 | DType::I64 | DType::Bool => value,
    }
}

/// An array of these values, each rounded to `dtype`.
pub(crate) fn tensor(recipe: &dyn Recipe, dtype: DType, shape: &[usize], values: &[f64]) -> Tensor {
    Tensor::new(dtype, shape, recipe.round_all(values, dtype))
}

/// `value` cut off to an f32, the last bit set if that lost anything.
fn round_to_odd(value: f64) -> f32 {
    let nearest = value as f32;
    if value.is_nan() || f64::from(nearest) == value {
        return nearest;
    }
    let went_up = f64::from(nearest).abs() > value.abs();
    // One step towards zero is one less in the bits, whatever the sign; it also
    // leads from infinity to the largest finite value.
    f32::from_bits((nearest.to_bits() - u32::from(went_up)) | 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Between every two neighbours of f16 and bf16: the midpoint goes to the
    /// even one, and the f64 on either side of the midpoint to the near one.
    #[test]
    fn every_midpoint_is_decided_by_the_last_bit_of_the_f64() {
        for (dtype, infinity) in [(DType::F16, 0x7c00u16), (DType::Bf16, 0x7f80)] {
            let decode = |bits: u16| match dtype {
                DType::F16 => f16::from_bits(bits).to_f64(),
                _ => bf16::from_bits(bits).to_f64(),
            };
            for bits in 0..infinity - 1 {
                let (low, high) = (decode(bits), decode(bits + 1));
                let middle = low + (high - low) / 2.0;
                let even = if bits % 2 == 0 { low } else { high };
                for sign in [1.0, -1.0] {
                    assert_eq!(round(sign * middle, dtype), sign * even, "{} {bits:#x}", dtype.name());
                    assert_eq!(round(sign * middle.next_down(), dtype), sign * low);
                    assert_eq!(round(sign * middle.next_up(), dtype), sign * high);
                }
            }
        }
    }

    #[test]
    fn what_is_too_large_becomes_infinite() {
        assert_eq!(round(65519.9, DType::F16), 65504.0);
        assert_eq!(round(65520.0, DType::F16), f64::INFINITY);
        assert_eq!(round(-1e300, DType::Bf16), f64::NEG_INFINITY);
        assert_eq!(round(3.5e38, DType::F32), f64::INFINITY);
        assert!(round(f64::NAN, DType::F16).is_nan());
    }
}
