//! One row: contestants on one workload, checked, then timed in turns.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::axes::{Cache, Op};
use crate::contestants::{Contestant, Who, enter};
use crate::expected::{Expected, Outside};
use crate::paired::{self, Call, Evictor, Plan, Rounds, Start};
use crate::value::Value;
use crate::workload::Workload;

/// How long a lead-in lasts where there are several threads, in seconds. Those of GNU's
/// OpenMP, which libtorch's are, spin for some 5 ms after their work before they sleep,
/// and whoever comes next would share the processors with them.
const SPIN_OUT: f64 = 10e-3;

/// Where contestants meet: threads of this machine's processor, or a GPU.
pub trait Venue: Sync {
    /// The contestant of that name.
    ///
    /// # Errors
    /// What keeps it from taking part.
    fn enter<'a, T: Value>(
        &self,
        who: Who,
        work: &'a Workload<T>,
        op: Op,
    ) -> Result<Box<dyn Contestant<T> + 'a>>;

    /// Does `work`, with all that the venue has at its service.
    fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R;

    /// Measures contestants in turns.
    ///
    /// # Errors
    /// The first of their calls that fails.
    fn measure(&self, contestants: &mut [&mut dyn Call], plan: Plan) -> Result<Vec<Rounds>>;
}

/// Threads for contestants: a rayon pool for ours, and as many for libtorch.
pub struct Threads {
    pool: ThreadPool,
    count: usize,
}

impl Threads {
    /// `count` threads.
    ///
    /// # Errors
    /// If the system has none left.
    pub fn new(count: usize) -> Result<Threads> {
        let pool = ThreadPoolBuilder::new().num_threads(count).build();
        Ok(Threads { pool: pool.with_context(|| format!("{count} threads"))?, count })
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.count
    }
}

impl Venue for Threads {
    fn enter<'a, T: Value>(
        &self,
        who: Who,
        work: &'a Workload<T>,
        op: Op,
    ) -> Result<Box<dyn Contestant<T> + 'a>> {
        enter(who, work, op)
    }

    /// On one of the threads.
    fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(|| {
            // Both hold for the thread that calls libtorch.
            tch::set_num_threads(self.count as i32);
            let _no_graph = tch::no_grad_guard();
            work()
        })
    }

    fn measure(&self, contestants: &mut [&mut dyn Call], plan: Plan) -> Result<Vec<Rounds>> {
        self.run(|| {
            let begin = Instant::now();
            let clock = || begin.elapsed().as_secs_f64();
            if plan.cache == Cache::Cold {
                let evictor = Evictor::default();
                return paired::measure(contestants, plan.seconds, Start::Evict(&|| evictor.evict()), &clock);
            }
            let lead_in = if self.count > 1 { SPIN_OUT } else { 0.0 };
            paired::measure(contestants, plan.seconds, Start::LeadIn(lead_in), &clock)
        })
    }
}

/// Contestants that have given right results.
pub struct Contest<'a, T: Value> {
    entered: Vec<(Who, Box<dyn Contestant<T> + 'a>)>,
    /// Where a result that is not ours is outside the allowance. Known: libtorch's kernels
    /// for channels last add up a channel's statistics in f32, one value after the other on
    /// each thread, and from n = 10⁵ on that shows.
    pub outside: BTreeMap<Who, String>,
    /// Why cuDNN does not take part: it has not every operation in every dtype.
    pub refused: BTreeMap<Who, String>,
}

impl<'a, T: Value> Contest<'a, T> {
    /// Makes each contestant do the operation once, and checks every element.
    ///
    /// # Errors
    /// One value per channel in training, which has no variance. A wrong result, unless it
    /// is libtorch's or cuDNN's: that is noted in `outside`.
    pub fn new(work: &'a Workload<T>, op: Op, who: &[Who], venue: &impl Venue) -> Result<Self> {
        ensure!(
            !op.trains() || work.per_channel() > 1,
            "expected more than 1 value per channel in training, got the shape {:?}",
            work.shape()
        );
        let expected = Expected::new(work, op);
        let mut contest = Contest { entered: Vec::new(), outside: BTreeMap::new(), refused: BTreeMap::new() };
        for &who in who {
            let entered = venue.run(|| {
                let mut contestant = venue.enter(who, work, op)?;
                contestant.call()?;
                anyhow::Ok(contestant)
            });
            let mut contestant = match entered {
                Err(refusal) if who == Who::Cudnn => {
                    contest.refused.insert(who, first_line(&refusal));
                    continue;
                }
                entered => entered.with_context(|| format!("{who:?}"))?,
            };
            match (who, venue.run(|| contestant.check(&expected))) {
                (_, Ok(())) => {}
                (Who::Libtorch | Who::Cudnn, Err(error)) if error.is::<Outside>() => {
                    contest.outside.insert(who, error.to_string());
                }
                (_, Err(error)) => return Err(error.context(format!("{who:?} on {:?}: {op}", work.shape()))),
            }
            contest.entered.push((who, contestant));
        }
        Ok(contest)
    }

    /// Measures them in turns.
    ///
    /// # Errors
    /// The first of their calls that fails.
    pub fn measure(&mut self, plan: Plan, venue: &impl Venue) -> Result<Vec<(Who, Rounds)>> {
        let (names, mut callers): (Vec<Who>, Vec<&mut dyn Call>) = self.callers().unzip();
        let rounds = venue.measure(&mut callers, plan)?;
        Ok(names.into_iter().zip(rounds).collect())
    }

    /// They themselves, to be timed in another way.
    pub fn callers(&mut self) -> impl Iterator<Item = (Who, &mut dyn Call)> {
        self.entered.iter_mut().map(|(who, contestant)| (*who, contestant.as_mut() as &mut dyn Call))
    }
}

/// libtorch's errors go on with a trace of its own.
fn first_line(error: &anyhow::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
