//! The bits of a mask, as the loops reach them: a byte for every eight begun in a row of
//! neighbours ([`super::geometry::Geometry::of_bits`]), so that eights of elements are
//! bytes, and no two threads write to one.

use std::ops::Range;

use super::simd::LANES;
use super::target::Target;

/// A mask, for a call into the loops.
#[derive(Clone, Copy)]
pub enum Bits<'a> {
    /// There is none.
    None,
    /// To read.
    Read(&'a [u8]),
    /// To write.
    Write(&'a Target<'a, u8>),
}

/// The bytes that hold some bits, of which the first begins a byte.
#[inline(always)]
fn bytes(bits: Range<usize>) -> Range<usize> {
    debug_assert!(bits.start.is_multiple_of(LANES));
    bits.start / LANES..bits.end.div_ceil(LANES)
}

impl<'a> Bits<'a> {
    /// The bytes of some bits, where there are any to read.
    #[inline(always)]
    pub fn read(self, bits: Range<usize>) -> &'a [u8] {
        match self {
            Bits::Read(mask) => &mask[bytes(bits)],
            _ => &[],
        }
    }

    /// The bytes of some bits, where there are any to write.
    ///
    /// # Safety
    /// While the result lives, nobody else takes any of these bytes.
    #[inline(always)]
    pub unsafe fn write(self, bits: Range<usize>) -> &'a mut [u8] {
        match self {
            // SAFETY: as this function's own contract.
            Bits::Write(mask) => unsafe { mask.slice(bytes(bits)) },
            _ => &mut [],
        }
    }
}
