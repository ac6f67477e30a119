//! `bn-perf --engine NAME`: a framework against our engine.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bn_bench::engine::{Row, mean, race};
use bn_bench::machine::{Machine, revision, unix_time};
use bn_bench::networks::Network;
use bn_bench::table::LINES;
use bn_findings::adapters::Adapters;
use bn_suite::engine::Engine;
use bn_suite::engines::batchnorm::BatchnormEngine;
use bn_suite::engines::process::{Limits, ProcessEngine};
use bn_suite::protocol::timing::Op;
use comfy_table::{CellAlignment, Table};
use serde_json::json;

use crate::measure::bar;
use crate::output::{Format, OutputArguments};

/// Rounds of a row: enough for an interval of the median.
const ROUNDS: usize = 7;

/// Races, and prints or writes.
pub fn run(name: &str, networks: &[Network], batch: usize, arguments: &OutputArguments) -> Result<()> {
    let output = arguments.open()?;
    let limits = Limits { timeout: Duration::from_secs(300), ..Limits::default() };
    let adapters = Adapters::find()?.context("no engines/registry.json here or above")?;
    if adapters.registry.find(name).is_none() {
        let names: Vec<&str> = adapters.registry.engines.iter().map(|engine| engine.name.as_str()).collect();
        bail!("no engine {name:?}; there are {}", names.join(", "));
    }
    let mut theirs = ProcessEngine::start_words(adapters.command(name), limits)
        .with_context(|| format!("`scripts/engines setup {name}` sets it up"))?;
    let about = theirs.about().clone();
    let machine = Machine::look();
    if let Some(warning) = machine.warning() {
        anstream::eprintln!("WARNING: {warning}");
    }
    let mut ours = BatchnormEngine::default();
    let mut text = String::new();
    for network in networks {
        let bar = bar(3 * network.layers.len());
        let rows = race(&mut ours, &mut theirs, network, (batch, ROUNDS), |_| bar.inc(1))?;
        bar.finish_and_clear();
        match arguments.format {
            Format::Json => {
                let record = json!({
                    "engine": { "name": about.name, "version": about.version },
                    "network": network.name, "batch": batch, "unix_time": unix_time(),
                    "revision": revision(), "machine": machine, "rows": rows,
                });
                text += &format!("{}\n", serde_json::to_string_pretty(&record)?);
            }
            Format::Table => {
                text += &format!(
                    "{} {} against batchnorm on {}, f32, batch {batch}: its time / ours\n{}\n",
                    about.name,
                    about.version,
                    network.name,
                    table(&rows)
                );
                for op in [Op::ForwardTrain, Op::ForwardEval, Op::BackwardTrain] {
                    text += &format!("{}: geometric mean {:.2}\n", op.name(), mean(&rows, op));
                }
            }
        }
    }
    if let Format::Table = arguments.format {
        text += "Both allocate what a call gives, and use as many threads as they like.\n";
    }
    output.write(&text)
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(LINES);
    table.set_header(["shape", "layers", "pass", "ours, ms", "theirs, ms", "ratio", "95 %"]);
    for row in rows {
        let [low, high] = row.interval;
        table.add_row([
            row.shape.clone(),
            row.count.to_string(),
            row.op.name().into(),
            format!("{:.3}", 1e3 * row.ours),
            format!("{:.3}", 1e3 * row.theirs),
            format!("{:.2}", row.ratio),
            format!("{low:.2} to {high:.2}"),
        ]);
    }
    for column in [1, 3, 4, 5, 6] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
