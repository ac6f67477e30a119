use super::*;
use crate::forward::Statistics;
use ndarray::Array2;

/// 2⁻⁵³, the largest relative error of one rounding in f64.
const U: f64 = f64::EPSILON / 2.0;

/// Integers in units of `unit`: what they are, and what is exactly true of them.
struct Exact {
    values: Vec<i64>,
    unit: f64,
    sum: i128,
    /// n·Σ(x − mean)² = n·Σx² − (Σx)², an integer: nothing cancels in it.
    n_m2: i128,
}

impl Exact {
    fn new(values: Vec<i64>, unit: f64) -> Self {
        let n = values.len() as i128;
        let sum: i128 = values.iter().map(|&v| i128::from(v)).sum();
        let squares: i128 = values.iter().map(|&v| i128::from(v) * i128::from(v)).sum();
        Exact { n_m2: n * squares - sum * sum, values, unit, sum }
    }

    fn n(&self) -> f64 {
        self.values.len() as f64
    }

    /// Correct to 2 roundings (i128 to f64, and a division); a power of 2 adds none.
    fn var_biased(&self) -> f64 {
        self.n_m2 as f64 / (self.n() * self.n()) * self.unit * self.unit
    }

    fn deviation(&self, value: i64) -> f64 {
        (self.values.len() as i128 * i128::from(value) - self.sum) as f64 / self.n() * self.unit
    }

    fn measured<T: Element>(&self) -> Moments {
        let value = |&v: &i64| T::from_f64(v as f64 * self.unit);
        let column = Array2::from_shape_vec((self.values.len(), 1), self.values.iter().map(value).collect());
        moments(column.unwrap().view()).unwrap()[0]
    }
}

/// An integer noise of standard deviation about `spread`: uniform would do,
/// but a sum of four is nearer to what activations look like.
fn noise(count: usize, spread: i64, mean: i64) -> Vec<i64> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut uniform = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 20) as i64 % (2 * spread + 1) - spread
    };
    (0..count).map(|_| mean + (0..4).map(|_| uniform()).sum::<i64>() * 7 / 8).collect()
}

/// Inputs on which one-pass, f32 or plain f64 sums fail; integers that f32
/// holds (24 bits) where `f32` is set.
fn hard() -> Vec<(&'static str, bool, Vec<i64>)> {
    let mut outlier = vec![3; 2000];
    outlier[1234] = 10_000_000;
    let mut nearly_constant = vec![1 << 40; 999];
    nearly_constant.push((1 << 40) + 1);
    vec![
        ("around 0", true, noise(2048, 1000, 0)),
        ("mean 100 deviations away", true, noise(2048, 1000, 100_000)),
        ("mean 10⁴ deviations away", true, noise(2048, 100, 1_000_000)),
        ("mean 10⁶ deviations away", true, noise(2048, 8, 8_000_000)),
        ("mean 10¹¹ deviations away", false, noise(2048, 8, 1 << 40)),
        ("one outlier", true, outlier),
        ("constant but for one", false, nearly_constant),
        ("n of 4 million", true, noise(1 << 22, 1000, 10_000)),
        ("two values", true, vec![1, 2]),
    ]
}

/// Var: d = x − m₀ has 1 rounding, its square 2·1 + 1, the sum 1 where it is
/// compensated and 19 where not (see `sum`), minus D²/n and ÷ n 2 more; the
/// reference has 2. D²/n is at most n·ulp(mean)², far below M2.
#[test]
fn variances_are_within_their_roundings_of_the_exact_ones() {
    for (name, fits_f32, values) in hard() {
        let exact = Exact::new(values, 2f64.powi(-9));
        let check = |dtype: &str, got: f64, roundings: f64| {
            let off = (got - exact.var_biased()).abs() / exact.var_biased();
            assert!(off <= roundings * U, "{name} in {dtype}: var_biased off by {} roundings", off / U);
        };
        check("f64", exact.measured::<f64>().var_biased(), 3.0 + 1.0 + 2.0 + 2.0);
        if fits_f32 {
            check("f32", exact.measured::<f32>().var_biased(), 3.0 + 19.0 + 2.0 + 2.0);
        }
    }
}

/// x − mean: two subtractions, each rounding at the size of the deviation or of
/// the residue (an ulp of the mean or less). The mean is off by what its terms
/// x − m₀ lost, 1 rounding of each; plain sums (f32) lose 19 more.
#[test]
fn deviations_are_exact_relative_to_themselves_not_to_the_mean() {
    for (name, fits_f32, values) in hard() {
        let exact = Exact::new(values, 2f64.powi(-9));
        let largest = exact.values.iter().map(|&v| exact.deviation(v).abs()).fold(0.0, f64::max);
        let residue = exact.sum as f64 / exact.n() * exact.unit * f64::EPSILON;
        let check = |dtype: &str, moments: Moments, of_mean: f64| {
            let statistics = Statistics::from_moments(&moments, 1e-5);
            for &value in &exact.values {
                let got = statistics.deviation(value as f64 * exact.unit);
                let expected = exact.deviation(value);
                let bound = 4.0 * U * expected.abs() + 4.0 * U * residue.abs() + of_mean;
                assert!((got - expected).abs() <= bound, "{name} in {dtype}: {got:e} for {expected:e}");
            }
        };
        check("f64", exact.measured::<f64>(), U * largest);
        if fits_f32 {
            check("f32", exact.measured::<f32>(), 20.0 * U * largest);
        }
    }
}

