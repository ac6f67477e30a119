//! What a run shows about the grade *accurate*.

use serde::Serialize;

use super::{WorstOf, keep_larger};
use crate::check::{CaseReport, Excess};
use crate::number::Number;
use crate::outcome::Field;

/// The cases of a run, or of a group, by the grade *accurate*. Those that gave no
/// answer to judge (unsupported, crashed) are not among them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AccurateCounts {
    /// Cases whose answers were judged: `passed + failed`.
    pub cases: usize,
    /// Conforming, and within every allowance of the grade.
    pub passed: usize,
    /// Beyond some allowance of the grade, or not conforming.
    pub failed: usize,
    /// The element closest to its allowance, or furthest beyond.
    pub worst: Option<WorstOf>,
}

/// An array that is not accurate: how far off it is, and what explains it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExcessEntry {
    /// The case.
    pub case: String,
    /// The step, counted from 0.
    pub step: usize,
    /// The array.
    pub field: Field,
    /// Its worst element, in row-major order.
    pub index: usize,
    /// What the engine answered there.
    pub got: Number,
    /// What is right.
    pub expected: Number,
    /// |got − expected|.
    pub error: Number,
    /// How far from right the grade allows.
    pub allowance: Number,
    /// |got − expected| / allowance.
    pub ratio: Number,
    /// How many elements of the array are beyond their allowances.
    pub failing_elements: usize,
    /// How many elements it has.
    pub elements: usize,
    /// What the engine does without.
    pub cause: String,
    /// The command that replays the case.
    pub reproduce: String,
}

impl AccurateCounts {
    pub(super) fn add(&mut self, case: &CaseReport) {
        let Some(accurate) = case.is_accurate() else { return };
        self.cases += 1;
        *(if accurate { &mut self.passed } else { &mut self.failed }) += 1;
        let worst = case.accuracy.as_ref().and_then(|accuracy| accuracy.worst);
        keep_larger(&mut self.worst, worst.map(|place| WorstOf { case: case.case.clone(), place }));
    }
}

/// The arrays of a case that are not accurate.
pub(super) fn entries(case: &CaseReport) -> impl Iterator<Item = ExcessEntry> {
    let excesses = case.accuracy.iter().flat_map(|accuracy| &accuracy.excesses);
    excesses.map(|excess| {
        let Excess { step, field, worst, failing, elements, cause } = excess;
        ExcessEntry {
            case: case.case.clone(),
            step: *step,
            field: *field,
            index: worst.index,
            got: Number(worst.got),
            expected: Number(worst.expected),
            error: Number(worst.distance()),
            allowance: Number(worst.allowance),
            ratio: Number(worst.ratio()),
            failing_elements: *failing,
            elements: *elements,
            cause: cause.to_string(),
            reproduce: case.reproduce.clone(),
        }
    })
}
