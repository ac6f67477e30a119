//! The networks of the documents that this project starts from, with our batch norm inside:
//! trained, compared step by step, and asked whether what the documents say of them holds.
//!
//! * [`layers`], [`loss`], [`optimizer`]: the little that these networks need, from scratch;
//! * [`blueprint`]: the documents' networks, piece by piece; [`network`]: built of our layers;
//! * [`data`]: what they learn from; [`source`]: who learns from what; [`experiment`]: how;
//! * [`train`], [`checkpoint`]: epoch by epoch, and as files;
//! * [`agreement`]: whether others take the same steps;
//! * [`claims`], [`report`]: what the documents say, and what came of it.

pub mod agreement;
pub mod blueprint;
pub mod checkpoint;
pub mod claims;
pub mod data;
pub mod error;
pub mod experiment;
pub mod layers;
pub mod loss;
pub mod network;
pub mod optimizer;
pub mod real;
pub mod report;
pub mod source;
pub mod train;
