//! Colours and tables. Colours go through `anstream`, which drops them where the
//! output is no terminal or `NO_COLOR` is set.

use std::fmt::Display;

use anstyle::{AnsiColor, Style};
use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

/// No table is wider.
const WIDTH: u16 = 100;

/// Lines above, below and under the head; none between rows.
const LINES: TableStyle = {
    let line = LineStyle::none().fill('─').junction('─');
    TableStyle::new().top_border(line).header_separator(line).bottom_border(line)
};

fn painted(text: impl Display, colour: AnsiColor) -> String {
    let style = Style::new().bold().fg_color(Some(colour.into()));
    format!("{style}{text}{style:#}")
}

/// Something wrong.
pub fn bad(text: impl Display) -> String {
    painted(text, AnsiColor::Red)
}

/// Something right.
pub fn good(text: impl Display) -> String {
    painted(text, AnsiColor::Green)
}

/// Something to look at.
pub fn doubtful(text: impl Display) -> String {
    painted(text, AnsiColor::Yellow)
}

/// A table with a line under its head, its numbers flush right in the columns `right`.
pub fn table(head: &[&str], rows: Vec<Vec<String>>, right: std::ops::Range<usize>) -> String {
    let mut table = Table::new();
    table.load_style(LINES).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(WIDTH);
    table.set_header(head.iter().map(Cell::new));
    table.add_rows(rows);
    for column in right {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Text in lines as wide as a table, the later ones indented.
pub fn paragraph(text: &str) -> String {
    textwrap::fill(text, textwrap::Options::new(WIDTH.into()).subsequent_indent("    "))
}

/// "1 case", "2 cases".
pub fn count(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A ratio in few characters, however large.
pub fn ratio(ratio: f64) -> String {
    if ratio.is_finite() && ratio >= 1000.0 { format!("{ratio:.1e}") } else { format!("{ratio:.3}") }
}
