//! dfdx's `BatchNorm1D` and `BatchNorm2D`, on the CPU, behind the engine protocol.
//!
//! In dfdx the number of channels is a part of the type, and so is what trains: a tensor
//! with a tape trains (`forward_mut`), one without evaluates (`forward`), and there are no
//! gradients in evaluation. Input of another rank or with other channels does not compile;
//! here that is a refusal. `BatchNorm2D` also takes (C, H, W), a single example.
//!
//! The words are PyTorch's, but `scale` is the weight; momentum weighs the new value. There
//! is no counter, and no layer without scale and bias or without statistics. It is not timed:
//! see Cargo.toml.

mod channels;
mod reproduce;

use std::collections::BTreeMap;

use bn_engine_kit::script::{Backward, Forward, Layer, play};
use bn_engine_kit::{same_shape, wanted};
use bn_protocol::adapter::Buffers;
use bn_protocol::capability::Capability;
use bn_protocol::case::{Case, Mode, Pass, Rank};
use bn_protocol::engine::{About, Engine, EngineError, Offer, Reproduction};
use bn_protocol::outcome::{Field, Outcome, Refusal};
use bn_protocol::tensor::{DType, Tensor};
use dfdx::nn::modules::{BatchNorm1D, BatchNorm2D};
use dfdx::prelude::*;
use dfdx::tensor::{CpuError, Tensor as DfdxTensor};
use dfdx::tensor_ops::Backward as _;

struct Dfdx(About);

impl Engine for Dfdx {
    fn about(&self) -> &About {
        &self.0
    }

    fn run(&mut self, case: &Case) -> Result<Vec<Outcome>, EngineError> {
        channels::run(case)
    }

    fn reproduce(&mut self, case: &Case) -> Result<Reproduction, EngineError> {
        reproduce::program(case)
    }
}

/// Plays a case of `C` channels in the dtype `E`.
fn run<const C: usize, E: Float>(case: &Case) -> Result<Vec<Outcome>, EngineError>
where
    Cpu: Device<E>,
{
    play(case, |case| Loaded::<C, E>::new(case).map_err(refusal))
}

/// The element types, as the protocol names them.
trait Float: Dtype {
    const DTYPE: DType;
}

impl Float for f32 {
    const DTYPE: DType = DType::F32;
}

impl Float for f64 {
    const DTYPE: DType = DType::F64;
}

/// The layer of a case.
enum Loaded<const C: usize, E: Float> {
    One(BatchNorm1D<C, E, Cpu>),
    Two(BatchNorm2D<C, E, Cpu>),
}

impl<const C: usize, E: Float> Loaded<C, E>
where
    Cpu: Device<E>,
{
    fn new(case: &Case) -> Result<Self, CpuError> {
        let device = Cpu::default();
        let load = |tensor: &Option<Tensor>| {
            let tensor = tensor.as_ref().expect("layers without it are not claimed");
            device.try_tensor_from_vec(elements(tensor), (Const::<C>,))
        };
        let scale = load(&case.state.weight)?;
        let bias = load(&case.state.bias)?;
        let running_mean = load(&case.state.running_mean)?;
        let running_var = load(&case.state.running_var)?;
        let epsilon = case.layer.eps;
        let momentum = case.layer.momentum.expect("no cumulative average is claimed").0;
        Ok(match case.layer.rank {
            Rank::One => {
                Loaded::One(BatchNorm1D { scale, bias, running_mean, running_var, epsilon, momentum })
            }
            Rank::Two => {
                Loaded::Two(BatchNorm2D { scale, bias, running_mean, running_var, epsilon, momentum })
            }
            Rank::Three | Rank::Any => unreachable!("there are no other layers, and none are claimed"),
        })
    }
}

