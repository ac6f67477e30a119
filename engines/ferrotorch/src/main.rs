//! ferrotorch's `BatchNorm1d`, `BatchNorm2d` and `BatchNorm3d`, on the CPU, behind the engine
//! protocol.
//!
//! ferrotorch's words are PyTorch's. It keeps the running statistics in f64 whatever the
//! dtype of the layer: they are loaded and answered in that dtype. A layer has a weight and
//! a bias, or neither; it always tracks. A tensor that a gradient is asked of requires it,
//! and no other does.

mod norm;
mod reproduce;
mod time;

use std::collections::BTreeMap;

use bn_engine_kit::script::{Backward, Forward, Layer, play};
use bn_engine_kit::wanted;
use bn_protocol::adapter::Buffers;
use bn_protocol::capability::Capability;
use bn_protocol::case::{Case, Mode, Pass, Rank};
use bn_protocol::engine::{About, Engine, EngineError, Offer, Reproduction};
use bn_protocol::outcome::{Field, Outcome, Refusal};
use bn_protocol::tensor::{DType, Tensor};
use bn_protocol::timing::{Timed, Timing};
use ferrotorch_core::{FerrotorchError, FerrotorchResult, Float, Tensor as FerroTensor, no_grad};
use ferrotorch_nn::{BatchNorm1d, BatchNorm2d, BatchNorm3d, StateDict};
use half::{bf16, f16};
use norm::Norm;

struct Ferrotorch(About);

impl Engine for Ferrotorch {
    fn about(&self) -> &About {
        &self.0
    }

    fn run(&mut self, case: &Case) -> Result<Vec<Outcome>, EngineError> {
        let running_mean = case.state.running_mean.as_ref().expect("layers without it are not claimed");
        match running_mean.dtype {
            DType::F64 => run::<f64>(case, DType::F64),
            DType::F32 => run::<f32>(case, DType::F32),
            DType::F16 => run::<f16>(case, DType::F16),
            DType::Bf16 => run::<bf16>(case, DType::Bf16),
            DType::I64 | DType::Bool => unreachable!("no other dtypes are claimed"),
        }
    }

    fn reproduce(&mut self, case: &Case) -> Result<Reproduction, EngineError> {
        reproduce::program(case)
    }

    fn time(&mut self, timing: &Timing) -> Result<Timed, EngineError> {
        time::time(timing)
    }
}

fn run<T: Float>(case: &Case, dtype: DType) -> Result<Vec<Outcome>, EngineError> {
    play(case, |case| Loaded::<T>::new(case, dtype).map_err(Refusal::unsorted))
}

/// The layer of a case.
struct Loaded<T: Float> {
    layer: Box<dyn Norm<T>>,
    dtype: DType,
    /// Whether the case has a counter: the layer always has one.
    counts: bool,
}

impl<T: Float> Loaded<T> {
    fn new(case: &Case, dtype: DType) -> FerrotorchResult<Self> {
        let state = &case.state;
        let (num_features, eps, affine) = (case.layer.num_features, case.layer.eps, state.weight.is_some());
        let momentum = case.layer.momentum.expect("no cumulative average is claimed").0;
        let mut layer: Box<dyn Norm<T>> = match case.layer.rank {
            Rank::One => Box::new(BatchNorm1d::new(num_features, eps, momentum, affine)?),
            Rank::Two => Box::new(BatchNorm2d::new(num_features, eps, momentum, affine)?),
            Rank::Three => Box::new(BatchNorm3d::new(num_features, eps, momentum, affine)?),
            Rank::Any => unreachable!("a layer of any rank is not claimed"),
        };
        let named = [("weight", &state.weight), ("bias", &state.bias)];
        let parameters = named.into_iter().filter_map(|(name, tensor)| Some((name, tensor.as_ref()?)));
        let dict = parameters.map(|(name, tensor)| Ok((name.to_string(), to_ferrotorch(tensor)?)));
        layer.load_state_dict(&dict.collect::<FerrotorchResult<StateDict<T>>>()?, true)?;
        if let Some(running_mean) = &state.running_mean {
            layer.set_running_mean(&elements(running_mean))?;
        }
        if let Some(running_var) = &state.running_var {
            layer.set_running_var(&elements(running_var))?;
        }
        if let Some(batches) = state.num_batches_tracked {
            let taken = usize::try_from(batches).map_err(|_| FerrotorchError::InvalidArgument {
                message: format!("set_num_batches_tracked takes a usize, not {batches}"),
            });
            layer.set_num_batches_tracked(taken?)?;
        }
        Ok(Loaded { layer, dtype, counts: state.num_batches_tracked.is_some() })
    }

