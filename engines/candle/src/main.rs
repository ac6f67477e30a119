//! candle's `BatchNorm`, on the CPU, behind the engine protocol.
//!
//! candle's words are PyTorch's, and so is the weight of the new value in momentum. It has
//! no counter, and no layer without running statistics. It says what it does not take in
//! errors of one kind. What a case differentiates is a `Var`, as the parameters of candle's
//! users are.

mod reproduce;
mod time;

use std::collections::BTreeMap;

use bn_engine_kit::script::{Backward, Forward, Layer, play};
use bn_engine_kit::{same_shape, wanted};
use bn_protocol::adapter::Buffers;
use bn_protocol::capability::Capability;
use bn_protocol::case::{Case, Mode, Pass};
use bn_protocol::engine::{About, Engine, EngineError, Offer, Reproduction};
use bn_protocol::outcome::{Field, Outcome, Refusal};
use bn_protocol::tensor::{DType, Tensor};
use bn_protocol::timing::{Timed, Timing};
use candle_core::{DType as CandleDType, Device, Error, Result, Tensor as CandleTensor, Var};
use candle_nn::{BatchNorm, ModuleT};

struct Candle(About);

impl Engine for Candle {
    fn about(&self) -> &About {
        &self.0
    }

    fn run(&mut self, case: &Case) -> std::result::Result<Vec<Outcome>, EngineError> {
        play(case, |case| Loaded::new(case).map_err(Refusal::unsorted))
    }

    fn reproduce(&mut self, case: &Case) -> std::result::Result<Reproduction, EngineError> {
        reproduce::program(case)
    }

    fn time(&mut self, timing: &Timing) -> std::result::Result<Timed, EngineError> {
        time::time(timing)
    }
}

/// The layer of a case, and what it differentiates.
struct Loaded {
    layer: BatchNorm,
    weight_and_bias: Option<(Var, Var)>,
}

impl Loaded {
    fn new(case: &Case) -> Result<Self> {
        let load =
            |tensor: &Option<Tensor>| to_candle(tensor.as_ref().expect("layers without it are not claimed"));
        let (mean, var) = (load(&case.state.running_mean)?, load(&case.state.running_var)?);
        let (num_features, eps) = (case.layer.num_features, case.layer.eps);
        let momentum = case.layer.momentum.expect("no cumulative average is claimed").0;
        if case.state.weight.is_none() {
            let layer = BatchNorm::new_no_bias_with_momentum(num_features, mean, var, eps, momentum)?;
            return Ok(Loaded { layer, weight_and_bias: None });
        }
        let weight = Var::from_tensor(&load(&case.state.weight)?)?;
        let bias = Var::from_tensor(&load(&case.state.bias)?)?;
        let (w, b) = (weight.as_tensor().clone(), bias.as_tensor().clone());
        let layer = BatchNorm::new_with_momentum(num_features, mean, var, w, b, eps, momentum)?;
        Ok(Loaded { layer, weight_and_bias: Some((weight, bias)) })
    }

    fn forward_and_graph(&self, pass: &Pass) -> Result<Forward> {
        let train = pass.mode == Mode::Train;
        let input = to_candle(&pass.input)?;
        let Some(grad_output) = &pass.grad_output else {
            let output = from_candle(&self.layer.forward_t(&input, train)?)?;
            return Ok(Forward { output, backward: None });
        };
        let wanted = wanted(pass);
        let x = Var::from_tensor(&input)?;
        let y = self.layer.forward_t(if wanted.input { &x } else { &input }, train)?;
        let output = from_candle(&y)?;
        same_shape(pass, grad_output).map_err(Error::msg)?;
        let grad_output = to_candle(grad_output)?;
        let mut sources = vec![(Field::GradInput, x, wanted.input)];
        if let Some((weight, bias)) = self.weight_and_bias.clone() {
            sources.push((Field::GradWeight, weight, wanted.weight));
            sources.push((Field::GradBias, bias, wanted.bias));
        }
        let gradients = move || -> Result<BTreeMap<Field, Tensor>> {
            let gradients = (y * grad_output)?.sum_all()?.backward()?;
            let asked = sources.iter().filter(|&&(_, _, wanted)| wanted);
            let found = asked.filter_map(|(field, var, _)| Some((*field, gradients.get(var)?)));
            found.map(|(field, gradient)| Ok((field, from_candle(gradient)?))).collect()
        };
        let backward: Backward = Box::new(|| gradients().map_err(Refusal::unsorted));
        Ok(Forward { output, backward: Some(backward) })
    }
}

impl Layer for Loaded {
    fn forward(&mut self, pass: &Pass) -> std::result::Result<Forward, Refusal> {
        self.forward_and_graph(pass).map_err(Refusal::unsorted)
    }

    fn buffers(&self) -> Buffers {
        let read = |tensor| Some(from_candle(tensor).expect("the CPU's memory can be read"));
        Buffers {
            running_mean: read(self.layer.running_mean()),
            running_var: read(self.layer.running_var()),
            num_batches_tracked: None,
        }
    }
}

fn to_candle(tensor: &Tensor) -> Result<CandleTensor> {
    let dtype = match tensor.dtype {
        DType::F64 => CandleDType::F64,
        DType::F32 => CandleDType::F32,
        DType::F16 => CandleDType::F16,
        DType::Bf16 => CandleDType::BF16,
        DType::I64 | DType::Bool => unreachable!("no other dtypes are claimed"),
    };
    CandleTensor::from_slice(&tensor.data, tensor.shape.as_slice(), &Device::Cpu)?.to_dtype(dtype)
}

/// In row-major order, wherever the framework left it in memory.
fn from_candle(tensor: &CandleTensor) -> Result<Tensor> {
    let dtype = match tensor.dtype() {
        CandleDType::F64 => DType::F64,
        CandleDType::F32 => DType::F32,
        CandleDType::F16 => DType::F16,
        CandleDType::BF16 => DType::Bf16,
        other => panic!("an answer of dtype {other:?}"),
    };
    let data = tensor.to_dtype(CandleDType::F64)?.flatten_all()?.to_vec1()?;
    Ok(Tensor::new(dtype, tensor.dims(), data))
}

fn main() -> std::io::Result<()> {
    use Capability::*;
    let version = bn_engine_kit::locked_version(include_str!("../Cargo.lock"), "candle-nn");
    let dtypes = [F64, F32, F16, Bf16];
    let passes = [Train, Eval, TrainBackward, EvalBackward, DeferredBackward, OutputMask];
    let layers = [NoAffine, RankAny, Empty];
    let about = About::new("candle", &version, dtypes.into_iter().chain(passes).chain(layers));
    bn_engine_kit::serve(Candle(about.offering([Offer::Reproduce, Offer::Time])))
}
