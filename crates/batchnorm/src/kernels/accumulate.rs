//! What the lanes of a sum are added up in.

use super::simd::{LANES, Simd};
use crate::sum::Pair;

/// A sum in each lane.
pub trait Accumulator<S: Simd>: Copy {
    /// 0 in each lane.
    fn zero(simd: S) -> Self;
    /// Adds a vector.
    fn add(&mut self, simd: S, v: S::V);
    /// Adds a·b.
    fn add_product(&mut self, simd: S, a: S::V, b: S::V);
    /// The lanes of two, as one sum.
    fn total(self, other: Self, simd: S) -> Pair;
    /// Each lane as a sum of its own.
    fn lanes(self, simd: S) -> [Pair; LANES];
}

/// An f64 in each lane.
#[derive(Clone, Copy)]
pub struct Plain<V>(V);

impl<S: Simd> Accumulator<S> for Plain<S::V> {
    #[inline(always)]
    fn zero(simd: S) -> Self {
        Plain(simd.splat(0.0))
    }
    #[inline(always)]
    fn add(&mut self, simd: S, v: S::V) {
        self.0 = simd.add(self.0, v);
    }
    #[inline(always)]
    fn add_product(&mut self, simd: S, a: S::V, b: S::V) {
        self.0 = simd.mul_add(a, b, self.0);
    }
    #[inline(always)]
    fn total(self, other: Self, simd: S) -> Pair {
        let [a, b, c, d, e, f, g, h] = simd.lanes(simd.add(self.0, other.0));
        Pair { hi: ((a + e) + (c + g)) + ((b + f) + (d + h)), lo: 0.0 }
    }
    #[inline(always)]
    fn lanes(self, simd: S) -> [Pair; LANES] {
        simd.lanes(self.0).map(|hi| Pair { hi, lo: 0.0 })
    }
}

/// An unevaluated pair in each lane: what an addition or a product rounds off is
/// kept (Knuth's two-sum; Ogita, Rump and Oishi's dot product).
#[derive(Clone, Copy)]
pub struct Compensated<V> {
    hi: V,
    lo: V,
}

impl<S: Simd> Accumulator<S> for Compensated<S::V> {
    #[inline(always)]
    fn zero(simd: S) -> Self {
        Compensated { hi: simd.splat(0.0), lo: simd.splat(0.0) }
    }
    #[inline(always)]
    fn add(&mut self, simd: S, v: S::V) {
        let hi = simd.add(self.hi, v);
        let seen = simd.sub(hi, self.hi);
        let lost = simd.add(simd.sub(self.hi, simd.sub(hi, seen)), simd.sub(v, seen));
        *self = Compensated { hi, lo: simd.add(self.lo, lost) };
    }
    #[inline(always)]
    fn add_product(&mut self, simd: S, a: S::V, b: S::V) {
        let product = simd.mul(a, b);
        let lost = simd.mul_add(a, b, simd.sub(simd.splat(0.0), product));
        Accumulator::<S>::add(self, simd, product);
        self.lo = simd.add(self.lo, lost);
    }
    #[inline(always)]
    fn total(self, other: Self, simd: S) -> Pair {
        let mut sum = Pair::default();
        let all = [Accumulator::<S>::lanes(self, simd), Accumulator::<S>::lanes(other, simd)];
        all.iter().flatten().for_each(|lane| sum.merge(*lane));
        sum
    }
    #[inline(always)]
    fn lanes(self, simd: S) -> [Pair; LANES] {
        let (hi, lo) = (simd.lanes(self.hi), simd.lanes(self.lo));
        std::array::from_fn(|k| Pair { hi: hi[k], lo: lo[k] })
    }
}
