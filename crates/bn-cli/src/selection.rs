//! Which cases, and where their truth comes from.
//!
//! A stored case is read from the fixtures, which is what everyone else checks
//! against too; a case that is too large to store is solved anew.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bn_suite::catalogue::{self, Entry};
use bn_suite::fixtures::{self, SCHEMA_FILE};
use bn_suite::golden::Golden;
use clap::Args;

use crate::{names, progress};

/// Where the fixtures are.
#[derive(Args)]
pub struct FixturesArgument {
    /// The folder of the fixtures [default: `fixtures` in this folder or one
    /// above it, or beside the checkout that built this program]
    #[arg(long, value_name = "DIR")]
    pub fixtures: Option<PathBuf>,
}

impl FixturesArgument {
    /// The folder, as given or as found.
    pub fn folder(&self) -> Result<PathBuf> {
        match &self.fixtures {
            Some(folder) => Ok(folder.clone()),
            None => found(|folder| folder.join(SCHEMA_FILE).is_file())
                .context("no folder `fixtures` with a schema.json here or above; name it with --fixtures"),
        }
    }

    /// The folder to write to: an empty `fixtures` will do.
    pub fn folder_to_write(&self) -> Result<PathBuf> {
        match &self.fixtures {
            Some(folder) => Ok(folder.clone()),
            None => {
                found(Path::is_dir).context("no folder `fixtures` here or above; name it with --fixtures")
            }
        }
    }
}

/// The first folder `fixtures` that will do, upward from the working folder,
/// then upward from this program (which stands in `target/` of a checkout).
fn found(will_do: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let here = env::current_dir().ok()?;
    if will_do(Path::new("fixtures")) {
        return Some("fixtures".into());
    }
    let program = env::current_exe().ok();
    let starts = [Some(here.as_path()), program.as_deref()];
    let folders = starts.into_iter().flatten().flat_map(Path::ancestors);
    folders.map(|folder| folder.join("fixtures")).find(|folder| will_do(folder))
}

/// The cases of one group, one case, or all, with their truth, in the order of
/// the catalogue.
pub fn select(group: Option<&str>, case: Option<&str>, fixtures: &FixturesArgument) -> Result<Vec<Golden>> {
    let folder = fixtures.folder()?;
    let entries = catalogue::all();
    let mut stored = fixtures::read(&folder, &fixtures::stored_groups(&entries))?;
    let is_wanted = |golden_case: &bn_suite::case::Case| {
        group.is_none_or(|group| golden_case.group() == group)
            && case.is_none_or(|case| golden_case.name == case)
    };
    known(group, case, &entries, &stored)?;
    let wanted: Vec<&Entry> = entries.iter().filter(|entry| is_wanted(&entry.case)).collect();
    let bar = progress::bar(wanted.len(), "solving");
    let mut goldens = Vec::new();
    for entry in wanted {
        bar.inc(1);
        let place = stored.iter().position(|golden| golden.case.name == entry.case.name);
        goldens.push(match place {
            Some(place) => stored.remove(place),
            None if !entry.stored => fixtures::solve(entry),
            None => bail!(
                "{}: case {:?} of the catalogue is missing; `bn bless` writes it",
                folder.join(format!("{}.json", entry.case.group())).display(),
                entry.case.name
            ),
        });
    }
    bar.finish_and_clear();
    // What only the files hold comes last.
    let in_catalogue = |golden: &Golden| entries.iter().any(|entry| entry.case.name == golden.case.name);
    goldens.extend(stored.into_iter().filter(|golden| is_wanted(&golden.case) && !in_catalogue(golden)));
    Ok(goldens)
}

/// The one case of that name.
pub fn select_one(case: &str, fixtures: &FixturesArgument) -> Result<Golden> {
    select(None, Some(case), fixtures)?.pop().context("no such case")
}

/// Refuses a group or case that neither the catalogue nor the fixtures have.
fn known(group: Option<&str>, case: Option<&str>, entries: &[Entry], stored: &[Golden]) -> Result<()> {
    let cases = || entries.iter().map(|entry| &entry.case).chain(stored.iter().map(|golden| &golden.case));
    if let Some(group) = group {
        known_group(group, cases().map(|case| case.group()))?;
    }
    if let Some(name) = case
        && !cases().any(|case| case.name == name)
    {
        return Err(names::unknown(
            "case",
            name,
            unique(cases().map(|case| case.name.as_str())),
            "`bn list` lists them",
        ));
    }
    Ok(())
}

/// Refuses a group that is not among `groups`.
pub fn known_group<'a>(group: &str, groups: impl Iterator<Item = &'a str>) -> Result<()> {
    let groups: Vec<&str> = unique(groups).collect();
    if groups.contains(&group) {
        return Ok(());
    }
    let list = format!("there are {}", groups.join(", "));
    Err(names::unknown("group", group, groups.into_iter(), &list))
}

fn unique<'a>(names: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    let mut seen = std::collections::HashSet::new();
    names.filter(move |name| seen.insert(*name))
}
