//! One value out for each value in, with up to four numbers per channel.

use std::ops::Range;

use arrayvec::ArrayVec;

use super::geometry::{Columns, Pace, Rows};
use super::simd::{Kernel, LANES, Simd};
use super::target::Target;
use super::{Context, Inputs, LINE};
use crate::dtype::Element;

/// The numbers of a channel that a [`Map`] uses.
pub type Constants = [f64; 4];

/// What becomes of an element.
pub trait Map: Copy + Send + Sync {
    /// Whether it reads x.
    const X: bool;
    /// Whether it reads g.
    const G: bool;

    /// The new values of eight elements.
    fn apply<S: Simd>(simd: S, constants: [S::V; 4], x: S::V, g: S::V) -> S::V;
}

/// (x − mean)·factor + bias, of the constants mean, factor, bias.
#[derive(Clone, Copy)]
pub struct Normalize;

impl Map for Normalize {
    const X: bool = true;
    const G: bool = false;

    #[inline(always)]
    fn apply<S: Simd>(simd: S, [mean, factor, bias, _]: [S::V; 4], x: S::V, _: S::V) -> S::V {
        simd.mul_add(simd.sub(x, mean), factor, bias)
    }
}

/// ((g − mean_g) − (x − mean)·slope)·factor, of the constants mean, mean_g, −slope,
/// factor: what of g neither a shift nor a stretch of the channel explains.
#[derive(Clone, Copy)]
pub struct Project;

impl Map for Project {
    const X: bool = true;
    const G: bool = true;

    #[inline(always)]
    fn apply<S: Simd>(simd: S, [mean, mean_g, slope, factor]: [S::V; 4], x: S::V, g: S::V) -> S::V {
        let rest = simd.mul_add(simd.sub(x, mean), slope, simd.sub(g, mean_g));
        simd.mul(rest, factor)
    }
}

/// g·factor + (x·slope + rest), of the constants factor, slope, rest: [`Project`] with
/// its brackets dissolved.
#[derive(Clone, Copy)]
pub struct Combine;

impl Map for Combine {
    const X: bool = true;
    const G: bool = true;

    #[inline(always)]
    fn apply<S: Simd>(simd: S, [factor, slope, rest, _]: [S::V; 4], x: S::V, g: S::V) -> S::V {
        simd.mul_add(g, factor, simd.mul_add(x, slope, rest))
    }
}

/// g·factor, of the constant factor.
#[derive(Clone, Copy)]
pub struct Scale;

impl Map for Scale {
    const X: bool = false;
    const G: bool = true;

    #[inline(always)]
    fn apply<S: Simd>(simd: S, [factor, ..]: [S::V; 4], _: S::V, g: S::V) -> S::V {
        simd.mul(g, factor)
    }
}

/// What streamed vectors must be aligned to, in bytes.
const STREAM_ALIGNMENT: usize = 16;

/// The new values of eight elements.
#[inline(always)]
fn map_eight<S: Simd, T: Element, M: Map, const STREAM: bool>(
    simd: S,
    constants: [S::V; 4],
    x: &[T; LANES],
    g: &[T; LANES],
    out: &mut [T; LANES],
) {
    let v = mapped::<S, T, M>(simd, constants, x, g);
    if STREAM { T::stream(simd, v, out) } else { T::store(simd, v, out) }
}

/// Those of twice eight.
#[inline(always)]
fn map_sixteen<S: Simd, T: Element, M: Map, const STREAM: bool>(
    simd: S,
    constants: [S::V; 4],
    x: [&[T; LANES]; 2],
    g: [&[T; LANES]; 2],
    out: [&mut [T; LANES]; 2],
) {
    let low = mapped::<S, T, M>(simd, constants, x[0], g[0]);
    let high = mapped::<S, T, M>(simd, constants, x[1], g[1]);
    let v = [low, high];
    if STREAM { T::stream_twice(simd, v, out) } else { T::store_twice(simd, v, out) }
}

