//! The scoreboard as Markdown.

use std::fmt::Write;

use super::{Board, CauseRow, Shown, cells, replay, speeds};
use crate::cause::Severity;

/// A table of the engines, and the findings beneath.
pub fn markdown(board: &Board) -> String {
    let mut text = String::from(
        "| engine | version | passed | wrong | inaccurate | convention | unsupported | not asked | accurate | worst × | ULP, median | ULP, worst | date |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|\n",
    );
    for record in &board.records {
        let failed = board.failed_cases(record);
        let failed: Vec<String> =
            Severity::ALL.iter().map(|severity| failed.get(severity).unwrap_or(&0).to_string()).collect();
        let all = &record.all;
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {}/{} | {} | {} | {} | {} |",
            record.engine.name,
            record.engine.version,
            all.passed,
            failed.join(" | "),
            all.unsupported + all.disputed,
            all.accurate,
            all.judged,
            cells::ratio(all.worst),
            cells::ulps(all.ulps.map(|ulps| ulps.median)),
            cells::ulps(all.ulps.map(|ulps| ulps.worst)),
            cells::day(record.recorded),
        );
    }
    for engine in &board.not_run {
        let reason = engine.reason.lines().next_back().unwrap_or_default();
        let _ = writeln!(text, "| {} | not run: {} |", engine.name, reason.replace('|', "\\|"));
    }
    for severity in Severity::ALL {
        let causes = board.causes();
        let rows: Vec<&CauseRow> = causes.iter().filter(|row| row.severity() == severity).collect();
        if !rows.is_empty() {
            let _ = writeln!(text, "\n**{severity}**\n");
        }
        for row in rows {
            let part = |Shown { record, finding, severity: own, .. }: &Shown| match *own == severity {
                true => format!("{} ({})", record.engine.name, finding.cases),
                false => format!("{} ({}, {own})", record.engine.name, finding.cases),
            };
            let who: Vec<String> = row.engines.iter().map(part).collect();
            let shown = &row.engines[0];
            let command = replay(&shown.record.engine.name, &shown.finding.shown_by);
            let _ =
                writeln!(text, "- {}: {}. `{command}`", row.cause.title.replace('|', "\\|"), who.join(", "));
        }
    }
    text + &speeds::markdown(board)
}
