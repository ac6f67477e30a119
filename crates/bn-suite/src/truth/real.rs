//! Real numbers with 256 bits, extended by NaN and the infinities.
//!
//! Truth needs more precision than any engine, and the same answer to special
//! values as IEEE 754: ∞ − ∞ is NaN, 0·∞ is NaN, √(−1) is NaN, and one NaN in a
//! sum is a NaN. Signed zeros are not told apart: no expected value of batch
//! norm depends on one.

use std::cmp::Ordering;
use std::ops::{Add, Div, Mul, Neg, Sub};

use dashu_float::FBig;
use dashu_float::round::mode::HalfEven;

/// The truth's precision. Each operation rounds to a relative 2⁻²⁵⁶; the widest
/// dtype needs 53 bits, so that some 200 are left for cancellation.
pub const PRECISION_BITS: usize = 256;

/// A finite number of [`PRECISION_BITS`] bits.
pub type Finite = FBig<HalfEven, 2>;

/// An extended real number.
#[derive(Clone, Debug)]
pub enum Real {
    /// Not a number.
    Nan,
    /// +∞ when true, −∞ when false.
    Infinite(bool),
    /// An ordinary number.
    Finite(Finite),
}

use Real::{Infinite, Nan};

impl From<f64> for Real {
    /// Exact.
    fn from(value: f64) -> Self {
        match value {
            v if v.is_nan() => Nan,
            v if v.is_infinite() => Infinite(v > 0.0),
            v => Real::Finite(exact(v)),
        }
    }
}

fn exact(value: f64) -> Finite {
    let big = Finite::try_from(value).expect("a finite f64 is a binary number");
    big.with_precision(PRECISION_BITS).value()
}

impl Real {
    /// A whole number, exactly.
    pub fn whole(n: usize) -> Self {
        Real::Finite(Finite::from(n).with_precision(PRECISION_BITS).value())
    }

    /// 0.
    pub fn zero() -> Self {
        Real::from(0.0)
    }

    /// Whether this is neither NaN nor infinite.
    pub fn is_finite(&self) -> bool {
        matches!(self, Real::Finite(_))
    }

    /// −1, 0 or 1; `None` for NaN.
    pub fn signum(&self) -> Option<i8> {
        match self {
            Nan => None,
            Infinite(positive) => Some(if *positive { 1 } else { -1 }),
            Real::Finite(x) if x.repr().significand().is_zero() => Some(0),
            Real::Finite(x) => Some(if x.repr().sign() == dashu_base::Sign::Negative { -1 } else { 1 }),
        }
    }

    /// √x; NaN for what is negative.
    pub fn sqrt(&self) -> Self {
        match (self, self.signum()) {
            (_, None | Some(-1)) => Nan,
            (Real::Finite(x), Some(1)) => Real::Finite(x.sqrt()),
            _ => self.clone(),
        }
    }
}

impl Neg for Real {
    type Output = Real;
    fn neg(self) -> Real {
        match self {
            Nan => Nan,
            Infinite(positive) => Infinite(!positive),
            Real::Finite(x) => Real::Finite(-x),
        }
    }
}

impl Add for &Real {
    type Output = Real;
    fn add(self, other: &Real) -> Real {
        match (self, other) {
            (Real::Finite(a), Real::Finite(b)) => Real::Finite(a + b),
            (Nan, _) | (_, Nan) => Nan,
            (Infinite(a), Infinite(b)) if a != b => Nan,
            (Infinite(a), _) | (_, Infinite(a)) => Infinite(*a),
        }
    }
}

impl Sub for &Real {
    type Output = Real;
    fn sub(self, other: &Real) -> Real {
        match (self, other) {
            (Real::Finite(a), Real::Finite(b)) => Real::Finite(a - b),
            _ => self + &-other.clone(),
        }
    }
}

impl Mul for &Real {
    type Output = Real;
    fn mul(self, other: &Real) -> Real {
        if let (Real::Finite(a), Real::Finite(b)) = (self, other) {
            return Real::Finite(a * b);
        }
        match self.signum().zip(other.signum()) {
            None | Some((0, _)) | Some((_, 0)) => Nan,
            Some((a, b)) => Infinite(a == b),
        }
    }
}

impl Div for &Real {
    type Output = Real;
    /// A zero divisor counts as +0: batch norm divides by nothing but roots and counts.
    fn div(self, other: &Real) -> Real {
        match (self, other, self.signum().zip(other.signum())) {
            (_, _, None) => Nan,
            (_, _, Some((0, 0))) | (Infinite(_), Infinite(_), _) => Nan,
            (_, _, Some((a, 0))) => Infinite(a > 0),
            (Real::Finite(a), Real::Finite(b), _) => Real::Finite(a / b),
            (Real::Finite(_), Infinite(_), _) => Real::zero(),
            (_, _, Some((a, b))) => Infinite(a == b),
        }
    }
}

impl PartialEq for Real {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Real {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let difference = match (self, other) {
            (Infinite(a), Infinite(b)) if a == b => Some(0),
            _ => (self - other).signum(),
        };
        difference.map(|sign| sign.cmp(&0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair of special and ordinary values, against IEEE 754 itself.
    #[test]
    fn special_values_follow_ieee() {
        let values = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, 2.0, -3.0];
        for a in values {
            for b in values {
                let (x, y) = (Real::from(a), Real::from(b));
                assert_same(&(&x + &y), a + b, "+", a, b);
                assert_same(&(&x - &y), a - b, "-", a, b);
                assert_same(&(&x * &y), a * b, "*", a, b);
                assert_same(&(&x / &y), a / b, "/", a, b);
            }
            assert_same(&Real::from(a).sqrt(), if a == 2.0 { f64::NAN } else { a.sqrt() }, "sqrt", a, a);
        }
    }

    fn assert_same(got: &Real, expected: f64, op: &str, a: f64, b: f64) {
        match got {
            Nan => assert!(expected.is_nan() || (op == "sqrt" && a < 0.0), "{a} {op} {b}"),
            Infinite(positive) => {
                assert!(expected.is_infinite() && (expected > 0.0) == *positive, "{a} {op} {b}")
            }
            // √2 and 2/−3 have no f64: their square and product are compared below.
            Real::Finite(_) if op == "sqrt" || (op == "/" && a != 0.0 && b.is_finite()) => {}
            Real::Finite(_) => assert!(*got == Real::from(expected), "{a} {op} {b}"),
        }
    }

    #[test]
    fn roots_and_quotients_have_256_bits() {
        let two = Real::from(2.0);
        let error = &(&two.sqrt() * &two.sqrt()) - &two;
        let bound = Real::from(2f64.powi(-253));
        assert!(error < bound && -error < bound);
        let third = &Real::from(1.0) / &Real::from(3.0);
        assert!(&(&third * &Real::from(3.0)) - &Real::from(1.0) < bound);
    }
}
