//! The failures of a cause, one row each.

use maud::{Markup, html};

use super::{CauseRow, cells, replay};
use crate::cause::Severity;
use crate::record::{Failure, Record};

/// A table of all failing cases of the cause, engine by engine.
pub fn table(row: &CauseRow) -> Markup {
    html! {
        table.failures {
            thead { tr {
                th { "engine" } th { "case" } th { "where first" } th { "got" } th { "expected" }
                th.number { "× allowance" }
            } }
            @for shown in &row.engines {
                tbody {
                    @for failures in by_case(shown.record, &row.cause.id) {
                        (line(shown.record, shown.severity, &failures))
                    }
                }
            }
        }
    }
}

/// The failures of a cause, those of one case together.
fn by_case<'a>(record: &'a Record, cause: &str) -> Vec<Vec<&'a Failure>> {
    let mut cases: Vec<Vec<&Failure>> = Vec::new();
    for failure in record.failures.iter().filter(|failure| failure.cause == cause) {
        match cases.last_mut() {
            Some(last) if last[0].case == failure.case => last.push(failure),
            _ => cases.push(vec![failure]),
        }
    }
    cases
}

/// A case with its first failure of the cause, and how many there are besides.
fn line(record: &Record, severity: Severity, failures: &[&Failure]) -> Markup {
    let failure = failures[0];
    let group = failure.case.split_once('/').map_or("", |(group, _)| group);
    let engine = &record.engine.name;
    html! {
        tr.failure data-engine=(engine) data-group=(group) data-severity=(severity.name()) {
            td { (engine) }
            td {
                b { (failure.case) }
                @if let Some(note) = record.notes.get(&failure.case) { div.faint { (note) } }
                code.command { (replay(engine, &failure.case)) }
            }
            td {
                (place(failure))
                @if failures.len() > 1 { div.faint { "and in " (failures.len() - 1) " more places" } }
            }
            @match &failure.message {
                None => {
                    td.value { (cells::value(&failure.got)) }
                    td.value { (cells::value(&failure.expected)) }
                    td.number { (cells::ratio(failure.ratio)) }
                }
                Some(message) => td colspan="3" { (beginning(message)) }
            }
        }
    }
}

/// "step 1, grad_input\[3\]".
fn place(failure: &Failure) -> String {
    let step = failure.step.map_or_else(|| "the answer".into(), |step| format!("step {step}"));
    let field = failure.field.as_ref().map_or_else(String::new, |field| format!(", {field}"));
    let index = failure.index.map_or_else(String::new, |index| format!("[{index}]"));
    match failure.field {
        Some(_) => format!("{step}{field}{index}"),
        None => format!("{step}: {}", failure.kind.replace('_', " ")),
    }
}

/// The last words of a program may be long.
fn beginning(message: &str) -> String {
    match message.char_indices().nth(400) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}
