//! Who does what: the work is cut in a fixed way, and rayon's current pool takes
//! the pieces. Where the cuts lie depends on the shape alone, and which thread
//! takes a piece changes nothing of its result.

use std::ops::Range;

/// Elements below which a call stays on its own thread: waking another one costs
/// some microseconds, in which one core gets through as many.
const WORTH_A_THREAD: usize = 1 << 16;

/// Whether other threads help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Team {
    threads: usize,
}

impl Team {
    /// For a call over this many elements: rayon's current pool, if it is worth it.
    pub fn for_elements(count: usize) -> Team {
        Team { threads: if count < WORTH_A_THREAD { 1 } else { rayon::current_num_threads() } }
    }

    /// At most `most` of `count` things at a time, or fewer, so that everyone has some.
    pub fn share(self, count: usize, most: usize) -> usize {
        let each = if self.threads > 1 { count.div_ceil(2 * self.threads) } else { count };
        each.clamp(1, most)
    }

    /// Does both; `first` begins no later than `second`.
    pub fn join<A: Send, B: Send>(
        self,
        first: impl FnOnce() -> A + Send,
        second: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        if self.threads > 1 { rayon::join(first, second) } else { (first(), second()) }
    }

    /// Calls `work` for each stretch of `step` numbers of `range`, those at the end
    /// of the range first: what was read last is still in the cache.
    pub fn each_from_the_end(self, range: Range<usize>, step: usize, work: &(impl Fn(Range<usize>) + Sync)) {
        if range.len() <= step {
            return work(range);
        }
        let middle = range.start + range.len().div_ceil(step) / 2 * step;
        self.join(
            || self.each_from_the_end(middle..range.end, step, work),
            || self.each_from_the_end(range.start..middle, step, work),
        );
    }

    /// Calls `work` for each stretch of `step` channels with their part of `slots`,
    /// which has one for each channel of `range`.
    pub fn each_with<A: Slots>(
        self,
        range: Range<usize>,
        step: usize,
        slots: A,
        work: &(impl Fn(Range<usize>, A) + Sync),
    ) {
        if range.len() <= step {
            return work(range, slots);
        }
        let middle = range.len().div_ceil(step) / 2 * step;
        let (left, right) = slots.split_at(middle);
        let middle = range.start + middle;
        self.join(
            || self.each_with(range.start..middle, step, left, work),
            || self.each_with(middle..range.end, step, right, work),
        );
    }
}

/// Results, one per channel, that can be handed out in parts.
pub trait Slots: Send {
    /// Those before `middle`, and the rest.
    fn split_at(self, middle: usize) -> (Self, Self)
    where
        Self: Sized;
}

impl Slots for () {
    fn split_at(self, _: usize) -> (Self, Self) {
        ((), ())
    }
}

impl<A: Send> Slots for &mut [A] {
    fn split_at(self, middle: usize) -> (Self, Self) {
        self.split_at_mut(middle)
    }
}

impl<A: Slots, B: Slots> Slots for (A, B) {
    fn split_at(self, middle: usize) -> (Self, Self) {
        let ((a, c), (b, d)) = (self.0.split_at(middle), self.1.split_at(middle));
        ((a, b), (c, d))
    }
}
