//! What could explain each failure of a case.
//!
//! A wrong array has as its candidates every mutant of the suite that answers the same, and
//! is wrong in no other array of that step which the engine gets right; and every poor
//! arithmetic that may lose so much. Which of them it was is decided over all failures of the
//! engine together ([`crate::findings`]). What none of them answers may be two faults in one
//! number: a mutant's answer in a poor arithmetic. Any other failure has one cause, which its
//! form says.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use bn_suite::case::{Mode, Step};
use bn_suite::check::{self, CaseReport, Failure, Fault, Verdict};
use bn_suite::engine::EngineError;
use bn_suite::golden::{ExpectedField, Golden};
use bn_suite::mutants::Mutant;
use bn_suite::outcome::{Field, Outcome, RefusalKind};
use bn_suite::tensor::{DType, Tensor};

use crate::arithmetic::Arithmetic;
use crate::cause::{ARITHMETICS, Cause, Severity};
use crate::hypotheses;
use crate::isolate::{Isolated, isolate};

/// A step with more elements is compared only with mutants that explain something smaller.
pub const LARGE: usize = 1 << 14;

/// What could be the matter with one failure.
#[derive(Clone, Debug, PartialEq)]
pub enum Candidates {
    /// This is.
    Certain(Cause),
    /// One of several.
    OneOf {
        /// Each of these answers so, by id.
        ids: Vec<&'static str>,
        /// Each of these does in poor arithmetic; only where nobody answers so.
        roughly: Vec<&'static str>,
        /// The cause if it is none of them.
        unexplained: Cause,
    },
    /// The step is right, given what the engine made of the steps before.
    Consequence,
}

/// The candidates of every failure of the case, in their order.
pub fn of_case(golden: &Golden, report: &CaseReport, mutants: &[Mutant]) -> Vec<Candidates> {
    let Verdict::Failed { failures, .. } = &report.verdict else { return Vec::new() };
    let answer = report.wrong_answer.as_deref().unwrap_or_default();
    let mut steps: BTreeMap<usize, Option<Suspects>> = BTreeMap::new();
    let of = |failure: &Failure| match (failure.step, &failure.fault) {
        (Some(step), Fault::Elements { field, .. }) => {
            let suspects = steps.entry(step).or_insert_with(|| Suspects::of(golden, answer, step, mutants));
            let unexplained = unexplained(&golden.case.steps[step], failure);
            match suspects {
                Some(suspects) => suspects.explain(*field, &answer[step], unexplained),
                None => Candidates::Certain(unexplained),
            }
        }
        (_, fault) => Candidates::Certain(by_form(golden, fault)),
    };
    failures.iter().map(of).collect()
}

/// A failure by its form, and what could explain it: what must stay while a case is shrunk.
#[derive(Clone, Debug, PartialEq)]
pub struct Signature {
    kind: &'static str,
    field: Option<&'static str>,
    ids: BTreeSet<String>,
}

impl Signature {
    /// Of every failure of the case.
    pub fn all(golden: &Golden, report: &CaseReport, mutants: &[Mutant]) -> Vec<Signature> {
        let of = |(failure, candidates): (&Failure, Candidates)| Signature {
            kind: failure.fault.kind(),
            field: failure.fault.field(),
            ids: candidates.ids(),
        };
        report.failures().iter().zip(of_case(golden, report, mutants)).map(of).collect()
    }

    /// Whether the other may be the same mistake.
    pub fn is_like(&self, other: &Signature) -> bool {
        self.kind == other.kind && self.field == other.field && !self.ids.is_disjoint(&other.ids)
    }
}

impl Candidates {
    /// Whether somebody answers so.
    pub fn is_explained(&self) -> bool {
        !matches!(self, Candidates::OneOf { ids, .. } if ids.is_empty())
    }

    fn ids(self) -> BTreeSet<String> {
        match self {
            Candidates::Certain(cause) => [cause.id].into(),
            Candidates::OneOf { ids, unexplained, .. } if ids.is_empty() => [unexplained.id].into(),
            Candidates::OneOf { ids, .. } => ids.into_iter().map(str::to_owned).collect(),
            Candidates::Consequence => BTreeSet::new(),
        }
    }
}

