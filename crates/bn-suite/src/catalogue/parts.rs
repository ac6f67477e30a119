//! Training batches in parts of every kind: of one value, of none, one large part
//! and many small ones, in either order. Two batches follow each other, so that
//! what the first leaves in the buffers and the counter is seen, then an evaluation.

use super::Entry;
use super::builder::script;
use super::dtypes::MIXES;
use super::fill::Fill;

/// The parts' sizes along N.
const SIZES: [&[usize]; 13] = [
    &[5],
    &[1, 4],
    &[4, 1],
    &[0, 5],
    &[5, 0],
    &[1, 1],
    &[1, 1, 1],
    &[1, 0, 3],
    &[0, 0, 4, 0],
    &[3, 0, 4],
    &[1, 9, 2],
    &[7, 2, 5, 3],
    &[2; 7],
];

/// As many cases as this group promises: every partition of (N, C) and of (N, C, L).
pub const COUNT: usize = 2 * SIZES.len();

pub(super) fn cases() -> Vec<Entry> {
    let shapes: [(&str, &[usize]); 2] = [("flat", &[4, 3]), ("sequences", &[2, 3, 3])];
    let mut entries = Vec::new();
    for (kind, shape) in shapes {
        for sizes in SIZES {
            let (dtypes, input, parameters) = MIXES[entries.len() % MIXES.len()];
            let joined = sizes.iter().map(usize::to_string).collect::<Vec<_>>().join("-");
            let note = format!(
                "{kind}, {dtypes}, parts of {joined}: mean and variance of the whole, Bessel's factor by its n, one count."
            );
            let layer = script(&format!("parts/{kind}-{joined}"), shape, &note).dtypes(input, parameters);
            let layer = layer.fill(Fill::Dense).merge(sizes).merge(&[3, 2]);
            entries.push(layer.eval().generated());
        }
    }
    entries
}
