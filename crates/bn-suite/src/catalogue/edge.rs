//! Edges: values a few steps from where a format changes. A *step* (one ULP) leads
//! to the next value of the dtype; a *landmark* is a place worth standing beside:
//! 0, the smallest subnormal and normal, eps and its root, 1, the largest value,
//! the roots of the smallest and of the largest.
//!
//! What goes wrong there goes wrong at once: a subnormal flushed, a square that
//! overflows, eps lost beside a variance of its own size, a variance below 0. Each
//! subject puts the landmarks into one place (input, running statistics, weight,
//! bias), one channel each, for every mix of dtypes. Where f32 arithmetic itself
//! overflows, the grade *conforms* promises nothing about that channel; the others
//! of the case are held to theirs.

use super::Entry;
use super::builder::{Script, script};
use super::dtypes::MIXES;
use super::fill::Fill;
use crate::tensor::DType;
use crate::truth::format::{Format, nearest};

/// Steps from a landmark: neighbours, and some that f32 arithmetic can tell apart.
/// They do not add up to 0.
const STEPS: [i64; 7] = [-100, -3, -1, 0, 1, 2, 100];

/// eps that a variance stands beside: the default, an exact one, a large one.
const EPS: [(&str, f64); 3] = [("1e-5", 1e-5), ("2-14", 1.0 / 16384.0), ("1", 1.0)];

/// A pattern whose squares have a mean near 1, and whose mean is not 0.
const PATTERN: [f64; 8] = [1.0, -1.0, 1.0, 1.0, -1.0, 1.0, -1.0, 0.5];

/// As many cases as this group promises: eleven subjects for every mix of dtypes.
pub const COUNT: usize = 11 * MIXES.len();

pub(super) fn cases() -> Vec<Entry> {
    MIXES.into_iter().flat_map(|(name, input, parameters)| Mix { name, input, parameters }.cases()).collect()
}

/// The landmarks of a dtype.
fn landmarks(dtype: DType) -> [f64; 9] {
    let format = format(dtype);
    [
        0.0,
        format.min_positive(),
        format.min_normal(),
        format.min_normal().sqrt(),
        1e-5,
        1e-5_f64.sqrt(),
        1.0,
        format.max_finite().sqrt(),
        format.max_finite(),
    ]
    .map(|value| nearest(dtype, value))
}

fn format(dtype: DType) -> Format {
    Format::of(dtype).expect("edges are those of floating-point formats")
}

/// The value so many steps above; never beyond the largest one.
fn stepped(dtype: DType, value: f64, steps: i64) -> f64 {
    let largest = format(dtype).max_finite();
    let step = if steps < 0 { -1.0 } else { 1.0 };
    (0..steps.abs()).fold(value, |value, _| {
        // The gap beyond a power of two differs from that before it: towards 0 it is half.
        let nearer = value * step < 0.0;
        let gap = format(dtype).ulp(value);
        let inner = nearest(dtype, value + step * gap / 2.0);
        let next = if nearer && inner != value { inner } else { value + step * gap };
        next.clamp(-largest, largest)
    })
}

/// One mix of dtypes.
struct Mix {
    name: &'static str,
    input: DType,
    parameters: DType,
}

impl Mix {
    fn cases(&self) -> Vec<Entry> {
        let near_eps = EPS.map(|(name, eps)| self.variance_near_eps(name, eps));
        let others = [
            self.evaluated_input(),
            self.trained_input(),
            self.running_var(),
            self.running_update(),
            self.weight(),
            self.bias(),
            self.squares_near_the_largest(),
            self.squares_near_the_smallest(),
        ];
        near_eps.into_iter().chain(others).collect()
    }

    fn script(&self, subject: &str, shape: &[usize], what: &str) -> Script {
        let name = format!("edge/{}-{subject}", self.name);
        script(&name, shape, &format!("{}: {what}", self.name)).dtypes(self.input, self.parameters)
    }

    /// One channel per landmark of the input's dtype, and its neighbours in it.
    fn around_landmarks(&self) -> Vec<f64> {
        let row = |steps: i64| landmarks(self.input).map(|landmark| stepped(self.input, landmark, steps));
        STEPS.into_iter().flat_map(row).collect()
    }

    fn evaluated_input(&self) -> Entry {
        let means = landmarks(self.input);
        self.script(
            "evaluated-input",
            &[STEPS.len(), means.len()],
            "running means at the landmarks and inputs some steps from them; σ is exactly 1. The difference is \
             taken before anything overflows, and subnormals are numbers.",
        )
        .eps(1.0)
        .weight(&[1.0; 9])
        .no_bias()
        .buffers(&means, &[0.0; 9])
        .eval_on(&self.around_landmarks())
        .generated()
    }

    fn trained_input(&self) -> Entry {
        self.script(
            "trained-input",
            &[STEPS.len(), 9],
            "channels within some steps of a landmark: a variance of almost nothing, never below 0, and a mean \
             among the values.",
        )
        .train_on(&self.around_landmarks())
        .grad_exact()
        .mask(true, false, true)
        .generated()
    }

