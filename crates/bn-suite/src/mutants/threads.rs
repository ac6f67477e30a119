//! Vectors and threads: tails that are no multiple of the vector, partial sums
//! that are lost or counted twice, and faults that show only above a size.

use super::{Mutant, mutant};
use crate::case::State;
use crate::engines::textbook::formulas::{self, Channel, Statistics};
use crate::engines::textbook::module;
use crate::engines::textbook::recipe::{Context, Recipe};

pub(super) fn mutants() -> Vec<Mutant> {
    [tails(), partial_sums(), outputs(), channels()].into_iter().flatten().collect()
}

/// The first values that fill vectors of `lanes` whole; all of them where there is not one.
fn whole_vectors(values: &[f64], lanes: usize) -> &[f64] {
    if values.len() < lanes { values } else { &values[..values.len() / lanes * lanes] }
}

fn tails() -> Vec<Mutant> {
    vec![
        mutant!("tail-of-2-lost", "sums of an odd number of terms lose the last one", "", {
            fn sum(&self, values: &[f64], _cx: &Context) -> f64 {
                formulas::sum(whole_vectors(values, 2))
            }
        }),
        mutant!("tail-of-4-lost", "sums lose what is left over after vectors of 4", "", {
            fn sum(&self, values: &[f64], _cx: &Context) -> f64 {
                formulas::sum(whole_vectors(values, 4))
            }
        }),
        mutant!("tail-of-8-lost", "sums lose what is left over after vectors of 8", "", {
            fn sum(&self, values: &[f64], _cx: &Context) -> f64 {
                formulas::sum(whole_vectors(values, 8))
            }
        }),
        mutant!("tail-of-16-lost", "sums lose what is left over after vectors of 16", "", {
            fn sum(&self, values: &[f64], _cx: &Context) -> f64 {
                formulas::sum(whole_vectors(values, 16))
            }
        }),
        mutant!("tail-of-64-lost", "sums lose what is left over after blocks of 64", "", {
            fn sum(&self, values: &[f64], _cx: &Context) -> f64 {
                formulas::sum(whole_vectors(values, 64))
            }
        }),
        mutant!("tail-of-8-overlaps", "the last vector of 8 is moved back to fit and counted twice", "", {
            fn sum(&self, values: &[f64], _cx: &Context) -> f64 {
                let whole = whole_vectors(values, 8);
                match values.len() - whole.len() {
                    0 => formulas::sum(values),
                    _ => formulas::sum(whole) + formulas::sum(&values[values.len() - 8..]),
                }
            }
        }),
        mutant!(
            "tail-of-rows-lost",
            "a row whose length is no multiple of 4 loses its tail in the mean",
            "",
            {
                fn mean(&self, x: &[f64], cx: &Context) -> (f64, f64) {
                    let row = cx.extents().spatial.max(1);
                    let kept: Vec<f64> =
                        x.chunks(row).flat_map(|row| whole_vectors(row, 4)).copied().collect();
                    (self.sum(&kept, cx) / x.len() as f64, 0.0)
                }
            }
        ),
        mutant!("tree-of-halves", "a tree that folds halves loses the middle of an odd number", "", {
            fn sum(&self, values: &[f64], _cx: &Context) -> f64 {
                let mut level = values.to_vec();
                while level.len() > 1 {
                    let half = level.len() / 2;
                    level = (0..half).map(|i| level[i] + level[i + half]).collect();
                }
                level.first().copied().unwrap_or(0.0)
            }
        }),
    ]
}

