//! Where an axis begins and ends, where its ticks are, and what stands beside them.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use super::Scale;

/// Beyond it, differences and powers of ten would leave f64.
const LARGEST: f64 = 1e100;

/// An axis that is a little longer than its numbers need.
#[derive(Clone, Debug)]
pub struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    /// Where its ticks are.
    pub ticks: Vec<f64>,
    /// Between two ticks of an axis that is not logarithmic.
    step: f64,
}

/// Whether an axis of this scale has a place for the number.
pub fn has_place(value: f64, scale: Scale) -> bool {
    match scale {
        Scale::Log10 | Scale::Bytes => (1.0 / LARGEST..=LARGEST).contains(&value),
        _ => value.abs() <= LARGEST,
    }
}

impl Axis {
    /// For those of the numbers that have a place, with at most so many ticks.
    pub fn new(values: impl Iterator<Item = f64>, scale: Scale, most_ticks: usize) -> Axis {
        let (low, high) = values
            .filter(|value| has_place(*value, scale))
            .fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = if low > high { (1.0, 2.0) } else { with_room(low, high, scale) };
        let (ticks, step) = match scale {
            Scale::Log10 | Scale::Bytes => log_ticks(low, high, most_ticks),
            Scale::Whole => even_ticks(low, high, 1.0, most_ticks),
            _ => even_ticks(low, high, 0.0, most_ticks),
        };
        Axis { scale, low, high, ticks, step }
    }

    /// What stands beside a tick.
    pub fn label(&self, value: f64) -> String {
        match self.scale {
            Scale::Bytes => bytes(value),
            _ => plain(value, self.step),
        }
    }

    /// From 0 to 1 on the axis.
    fn part(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Log10 | Scale::Bytes => (value / self.low).ln() / (self.high / self.low).ln(),
            _ => (value - self.low) / (self.high - self.low),
        }
    }
}

fn with_room(low: f64, high: f64, scale: Scale) -> (f64, f64) {
    let (low, high) = match scale {
        Scale::FromZero => (1.15 * low.min(0.0), 1.15 * high.max(0.0)),
        Scale::Linear => (low - 0.05 * (high - low), high + 0.05 * (high - low)),
        Scale::Whole => (low - 0.5, high + 0.5),
        Scale::Log10 | Scale::Bytes => return (low / 1.5, high * 1.5),
    };
    // One number alone, or numbers that differ in their last bits, get an axis around them.
    let magnitude = low.abs().max(high.abs());
    if magnitude < 1.0 / LARGEST {
        (if scale == Scale::FromZero { 0.0 } else { -1.0 }, 1.0)
    } else if high - low < 1e-9 * magnitude {
        (low - 0.1 * magnitude, high + 0.1 * magnitude)
    } else {
        (low, high)
    }
}

/// The multiples of 1, 2 or 5 times a power of ten: the closest together that are no more
/// than wanted.
fn even_ticks(low: f64, high: f64, least_step: f64, most: usize) -> (Vec<f64>, f64) {
    let first = ((high - low) / most as f64).log10().floor() as i32;
    let steps = (first..).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)));
    let numbers = |step: f64| ((low / step).ceil(), (high / step).floor());
    let fits = |step: &f64| {
        let (first, last) = numbers(*step);
        *step >= least_step && last - first + 1.0 <= most as f64
    };
    let step = steps.into_iter().find(fits).expect("a large step leaves few");
    let (first, last) = numbers(step);
    ((0..=(last - first).max(0.0) as u32).map(|n| (first + f64::from(n)) * step).collect(), step)
}

/// Powers of ten; where few fit, 2 and 5 times as much as well; and the multiples of a
/// step where the axis is shorter than those are apart.
fn log_ticks(low: f64, high: f64, most: usize) -> (Vec<f64>, f64) {
    let powers = low.log10().ceil() as i32..=high.log10().floor() as i32;
    let decades: Vec<f64> = powers.clone().map(|power| 10_f64.powi(power)).collect();
    let around = powers.start() - 1..=*powers.end();
    let digits = around.flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)));
    let finer: Vec<f64> = digits.filter(|tick| (low..=high).contains(tick)).collect();
    if finer.len() < 3 {
        return even_ticks(low, high, 0.0, most);
    }
    let every = decades.len().div_ceil(most).max(1);
    (if finer.len() <= most { finer } else { decades.into_iter().step_by(every).collect() }, 0.0)
}

/// With as many digits as the step needs; none, and a power of ten, where those are many.
fn plain(value: f64, step: f64) -> String {
    if value.abs() < 0.5 * step {
        return "0".into();
    }
    // What multiplication did to the last bits is no part of it.
    let significant = if step > 0.0 { (value.abs() / step).log10().floor() as usize + 1 } else { 1 };
    let value: f64 = format!("{value:.significant$e}").parse().expect("a number just written");
    if (0.01..1e6).contains(&value.abs()) || (1e-4 <= step && value.abs() < 1e6) {
        value.to_string()
    } else {
        format!("{value:e}")
    }
}