/// A step by itself, and what each suspect answers to it.
struct Suspects {
    isolated: Isolated,
    mutants: Vec<(&'static str, Outcome)>,
    arithmetics: Vec<Poor>,
}

/// A poor arithmetic, and what it may lose in this step.
struct Poor {
    id: &'static str,
    arithmetic: Arithmetic,
    bounds: BTreeMap<Field, Vec<f64>>,
}

impl Suspects {
    fn of(golden: &Golden, answer: &[Outcome], step: usize, mutants: &[Mutant]) -> Option<Suspects> {
        let isolated = isolate(golden, answer, step)?;
        let answer_of = |mutant: &Mutant| {
            let outcomes = bn_suite::protocol::run_caught(mutant.engine().as_mut(), &isolated.case).ok()?;
            Some((mutant.name, outcomes.into_iter().next()?))
        };
        // Who is wrong where the engine is right did not answer this.
        let got = answer.get(step)?;
        let is_right_in = |outcome: &Outcome, field: &Field, wanted: &ExpectedField| {
            outcome.fields.get(field).is_some_and(|tensor| is_right(wanted, tensor))
        };
        let agrees = |(_, theirs): &(&'static str, Outcome)| {
            let mut fields = isolated.expected.fields.iter();
            fields
                .all(|(field, wanted)| is_right_in(theirs, field, wanted) || !is_right_in(got, field, wanted))
        };
        let known = mutants.iter().filter_map(answer_of).filter(agrees);
        let mutants = known.chain(hypotheses::answers(&isolated.case, got)).collect();
        let bounds_of = |(id, arithmetic): (&'static str, Arithmetic)| {
            Some(Poor { id, arithmetic, bounds: arithmetic.bounds(&isolated.case)? })
        };
        let arithmetics = ARITHMETICS.into_iter().filter_map(bounds_of).collect();
        Some(Suspects { mutants, arithmetics, isolated })
    }

    fn explain(&self, field: Field, got: &Outcome, unexplained: Cause) -> Candidates {
        let (Some(expected), Some(got)) = (self.isolated.expected.fields.get(&field), got.fields.get(&field))
        else {
            return Candidates::Certain(unexplained);
        };
        if expected.value.shape != got.shape || expected.value.dtype != got.dtype {
            return Candidates::Certain(unexplained);
        }
        if is_right(expected, got) {
            return Candidates::Consequence;
        }
        let unexplained = match got.data.iter().all(|&element| element == 0.0) {
            true => unexplained.of_zeros(),
            false => unexplained,
        };
        let answers_so = |outcome: &Outcome| {
            outcome
                .fields
                .get(&field)
                .is_some_and(|theirs| !is_right(expected, theirs) && same(expected, theirs, got))
        };
        let mutants = self.mutants.iter().filter(|(_, outcome)| answers_so(outcome)).map(|(name, _)| *name);
        let lost: Vec<(&'static str, Cow<[f64]>)> = self.lost(field, expected).collect();
        let arithmetics =
            lost.iter().filter(|(_, bounds)| is_within(expected, bounds, got)).map(|(id, _)| *id);
        let ids: Vec<&str> = mutants.chain(arithmetics).collect();
        let answers_roughly_so = |outcome: &Outcome| {
            let Some(theirs) = outcome.fields.get(&field) else { return false };
            // A mutant that is itself within the bounds would explain nothing.
            let in_arithmetic = |bounds: &[f64]| {
                !is_within(expected, bounds, theirs) && is_near(expected, bounds, theirs, got)
            };
            !is_right(expected, theirs) && lost.iter().any(|(_, bounds)| in_arithmetic(bounds))
        };
        let roughly = self.mutants.iter().filter(|(_, outcome)| answers_roughly_so(outcome));
        let roughly = match ids.is_empty() {
            true => roughly.map(|(name, _)| *name).collect(),
            false => Vec::new(),
        };
        Candidates::OneOf { ids, roughly, unexplained }
    }

    /// What each poor arithmetic may lose of an array, element by element.
    fn lost<'a>(
        &'a self,
        field: Field,
        expected: &'a ExpectedField,
    ) -> impl Iterator<Item = (&'static str, Cow<'a, [f64]>)> {
        let of = move |poor: &'a Poor| {
            let bounds = match poor.bounds.get(&field) {
                Some(bounds) => Cow::Borrowed(bounds.as_slice()),
                None => {
                    let data = &expected.value.data;
                    let bound = poor.arithmetic.of_largest(&self.isolated.case, data)?;
                    Cow::Owned(vec![bound; data.len()])
                }
            };
            Some((poor.id, bounds))
        };
        self.arithmetics.iter().filter_map(of)
    }
}

