//! The reduction goes over every axis but the channel's, and the channel's is the
//! second.

use super::{Mutant, mutant};
use crate::case::State;
use crate::engines::textbook::formulas::{self, Channel, Statistics};
use crate::engines::textbook::module;
use crate::engines::textbook::recipe::{Context, Recipe};

pub(super) fn mutants() -> Vec<Mutant> {
    [reductions(), readings(), gradients()].into_iter().flatten().collect()
}

/// The values of a channel of which only some enter the statistics.
fn statistics_of(recipe: &dyn Recipe, x: &[f64], cx: &Context, enters: impl Fn(usize) -> bool) -> Statistics {
    let some: Vec<f64> = x.iter().enumerate().filter(|(i, _)| enters(*i)).map(|(_, x)| *x).collect();
    formulas::batch_statistics(recipe, &some, cx)
}

/// Each group of values, as `group_of` a position sorts them, normalised by its own statistics.
fn normalise_by_group(
    recipe: &dyn Recipe,
    x: &[f64],
    cx: &Context,
    groups: usize,
    group_of: impl Fn(usize) -> usize,
) -> Vec<f64> {
    let mut x_hat = vec![0.0; x.len()];
    let mut places_of = vec![Vec::new(); groups];
    (0..x.len()).for_each(|place| places_of[group_of(place)].push(place));
    for places in places_of {
        let values: Vec<f64> = places.iter().map(|place| x[*place]).collect();
        let statistics = recipe.batch_statistics(&values, cx);
        let normalised = formulas::normalise(recipe, &values, &statistics, cx);
        places.iter().zip(normalised).for_each(|(place, value)| x_hat[*place] = value);
    }
    x_hat
}

fn reductions() -> Vec<Mutant> {
    vec![
        mutant!(
            "each-sample-by-itself",
            "normalises each sample by its own statistics (instance norm)",
            "",
            {
                fn normalise(&self, x: &[f64], statistics: &Statistics, cx: &Context) -> Vec<f64> {
                    let spatial = cx.extents().spatial;
                    if !cx.own_statistics || spatial < 2 {
                        return formulas::normalise(self, x, statistics, cx);
                    }
                    normalise_by_group(self, x, cx, cx.extents().batch, |place| place / spatial)
                }
            }
        ),
        mutant!(
            "over-batch-only",
            "each position in space is normalised over the batch alone",
            "NumPyNet#7",
            {
                fn normalise(&self, x: &[f64], statistics: &Statistics, cx: &Context) -> Vec<f64> {
                    let spatial = cx.extents().spatial;
                    if !cx.own_statistics || spatial < 2 {
                        return formulas::normalise(self, x, statistics, cx);
                    }
                    normalise_by_group(self, x, cx, spatial, |place| place % spatial)
                }
            }
        ),
        mutant!(
            "all-channels-together",
            "one mean and variance for the whole batch, all channels",
            "deepnet#11",
            {
                fn statistics(&self, state: &State, values: &[f64], cx: &Context) -> Vec<Statistics> {
                    let mut all = module::statistics(self, state, values, cx);
                    if cx.own_statistics && all.len() > 1 {
                        all.fill(self.batch_statistics(values, cx));
                    }
                    all
                }
            }
        ),
        mutant!("channels-in-pairs", "two neighbouring channels share one mean", "", {
            fn statistics(&self, state: &State, values: &[f64], cx: &Context) -> Vec<Statistics> {
                let mut all = module::statistics(self, state, values, cx);
                for pair in all.chunks_exact_mut(2).filter(|_| cx.own_statistics) {
                    let mean = (pair[0].mean + pair[1].mean) / 2.0;
                    pair.iter_mut().for_each(|statistics| statistics.mean = mean);
                }
                all
            }
        }),
        mutant!(
            "first-sample-only",
            "the statistics are those of the first sample, where it has several values",
            "",
            {
                fn batch_statistics(&self, x: &[f64], cx: &Context) -> Statistics {
                    let spatial = cx.extents().spatial;
                    statistics_of(self, x, cx, |place| spatial < 2 || place < spatial)
                }
            }
        ),
        mutant!(
            "last-sample-left-out",
            "the last of three or more samples does not enter the statistics",
            "",
            {
                fn batch_statistics(&self, x: &[f64], cx: &Context) -> Statistics {
                    let extents = cx.extents();
                    let end = if extents.batch > 2 { x.len() - extents.spatial } else { x.len() };
                    statistics_of(self, x, cx, |place| place < end)
                }
            }
        ),
        mutant!(
            "length-ignored-in-rank-3",
            "(N, C, L): the statistics see only the first of the L values",
            "",
            {
                fn batch_statistics(&self, x: &[f64], cx: &Context) -> Statistics {
                    let spatial = cx.extents().spatial;
                    let ignored = cx.shape.len() == 3 && cx.extents().batch > 1;
                    statistics_of(self, x, cx, |place| !ignored || place % spatial == 0)
                }
            }
        ),
        mutant!("height-ignored-in-rank-4", "(N, C, H, W): the statistics see only the first row", "", {
            fn batch_statistics(&self, x: &[f64], cx: &Context) -> Statistics {
                let spatial = cx.extents().spatial;
                let ignored = cx.shape.len() == 4 && cx.shape[3] * cx.shape[0] > 1;
                statistics_of(self, x, cx, |place| !ignored || place % spatial < cx.shape[3])
            }
        }),
        mutant!("depth-ignored-in-rank-5", "(N, C, D, H, W): the statistics see only the first of D", "", {
            fn batch_statistics(&self, x: &[f64], cx: &Context) -> Statistics {
                let spatial = cx.extents().spatial;
                let first: usize = cx.shape.iter().skip(3).product();
                let ignored = cx.shape.len() == 5 && first * cx.shape[0] > 1;
                statistics_of(self, x, cx, |place| !ignored || place % spatial < first)
            }
        }),
        mutant!(
            "rank-6-not-flattened",
            "above rank 5 the axes beyond the fifth see only their first value",
            "",
            {
                fn batch_statistics(&self, x: &[f64], cx: &Context) -> Statistics {
                    let beyond = cx.shape.get(5..).map_or(1, |axes| axes.iter().product());
                    statistics_of(self, x, cx, |place| beyond == 0 || place % beyond == 0)
                }
            }
        ),
        mutant!("mean-over-batch-size", "divides Σx by N in place of n", "", {
            fn mean(&self, x: &[f64], cx: &Context) -> (f64, f64) {
                (self.sum(x, cx) / cx.extents().batch as f64, 0.0)
            }
        }),
        mutant!("mean-over-n-minus-1", "divides Σx by n − 1", "", {
            fn mean(&self, x: &[f64], cx: &Context) -> (f64, f64) {
                (self.sum(x, cx) / (x.len() as f64 - 1.0), 0.0)
            }
        }),
        mutant!("n-rounded-up-to-even", "counts an odd n as n + 1 values", "", {
            fn mean(&self, x: &[f64], cx: &Context) -> (f64, f64) {
                (self.sum(x, cx) / (x.len() + x.len() % 2) as f64, 0.0)
            }
        }),
    ]
}

