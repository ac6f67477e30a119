//! A line of memory at a time, 32 values of 16 bits, as twice sixteen f32: what a
//! processor can do with those.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::dtype::Element;
use crate::kernels::simd::Simd;

/// Values of 16 bits that a line of memory holds.
pub const LINE: usize = 32;

/// f32 per vector.
pub const SIXTEEN: usize = 16;

/// The instruction sets that have more lanes for f32 than for f64.
///
/// A *part* is a slice of fewer than [`LINE`] values: those beyond it load as 0 and are not
/// stored. A mask has a bit for each value of a line, the lowest for the first.
///
/// Rounding to 16 bits comes with an answer to whether it is *settled*, in two ways:
/// - `nearest` of values that are known to within [`UNITS`]: settled where no midpoint of the
///   narrower dtype is as near as that to any of them;
/// - `between` of bounds, both excluded: settled where all that lies between them rounds alike.
///
/// Where it is not, the line is none to be used.
pub trait Lines: Simd {
    /// Sixteen f32.
    type W: Copy;
    /// The bits of a line.
    type Line: Copy;

    /// Runs `kernel` compiled for the instruction set.
    fn vectorize_lines<K: LineKernel>(self, kernel: K) -> K::Output;

    /// Sixteen times `value`.
    fn splat32(self, value: f32) -> Self::W;
    /// Sixteen f32.
    fn load32(self, from: &[f32; SIXTEEN]) -> Self::W;
    /// a + b.
    fn add32(self, a: Self::W, b: Self::W) -> Self::W;
    /// a − b.
    fn sub32(self, a: Self::W, b: Self::W) -> Self::W;
    /// a·b.
    fn mul32(self, a: Self::W, b: Self::W) -> Self::W;
    /// a·b + c, rounded once.
    fn mul_add32(self, a: Self::W, b: Self::W, c: Self::W) -> Self::W;
    /// |a|.
    fn abs32(self, a: Self::W) -> Self::W;
    /// As [`Simd::positive`].
    fn positive32(self, w: [Self::W; 2]) -> u32;
    /// As [`Simd::gate`].
    fn gate32(self, w: [Self::W; 2], bits: u32) -> [Self::W; 2];

    /// A line of f16, widened.
    fn widen_f16(self, from: &[u16; LINE]) -> [Self::W; 2];
    /// A line of bf16, widened.
    fn widen_bf16(self, from: &[u16; LINE]) -> [Self::W; 2];
    /// A part of f16, widened.
    #[inline(always)]
    fn widen_f16_part(self, from: &[u16]) -> [Self::W; 2] {
        self.widen_f16(&padded(from))
    }
    /// A part of bf16, widened.
    #[inline(always)]
    fn widen_bf16_part(self, from: &[u16]) -> [Self::W; 2] {
        self.widen_bf16(&padded(from))
    }

    /// Values to f16.
    fn nearest_f16(self, w: [Self::W; 2]) -> (Self::Line, bool);
    /// Values to bf16.
    fn nearest_bf16(self, w: [Self::W; 2]) -> (Self::Line, bool);
    /// Bounds to f16.
    fn between_f16(self, low: [Self::W; 2], high: [Self::W; 2]) -> (Self::Line, bool);
    /// Bounds to bf16.
    fn between_bf16(self, low: [Self::W; 2], high: [Self::W; 2]) -> (Self::Line, bool);

    /// The values whose bit is set; +0 in place of the others.
    fn gate_line(self, line: Self::Line, bits: u32) -> Self::Line;
    /// A line.
    fn store_line(self, line: Self::Line, to: &mut [u16; LINE]);
    /// As [`Self::store_line`], past the caches. `to` is aligned to 16 bytes.
    fn stream_line(self, line: Self::Line, to: &mut [u16; LINE]);
    /// A part.
    #[inline(always)]
    fn store_line_part(self, line: Self::Line, to: &mut [u16]) {
        let mut whole = [0; LINE];
        self.store_line(line, &mut whole);
        to.copy_from_slice(&whole[..to.len()]);
    }
}

/// As [`crate::kernels::simd::Kernel`], over lines.
pub trait LineKernel {
    /// What it gives back.
    type Output;

