//! The constants of estimates, in f32.

use arrayvec::ArrayVec;

use super::estimate::Estimate;
use super::lines::{Half, LINE, Lines, SIXTEEN};
use crate::kernels::maps::Constants;
use crate::kernels::reduce::{MOST_COLUMNS, MOST_ROWS};

/// How many numbers an estimate has for a channel.
pub const COUNT: usize = 6;

/// The most channels of a group.
const MOST: usize = if MOST_COLUMNS > MOST_ROWS { MOST_COLUMNS } else { MOST_ROWS };

const _: () = assert!(MOST.is_multiple_of(LINE), "a group of channels is made of lines");

/// Those of a line of channels: all first numbers side by side, then all second ones.
#[derive(Clone, Copy)]
pub struct OfLine {
    numbers: [[f32; LINE]; COUNT],
    /// A bit for each channel, the lowest for the first: set where nothing is promised of it.
    wide: u32,
}

impl OfLine {
    /// Whether something is promised of all channels.
    #[inline(always)]
    pub fn all_told(&self) -> bool {
        self.wide == 0
    }

    /// The numbers of the channels, twice sixteen.
    #[inline(always)]
    pub fn load<S: Lines>(&self, simd: S) -> [[S::W; COUNT]; 2] {
        [self.sixteen(simd, 0), self.sixteen(simd, 1)]
    }

    #[inline(always)]
    fn sixteen<S: Lines>(&self, simd: S, half: usize) -> [S::W; COUNT] {
        let [a, b, c, d, e, f] = &self.numbers;
        [
            simd.load32(sixteen(a, half)),
            simd.load32(sixteen(b, half)),
            simd.load32(sixteen(c, half)),
            simd.load32(sixteen(d, half)),
            simd.load32(sixteen(e, half)),
            simd.load32(sixteen(f, half)),
        ]
    }

    /// The numbers of one channel in all lanes, unless nothing is promised of it.
    #[inline(always)]
    fn splat<S: Lines>(&self, simd: S, k: usize) -> Option<[S::W; COUNT]> {
        if self.wide >> k & 1 == 1 {
            return None;
        }
        let [a, b, c, d, e, f] = &self.numbers;
        Some([
            simd.splat32(a[k]),
            simd.splat32(b[k]),
            simd.splat32(c[k]),
            simd.splat32(d[k]),
            simd.splat32(e[k]),
            simd.splat32(f[k]),
        ])
    }
}

#[inline(always)]
fn sixteen(of: &[f32; LINE], half: usize) -> &[f32; SIXTEEN] {
    &of.as_chunks().0[half]
}

/// The numbers of a group of channels. (They are large: filled, not moved.)
pub struct LineConstants(ArrayVec<OfLine, { MOST / LINE }>);

impl LineConstants {
    /// Of no channels.
    #[inline(always)]
    pub fn new() -> Self {
        LineConstants(ArrayVec::new())
    }

    /// Takes the numbers of the first `count` channels of a map, for what it held.
    pub fn fill<T: Half, M: Estimate>(&mut self, of: &Constants, count: usize) {
        self.0.clear();
        for first in (0..count).step_by(LINE) {
            let mut line = OfLine { numbers: [[0.0; LINE]; COUNT], wide: 0 };
            for k in 0..LINE.min(count - first) {
                match M::constants::<T>(of.channel(first + k), false) {
                    Some(told) => {
                        line.numbers.iter_mut().zip(told).for_each(|(numbers, told)| numbers[k] = told);
                    }
                    None => line.wide |= 1 << k,
                }
            }
            self.0.push(line);
        }
    }

    /// Line by line.
    #[inline(always)]
    pub fn lines(&self) -> &[OfLine] {
        &self.0
    }

    /// Those of one channel in all lanes, unless nothing is promised of it.
    #[inline(always)]
    pub fn splat<S: Lines>(&self, simd: S, channel: usize) -> Option<[S::W; COUNT]> {
        self.0[channel / LINE].splat(simd, channel % LINE)
    }
}
