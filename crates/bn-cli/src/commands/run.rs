//! `bn run CASE`: one case, its answer beside the truth, element by element.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use bn_findings::describe::describe;
use bn_suite::check::{self, Difference, Verdict, decimal, multi_index};
use bn_suite::engine::Engine;
use bn_suite::fixtures;
use bn_suite::golden::{ExpectedField, Golden};
use bn_suite::outcome::{Field, Outcome};
use bn_suite::protocol;
use bn_suite::tensor::Tensor;
use clap::Args;

use crate::engine::EngineArguments;
use crate::selection::{self, CasesArguments};
use crate::style;

/// What `bn run` takes.
#[derive(Args)]
pub struct Arguments {
    /// The case's name
    #[arg(required_unless_present = "file")]
    case: Option<String>,
    /// A file that holds one case as JSON, in place of a name; its truth is solved anew
    #[arg(long, value_name = "PATH", conflicts_with = "case")]
    file: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArguments,
    /// So many elements of an array are shown: all of a small one, the wrong ones of a large one
    #[arg(long, value_name = "N", default_value_t = 20)]
    rows: usize,
    #[command(flatten)]
    cases: CasesArguments,
}

/// Runs, prints, and says whether the case did not fail.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let mut engine = arguments.engine.open()?.into_engine();
    let golden = match (&arguments.file, &arguments.case) {
        (Some(file), _) => fixtures::read_case(file)?,
        (None, Some(case)) => selection::select_one(case, &arguments.cases)?,
        (None, None) => bail!("a case's name, or --file, is needed"),
    };
    let golden = check::asked(&golden, &engine.about().claims);
    let replay = arguments.engine.replay(arguments.cases.fixtures.fixtures.as_deref());
    let mut kept = Keeper { engine: engine.as_mut(), answer: None };
    let mut report = check::check(&golden, &mut kept, &replay);
    if let Some(file) = &arguments.file {
        report.reproduce = fixtures::replay_of(file, &replay);
    }
    let mut out = anstream::stdout();
    if let Some(outcomes) = &kept.answer {
        write_answer(&mut out, &golden, outcomes, arguments.rows)?;
    }
    let failed = matches!(report.verdict, Verdict::Failed { .. });
    let text = report.to_string();
    let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
    let word = match report.verdict {
        Verdict::Passed { .. } => style::good(word),
        Verdict::Failed { .. } => style::bad(word),
        Verdict::Unsupported { .. } | Verdict::Disputed { .. } => style::doubtful(word),
    };
    writeln!(out, "{word} {rest}")?;
    Ok(!failed)
}

/// Passes everything on to an engine, and keeps what it answered.
struct Keeper<'a> {
    engine: &'a mut dyn Engine,
    answer: Option<Vec<Outcome>>,
}

impl Engine for Keeper<'_> {
    fn about(&self) -> &bn_suite::engine::About {
        self.engine.about()
    }

    fn run(&mut self, case: &bn_suite::case::Case) -> Result<Vec<Outcome>, bn_suite::engine::EngineError> {
        let answer = protocol::run_caught(self.engine, case);
        self.answer = answer.as_ref().ok().cloned();
        answer
    }
}

fn write_answer(out: &mut impl Write, golden: &Golden, outcomes: &[Outcome], limit: usize) -> Result<()> {
    let steps = golden.case.steps.iter().zip(&golden.expected).zip(outcomes);
    for (at, ((step, expected), got)) in steps.enumerate() {
        writeln!(out, "step {at}: {}", describe(step))?;
        if let Some(refusal) = &got.refused {
            writeln!(out, "  refused ({}): {}", refusal.kind.name(), refusal.message)?;
        }
        let mut rows = Vec::new();
        for (&field, expected) in &expected.fields {
            match got.fields.get(&field) {
                Some(got) if got.shape == expected.value.shape && got.problem().is_none() => {
                    rows.extend(field_rows(field, expected, got, limit));
                }
                // The verdict below says what is wrong with its form.
                _ => rows.push(vec![field.name().into(), String::new(), "not comparable".into()]),
            }
        }
        let count = |count: Option<i64>| count.map_or("none".into(), |count| count.to_string());
        if (expected.num_batches_tracked, got.num_batches_tracked) != (None, None) {
            let (expected, got) = (count(expected.num_batches_tracked), count(got.num_batches_tracked));
            rows.push(vec!["num_batches_tracked".into(), String::new(), got, expected]);
        }
        let head = ["field", "element", "got", "expected", "allowance", "ratio"];
        writeln!(out, "{}\n", style::table(&head, rows, 2..6))?;
    }
    Ok(())
}

/// Every element of an array that has no more than `limit`. Of a larger one the
/// wrong elements, at most `limit`; or, where all are right, the one that comes
/// closest to its allowance.
fn field_rows(field: Field, expected: &ExpectedField, got: &Tensor, limit: usize) -> Vec<Vec<String>> {
    let row = |difference: &Difference| {
        let &Difference { index, got: value, expected: truth, allowance } = difference;
        vec![
            field.name().into(),
            format!("{:?}", multi_index(index, &got.shape)),
            decimal(got.dtype, value),
            decimal(expected.value.dtype, truth),
            format!("{allowance:.2e}"),
            style::ratio(difference.ratio()),
        ]
    };
    let remark = |text: String| vec![field.name().into(), text];
    let all: Vec<Difference> = check::differences(expected, got).collect();
    if all.is_empty() {
        return vec![remark("empty".into())];
    }
    if all.len() <= limit {
        return all.iter().map(row).collect();
    }
    let wrong: Vec<&Difference> = all.iter().filter(|difference| !difference.is_right()).collect();
    if wrong.is_empty() {
        let worst = all.iter().reduce(|worst, next| if next.ratio() > worst.ratio() { next } else { worst });
        let others = remark(format!("{} others right", all.len() - 1));
        return worst.map(row).into_iter().chain([others]).collect();
    }
    let more = wrong.len().saturating_sub(limit);
    let more = (more > 0).then(|| remark(format!("{more} more wrong")));
    wrong.into_iter().take(limit).map(row).chain(more).collect()
}
