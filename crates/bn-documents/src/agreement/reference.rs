//! A layer's passes in f64, with what every number of them may be off.

use ndarray::ArrayD;

use super::bounded::{Arithmetic, Bounded, Estimate};
use super::matrices::{self, Window};
use super::{loss, norm};
use crate::blueprint::{Named, Piece};
use crate::layers::{Flatten, Layer, MaxPool2d, Mode, Relu};
use crate::loss::Target;
use crate::network::{Engine, State};

/// What a layer must give.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The output.
    pub output: Estimate,
    /// ∂loss/∂input.
    pub grad_input: Estimate,
    /// The gradient of each parameter, as `NAME.grad`, and each buffer after the pass, as `NAME`.
    pub entries: Vec<(String, Estimate)>,
}

/// The formulas, for a dtype in which others compute them.
#[derive(Clone, Copy, Debug)]
pub struct Reference {
    /// Whose batch norm.
    pub engine: Engine,
    /// The dtype's roundings.
    pub arithmetic: Arithmetic,
}

impl Reference {
    /// The passes of one layer, in training mode, at this state, input and grad_output.
    ///
    /// # Panics
    /// Where these do not belong together: all come from a pass of the same network.
    pub fn layer(
        self,
        Named { name, piece }: &Named,
        state: &State,
        input: &ArrayD<f64>,
        grad_output: &ArrayD<f64>,
    ) -> Expected {
        let a = self.arithmetic;
        let get = |what: &str| state.array(&format!("{name}.{what}"));
        let weight = || get("weight").expect("a weight");
        let mut entries = Vec::new();
        let (output, [grad_input, of_weight, of_bias]) = match *piece {
            Piece::Linear { .. } => (
                matrices::linear(a, input, weight(), get("bias")),
                matrices::linear_backward(a, input, weight(), grad_output),
            ),
            Piece::Conv2d { kernel, padding, .. } => {
                let window = Window { kernel, padding };
                (
                    matrices::conv2d(a, input, weight(), get("bias"), window),
                    matrices::conv2d_backward(a, input, weight(), grad_output, window),
                )
            }
            Piece::BatchNorm { .. } => {
                let vectors = norm::Vectors {
                    weight: weight(),
                    bias: get("bias").expect("a bias"),
                    running_mean: get("running_mean").expect("a running mean"),
                    running_var: get("running_var").expect("a running variance"),
                };
                let passes = norm::passes(a, self.engine, input, vectors, grad_output);
                for (what, estimate) in ["running_mean", "running_var"].into_iter().zip(passes.running) {
                    entries.push((format!("{name}.{what}"), estimate));
                }
                (passes.output, passes.gradients)
            }
            Piece::Relu => return selected(Relu::default(), input, grad_output),
            Piece::MaxPool2d { kernel } => return selected(MaxPool2d::new(kernel), input, grad_output),
            Piece::Flatten => return selected(Flatten::default(), input, grad_output),
        };
        for (what, estimate) in [("weight", of_weight), ("bias", of_bias)] {
            entries.extend(get(what).map(|_| (format!("{name}.{what}.grad"), estimate)));
        }
        Expected { output, grad_input, entries }
    }

    /// The loss and ∂loss/∂logits.
    pub fn loss(self, logits: &ArrayD<f64>, target: &Target<f64>) -> (Bounded, Estimate) {
        loss::loss(self.arithmetic, logits, target)
    }
}

/// What only picks among numbers rounds nothing.
fn selected(mut layer: impl Layer<f64>, input: &ArrayD<f64>, grad_output: &ArrayD<f64>) -> Expected {
    let output = layer.forward(input.clone(), Mode::Train).expect("the layer's own input");
    let grad_input = layer.backward(grad_output.clone()).expect("the layer's own grad_output");
    Expected { output: Estimate::exact(output), grad_input: Estimate::exact(grad_input), entries: Vec::new() }
}
