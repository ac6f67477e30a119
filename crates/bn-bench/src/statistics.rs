//! What many noisy samples say, and how surely: medians, geometric means, and their
//! confidence intervals by the percentile bootstrap.
//!
//! A row has one ratio per round. Its value is their median: a round that was disturbed
//! is an outlier, not an average's tenth. The geometric mean of several rows' medians,
//! each weighted by its layer's count, is a network's value. For the interval, every
//! row's rounds are drawn anew, with repetition, and the same value is computed, two
//! thousand times; the interval holds the middle 95 % of the results. (Efron and
//! Tibshirani, *An Introduction to the Bootstrap*, 1993, §13.3.)

/// How often the rounds are drawn anew.
pub const RESAMPLES: usize = 2000;
/// How often the interval is meant to hold the truth.
pub const CONFIDENCE: f64 = 0.95;
/// The seed of the drawing: an interval is a function of its samples.
const SEED: u64 = 0xb007;

/// A row's share in a geometric mean: how often its layer occurs, and its rounds' ratios.
#[derive(Clone, Copy, Debug)]
pub struct Weighted<'a> {
    /// The weight, by count.
    pub count: usize,
    /// One ratio per round.
    pub ratios: &'a [f64],
}

/// The middle value, or the mean of the middle two.
///
/// # Panics
/// If there is none.
pub fn median(values: &[f64]) -> f64 {
    median_of(&mut values.to_vec())
}

fn median_of(values: &mut [f64]) -> f64 {
    let (middle, odd) = (values.len() / 2, values.len() % 2 == 1);
    let (below, &mut high, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    if odd { high } else { (below.iter().copied().fold(f64::MIN, f64::max) + high) / 2.0 }
}

/// exp(Σ count·ln(value) / Σ count).
///
/// # Panics
/// If there is no value.
pub fn geometric_mean(values: impl IntoIterator<Item = (usize, f64)>) -> f64 {
    let (weights, logs) = values.into_iter().fold((0, 0.0), |(weights, logs), (count, value)| {
        (weights + count, logs + count as f64 * value.ln())
    });
    assert!(weights > 0, "a mean of nothing");
    (logs / weights as f64).exp()
}

/// The interval of the median.
///
/// # Panics
/// If there is no value.
pub fn median_interval(values: &[f64]) -> [f64; 2] {
    bootstrap(&[values], |medians| medians[0])
}

/// The interval of the weighted geometric mean of the rows' medians.
///
/// # Panics
/// If there is no row, or a row without rounds.
pub fn mean_interval(rows: &[Weighted<'_>]) -> [f64; 2] {
    let ratios: Vec<&[f64]> = rows.iter().map(|row| row.ratios).collect();
    bootstrap(&ratios, |medians| {
        geometric_mean(rows.iter().zip(medians).map(|(row, &median)| (row.count, median)))
    })
}

/// The middle 95 % of what `statistic` makes of the rows' medians when each row's values
/// are drawn anew.
fn bootstrap(rows: &[&[f64]], statistic: impl Fn(&[f64]) -> f64) -> [f64; 2] {
    let mut rng = fastrand::Rng::with_seed(SEED);
    let (mut drawn, mut medians) = (Vec::new(), vec![0.0; rows.len()]);
    let mut values: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            for (median, row) in medians.iter_mut().zip(rows) {
                drawn.clear();
                drawn.extend((0..row.len()).map(|_| row[rng.usize(..row.len())]));
                *median = median_of(&mut drawn);
            }
            statistic(&medians)
        })
        .collect();
    values.sort_unstable_by(f64::total_cmp);
    let tail = ((1.0 - CONFIDENCE) / 2.0 * RESAMPLES as f64) as usize;
    [values[tail], values[RESAMPLES - 1 - tail]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_or_the_mean_of_two() {
        assert_eq!(median(&[7.0]), 7.0);
        assert_eq!(median(&[3.0, 100.0, 1.0]), 3.0);
        assert_eq!(median(&[4.0, 1.0, 100.0, 2.0]), 3.0);
    }

    #[test]
    fn a_geometric_mean_weighs_by_count() {
        let mean = geometric_mean([(1, 8.0), (2, 1.0)]);
        assert!((mean - 2.0).abs() < 1e-15, "{mean}");
        // A slowdown and the speedup that undoes it.
        assert!((geometric_mean([(3, 1.25), (3, 0.8)]) - 1.0).abs() < 1e-15);
    }

    /// Ratios around `truth`, skewed as disturbances are: an exponential delay on either side.
    fn noisy(rng: &mut fastrand::Rng, truth: f64, rounds: usize) -> Vec<f64> {
        let mut delay = || 1.0 - 0.05 * (1.0 - rng.f64()).ln();
        (0..rounds).map(|_| truth * delay() / delay()).collect()
    }

    /// Of 95 % promised, at least 92 in a hundred and not all: for a median few rounds
    /// give an interval that is a little short or a little long.
    #[test]
    fn the_interval_holds_the_truth_as_often_as_it_says() {
        let mut rng = fastrand::Rng::with_seed(1);
        for rounds in [9, 20, 51] {
            let trials = 300;
            let held = (0..trials).filter(|_| {
                let ratios = noisy(&mut rng, 4.0, rounds);
                let [low, high] = median_interval(&ratios);
                low <= 4.0 && 4.0 <= high
            });
            let share = held.count() as f64 / f64::from(trials);
            assert!((0.92..=0.99).contains(&share), "{rounds} rounds: {share}");
        }
    }

    #[test]
    fn the_interval_of_a_mean_holds_the_mean_of_the_truths() {
        let mut rng = fastrand::Rng::with_seed(2);
        let truth = geometric_mean([(1, 2.0), (7, 5.0)]);
        let trials = 200;
        let held = (0..trials).filter(|_| {
            let (a, b) = (noisy(&mut rng, 2.0, 15), noisy(&mut rng, 5.0, 15));
            let rows = [Weighted { count: 1, ratios: &a }, Weighted { count: 7, ratios: &b }];
            let [low, high] = mean_interval(&rows);
            low <= truth && truth <= high
        });
        let share = held.count() as f64 / f64::from(trials);
        assert!((0.92..=0.99).contains(&share), "{share}");
    }

    #[test]
    fn the_interval_is_a_function_of_the_samples() {
        let ratios = noisy(&mut fastrand::Rng::with_seed(3), 1.0, 30);
        let [low, high] = median_interval(&ratios);
        assert_eq!(median_interval(&ratios), [low, high]);
        assert!(low < median(&ratios) && median(&ratios) < high);
    }

    #[test]
    fn equal_rounds_leave_no_doubt() {
        assert_eq!(median_interval(&[3.0; 5]), [3.0; 2]);
        let mean = geometric_mean([(2, 3.0), (5, 7.0)]);
        let rows = [Weighted { count: 2, ratios: &[3.0; 5] }, Weighted { count: 5, ratios: &[7.0; 9] }];
        assert_eq!(mean_interval(&rows), [mean; 2]);
    }
}
