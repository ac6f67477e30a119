//! A gate's report for people.

use std::fmt::Write;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};

use super::catalogue::name;
use super::{Report, Verdict, control};
use crate::table::{LINES, WIDTH, time};

/// The report: rows, control, instructions, verdict.
pub fn table(report: &Report) -> String {
    let mut text = format!("base {}, change {}\n", report.base, report.change);
    if let Some(rule) = &report.rule {
        let head = ["row", "base", "change", "slowdown", "low end", "beyond", "bits", ""];
        let cells = report.rows.iter().map(|row| {
            vec![
                name(&row.row),
                time(row.base_s),
                time(row.change_s),
                percent(row.slowdown),
                row.low.map_or("–".into(), percent),
                format!("{} of {}", rule.beyond(&row.slowdowns), row.slowdowns.len()),
                if row.same_bits { "same" } else { "differ" }.into(),
                if row.slower { "SLOWER" } else { "" }.into(),
            ]
        });
        let _ = writeln!(text, "{}", lines(&head, cells));
        let (beyond, of) = control(&report.rows, rule);
        let _ = writeln!(
            text,
            "slowdown: the median over pairs of processes; beyond: how many pairs are slower by more than\n\
             {:.1} %; SLOWER: at least {} of {} are, so that the low end of a {:.2} % interval is.\n\
             control: of {of} readings of the change against itself {beyond} lie beyond {:.1} %, up or down.",
            100.0 * rule.floor,
            rule.pairs - rule.tolerated,
            rule.pairs,
            100.0 * report.confidence,
            100.0 * rule.floor,
        );
    }
    for row in &report.left_out {
        let _ = writeln!(text, "NOT RUN: {}: it wants {} processors", name(row), row.threads);
    }
    if let Some(counted) = &report.instructions {
        let cells = counted.iter().map(|row| {
            vec![
                name(&row.row),
                row.base.to_string(),
                row.change.to_string(),
                percent(row.change as f64 / row.base as f64 - 1.0),
                if row.more() { "MORE" } else { "" }.into(),
            ]
        });
        let head = ["instructions of", "base", "change", "more", ""];
        let _ = writeln!(text, "{}", lines(&head, cells));
    }
    text += match report.verdict {
        Verdict::Pass => "verdict: pass\n",
        Verdict::Slower => "verdict: slower\n",
        Verdict::NoVerdict => "no verdict: the machine is too noisy\n",
    };
    text
}

fn lines(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(LINES).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table.set_header(head.iter().map(Cell::new));
    table.add_rows(rows);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn percent(share: f64) -> String {
    format!("{:+.2} %", 100.0 * share)
}
