//! `bn-perf gate`: the comparison of two revisions, and how it is shown; `bn-perf
//! gate-power`: how often it is wrong.

use std::process::ExitCode;

use anyhow::Result;
use bn_bench::binomial::clopper_pearson;
use bn_bench::gate::catalogue::{catalogue, counted, name};
use bn_bench::gate::decision::Rule;
use bn_bench::gate::power::{Tally, measure};
use bn_bench::gate::sides::{self, Sides};
use bn_bench::gate::{
    FLOOR, PAIRS, Report, Verdict, compare, confidence, instructions, runnable, table, verdict,
};
use bn_bench::history::{GATE_VERSION, Line};
use bn_bench::machine::{self, Machine, unix_time};
use clap::{Args, ValueEnum};

use crate::measure::{at_least_one, bar};
use crate::output::{Format, OutputArguments};

/// What `--help` says.
pub const ABOUT: &str = "Builds a base and the checkout, and says whether the checkout is slower.\n\n\
    Both are built with the same driver, which links our engine alone, in target/gate. Fresh processes \
    of both take turns on a short list of rows; a row is slower where the interval of its slowdown lies \
    beyond the floor. A second copy of the change is the control. Where valgrind is installed, the \
    instructions of a few small rows are counted as well.\n\n\
    Exit status: 0 pass, 1 slower, 2 it could not be done, 3 no verdict: the machine is too noisy.";

/// What to compare.
#[derive(Args)]
pub struct Arguments {
    /// The commit to compare the checkout with.
    #[arg(long, value_name = "REV")]
    base: String,
    /// A slowdown up to this many percent is nobody's business.
    #[arg(long, value_name = "PERCENT", default_value_t = 100.0 * FLOOR, value_parser = percent)]
    floor: f64,
    /// How many pairs of processes a row may take.
    #[arg(long, default_value_t = PAIRS, value_parser = at_least_one)]
    pairs: usize,
    /// One of the two measurements alone.
    #[arg(long, value_enum)]
    only: Option<Part>,
    #[command(flatten)]
    output: OutputArguments,
}

/// A measurement of the gate.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Part {
    /// Time, by pairs of processes.
    Time,
    /// Instructions, under valgrind.
    Instructions,
}

fn percent(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(percent) if (0.0..=1000.0).contains(&percent) => Ok(percent),
        _ => Err("expected a number of percent, 0 to 1000".into()),
    }
}

/// Compares, prints or writes, and answers by the exit status.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (entries, left_out) = runnable(catalogue(), machine::threads());
    let rule = Rule::new(arguments.floor / 100.0, arguments.pairs, entries.len())?;
    let output = arguments.output.open()?;
    let unix_time = unix_time();
    let sides = sides::build(&arguments.base, |what| anstream::eprintln!("bn-perf gate: {what}"))?;
    let wants = |part| arguments.only.is_none_or(|only| only == part);
    let instructions = if wants(Part::Instructions) { count(&sides)? } else { None };
    let machine = Machine::look();
    let timed = wants(Part::Time);
    let rows = if timed {
        let bar = bar(entries.len());
        let rows = compare(&sides, &entries, &rule, |decided| bar.set_position(decided as u64))?;
        bar.finish_and_clear();
        rows
    } else {
        Vec::new()
    };
    let rule = timed.then_some(rule);
    let verdict = verdict(&rows, rule.as_ref(), instructions.as_deref());
    let report = Report {
        gate_version: GATE_VERSION,
        unix_time,
        machine,
        base: sides.base_revision,
        change: sides.change_revision,
        rule,
        confidence: confidence(entries.len()),
        rows,
        left_out,
        instructions,
        verdict,
    };
    let text = match arguments.output.format {
        Format::Json => serde_json::to_string(&report)? + "\n",
        Format::Table => table(&report),
    };
    output.finish(&text, || Line::Gate(Box::new(report)))?;
    Ok(match verdict {
        Verdict::Pass => ExitCode::SUCCESS,
        Verdict::Slower => ExitCode::from(1),
        Verdict::NoVerdict => ExitCode::from(3),
    })
}

/// The instructions of both sides, or a loud line.
fn count(sides: &Sides) -> Result<Option<Vec<instructions::Counted>>> {
    if !instructions::available() {
        anstream::eprintln!("NOT RUN: instructions are not counted: valgrind is not installed");
        return Ok(None);
    }
    let rows = counted();
    let bar = bar(rows.len());
    let counted = instructions::compare(sides, &rows, || bar.inc(1))?;
    bar.finish_and_clear();
    Ok(Some(counted))
}

/// How many decisions to make.
#[derive(Args)]
pub struct PowerArguments {
    /// Gates of two equal sides.
    #[arg(long, default_value = "200")]
    runs: usize,
    /// Gates with one side slowed by 5 %, of the rows that promise to find it.
    #[arg(long, default_value = "60")]
    slowed_runs: usize,
}

/// Measures, and prints two tables in Markdown.
pub fn power(arguments: &PowerArguments) -> Result<()> {
    let (entries, _) = runnable(catalogue(), machine::threads());
    let rule = Rule::new(FLOOR, PAIRS, entries.len())?;
    // Only the change is run; it is its own base.
    let sides = sides::build("HEAD", |what| anstream::eprintln!("bn-perf gate-power: {what}"))?;
    let machine = Machine::look();
    if let Some(warning) = machine.warning() {
        anstream::eprintln!("WARNING: {warning}");
    }
    let runs = [arguments.runs, arguments.slowed_runs];
    let bar = bar(runs.iter().sum());
    let power = measure(&sides, &entries, &rule, runs, || bar.inc(1))?;
    bar.finish_and_clear();
    let Machine { processor, threads, os, .. } = &machine;
    println!("Revision {}, on {processor}, {threads} processors, {os}.\n", sides.change_revision);
    println!(
        "Of {}, false alarms {}.\n",
        gates(power.equal_runs),
        rate(power.false_alarms, power.equal_runs)
    );
    println!("| row | equal sides: called slower | 5 % slower: found |\n|---|---:|---:|");
    for tally in &power.equal {
        let slowed = power.slowed.iter().find(|slowed| slowed.row == tally.row);
        let found = slowed.map_or("not promised".into(), of);
        println!("| {} | {} | {found} |", name(&tally.row), of(tally));
    }
    let (found, runs) = power.slowed.iter().fold((0, 0), |sum, t| (sum.0 + t.slower, sum.1 + t.runs));
    println!("\nOf all rows that promise it, found {}.", rate(found, runs));
    Ok(())
}

fn gates(runs: usize) -> String {
    format!("{runs} gates of two equal sides")
}

fn of(tally: &Tally) -> String {
    rate(tally.slower, tally.runs)
}

/// `3 of 200 (0.3–4.3 %)`: the interval is Clopper and Pearson's, at 95 %.
fn rate(count: usize, of: usize) -> String {
    let [low, high] = clopper_pearson(count, of).map(|end| 100.0 * end);
    format!("{count} of {of} ({low:.1}–{high:.1} %)")
}
