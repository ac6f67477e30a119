//! `bn-perf sample`: one row's raw samples, for a program that compares two builds by
//! running them in turns.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use bn_bench::axes::{DType, Layout, Op};
use bn_bench::contestants::Who;
use bn_bench::paired::Rounds;
use bn_bench::row::{Contest, Threads};
use bn_bench::{Value, Workload, machine};
use clap::Args;
use half::{bf16, f16};
use serde::Serialize;

use crate::measure::{PlanArguments, at_least_one, thread_count};

/// Which row.
#[derive(Args)]
pub struct Arguments {
    /// C and the extents, such as 64x112x112.
    #[arg(long, value_parser = layer)]
    layer: Layer,
    /// N.
    #[arg(long, default_value = "32", value_parser = at_least_one)]
    batch: usize,
    /// The operation.
    #[arg(long)]
    op: Op,
    /// Of input and output.
    #[arg(long, default_value = "f32")]
    dtype: DType,
    /// Where the channel axis lies.
    #[arg(long, default_value = "contiguous")]
    layout: Layout,
    /// With so many threads.
    #[arg(long, default_value = "1", value_parser = thread_count)]
    threads: usize,
    /// Who takes turns.
    #[arg(long = "contestant", value_delimiter = ',', default_value = "ours")]
    contestants: Vec<Who>,
    #[command(flatten)]
    plan: PlanArguments,
}

/// The axes of a layer after N.
#[derive(Clone)]
struct Layer(Vec<usize>);

fn layer(text: &str) -> Result<Layer, String> {
    let axes = text.split('x').map(at_least_one).collect::<Result<Vec<_>, _>>();
    axes.map(Layer).map_err(|error| format!("expected C or CxHxW, such as 64x112x112: {error}"))
}

/// What is printed: the rounds of each contestant, in seconds per call.
#[derive(Serialize)]
struct Sampled {
    revision: String,
    shape: Vec<usize>,
    dtype: DType,
    layout: Layout,
    op: Op,
    threads: usize,
    samples: BTreeMap<Who, Rounds>,
}

/// Measures and prints.
pub fn run(arguments: &Arguments) -> Result<()> {
    let shape = [vec![arguments.batch], arguments.layer.0.clone()].concat();
    let samples = match arguments.dtype {
        DType::F32 => samples::<f32>(arguments, &shape),
        DType::F64 => samples::<f64>(arguments, &shape),
        DType::Bf16 => samples::<bf16>(arguments, &shape),
        DType::F16 => samples::<f16>(arguments, &shape),
    }?;
    let Arguments { dtype, layout, op, threads, .. } = *arguments;
    let sampled = Sampled { revision: machine::revision(), shape, dtype, layout, op, threads, samples };
    println!("{}", serde_json::to_string(&sampled).context("samples as JSON")?);
    Ok(())
}

fn samples<T: Value>(arguments: &Arguments, shape: &[usize]) -> Result<BTreeMap<Who, Rounds>> {
    let work = Workload::<T>::new(shape, arguments.layout)?;
    let threads = Threads::new(arguments.threads)?;
    let mut contest = Contest::new(&work, arguments.op, &arguments.contestants, &threads)?;
    Ok(contest.measure(arguments.plan.plan(), &threads)?.into_iter().collect())
}
