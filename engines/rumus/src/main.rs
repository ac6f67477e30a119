//! rumus's `BatchNorm2d`, on the CPU, behind the engine protocol.
//!
//! rumus's words are PyTorch's, but `epsilon`; momentum weighs the new value. Everything is
//! f32, eps and momentum too, and the only rank is 4. What tracks gradients is recorded on a
//! tape of the thread, which a backward pass consumes: so every case starts without one, and
//! a pass without gradients is not recorded.

mod reproduce;
mod time;

use std::collections::{BTreeMap, HashMap};

use bn_engine_kit::wanted;
use bn_protocol::adapter::{Buffers, Layer, play};
use bn_protocol::capability::Capability;
use bn_protocol::case::{Case, Mode, Pass};
use bn_protocol::engine::{About, Engine, EngineError, Offer, Reproduction};
use bn_protocol::outcome::{Field, Outcome, Refusal};
use bn_protocol::tensor::Tensor;
use bn_protocol::timing::{Timed, Timing};
use rumus::autograd::{AutogradError, backward_with_grad, context};
use rumus::nn::{BatchNorm2d, Module};
use rumus::tensor::Tensor as RumusTensor;

struct Rumus(About);

impl Engine for Rumus {
    fn about(&self) -> &About {
        &self.0
    }

    fn run(&mut self, case: &Case) -> Result<Vec<Outcome>, EngineError> {
        drop(context::take_tape());
        play(case, |case| load(case).map(Loaded).map_err(Refusal::unsorted))
    }

    fn reproduce(&mut self, case: &Case) -> Result<Reproduction, EngineError> {
        reproduce::program(case)
    }

    fn time(&mut self, timing: &Timing) -> Result<Timed, EngineError> {
        time::time(timing)
    }
}

/// A new layer, into which the case's state is loaded as a state dict.
fn load(case: &Case) -> Result<BatchNorm2d, AutogradError> {
    let momentum = case.layer.momentum.expect("no cumulative average is claimed").0;
    let (eps, momentum) = (case.layer.eps as f32, momentum as f32);
    let mut layer = BatchNorm2d::with_config(case.layer.num_features, eps, momentum);
    let state = &case.state;
    let named = [
        ("weight", &state.weight),
        ("bias", &state.bias),
        ("running_mean", &state.running_mean),
        ("running_var", &state.running_var),
    ];
    let tensor =
        |tensor: &Option<Tensor>| to_rumus(tensor.as_ref().expect("layers without it are not claimed"));
    let dict = named.map(|(name, array)| (name.to_string(), tensor(array)));
    layer.load_state_dict(&HashMap::from(dict), "")?;
    Ok(layer)
}

/// The layer of a case.
struct Loaded(BatchNorm2d);

impl Loaded {
    fn forward_and_backward(&mut self, pass: &Pass) -> Result<BTreeMap<Field, Tensor>, AutogradError> {
        match pass.mode {
            Mode::Train => self.0.train(),
            Mode::Eval => self.0.eval(),
        }
        let mut x = to_rumus(&pass.input);
        let Some(grad_output) = &pass.grad_output else {
            let _not_recorded = context::no_grad();
            return Ok([(Field::Output, from_rumus(&self.0.forward(&x)))].into());
        };
        let wanted = wanted(pass);
        x.set_requires_grad(wanted.input);
        let y = self.0.forward(&x);
        let mut fields = BTreeMap::from([(Field::Output, from_rumus(&y))]);
        let gradients = backward_with_grad(&y, to_rumus(grad_output))?;
        let of = |tensor: &RumusTensor| gradients.get(tensor.grad_id()?).map(from_rumus);
        if wanted.input {
            fields.extend(of(&x).map(|gradient| (Field::GradInput, gradient)));
        }
        if wanted.weight {
            fields.extend(of(&self.0.weight.tensor).map(|gradient| (Field::GradWeight, gradient)));
        }
        if wanted.bias {
            fields.extend(of(&self.0.bias.tensor).map(|gradient| (Field::GradBias, gradient)));
        }
        Ok(fields)
    }
}

impl Layer for Loaded {
    fn pass(&mut self, pass: &Pass) -> Result<BTreeMap<Field, Tensor>, Refusal> {
        self.forward_and_backward(pass).map_err(Refusal::unsorted)
    }

    fn buffers(&self) -> Buffers {
        let dict = self.0.state_dict("");
        Buffers {
            running_mean: dict.get("running_mean").map(from_rumus),
            running_var: dict.get("running_var").map(from_rumus),
            num_batches_tracked: None,
        }
    }
}

fn to_rumus(tensor: &Tensor) -> RumusTensor {
    RumusTensor::new(tensor.to_f32(), tensor.shape.clone())
}

fn from_rumus(tensor: &RumusTensor) -> Tensor {
    Tensor::from_f32(tensor.shape(), &tensor.contiguous().data())
}

fn main() -> std::io::Result<()> {
    use Capability::*;
    let version = bn_engine_kit::locked_version(include_str!("../Cargo.lock"), "rumus");
    let claims = [F32, Train, Eval, TrainBackward, EvalBackward, OutputMask, Rank2d, Empty];
    let about = About::new("rumus", &version, claims);
    bn_engine_kit::serve(Rumus(about.offering([Offer::Reproduce, Offer::Time])))
}
