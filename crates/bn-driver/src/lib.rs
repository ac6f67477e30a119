//! Our batch norm on one layer, ready to be timed.
//!
//! A [`Workload`] is a layer with its values, and [`Ours`] does one operation on it, into
//! memory that was allocated once. `bn-bench` lets it take turns with libtorch in one
//! process. To compare two revisions of `batchnorm`, two programs are needed: the binary
//! `bn-driver` is this crate behind a protocol of JSON lines ([`protocol`]). It links
//! nothing but the engine, so that a gate can build it from any revision in seconds.

pub mod axes;
pub mod buffer;
pub mod ours;
pub mod protocol;
pub mod session;
pub mod value;
pub mod workload;

pub use ours::Ours;
pub use value::Value;
pub use workload::{EPS, MOMENTUM, ShapeError, Workload};
