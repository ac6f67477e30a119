//! How near is near enough, as the others have it.

use crate::tensor::Tensor;

/// A rule for the elements of one array.
#[derive(Clone, Debug)]
pub(super) enum Rule {
    /// |got − expected| ≤ atol + rtol·|expected|, NumPy's `assert_allclose`.
    Close { rtol: f64, atol: f64 },
    /// So many representable f32 values apart.
    Ulp(i64),
    /// benchdnn, forward: the error relative to |expected| above 10⁻⁵, absolute
    /// below it, is at most the threshold. Or the same of a·x alone: where
    /// y = a·x + shift cancelled, |expected − shift| > |expected|, the error is
    /// taken relative to |expected − shift|. No shift, no such leave.
    Element { threshold: f64, shift: Option<Vec<f64>> },
    /// benchdnn, backward: ‖got − expected‖₂ is at most so much of ‖expected‖₂.
    Norm(f64),
}

impl Rule {
    /// What is wrong with an array of the expected shape and dtype, if anything.
    pub(super) fn objection(&self, expected: &Tensor, got: &Tensor) -> Option<String> {
        if let Rule::Norm(threshold) = self {
            let error = relative_norm(expected, got);
            return (!within(error, *threshold)).then(|| format!("off by {error:e} of its norm"));
        }
        let inner: usize = expected.shape.iter().skip(2).product();
        let channels = expected.shape.get(1).copied().unwrap_or(1);
        let pairs = expected.data.iter().zip(&got.data);
        let wrong = pairs.enumerate().find(|(index, (expected, got))| {
            !self.allows(**expected, **got, index / inner.max(1) % channels.max(1))
        });
        wrong.map(|(index, (expected, got))| format!("[{index}]: expected {expected:?}, got {got:?}"))
    }

    fn allows(&self, expected: f64, got: f64, channel: usize) -> bool {
        let difference = (got - expected).abs();
        match self {
            Rule::Close { rtol, atol } => within(difference, atol + rtol * expected.abs()),
            Rule::Ulp(distance) => !got.is_nan() && (place(got) - place(expected)).abs() <= *distance,
            Rule::Element { threshold, shift } => {
                let unit = if expected.abs() > 1e-5 { expected.abs() } else { 1.0 };
                within(difference, threshold * unit)
                    || shift.as_ref().is_some_and(|shift| {
                        let scaled = (expected - shift[channel]).abs();
                        scaled > expected.abs() && within(difference, threshold * scaled)
                    })
            }
            Rule::Norm(_) => unreachable!("a norm is of the whole array"),
        }
    }
}

/// NaN is within nothing.
fn within(difference: f64, bound: f64) -> bool {
    difference <= bound
}

fn relative_norm(expected: &Tensor, got: &Tensor) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let error = norm(&mut expected.data.iter().zip(&got.data).map(|(expected, got)| got - expected));
    let size = norm(&mut expected.data.iter().copied());
    if size > 0.0 { error / size } else { error }
}

/// The place of an f32 in the order of all f32: neighbours are 1 apart, ±0 are one.
fn place(value: f64) -> i64 {
    let bits = i64::from((value as f32).to_bits());
    if bits < 1 << 31 { bits } else { (1 << 31) - bits }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::DType::F64;

    fn objects(rule: &Rule, expected: f64, got: f64) -> bool {
        let array = |value| Tensor::new(F64, &[1, 1], vec![value]);
        rule.objection(&array(expected), &array(got)).is_some()
    }

    #[test]
    fn nan_is_near_nothing() {
        let rules = [Rule::Close { rtol: 1.0, atol: 1.0 }, Rule::Ulp(6), element(1.0, None), Rule::Norm(1.0)];
        for rule in rules {
            assert!(objects(&rule, 1.0, f64::NAN), "{rule:?}");
            assert!(!objects(&rule, 1.0, 1.0), "{rule:?}");
        }
    }

    fn element(threshold: f64, shift: Option<f64>) -> Rule {
        Rule::Element { threshold, shift: shift.map(|shift| vec![shift]) }
    }

    #[test]
    fn close_adds_the_absolute_and_the_relative_part() {
        let rule = Rule::Close { rtol: 0.25, atol: 0.5 };
        assert!(!objects(&rule, -4.0, -2.5));
        assert!(objects(&rule, -4.0, -2.25));
    }

    #[test]
    fn ulps_are_counted_across_zero() {
        let tiny = f64::from(f32::from_bits(3));
        assert!(!objects(&Rule::Ulp(6), tiny, -tiny));
        assert!(objects(&Rule::Ulp(5), tiny, -tiny));
        assert!(!objects(&Rule::Ulp(0), 0.0, -0.0));
        let neighbour = f64::from(f32::from_bits(1.0_f32.to_bits() + 6));
        assert!(!objects(&Rule::Ulp(6), 1.0, neighbour) && objects(&Rule::Ulp(5), 1.0, neighbour));
    }

    #[test]
    fn cancellation_is_excused_only_where_there_is_a_shift() {
        assert!(objects(&element(0.125, None), 0.25, 0.5));
        assert!(!objects(&element(0.125, Some(4.0)), 0.25, 0.5));
        assert!(objects(&element(0.125, Some(4.0)), 0.25, 1.0));
        // No cancellation: expected − shift = 0.125 is smaller than expected.
        assert!(objects(&element(0.125, Some(0.125)), 0.25, 0.5));
    }

    #[test]
    fn below_a_hundred_thousandth_the_error_is_absolute() {
        assert!(!objects(&element(0.125, None), 0.0, 0.125));
        assert!(objects(&element(0.125, None), 0.0, 0.25));
        assert!(!objects(&element(0.125, None), 5e-6, -5e-6));
    }

    #[test]
    fn a_norm_forgives_one_element_for_the_others() {
        let array = |data: &[f64]| Tensor::vector(F64, data);
        let rule = Rule::Norm(0.125);
        assert_eq!(rule.objection(&array(&[8.0, 0.5]), &array(&[8.0, 1.5])), None);
        assert!(rule.objection(&array(&[8.0, 0.5]), &array(&[9.0, 1.5])).is_some());
        assert!(rule.objection(&array(&[0.0]), &array(&[0.25])).is_some());
    }
}
