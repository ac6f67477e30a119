//! One value out for each value in, with up to four numbers per channel: the loops. The
//! [maps](super::maps) say which.

use std::ops::Range;

use arrayvec::ArrayVec;

use super::bits::Bits;
use super::entry::Group;
use super::geometry::{Columns, Pace, Rows};
use super::maps::{Constants, Map, Use};
use super::simd::{Kernel, LANES, Simd};
use super::target::Target;
use super::{Inputs, LINE};
use crate::dtype::Element;

/// What streamed vectors must be aligned to, in bytes.
const STREAM_ALIGNMENT: usize = 16;

/// The bytes of a mask that belong to neighbours, one for every eight begun: none where
/// the map has nothing to do with them.
struct Eights<'a> {
    read: &'a [u8],
    write: &'a mut [u8],
}

impl Eights<'_> {
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
    let x = if M::X { T::load(simd, x) } else { constants[0] };
    let g = if M::G { T::load(simd, g) } else { x };
    let (v, bits) = value::<S, M>(simd, constants, x, g, bits);
    if STREAM {
        T::stream(simd, v, out)
    } else {
        T::store(simd, v, out)
    }
    bits
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

/// Those of neighbours of one channel.
#[inline(always)]
fn map_row<S: Simd, T: Element, M: Map, const STREAM: bool>(
    simd: S,
    constants: [S::V; 4],
    x: &[T],
    g: &[T],
    mut bits: Eights<'_>,
    out: &mut [T],
) {
    let (x_eights, x_rest) = x.as_chunks::<LANES>();
    let (g_eights, g_rest) = g.as_chunks::<LANES>();
    let (out_eights, out_rest) = out.as_chunks_mut::<LANES>();
    let whole = out_eights.len();
    let eights = x_eights.iter().zip(g_eights).zip(out_eights);
    if matches!(M::MASK, Use::None) {
        // Counting them would cost an instruction or two each.
        for ((x, g), out) in eights {
            map_eight::<S, T, M, STREAM>(simd, constants, x, g, 0, out);
        }
    } else {
        for (k, ((x, g), out)) in eights.enumerate() {
            let of_eight = bits.get::<M>(k);
            let of_eight = map_eight::<S, T, M, STREAM>(simd, constants, x, g, of_eight, out);
            bits.set::<M>(k, of_eight);
        }
    }
    if !out_rest.is_empty() {
        let of_part = bits.get::<M>(whole);
        let of_part = map_part::<S, T, M>(simd, constants, x_rest, g_rest, of_part, out_rest);
        bits.set::<M>(whole, of_part);
    }
}

#[inline(always)]
fn splat<S: Simd>(simd: S, constants: &Constants) -> [S::V; 4] {
    [simd.splat(constants[0]), simd.splat(constants[1]), simd.splat(constants[2]), simd.splat(constants[3])]
}

/// The bytes of neighbours whose bits lie there.
///
/// # Safety
/// Where the map writes them: while the result lives, nobody else takes any of them.
#[inline(always)]
unsafe fn eights<M: Map>(bits: Bits<'_>, place: impl FnOnce() -> Range<usize>) -> Eights<'_> {
    match M::MASK {
        Use::None => Eights { read: &[], write: &mut [] },
        Use::Read => Eights { read: bits.read(place()), write: &mut [] },
        // SAFETY: as this function's own contract.
        Use::Written => Eights { read: &[], write: unsafe { bits.write(place()) } },
    }
}

/// Some channels in rows, over some pieces.
struct MapRows<'a, T, M> {
    rows: &'a Rows,
    inputs: Inputs<'a, T>,
    channels: Range<usize>,
    pieces: Range<usize>,
    constants: &'a [Constants],
    bits: Bits<'a>,
    out: &'a Target<'a, T>,
    stream: bool,
    map: M,
}

