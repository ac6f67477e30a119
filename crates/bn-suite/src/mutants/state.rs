//! State: a layer's own, from its own start, kept from nobody else, and reset as
//! asked.

use std::cell::{Cell, RefCell};

use super::{Mutant, mutant};
use crate::case::{Case, Layer, Mode, Reset, State};
use crate::engines::textbook::formulas::Statistics;
use crate::engines::textbook::module;
use crate::engines::textbook::recipe::{Context, Recipe};
use crate::tensor::Tensor;

pub(super) fn mutants() -> Vec<Mutant> {
    [shared(), stale(), resets()].into_iter().flatten().collect()
}

fn shared() -> Vec<Mutant> {
    vec![
        Mutant {
            name: "running-mean-shared-by-layers",
            fault: "a new layer of the same C goes on with the running mean of the one before",
            source: "",
            recipe: || Box::new(SharedMean::default()),
        },
        Mutant {
            name: "weight-shared-by-layers",
            fault: "every layer of the same C and dtype has the first one's weight",
            source: "",
            recipe: || Box::new(SharedWeight::default()),
        },
        Mutant {
            name: "counter-shared-by-layers",
            fault: "num_batches_tracked counts the batches of every layer",
            source: "",
            recipe: || Box::new(SharedCounter::default()),
        },
        Mutant {
            name: "eps-of-the-first-layer",
            fault: "every layer uses the eps of the first one made",
            source: "",
            recipe: || Box::new(FirstEps::default()),
        },
    ]
}

/// The running mean that the last tracking step left.
#[derive(Default)]
struct SharedMean(RefCell<Option<Tensor>>);

impl Recipe for SharedMean {
    fn initial_state(&self, case: &Case) -> State {
        let mut state = case.state.clone();
        if let (Some(mean), Some(left)) = (&mut state.running_mean, &*self.0.borrow())
            && (mean.dtype, mean.len()) == (left.dtype, left.len())
        {
            mean.data.clone_from(&left.data);
        }
        state
    }

    fn track(&self, state: &mut State, statistics: &[Statistics], momentum: f64, cx: &Context) {
        module::track(self, state, statistics, momentum, cx);
        self.0.borrow_mut().clone_from(&state.running_mean);
    }
}

/// The first weight of each length and dtype.
#[derive(Default)]
struct SharedWeight(RefCell<Vec<Tensor>>);

impl Recipe for SharedWeight {
    fn initial_state(&self, case: &Case) -> State {
        let mut state = case.state.clone();
        let mut known = self.0.borrow_mut();
        if let Some(weight) = &mut state.weight {
            let like = |first: &&Tensor| (first.dtype, first.len()) == (weight.dtype, weight.len());
            match known.iter().find(like) {
                Some(first) => weight.data.clone_from(&first.data),
                None => known.push(weight.clone()),
            }
        }
        state
    }
}

/// How many batches were counted so far.
#[derive(Default)]
struct SharedCounter(Cell<i64>);

impl Recipe for SharedCounter {
    fn count_batch(&self, state: &mut State) {
        self.0.set(self.0.get() + 1);
        state.num_batches_tracked = state.num_batches_tracked.map(|_| self.0.get());
    }
}

/// The eps of the first pass.
#[derive(Default)]
struct FirstEps(Cell<Option<f64>>);

impl Recipe for FirstEps {
    fn invstd(&self, statistics: &Statistics, cx: &Context) -> f64 {
        let eps = self.0.get().unwrap_or(cx.layer.eps);
        self.0.set(Some(eps));
        1.0 / (statistics.var_biased + eps).sqrt()
    }
}

fn stale() -> Vec<Mutant> {
    vec![
        Mutant {
            name: "eval-scale-cached",
            fault: "evaluation keeps the statistics of its first pass, though training moved them since",
            source: "",
            recipe: || Box::new(CachedEval::default()),
        },
        Mutant {
            name: "batch-statistics-cached",
            fault: "training keeps the statistics of the script's first batch",
            source: "",
            recipe: || Box::new(CachedBatch::default()),
        },
        Mutant {
            name: "eval-sticks",
            fault: "after an evaluation, training normalises by the running statistics too",
            source: "",
            recipe: || Box::new(StuckInEval::default()),
        },
    ]
}

