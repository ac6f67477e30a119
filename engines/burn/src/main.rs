//! burn's `BatchNorm`, on its own CPU backend (flex), behind the engine protocol.
//!
//! burn's words: gamma and beta are weight and bias; momentum weighs the new value, as in
//! PyTorch; the rank of a tensor is in its type. What a layer does is chosen by the device
//! and by the layer: on a device with autodiff it trains, unless its `training` is off. It
//! has no counter, and no layer without gamma and beta or without statistics. What it does
//! not take, it answers with a panic.

mod reproduce;
mod time;

use bn_engine_kit::script::{Backward, Forward, Layer, play};
use bn_engine_kit::{same_shape, wanted};
use bn_protocol::adapter::Buffers;
use bn_protocol::capability::Capability;
use bn_protocol::case::{Case, Mode, Pass};
use bn_protocol::engine::{About, Engine, EngineError, Offer, Reproduction};
use bn_protocol::outcome::{Field, Outcome, Refusal};
use bn_protocol::tensor::{DType, Tensor};
use bn_protocol::timing::{Timed, Timing};
use burn::module::{Module, Param, RunningState};
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::{DType as BurnDType, Device, Tensor as BurnTensor, TensorData};

struct Burn(About);

impl Engine for Burn {
    fn about(&self) -> &About {
        &self.0
    }

    fn run(&mut self, case: &Case) -> Result<Vec<Outcome>, EngineError> {
        play(case, |case| Ok(Loaded::new(case)))
    }

    fn reproduce(&mut self, case: &Case) -> Result<Reproduction, EngineError> {
        reproduce::program(case)
    }

    fn time(&mut self, timing: &Timing) -> Result<Timed, EngineError> {
        time::time(timing)
    }
}

/// The layer of a case.
struct Loaded {
    layer: BatchNorm,
    device: Device,
}

impl Loaded {
    /// As a checkpoint is loaded into a new layer.
    fn new(case: &Case) -> Self {
        let device = Device::flex().autodiff();
        let momentum = case.layer.momentum.expect("no cumulative average is claimed").0;
        let config = BatchNormConfig::new(case.layer.num_features);
        let mut layer = config.with_epsilon(case.layer.eps).with_momentum(momentum).init(&device);
        let state = &case.state;
        let load = |tensor: &Option<Tensor>| {
            to_burn::<1>(tensor.as_ref().expect("only layers that have it are claimed"), &device)
        };
        layer.gamma = Param::from_tensor(load(&state.weight));
        layer.beta = Param::from_tensor(load(&state.bias));
        layer.running_mean = RunningState::new(load(&state.running_mean));
        layer.running_var = RunningState::new(load(&state.running_var));
        Loaded { layer, device }
    }

    fn forward_of_rank<const D: usize>(&mut self, pass: &Pass) -> Result<Forward, Refusal> {
        let Some(grad_output) = &pass.grad_output else {
            return Ok(Forward { output: from_burn(self.without_gradients::<D>(pass)), backward: None });
        };
        let wanted = wanted(pass);
        let x = to_burn::<D>(&pass.input, &self.device).set_require_grad(wanted.input);
        self.layer.training = Param::from_bool(pass.mode == Mode::Train);
        let y = self.layer.forward(x.clone());
        let output = from_burn(y.clone());
        same_shape(pass, grad_output).map_err(Refusal::unsorted)?;
        let grad_output = to_burn(grad_output, &self.device);
        let (gamma, beta) = (self.layer.gamma.val(), self.layer.beta.val());
        let backward: Backward = Box::new(move || {
            let gradients = (y * grad_output).sum().backward();
            let input = x.grad(&gradients).map(from_burn).filter(|_| wanted.input);
            let weight = gamma.grad(&gradients).map(from_burn).filter(|_| wanted.weight);
            let bias = beta.grad(&gradients).map(from_burn).filter(|_| wanted.bias);
            let named = [(Field::GradInput, input), (Field::GradWeight, weight), (Field::GradBias, bias)];
            Ok(named.into_iter().filter_map(|(field, gradient)| Some((field, gradient?))).collect())
        });
        Ok(Forward { output, backward: Some(backward) })
    }

    /// A pass without gradients, as burn's users write one: to evaluate, on `valid()`, the
    /// layer as it is without autodiff.
    fn without_gradients<const D: usize>(&mut self, pass: &Pass) -> BurnTensor<D> {
        match pass.mode {
            Mode::Train => {
                self.layer.training = Param::from_bool(true);
                self.layer.forward(to_burn(&pass.input, &self.device))
            }
            Mode::Eval => self.layer.valid().forward(to_burn(&pass.input, &Device::flex())),
        }
    }
}

impl Layer for Loaded {
    fn forward(&mut self, pass: &Pass) -> Result<Forward, Refusal> {
        match pass.input.shape.len() {
            1 => self.forward_of_rank::<1>(pass),
            2 => self.forward_of_rank::<2>(pass),
            3 => self.forward_of_rank::<3>(pass),
            4 => self.forward_of_rank::<4>(pass),
            5 => self.forward_of_rank::<5>(pass),
            6 => self.forward_of_rank::<6>(pass),
            7 => self.forward_of_rank::<7>(pass),
            8 => self.forward_of_rank::<8>(pass),
            rank => panic!("this program was compiled for ranks from 1 to 8, not {rank}"),
        }
    }

    fn buffers(&self) -> Buffers {
        Buffers {
            running_mean: Some(from_burn(self.layer.running_mean.value_sync())),
            running_var: Some(from_burn(self.layer.running_var.value_sync())),
            num_batches_tracked: None,
        }
    }
}

fn to_burn<const D: usize>(tensor: &Tensor, device: &Device) -> BurnTensor<D> {
    let dtype = match tensor.dtype {
        DType::F64 => BurnDType::F64,
        DType::F32 => BurnDType::F32,
        DType::F16 => BurnDType::F16,
        DType::Bf16 => BurnDType::BF16,
        DType::I64 | DType::Bool => unreachable!("no other dtypes are claimed"),
    };
    let data = TensorData::new(tensor.data.clone(), tensor.shape.clone());
    BurnTensor::from_data(data, (device, dtype))
}

fn from_burn<const D: usize>(tensor: BurnTensor<D>) -> Tensor {
    let data = tensor.into_data();
    let dtype = match data.dtype() {
        BurnDType::F64 => DType::F64,
        BurnDType::F32 => DType::F32,
        BurnDType::F16 => DType::F16,
        BurnDType::BF16 => DType::Bf16,
        other => panic!("an answer of dtype {other:?}"),
    };
    Tensor::new(dtype, data.shape().as_slice(), data.iter::<f64>().collect())
}

fn main() -> std::io::Result<()> {
    use Capability::*;
    let version = bn_engine_kit::locked_version(include_str!("../Cargo.lock"), "burn");
    let claims = [
        F64,
        F32,
        F16,
        Bf16,
        Train,
        Eval,
        TrainBackward,
        EvalBackward,
        DeferredBackward,
        OutputMask,
        RankAny,
        Empty,
    ];
    // Built under two names: see ../burn-portable.
    let name = env!("CARGO_PKG_NAME").trim_start_matches("bn-engine-");
    let about = About::new(name, &version, claims);
    bn_engine_kit::serve(Burn(about.offering([Offer::Reproduce, Offer::Time])))
}
