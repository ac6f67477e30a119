//! A framework's batch norm against ours, each through its public calls.
//!
//! The framework runs in a program of its own, which is asked over the engine protocol to
//! time a pass; our engine is asked the same in this one. Both make the same input and are
//! asked in turns: a *round* is A B B A, a turn three calls, and a round's ratio
//! (B + B)/(A + A) of their medians. Ours writes into arrays that are there already, where a
//! framework allocates what a call gives; so that this costs no more than asking for it, its C
//! allocator is told to keep what is handed back ([`KEPT_MEMORY`]). What it came to is checked
//! before it counts: values of two channels of the very answer that was timed, against the
//! suite's truth and its allowance.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use bn_findings::speed::{Mean, Row};
use bn_suite::case::{Case, Layer, Mode, Pass, State, Step};
use bn_suite::check::{Difference, differences};
use bn_suite::engine::{Engine, EngineError, Offer};
use bn_suite::golden::ExpectedField;
use bn_suite::outcome::Field;
use bn_suite::protocol::timing::{Op, Timing, element};
use bn_suite::tensor::{DType, Tensor};
use bn_suite::truth;

use crate::networks::{Network, shape_name};
use crate::statistics::{Weighted, geometric_mean, mean_interval, median, median_interval};

/// Calls of a turn.
const CALLS: usize = 3;
/// Values that are compared, of each of two channels.
const PROBES: usize = 64;

/// Before the words of a framework's command: an allocator that maps memory anew for each
/// result would have its page faults timed, as this program's would
/// ([`crate::machine::keep_memory`]).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub const KEPT_MEMORY: &[&str] =
    &["env", "MALLOC_MMAP_MAX_=0", "MALLOC_TRIM_THRESHOLD_=18446744073709551615"];
/// There is no such setting here.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub const KEPT_MEMORY: &[&str] = &[];

/// Races the two over a network's layers in f32. A pass that the engine says it does not do has
/// no row. `done` is called after each row.
///
/// # Errors
/// An engine that is not timed, fails, or answers what is not batch norm.
pub fn race(
    ours: &mut dyn Engine,
    theirs: &mut dyn Engine,
    network: &Network,
    (batch, rounds): (usize, usize),
    mut done: impl FnMut(&Row),
) -> Result<Vec<Row>> {
    let name = theirs.about().name.clone();
    ensure!(theirs.about().offers.contains(&Offer::Time), "{name} does not offer to be timed");
    let mut rows = Vec::new();
    for layer in &network.layers {
        let shape = layer.shape(batch);
        let truths = [0, layer.channels - 1].map(|channel| Truth::of(&shape, channel));
        for op in [Op::ForwardTrain, Op::ForwardEval, Op::BackwardTrain] {
            let probes = truths.iter().flat_map(|truth| &truth.places).copied().collect();
            let timing = Timing { op, shape: shape.clone(), dtype: DType::F32, calls: CALLS, probes };
            let turn = |engine: &mut dyn Engine| -> Result<Option<f64>> {
                let timed = match engine.time(&timing) {
                    Err(EngineError::Unsupported(_)) => return Ok(None),
                    timed => timed.with_context(|| engine.about().name.clone())?,
                };
                ensure!(timed.seconds.len() == CALLS, "{} times for {CALLS} calls", timed.seconds.len());
                for (truth, probes) in truths.iter().zip(timed.probes.chunks(PROBES)) {
                    truth.check(op, probes).with_context(|| {
                        format!("{}, {} of {}", engine.about().name, op.name(), shape_name(&shape))
                    })?;
                }
                Ok(Some(median(&timed.seconds)))
            };
            let mut all = Vec::new();
            for _ in 0..rounds {
                let turns = [turn(ours)?, turn(theirs)?, turn(theirs)?, turn(ours)?];
                let [Some(a), Some(b), Some(c), Some(d)] = turns else { break };
                all.push([a, b, c, d]);
            }
            if all.len() < rounds {
                continue;
            }
            let row = row(network.name, shape_name(&shape), layer.count, op, all);
            done(&row);
            rows.push(row);
        }
    }
    ensure!(!rows.is_empty(), "{name} does none of the passes");
    Ok(rows)
}

