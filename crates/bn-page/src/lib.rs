//! Pages and pictures that need nothing else, and files of which nobody ever sees half.
//!
//! A [`page`] is one HTML file; a picture ([`charts`]) is SVG, inside a page ([`figure`])
//! or as a file of its own ([`charts::standalone`]). Each looks right on a light and on a
//! dark screen. No script, no font, no network.

pub mod charts;
mod dates;
mod palette;

pub use bn_file::{FileError, WholeFile};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use self::charts::{COLOURS, Chart, draw};
pub use self::dates::date;

/// A whole page: its head, the rules of how it looks, and this body.
pub fn page(title: &str, lang: &str, body: Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang=(lang) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(palette::page_rules())) (PreEscaped(include_str!("style.css"))) }
            }
            body { (body) }
        }
    };
    page.into_string()
}

/// The chart in a page, its caption and its legend beneath. An empty caption is left out,
/// and so is a series without a name.
pub fn figure(chart: &Chart, caption: &str) -> Markup {
    html! {
        figure {
            div.picture { (PreEscaped(draw(chart))) }
            figcaption {
                @if !caption.is_empty() { p { (caption) } }
                @for (index, series) in chart.series.iter().enumerate().filter(|(_, series)| !series.name.is_empty()) {
                    @let colour = format!("series-{}", series.colour.unwrap_or(index) % COLOURS);
                    span.key { span class={ "swatch " (colour) @if series.dashed { " dashed" } } {} (series.name) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charts::{Scale, Series};

    #[test]
    fn a_page_escapes_its_title_and_keeps_its_body() {
        let page = page("a < b & c", "de", html! { p { "so" } });
        assert!(page.starts_with("<!DOCTYPE html><html lang=\"de\">"), "{page}");
        assert!(page.contains("<title>a &lt; b &amp; c</title>"), "{page}");
        assert!(page.ends_with("<body><p>so</p></body></html>"), "{page}");
        assert!(page.contains("prefers-color-scheme: dark"));
    }

    #[test]
    fn a_legend_has_the_colours_of_the_lines() {
        let points = vec![(0.0, 1.0), (1.0, 2.0)];
        let series = vec![
            Series::curve("training", points.clone()),
            Series::curve("validation", points.clone()).coloured(0).dashed(),
            Series::curve("", points),
        ];
        let scale = Scale::Linear;
        let chart = Chart { x: "x".into(), y: "y".into(), x_scale: scale, y_scale: scale, series };
        let text = figure(&chart, "of <both>").into_string();
        assert!(text.contains("<p>of &lt;both&gt;</p>"), "{text}");
        assert!(text.contains("<span class=\"swatch series-0\"></span>training"), "{text}");
        assert!(text.contains("<span class=\"swatch series-0 dashed\"></span>validation"), "{text}");
        assert_eq!(text.matches("class=\"key\"").count(), 2, "{text}");
        assert!(!figure(&chart, "").into_string().contains("<p>"));
    }
}
