//! A chart as a file of its own, for whatever shows an image.
//!
//! Nothing measures text here, since the font is not known before it is shown. A letter
//! is taken to be 0.56 of its height wide, which sans-serif fonts rarely exceed.

use maud::{Markup, PreEscaped, html};

use super::draw::{Sheet, draw_on};
use super::{Chart, Series};
use crate::palette::{PAPER, dark_rules, in_light};

/// Narrower than on a page, with larger text: a README is read on telephones as well.
const WIDTH: u32 = 720;
const PLOT_HEIGHT: u32 = 360;
const MARGIN: u32 = 20;

/// Heights of letters, and of lines of them.
const TITLE: (u32, u32) = (18, 26);
const LEGEND: (u32, u32) = (14, 22);

/// A line of the legend, and the free place after it.
const SAMPLE: u32 = 28;
const GAP: u32 = 8;

/// The chart as an SVG file with its title, its legend and a background, in colours for a
/// light and a dark screen.
pub fn standalone(chart: &Chart, title: &str) -> String {
    let title_lines = lines(title, (WIDTH - 2 * MARGIN) / letters(1, TITLE.0));
    let (keys, rows) = places(chart);
    let top = MARGIN + TITLE.1 * title_lines.len() as u32 + GAP;
    let bottom = GAP + LEGEND.1 * rows + GAP;
    let height = top + PLOT_HEIGHT + bottom;
    let drawing = draw_on(&Sheet { size: (WIDTH, height), text: 18, room: (top, bottom) }, chart);
    let inner = drawing.split_once('>').expect("an svg opens").1.trim_end().trim_end_matches("</svg>");
    let file = html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(WIDTH) height=(height) viewBox={ "0 0 " (WIDTH) " " (height) } role="img" font-family="sans-serif" {
            title { (title) }
            style { (PreEscaped("polyline { stroke-linejoin: round }\n")) (PreEscaped(dark_rules())) }
            rect width="100%" height="100%" fill=(PAPER) {}
            (PreEscaped(inner))
            @for (number, line) in (1..).zip(&title_lines) {
                text x=(MARGIN) y=(MARGIN / 2 + TITLE.1 * number) font-size=(TITLE.0) font-weight="bold" fill="#010101" { (line) }
            }
            @for (x, row, colour, series) in keys {
                (key(x, height - bottom + GAP + LEGEND.1 * row + LEGEND.1 / 2, colour, series))
            }
        }
    };
    in_light(&file.into_string()) + "\n"
}

/// So wide these are.
fn letters(count: usize, height: u32) -> u32 {
    (count as u32 * height * 56).div_ceil(100)
}

/// The text in lines of at most so many letters, where its words allow it.
fn lines(text: &str, letters: u32) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < letters as usize => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}

/// Where each series stands in the legend: its x, row and colour; and how many rows. In
/// columns, so that pairs of series stand in pairs.
fn places(chart: &Chart) -> (Vec<(u32, u32, usize, &Series)>, u32) {
    let named: Vec<_> = chart.coloured().filter(|(_, series)| !series.name.is_empty()).collect();
    let longest = named.iter().map(|(_, series)| series.name.chars().count()).max().unwrap_or(0);
    let column = SAMPLE + GAP + letters(longest, LEGEND.0) + 2 * GAP;
    let columns = ((WIDTH - 2 * MARGIN) / column).max(1);
    let rows = (named.len() as u32).div_ceil(columns);
    let at =
        |(number, (colour, series))| (MARGIN + number % columns * column, number / columns, colour, series);
    ((0..).zip(named).map(at).collect(), rows)
}

/// A piece of the line, or a dot, and the name.
fn key(x: u32, middle: u32, colour: usize, series: &Series) -> Markup {
    html! {
        @if series.line {
            line x1=(x) x2=(x + SAMPLE) y1=(middle) y2=(middle) stroke-width="2" stroke={ "#0A0" (u8::from(series.dashed)) "0" (colour) } {}
        }
        @if series.dots || !series.line {
            circle cx=(x + SAMPLE / 2) cy=(middle) r="4" fill={ "#0A000" (colour) } {}
        }
        text x=(x + SAMPLE + GAP) y=(middle + LEGEND.0 / 3) font-size=(LEGEND.0) fill="#010101" { (series.name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charts::Scale;

    fn chart(names: &[&str]) -> Chart {
        let points = vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 0.01)];
        let series = names.iter().map(|name| Series::line(*name, points.clone()).dashed()).collect();
        Chart { x: "x & <x>".into(), y: "y".into(), x_scale: Scale::Whole, y_scale: Scale::Log10, series }
    }

    /// Every element is closed in its turn, every attribute is quoted, and every & begins
    /// one of XML's own names.
    fn is_well_formed(text: &str) {
        let mut open = Vec::new();
        for (number, piece) in text.split('<').enumerate() {
            let (tag, content) = piece.split_once('>').unwrap_or(("", piece));
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            let outside: String = tag.split('"').step_by(2).collect();
            assert!(outside.matches('=').count() == tag.matches("=\"").count(), "{tag}");
            for entity in piece.split('&').skip(1) {
                let name = entity.split(';').next();
                assert!(["amp", "lt", "gt", "quot", "apos"].map(Some).contains(&name), "&{entity}");
            }
            let name = tag.trim_start_matches('/').split([' ', '\n']).next().expect("a name");
            match () {
                () if tag.ends_with('/') || number == 0 => {}
                () if tag.starts_with('/') => assert_eq!(open.pop(), Some(name), "</{name}>"),
                () => open.push(name),
            }
            assert!(!open.is_empty() || content.trim().is_empty(), "{content}");
        }
        assert!(open.is_empty(), "{open:?}");
    }

    #[test]
    fn the_file_is_xml_with_its_title_and_its_names() {
        let svg = standalone(&chart(&["with BN", "without <BN> & \"more\""]), "Loss & <so on>");
        is_well_formed(&svg);
        assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"720\""), "{svg}");
        for text in [
            "<title>Loss &amp; &lt;so on&gt;</title>",
            ">Loss &amp; &lt;so on&gt;</text>",
            ">with BN</text>",
            ">without &lt;BN&gt; &amp; &quot;more&quot;</text>",
            "x &amp; &lt;x&gt;",
            "prefers-color-scheme: dark",
            "stroke=\"#0072b2\" stroke-dasharray=\"7 5\"",
        ] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        for stand_in in ["#0A0", "#010101", "#020202", "var(", "<script", "href"] {
            assert!(!svg.contains(stand_in), "{stand_in}");
        }
    }

    #[test]
    fn a_long_legend_and_a_long_title_take_more_lines() {
        let names = ["a name of twenty-odd letters"; 7];
        let long = chart(&names);
        let (keys, rows) = places(&long);
        assert!(rows > 2 && keys.iter().all(|(x, row, ..)| *x < WIDTH - 200 && *row < rows), "{keys:?}");
        let without_names = chart(&["", ""]);
        assert!(places(&without_names).0.is_empty() && places(&without_names).1 == 0);
        assert_eq!(lines("one two three", 7), ["one two", "three"]);
        assert_eq!(lines("one two three", 6), ["one", "two", "three"]);
        assert_eq!(lines("", 9), [""; 0]);
    }
}
