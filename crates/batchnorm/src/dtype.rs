//! Which numbers batch norm is made of, and how each becomes an `f64` and comes
//! back rounded once.
//!
//! | input | parameters and buffers |
//! |---|---|
//! | f64 | f64 |
//! | f32 | f32 |
//! | f16, bf16 | f32, or the input's own |
//!
//! PyTorch takes these mixes and no other. Here they are a trait,
//! [`MixesWith`], so that a mix outside the table does not compile:
//!
//! ```compile_fail,E0277
//! use batchnorm::{BatchNorm, Config};
//! let mut layer = BatchNorm::<f32>::new(Config::new(4));
//! let input = ndarray::Array2::<f64>::zeros((3, 4));
//! layer.forward(input.view()); // f64 input with f32 parameters
//! ```
//!
//! Callers that learn dtypes at run time ask [`check_dtypes`].

use std::fmt;
use std::str::FromStr;

use half::{bf16, f16};

use crate::error::Error;
use crate::kernels::accumulate::{Compensated, Plain};
use crate::kernels::entry::Loops;
use crate::kernels::simd::{LANES, Simd};

/// The dtypes an array may have. Batch norm computes on the first four; the
/// others exist so that they can be refused by name, in PyTorch's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// IEEE binary16.
    F16,
    /// bfloat16, the upper half of binary32.
    Bf16,
    /// IEEE binary32.
    F32,
    /// IEEE binary64.
    F64,
    /// 64-bit signed integers.
    I64,
    /// Booleans.
    Bool,
}

impl DType {
    const ALL: [DType; 6] = [DType::F16, DType::Bf16, DType::F32, DType::F64, DType::I64, DType::Bool];

    /// `f16`, `bf16`, `f32`, `f64`, `i64` or `bool`.
    pub fn name(self) -> &'static str {
        match self {
            DType::F16 => "f16",
            DType::Bf16 => "bf16",
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::I64 => "i64",
            DType::Bool => "bool",
        }
    }

    fn is_float(self) -> bool {
        !matches!(self, DType::I64 | DType::Bool)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DType {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let known = DType::ALL.into_iter().find(|dtype| dtype.name() == name);
        known.ok_or_else(|| Error::UnknownDtype { name: name.to_owned() })
    }
}

/// Whether batch norm takes `input` with parameters and buffers of these dtypes
/// (each named once or more, in any order): the table of [this module](self).
pub fn check_dtypes(input: DType, parameters: &[DType]) -> Result<(), Error> {
    let all = |dtype| parameters.iter().all(|&p| p == dtype);
    let low = matches!(input, DType::F16 | DType::Bf16);
    if input.is_float() && (all(input) || (low && all(DType::F32))) {
        return Ok(());
    }
    let mut distinct = parameters.to_vec();
    distinct.dedup();
    Err(Error::Dtype { input, parameters: distinct })
}

mod sealed {
    use crate::kernels::accumulate::Accumulator;
    use crate::kernels::simd::{LANES, Simd};

    pub trait SealedMix<P> {}

    /// How eight values become eight f64, and back, rounded once; and what they are
    /// summed in.
    pub trait Sealed: Sized {
        /// Whether maps to it mostly go by way of f32
        /// ([`narrow`](crate::kernels::narrow)): the f64 loops then only pick up what is
        /// left, and are compiled in their plainest form.
        const NARROW: bool = false;

        /// Sums of as many lanes.
        type Sum<S: Simd>: Accumulator<S>;

        fn load<S: Simd>(simd: S, from: &[Self; LANES]) -> S::V;
        fn store<S: Simd>(simd: S, v: S::V, to: &mut [Self; LANES]);
        /// As `store`, past the caches where that is worth it; `to` is aligned to 16 bytes.
        #[inline(always)]
        fn stream<S: Simd>(simd: S, v: S::V, to: &mut [Self; LANES]) {
            Self::store(simd, v, to);
        }

