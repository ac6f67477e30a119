//! A conformance suite for batch normalization.

pub mod allowance;
pub mod capability;
pub mod case;
pub mod catalogue;
pub mod engine;
pub mod engines;
pub mod golden;
pub mod gradcheck;
pub mod number;
pub mod outcome;
pub mod protocol;
pub mod tensor;
pub mod truth;
