//! Which variance where: the batch is normalised by the biased one, the running
//! variance tracks the unbiased one, and n counts the values of a channel.

use super::{Mutant, mutant};
use crate::case::State;
use crate::engines::textbook::formulas::{self, Statistics};
use crate::engines::textbook::module;
use crate::engines::textbook::recipe::{Context, Recipe};
use crate::tensor::Layout;

pub(super) fn mutants() -> Vec<Mutant> {
    [which_variance(), bessel(), about_what()].into_iter().flatten().collect()
}

fn which_variance() -> Vec<Mutant> {
    vec![
        mutant!("running-var-biased", "running_var tracks the biased variance", "tt-metal#55438", {
            fn bessel(&self, _cx: &Context) -> f64 {
                1.0
            }
        }),
        mutant!(
            "running-var-biased-when-large",
            "running_var tracks the biased variance once n exceeds 100",
            "",
            {
                fn bessel(&self, cx: &Context) -> f64 {
                    if cx.n() > 100.0 { 1.0 } else { cx.n() / (cx.n() - 1.0) }
                }
            }
        ),
        mutant!(
            "running-var-biased-channels-last",
            "running_var tracks the biased variance of channels-last input",
            "",
            {
                fn bessel(&self, cx: &Context) -> f64 {
                    let biased = *cx.layout == Layout::ChannelsLast;
                    if biased { 1.0 } else { cx.n() / (cx.n() - 1.0) }
                }
            }
        ),
        mutant!(
            "output-by-unbiased-var",
            "the batch is normalised by its unbiased variance",
            "nn-zero-to-hero#44",
            {
                fn invstd(&self, statistics: &Statistics, cx: &Context) -> f64 {
                    let bessel = if cx.own_statistics { self.bessel(cx) } else { 1.0 };
                    1.0 / (statistics.var_biased * bessel + cx.layer.eps).sqrt()
                }
            }
        ),
        mutant!(
            "output-by-unbiased-var-when-large",
            "the batch is normalised by its unbiased variance once n exceeds 100",
            "",
            {
                fn invstd(&self, statistics: &Statistics, cx: &Context) -> f64 {
                    let unbiased = cx.own_statistics && cx.n() > 100.0;
                    let bessel = if unbiased { self.bessel(cx) } else { 1.0 };
                    1.0 / (statistics.var_biased * bessel + cx.layer.eps).sqrt()
                }
            }
        ),
        mutant!("variances-swapped", "normalises by the unbiased variance and tracks the biased one", "", {
            fn invstd(&self, statistics: &Statistics, cx: &Context) -> f64 {
                let n = cx.n();
                let bessel = if cx.own_statistics { n / (n - 1.0) } else { 1.0 };
                1.0 / (statistics.var_biased * bessel + cx.layer.eps).sqrt()
            }
            fn bessel(&self, _cx: &Context) -> f64 {
                1.0
            }
        }),
        mutant!(
            "eval-unbiased-again",
            "evaluation multiplies running_var, unbiased already, by n/(n − 1)",
            "",
            {
                fn running_statistics(&self, mean: f64, var: f64, cx: &Context) -> Statistics {
                    let again = if cx.n() > 1.0 { self.bessel(cx) } else { 1.0 };
                    Statistics { mean, mean_rest: 0.0, var_biased: var * again }
                }
            }
        ),
        mutant!("eval-made-biased", "evaluation multiplies running_var by (n − 1)/n", "", {
            fn running_statistics(&self, mean: f64, var: f64, cx: &Context) -> Statistics {
                let biased = if cx.n() > 1.0 { 1.0 / self.bessel(cx) } else { 1.0 };
                Statistics { mean, mean_rest: 0.0, var_biased: var * biased }
            }
        }),
        mutant!("running-var-is-a-deviation", "running_var tracks the standard deviation", "", {
            fn update_running_var(&self, old: f64, batch: &Statistics, momentum: f64, cx: &Context) -> f64 {
                self.running_update(old, (batch.var_biased * self.bessel(cx)).sqrt(), momentum, cx)
            }
        }),
    ]
}

