//! The first gradients: training's formula knows that mean and variance depend on
//! x, evaluation's that they do not; both use the statistics of their own forward.

use std::borrow::Cow;
use std::cell::RefCell;

use super::{Mutant, mutant};
use crate::case::{Case, Mode, OutputMask, Pass, State};
use crate::engines::textbook::formulas::{self, Channel, Gradients};
use crate::engines::textbook::module::Forward;
use crate::engines::textbook::recipe::{Context, Recipe};

pub(super) fn mutants() -> Vec<Mutant> {
    [terms(), factors(), which_formula(), parameters(), whose(), asked()].into_iter().flatten().collect()
}

/// s·(a − p·Σa/n − q·x̂·Σ(a·x̂)/n) in training; p = q = 1 is right.
pub(super) fn with_terms(
    recipe: &dyn Recipe,
    channel: &Channel,
    a: &[f64],
    cx: &Context,
    p: f64,
    q: f64,
) -> Vec<f64> {
    let s = channel.invstd;
    if !cx.own_statistics {
        return a.iter().map(|a| a * s).collect();
    }
    let mean = p * recipe.sum(a, cx) / channel.n();
    let slope = q * recipe.dot(a, &channel.x_hat, cx) / channel.n();
    a.iter().zip(&channel.x_hat).map(|(a, x_hat)| s * (a - mean - x_hat * slope)).collect()
}

/// grad_input with the means of g and of g·x̂ weighed by p and q.
fn grad_input(recipe: &dyn Recipe, channel: &Channel, g: &[f64], cx: &Context, p: f64, q: f64) -> Vec<f64> {
    let weight = channel.weight_or_one();
    with_terms(recipe, channel, g, cx, p, q).iter().map(|through| through * weight).collect()
}

/// The right grad_input, times a factor.
fn scaled(recipe: &dyn Recipe, channel: &Channel, g: &[f64], cx: &Context, factor: f64) -> Vec<f64> {
    formulas::grad_input(recipe, channel, g, cx).iter().map(|gradient| gradient * factor).collect()
}

fn terms() -> Vec<Mutant> {
    vec![
        mutant!("mean-term-dropped", "grad_input lacks −Σg/n", "", {
            fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                grad_input(self, channel, g, cx, 0.0, 1.0)
            }
        }),
        mutant!("mean-term-doubled", "grad_input has −2·Σg/n", "", {
            fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                grad_input(self, channel, g, cx, 2.0, 1.0)
            }
        }),
        mutant!("mean-term-flipped", "grad_input has +Σg/n", "", {
            fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                grad_input(self, channel, g, cx, -1.0, 1.0)
            }
        }),
        mutant!(
            "variance-term-dropped",
            "grad_input lacks −x̂·Σ(g·x̂)/n: the deviation counts as constant",
            "",
            {
                fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                    grad_input(self, channel, g, cx, 1.0, 0.0)
                }
            }
        ),
        mutant!("variance-term-doubled", "grad_input has −2·x̂·Σ(g·x̂)/n", "", {
            fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                grad_input(self, channel, g, cx, 1.0, 2.0)
            }
        }),
        mutant!("variance-term-flipped", "grad_input has +x̂·Σ(g·x̂)/n", "", {
            fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                grad_input(self, channel, g, cx, 1.0, -1.0)
            }
        }),
        mutant!(
            "variance-term-without-x-hat",
            "grad_input subtracts Σ(g·x̂)/n without the factor x̂",
            "",
            {
                fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                    let mut input = grad_input(self, channel, g, cx, 1.0, 0.0);
                    if cx.own_statistics {
                        let slope = self.dot(g, &channel.x_hat, cx) / channel.n();
                        let less = channel.weight_or_one() * channel.invstd * slope;
                        input.iter_mut().for_each(|gradient| *gradient -= less);
                    }
                    input
                }
            }
        ),
        mutant!("variance-term-of-the-mean", "grad_input has x̂·Σg·Σx̂/n for x̂·Σ(g·x̂)", "", {
            fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                let mean_x_hat = self.sum(&channel.x_hat, cx) / channel.n();
                let mean_only = self.sum(g, cx) * mean_x_hat / channel.n();
                let without = grad_input(self, channel, g, cx, 1.0, 0.0);
                let factor = if cx.own_statistics { channel.weight_or_one() * channel.invstd } else { 0.0 };
                let terms = without.iter().zip(&channel.x_hat);
                terms.map(|(term, x_hat)| term - factor * x_hat * mean_only).collect()
            }
        }),
        mutant!("means-over-n-minus-1", "grad_input's means divide by n − 1", "", {
            fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                let bessel = if channel.n() > 1.0 { channel.n() / (channel.n() - 1.0) } else { 1.0 };
                grad_input(self, channel, g, cx, bessel, bessel)
            }
        }),
        mutant!("variance-term-over-n-minus-1", "grad_input treats the variance as the unbiased one", "", {
            fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                let bessel = if channel.n() > 1.0 { channel.n() / (channel.n() - 1.0) } else { 1.0 };
                grad_input(self, channel, g, cx, 1.0, bessel)
            }
        }),
        mutant!("eps-not-in-variance-term", "grad_input takes σ² for σ² + eps in its last term", "", {
            fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                let var = channel.statistics.var_biased;
                let ratio = if var > 0.0 { (var + cx.layer.eps) / var } else { 1.0 };
                grad_input(self, channel, g, cx, 1.0, ratio)
            }
        }),
    ]
}

