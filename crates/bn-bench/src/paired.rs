//! How contestants are compared on a machine whose speed drifts: in turns.
//!
//! A *sample* is the time of so many calls of one contestant in a row that it lasts a
//! millisecond at least, per call. A *round* has two samples of everyone, there and back:
//!
//! ```text
//! A B B A      of two;      A B C D D C B A      of four
//! ```
//!
//! Whoever takes part, its two samples lie around the middle of the round, so a drift
//! that is linear over the round weighs on all alike and cancels in the round's ratios,
//! (B + B)/(A + A). What changes from round to round cancels as well; a disturbance
//! within one spoils that round, and the median over the rounds passes it by.
//!
//! Before a sample, the contestant makes some calls untimed, its *lead-in*, so that it
//! starts from what it leaves behind itself: the caches, and threads that wait for work.
//! Where the caches are to be cold they are filled with something else instead, and a
//! sample is one call ([`Start`]).
//!
//! Time is what a [`Clock`] says: the system's, or that of a GPU, on which calls are only
//! put in line and done later.

use anyhow::Result;

use crate::axes::Cache;
use crate::machine;

/// No fewer rounds, however long they take.
pub const LEAST_ROUNDS: usize = 5;
/// No more rounds: beyond them the interval hardly narrows.
pub const MOST_ROUNDS: usize = 100;
/// What a sample lasts at least, in seconds: ten thousand times what reading the clock takes.
const SAMPLE: f64 = 1e-3;

/// Something that can be done again and again, and timed.
pub trait Call: Send {
    /// Does it once.
    ///
    /// # Errors
    /// What kept it from being done: a fault of the harness.
    fn call(&mut self) -> Result<()>;
}

/// How long and in which state to measure.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Rounds are made until so many seconds have passed: at least 5, at most 100.
    pub seconds: f64,
    /// What the caches hold when a sample begins.
    pub cache: Cache,
}

/// Two samples per round, in seconds per call.
pub type Rounds = Vec<[f64; 2]>;

/// Tells how much time lies between two places in a series of calls.
pub trait Clock {
    /// A place.
    type Mark;

    /// This place: after the calls so far, before the next one.
    ///
    /// # Errors
    /// If the clock is broken.
    fn mark(&self) -> Result<Self::Mark>;

    /// The seconds between two places. If calls are only put in line, it waits for them.
    ///
    /// # Errors
    /// If the clock is broken, or a call that was put in line has failed.
    fn seconds(&self, from: &Self::Mark, to: &Self::Mark) -> Result<f64>;
}

/// What gives the time in seconds is a clock for calls that are done when they return.
impl<Now: Fn() -> f64> Clock for Now {
    type Mark = f64;

    fn mark(&self) -> Result<f64> {
        Ok(self())
    }

    fn seconds(&self, from: &f64, to: &f64) -> Result<f64> {
        Ok(to - from)
    }
}

/// What happens before a sample.
#[derive(Clone, Copy)]
pub enum Start<'a> {
    /// The contestant's own calls, for so many seconds at least.
    LeadIn(f64),
    /// This, which fills the caches with something else. A sample is one call.
    Evict(&'a dyn Fn()),
}

/// The rounds of each contestant, in their order, until so many seconds have passed.
///
/// # Errors
/// The first of a contestant's calls that fails; a broken clock.
pub fn measure(
    contestants: &mut [&mut dyn Call],
    seconds: f64,
    start: Start<'_>,
    clock: &impl Clock,
) -> Result<Vec<Rounds>> {
    let mut calls = vec![1; contestants.len()];
    for (calls, contestant) in calls.iter_mut().zip(contestants.iter_mut()) {
        contestant.call()?;
        if let Start::LeadIn(_) = start {
            *calls = calls_per_sample(*contestant, clock)?;
        }
    }
    let mut rounds = vec![Rounds::new(); contestants.len()];
    let first = clock.mark()?;
    for round in 0..MOST_ROUNDS {
        if round >= LEAST_ROUNDS && clock.seconds(&first, &clock.mark()?)? >= seconds {
            break;
        }
        for rounds in &mut rounds {
            rounds.push([0.0; 2]);
        }
        for (turn, who) in order(contestants.len()).enumerate() {
            let contestant = &mut *contestants[who];
            match start {
                Start::Evict(evict) => evict(),
                Start::LeadIn(lead_in) => {
                    let begin = clock.mark()?;
                    // A quarter of a sample at a time, or the one call that it is.
                    repeat(contestant, calls[who].div_ceil(4))?;
                    // Without a time to fill, the sample follows while a GPU is still at work.
                    while lead_in > 0.0 && clock.seconds(&begin, &clock.mark()?)? < lead_in {
                        repeat(contestant, calls[who].div_ceil(4))?;
                    }
                }
            }
            let begin = clock.mark()?;
            repeat(contestant, calls[who])?;
            let end = clock.mark()?;
            rounds[who][round][turn / contestants.len()] = clock.seconds(&begin, &end)? / calls[who] as f64;
        }
    }
    Ok(rounds)
}

