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
mod cotangents;
mod digits;
mod documents;
mod dtypes;
mod edge;
mod exact;
pub(crate) mod fill;
mod folding;
mod gradients;
mod histories;
mod layouts;
mod maps;
mod merging;
mod modes;
mod momentum;
mod normalise;
mod parts;
pub mod random;
mod ranks;
mod refusal_grid;
mod refusals;
mod running_stats;
mod second_gradients;
mod spaced;
mod special_values;
mod specials;

use crate::case::Case;
use crate::golden::Dispute;

pub use combinations::COUNT as COMBINATIONS_COUNT;
pub use cotangents::COUNT as COTANGENTS_COUNT;
pub use edge::COUNT as EDGE_COUNT;
pub(crate) use exact::channels_of;
pub use histories::COUNT as HISTORIES_COUNT;
pub use maps::COUNT as MAPS_COUNT;
pub use parts::COUNT as PARTS_COUNT;
pub use refusal_grid::COUNT as REFUSAL_GRID_COUNT;
pub use spaced::COUNT as SPACED_COUNT;
pub use specials::COUNT as SPECIALS_COUNT;

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
pub const GROUPS: [&str; 27] = [
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
    "specials",
    "refusal-grid",
    "histories",
    "cotangents",
    "maps",
    "parts",
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
        specials::cases(),
        refusal_grid::cases(),
        histories::cases(),
        cotangents::cases(),
        maps::cases(),
        parts::cases(),
        random::cases(seed, count),
    ]
    .concat()
}
