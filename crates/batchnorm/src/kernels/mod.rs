//! The loops over the elements, for arrays that lie in memory as nearly all do
//! ([`geometry`]), on vectors ([`simd`]), threads ([`threads`]) and past the caches
//! where that pays.
//!
//! There are two kinds, each written once: sums over a channel ([`reduce`], which
//! states their order) and one value out for each value in ([`map`]; and to 16 bits
//! [`narrow`], to the same bits in fewer instructions). What is summed and mapped is
//! said by [`crate::moments`](mod@crate::moments), [`crate::forward`] and
//! [`crate::backward`]. Arrays that lie otherwise take the tiles of [`crate::layout`],
//! which are slower.
//!
//! # The same bits everywhere
//! A result depends on the shape, the strides and the values. Sums are cut and joined
//! by the shape alone, every vector operation is a correctly rounded one on each of
//! eight lanes, and products meet sums in fused multiply-adds on every processor.
//!
//! # Where memory goes
//! Channels are taken in groups that fit into a core's second cache twice (of 128 at most); a
//! group is normalised right after it was measured, the last piece first, so that as much as
//! possible still lies in a cache. Meanwhile the next group is asked for, line by line, so
//! that memory is read and written at the same time ([`Context::asks_ahead`]). An output
//! larger than [`STREAM_BYTES`] is written past the caches: it would only push out its
//! input, and be read into the cache before it is overwritten.

pub mod accumulate;
pub mod bits;
pub mod entry;
pub mod geometry;
pub mod in_place;
pub mod map;
pub mod maps;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, unused_imports))]
pub mod narrow;
pub mod reduce;
pub mod simd;
pub mod target;
pub mod threads;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::Range;
use std::sync::OnceLock;

use arrayvec::ArrayVec;

use self::geometry::{Geometry, Rows};
use self::maps::Map;
use self::narrow::LineKernel;
#[cfg(target_arch = "x86_64")]
use self::narrow::Lines;
use self::reduce::{MOST_COLUMNS, MOST_ROWS};
use self::simd::{Kernel, Portable, Simd};
use self::threads::{Slots, Team};
use crate::dtype::Element;

/// Outputs of this size and more are written past the caches: with its input, such
/// an output fills the last cache of a usual server core complex (32 MiB).
pub const STREAM_BYTES: usize = 16 << 20;

/// Arrays below this size, in bytes, lie in a core's own caches.
const NEAR: usize = 1 << 20;

/// There, a group of channels in rows has so many bytes per sample, or one channel.
const ROW_BYTES: usize = 64 << 10;

/// Elsewhere so many in all: two groups fit into a core's second cache.
const GROUP_BYTES: usize = 384 << 10;

/// But no fewer per sample: memory is read in runs.
const LEAST_RUN: usize = 4 << 10;

/// The largest group, in bytes, whose successor is asked for while it is mapped.
const MOST_AHEAD: usize = 512 << 10;

/// Something for each channel of a group, on the stack.
pub type PerChannel<A> = ArrayVec<A, { if MOST_COLUMNS > MOST_ROWS { MOST_COLUMNS } else { MOST_ROWS } }>;

/// How far ahead of the arithmetic columns ask for memory, in bytes.
const AHEAD: usize = 2048;

/// An instruction set.
#[derive(Clone, Copy)]
pub enum Level {
    /// Whatever the compiler targets: on AArch64, that has NEON.
    Portable(Portable),
    /// AVX2, FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Avx2),
    /// AVX-512.
    #[cfg(target_arch = "x86_64")]
    Avx512(x86::Avx512),
}

impl Level {
    /// Every one that this processor has, the best last.
    pub fn available() -> Vec<Level> {
        let portable = [Some(Level::Portable(Portable))];
        #[cfg(target_arch = "x86_64")]
        let of_processor = [x86::Avx2::detect().map(Level::Avx2), x86::Avx512::detect().map(Level::Avx512)];
        #[cfg(not(target_arch = "x86_64"))]
        let of_processor = [];
        portable.into_iter().chain(of_processor).flatten().collect()
    }

    /// `portable`, `avx2` or `avx512`.
    pub fn name(self) -> &'static str {
        match self {
            Level::Portable(_) => "portable",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(_) => "avx512",
        }
    }

    /// The one in use: the best, or the one that the environment variable
    /// `BATCHNORM_SIMD` names, where the processor has it.
    pub fn in_use() -> Level {
        #[cfg(test)]
        if let Some(level) = tests::FORCED.get() {
            return level;
        }
        static LEVEL: OnceLock<Level> = OnceLock::new();
        *LEVEL.get_or_init(|| {
            let available = Level::available();
            let wanted = std::env::var("BATCHNORM_SIMD").ok();
            let named = available.iter().find(|level| Some(level.name()) == wanted.as_deref());
            *named.or(available.last()).expect("the portable one is always there")
        })
    }
}

/// A line of memory, in bytes.
const LINE: usize = 64;

/// The arrays that a kernel reads, each with the geometry of the others.
pub struct Inputs<'a, T> {
    x: &'a [T],
    g: &'a [T],
    /// Whether a map of rows asks for those of the next group meanwhile.
    ahead: bool,
}

impl<'a, T> Inputs<'a, T> {
    /// x alone.
    pub fn of(x: &'a [T]) -> Self {
        Inputs { x, g: x, ahead: false }
    }

    /// x and ∂loss/∂y.
    pub fn with(x: &'a [T], g: &'a [T]) -> Self {
        Inputs { x, g, ahead: false }
    }