        /// As `store`, twice.
        #[inline(always)]
        fn store_twice<S: Simd>(simd: S, v: [S::V; 2], [low, high]: [&mut [Self; LANES]; 2]) {
            Self::store(simd, v[0], low);
            Self::store(simd, v[1], high);
        }
        /// Fewer than eight; zeros beyond.
        fn load_part<S: Simd>(simd: S, from: &[Self]) -> S::V;
        /// Fewer than eight.
        fn store_part<S: Simd>(simd: S, v: S::V, to: &mut [Self]);
    }
}

/// A floating-point number that batch norm computes on: `f16`, `bf16`, `f32`,
/// `f64`. The trait is sealed.
pub trait Element:
    sealed::Sealed + Loops + Copy + Default + PartialEq + fmt::Debug + Send + Sync + 'static
{
    /// Which one it is.
    const DTYPE: DType;

    /// The same value: every one of the four is exact in `f64`.
    fn to_f64(self) -> f64;

    /// The nearest value, ties to even, rounded once.
    fn from_f64(value: f64) -> Self;
}

/// An input dtype that batch norm takes with parameters of dtype `P`. The trait
/// is sealed: its implementations are the table of [this module](self).
pub trait MixesWith<P>: Element + sealed::SealedMix<P> {}

impl sealed::Sealed for f64 {
    type Sum<S: Simd> = Compensated<S::V>;

    #[inline(always)]
    fn load<S: Simd>(simd: S, from: &[Self; LANES]) -> S::V {
        simd.load_f64(from)
    }
    #[inline(always)]
    fn store<S: Simd>(simd: S, v: S::V, to: &mut [Self; LANES]) {
        simd.store_f64(v, to);
    }
    #[inline(always)]
    fn stream<S: Simd>(simd: S, v: S::V, to: &mut [Self; LANES]) {
        simd.stream_f64(v, to);
    }
    #[inline(always)]
    fn load_part<S: Simd>(simd: S, from: &[Self]) -> S::V {
        simd.load_f64_part(from)
    }
    #[inline(always)]
    fn store_part<S: Simd>(simd: S, v: S::V, to: &mut [Self]) {
        simd.store_f64_part(v, to);
    }
}
impl Element for f64 {
    const DTYPE: DType = DType::F64;
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value
    }
}

impl sealed::Sealed for f32 {
    type Sum<S: Simd> = Plain<S::V>;

    #[inline(always)]
    fn load<S: Simd>(simd: S, from: &[Self; LANES]) -> S::V {
        simd.load_f32(from)
    }
    #[inline(always)]
    fn store<S: Simd>(simd: S, v: S::V, to: &mut [Self; LANES]) {
        simd.store_f32(v, to);
    }
    #[inline(always)]
    fn stream<S: Simd>(simd: S, v: S::V, to: &mut [Self; LANES]) {
        simd.stream_f32(v, to);
    }
    #[inline(always)]
    fn load_part<S: Simd>(simd: S, from: &[Self]) -> S::V {
        simd.load_f32_part(from)
    }
    #[inline(always)]
    fn store_part<S: Simd>(simd: S, v: S::V, to: &mut [Self]) {
        simd.store_f32_part(v, to);
    }
}
impl Element for f32 {
    const DTYPE: DType = DType::F32;
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self.into()
    }
    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value as f32
    }
}

// half's own `from_f64` drops the low bits of the f64 before it looks for a tie,
// so a value just above a midpoint can come out below it. Through f32 rounded to
// odd there is one rounding only.
impl sealed::Sealed for f16 {
    const NARROW: bool = cfg!(target_arch = "x86_64");

    type Sum<S: Simd> = Plain<S::V>;

