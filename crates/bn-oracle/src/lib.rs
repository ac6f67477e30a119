//! libtorch, the library inside PyTorch, as an engine of the suite: the oracle.
//!
//! The truth says which numbers are right; libtorch says what batch norm *means*:
//! which statistics a pass uses, what it updates, what it refuses and in what
//! words. Wherever libtorch computes or checks, this crate lets it, and only
//! carries the question in and the answer out:
//!
//! * [`module`]: what PyTorch's Python class adds to the C++ function: the rank
//!   check, the counter, momentum null, one value per channel, `eps`;
//! * [`gradients`]: first and second gradients, by libtorch's own autograd;
//! * [`fold`], [`merge`]: the two operations that PyTorch composes from others;
//! * [`tensors`]: arrays across the border, with their memory order;
//! * [`refusal`]: libtorch's messages, sorted;
//! * [`engine`]: the script of a case, played step by step;
//! * [`training`]: the documents' networks by libtorch's layers, autograd and optimisers;
//! * [`version`], [`cuda`]: what was linked, what was loaded, and on which device.
//!
//! Native calls are made through tch's fallible forms, and never with what they
//! would not check themselves: a C++ exception becomes a refusal or an error. Against
//! what is left, a crash of libtorch itself, the program `bn-oracle` serves the
//! engine protocol from a process of its own.

pub mod cuda;
pub mod engine;
pub mod fold;
pub mod gradients;
pub mod merge;
pub mod module;
pub mod refusal;
pub mod tensors;
pub mod training;
pub mod version;

pub use engine::LibtorchEngine;
