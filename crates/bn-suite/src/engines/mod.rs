//! The engines that come with the suite.

pub mod batchnorm;
pub mod process;
pub mod textbook;

use crate::engine::Engine;

/// Builds an engine.
pub type Constructor = fn() -> Box<dyn Engine>;

const ENGINES: [(&str, Constructor); 2] = [
    ("batchnorm", || Box::new(batchnorm::BatchnormEngine::default())),
    ("textbook", || Box::new(textbook::Textbook::default())),
];

/// The names that [`constructor`] and [`by_name`] know.
pub fn names() -> impl Iterator<Item = &'static str> {
    ENGINES.iter().map(|(name, _)| *name)
}

/// How to build the engine of that name.
pub fn constructor(name: &str) -> Option<Constructor> {
    ENGINES.iter().find(|(known, _)| *known == name).map(|(_, make)| *make)
}

/// A fresh engine of that name.
pub fn by_name(name: &str) -> Option<Box<dyn Engine>> {
    constructor(name).map(|make| make())
}
