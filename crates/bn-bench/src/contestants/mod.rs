//! Who is timed, and all that they have in common.
//!
//! Every contestant reads the workload's own memory and writes to memory that it got
//! when it was made. Ours and libtorch do the operation; the copies move one array of
//! the input's size and show what the memory can do.

mod copy;
mod libtorch;
mod ours;

pub use copy::{LibtorchCopy, StreamCopy};
pub use libtorch::Libtorch;
pub use ours::Ours;

use anyhow::Result;
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
    /// `batchnorm`.
    Ours,
    /// libtorch's batch norm.
    Libtorch,
    /// libtorch's `copy_` of the input.
    Copy,
    /// A copy of the input with stores that pass the caches by.
    StreamCopy,
}

impl Who {
    /// Those that this machine has, in the order of their turns.
    pub fn here() -> Vec<Who> {
        let all = [Who::Ours, Who::Libtorch, Who::Copy, Who::StreamCopy];
        all.into_iter().filter(|&who| who != Who::StreamCopy || StreamCopy::<f32>::IS_HERE).collect()
    }
}

/// One that does an operation on a workload, again and again.
pub trait Contestant<T: Value>: Call {
    /// Compares what the first call gave with the truth. (Later calls of a training pass
    /// go on from its running statistics.)
    ///
    /// # Errors
    /// [`crate::Outside`], or what kept the result from being read.
    fn check(&self, expected: &Expected<'_, T>) -> Result<()>;
}

/// The contestant of that name on the CPU.
///
/// # Errors
/// What libtorch refuses.
pub fn enter<'a, T: Value>(who: Who, work: &'a Workload<T>, op: Op) -> Result<Box<dyn Contestant<T> + 'a>> {
    Ok(match who {
        Who::Ours => Box::new(Ours::new(work, op)?),
        Who::Libtorch => Box::new(Libtorch::new(work, op, Device::Cpu)?),
        Who::Copy => Box::new(LibtorchCopy::new(work)?),
        Who::StreamCopy => Box::new(StreamCopy::new(work)),
    })
}
