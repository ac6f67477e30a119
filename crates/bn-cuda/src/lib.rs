//! Batch normalization from scratch in CUDA C++, and a machine that runs its kernels on a CPU.
//!
//! The kernels are in `kernels/`: header-free, so that NVIDIA's run-time compiler needs no
//! toolkit. They run on one of two [`Device`]s:
//!
//! - [`Gpu`](gpu::Gpu): through a driver that is found when the program runs. Nothing of
//!   CUDA is needed to build;
//! - [`Emulator`](emulator::Emulator): the same sources compiled as C++, every thread a fiber,
//!   every access checked, under several schedules. It is slow, and proves much.
//!
//! [`BatchNorm`] is the layer over either, with PyTorch's checks in PyTorch's order, and
//! [`CudaEngine`] puts it before the conformance suite.
//!
//! All arithmetic is in f64 and rounded once; sums run in an order that the shape alone
//! settles, so the same input gives the same bits on every run.

pub mod arguments;
mod array;
pub mod device;
pub mod emulator;
mod engine;
pub mod gpu;
mod layer;
mod mask;
mod plan;
pub mod replay;

pub use array::{Array, Vector};
pub use device::{Device, DeviceError};
pub use engine::CudaEngine;
pub use layer::{BatchNorm, Error, Gradients, Rectified, Relu, Saved, State};
pub use mask::ReluMask;
