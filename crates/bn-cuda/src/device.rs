//! What a machine that runs kernels must be able to do.

use std::fmt;

use crate::arguments::Arguments;

/// Memory on a device, freed when it is dropped.
pub trait Memory: fmt::Debug {
    /// Its address, as kernels see it.
    fn address(&self) -> u64;
    /// Its size.
    fn bytes(&self) -> usize;
}

/// Which kernel runs, and on how many threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The kernel's name.
    pub kernel: String,
    /// Blocks.
    pub blocks: u32,
    /// Threads of a block, in whole warps.
    pub threads: u32,
    /// Blocks of a cluster: those that see each other's shared memory. 1 where none do.
    pub cluster: u32,
    /// Whether all blocks run at the same time, and may wait for each other.
    pub cooperative: bool,
    /// Bytes of shared memory of a block.
    pub shared_bytes: u32,
}

/// What the choice of a kernel depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Properties {
    /// Multiprocessors: blocks that run at the same time, at least.
    pub multiprocessors: u32,
    /// Bytes of shared memory that a block may ask for.
    pub shared_bytes: u32,
    /// Whether blocks form clusters, and a copy engine fills shared memory (sm_90).
    pub has_clusters: bool,
}

impl Properties {
    /// What the emulator has unless it is told otherwise: a small Hopper, since each block that
    /// runs at the same time costs time here.
    pub const EMULATED: Properties =
        Properties { multiprocessors: 8, shared_bytes: 227 << 10, has_clusters: true };

    /// An H100 or H200.
    pub const HOPPER: Properties =
        Properties { multiprocessors: 132, shared_bytes: 227 << 10, has_clusters: true };
}

/// A machine that runs kernels.
pub trait Device {
    /// Its memory.
    type Memory: Memory;

    /// What it is, in words.
    fn name(&self) -> String;

    /// What the choice of a kernel depends on.
    fn properties(&self) -> Properties;

    /// Memory that holds nothing yet: bytes of 0xff, which are NaN in every dtype.
    fn allocate(&self, bytes: usize) -> Result<Self::Memory, DeviceError>;

    /// Memory that holds `bytes`.
    fn upload(&self, bytes: &[u8]) -> Result<Self::Memory, DeviceError>;

    /// What the memory holds, after all launches.
    fn download(&self, memory: &Self::Memory) -> Result<Vec<u8>, DeviceError>;

    /// Runs a kernel on `arguments`, whose addresses lie in `inputs`, which are only read,
    /// and in `outputs`.
    ///
    /// # Safety
    /// The kernel of that name takes an `A`, and every address and stride in it stays within
    /// the memory that is named.
    unsafe fn launch<A: Arguments>(
        &self,
        launch: &Launch,
        arguments: &A,
        inputs: &[&Self::Memory],
        outputs: &[&Self::Memory],
    ) -> Result<(), DeviceError>;
}

/// Why a device did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// There is none, and why.
    #[error("no CUDA device: {0}")]
    None(String),
    /// The kernels do not compile or load.
    #[error("the CUDA kernels do not load: {0}")]
    Kernels(String),
    /// The driver refused.
    #[error("CUDA: {0}")]
    Driver(String),
    /// The emulator found a fault in a kernel.
    #[error("{kernel}: {fault}")]
    Fault {
        /// The kernel.
        kernel: String,
        /// What it did.
        fault: String,
    },
}
