//! `bn report`: the scoreboard of the engines whose records a folder holds.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use bn_findings::adapters::Adapters;
use bn_findings::registry::{Conventions, Registry};
use bn_findings::scoreboard::{Board, markdown::markdown, page::page};
use bn_page::WholeFile;
use clap::Args;

use crate::style;

/// What `bn report` takes.
#[derive(Args)]
pub struct Arguments {
    /// The folder of the records that `bn check --record` keeps
    #[arg(long, value_name = "DIR", default_value = "benchmarks/engines")]
    engines: PathBuf,
    /// The page to write
    #[arg(long, value_name = "FILE", default_value = "target/engines/report.html")]
    output: PathBuf,
    /// Write the tables as Markdown, too
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

/// Writes the page.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let (registry, conventions) = match Adapters::find()? {
        Some(adapters) => (adapters.registry.clone(), adapters.conventions()?),
        None => (Registry::default(), Conventions::default()),
    };
    let board = Board::read(&arguments.engines, registry, conventions)?;
    if board.records.is_empty() {
        bail!("{}: no record there; `bn check --record FILE` makes one", arguments.engines.display());
    }
    let folders = [Some(&arguments.output), arguments.markdown.as_ref()].into_iter().flatten();
    for folder in folders.filter_map(|file| file.parent()) {
        std::fs::create_dir_all(folder)?;
    }
    WholeFile::create(&arguments.output)?.finish(page(&board))?;
    let mut written = vec![arguments.output.display().to_string()];
    if let Some(path) = &arguments.markdown {
        WholeFile::create(path)?.finish(markdown(&board))?;
        written.push(path.display().to_string());
    }
    let ran = style::count(board.records.len(), "engine");
    let not_run = board.not_run.len();
    let not_run = if not_run == 0 { String::new() } else { format!(", {not_run} not run") };
    writeln!(anstream::stdout(), "{ran}{not_run}; written to {}", written.join(" and "))?;
    Ok(true)
}
