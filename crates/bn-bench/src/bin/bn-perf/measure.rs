//! `bn-perf`: a run, and how it is shown.

use anyhow::{Result, ensure};
use bn_bench::axes::{Cache, DType, Layout, Op};
use bn_bench::cuda::Cuda;
use bn_bench::history::Line;
use bn_bench::machine::Machine;
use bn_bench::networks::Network;
use bn_bench::paired::Plan;
use bn_bench::record::Row;
use bn_bench::table::tables;
use bn_bench::{Settings, run as measure, run_on_cuda};
use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use crate::engine;
use crate::output::{Format, OutputArguments};

/// What to measure, and what to make of it. Every option that can be given several
/// times takes a list as well: --threads 1,2.
#[derive(Args)]
pub struct Arguments {
    /// Time a framework of engines/registry.json against our engine, each through its public
    /// calls, in place of libtorch; `scripts/engines setup NAME` sets it up.
    #[arg(long, value_name = "NAME", conflicts_with_all = NOT_OF_A_RACE)]
    engine: Option<String>,
    /// Whose layers.
    #[arg(long = "network", value_delimiter = ',', default_value = "resnet50", value_parser = network_names())]
    networks: Vec<String>,
    /// Where: on the processor, or on the first CUDA device.
    #[arg(long, value_enum, default_value = "cpu")]
    device: Device,
    /// With so many threads of the processor.
    #[arg(long, value_delimiter = ',', default_value = "1", value_parser = thread_count)]
    threads: Vec<usize>,
    /// In these dtypes; parameters are f32 beside bf16 and f16.
    #[arg(long = "dtype", value_delimiter = ',', default_value = "f32")]
    dtypes: Vec<DType>,
    /// In these layouts.
    #[arg(long = "layout", value_delimiter = ',', default_value = "contiguous")]
    layouts: Vec<Layout>,
    /// These operations.
    #[arg(long = "op", value_delimiter = ',', default_values = ["forward-train", "forward-eval", "backward-train"])]
    ops: Vec<Op>,
    /// The batch size, of networks that have none of their own.
    #[arg(long, default_value = "32", value_parser = at_least_one)]
    batch: usize,
    /// How long to measure a row; at least 5 rounds, at most 100.
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    seconds_per_row: f64,
    /// What the caches hold: what the call before left, or something else. On a GPU a cold
    /// call takes other copies of the arrays, which do not fit into its cache together.
    #[arg(long, value_enum, default_value = "warm")]
    cache: Cache,
    #[command(flatten)]
    output: OutputArguments,
}

/// What a race against a framework does not let one choose.
const NOT_OF_A_RACE: [&str; 8] =
    ["device", "threads", "dtypes", "layouts", "ops", "seconds_per_row", "cache", "history"];

/// Where to measure.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Device {
    /// The processor: batchnorm, libtorch, and copies.
    Cpu,
    /// The first CUDA device: bn-cuda, libtorch's own kernels, cuDNN, and a copy. Without one
    /// nothing is run, and the exit status is 3.
    Cuda,
}

fn network_names() -> PossibleValuesParser {
    PossibleValuesParser::new(Network::all().into_iter().map(|network| network.name))
}

/// No run takes more threads.
const MOST_THREADS: usize = 1024;

/// A number of threads.
fn thread_count(text: &str) -> Result<usize, String> {
    at_least_one(text).and_then(|count| match count {
        ..=MOST_THREADS => Ok(count),
        _ => Err(format!("at most {MOST_THREADS}")),
    })
}

/// An extent, or a number of threads.
pub fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number >= 1 => Ok(number),
        Ok(_) => Err("at least 1".into()),
        Err(error) => Err(format!("{error}")),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => Ok(seconds),
        _ => Err("expected a number of seconds, 0 or more".into()),
    }
}

/// Measures, and prints or writes.
pub fn run(arguments: &Arguments) -> Result<()> {
    let settings = arguments.settings();
    if let Some(name) = &arguments.engine {
        return engine::run(name, &settings.networks, settings.batch, &arguments.output);
    }
    let on_cuda = arguments.device == Device::Cuda;
    ensure!(!on_cuda || settings.threads == [1], "--threads are the processor's, and --device is cuda");
    let output = arguments.output.open()?;
    let cuda = on_cuda.then(|| Cuda::find(arguments.cache)).transpose()?;
    let machine = Machine::look();
    if let Some(warning) = machine.warning() {
        anstream::eprintln!("WARNING: {warning}");
    }
    let bar = bar(settings.rows());
    let progress = |row: &Row| {
        bar.set_message(row.subject.network.clone());
        bar.inc(1);
    };
    let record = match cuda {
        Some(cuda) => run_on_cuda(&settings, cuda, machine, progress)?,
        None => measure(&settings, machine, progress)?,
    };
    bar.finish_and_clear();
    let text = match arguments.output.format {
        Format::Json => record.to_json(),
        Format::Table => tables(&record),
    };
    output.finish(&text, || Line::of_run(&record))
}

impl Arguments {
    fn settings(&self) -> Settings {
        let networks = distinct(&self.networks).into_iter().filter_map(|name| Network::named(&name));
        Settings {
            networks: networks.collect(),
            batch: self.batch,
            dtypes: distinct(&self.dtypes),
            layouts: distinct(&self.layouts),
            threads: distinct(&self.threads),
            ops: distinct(&self.ops),
            plan: Plan { seconds: self.seconds_per_row, cache: self.cache },
        }
    }
}

/// What is asked for twice is measured once.
fn distinct<T: Clone + PartialEq>(values: &[T]) -> Vec<T> {
    let mut distinct: Vec<T> = Vec::new();
    for value in values {
        if !distinct.contains(value) {
            distinct.push(value.clone());
        }
    }
    distinct
}

/// A bar for so many rows on standard error, where that is a terminal; nothing elsewhere.
pub fn bar(rows: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} rows, {eta} to go")
        .unwrap_or(ProgressStyle::default_bar());
    let bar = ProgressBar::new(rows as u64).with_style(style);
    bar.tick();
    bar
}