    #[inline(always)]
    fn load<S: Simd>(simd: S, from: &[Self; LANES]) -> S::V {
        simd.load_f16(from)
    }
    #[inline(always)]
    fn store<S: Simd>(simd: S, v: S::V, to: &mut [Self; LANES]) {
        simd.store_f16(v, to);
    }
    #[inline(always)]
    fn store_twice<S: Simd>(simd: S, v: [S::V; 2], to: [&mut [Self; LANES]; 2]) {
        simd.store_f16_twice(v, to);
    }
    #[inline(always)]
    fn load_part<S: Simd>(simd: S, from: &[Self]) -> S::V {
        simd.load_f16_part(from)
    }
    #[inline(always)]
    fn store_part<S: Simd>(simd: S, v: S::V, to: &mut [Self]) {
        simd.store_f16_part(v, to);
    }
}
impl Element for f16 {
    const DTYPE: DType = DType::F16;
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self.to_f32())
    }
    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        f16::from_f32(round_to_odd(value))
    }
}

impl sealed::Sealed for bf16 {
    const NARROW: bool = cfg!(target_arch = "x86_64");

    type Sum<S: Simd> = Plain<S::V>;

    #[inline(always)]
    fn load<S: Simd>(simd: S, from: &[Self; LANES]) -> S::V {
        simd.load_bf16(from)
    }
    #[inline(always)]
    fn store<S: Simd>(simd: S, v: S::V, to: &mut [Self; LANES]) {
        simd.store_bf16(v, to);
    }
    #[inline(always)]
    fn store_twice<S: Simd>(simd: S, v: [S::V; 2], to: [&mut [Self; LANES]; 2]) {
        simd.store_bf16_twice(v, to);
    }
    #[inline(always)]
    fn load_part<S: Simd>(simd: S, from: &[Self]) -> S::V {
        simd.load_bf16_part(from)
    }
    #[inline(always)]
    fn store_part<S: Simd>(simd: S, v: S::V, to: &mut [Self]) {
        simd.store_bf16_part(v, to);
    }
}
impl Element for bf16 {
    const DTYPE: DType = DType::Bf16;
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self.to_f32())
    }
    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        bf16::from_f32(round_to_odd(value))
    }
}

/// The f32 next to `value`, chosen so that rounding it again to 11 or 8 bits is
/// as good as rounding `value` itself.
///
/// A value between two f32 goes to the one whose last bit is 1. A midpoint of
/// f16 or bf16 ends in many zero bits, so no inexact value lands on it, and none
/// crosses it: the second rounding sees on which side of it the value lay.
/// (Boldo and Melquiond, "When double rounding is odd", 2005: two extra bits are
/// enough; here there are 13 or 16, and as many among the subnormals.)
#[inline(always)]
pub(crate) fn round_to_odd(value: f64) -> f32 {
    let nearest = value as f32;
    let back = f64::from(nearest);
    if back == value || value.is_nan() {
        return nearest;
    }
    let away = back.abs() > value.abs();
    let toward_zero = nearest.to_bits() - u32::from(away);
    f32::from_bits(toward_zero | 1)
}

macro_rules! mixes {
    ($($input:ty, $parameters:ty;)*) => {$(
        impl sealed::SealedMix<$parameters> for $input {}
        impl MixesWith<$parameters> for $input {}
    )*};
}