/// The engine's time / ours in each round.
fn ratios(rounds: &[[f64; 4]]) -> Vec<f64> {
    rounds.iter().map(|[a, b, c, d]| (b + c) / (a + d)).collect()
}

fn row(network: &str, shape: String, count: usize, op: Op, rounds: Vec<[f64; 4]>) -> Row {
    let ratios = ratios(&rounds);
    let of = |time: fn(&[f64; 4]) -> f64| median(&rounds.iter().map(time).collect::<Vec<_>>());
    Row {
        network: network.into(),
        shape,
        count,
        op,
        ours: of(|[a, _, _, d]| (a + d) / 2.0),
        theirs: of(|[_, b, c, _]| (b + c) / 2.0),
        ratio: median(&ratios),
        interval: median_interval(&ratios),
        rounds,
    }
}

/// Of each network and pass.
pub fn means(rows: &[Row]) -> BTreeMap<String, BTreeMap<Op, Mean>> {
    let mut means: BTreeMap<String, BTreeMap<Op, Mean>> = BTreeMap::new();
    for Row { network, op, .. } in rows {
        means.entry(network.clone()).or_default().entry(*op).or_insert_with(|| mean(rows, network, *op));
    }
    means
}

fn mean(rows: &[Row], network: &str, op: Op) -> Mean {
    let of_pass = || rows.iter().filter(|row| row.network == network && row.op == op);
    let ratios: Vec<Vec<f64>> = of_pass().map(|row| ratios(&row.rounds)).collect();
    let weighted: Vec<Weighted> =
        of_pass().zip(&ratios).map(|(row, ratios)| Weighted { count: row.count, ratios }).collect();
    Mean {
        ratio: geometric_mean(of_pass().map(|row| (row.count, row.ratio))),
        interval: mean_interval(&weighted),
    }
}

/// What is right for one channel, at some places of the whole array.
struct Truth {
    places: Vec<usize>,
    train: ExpectedField,
    eval: ExpectedField,
    backward: ExpectedField,
}

impl Truth {
    fn of(shape: &[usize], channel: usize) -> Truth {
        let (channels, inner) = (shape[1], shape[2..].iter().product::<usize>());
        let place = |at: usize| (at / inner * channels + channel) * inner + at % inner;
        let n = shape[0] * inner;
        let array = |stream| {
            let data = (0..n).map(|at| element(place(at), stream)).collect();
            let mut alone = shape.to_vec();
            alone[1] = 1;
            Tensor::new(DType::F32, &alone, data)
        };
        let answer = |mode, field| {
            let mut pass = Pass::forward(mode, array(0));
            pass.grad_output = (field == Field::GradInput).then(|| array(1));
            let vector = |value| Some(Tensor::vector(DType::F32, &[value]));
            let case = Case {
                name: "race/channel".into(),
                note: String::new(),
                layer: Layer::default(),
                state: State {
                    weight: vector(1.0),
                    bias: vector(0.0),
                    running_mean: vector(0.0),
                    running_var: vector(1.0),
                    num_batches_tracked: None,
                },
                steps: vec![Step::BatchNorm(Box::new(pass))],
            };
            let mut steps = truth::solve(&case);
            steps.remove(0).fields.remove(&field).expect("the case asks for it")
        };
        let step = (n / PROBES).max(1);
        let at: Vec<usize> = (0..PROBES).map(|probe| probe * step % n).collect();
        let pick = |field: ExpectedField| ExpectedField {
            value: Tensor::vector(DType::F32, &at.iter().map(|&at| field.value.data[at]).collect::<Vec<_>>()),
            allowance: at.iter().map(|&at| field.allowance[at]).collect(),
        };
        Truth {
            places: at.iter().map(|&at| place(at)).collect(),
            train: pick(answer(Mode::Train, Field::Output)),
            eval: pick(answer(Mode::Eval, Field::Output)),
            backward: pick(answer(Mode::Train, Field::GradInput)),
        }
    }