fn is_right(expected: &ExpectedField, got: &Tensor) -> bool {
    got.shape == expected.value.shape
        && check::differences(expected, got).all(|difference| difference.is_right())
}

/// Whether two arrays are the same but for what each may lose to its arithmetic: the
/// allowance of either, and some roundings of what they came to.
fn same(expected: &ExpectedField, theirs: &Tensor, got: &Tensor) -> bool {
    is_near(expected, &vec![0.0; got.data.len()], theirs, got)
}

/// The same, where each element may be so much further away.
fn is_near(expected: &ExpectedField, bounds: &[f64], theirs: &Tensor, got: &Tensor) -> bool {
    let unit = unit_roundoff(got.dtype);
    let near = |((theirs, got), (allowance, bound)): ((&f64, &f64), (&f64, &f64))| {
        let both_nan = theirs.is_nan() && got.is_nan();
        let room = bound + 2.0 * allowance + 16.0 * unit * theirs.abs();
        both_nan || theirs == got || *bound == f64::INFINITY || (theirs - got).abs() <= room
    };
    let rooms = expected.allowance.iter().zip(bounds);
    theirs.shape == got.shape
        && bounds.len() == got.data.len()
        && theirs.data.iter().zip(&got.data).zip(rooms).all(near)
}

fn is_within(expected: &ExpectedField, bounds: &[f64], got: &Tensor) -> bool {
    let near = |(difference, bound): (check::Difference, &f64)| {
        *bound == f64::INFINITY
            || difference.is_right()
            || difference.distance() <= difference.allowance + bound
    };
    bounds.len() == got.data.len() && check::differences(expected, got).zip(bounds).all(near)
}

fn unit_roundoff(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 2f64.powi(-11),
        DType::Bf16 => 2f64.powi(-8),
        DType::F32 => 2f64.powi(-24),
        _ => 2f64.powi(-53),
    }
}

/// A wrong array that nothing explains, by the array and the step.
fn unexplained(step: &Step, failure: &Failure) -> Cause {
    let field = failure.fault.field().unwrap_or("answer");
    let (id, when) = match step {
        Step::BatchNorm(pass) => match pass.mode {
            Mode::Train => ("train", "in training"),
            Mode::Eval => ("eval", "in evaluation"),
        },
        Step::Reset { .. } => ("reset", "after a reset"),
        Step::Fold(_) => ("fold", "of folding"),
        Step::Merge { .. } => ("merge", "of a batch in parts"),
    };
    if let Fault::Elements { worst, .. } = &failure.fault {
        if !worst.expected.is_finite() {
            let title = format!("NaN and infinities of the input do not reach {field} {when} as they should");
            return Cause::of(&format!("special-values-{field}-{id}"), Severity::Wrong, &title);
        }
        if !worst.got.is_finite() {
            let title = format!("{field} {when} is NaN or infinite where the truth is finite");
            return Cause::of(&format!("not-finite-{field}-{id}"), Severity::Wrong, &title);
        }
    }
    Cause::of(
        &format!("unexplained-{field}-{id}"),
        Severity::Wrong,
        &format!("{field} {when} is another function"),
    )
}