#[test]
fn equal_values_have_variance_0_and_no_deviation() {
    for value in [0.1, 7.3, -1.0 / 3.0, 1e300, f64::MAX, 5e-324] {
        for n in [2, 3, 7, 100, 129, 1000] {
            let moments = moments(Array2::from_elem((n, 1), value).view()).unwrap()[0];
            assert_eq!((moments.mean(), moments.var_biased()), (value, 0.0), "{n} × {value:e}");
            assert_eq!(Statistics::from_moments(&moments, 1e-5).deviation(value), 0.0, "{n} × {value:e}");
        }
    }
}

/// Equal values of about 10⁻¹⁴⁶ whose mean rounds: each d² is below the smallest
/// subnormal and vanishes, while D²/n does not.
#[test]
fn squares_that_vanish_make_no_negative_variance() {
    for k in -495..-475 {
        for value in [0.1, 2.7, 5.9, 7.3].map(|value| value * 2f64.powi(k)) {
            for n in [3, 6, 9, 13] {
                let moments = moments(Array2::from_elem((n, 1), value).view()).unwrap()[0];
                assert!(moments.m2 >= 0.0, "{n} × {value:e}: {:e}", moments.m2);
            }
        }
    }
}

/// f32 squares never leave f64; f64 squares do, and the scale brings them back.
#[test]
fn huge_values_have_finite_statistics() {
    let huge = |exact: &Exact, moments: Moments| {
        let statistics = Statistics::from_moments(&moments, 1e-5);
        for &value in &exact.values {
            // 6 more roundings than the deviation's: var 8/2, √, ÷, ·.
            let got = statistics.deviation(value as f64 * exact.unit) * statistics.per_deviation();
            let std = (exact.n_m2 as f64).sqrt() / exact.n() * exact.unit;
            let expected = exact.deviation(value) / std;
            assert!((got - expected).abs() <= 32.0 * U * expected.abs(), "{got} for {expected}");
        }
    };
    let f32_range = Exact::new(noise(500, 1000, 0), 2f64.powi(100));
    huge(&f32_range, f32_range.measured::<f32>());
    let f64_range = Exact::new(noise(500, 1000, 5000), 2f64.powi(1000));
    huge(&f64_range, f64_range.measured::<f64>());
    let statistics = Statistics::from_moments(&f64_range.measured::<f64>(), 1e-5);
    assert_eq!(statistics.mean(), f64_range.measured::<f64>().mean());
    assert_eq!(statistics.invstd(), statistics.per_deviation() * SMALL, "of the values as they came");
    assert_eq!(f64_range.measured::<f64>().var_biased(), f64::INFINITY, "10⁶⁰⁰ is no f64");
    assert!(f64_range.measured::<f64>().mean().is_finite());
}

/// ±a with a ≈ 2⁵⁰², 2²⁰ times: a² is an f64, their sum is not. At the scale the
/// squares are far above the smallest normal f64, and the answer is at none.
#[test]
fn a_variance_that_only_the_sum_of_squares_exceeds_is_exact_to_its_roundings() {
    let a = 1.1 * 2f64.powi(502);
    let count = 1 << 20;
    let values = Array2::from_shape_fn((count, 1), |(row, _)| if row % 2 == 0 { a } else { -a });
    let measured = moments(values.view()).unwrap()[0];
    assert_eq!((measured.scale, measured.mean()), (SMALL, 0.0));
    for (got, exact) in [
        (measured.var_biased(), a * a),
        (measured.var_unbiased(), a * a * (count as f64 / (count as f64 - 1.0))),
    ] {
        assert!((got / exact - 1.0).abs() <= 8.0 * U, "{got:e} for {exact:e}");
    }
}

/// Values ±2⁵¹² have the variance 2¹⁰²⁴, which no f64 holds, and eps = 2¹⁰²³ beside
/// it: x̂ = ±1/√1.5, after one rounding each of the root and the quotient.
#[test]
fn eps_counts_beside_a_variance_that_no_f64_holds() {
    let value = 2f64.powi(512);
    let moments = moments(Array2::from_shape_vec((2, 1), vec![value, -value]).unwrap().view()).unwrap()[0];
    let statistics = Statistics::from_moments(&moments, 2f64.powi(1023));
    let got = statistics.deviation(value) * statistics.per_deviation();
    assert!((got - 1.0 / 1.5f64.sqrt()).abs() <= 4.0 * U, "{got}");
}

