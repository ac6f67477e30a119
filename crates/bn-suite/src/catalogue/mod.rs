//! The catalogue: every case of the suite, one file per group.
//!
//! A case is named `group/fault`, after the fault that it exposes, and its note
//! says what failing it means; where a real project made that very mistake, the
//! note names it. How a case is written down is `builder`'s business, where its
//! numbers come from is `fill`'s.

mod accuracy;
mod affine;
mod arrangement;
mod builder;
mod combinations;
mod digits;
mod documents;
mod dtypes;
mod edge;
mod exact;
pub(crate) mod fill;
mod folding;
mod gradients;
mod layouts;
mod merging;
mod modes;
mod momentum;
mod normalise;
pub mod random;
mod ranks;
mod refusals;
mod running_stats;
mod second_gradients;
mod spaced;
mod special_values;

use crate::case::Case;
use crate::golden::Dispute;

pub use combinations::COUNT as COMBINATIONS_COUNT;
pub use edge::COUNT as EDGE_COUNT;
pub(crate) use exact::channels_of;
pub use spaced::COUNT as SPACED_COUNT;

/// A case as the catalogue holds it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What is asked.
    pub case: Case,
    /// Whether the case is written to the fixtures; larger ones are generated
    /// anew, and the truth with them, whenever they are checked.
    pub stored: bool,
    /// Set where the oracle is known to differ from the truth.
    pub disputed: Option<Dispute>,
}

/// The groups, in the order in which a reader should meet them.
pub const GROUPS: [&str; 21] = [
    "documents",
    "normalise",
    "running-stats",
    "momentum",
    "modes",
    "affine",
    "ranks",
    "dtypes",
    "layouts",
    "gradients",
    "second-gradients",
    "special-values",
    "accuracy",
    "refusals",
    "folding",
    "merging",
    "digits",
    "combinations",
    "edge",
    "spaced",
    "random",
];

/// Every case, in the order of [`GROUPS`]; the random ones from the usual seed.
pub fn all() -> Vec<Entry> {
    with_random(random::SEED, random::COUNT)
}

/// Every case, with so many random ones from this seed.
pub fn with_random(seed: u64, count: usize) -> Vec<Entry> {
    [
        documents::cases(),
        normalise::cases(),
        running_stats::cases(),
        momentum::cases(),
        modes::cases(),
        affine::cases(),
        ranks::cases(),
        dtypes::cases(),
        layouts::cases(),
        gradients::cases(),
        second_gradients::cases(),
        special_values::cases(),
        accuracy::cases(),
        refusals::cases(),
        folding::cases(),
        merging::cases(),
        digits::cases(),
        combinations::cases(),
        edge::cases(),
        spaced::cases(),
        random::cases(seed, count),
    ]
    .concat()
}