/// The cause of a failure that is no wrong array.
fn by_form(golden: &Golden, fault: &Fault) -> Cause {
    let cause = |id: &str, detail: String| Cause::of(id, Severity::Wrong, &detail);
    match fault {
        Fault::NotRefused { expected, not_finite } => {
            let spoiled =
                not_finite.iter().any(|field| matches!(field, Field::RunningMean | Field::RunningVar));
            let id =
                format!("accepts-{}{}", expected.name(), if spoiled { "-and-spoils-buffers" } else { "" });
            cause(&id, format!("accepts what must be refused ({})", expected.name()))
        }
        Fault::WrongRefusal { expected, .. } => {
            cause("refuses-for-another-reason", format!("refuses {} for another reason", expected.name()))
        }
        Fault::Refused { refusal } => {
            let (id, text) = ("declines", essence(&refusal.message));
            Cause::of(
                &format!("{id}: {text}"),
                Severity::Unsupported,
                &format!("declines what it claims: {text}"),
            )
        }
        Fault::NoAnswer(error) => no_answer(golden, error),
        Fault::Counter { .. } => cause("counter", "num_batches_tracked counts something else".into()),
        Fault::MemoryOrder { .. } => {
            cause("memory-order", "the answer lies in memory in another order than the input".into())
        }
        Fault::DisputeNotNeeded { .. } => {
            cause("dispute-not-needed", "passes what the catalogue says that it fails".into())
        }
        fault => {
            let field = fault.field().unwrap_or("the answer");
            cause(
                &format!("{}-{field}", fault.kind()),
                format!("{field}: {}", fault.kind().replace('_', " ")),
            )
        }
    }
}

fn no_answer(golden: &Golden, error: &EngineError) -> Cause {
    let refused: Option<RefusalKind> = golden.expected.iter().find_map(|step| step.refused);
    let wrong = |id: String, detail: String| Cause::of(&id, Severity::Wrong, &detail);
    match (error, refused) {
        (EngineError::Unsupported(why), _) => {
            let text = essence(why);
            let detail = format!("claims it, and says that it cannot: {text}");
            Cause::of(&format!("unsupported: {text}"), Severity::Unsupported, &detail)
        }
        (EngineError::TimedOut { .. } | EngineError::GivenUp(_), _) => {
            wrong("hangs".into(), "does not come to an end".into())
        }
        (EngineError::Malformed(_), _) => wrong("malformed".into(), "answers what is no answer".into()),
        (EngineError::NotStarted(_), _) => wrong("does-not-start".into(), "does not start any more".into()),
        (EngineError::Failed(_) | EngineError::Crashed(_), Some(kind)) => {
            let kind = kind.name();
            wrong(format!("crashes-on-{kind}"), format!("crashes where it must refuse ({kind})"))
        }
        (EngineError::Failed(what) | EngineError::Crashed(what), None) => {
            let text = essence(what);
            wrong(format!("crashes: {text}"), format!("crashes: {text}"))
        }
    }
}

/// What of a message is the same for all cases that it is about: its first line, without
/// the numbers.
fn essence(message: &str) -> String {
    let message = message.trim_start_matches("crashed: ");
    let line = message.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no message");
    let mut text = String::new();
    let mut before = ' ';
    for c in line.chars() {
        match c.is_ascii_digit() && !before.is_alphanumeric() && before != '…' {
            true => text.push('…'),
            // The rest of a number; a digit of a name, such as f16, stays.
            false if c.is_ascii_digit() && text.ends_with('…') => {}
            false => text.push(c),
        }
        before = if text.ends_with('…') { '…' } else { c };
    }
    match text.char_indices().nth(90) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_message_do_not_make_it_another() {
        assert_eq!(essence("\nexpected 3 channels, got 12.\nmore"), "expected … channels, got ….");
        assert_eq!(essence("lhs: BF16, rhs: 32.5 of f32"), "lhs: BF16, rhs: ….… of f32");
        assert_eq!(essence(""), "no message");
        assert_eq!(essence(&"é".repeat(100)).chars().count(), 91);
    }
}
