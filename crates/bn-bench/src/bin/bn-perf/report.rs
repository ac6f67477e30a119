//! `bn-perf report`: a page of what was measured so far.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use bn_bench::history::{self, Line};
use bn_bench::{Record, report};
use bn_page::WholeFile;
use clap::Args;

/// What to show.
#[derive(Args)]
pub struct Arguments {
    /// Histories, as --history writes them.
    #[arg(long = "history", value_name = "FILE", num_args = 1.., value_delimiter = ',')]
    histories: Vec<PathBuf>,
    /// Records, as --format json --output writes them.
    #[arg(long = "record", value_name = "FILE", num_args = 1.., value_delimiter = ',')]
    records: Vec<PathBuf>,
    /// Where to write the page.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

/// Reads everything, and writes the page.
pub fn run(arguments: &Arguments) -> Result<()> {
    let named = arguments.histories.len() + arguments.records.len();
    ensure!(named > 0, "nothing to show: name a --history or a --record");
    let file = WholeFile::create(&arguments.output)?;
    let mut lines = Vec::new();
    for path in &arguments.histories {
        lines.extend(history::read(path)?);
    }
    for path in &arguments.records {
        lines.push(Line::of_run(&Record::read(path)?));
    }
    file.finish(report::page(&lines))?;
    Ok(())
}
