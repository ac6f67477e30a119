//! What the benches time, and the proof that it is right.
//!
//! A [`Workload`] is a shape with its values; [`Ours`] and [`Libtorch`] each do
//! one operation on it, into outputs that were allocated once. Before anything
//! is timed, every element of the result is compared with plain f64 loops
//! ([`Workload::check_forward`], [`Workload::check_backward`]).
//!
//! Our bias: we wrote one of the two engines. So the other gets what it is best
//! at: its `_out` forms, no autograd, and memory that is already mapped.

mod libtorch;
pub mod machine;
mod ours;
pub mod shapes;
mod workload;

pub use libtorch::Libtorch;
pub use ours::Ours;
pub use workload::{EPS, MOMENTUM, Workload};
