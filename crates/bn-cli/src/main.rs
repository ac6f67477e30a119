//! `bn`: the suite's command.
//!
//! | | |
//! |---|---|
//! | `bn check` | does an engine compute batch norm? (`bn` alone is this, with our own engine) |
//! | `bn run CASE` | the same for one case, element by element: the reproduction of a failure |
//! | `bn list`, `bn show CASE` | what the suite asks |
//! | `bn explain ENGINE CASE` | the same made small, and why, for those who can mend it |
//! | `bn report` | the scoreboard of engines that were checked |
//! | `bn mutants` | how many wrong batch norms does the suite refuse? |
//! | `bn train EXPERIMENT` | trains a network of the documents, with batch norm and without |
//! | `bn claims` | does what the documents say of batch norm hold in our runs? |
//! | `bn bless` | writes the fixtures; `bn bless --check` says whether they are up to date |
//! | `bn schema` | prints the JSON Schema of the engine protocol |
//!
//! Exit status: 0 when nothing failed, 1 when something did, 2 when the question
//! itself was wrong (usage, unreadable fixtures, an engine that does not start), 3 when
//! nothing was run for want of a device.

mod commands;
mod engine;
mod invocation;
mod names;
mod progress;
mod selection;
mod style;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The conformance suite for batch normalization.
#[derive(Parser)]
#[command(name = "bn", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    check: commands::check::Arguments,
}

#[derive(Subcommand)]
enum Command {
    /// Checks an engine against the truth (the default).
    Check(commands::check::Arguments),
    /// Writes the golden fixtures from the catalogue and the truth.
    Bless(commands::bless::Arguments),
    /// Lists the cases of the catalogue.
    List(commands::list::Arguments),
    /// Shows one case with its expected answer.
    Show(commands::show::Arguments),
    /// Runs the wrong engines, and shows which cases refuse them.
    Mutants(commands::mutants::Arguments),
    /// Runs one case and shows the answer beside the truth.
    Run(commands::run::Arguments),
    /// Explains a failure: a small case, what is right, why, and a program that shows it.
    Explain(commands::explain::Arguments),
    /// Makes the scoreboard of the engines whose results were kept.
    Report(commands::report::Arguments),
    /// Trains a network of the documents, with and without batch norm, and draws the curves.
    Train(commands::train::Arguments),
    /// Asks of our own runs what the documents say of batch norm.
    Claims(commands::claims::Arguments),
    /// Prints the JSON Schema of the engine protocol.
    Schema,
}

fn main() -> ExitCode {
    let Cli { command, check } = Cli::parse();
    let outcome = match command.unwrap_or(Command::Check(check)) {
        Command::Check(arguments) => commands::check::run(&arguments),
        Command::Bless(arguments) => commands::bless::run(&arguments),
        Command::List(arguments) => commands::list::run(&arguments),
        Command::Show(arguments) => commands::show::run(&arguments),
        Command::Mutants(arguments) => commands::mutants::run(&arguments),
        Command::Run(arguments) => commands::run::run(&arguments),
        Command::Explain(arguments) => commands::explain::run(&arguments),
        Command::Report(arguments) => commands::report::run(&arguments),
        Command::Train(arguments) => commands::train::run(&arguments),
        Command::Claims(arguments) => commands::claims::run(&arguments),
        Command::Schema => commands::schema::run(),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        // A reader that has seen enough, such as `head`, is no fault.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) if error.is::<engine::NotRun>() => {
            anstream::eprintln!("{}: {error}", style::doubtful("not run"));
            ExitCode::from(3)
        }
        Err(error) => {
            anstream::eprintln!("{}: {error:#}", style::bad("error"));
            ExitCode::from(2)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind)
    };
    error.chain().any(|cause| io(cause) == Some(std::io::ErrorKind::BrokenPipe))
}
