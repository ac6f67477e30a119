//! Sums whose value depends on the numbers and their order, and on nothing else.
//!
//! A channel's n values come in pieces of [`PIECE`](crate::layout::PIECE), in
//! logical order. Within a piece, value k goes to lane k mod 8: eight sums that
//! do not wait for each other, which is what a vector unit wants. The lanes meet
//! in a fixed tree, and the pieces in an unevaluated [`Pair`], one after the
//! other. (This is the order of tiles. The kernels have their own, written down in
//! [`crate::kernels::reduce`].)
//!
//! How wrong: with f32 and narrower values, a lane adds 16 values and the tree
//! three levels, so a piece is within 19·2⁻⁵³ of Σ|terms|, and adding the pieces
//! exactly adds nothing to that. f64 values deserve better than 19 units in the
//! last place, so their lanes are pairs too (Neumaier's compensated sum): one
//! rounding of the result, and n²·2⁻¹⁰⁶ beside it.

use crate::dtype::{DType, Element};

/// How many sums run side by side. Eight f64 fill one AVX-512 register, two of AVX.
const LANES: usize = 8;

/// An unevaluated sum hi + lo, with |lo| about half a unit in the last place of hi.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pair {
    pub hi: f64,
    pub lo: f64,
}

/// a + b = hi + lo exactly (Knuth), unless the sum overflows.
pub(crate) fn two_sum(a: f64, b: f64) -> Pair {
    let hi = a + b;
    let b_seen = hi - a;
    let lo = (a - (hi - b_seen)) + (b - b_seen);
    Pair { hi, lo }
}

impl Pair {
    /// Adds a number, keeping what rounding would drop.
    pub fn add(&mut self, value: f64) {
        let sum = two_sum(self.hi, value);
        self.hi = sum.hi;
        self.lo += sum.lo;
    }

    /// Adds another pair.
    pub fn merge(&mut self, other: Pair) {
        self.add(other.hi);
        self.lo += other.lo;
    }

    /// The nearest single number. Where `hi` is infinite or NaN, `lo` is an
    /// artefact of ∞ − ∞ and says nothing.
    pub fn value(self) -> f64 {
        if self.hi.is_finite() { self.hi + self.lo } else { self.hi }
    }
}

/// Adds the K terms of each of the `len` values of a piece to K totals.
pub(crate) fn accumulate<T: Element, const K: usize>(
    totals: &mut [Pair; K],
    len: usize,
    term: impl Fn(usize) -> [f64; K],
) {
    match T::DTYPE {
        DType::F64 => accumulate_lanes(totals, len, term, [[Pair::default(); LANES]; K], add_pairs),
        _ => accumulate_lanes(totals, len, term, [[0.0; LANES]; K], add_tree),
    }
}

/// A lane: an f64, or a pair.
trait Lane: Copy {
    fn put(&mut self, value: f64);
}

impl Lane for f64 {
    fn put(&mut self, value: f64) {
        *self += value;
    }
}

impl Lane for Pair {
    fn put(&mut self, value: f64) {
        self.add(value);
    }
}

fn accumulate_lanes<L: Lane, const K: usize>(
    totals: &mut [Pair; K],
    len: usize,
    term: impl Fn(usize) -> [f64; K],
    mut lanes: [[L; LANES]; K],
    join: impl Fn(&mut Pair, &[L; LANES]),
) {
    let mut row = |first: usize, count: usize| {
        for lane in 0..count {
            let terms = term(first + lane);
            lanes.iter_mut().zip(terms).for_each(|(lanes, term)| lanes[lane].put(term));
        }
    };
    let whole = len - len % LANES;
    (0..whole).step_by(LANES).for_each(|first| row(first, LANES));
    row(whole, len - whole);
    for k in 0..K {
        join(&mut totals[k], &lanes[k]);
    }
}

fn add_tree(total: &mut Pair, lanes: &[f64; LANES]) {
    let [a, b, c, d, e, f, g, h] = lanes;
    total.add(((a + e) + (c + g)) + ((b + f) + (d + h)));
}

fn add_pairs(total: &mut Pair, lanes: &[Pair; LANES]) {
    lanes.iter().for_each(|lane| total.merge(*lane));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum<T: Element>(values: &[f64]) -> f64 {
        let mut totals = [Pair::default()];
        for piece in values.chunks(crate::layout::PIECE) {
            accumulate::<T, 1>(&mut totals, piece.len(), |k| [piece[k]]);
        }
        totals[0].value()
    }

    #[test]
    fn f64_sums_survive_cancellation_that_a_plain_sum_does_not() {
        let values: Vec<f64> = (0..1000).flat_map(|i| [1e16, 1.0 + i as f64 / 8.0, -1e16]).collect();
        let exact = 1000.0 + 499_500.0 / 8.0;
        assert_eq!(sum::<f64>(&values), exact);
        assert_ne!(values.iter().sum::<f64>(), exact, "the test would not tell the two apart");
    }

    #[test]
    fn every_length_around_the_lanes_and_pieces_counts_every_value_once() {
        for len in (0..40).chain([127, 128, 129, 255, 256, 257, 1000]) {
            let values: Vec<f64> = (1..=len).map(|i| i as f64).collect();
            let exact = (len * (len + 1) / 2) as f64;
            assert_eq!((sum::<f32>(&values), sum::<f64>(&values)), (exact, exact), "len {len}");
        }
    }

    #[test]
    fn infinities_stay_and_opposite_ones_make_nan() {
        for (values, expected) in [
            (vec![1.0, f64::INFINITY, 2.0], f64::INFINITY),
            (vec![1.0, f64::NEG_INFINITY], f64::NEG_INFINITY),
        ] {
            assert_eq!(sum::<f64>(&values), expected);
            assert_eq!(sum::<f32>(&values), expected);
        }
        assert!(sum::<f64>(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
        assert!(sum::<f32>(&[f64::NAN, 1.0]).is_nan());
    }
}
