//! How far an engine may be from the truth: running error analysis.
//!
//! The truth of a step is computed in [`Tracked`] numbers: the exact value and,
//! beside it, a bound on the error that floating-point arithmetic of a stated
//! precision can have made on the way. Each operation adds its own rounding and
//! passes on the errors of its operands, so that the bound of an element follows
//! the conditioning of that element, and one text of the formulas gives both the
//! expected value and its allowance. The derivation, term by term, is in
//! `docs/accuracy.md`; nothing here was fitted to an engine.

use std::ops::{Add, Div, Mul, Sub};

use crate::truth::format::{F64, Format};
use crate::truth::real::Real;

/// The longest chain of additions in a conforming sum of n terms:
/// min(n − 1, 256 + √n).
///
/// A sum's error is at most (chain length)·u·Σ|terms| (Higham, *Accuracy and
/// Stability of Numerical Algorithms*, §4.2). Plain recursion has the chain n − 1,
/// two-level blocking at best 2√n, pairwise summation log₂ n. Short sums may be
/// done in any order; from 256 terms on an engine has to do better than plain
/// recursion in the working precision, or use a wider accumulator: at n = 4
/// million recursion in f32 gets a mean of 100 wrong by 2.7 (seen in burn).
pub fn chain(n: usize) -> f64 {
    (n.saturating_sub(1) as f64).min(256.0 + (n as f64).sqrt())
}

/// An exact value with a bound on an engine's error in it.
///
/// An infinite bound says that nothing is promised: an operation may overflow on
/// the way. Beside NaN or an infinity it says that the engine may have the other of
/// the two: one infinite term makes a plain sum infinite, and a compensated or an
/// updated one ∞ − ∞.
#[derive(Clone, Debug)]
pub struct Tracked {
    /// The exact value (to 256 bits).
    pub value: Real,
    /// |engine − value| ≤ error, to first order in the unit roundoff and with
    /// the second-order terms where they can matter.
    pub error: f64,
    /// The value as an f64, for the bounds.
    pub approximate: f64,
    /// The arithmetic in which the engine goes on from here.
    pub arithmetic: Format,
}

impl Tracked {
    /// A value with a known error bound.
    pub fn new(value: Real, error: f64, arithmetic: Format) -> Self {
        let approximate = F64.round(&value);
        let error = match error {
            // For NaN or an infinity an engine has the same, or the other of the two.
            f64::INFINITY => f64::INFINITY,
            _ if !value.is_finite() => 0.0,
            // Something unbounded times 0, or larger than an f64: unbounded.
            error if error.is_nan() || approximate.is_infinite() => f64::INFINITY,
            error => error,
        };
        Tracked { value, error, approximate, arithmetic }
    }

    /// A value that every engine holds exactly: an input, a parameter, a count.
    pub fn exact(value: f64, arithmetic: Format) -> Self {
        Tracked { value: Real::from(value), error: 0.0, approximate: value, arithmetic }
    }

    /// A setting given in f64 that an engine may hold in its arithmetic: eps, momentum.
    pub fn setting(value: f64, arithmetic: Format) -> Self {
        let narrow = arithmetic.unit_roundoff() > F64.unit_roundoff();
        let rounding =
            if narrow && value.is_finite() { arithmetic.unit_roundoff() * value.abs() } else { 0.0 };
        Tracked::new(Real::from(value), rounding, arithmetic)
    }

    /// The result of an operation: `propagated` error, and one rounding to nearest,
    /// which costs u·|result|, or half the smallest subnormal where the result
    /// underflows, or everything where it overflows.
    fn rounded(value: Real, propagated: f64, arithmetic: Format) -> Self {
        let mut result = Tracked::new(value, propagated, arithmetic);
        if result.approximate != 0.0 && result.approximate.is_finite() {
            result.error += arithmetic.unit_roundoff() * result.approximate.abs() + arithmetic.min_positive();
            if result.magnitude() > arithmetic.max_finite() {
                result.error = f64::INFINITY;
            }
        }
        result
    }

    /// The largest magnitude that an engine may hold for this value.
    pub fn magnitude(&self) -> f64 {
        self.approximate.abs() + self.error
    }

    /// The same value, with which the engine goes on in another arithmetic.
    pub fn computed_in(self, arithmetic: Format) -> Tracked {
        Tracked { arithmetic, ..self }
    }

