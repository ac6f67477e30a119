//! Mutants: wrong batch norms, on purpose, by which the suite is measured.
//!
//! A *mutant* is the textbook with one thing changed: the reduction, the formula
//! or the check that somebody got wrong, or could. The suite must refuse every one
//! of them, by its stored cases alone and by its generated ones alone; see
//! [`crate::kill_matrix`]. A mutant whose answers are within what floating-point
//! arithmetic may do would not be wrong, and has no place here.
//!
//! One file per family. A mutant that is wrong only now and then says when: in
//! the tail of a vector, above a size, in one memory order.

mod affine;
mod axes;
mod backward;
mod counter;
mod double_backward;
mod eps;
mod folding;
mod layout;
mod merging;
mod precision;
mod refusals;
mod running;
mod special;
mod state;
mod threads;
mod variance;

use crate::engine::Engine;
use crate::engines::textbook::Player;
use crate::engines::textbook::recipe::Recipe;

/// A wrong batch norm.
pub struct Mutant {
    /// A short name, unique among the mutants.
    pub name: &'static str,
    /// What is wrong, in one line.
    pub fault: &'static str,
    /// Where a real project made the mistake, as `project#issue`; empty where none is known.
    pub source: &'static str,
    recipe: fn() -> Box<dyn Recipe>,
}

impl Mutant {
    /// A fresh engine, named `mutant:` and the mutant's name.
    pub fn engine(&self) -> Box<dyn Engine> {
        Box::new(Player::new(&format!("{PREFIX}{}", self.name), (self.recipe)()))
    }
}

/// What an engine's name starts with when it is a mutant.
pub const PREFIX: &str = "mutant:";

/// Every mutant, family by family.
pub fn all() -> Vec<Mutant> {
    [
        variance::mutants(),
        eps::mutants(),
        running::mutants(),
        counter::mutants(),
        axes::mutants(),
        threads::mutants(),
        layout::mutants(),
        affine::mutants(),
        backward::mutants(),
        double_backward::mutants(),
        precision::mutants(),
        special::mutants(),
        refusals::mutants(),
        state::mutants(),
        folding::mutants(),
        merging::mutants(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The mutant of that name, without the prefix.
pub fn by_name(name: &str) -> Option<Mutant> {
    all().into_iter().find(|mutant| mutant.name == name)
}

/// Whether the mutant of that name computes the right formulas, only in too poor an arithmetic.
pub fn is_arithmetic(name: &str) -> bool {
    precision::mutants().iter().any(|mutant| mutant.name == name)
}

/// A mutant from its name, its fault, its source, and the methods of the recipe
/// that it gets wrong.
macro_rules! mutant {
    ($name:literal, $fault:literal, $source:literal, { $($method:tt)* }) => {{
        struct Wrong;
        impl Recipe for Wrong {
            $($method)*
        }
        Mutant { name: $name, fault: $fault, source: $source, recipe: || Box::new(Wrong) }
    }};
}

use mutant;
