//! `bn list`: the cases of the catalogue.

use std::io::Write;

use anyhow::Result;
use clap::Args;

use crate::selection::{self, CasesArguments};
use crate::style;

/// What `bn list` takes.
#[derive(Args)]
pub struct Arguments {
    /// Only the cases of this group
    #[arg(long, value_name = "G")]
    group: Option<String>,
    #[command(flatten)]
    cases: CasesArguments,
}

/// Prints one row per case.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let entries = arguments.cases.catalogue(None);
    if let Some(group) = &arguments.group {
        selection::known_group(group, entries.iter().map(|entry| entry.case.group()))?;
    }
    let is_wanted = |group: &str| arguments.group.as_ref().is_none_or(|wanted| wanted == group);
    let mut rows = Vec::new();
    for entry in entries.iter().filter(|entry| is_wanted(entry.case.group())) {
        let stored = if entry.stored { "yes" } else { "no" };
        let disputed = entry.disputed.as_ref().map(|dispute| format!(" (disputed for {})", dispute.engine));
        let note = entry.case.note.clone() + &disputed.unwrap_or_default();
        rows.push(vec![entry.case.name.clone(), entry.case.steps.len().to_string(), stored.into(), note]);
    }
    let count = rows.len();
    let mut out = anstream::stdout();
    writeln!(out, "{}", style::table(&["case", "steps", "stored", "what a failure means"], rows, 1..2))?;
    writeln!(out, "{}; `bn show CASE` shows one", style::count(count, "case"))?;
    Ok(true)
}
