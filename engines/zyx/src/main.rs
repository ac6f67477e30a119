//! zyx's `BatchNorm`, on its backend that compiles C, behind the engine protocol.
//!
//! zyx's words are PyTorch's; momentum weighs the new value; eps and momentum are f32
//! whatever the dtype. Its fields are public, and are how a layer is made: `new` asks for
//! a layer already. Whether it trains is a switch of the whole library. A pass whose
//! gradients are asked for happens under a tape, into which the whole layer is put; any
//! other computes at once. Input is (N, C, H, W). The counter is a tensor of the layer's
//! dtype.
//!
//! A panic ends this program, with its message on the standard error (see Cargo.toml): zyx
//! has one state for the whole process, behind a lock that a panic would leave locked.

mod reproduce;
mod surroundings;

use std::collections::BTreeMap;

use bn_engine_kit::{same_shape, wanted};
use bn_protocol::adapter::{Buffers, Layer, play};
use bn_protocol::capability::Capability;
use bn_protocol::case::{Case, Mode, Pass};
use bn_protocol::engine::{About, Engine, EngineError, Offer, Reproduction};
use bn_protocol::outcome::{Field, Outcome, Refusal};
use bn_protocol::tensor::{DType, Tensor};
use zyx::{DType as ZyxDType, Tape, Tensor as ZyxTensor, ZyxError};
use zyx_nn::BatchNorm;

struct Zyx(About);

impl Engine for Zyx {
    fn about(&self) -> &About {
        &self.0
    }

    fn run(&mut self, case: &Case) -> Result<Vec<Outcome>, EngineError> {
        play(case, |case| Loaded::new(case).map_err(Refusal::unsorted))
    }

    fn reproduce(&mut self, case: &Case) -> Result<Reproduction, EngineError> {
        reproduce::program(case)
    }
}

/// The layer of a case.
struct Loaded {
    layer: BatchNorm,
    /// Whether the case has a counter: the layer always has one.
    counts: bool,
}

impl Loaded {
    fn new(case: &Case) -> Result<Self, ZyxError> {
        let state = &case.state;
        let load = |tensor: &Option<Tensor>| {
            to_zyx(tensor.as_ref().expect("layers without running statistics are not claimed"))
        };
        let batches = state.num_batches_tracked.unwrap_or(0) as f64;
        let dtype = state.running_mean.as_ref().map_or(DType::F32, |mean| mean.dtype);
        let layer = BatchNorm {
            eps: case.layer.eps as f32,
            momentum: case.layer.momentum.expect("no cumulative average is claimed").0 as f32,
            track_running_stats: case.layer.track_running_stats,
            weight: state.weight.as_ref().map(to_zyx).transpose()?,
            bias: state.bias.as_ref().map(to_zyx).transpose()?,
            running_mean: load(&state.running_mean)?,
            running_var: load(&state.running_var)?,
            num_batches_tracked: to_zyx(&Tensor::vector(dtype, &[batches]))?,
        };
        Ok(Loaded { layer, counts: state.num_batches_tracked.is_some() })
    }

    fn forward_and_backward(&mut self, pass: &Pass) -> Result<BTreeMap<Field, Tensor>, ZyxError> {
        ZyxTensor::set_training(pass.mode == Mode::Train);
        let x = to_zyx(&pass.input)?;
        let Some(grad_output) = &pass.grad_output else {
            return Ok([(Field::Output, from_zyx(&self.layer.forward(&x)?)?)].into());
        };
        let tape = Tape::new(&self.layer)?;
        tape.add(&x)?;
        let parameters = (self.layer.weight.clone(), self.layer.bias.clone());
        let y = self.layer.forward(&x)?;
        same_shape(pass, grad_output).map_err(|problem| ZyxError::ShapeError(problem.into()))?;
        let mut asked = vec![];
        let mut ask = |field, tensor: &Option<ZyxTensor>, wanted: bool| {
            asked.extend(tensor.clone().filter(|_| wanted).map(|tensor| (field, tensor)));
        };
        let wanted = wanted(pass);
        ask(Field::GradInput, &Some(x), wanted.input);
        ask(Field::GradWeight, &parameters.0, wanted.weight);
        ask(Field::GradBias, &parameters.1, wanted.bias);
        let loss = (&y * to_zyx(grad_output)?).sum_all();
        let gradients = tape.gradient(&loss, asked.iter().map(|(_, tensor)| tensor));
        let layer = &self.layer;
        let kept = [&layer.running_mean, &layer.running_var, &layer.num_batches_tracked];
        let updated = kept.into_iter().filter(|_| pass.mode == Mode::Train);
        tape.realize(gradients.iter().chain([&y]).chain(updated))?;
        let mut fields = BTreeMap::from([(Field::Output, from_zyx(&y)?)]);
        for ((field, _), gradient) in asked.iter().zip(&gradients) {
            fields.insert(*field, from_zyx(gradient)?);
        }
        Ok(fields)
    }
}

impl Layer for Loaded {
    fn pass(&mut self, pass: &Pass) -> Result<BTreeMap<Field, Tensor>, Refusal> {
        self.forward_and_backward(pass).map_err(Refusal::unsorted)
    }

    fn buffers(&self) -> Buffers {
        let read = |tensor| from_zyx(tensor).expect("what was realized can be read");
        Buffers {
            running_mean: Some(read(&self.layer.running_mean)),
            running_var: Some(read(&self.layer.running_var)),
            num_batches_tracked: self.counts.then(|| read(&self.layer.num_batches_tracked).data[0] as i64),
        }
    }
}

fn to_zyx(tensor: &Tensor) -> Result<ZyxTensor, ZyxError> {
    let shape = tensor.shape.iter().map(|&extent| extent as i64);
    match tensor.dtype {
        DType::F64 => ZyxTensor::from_vec(tensor.data.clone(), shape),
        _ => ZyxTensor::from_vec(tensor.to_f32(), shape),
    }
}

fn from_zyx(tensor: &ZyxTensor) -> Result<Tensor, ZyxError> {
    let shape: Vec<usize> = tensor.shape().iter().map(|extent| extent.item::<i64>() as usize).collect();
    match tensor.dtype() {
        ZyxDType::F64 => Ok(Tensor::new(DType::F64, &shape, tensor.to_vec()?)),
        ZyxDType::F32 => Ok(Tensor::from_f32(&shape, &tensor.to_vec::<f32>()?)),
        other => panic!("an answer of dtype {other}"),
    }
}

fn main() -> std::io::Result<()> {
    use Capability::*;
    let answers = surroundings::take_stdout()?;
    surroundings::choose_backend()?;
    let version = bn_engine_kit::locked_version(include_str!("../Cargo.lock"), "zyx-nn");
    let passes = [F64, F32, Train, Eval, TrainBackward, EvalBackward, OutputMask];
    let layers = [NoAffine, PartialAffine, Counter, Rank2d, Empty];
    let about = About::new("zyx", &version, passes.into_iter().chain(layers));
    let mut engine = Zyx(about.offering([Offer::Reproduce]));
    bn_protocol::serve(&mut engine, std::io::stdin().lock(), answers)
}
