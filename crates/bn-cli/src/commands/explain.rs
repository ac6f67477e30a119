//! `bn explain ENGINE CASE`: a failure for those who can mend it.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use bn_findings::explain::explain;
use bn_suite::fixtures;
use clap::Args;
use indicatif::ProgressBar;

use crate::engine::EngineArguments;
use crate::selection::{self, CasesArguments};
use crate::style;

/// What `bn explain` takes.
#[derive(Args)]
pub struct Arguments {
    /// The engine, as `--engine` of `bn check` names it; or any name for it, with --command
    engine: String,
    /// The case that it fails
    case: String,
    /// A program that speaks the engine protocol, with its arguments
    #[arg(long, value_name = "PROGRAM ARGS")]
    command: Option<String>,
    /// Look for a smaller case for so long, in seconds
    #[arg(long, value_name = "S", default_value_t = 60)]
    patience: u64,
    /// Keep the smaller case in this file, for `bn run --file`
    #[arg(long, value_name = "PATH")]
    output: Option<PathBuf>,
    #[command(flatten)]
    cases: CasesArguments,
}

/// Prints Markdown; true where there is nothing to explain.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let chosen = EngineArguments::of(&arguments.engine, arguments.command.as_deref());
    let mut engine = chosen.open()?.into_engine();
    let golden = selection::select_one(&arguments.case, &arguments.cases)?;
    let replay = chosen.replay(arguments.cases.fixtures.fixtures.as_deref());
    // indicatif draws nothing where standard error is no terminal.
    let spinner = ProgressBar::new_spinner().with_message("shrinking");
    let patience = Duration::from_secs(arguments.patience);
    let explanation = explain(&golden, engine.as_mut(), &replay, patience, || spinner.inc(1));
    spinner.finish_and_clear();
    let mut out = anstream::stdout();
    let Some(explanation) = explanation else {
        let about = engine.about();
        let case = &arguments.case;
        let good = style::good("nothing to explain");
        writeln!(out, "{good}: {} {} does not fail {case}", about.name, about.version)?;
        return Ok(true);
    };
    write!(out, "{}", explanation.markdown())?;
    let mut command = replay.command(&arguments.case);
    if let Some(path) = &arguments.output {
        fixtures::write_case(path, &explanation.golden.case)?;
        command = fixtures::replay_of(path, &replay);
    }
    writeln!(out, "\nThe suite's replay: `{command}`")?;
    Ok(false)
}
