//! Who is timed, and all that they have in common.
//!
//! Every contestant reads the workload's own memory, or on a GPU copies of it, and writes to
//! memory that it got when it was made. Ours and libtorch do the operation; the copies move
//! one array of the input's size and show what the memory can do.

mod copy;
mod libtorch;
mod on_device;
mod ours;

pub use copy::{LibtorchCopy, StreamCopy};
pub use libtorch::{Kernels, Libtorch, Setting};
pub use on_device::OursOnDevice;
pub use ours::Ours;

use anyhow::{Result, bail};
use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::axes::Op;
use crate::expected::Expected;
use crate::paired::Call;
use crate::value::Value;
use crate::workload::Workload;

/// A contestant by name.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[clap(rename_all = "snake_case")]
pub enum Who {
    /// `batchnorm`; on a GPU, `bn-cuda`.
    Ours,
    /// libtorch's batch norm, by its own kernels.
    Libtorch,
    /// cuDNN's batch norm, through libtorch.
    Cudnn,
    /// libtorch's `copy_` of the input.
    Copy,
    /// A copy of the input with stores that pass the caches by.
    StreamCopy,
}

impl Who {
    /// Those that this machine's processor has, in the order of their turns.
    pub fn here() -> Vec<Who> {
        let all = [Who::Ours, Who::Libtorch, Who::Copy, Who::StreamCopy];
        all.into_iter().filter(|&who| who != Who::StreamCopy || StreamCopy::<f32>::IS_HERE).collect()
    }

    /// Those of a GPU.
    pub fn on_cuda() -> Vec<Who> {
        vec![Who::Ours, Who::Libtorch, Who::Cudnn, Who::Copy]
    }

    /// Whether it moves the input and does nothing else.
    pub fn copies(self) -> bool {
        matches!(self, Who::Copy | Who::StreamCopy)
    }
}

/// One that does an operation on a workload, again and again.
pub trait Contestant<T: Value>: Call {
    /// Compares what the first call gave with the truth. (Later calls of a training pass
    /// go on from its running statistics.) One that has several copies of the arrays makes
    /// the calls that the others wait for, and compares those too.
    ///
    /// # Errors
    /// [`crate::Outside`], or what kept the result from being read.
    fn check(&mut self, expected: &Expected<'_, T>) -> Result<()>;
}

/// The contestant of that name on the CPU.
///
/// # Errors
/// What libtorch refuses.
pub(crate) fn enter<'a, T: Value>(
    who: Who,
    work: &'a Workload<T>,
    op: Op,
) -> Result<Box<dyn Contestant<T> + 'a>> {
    Ok(match who {
        Who::Ours => Box::new(Ours::new(work, op)?),
        Who::Libtorch => Box::new(Libtorch::new(work, op, Setting::CPU)?),
        Who::Copy => Box::new(LibtorchCopy::new(work, Device::Cpu, 1)?),
        Who::StreamCopy => Box::new(StreamCopy::new(work)),
        Who::Cudnn => bail!("cuDNN runs on a GPU alone"),
    })
}
