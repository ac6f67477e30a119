//! Walking along a training, and asking of every step whether it is right.

use batchnorm::Element;
use ndarray::ArrayD;

use super::bounded::Estimate;
use super::optimizer::OptimizerCheck;
use super::reference::Reference;
use super::selection::{Disagreement, Run, STEPS, compare};
use crate::layers::Slot;
use crate::loss::Target;
use crate::network::{Network, State, Tap};
use crate::optimizer::Optimizer;
use crate::real::{Real, narrow, widen};

/// A network with an optimiser, whoever computes it.
pub trait Trainee {
    /// Parameters and buffers.
    fn state(&mut self) -> State;

    /// Takes parameters and buffers over.
    fn load(&mut self, state: &State);

    /// Forward in training mode, the loss, and backward.
    fn differentiate(&mut self, input: &ArrayD<f64>, target: &Target<f64>) -> Trace;

    /// The gradient of each parameter, as `NAME.grad`.
    fn gradients(&mut self) -> Vec<(String, ArrayD<f64>)>;

    /// Sets the parameters by the gradients.
    fn step(&mut self);
}

/// What went through a network.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The loss.
    pub loss: f64,
    /// The output of each layer.
    pub outputs: Vec<ArrayD<f64>>,
    /// ∂loss/∂ the input of each layer, and in the end ∂loss/∂logits.
    pub gradients: Vec<ArrayD<f64>>,
}

/// Ours.
pub struct Ours<T> {
    network: Network<T>,
    optimizer: Optimizer<T>,
}

impl<T: Real> Ours<T> {
    /// The network of a run, untrained.
    pub fn new(run: Run) -> Self {
        let network = Network::new(&run.blueprint(), run.engine, run.seed());
        Ours { network, optimizer: Optimizer::new(run.rule()) }
    }

    /// Its network.
    pub fn network(&mut self) -> &mut Network<T> {
        &mut self.network
    }
}

/// The targets in a dtype.
pub fn narrow_target<T: Element>(target: &Target<f64>) -> Target<T> {
    match target {
        Target::Binary(of) => Target::Binary(of.iter().map(|&t| T::from_f64(t)).collect()),
        Target::Class(of) => Target::Class(of.clone()),
    }
}

impl<T: Real> Trainee for Ours<T> {
    fn state(&mut self) -> State {
        self.network.state()
    }

    fn load(&mut self, state: &State) {
        self.network.load(state).expect("the state of the same network");
    }

    fn differentiate(&mut self, input: &ArrayD<f64>, target: &Target<f64>) -> Trace {
        let mut trace = Trace::default();
        let (input, target) = (narrow(input), narrow_target::<T>(target));
        let loss = self.network.differentiate_tapped(input, &target, &mut |tap, array| match tap {
            Tap::Output(_) => trace.outputs.push(widen(array)),
            Tap::GradInput(_) => trace.gradients.push(widen(array)),
        });
        trace.gradients.reverse();
        trace.loss = Element::to_f64(loss.expect("the network's own batch"));
        trace
    }

    fn gradients(&mut self) -> Vec<(String, ArrayD<f64>)> {
        let slots = self.network.slots().into_iter();
        let gradients = slots.filter_map(|(name, slot)| match slot {
            Slot::Parameter { grad, .. } => Some((format!("{name}.grad"), widen(&grad.to_owned()))),
            _ => None,
        });
        gradients.collect()
    }

    fn step(&mut self) {
        self.optimizer.step(self.network.parameters());
    }
}

/// How close a training came to what it may be off.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Closeness {
    /// The largest part of its allowance that any number took: at most 1.
    pub worst: f64,
    /// How many numbers were compared.
    pub compared: usize,
}

/// Lets the first of `trainees` train for [`STEPS`] steps and checks them: loss, every layer's
/// passes and buffers from its own state before the step, and its new parameters from its own
/// gradients. The others are put into its state at every step, and asked the same but for the
/// parameters. Of steps other than the first only every `every`th is looked into, but the
/// optimiser at all.
///
/// # Errors
/// The first [`Disagreement`].
pub fn follow(run: Run, trainees: &mut [Box<dyn Trainee>], every: usize) -> Result<Closeness, Disagreement> {
    let reference = run.reference();
    let mut optimizer = OptimizerCheck::new(run.dtype, run.rule());
    let mut closeness = Closeness::default();
    for step in 0..STEPS {
        let before = trainees[0].state();
        let mut judge = Judge { run, step, closeness: &mut closeness };
        if step % every == 0 {
            trainees[1..].iter_mut().for_each(|follower| follower.load(&before));
            for trainee in &mut *trainees {
                judge.passes(reference, &before, &mut **trainee)?;
            }
        } else {
            let (input, target) = run.batch(step);
            trainees[0].differentiate(&input, &target);
        }
        let leader = &mut trainees[0];
        let (names, gradients): (Vec<_>, Vec<_>) = leader.gradients().into_iter().unzip();
        let names: Vec<&str> = names.iter().filter_map(|name| name.strip_suffix(GRAD)).collect();
        let parameters = names.iter().map(|name| before.array(name).expect("a parameter").clone());
        let expected = optimizer.step(&parameters.zip(gradients).collect::<Vec<_>>());
        leader.step();
        let after = leader.state();
        for (name, estimate) in names.iter().zip(&expected) {
            judge.compare(name, estimate, after.array(name).expect("a parameter"))?;
        }
    }
    Ok(closeness)
}

/// What follows the name of a parameter in the name of its gradient.
const GRAD: &str = ".grad";

/// Compares what a step gives.
struct Judge<'a> {
    run: Run,
    step: usize,
    closeness: &'a mut Closeness,
}

impl Judge<'_> {
    fn compare(&mut self, name: &str, expected: &Estimate, got: &ArrayD<f64>) -> Result<(), Disagreement> {
        let part = compare(self.run, self.step, name, expected, got)?;
        self.closeness.worst = self.closeness.worst.max(part);
        self.closeness.compared += got.len();
        Ok(())
    }

    /// Forward and backward: each layer at the input and the grad_output that it really had.
    fn passes(
        &mut self,
        reference: Reference,
        before: &State,
        trainee: &mut dyn Trainee,
    ) -> Result<(), Disagreement> {
        let (input, target) = self.run.batch(self.step);
        let Trace { loss, outputs, gradients } = trainee.differentiate(&input, &target);
        let (after, of_parameters) = (trainee.state(), trainee.gradients());
        let inputs = [&input].into_iter().chain(&outputs);
        for (index, (named, input)) in self.run.blueprint().iter().zip(inputs).enumerate() {
            let expected = reference.layer(named, before, input, &gradients[index + 1]);
            self.compare(&format!("{} (output)", named.name), &expected.output, &outputs[index])?;
            self.compare(&format!("{} (grad_input)", named.name), &expected.grad_input, &gradients[index])?;
            for (name, estimate) in &expected.entries {
                let of_parameter = of_parameters.iter().find(|(known, _)| known == name);
                let got = of_parameter.map(|(_, array)| array).or_else(|| after.array(name));
                self.compare(name, estimate, got.expect("the same network has the same names"))?;
            }
        }
        let (value, gradient) = reference.loss(outputs.last().expect("a network has layers"), &target);
        self.compare("grad_logits", &gradient, gradients.last().expect("of the loss"))?;
        let scalar = |value| ArrayD::from_elem(&[][..], value);
        let estimate = Estimate { value: scalar(value.value), bound: scalar(value.bound) };
        self.compare("loss", &estimate, &scalar(loss))
    }
}