    fn forward_and_graph(&mut self, pass: &Pass) -> FerrotorchResult<Forward> {
        match pass.mode {
            Mode::Train => self.layer.train(),
            Mode::Eval => self.layer.eval(),
        }
        let dtype = self.dtype;
        let x = to_ferrotorch::<T>(&pass.input)?;
        let Some(grad_output) = &pass.grad_output else {
            let output = answer(&no_grad(|| self.layer.forward(&x))?, dtype)?;
            return Ok(Forward { output, backward: None });
        };
        let wanted = wanted(pass);
        let x = x.requires_grad_(wanted.input);
        for (parameter, wanted) in self.layer.parameters_mut().into_iter().zip([wanted.weight, wanted.bias]) {
            parameter.set_requires_grad(wanted);
        }
        let y = self.layer.forward(&x)?;
        let output = answer(&y, dtype)?;
        let grad_output = to_ferrotorch(grad_output)?;
        let parameters = self.layer.parameters().into_iter().map(|parameter| parameter.tensor().clone());
        let tensors: Vec<FerroTensor<T>> = parameters.chain([x]).collect();
        let fields = [Field::GradWeight, Field::GradBias, Field::GradInput];
        let fields = &fields[fields.len() - tensors.len()..];
        let sources: Vec<(Field, FerroTensor<T>)> = fields.iter().copied().zip(tensors).collect();
        let gradients = move || -> FerrotorchResult<BTreeMap<Field, Tensor>> {
            y.backward_with_gradient(&grad_output)?;
            let mut gradients = BTreeMap::new();
            for (field, tensor) in sources {
                if let Some(gradient) = tensor.grad()? {
                    gradients.insert(field, answer(&gradient, dtype)?);
                }
            }
            Ok(gradients)
        };
        let backward: Backward = Box::new(|| gradients().map_err(Refusal::unsorted));
        Ok(Forward { output, backward: Some(backward) })
    }
}

fn answer<T: Float>(tensor: &FerroTensor<T>, dtype: DType) -> FerrotorchResult<Tensor> {
    let data = tensor.data_vec()?.into_iter().map(|element| element.to_f64().expect("a float")).collect();
    Ok(Tensor::new(dtype, tensor.shape(), data))
}

impl<T: Float> Layer for Loaded<T> {
    fn forward(&mut self, pass: &Pass) -> Result<Forward, Refusal> {
        self.forward_and_graph(pass).map_err(Refusal::unsorted)
    }

    fn buffers(&self) -> Buffers {
        let rounded = |kept: Vec<f64>| {
            let data = kept.into_iter().map(|kept| T::from(kept).and_then(|rounded| rounded.to_f64()));
            Tensor::vector(self.dtype, &data.collect::<Option<Vec<f64>>>().expect("floats"))
        };
        Buffers {
            running_mean: Some(rounded(self.layer.running_mean())),
            running_var: Some(rounded(self.layer.running_var())),
            num_batches_tracked: self.counts.then(|| self.layer.num_batches_tracked() as i64),
        }
    }
}

fn elements<T: Float>(tensor: &Tensor) -> Vec<T> {
    tensor.data.iter().map(|&element| T::from(element).expect("a float")).collect()
}

fn to_ferrotorch<T: Float>(tensor: &Tensor) -> FerrotorchResult<FerroTensor<T>> {
    ferrotorch_core::from_vec(elements(tensor), &tensor.shape)
}

fn main() -> std::io::Result<()> {
    use Capability::*;
    let version = bn_engine_kit::locked_version(include_str!("../Cargo.lock"), "ferrotorch-nn");
    let dtypes = [F64, F32, F16, Bf16];
    let passes = [Train, Eval, TrainBackward, EvalBackward, DeferredBackward, OutputMask];
    let layers = [NoAffine, Counter, Rank1d, Rank2d, Rank3d, Empty];
    let about = About::new("ferrotorch", &version, dtypes.into_iter().chain(passes).chain(layers));
    bn_engine_kit::serve(Ferrotorch(about.offering([Offer::Reproduce, Offer::Time])))
}
