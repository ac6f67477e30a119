//! Is an engine's answer right?
//!
//! A *verdict* is what becomes of one case. It passes when every step answers
//! exactly the fields that the case asks for, each of the right shape, dtype and
//! memory order, and every element obeys the one rule of the suite,
//!
//! > |got − expected| ≤ allowance
//!
//! with NaN only for NaN and an infinity only for the same infinity. Everything
//! else is a *failure*: a step and a *fault* of it. A case that needs what the
//! engine does not claim is *unsupported*, and counted as such. A failure that
//! the catalogue already knows of this very engine is *disputed*; once such a
//! case passes, the note about it is out of date, and that is a failure too.

mod accuracy;
mod asked;
mod elements;
mod failure;
mod layout;

pub use accuracy::{Accuracy, Cause, Excess, SETTLED, Shortcut, accuracy};
pub use asked::asked;
pub use elements::{Difference, differences};
pub use failure::{Fault, bits, decimal, multi_index};
pub use layout::permitted_orders;

use std::fmt;

use serde::Serialize;

use crate::capability::Capability;
use crate::case::{Case, Step};
use crate::engine::{About, Engine, EngineError};
use crate::golden::{Dispute, Expected, ExpectedField, Golden};
use crate::number;
use crate::outcome::{Field, Outcome, Refusal, RefusalKind};
use crate::protocol;
use crate::tensor::Tensor;

/// What became of one case.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Every element of every field is within its allowance.
    Passed {
        /// The element that came closest to its allowance.
        worst: Option<Worst>,
    },
    /// Something is wrong; never empty.
    Failed {
        /// What is wrong, in the order of the steps.
        failures: Vec<Failure>,
        /// The element furthest outside its allowance, or closest to it.
        worst: Option<Worst>,
    },
    /// The engine does not claim all that the case needs; it was not asked.
    Unsupported {
        /// What it does not claim.
        missing: Vec<Capability>,
    },
    /// The engine fails as the catalogue says it does.
    Disputed {
        /// The catalogue's note.
        note: String,
        /// What differs.
        failures: Vec<Failure>,
    },
}

/// Something wrong with an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Which step, counted from 0 as in the fixtures; none where the answer as a
    /// whole is wrong.
    pub step: Option<usize>,
    /// What is wrong with it.
    pub fault: Fault,
}

/// Where |got − expected| / allowance is largest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Worst {
    /// The step, counted from 0.
    pub step: usize,
    /// The array.
    pub field: Field,
    /// The element, in row-major order of the array's shape.
    pub index: usize,
    /// |got − expected| / allowance: 0 when equal, at most 1 when right,
    /// infinite where no difference is allowed.
    #[serde(with = "number::plain")]
    pub ratio: f64,
}

impl Worst {
    /// The larger of two; the first of equals, so that the order of the steps decides.
    pub fn larger(a: Option<Worst>, b: Option<Worst>) -> Option<Worst> {
        match (a, b) {
            (Some(a), Some(b)) if b.ratio > a.ratio => Some(b),
            (None, b) => b,
            (a, _) => a,
        }
    }
}

/// A case's verdict, with what a reader needs to reproduce it.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseReport {
    /// The case's name.
    pub case: String,
    /// Its note: what a failure means.
    pub note: String,
    /// The engine's name and version.
    pub engine: String,
    /// The command that replays the case.
    pub reproduce: String,
    /// What became of it: whether the engine conforms.
    pub verdict: Verdict,
    /// How the answer fares under the grade *accurate*; none where there is no
    /// answer, or where nobody asked.
    pub accuracy: Option<Accuracy>,
    /// What was answered, where that is wrong: for whoever asks why.
    pub wrong_answer: Option<Vec<Outcome>>,
}

/// How a command line replays a case.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// How `bn` is started.
    pub program: String,
    /// The options that choose the engine.
    pub options: String,
}

impl Replay {
    /// Replays with an engine that `bn` knows by name. Under cargo (`cargo run`,
    /// `cargo test`) the program is `cargo run --release --`, which works in any
    /// checkout; elsewhere it is `bn`.
    pub fn named(engine: &str) -> Self {
        let program = if std::env::var_os("CARGO").is_some() { "cargo run --release --" } else { "bn" };
        Replay { program: program.into(), options: format!("--engine {}", shell_words::quote(engine)) }
    }

    /// The command for one case.
    pub fn command(&self, case: &str) -> String {
        format!("{} run {} {}", self.program, shell_words::quote(case), self.options)
    }
}

/// Asks `engine` the case, if it claims what the case needs (see [`asked`]), and judges
/// whether its answer conforms.
pub fn check(golden: &Golden, engine: &mut dyn Engine, replay: &Replay) -> CaseReport {
    check_with(golden, engine, replay, |_| None)
}

/// As [`check`], and judges by the grade *accurate* as well.
pub fn check_both_grades(golden: &Golden, engine: &mut dyn Engine, replay: &Replay) -> CaseReport {
    check_with(golden, engine, replay, |outcomes| Some(accuracy(&golden.case, outcomes)))
}

