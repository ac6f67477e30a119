//! The counter of batches, and the cumulative average that it decides about: raised
//! by one for each tracked batch, before anything is checked but the rank.

use std::cell::Cell;

use super::{Mutant, mutant};
use crate::case::{Case, Layer, Mode, State};
use crate::engines::textbook::formulas::Statistics;
use crate::engines::textbook::module::{self, Module, Plan};
use crate::engines::textbook::recipe::{Context, Recipe};
use crate::outcome::Refusal;
use crate::tensor::DType;

pub(super) fn mutants() -> Vec<Mutant> {
    [counter(), cumulative()].into_iter().flatten().collect()
}

fn counter() -> Vec<Mutant> {
    vec![
        mutant!("counter-not-raised", "num_batches_tracked is never raised", "oneflow#7440", {
            fn count_batch(&self, _state: &mut State) {}
        }),
        mutant!("counter-raised-twice", "num_batches_tracked goes up by 2", "", {
            fn count_batch(&self, state: &mut State) {
                state.num_batches_tracked = state.num_batches_tracked.map(|counter| counter + 2);
            }
        }),
        mutant!("counter-counts-samples", "num_batches_tracked goes up by N", "", {
            fn plan(
                &self,
                module: &mut Module,
                shape: &[usize],
                input: DType,
                mode: Mode,
            ) -> Result<Plan, Refusal> {
                let before = module.state.num_batches_tracked;
                let plan = module::plan(self, module, shape, input, mode);
                if module.state.num_batches_tracked != before {
                    module.state.num_batches_tracked = before.map(|counter| counter + shape[0] as i64);
                }
                plan
            }
        }),
        mutant!("counter-in-i32", "num_batches_tracked wraps at 2³¹", "", {
            fn count_batch(&self, state: &mut State) {
                let raised = |counter: i64| i64::from((counter as i32).wrapping_add(1));
                state.num_batches_tracked = state.num_batches_tracked.map(raised);
            }
        }),
        mutant!(
            "counter-in-f32",
            "num_batches_tracked is kept in f32 and sticks at 2²⁴",
            "pytorch#110361",
            {
                fn count_batch(&self, state: &mut State) {
                    let raised = |counter: i64| (counter as f32 + 1.0) as i64;
                    state.num_batches_tracked = state.num_batches_tracked.map(raised);
                }
            }
        ),
        mutant!("counter-raised-without-tracking", "num_batches_tracked goes up with tracking off", "", {
            fn plan(
                &self,
                module: &mut Module,
                shape: &[usize],
                input: DType,
                mode: Mode,
            ) -> Result<Plan, Refusal> {
                let plan = module::plan(self, module, shape, input, mode)?;
                if mode == Mode::Train && !module.layer.track_running_stats {
                    self.count_batch(&mut module.state);
                }
                Ok(plan)
            }
        }),
        mutant!("counter-raised-in-eval", "num_batches_tracked goes up in evaluation", "", {
            fn plan(
                &self,
                module: &mut Module,
                shape: &[usize],
                input: DType,
                mode: Mode,
            ) -> Result<Plan, Refusal> {
                let plan = module::plan(self, module, shape, input, mode)?;
                if mode == Mode::Eval {
                    self.count_batch(&mut module.state);
                }
                Ok(plan)
            }
        }),
        mutant!("refused-batch-not-counted", "num_batches_tracked goes up only after all checks", "", {
            fn plan(
                &self,
                module: &mut Module,
                shape: &[usize],
                input: DType,
                mode: Mode,
            ) -> Result<Plan, Refusal> {
                let before = module.state.num_batches_tracked;
                let plan = module::plan(self, module, shape, input, mode);
                if plan.is_err() {
                    module.state.num_batches_tracked = before;
                }
                plan
            }
        }),
        mutant!("empty-batch-not-counted", "num_batches_tracked does not go up for an empty batch", "", {
            fn plan(
                &self,
                module: &mut Module,
                shape: &[usize],
                input: DType,
                mode: Mode,
            ) -> Result<Plan, Refusal> {
                let before = module.state.num_batches_tracked;
                let plan = module::plan(self, module, shape, input, mode);
                if shape.contains(&0) {
                    module.state.num_batches_tracked = before;
                }
                plan
            }
        }),
        mutant!("wrong-rank-counted", "num_batches_tracked goes up before the rank is checked", "", {
            fn plan(
                &self,
                module: &mut Module,
                shape: &[usize],
                input: DType,
                mode: Mode,
            ) -> Result<Plan, Refusal> {
                let wrong = self.check_rank(module.layer, shape).is_err();
                if wrong && self.tracks(module.layer, mode) {
                    self.count_batch(&mut module.state);
                }
                module::plan(self, module, shape, input, mode)
            }
        }),
    ]
}

fn cumulative() -> Vec<Mutant> {
    vec![
        mutant!("cumulative-not-known", "momentum null counts as 0.1", "", {
            fn momentum(&self, layer: &Layer, _state: &State, _tracking: bool) -> Result<f64, Refusal> {
                Ok(layer.momentum.map_or(0.1, |momentum| momentum.0))
            }
        }),
        mutant!("cumulative-off-by-one", "the cumulative average divides by the counter plus 1", "", {
            fn momentum(&self, layer: &Layer, state: &State, tracking: bool) -> Result<f64, Refusal> {
                let factor = module::momentum(layer, state, tracking)?;
                Ok(if layer.momentum.is_none() { factor / (1.0 + factor) } else { factor })
            }
        }),
        mutant!(
            "cumulative-without-counter",
            "without a counter the cumulative average takes every batch whole",
            "",
            {
                fn momentum(&self, layer: &Layer, state: &State, tracking: bool) -> Result<f64, Refusal> {
                    match (layer.momentum, state.num_batches_tracked) {
                        (None, None) => Ok(1.0),
                        _ => module::momentum(layer, state, tracking),
                    }
                }
            }
        ),
        Mutant {
            name: "cumulative-forgets-preset",
            fault: "the cumulative average counts its own batches, whatever the counter was set to",
            source: "",
            recipe: || Box::new(ForgetsPreset::default()),
        },
        Mutant {
            name: "cumulative-weighs-by-size",
            fault: "the cumulative average weighs each batch by its number of values",
            source: "",
            recipe: || Box::new(WeighsBySize::default()),
        },
    ]
}

/// Counts the batches of the script in a cell.
#[derive(Default)]
struct ForgetsPreset(Cell<u32>);

impl Recipe for ForgetsPreset {
    fn initial_state(&self, case: &Case) -> State {
        self.0.set(0);
        case.state.clone()
    }

    fn momentum(&self, layer: &Layer, state: &State, tracking: bool) -> Result<f64, Refusal> {
        let right = module::momentum(layer, state, tracking)?;
        if !tracking || layer.momentum.is_some() || state.num_batches_tracked.is_none() {
            return Ok(right);
        }
        self.0.set(self.0.get() + 1);
        Ok(1.0 / f64::from(self.0.get()))
    }
}

/// Counts the values per channel of the script in a cell.
#[derive(Default)]
struct WeighsBySize(Cell<f64>);

impl Recipe for WeighsBySize {
    fn initial_state(&self, case: &Case) -> State {
        self.0.set(0.0);
        case.state.clone()
    }

    fn track(&self, state: &mut State, statistics: &[Statistics], momentum: f64, cx: &Context) {
        self.0.set(self.0.get() + cx.n());
        let cumulative = cx.layer.momentum.is_none() && state.num_batches_tracked.is_some();
        let momentum = if cumulative { cx.n() / self.0.get() } else { momentum };
        module::track(self, state, statistics, momentum, cx);
    }
}
