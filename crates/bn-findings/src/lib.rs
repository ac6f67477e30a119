//! Why an engine fails, how badly, and on whose page that stands.
//!
//! The suite says which array of which case is wrong. This crate says what that comes from.
//! A *cause* ([`cause`]) is what an engine does otherwise: one of the suite's mutants, whose
//! answers are the engine's; an arithmetic that loses more than is allowed; something
//! accepted that must be refused. Failures with one cause are one *finding*, and its
//! *severity* says whether the engine computes another function (*wrong*), the right one too
//! roughly (*inaccurate*), another one as its documentation says (*convention*), or declines
//! what it claims (*unsupported*).

pub mod adapters;
pub mod arithmetic;
mod candidates;
pub mod cause;
pub mod checkout;
pub mod describe;
pub mod explain;
pub mod findings;
mod hypotheses;
mod isolate;
pub mod record;
pub mod registry;
pub mod scoreboard;
pub mod shrink;
pub mod speed;
mod words;
