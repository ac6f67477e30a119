//! Where the values of the channels lie in a slice of memory, for the two ways in
//! which nearly every array lies.
//!
//! - [`Rows`]: each sample holds, for each channel, a row of neighbours. This is
//!   contiguous (N, C, *).
//! - [`Columns`]: each position holds the values of all channels side by side. This
//!   is channels-last memory, and (N, C).
//!
//! Both cut the n values of a channel into *pieces*, numbered in the order of
//! memory: the unit in which work is shared and in which sums are cut.

use std::ops::Range;

use super::simd::LANES;
use super::{NEAR, STREAM_BYTES};

/// The longest piece of a row.
const PIECE: usize = 16384;

const _: () = assert!(PIECE.is_multiple_of(LANES), "a piece begins a byte of a mask");

/// Values that a stretch holds, about, before a sum is cut.
const STRETCH: usize = 1 << 16;

/// The most stretches of a channel.
const MOST_STRETCHES: usize = 64;

/// A power of two near `wanted`, of at least one piece each.
fn stretches(wanted: usize, pieces: usize) -> usize {
    1 << wanted.min(pieces).clamp(1, MOST_STRETCHES).ilog2()
}

/// Channels in rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// C.
    pub channels: usize,
    /// How many rows a channel has.
    pub samples: usize,
    /// From a row to the next of the same channel.
    pub sample_stride: usize,
    /// From a row to that of the next channel.
    pub channel_stride: usize,
    /// Values of a row.
    pub inner: usize,
}

impl Rows {
    /// Where the bits of a mask of these rows lie: as they do, one row after the other,
    /// each of which begins a byte.
    pub fn of_bits(&self) -> Rows {
        let Rows { channels, samples, inner, .. } = *self;
        let channel_stride = inner.next_multiple_of(LANES);
        Rows { channels, samples, sample_stride: channels * channel_stride, channel_stride, inner }
    }

    /// n.
    pub fn n(&self) -> usize {
        self.samples * self.inner
    }

    /// How many pieces a channel has.
    pub fn pieces(&self) -> usize {
        self.samples * self.inner.div_ceil(PIECE)
    }

    /// In how many stretches of pieces a channel is summed.
    pub fn stretches(&self) -> usize {
        stretches(self.n() / STRETCH, self.pieces())
    }

    /// Where the k-th channel of the group after `channels` has what is summed when this
    /// group's k-th gets to be mapped at `piece`: sums begin where maps end.
    #[inline(always)]
    pub fn next(&self, channels: &Range<usize>, k: usize, piece: usize) -> Option<usize> {
        let channel = channels.end + k;
        let (first, _) = self.piece(self.pieces() - 1 - piece);
        (channel < self.channels).then_some(first + channel * self.channel_stride)
    }

    /// Where a piece of channel 0 begins, and its length. Those of the other channels
    /// are `channel_stride` apart.
    #[inline(always)]
    pub fn piece(&self, index: usize) -> (usize, usize) {
        if self.inner <= PIECE {
            return (index * self.sample_stride, self.inner);
        }
        let per_row = self.inner.div_ceil(PIECE);
        let (sample, part) = (index / per_row, index % per_row);
        (sample * self.sample_stride + part * PIECE, PIECE.min(self.inner - part * PIECE))
    }
}

/// How positions in columns are gone through. Several at once is best for the arithmetic:
/// what is fetched for a channel serves them all. Memory would rather be read in its
/// order; and it must be asked for, since among the loads of constants and
/// accumulators those of elements are too few for a processor to run ahead of by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Positions worked on together: 1, 2 or 4.
    pub abreast: usize,
    /// Whether later ones are asked for meanwhile.
    pub prefetch: bool,
}

/// Channels in columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    /// C.
    pub channels: usize,
    /// n.
    pub positions: usize,
    /// From a position to the next, at least C.
    pub stride: usize,
}

impl Columns {
    /// Where the bits of a mask of these columns lie: as they do, and each position
    /// begins a byte.
    pub fn of_bits(&self) -> Columns {
        Columns { stride: self.channels.next_multiple_of(LANES), ..*self }
    }

