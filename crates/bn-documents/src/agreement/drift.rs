//! How far two free trainings may be apart.
//!
//! One training is run in f64. Others run beside it, in which every output and gradient of every
//! layer is pushed, at every step, by the whole bound that the reference gives it for the dtype,
//! up or down by chance, and each parameter by its last rounding. An implementation strays less:
//! its roundings are of both signs too, and mostly far from their bounds. The largest
//! distance of any pushed training so far, doubled for the two that are compared and doubled
//! again for the few that were pushed, is the allowance.

use ndarray::ArrayD;

use super::follow::{Ours, Trace, Trainee};
use super::selection::{Run, STEPS};
use crate::layers::Slot;
use crate::loss::Target;
use crate::network::{State, Tap};

/// How many trainings are pushed.
const PUSHED: u64 = 8;

/// For the two that are compared, and for the few that were pushed.
const MARGIN: f64 = 4.0;

/// One number for an array, to which every element contributes: Σ ±x, with signs that follow
/// from the place.
pub fn projection(array: &ArrayD<f64>) -> f64 {
    let sign =
        |place: usize| if (place as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 63 == 0 { 1.0 } else { -1.0 };
    array.iter().enumerate().map(|(place, x)| sign(place) * x).sum()
}

/// Of a training, step by step: the loss before the step, and after it the projection of every
/// gradient (`NAME.grad`), parameter and buffer (`NAME`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// The losses.
    pub losses: Vec<f64>,
    /// Names, and their projections.
    pub entries: Vec<(String, Vec<f64>)>,
}

impl Curve {
    /// Adds a step.
    pub fn push(&mut self, loss: f64, entries: impl IntoIterator<Item = (String, f64)>) {
        self.losses.push(loss);
        for (name, value) in entries {
            match self.entries.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => values.push(value),
                None => self.entries.push((name, vec![value])),
            }
        }
    }

    /// All numbers, in one order.
    pub fn numbers(&self) -> impl Iterator<Item = f64> {
        self.losses.iter().chain(self.entries.iter().flat_map(|(_, values)| values)).copied()
    }

    /// The largest distance so far, at every step.
    fn distance(&self, other: &Curve) -> Curve {
        let far = |a: &[f64], b: &[f64]| {
            let mut most = 0.0_f64;
            a.iter()
                .zip(b)
                .map(|(a, b)| {
                    most = most.max((a - b).abs());
                    most
                })
                .collect()
        };
        let entries = self.entries.iter().zip(&other.entries);
        Curve {
            losses: far(&self.losses, &other.losses),
            entries: entries.map(|((name, a), (_, b))| (name.clone(), far(a, b))).collect(),
        }
    }

    fn largest(&mut self, other: &Curve) {
        let mine = self.losses.iter_mut().chain(self.entries.iter_mut().flat_map(|(_, values)| values));
        mine.zip(other.numbers()).for_each(|(mine, other)| *mine = mine.max(other));
    }
}

/// Of parameters, buffers and gradients.
pub fn projections(state: &State, gradients: &[(String, ArrayD<f64>)]) -> Vec<(String, f64)> {
    let all = state.arrays.iter().chain(gradients);
    all.map(|(name, array)| (name.clone(), projection(array))).collect()
}

/// Trains freely for [`STEPS`] steps.
pub fn train(run: Run, trainee: &mut dyn Trainee) -> Curve {
    let mut curve = Curve::default();
    for step in 0..STEPS {
        let (input, target) = run.batch(step);
        let loss = trainee.differentiate(&input, &target).loss;
        trainee.step();
        curve.push(loss, projections(&trainee.state(), &trainee.gradients()));
    }
    curve
}

/// A training that is pushed.
struct Pushed {
    ours: Ours<f64>,
    curve: Curve,
    chance: fastrand::Rng,
}

/// How far each array of a step may be off.
struct Bounds {
    outputs: Vec<ArrayD<f64>>,
    gradients: Vec<ArrayD<f64>>,
    entries: Vec<(String, ArrayD<f64>)>,
    loss: f64,
}

