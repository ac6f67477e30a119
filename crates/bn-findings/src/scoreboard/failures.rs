//! The failures of a cause, one row each.

use maud::{Markup, html};

use super::{CauseRow, cells, replay};
use crate::cause::Severity;
use crate::record::{Failure, Record};

/// A table of all failures of the cause, engine by engine.
pub fn table(row: &CauseRow) -> Markup {
    html! {
        table.failures {
            thead { tr {
                th { "engine" } th { "case" } th { "where" } th { "got" } th { "expected" }
                th.number { "× allowance" }
            } }
            @for shown in &row.engines {
                tbody {
                    @for failure in shown.record.failures.iter().filter(|failure| failure.cause == row.cause.id) {
                        (line(shown.record, shown.severity, failure))
                    }
                }
            }
        }
    }
}

fn line(record: &Record, severity: Severity, failure: &Failure) -> Markup {
    let group = failure.case.split_once('/').map_or("", |(group, _)| group);
    let engine = &record.engine.name;
    let is_value = !failure.got.is_null() || !failure.expected.is_null();
    html! {
        tr.failure data-engine=(engine) data-group=(group) data-severity=(severity.name()) {
            td { (engine) }
            td {
                b { (failure.case) }
                @if let Some(note) = record.notes.get(&failure.case) { div.faint { (note) } }
                code.command { (replay(engine, &failure.case)) }
            }
            td { (place(failure)) }
            @if is_value {
                td.value { (cells::value(&failure.got)) }
                td.value { (cells::value(&failure.expected)) }
                td.number { (cells::ratio(failure.ratio)) }
            } @else {
                td colspan="3" { (first_lines(&failure.message)) }
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
fn first_lines(message: &str) -> String {
    match message.char_indices().nth(400) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}
