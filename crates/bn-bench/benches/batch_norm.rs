//! `cargo bench -p bn-bench`: criterion's view of the contestants, f32, contiguous.
//!
//! A row is `<network>/<op>/<shape> ×<layers>`, its lines are a contestant with so many
//! threads, or on the first CUDA device by its own clock, warm or cold. A filter such as `-- resnet50/forward-train` picks some, and
//! only what is picked is set up; without one it is ResNet-50 and the small networks, the
//! others have to be named. A result of ours that is wrong ends the run before its line
//! is timed, one of libtorch's is named. For ratios use `bn-perf`: here everyone has a
//! time of its own, and on a machine whose speed drifts those do not compare.

use std::cell::LazyCell;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bn_bench::Workload;
use bn_bench::axes::{Cache, Layout, Op};
use bn_bench::contestants::Who;
use bn_bench::cuda::{Cuda, NotRun};
use bn_bench::machine::{self, Machine};
use bn_bench::networks::{Layer, Network, shape_name};
use bn_bench::paired::{Call, Clock, Evictor, repeat};
use bn_bench::row::{Contest, Threads, Venue};
use criterion::measurement::WallTime;
use criterion::{Bencher, BenchmarkGroup, Criterion, SamplingMode, Throughput};

const BATCH: usize = 32;
const OPS: [Op; 3] = [Op::ForwardTrain, Op::ForwardEval, Op::BackwardTrain];

fn main() -> Result<()> {
    machine::keep_memory();
    let machine = Machine::look();
    println!("{}, {} threads, {}", machine.processor, machine.threads, machine.os);
    println!("libtorch {}, revision {}", bn_oracle::version::loaded(), machine::revision());
    if let Some(warning) = machine.warning() {
        println!("WARNING: {warning}");
    }
    println!("We wrote one of these engines: batchnorm. Every result is checked before it is timed.");
    let cuda = match Cuda::find(Cache::Warm) {
        Err(error) if !error.is::<NotRun>() => return Err(error),
        found => found,
    };
    match &cuda {
        Ok(cuda) => println!("CUDA: {:?}", cuda.about()),
        Err(reason) => println!("CUDA: not run ({reason})"),
    }
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(300))
        .configure_from_args();
    // 1, 2, 4, … and all that the machine has.
    let counts = (0..).map(|power| 1 << power).take_while(|&count| count < machine.threads);
    let threads = counts.chain([machine.threads]).map(Threads::new).collect::<Result<Vec<_>>>()?;
    let evictor = Evictor::default();
    let named = |name: &str| std::env::args().any(|argument| argument.contains(name));
    let unasked = ["resnet50", "small"];
    for network in Network::all() {
        if !unasked.contains(&network.name) && !named(network.name) {
            continue;
        }
        for layer in &network.layers {
            let cuda = cuda.as_ref().ok();
            let bench = Bench { network: network.name, layer, threads: &threads, evictor: &evictor, cuda };
            bench
                .run(&mut criterion)
                .with_context(|| format!("{} {}", network.name, shape_name(&layer.shape(BATCH))))?;
        }
    }
    criterion.final_summary();
    if let Err(reason) = cuda {
        println!("CUDA: not run ({reason})");
    }
    Ok(())
}

/// The rows of one layer.
struct Bench<'a> {
    network: &'static str,
    layer: &'a Layer,
    threads: &'a [Threads],
    evictor: &'a Evictor,
    cuda: Option<&'a Cuda>,
}

/// A workload that is made when a line first needs it.
type Lazy<F> = LazyCell<Workload<f32>, F>;

