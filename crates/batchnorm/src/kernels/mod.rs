//! The loops over the elements, for arrays that lie in memory as nearly all do
//! ([`geometry`]), on vectors ([`simd`]), threads ([`threads`]) and past the caches
//! where that pays.
//!
//! There are two kinds, each written once: sums over a channel ([`reduce`], which
//! states their order) and one value out for each value in ([`map`]). What is summed
//! and mapped is said by [`crate::moments`](mod@crate::moments),
//! [`crate::forward`] and [`crate::backward`]. Arrays that lie otherwise take the
//! tiles of [`crate::layout`], which are slower.
//!
//! # The same bits everywhere
//! A result depends on the shape, the strides and the values. Sums are cut and joined
//! by the shape alone, every vector operation is a correctly rounded one on each of
//! eight lanes, and products meet sums in fused multiply-adds on every processor.
//!
//! # Where memory goes
//! Channels are taken in groups whose rows make 64 KiB (of 128 at most), so that memory is read in
//! long runs; a group is normalised right after it was measured, the last piece
//! first, so that as much as possible still lies in a cache. An output larger than
//! [`STREAM_BYTES`] is written past the caches: it would only push out its input, and
//! be read into the cache before it is overwritten.

pub mod accumulate;
pub mod bits;
pub mod entry;
pub mod geometry;
pub mod in_place;
pub mod map;
pub mod maps;
pub mod reduce;
pub mod simd;
pub mod target;
pub mod threads;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::Range;
use std::sync::OnceLock;

use arrayvec::ArrayVec;

use self::geometry::Geometry;
use self::reduce::{MOST_COLUMNS, MOST_ROWS};
use self::simd::{Kernel, Portable, Simd};
use self::threads::{Slots, Team};
use crate::dtype::Element;

/// Outputs of this size and more are written past the caches: with its input, such
/// an output fills the last cache of a usual server core complex (32 MiB).
pub const STREAM_BYTES: usize = 16 << 20;

/// A group of channels in rows has so many bytes per sample, or one channel.
const ROW_BYTES: usize = 64 << 10;

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
}

impl<'a, T> Inputs<'a, T> {
    /// x alone.
    pub fn of(x: &'a [T]) -> Self {
        Inputs { x, g: x }
    }

    /// x and ∂loss/∂y.
    pub fn with(x: &'a [T], g: &'a [T]) -> Self {
        Inputs { x, g }
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

    /// Calls `work` for each group of channels with its part of `slots`, which has
    /// one for each channel. A group fits into [`PerChannel`].
    pub fn each_group<T, A: Slots>(
        &self,
        geometry: &Geometry,
        slots: A,
        work: &(impl Fn(Range<usize>, A) + Sync),
    ) {
        let (channels, width) = match geometry {
            Geometry::Rows(rows) => {
                let row_bytes = rows.inner * size_of::<T>();
                (rows.channels, self.team.share(rows.channels, (ROW_BYTES / row_bytes).clamp(1, MOST_ROWS)))
            }
            Geometry::Columns(columns) => (columns.channels, MOST_COLUMNS),
        };
        self.team.each_with(0..channels, width, slots, work);
    }
}

#[cfg(test)]
mod tests;