    fn check(&self, op: Op, probes: &[f64]) -> Result<()> {
        ensure!(probes.len() == PROBES, "{} values where {PROBES} were asked for", probes.len());
        let expected = match op {
            Op::ForwardTrain => &self.train,
            Op::ForwardEval => &self.eval,
            Op::BackwardTrain => &self.backward,
        };
        let got = Tensor { data: probes.to_vec(), ..expected.value.clone() };
        if let Some(problem) = got.problem() {
            bail!("the values are no answer: {problem}: not timed");
        }
        let wrong = differences(expected, &got).find(|difference| !difference.is_right());
        match wrong {
            None => Ok(()),
            Some(Difference { index, got, expected, allowance }) => {
                let place = self.places[index];
                bail!("element {place} is {got}, not {expected} ± {allowance:.1e}: not timed")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bn_suite::engine::About;
    use bn_suite::engines::batchnorm::BatchnormEngine;
    use bn_suite::outcome::Outcome;
    use bn_suite::protocol::timing::Timed;

    use super::*;
    use crate::networks;

    fn network() -> Network {
        let layer = networks::Layer { batch: None, channels: 3, extents: vec![5, 7], count: 2 };
        Network { name: "tiny", layers: vec![layer] }
    }

    #[test]
    fn our_engine_ties_with_itself_in_every_row() {
        let (mut a, mut b) = (BatchnormEngine::default(), BatchnormEngine::default());
        let rows = race(&mut a, &mut b, &network(), (2, 5), |_| ()).unwrap();
        let ops: Vec<Op> = rows.iter().map(|row| row.op).collect();
        assert_eq!(ops, [Op::ForwardTrain, Op::ForwardEval, Op::BackwardTrain]);
        assert!(rows.iter().all(|row| row.rounds.len() == 5 && row.ratio > 0.0 && row.shape == "2x3x5x7"));
        let means = &means(&rows)["tiny"];
        assert_eq!(means.keys().copied().collect::<Vec<_>>(), ops);
        // The one row of a pass is its mean.
        assert!(rows.iter().all(|row| (means[&row.op].ratio / row.ratio - 1.0).abs() < 1e-12));
        assert!(means.values().all(|mean| mean.interval[0] <= mean.ratio && mean.ratio <= mean.interval[1]));
    }

    /// As ours, but for what is made of its times.
    struct Altered<F>(BatchnormEngine, F);

    impl<F: Fn(&Timing, Timed) -> Result<Timed, EngineError>> Engine for Altered<F> {
        fn about(&self) -> &About {
            self.0.about()
        }

        fn run(&mut self, case: &Case) -> Result<Vec<Outcome>, EngineError> {
            self.0.run(case)
        }

        fn time(&mut self, timing: &Timing) -> Result<Timed, EngineError> {
            let timed = self.0.time(timing)?;
            (self.1)(timing, timed)
        }
    }

    fn race_altered(
        rounds: usize,
        alter: impl Fn(&Timing, Timed) -> Result<Timed, EngineError>,
    ) -> Result<Vec<Row>> {
        let mut theirs = Altered(BatchnormEngine::default(), alter);
        race(&mut BatchnormEngine::default(), &mut theirs, &network(), (2, rounds), |_| ())
    }

    #[test]
    fn a_pass_that_the_engine_does_not_do_has_no_row() {
        let race = |without: &[Op]| {
            race_altered(3, |timing, timed| match without.contains(&timing.op) {
                true => Err(EngineError::Unsupported("this pass".into())),
                false => Ok(timed),
            })
        };
        let ops: Vec<Op> = race(&[Op::BackwardTrain]).unwrap().iter().map(|row| row.op).collect();
        assert_eq!(ops, [Op::ForwardTrain, Op::ForwardEval]);
        let nothing = race(&[Op::ForwardTrain, Op::ForwardEval, Op::BackwardTrain]).unwrap_err();
        assert!(nothing.to_string().contains("none of the passes"), "{nothing}");
    }

    #[test]
    fn what_is_wrong_is_not_timed() {
        for op in [Op::ForwardTrain, Op::ForwardEval, Op::BackwardTrain] {
            for is_f32 in [true, false] {
                // One value in the last channel is off, and may be no f32 at all.
                let raced = race_altered(5, |timing, mut timed| {
                    if timing.op == op {
                        let last = timed.probes.last_mut().unwrap();
                        *last = if is_f32 { f64::from((*last + 1e-3) as f32) } else { *last + 1e-3 };
                    }
                    Ok(timed)
                });
                let text = format!("{:#}", raced.unwrap_err());
                assert!(text.contains(op.name()) && text.contains("not timed"), "{text}");
            }
        }
    }
}