impl<T: Element, M: Map> Kernel for MapRows<'_, T, M> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let _ = self.map;
        let channel_stride = self.rows.channel_stride;
        let of_bits = self.rows.of_bits();
        let masked = !matches!(M::MASK, Use::None);
        for piece in self.pieces {
            let (first, len) = self.rows.piece(piece);
            let mut start = first + self.channels.start * channel_stride;
            let mut bit = 0;
            if masked {
                bit = of_bits.piece(piece).0 + self.channels.start * of_bits.channel_stride;
            }
            for constants in self.constants {
                let place = start..start + len;
                // SAFETY: a place belongs to one channel and one piece, and each of
                // those is in the hands of one thread.
                let out = unsafe { self.out.slice(place.clone()) };
                // SAFETY: likewise, and the bits of a piece begin and end with a byte.
                let bits = unsafe { eights::<M>(self.bits, || bit..bit + len) };
                // What a map does not read is given all the same: it is there.
                let (x, g) = (self.inputs.x(place.clone()), self.inputs.g(place));
                let constants = splat(simd, constants);
                if !self.stream {
                    map_row::<S, T, M, false>(simd, constants, x, g, bits, out);
                } else if matches!(M::MASK, Use::None) {
                    // Up to a whole line first, so that only whole lines are streamed.
                    let head = out.as_ptr().align_offset(LINE).min(len);
                    let (x_head, x) = x.split_at(head);
                    let (g_head, g) = g.split_at(head);
                    let (out_head, out) = out.split_at_mut(head);
                    let none = Eights { read: &[], write: &mut [] };
                    map_row::<S, T, M, false>(simd, constants, x_head, g_head, none, out_head);
                    map_row::<S, T, M, true>(simd, constants, x, g, bits, out);
                } else if out.as_ptr().addr().is_multiple_of(STREAM_ALIGNMENT) {
                    // A head would move the eights against the bytes of the mask.
                    map_row::<S, T, M, true>(simd, constants, x, g, bits, out);
                } else {
                    map_row::<S, T, M, false>(simd, constants, x, g, bits, out);
                }
                start += channel_stride;
                if masked {
                    bit += of_bits.channel_stride;
                }
            }
        }
        if self.stream {
            simd.fence();
        }
    }
}

/// Most channels in columns whose constants are at hand together.
const MOST_COLUMNS: usize = super::reduce::MOST_COLUMNS;

const _: () = assert!(MOST_COLUMNS.is_multiple_of(LANES), "a group begins a byte of a mask");

/// Some channels in columns, over some positions.
struct MapColumns<'a, T, M> {
    columns: &'a Columns,
    pace: Pace,
    inputs: Inputs<'a, T>,
    channels: Range<usize>,
    positions: Range<usize>,
    constants: &'a [Constants],
    bits: Bits<'a>,
    out: &'a Target<'a, T>,
    stream: bool,
    map: M,
}

impl<T: Element, M: Map> Kernel for MapColumns<'_, T, M> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let _ = self.map;
        let mut eights = ArrayVec::<[[f64; LANES]; 4], { MOST_COLUMNS / LANES }>::new();
        for constants in self.constants.chunks(LANES) {
            let mut eight = [[0.0; LANES]; 4];
            for (lane, constants) in constants.iter().enumerate() {
                eight.iter_mut().zip(constants).for_each(|(lanes, value)| lanes[lane] = *value);
            }
            eights.push(eight);
        }
        let rest = match self.pace.abreast {
            4 => self.map::<S, 4>(simd, &eights, self.positions.clone()),
            2 => self.map::<S, 2>(simd, &eights, self.positions.clone()),
            _ => self.positions.clone(),
        };
        self.map::<S, 1>(simd, &eights, rest);
        if self.stream {
            simd.fence();
        }
    }
}

impl<T: Element, M: Map> MapColumns<'_, T, M> {
    /// Maps positions, P at a time; what is left of them.
    #[inline(always)]
    fn map<S: Simd, const P: usize>(
        &self,
        simd: S,
        constants: &[[[f64; LANES]; 4]],
        positions: Range<usize>,
    ) -> Range<usize> {
        let of_bits = self.columns.of_bits();
        let mut position = positions.start;
        while position + P <= positions.end {
            let place = |k| self.columns.row(&self.channels, position + k);
            let bits = |k| of_bits.row(&self.channels, position + k);
            if self.pace.prefetch {
                self.inputs.prefetch(simd, place(0).start..place(P - 1).end);
            }
            let x: [&[T]; P] = std::array::from_fn(|k| self.inputs.x(place(k)));
            let g: [&[T]; P] = std::array::from_fn(|k| self.inputs.g(place(k)));
            // SAFETY: a place belongs to one position and some channels, and those are
            // in the hands of one thread; positions differ.
            let out: [&mut [T]; P] = std::array::from_fn(|k| unsafe { self.out.slice(place(k)) });
            // SAFETY: likewise, and the bits of a group of channels begin and end with a byte.
            let bits: [_; P] = std::array::from_fn(|k| unsafe { eights::<M>(self.bits, || bits(k)) });
            if self.stream {
                map_across::<S, T, M, P, true>(simd, constants, x, g, bits, out);
            } else {
                map_across::<S, T, M, P, false>(simd, constants, x, g, bits, out);
            }
            position += P;
        }
        position..positions.end
    }
}

