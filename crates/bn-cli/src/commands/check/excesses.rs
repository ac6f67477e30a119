//! What an engine lacks of the grade *accurate*: every array beyond its allowance,
//! by cause, the worst first.

use std::io::{self, Write};

use bn_suite::report::{ExcessEntry, Report};

use crate::style;

/// So many cases of a cause are listed; `--format json` names all.
const SHOWN: usize = 12;

/// One table for each cause; within it one row for each case, by its worst array.
pub fn write(out: &mut impl Write, report: &Report) -> io::Result<()> {
    for (cause, rows) in by_cause(&report.excesses) {
        let count = style::count(rows.len(), "case");
        writeln!(out, "\n{}: {count}", style::doubtful(cause))?;
        let more = rows.len().saturating_sub(SHOWN);
        let cells = rows.iter().take(SHOWN).map(|entry| {
            let ExcessEntry { case, step, field, index, error, ratio, failing_elements, elements, .. } =
                entry;
            vec![
                style::ratio(ratio.0),
                format!("{:.1e}", error.0),
                format!("{failing_elements} of {elements}"),
                format!("{case}, {step}, {field}[{index}]"),
            ]
        });
        let head = ["ratio", "off by", "elements", "worst at: case, step, element"];
        writeln!(out, "{}", style::table(&head, cells.collect(), 0..3))?;
        if more > 0 {
            writeln!(out, "and {} more (--format json tells all)", style::count(more, "case"))?;
        }
    }
    if !report.excesses.is_empty() {
        writeln!(out)?;
    }
    Ok(())
}

/// The causes, those of most cases first; under each its cases, the worst first,
/// each by the array with the largest ratio.
fn by_cause(excesses: &[ExcessEntry]) -> Vec<(&str, Vec<&ExcessEntry>)> {
    let mut causes: Vec<(&str, Vec<&ExcessEntry>)> = Vec::new();
    for entry in excesses {
        let place = causes.iter().position(|(cause, _)| *cause == entry.cause).unwrap_or_else(|| {
            causes.push((&entry.cause, Vec::new()));
            causes.len() - 1
        });
        let rows = &mut causes[place].1;
        match rows.iter_mut().find(|row| row.case == entry.case) {
            Some(row) if row.ratio.0 < entry.ratio.0 => *row = entry,
            Some(_) => {}
            None => rows.push(entry),
        }
    }
    for (_, rows) in &mut causes {
        rows.sort_by(|a, b| b.ratio.0.total_cmp(&a.ratio.0));
    }
    causes.sort_by_key(|(_, rows)| std::cmp::Reverse(rows.len()));
    causes
}
