//! An engine's failures by cause.
//!
//! Many mistakes could explain one wrong array, and few explain all of an engine's. So the
//! causes are chosen for the engine as a whole: again and again the candidate that explains
//! most of the failures that have no cause yet; of equals the one that the suite lists first,
//! which is the simpler one. A consequence belongs to the cause of the first failure of its
//! case.

use std::collections::{BTreeMap, BTreeSet};

use bn_suite::case::Step;
use bn_suite::check::{CaseReport, Verdict};
use bn_suite::golden::Golden;
use bn_suite::mutants::{self, Mutant};
use bn_suite::tensor::Tensor;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::candidates::{Candidates, LARGE, of_case};
use crate::cause::{ARITHMETICS, Cause, Severity};
use crate::hypotheses;

/// A cause, and how much it accounts for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// The cause.
    pub cause: Cause,
    /// How many cases have a failure of this cause.
    pub cases: usize,
    /// How many failures it accounts for.
    pub failures: usize,
    /// The case that shows it best: a stored one, with few elements.
    pub shown_by: String,
}

/// So many failed cases, the smallest ones, are compared with every mutant.
const SAMPLE: usize = 200;

/// The causes of the failures of one case, in their order.
pub type CausesOfCase = Vec<Cause>;

/// The cause of every failure: for each case of the run as many as it has failures, in
/// their order. `goldens` are the cases as the engine was asked them
/// ([`bn_suite::check::asked`]), in the order of the reports; `done` is called after each
/// case that failed.
pub fn causes(goldens: &[Golden], reports: &[CaseReport], done: impl Fn() + Sync) -> Vec<CausesOfCase> {
    let all = mutants::all();
    let elements = |golden: &Golden| -> usize {
        golden.case.steps.iter().filter_map(|step| step.input()).map(Tensor::len).sum()
    };
    let is_failed = |&at: &usize| matches!(reports[at].verdict, Verdict::Failed { .. });
    let mut failed: Vec<usize> = (0..reports.len()).filter(is_failed).collect();
    failed.sort_by_key(|&at| elements(&goldens[at]));
    let (large, small): (Vec<usize>, Vec<usize>) =
        failed.into_iter().partition(|&at| elements(&goldens[at]) > LARGE);
    let ask = |places: &[usize],
               suspects: &(dyn Fn(usize) -> Vec<Candidates> + Sync)|
     -> Vec<(usize, Vec<Candidates>)> {
        let of = |&at: &usize| {
            let candidates = suspects(at);
            done();
            (at, candidates)
        };
        places.par_iter().map(of).collect()
    };
    let of = |at: usize, mutants: &[Mutant]| of_case(&goldens[at], &reports[at], mutants);
    // A sample tells who is likely; the others are asked about first, and all of them only
    // where these explain nothing.
    let (sample, rest) = small.split_at(small.len().min(SAMPLE));
    let mut candidates = ask(sample, &|at| of(at, &all));
    let likely = among(mutants::all(), &choose(&candidates));
    candidates.extend(ask(rest, &|at| {
        let found = of(at, &likely);
        if found.iter().all(Candidates::is_explained) { found } else { of(at, &all) }
    }));
    let likely = among(mutants::all(), &choose(&candidates));
    candidates.extend(ask(&large, &|at| of(at, &likely)));
    let chosen = choose(&candidates);
    let mut causes = vec![CausesOfCase::new(); reports.len()];
    for (at, candidates) in candidates {
        causes[at] = decide(candidates, &chosen);
    }
    causes
}

fn among(mutants: Vec<Mutant>, chosen: &[&str]) -> Vec<Mutant> {
    mutants.into_iter().filter(|mutant| chosen.contains(&mutant.name)).collect()
}

