//! Double-double: a number as the sum of two f64, some 106 bits (Dekker 1971;
//! Hida, Li and Bailey, *Library for Double-Double and Quad-Double Arithmetic*).

use std::cmp::Ordering;
use std::ops::{Add, Div, Mul, Sub};

use super::float::Float;

/// `high + low`, with `high` the nearest f64 to the sum. Beside an infinity or NaN
/// the low part is 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Double {
    high: f64,
    low: f64,
}

impl Double {
    /// A sum whose first term is the larger one.
    fn ordered(large: f64, small: f64) -> Self {
        let high = large + small;
        if !high.is_finite() {
            return Double { high, low: 0.0 };
        }
        Double { high, low: small - (high - large) }
    }

    /// a + b without error.
    fn sum(a: f64, b: f64) -> Self {
        let high = a + b;
        if !high.is_finite() {
            return Double { high, low: 0.0 };
        }
        let of_b = high - a;
        Double { high, low: (a - (high - of_b)) + (b - of_b) }
    }

    /// a·b without error, unless it under- or overflows.
    fn product(a: f64, b: f64) -> Self {
        let high = a * b;
        if !high.is_finite() {
            return Double { high, low: 0.0 };
        }
        Double { high, low: a.mul_add(b, -high) }
    }
}

impl PartialOrd for Double {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.high.partial_cmp(&other.high)? {
            Ordering::Equal => self.low.partial_cmp(&other.low),
            unequal => Some(unequal),
        }
    }
}

impl Add for Double {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        let (high, low) = (Self::sum(self.high, other.high), Self::sum(self.low, other.low));
        let carried = Self::ordered(high.high, high.low + low.high);
        Self::ordered(carried.high, carried.low + low.low)
    }
}

impl Sub for Double {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + Double { high: -other.high, low: -other.low }
    }
}

impl Mul for Double {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        let product = Self::product(self.high, other.high);
        if product.high == 0.0 || !product.high.is_finite() {
            return product;
        }
        Self::ordered(product.high, product.low + (self.high * other.low + self.low * other.high))
    }
}

impl Div for Double {
    type Output = Self;
    /// Long division: three digits, each an f64.
    fn div(self, other: Self) -> Self {
        let first = self.high / other.high;
        if first == 0.0 || !first.is_finite() || other.high.is_infinite() {
            return Double { high: first, low: 0.0 };
        }
        let digit = |value: f64| Double { high: value, low: 0.0 };
        let rest = self - other * digit(first);
        let second = rest.high / other.high;
        let third = (rest - other * digit(second)).high / other.high;
        Self::ordered(first, second) + digit(third)
    }
}

impl Float for Double {
    type Wider = Double;

    fn from_f64(value: f64) -> Self {
        Double { high: value, low: 0.0 }
    }

    fn parts(self) -> (f64, f64) {
        (self.high, self.low)
    }

    /// One Newton step from the root in f64: r + (x − r²)/2r.
    fn sqrt(self) -> Self {
        let root = self.high.sqrt();
        if root == 0.0 || !root.is_finite() {
            return Double::from_f64(root);
        }
        let rest = self - Self::product(root, root);
        Self::ordered(root, rest.high / (2.0 * root))
    }

    fn mul_add(self, a: Self, b: Self) -> Self {
        self * a + b
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn double(value: f64) -> Double {
        Double::from_f64(value)
    }

    #[test]
    fn what_an_f64_loses_is_kept() {
        let third = double(1.0) / double(3.0);
        let rest = double(1.0) - third * double(3.0);
        assert!(rest.to_f64().abs() < 1e-31, "{rest:?}");
        assert_eq!((double(1e20) + double(1.0) - double(1e20)).to_f64(), 1.0);
        let root = double(2.0).sqrt();
        assert!((root * root - double(2.0)).to_f64().abs() < 1e-31);
    }

    #[test]
    fn infinities_and_nan_stay_what_they_are() {
        assert_eq!((double(f64::INFINITY) + double(1.0)).parts(), (f64::INFINITY, 0.0));
        assert_eq!((double(1e200) * double(-1e200)).to_f64(), f64::NEG_INFINITY);
        assert_eq!((double(1.0) / double(0.0)).to_f64(), f64::INFINITY);
        assert_eq!((double(1.0) / double(f64::INFINITY)).to_f64(), 0.0);
        assert!((double(f64::INFINITY) - double(f64::INFINITY)).to_f64().is_nan());
    }
}