impl Bench<'_> {
    fn run(&self, criterion: &mut Criterion) -> Result<()> {
        let shape = self.layer.shape(BATCH);
        let work = LazyCell::new(|| Workload::new(&shape, Layout::Contiguous).expect("a network's layer"));
        for op in OPS {
            let name = format!("{}/{op}/{} ×{}", self.network, shape_name(&shape), self.layer.count);
            let mut group = criterion.benchmark_group(name);
            group.sampling_mode(SamplingMode::Flat);
            let array = (shape.iter().product::<usize>() * size_of::<f32>()) as u64;
            let moved =
                |who: Who| Throughput::Bytes(array * if who.copies() { 2 } else { op.streams() as u64 });
            for threads in self.threads {
                for who in Who::here() {
                    group.throughput(moved(who));
                    for cache in [Cache::Warm, Cache::Cold] {
                        self.line(&mut group, &work, op, who, threads, cache)?;
                    }
                }
            }
            for who in Who::on_cuda() {
                group.throughput(moved(who));
                for cache in [Cache::Warm, Cache::Cold] {
                    if let Some(cuda) = self.cuda {
                        cuda_line(&mut group, &work, op, who, &cuda.with_cache(cache))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// One contestant, with so many threads, in a state of the caches.
    fn line<F: FnOnce() -> Workload<f32>>(
        &self,
        group: &mut BenchmarkGroup<'_, WallTime>,
        work: &Lazy<F>,
        op: Op,
        who: Who,
        threads: &Threads,
        cache: Cache,
    ) -> Result<()> {
        let name = format!("{who:?}, {} threads, {cache:?}", threads.count());
        let make = || {
            let contest = Contest::new(work, op, &[who], threads)?;
            remark(&name, &contest);
            Ok(contest)
        };
        time(group, &name, make, |contest, bencher| {
            contest.callers().try_for_each(|(_, call)| {
                threads.run(|| match cache {
                    Cache::Warm => warm(bencher, call),
                    Cache::Cold => cold(bencher, call, self.evictor),
                })
            })
        })
    }
}

/// One contestant on a GPU.
fn cuda_line<F: FnOnce() -> Workload<f32>>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    work: &Lazy<F>,
    op: Op,
    who: Who,
    cuda: &Cuda,
) -> Result<()> {
    let name = format!("{who:?}, CUDA, {:?}", cuda.cache());
    let make = || {
        let contest = Contest::new(work, op, &[who], cuda)?;
        remark(&name, &contest);
        Ok(contest)
    };
    let timed = time(group, &name, make, |contest, bencher| {
        contest.callers().try_for_each(|(_, call)| cuda.run(|| between_events(bencher, call, cuda)))
    });
    match timed {
        Err(error) if error.is::<NotRun>() => println!("not run: {error:#}"),
        other => return other,
    }
    Ok(())
}

/// What was found out before a line is timed.
fn remark(name: &str, contest: &Contest<'_, f32>) {
    for problem in contest.outside.values() {
        println!("{name}: outside the allowance: {problem}");
    }
    for reason in contest.refused.values() {
        println!("{name}: not run: {reason}");
    }
}

/// One line, if criterion wants it: then what it is about is made. An error is reported
/// after it.
fn time<T>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    make: impl Fn() -> Result<T>,
    run: impl Fn(&mut T, &mut Bencher<'_, WallTime>) -> Result<()>,
) -> Result<()> {
    let (mut made, mut outcome) = (None, Ok(()));
    group.bench_function(name, |bencher| {
        // Criterion asks many times.
        match made.get_or_insert_with(&make) {
            Ok(subject) => {
                if let Err(error) = run(subject, bencher) {
                    outcome = Err(error);
                }
            }
            Err(_) => bencher.iter(|| ()),
        }
    });
    made.transpose().and(outcome).with_context(|| name.to_owned())
}

/// Calls on what the call before left in the caches.
fn warm(bencher: &mut Bencher<'_, WallTime>, call: &mut dyn Call) -> Result<()> {
    let mut outcome = Ok(());
    bencher.iter(|| {
        if let Err(error) = call.call() {
            outcome = Err(error);
        }
    });
    outcome
}

/// Calls on other caches, which are filled untimed.
fn cold(bencher: &mut Bencher<'_, WallTime>, call: &mut dyn Call, evictor: &Evictor) -> Result<()> {
    let mut outcome = Ok(());
    bencher.iter_custom(|iterations| {
        (0..iterations)
            .map(|_| {
                evictor.evict();
                let begin = Instant::now();
                if let Err(error) = call.call() {
                    outcome = Err(error);
                }
                begin.elapsed()
            })
            .sum()
    });
    outcome
}

/// Calls in a row, timed by the device, after a lead-in that keeps it from waiting for them.
fn between_events(bencher: &mut Bencher<'_, WallTime>, call: &mut dyn Call, cuda: &Cuda) -> Result<()> {
    let mut outcome = Ok(());
    bencher.iter_custom(|iterations| {
        let mut sample = || {
            repeat(call, iterations.div_ceil(4) as usize)?;
            let begin = cuda.mark()?;
            repeat(call, iterations as usize)?;
            cuda.seconds(&begin, &cuda.mark()?)
        };
        sample().map(Duration::from_secs_f64).unwrap_or_else(|error| {
            outcome = Err(error);
            Duration::from_nanos(1)
        })
    });
    outcome
}