fn factors() -> Vec<Mutant> {
    vec![
        mutant!("weight-lost-in-grad-input", "grad_input is not multiplied by the weight", "Knet.jl#288", {
            fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                self.through_normalisation(channel, g, cx)
            }
        }),
        mutant!("weight-squared-in-grad-input", "grad_input is multiplied by the weight twice", "", {
            fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                scaled(self, channel, g, cx, channel.weight_or_one())
            }
        }),
        mutant!(
            "weight-lost-in-eval-grad-input",
            "evaluation's grad_input is not multiplied by the weight",
            "",
            {
                fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                    if cx.own_statistics {
                        return formulas::grad_input(self, channel, g, cx);
                    }
                    self.through_normalisation(channel, g, cx)
                }
            }
        ),
        mutant!(
            "weight-alone-lost-in-grad-input",
            "without a bias, grad_input is not multiplied by the weight",
            "",
            {
                fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                    if channel.bias.is_some() {
                        return formulas::grad_input(self, channel, g, cx);
                    }
                    self.through_normalisation(channel, g, cx)
                }
            }
        ),
        mutant!(
            "weight-in-one-mean-only",
            "the last term of grad_input is multiplied by the weight twice",
            "",
            {
                fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                    grad_input(self, channel, g, cx, 1.0, channel.weight_or_one())
                }
            }
        ),
        mutant!("deviation-lost-in-grad-input", "grad_input is not divided by the deviation", "", {
            fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                scaled(self, channel, g, cx, 1.0 / channel.invstd)
            }
        }),
        mutant!("deviation-squared-in-grad-input", "grad_input is divided by the deviation twice", "", {
            fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                scaled(self, channel, g, cx, channel.invstd)
            }
        }),
        mutant!("grad-input-negated", "grad_input has the wrong sign", "", {
            fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                scaled(self, channel, g, cx, -1.0)
            }
        }),
        mutant!("unbiased-deviation-in-backward", "grad_input divides by the unbiased deviation", "", {
            fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                let n = channel.n();
                let factor = if cx.own_statistics && n > 1.0 { ((n - 1.0) / n).sqrt() } else { 1.0 };
                scaled(self, channel, g, cx, factor)
            }
        }),
    ]
}

fn which_formula() -> Vec<Mutant> {
    vec![
        mutant!("train-gradient-with-fixed-statistics", "training's grad_input is g·w·s", "CrypTen#143", {
            fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                formulas::grad_input(self, channel, g, &Context { own_statistics: false, ..*cx })
            }
        }),
        mutant!(
            "eval-gradient-of-training",
            "evaluation's grad_input subtracts the means of training",
            "pytorch/xla#913",
            {
                fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                    formulas::grad_input(self, channel, g, &Context { own_statistics: true, ..*cx })
                }
            }
        ),
        mutant!(
            "eval-gradient-centred",
            "evaluation's grad_input subtracts the mean of g, but not the last term",
            "",
            {
                fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                    let own = Context { own_statistics: true, ..*cx };
                    grad_input(self, channel, g, &own, 1.0, if cx.own_statistics { 1.0 } else { 0.0 })
                }
            }
        ),
        mutant!(
            "formula-by-mode",
            "evaluation without buffers, by batch statistics, differentiates as if they were fixed",
            "",
            {
                fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                    let own_statistics = cx.own_statistics && cx.mode == Mode::Train;
                    formulas::grad_input(self, channel, g, &Context { own_statistics, ..*cx })
                }
            }
        ),
        mutant!(
            "formula-by-tracking",
            "training without tracking differentiates as if the statistics were fixed",
            "",
            {
                fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                    let own_statistics = cx.own_statistics && cx.layer.track_running_stats;
                    formulas::grad_input(self, channel, g, &Context { own_statistics, ..*cx })
                }
            }
        ),
        mutant!("constant-channel-by-fixed-formula", "a channel of variance 0 gets g·w·s", "", {
            fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                let own_statistics = cx.own_statistics && channel.statistics.var_biased != 0.0;
                formulas::grad_input(self, channel, g, &Context { own_statistics, ..*cx })
            }
        }),
    ]
}

