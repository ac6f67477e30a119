//! `bn-perf`: how fast our batch norm is, in turns with libtorch.
//!
//! | | |
//! |---|---|
//! | `bn-perf` | measures the layers of a network, as a table or as a [`bn_bench::Record`] in JSON |
//! | `bn-perf --engine NAME` | the same, with a framework in libtorch's place |
//! | `bn-perf schema` | the JSON Schema of that record |
//! | `bn-perf gate --base REV` | whether the checkout is slower than a commit |
//! | `bn-perf report --history FILE` | a page of what was measured so far |
//!
//! Exit status: 0 when everything was measured, 2 when the question was wrong or a
//! result of ours was, 3 when nothing was run for want of a device. The gate's verdict
//! besides: 1 slower, 3 none.

mod engine;
mod gate;
mod measure;
mod output;
mod report;

use std::process::ExitCode;

use anyhow::Result;
use bn_bench::cuda::NotRun;
use clap::{Parser, Subcommand};

/// How fast our batch norm is, in turns with libtorch, on the layers of real networks.
#[derive(Parser)]
#[command(name = "bn-perf", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    measure: measure::Arguments,
}

#[derive(Subcommand)]
enum Command {
    /// Prints the JSON Schema of what --format json prints.
    Schema,
    /// Builds a base and the checkout, and says whether the checkout is slower.
    #[command(long_about = gate::ABOUT)]
    Gate(gate::Arguments),
    /// How often the gate is wrong; scripts/gate-power runs it.
    #[command(hide = true)]
    GatePower(gate::PowerArguments),
    /// Makes a page of histories and records: one file, with its pictures in it.
    Report(report::Arguments),
}

fn main() -> ExitCode {
    let Cli { command, measure } = Cli::parse();
    bn_bench::machine::keep_memory();
    let success = |()| ExitCode::SUCCESS;
    let outcome = match command {
        None => measure::run(&measure).map(success),
        Some(Command::Schema) => schema().map(success),
        Some(Command::Gate(arguments)) => gate::run(&arguments),
        Some(Command::GatePower(arguments)) => gate::power(&arguments).map(success),
        Some(Command::Report(arguments)) => report::run(&arguments).map(success),
    };
    match outcome {
        Ok(status) => status,
        Err(error) if error.is::<NotRun>() => {
            anstream::eprintln!("not run: {error:#}");
            ExitCode::from(3)
        }
        Err(error) => {
            anstream::eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn schema() -> Result<()> {
    println!("{}", serde_json::to_string_pretty(&bn_bench::record::schema())?);
    Ok(())
}
