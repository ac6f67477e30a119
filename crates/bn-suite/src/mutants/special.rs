//! NaN, infinities and constants: one bad value spoils its own channel in
//! training, itself in evaluation, and nothing else.

use std::borrow::Cow;

use super::{Mutant, mutant};
use crate::case::{Layer, State};
use crate::engines::textbook::formulas::{self, Channel, Statistics};
use crate::engines::textbook::memory::{Memory, read};
use crate::engines::textbook::module;
use crate::engines::textbook::recipe::{Context, Recipe};
use crate::outcome::{Refusal, RefusalKind};

pub(super) fn mutants() -> Vec<Mutant> {
    [input(), statistics(), parameters()].into_iter().flatten().collect()
}

fn mapped<'m>(recipe: &dyn Recipe, memory: &Memory<'m>, change: fn(f64) -> f64) -> Cow<'m, [f64]> {
    read(recipe, memory).iter().map(|value| change(*value)).collect()
}

fn input() -> Vec<Mutant> {
    vec![
        mutant!("nan-read-as-0", "NaN in the input is read as 0", "", {
            fn read<'m>(&self, memory: &Memory<'m>) -> Cow<'m, [f64]> {
                mapped(self, memory, |value| if value.is_nan() { 0.0 } else { value })
            }
        }),
        mutant!("infinity-read-as-largest", "an infinite input is read as the largest f32", "", {
            fn read<'m>(&self, memory: &Memory<'m>) -> Cow<'m, [f64]> {
                mapped(self, memory, |value| {
                    if value.is_infinite() { value.signum() * f64::from(f32::MAX) } else { value }
                })
            }
        }),
        mutant!("nan-left-out-of-statistics", "the statistics leave NaN out", "", {
            fn batch_statistics(&self, x: &[f64], cx: &Context) -> Statistics {
                let numbers: Vec<f64> = x.iter().copied().filter(|x| !x.is_nan()).collect();
                formulas::batch_statistics(self, &numbers, cx)
            }
        }),
        mutant!("infinity-left-out-of-statistics", "the statistics leave infinite values out", "", {
            fn batch_statistics(&self, x: &[f64], cx: &Context) -> Statistics {
                let numbers: Vec<f64> = x.iter().copied().filter(|x| !x.is_infinite()).collect();
                formulas::batch_statistics(self, &numbers, cx)
            }
        }),
        mutant!(
            "nan-spreads-over-channels",
            "a NaN in one channel turns every channel's statistics to NaN",
            "",
            {
                fn statistics(&self, state: &State, values: &[f64], cx: &Context) -> Vec<Statistics> {
                    let mut all = module::statistics(self, state, values, cx);
                    if cx.own_statistics && values.iter().any(|value| value.is_nan()) {
                        all.fill(Statistics { mean: f64::NAN, mean_rest: 0.0, var_biased: f64::NAN });
                    }
                    all
                }
            }
        ),
        mutant!("nan-spreads-to-the-next-channel", "a NaN channel spoils the mean of the next one", "", {
            fn statistics(&self, state: &State, values: &[f64], cx: &Context) -> Vec<Statistics> {
                let mut all = module::statistics(self, state, values, cx);
                for c in (1..all.len()).rev().filter(|_| cx.own_statistics) {
                    all[c].mean += 0.0 * all[c - 1].mean;
                }
                all
            }
        }),
        mutant!("nan-spreads-in-eval", "in evaluation a NaN spoils its whole channel", "", {
            fn normalise(&self, x: &[f64], statistics: &Statistics, cx: &Context) -> Vec<f64> {
                let mut x_hat = formulas::normalise(self, x, statistics, cx);
                if !cx.own_statistics && x.iter().any(|x| x.is_nan()) {
                    x_hat.fill(f64::NAN);
                }
                x_hat
            }
        }),
        mutant!("infinity-is-nan-in-eval", "in evaluation an infinite input gives NaN", "", {
            fn normalise(&self, x: &[f64], statistics: &Statistics, cx: &Context) -> Vec<f64> {
                let x_hat = formulas::normalise(self, x, statistics, cx);
                x_hat.into_iter().map(|value| value + 0.0 * value).collect()
            }
        }),
        mutant!(
            "infinite-mean-keeps-finite-elements",
            "in a channel with an infinity the finite elements get ∓∞, not NaN",
            "",
            {
                fn var_biased(&self, x: &[f64], mean: f64, rest: f64, cx: &Context) -> f64 {
                    let right = formulas::var_biased(self, x, mean, rest, cx);
                    if mean.is_infinite() { 1.0 } else { right }
                }
            }
        ),
        mutant!("output-clipped", "x̂ is clipped to ±5", "", {
            fn normalise(&self, x: &[f64], statistics: &Statistics, cx: &Context) -> Vec<f64> {
                let x_hat = formulas::normalise(self, x, statistics, cx);
                x_hat.into_iter().map(|value| value.clamp(-5.0, 5.0)).collect()
            }
        }),
    ]
}

