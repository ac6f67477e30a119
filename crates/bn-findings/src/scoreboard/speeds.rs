//! How long each engine takes beside ours.

use std::collections::BTreeMap;
use std::fmt::Write;

use bn_suite::protocol::timing::Op;
use maud::{Markup, html};

use super::{Board, cells};
use crate::speed::{Mean, Race};

/// The passes, as the columns say them.
const PASSES: [(Op, &str); 3] = [
    (Op::ForwardTrain, "forward, training"),
    (Op::ForwardEval, "forward, evaluation"),
    (Op::BackwardTrain, "backward"),
];

/// A section with a row for each race and network; nothing where there is no race.
pub fn section(board: &Board) -> Markup {
    html! {
        @if !board.races.is_empty() {
            h2 { "Speed" }
            table.speeds {
                thead { tr {
                    th { "engine" } th { "layers" }
                    @for (_, name) in PASSES { th.number { (name) } }
                } }
                tbody { @for (race, network, means) in lines(board) { (line(race, network, means)) } }
            }
            p.faint {
                "The engine’s time / ours, through the public calls of both, f32: the geometric mean over all batch norms of \
                 the network, with its 95 % confidence interval. Both are asked in turns, and use as many threads as they \
                 like. Ours writes into arrays that are there; the other allocates what a call gives, from memory that its \
                 process has kept. Values of what was timed are compared with the truth; what is wrong \
                 is not timed."
            }
        }
    }
}

fn line(race: &Race, network: &str, means: &BTreeMap<Op, Mean>) -> Markup {
    html! {
        tr data-engine=(race.engine.name) {
            th scope="row" {
                (race.engine.name) " " span.version { (race.engine.version) }
                div.faint {
                    (race.machine.processor) ", " (race.machine.threads) " threads, revision " (race.revision) ", "
                    (cells::day(race.recorded))
                }
            }
            td { (network) ", batch " (race.batch) }
            @for (op, _) in PASSES {
                td.number {
                    @if let Some(Mean { ratio, interval: [low, high] }) = means.get(&op) {
                        b { (figure(*ratio)) } div.faint { (figure(*low)) " to " (figure(*high)) }
                    }
                }
            }
        }
    }
}

/// A race has a line for each of its networks.
fn lines(board: &Board) -> impl Iterator<Item = (&Race, &str, &BTreeMap<Op, Mean>)> {
    board
        .races
        .iter()
        .flat_map(|race| race.means.iter().map(move |(name, means)| (race, name.as_str(), means)))
}

/// The same as Markdown.
pub fn markdown(board: &Board) -> String {
    let mut text = String::new();
    if board.races.is_empty() {
        return text;
    }
    text += "\n**speed**: the engine's time / ours (95 % confidence interval), geometric mean over the network, f32\n\n";
    let names = PASSES.map(|(_, name)| name).join(" | ");
    let _ = writeln!(text, "| engine | layers | {names} | on |\n|---|---|---:|---:|---:|---|");
    for (race, network, means) in lines(board) {
        let cells = PASSES.map(|(op, _)| match means.get(&op) {
            Some(Mean { ratio, interval: [low, high] }) => {
                format!("{} ({} to {})", figure(*ratio), figure(*low), figure(*high))
            }
            None => "–".into(),
        });
        let _ = writeln!(
            text,
            "| {} {} | {network}, batch {} | {} | {}, {} threads, revision {}, {} |",
            race.engine.name,
            race.engine.version,
            race.batch,
            cells.join(" | "),
            race.machine.processor,
            race.machine.threads,
            race.revision,
            cells::day(race.recorded),
        );
    }
    text
}

/// Three digits.
fn figure(ratio: f64) -> String {
    match ratio {
        ..10.0 => format!("{ratio:.2}"),
        ..100.0 => format!("{ratio:.1}"),
        _ => format!("{ratio:.0}"),
    }
}
