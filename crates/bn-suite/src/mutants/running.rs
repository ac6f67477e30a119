//! The running statistics: momentum weighs the new value, both buffers move, only
//! training moves them, and the batch is normalised by its own statistics.

use std::borrow::Cow;

use super::{Mutant, mutant};
use crate::case::{Layer, Mode, State};
use crate::engines::textbook::formulas::Statistics;
use crate::engines::textbook::module::{self, Forward, Module};
use crate::engines::textbook::recipe::{Context, Recipe};
use crate::engines::textbook::rounding::round;
use crate::outcome::Refusal;
use crate::tensor::DType;

pub(super) fn mutants() -> Vec<Mutant> {
    [momentum(), which_are_updated(), when()].into_iter().flatten().collect()
}

fn blend(old: f64, batch: f64, momentum: f64) -> f64 {
    (1.0 - momentum) * old + momentum * batch
}

fn momentum() -> Vec<Mutant> {
    vec![
        mutant!("momentum-inverted", "momentum weighs the old value", "d2l-en#2213", {
            fn running_update(&self, old: f64, batch: f64, momentum: f64, _cx: &Context) -> f64 {
                blend(old, batch, 1.0 - momentum)
            }
        }),
        mutant!("momentum-inverted-for-var", "momentum weighs the old running_var", "", {
            fn update_running_var(&self, old: f64, batch: &Statistics, m: f64, cx: &Context) -> f64 {
                blend(old, batch.var_biased * self.bessel(cx), 1.0 - m)
            }
        }),
        mutant!("momentum-fixed", "momentum is 0.1, whatever the layer says", "", {
            fn running_update(&self, old: f64, batch: f64, _momentum: f64, _cx: &Context) -> f64 {
                blend(old, batch, 0.1)
            }
        }),
        mutant!("momentum-0-as-none", "a momentum of 0 asks for the cumulative average", "", {
            fn momentum(&self, layer: &Layer, state: &State, tracking: bool) -> Result<f64, Refusal> {
                match (module::momentum(layer, state, tracking)?, state.num_batches_tracked) {
                    (0.0, Some(counter)) if tracking => Ok(1.0 / counter as f64),
                    (momentum, _) => Ok(momentum),
                }
            }
        }),
        mutant!("momentum-clamped", "momentum is held between 0 and 1", "", {
            fn running_update(&self, old: f64, batch: f64, momentum: f64, _cx: &Context) -> f64 {
                blend(old, batch, momentum.clamp(0.0, 1.0))
            }
        }),
        mutant!("momentum-1-assigns", "at momentum 1 the buffer is overwritten, NaN and all", "", {
            fn running_update(&self, old: f64, batch: f64, momentum: f64, _cx: &Context) -> f64 {
                if momentum == 1.0 { batch } else { blend(old, batch, momentum) }
            }
        }),
        mutant!("momentum-0-skips", "at momentum 0 the batch is not looked at, NaN or not", "", {
            fn running_update(&self, old: f64, batch: f64, momentum: f64, _cx: &Context) -> f64 {
                if momentum == 0.0 { old } else { blend(old, batch, momentum) }
            }
        }),
        mutant!("momentum-nan-as-0", "a momentum of NaN leaves the buffers alone", "", {
            fn running_update(&self, old: f64, batch: f64, momentum: f64, _cx: &Context) -> f64 {
                if momentum.is_nan() { old } else { blend(old, batch, momentum) }
            }
        }),
        mutant!("momentum-in-f32", "holds momentum in f32 where all else is f64", "", {
            fn running_update(&self, old: f64, batch: f64, momentum: f64, _cx: &Context) -> f64 {
                blend(old, batch, round(momentum, DType::F32))
            }
        }),
        mutant!("momentum-in-16-bits", "holds momentum in the dtype of a 16-bit input", "", {
            fn running_update(&self, old: f64, batch: f64, momentum: f64, cx: &Context) -> f64 {
                let low = matches!(cx.input, DType::F16 | DType::Bf16);
                blend(old, batch, if low { round(momentum, cx.input) } else { momentum })
            }
        }),
        mutant!("old-value-not-decayed", "adds momentum·batch to the whole old value", "", {
            fn running_update(&self, old: f64, batch: f64, momentum: f64, _cx: &Context) -> f64 {
                old + momentum * batch
            }
        }),
        mutant!("new-value-not-weighed", "adds the whole batch value to (1 − momentum)·old", "", {
            fn running_update(&self, old: f64, batch: f64, momentum: f64, _cx: &Context) -> f64 {
                (1.0 - momentum) * old + batch
            }
        }),
        mutant!("moves-away", "moves the buffers away from the batch", "", {
            fn running_update(&self, old: f64, batch: f64, momentum: f64, _cx: &Context) -> f64 {
                old - momentum * (batch - old)
            }
        }),
    ]
}

