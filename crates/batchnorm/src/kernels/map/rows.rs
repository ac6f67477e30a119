//! Maps over rows.

use std::ops::Range;

use super::{Eights, STREAM_ALIGNMENT, each_portion, eights, map_row};
use crate::dtype::Element;
use crate::kernels::bits::Bits;
use crate::kernels::entry::Group;
use crate::kernels::geometry::Rows;
use crate::kernels::maps::{Constants, Map, Use};
use crate::kernels::simd::{Kernel, Portable, Simd};
use crate::kernels::target::Target;
use crate::kernels::{Inputs, LINE};

/// Some channels in rows, over some pieces.
struct MapRows<'a, T, M> {
    rows: &'a Rows,
    inputs: Inputs<'a, T>,
    channels: Range<usize>,
    pieces: Range<usize>,
    constants: &'a Constants,
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
        let stream = S::STREAMS && self.stream;
        let of_bits = self.rows.of_bits();
        let masked = !matches!(M::MASK, Use::None);
        for piece in self.pieces {
            let (first, len) = self.rows.piece(piece);
            let mut start = first + self.channels.start * channel_stride;
            let mut bit = 0;
            if masked {
                bit = of_bits.piece(piece).0 + self.channels.start * of_bits.channel_stride;
            }
            for channel in 0..self.channels.len() {
                let constants = self.constants.splat(simd, channel);
                let place = start..start + len;
                // SAFETY: a place belongs to one channel and one piece, and each of
                // those is in the hands of one thread.
                let out = unsafe { self.out.slice(place.clone()) };
                // SAFETY: likewise, and the bits of a piece begin and end with a byte.
                let bits = unsafe { eights::<M>(self.bits, || bit..bit + len) };
                let soon = self.inputs.soon(start, self.rows.next(&self.channels, channel, piece));
                // What a map does not read is given all the same: it is there.
                let (x, g) = (self.inputs.x(place.clone()), self.inputs.g(place));
                let aligned = out.as_ptr().addr().is_multiple_of(STREAM_ALIGNMENT);
                if stream && matches!(M::MASK, Use::None) {
                    // Up to a whole line first, so that only whole lines are streamed.
                    let head = out.as_ptr().align_offset(LINE).min(len);
                    let (x_head, x) = x.split_at(head);
                    let (g_head, g) = g.split_at(head);
                    let (out_head, out) = out.split_at_mut(head);
                    let none = Eights::none();
                    map_row::<S, T, M, false>(simd, constants, x_head, g_head, none, out_head, soon);
                    map_row::<S, T, M, true>(simd, constants, x, g, bits, out, soon);
                } else if stream && aligned {
                    // A head would move the eights against the bytes of the mask.
                    map_row::<S, T, M, true>(simd, constants, x, g, bits, out, soon);
                } else {
                    map_row::<S, T, M, false>(simd, constants, x, g, bits, out, soon);
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

/// Rows shorter than this are not streamed: too many lines of memory would be shared
/// by two of them, and be written in two halves.
pub const STREAMED_ROW: usize = 512;

/// Maps some channels in rows.
pub fn rows<T: Element, M: Map>(
    group: Group<'_, T>,
    map: M,
    rows: &Rows,
    constants: &Constants,
    out: &Target<'_, T>,
) {
    let Group { context, inputs, bits, channels, .. } = group;
    let stream = context.stream && rows.inner >= STREAMED_ROW;
    each_portion(context, rows.pieces(), channels.len() * rows.inner, &|pieces| {
        let channels = channels.clone();
        let kernel = MapRows { rows, inputs, channels, pieces, constants, bits, out, stream, map };
        if T::NARROW {
            // The other sets have lines.
            Portable.vectorize(kernel);
        } else {
            context.run(kernel);
        }
    });
}
