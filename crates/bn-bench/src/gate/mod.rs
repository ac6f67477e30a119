//! The gate: is a change slower than its base?
//!
//! The *base* is a commit, the *change* the checkout as it is. Both are built with the same
//! driver ([`sides`]), which links only our engine. Then *pairs* of fresh processes take
//! turns on the rows of a short [`catalogue`] ([`pairs`]), until each row is decided
//! ([`decision`]). A third process runs a second copy of the change, the *control*: whoever
//! finds that one slower or faster than the change has measured the machine, and the gate
//! then gives no verdict.
//!
//! Besides, instructions can be counted ([`instructions`]): they repeat exactly, on any
//! machine, and say nothing of memory. How often the gate is wrong is measured by [`power`].

pub mod catalogue;
pub mod decision;
pub mod driver;
pub mod instructions;
pub mod pairs;
pub mod power;
pub mod sides;
mod table;

use bn_driver::protocol::Row;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::catalogue::Entry;
use self::decision::{ALPHA, Judgement, Rule};
use self::driver::DriverError;
use self::instructions::Counted;
use self::pairs::{Rows, Side, Turns};
use self::sides::Sides;
use crate::machine::Machine;
use crate::statistics::median;
pub use table::table;

/// A slowdown up to this stops nobody.
pub const FLOOR: f64 = 0.03;
/// How many pairs a row may take. Of two equal sides a fifth of the pairs was seen beyond
/// 2 %; with so many pairs a slowdown of 5 % is found all the same.
pub const PAIRS: usize = 81;
/// The control alarms where more than one in so many of its readings lies beyond the
/// floor: about what the rule tolerates of a row's pairs.
const CONTROL_PART: usize = 3;

/// What a gate has found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this form: 1.
    pub gate_version: u32,
    /// When it began, in seconds since 1970.
    pub unix_time: u64,
    /// On what.
    pub machine: Machine,
    /// The base's commit.
    pub base: String,
    /// The change's, with `-dirty` where the checkout differed from it.
    pub change: String,
    /// The test of each row; none where no time was taken.
    pub rule: Option<Rule>,
    /// How sure a row's interval is: 1 − α / rows.
    pub confidence: f64,
    /// One per row of the catalogue.
    pub rows: Vec<Judged>,
    /// Rows that this machine cannot run, for want of processors.
    pub left_out: Vec<Row>,
    /// Instructions of small rows; absent where they were not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<Vec<Counted>>,
    /// What follows.
    pub verdict: Verdict,
}

/// What the gate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// No row is slower by more than the floor, as far as can be told.
    Pass,
    /// A row is.
    Slower,
    /// The control alarmed: the machine is too noisy.
    NoVerdict,
}

/// A row, and what its pairs say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// What was timed.
    #[serde(flatten)]
    pub row: Row,
    /// Seconds per call of the base: the median over pairs.
    pub base_s: f64,
    /// Of the change.
    pub change_s: f64,
    /// Each pair's change / base − 1.
    pub slowdowns: Vec<f64>,
    /// Each pair's copy of the change / change − 1.
    pub control: Vec<f64>,
    /// The median of the slowdowns.
    pub slowdown: f64,
    /// The lower end of its interval, where that can lie beyond the floor.
    pub low: Option<f64>,
    /// Whether base and change gave the same bits. They need not: both are checked elsewhere.
    pub same_bits: bool,
    /// Whether the row is slower.
    pub slower: bool,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// A driver failed.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The change is not even equal to itself.
    #[error("{0}: two processes of the change gave different bits")]
    Unrepeatable(String),
}

/// What one row has gathered so far.
#[derive(Default)]
struct Gathered {
    seconds: [Vec<f64>; 2],
    slowdowns: Vec<f64>,
    control: Vec<f64>,
    same_bits: bool,
}

impl Gathered {
    fn take(&mut self, turns: &Turns) -> bool {
        for (seconds, all) in turns.seconds.iter().zip(&mut self.seconds) {
            all.push(*seconds);
        }
        self.slowdowns.push(turns.slowdowns[0]);
        self.control.push(turns.slowdowns[1]);
        self.same_bits = turns.digests[0] == turns.digests[1];
        turns.digests[1] == turns.digests[2]
    }

    /// Whether more pairs could change anything, for the change or for its control.
    fn open(&self, rule: &Rule) -> bool {
        let faster: Vec<f64> = self.control.iter().map(|slowdown| -slowdown).collect();
        [&self.slowdowns, &self.control, &faster].iter().any(|all| rule.judge(all) == Judgement::Open)
    }

    fn judged(self, row: Row, rule: &Rule) -> Judged {
        Judged {
            row,
            base_s: median(&self.seconds[0]),
            change_s: median(&self.seconds[1]),
            slowdown: median(&self.slowdowns),
            low: rule.low(&self.slowdowns),
            slower: rule.judge(&self.slowdowns) == Judgement::Slower,
            same_bits: self.same_bits,
            slowdowns: self.slowdowns,
            control: self.control,
        }
    }
}

