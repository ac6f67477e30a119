//! The suite's power, measured: which mutants does which case kill?
//!
//! A case *kills* a mutant when the mutant fails it. Every mutant must be killed by
//! the stored cases alone, which is all that a user of the fixtures has, and by the
//! generated ones alone. One that is not is a *survivor*, and a gap in the suite.
//!
//! The other half of the measure are the right engines: none may be refused. And
//! the rivals (see [`crate::rivals`]) judge the same engines, wrong and right, so
//! that their rates can stand beside the suite's.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use serde::Serialize;

use crate::case::{Case, Step};
use crate::check::{self, CaseReport, Replay, Verdict, Worst};
use crate::engine::Engine;
use crate::engines::{self, Constructor};
use crate::golden::Golden;
use crate::mutants::{self, Mutant};
use crate::number;
use crate::rivals::{self, Rival};
use crate::variants;

/// Who is judged, and who judges beside the suite.
pub struct Suspects {
    /// The wrong engines.
    pub mutants: Vec<Mutant>,
    /// The right ones, by name.
    pub variants: Vec<(String, Constructor)>,
    /// Right ones that do not claim everything. The rivals do not ask for claims, so they
    /// are not asked about these.
    pub partial: Vec<(String, Constructor)>,
    /// Other suites.
    pub rivals: Vec<Rival>,
}

impl Suspects {
    /// Everybody that comes with the suite.
    pub fn all() -> Result<Self, rivals::RecordError> {
        let (mutants, rivals) = (mutants::all(), rivals::all()?);
        Ok(Suspects { mutants, variants: right_engines(), partial: Vec::new(), rivals })
    }
}

/// The engines that are right: those with a name, and the variants.
fn right_engines() -> Vec<(String, Constructor)> {
    let variants = variants::all().into_iter().map(|variant| format!("{}{}", variants::PREFIX, variant.name));
    let names = engines::names().map(str::to_owned).chain(variants);
    names.filter_map(|name| engines::constructor(&name).map(|make| (name, make))).collect()
}

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
    /// Every right engine, and whether the suite takes it for one.
    pub variants: Vec<VariantRow>,
    /// What the other suites make of the same engines.
    pub rivals: Vec<RivalRow>,
    /// The cases without which a mutant would survive the cases of that source.
    pub only_killers: Vec<OnlyKiller>,
    /// The cases that kill no mutant.
    pub idle_cases: Vec<String>,
    /// The cases of more than [`LARGE`] elements, which are asked only of the mutants
    /// that no smaller case of their source kills.
    pub large_cases: Vec<String>,
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

/// A right engine before the suite.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VariantRow {
    /// The engine's name.
    pub name: String,
    /// Whether every case takes it.
    pub passed: bool,
    /// The largest |got − expected| / allowance over all cases.
    #[serde(with = "number::plain")]
    pub worst_ratio: f64,
    /// The cases that do not take it.
    pub refused_by: Vec<String>,
    /// How many cases need what it does not claim.
    pub unsupported: usize,
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
    /// How many of the right engines that claim everything it refuses.
    pub variants_refused: usize,
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

/// The number of input elements above which a case is large.
pub const LARGE: usize = 1 << 18;

/// Runs every mutant and every right engine on every case and before every rival.
/// The engines run in parallel, the cases of one in turn: some keep from one case
/// what they show in the next. `done` is called after each engine.
pub fn run(suspects: &Suspects, cases: &Cases, done: impl Fn() + Sync) -> KillMatrix {
    let Suspects { mutants, variants, partial, rivals } = suspects;
    let refused_by_rivals = |make: &dyn Fn() -> Box<dyn Engine>| -> Vec<bool> {
        rivals.iter().map(|rival| !rival.accepts(make().as_mut())).collect()
    };
    let wrong: Vec<(Row, Vec<bool>)> = mutants
        .par_iter()
        .map(|mutant| (row(mutant, cases), refused_by_rivals(&|| mutant.engine())))
        .inspect(|_| done())
        .collect();
    let right: Vec<(VariantRow, Vec<bool>)> = variants
        .par_iter()
        .map(|(name, make)| (variant_row(name, make().as_mut(), cases), refused_by_rivals(make)))
        .inspect(|_| done())
        .collect();
    let partial: Vec<VariantRow> = partial
        .par_iter()
        .map(|(name, make)| variant_row(name, make().as_mut(), cases))
        .inspect(|_| done())
        .collect();
    let (rows, wrong_refused): (Vec<Row>, Vec<Vec<bool>>) = wrong.into_iter().unzip();
    let (mut variant_rows, right_refused): (Vec<VariantRow>, Vec<Vec<bool>>) = right.into_iter().unzip();
    variant_rows.extend(partial);
    let killed = |source: Source| rows.iter().filter(|row| !row.killed_by.of(source).is_empty()).count();
    let rival = |(index, rival): (usize, &Rival)| {
        let refused = |engines: &[Vec<bool>]| engines.iter().filter(|refused| refused[index]).count();
        RivalRow {
            name: rival.name.into(),
            about: rival.about.into(),
            killed: refused(&wrong_refused),
            total: rows.len(),
            variants_refused: refused(&right_refused),
        }
    };
    KillMatrix {
        total: rows.len(),
        killed_by_golden: killed(Source::Golden),
        killed_by_generated: killed(Source::Generated),
        survivors: rows.iter().filter(|row| row.survives()).map(|row| row.name.clone()).collect(),
        rivals: rivals.iter().enumerate().map(rival).collect(),
        variants: variant_rows,
        only_killers: only_killers(&rows),
        idle_cases: idle_cases(&rows, cases),
        large_cases: cases.all().filter(|case| is_large(case)).map(|case| case.name.clone()).collect(),
        mutants: rows,
    }
}

