//! Which engine, and how it is reached.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bn_cuda::emulator::{Emulator, Schedule};
use bn_cuda::gpu::Gpu;
use bn_cuda::{CudaEngine, DeviceError};
use bn_findings::adapters::Adapters;
use bn_suite::check::{CaseReport, Replay};
use bn_suite::engine::{About, Engine};
use bn_suite::engines::process::{Limits, ProcessEngine};
use bn_suite::engines::{self, Constructor};
use bn_suite::golden::Golden;
use bn_suite::{mutants, runner};
use clap::{Args, ValueEnum};

use crate::names;

/// The engine that runs in a process of its own, so that a crash of libtorch
/// never takes the suite along.
const LIBTORCH: &str = "libtorch";
const ORACLE: &str = "bn-oracle";

/// Our CUDA kernels on the first CUDA device, and on the emulator, under a schedule that
/// interrupts threads at random.
const CUDA: &str = "cuda";
pub const CUDA_EMULATED: &str = "cuda-emulated";

/// The exit status of the oracle that has no device to run on.
const ORACLE_HAS_NO_DEVICE: i32 = 3;
const DEFAULT_TIMEOUT: u64 = 60;

/// The choice of an engine.
#[derive(Args)]
pub struct EngineArguments {
    /// An engine that comes with the suite: batchnorm, textbook, libtorch, cuda,
    /// cuda-emulated, or mutant:NAME, a wrong one (`bn mutants` lists them); or a framework
    /// that `scripts/engines setup` has set up
    #[arg(long, value_name = "NAME", default_value = "batchnorm", conflicts_with = "command")]
    pub engine: String,
    /// A program that speaks the engine protocol, with its arguments
    #[arg(long, value_name = "PROGRAM ARGS")]
    pub command: Option<String>,
    /// Where libtorch computes
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    pub device: Device,
    /// Which of libtorch's implementations on CUDA: its own, or cuDNN's where it takes the input
    #[arg(long, value_enum, default_value_t = Backend::Native, requires = "device")]
    pub backend: Backend,
    /// How long a program may think about one case, in seconds
    #[arg(long, value_name = "S", default_value_t = DEFAULT_TIMEOUT, value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,
}

/// Where libtorch computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Device {
    /// On the CPU.
    Cpu,
    /// On the first CUDA device.
    Cuda,
}

/// Which of libtorch's implementations on CUDA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// libtorch's own kernels.
    Native,
    /// cuDNN's.
    Cudnn,
}

/// An engine, ready to be asked.
pub enum Chosen {
    /// One inside this process, built anew for each worker.
    Many(Constructor),
    /// A program or a device: there is one of it.
    One(Box<dyn Engine>),
}

/// What was asked for needs a device that this machine lacks. Nothing was checked, which is
/// neither a pass nor a failure.
#[derive(Debug)]
pub struct NotRun(pub String);

impl fmt::Display for NotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotRun {}

impl EngineArguments {
    /// An engine on the CPU, by its name or its command.
    pub fn of(engine: &str, command: Option<&str>) -> Self {
        EngineArguments {
            engine: engine.into(),
            command: command.map(str::to_owned),
            device: Device::Cpu,
            backend: Backend::Native,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// The engine, started if it is a program.
    ///
    /// # Errors
    /// [`NotRun`] where it needs a device that is not there.
    pub fn open(&self) -> Result<Chosen> {
        if self.device == Device::Cuda && (self.command.is_some() || self.engine != LIBTORCH) {
            bail!("--device is libtorch's: our own CUDA kernels are the engine {CUDA}");
        }
        let limits = Limits { timeout: Duration::from_secs(self.timeout), ..Limits::default() };
        let program = match &self.command {
            Some(command) => ProcessEngine::start(command, limits)?,
            None if self.engine == LIBTORCH => ProcessEngine::start_words(self.oracle_command()?, limits)?,
            None if self.engine == CUDA => return cuda(),
            None => match (constructor(&self.engine), Adapters::find()?) {
                (Some(make), _) => return Ok(Chosen::Many(make)),
                (None, Some(adapters)) if adapters.registry.find(&self.engine).is_some() => {
                    ProcessEngine::start_words(adapters.command(&self.engine), limits)?
                }
                (None, adapters) => return Err(self.unknown(adapters)),
            },
        };
        Ok(Chosen::One(Box::new(program)))
    }

    /// The oracle's command line. Asked for a device, it is first asked whether it has one.
    fn oracle_command(&self) -> Result<Vec<String>> {
        let mut words = vec![oracle()?.to_string_lossy().into_owned()];
        if self.device == Device::Cpu {
            return Ok(words);
        }
        words.extend(["--device".into(), "cuda".into(), "--backend".into(), name(self.backend)]);
        let asked = Command::new(&words[0]).args(&words[1..]).arg("--version").output()?;
        let reason = String::from_utf8_lossy(&asked.stderr).trim().to_owned();
        match asked.status.code() {
            Some(0) => Ok(words),
            Some(ORACLE_HAS_NO_DEVICE) => Err(NotRun(reason).into()),
            _ => bail!("{ORACLE} does not start on CUDA: {reason}"),
        }
    }

    fn unknown(&self, adapters: Option<Adapters>) -> anyhow::Error {
        let mutants: Vec<String> =
            mutants::all().iter().map(|mutant| format!("{}{}", mutants::PREFIX, mutant.name)).collect();
        let frameworks = adapters.map_or_else(Vec::new, |adapters| adapters.registry.engines);
        let mut right: Vec<&str> = engines::names().chain([LIBTORCH, CUDA, CUDA_EMULATED]).collect();
        right.extend(frameworks.iter().map(|engine| engine.name.as_str()));
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
        if self.device == Device::Cuda {
            replay.options.push_str(&format!(" --device cuda --backend {}", name(self.backend)));
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
            Chosen::Many(make) => make().about().clone(),
            Chosen::One(engine) => engine.about().clone(),
        }
    }

    /// Checks every case; `done` is called after each.
    pub fn check(&mut self, goldens: &[Golden], replay: &Replay, done: impl Fn() + Sync) -> Vec<CaseReport> {
        match self {
            Chosen::Many(make) => runner::in_parallel(goldens, &*make, replay, done),
            Chosen::One(engine) => runner::in_turn(goldens, engine.as_mut(), replay, done),
        }
    }

    /// An engine to ask directly.
    pub fn into_engine(self) -> Box<dyn Engine> {
        match self {
            Chosen::Many(make) => make(),
            Chosen::One(engine) => engine,
        }
    }
}

/// How to build an engine of this process of which there may be many.
pub fn constructor(name: &str) -> Option<Constructor> {
    match name {
        CUDA_EMULATED => Some(Box::new(|| {
            Box::new(CudaEngine::new(CUDA_EMULATED, Emulator::new(Schedule::Shuffled { seed: 1 })))
        })),
        other => engines::constructor(other),
    }
}

/// Our kernels on the first CUDA device.
fn cuda() -> Result<Chosen> {
    match Gpu::new(0) {
        Ok(gpu) => Ok(Chosen::One(Box::new(CudaEngine::new(CUDA, gpu)))),
        Err(error @ DeviceError::None(_)) => Err(NotRun(error.to_string()).into()),
        Err(error) => Err(error.into()),
    }
}

/// The word for a choice on the command line.
fn name(choice: impl ValueEnum) -> String {
    choice.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
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
