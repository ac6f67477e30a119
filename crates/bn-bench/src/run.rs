//! A whole run: networks, dtypes, layouts, threads and operations, row by row.

use anyhow::{Context, Result};
use half::{bf16, f16};

use crate::axes::{DType, Layout, Op};
use crate::contestants::Who;
use crate::cuda::Cuda;
use crate::machine::{Machine, unix_time};
use crate::networks::{Layer, Network, shape_name};
use crate::paired::{Plan, Rounds};
use crate::record::{Record, Remarks, Row, Samples, Subject};
use crate::row::{Contest, Threads, Venue};
use crate::value::Value;
use crate::workload::Workload;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whose layers.
    pub networks: Vec<Network>,
    /// N of the networks that have none of their own.
    pub batch: usize,
    /// In these dtypes.
    pub dtypes: Vec<DType>,
    /// In these layouts.
    pub layouts: Vec<Layout>,
    /// With so many threads.
    pub threads: Vec<usize>,
    /// These operations.
    pub ops: Vec<Op>,
    /// How long each row, and in which state of the caches.
    pub plan: Plan,
}

impl Settings {
    /// How many rows there will be.
    pub fn rows(&self) -> usize {
        let layers = self.networks.iter().flat_map(|network| &network.layers);
        let in_layouts = layers.map(|layer| self.layouts_of(layer).count()).sum::<usize>();
        in_layouts * self.dtypes.len() * self.threads.len() * self.ops.len()
    }

    /// (N, C) is the same in both layouts; as channels last it would be measured twice.
    fn layouts_of(&self, layer: &Layer) -> impl Iterator<Item = Layout> {
        let flat = layer.extents.is_empty();
        self.layouts.iter().copied().filter(move |&layout| !flat || layout == Layout::Contiguous)
    }
}

/// Measures everything on the processor, telling `progress` of each row as it is made.
///
/// # Errors
/// A wrong result of ours, or what a contestant refuses.
pub fn run(settings: &Settings, machine: Machine, progress: impl FnMut(&Row)) -> Result<Record> {
    let threads = settings.threads.iter().map(|&count| Ok((count, Threads::new(count)?)));
    run_at(settings, &Who::here(), &threads.collect::<Result<Vec<_>>>()?, machine, progress)
}

/// The same on a GPU; the one thread is that which makes the calls.
///
/// # Errors
/// As [`run`].
pub fn run_on_cuda(
    settings: &Settings,
    cuda: Cuda,
    machine: Machine,
    progress: impl FnMut(&Row),
) -> Result<Record> {
    let machine = Machine { cuda: Some(cuda.about().clone()), ..machine };
    run_at(settings, &Who::on_cuda(), &[(1, cuda)], machine, progress)
}

/// Each venue with its number of threads.
fn run_at<V: Venue>(
    settings: &Settings,
    who: &[Who],
    venues: &[(usize, V)],
    machine: Machine,
    mut progress: impl FnMut(&Row),
) -> Result<Record> {
    let unix_time = unix_time();
    let mut rows = Vec::with_capacity(settings.rows());
    let mut note = |row: Row| {
        progress(&row);
        rows.push(row);
    };
    for network in &settings.networks {
        for layer in &network.layers {
            for layout in settings.layouts_of(layer) {
                for &dtype in &settings.dtypes {
                    let measure = match dtype {
                        DType::F32 => measure::<f32, V>,
                        DType::F64 => measure::<f64, V>,
                        DType::Bf16 => measure::<bf16, V>,
                        DType::F16 => measure::<f16, V>,
                    };
                    measure(settings, who, venues, network.name, layer, layout, &mut note)?;
                }
            }
        }
    }
    Ok(Record::new(unix_time, machine, settings.plan.cache, rows))
}

/// The rows of one layer in one dtype and layout, on one set of values.
fn measure<T: Value, V: Venue>(
    settings: &Settings,
    who: &[Who],
    venues: &[(usize, V)],
    network: &str,
    layer: &Layer,
    layout: Layout,
    note: &mut dyn FnMut(Row),
) -> Result<()> {
    let work = Workload::<T>::new(&layer.shape(settings.batch), layout)?;
    for (threads, venue) in venues {
        for &op in &settings.ops {
            let subject = Subject {
                network: network.into(),
                shape: work.shape().into(),
                count: layer.count,
                dtype: T::NAME,
                layout,
                op,
                threads: *threads,
            };
            let key = format!("{network} {} {}", shape_name(&subject.shape), subject.key());
            note(row(&work, subject, who, venue, settings.plan).context(key)?);
        }
    }
    Ok(())
}

fn row<T: Value>(
    work: &Workload<T>,
    subject: Subject,
    who: &[Who],
    venue: &impl Venue,
    plan: Plan,
) -> Result<Row> {
    let mut contest = Contest::new(work, subject.op, who, venue)?;
    let mut samples = Samples::default();
    for (who, rounds) in contest.measure(plan, venue)? {
        *samples.of(who) = rounds;
    }
    let remarks = Remarks {
        libtorch_outside: contest.outside.remove(&Who::Libtorch),
        cudnn_outside: contest.outside.remove(&Who::Cudnn),
        cudnn_refused: contest.refused.remove(&Who::Cudnn),
    };
    Ok(Row::new(subject, samples, remarks))
}

impl Samples {
    fn of(&mut self, who: Who) -> &mut Rounds {
        match who {
            Who::Ours => &mut self.ours,
            Who::Libtorch => &mut self.libtorch,
            Who::Cudnn => self.cudnn.get_or_insert_default(),
            Who::Copy => &mut self.copy,
            Who::StreamCopy => self.stream_copy.get_or_insert_default(),
        }
    }
}
