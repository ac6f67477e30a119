//! `bn bless`: writes the fixtures, or with `--check` says which differ.

use anyhow::{Context, Result};
use bn_suite::catalogue;
use bn_suite::fixtures::{self, StaleKind};
use clap::Args;

use crate::selection::FixturesArgument;
use crate::style;

/// What `bn bless` takes.
#[derive(Args)]
pub struct Arguments {
    /// Write nothing; fail if any file differs from what would be written
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    fixtures: FixturesArgument,
}

/// Writes or compares every file.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let folder = arguments.fixtures.folder_to_write()?;
    let entries = catalogue::all();
    let files = fixtures::generate(&entries);
    let in_folder = || format!("{}: ", folder.display());
    if !arguments.check {
        let written = fixtures::bless(&folder, &files).with_context(in_folder)?;
        for name in &written {
            anstream::println!("wrote {}", folder.join(name).display());
        }
        anstream::println!("{} of {} files written, the others were up to date", written.len(), files.len());
    }
    let mut stale = fixtures::stale(&folder, &files).with_context(in_folder)?;
    if !arguments.check {
        // Just written: what can remain is a file that nothing writes.
        stale.retain(|stale| stale.what == StaleKind::Stray);
    }
    for stale in &stale {
        anstream::println!("{stale}");
    }
    let stored = entries.iter().filter(|entry| entry.stored).count();
    if stale.is_empty() {
        anstream::println!(
            "{}: {} in {}",
            style::good("up to date"),
            style::count(stored, "case"),
            style::count(files.len(), "file")
        );
    } else {
        anstream::println!("{}: {} of {} files", style::bad("not up to date"), stale.len(), files.len());
        if arguments.check {
            anstream::println!("`bn bless` writes them anew; review the difference before you commit it");
        }
    }
    Ok(stale.is_empty())
}