fn parameters() -> Vec<Mutant> {
    vec![
        mutant!("grad-weight-of-x", "grad_weight is Σg·x", "", {
            fn grad_weight(&self, channel: &Channel, g: &[f64], cx: &Context) -> f64 {
                self.dot(g, &channel.x, cx)
            }
        }),
        mutant!(
            "grad-weight-of-centred-x",
            "grad_weight is Σg·(x − μ), not divided by the deviation",
            "",
            {
                fn grad_weight(&self, channel: &Channel, g: &[f64], cx: &Context) -> f64 {
                    self.dot(g, &channel.x_hat, cx) / channel.invstd
                }
            }
        ),
        mutant!("grad-weight-of-output", "grad_weight is Σg·y", "", {
            fn grad_weight(&self, channel: &Channel, g: &[f64], cx: &Context) -> f64 {
                self.dot(g, &self.affine(&channel.x_hat, channel.weight, channel.bias, cx), cx)
            }
        }),
        mutant!(
            "grad-weight-by-inverting-output",
            "grad_weight takes x̂ as (y − b)/w, which w = 0 has not kept",
            "",
            {
                fn grad_weight(&self, channel: &Channel, g: &[f64], cx: &Context) -> f64 {
                    let weight = channel.weight_or_one();
                    let x_hat: Vec<f64> = channel.x_hat.iter().map(|x_hat| x_hat * weight / weight).collect();
                    self.dot(g, &x_hat, cx)
                }
            }
        ),
        mutant!("grad-weight-times-weight", "grad_weight is multiplied by the weight", "mxnet#1053", {
            fn grad_weight(&self, channel: &Channel, g: &[f64], cx: &Context) -> f64 {
                self.dot(g, &channel.x_hat, cx) * channel.weight_or_one()
            }
        }),
        mutant!("grad-bias-times-weight", "grad_bias is multiplied by the weight", "", {
            fn grad_bias(&self, channel: &Channel, g: &[f64], cx: &Context) -> f64 {
                self.sum(g, cx) * channel.weight_or_one()
            }
        }),
        mutant!("grad-weight-averaged", "grad_weight is divided by n", "", {
            fn grad_weight(&self, channel: &Channel, g: &[f64], cx: &Context) -> f64 {
                self.dot(g, &channel.x_hat, cx) / channel.n()
            }
        }),
        mutant!("grad-bias-averaged", "grad_bias is divided by n", "", {
            fn grad_bias(&self, channel: &Channel, g: &[f64], cx: &Context) -> f64 {
                self.sum(g, cx) / channel.n()
            }
        }),
        mutant!("grad-weight-and-bias-swapped", "grad_weight and grad_bias are exchanged", "", {
            fn backward(&self, channel: &Channel, g: &[f64], cx: &Context) -> Gradients {
                Gradients {
                    input: self.grad_input(channel, g, cx),
                    weight: self.grad_bias(channel, g, cx),
                    bias: self.grad_weight(channel, g, cx),
                }
            }
        }),
        mutant!("grad-weight-zero-in-eval", "evaluation answers a grad_weight of 0", "", {
            fn grad_weight(&self, channel: &Channel, g: &[f64], cx: &Context) -> f64 {
                if cx.own_statistics { self.dot(g, &channel.x_hat, cx) } else { 0.0 }
            }
        }),
        mutant!("grad-bias-zero-in-eval", "evaluation answers a grad_bias of 0", "", {
            fn grad_bias(&self, _channel: &Channel, g: &[f64], cx: &Context) -> f64 {
                if cx.own_statistics { self.sum(g, cx) } else { 0.0 }
            }
        }),
        mutant!(
            "eval-grad-weight-by-batch-stats",
            "evaluation's grad_weight normalises x by the batch's statistics",
            "",
            {
                fn grad_weight(&self, channel: &Channel, g: &[f64], cx: &Context) -> f64 {
                    let own = Context { own_statistics: true, ..*cx };
                    let statistics = self.batch_statistics(&channel.x, &own);
                    self.dot(g, &self.normalise(&channel.x, &statistics, cx), cx)
                }
            }
        ),
        Mutant {
            name: "parameter-gradients-accumulate",
            fault: "grad_weight and grad_bias are added to those of the script's earlier steps",
            source: "",
            recipe: || Box::new(Accumulates::default()),
        },
    ]
}

