//! Batch normalization from scratch.
