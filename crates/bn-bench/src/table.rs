//! A record for people: one table for each network and setting.

use std::fmt::Write;

use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

use crate::networks::shape_name;
use crate::record::{Record, Row};

/// No table is wider.
pub(crate) const WIDTH: u16 = 100;

/// Lines above, below and under the head; none between rows.
pub(crate) const LINES: TableStyle = {
    let line = LineStyle::none().fill('─').junction('─');
    TableStyle::new().top_border(line).header_separator(line).bottom_border(line)
};

/// What the columns are.
const HEAD: [&str; 9] = ["shape", "layers", "ours", "libtorch", "ratio", "95 %", "copy", "stream", "GB/s"];

/// The record's tables, each with its title and its mean, and what there is to say
/// besides.
pub fn tables(record: &Record) -> String {
    let mut text = String::new();
    for (network, means) in &record.geomeans_by_network {
        for (key, mean) in means {
            let of_table = |row: &&Row| row.subject.network == *network && row.subject.key() == *key;
            let rows: Vec<&Row> = record.rows.iter().filter(of_table).collect();
            let layers: usize = rows.iter().map(|row| row.subject.count).sum();
            let _ =
                writeln!(text, "{network} {key}: {mean:.2} times as fast as libtorch over {layers} layers");
            let _ = writeln!(text, "{}\n", table(&rows));
        }
    }
    for row in &record.rows {
        if let Some(problem) = &row.libtorch_outside {
            let (shape, key) = (shape_name(&row.subject.shape), row.subject.key());
            let _ = writeln!(
                text,
                "* {} {shape} {key}: libtorch's result is outside the allowance:\n    {problem}",
                row.subject.network
            );
        }
    }
    text += "ratio: libtorch's time over ours, median of paired rounds; copy and stream: the time of\n\
             libtorch's copy_, and of a streaming copy, of as many bytes as must be moved, over ours.\n";
    text
}

fn table(rows: &[&Row]) -> String {
    let mut table = Table::new();
    table.load_style(LINES).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table.set_header(HEAD.iter().map(Cell::new));
    table.add_rows(rows.iter().map(|row| cells(row)));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

fn cells(row: &Row) -> Vec<String> {
    let mark = if row.libtorch_outside.is_some() { "*" } else { "" };
    vec![
        shape_name(&row.subject.shape),
        row.subject.count.to_string(),
        time(row.ours_s),
        format!("{}{mark}", time(row.libtorch_s)),
        format!("{:.2}", row.ratio),
        format!("{:.2}–{:.2}", row.ratio_low, row.ratio_high),
        format!("{:.2}", row.copy_fraction),
        row.stream_fraction.map_or("–".into(), |fraction| format!("{fraction:.2}")),
        format!("{:.1}", row.gb_per_s),
    ]
}

/// Three digits in the unit that fits.
pub(crate) fn time(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s >= 1.0 => (s, "s"),
        s if s >= 1e-3 => (s * 1e3, "ms"),
        s if s >= 1e-6 => (s * 1e6, "µs"),
        s => (s * 1e9, "ns"),
    };
    let decimals = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.decimals$} {unit}")
}
