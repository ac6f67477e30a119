//! Element by element: |got − expected| ≤ allowance.

use super::failure::Fault;
use super::{Worst, multi_index};
use crate::golden::ExpectedField;
use crate::outcome::Field;
use crate::tensor::Tensor;

/// One element of an answer beside the truth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// Which element, in row-major order.
    pub index: usize,
    /// What the engine answered.
    pub got: f64,
    /// The truth.
    pub expected: f64,
    /// How far apart the two may be.
    pub allowance: f64,
}

impl Difference {
    /// |got − expected|: 0 for equal values (NaN equals NaN here, and −0 equals
    /// 0), infinite where only one of the two is NaN.
    pub fn distance(&self) -> f64 {
        match (self.got, self.expected) {
            (got, expected) if got == expected || (got.is_nan() && expected.is_nan()) => 0.0,
            (got, expected) if got.is_nan() || expected.is_nan() => f64::INFINITY,
            (got, expected) => (got - expected).abs(),
        }
    }

    /// |got − expected| / allowance, where 0/0 is 0, and where an element of which
    /// nothing is promised has 0 while it is right.
    pub fn ratio(&self) -> f64 {
        match self.distance() {
            0.0 => 0.0,
            _ if self.is_unpromised() => {
                if self.is_right() {
                    0.0
                } else {
                    f64::INFINITY
                }
            }
            distance => distance / self.allowance,
        }
    }

    /// Whether the element is within its allowance. Compared as a difference and
    /// not as a ratio, whose division could round to 1. An infinite allowance
    /// promises one thing only: that NaN or an infinity comes out as one of them.
    pub fn is_right(&self) -> bool {
        match self.is_unpromised() {
            true => self.expected.is_finite() || !self.got.is_finite(),
            false => self.distance() <= self.allowance,
        }
    }

    fn is_unpromised(&self) -> bool {
        self.allowance == f64::INFINITY
    }
}

/// Every element of `got` beside its truth. The two must have the same shape.
pub fn differences<'a>(
    expected: &'a ExpectedField,
    got: &'a Tensor,
) -> impl Iterator<Item = Difference> + 'a {
    let truths = expected.value.data.iter().zip(&expected.allowance);
    got.data.iter().zip(truths).enumerate().map(|(index, (&got, (&expected, &allowance)))| Difference {
        index,
        got,
        expected,
        allowance,
    })
}

/// The fault of an array, if any element is wrong, and its worst element.
pub(super) fn summarise(
    step: usize,
    field: Field,
    expected: &ExpectedField,
    got: &Tensor,
) -> (Option<Fault>, Option<Worst>) {
    // Wrong before right: a difference that is wrong by one rounding has ratio 1.
    let mut worst: Option<((bool, f64), Difference)> = None;
    let mut failing = 0;
    for difference in differences(expected, got) {
        let is_wrong = !difference.is_right();
        failing += usize::from(is_wrong);
        let rank = (is_wrong, difference.ratio());
        if worst.is_none_or(|(highest, _)| rank > highest) {
            worst = Some((rank, difference));
        }
    }
    let place = worst.map(|((_, ratio), worst)| Worst { step, field, index: worst.index, ratio });
    let fault = worst.filter(|_| failing > 0).map(|(_, worst)| Fault::Elements {
        field,
        dtype: got.dtype,
        multi_index: multi_index(worst.index, &got.shape),
        worst,
        failing,
        elements: got.data.len(),
    });
    (fault, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(got: f64, expected: f64, allowance: f64) -> Difference {
        Difference { index: 0, got, expected, allowance }
    }

    #[test]
    fn the_allowance_itself_is_still_allowed() {
        assert!(difference(1.25, 1.0, 0.25).is_right());
        assert!(!difference(1.25_f64.next_up(), 1.0, 0.25).is_right());
    }

    #[test]
    fn nan_only_for_nan() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        assert!(difference(nan, nan, 0.0).is_right());
        for (got, expected) in [(nan, 1.0), (1.0, nan), (nan, inf), (inf, nan)] {
            assert!(!difference(got, expected, 1e300).is_right(), "{got} for {expected}");
            assert_eq!(difference(got, expected, 1e300).ratio(), inf);
        }
    }

    #[test]
    fn infinities_by_sign() {
        let inf = f64::INFINITY;
        assert!(difference(inf, inf, 0.0).is_right());
        assert!(difference(-inf, -inf, 0.0).is_right());
        for (got, expected) in [(inf, -inf), (-inf, inf), (f64::MAX, inf), (inf, f64::MAX)] {
            assert!(!difference(got, expected, 1e300).is_right(), "{got} for {expected}");
        }
    }

    /// Nothing is promised of the value, but that an infinity or NaN stays one of them.
    #[test]
    fn an_infinite_allowance_promises_nothing_of_a_finite_value() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        for got in [0.0, -1e300, nan, -inf] {
            assert!(difference(got, 1.0, inf).is_right(), "{got}");
            assert_eq!(difference(got, 1.0, inf).ratio(), 0.0, "{got}");
        }
        for expected in [inf, nan] {
            assert!([inf, -inf, nan].iter().all(|&got| difference(got, expected, inf).is_right()));
            assert!(!difference(1e300, expected, inf).is_right());
            assert_eq!(difference(1e300, expected, inf).ratio(), inf);
        }
    }

    #[test]
    fn zero_allowance_wants_equality_and_takes_either_zero() {
        assert!(difference(-0.0, 0.0, 0.0).is_right());
        assert_eq!(difference(0.0, 0.0, 0.0).ratio(), 0.0);
        assert!(!difference(5e-324, 0.0, 0.0).is_right());
        assert_eq!(difference(5e-324, 0.0, 0.0).ratio(), f64::INFINITY);
    }
}
