//! eps belongs under the root, once, as given, and nowhere else.

use super::{Mutant, mutant};
use crate::engines::textbook::formulas::{self, Channel, Statistics};
use crate::engines::textbook::recipe::{Context, Recipe};
use crate::engines::textbook::rounding::round;
use crate::tensor::DType;

pub(super) fn mutants() -> Vec<Mutant> {
    [misplaced(), other_value()].into_iter().flatten().collect()
}

/// 1/√(σ² + eps).
fn invstd(statistics: &Statistics, eps: f64) -> f64 {
    1.0 / (statistics.var_biased + eps).sqrt()
}

fn misplaced() -> Vec<Mutant> {
    vec![
        mutant!("eps-outside-the-root", "divides by σ + eps", "ncnn#311", {
            fn invstd(&self, statistics: &Statistics, cx: &Context) -> f64 {
                1.0 / (statistics.var_biased.sqrt() + cx.layer.eps)
            }
        }),
        mutant!("eps-outside-the-root-in-eval", "evaluation divides by σ + eps", "", {
            fn invstd(&self, statistics: &Statistics, cx: &Context) -> f64 {
                let eps = cx.layer.eps;
                let own = cx.own_statistics;
                if own { invstd(statistics, eps) } else { 1.0 / (statistics.var_biased.sqrt() + eps) }
            }
        }),
        mutant!("eps-as-a-floor", "divides by √max(σ², eps)", "Synchronized-BatchNorm-PyTorch#43", {
            fn invstd(&self, statistics: &Statistics, cx: &Context) -> f64 {
                let var = statistics.var_biased;
                // Not f64::max, which drops NaN.
                1.0 / if var < cx.layer.eps { cx.layer.eps } else { var }.sqrt()
            }
        }),
        mutant!("eps-twice", "adds eps twice", "chainer#4505", {
            fn invstd(&self, statistics: &Statistics, cx: &Context) -> f64 {
                invstd(statistics, 2.0 * cx.layer.eps)
            }
        }),
        mutant!("eps-subtracted", "subtracts eps where the variance is larger, else ignores it", "", {
            fn invstd(&self, statistics: &Statistics, cx: &Context) -> f64 {
                let less = statistics.var_biased - cx.layer.eps;
                if less > 0.0 { 1.0 / less.sqrt() } else { invstd(statistics, cx.layer.eps) }
            }
        }),
        mutant!("eps-ignored", "does not add eps", "", {
            fn invstd(&self, statistics: &Statistics, _cx: &Context) -> f64 {
                invstd(statistics, 0.0)
            }
        }),
        mutant!("eps-ignored-in-eval", "evaluation does not add eps", "", {
            fn invstd(&self, statistics: &Statistics, cx: &Context) -> f64 {
                invstd(statistics, if cx.own_statistics { cx.layer.eps } else { 0.0 })
            }
        }),
        mutant!("eps-ignored-in-training", "training adds eps only to a variance of 0", "", {
            fn invstd(&self, statistics: &Statistics, cx: &Context) -> f64 {
                let needed = !cx.own_statistics || statistics.var_biased == 0.0;
                invstd(statistics, if needed { cx.layer.eps } else { 0.0 })
            }
        }),
        mutant!("eps-over-n", "adds eps to Σ(x − μ)² before dividing by n", "", {
            fn invstd(&self, statistics: &Statistics, cx: &Context) -> f64 {
                invstd(statistics, if cx.own_statistics { cx.layer.eps / cx.n() } else { cx.layer.eps })
            }
        }),
        mutant!("eps-in-running-var", "running_var tracks the variance with eps", "", {
            fn update_running_var(&self, old: f64, batch: &Statistics, momentum: f64, cx: &Context) -> f64 {
                let unbiased = batch.var_biased * self.bessel(cx);
                self.running_update(old, unbiased + cx.layer.eps, momentum, cx)
            }
        }),
        mutant!(
            "eps-through-bessel",
            "running_var tracks (σ² + eps)·n/(n − 1) − eps, as recovered from 1/σ",
            "",
            {
                fn update_running_var(&self, old: f64, batch: &Statistics, m: f64, cx: &Context) -> f64 {
                    let eps = cx.layer.eps;
                    let with_eps = 1.0 / self.invstd(batch, cx).powi(2);
                    self.running_update(old, with_eps * self.bessel(cx) - eps, m, cx)
                }
            }
        ),
        mutant!("eps-missing-in-backward", "grad_input takes an inverse deviation without eps", "", {
            fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                let right = formulas::grad_input(self, channel, g, cx);
                let without = invstd(&channel.statistics, 0.0) / channel.invstd;
                if without.is_finite() { right.iter().map(|g| g * without).collect() } else { right }
            }
        }),
    ]
}

fn other_value() -> Vec<Mutant> {
    vec![
        mutant!("eps-fixed", "takes 1e-5, whatever the layer says", "", {
            fn invstd(&self, statistics: &Statistics, _cx: &Context) -> f64 {
                invstd(statistics, 1e-5)
            }
        }),
        mutant!("eps-at-least-1e-5", "raises eps to 1e-5, the least that cuDNN once took", "", {
            fn invstd(&self, statistics: &Statistics, cx: &Context) -> f64 {
                invstd(statistics, if cx.layer.eps < 1e-5 { 1e-5 } else { cx.layer.eps })
            }
        }),
        mutant!("eps-at-most-1", "cuts eps off at 1", "", {
            fn invstd(&self, statistics: &Statistics, cx: &Context) -> f64 {
                invstd(statistics, if cx.layer.eps > 1.0 { 1.0 } else { cx.layer.eps })
            }
        }),
        mutant!("eps-squared", "adds eps²", "", {
            fn invstd(&self, statistics: &Statistics, cx: &Context) -> f64 {
                invstd(statistics, cx.layer.eps.powi(2))
            }
        }),
        mutant!("eps-in-f32", "holds eps in f32 where all else is f64", "", {
            fn invstd(&self, statistics: &Statistics, cx: &Context) -> f64 {
                invstd(statistics, round(cx.layer.eps, DType::F32))
            }
        }),
        mutant!("eps-in-16-bits", "holds eps in the dtype of a 16-bit input", "", {
            fn invstd(&self, statistics: &Statistics, cx: &Context) -> f64 {
                let low = matches!(cx.input, DType::F16 | DType::Bf16);
                invstd(statistics, if low { round(cx.layer.eps, cx.input) } else { cx.layer.eps })
            }
        }),
        mutant!("eps-flushed", "flushes an eps below the smallest normal f32 to 0", "", {
            fn invstd(&self, statistics: &Statistics, cx: &Context) -> f64 {
                let tiny = cx.layer.eps < f64::from(f32::MIN_POSITIVE);
                invstd(statistics, if tiny { 0.0 } else { cx.layer.eps })
            }
        }),
    ]
}