/// `3 MB`.
fn bytes(value: f64) -> String {
    let (value, unit) = match value {
        v if v >= 1e9 => (v / 1e9, "GB"),
        v if v >= 1e6 => (v / 1e6, "MB"),
        v if v >= 1e3 => (v / 1e3, "kB"),
        v => (v, "B"),
    };
    if value < 1e6 {
        format!("{} {unit}", (value * 10.0).round() / 10.0)
    } else {
        format!("{value:.0e} {unit}")
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (start, end): (i32, i32)) -> i32 {
        // A number that falls on a pixel's edge but for its last bits is on the edge.
        let length = f64::from(end - start) * self.part(*value);
        start + if end > start { (length + 1e-3).floor() } else { (length - 1e-3).ceil() } as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

/// plotters asks for it, and for a label that depends on the axis it asks elsewhere.
impl ValueFormatter<f64> for Axis {
    fn format(value: &f64) -> String {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: &[f64], scale: Scale) -> Vec<String> {
        let axis = Axis::new(values.iter().copied(), scale, 8);
        axis.ticks.iter().map(|tick| axis.label(*tick)).collect()
    }

    #[test]
    fn a_linear_axis_holds_its_numbers_and_little_else() {
        let axis = Axis::new([2.0, 1.0, f64::NAN, f64::INFINITY].into_iter(), Scale::Linear, 8);
        assert_eq!(axis.range(), 0.95..2.05);
        assert_eq!(labels(&[0.5, 2.3], Scale::Linear), ["0.5", "1", "1.5", "2"]);
        assert_eq!(labels(&[-3.0, 3.0], Scale::Linear), ["-3", "-2", "-1", "0", "1", "2", "3"]);
        assert_eq!(labels(&[0.0011, 0.0023], Scale::Linear)[..2], ["0.0012", "0.0014"]);
        assert_eq!(labels(&[0.693146, 0.693148], Scale::Linear)[1], "0.6931465");
        assert_eq!(labels(&[1e-7, 4e-7], Scale::Linear)[0], "1e-7");
        assert_eq!(labels(&[1.2e6, 4e6], Scale::Linear)[..2], ["1.5e6", "2e6"]);
    }

    #[test]
    fn an_axis_from_zero_is_from_zero() {
        assert_eq!(Axis::new([4.0, 2.0].into_iter(), Scale::FromZero, 8).range(), 0.0..4.6);
        assert_eq!(Axis::new([-4.0, -2.0].into_iter(), Scale::FromZero, 8).range(), -4.6..0.0);
        assert_eq!(Axis::new([0.0].into_iter(), Scale::FromZero, 8).range(), 0.0..1.0);
        assert_eq!(labels(&[1.2], Scale::FromZero), ["0", "0.2", "0.4", "0.6", "0.8", "1", "1.2"]);
    }

    #[test]
    fn whole_numbers_have_no_labels_between_them() {
        assert_eq!(labels(&[1.0, 2.0], Scale::Whole), ["1", "2"]);
        assert_eq!(labels(&[3.0], Scale::Whole), ["3"]);
        assert_eq!(labels(&[0.0, 25.0], Scale::Whole), ["0", "5", "10", "15", "20", "25"]);
        assert_eq!(labels(&[0.0, 50_000.0], Scale::Whole)[1], "10000");
    }

    #[test]
    fn powers_of_ten_are_short() {
        assert_eq!(labels(&[2e-4, 3.0], Scale::Log10), ["1e-3", "0.01", "0.1", "1"]);
        assert_eq!(labels(&[0.4, 4.0], Scale::Log10), ["0.5", "1", "2", "5"]);
        assert_eq!(labels(&[5e-4, 4e-3], Scale::Log10), ["5e-4", "1e-3", "2e-3", "5e-3"]);
        assert_eq!(labels(&[1e-9, 1e9], Scale::Log10), ["1e-9", "1e-6", "1e-3", "1", "1000", "1e6", "1e9"]);
        assert_eq!(labels(&[2.9, 3.1], Scale::Log10), ["2", "2.5", "3", "3.5", "4", "4.5"]);
        assert_eq!(labels(&[0.0, -1.0, 10.0, 100.0], Scale::Log10), ["10", "20", "50", "100"]);
    }

    #[test]
    fn bytes_are_bytes() {
        assert_eq!(labels(&[2e3, 4e8], Scale::Bytes), ["10 kB", "100 kB", "1 MB", "10 MB", "100 MB"]);
    }

    /// Each ends, with a few ticks inside the axis.
    #[test]
    fn no_number_is_too_odd() {
        let odd = [
            0.0,
            -0.0,
            5e-324,
            1e-300,
            1e100,
            -1e100,
            1e101,
            f64::MAX,
            f64::NAN,
            f64::NEG_INFINITY,
            1e17,
            1e17 + 16.0,
        ];
        for scale in [Scale::FromZero, Scale::Linear, Scale::Whole, Scale::Log10, Scale::Bytes] {
            for (a, b) in odd.iter().flat_map(|a| odd.map(|b| (*a, b))) {
                let axis = Axis::new([a, b].into_iter(), scale, 6);
                assert!(axis.low < axis.high && axis.ticks.len() <= 6, "{a} {b} {axis:?}");
                for tick in &axis.ticks {
                    // A multiple of a step at an end may miss it by its last bits.
                    assert!((-1e-9..=1.0 + 1e-9).contains(&axis.part(*tick)), "{a} {b} {axis:?}");
                    assert!(axis.label(*tick).len() < 12, "{a} {b} {}", axis.label(*tick));
                }
            }
        }
    }
}