/// What the first evaluation of the script used.
#[derive(Default)]
struct CachedEval(RefCell<Option<Vec<Statistics>>>);

impl Recipe for CachedEval {
    fn initial_state(&self, case: &Case) -> State {
        self.0.replace(None);
        case.state.clone()
    }

    fn statistics(&self, state: &State, values: &[f64], cx: &Context) -> Vec<Statistics> {
        let right = module::statistics(self, state, values, cx);
        if cx.own_statistics {
            return right;
        }
        self.0.borrow_mut().get_or_insert(right).clone()
    }
}

/// What the first training pass of the script used.
#[derive(Default)]
struct CachedBatch(RefCell<Option<Vec<Statistics>>>);

impl Recipe for CachedBatch {
    fn initial_state(&self, case: &Case) -> State {
        self.0.replace(None);
        case.state.clone()
    }

    fn statistics(&self, state: &State, values: &[f64], cx: &Context) -> Vec<Statistics> {
        let right = module::statistics(self, state, values, cx);
        if !cx.own_statistics {
            return right;
        }
        let mut kept = self.0.borrow_mut();
        let kept = kept.get_or_insert(right.clone());
        if kept.len() == right.len() { kept.clone() } else { right }
    }
}

/// Whether the script has evaluated.
#[derive(Default)]
struct StuckInEval(Cell<bool>);

impl Recipe for StuckInEval {
    fn initial_state(&self, case: &Case) -> State {
        self.0.set(false);
        case.state.clone()
    }

    fn statistics(&self, state: &State, values: &[f64], cx: &Context) -> Vec<Statistics> {
        self.0.set(self.0.get() || cx.mode == Mode::Eval);
        let own_statistics = cx.own_statistics && !self.0.get();
        module::statistics(self, state, values, &Context { own_statistics, ..*cx })
    }
}

fn resets() -> Vec<Mutant> {
    vec![
        mutant!("reset-does-nothing", "resets leave everything as it is", "", {
            fn reset(&self, _layer: &Layer, _state: &mut State, _what: Reset) {}
        }),
        mutant!("reset-keeps-the-counter", "resets leave num_batches_tracked as it is", "", {
            fn reset(&self, layer: &Layer, state: &mut State, what: Reset) {
                let counter = state.num_batches_tracked;
                module::reset(layer, state, what);
                state.num_batches_tracked = counter;
            }
        }),
        mutant!("reset-var-to-0", "resets set the running variance to 0", "", {
            fn reset(&self, layer: &Layer, state: &mut State, what: Reset) {
                module::reset(layer, state, what);
                let reset = state.running_var.as_mut().filter(|_| layer.track_running_stats);
                reset.into_iter().for_each(|var| var.data.fill(0.0));
            }
        }),
        mutant!("reset-stats-resets-parameters", "reset_running_stats() resets weight and bias too", "", {
            fn reset(&self, layer: &Layer, state: &mut State, _what: Reset) {
                module::reset(layer, state, Reset::Parameters);
            }
        }),
        mutant!("reset-parameters-keeps-stats", "reset_parameters() leaves the running statistics", "", {
            fn reset(&self, layer: &Layer, state: &mut State, what: Reset) {
                let State { running_mean, running_var, num_batches_tracked, .. } = state.clone();
                module::reset(layer, state, what);
                if what == Reset::Parameters {
                    let State { weight, bias, .. } = state.clone();
                    *state = State { weight, bias, running_mean, running_var, num_batches_tracked };
                }
            }
        }),
        mutant!("reset-without-tracking", "resets reach buffers that the layer does not track", "", {
            fn reset(&self, layer: &Layer, state: &mut State, what: Reset) {
                module::reset(&Layer { track_running_stats: true, ..layer.clone() }, state, what);
            }
        }),
        mutant!("reset-bias-to-1", "reset_parameters() sets the bias to 1", "", {
            fn reset(&self, layer: &Layer, state: &mut State, what: Reset) {
                module::reset(layer, state, what);
                let reset = state.bias.as_mut().filter(|_| what == Reset::Parameters);
                reset.into_iter().for_each(|bias| bias.data.fill(1.0));
            }
        }),
    ]
}