fn statistics() -> Vec<Mutant> {
    vec![
        mutant!("negative-running-var-as-0", "evaluation takes a negative running_var for 0", "", {
            fn running_statistics(&self, mean: f64, var: f64, _cx: &Context) -> Statistics {
                Statistics { mean, mean_rest: 0.0, var_biased: if var < 0.0 { 0.0 } else { var } }
            }
        }),
        mutant!("negative-running-var-without-sign", "evaluation takes |running_var|", "", {
            fn running_statistics(&self, mean: f64, var: f64, _cx: &Context) -> Statistics {
                Statistics { mean, mean_rest: 0.0, var_biased: var.abs() }
            }
        }),
        mutant!("nan-running-var-as-1", "evaluation takes a running_var of NaN for 1", "", {
            fn running_statistics(&self, mean: f64, var: f64, _cx: &Context) -> Statistics {
                Statistics { mean, mean_rest: 0.0, var_biased: if var.is_nan() { 1.0 } else { var } }
            }
        }),
        mutant!("infinite-running-var-is-nan", "an infinite running_var gives NaN, not 0", "", {
            fn invstd(&self, statistics: &Statistics, cx: &Context) -> f64 {
                let var = statistics.var_biased;
                1.0 / (var + cx.layer.eps + 0.0 * var).sqrt()
            }
        }),
        mutant!("constant-channel-is-nan", "a channel of variance 0 is divided by 0", "", {
            fn invstd(&self, statistics: &Statistics, cx: &Context) -> f64 {
                let var = statistics.var_biased;
                let eps = if cx.own_statistics && var == 0.0 { 0.0 } else { cx.layer.eps };
                1.0 / (var + eps).sqrt()
            }
        }),
        mutant!("constant-channel-has-no-deviation", "a variance of 0 gets 1/σ = 0: no gradient", "", {
            fn invstd(&self, statistics: &Statistics, cx: &Context) -> f64 {
                let var = statistics.var_biased;
                if var == 0.0 { 0.0 } else { 1.0 / (var + cx.layer.eps).sqrt() }
            }
        }),
        mutant!("small-variance-as-0", "a variance below 1e-12 counts as 0", "", {
            fn invstd(&self, statistics: &Statistics, cx: &Context) -> f64 {
                let var = if statistics.var_biased < 1e-12 { 0.0 } else { statistics.var_biased };
                1.0 / (var + cx.layer.eps).sqrt()
            }
        }),
    ]
}

fn parameters() -> Vec<Mutant> {
    vec![
        mutant!("weight-0-masks-nan", "a weight of 0 answers the bias, whatever x̂ is", "", {
            fn affine(
                &self,
                x_hat: &[f64],
                weight: Option<f64>,
                bias: Option<f64>,
                _cx: &Context,
            ) -> Vec<f64> {
                if weight == Some(0.0) {
                    return vec![bias.unwrap_or(0.0); x_hat.len()];
                }
                formulas::affine(x_hat, weight, bias)
            }
        }),
        mutant!(
            "weight-0-masks-nan-gradient",
            "a weight of 0 answers a grad_input of 0, whatever x̂ is",
            "",
            {
                fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                    if channel.weight == Some(0.0) {
                        return vec![0.0; g.len()];
                    }
                    formulas::grad_input(self, channel, g, cx)
                }
            }
        ),
        mutant!("nan-gradient-read-as-0", "NaN in grad_output is read as 0", "", {
            fn read_gradient<'m>(&self, memory: &Memory<'m>, _cx: &Context) -> Cow<'m, [f64]> {
                mapped(self, memory, |value| if value.is_nan() { 0.0 } else { value })
            }
        }),
        mutant!("nan-weight-as-1", "a weight of NaN counts as 1", "", {
            fn affine(
                &self,
                x_hat: &[f64],
                weight: Option<f64>,
                bias: Option<f64>,
                _cx: &Context,
            ) -> Vec<f64> {
                formulas::affine(x_hat, weight.filter(|weight| !weight.is_nan()), bias)
            }
        }),
        mutant!("nan-buffer-overwritten", "a running statistic that is NaN takes the batch's value", "", {
            fn running_update(&self, old: f64, batch: f64, momentum: f64, _cx: &Context) -> f64 {
                if old.is_nan() { batch } else { (1.0 - momentum) * old + momentum * batch }
            }
        }),
        mutant!("nan-eps-refused", "an eps of NaN is refused as not positive", "", {
            fn check_eps(&self, layer: &Layer, own_statistics: bool) -> Result<(), Refusal> {
                if layer.eps.is_nan() {
                    return module::refuse(RefusalKind::Eps, "eps is not a number".into());
                }
                module::check_eps(layer, own_statistics)
            }
        }),
    ]
}