    /// The work.
    fn run<S: Lines>(self, simd: S) -> Self::Output;
}

/// How near to a midpoint a value may be, and not be trusted, in units of its last place in
/// f32: a power of 2.
pub const UNITS: i32 = 4;

/// The bits that an f32 has beyond those of an f16. Midpoints have the first of them alone, but
/// where f16 are subnormal.
pub const BEYOND_F16: i32 = (1 << 13) - 1;

/// The bits that an f32 has beyond those of a bf16. Midpoints have the first of them alone.
pub const BEYOND_BF16: i32 = (1 << 16) - 1;

/// What added to the bits of an f32 leaves the bits beyond an f16 below twice [`UNITS`] if it
/// lies beside a midpoint.
pub const TO_MIDPOINT_F16: i32 = (1 << 12) + UNITS;

/// What added to the bits of an f32 leaves the bits beyond a bf16 below twice [`UNITS`] if it
/// lies beside a midpoint, and elsewhere the nearest bf16 above them.
pub const TO_MIDPOINT_BF16: i32 = (1 << 15) + UNITS;

/// 2⁻¹⁴, the first f16 below which midpoints are others.
pub const LEAST_NORMAL_F16: i16 = 1 << 10;

#[inline(always)]
fn padded(part: &[u16]) -> [u16; LINE] {
    let mut line = [0; LINE];
    line[..part.len()].copy_from_slice(part);
    line
}

/// A dtype of 16 bits, in lines.
pub trait Half: Element {
    /// A line, widened.
    fn widen<S: Lines>(simd: S, from: &[Self; LINE]) -> [S::W; 2];
    /// A part, widened.
    fn widen_part<S: Lines>(simd: S, from: &[Self]) -> [S::W; 2];
    /// Values, rounded.
    fn nearest<S: Lines>(simd: S, w: [S::W; 2]) -> (S::Line, bool);
    /// Bounds, rounded.
    fn between<S: Lines>(simd: S, low: [S::W; 2], high: [S::W; 2]) -> (S::Line, bool);
    /// A line, past the caches if that is asked: then `to` is aligned to 16 bytes.
    fn store_line<S: Lines>(simd: S, line: S::Line, to: &mut [Self; LINE], stream: bool);
    /// A part.
    fn store_line_part<S: Lines>(simd: S, line: S::Line, to: &mut [Self]);
}

/// An array's bits.
#[inline(always)]
fn bits<H>(values: &[H; LINE]) -> &[u16; LINE]
where
    [H]: HalfFloatSliceExt,
{
    values.reinterpret_cast().first_chunk().expect("as many bits as values")
}

macro_rules! half {
    ($dtype:ty, $widen:ident, $widen_part:ident, $nearest:ident, $between:ident) => {
        impl Half for $dtype {
            #[inline(always)]
            fn widen<S: Lines>(simd: S, from: &[Self; LINE]) -> [S::W; 2] {
                simd.$widen(bits(from))
            }
            #[inline(always)]
            fn widen_part<S: Lines>(simd: S, from: &[Self]) -> [S::W; 2] {
                simd.$widen_part(from.reinterpret_cast())
            }
            #[inline(always)]
            fn nearest<S: Lines>(simd: S, w: [S::W; 2]) -> (S::Line, bool) {
                simd.$nearest(w)
            }
            #[inline(always)]
            fn between<S: Lines>(simd: S, low: [S::W; 2], high: [S::W; 2]) -> (S::Line, bool) {
                simd.$between(low, high)
            }
            #[inline(always)]
            fn store_line<S: Lines>(simd: S, line: S::Line, to: &mut [Self; LINE], stream: bool) {
                let to = to.reinterpret_cast_mut().first_chunk_mut().expect("as many bits as values");
                if stream {
                    simd.stream_line(line, to);
                } else {
                    simd.store_line(line, to);
                }
            }
            #[inline(always)]
            fn store_line_part<S: Lines>(simd: S, line: S::Line, to: &mut [Self]) {
                simd.store_line_part(line, to.reinterpret_cast_mut());
            }
        }
    };
}

half!(f16, widen_f16, widen_f16_part, nearest_f16, between_f16);
half!(bf16, widen_bf16, widen_bf16_part, nearest_bf16, between_bf16);
