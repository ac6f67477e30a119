//! The truth: each step in arbitrary precision, correctly rounded.

use crate::case::Case;
use crate::golden::Expected;

/// The true outcome of every step, with allowances.
pub fn solve(case: &Case) -> Vec<Expected> {
    let _ = case;
    Vec::new()
}
