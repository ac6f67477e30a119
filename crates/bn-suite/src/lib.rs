//! A conformance suite for batch normalization.

pub use bn_protocol as protocol;
pub use bn_protocol::{capability, case, engine, number, outcome, tensor};

pub mod allowance;
pub mod catalogue;
pub mod check;
pub mod digits;
pub mod engines;
pub mod fixtures;
pub mod golden;
pub mod gradcheck;
pub mod kill_matrix;
pub mod lint;
pub mod model;
pub mod mutants;
pub mod report;
pub mod rivals;
pub mod runner;
pub mod truth;
pub mod variants;
