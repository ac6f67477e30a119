//! Which cases, and where their truth comes from.
//!
//! A stored case is read from the fixtures, which is what everyone else checks
//! against too; a case that is too large to store is solved anew.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bn_findings::checkout::found;
use bn_suite::case::Case;
use bn_suite::catalogue::{self, Entry, random};
use bn_suite::fixtures::{self, SCHEMA_FILE};
use bn_suite::golden::Golden;
use clap::Args;
use rayon::prelude::*;

use crate::{names, progress};

/// Where the fixtures are.
#[derive(Args)]
pub struct FixturesArgument {
    /// The folder of the fixtures [default: `fixtures` in this folder or one
    /// above it, or beside the checkout that built this program]
    #[arg(long, value_name = "DIR")]
    pub fixtures: Option<PathBuf>,
}

/// Which cases there are.
#[derive(Args)]
pub struct CasesArguments {
    #[command(flatten)]
    pub fixtures: FixturesArgument,
    /// Draw the random cases from this seed
    #[arg(long, value_name = "S", default_value_t = random::SEED)]
    pub seed: u64,
    /// Draw so many random cases
    #[arg(long, value_name = "K", default_value_t = random::COUNT)]
    pub random: usize,
}

impl CasesArguments {
    /// The catalogue; with a random case of that name, whatever its seed.
    pub fn catalogue(&self, case: Option<&str>) -> Vec<Entry> {
        let mut entries = catalogue::with_random(self.seed, self.random);
        let is_there = |entry: &Entry| entries.iter().any(|other| other.case.name == entry.case.name);
        let named = case.and_then(random::named).filter(|entry| !is_there(entry));
        entries.extend(named);
        entries
    }
}

impl FixturesArgument {
    /// The folder, as given or as found.
    pub fn folder(&self) -> Result<PathBuf> {
        match &self.fixtures {
            Some(folder) => Ok(folder.clone()),
            None => found("fixtures", |folder| folder.join(SCHEMA_FILE).is_file())
                .context("no folder `fixtures` with a schema.json here or above; name it with --fixtures"),
        }
    }

    /// The folder to write to: an empty `fixtures` will do.
    pub fn folder_to_write(&self) -> Result<PathBuf> {
        match &self.fixtures {
            Some(folder) => Ok(folder.clone()),
            None => found("fixtures", Path::is_dir)
                .context("no folder `fixtures` here or above; name it with --fixtures"),
        }
    }
}

/// The cases of one group, one case, or all, with their truth, in the order of
/// the catalogue.
pub fn select(group: Option<&str>, case: Option<&str>, cases: &CasesArguments) -> Result<Vec<Golden>> {
    let folder = cases.fixtures.folder()?;
    let entries = cases.catalogue(case);
    let stored = fixtures::read(&folder, &fixtures::stored_groups(&entries))?;
    known(group, case, &entries, &stored)?;
    let is_wanted = |asked: &Case| {
        group.is_none_or(|group| asked.group() == group) && case.is_none_or(|case| asked.name == case)
    };
    let order: Vec<String> = stored.iter().map(|golden| golden.case.name.clone()).collect();
    let mut stored: HashMap<String, Golden> =
        stored.into_iter().map(|golden| (golden.case.name.clone(), golden)).collect();
    let mut wanted: Vec<(&Entry, Option<Golden>)> = Vec::new();
    for entry in &entries {
        let golden = stored.remove(&entry.case.name);
        if !is_wanted(&entry.case) {
            continue;
        }
        if golden.is_none() && entry.stored {
            let file = folder.join(format!("{}.json", entry.case.group()));
            let name = &entry.case.name;
            bail!("{}: case {name:?} of the catalogue is missing; `bn bless` writes it", file.display());
        }
        wanted.push((entry, golden));
    }
    let bar = progress::bar(wanted.len(), "solving");
    let solve = |(entry, golden): (&Entry, Option<Golden>)| {
        bar.inc(1);
        golden.unwrap_or_else(|| fixtures::solve(entry))
    };
    let mut goldens: Vec<Golden> = wanted.into_par_iter().map(solve).collect();
    bar.finish_and_clear();
    // What only the files hold comes last.
    goldens
        .extend(order.iter().filter_map(|name| stored.remove(name)).filter(|golden| is_wanted(&golden.case)));
    Ok(goldens)
}

/// The one case of that name.
pub fn select_one(case: &str, cases: &CasesArguments) -> Result<Golden> {
    select(None, Some(case), cases)?.pop().context("no such case")
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
    let mut seen = HashSet::new();
    names.filter(move |name| seen.insert(*name))
}
