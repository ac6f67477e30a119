//! How fast our batch norm is beside libtorch's, and the proof that both are right.
//!
//! A [`Workload`] is a layer with its values. [`contestants`] do one operation on it,
//! into outputs that were allocated once. Before anything is timed, every element of the
//! result is compared with plain f64 loops ([`Expected`]). Then they take turns
//! ([`paired`]), so that a machine whose speed drifts slows all of them alike; the ratios
//! of the rounds give a median and its confidence interval ([`statistics`]). A [`run()`]
//! over the layers of [`networks`] makes a [`Record`], which `bn-perf` prints; [`cuda`] is the
//! same on a GPU. The [`gate`]
//! compares two revisions of our engine alone.
//!
//! Our bias: we wrote one of the two engines. So the other gets what it is best
//! at: its `_out` forms, no autograd, and memory that is already mapped; and both read
//! the same bytes, at the alignment that its allocator gives.

pub mod binomial;
pub mod contestants;
pub mod cuda;
pub mod engine;
mod expected;
pub mod gate;
pub mod history;
pub mod machine;
pub mod networks;
pub mod paired;
pub mod record;
pub mod report;
pub mod row;
mod run;
pub mod statistics;
pub mod table;

pub use bn_driver::{EPS, MOMENTUM, ShapeError, Value, Workload, axes};
use bn_driver::{buffer, value, workload};
pub use expected::{Expected, Outside};
pub use record::Record;
pub use run::{Settings, run, run_on_cuda};
