//! What the tests share: devices to emulate, engines, and what is asked of them.

#![allow(dead_code, reason = "each test program uses its part")]

pub mod cases;
pub mod order;
pub mod relu;
pub mod rounding;

use bn_cuda::CudaEngine;
use bn_cuda::device::Properties;
use bn_cuda::emulator::{Emulator, Schedule};
use bn_suite::case::Case;
use bn_suite::engine::Engine;

/// A device so small that small arrays already need clusters.
pub const SMALL: Properties = Properties { multiprocessors: 4, shared_bytes: 16 << 10, has_clusters: true };

/// One whose clusters hold a few thousand values.
pub const TINY: Properties = Properties { multiprocessors: 3, shared_bytes: 6 << 10, has_clusters: true };

/// One that has only the plain kernels.
pub const OLD: Properties = Properties { multiprocessors: 108, shared_bytes: 163 << 10, has_clusters: false };

/// An emulated device and the order of its threads.
pub type Setting = (Schedule, Properties);

/// Every kind of order, every kind of device.
pub const SETTINGS: [Setting; 5] = [
    (Schedule::Ascending, Properties::EMULATED),
    (Schedule::Descending, SMALL),
    (Schedule::Shuffled { seed: 1 }, SMALL),
    (Schedule::Shuffled { seed: 2 }, OLD),
    (Schedule::Shuffled { seed: 3 }, TINY),
];

/// The kernels on the emulator.
pub fn engine((schedule, properties): Setting) -> CudaEngine<Emulator> {
    CudaEngine::new("cuda-emulated", Emulator::new(schedule).with_properties(properties))
}

/// Whether the kernels say that they can do the case.
pub fn is_claimed(case: &Case) -> bool {
    let about = engine(SETTINGS[0]).about().clone();
    case.requires().is_subset(&about.claims)
}