#[inline(always)]
fn mapped<S: Simd, T: Element, M: Map>(
    simd: S,
    constants: [S::V; 4],
    x: &[T; LANES],
    g: &[T; LANES],
) -> S::V {
    let x = if M::X { T::load(simd, x) } else { constants[0] };
    let g = if M::G { T::load(simd, g) } else { x };
    M::apply(simd, constants, x, g)
}

/// Those of fewer.
#[inline(always)]
fn map_part<S: Simd, T: Element, M: Map>(simd: S, constants: [S::V; 4], x: &[T], g: &[T], out: &mut [T]) {
    let x = if M::X { T::load_part(simd, x) } else { constants[0] };
    let g = if M::G { T::load_part(simd, g) } else { x };
    T::store_part(simd, M::apply(simd, constants, x, g), out);
}

/// Those of neighbours of one channel.
#[inline(always)]
fn map_row<S: Simd, T: Element, M: Map, const STREAM: bool>(
    simd: S,
    constants: [S::V; 4],
    x: &[T],
    g: &[T],
    out: &mut [T],
) {
    let (x_eights, x_rest) = x.as_chunks::<LANES>();
    let (g_eights, g_rest) = g.as_chunks::<LANES>();
    let (out_eights, out_rest) = out.as_chunks_mut::<LANES>();
    let (x_twos, x_last) = x_eights.as_chunks();
    let (g_twos, g_last) = g_eights.as_chunks();
    let (out_twos, out_last) = out_eights.as_chunks_mut();
    for (([x0, x1], [g0, g1]), [out0, out1]) in x_twos.iter().zip(g_twos).zip(out_twos) {
        map_sixteen::<S, T, M, STREAM>(simd, constants, [x0, x1], [g0, g1], [out0, out1]);
    }
    for ((x, g), out) in x_last.iter().zip(g_last).zip(out_last) {
        map_eight::<S, T, M, STREAM>(simd, constants, x, g, out);
    }
    if !out_rest.is_empty() {
        map_part::<S, T, M>(simd, constants, x_rest, g_rest, out_rest);
    }
}

#[inline(always)]
fn splat<S: Simd>(simd: S, constants: &Constants) -> [S::V; 4] {
    [simd.splat(constants[0]), simd.splat(constants[1]), simd.splat(constants[2]), simd.splat(constants[3])]
}

/// Some channels in rows, over some pieces.
struct MapRows<'a, T, M> {
    rows: &'a Rows,
    inputs: Inputs<'a, T>,
    channels: Range<usize>,
    pieces: Range<usize>,
    constants: &'a [Constants],
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
        for piece in self.pieces {
            let (first, len) = self.rows.piece(piece);
            let mut start = first + self.channels.start * channel_stride;
            for constants in self.constants {
                let place = start..start + len;
                // SAFETY: a place belongs to one channel and one piece, and each of
                // those is in the hands of one thread.
                let out = unsafe { self.out.slice(place.clone()) };
                // What a map does not read is given all the same: it is there.
                let (x, g) = (self.inputs.x(place.clone()), self.inputs.g(place));
                let constants = splat(simd, constants);
                if self.stream {
                    // Up to a whole line first, so that only whole lines are streamed.
                    let head = out.as_ptr().align_offset(LINE).min(len);
                    let (x_head, x) = x.split_at(head);
                    let (g_head, g) = g.split_at(head);
                    let (out_head, out) = out.split_at_mut(head);
                    map_row::<S, T, M, false>(simd, constants, x_head, g_head, out_head);
                    map_row::<S, T, M, true>(simd, constants, x, g, out);
                } else {
                    map_row::<S, T, M, false>(simd, constants, x, g, out);
                }
                start += channel_stride;
            }
        }
        if self.stream {
            simd.fence();
        }
    }
}

/// Most channels in columns whose constants are at hand together.
const MOST_COLUMNS: usize = super::reduce::MOST_COLUMNS;