/// There and back.
fn order(contestants: usize) -> impl Iterator<Item = usize> {
    (0..contestants).chain((0..contestants).rev())
}

/// Makes so many calls in a row.
///
/// # Errors
/// The first that fails.
pub fn repeat(contestant: &mut dyn Call, calls: usize) -> Result<()> {
    (0..calls).try_for_each(|_| contestant.call())
}

/// Doubles the calls until they last a sample, and takes as many as fill it.
fn calls_per_sample(contestant: &mut dyn Call, clock: &impl Clock) -> Result<usize> {
    let mut calls = 1;
    loop {
        let begin = clock.mark()?;
        repeat(contestant, calls)?;
        let seconds = clock.seconds(&begin, &clock.mark()?)?;
        if seconds >= SAMPLE {
            return Ok((calls as f64 * SAMPLE / seconds).ceil() as usize);
        }
        calls *= 2;
    }
}

/// The ratio of each round, of `of` to `to`.
pub fn ratios(of: &[[f64; 2]], to: &[[f64; 2]]) -> Vec<f64> {
    of.iter().zip(to).map(|(of, to)| (of[0] + of[1]) / (to[0] + to[1])).collect()
}

/// The mean of each round, in seconds per call.
pub fn means(rounds: &[[f64; 2]]) -> Vec<f64> {
    rounds.iter().map(|samples| (samples[0] + samples[1]) / 2.0).collect()
}

/// Fills the caches with something else.
pub struct Evictor {
    other: Vec<u64>,
}

impl Default for Evictor {
    fn default() -> Self {
        // Twice the last cache, as it may keep what is used over what streams through.
        Evictor { other: vec![1; 2 * machine::last_cache() / size_of::<u64>()] }
    }
}

impl Evictor {
    /// Reads the buffer on every thread of the pool, so that each core's own caches are
    /// filled too.
    pub fn evict(&self) {
        let line = 64 / size_of::<u64>();
        rayon::broadcast(|_| std::hint::black_box(self.other.iter().step_by(line).sum::<u64>()));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Mutex;

    use anyhow::bail;

    use super::*;
    use crate::statistics::median;

    #[test]
    fn a_round_goes_there_and_back() {
        assert!(order(2).eq([0, 1, 1, 0]));
        assert!(order(4).eq([0, 1, 2, 3, 3, 2, 1, 0]));
    }

    /// A machine whose clock moves only when someone works, and that tires: everything
    /// takes longer by `drift` of itself for each second that has passed.
    struct World {
        time: Mutex<f64>,
        drift: f64,
    }

    impl World {
        fn now(&self) -> f64 {
            *self.time.lock().unwrap()
        }
    }

    struct Worker<'a> {
        world: &'a World,
        seconds: f64,
        calls: usize,
    }