/// The channels of P positions, the constants of eight being fetched once for all.
#[inline(always)]
fn map_across<S: Simd, T: Element, M: Map, const P: usize, const STREAM: bool>(
    simd: S,
    constants: &[[[f64; LANES]; 4]],
    x: [&[T]; P],
    g: [&[T]; P],
    mut bits: [Eights<'_>; P],
    out: [&mut [T]; P],
) {
    let whole = x[0].len() / LANES;
    let x_eights: [&[[T; LANES]]; P] = x.map(|x| &x.as_chunks().0[..whole]);
    let g_eights: [&[[T; LANES]]; P] = g.map(|g| &g.as_chunks().0[..whole]);
    for (k, constants) in constants[..whole].iter().enumerate() {
        let constants = loaded(simd, constants);
        for p in 0..P {
            let out = &mut out[p].as_chunks_mut().0[k];
            let (x, g, of_eight) = (&x_eights[p][k], &g_eights[p][k], bits[p].get::<M>(k));
            let of_eight = map_eight::<S, T, M, STREAM>(simd, constants, x, g, of_eight, out);
            bits[p].set::<M>(k, of_eight);
        }
    }
    if let Some(constants) = constants.get(whole) {
        let constants = loaded(simd, constants);
        for p in 0..P {
            let from = whole * LANES;
            let (x, g, of_part) = (&x[p][from..], &g[p][from..], bits[p].get::<M>(whole));
            let of_part = map_part::<S, T, M>(simd, constants, x, g, of_part, &mut out[p][from..]);
            bits[p].set::<M>(whole, of_part);
        }
    }
}

#[inline(always)]
fn loaded<S: Simd>(simd: S, constants: &[[f64; LANES]; 4]) -> [S::V; 4] {
    [
        simd.load_f64(&constants[0]),
        simd.load_f64(&constants[1]),
        simd.load_f64(&constants[2]),
        simd.load_f64(&constants[3]),
    ]
}

/// Rows shorter than this are not streamed: too many lines of memory would be shared
/// by two of them, and be written in two halves.
const STREAMED_ROW: usize = 512;

/// Elements that one call into the kernels takes on, about.
const PORTION: usize = 1 << 16;

/// Maps some channels in rows.
pub fn rows<T: Element, M: Map>(
    group: Group<'_, T>,
    map: M,
    rows: &Rows,
    constants: &[Constants],
    out: &Target<'_, T>,
) {
    let Group { context, inputs, bits, channels, .. } = group;
    let stream = context.stream && rows.inner >= STREAMED_ROW;
    let step = (PORTION / (channels.len() * rows.inner).max(1)).max(1);
    context.team.each_from_the_end(0..rows.pieces(), step, &|pieces| {
        let channels = channels.clone();
        context.run(MapRows { rows, inputs, channels, pieces, constants, bits, out, stream, map });
    });
}

/// Maps some channels in columns, at most [`MOST_COLUMNS`].
pub fn columns<T: Element, M: Map>(
    group: Group<'_, T>,
    map: M,
    columns: &Columns,
    constants: &[Constants],
    out: &Target<'_, T>,
) {
    let Group { context, inputs, bits, channels, .. } = group;
    let aligned = |elements: usize| (elements * size_of::<T>()).is_multiple_of(STREAM_ALIGNMENT);
    let pace = columns.pace::<T>(context.bytes);
    let stream = context.stream
        && out.is_aligned_to(STREAM_ALIGNMENT)
        && aligned(columns.stride)
        && aligned(channels.start);
    let step = (PORTION / channels.len().max(1)).max(1);
    context.team.each_from_the_end(0..columns.positions, step, &|positions| {
        let channels = channels.clone();
        context.run(MapColumns {
            columns,
            pace,
            inputs,
            channels,
            positions,
            constants,
            bits,
            out,
            stream,
            map,
        });
    });
}
