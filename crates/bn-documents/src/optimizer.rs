//! How parameters follow their gradients.

use std::fmt;

use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD, Zip};
use serde::{Deserialize, Serialize};

use crate::real::Real;

/// Which rule, with its settings; PyTorch's defaults for all else.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// `torch.optim.Adam`: β 0.9 and 0.999, ε 1e-8.
    Adam {
        /// The learning rate.
        lr: f64,
    },
    /// `torch.optim.SGD`.
    Sgd {
        /// The learning rate.
        lr: f64,
        /// How much of the last step each step repeats.
        momentum: f64,
    },
}

impl Rule {
    /// The learning rate.
    pub fn lr(self) -> f64 {
        match self {
            Rule::Adam { lr } | Rule::Sgd { lr, .. } => lr,
        }
    }

    /// The same rule with another learning rate.
    pub fn with_lr(self, lr: f64) -> Self {
        match self {
            Rule::Adam { .. } => Rule::Adam { lr },
            Rule::Sgd { momentum, .. } => Rule::Sgd { lr, momentum },
        }
    }

    /// PyTorch's names of what it remembers of each parameter.
    pub fn memories(self) -> &'static [&'static str] {
        match self {
            Rule::Adam { .. } => &["exp_avg", "exp_avg_sq"],
            Rule::Sgd { .. } => &["momentum_buffer"],
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Adam { lr } => write!(f, "Adam with lr {lr}"),
            Rule::Sgd { lr, momentum } => write!(f, "SGD with lr {lr} and momentum {momentum}"),
        }
    }
}

/// Adam's β₁, β₂ and ε.
pub const ADAM: [f64; 3] = [0.9, 0.999, 1e-8];

/// A rule and what it remembers of each parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimizer<T> {
    rule: Rule,
    steps: u64,
    memories: Vec<Vec<ArrayD<T>>>,
}

impl<T: Real> Optimizer<T> {
    /// One that has taken no step.
    pub fn new(rule: Rule) -> Self {
        Optimizer { rule, steps: 0, memories: Vec::new() }
    }

    /// One that has taken so many steps, with the memories of each parameter, in the order of
    /// [`Rule::memories`].
    pub fn resumed(rule: Rule, steps: u64, memories: Vec<Vec<ArrayD<T>>>) -> Self {
        Optimizer { rule, steps, memories }
    }

    /// The rule.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// How many steps it took.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Of each parameter, what is remembered.
    pub fn memories(&self) -> &[Vec<ArrayD<T>>] {
        &self.memories
    }

    /// One step of all parameters, which come in the same order every time.
    ///
    /// Adam: m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², and
    /// p ← p − lr/(1−β₁ᵗ) · m / (√v/√(1−β₂ᵗ) + ε).
    ///
    /// SGD: m ← momentum·m + g (the first time m ← g), p ← p − lr·m.
    pub fn step<'a>(&mut self, parameters: impl Iterator<Item = (ArrayViewMutD<'a, T>, ArrayViewD<'a, T>)>) {
        self.steps += 1;
        for (index, (value, grad)) in parameters.enumerate() {
            if index == self.memories.len() {
                let zeros = || ArrayD::zeros(value.raw_dim());
                self.memories.push(self.rule.memories().iter().map(|_| zeros()).collect());
            }
            match (self.rule, &mut self.memories[index][..]) {
                (Rule::Adam { lr }, [m, v]) => adam(lr, self.steps, value, grad, m, v),
                (Rule::Sgd { lr, momentum }, [m]) => sgd(lr, momentum, self.steps, value, grad, m),
                _ => unreachable!("each rule has the memories that it names"),
            }
        }
    }
}

fn adam<T: Real>(
    lr: f64,
    steps: u64,
    value: ArrayViewMutD<'_, T>,
    grad: ArrayViewD<'_, T>,
    m: &mut ArrayD<T>,
    v: &mut ArrayD<T>,
) {
    let [beta1, beta2, eps] = ADAM;
    let step_size = T::from_f64(lr / (1.0 - beta1.powf(steps as f64)));
    let root = T::from_f64((1.0 - beta2.powf(steps as f64)).sqrt());
    let [b1, b2, a1, a2, eps] = [beta1, beta2, 1.0 - beta1, 1.0 - beta2, eps].map(T::from_f64);
    Zip::from(value).and(grad).and(m).and(v).for_each(|p, &g, m, v| {
        *m = b1 * *m + a1 * g;
        *v = b2 * *v + a2 * g * g;
        *p -= step_size * (*m / (v.sqrt() / root + eps));
    });
}

fn sgd<T: Real>(
    lr: f64,
    momentum: f64,
    steps: u64,
    value: ArrayViewMutD<'_, T>,
    grad: ArrayViewD<'_, T>,
    m: &mut ArrayD<T>,
) {
    let (lr, momentum) = (T::from_f64(lr), T::from_f64(if steps == 1 { 0.0 } else { momentum }));
    Zip::from(value).and(grad).and(m).for_each(|p, &g, m| {
        *m = momentum * *m + g;
        *p -= lr * *m;
    });
}
