//! The networks of the documents that this project starts from, with our batch norm inside:
//! trained, compared step by step, and asked whether what the documents say of them holds.

pub mod data;
