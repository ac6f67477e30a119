//! The number types that variants compute in: f32, f64, and a pair of f64.

use std::fmt::Debug;
use std::ops::{Add, Div, Mul, Sub};

use super::double::Double;

/// A floating-point type whose operations are rounded to nearest.
pub(super) trait Float:
    Copy
    + Debug
    + PartialOrd
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + 'static
{
    /// A type with at least twice the digits, where there is one.
    type Wider: Float;

    /// The nearest value.
    fn from_f64(value: f64) -> Self;

    /// The value as a sum of two f64; the second is 0 for types that one f64 holds.
    fn parts(self) -> (f64, f64);

    /// √self.
    fn sqrt(self) -> Self;

    /// self·a + b, rounded once.
    fn mul_add(self, a: Self, b: Self) -> Self;

    /// 0.
    fn zero() -> Self {
        Self::from_f64(0.0)
    }

    /// 1.
    fn one() -> Self {
        Self::from_f64(1.0)
    }

    /// The nearest f64.
    fn to_f64(self) -> f64 {
        let (high, low) = self.parts();
        high + low
    }

    /// |self|.
    fn abs(self) -> Self {
        if self < Self::zero() { Self::zero() - self } else { self }
    }

    /// The same value with more digits.
    fn widen(self) -> Self::Wider {
        let (high, low) = self.parts();
        Self::Wider::from_f64(high) + Self::Wider::from_f64(low)
    }

    /// The value of this type nearest to a wider one.
    fn narrow(wide: Self::Wider) -> Self {
        let (high, low) = wide.parts();
        Self::from_f64(high) + Self::from_f64(low)
    }
}

impl Float for f32 {
    type Wider = f64;

    fn from_f64(value: f64) -> Self {
        value as f32
    }

    fn parts(self) -> (f64, f64) {
        (f64::from(self), 0.0)
    }

    fn sqrt(self) -> Self {
        f32::sqrt(self)
    }

    fn mul_add(self, a: Self, b: Self) -> Self {
        f32::mul_add(self, a, b)
    }
}

impl Float for f64 {
    type Wider = Double;

    fn from_f64(value: f64) -> Self {
        value
    }

    fn parts(self) -> (f64, f64) {
        (self, 0.0)
    }

    fn sqrt(self) -> Self {
        f64::sqrt(self)
    }

    fn mul_add(self, a: Self, b: Self) -> Self {
        f64::mul_add(self, a, b)
    }
}
