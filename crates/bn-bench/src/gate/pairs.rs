//! Pairs of processes: fresh ones, in turns, until every row is decided.
//!
//! In each pair a row has seven rounds, there and back, so fourteen samples of each side.
//! The fastest is taken. Whatever disturbs a sample, another process or an interrupt, adds
//! to its time and never takes from it, so of fourteen that lie between each other in
//! time the fastest is the code's own. On two processors that others kept busy, the ratio
//! of two equal sides scattered by 3 to 6 % so (once by 13 %), and by 5 to 28 % as the
//! median of the rounds' ratios. (`bn-perf` itself takes the median: it asks what a user
//! gets, and libtorch's threads are not still when its samples end.)

use std::path::Path;
use std::process::Command;

use bn_driver::protocol::Row;

use super::driver::{Driver, DriverError};

/// What a sample lasts at least, in seconds.
const SAMPLE: f64 = 1e-3;
/// Turns of each row in one pair.
const ROUNDS: usize = 7;
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
    /// Seconds per call, of each side's fastest sample.
    pub seconds: Vec<f64>,
    /// For each side after the first, how much slower than the side before it: the ratio
    /// of the two, less 1.
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
    let mut fastest = vec![f64::INFINITY; drivers.len()];
    for _ in 0..ROUNDS {
        for &side in order.iter().chain(order.iter().rev()) {
            let extra = if sides[side].slowed { calls / PARTS } else { 0 };
            let seconds = drivers[side].sample(calls.div_ceil(4), calls, extra)?;
            fastest[side] = fastest[side].min(seconds / calls as f64);
        }
    }
    let slowdowns = fastest.windows(2).map(|pair| pair[1] / pair[0] - 1.0).collect();
    Ok(Turns { seconds: fastest, slowdowns, digests })
}