fn which_are_updated() -> Vec<Mutant> {
    vec![
        mutant!("buffers-never-written", "the running statistics are never updated", "tvm#18518", {
            fn running_update(&self, old: f64, _batch: f64, _momentum: f64, _cx: &Context) -> f64 {
                old
            }
        }),
        mutant!("buffers-overwritten", "the running statistics are those of the last batch", "", {
            fn running_update(&self, _old: f64, batch: f64, _momentum: f64, _cx: &Context) -> f64 {
                batch
            }
        }),
        mutant!("running-mean-not-updated", "running_mean is never updated", "", {
            fn update_running_mean(&self, old: f64, _batch: &Statistics, _m: f64, _cx: &Context) -> f64 {
                old
            }
        }),
        mutant!("running-var-not-updated", "running_var is never updated", "", {
            fn update_running_var(&self, old: f64, _batch: &Statistics, _m: f64, _cx: &Context) -> f64 {
                old
            }
        }),
        mutant!("running-var-without-momentum", "running_var is overwritten, running_mean is blended", "", {
            fn update_running_var(&self, _old: f64, batch: &Statistics, _m: f64, cx: &Context) -> f64 {
                batch.var_biased * self.bessel(cx)
            }
        }),
        mutant!("buffers-swapped", "running_mean tracks the variance and running_var the mean", "", {
            fn track(&self, state: &mut State, statistics: &[Statistics], momentum: f64, cx: &Context) {
                std::mem::swap(&mut state.running_mean, &mut state.running_var);
                module::track(self, state, statistics, momentum, cx);
                std::mem::swap(&mut state.running_mean, &mut state.running_var);
            }
        }),
        mutant!("updated-twice", "each batch updates the running statistics twice", "", {
            fn track(&self, state: &mut State, statistics: &[Statistics], momentum: f64, cx: &Context) {
                module::track(self, state, statistics, momentum, cx);
                module::track(self, state, statistics, momentum, cx);
            }
        }),
        mutant!("last-channel-not-updated", "the last of several channels is not updated", "", {
            fn track(&self, state: &mut State, statistics: &[Statistics], momentum: f64, cx: &Context) {
                let but_last = match statistics {
                    [but_last @ .., _] if !but_last.is_empty() => but_last,
                    all => all,
                };
                module::track(self, state, but_last, momentum, cx);
            }
        }),
        mutant!("channel-tail-not-updated", "channels beyond the last full four are not updated", "", {
            fn track(&self, state: &mut State, statistics: &[Statistics], momentum: f64, cx: &Context) {
                let fours = if statistics.len() < 4 { statistics.len() } else { statistics.len() / 4 * 4 };
                module::track(self, state, &statistics[..fours], momentum, cx);
            }
        }),
        mutant!("first-batch-copied", "the first batch overwrites the running statistics", "", {
            fn track(&self, state: &mut State, statistics: &[Statistics], momentum: f64, cx: &Context) {
                let first = state.num_batches_tracked == Some(1);
                module::track(self, state, statistics, if first { 1.0 } else { momentum }, cx);
            }
        }),
        mutant!("nan-batch-not-tracked", "a batch with a NaN mean leaves the channel's buffers alone", "", {
            fn running_update(&self, old: f64, batch: f64, momentum: f64, _cx: &Context) -> f64 {
                if batch.is_nan() { old } else { blend(old, batch, momentum) }
            }
        }),
        mutant!("empty-batch-decays", "an empty batch counts as one of mean 0 and variance 0", "", {
            fn track(&self, state: &mut State, statistics: &[Statistics], momentum: f64, cx: &Context) {
                if cx.n() > 0.0 {
                    return module::track(self, state, statistics, momentum, cx);
                }
                for buffer in [&mut state.running_mean, &mut state.running_var].into_iter().flatten() {
                    buffer
                        .data
                        .iter_mut()
                        .for_each(|old| *old = round(blend(*old, 0.0, momentum), buffer.dtype));
                }
            }
        }),
        mutant!("empty-batch-poisons", "an empty batch makes the running statistics 0/0", "", {
            fn track(&self, state: &mut State, statistics: &[Statistics], momentum: f64, cx: &Context) {
                if cx.n() > 0.0 {
                    return module::track(self, state, statistics, momentum, cx);
                }
                for buffer in [&mut state.running_mean, &mut state.running_var].into_iter().flatten() {
                    buffer.data.fill(f64::NAN);
                }
            }
        }),
    ]
}