impl Bounds {
    /// Those of a step of the free training, which the pushed ones are close to.
    fn of(run: Run, state: &State, input: &ArrayD<f64>, target: &Target<f64>, trace: &Trace) -> Self {
        let (reference, blueprint) = (run.reference(), run.blueprint());
        let inputs = [input].into_iter().chain(&trace.outputs);
        let (value, gradient) = reference.loss(trace.outputs.last().expect("logits"), target);
        let mut bounds =
            Bounds { outputs: Vec::new(), gradients: Vec::new(), entries: Vec::new(), loss: value.bound };
        for (index, (named, input)) in blueprint.iter().zip(inputs).enumerate() {
            let expected = reference.layer(named, state, input, &trace.gradients[index + 1]);
            bounds.outputs.push(expected.output.bound);
            bounds.gradients.push(expected.grad_input.bound);
            bounds
                .entries
                .extend(expected.entries.into_iter().map(|(name, estimate)| (name, estimate.bound)));
        }
        bounds.gradients.push(gradient.bound);
        bounds
    }

    fn entry(&self, name: &str) -> &ArrayD<f64> {
        let found = self.entries.iter().find(|(known, _)| known == name);
        &found.expect("the reference has all gradients and buffers").1
    }
}

impl Pushed {
    fn new(run: Run, seed: u64) -> Self {
        Pushed { ours: Ours::new(run), curve: Curve::default(), chance: fastrand::Rng::with_seed(seed) }
    }

    fn step(&mut self, bounds: &Bounds, u: f64, input: ArrayD<f64>, target: &Target<f64>) {
        let Pushed { ours, curve, chance } = self;
        let network = ours.network();
        let mut push = |x: f64, by: f64| if chance.bool() { x + by } else { x - by };
        let loss = network.differentiate_tapped(input, target, &mut |tap, array| {
            let bound = match tap {
                Tap::Output(layer) => &bounds.outputs[layer],
                Tap::GradInput(layer) => &bounds.gradients[layer],
            };
            array.zip_mut_with(bound, |x, &by| *x = push(*x, by));
        });
        for (name, slot) in network.slots() {
            let (name, mut array) = match slot {
                Slot::Parameter { grad, .. } => (format!("{name}.grad"), grad),
                Slot::Buffer(value) => (name, value),
                Slot::Counter(_) => continue,
            };
            array.zip_mut_with(bounds.entry(&name), |x, &by| *x = push(*x, by));
        }
        ours.step();
        for (mut value, _) in ours.network().parameters() {
            value.mapv_inplace(|p| push(p, u * p.abs()));
        }
        let loss = push(loss.expect("the network's own batch"), bounds.loss);
        curve.push(loss, projections(&ours.state(), &ours.gradients()));
    }
}

/// The allowance of every number of a training's curve.
pub fn allowances(run: Run) -> Curve {
    let mut free = Ours::<f64>::new(run);
    let mut pushed: Vec<Pushed> = (0..PUSHED).map(|seed| Pushed::new(run, seed)).collect();
    let mut curve = Curve::default();
    for step in 0..STEPS {
        let (input, target) = run.batch(step);
        let state = free.state();
        let trace = free.differentiate(&input, &target);
        let bounds = Bounds::of(run, &state, &input, &target, &trace);
        free.step();
        curve.push(trace.loss, projections(&free.state(), &free.gradients()));
        for one in &mut pushed {
            one.step(&bounds, run.reference().arithmetic.u, input.clone(), &target);
        }
    }
    let mut most = curve.distance(&curve);
    pushed.iter().for_each(|one| most.largest(&curve.distance(&one.curve)));
    most.losses.iter_mut().for_each(|x| *x *= MARGIN);
    most.entries.iter_mut().flat_map(|(_, values)| values).for_each(|x| *x *= MARGIN);
    most
}