/// The parameter gradients of the script so far, by channel.
#[derive(Default)]
struct Accumulates(RefCell<Vec<(f64, f64)>>);

impl Recipe for Accumulates {
    fn initial_state(&self, case: &Case) -> State {
        self.0.borrow_mut().clear();
        case.state.clone()
    }

    fn backward(&self, channel: &Channel, g: &[f64], cx: &Context) -> Gradients {
        let mut totals = self.0.borrow_mut();
        if totals.len() <= cx.channel {
            totals.resize(cx.channel + 1, (0.0, 0.0));
        }
        let (weight, bias) = &mut totals[cx.channel];
        *weight += self.grad_weight(channel, g, cx);
        *bias += self.grad_bias(channel, g, cx);
        Gradients { input: self.grad_input(channel, g, cx), weight: *weight, bias: *bias }
    }
}

fn whose() -> Vec<Mutant> {
    vec![
        mutant!(
            "backward-by-latest-forward",
            "a deferred backward pass uses what the latest forward pass saved, if it has C channels",
            "",
            {
                fn recall<'f, 'a>(
                    &self,
                    saved: &'f Forward<'a>,
                    latest: &'f Forward<'a>,
                    _now: &State,
                ) -> Cow<'f, Forward<'a>> {
                    let statistics = latest.statistics.clone();
                    let fits = statistics.len() == saved.statistics.len();
                    Cow::Owned(Forward {
                        statistics: if fits { statistics } else { saved.statistics.clone() },
                        ..saved.clone()
                    })
                }
            }
        ),
        mutant!(
            "eval-backward-by-running-stats-of-now",
            "evaluation's backward pass uses the running statistics as training left them since",
            "",
            {
                fn recall<'f, 'a>(
                    &self,
                    saved: &'f Forward<'a>,
                    _latest: &'f Forward<'a>,
                    now: &State,
                ) -> Cow<'f, Forward<'a>> {
                    if saved.cx.own_statistics {
                        return Cow::Borrowed(saved);
                    }
                    let statistics = self.statistics(now, &saved.values, &saved.cx);
                    Cow::Owned(Forward { statistics, ..saved.clone() })
                }
            }
        ),
        mutant!(
            "train-backward-by-running-stats",
            "training's backward pass takes x̂ and 1/σ from the updated running statistics",
            "",
            {
                fn recall<'f, 'a>(
                    &self,
                    saved: &'f Forward<'a>,
                    _latest: &'f Forward<'a>,
                    now: &State,
                ) -> Cow<'f, Forward<'a>> {
                    let running = Context { own_statistics: false, ..saved.cx };
                    let statistics = self.statistics(now, &saved.values, &running);
                    Cow::Owned(Forward { statistics, ..saved.clone() })
                }
            }
        ),
    ]
}

fn asked() -> Vec<Mutant> {
    vec![
        mutant!("output-mask-ignored", "answers every gradient, asked for or not", "", {
            fn output_mask(&self, _pass: &Pass) -> OutputMask {
                OutputMask { input: true, weight: true, bias: true }
            }
        }),
        mutant!("mask-of-weight-for-bias", "grad_bias is answered where grad_weight is asked for", "", {
            fn output_mask(&self, pass: &Pass) -> OutputMask {
                let all = OutputMask { input: true, weight: true, bias: true };
                let asked = pass.output_mask.unwrap_or(all);
                OutputMask { bias: asked.weight, ..asked }
            }
        }),
        mutant!("no-parameter-gradients-without-input", "without grad_input no gradient is answered", "", {
            fn output_mask(&self, pass: &Pass) -> OutputMask {
                let all = OutputMask { input: true, weight: true, bias: true };
                let asked = pass.output_mask.unwrap_or(all);
                if asked.input { asked } else { OutputMask { input: false, weight: false, bias: false } }
            }
        }),
        mutant!("eval-answers-no-grad-weight", "evaluation answers no grad_weight", "", {
            fn output_mask(&self, pass: &Pass) -> OutputMask {
                let all = OutputMask { input: true, weight: true, bias: true };
                let asked = pass.output_mask.unwrap_or(all);
                OutputMask { weight: asked.weight && pass.mode == Mode::Train, ..asked }
            }
        }),
    ]
}