fn check_with(
    golden: &Golden,
    engine: &mut dyn Engine,
    replay: &Replay,
    second: impl Fn(&[Outcome]) -> Option<Accuracy>,
) -> CaseReport {
    let about = engine.about().clone();
    let golden = &*asked(golden, &about.claims);
    let missing: Vec<_> = golden.case.requires().difference(&about.claims).copied().collect();
    let (verdict, answer) = if missing.is_empty() {
        let answer = protocol::run_caught(engine, &golden.case);
        (judge(golden, &about, &answer), answer.ok())
    } else {
        (Verdict::Unsupported { missing }, None)
    };
    let accuracy = answer.as_deref().and_then(second);
    let wrong_answer = answer.filter(|_| matches!(verdict, Verdict::Failed { .. }));
    CaseReport {
        case: golden.case.name.clone(),
        note: golden.case.note.clone(),
        engine: format!("{} {}", about.name, about.version),
        reproduce: replay.command(&golden.case.name),
        verdict,
        accuracy,
        wrong_answer,
    }
}

/// The verdict on an answer that the engine gave.
pub fn judge(golden: &Golden, about: &About, answer: &Result<Vec<Outcome>, EngineError>) -> Verdict {
    let mut judge = Judge::default();
    match answer {
        Ok(outcomes) => judge.outcomes(golden, outcomes),
        Err(error) => judge.fail(None, Fault::NoAnswer(error.clone())),
    }
    let Judge { failures, worst } = judge;
    let is_named = |dispute: &&Dispute| dispute.engine == about.name;
    // A wrapper may do without the fault of the kernels that it calls.
    let is_wrapped = |dispute: &&Dispute| about.kernels.as_ref() == Some(&dispute.engine);
    let dispute = golden.disputed.as_ref().filter(|dispute| is_named(dispute) || is_wrapped(dispute));
    match dispute {
        Some(dispute) if failures.is_empty() && !dispute.sporadic && is_named(&dispute) => {
            let fault = Fault::DisputeNotNeeded { note: dispute.note.clone() };
            Verdict::Failed { failures: vec![Failure { step: None, fault }], worst }
        }
        _ if failures.is_empty() => Verdict::Passed { worst },
        Some(dispute) if failures.iter().all(|failure| covers(dispute, &failure.fault)) => {
            Verdict::Disputed { note: dispute.note.clone(), failures }
        }
        _ => Verdict::Failed { failures, worst },
    }
}

/// Whether a dispute is about this fault: elements of the arrays that it names, or
/// an error that the engine raises, or a refusal, where it names none. A crash, a
/// timeout or a malformed answer is never excused.
fn covers(dispute: &Dispute, fault: &Fault) -> bool {
    match fault {
        Fault::Elements { field, .. } => dispute.fields.contains(field),
        Fault::NoAnswer(EngineError::Failed(_)) | Fault::Refused { .. } => dispute.fields.is_empty(),
        _ => false,
    }
}

#[derive(Default)]
struct Judge {
    failures: Vec<Failure>,
    worst: Option<Worst>,
}

impl Judge {
    fn fail(&mut self, step: Option<usize>, fault: Fault) {
        self.failures.push(Failure { step, fault });
    }

    fn outcomes(&mut self, golden: &Golden, outcomes: &[Outcome]) {
        if outcomes.len() != golden.expected.len() {
            self.fail(None, Fault::StepCount { expected: golden.expected.len(), got: outcomes.len() });
        }
        for (step, (expected, got)) in golden.expected.iter().zip(outcomes).enumerate() {
            self.outcome(&golden.case, step, expected, got);
        }
    }

    fn outcome(&mut self, case: &Case, step: usize, expected: &Expected, got: &Outcome) {
        match refusal_fault(expected.refused, got.refused.as_ref()) {
            // Refused on one side only: the rest of the two answers cannot be compared.
            Some((Fault::NotRefused { expected, .. }, _)) => {
                let not_finite = fields_that_are_not_finite(got);
                return self.fail(Some(step), Fault::NotRefused { expected, not_finite });
            }
            Some((fault, false)) => return self.fail(Some(step), fault),
            Some((fault, true)) => self.fail(Some(step), fault),
            None => {}
        }
        for (&field, wanted) in &expected.fields {
            match got.fields.get(&field) {
                Some(tensor) => self.array(&case.steps[step], step, field, wanted, tensor),
                None => self.fail(Some(step), Fault::Missing { field }),
            }
        }
        for &field in got.fields.keys().filter(|field| !expected.fields.contains_key(field)) {
            self.fail(Some(step), Fault::NotAsked { field });
        }
        if got.num_batches_tracked != expected.num_batches_tracked {
            let (expected, got) = (expected.num_batches_tracked, got.num_batches_tracked);
            self.fail(Some(step), Fault::Counter { expected, got });
        }
    }

