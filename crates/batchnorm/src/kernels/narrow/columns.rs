//! Estimated maps over columns.

use std::marker::PhantomData;
use std::ops::Range;

use super::constants::{LineConstants, OfLine};
use super::estimate::Estimate;
use super::lines::{Half, LINE, LineKernel, Lines};
use super::settle;
use crate::kernels::Inputs;
use crate::kernels::bits::Bits;
use crate::kernels::entry::Group;
use crate::kernels::geometry::{Columns, Pace};
use crate::kernels::map::{Eights, each_portion, eights, map_across, streams_columns};
use crate::kernels::maps::Constants;
use crate::kernels::simd::{Kernel, LANES, Simd};
use crate::kernels::target::Target;

/// Some channels in columns, over some positions.
struct LineColumns<'a, T, M> {
    columns: &'a Columns,
    pace: Pace,
    inputs: Inputs<'a, T>,
    channels: Range<usize>,
    positions: Range<usize>,
    constants: &'a Constants,
    narrow: &'a LineConstants,
    bits: Bits<'a>,
    out: &'a Target<'a, T>,
    stream: bool,
    map: PhantomData<M>,
}

impl<T: Half, M: Estimate> LineKernel for LineColumns<'_, T, M> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lines>(self, simd: S) {
        let of_bits = self.columns.of_bits();
        for position in self.positions {
            let place = self.columns.row(&self.channels, position);
            if self.pace.prefetch {
                self.inputs.prefetch(simd, place.clone());
            }
            // SAFETY: a place belongs to one position and some channels, and those are in
            // the hands of one thread.
            let out = unsafe { self.out.slice(place.clone()) };
            // SAFETY: likewise, and the bits of a group of channels begin and end with a byte.
            let mut bits = unsafe { eights::<M>(self.bits, || of_bits.row(&self.channels, position)) };
            let (x, g) = (self.inputs.x(place.clone()), self.inputs.g(place));
            let (x_lines, x_rest) = x.as_chunks::<LINE>();
            let (g_lines, g_rest) = g.as_chunks::<LINE>();
            let (out_lines, out_rest) = out.as_chunks_mut::<LINE>();
            let whole = out_lines.len();
            let (of_lines, of_rest) = self.narrow.lines().split_at(whole);
            let lines = x_lines.iter().zip(g_lines).zip(out_lines).zip(of_lines).enumerate();
            for (k, (((x, g), out), of_line)) in lines {
                let given = bits.line::<M>(k);
                let wide_x = T::widen(simd, if M::X { x } else { g });
                let wide_g = if M::G { T::widen(simd, g) } else { wide_x };
                let settled = settle::<S, T, M>(simd, of_line.load(simd), wide_x, wide_g, given);
                match settled.filter(|_| of_line.all_told()) {
                    Some((settled, of_line)) => {
                        T::store_line(simd, settled, out, self.stream);
                        bits.set_line::<M>(k, of_line);
                    }
                    None => {
                        let bits = bits.part::<M>(k * (LINE / LANES), LINE / LANES);
                        let (constants, map) = (self.constants, self.map);
                        simd.vectorize(Exact { constants, map, k, x, g, bits, out });
                    }
                }
            }
            if let Some(of_line) = of_rest.first() {
                let bits = bits.part::<M>(whole * (LINE / LANES), out_rest.len().div_ceil(LANES));
                let (constants, map) = (self.constants, self.map);
                let rest = Exact { constants, map, k: whole, x: x_rest, g: g_rest, bits, out: out_rest };
                part(simd, of_line, rest);
            }
        }
        if self.stream {
            simd.fence();
        }
    }
}

/// The k-th line of channels of a position, or what there is of it, by the f64 loops: apart,
/// since few come to that.
struct Exact<'a, T, M> {
    constants: &'a Constants,
    k: usize,
    x: &'a [T],
    g: &'a [T],
    bits: Eights<'a>,
    out: &'a mut [T],
    map: PhantomData<M>,
}

impl<T: Half, M: Estimate> Kernel for Exact<'_, T, M> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Exact { constants, k, x, g, bits, out, map: _ } = self;
        let first = k * (LINE / LANES);
        map_across::<S, T, M, 1, false>(simd, constants, first, [x], [g], [bits], [out]);
    }
}

/// Maps fewer than a line.
#[inline(always)]
fn part<S: Lines, T: Half, M: Estimate>(simd: S, of_line: &OfLine, mut part: Exact<'_, T, M>) {
    let given = part.bits.first_line::<M>();
    let x = T::widen_part(simd, if M::X { part.x } else { part.g });
    let g = if M::G { T::widen_part(simd, part.g) } else { x };
    let settled = settle::<S, T, M>(simd, of_line.load(simd), x, g, given);
    match settled.filter(|_| of_line.all_told()) {
        Some((settled, of_part)) => {
            T::store_line_part(simd, settled, part.out);
            // No bits of what is not there.
            part.bits.set_first_line::<M>(of_part & ((1 << part.out.len()) - 1));
        }
        None => simd.vectorize(part),
    }
}

/// Maps some channels in columns.
pub fn columns<T: Half, M: Estimate>(
    group: Group<'_, T>,
    columns: &Columns,
    constants: &Constants,
    narrow: &LineConstants,
    out: &Target<'_, T>,
) {
    let Group { context, inputs, bits, channels, .. } = group;
    let pace = columns.pace::<T>(context.bytes);
    let stream = streams_columns(group, columns, out);
    each_portion(context, columns.positions, channels.len(), &|positions| {
        let channels = channels.clone();
        context.run_lines(LineColumns::<T, M> {
            columns,
            pace,
            inputs,
            channels,
            positions,
            constants,
            narrow,
            bits,
            out,
            stream,
            map: PhantomData,
        });
    });
}
