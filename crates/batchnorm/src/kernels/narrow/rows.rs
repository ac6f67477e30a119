//! Estimated maps over rows.

use std::marker::PhantomData;
use std::ops::Range;

use super::constants::{COUNT, LineConstants};
use super::estimate::Estimate;
use super::lines::{Half, LINE, LineKernel, Lines};
use super::{BYTES, settle};
use crate::kernels::bits::Bits;
use crate::kernels::entry::Group;
use crate::kernels::geometry::Rows;
use crate::kernels::map::{Eights, STREAM_ALIGNMENT, STREAMED_ROW, each_portion, eights, map_row};
use crate::kernels::maps::{Constants, Use};
use crate::kernels::simd::{Kernel, LANES, Simd};
use crate::kernels::target::Target;
use crate::kernels::{Inputs, Soon};

/// Some channels in rows, over some pieces.
struct LineRows<'a, T, M> {
    rows: &'a Rows,
    inputs: Inputs<'a, T>,
    channels: Range<usize>,
    pieces: Range<usize>,
    constants: &'a Constants,
    narrow: &'a LineConstants,
    bits: Bits<'a>,
    out: &'a Target<'a, T>,
    stream: bool,
    map: PhantomData<M>,
}

impl<T: Half, M: Estimate> LineKernel for LineRows<'_, T, M> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lines>(self, simd: S) {
        let channel_stride = self.rows.channel_stride;
        let of_bits = self.rows.of_bits();
        for piece in self.pieces {
            let (first, len) = self.rows.piece(piece);
            let mut start = first + self.channels.start * channel_stride;
            let mut bit = of_bits.piece(piece).0 + self.channels.start * of_bits.channel_stride;
            for channel in 0..self.channels.len() {
                let place = start..start + len;
                // SAFETY: a place belongs to one channel and one piece, and each of
                // those is in the hands of one thread.
                let out = unsafe { self.out.slice(place.clone()) };
                // SAFETY: likewise, and the bits of a piece begin and end with a byte.
                let bits = unsafe { eights::<M>(self.bits, || bit..bit + len) };
                let (x, g) = (self.inputs.x(place.clone()), self.inputs.g(place));
                let soon = self.inputs.soon(start, self.rows.next(&self.channels, channel, piece));
                let of_channel = OfChannel { constants: self.constants, channel, map: self.map };
                match self.narrow.splat(simd, channel) {
                    Some(told) => of_channel.row(simd, told, x, g, bits, out, soon, self.stream),
                    None => simd.vectorize(Exact { of_channel, x, g, bits, out }),
                }
                start += channel_stride;
                bit += of_bits.channel_stride;
            }
        }
        if self.stream {
            simd.fence();
        }
    }
}

/// What is done to one channel.
#[derive(Clone, Copy)]
struct OfChannel<'a, M> {
    constants: &'a Constants,
    channel: usize,
    map: PhantomData<M>,
}

/// Neighbours, by the f64 loops: apart, since few come to that.
struct Exact<'a, T, M> {
    of_channel: OfChannel<'a, M>,
    x: &'a [T],
    g: &'a [T],
    bits: Eights<'a>,
    out: &'a mut [T],
}

impl<T: Half, M: Estimate> Kernel for Exact<'_, T, M> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Exact { of_channel: OfChannel { constants, channel, map: _ }, x, g, bits, out } = self;
        map_row::<S, T, M, false>(
            simd,
            constants.splat(simd, channel),
            x,
            g,
            bits,
            out,
            Inputs::with(x, g).soon(0, None),
        );
    }
}

impl<M: Estimate> OfChannel<'_, M> {
    /// Maps a row.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)] // Nothing is gained by a name for x, g and what becomes of them.
    fn row<S: Lines, T: Half>(
        self,
        simd: S,
        told: [S::W; COUNT],
        x: &[T],
        g: &[T],
        mut bits: Eights<'_>,
        out: &mut [T],
        soon: Soon<T>,
        stream: bool,
    ) {
        let mut stream = stream;
        let mut head = 0;
        if stream && matches!(M::MASK, Use::None) {
            // Up to a whole line of memory first, so that only whole ones are streamed.
            head = out.as_ptr().align_offset(BYTES).min(out.len());
        } else if stream {
            // A head would move the lines against the bytes of the mask.
            stream = out.as_ptr().addr().is_multiple_of(STREAM_ALIGNMENT);
        }
        let ((x_head, x), (g_head, g)) = (x.split_at(head), g.split_at(head));
        let (out_head, out) = out.split_at_mut(head);
        self.part(simd, told, x_head, g_head, Eights::none(), out_head);
        let (x_lines, x_rest) = x.as_chunks::<LINE>();
        let (g_lines, g_rest) = g.as_chunks::<LINE>();
        let (out_lines, out_rest) = out.as_chunks_mut::<LINE>();
        let whole = out_lines.len();
        for (k, ((x, g), out)) in x_lines.iter().zip(g_lines).zip(out_lines).enumerate() {
            soon.ask::<S, M>(simd, LINE * k, LINE);
            let given = bits.line::<M>(k);
            let wide_x = T::widen(simd, if M::X { x } else { g });
            let wide_g = if M::G { T::widen(simd, g) } else { wide_x };
            match settle::<S, T, M>(simd, [told; 2], wide_x, wide_g, given) {
                Some((settled, of_line)) => {
                    T::store_line(simd, settled, out, stream);
                    bits.set_line::<M>(k, of_line);
                }
                None => {
                    let bits = bits.part::<M>(k * (LINE / LANES), LINE / LANES);
                    simd.vectorize(Exact { of_channel: self, x, g, bits, out });
                }
            }
        }
        let bits = bits.part::<M>(whole * (LINE / LANES), out_rest.len().div_ceil(LANES));
        self.part(simd, told, x_rest, g_rest, bits, out_rest);
    }

    /// Maps fewer than a line.
    #[inline(always)]
    fn part<S: Lines, T: Half>(
        self,
        simd: S,
        told: [S::W; COUNT],
        x: &[T],
        g: &[T],
        mut bits: Eights<'_>,
        out: &mut [T],
    ) {
        if out.is_empty() {
            return;
        }
        let given = bits.first_line::<M>();
        let wide_x = T::widen_part(simd, if M::X { x } else { g });
        let wide_g = if M::G { T::widen_part(simd, g) } else { wide_x };
        match settle::<S, T, M>(simd, [told; 2], wide_x, wide_g, given) {
            Some((settled, of_part)) => {
                T::store_line_part(simd, settled, out);
                // No bits of what is not there.
                bits.set_first_line::<M>(of_part & ((1 << out.len()) - 1));
            }
            None => simd.vectorize(Exact { of_channel: self, x, g, bits, out }),
        }
    }
}

/// Maps some channels in rows.
pub fn rows<T: Half, M: Estimate>(
    group: Group<'_, T>,
    rows: &Rows,
    constants: &Constants,
    narrow: &LineConstants,
    out: &Target<'_, T>,
) {
    let Group { context, inputs, bits, channels, .. } = group;
    let stream = context.stream && rows.inner >= STREAMED_ROW;
    each_portion(context, rows.pieces(), channels.len() * rows.inner, &|pieces| {
        let channels = channels.clone();
        context.run_lines(LineRows::<T, M> {
            rows,
            inputs,
            channels,
            pieces,
            constants,
            narrow,
            bits,
            out,
            stream,
            map: PhantomData,
        });
    });
}