fn partial_sums() -> Vec<Mutant> {
    vec![
        mutant!(
            "last-partial-sum-lost",
            "above 256 terms, blocks of 256: the last block's sum is not added",
            "",
            {
                fn sum(&self, values: &[f64], _cx: &Context) -> f64 {
                    let kept = if values.len() > 256 { (values.len() - 1) / 256 * 256 } else { values.len() };
                    formulas::sum(&values[..kept])
                }
            }
        ),
        mutant!(
            "first-partial-sum-only",
            "above 512 terms, two threads: only one partial sum is answered",
            "",
            {
                fn sum(&self, values: &[f64], _cx: &Context) -> f64 {
                    let kept = if values.len() > 512 { values.len() / 2 } else { values.len() };
                    formulas::sum(&values[..kept])
                }
            }
        ),
        mutant!(
            "boundary-counted-twice",
            "above 256 terms, two threads both add the term at the boundary",
            "",
            {
                fn sum(&self, values: &[f64], _cx: &Context) -> f64 {
                    let twice = if values.len() > 256 { values[values.len() / 2] } else { 0.0 };
                    formulas::sum(values) + twice
                }
            }
        ),
        mutant!(
            "channel-added-by-two-threads",
            "above 1000 terms, a thread's first 8 terms are added twice",
            "",
            {
                fn sum(&self, values: &[f64], _cx: &Context) -> f64 {
                    let again = if values.len() > 1000 { &values[..8] } else { &[] };
                    formulas::sum(values) + formulas::sum(again)
                }
            }
        ),
        mutant!(
            "variances-averaged-over-blocks",
            "above 128 values, the variance is the mean of two halves' own variances",
            "",
            {
                fn var_biased(&self, x: &[f64], mean: f64, rest: f64, cx: &Context) -> f64 {
                    if x.len() <= 128 {
                        return formulas::var_biased(self, x, mean, rest, cx);
                    }
                    let (left, right) = x.split_at(x.len() / 2);
                    let var = |half: &[f64]| {
                        let (mean, rest) = formulas::mean(self, half, cx);
                        formulas::var_biased(self, half, mean, rest, cx) * half.len() as f64
                    };
                    (var(left) + var(right)) / x.len() as f64
                }
            }
        ),
        mutant!(
            "gradient-sum-lost-when-large",
            "above 256 terms, grad_bias misses the last block of 256",
            "",
            {
                fn grad_bias(&self, _channel: &Channel, g: &[f64], cx: &Context) -> f64 {
                    let kept = if g.len() > 256 { (g.len() - 1) / 256 * 256 } else { g.len() };
                    self.sum(&g[..kept], cx)
                }
            }
        ),
    ]
}

fn outputs() -> Vec<Mutant> {
    vec![
        mutant!("output-tail-untouched", "the tail of a row after vectors of 4 keeps the input", "", {
            fn output(
                &self,
                x: &[f64],
                statistics: &Statistics,
                weight: Option<f64>,
                bias: Option<f64>,
                cx: &Context,
            ) -> Vec<f64> {
                let mut y = self.affine(&self.normalise(x, statistics, cx), weight, bias, cx);
                let tail = whole_vectors(x, 4).len();
                y[tail..].copy_from_slice(&x[tail..]);
                y
            }
        }),
        mutant!("output-tail-without-bias", "the tail of a channel after vectors of 8 gets no bias", "", {
            fn affine(
                &self,
                x_hat: &[f64],
                weight: Option<f64>,
                bias: Option<f64>,
                _cx: &Context,
            ) -> Vec<f64> {
                let (vectors, tail) = x_hat.split_at(whole_vectors(x_hat, 8).len());
                [formulas::affine(vectors, weight, bias), formulas::affine(tail, weight, None)].concat()
            }
        }),
        mutant!("grad-input-tail-zero", "the tail of grad_input after vectors of 8 is left at 0", "", {
            fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                let mut input = formulas::grad_input(self, channel, g, cx);
                input[whole_vectors(g, 8).len()..].fill(0.0);
                input
            }
        }),
        mutant!("output-beyond-256-stale", "only the first 256 values of a channel are normalised", "", {
            fn normalise(&self, x: &[f64], statistics: &Statistics, cx: &Context) -> Vec<f64> {
                let mut x_hat = formulas::normalise(self, x, statistics, cx);
                x_hat.iter_mut().skip(256).for_each(|value| *value = 0.0);
                x_hat
            }
        }),
    ]
}

fn channels() -> Vec<Mutant> {
    vec![
        mutant!("channels-beyond-16-wrap", "channel 16 and up are normalised by channel c mod 16", "", {
            fn statistics(&self, state: &State, values: &[f64], cx: &Context) -> Vec<Statistics> {
                let all = module::statistics(self, state, values, cx);
                (0..all.len()).map(|c| all[c % 16]).collect()
            }
        }),
        mutant!(
            "odd-channel-shares",
            "the last of an odd number of channels gets its neighbour's mean",
            "",
            {
                fn statistics(&self, state: &State, values: &[f64], cx: &Context) -> Vec<Statistics> {
                    let mut all = module::statistics(self, state, values, cx);
                    if let (&mut [.., before, ref mut last], true) =
                        (all.as_mut_slice(), cx.extents().channels % 2 == 1)
                    {
                        last.mean = before.mean;
                    }
                    all
                }
            }
        ),
        mutant!("channels-beyond-4-unweighted", "from the fifth channel on the weight is taken as 1", "", {
            fn affine(
                &self,
                x_hat: &[f64],
                weight: Option<f64>,
                bias: Option<f64>,
                cx: &Context,
            ) -> Vec<f64> {
                formulas::affine(x_hat, if cx.channel < 4 { weight } else { None }, bias)
            }
        }),
    ]
}
