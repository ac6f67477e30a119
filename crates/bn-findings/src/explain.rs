//! A failure for those who can mend it: the smallest case that shows it, what came and what
//! is right, why, and a program in the framework's own words.

use std::fmt::Write;
use std::time::Duration;

use bn_suite::case::{Case, Pass, Step};
use bn_suite::check::{self, CaseReport, Fault, Replay, decimal};
use bn_suite::engine::{Engine, Offer, Reproduction};
use bn_suite::golden::{Expected, Golden};
use bn_suite::mutants;
use bn_suite::number::Number;
use bn_suite::outcome::Outcome;
use bn_suite::tensor::Tensor;
use bn_suite::truth;

use crate::candidates::{LARGE, Signature};
use crate::cause::Cause;
use crate::describe::describe;
use crate::findings::causes;
use crate::shrink::shrink;

/// So many elements of an array are written out.
const SHOWN: usize = 16;

/// A failure, explained.
pub struct Explanation {
    /// The smallest case that was found, as the engine was asked it, with its truth.
    pub golden: Golden,
    /// What the engine makes of it.
    pub report: CaseReport,
    /// The cause of its first failure.
    pub cause: Cause,
    /// The engine's own program, or why there is none.
    pub reproduction: Result<Reproduction, String>,
}

/// Asks the engine the case and explains its first failure; none where there is none. The
/// case is shrunk for as long as `patience` lets it; `tried` is called with every attempt.
pub fn explain(
    golden: &Golden,
    engine: &mut dyn Engine,
    replay: &Replay,
    patience: Duration,
    mut tried: impl FnMut(),
) -> Option<Explanation> {
    let about = engine.about().clone();
    let golden = check::asked(golden, &about.claims).into_owned();
    let mutants = mutants::all();
    let signatures = |golden: &Golden, report: &CaseReport| {
        let large = golden.case.steps.iter().filter_map(|step| step.input()).any(|input| input.len() > LARGE);
        Signature::all(golden, report, if large { &[] } else { &mutants })
    };
    let wanted = signatures(&golden, &check::check(&golden, engine, replay)).into_iter().next()?;
    let case = shrink(&golden.case, patience, |case| {
        tried();
        let Some(golden) = solved(case) else { return false };
        let report = check::check(&golden, engine, replay);
        signatures(&golden, &report).iter().any(|found| found.is_like(&wanted))
    });
    let golden = if case == golden.case { golden } else { solved(&case)? };
    let report = check::check(&golden, engine, replay);
    let cause = causes(std::slice::from_ref(&golden), std::slice::from_ref(&report), || ())
        .pop()
        .and_then(|causes| causes.into_iter().next())?;
    let reproduction = match about.offers.contains(&Offer::Reproduce) {
        true => engine.reproduce(&golden.case).map_err(|error| error.to_string()),
        false => Err("the engine writes no programs".into()),
    };
    Some(Explanation { golden, report, cause, reproduction })
}

/// The case with its truth, if it is one that the suite could ask: what a backward pass
/// needs has to fit.
fn solved(case: &Case) -> Option<Golden> {
    let expected = truth::solve(case);
    Some(Golden { case: case.clone(), expected, disputed: None })
}

impl Explanation {
    /// As Markdown, to be pasted into an issue.
    pub fn markdown(&self) -> String {
        let Explanation { golden, report, cause, reproduction } = self;
        let mut text = format!("## {}: {}\n\n{}\n\n", report.engine, cause.title, cause.explanation);
        let _ = writeln!(text, "Case `{}`: {}\n", golden.case.name, golden.case.note);
        text += "### What is asked\n\n```text\n";
        text += &asked(&golden.case);
        text += "```\n\n### What comes, and what is right\n\n";
        let answer = report.wrong_answer.as_deref().unwrap_or_default();
        for failure in report.failures() {
            let step = failure.step.unwrap_or(0);
            let at = if golden.case.steps.len() > 1 { format!("step {step}: ") } else { String::new() };
            let _ = writeln!(text, "{at}{}\n", quoted(&failure.fault.to_string()));
            if let (Fault::Elements { .. }, Some(outcome)) = (&failure.fault, answer.get(step)) {
                text += &beside(&failure.fault, outcome, &golden.expected[step]);
            }
        }
        text += "What is right is the formula that PyTorch documents for BatchNorm, in 256-bit arithmetic and rounded once; \
                 the allowance is what arithmetic in the input's precision may lose.\n\n";
        match reproduction {
            Ok(Reproduction { language, code }) => {
                let _ = write!(text, "### A program\n\n```{language}\n{}\n```\n", code.trim_end());
            }
            Err(why) => {
                let _ = writeln!(text, "No program of its own: {why}");
            }
        }
        text
    }
}

/// A message in a paragraph: its lines may be many, and indented.
fn quoted(message: &str) -> String {
    let lines: Vec<&str> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines.as_slice() {
        [one] => format!("**{one}**"),
        [first, rest @ ..] => format!("**{first}**\n\n```text\n{}\n```", rest.join("\n")),
        [] => String::new(),
    }
}

/// The two arrays, one under the other.
fn beside(fault: &Fault, got: &Outcome, expected: &Expected) -> String {
    let Fault::Elements { field, .. } = fault else { return String::new() };
    let (Some(got), Some(expected)) = (got.fields.get(field), expected.fields.get(field)) else {
        return String::new();
    };
    format!(
        "```text\ngot        {}\nexpected   {}\nallowance  {}\n```\n\n",
        elements(got),
        elements(&expected.value),
        listed(&expected.allowance, |allowance| format!("{allowance:.2e}")),
    )
}

/// Layer, state and steps, a line each.
fn asked(case: &Case) -> String {
    let layer = &case.layer;
    let momentum = layer.momentum.map_or_else(|| "none (cumulative)".into(), |Number(m)| format!("{m:?}"));
    let mut text = format!("eps {:?}, momentum {momentum} (the weight of the new value)", layer.eps);
    text += if layer.track_running_stats { "\n" } else { ", running statistics not tracked\n" };
    let state = &case.state;
    for (name, tensor) in [
        ("weight", &state.weight),
        ("bias", &state.bias),
        ("running_mean", &state.running_mean),
        ("running_var", &state.running_var),
    ] {
        text += &tensor.as_ref().map_or_else(String::new, |tensor| array(name, tensor));
    }
    if let Some(count) = state.num_batches_tracked {
        let _ = writeln!(text, "num_batches_tracked {count}");
    }
    for (at, step) in case.steps.iter().enumerate() {
        let _ = writeln!(text, "step {at}: {}", describe(step));
        if let Step::BatchNorm(pass) = step {
            let Pass { input, grad_output, .. } = pass.as_ref();
            text += &array("  input", input);
            text += &grad_output.as_ref().map_or_else(String::new, |tensor| array("  grad_output", tensor));
        }
    }
    text
}

fn array(name: &str, tensor: &Tensor) -> String {
    format!("{name} {} {:?} {}\n", tensor.dtype.name(), tensor.shape, elements(tensor))
}

fn elements(tensor: &Tensor) -> String {
    listed(&tensor.data, |&element| decimal(tensor.dtype, element))
}

fn listed<T>(items: &[T], text: impl Fn(&T) -> String) -> String {
    let shown: Vec<String> = items.iter().take(SHOWN).map(text).collect();
    let more = if items.len() > SHOWN { format!(", … of {}", items.len()) } else { String::new() };
    format!("[{}{more}]", shown.join(", "))
}
