//! The engines that come with the suite.

pub mod batchnorm;
pub mod process;
pub mod textbook;

use crate::engine::Engine;
use crate::{mutants, variants};

/// Builds an engine.
pub type Constructor = Box<dyn Fn() -> Box<dyn Engine> + Send + Sync>;

/// Builds an engine that comes with the suite.
type Make = fn() -> Box<dyn Engine>;

const ENGINES: [(&str, Make); 2] = [
    ("batchnorm", || Box::new(batchnorm::BatchnormEngine::default())),
    ("textbook", || Box::new(textbook::Textbook::default())),
];

/// The right engines that [`constructor`] and [`by_name`] know.
pub fn names() -> impl Iterator<Item = &'static str> {
    ENGINES.iter().map(|(name, _)| *name)
}

/// How to build the engine of that name; `mutant:NAME` is a wrong one (see
/// [`mutants`]), and `variant:NAME` a right one built differently (see [`variants`]).
pub fn constructor(name: &str) -> Option<Constructor> {
    if let Some(name) = name.strip_prefix(mutants::PREFIX) {
        let mutant = mutants::by_name(name)?;
        return Some(Box::new(move || mutant.engine()));
    }
    if let Some(name) = name.strip_prefix(variants::PREFIX) {
        let variant = variants::by_name(name)?;
        return Some(Box::new(move || variant.engine()));
    }
    let (_, make) = ENGINES.iter().find(|(known, _)| *known == name)?;
    Some(Box::new(make))
}

/// A fresh engine of that name.
pub fn by_name(name: &str) -> Option<Box<dyn Engine>> {
    constructor(name).map(|make| make())
}
