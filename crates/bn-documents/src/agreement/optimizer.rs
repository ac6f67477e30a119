//! Adam and SGD with their bounds: do two optimisers that see the same gradients set the same parameters?

use batchnorm::DType;
use ndarray::ArrayD;

use super::bounded::{Arithmetic, Bounded, Estimate, exact};
use crate::optimizer::{ADAM, Rule};

/// Follows an optimiser step by step, with the gradients and parameters that it really had.
#[derive(Clone, Debug)]
pub struct OptimizerCheck {
    arithmetic: Arithmetic,
    rule: Rule,
    steps: u32,
    memories: Vec<Vec<Estimate>>,
}

impl OptimizerCheck {
    /// For an optimiser that has taken no step.
    pub fn new(dtype: DType, rule: Rule) -> Self {
        OptimizerCheck { arithmetic: Arithmetic::of(dtype), rule, steps: 0, memories: Vec::new() }
    }

    /// What the parameters must be after a step, given what they and their gradients were.
    pub fn step(&mut self, parameters: &[(ArrayD<f64>, ArrayD<f64>)]) -> Vec<Estimate> {
        self.steps += 1;
        let mut expected = Vec::new();
        for (index, (value, grad)) in parameters.iter().enumerate() {
            if index == self.memories.len() {
                let zeros = || Estimate::exact(ArrayD::zeros(value.raw_dim()));
                self.memories.push(self.rule.memories().iter().map(|_| zeros()).collect());
            }
            let mut after = Estimate::exact(value.clone());
            let a = self.arithmetic;
            let memories = &mut self.memories[index];
            for place in 0..value.len() {
                let number = |estimate: &Estimate| Bounded {
                    value: estimate.value.as_slice().expect("contiguous")[place],
                    bound: estimate.bound.as_slice().expect("contiguous")[place],
                };
                let (p, g) = (number(&after), grad.as_slice().expect("contiguous")[place]);
                let old: Vec<Bounded> = memories.iter().map(number).collect();
                let (new, p) = match self.rule {
                    Rule::Adam { lr } => adam(a, lr, self.steps, p, exact(g), [old[0], old[1]]),
                    Rule::Sgd { lr, momentum } => sgd(a, lr, momentum, self.steps, p, exact(g), old[0]),
                };
                memories.iter_mut().zip(new).for_each(|(memory, new)| put(memory, place, new));
                put(&mut after, place, p);
            }
            expected.push(after);
        }
        expected
    }
}

fn put(estimate: &mut Estimate, place: usize, to: Bounded) {
    estimate.value.as_slice_mut().expect("contiguous")[place] = to.value;
    estimate.bound.as_slice_mut().expect("contiguous")[place] = to.bound;
}

/// A setting, which the dtype rounds.
fn setting(a: Arithmetic, value: f64) -> Bounded {
    a.rounded(value, 0.0)
}

/// 1 − βᵗ, worked out in f64 by everybody: βᵗ is off by a few units of its own, which is more of a
/// small difference.
fn left(a: Arithmetic, beta: f64, steps: u32) -> Bounded {
    let power = beta.powi(steps as i32);
    a.rounded(1.0 - power, f64::from(steps) * f64::EPSILON * power)
}

fn adam(
    a: Arithmetic,
    lr: f64,
    steps: u32,
    p: Bounded,
    g: Bounded,
    [m, v]: [Bounded; 2],
) -> (Vec<Bounded>, Bounded) {
    let [beta1, beta2, eps] = ADAM;
    let m = a.add(a.mul(setting(a, beta1), m), a.mul(setting(a, 1.0 - beta1), g));
    let v = a.add(a.mul(setting(a, beta2), v), a.mul(a.mul(setting(a, 1.0 - beta2), g), g));
    let [left1, left2] = [beta1, beta2].map(|beta| left(a, beta, steps));
    let denominator = a.add(a.div(a.sqrt(v), a.sqrt(left2)), setting(a, eps));
    let step_size = a.div(setting(a, lr), left1);
    let change = a.mul(step_size, a.div(m, denominator));
    (vec![m, v], a.sub(p, change))
}

fn sgd(
    a: Arithmetic,
    lr: f64,
    momentum: f64,
    steps: u32,
    p: Bounded,
    g: Bounded,
    m: Bounded,
) -> (Vec<Bounded>, Bounded) {
    let momentum = if steps == 1 { 0.0 } else { momentum };
    let m = a.add(a.mul(setting(a, momentum), m), g);
    (vec![m], a.sub(p, a.mul(setting(a, lr), m)))
}
