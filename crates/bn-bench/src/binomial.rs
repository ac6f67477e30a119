//! How likely so many successes are, exactly: the sign test, and the interval of a rate.

/// P(X ≥ `least`) of `trials` that each succeed with probability `p`.
///
/// ```text
/// Σ over k ≥ least of C(trials, k)·p^k·(1 − p)^(trials − k)
/// ```
pub fn tail(trials: usize, least: usize, p: f64) -> f64 {
    if least == 0 {
        return 1.0;
    }
    let mut log_choose = 0.0;
    let mut sum = 0.0;
    for k in 0..=trials {
        if k > 0 {
            log_choose += ((trials - k + 1) as f64 / k as f64).ln();
        }
        if k >= least {
            sum += (log_choose + power(p, k) + power(1.0 - p, trials - k)).exp();
        }
    }
    f64::min(sum, 1.0)
}

/// ln(base^exponent), where 0^0 is 1.
fn power(base: f64, exponent: usize) -> f64 {
    if exponent == 0 { 0.0 } else { exponent as f64 * base.ln() }
}

/// The exact interval of a rate at 95 %: those p for which neither as many successes or
/// more, nor as many or fewer, have a probability below 2.5 %. (Clopper and Pearson,
/// *Biometrika* 26, 1934.)
///
/// # Panics
/// If there are more successes than trials.
pub fn clopper_pearson(successes: usize, trials: usize) -> [f64; 2] {
    assert!(successes <= trials, "{successes} of {trials}");
    let half = 0.025;
    let low = if successes == 0 { 0.0 } else { root(|p| tail(trials, successes, p) - half) };
    let high =
        if successes == trials { 1.0 } else { root(|p| tail(trials, successes + 1, p) - (1.0 - half)) };
    [low, high]
}

/// Where a function that grows from below 0 to above 0 crosses it, in [0, 1].
fn root(f: impl Fn(f64) -> f64) -> f64 {
    let [mut low, mut high] = [0.0, 1.0];
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if f(middle) < 0.0 { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_counted() {
        // Of the 32 ways that five coins fall, 6 have at least four heads.
        assert!((tail(5, 4, 0.5) - 6.0 / 32.0).abs() < 1e-12);
        assert!((tail(21, 17, 0.5) - 7547.0 / 2_097_152.0).abs() < 1e-12);
        assert_eq!(tail(7, 0, 0.3), 1.0);
        assert_eq!(tail(7, 7, 1.0), 1.0);
        assert_eq!(tail(7, 1, 0.0), 0.0);
    }

    /// Where all or none succeed, the other end has a closed form: p^n = 0.025.
    #[test]
    fn the_interval_of_a_rate_is_known() {
        let [low, high] = clopper_pearson(0, 200);
        assert_eq!(low, 0.0);
        assert!((high - (1.0 - 0.025f64.powf(1.0 / 200.0))).abs() < 1e-12, "{high}");
        let [low, high] = clopper_pearson(60, 60);
        assert!((low - 0.025f64.powf(1.0 / 60.0)).abs() < 1e-12, "{low}");
        assert_eq!(high, 1.0);
        // Worked out once in fractions, by halving.
        let [low, high] = clopper_pearson(57, 60);
        assert!((low - 0.860756753).abs() < 1e-8 && (high - 0.989567670).abs() < 1e-8, "{low} {high}");
    }
}