    /// In how many stretches of positions the channels are summed. Joining two costs
    /// something for every channel, so a stretch has at least 512 positions.
    pub fn stretches(&self) -> usize {
        let values = self.positions * self.channels;
        stretches(values / (2 * STRETCH).max(512 * self.channels), self.positions)
    }

    /// How the positions are gone through, in arrays of T of which each has `bytes`.
    pub fn pace<T>(&self, bytes: usize) -> Pace {
        let row = self.stride * size_of::<T>();
        let (abreast, prefetch) = match (bytes, row) {
            (..NEAR, _) => (4, false),
            (_, ..=512) => (4, true),
            (_, ..=1024) => (2, true),
            // In the cache that cores share.
            (NEAR..STREAM_BYTES, _) => (4, false),
            _ => (1, true),
        };
        Pace { abreast, prefetch }
    }

    /// Where these channels of a position lie.
    #[inline(always)]
    pub fn row(&self, channels: &Range<usize>, position: usize) -> Range<usize> {
        let first = position * self.stride;
        first + channels.start..first + channels.end
    }
}

/// Rows or columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Geometry {
    /// See [`Rows`].
    Rows(Rows),
    /// See [`Columns`].
    Columns(Columns),
}

impl Geometry {
    /// Of a slice in which the positions of a channel lie along `axes`, (length,
    /// stride) pairs with the slowest first, and its neighbour `channel_stride`
    /// further on. None for what is neither.
    pub fn of(channels: usize, axes: &[(usize, usize)], channel_stride: usize) -> Option<Geometry> {
        match *axes {
            [] => Some(Geometry::columns(channels, 1, channels)),
            [(positions, stride)] if channel_stride == 1 && channels > 1 && stride >= channels => {
                Some(Geometry::columns(channels, positions, stride))
            }
            [(inner, 1)] => Some(Geometry::rows(channels, (1, 0), channel_stride, inner)),
            [samples, (inner, 1)] => Some(Geometry::rows(channels, samples, channel_stride, inner)),
            _ => None,
        }
    }

    /// Rows of `inner` values, `outer` being the number of samples and their stride.
    pub fn rows(channels: usize, outer: (usize, usize), channel_stride: usize, inner: usize) -> Self {
        let (samples, sample_stride) = outer;
        Geometry::Rows(Rows { channels, samples, sample_stride, channel_stride, inner })
    }

    fn columns(channels: usize, positions: usize, stride: usize) -> Self {
        Geometry::Columns(Columns { channels, positions, stride })
    }

    /// Where the bits of a mask lie, of arrays that lie so: it depends on the shape and
    /// on rows or columns, not on the strides. No two eights of neighbours share a byte.
    pub fn of_bits(&self) -> Geometry {
        match self {
            Geometry::Rows(rows) => Geometry::Rows(rows.of_bits()),
            Geometry::Columns(columns) => Geometry::Columns(columns.of_bits()),
        }
    }

    /// Where a value of a channel lies, by its place in logical order.
    pub fn place(&self, channel: usize, position: usize) -> usize {
        match self {
            Geometry::Rows(rows) => {
                let (sample, within) = (position / rows.inner, position % rows.inner);
                sample * rows.sample_stride + channel * rows.channel_stride + within
            }
            Geometry::Columns(columns) => position * columns.stride + channel,
        }
    }

    /// n.
    pub fn n(&self) -> usize {
        match self {
            Geometry::Rows(rows) => rows.n(),
            Geometry::Columns(columns) => columns.positions,
        }
    }

    /// The first values of each channel: as many as a power of 2 up to `most` says.
    pub fn beginning(&self, most: usize) -> Geometry {
        let first = |n: usize| 1 << n.min(most).ilog2();
        match *self {
            Geometry::Rows(rows) => Geometry::Rows(Rows { samples: 1, inner: first(rows.inner), ..rows }),
            Geometry::Columns(columns) => {
                Geometry::Columns(Columns { positions: first(columns.positions), ..columns })
            }
        }
    }
}
