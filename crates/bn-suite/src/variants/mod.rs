//! Variants: right batch norms, built differently from each other.
//!
//! A suite that refuses a right engine is as wrong as one that accepts a wrong
//! engine. A *variant* is a batch norm as some framework or kernel could have it:
//! it computes in f32 where the parameters are f32, f16 or bf16, and in f64 where
//! they are f64, and keeps its statistics in that precision, unless its line says
//! otherwise. No case may refuse one.
//!
//! A variant is a *kernel*: the formulas of one channel over a
//! floating-point type, one of them built in another way.

mod computed;
mod double;
mod float;
mod forms;
mod kernel;
mod moments;
mod precision;
mod second_gradients;
mod sums;

use crate::engine::Engine;
use crate::engines::textbook::Player;
use crate::engines::textbook::recipe::Recipe;

/// A right batch norm.
pub struct Variant {
    /// A short name, unique among the variants.
    pub name: &'static str,
    /// How it is built, in one line.
    pub how: &'static str,
    recipe: fn() -> Box<dyn Recipe>,
}

impl Variant {
    /// A fresh engine, named `variant:` and the variant's name.
    pub fn engine(&self) -> Box<dyn Engine> {
        Box::new(Player::new(&format!("{PREFIX}{}", self.name), (self.recipe)()))
    }
}

/// What an engine's name starts with when it is a variant.
pub const PREFIX: &str = "variant:";

/// Every variant.
pub fn all() -> Vec<Variant> {
    [sums::variants(), moments::variants(), forms::variants(), precision::variants()]
        .into_iter()
        .flatten()
        .collect()
}

/// The variant of that name, without the prefix.
pub fn by_name(name: &str) -> Option<Variant> {
    all().into_iter().find(|variant| variant.name == name)
}

/// A variant from its name, its line, and its kernel, computing in f32 and f64.
macro_rules! variant {
    ($name:literal, $how:literal, $kernel:expr) => {
        $crate::variants::Variant {
            name: $name,
            how: $how,
            recipe: || $crate::variants::computed::Computed::<_, f32, f64>::recipe($kernel),
        }
    };
}

use variant;