fn when() -> Vec<Mutant> {
    vec![
        mutant!("eval-updates", "evaluation updates the running statistics too", "", {
            fn forward<'a>(
                &self,
                module: &mut Module,
                values: Cow<'a, [f64]>,
                cx: Context<'a>,
            ) -> Result<Forward<'a>, Refusal> {
                let forward = module::forward(self, module, values, cx)?;
                if let (Mode::Eval, Some(momentum)) = (cx.mode, cx.layer.momentum) {
                    let own = Context { own_statistics: true, ..forward.cx };
                    let batch = module::statistics(self, &module.state, &forward.values, &own);
                    self.track(&mut module.state, &batch, momentum.0, &own);
                }
                Ok(forward)
            }
        }),
        mutant!("updates-without-tracking", "training updates buffers that the layer does not track", "", {
            fn tracks(&self, _layer: &Layer, mode: Mode) -> bool {
                mode == Mode::Train
            }
        }),
        mutant!(
            "updated-before-normalising",
            "training normalises by the running statistics, just updated",
            "tt-metal#45578",
            {
                fn forward<'a>(
                    &self,
                    module: &mut Module,
                    values: Cow<'a, [f64]>,
                    cx: Context<'a>,
                ) -> Result<Forward<'a>, Refusal> {
                    let mut forward = module::forward(self, module, values, cx)?;
                    if self.tracks(cx.layer, cx.mode) {
                        let running = Context { own_statistics: false, ..forward.cx };
                        forward.statistics = self.statistics(&module.state, &forward.values, &running);
                    }
                    Ok(forward)
                }
            }
        ),
        mutant!(
            "train-by-running-stats",
            "training normalises by the running statistics as they were",
            "",
            {
                fn statistics(&self, state: &State, values: &[f64], cx: &Context) -> Vec<Statistics> {
                    module::statistics(self, state, values, &Context { own_statistics: false, ..*cx })
                }
            }
        ),
        mutant!("eval-by-batch-stats", "evaluation normalises by the batch's statistics", "", {
            fn statistics(&self, state: &State, values: &[f64], cx: &Context) -> Vec<Statistics> {
                module::statistics(self, state, values, &Context { own_statistics: true, ..*cx })
            }
        }),
        mutant!(
            "eval-by-batch-stats-when-untracked",
            "with tracking off, evaluation does not use the buffers that are there",
            "",
            {
                fn uses_own_statistics(&self, layer: &Layer, state: &State, mode: Mode) -> bool {
                    let none = state.running_mean.is_none() && state.running_var.is_none();
                    mode == Mode::Train || none || !layer.track_running_stats
                }
            }
        ),
        mutant!(
            "train-by-buffers-when-untracked",
            "with tracking off, training normalises by the buffers that are there",
            "",
            {
                fn statistics(&self, state: &State, values: &[f64], cx: &Context) -> Vec<Statistics> {
                    let own_statistics = cx.own_statistics && cx.layer.track_running_stats;
                    module::statistics(self, state, values, &Context { own_statistics, ..*cx })
                }
            }
        ),
        mutant!(
            "eval-without-buffers-as-new",
            "evaluation without buffers takes mean 0 and variance 1",
            "",
            {
                fn statistics(&self, state: &State, values: &[f64], cx: &Context) -> Vec<Statistics> {
                    let mut all = module::statistics(self, state, values, cx);
                    if cx.mode == Mode::Eval && cx.own_statistics {
                        all.fill(Statistics { mean: 0.0, mean_rest: 0.0, var_biased: 1.0 });
                    }
                    all
                }
            }
        ),
    ]
}