#[test]
fn an_infinite_value_leaves_the_mean_infinite_and_the_variance_nan() {
    let of = |values: [f64; 3]| {
        moments(Array2::from_shape_vec((3, 1), values.to_vec()).unwrap().view()).unwrap()[0]
    };
    let infinite = of([1.0, f64::NEG_INFINITY, 2.0]);
    assert_eq!(infinite.mean(), f64::NEG_INFINITY);
    assert!(infinite.var_biased().is_nan());
    assert!(of([f64::INFINITY, f64::NEG_INFINITY, 2.0]).mean().is_nan());
    assert!(of([1.0, f64::NAN, 2.0]).mean().is_nan());
}

/// A merge rounds the difference of the means (3 roundings of at most the
/// range), and M2 about 6 times; 3 merges here, and the parts' own 8.
#[test]
fn merged_parts_are_the_whole_in_any_grouping() {
    for (name, _, values) in hard() {
        let exact = Exact::new(values, 2f64.powi(-9));
        let part =
            |range: Range<usize>| Exact::new(exact.values[range].to_vec(), exact.unit).measured::<f64>();
        let n = exact.values.len();
        let (third, half) = (1.max(n / 3), 1.max(n / 2));
        let (a, b, c, d) = (part(0..1), part(1..third), part(third..half), part(half..n));
        for merged in [
            a.merge(&b).merge(&c).merge(&d),
            a.merge(&b.merge(&c.merge(&d))),
            d.merge(&Moments::default()).merge(&b).merge(&a.merge(&c)),
        ] {
            assert_eq!(merged.count(), n);
            let off = (merged.var_biased() - exact.var_biased()).abs() / exact.var_biased();
            assert!(off <= (8.0 + 3.0 * 6.0) * U, "{name}: off by {} roundings", off / U);
            // The mean, too, is kept in more than an f64: it is off by roundings of the
            // range, 1 for the parts' own and 3 for each merge, not by any of its size.
            let range = exact.values.iter().max().unwrap() - exact.values.iter().min().unwrap();
            let first = exact.values[0];
            let statistics = Statistics::from_moments(&merged, 1e-5);
            let off = statistics.deviation(first as f64 * exact.unit) - exact.deviation(first);
            assert!(
                off.abs() <= (3.0 + 1.0 + 3.0 * 3.0) * U * range as f64 * exact.unit,
                "{name}: mean off by {off:e}"
            );
        }
    }
}

#[test]
fn merging_with_nothing_changes_nothing() {
    let nothing = Moments::default();
    for (name, _, values) in hard() {
        let moments = Exact::new(values, 2f64.powi(-9)).measured::<f64>();
        assert_eq!((moments.merge(&nothing), nothing.merge(&moments)), (moments, moments), "{name}");
    }
    assert_eq!(nothing.merge(&nothing), nothing);
}

#[test]
fn parts_at_different_scales_merge() {
    let (small, huge) = (Exact::new(vec![1, 2, 3], 1.0), Exact::new(vec![-3, 5], 2f64.powi(1000)));
    let merged = small.measured::<f64>().merge(&huge.measured::<f64>());
    // Beside 2¹⁰⁰⁰ the small ones are three zeros: mean 2/5, M2 34 − 4/5.
    assert!((merged.mean() / 2f64.powi(1000) - 0.4).abs() <= 4.0 * U);
    let statistics = Statistics::from_moments(&merged, 1e-5);
    let expected = -0.4 / (33.2f64 / 5.0).sqrt();
    let got = statistics.deviation(1.0) * statistics.per_deviation();
    assert!((got - expected).abs() <= 32.0 * U, "{got} for {expected}");
    // Two parts that are fine alone and whose distance overflows when squared.
    let (low, high) = (Exact::new(vec![-3, -3], 2f64.powi(900)), Exact::new(vec![3, 3], 2f64.powi(900)));
    let merged = low.measured::<f64>().merge(&high.measured::<f64>());
    let statistics = Statistics::from_moments(&merged, 1e-5);
    assert_eq!(statistics.deviation(3.0 * 2f64.powi(900)) * statistics.per_deviation(), 1.0);
    // And two whose means need both numbers, and whose own deviations count.
    let part = |values: &[i64]| Exact::new(values.to_vec(), 2f64.powi(510));
    let merged = part(&[-3, -3, -4]).measured::<f64>().merge(&part(&[3, 3, 4]).measured::<f64>());
    let statistics = Statistics::from_moments(&merged, 1e-5);
    let got = statistics.deviation(4.0 * 2f64.powi(510)) * statistics.per_deviation();
    let expected = 4.0 / (68.0f64 / 6.0).sqrt();
    assert!((got - expected).abs() <= 32.0 * U, "{got} for {expected}");
}
