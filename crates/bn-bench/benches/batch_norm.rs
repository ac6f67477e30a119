//! `cargo bench -p bn-bench`: ours and libtorch on real shapes, f32.
//!
//! Three operations (`train_forward`, `eval_forward`, `train_backward`) on every
//! shape of [`bn_bench::shapes`]. Our engine uses one thread so far, so it has one
//! row; libtorch has one with one thread and one with all, and one on a GPU where
//! there is one. A result that is wrong ends the run before anything is timed.

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Context, Result};
use bn_bench::{Libtorch, Ours, Workload, machine, shapes};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput};
use tch::Device;

fn main() -> Result<()> {
    machine::keep_memory();
    println!("{}", machine::describe());
    println!("We wrote one of these engines: batchnorm. Every result is checked before it is timed.");
    let cuda = bn_oracle::cuda::devices();
    if let Err(reason) = &cuda {
        println!("CUDA: not run ({reason})");
    }
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(300))
        .configure_from_args();
    let _no_graph = tch::no_grad_guard();
    for shape in shapes::all() {
        bench_shape(&mut criterion, shape, cuda.is_ok()).with_context(|| shapes::name(shape))?;
    }
    criterion.final_summary();
    if let Err(reason) = cuda {
        println!("CUDA: not run ({reason})");
    }
    Ok(())
}

fn bench_shape(criterion: &mut Criterion, shape: &[usize], cuda: bool) -> Result<()> {
    let work = Workload::new(shape);
    let mut ours = Rows::new(criterion, shape, &work, "batchnorm, 1 thread (all it uses)".into());
    ours.ours().context("batchnorm")?;
    let all = machine::threads();
    for threads in if all > 1 { vec![1, all] } else { vec![1] } {
        tch::set_num_threads(threads as i32);
        let name = format!("libtorch, {threads} thread{}", if threads > 1 { "s" } else { "" });
        let mut rows = Rows::new(criterion, shape, &work, name.clone());
        rows.libtorch(Device::Cpu).context(name)?;
    }
    if cuda {
        Rows::new(criterion, shape, &work, "libtorch, CUDA".into())
            .libtorch(Device::Cuda(0))
            .context("CUDA")?;
    }
    Ok(())
}

/// The three rows of one engine on one shape.
struct Rows<'a> {
    criterion: &'a mut Criterion,
    shape: &'a [usize],
    work: &'a Workload,
    engine: String,
}

impl<'a> Rows<'a> {
    fn new(criterion: &'a mut Criterion, shape: &'a [usize], work: &'a Workload, engine: String) -> Self {
        Rows { criterion, shape, work, engine }
    }

    fn ours(&mut self) -> Result<()> {
        let mut ours = Ours::new(self.work);
        ours.eval_forward()?;
        ours.check_forward(false)?;
        self.time("eval_forward", || ours.eval_forward())?;
        ours.train_forward()?;
        ours.check_forward(true)?;
        self.time("train_forward", || ours.train_forward())?;
        ours.train_backward()?;
        ours.check_backward()?;
        self.time("train_backward", || ours.train_backward())
    }

    fn libtorch(&mut self, device: Device) -> Result<()> {
        let mut libtorch = Libtorch::new(self.work, device)?;
        // Evaluation first: training changes the running statistics.
        libtorch.eval_forward()?;
        libtorch.check_forward(false)?;
        self.time("eval_forward", || libtorch.eval_forward())?;
        libtorch.train_forward()?;
        libtorch.check_forward(true)?;
        self.time("train_forward", || libtorch.train_forward())?;
        libtorch.train_backward()?;
        libtorch.check_backward()?;
        self.time("train_backward", || libtorch.train_backward())
    }

    /// One row. An error while timing is reported after it.
    fn time(&mut self, operation: &str, mut run: impl FnMut() -> Result<()>) -> Result<()> {
        let mut group: BenchmarkGroup<'_, WallTime> =
            self.criterion.benchmark_group(format!("{operation}/{}", shapes::name(self.shape)));
        group
            .sampling_mode(SamplingMode::Flat)
            .throughput(Throughput::Elements(self.work.input.len() as u64));
        let mut outcome = Ok(());
        group.bench_function(self.engine.as_str(), |bencher| {
            bencher.iter(|| {
                if let Err(error) = black_box(run()) {
                    outcome = Err(error);
                }
            });
        });
        group.finish();
        outcome
    }
}
