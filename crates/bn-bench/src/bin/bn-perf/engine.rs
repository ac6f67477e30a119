//! `bn-perf --engine NAME`: a framework against our engine.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bn_bench::engine::{KEPT_MEMORY, means, race};
use bn_bench::machine::{self, revision, unix_time};
use bn_bench::networks::Network;
use bn_bench::table::LINES;
use bn_findings::adapters::Adapters;
use bn_findings::record::SCHEMA;
use bn_findings::speed::{Engine, Machine, Mean, Race, Row};
use bn_suite::engine::Engine as _;
use bn_suite::engines::batchnorm::BatchnormEngine;
use bn_suite::engines::process::{Limits, ProcessEngine};
use comfy_table::{CellAlignment, Table};

use crate::measure::bar;
use crate::output::{Format, OutputArguments};

/// Rounds of a row: enough for an interval of the median.
const ROUNDS: usize = 7;
/// Of a layer: forward in training and in evaluation, and backward.
const PASSES: usize = 3;

/// Races, and prints or writes.
pub fn run(name: &str, networks: &[Network], batch: usize, arguments: &OutputArguments) -> Result<()> {
    let output = arguments.open()?;
    let limits = Limits { timeout: Duration::from_secs(300), ..Limits::default() };
    let adapters = Adapters::find()?.context("no engines/registry.json here or above")?;
    if adapters.registry.find(name).is_none() {
        let names: Vec<&str> = adapters.registry.engines.iter().map(|engine| engine.name.as_str()).collect();
        bail!("no engine {name:?}; there are {}", names.join(", "));
    }
    let command = KEPT_MEMORY.iter().map(|word| (*word).to_owned()).chain(adapters.command(name)).collect();
    let mut theirs = ProcessEngine::start_words(command, limits)
        .with_context(|| format!("`scripts/engines setup {name}` sets it up"))?;
    let about = theirs.about().clone();
    let machine = machine::Machine::look();
    if let Some(warning) = machine.warning() {
        anstream::eprintln!("WARNING: {warning}");
    }
    let mut ours = BatchnormEngine::default();
    let mut rows = Vec::new();
    let bar = bar(networks.iter().map(|network| PASSES * network.layers.len()).sum());
    for network in networks {
        bar.set_message(network.name);
        rows.extend(race(&mut ours, &mut theirs, network, (batch, ROUNDS), |_| bar.inc(1))?);
    }
    bar.finish_and_clear();
    let race = Race {
        schema: SCHEMA,
        recorded: unix_time(),
        engine: Engine { name: about.name, version: about.version },
        revision: revision(),
        machine: Machine { processor: machine.processor, threads: machine.threads, busy: machine.busy },
        batch,
        means: means(&rows),
        rows,
    };
    output.write(&match arguments.format {
        Format::Json => race.text(),
        Format::Table => tables(&race),
    })
}

fn tables(race: &Race) -> String {
    let Race { engine, batch, means, rows, .. } = race;
    let mut text = String::new();
    for (network, means) in means {
        let of_network = rows.iter().filter(|row| row.network == *network);
        text += &format!(
            "{} {} against batchnorm on {network}, f32, batch {batch}: its time / ours\n{}\n",
            engine.name,
            engine.version,
            table(of_network)
        );
        for (op, Mean { ratio, interval: [low, high] }) in means {
            text += &format!("{}: geometric mean {ratio:.2}, 95 % {low:.2} to {high:.2}\n", op.name());
        }
    }
    text += "Ours writes into arrays that are there, the other allocates what a call gives, from memory that its process \
             has kept. Both use as many threads as they like.\n";
    text
}

fn table<'a>(rows: impl Iterator<Item = &'a Row>) -> Table {
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