    /// The same value in which an engine may have made a further error. An infinity
    /// stays what it is: nothing is relative to its size.
    pub fn widened(self, error: f64) -> Tracked {
        if !self.value.is_finite() {
            return self;
        }
        Tracked::new(self.value, self.error + error, self.arithmetic)
    }

    /// √x. The engine takes the root of something in x ± error, so the bound is
    /// the larger of the two distances, and the near one when x − error is negative.
    pub fn sqrt(&self) -> Tracked {
        let (x, e) = (self.approximate, self.error);
        let root = x.sqrt();
        let below = root - (x - e).max(0.0).sqrt();
        let above = (x + e).sqrt() - root;
        Tracked::rounded(self.value.sqrt(), below.max(above), self.arithmetic)
    }

    /// The same value after the engine has put it into `format`: one more
    /// rounding of the engine's number, while the truth is not rounded.
    pub fn kept_in(self, format: Format) -> Tracked {
        let magnitude = self.magnitude();
        match magnitude {
            0.0 => self,
            _ if magnitude > format.max_finite() => self.widened(f64::INFINITY),
            _ => self.widened(format.unit_roundoff() * magnitude + format.min_positive()),
        }
    }

    /// A sum that is complete, in the format in which the engine goes on with it: a
    /// rounding only where that has fewer bits than the sum was made in.
    pub fn completed(self, format: Format) -> Tracked {
        let narrows = format.unit_roundoff() > self.arithmetic.unit_roundoff();
        if narrows { self.kept_in(format).computed_in(format) } else { self.computed_in(format) }
    }

    /// What the engine answers in a dtype, and what the next step starts from: truth
    /// and engine are both rounded.
    ///
    /// To nearest: rounding keeps the order, so what lies within value ± error is
    /// answered within round(value − error) … round(value + error). Where the error
    /// is small against the dtype's steps, that is the truth alone, unless it lies
    /// next to the middle of two of them. Faithfully: one step more than the error;
    /// what is exact on both sides stays exact.
    pub fn stored(&self, format: Format, to_nearest: bool) -> Tracked {
        let rounded = format.round(&self.value);
        let exact = self.error == 0.0 && Real::from(rounded) == self.value;
        let error = match self.error {
            f64::INFINITY => f64::INFINITY,
            _ if exact || !rounded.is_finite() => 0.0,
            error if to_nearest => {
                let error = Real::from(error);
                let highest = format.round(&(&self.value + &error)) - rounded;
                let lowest = rounded - format.round(&(&self.value - &error));
                highest.max(lowest)
            }
            error => error + format.ulp(self.magnitude()),
        };
        Tracked { value: Real::from(rounded), error, approximate: rounded, arithmetic: self.arithmetic }
    }
}

/// How far a factor carries the other factor's error. An infinity times a number
/// that is off by a little is the same infinity, and NaN is NaN.
fn carried(factor: f64, error: f64) -> f64 {
    match error {
        0.0 => 0.0,
        f64::INFINITY => f64::INFINITY,
        _ if !factor.is_finite() => 0.0,
        _ => factor.abs() * error,
    }
}

impl Add for &Tracked {
    type Output = Tracked;
    fn add(self, other: &Tracked) -> Tracked {
        Tracked::rounded(&self.value + &other.value, self.error + other.error, self.arithmetic)
    }
}

impl Sub for &Tracked {
    type Output = Tracked;
    fn sub(self, other: &Tracked) -> Tracked {
        Tracked::rounded(&self.value - &other.value, self.error + other.error, self.arithmetic)
    }
}

impl Mul for &Tracked {
    type Output = Tracked;
    /// (a ± α)(b ± β) = ab ± (|a|β + |b|α + αβ).
    fn mul(self, other: &Tracked) -> Tracked {
        let propagated = carried(self.approximate, other.error)
            + carried(other.approximate, self.error)
            + carried(self.error, other.error);
        Tracked::rounded(&self.value * &other.value, propagated, self.arithmetic)
    }
}