/// The forward pass of `$layer` over input whose shape has the type of `$shape`: it is spelt out for
/// each of dfdx's shapes, as what a module takes is a trait of the very type.
macro_rules! forward {
    ($layer:ident, $pass:ident, $shape:expr) => {{
        let device = Cpu::default();
        let x = device.try_tensor_from_vec(elements::<E>(&$pass.input), $shape)?;
        if $pass.mode == Mode::Eval {
            return Ok(Forward { output: answer(&$layer.try_forward(x)?), backward: None });
        }
        let y = $layer.try_forward_mut(x.leaky_trace())?;
        let output = answer(&y);
        let Some(grad_output) = &$pass.grad_output else {
            return Ok(Forward { output, backward: None });
        };
        same_shape($pass, grad_output).map_err(PassError::GradOutput)?;
        let grad_output = device.try_tensor_from_vec(elements::<E>(grad_output), $shape)?;
        let (scale, bias, wanted) = ($layer.scale.clone(), $layer.bias.clone(), wanted($pass));
        let gradients = move || -> Result<BTreeMap<Field, Tensor>, CpuError> {
            let gradients = y.try_mul(grad_output)?.try_sum::<Rank0, _>()?.try_backward()?;
            let mut fields = BTreeMap::new();
            if wanted.input {
                fields.insert(Field::GradInput, answer(&gradients.get(&x)));
            }
            if wanted.weight {
                fields.insert(Field::GradWeight, answer(&gradients.get(&scale)));
            }
            if wanted.bias {
                fields.insert(Field::GradBias, answer(&gradients.get(&bias)));
            }
            Ok(fields)
        };
        let backward: Backward = Box::new(|| gradients().map_err(refusal));
        Ok(Forward { output, backward: Some(backward) })
    }};
}

impl<const C: usize, E: Float> Loaded<C, E>
where
    Cpu: Device<E>,
{
    fn forward_and_graph(&mut self, pass: &Pass) -> Result<Forward, PassError> {
        let channels = Const::<C>;
        match (self, pass.input.shape.as_slice()) {
            (Loaded::One(layer), &[n, c]) if c == C => forward!(layer, pass, (n, channels)),
            (Loaded::One(layer), &[n, c, l]) if c == C => forward!(layer, pass, (n, channels, l)),
            (Loaded::Two(layer), &[c, h, w]) if c == C => forward!(layer, pass, (channels, h, w)),
            (Loaded::Two(layer), &[n, c, h, w]) if c == C => forward!(layer, pass, (n, channels, h, w)),
            (Loaded::One(_), shape) => Err(PassError::Type(format!("BatchNorm1D<{C}>"), shape.to_vec())),
            (Loaded::Two(_), shape) => Err(PassError::Type(format!("BatchNorm2D<{C}>"), shape.to_vec())),
        }
    }
}

impl<const C: usize, E: Float> Layer for Loaded<C, E>
where
    Cpu: Device<E>,
{
    fn forward(&mut self, pass: &Pass) -> Result<Forward, Refusal> {
        self.forward_and_graph(pass).map_err(|error| match error {
            PassError::Type(layer, shape) => {
                Refusal::unsorted(format!("{layer} over {shape:?} does not compile"))
            }
            PassError::GradOutput(problem) => Refusal::unsorted(problem),
            PassError::Cpu(error) => refusal(error),
        })
    }

    fn buffers(&self) -> Buffers {
        let (mean, var) = match self {
            Loaded::One(layer) => (&layer.running_mean, &layer.running_var),
            Loaded::Two(layer) => (&layer.running_mean, &layer.running_var),
        };
        Buffers {
            running_mean: Some(answer(mean)),
            running_var: Some(answer(var)),
            num_batches_tracked: None,
        }
    }
}

/// Why there is no answer to a pass.
enum PassError {
    /// No type of input has this shape for this layer.
    Type(String, Vec<usize>),
    /// What is not the gradient of the output.
    GradOutput(String),
    /// dfdx's own error.
    Cpu(CpuError),
}

impl From<CpuError> for PassError {
    fn from(error: CpuError) -> Self {
        PassError::Cpu(error)
    }
}

fn refusal(error: CpuError) -> Refusal {
    Refusal::unsorted(format!("{error:?}"))
}

fn elements<E: Float>(tensor: &Tensor) -> Vec<E> {
    tensor.data.iter().map(|&element| E::from_f64(element).expect("a float")).collect()
}

fn answer<S: Shape, E: Float, T>(tensor: &DfdxTensor<S, E, Cpu, T>) -> Tensor
where
    Cpu: Device<E>,
{
    let data = tensor.as_vec().into_iter().map(|element| element.to_f64().expect("a float")).collect();
    Tensor::new(E::DTYPE, tensor.shape().concrete().as_ref(), data)
}

fn main() -> std::io::Result<()> {
    use Capability::*;
    let version = bn_engine_kit::locked_version(include_str!("../Cargo.lock"), "dfdx");
    let claims = [F64, F32, Train, Eval, TrainBackward, DeferredBackward, OutputMask, Rank1d, Rank2d, Empty];
    let about = About::new("dfdx", &version, claims);
    bn_engine_kit::serve(Dfdx(about.offering([Offer::Reproduce])))
}