/// The ids that explain the most, in the order in which they were chosen.
fn choose(cases: &[(usize, Vec<Candidates>)]) -> Vec<&'static str> {
    let mut open: Vec<&Vec<&'static str>> = cases
        .iter()
        .flat_map(|(_, candidates)| candidates)
        .filter_map(|candidates| match candidates {
            Candidates::OneOf { ids, .. } if !ids.is_empty() => Some(ids),
            _ => None,
        })
        .collect();
    let order: BTreeMap<&str, usize> = mutants::all()
        .iter()
        .map(|mutant| mutant.name)
        .chain(hypotheses::IDS)
        .chain(ARITHMETICS.iter().map(|(id, _)| *id))
        .enumerate()
        .map(|(place, id)| (id, place))
        .collect();
    let mut chosen = Vec::new();
    while !open.is_empty() {
        let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
        open.iter().flat_map(|ids| ids.iter()).for_each(|id| *counts.entry(id).or_default() += 1);
        let rank = |id: &str, count: usize| (count, std::cmp::Reverse(order.get(id).copied()));
        let Some((best, _)) = counts.into_iter().max_by_key(|(id, count)| rank(id, *count)) else { break };
        open.retain(|ids| !ids.contains(&best));
        chosen.push(best);
    }
    chosen
}

fn decide(candidates: Vec<Candidates>, chosen: &[&'static str]) -> CausesOfCase {
    let mut causes = CausesOfCase::new();
    for candidates in candidates {
        let cause = match candidates {
            Candidates::Certain(cause) => cause,
            Candidates::OneOf { ids, roughly, unexplained } => {
                // Two faults in one number is said only where one of them was found by itself.
                let one_of = |ids: &[&str]| chosen.iter().find(|id| ids.contains(id));
                let id = one_of(&ids).or_else(|| one_of(&roughly));
                id.map_or(unexplained, |id| Cause::of(id, severity(id), id))
            }
            // There is always one before: the buffers that the step starts from are wrong.
            Candidates::Consequence => causes.first().cloned().unwrap_or_else(|| {
                Cause::of("consequence", Severity::Wrong, "goes on from a step that was wrong")
            }),
        };
        causes.push(cause);
    }
    causes
}

/// Poor arithmetic is inaccurate, and so are the mutants that compute the right formula in it.
fn severity(id: &str) -> Severity {
    let is_arithmetic = ARITHMETICS.iter().any(|(known, _)| *known == id);
    if is_arithmetic || mutants::is_arithmetic(id) { Severity::Inaccurate } else { Severity::Wrong }
}

/// The findings of a run: which causes, how often, and what shows them. `causes` holds for
/// every case the causes of its failures, in their order.
pub fn by_cause(goldens: &[Golden], causes: &[CausesOfCase]) -> Vec<Finding> {
    let mut findings: BTreeMap<&str, (Finding, (bool, usize))> = BTreeMap::new();
    for (golden, causes) in goldens.iter().zip(causes) {
        let mut seen = BTreeSet::new();
        for (place, cause) in causes.iter().enumerate() {
            // Best where it comes first, and in a plain case.
            let rank = (place > 0, intricacy(golden));
            let new = || {
                let shown_by = golden.case.name.clone();
                (Finding { cause: cause.clone(), cases: 0, failures: 0, shown_by }, rank)
            };
            let (finding, best) = findings.entry(&cause.id).or_insert_with(new);
            finding.failures += 1;
            finding.cases += usize::from(seen.insert(&cause.id));
            if rank < *best {
                (finding.shown_by, *best) = (golden.case.name.clone(), rank);
            }
        }
    }
    let mut findings: Vec<Finding> = findings.into_values().map(|(finding, _)| finding).collect();
    findings.sort_by(|a, b| {
        let rank = |finding: &Finding| (finding.cause.severity, std::cmp::Reverse(finding.cases));
        rank(a).cmp(&rank(b)).then_with(|| a.cause.id.cmp(&b.cause.id))
    });
    findings
}

/// How much there is to read before a case is understood.
fn intricacy(golden: &Golden) -> usize {
    let of = |step: &Step| match step {
        Step::BatchNorm(pass) => 1 + pass.input.len() + 8 * usize::from(pass.cotangents.is_some()),
        _ => 1000,
    };
    let steps: usize = golden.case.steps.iter().map(of).sum();
    // A few values that differ show more than one, or none.
    let smallest = golden.case.steps.iter().filter_map(|step| step.input()).map(Tensor::len).min();
    steps + 100 * usize::from(smallest.is_none_or(|smallest| smallest < 4))
}
