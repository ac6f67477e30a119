//! Choices, one after another: from a seed without end, or from a list that can be
//! shortened and lowered until what it makes is small.
//!
//! Whatever a generator asks, 0 is the simplest answer, and a list that has come to
//! its end goes on with 0. So a property test need not know how to shrink a case:
//! it shrinks the list.

use crate::catalogue::fill::SplitMix64;

/// A source of choices.
#[derive(Debug)]
pub struct Tape {
    listed: std::vec::IntoIter<u32>,
    then: Option<SplitMix64>,
}

impl Tape {
    /// These choices, then 0 for ever.
    pub fn listed(choices: Vec<u32>) -> Self {
        Tape { listed: choices.into_iter(), then: None }
    }

    /// The choices of a generator seeded with this text, without end.
    pub fn seeded(text: &str) -> Self {
        Tape { listed: Vec::new().into_iter(), then: Some(SplitMix64::seeded(text, "choices")) }
    }

    /// An integer in 0 … limit − 1.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.next() as usize % limit
    }

    /// True once in `odds` times; 0 is false.
    pub(super) fn once_in(&mut self, odds: usize) -> bool {
        self.below(odds) == odds - 1
    }

    /// One of these, the first being the simplest.
    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// A generator for the values of an array: many of them cost one choice.
    pub(super) fn values(&mut self) -> SplitMix64 {
        SplitMix64::seeded("random", &self.next().to_string())
    }

    fn next(&mut self) -> u32 {
        let beyond = |then: &mut Option<SplitMix64>| then.as_mut().map_or(0, |then| then.uniform(32) as u32);
        self.listed.next().unwrap_or_else(|| beyond(&mut self.then))
    }
}
