//! Many cases, judged by both grades, one report, always in the order of the cases.
//!
//! An engine inside this process is built once per worker and asked in
//! parallel; a program is asked one case after the other, since it is one.

use rayon::prelude::*;

use crate::check::{self, CaseReport, Replay};
use crate::engine::Engine;
use crate::golden::Golden;

/// Checks every case in parallel; `make` builds an engine for each worker, and
/// `done` is called after each case.
pub fn in_parallel(
    goldens: &[Golden],
    make: impl Fn() -> Box<dyn Engine> + Sync,
    replay: &Replay,
    done: impl Fn() + Sync,
) -> Vec<CaseReport> {
    let judge = |engine: &mut Box<dyn Engine>, golden: &Golden| {
        let report = check::check_both_grades(golden, engine.as_mut(), replay);
        done();
        report
    };
    goldens.par_iter().map_init(&make, judge).collect()
}

/// Checks every case in turn with one engine; `done` is called after each.
pub fn in_turn(
    goldens: &[Golden],
    engine: &mut dyn Engine,
    replay: &Replay,
    done: impl Fn(),
) -> Vec<CaseReport> {
    let judge = |golden: &Golden| {
        let report = check::check_both_grades(golden, engine, replay);
        done();
        report
    };
    goldens.iter().map(judge).collect()
}
