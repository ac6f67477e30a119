//! A record for people: one table for each network and setting.

use std::fmt::Write;

use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

use crate::networks::shape_name;
use crate::record::{Record, Remarks, Row};

/// No table is wider.
pub(crate) const WIDTH: u16 = 100;

/// Lines above, below and under the head; none between rows.
pub const LINES: TableStyle = {
    let line = LineStyle::none().fill('─').junction('─');
    TableStyle::new().top_border(line).header_separator(line).bottom_border(line)
};

/// What the columns are on a processor, and on a GPU.
const HEAD: [&str; 9] = ["shape", "layers", "ours", "libtorch", "ratio", "95 %", "copy", "stream", "GB/s"];
const HEAD_ON_CUDA: [&str; 10] =
    ["shape", "layers", "ours", "libtorch", "ratio", "95 %", "cuDNN", "ratio", "copy", "GB/s"];

/// The record's tables, each with its title and its mean, and what there is to say
/// besides.
pub fn tables(record: &Record) -> String {
    let mut text = String::new();
    let cuda = record.machine.cuda.as_ref();
    if let Some(cuda) = cuda {
        let driver = cuda.driver.as_deref().unwrap_or("unknown");
        let Record { cache, libtorch, .. } = record;
        let _ = writeln!(text, "{}, driver {driver}, libtorch {libtorch}, {cache} caches\n", cuda.name);
    }
    for (network, means) in &record.geomeans_by_network {
        for (key, mean) in means {
            let of_table = |row: &&Row| row.subject.network == *network && row.subject.key() == *key;
            let rows: Vec<&Row> = record.rows.iter().filter(of_table).collect();
            let layers: usize = rows.iter().map(|row| row.subject.count).sum();
            let _ =
                writeln!(text, "{network} {key}: {mean:.2} times as fast as libtorch over {layers} layers");
            let _ = writeln!(text, "{}\n", table(&rows, cuda.is_some()));
        }
    }
    for row in &record.rows {
        let (shape, key) = (shape_name(&row.subject.shape), row.subject.key());
        let Remarks { libtorch_outside, cudnn_outside, cudnn_refused } = &row.remarks;
        for (what, problem) in [
            ("libtorch's result is outside the allowance", libtorch_outside),
            ("cuDNN's result is outside the allowance", cudnn_outside),
            ("cuDNN does not take part", cudnn_refused),
        ] {
            if let Some(problem) = problem {
                let _ = writeln!(text, "* {} {shape} {key}: {what}:\n    {problem}", row.subject.network);
            }
        }
    }
    text += "ratio: the time before it over ours, median of paired rounds; copy and stream: the time of\n\
             libtorch's copy_, and of a streaming copy, of as many bytes as must be moved, over ours.\n";
    text
}

fn table(rows: &[&Row], on_cuda: bool) -> String {
    let mut table = Table::new();
    table.load_style(LINES).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table.set_header(if on_cuda { &HEAD_ON_CUDA[..] } else { &HEAD }.iter().map(Cell::new));
    table.add_rows(rows.iter().map(|row| cells(row, on_cuda)));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

fn cells(row: &Row, on_cuda: bool) -> Vec<String> {
    let mark = |problem: &Option<String>| if problem.is_some() { "*" } else { "" };
    let Remarks { libtorch_outside, cudnn_outside, .. } = &row.remarks;
    let fraction = |fraction: Option<f64>| fraction.map_or("–".into(), |fraction| format!("{fraction:.2}"));
    let mut cells = vec![
        shape_name(&row.subject.shape),
        row.subject.count.to_string(),
        time(row.ours_s),
        format!("{}{}", time(row.libtorch_s), mark(libtorch_outside)),
        format!("{:.2}", row.ratio),
        format!("{:.2}–{:.2}", row.ratio_low, row.ratio_high),
    ];
    if on_cuda {
        let cudnn = row.cudnn_s.map_or("–*".into(), |s| format!("{}{}", time(s), mark(cudnn_outside)));
        cells.extend([cudnn, fraction(row.cudnn_ratio), fraction(Some(row.copy_fraction))]);
    } else {
        cells.extend([fraction(Some(row.copy_fraction)), fraction(row.stream_fraction)]);
    }
    cells.push(format!("{:.1}", row.gb_per_s));
    cells
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