mixes! {
    f64, f64;
    f32, f32;
    f16, f32;
    bf16, f32;
    f16, f16;
    bf16, bf16;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair of neighbours of a 16-bit dtype, the midpoint between them, the f64
    /// on either side of that midpoint, and those beyond its neighbours in f32.
    fn check_all_midpoints<T: Element>(from_bits: impl Fn(u16) -> T, largest: u16) {
        for bits in 0..largest {
            let (low, high) = (from_bits(bits), from_bits(bits + 1));
            let middle = (low.to_f64() + high.to_f64()) / 2.0; // exact: f64 has bits to spare
            let even = if bits % 2 == 0 { low } else { high };
            let (below, above) = ((middle as f32).next_down(), (middle as f32).next_up());
            for (value, nearest) in [
                (low.to_f64(), low),
                (f64::from(below).next_down(), low),
                (f64::from(below).next_up(), low),
                (middle.next_down(), low),
                (middle, even),
                (middle.next_up(), high),
                (f64::from(above).next_down(), high),
                (f64::from(above).next_up(), high),
                (high.to_f64(), high),
            ] {
                assert_eq!(T::from_f64(value), nearest, "{value:e}");
                assert_eq!(T::from_f64(-value).to_f64(), -nearest.to_f64(), "-{value:e}");
            }
        }
    }

    #[test]
    fn every_f16_midpoint_rounds_once() {
        check_all_midpoints(f16::from_bits, f16::MAX.to_bits());
    }

    #[test]
    fn every_bf16_midpoint_rounds_once() {
        check_all_midpoints(bf16::from_bits, bf16::MAX.to_bits());
    }

    #[test]
    fn beyond_the_largest_value_lies_infinity() {
        // Half an ulp above the largest value is the first to overflow (a tie, to even).
        let f16_edge = 65520.0;
        assert_eq!(<f16 as Element>::from_f64(f16_edge), f16::INFINITY);
        assert_eq!(<f16 as Element>::from_f64(f16_edge.next_down()), f16::MAX);
        let bf16_edge = (2.0 - 2f64.powi(-8)) * 2f64.powi(127);
        assert_eq!(<bf16 as Element>::from_f64(bf16_edge), bf16::INFINITY);
        assert_eq!(<bf16 as Element>::from_f64(bf16_edge.next_down()), bf16::MAX);
        for value in [1e39, f64::MAX, f64::INFINITY] {
            assert_eq!(<f16 as Element>::from_f64(value), f16::INFINITY);
            assert_eq!(<bf16 as Element>::from_f64(-value), bf16::NEG_INFINITY);
        }
        assert!(<bf16 as Element>::from_f64(f64::NAN).is_nan());
        assert!(<f16 as Element>::from_f64(f64::NAN).is_nan());
    }

    #[test]
    fn zero_keeps_its_sign_and_the_smallest_vanish_to_it() {
        for tiny in [5e-324, 1e-60, 2f64.powi(-134)] {
            assert_eq!(<bf16 as Element>::from_f64(tiny).to_bits(), 0);
            assert_eq!(<bf16 as Element>::from_f64(-tiny).to_bits(), 0x8000);
            assert_eq!(<f16 as Element>::from_f64(-tiny).to_bits(), 0x8000);
        }
        assert_eq!(<f16 as Element>::from_f64(-0.0).to_bits(), 0x8000);
    }

    #[test]
    fn the_mixes_at_run_time_are_those_of_the_trait() {
        use DType::*;
        let taken = |input, parameters: &[DType]| check_dtypes(input, parameters).is_ok();
        for input in DType::ALL {
            for parameters in DType::ALL {
                let pair = [(F64, F64), (F32, F32), (F16, F32), (Bf16, F32), (F16, F16), (Bf16, Bf16)];
                assert_eq!(taken(input, &[parameters]), pair.contains(&(input, parameters)));
            }
        }
        assert!(taken(F16, &[]) && !taken(I64, &[]) && !taken(Bool, &[]));
        assert!(!taken(F16, &[F32, F16]), "parameters must agree among themselves");
        assert_eq!(
            check_dtypes(F64, &[F32, F32]).unwrap_err().to_string(),
            "expected one floating dtype throughout, or f16 or bf16 input with f32 parameters, \
             got f64 input with f32 parameters"
        );
        let alone = check_dtypes(I64, &[]).unwrap_err().to_string();
        assert!(alone.ends_with("got i64 input with no parameters"), "{alone}");
        let several = check_dtypes(F16, &[F32, F16]).unwrap_err().to_string();
        assert!(several.ends_with("got f16 input with f32 and f16 parameters"), "{several}");
    }

    #[test]
    fn names_come_back_and_others_are_refused() {
        for dtype in DType::ALL {
            assert_eq!(dtype.name().parse(), Ok(dtype));
        }
        assert_eq!(
            "float32".parse::<DType>().unwrap_err().to_string(),
            "expected a dtype among f16, bf16, f32, f64, i64 and bool, got \"float32\""
        );
    }
}
