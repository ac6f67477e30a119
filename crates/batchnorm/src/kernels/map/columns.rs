//! Maps over columns.

use std::ops::Range;

use super::{Eights, STREAM_ALIGNMENT, each_portion, eights, map_eight, map_part, map_sixteen};
use crate::dtype::Element;
use crate::kernels::Inputs;
use crate::kernels::bits::Bits;
use crate::kernels::entry::Group;
use crate::kernels::geometry::{Columns, Pace};
use crate::kernels::maps::{Constants, Map, Use};
use crate::kernels::reduce::MOST_COLUMNS;
use crate::kernels::simd::{Kernel, LANES, Simd};
use crate::kernels::target::Target;

const _: () = assert!(MOST_COLUMNS.is_multiple_of(LANES), "a group begins a byte of a mask");

/// Some channels in columns, over some positions.
struct MapColumns<'a, T, M> {
    columns: &'a Columns,
    pace: Pace,
    inputs: Inputs<'a, T>,
    channels: Range<usize>,
    positions: Range<usize>,
    constants: &'a Constants,
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
        let rest = match self.pace.abreast {
            4 => self.map::<S, 4>(simd, self.positions.clone()),
            // Seldom worth its code: not with a mask, nor for what lines leave.
            2 if !T::NARROW && matches!(M::MASK, Use::None) => self.map::<S, 2>(simd, self.positions.clone()),
            _ => self.positions.clone(),
        };
        self.map::<S, 1>(simd, rest);
        if self.stream {
            simd.fence();
        }
    }
}

impl<T: Element, M: Map> MapColumns<'_, T, M> {
    /// Maps positions, P at a time; what is left of them.
    #[inline(always)]
    fn map<S: Simd, const P: usize>(&self, simd: S, positions: Range<usize>) -> Range<usize> {
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
            if S::STREAMS && !T::NARROW && self.stream {
                map_across::<S, T, M, P, true>(simd, self.constants, 0, x, g, bits, out);
            } else {
                map_across::<S, T, M, P, false>(simd, self.constants, 0, x, g, bits, out);
            }
            position += P;
        }
        position..positions.end
    }
}

/// The channels of P positions, from the `first` eight of those that have constants, which are
/// fetched once for all.
#[inline(always)]
pub fn map_across<S: Simd, T: Element, M: Map, const P: usize, const STREAM: bool>(
    simd: S,
    constants: &Constants,
    first: usize,
    x: [&[T]; P],
    g: [&[T]; P],
    mut bits: [Eights<'_>; P],
    mut out: [&mut [T]; P],
) {
    let whole = x[0].len() / LANES;
    let x_eights: [&[[T; LANES]]; P] = x.map(|x| &x.as_chunks().0[..whole]);
    let g_eights: [&[[T; LANES]]; P] = g.map(|g| &g.as_chunks().0[..whole]);
    for k in 0..whole {
        let constants = constants.eight(simd, first + k);
        let (bits_twos, bits_last) = bits.as_chunks_mut::<2>();
        let (out_twos, out_last) = out.as_chunks_mut::<2>();
        for (pair, ([bits0, bits1], [out0, out1])) in bits_twos.iter_mut().zip(out_twos).enumerate() {
            let p = 2 * pair;
            let x = [&x_eights[p][k], &x_eights[p + 1][k]];
            let g = [&g_eights[p][k], &g_eights[p + 1][k]];
            let given = [bits0.get::<M>(k), bits1.get::<M>(k)];
            let out = [&mut out0.as_chunks_mut().0[k], &mut out1.as_chunks_mut().0[k]];
            let [low, high] = map_sixteen::<S, T, M, STREAM>(simd, constants, x, g, given, out);
            bits0.set::<M>(k, low);
            bits1.set::<M>(k, high);
        }
        // Of one position.
        if let ([bits], [out]) = (bits_last, out_last) {
            let out = &mut out.as_chunks_mut().0[k];
            let (x, g, of_eight) = (&x_eights[P - 1][k], &g_eights[P - 1][k], bits.get::<M>(k));
            let of_eight = map_eight::<S, T, M, STREAM>(simd, constants, x, g, of_eight, out);
            bits.set::<M>(k, of_eight);
        }
    }
    if x[0].len() > whole * LANES {
        let constants = constants.eight(simd, first + whole);
        for p in 0..P {
            let from = whole * LANES;
            let (x, g, of_part) = (&x[p][from..], &g[p][from..], bits[p].get::<M>(whole));
            let of_part = map_part::<S, T, M>(simd, constants, x, g, of_part, &mut out[p][from..]);
            bits[p].set::<M>(whole, of_part);
        }
    }
}

/// Whether the outputs of some channels in columns go past the caches.
pub fn streams_columns<T: Element>(group: Group<'_, T>, columns: &Columns, out: &Target<'_, T>) -> bool {
    let aligned = |elements: usize| (elements * size_of::<T>()).is_multiple_of(STREAM_ALIGNMENT);
    group.context.stream
        && out.is_aligned_to(STREAM_ALIGNMENT)
        && aligned(columns.stride)
        && aligned(group.channels.start)
}

/// Maps some channels in columns, at most [`MOST_COLUMNS`].
pub fn columns<T: Element, M: Map>(
    group: Group<'_, T>,
    map: M,
    columns: &Columns,
    constants: &Constants,
    out: &Target<'_, T>,
) {
    let Group { context, inputs, bits, channels, .. } = group;
    let pace = columns.pace::<T>(context.bytes);
    let stream = streams_columns(group, columns, out);
    each_portion(context, columns.positions, channels.len(), &|positions| {
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