    impl Call for Worker<'_> {
        fn call(&mut self) -> Result<()> {
            self.calls += 1;
            let mut time = self.world.time.lock().unwrap();
            *time += self.seconds * (1.0 + self.world.drift * *time);
            Ok(())
        }
    }

    const WARM: Start<'_> = Start::LeadIn(0.0);

    /// The rounds of two that take so long, and how often each was called.
    fn play(world: &World, seconds: [f64; 2], start: Start<'_>) -> (Vec<Rounds>, [usize; 2]) {
        let [mut a, mut b] = seconds.map(|seconds| Worker { world, seconds, calls: 0 });
        let rounds = measure(&mut [&mut a, &mut b], 0.5, start, &|| world.now()).unwrap();
        (rounds, [a.calls, b.calls])
    }

    #[test]
    fn a_steady_machine_gives_the_times_themselves() {
        let world = World { time: Mutex::new(0.0), drift: 0.0 };
        let (rounds, _) = play(&world, [0.010, 0.025], WARM);
        let (a, b) = (median(&means(&rounds[0])), median(&means(&rounds[1])));
        assert!((a - 0.010).abs() < 1e-12 && (b - 0.025).abs() < 1e-12, "{a} {b}");
        // 4 × 10 ms + 4 × 25 ms a round, each sample after an untimed call.
        assert_eq!(rounds[0].len(), LEAST_ROUNDS);
    }

    /// The machine loses a fifth of its speed in every round; taken in the order A B A B,
    /// A would look faster than it is by a twentieth.
    #[test]
    fn a_drift_cancels() {
        let world = World { time: Mutex::new(0.0), drift: 2.0 };
        let (rounds, _) = play(&world, [0.010, 0.020], WARM);
        let ratio = median(&ratios(&rounds[1], &rounds[0]));
        assert!((ratio - 2.0).abs() < 0.01, "{ratio}");
        let one_way: Vec<f64> = rounds[1].iter().zip(&rounds[0]).map(|(b, a)| b[0] / a[0]).collect();
        assert!(median(&one_way) > 2.05, "the drift is large enough to be seen: {}", median(&one_way));
    }

    #[test]
    fn short_calls_are_timed_by_the_thousand() {
        let world = World { time: Mutex::new(0.0), drift: 0.0 };
        let (rounds, [calls, _]) = play(&world, [1e-6, 0.010], WARM);
        assert!(rounds[0].len() > 5 && calls >= 2 * 1000 * rounds[0].len(), "{calls}");
        assert!((median(&means(&rounds[0])) - 1e-6).abs() < 1e-12);
    }

    #[test]
    fn a_cold_sample_is_one_call_and_nothing_before_it() {
        let world = World { time: Mutex::new(0.0), drift: 0.0 };
        let evicted = Cell::new(0);
        let evict = || evicted.set(evicted.get() + 1);
        let (rounds, calls) = play(&world, [1e-6, 1e-6], Start::Evict(&evict));
        assert_eq!(rounds[0].len(), MOST_ROUNDS);
        assert_eq!(calls, [1 + 2 * MOST_ROUNDS; 2]);
        assert_eq!(evicted.get(), 2 * 2 * MOST_ROUNDS);
    }

    /// A device that does calls when someone waits for them; the host may not wait between a
    /// lead-in and its sample, or the device would.
    struct Queue {
        waits: Cell<usize>,
    }

    impl Clock for Queue {
        type Mark = ();

        fn mark(&self) -> Result<()> {
            Ok(())
        }

        fn seconds(&self, (): &(), (): &()) -> Result<f64> {
            self.waits.set(self.waits.get() + 1);
            Ok(1.0)
        }
    }

    #[test]
    fn a_sample_follows_its_lead_in_without_a_wait() {
        let world = World { time: Mutex::new(0.0), drift: 0.0 };
        let mut a = Worker { world: &world, seconds: 0.004, calls: 0 };
        let queue = Queue { waits: Cell::new(0) };
        measure(&mut [&mut a], 0.0, WARM, &queue).unwrap();
        // One to see how long a call takes, one to see whether it is enough, and one for each sample.
        assert_eq!(queue.waits.get(), 1 + 1 + 2 * LEAST_ROUNDS);
    }

    #[test]
    fn a_lead_in_lasts_as_long_as_is_asked() {
        let world = World { time: Mutex::new(0.0), drift: 0.0 };
        let mut a = Worker { world: &world, seconds: 0.004, calls: 0 };
        measure(&mut [&mut a], 0.0, Start::LeadIn(0.010), &|| world.now()).unwrap();
        // One to begin with, one to see how long a call takes; then 3 before each of two in a round.
        assert_eq!(a.calls, 2 + LEAST_ROUNDS * 2 * (3 + 1));
    }

    struct Broken;

    impl Call for Broken {
        fn call(&mut self) -> Result<()> {
            bail!("refused")
        }
    }

    #[test]
    fn a_call_that_fails_ends_the_measurement() {
        let error = measure(&mut [&mut Broken], 0.5, WARM, &|| 0.0).unwrap_err();
        assert_eq!(error.to_string(), "refused");
    }
}