/// Times the sides until each row is decided. `progress` is told how many rows are.
///
/// # Errors
/// [`GateError`].
pub fn compare(
    sides: &Sides,
    entries: &[Entry],
    rule: &Rule,
    mut progress: impl FnMut(usize),
) -> Result<Vec<Judged>, GateError> {
    let three = [&sides.base, &sides.change, &sides.copy].map(|program| Side::of(program));
    let mut gathered: Vec<Gathered> = entries.iter().map(|_| Gathered::default()).collect();
    let mut rows = Rows::new(entries.iter().map(|entry| entry.row.clone()));
    for number in 0..rule.pairs {
        let open: Vec<usize> = (0..entries.len()).filter(|&row| gathered[row].open(rule)).collect();
        progress(entries.len() - open.len());
        if open.is_empty() {
            break;
        }
        let mut unlike = None;
        rows.pair(&three, number, &open, |row, turns| {
            if !gathered[row].take(&turns) {
                unlike = Some(row);
            }
        })?;
        if let Some(row) = unlike {
            return Err(GateError::Unrepeatable(catalogue::name(&entries[row].row)));
        }
    }
    let judged = entries.iter().zip(gathered);
    Ok(judged.map(|(entry, gathered)| gathered.judged(entry.row.clone(), rule)).collect())
}

/// The entries that a machine with so many processors can run, and the rows that it cannot.
pub fn runnable(entries: Vec<Entry>, processors: usize) -> (Vec<Entry>, Vec<Row>) {
    let (here, not): (Vec<Entry>, Vec<Entry>) =
        entries.into_iter().partition(|entry| entry.row.threads <= processors);
    (here, not.into_iter().map(|entry| entry.row).collect())
}

/// How sure the interval of each of so many rows is.
pub fn confidence(rows: usize) -> f64 {
    1.0 - ALPHA / rows.max(1) as f64
}

/// How many readings of the control lie beyond the floor, up or down, and of how many.
pub fn control(rows: &[Judged], rule: &Rule) -> (usize, usize) {
    let readings = || rows.iter().flat_map(|row| &row.control);
    (readings().filter(|reading| reading.abs() > rule.floor).count(), readings().count())
}

/// What follows from the rows and from the instructions. A control that alarms leaves no
/// verdict about time; instructions have no noise.
pub fn verdict(rows: &[Judged], rule: Option<&Rule>, instructions: Option<&[Counted]>) -> Verdict {
    let alarms = |rule: &Rule| {
        let (beyond, of) = control(rows, rule);
        let slower = |row: &Judged| {
            let faster: Vec<f64> = row.control.iter().map(|slowdown| -slowdown).collect();
            [&row.control, &faster].iter().any(|all| rule.judge(all) == Judgement::Slower)
        };
        beyond * CONTROL_PART > of || rows.iter().any(slower)
    };
    if instructions.is_some_and(|rows| rows.iter().any(Counted::more)) {
        Verdict::Slower
    } else if rule.is_some_and(alarms) {
        Verdict::NoVerdict
    } else if rows.iter().any(|row| row.slower) {
        Verdict::Slower
    } else {
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> Rule {
        Rule::new(FLOOR, PAIRS, 8).unwrap()
    }

    fn judged(slowdown: f64, control: &[f64]) -> Judged {
        let mut gathered = Gathered { same_bits: true, ..Gathered::default() };
        for control in control {
            gathered.slowdowns.push(slowdown);
            gathered.control.push(*control);
            gathered.seconds.iter_mut().for_each(|seconds| seconds.push(1e-3));
        }
        gathered.judged(catalogue::catalogue()[0].row.clone(), &rule())
    }

    #[test]
    fn a_row_that_is_slower_by_more_than_the_floor_stops_the_gate() {
        let rows = |slowdown| [judged(0.0, &[0.0; PAIRS]), judged(slowdown, &[0.0; PAIRS])];
        assert_eq!(verdict(&rows(0.02), Some(&rule()), None), Verdict::Pass);
        assert_eq!(verdict(&rows(0.05), Some(&rule()), None), Verdict::Slower);
        assert_eq!(verdict(&rows(-0.5), Some(&rule()), None), Verdict::Pass);
    }

    /// Of 162 readings 54 may lie beyond the floor, and no row's own may agree on it.
    #[test]
    fn a_control_that_alarms_leaves_no_verdict() {
        let with = |beyond: usize, by: f64| {
            let mut control = [0.0; PAIRS];
            control[..beyond].fill(by);
            verdict(&[judged(0.05, &control), judged(0.0, &control)], Some(&rule()), None)
        };
        for by in [0.04, -0.04] {
            assert_eq!(with(27, by), Verdict::Slower);
            assert_eq!(with(28, by), Verdict::NoVerdict);
        }
        // One row alone, among many that are quiet.
        for by in [0.04, -0.04] {
            let mut rows = vec![judged(0.0, &[0.0; PAIRS]); 7];
            rows.push(judged(0.0, &[by; PAIRS]));
            assert_eq!(verdict(&rows, Some(&rule()), None), Verdict::NoVerdict);
        }
    }

    #[test]
    fn instructions_have_the_first_word() {
        let counted = |change| Counted { row: catalogue::counted()[0].clone(), base: 1000, change };
        let noisy = [judged(0.0, &[0.1; PAIRS])];
        assert_eq!(verdict(&noisy, Some(&rule()), Some(&[counted(1011)])), Verdict::Slower);
        assert_eq!(verdict(&noisy, Some(&rule()), Some(&[counted(1010)])), Verdict::NoVerdict);
        assert_eq!(verdict(&[], None, Some(&[counted(1010)])), Verdict::Pass);
    }

    #[test]
    fn a_row_for_more_processors_than_there_are_is_left_out_by_name() {
        let all = catalogue::catalogue();
        let (here, left_out) = runnable(all.clone(), 1);
        assert_eq!(here.len() + left_out.len(), all.len());
        assert!(left_out.iter().all(|row| row.threads == 2) && !left_out.is_empty());
        assert_eq!(runnable(all.clone(), 2), (all, vec![]));
    }
}
