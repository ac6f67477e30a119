//! Which engine, and how it is reached.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use bn_suite::check::{CaseReport, Replay};
use bn_suite::engine::{About, Engine};
use bn_suite::engines::process::{Limits, ProcessEngine};
use bn_suite::engines::{self, Constructor};
use bn_suite::golden::Golden;
use bn_suite::{mutants, runner};
use clap::Args;

use crate::names;

/// The engine that runs in a process of its own, so that a crash of libtorch
/// never takes the suite along.
const LIBTORCH: &str = "libtorch";
const ORACLE: &str = "bn-oracle";
const DEFAULT_TIMEOUT: u64 = 60;

/// The choice of an engine.
#[derive(Args)]
pub struct EngineArguments {
    /// An engine that comes with the suite: batchnorm, textbook, libtorch, or
    /// mutant:NAME, a wrong one (`bn mutants` lists them)
    #[arg(long, value_name = "NAME", default_value = "batchnorm", conflicts_with = "command")]
    pub engine: String,
    /// A program that speaks the engine protocol, with its arguments
    #[arg(long, value_name = "PROGRAM ARGS")]
    pub command: Option<String>,
    /// How long a program may think about one case, in seconds
    #[arg(long, value_name = "S", default_value_t = DEFAULT_TIMEOUT, value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,
}

/// An engine, ready to be asked.
pub enum Chosen {
    /// One inside this process, built anew for each worker.
    Ours(Constructor),
    /// A program.
    Program(Box<ProcessEngine>),
}

impl EngineArguments {
    /// The engine, started if it is a program.
    pub fn open(&self) -> Result<Chosen> {
        let limits = Limits { timeout: Duration::from_secs(self.timeout), ..Limits::default() };
        let program = match &self.command {
            Some(command) => ProcessEngine::start(command, limits)?,
            None if self.engine == LIBTORCH => {
                ProcessEngine::start_words(vec![oracle()?.to_string_lossy().into_owned()], limits)?
            }
            None => {
                return engines::constructor(&self.engine).map(Chosen::Ours).ok_or_else(|| self.unknown());
            }
        };
        Ok(Chosen::Program(Box::new(program)))
    }

    fn unknown(&self) -> anyhow::Error {
        let mutants: Vec<String> =
            mutants::all().iter().map(|mutant| format!("{}{}", mutants::PREFIX, mutant.name)).collect();
        let right: Vec<&str> = engines::names().chain([LIBTORCH]).collect();
        let known = right.iter().copied().chain(mutants.iter().map(String::as_str));
        let list = format!("there are {}, and the mutants", right.join(", "));
        names::unknown("engine", &self.engine, known, &list)
    }

    /// The command line that asks the same engine again.
    pub fn replay(&self, fixtures: Option<&Path>) -> Replay {
        let mut replay = Replay::named(&self.engine);
        // Started by hand, it is started by hand again in the same way.
        if let (None, Some(program)) = (env::var_os("CARGO"), env::args().next()) {
            replay.program = shell_words::quote(&program).into_owned();
        }
        if let Some(command) = &self.command {
            replay.options = format!("--command {}", shell_words::quote(command));
        }
        if self.timeout != DEFAULT_TIMEOUT {
            replay.options.push_str(&format!(" --timeout {}", self.timeout));
        }
        if let Some(fixtures) = fixtures {
            replay
                .options
                .push_str(&format!(" --fixtures {}", shell_words::quote(&fixtures.to_string_lossy())));
        }
        replay
    }
}

impl Chosen {
    /// Its name, version and claims.
    pub fn about(&self) -> About {
        match self {
            Chosen::Ours(make) => make().about().clone(),
            Chosen::Program(program) => program.about().clone(),
        }
    }

    /// Checks every case; `done` is called after each.
    pub fn check(&mut self, goldens: &[Golden], replay: &Replay, done: impl Fn() + Sync) -> Vec<CaseReport> {
        match self {
            Chosen::Ours(make) => runner::in_parallel(goldens, &*make, replay, done),
            Chosen::Program(program) => runner::in_turn(goldens, program.as_mut(), replay, done),
        }
    }

    /// An engine to ask directly.
    pub fn into_engine(self) -> Box<dyn Engine> {
        match self {
            Chosen::Ours(make) => make(),
            Chosen::Program(program) => program,
        }
    }
}

/// The program that serves libtorch: beside this one, else in the target folder
/// of a checkout, else on the PATH.
fn oracle() -> Result<PathBuf> {
    let file = format!("{ORACLE}{}", env::consts::EXE_SUFFIX);
    let mut folders = Vec::new();
    folders.extend(env::current_exe()?.parent().map(Path::to_owned));
    for folder in env::current_dir()?.ancestors() {
        folders.extend(["release", "debug"].map(|profile| folder.join("target").join(profile)));
    }
    folders.extend(env::var_os("PATH").iter().flat_map(env::split_paths));
    let found = folders.into_iter().map(|folder| folder.join(&file)).find(|path| path.is_file());
    found.with_context(|| {
        format!(
            "libtorch is served by the program {ORACLE}, which is not built; \
             `scripts/setup-libtorch && cargo build --release -p {ORACLE}` builds it"
        )
    })
}