    /// The same, to ask ahead or not: [`Context::asks_ahead`].
    pub fn asking_ahead(self, ahead: bool) -> Self {
        Inputs { ahead, ..self }
    }

    /// What the next group of channels has where a map gets to `place` of this one, a row; or
    /// that row, where nothing is to be asked for.
    #[inline(always)]
    fn soon(&self, place: usize, next: Option<usize>) -> Soon<T> {
        let at = next.filter(|_| self.ahead).unwrap_or(place);
        Soon { x: self.x.as_ptr().wrapping_add(at), g: self.g.as_ptr().wrapping_add(at) }
    }

    /// Asks for as much as lies at `place`, [`AHEAD`] bytes later.
    #[inline(always)]
    fn prefetch<S: Simd>(&self, simd: S, place: Range<usize>)
    where
        T: Element,
    {
        let later = |at: usize| (at + AHEAD / size_of::<T>()).min(self.x.len());
        let soon = later(place.start)..later(place.end);
        simd.prefetch(&self.x[soon.clone()]);
        if !std::ptr::eq(self.x, self.g) {
            simd.prefetch(&self.g[soon]);
        }
    }

    /// x at `place`.
    #[inline(always)]
    fn x(&self, place: Range<usize>) -> &'a [T] {
        &self.x[place]
    }

    /// ∂loss/∂y at `place`, or what stands for it where there is none.
    #[inline(always)]
    fn g(&self, place: Range<usize>) -> &'a [T] {
        &self.g[place]
    }
}

impl<T> Clone for Inputs<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Inputs<'_, T> {}

/// Where a row of the next group begins, to be asked for: never read.
pub struct Soon<T> {
    x: *const T,
    g: *const T,
}

impl<T> Soon<T> {
    /// Asks for what `M` reads of it, from the `first` value on, as many lines of memory as
    /// `count` values begin.
    #[inline(always)]
    fn ask<S: Simd, M: Map>(&self, simd: S, first: usize, count: usize) {
        let line = LINE / size_of::<T>();
        for k in first.div_ceil(line)..(first + count).div_ceil(line) {
            if M::X {
                simd.prefetch_line(self.x.wrapping_add(k * line));
            }
            if M::G {
                simd.prefetch_line(self.g.wrapping_add(k * line));
            }
        }
    }
}

impl<T> Clone for Soon<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Soon<T> {}

/// How the kernels of one call run.
#[derive(Clone, Copy)]
pub struct Context {
    /// With which instructions.
    pub level: Level,
    /// On which threads.
    pub team: Team,
    /// The size of each array, in bytes.
    pub bytes: usize,
    /// Whether that is too much for any cache: outputs go past them.
    pub stream: bool,
}

impl Context {
    /// For arrays of `elements` values of T.
    pub fn for_elements<T>(elements: usize) -> Self {
        Context {
            level: Level::in_use(),
            team: Team::for_elements(elements),
            bytes: elements * size_of::<T>(),
            stream: elements * size_of::<T>() >= STREAM_BYTES,
        }
    }

    /// Runs a kernel compiled for the instruction set.
    fn run<K: Kernel>(&self, kernel: K) -> K::Output {
        match self.level {
            Level::Portable(simd) => simd.vectorize(kernel),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(simd) => simd.vectorize(kernel),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(simd) => simd.vectorize(kernel),
        }
    }

    /// Runs a kernel over lines compiled for the instruction set, which is not the portable one.
    fn run_lines<K: LineKernel>(&self, kernel: K) -> K::Output {
        match self.level {
            Level::Portable(_) => unreachable!("narrow::map asks for more than that: {}", self.level.name()),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(simd) => simd.vectorize_lines(kernel),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(simd) => simd.vectorize_lines(kernel),
        }
    }

    /// How many channels in rows make a group, where so many arrays are read.
    fn width<T>(&self, rows: &Rows, arrays: usize) -> usize {
        let row = rows.inner * size_of::<T>();
        let wanted = if self.bytes < NEAR {
            ROW_BYTES / row
        } else {
            (GROUP_BYTES / (rows.samples * row * arrays)).max(LEAST_RUN / row)
        };
        self.team.share(rows.channels, wanted.clamp(1, MOST_ROWS))
    }

    /// Whether maps over groups of channels ask for the next group meanwhile, which is
    /// summed next: where arrays come from afar, and two groups have room in a cache. The
    /// processor then reads and writes at the same time, as a copy does.
    pub fn asks_ahead<T>(&self, geometry: &Geometry, arrays: usize) -> bool {
        let Geometry::Rows(rows) = geometry else { return false };
        let group = self.width::<T>(rows, arrays) * rows.n() * size_of::<T>() * arrays;
        self.bytes >= NEAR && group <= MOST_AHEAD
    }

    /// Calls `work` for each group of channels with its part of `slots`, which has
    /// one for each channel. A group fits into [`PerChannel`]; `arrays` are read of it.
    pub fn each_group<T, A: Slots>(
        &self,
        geometry: &Geometry,
        arrays: usize,
        slots: A,
        work: &(impl Fn(Range<usize>, A) + Sync),
    ) {
        let (channels, width) = match geometry {
            Geometry::Rows(rows) => (rows.channels, self.width::<T>(rows, arrays)),
            Geometry::Columns(columns) => (columns.channels, MOST_COLUMNS),
        };
        self.team.each_with(0..channels, width, slots, work);
    }
}

#[cfg(test)]
mod tests;
