//! All claims: a page with curves, and a Markdown table.

use bn_page::charts::{Chart, Scale, Series};
use bn_page::{figure, page as whole_page};
use maud::{Markup, html};

use super::number;
use crate::claims::{Claim, Curves, Figure, Verdict};

/// The median, and the range behind it.
pub fn figure_text(figure: &Figure) -> String {
    let [low, high] = figure.range().map(number);
    if low == high { low } else { format!("{} ({low} to {high})", number(figure.median())) }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    Figure::new("", values.collect()).median()
}

/// Epoch by epoch, over the seeds: the median of the training loss with its range, and the median of
/// the validation loss.
pub fn chart(curves: &[Curves]) -> Chart {
    let series = curves.iter().enumerate().flat_map(|(colour, curves)| {
        let epochs = curves.train.iter().map(Vec::len).min().unwrap_or(0);
        let at =
            |runs: &Vec<Vec<f64>>, epoch: usize| Figure::new("", runs.iter().map(|run| run[epoch]).collect());
        let medians = |runs: &Vec<Vec<f64>>| -> Vec<(f64, f64)> {
            (0..epochs).map(|epoch| ((epoch + 1) as f64, median(runs.iter().map(|run| run[epoch])))).collect()
        };
        let band = (0..epochs).map(|epoch| {
            let [low, high] = at(&curves.train, epoch).range();
            ((epoch + 1) as f64, low, high)
        });
        [
            Series::curve(format!("{}, training", curves.name), medians(&curves.train))
                .with_band(band.collect())
                .coloured(colour),
            Series::curve(format!("{}, validation", curves.name), medians(&curves.validation))
                .coloured(colour)
                .dashed(),
        ]
    });
    let series: Vec<Series> = series.collect();
    // A training that explodes would press all others flat.
    let values = || series.iter().flat_map(|series| &series.points).map(|point| point.1);
    let wide = values().fold(0.0, f64::max) > 20.0 * values().fold(f64::INFINITY, f64::min).max(1e-3);
    Chart {
        x: "epoch".into(),
        y: "loss".into(),
        x_scale: Scale::Whole,
        y_scale: if wide { Scale::Log10 } else { Scale::FromZero },
        series,
    }
}

fn seeds(claim: &Claim) -> usize {
    claim.figures.first().map_or(0, |figure| figure.values.len())
}

fn shown(claim: &Claim) -> String {
    format!("{} of {}", claim.shown, seeds(claim))
}

/// The page of these claims. `command` made it.
pub fn page(claims: &[Claim], command: &str) -> String {
    let count = |verdict: Verdict| claims.iter().filter(|claim| claim.verdict == verdict).count();
    let body = html! {
        h1 { "What the documents say of batch norm" }
        p {
            (claims.len()) " claims, asked of our runs: " (count(Verdict::Holds)) " hold for every seed, "
            (count(Verdict::HoldsMostly)) " for most, " (count(Verdict::DoesNotHold)) " do not hold, "
            (count(Verdict::Compared)) " is a comparison. Made by " code { (command) } "."
        }
        table {
            thead { tr { th { "claim" } th { "said by" } th { "verdict" } th.number { "seeds" } } }
            tbody {
                @for claim in claims {
                    tr {
                        td { a href={ "#" (claim.name) } { (claim.statement) } }
                        td { (claim.document) } td { b { (claim.verdict) } } td.number { (shown(claim)) }
                    }
                }
            }
        }
        @for claim in claims { (section(claim)) }
    };
    whole_page("Batch norm: the documents' claims", "en", body)
}

fn section(claim: &Claim) -> Markup {
    html! {
        h2 id=(claim.name) { (claim.name) }
        p { (claim.statement) " (" (claim.document) ")" }
        p.warning[claim.verdict == Verdict::DoesNotHold] {
            b { (claim.verdict) } ", in " (shown(claim)) " seeds. " (claim.criterion)
        }
        p { "Run: " (claim.setting) "." }
        @if !claim.curves.is_empty() {
            (figure(&chart(&claim.curves), "Medians over the seeds; the band is the range of the training losses."))
        }
        table {
            thead { tr { th { "measured" } th.number { "median" } th.number { "least" } th.number { "most" } } }
            tbody {
                @for figure in &claim.figures {
                    @let [low, high] = figure.range();
                    tr {
                        td { (figure.what) } td.number { (number(figure.median())) }
                        td.number { (number(low)) } td.number { (number(high)) }
                    }
                }
            }
        }
    }
}

/// The claims as a Markdown page. `command` made it.
pub fn markdown(claims: &[Claim], command: &str) -> String {
    let mut text = format!(
        "# What the documents say of batch norm\n\nMade by `{command}`. Figures are the median over the seeds, \
         with the least and the most in brackets.\n\n| claim | said by | verdict | seeds |\n|---|---|---|---|\n"
    );
    for claim in claims {
        let (Claim { name, statement, document, verdict, .. }, shown) = (claim, shown(claim));
        text += &format!("| [{statement}](#{name}) | {document} | {verdict} | {shown} |\n");
    }
    for claim in claims {
        let Claim { name, statement, setting, criterion, verdict, .. } = claim;
        text += &format!(
            "\n## {name}\n\n{statement}\n\n**{verdict}**, in {} seeds. {criterion}\n\nRun: {setting}.\n\n",
            shown(claim)
        );
        text += "| measured | |\n|---|---:|\n";
        for figure in &claim.figures {
            text += &format!("| {} | {} |\n", figure.what, figure_text(figure));
        }
    }
    text
}