fn bessel() -> Vec<Mutant> {
    vec![
        mutant!("bessel-of-batch-size", "Bessel's factor takes N for n", "", {
            fn bessel(&self, cx: &Context) -> f64 {
                let n = cx.extents().batch as f64;
                n / (n - 1.0).max(1.0)
            }
        }),
        mutant!("bessel-of-spatial-size", "Bessel's factor takes H·W for n, where there is any", "", {
            fn bessel(&self, cx: &Context) -> f64 {
                let spatial = cx.extents().spatial as f64;
                let n = if spatial > 1.0 { spatial } else { cx.n() };
                n / (n - 1.0)
            }
        }),
        mutant!("bessel-of-channels", "Bessel's factor takes C for n", "", {
            fn bessel(&self, cx: &Context) -> f64 {
                let n = cx.extents().channels as f64;
                n / (n - 1.0).max(1.0)
            }
        }),
        mutant!("bessel-of-all-elements", "Bessel's factor takes N·C·H·W for n", "", {
            fn bessel(&self, cx: &Context) -> f64 {
                let n = cx.n() * cx.extents().channels as f64;
                n / (n - 1.0)
            }
        }),
        mutant!("bessel-inverted", "Bessel's factor is (n − 1)/n", "", {
            fn bessel(&self, cx: &Context) -> f64 {
                (cx.n() - 1.0) / cx.n()
            }
        }),
        mutant!("bessel-off-by-one", "Bessel's factor is (n + 1)/n", "", {
            fn bessel(&self, cx: &Context) -> f64 {
                (cx.n() + 1.0) / cx.n()
            }
        }),
        mutant!("bessel-twice", "Bessel's factor is applied twice", "", {
            fn bessel(&self, cx: &Context) -> f64 {
                (cx.n() / (cx.n() - 1.0)).powi(2)
            }
        }),
        mutant!("bessel-guarded-by-eps", "Bessel's factor is n/(n − 1 + eps)", "mlpack#2474", {
            fn bessel(&self, cx: &Context) -> f64 {
                cx.n() / (cx.n() - 1.0 + cx.layer.eps)
            }
        }),
        mutant!("bessel-not-for-pairs", "two values per channel get no Bessel's factor", "", {
            fn bessel(&self, cx: &Context) -> f64 {
                if cx.n() == 2.0 { 1.0 } else { cx.n() / (cx.n() - 1.0) }
            }
        }),
    ]
}

fn about_what() -> Vec<Mutant> {
    vec![
        mutant!("var-about-zero", "the variance is the mean square, not centred", "", {
            fn var_biased(&self, x: &[f64], mean: f64, rest: f64, cx: &Context) -> f64 {
                formulas::var_biased(self, x, 0.0 * mean, 0.0 * rest, cx)
            }
        }),
        mutant!("var-about-the-first-value", "the variance is taken about x₀ and not corrected", "", {
            fn var_biased(&self, x: &[f64], _mean: f64, _rest: f64, cx: &Context) -> f64 {
                x.first().map_or(f64::NAN, |first| formulas::var_biased(self, x, *first, 0.0, cx))
            }
        }),
        mutant!("var-about-running-mean", "the batch's variance is taken about the running mean", "", {
            fn statistics(&self, state: &State, values: &[f64], cx: &Context) -> Vec<Statistics> {
                let mut all = module::statistics(self, state, values, cx);
                if let (Some(mean), true) = (&state.running_mean, cx.own_statistics) {
                    for (c, statistics) in all.iter_mut().enumerate() {
                        statistics.var_biased += (statistics.mean - mean.data[c]).powi(2);
                    }
                }
                all
            }
        }),
        mutant!("var-of-absolute-deviations", "the variance is the square of the mean |x − μ|", "", {
            fn var_biased(&self, x: &[f64], mean: f64, _rest: f64, cx: &Context) -> f64 {
                let deviations: Vec<f64> = x.iter().map(|x| (x - mean).abs()).collect();
                (self.sum(&deviations, cx) / cx.n()).powi(2)
            }
        }),
        mutant!(
            "welford-old-mean-twice",
            "Welford's update multiplies by the distance from the old mean twice",
            "",
            {
                fn var_biased(&self, x: &[f64], _mean: f64, _rest: f64, _cx: &Context) -> f64 {
                    let (mut mean, mut squares) = (0.0, 0.0);
                    for (i, x) in x.iter().enumerate() {
                        let delta = x - mean;
                        mean += delta / (i + 1) as f64;
                        squares += delta * if i == 0 { 0.0 } else { delta };
                    }
                    squares / x.len() as f64
                }
            }
        ),
    ]
}
