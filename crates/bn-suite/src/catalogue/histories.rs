//! What a layer remembers: every momentum from every counter, with an empty batch
//! between two others; backward passes that wait while the layer goes on; and
//! batches of every rank, with nothing in them, or values along one axis only.

use super::Entry;
use super::builder::{Script, script};
use super::fill::Fill;
use super::gradients::STATISTICS_OF_NOW;
use crate::case::Mode::{Eval, Train};
use crate::case::Rank;
use crate::outcome::Field;
use crate::tensor::DType;

/// Momenta as given, by name; none stands for null, the cumulative average.
const MOMENTA: [(&str, Option<f64>); 9] = [
    ("0", Some(0.0)),
    ("1", Some(1.0)),
    ("half", Some(0.5)),
    ("minus-half", Some(-0.5)),
    ("2", Some(2.0)),
    ("thousandth", Some(1.0 / 1024.0)),
    ("nan", Some(f64::NAN)),
    ("infinite", Some(f64::INFINITY)),
    ("null", None),
];

/// Counters to start from, by name.
const COUNTERS: [(&str, i64); 6] = [
    ("0", 0),
    ("9", 9),
    ("2-24", 1 << 24),
    ("2-31-less-1", (1 << 31) - 1),
    ("2-40", 1 << 40),
    ("minus-2", -2),
];

/// The ranks that the function under the modules is asked about.
const RANKS: std::ops::RangeInclusive<usize> = 2..=7;

/// As many cases as this group promises: momenta × counters,
/// momenta × what is spoiled, first × second mode ×
/// with second gradients or without, and five batches of each rank, of which rank
/// 2 has three.
pub const COUNT: usize = MOMENTA.len() * COUNTERS.len() + SPOILED.len() * 2 + 2 * 2 * 2 + (5 * 6 - 2);

pub(super) fn cases() -> Vec<Entry> {
    [momenta(), spoiled(), deferred(), RANKS.flat_map(of_rank).collect()].concat()
}

fn with_momentum(layer: Script, momentum: Option<f64>) -> Script {
    match momentum {
        Some(momentum) => layer.momentum(momentum),
        None => layer.cumulative(),
    }
}

fn momenta() -> Vec<Entry> {
    let case = |(name, momentum): (&str, Option<f64>), (start, counter): (&str, i64)| {
        let note = format!(
            "Momentum {name} from a counter of {start}: two batches and an empty one between them, which counts and \
             leaves the running statistics alone."
        );
        let layer = script(&format!("histories/momentum-{name}-counter-{start}"), &[4, 3], &note);
        let layer = with_momentum(layer, momentum).counter(Some(counter)).fill(Fill::Dense).train();
        layer.batch(&[0, 3]).train().batch(&[4, 3]).train().eval().generated()
    };
    MOMENTA.into_iter().flat_map(|momentum| COUNTERS.map(|counter| case(momentum, counter))).collect()
}

/// Momenta whose factor may be 0, and one whose may not.
const SPOILED: [(&str, Option<f64>); 4] =
    [("0", Some(0.0)), ("1", Some(1.0)), ("half", Some(0.5)), ("null", None)];

/// NaN in the buffers or in the batch, in channel 1 of three.
fn spoiled() -> Vec<Entry> {
    let case = |(name, momentum): (&str, Option<f64>), in_batch: bool| {
        let what = if in_batch { "nan-batch" } else { "nan-buffers" };
        let note = format!(
            "Momentum {name} and {what}: 0·NaN is NaN, so that no factor of 0 or 1 clears it or keeps it out."
        );
        let layer = script(&format!("histories/momentum-{name}-{what}"), &[4, 3], &note);
        let mut layer = with_momentum(layer, momentum).fill(Fill::Dense);
        if !in_batch {
            layer = layer.buffers(&[0.5, f64::NAN, -2.0], &[1.5, f64::NAN, 0.25]);
        }
        layer = layer.train();
        if in_batch {
            layer.last_pass().input.data[4] = f64::NAN;
        }
        layer.grad_exact().train().grad_exact().eval().generated()
    };
    SPOILED.into_iter().flat_map(|momentum| [false, true].map(|in_batch| case(momentum, in_batch))).collect()
}

/// What depends on the statistics: the first gradients, then the second ones.
const GRADIENTS: [Field; 5] = [
    Field::GradInput,
    Field::GradWeight,
    Field::SecondGradOutput,
    Field::SecondGradInput,
    Field::SecondGradWeight,
];

/// A pass whose backward waits for two more forward passes.
fn deferred() -> Vec<Entry> {
    let mut entries = Vec::new();
    for (first, first_name) in [(Train, "train"), (Eval, "eval")] {
        for (second, second_name) in [(Train, "train"), (Eval, "eval")] {
            for seconds in [false, true] {
                let orders = if seconds { "both-orders" } else { "first-order" };
                let name = format!("histories/deferred-{first_name}-then-{second_name}-{orders}");
                let note = format!(
                    "{first_name}, then {second_name} and training, then the gradients of the first ({orders}): \
                     by the statistics of its own forward pass."
                );
                let layer = script(&name, &[5, 3], &note).dtype(DType::F64);
                let layer = layer.fill(Fill::Dense).forward(first).grad_exact();
                let layer = if seconds { layer.second(true, true, true) } else { layer };
                let layer = layer.deferred().forward(second).train();
                entries.push(if first == Eval {
                    let fields = if seconds { &GRADIENTS[..] } else { &GRADIENTS[..2] };
                    layer.disputed_by_libtorch(fields, STATISTICS_OF_NOW).generated()
                } else {
                    layer.generated()
                });
            }
        }
    }
    entries
}

/// Batches of a rank: values along all axes, along N alone, along the last alone,
/// and none at all for want of samples or of places.
fn of_rank(rank: usize) -> Vec<Entry> {
    let with = |n: usize, inner: usize, last: usize| {
        let mut shape = [vec![n, 3], vec![inner; rank - 2]].concat();
        if rank > 2 {
            shape[rank - 1] = last;
        }
        shape
    };
    let layer = |what: &str, shape: Vec<usize>, note: &str| {
        let name = format!("histories/rank-{rank}-{what}");
        let note = format!("Rank {rank}, {note}");
        script(&name, &shape, &note).rank(Rank::Any).fill(Fill::Dense)
    };
    let played = |layer: Script| layer.train().grad_exact().eval().grad_exact().generated();
    // The step after an empty one finds the layer as it was.
    let empty = |layer: Script, good: &[usize]| {
        let layer = layer.train().grad_exact().eval().grad_exact().batch(good);
        layer.train().grad_exact().eval().generated()
    };
    let n = if rank == 2 { 5 } else { 2 };
    let mut entries = vec![
        played(layer(
            "full",
            with(n, 2, 3),
            "values along every axis: all but the second are averaged over.",
        )),
        played(layer(
            "batch-alone",
            with(7, 1, 1),
            "values along N alone: the axes of extent 1 change nothing.",
        )),
        empty(
            layer("no-samples", with(0, 2, 3), "N = 0: counted, nothing is divided by 0, gradients are 0."),
            &with(n, 2, 3),
        ),
    ];
    if rank > 2 {
        entries.push(played(layer(
            "last-alone",
            with(1, 1, 7),
            "N = 1 and values along the last axis alone.",
        )));
        entries.push(empty(
            layer("no-places", with(2, 2, 0), "a last axis of extent 0: as empty as N = 0."),
            &with(n, 2, 3),
        ));
    }
    entries
}
