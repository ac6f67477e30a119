//! Outputs that take the place of their inputs: a stretch of values is copied to where the
//! innermost cache has it, and mapped back.

use std::ops::Range;

use super::Inputs;
use super::entry::Group;
use super::geometry::{Columns, Geometry, Rows};
use super::map::{Eights, each_portion, map_across, map_row};
use super::maps::{Constants, Normalize};
use super::reduce::MOST_COLUMNS;
use super::simd::{Kernel, Simd};
use super::target::Target;
use crate::dtype::Element;

/// Values that are copied at a time.
const STRETCH: usize = 1024;

const _: () = assert!(MOST_COLUMNS <= STRETCH, "a position of a group is one stretch");

/// A copy of some values.
#[inline(always)]
fn copied<'c, T: Element>(values: &[T], place: &'c mut [T; STRETCH]) -> &'c [T] {
    let copy = &mut place[..values.len()];
    copy.copy_from_slice(values);
    copy
}

/// Some channels in rows, over some pieces.
struct NormalizeRows<'a, T> {
    rows: &'a Rows,
    channels: Range<usize>,
    pieces: Range<usize>,
    constants: &'a Constants,
    values: &'a Target<'a, T>,
}

impl<T: Element> Kernel for NormalizeRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut place = [T::default(); STRETCH];
        for piece in self.pieces {
            let (first, len) = self.rows.piece(piece);
            for (k, channel) in self.channels.clone().enumerate() {
                let start = first + channel * self.rows.channel_stride;
                // SAFETY: a place belongs to one channel and one piece, and each of those is
                // in the hands of one thread.
                let values = unsafe { self.values.slice(start..start + len) };
                let constants = self.constants.splat(simd, k);
                for out in values.chunks_mut(STRETCH) {
                    let x = copied(out, &mut place);
                    let soon = Inputs::of(x).soon(0, None);
                    map_row::<S, T, Normalize, false>(simd, constants, x, x, Eights::none(), out, soon);
                }
            }
        }
    }
}

/// Some channels in columns, over some positions.
struct NormalizeColumns<'a, T> {
    columns: &'a Columns,
    channels: Range<usize>,
    positions: Range<usize>,
    constants: &'a Constants,
    values: &'a Target<'a, T>,
}

impl<T: Element> Kernel for NormalizeColumns<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut place = [T::default(); STRETCH];
        for position in self.positions {
            let range = self.columns.row(&self.channels, position);
            // SAFETY: a place belongs to one position and some channels, and those are in
            // the hands of one thread.
            let out = unsafe { self.values.slice(range) };
            let (x, none) = (copied(out, &mut place), [Eights::none()]);
            map_across::<S, T, Normalize, 1, false>(simd, self.constants, 0, [x], [x], none, [out]);
        }
    }
}

/// Normalises some channels where they are.
pub fn normalize<T: Element>(group: Group<'_, T>, constants: &Constants, values: &Target<'_, T>) {
    let Group { context, geometry, channels, .. } = group;
    match geometry {
        Geometry::Rows(rows) => {
            each_portion(context, rows.pieces(), channels.len() * rows.inner, &|pieces| {
                let channels = channels.clone();
                context.run(NormalizeRows { rows, channels, pieces, constants, values });
            });
        }
        Geometry::Columns(columns) => {
            each_portion(context, columns.positions, channels.len(), &|positions| {
                let channels = channels.clone();
                context.run(NormalizeColumns { columns, channels, positions, constants, values });
            });
        }
    }
}
