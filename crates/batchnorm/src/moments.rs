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
use crate::kernels::bits::Bits;
use crate::kernels::entry::{Group, Terms};
use crate::kernels::geometry::Geometry;
use crate::kernels::reduce::Sums;
use crate::kernels::{Context, Inputs, PerChannel};
use crate::layout::{BLANK, Source, Tile, WIDTH, Walk, plain};
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
        let apart = two_sum(b.mean.hi, -a.mean.hi);
        let apart = Pair { lo: apart.lo + (b.mean.lo - a.mean.lo), ..apart };
        let delta = apart.hi + apart.lo;
        let moments = Moments {
            count,
            scale,
            mean: moved(a.mean, apart, n_b, n),
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

/// mean + apart·part/whole, as a pair: the product and the quotient with what they
/// round off, for that counts where the sum is small beside its terms.
fn moved(mean: Pair, apart: Pair, part: f64, whole: f64) -> Pair {
    let product = apart.hi * part;
    let step = product / whole;
    let sum = two_sum(mean.hi, step);
    if !sum.hi.is_finite() {
        return Pair { hi: sum.hi, lo: 0.0 };
    }
    let lost = apart.hi.mul_add(part, -product) + apart.lo * part;
    let rest = (step.mul_add(-whole, product) + lost) / whole;
    two_sum(sum.hi, sum.lo + (mean.lo + rest))
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
    if let Some((x, geometry)) = plain(&input) {
        let context = Context::for_elements::<T>(x.len());
        context.each_group::<T, _>(&geometry, 1, &mut *moments, &|group, moments| {
            measure_group(context, &geometry, x, &group, moments);
        });
        measure_again(&input, moments);
        return Ok(());
    }
    let (walk, source, mut tile) = (Walk::over(&input), Source::new(&input), BLANK);
    for group in walk.groups() {
        measure(&walk, &source, &group, &mut tile, &mut moments[group.clone()]);
    }
    Ok(())
}

/// How many values of a channel give its first shift.
const FIRST: usize = 16;

/// How far a shift may lie from the mean, squared, in units of the variance: a sum
/// of squares about it is 1 + reach times that about the mean, and so is its error.
/// f32 values leave 29 bits of f64 for that, f64 values none.
fn reach<T: Element>() -> f64 {
    if T::DTYPE == DType::F64 { 0.25 } else { 1024.0 }
}

/// The moments of a group of channels, by the kernels. Where an infinity, a NaN or
/// an overflow was met, m2 is not finite, and [`measure_again`] looks closer.
pub(crate) fn measure_group<T: Element>(
    context: Context,
    geometry: &Geometry,
    x: &[T],
    group: &Range<usize>,
    moments: &mut [Moments],
) {
    let n = geometry.n();
    let (inputs, bits) = (Inputs::of(x), Bits::None);
    let group = Group { context, geometry, inputs, bits, channels: group };
    let (mut shifts, mut totals, mut far) =
        (PerChannel::new(), PerChannel::new(), PerChannel::<usize>::new());
    first_shifts(group, &mut shifts, &mut totals);
    let shifted = (!shifts.is_empty()).then_some(shifts.as_slice());
    group.sums(Terms::Moments, shifted, &mut totals);
    for (k, (moments, total)) in moments.iter_mut().zip(&totals).enumerate() {
        let shift = shifts.get(k).copied().unwrap_or_default();
        let [d, q] = total.map(Pair::value);
        *moments = Moments::from_passes(n, 1.0, shift, [d, q]);
        if d * (d / n as f64) > reach::<T>() * moments.m2 {
            far.push(k);
        }
    }
    if far.is_empty() {
        return;
    }
    shifts.clear();
    shifts.extend(moments.iter().map(|moments| moments.mean.hi));
    group.sums(Terms::Moments, Some(&shifts), &mut totals);
    for &k in &far {
        moments[k] = Moments::from_passes(n, 1.0, shifts[k], totals[k].map(Pair::value));
    }
}

/// Where the deviations of a group are taken from at first: 0 (no shifts), of which
/// the squares of f32 and narrower values need no subtraction and are exact in f64; of
/// f64 values, which have no bits to spare, the mean of the first few.
fn first_shifts<T: Element>(
    group: Group<'_, T>,
    shifts: &mut PerChannel<f64>,
    totals: &mut PerChannel<Sums>,
) {
    if T::DTYPE == DType::F64 {
        let beginning = group.geometry.beginning(FIRST);
        Group { geometry: &beginning, ..group }.sums(Terms::Moments, None, totals);
        shifts.extend(totals.iter().map(|[d, _]| d.value() / beginning.n() as f64));
    }
}

/// Measures those channels anew whose m2 is not finite, with more care.
pub(crate) fn measure_again<T: Element>(input: &ArrayViewD<'_, T>, moments: &mut [Moments]) {
    if moments.iter().all(|moments| moments.m2.is_finite()) {
        return;
    }
    let (walk, source, mut tile) = (Walk::over(input), Source::new(input), BLANK);
    for (c, moments) in moments.chunks_mut(1).enumerate().filter(|(_, moments)| !moments[0].m2.is_finite()) {
        measure(&walk, &source, &(c..c + 1), &mut tile, moments);
    }
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