fn readings() -> Vec<Mutant> {
    vec![
        mutant!("channels-are-the-last-axis", "takes the last axis for the channels, from rank 3 on", "", {
            fn gather(&self, values: &[f64], cx: &Context) -> Vec<f64> {
                if cx.shape.len() < 3 {
                    return cx.extents().gather(values, cx.channel);
                }
                values.iter().skip(cx.channel).step_by(cx.extents().channels).copied().collect()
            }
            fn scatter(&self, channel: &[f64], values: &mut [f64], cx: &Context) {
                if cx.shape.len() < 3 {
                    return cx.extents().scatter(channel, cx.channel, values);
                }
                let places = values.iter_mut().skip(cx.channel).step_by(cx.extents().channels);
                places.zip(channel).for_each(|(place, value)| *place = *value);
            }
        }),
        mutant!("channels-are-the-first-axis", "reads (N, C, *) as (C, N, *)", "", {
            fn gather(&self, values: &[f64], cx: &Context) -> Vec<f64> {
                let n = cx.extents().per_channel();
                values[cx.channel * n..][..n].to_vec()
            }
            fn scatter(&self, channel: &[f64], values: &mut [f64], cx: &Context) {
                let n = cx.extents().per_channel();
                values[cx.channel * n..][..n].copy_from_slice(channel);
            }
        }),
        mutant!("answer-transposed", "writes an (N, C) answer as if it were (C, N)", "", {
            fn scatter(&self, channel: &[f64], values: &mut [f64], cx: &Context) {
                if cx.shape.len() != 2 {
                    return cx.extents().scatter(channel, cx.channel, values);
                }
                values[cx.channel * channel.len()..][..channel.len()].copy_from_slice(channel);
            }
        }),
    ]
}

fn gradients() -> Vec<Mutant> {
    vec![
        mutant!("grad-bias-of-first-sample", "grad_bias sums over space, not over the batch", "", {
            fn grad_bias(&self, _channel: &Channel, g: &[f64], cx: &Context) -> f64 {
                self.sum(&g[..cx.extents().spatial.min(g.len())], cx)
            }
        }),
        mutant!("grad-weight-over-batch-only", "grad_weight sums over the batch, not over space", "", {
            fn grad_weight(&self, channel: &Channel, g: &[f64], cx: &Context) -> f64 {
                let every = cx.extents().spatial.max(1);
                let first = |list: &[f64]| list.iter().step_by(every).copied().collect::<Vec<f64>>();
                self.dot(&first(g), &first(&channel.x_hat), cx)
            }
        }),
        mutant!("gradient-means-over-batch-size", "grad_input's means divide by N in place of n", "", {
            fn through_normalisation(&self, channel: &Channel, a: &[f64], cx: &Context) -> Vec<f64> {
                let factor = channel.n() / cx.extents().batch.max(1) as f64;
                super::backward::with_terms(self, channel, a, cx, factor, factor)
            }
        }),
    ]
}
