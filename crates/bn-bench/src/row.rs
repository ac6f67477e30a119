//! One row: contestants on one workload, checked, then timed in turns.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::axes::Op;
use crate::contestants::{Contestant, Who, enter};
use crate::expected::{Expected, Outside};
use crate::paired::{self, Call, Plan, Rounds};
use crate::value::Value;
use crate::workload::Workload;

/// How long a lead-in lasts where there are several threads, in seconds. Those of GNU's
/// OpenMP, which libtorch's are, spin for some 5 ms after their work before they sleep,
/// and whoever comes next would share the processors with them.
const SPIN_OUT: f64 = 10e-3;

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

    /// Does `work` on one of the threads, with the others at its service.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(|| {
            // Both hold for the thread that calls libtorch.
            tch::set_num_threads(self.count as i32);
            let _no_graph = tch::no_grad_guard();
            work()
        })
    }
}

/// Contestants that have given right results.
pub struct Contest<'a, T: Value> {
    entered: Vec<(Who, Box<dyn Contestant<T> + 'a>)>,
    /// Where libtorch's result is outside the allowance, if it is. Known: its kernels for
    /// channels last add up a channel's statistics in f32, one value after the other on
    /// each thread, and from n = 10⁵ on that shows.
    pub libtorch_outside: Option<String>,
}

impl<'a, T: Value> Contest<'a, T> {
    /// Makes each contestant do the operation once, and checks every element.
    ///
    /// # Errors
    /// One value per channel in training, which has no variance. A wrong result, unless it
    /// is libtorch's: that is noted in `libtorch_outside`.
    pub fn new(work: &'a Workload<T>, op: Op, who: &[Who], threads: &Threads) -> Result<Self> {
        ensure!(
            !op.trains() || work.per_channel() > 1,
            "expected more than 1 value per channel in training, got the shape {:?}",
            work.shape()
        );
        let expected = Expected::new(work, op);
        let mut contest = Contest { entered: Vec::new(), libtorch_outside: None };
        for &who in who {
            let contestant = threads.run(|| {
                let mut contestant = enter(who, work, op)?;
                contestant.call()?;
                anyhow::Ok(contestant)
            });
            let contestant = contestant.with_context(|| format!("{who:?}"))?;
            match (who, contestant.check(&expected)) {
                (_, Ok(())) => {}
                (Who::Libtorch, Err(error)) if error.is::<Outside>() => {
                    contest.libtorch_outside = Some(error.to_string());
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
    pub fn measure(&mut self, plan: Plan, threads: &Threads) -> Result<Vec<(Who, Rounds)>> {
        let (names, mut callers): (Vec<Who>, Vec<&mut dyn Call>) = self.callers().unzip();
        let lead_in = if threads.count() > 1 { SPIN_OUT } else { 0.0 };
        let rounds = threads.run(|| {
            let begin = Instant::now();
            paired::measure(&mut callers, plan, lead_in, &|| begin.elapsed().as_secs_f64())
        })?;
        Ok(names.into_iter().zip(rounds).collect())
    }

    /// They themselves, to be timed in another way.
    pub fn callers(&mut self) -> impl Iterator<Item = (Who, &mut dyn Call)> {
        self.entered.iter_mut().map(|(who, contestant)| (*who, contestant.as_mut() as &mut dyn Call))
    }
}
