//! candle's `BatchNorm`, on the CPU, behind the engine protocol.
//!
//! candle's words are PyTorch's, and so is the weight of the new value in momentum. It has
//! no counter, and no layer without running statistics. It says what it does not take in
//! errors of one kind. What a case differentiates is a `Var`, as the parameters of candle's
//! users are.

mod reproduce;
mod time;

use std::collections::BTreeMap;

use bn_engine_kit::{same_shape, wanted};
use bn_protocol::adapter::{Buffers, Layer, play};
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

    fn forward_and_backward(&self, pass: &Pass) -> Result<BTreeMap<Field, Tensor>> {
        let train = pass.mode == Mode::Train;
        let input = to_candle(&pass.input)?;
        let Some(grad_output) = &pass.grad_output else {
            return Ok([(Field::Output, from_candle(&self.layer.forward_t(&input, train)?)?)].into());
        };
        let wanted = wanted(pass);
        let x = Var::from_tensor(&input)?;
        let y = match wanted.input {
            true => self.layer.forward_t(&x, train)?,
            false => self.layer.forward_t(&input, train)?,
        };
        let mut fields = BTreeMap::from([(Field::Output, from_candle(&y)?)]);
        same_shape(pass, grad_output).map_err(Error::msg)?;
        let gradients = (y * to_candle(grad_output)?)?.sum_all()?.backward()?;
        let mut answer = |field, wanted, var: &Var| -> Result<()> {
            if let Some(gradient) = gradients.get(var).filter(|_| wanted) {
                fields.insert(field, from_candle(gradient)?);
            }
            Ok(())
        };
        answer(Field::GradInput, wanted.input, &x)?;
        if let Some((weight, bias)) = &self.weight_and_bias {
            answer(Field::GradWeight, wanted.weight, weight)?;
            answer(Field::GradBias, wanted.bias, bias)?;
        }
        Ok(fields)
    }
}

impl Layer for Loaded {
    fn pass(&mut self, pass: &Pass) -> std::result::Result<BTreeMap<Field, Tensor>, Refusal> {
        self.forward_and_backward(pass).map_err(Refusal::unsorted)
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
    let claims =
        [F64, F32, F16, Bf16, Train, Eval, TrainBackward, EvalBackward, OutputMask, NoAffine, RankAny, Empty];
    let about = About::new("candle", &version, claims);
    bn_engine_kit::serve(Candle(about.offering([Offer::Reproduce, Offer::Time])))
}
