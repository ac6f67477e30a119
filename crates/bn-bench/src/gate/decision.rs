//! When a row counts as slower: a sign test against the floor, over pairs of processes.
//!
//! A *pair* is one fresh process of each side; its *slowdown* is the change's time over
//! the base's, less 1, each of the fastest of its samples. Within a pair the samples share
//! what the two processes were given when they started, the places of their memory above
//! all: an interval over them is too narrow. So the pair is the unit, and all that is asked of it is whether its
//! slowdown lies beyond the floor.
//!
//! If the median slowdown of pairs were the floor or less, then of `pairs` pairs
//!
//! ```text
//! P(at least pairs − tolerated beyond the floor) ≤ Σ over k ≤ tolerated of C(pairs, k) / 2^pairs
//! ```
//!
//! whatever the distribution of the noise. `tolerated` is the largest number that keeps
//! this below α / rows, with α = 5 % for the whole gate (Bonferroni). The same in other
//! words: the (tolerated + 1)-th smallest slowdown is the lower end of a one-sided
//! confidence interval of the median, and the row is slower when that lies beyond the
//! floor. (Holm's correction would let later rows pass with less proof, but then a row's
//! interval would hang on the other rows; the first row to be slower gains nothing.)
//!
//! The verdict can be known early: with more than `tolerated` pairs not beyond the floor
//! the row cannot become slower, with `pairs − tolerated` beyond it nothing can save it.
//! To stop there changes no verdict, and so no error rate.

use serde::{Deserialize, Serialize};

use crate::binomial;

/// How often the whole gate may call a row slower that is at the floor.
pub const ALPHA: f64 = 0.05;

/// The test of every row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Slowdowns up to this are nobody's business: 0.03 is 3 %.
    pub floor: f64,
    /// How many pairs a verdict may take.
    pub pairs: usize,
    /// How many of them may lie within the floor where the row is slower.
    pub tolerated: usize,
}

/// A rule that could never call anything slower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pairs} pairs cannot decide about {rows} rows: at least {needed} are needed")]
pub struct TooFewPairs {
    /// As many as were asked for.
    pub pairs: usize,
    /// As many rows share α.
    pub rows: usize,
    /// So many would do.
    pub needed: usize,
}

/// What is known of a row after some pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Its interval lies beyond the floor.
    Slower,
    /// Its interval cannot come to lie beyond the floor.
    WithinFloor,
    /// More pairs are needed.
    Open,
}

impl Rule {
    /// The rule for so many rows.
    ///
    /// # Errors
    /// [`TooFewPairs`].
    pub fn new(floor: f64, pairs: usize, rows: usize) -> Result<Rule, TooFewPairs> {
        let level = ALPHA / rows.max(1) as f64;
        let tolerable = |&tolerated: &usize| binomial::tail(pairs, pairs - tolerated, 0.5) <= level;
        match (0..pairs).take_while(tolerable).last() {
            Some(tolerated) => Ok(Rule { floor, pairs, tolerated }),
            // All of them beyond the floor: 2^−pairs ≤ level.
            None => Err(TooFewPairs { pairs, rows, needed: (-level.log2()).ceil() as usize }),
        }
    }

    /// What the slowdowns of some pairs say.
    pub fn judge(&self, slowdowns: &[f64]) -> Judgement {
        let beyond = self.beyond(slowdowns);
        if beyond >= self.pairs - self.tolerated {
            Judgement::Slower
        } else if slowdowns.len() - beyond > self.tolerated {
            Judgement::WithinFloor
        } else {
            Judgement::Open
        }
    }

    /// How many lie beyond the floor.
    pub fn beyond(&self, slowdowns: &[f64]) -> usize {
        slowdowns.iter().filter(|&&slowdown| slowdown > self.floor).count()
    }

