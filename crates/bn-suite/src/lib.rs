//! A conformance suite for batch normalization.

pub mod allowance;
pub mod capability;
pub mod case;
pub mod catalogue;
pub mod check;
pub mod digits;
pub mod engine;
pub mod engines;
pub mod fixtures;
pub mod golden;
pub mod gradcheck;
pub mod kill_matrix;
pub mod lint;
pub mod model;
pub mod mutants;
pub mod number;
pub mod outcome;
pub mod protocol;
pub mod report;
pub mod rivals;
pub mod runner;
pub mod tensor;
pub mod truth;
pub mod variants;
