//! Variants by the types that they compute and keep in.

use super::computed::Computed;
use super::double::Double;
use super::float::Float;
use super::kernel::{Kernel, Moments, Ordinary};
use super::{Variant, variant};

pub(super) fn variants() -> Vec<Variant> {
    vec![
        Variant {
            name: "all-f64",
            how: "everything in f64, whatever the input is",
            recipe: || Computed::<_, f64, f64>::recipe(Ordinary),
        },
        Variant {
            name: "double-double",
            how: "everything in pairs of f64, some 106 bits",
            recipe: || Computed::<_, Double, Double>::recipe(Ordinary),
        },
        Variant {
            name: "double-double-for-f64",
            how: "pairs of f64 for f64, and f64 for the rest",
            recipe: || Computed::<_, f64, Double>::recipe(Ordinary),
        },
        variant!(
            "wider-sums",
            "sums in twice the digits, statistics in the parameters' precision",
            WiderSums
        ),
        Variant {
            name: "narrow-statistics",
            how: "mean and inverse deviation rounded to the parameters' dtype, be it 16 bits wide",
            recipe: || Computed::<_, f32, f64>::narrow(Ordinary),
        },
        Variant {
            name: "wider-sums-narrow-statistics",
            how: "sums in twice the digits; mean and inverse deviation rounded to the parameters' dtype",
            recipe: || Computed::<_, f32, f64>::narrow(WiderSums),
        },
    ]
}

struct WiderSums;

impl<F: Float> Kernel<F> for WiderSums {
    fn sum(&self, values: &[F]) -> F {
        F::narrow(values.iter().fold(F::Wider::zero(), |total, value| total + value.widen()))
    }

    fn dot(&self, a: &[F], b: &[F]) -> F {
        let pairs = a.iter().zip(b);
        F::narrow(pairs.fold(F::Wider::zero(), |total, (a, b)| total + a.widen() * b.widen()))
    }

    /// The mean before it is narrowed is the one that is subtracted.
    fn moments(&self, x: &[F]) -> Moments<F> {
        let n = F::Wider::from_f64(x.len() as f64);
        let mean = x.iter().fold(F::Wider::zero(), |total, x| total + x.widen()) / n;
        let squares = x.iter().map(|x| x.widen() - mean).fold(F::Wider::zero(), |total, d| total + d * d);
        Moments { n: F::narrow(n), mean: F::narrow(mean), squares: F::narrow(squares) }
    }
}
