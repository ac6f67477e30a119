//! Numbers that know how far from them another implementation may be.
//!
//! The model is the usual one: an operation gives the right result times 1 + δ, |δ| ≤ u,
//! plus at most the least positive number η where it is below the normal ones. A *bounded* number is a
//! value computed in f64, and a bound on |value − what an implementation in the dtype gets|:
//! its u and that of the f64 beside it are added up.
//!
//! A sum of n terms in any order is off by at most γₙ Σ|terms|, γₙ = nu/(1 − nu) (N. J. Higham,
//! *Accuracy and Stability of Numerical Algorithms*, section 4.2). For n = 3072 that is a
//! hundred times what happens. Where roundings are independent and have mean 0, it is at most
//! exp(λ√n·u + nu²/(1 − u)) − 1, except with a probability below 2·exp(−λ²(1 − u)²/2) (N. J. Higham
//! and T. Mary, *A new approach to probabilistic rounding error analysis*, 2019, theorem 2.4); with
//! λ = 8, below 3·10⁻¹⁴ for each sum. The smaller of the two is used.

use ndarray::ArrayD;

/// λ of the probabilistic bound.
const LAMBDA: f64 = 8.0;

/// exp, ln and their kin: this many units in the last place, by those who document it
/// (glibc, SLEEF, MKL: 1 to 4).
const FUNCTION_UNITS: f64 = 4.0;

/// A value, and how far from it another implementation may be.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounded {
    /// The value, computed in f64.
    pub value: f64,
    /// The most that |value − another's| may be.
    pub bound: f64,
}

/// A value that everybody has.
pub fn exact(value: f64) -> Bounded {
    Bounded { value, bound: 0.0 }
}

impl Bounded {
    /// The largest that |another's| may be.
    pub fn most(self) -> f64 {
        self.value.abs() + self.bound
    }
}

/// The roundings of an implementation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arithmetic {
    /// The unit roundoff of its dtype, and f64's.
    pub u: f64,
    /// The least normal number of its dtype: all that may be lost below.
    pub tiny: f64,
}

impl Arithmetic {
    /// Of f32 or f64: the dtypes of these networks.
    pub fn of(dtype: batchnorm::DType) -> Self {
        let of_f64 = f64::EPSILON / 2.0;
        match dtype {
            batchnorm::DType::F64 => Arithmetic { u: 2.0 * of_f64, tiny: f64::MIN_POSITIVE },
            _ => Arithmetic { u: f64::from(f32::EPSILON) / 2.0 + of_f64, tiny: f64::from(f32::MIN_POSITIVE) },
        }
    }

    /// How far a sum of n terms, or of n products, may be off, as a part of Σ|terms|.
    pub fn sum_factor(self, n: usize) -> f64 {
        // A product rounds once more than a sum.
        let (n, u) = (n as f64 + 1.0, self.u);
        let probable = (LAMBDA * n.sqrt() * u + n * u * u / (1.0 - u)).exp_m1();
        self.certain(n).min(probable)
    }

    /// γₙ.
    fn certain(self, n: f64) -> f64 {
        let u = self.u;
        if n * u < 0.5 { n * u / (1.0 - n * u) } else { f64::INFINITY }
    }

    /// This value, of which all but the last rounding is in the bound.
    pub fn rounded(self, value: f64, bound: f64) -> Bounded {
        Bounded { value, bound: bound + self.u * (value.abs() + bound) + self.tiny }
    }

    /// a + b.
    pub fn add(self, a: Bounded, b: Bounded) -> Bounded {
        self.rounded(a.value + b.value, a.bound + b.bound)
    }

    /// a − b.
    pub fn sub(self, a: Bounded, b: Bounded) -> Bounded {
        self.rounded(a.value - b.value, a.bound + b.bound)
    }

    /// a·b.
    pub fn mul(self, a: Bounded, b: Bounded) -> Bounded {
        let bound = a.value.abs() * b.bound + a.bound * b.most();
        self.rounded(a.value * b.value, bound)
    }

    /// a/b; without bound where b may be 0.
    pub fn div(self, a: Bounded, b: Bounded) -> Bounded {
        let least = b.value.abs() - b.bound;
        let value = a.value / b.value;
        let bound = if least > 0.0 { (a.bound + value.abs() * b.bound) / least } else { f64::INFINITY };
        self.rounded(value, bound)
    }

    /// √a of what is not negative.
    pub fn sqrt(self, a: Bounded) -> Bounded {
        let [low, value, high] = [a.value - a.bound, a.value, a.value + a.bound].map(|a| a.max(0.0).sqrt());
        self.rounded(value, (value - low).max(high - value))
    }

    /// 1/√(a + b) of an `a` that no implementation has below 0, and a positive `b`.
    pub fn inverse_root(self, a: Bounded, b: f64) -> Bounded {
        let [high, value, low] =
            [a.value - a.bound, a.value, a.value + a.bound].map(|a| 1.0 / (a.max(0.0) + b).sqrt());
        // A sum, half of whose rounding the root leaves, the root and the division.
        let bound = (high - value).max(value - low);
        Bounded { value, bound: bound + 3.0 * self.u * (value + bound) }
    }

    /// A function whose own value and bound were worked out, by way of exp or ln.
    pub fn function(self, value: f64, bound: f64) -> Bounded {
        Bounded { value, bound: bound + FUNCTION_UNITS * self.u * (value.abs() + bound) + self.tiny }
    }

    /// Σ of these, in any order.
    ///
    /// Equal terms round alike, not by chance: for as many as are equal, other than 0, the certain
    /// bound is taken. (After a ReLU thousands of squared deviations are the same.)
    pub fn sum(self, terms: impl Iterator<Item = Bounded>) -> Bounded {
        let terms: Vec<Bounded> = terms.collect();
        let total = |of: &dyn Fn(&Bounded) -> f64| terms.iter().map(of).sum::<f64>();
        let (n, most) = (terms.len() as f64, total(&|term| term.most()));
        let rounding = self.sum_factor(terms.len()) + self.certain(most_alike(&terms) as f64);
        let bound = total(&|term| term.bound) + rounding * most + n * self.tiny;
        Bounded { value: total(&|term| term.value), bound }
    }
}

/// How many of the terms are equal, at most; none where no two are.
fn most_alike(terms: &[Bounded]) -> usize {
    let mut values: Vec<f64> = terms.iter().map(|term| term.value).filter(|&value| value != 0.0).collect();
    values.sort_unstable_by(f64::total_cmp);
    let longest = values.chunk_by(|a, b| a == b).map(<[f64]>::len).max().unwrap_or(0);
    if longest > 1 { longest } else { 0 }
}

/// An array of bounded numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// The values.
    pub value: ArrayD<f64>,
    /// How far each may be off.
    pub bound: ArrayD<f64>,
}

impl Estimate {
    /// Values that everybody has.
    pub fn exact(value: ArrayD<f64>) -> Self {
        let bound = ArrayD::zeros(value.raw_dim());
        Estimate { value, bound }
    }
}