    fn variance_near_eps(&self, name: &str, eps: f64) -> Entry {
        let root = nearest(self.input, eps.sqrt());
        let roots = [-100, -1, 0, 1, 100].map(|steps| stepped(self.input, root, steps));
        let data = PATTERN.into_iter().flat_map(|factor| roots.map(|root| factor * root)).collect::<Vec<_>>();
        self.script(
            &format!("variance-near-eps-{name}"),
            &[PATTERN.len(), roots.len()],
            &format!(
                "values some steps from ±√eps, eps = {eps}: half of what is under the root is eps, so that none \
                      may be left out, added twice, or put outside."
            ),
        )
        .eps(eps)
        .train_on(&data)
        .grad_exact()
        .generated()
    }

    fn running_var(&self) -> Entry {
        let mut vars = landmarks(self.parameters);
        let eps = nearest(self.parameters, 1e-5);
        // Beside eps on both sides, in place of what is below it anyway.
        (vars[3], vars[5]) = (stepped(self.parameters, eps, -1), stepped(self.parameters, eps, 1));
        self.script(
            "running-var",
            &[7, vars.len()],
            "running variances of 0, near the smallest numbers, one step around eps, and the largest: eps is added \
             to each of them, once.",
        )
        .no_bias()
        .buffers(&[0.25; 9], &vars)
        .fill(Fill::Dense)
        .eval()
        .grad_exact()
        .generated()
    }

    fn running_update(&self) -> Entry {
        let landmarks = landmarks(self.parameters);
        self.script(
            "running-update",
            &[7, landmarks.len()],
            "running statistics at the landmarks, and a training step with momentum 1/2: the largest halves without \
             overflow, the smallest does not disturb.",
        )
        .momentum(0.5)
        .buffers(&landmarks.map(|landmark| -landmark), &landmarks)
        .fill(Fill::Dense)
        .train()
        .generated()
    }

    fn weight(&self) -> Entry {
        let mut weights = landmarks(self.parameters);
        (weights[4], weights[5]) = (stepped(self.parameters, 1.0, -1), -stepped(self.parameters, 1.0, 1));
        self.script(
            "weight",
            &[7, weights.len()],
            "weights of 0, the smallest numbers, one step around ±1, and the largest, with |x̂| below 1: nothing \
             overflows that fits, and 0 times a finite number is 0.",
        )
        .weight(&weights)
        .buffers(&[0.25; 9], &self.wide_vars())
        .fill(Fill::Dense)
        .eval()
        .grad_exact()
        .generated()
    }

    fn bias(&self) -> Entry {
        let biases = landmarks(self.parameters);
        self.script(
            "bias",
            &[7, biases.len()],
            "biases at the landmarks: a large one swallows x̂ and stays finite, a small one is added all the same.",
        )
        .bias(&biases)
        .buffers(&[0.25; 9], &self.wide_vars())
        .fill(Fill::Dense)
        .eval()
        .generated()
    }

    /// Running variances beside which the values of [`Fill::Dense`], at most 48
    /// units, stay below one deviation.
    fn wide_vars(&self) -> Vec<f64> {
        (0..9).map(|channel| (64.0 * super::fill::scale(channel)).powi(2)).map(|v| v.min(32768.0)).collect()
    }

    fn squares_near_the_largest(&self) -> Entry {
        let root = nearest(self.input, format(self.input).max_finite().sqrt() / 8.0);
        self.squares(
            "squares-near-the-largest",
            root,
            1e-5,
            "values near √max/8: the sum of eight of their squares fits, and so it does after a shift by one of \
             them, with little to spare for a detour.",
        )
    }

    fn squares_near_the_smallest(&self) -> Entry {
        let smallest = format(self.input).min_normal();
        self.squares(
            "squares-near-the-smallest",
            nearest(self.input, smallest.sqrt() * 4.0),
            smallest,
            "values near 4·√min beside eps = min, the smallest normal number: their squares do not underflow, and \
             eps is not rounded away.",
        )
    }

    fn squares(&self, subject: &str, root: f64, eps: f64, what: &str) -> Entry {
        let roots = [-1, 0, 1].map(|steps| stepped(self.input, root, steps));
        let data = PATTERN.into_iter().flat_map(|factor| roots.map(|root| factor * root)).collect::<Vec<_>>();
        let layer = self.script(subject, &[PATTERN.len(), roots.len()], what).eps(eps);
        layer.train_on(&data).grad_exact().generated()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_lead_to_the_neighbours_also_across_powers_of_two() {
        assert_eq!(stepped(DType::F32, 1.0, 1), f64::from(1.0_f32.next_up()));
        assert_eq!(stepped(DType::F32, 1.0, -1), f64::from(1.0_f32.next_down()));
        assert_eq!(stepped(DType::F32, -1.0, 2), f64::from((-1.0_f32).next_up().next_up()));
        assert_eq!(stepped(DType::F64, 1.0, -3), 1.0_f64.next_down().next_down().next_down());
        assert_eq!(stepped(DType::F64, 0.0, -1), 0.0_f64.next_down());
        assert_eq!(stepped(DType::Bf16, 1.0, -1), 1.0 - 2f64.powi(-8));
        assert_eq!(stepped(DType::F16, 65504.0, 1), 65504.0);
        assert_eq!(stepped(DType::F16, 65504.0, -1), 65472.0);
    }
}
