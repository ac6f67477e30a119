//! The mean and the biased variance of each channel, mergeable.
//!
//! ```text
//! mean       = Σx / n
//! var_biased = Σ(x − mean)² / n          (normalises)
//! var_unbiased = Σ(x − mean)² / (n − 1)  (feeds running_var)
//! ```
//!
//! # Two passes and a remainder
//!
//! The textbook's mean(x²) − mean(x)² cancels when the mean is large against the
//! deviation, so there are two passes, both in f64:
//!
//! 1. m₀ = Σx / n, a number near the mean;
//! 2. d = x − m₀, then D = Σd and Q = Σd².
//!
//! m₀ need not be the mean, only near it; the identities
//!
//! ```text
//! mean = m₀ + D/n          M2 = Σ(x − mean)² = Q − D²/n
//! ```
//!
//! hold for any m₀, and D is what rounding left in m₀, so Q − D²/n cancels
//! nothing. Each d is x − m₀ rounded once: its error is 2⁻⁵³ of the *deviation*,
//! however large the mean, and so is that of D/n. Likewise the mean is kept as the unevaluated pair
//! m₀ + D/n, since for f64 input a single f64 would spoil x − mean by half an ulp
//! of the mean.
//!
//! # Where f64 ends
//!
//! Squares of f32 values fit into f64 a long way, but those of f64 values above
//! 10¹⁵⁴ do not. Where D, Q or m₀ came out infinite or NaN, f64 input is measured again,
//! multiplied by 2⁻⁶⁰⁰, an exact operation; moments remember that scale.
//! (Deviations below 10⁻¹⁵⁴ vanish against any eps above 10⁻³⁰⁰ and are left.)
//!
//! # Merging
//!
//! Chan, Golub and LeVeque (1979): with δ = mean_b − mean_a and n = n_a + n_b,
//!
//! ```text
//! mean = mean_a + δ·n_b/n          M2 = M2_a + M2_b + δ²·n_a·n_b/n
//! ```

use std::ops::Range;

use ndarray::{ArrayView, ArrayViewD, Dimension};

use crate::config::Rank;
use crate::dtype::{DType, Element};
use crate::error::Error;
use crate::layout::{BLANK, Source, Tile, WIDTH, Walk};
use crate::sum::{Pair, accumulate, two_sum};

/// 2⁻⁶⁰⁰: brings the largest f64 to 2⁴²⁴, so that 2¹⁷⁰ squares add up, and keeps
/// any deviation that can make a square overflow (2⁴⁹⁰ and more) above 2⁻¹¹⁰.
const SMALL: f64 = f64::from_bits((1023 - 600) << 52);

/// Count, mean and squared deviations of the values of one channel.
///
/// Of no values at all: count 0, and the mean and variances are NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    pub(crate) count: usize,
    /// What the values were multiplied by: 1, or [`SMALL`].
    pub(crate) scale: f64,
    /// The mean of the scaled values.
    pub(crate) mean: Pair,
    /// Σ(x − mean)² of the scaled values.
    pub(crate) m2: f64,
}

impl Default for Moments {
    /// Those of no values.
    fn default() -> Self {
        Moments { count: 0, scale: 1.0, mean: Pair::default(), m2: 0.0 }
    }
}

impl Moments {
    /// n, how many values were measured.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Σx / n, the nearest f64 to the mean that is held.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { f64::NAN } else { self.mean.value() / self.scale }
    }

    /// Σ(x − mean)² / n.
    pub fn var_biased(&self) -> f64 {
        self.m2 / self.count as f64 / self.scale / self.scale
    }

    /// Σ(x − mean)² / (n − 1): NaN for a single value.
    pub fn var_unbiased(&self) -> f64 {
        self.m2 / (self.count as f64 - 1.0) / self.scale / self.scale
    }

    /// The moments of the values of both. Merging with the moments of nothing
    /// changes nothing.
    pub fn merge(&self, other: &Moments) -> Moments {
        if self.count == 0 || other.count == 0 {
            return if self.count == 0 { *other } else { *self };
        }
        let scale = self.scale.min(other.scale);
        let (a, b) = (self.scaled_to(scale), other.scaled_to(scale));
        let count = a.count + b.count;
        let (n_a, n_b, n) = (a.count as f64, b.count as f64, count as f64);
        let delta = (b.mean.hi - a.mean.hi) + (b.mean.lo - a.mean.lo);
        let moments = Moments {
            count,
            scale,
            mean: renormalised(a.mean.hi, a.mean.lo, delta * (n_b / n)),
            m2: a.m2 + b.m2 + delta * delta * (n_a * (n_b / n)),
        };
        let overflowed = !moments.m2.is_finite() && a.m2.is_finite() && b.m2.is_finite();
        if overflowed && scale == 1.0 { a.scaled_to(SMALL).merge(&b.scaled_to(SMALL)) } else { moments }
    }

    /// The same, remembered at another scale.
    fn scaled_to(self, scale: f64) -> Moments {
        let by = scale / self.scale;
        let mean = Pair { hi: self.mean.hi * by, lo: self.mean.lo * by };
        Moments { scale, mean, m2: self.m2 * by * by, ..self }
    }

    /// From the two passes: n, the scale, m₀, D and Q.
    fn from_passes(n: usize, scale: f64, m0: f64, [d, q]: [f64; 2]) -> Moments {
        if !m0.is_finite() {
            // An infinite or NaN value: ∞ − ∞ would hide the mean's infinity.
            return Moments { count: n, scale, mean: Pair { hi: m0, lo: 0.0 }, m2: f64::NAN };
        }
        let residue = d / n as f64;
        let m2 = q - d * residue;
        // Of equal values, Q and D²/n are equal but for their last bits.
        let m2 = if m2 < 0.0 { 0.0 } else { m2 };
        Moments { count: n, scale, mean: two_sum(m0, residue), m2 }
    }
}