    /// The lower end of the median's interval, as far as it is known: pairs that were not
    /// needed count as −∞, and with too many of these there is none.
    pub fn low(&self, slowdowns: &[f64]) -> Option<f64> {
        let missing = self.pairs.saturating_sub(slowdowns.len());
        let mut sorted = slowdowns.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted.get(self.tolerated.checked_sub(missing)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use super::super::{FLOOR, PAIRS};

    fn rule() -> Rule {
        Rule::new(FLOOR, PAIRS, 8).unwrap()
    }

    #[test]
    fn more_rows_ask_for_more_agreement() {
        // 1/32 < 5 %; 6/32 is not.
        assert_eq!(Rule::new(FLOOR, 5, 1).unwrap().tolerated, 0);
        assert_eq!(Rule::new(FLOOR, 21, 1).unwrap().tolerated, 6);
        assert_eq!(Rule::new(FLOOR, 21, 8).unwrap().tolerated, 4);
        assert_eq!(rule().tolerated, 28);
        assert_eq!(Rule::new(FLOOR, 21, 100).unwrap().tolerated, 2);
        let refusal = Rule::new(FLOOR, 7, 8).unwrap_err();
        assert_eq!(refusal, TooFewPairs { pairs: 7, rows: 8, needed: 8 });
        assert_eq!(Rule::new(FLOOR, refusal.needed, 8).unwrap().tolerated, 0);
        assert!(Rule::new(FLOOR, 0, 1).is_err());
    }

    /// The error is as large as is promised and not larger, by counting all outcomes.
    #[test]
    fn at_the_floor_the_level_is_kept_exactly() {
        for (pairs, rows) in [(5, 1), (8, 8), (11, 3), (15, 8)] {
            let rule = Rule::new(FLOOR, pairs, rows).unwrap();
            let slower = (0u32..1 << pairs).filter(|outcome| {
                let slowdowns: Vec<f64> =
                    (0..pairs).map(|pair| if outcome >> pair & 1 == 1 { 0.04 } else { 0.02 }).collect();
                rule.judge(&slowdowns) == Judgement::Slower
            });
            let error = slower.count() as f64 / f64::from(1u32 << pairs);
            assert!(error <= ALPHA / rows as f64, "{pairs} pairs, {rows} rows: {error}");
            assert!(Rule { tolerated: rule.tolerated + 1, ..rule }.tolerated_error() > ALPHA / rows as f64);
        }
    }

    impl Rule {
        fn tolerated_error(&self) -> f64 {
            binomial::tail(self.pairs, self.pairs - self.tolerated, 0.5)
        }
    }

    #[test]
    fn stopping_early_changes_no_verdict() {
        let rule = Rule::new(FLOOR, 9, 1).unwrap();
        assert_eq!(rule.tolerated, 1);
        for outcome in 0u32..1 << 9 {
            let slowdowns: Vec<f64> =
                (0..9).map(|pair| if outcome >> pair & 1 == 1 { 0.05 } else { 0.0 }).collect();
            let whole = rule.judge(&slowdowns);
            assert_ne!(whole, Judgement::Open);
            let early = (0..=9).map(|n| rule.judge(&slowdowns[..n])).find(|known| *known != Judgement::Open);
            assert_eq!(early, Some(whole));
        }
    }

    #[test]
    fn the_interval_lies_beyond_the_floor_where_the_row_is_slower() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..200 {
            let slowdowns: Vec<f64> = (0..PAIRS).map(|_| 0.02 + 0.03 * rng.f64()).collect();
            let slower = rule().judge(&slowdowns) == Judgement::Slower;
            assert_eq!(rule().low(&slowdowns).unwrap() > FLOOR, slower, "{slowdowns:?}");
        }
        assert_eq!(rule().low(&[0.05; 52]), None);
        assert_eq!(rule().low(&[0.05; 53]), Some(0.05));
    }

    /// What is seen on a shared machine: samples with a normal jitter of 1 % and a drift;
    /// every third disturbed by up to half of its time; and for each pair a bias, mostly below
    /// 2.4 %, for the places in memory and whatever else lasts as long as a process.
    fn pair(rng: &mut fastrand::Rng, slowdown: f64) -> f64 {
        fn normal(rng: &mut fastrand::Rng) -> f64 {
            (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0
        }
        let bias = 0.024 * normal(rng);
        let drift = 0.01 * normal(rng);
        let [mut base, mut change] = [f64::INFINITY; 2];
        for turn in 0..28 {
            let disturbed = if rng.u32(..3) == 0 { 0.5 * rng.f64() } else { 0.0 };
            let noise = 1.0 + 0.01 * normal(rng) + disturbed + drift * f64::from(turn) / 28.0;
            // A B B A.
            if matches!(turn % 4, 0 | 3) {
                base = base.min(noise);
            } else {
                change = change.min(noise * (1.0 + slowdown + bias));
            }
        }
        change / base - 1.0
    }

    /// A gate's row, judged as pairs come in.
    fn verdict(rng: &mut fastrand::Rng, rule: &Rule, slowdown: f64) -> Judgement {
        let mut slowdowns = Vec::new();
        loop {
            slowdowns.push(pair(rng, slowdown));
            match rule.judge(&slowdowns) {
                Judgement::Open => {}
                known => return known,
            }
        }
    }

    #[test]
    fn an_unchanged_row_alarms_in_none_of_ten_thousand() {
        let mut rng = fastrand::Rng::with_seed(2);
        let alarms = (0..10_000).filter(|_| verdict(&mut rng, &rule(), 0.0) == Judgement::Slower);
        assert_eq!(alarms.count(), 0);
    }

    #[test]
    fn a_slowdown_of_five_percent_is_found_in_ninety_five_of_a_hundred() {
        let mut rng = fastrand::Rng::with_seed(3);
        let found = (0..10_000).filter(|_| verdict(&mut rng, &rule(), 0.05) == Judgement::Slower).count();
        assert!(found >= 9_500, "{found}");
    }

    /// Two percent is below the floor: nobody shall be stopped by it.
    #[test]
    fn a_slowdown_within_the_floor_alarms_less_often_than_is_promised() {
        let mut rng = fastrand::Rng::with_seed(4);
        let alarms = (0..10_000).filter(|_| verdict(&mut rng, &rule(), 0.02) == Judgement::Slower).count();
        assert!(alarms as f64 <= ALPHA / 8.0 * 10_000.0, "{alarms}");
    }
}