impl KillMatrix {
    /// Whether every mutant is killed from both sides and no right engine is refused.
    pub fn is_clean(&self) -> bool {
        self.survivors.is_empty() && self.variants.iter().all(|variant| variant.passed)
    }
}

impl Cases {
    fn all(&self) -> impl Iterator<Item = &Case> {
        self.golden.iter().chain(&self.generated).map(|golden| &golden.case)
    }
}

fn is_large(case: &Case) -> bool {
    let elements = |step: &Step| match step {
        Step::BatchNorm(pass) => pass.input.len(),
        Step::Merge { parts } => parts.iter().map(|part| part.len()).sum(),
        Step::Reset { .. } | Step::Fold(_) => 0,
    };
    case.steps.iter().map(elements).sum::<usize>() > LARGE
}

fn row(mutant: &Mutant, cases: &Cases) -> Row {
    let killed_by =
        KilledBy { golden: killers(mutant, &cases.golden), generated: killers(mutant, &cases.generated) };
    Row { name: mutant.name.into(), fault: mutant.fault.into(), source: mutant.source.into(), killed_by }
}

/// The cases of one source that kill a mutant. Each source alone must do, so the
/// mutant starts each of them anew.
fn killers(mutant: &Mutant, goldens: &[Golden]) -> Vec<String> {
    let mut engine = mutant.engine();
    let mut fails =
        |golden: &&Golden| matches!(judge(golden, engine.as_mut()).verdict, Verdict::Failed { .. });
    let (large, small): (Vec<&Golden>, Vec<&Golden>) =
        goldens.iter().partition(|golden| is_large(&golden.case));
    let mut killers: Vec<&Golden> = small.into_iter().filter(&mut fails).collect();
    if killers.is_empty() {
        killers = large.into_iter().filter(&mut fails).collect();
    }
    killers.into_iter().map(|golden| golden.case.name.clone()).collect()
}

fn variant_row(name: &str, engine: &mut dyn Engine, cases: &Cases) -> VariantRow {
    let reports: Vec<CaseReport> =
        cases.golden.iter().chain(&cases.generated).map(|golden| judge(golden, engine)).collect();
    let is_unsupported = |report: &&CaseReport| matches!(report.verdict, Verdict::Unsupported { .. });
    let (unsupported, asked): (Vec<_>, Vec<_>) = reports.iter().partition(is_unsupported);
    let refused = asked.iter().filter(|report| !matches!(report.verdict, Verdict::Passed { .. }));
    let refused_by: Vec<String> = refused.map(|report| report.case.clone()).collect();
    let worst = reports.iter().map(CaseReport::worst).fold(None, Worst::larger);
    VariantRow {
        name: name.into(),
        passed: refused_by.is_empty(),
        worst_ratio: worst.map_or(0.0, |worst| worst.ratio),
        refused_by,
        unsupported: unsupported.len(),
    }
}

fn judge(golden: &Golden, engine: &mut dyn Engine) -> CaseReport {
    let replay = Replay::named(&engine.about().name);
    check::check(golden, engine, &replay)
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
    let idle = cases.all().filter(|case| !killers.contains(&case.name) && !is_large(case));
    idle.map(|case| case.name.clone()).collect()
}