/// hi + lo + more as a pair.
fn renormalised(hi: f64, lo: f64, more: f64) -> Pair {
    let sum = two_sum(hi, more);
    if !sum.hi.is_finite() {
        return Pair { hi: sum.hi, lo: 0.0 };
    }
    two_sum(sum.hi, sum.lo + lo)
}

/// The moments of every channel of `input`, (N, C, *) of rank ≥ 2: C of them.
///
/// # Errors
/// [`Error::Rank`] for a rank below 2.
pub fn moments<T: Element, D: Dimension>(input: ArrayView<'_, T, D>) -> Result<Vec<Moments>, Error> {
    Rank::Any.check(input.ndim())?;
    let mut moments = vec![Moments::default(); input.shape()[1]];
    moments_into(input.into_dyn(), &mut moments)?;
    Ok(moments)
}

/// As [`moments`], into a slice of length C.
///
/// # Errors
/// [`Error::Rank`] for a rank below 2, [`Error::Shape`] for another length.
pub fn moments_into<T: Element>(input: ArrayViewD<'_, T>, moments: &mut [Moments]) -> Result<(), Error> {
    Rank::Any.check(input.ndim())?;
    crate::layout::check_shape("moments", &[input.shape()[1]], &[moments.len()])?;
    let (walk, source, mut tile) = (Walk::over(&input), Source::new(&input), BLANK);
    for group in walk.groups() {
        measure(&walk, &source, &group, &mut tile, &mut moments[group.clone()]);
    }
    Ok(())
}

/// The moments of a group of channels.
pub(crate) fn measure<T: Element>(
    walk: &Walk,
    source: &Source<'_, T>,
    group: &Range<usize>,
    tile: &mut Tile,
    moments: &mut [Moments],
) {
    if walk.n() == 0 {
        return moments.fill(Moments::default());
    }
    measure_scaled(walk, source, group, 1.0, tile, moments);
    if T::DTYPE != DType::F64 {
        return;
    }
    for (c, moments) in group.clone().zip(moments) {
        if !moments.m2.is_finite() {
            let mut again = [*moments];
            measure_scaled(walk, source, &(c..c + 1), SMALL, tile, &mut again);
            *moments = if again[0].m2.is_finite() { again[0] } else { *moments };
        }
    }
}

fn measure_scaled<T: Element>(
    walk: &Walk,
    source: &Source<'_, T>,
    group: &Range<usize>,
    scale: f64,
    tile: &mut Tile,
    moments: &mut [Moments],
) {
    let n = walk.n() as f64;
    let mut sums = [[Pair::default()]; WIDTH];
    for piece in walk.pieces() {
        source.load(group, &piece, tile);
        for (sum, row) in sums.iter_mut().zip(&*tile).take(group.len()) {
            accumulate::<T, 1>(sum, piece.len(), |k| [row[k] * scale]);
        }
    }
    let m0 = sums.map(|[sum]| sum.value() / n);
    let mut sums = [[Pair::default(); 2]; WIDTH];
    for piece in walk.pieces() {
        source.load(group, &piece, tile);
        for ((sum, row), m0) in sums.iter_mut().zip(&*tile).zip(m0).take(group.len()) {
            accumulate::<T, 2>(sum, piece.len(), |k| {
                let d = row[k] * scale - m0;
                [d, d * d]
            });
        }
    }
    for (moments, (m0, sum)) in moments.iter_mut().zip(m0.into_iter().zip(sums)) {
        *moments = Moments::from_passes(walk.n(), scale, m0, sum.map(Pair::value));
    }
}

#[cfg(test)]
mod tests;
