//! One value out for each value in, with up to four numbers per channel: the loops. The
//! [maps](super::maps) say which.

mod columns;
mod rows;

use std::ops::Range;

use super::bits::Bits;
use super::maps::{Map, Use};
use super::simd::{LANES, Simd};
use super::{Context, Soon};
use crate::dtype::Element;

pub use self::columns::{columns, map_across, streams_columns};
pub use self::rows::{STREAMED_ROW, rows};

/// Elements that one call into the kernels takes on, about.
const PORTION: usize = 1 << 16;

/// Calls `work` for portions of so many pieces or positions, each of which has `values`, the
/// last ones first.
pub fn each_portion(context: Context, count: usize, values: usize, work: &(impl Fn(Range<usize>) + Sync)) {
    context.team.each_from_the_end(0..count, (PORTION / values.max(1)).max(1), work);
}

/// What streamed vectors must be aligned to, in bytes.
pub const STREAM_ALIGNMENT: usize = 16;

/// The bytes of a mask that belong to neighbours, one for every eight begun: none where
/// the map has nothing to do with them.
pub struct Eights<'a> {
    read: &'a [u8],
    write: &'a mut [u8],
}

impl Eights<'_> {
    /// Those of no mask.
    #[inline(always)]
    pub fn none() -> Self {
        Eights { read: &[], write: &mut [] }
    }

    /// `count` of them, from the `first` on.
    #[inline(always)]
    pub fn part<M: Map>(&mut self, first: usize, count: usize) -> Eights<'_> {
        match M::MASK {
            Use::None => Eights::none(),
            Use::Read => Eights { read: &self.read[first..][..count], write: &mut [] },
            Use::Written => Eights { read: &[], write: &mut self.write[first..][..count] },
        }
    }

    /// The bits of the k-th four of eights, for a map that reads them.
    #[inline(always)]
    pub fn line<M: Map>(&self, k: usize) -> u32 {
        if matches!(M::MASK, Use::Read) { u32::from_le_bytes(self.read.as_chunks().0[k]) } else { 0 }
    }

    /// Keeps the bits of the k-th four of eights, of a map that writes them.
    #[inline(always)]
    pub fn set_line<M: Map>(&mut self, k: usize, bits: u32) {
        if matches!(M::MASK, Use::Written) {
            self.write.as_chunks_mut().0[k] = bits.to_le_bytes();
        }
    }

    /// The bits of all, four at most, for a map that reads them.
    #[inline(always)]
    pub fn first_line<M: Map>(&self) -> u32 {
        let mut bytes = [0; 4];
        if matches!(M::MASK, Use::Read) {
            bytes[..self.read.len()].copy_from_slice(self.read);
        }
        u32::from_le_bytes(bytes)
    }

    /// Keeps the bits of all, four at most, of a map that writes them.
    #[inline(always)]
    pub fn set_first_line<M: Map>(&mut self, bits: u32) {
        if matches!(M::MASK, Use::Written) {
            self.write.copy_from_slice(&bits.to_le_bytes()[..self.write.len()]);
        }
    }

    /// The bits of the k-th eight, for a map that reads them.
    #[inline(always)]
    fn get<M: Map>(&self, k: usize) -> u8 {
        if matches!(M::MASK, Use::Read) { self.read[k] } else { 0 }
    }

    /// Keeps the bits of the k-th eight, of a map that writes them.
    #[inline(always)]
    fn set<M: Map>(&mut self, k: usize, bits: u8) {
        if matches!(M::MASK, Use::Written) {
            self.write[k] = bits;
        }
    }
}

/// What becomes of eight elements, and the bits that were given or that came of it.
#[inline(always)]
fn value<S: Simd, M: Map>(simd: S, constants: [S::V; 4], x: S::V, g: S::V, bits: u8) -> (S::V, u8) {
    match M::MASK {
        Use::None => (M::apply(simd, constants, x, g), bits),
        Use::Read => (M::apply(simd, constants, x, simd.gate(g, bits)), bits),
        Use::Written => {
            let v = M::apply(simd, constants, x, g);
            let bits = simd.positive(v);
            (simd.gate(v, bits), bits)
        }
    }
}

/// What eight elements become, and their bits.
#[inline(always)]
fn mapped<S: Simd, T: Element, M: Map>(
    simd: S,
    constants: [S::V; 4],
    x: &[T; LANES],
    g: &[T; LANES],
    bits: u8,
) -> (S::V, u8) {
    let x = if M::X { T::load(simd, x) } else { constants[0] };
    let g = if M::G { T::load(simd, g) } else { x };
    value::<S, M>(simd, constants, x, g, bits)
}