/// Some channels in columns, over some positions.
struct MapColumns<'a, T, M> {
    columns: &'a Columns,
    pace: Pace,
    inputs: Inputs<'a, T>,
    channels: Range<usize>,
    positions: Range<usize>,
    constants: &'a [Constants],
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
        let mut position = positions.start;
        while position + P <= positions.end {
            let place = |k| self.columns.row(&self.channels, position + k);
            if self.pace.prefetch {
                self.inputs.prefetch(simd, place(0).start..place(P - 1).end);
            }
            let x: [&[T]; P] = std::array::from_fn(|k| self.inputs.x(place(k)));
            let g: [&[T]; P] = std::array::from_fn(|k| self.inputs.g(place(k)));
            // SAFETY: a place belongs to one position and some channels, and those are
            // in the hands of one thread; positions differ.
            let out: [&mut [T]; P] = std::array::from_fn(|k| unsafe { self.out.slice(place(k)) });
            if self.stream {
                map_across::<S, T, M, P, true>(simd, constants, x, g, out);
            } else {
                map_across::<S, T, M, P, false>(simd, constants, x, g, out);
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
    mut out: [&mut [T]; P],
) {
    let whole = x[0].len() / LANES;
    let x_eights: [&[[T; LANES]]; P] = x.map(|x| &x.as_chunks().0[..whole]);
    let g_eights: [&[[T; LANES]]; P] = g.map(|g| &g.as_chunks().0[..whole]);
    for (k, constants) in constants[..whole].iter().enumerate() {
        let constants = loaded(simd, constants);
        let (outs, _) = out.as_chunks_mut::<2>();
        for (pair, [out0, out1]) in outs.iter_mut().enumerate() {
            let p = 2 * pair;
            let x = [&x_eights[p][k], &x_eights[p + 1][k]];
            let g = [&g_eights[p][k], &g_eights[p + 1][k]];
            let out = [&mut out0.as_chunks_mut().0[k], &mut out1.as_chunks_mut().0[k]];
            map_sixteen::<S, T, M, STREAM>(simd, constants, x, g, out);
        }
        if P == 1 {
            let out = &mut out[0].as_chunks_mut().0[k];
            map_eight::<S, T, M, STREAM>(simd, constants, &x_eights[0][k], &g_eights[0][k], out);
        }
    }
    if let Some(constants) = constants.get(whole) {
        let constants = loaded(simd, constants);
        for p in 0..P {
            let from = whole * LANES;
            map_part::<S, T, M>(simd, constants, &x[p][from..], &g[p][from..], &mut out[p][from..]);
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
    context: Context,
    map: M,
    rows: &Rows,
    inputs: Inputs<'_, T>,
    channels: &Range<usize>,
    constants: &[Constants],
    out: &Target<'_, T>,
) {
    let stream = context.stream && rows.inner >= STREAMED_ROW;
    let step = (PORTION / (channels.len() * rows.inner).max(1)).max(1);
    context.team.each_from_the_end(0..rows.pieces(), step, &|pieces| {
        context.run(MapRows {
            rows,
            inputs,
            channels: channels.clone(),
            pieces,
            constants,
            out,
            stream,
            map,
        });
    });
}

/// Maps some channels in columns, at most [`MOST_COLUMNS`].
pub fn columns<T: Element, M: Map>(
    context: Context,
    map: M,
    columns: &Columns,
    inputs: Inputs<'_, T>,
    channels: &Range<usize>,
    constants: &[Constants],
    out: &Target<'_, T>,
) {
    let aligned = |elements: usize| (elements * size_of::<T>()).is_multiple_of(STREAM_ALIGNMENT);
    let pace = columns.pace::<T>(context.bytes);
    let stream = context.stream
        && out.is_aligned_to(STREAM_ALIGNMENT)
        && aligned(columns.stride)
        && aligned(channels.start);
    let step = (PORTION / channels.len().max(1)).max(1);
    context.team.each_from_the_end(0..columns.positions, step, &|positions| {
        let channels = channels.clone();
        context.run(MapColumns { columns, pace, inputs, channels, positions, constants, out, stream, map });
    });
}
