//! Pairs of processes: fresh ones, in turns, until every row is decided.

use std::path::Path;
use std::process::Command;

use bn_driver::protocol::Row;

use super::driver::{Driver, DriverError};
use crate::paired::ratios;
use crate::statistics::median;

/// What a sample lasts at least, in seconds.
const SAMPLE: f64 = 1.5e-3;
/// Turns of each row in one pair.
const ROUNDS: usize = 5;
/// Extra calls are a whole number where a slowdown of one in so many is asked for.
const PARTS: usize = 20;

/// One side of a comparison.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// Its driver.
    pub program: &'a Path,
    /// Whether it is to be slower by a twentieth than it is: for trying the gate.
    pub slowed: bool,
}

impl<'a> Side<'a> {
    /// A driver as it is.
    pub fn of(program: &'a Path) -> Side<'a> {
        Side { program, slowed: false }
    }
}

/// What one set of processes, one of each side, has to say of a row.
#[derive(Clone, Debug)]
pub struct Turns {
    /// Seconds per call, one median for each side.
    pub seconds: Vec<f64>,
    /// For each side after the first, how much slower than the side before it: the median
    /// over the rounds of the ratio of times, less 1.
    pub slowdowns: Vec<f64>,
    /// A hash of each side's result.
    pub digests: Vec<String>,
}

/// Rows, and how many calls make a sample of each, once that is known.
pub struct Rows {
    rows: Vec<(Row, Option<usize>)>,
}

impl Rows {
    /// Of a catalogue.
    pub fn new(rows: impl IntoIterator<Item = Row>) -> Rows {
        Rows { rows: rows.into_iter().map(|row| (row, None)).collect() }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Starts a process of each side and lets them take turns on the rows whose numbers
    /// `wanted` has. `number` is the pair's: the sides start in their order, or backwards
    /// where it is odd. Each row's result goes to `note`.
    ///
    /// # Errors
    /// [`DriverError`].
    pub fn pair(
        &mut self,
        sides: &[Side<'_>],
        number: usize,
        wanted: &[usize],
        mut note: impl FnMut(usize, Turns),
    ) -> Result<(), DriverError> {
        let mut order: Vec<usize> = (0..sides.len()).collect();
        if number % 2 == 1 {
            order.reverse();
        }
        let mut drivers: Vec<Option<Driver>> = sides.iter().map(|_| None).collect();
        for &side in &order {
            let program = sides[side].program;
            drivers[side] = Some(Driver::start(program, &mut Command::new(program))?);
        }
        let mut drivers: Vec<Driver> = drivers.into_iter().flatten().collect();
        for &index in wanted {
            let (row, calls) = &mut self.rows[index];
            note(index, take_turns(row, calls, sides, &mut drivers, &order)?);
        }
        drivers.into_iter().try_for_each(Driver::end)
    }
}

fn take_turns(
    row: &Row,
    calls: &mut Option<usize>,
    sides: &[Side<'_>],
    drivers: &mut [Driver],
    order: &[usize],
) -> Result<Turns, DriverError> {
    let mut digests = vec![String::new(); drivers.len()];
    for &side in order {
        digests[side] = drivers[side].prepare(row)?;
    }
    let slowed = sides.iter().any(|side| side.slowed);
    let calls = match *calls {
        Some(calls) => calls,
        None => *calls.insert(drivers[order[0]].calibrate(SAMPLE, if slowed { PARTS } else { 1 })?),
    };
    let mut rounds = vec![Vec::new(); drivers.len()];
    for _ in 0..ROUNDS {
        let mut samples = vec![[0.0; 2]; drivers.len()];
        for (turn, &side) in order.iter().chain(order.iter().rev()).enumerate() {
            let extra = if sides[side].slowed { calls / PARTS } else { 0 };
            let seconds = drivers[side].sample(calls.div_ceil(4), calls, extra)?;
            samples[side][turn / order.len()] = seconds / calls as f64;
        }
        for (rounds, sample) in rounds.iter_mut().zip(samples) {
            rounds.push(sample);
        }
    }
    let slowdown = |pair: &[Vec<[f64; 2]>]| median(&ratios(&pair[1], &pair[0])) - 1.0;
    Ok(Turns {
        seconds: rounds.iter().map(|rounds| median(&crate::paired::means(rounds))).collect(),
        slowdowns: rounds.windows(2).map(slowdown).collect(),
        digests,
    })
}