/// The new values of eight elements, and their bits.
#[inline(always)]
fn map_eight<S: Simd, T: Element, M: Map, const STREAM: bool>(
    simd: S,
    constants: [S::V; 4],
    x: &[T; LANES],
    g: &[T; LANES],
    bits: u8,
    out: &mut [T; LANES],
) -> u8 {
    let (v, bits) = mapped::<S, T, M>(simd, constants, x, g, bits);
    if STREAM {
        T::stream(simd, v, out)
    } else {
        T::store(simd, v, out)
    }
    bits
}

/// Those of twice eight.
#[inline(always)]
fn map_sixteen<S: Simd, T: Element, M: Map, const STREAM: bool>(
    simd: S,
    constants: [S::V; 4],
    x: [&[T; LANES]; 2],
    g: [&[T; LANES]; 2],
    bits: [u8; 2],
    out: [&mut [T; LANES]; 2],
) -> [u8; 2] {
    let (low, bits_low) = mapped::<S, T, M>(simd, constants, x[0], g[0], bits[0]);
    let (high, bits_high) = mapped::<S, T, M>(simd, constants, x[1], g[1], bits[1]);
    if STREAM {
        let [to_low, to_high] = out;
        T::stream(simd, low, to_low);
        T::stream(simd, high, to_high);
    } else {
        T::store_twice(simd, [low, high], out);
    }
    [bits_low, bits_high]
}

/// Those of fewer.
#[inline(always)]
fn map_part<S: Simd, T: Element, M: Map>(
    simd: S,
    constants: [S::V; 4],
    x: &[T],
    g: &[T],
    bits: u8,
    out: &mut [T],
) -> u8 {
    let x = if M::X { T::load_part(simd, x) } else { constants[0] };
    let g = if M::G { T::load_part(simd, g) } else { x };
    let (v, bits) = value::<S, M>(simd, constants, x, g, bits);
    T::store_part(simd, v, out);
    // No bits of what is not there.
    bits & ((1 << out.len()) - 1)
}

/// Those of neighbours of one channel, asking for as many others meanwhile.
#[inline(always)]
pub fn map_row<S: Simd, T: Element, M: Map, const STREAM: bool>(
    simd: S,
    constants: [S::V; 4],
    x: &[T],
    g: &[T],
    mut bits: Eights<'_>,
    out: &mut [T],
    soon: Soon<T>,
) {
    let (x_eights, x_rest) = x.as_chunks::<LANES>();
    let (g_eights, g_rest) = g.as_chunks::<LANES>();
    let (out_eights, out_rest) = out.as_chunks_mut::<LANES>();
    let whole = out_eights.len();
    let (x_twos, x_last) = x_eights.as_chunks();
    let (g_twos, g_last) = g_eights.as_chunks();
    let (out_twos, out_last) = out_eights.as_chunks_mut();
    for (k, (([x0, x1], [g0, g1]), [out0, out1])) in x_twos.iter().zip(g_twos).zip(out_twos).enumerate() {
        soon.ask::<S, M>(simd, 2 * LANES * k, 2 * LANES);
        let given = [bits.get::<M>(2 * k), bits.get::<M>(2 * k + 1)];
        let (x, g, out) = ([x0, x1], [g0, g1], [out0, out1]);
        let [low, high] = map_sixteen::<S, T, M, STREAM>(simd, constants, x, g, given, out);
        bits.set::<M>(2 * k, low);
        bits.set::<M>(2 * k + 1, high);
    }
    for ((x, g), out) in x_last.iter().zip(g_last).zip(out_last) {
        let of_eight = bits.get::<M>(whole - 1);
        let of_eight = map_eight::<S, T, M, STREAM>(simd, constants, x, g, of_eight, out);
        bits.set::<M>(whole - 1, of_eight);
    }
    if !out_rest.is_empty() {
        let of_part = bits.get::<M>(whole);
        let of_part = map_part::<S, T, M>(simd, constants, x_rest, g_rest, of_part, out_rest);
        bits.set::<M>(whole, of_part);
    }
}

/// The bytes of neighbours whose bits lie there.
///
/// # Safety
/// Where the map writes them: while the result lives, nobody else takes any of them.
#[inline(always)]
pub unsafe fn eights<M: Map>(bits: Bits<'_>, place: impl FnOnce() -> Range<usize>) -> Eights<'_> {
    match M::MASK {
        Use::None => Eights::none(),
        Use::Read => Eights { read: bits.read(place()), write: &mut [] },
        // SAFETY: as this function's own contract.
        Use::Written => Eights { read: &[], write: unsafe { bits.write(place()) } },
    }
}
