//! The suite's power, measured: which mutants does which case kill?
//!
//! A case *kills* a mutant when the mutant fails it. Every mutant must be killed by
//! the stored cases alone, which is all that a user of the fixtures has, and by the
//! generated ones alone. One that is not is a *survivor*, and a gap in the suite.
//!
//! The rivals (see [`crate::rivals`]) judge the same engines, so that their kill
//! rates can stand beside the suite's.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use serde::Serialize;

use crate::check::{self, Replay, Verdict};
use crate::golden::Golden;
use crate::mutants::Mutant;
use crate::rivals::Rival;

/// The cases of the suite with their truth, by where they come from.
#[derive(Clone, Debug, Default)]
pub struct Cases {
    /// Those of the fixtures.
    pub golden: Vec<Golden>,
    /// Those that are made anew.
    pub generated: Vec<Golden>,
}

/// Where a case comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The fixtures.
    Golden,
    /// The catalogue and the truth, anew.
    Generated,
}

/// Who kills whom.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KillMatrix {
    /// The number of mutants.
    pub total: usize,
    /// How many of them some stored case kills.
    pub killed_by_golden: usize,
    /// How many of them some generated case kills.
    pub killed_by_generated: usize,
    /// The mutants that the stored cases alone, or the generated ones alone, do not kill.
    pub survivors: Vec<String>,
    /// Every mutant with its killers.
    pub mutants: Vec<Row>,
    /// What the other suites make of the same mutants.
    pub rivals: Vec<RivalRow>,
    /// The cases without which a mutant would survive the cases of that source.
    pub only_killers: Vec<OnlyKiller>,
    /// The cases that kill no mutant.
    pub idle_cases: Vec<String>,
}

/// A mutant and its killers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The mutant's name.
    pub name: String,
    /// What is wrong with it.
    pub fault: String,
    /// The real project that made the mistake, if one is known.
    pub source: String,
    /// The cases that it fails.
    pub killed_by: KilledBy,
}

/// The cases that kill a mutant, in the order of the catalogue.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct KilledBy {
    /// Stored ones.
    pub golden: Vec<String>,
    /// Generated ones.
    pub generated: Vec<String>,
}

/// How many of the mutants another suite refuses.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RivalRow {
    /// The rival's name.
    pub name: String,
    /// Whose it is, what it looks at, how closely.
    pub about: String,
    /// How many mutants it refuses.
    pub killed: usize,
    /// Of so many.
    pub total: usize,
}

/// A case that is the only one of its source to kill some mutants.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OnlyKiller {
    /// The case.
    pub case: String,
    /// Where it comes from.
    pub source: Source,
    /// The mutants that no other case of that source kills.
    pub mutants: Vec<String>,
}

impl KilledBy {
    fn of(&self, source: Source) -> &[String] {
        match source {
            Source::Golden => &self.golden,
            Source::Generated => &self.generated,
        }
    }
}

impl Row {
    /// Whether one of the two sources does not kill it.
    pub fn survives(&self) -> bool {
        self.killed_by.golden.is_empty() || self.killed_by.generated.is_empty()
    }
}

/// Runs every mutant on every case and before every rival, mutants in parallel, and
/// the cases of one in turn: some keep from one case what they show in the next.
/// `done` is called after each mutant.
pub fn run(mutants: &[Mutant], rivals: &[Rival], cases: &Cases, done: impl Fn() + Sync) -> KillMatrix {
    let judged: Vec<(Row, Vec<bool>)> = mutants
        .par_iter()
        .map(|mutant| {
            let row = row(mutant, cases);
            let refused = rivals.iter().map(|rival| !rival.accepts(mutant.engine().as_mut())).collect();
            done();
            (row, refused)
        })
        .collect();
    let (rows, refused): (Vec<Row>, Vec<Vec<bool>>) = judged.into_iter().unzip();
    let killed = |source: Source| rows.iter().filter(|row| !row.killed_by.of(source).is_empty()).count();
    let rival = |(index, rival): (usize, &Rival)| RivalRow {
        name: rival.name.into(),
        about: rival.about.into(),
        killed: refused.iter().filter(|refused| refused[index]).count(),
        total: rows.len(),
    };
    KillMatrix {
        total: rows.len(),
        killed_by_golden: killed(Source::Golden),
        killed_by_generated: killed(Source::Generated),
        survivors: rows.iter().filter(|row| row.survives()).map(|row| row.name.clone()).collect(),
        rivals: rivals.iter().enumerate().map(rival).collect(),
        only_killers: only_killers(&rows),
        idle_cases: idle_cases(&rows, cases),
        mutants: rows,
    }
}

fn row(mutant: &Mutant, cases: &Cases) -> Row {
    let killers = |goldens: &[Golden]| {
        // Each source alone must do, so a mutant starts each of them anew.
        let mut engine = mutant.engine();
        let replay = Replay::named(&engine.about().name);
        let fails = |golden: &&Golden| {
            matches!(check::check(golden, engine.as_mut(), &replay).verdict, Verdict::Failed { .. })
        };
        goldens.iter().filter(fails).map(|golden| golden.case.name.clone()).collect()
    };
    let killed_by = KilledBy { golden: killers(&cases.golden), generated: killers(&cases.generated) };
    Row { name: mutant.name.into(), fault: mutant.fault.into(), source: mutant.source.into(), killed_by }
}

fn only_killers(rows: &[Row]) -> Vec<OnlyKiller> {
    let mut found: BTreeMap<(Source, &str), Vec<String>> = BTreeMap::new();
    for source in [Source::Golden, Source::Generated] {
        for row in rows {
            if let [case] = row.killed_by.of(source) {
                found.entry((source, case)).or_default().push(row.name.clone());
            }
        }
    }
    let entry =
        |((source, case), mutants): ((Source, &str), _)| OnlyKiller { case: case.into(), source, mutants };
    found.into_iter().map(entry).collect()
}

fn idle_cases(rows: &[Row], cases: &Cases) -> Vec<String> {
    let killers: BTreeSet<&String> =
        rows.iter().flat_map(|row| row.killed_by.golden.iter().chain(&row.killed_by.generated)).collect();
    let all = cases.golden.iter().chain(&cases.generated).map(|golden| &golden.case.name);
    all.filter(|case| !killers.contains(case)).cloned().collect()
}
