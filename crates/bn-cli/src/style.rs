//! Colours and tables. Colours go through `anstream`, which drops them where the
//! output is no terminal or `NO_COLOR` is set.

use std::fmt::Display;

use anstyle::{AnsiColor, Style};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

/// No table is wider.
const WIDTH: u16 = 100;

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
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
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
