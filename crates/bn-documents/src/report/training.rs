//! One experiment: its curves, its table, its page.

use bn_page::charts::{Chart, Scale, Series};
use bn_page::{figure, page as whole_page};
use maud::{Markup, html};

use super::loss;
use crate::blueprint::{Document, Named, Norm};
use crate::train::{Epoch, INTERVAL, Plan};

/// A training that is shown.
#[derive(Clone, Debug)]
pub struct Shown {
    /// What it follows from.
    pub plan: Plan,
    /// What it came to.
    pub history: Vec<Epoch>,
}

/// A table of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// What it shows.
    pub caption: String,
    /// The names of the columns.
    pub head: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
}

/// Loss by epoch: training in whole lines, validation in dashed ones.
pub fn chart(trainings: &[Shown]) -> Chart {
    let curve = |history: &[Epoch], of: fn(&Epoch) -> f64| -> Vec<(f64, f64)> {
        (1..).map(f64::from).zip(history.iter().map(of)).collect()
    };
    let series = trainings.iter().enumerate().flat_map(|(colour, Shown { plan, history })| {
        let title = plan.title();
        [
            Series::curve(format!("{title}, training"), curve(history, |epoch| epoch.train_loss))
                .coloured(colour),
            Series::curve(format!("{title}, validation"), curve(history, |epoch| epoch.validation_loss))
                .coloured(colour)
                .dashed(),
        ]
    });
    Chart {
        x: "epoch".into(),
        y: "loss".into(),
        x_scale: Scale::Whole,
        y_scale: Scale::FromZero,
        series: series.collect(),
    }
}

/// A table like the document's own: MachineCurve's of each 500 batches of the last epoch, where there
/// are as many; else the first epoch and every fifth.
pub fn table(trainings: &[Shown]) -> Table {
    let intervals = |shown: &Shown| shown.history.last().map_or(0, |epoch| epoch.intervals.len());
    let of_machinecurve = trainings.iter().all(|shown| shown.plan.document == Document::MachineCurve);
    let rows = trainings.iter().map(intervals).min().unwrap_or(0);
    if of_machinecurve && rows > 0 { interval_table(trainings, rows) } else { epoch_table(trainings) }
}

fn interval_table(trainings: &[Shown], rows: usize) -> Table {
    let mut head = vec!["loss after mini-batch".to_owned()];
    head.extend(trainings.iter().map(|shown| shown.plan.title()));
    let row = |row: usize| {
        let of = |shown: &Shown| {
            shown.history.last().map_or(String::new(), |last| format!("{:.3}", last.intervals[row].0))
        };
        [((row + 1) * INTERVAL).to_string()].into_iter().chain(trainings.iter().map(of)).collect()
    };
    let epochs = trainings.iter().map(|shown| shown.history.len()).max().unwrap_or(0);
    let caption = format!("Mean loss of each {INTERVAL} mini-batches of epoch {epochs}");
    Table { caption, head, rows: (0..rows).map(row).collect() }
}

fn epoch_table(trainings: &[Shown]) -> Table {
    let mut head = vec!["epoch".to_owned()];
    for shown in trainings {
        let title = shown.plan.title();
        head.extend(["train loss", "val loss", "val accuracy"].map(|what| format!("{title}: {what}")));
    }
    let epochs = trainings.iter().map(|shown| shown.history.len()).max().unwrap_or(0);
    let is_shown = |epoch: &usize| *epoch == 1 || epoch.is_multiple_of(5) || *epoch == epochs || epochs <= 10;
    let row = |epoch: usize| {
        let of = |shown: &Shown| match shown.history.get(epoch - 1) {
            Some(at) => {
                [loss(at.train_loss), loss(at.validation_loss), format!("{:.1} %", 100.0 * at.accuracy)]
            }
            None => [(); 3].map(|()| "–".to_owned()),
        };
        [format!("{epoch}/{epochs}")].into_iter().chain(trainings.iter().flat_map(of)).collect()
    };
    let caption = "Mean losses of training and validation examples".into();
    Table { caption, head, rows: (1..=epochs).filter(is_shown).map(row).collect() }
}

/// A network in one line: `Linear(20, 128), BatchNorm(128), ReLU, …`.
pub fn architecture(document: Document, norm: Norm) -> String {
    use crate::blueprint::Piece;
    let piece = |Named { piece, .. }: &Named| match *piece {
        Piece::Linear { inputs, outputs, bias } => {
            format!("Linear({inputs}, {outputs}{})", if bias { "" } else { ", no bias" })
        }
        Piece::Conv2d { inputs, outputs, kernel, padding, bias } => {
            let bias = if bias { "" } else { ", no bias" };
            format!("Conv2d({inputs}, {outputs}, {kernel}×{kernel}, padding {padding}{bias})")
        }
        Piece::BatchNorm { features } => format!("BatchNorm({features})"),
        Piece::Relu => "ReLU".into(),
        Piece::MaxPool2d { kernel } => format!("MaxPool({kernel})"),
        Piece::Flatten => "Flatten".into(),
    };
    document.blueprint(norm).iter().map(piece).collect::<Vec<_>>().join(", ")
}

/// The table on a page.
pub fn markup(table: &Table) -> Markup {
    html! {
        table {
            thead { tr { @for (column, name) in table.head.iter().enumerate() { th.number[column > 0] { (name) } } } }
            tbody {
                @for row in &table.rows {
                    tr { @for (column, cell) in row.iter().enumerate() { td.number[column > 0] { (cell) } } }
                }
            }
        }
    }
}

/// The page of an experiment. `examples` says what was learnt from, `command` made the page.
pub fn page(trainings: &[Shown], examples: &str, command: &str) -> String {
    let plan = trainings.first().map(|shown| shown.plan);
    let document = plan.map_or("nothing", |plan| plan.document.name());
    let table = table(trainings);
    let body = html! {
        h1 { (document) }
        @if let Some(plan) = plan {
            p {
                "Trained on " (examples) ", in batches of " (plan.settings.batch) ", by "
                (plan.settings.rule) ", seed " (plan.seed) ". Made by " code { (command) } "."
            }
        }
        (figure(&chart(trainings), ""))
        h2 { "Losses" }
        p { (table.caption) "." }
        (markup(&table))
        h2 { "Networks" }
        @for shown in trainings {
            p { b { (shown.plan.title()) } ": " (architecture(shown.plan.document, shown.plan.norm)) }
        }
        @if trainings.iter().any(|shown| shown.plan.engine == crate::network::Engine::Labml) {
            p.warning {
                "labml's dialect: the running variance is the biased one, where PyTorch's is n/(n−1) times that, \
                 and the variance is E[x²] − E[x]², which cancels where the mean is large."
            }
        }
    };
    whole_page(&format!("{document}: with and without batch norm"), "en", body)
}
