//! How often the gate is wrong: decisions about two copies of one program.
//!
//! Where both copies are as they are, every row that is called slower is a false alarm.
//! Where one does a twentieth more calls in each sample, every row that is not is a miss;
//! that is asked of the rows that promise it.

use bn_driver::protocol::Row;

use super::catalogue::Entry;
use super::decision::{Judgement, Rule};
use super::driver::DriverError;
use super::pairs::{Rows, Side};
use super::sides::Sides;

/// One row's decisions.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    /// What was timed.
    pub row: Row,
    /// How often it was decided.
    pub runs: usize,
    /// How often it was called slower.
    pub slower: usize,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Power {
    /// How many gates had two equal sides.
    pub equal_runs: usize,
    /// In how many of those a row was called slower.
    pub false_alarms: usize,
    /// The rows of those.
    pub equal: Vec<Tally>,
    /// The rows that promise to find it, with one side slowed.
    pub slowed: Vec<Tally>,
}

/// Runs as many gates of each kind.
///
/// # Errors
/// [`DriverError`].
pub fn measure(
    sides: &Sides,
    entries: &[Entry],
    rule: &Rule,
    [equal_runs, slowed_runs]: [usize; 2],
    mut progress: impl FnMut(),
) -> Result<Power, DriverError> {
    let promising: Vec<&Entry> = entries.iter().filter(|entry| entry.promises).collect();
    let mut power = Power {
        equal_runs,
        false_alarms: 0,
        equal: entries.iter().map(Tally::of).collect(),
        slowed: promising.iter().copied().map(Tally::of).collect(),
    };
    for _ in 0..equal_runs {
        let slower = decide(sides, rule, false, entries.iter())?;
        power.false_alarms += usize::from(slower.contains(&true));
        add(&mut power.equal, &slower);
        progress();
    }
    for _ in 0..slowed_runs {
        let slower = decide(sides, rule, true, promising.iter().copied())?;
        add(&mut power.slowed, &slower);
        progress();
    }
    Ok(power)
}

impl Tally {
    fn of(entry: &Entry) -> Tally {
        Tally { row: entry.row.clone(), runs: 0, slower: 0 }
    }
}

fn add(tallies: &mut [Tally], slower: &[bool]) {
    for (tally, &slower) in tallies.iter_mut().zip(slower) {
        tally.runs += 1;
        tally.slower += usize::from(slower);
    }
}

/// One gate: which rows are slower.
fn decide<'a>(
    sides: &Sides,
    rule: &Rule,
    slowed: bool,
    entries: impl Iterator<Item = &'a Entry>,
) -> Result<Vec<bool>, DriverError> {
    let two = [Side::of(&sides.change), Side { program: &sides.copy, slowed }];
    let mut rows = Rows::new(entries.map(|entry| entry.row.clone()));
    let mut slowdowns = vec![Vec::new(); rows.len()];
    for number in 0..rule.pairs {
        let open: Vec<usize> =
            (0..slowdowns.len()).filter(|&row| rule.judge(&slowdowns[row]) == Judgement::Open).collect();
        if open.is_empty() {
            break;
        }
        rows.pair(&two, number, &open, |row, turns| slowdowns[row].push(turns.slowdowns[0]))?;
    }
    Ok(slowdowns.iter().map(|slowdowns| rule.judge(slowdowns) == Judgement::Slower).collect())
}
