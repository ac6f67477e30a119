//! Variants by the order in which they add.

use rayon::prelude::*;

use super::float::Float;
use super::kernel::{Kernel, Moments, Ordinary, by_halves, in_order};
use super::moments::{chan, in_chunks};
use super::{Variant, variant};

pub(super) fn variants() -> Vec<Variant> {
    vec![
        variant!("pairwise", "two passes; sums by halves", Ordinary),
        variant!("rows", "sums from first to last within rows of √n values, then over the rows", Rows),
        variant!("kahan", "sums with Kahan's compensation", Kahan),
        variant!(
            "neumaier",
            "sums with Neumaier's compensation, right for terms larger than the sum",
            Neumaier
        ),
        variant!("blocks-of-8", "sums of 8 values, then of 8 such sums, and so on", Blocks(8)),
        variant!("blocks-of-64", "sums of 64 values, then of 64 such sums, and so on", Blocks(64)),
        variant!("blocks-of-256", "sums of 256 values, then of 256 such sums, and so on", Blocks(256)),
        variant!("blocks-of-1000", "sums of 1000 values, then of 1000 such sums, and so on", Blocks(1000)),
        variant!("backwards", "sums of 64 values from last to first, then of 64 such sums", Backwards),
        variant!(
            "lanes",
            "sums in interleaved lanes of at most 256 values, as a channels-last kernel adds",
            Lanes
        ),
        variant!(
            "threads-2",
            "2 threads, each with its part of the channel; parts merged in order",
            Threads(2)
        ),
        variant!(
            "threads-3",
            "3 threads, each with its part of the channel; parts merged in order",
            Threads(3)
        ),
        variant!(
            "threads-7",
            "7 threads, each with its part of the channel; parts merged in order",
            Threads(7)
        ),
        variant!(
            "threads-64",
            "64 threads, each with its part of the channel; parts merged in order",
            Threads(64)
        ),
    ]
}

struct Rows;

impl<F: Float> Kernel<F> for Rows {
    fn sum(&self, values: &[F]) -> F {
        let row = (values.len() as f64).sqrt().ceil().max(1.0) as usize;
        in_order(values.chunks(row).map(|row| in_order(row.iter().copied())))
    }
}

struct Kahan;

impl<F: Float> Kernel<F> for Kahan {
    /// What the last addition lost is taken from the next term.
    fn sum(&self, values: &[F]) -> F {
        let (mut total, mut lost) = (F::zero(), F::zero());
        for &value in values {
            let term = value - lost;
            let next = total + term;
            lost = (next - total) - term;
            total = next;
        }
        total
    }
}

struct Neumaier;

impl<F: Float> Kernel<F> for Neumaier {
    /// What every addition lost is summed apart, and added at the end.
    fn sum(&self, values: &[F]) -> F {
        let (mut total, mut lost) = (F::zero(), F::zero());
        for &value in values {
            let next = total + value;
            let (large, small) = if total.abs() >= value.abs() { (total, value) } else { (value, total) };
            lost = lost + ((large - next) + small);
            total = next;
        }
        total + lost
    }
}

/// Block sums of block sums.
struct Blocks(usize);

impl<F: Float> Kernel<F> for Blocks {
    fn sum(&self, values: &[F]) -> F {
        if values.len() <= self.0 {
            return in_order(values.iter().copied());
        }
        let sums: Vec<F> = values.chunks(self.0).map(|block| in_order(block.iter().copied())).collect();
        self.sum(&sums)
    }
}

struct Backwards;

impl<F: Float> Kernel<F> for Backwards {
    fn sum(&self, values: &[F]) -> F {
        if values.len() <= 64 {
            return in_order(values.iter().rev().copied());
        }
        let sums: Vec<F> = values.rchunks(64).map(|block| in_order(block.iter().rev().copied())).collect();
        self.sum(&sums)
    }
}

struct Lanes;

impl<F: Float> Kernel<F> for Lanes {
    /// Lane k adds the values k, k + L, k + 2L, …
    fn sum(&self, values: &[F]) -> F {
        let lanes = values.len().div_ceil(256).max(16);
        let mut sums = vec![F::zero(); lanes];
        for row in values.chunks(lanes) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum = *sum + value;
            }
        }
        by_halves(&sums)
    }
}

/// As many threads; each finds the moments of its part, and so on for the sums.
struct Threads(usize);

impl Threads {
    fn part(&self, len: usize) -> usize {
        len.div_ceil(self.0).max(1)
    }
}

impl<F: Float> Kernel<F> for Threads {
    fn sum(&self, values: &[F]) -> F {
        let sums: Vec<F> = values.par_chunks(self.part(values.len())).map(by_halves).collect();
        in_order(sums)
    }

    fn moments(&self, x: &[F]) -> Moments<F> {
        in_chunks(x, self.part(x.len()), |part| Ordinary.moments(part))
    }

    fn merged(&self, parts: &[Vec<F>]) -> Moments<F> {
        parts.iter().map(|part| self.moments(part)).fold(Moments::none(), chan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{self, Replay, Verdict};
    use crate::{catalogue, fixtures};

    /// Sums from the first value to the last, as burn 0.22 has them.
    struct Recursion;

    impl<F: Float> Kernel<F> for Recursion {
        fn sum(&self, values: &[F]) -> F {
            in_order(values.iter().copied())
        }
    }

    /// Plain recursion is no variant: it is right up to a size. The suite lets it
    /// pass where its sums are as good as those of others, and nowhere else.
    #[test]
    fn plain_recursion_is_refused_where_it_loses_the_mean() {
        let recursion = variant!("recursion", "sums from first to last", Recursion);
        let mut engine = recursion.engine();
        let mut refused = Vec::new();
        for entry in catalogue::all().iter().filter(|entry| entry.case.name.starts_with("accuracy/")) {
            let report = check::check(&fixtures::solve(entry), engine.as_mut(), &Replay::named("recursion"));
            if !matches!(report.verdict, Verdict::Passed { .. }) {
                refused.push(report.case);
            }
        }
        assert_eq!(refused, ["accuracy/four-million-of-mean-100"]);
    }
}