impl Div for &Tracked {
    type Output = Tracked;
    /// (a ± α)/(b ± β) = a/b ± (α + |a/b|·β)/(|b| − β); unbounded when β ≥ |b|.
    fn div(self, other: &Tracked) -> Tracked {
        let quotient = &self.value / &other.value;
        let size = F64.round(&quotient).abs();
        let room = other.approximate.abs() - other.error;
        let numerator = self.error + carried(size, other.error);
        let propagated = match room {
            _ if numerator == 0.0 => 0.0,
            _ if size.is_nan() => self.error.max(other.error),
            room if room > 0.0 => numerator / room,
            _ => f64::INFINITY,
        };
        Tracked::rounded(quotient, propagated, self.arithmetic)
    }
}

/// Σ counts·terms, where each term occurs so many times: every term's error, and
/// the summation's own (see [`chain`]). The order is not known, so that nothing is
/// promised where the terms' magnitudes overflow together, or where one is infinite.
pub fn sum<'a>(
    terms: impl IntoIterator<Item = &'a Tracked>,
    counts: &[usize],
    arithmetic: Format,
) -> Tracked {
    let (mut total, mut errors, mut sizes, mut n) = (Real::zero(), 0.0, 0.0, 0usize);
    for (term, &count) in terms.into_iter().zip(counts) {
        let repeated = if count == 1 { term.value.clone() } else { &term.value * &Real::whole(count) };
        total = &total + &repeated;
        errors += term.error * count as f64;
        sizes += term.magnitude() * count as f64;
        n += count;
    }
    let own = chain(n) * arithmetic.unit_roundoff() * sizes;
    let overflows = n > 1 && sizes > arithmetic.max_finite();
    Tracked::new(total, if overflows { f64::INFINITY } else { errors + own }, arithmetic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::truth::format::{F16, F32};

    fn single(value: f64) -> Tracked {
        Tracked::exact(value, F32)
    }

    /// The bound of each operation must cover what f32 really does, and not by
    /// more than the operation's own worst case.
    #[test]
    fn bounds_cover_f32_and_are_tight() {
        let mut worst: f64 = 0.0;
        for i in 1..200_i32 {
            let (a, b) = (0.1_f32 * i as f32, 1.7_f32 / i as f32);
            let (x, y) = (single(f64::from(a)), single(f64::from(b)));
            for (got, tracked) in
                [(a + b, &x + &y), (a - b, &x - &y), (a * b, &x * &y), (a / b, &x / &y), (a.sqrt(), x.sqrt())]
            {
                let error = F64.round(&(&Real::from(f64::from(got)) - &tracked.value)).abs();
                assert!(error <= tracked.error, "{a} {b}: {error:e} > {:e}", tracked.error);
                worst = worst.max(error / tracked.error);
            }
        }
        assert!(worst > 0.9, "the bound is never nearly reached: {worst}");
    }

    #[test]
    fn recursion_in_f32_stays_inside_the_bound_of_a_short_sum() {
        let values: Vec<f32> = (0..200).map(|i| 100.0 + 0.37 * (i % 7) as f32).collect();
        let terms: Vec<Tracked> = values.iter().map(|&v| single(f64::from(v))).collect();
        let tracked = sum(&terms, &vec![1; terms.len()], F32);
        let got = values.iter().fold(0f32, |total, v| total + v);
        let error = F64.round(&(&Real::from(f64::from(got)) - &tracked.value)).abs();
        assert!(error > 0.0 && error <= tracked.error);
    }

    /// 1 + 2⁻¹⁰/3 in f16, whose steps are 2⁻¹⁰ there: an error that does not reach the
    /// middle between two steps is rounded away, one that does is a step.
    #[test]
    fn a_small_error_is_rounded_away() {
        let step = 2f64.powi(-10);
        let answered = |error: f64| {
            let value = Tracked::new(Real::from(1.0 + step / 3.0), error, F32);
            let stored = value.stored(F16, true);
            (stored.approximate, stored.error)
        };
        assert_eq!(answered(step * 0.16), (1.0, 0.0));
        assert_eq!(answered(step * 0.17), (1.0, step));
        assert_eq!(answered(step * 0.9), (1.0, step));
        let largest = Tracked::new(Real::from(65504.0), 20.0, F32);
        assert_eq!(largest.stored(F16, true).error, f64::INFINITY, "it may overflow");
    }

    #[test]
    fn exact_zeros_stay_exact() {
        let zero = &single(0.0) * &single(3.5);
        for to_nearest in [true, false] {
            assert_eq!((zero.error, zero.stored(F32, to_nearest).error), (0.0, 0.0));
        }
    }
}