    fn array(&mut self, asked: &Step, step: usize, field: Field, wanted: &ExpectedField, got: &Tensor) {
        if let Some(fault) = form_fault(field, &wanted.value, got) {
            return self.fail(Some(step), fault);
        }
        if let Some(permitted) = permitted_orders(asked, field)
            && !permitted.iter().any(|order| layout::same_order(&got.shape, order, &got.layout))
        {
            let got = layout::describe(&got.layout);
            let expected = permitted.iter().map(layout::describe).collect::<Vec<_>>().join(" or ");
            self.fail(Some(step), Fault::MemoryOrder { field, expected, got });
        }
        let (summary, worst) = elements::summarise(step, field, wanted, got);
        self.worst = Worst::larger(self.worst, worst);
        if let Some(fault) = summary {
            self.fail(Some(step), fault);
        }
    }
}

/// What is wrong about a refusal or its absence, and whether both sides refuse.
fn refusal_fault(expected: Option<RefusalKind>, got: Option<&Refusal>) -> Option<(Fault, bool)> {
    match (expected, got) {
        (None, None) => None,
        (None, Some(refusal)) => Some((Fault::Refused { refusal: refusal.clone() }, false)),
        (Some(expected), None) => Some((Fault::NotRefused { expected, not_finite: Vec::new() }, false)),
        (Some(expected), Some(got)) if got.kind == expected || got.kind == RefusalKind::Unsorted => None,
        (Some(expected), Some(got)) => Some((Fault::WrongRefusal { expected, refusal: got.clone() }, true)),
    }
}

/// The arrays of an answer that hold NaN or an infinity.
fn fields_that_are_not_finite(got: &Outcome) -> Vec<Field> {
    let is_finite = |tensor: &Tensor| tensor.data.iter().all(|element| element.is_finite());
    got.fields.iter().filter(|(_, tensor)| !is_finite(tensor)).map(|(field, _)| *field).collect()
}

/// What is wrong with an array before its elements are looked at.
fn form_fault(field: Field, expected: &Tensor, got: &Tensor) -> Option<Fault> {
    if got.shape != expected.shape {
        return Some(Fault::Shape { field, expected: expected.shape.clone(), got: got.shape.clone() });
    }
    if got.dtype != expected.dtype {
        return Some(Fault::DType { field, expected: expected.dtype, got: got.dtype });
    }
    got.problem().map(|problem| Fault::NotAnArray { field, problem })
}

impl CaseReport {
    /// The part of the case's name before the slash.
    pub fn group(&self) -> &str {
        self.case.split_once('/').map_or("", |(group, _)| group)
    }

    /// What is wrong, if the case failed.
    pub fn failures(&self) -> &[Failure] {
        match &self.verdict {
            Verdict::Failed { failures, .. } => failures,
            _ => &[],
        }
    }

    /// Whether the answer conforms and is accurate besides; none where it was not
    /// judged so: no answer, or nobody asked.
    pub fn is_accurate(&self) -> Option<bool> {
        let accurate = self.accuracy.as_ref()?.excesses.is_empty();
        Some(accurate && !matches!(self.verdict, Verdict::Failed { .. }))
    }

    /// The element that came closest to its allowance, or went furthest beyond;
    /// none for what was not judged: an unsupported or a disputed case.
    pub fn worst(&self) -> Option<Worst> {
        match self.verdict {
            Verdict::Passed { worst } | Verdict::Failed { worst, .. } => worst,
            Verdict::Unsupported { .. } | Verdict::Disputed { .. } => None,
        }
    }
}

impl fmt::Display for CaseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, failures) = match &self.verdict {
            Verdict::Passed { worst } => {
                write!(f, "passed {}", self.case)?;
                let Some(worst) = worst else { return Ok(()) };
                let Worst { step, field, index, ratio } = worst;
                return write!(f, ": worst at step {step}, {field}[{index}]: {ratio:.3} × the allowance");
            }
            Verdict::Unsupported { missing } => {
                let missing: Vec<_> = missing.iter().map(|capability| capability.name()).collect();
                return write!(f, "unsupported {}: needs {}", self.case, missing.join(", "));
            }
            Verdict::Failed { failures, .. } => ("FAILED", failures),
            Verdict::Disputed { failures, .. } => ("disputed", failures),
        };
        writeln!(f, "{word} {} ({})", self.case, self.engine)?;
        writeln!(f, "  note: {}", self.note)?;
        if let Verdict::Disputed { note, .. } = &self.verdict {
            writeln!(f, "  dispute: {note}")?;
        }
        for Failure { step, fault } in failures {
            match step {
                Some(step) => writeln!(f, "  step {step}: {fault}")?,
                None => writeln!(f, "  {fault}")?,
            }
        }
        write!(f, "  reproduce: {}", self.reproduce)
    }
}

/// Writes a ratio as messages show it.
pub(crate) fn ratio_text(ratio: f64) -> String {
    if ratio.is_infinite() {
        "no difference is allowed here".into()
    } else {
        format!("{ratio:.4} × the allowance")
    }
}
