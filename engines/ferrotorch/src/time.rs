//! ferrotorch's passes on the clock. On the CPU it computes at once.

use bn_engine_kit::timing::{calls, grad_output, input, is_f32};
use bn_protocol::engine::EngineError;
use bn_protocol::timing::{Op, Timed, Timing};
use ferrotorch_core::{FerrotorchResult, Tensor, from_vec, no_grad};
use ferrotorch_nn::{BatchNorm2d, Module};

pub fn time(timing: &Timing) -> Result<Timed, EngineError> {
    if !is_f32(timing) {
        return Err(EngineError::Unsupported("timed on f32 alone".into()));
    }
    timed(timing).map_err(|error| EngineError::Failed(error.to_string()))
}

fn timed(timing: &Timing) -> FerrotorchResult<Timed> {
    let mut layer = BatchNorm2d::<f32>::new(timing.shape[1], 1e-5, 0.1, true)?;
    if timing.op == Op::ForwardEval {
        layer.eval();
    }
    let x = from_vec(input(timing), &timing.shape)?;
    if timing.op != Op::BackwardTrain {
        let forward = |()| no_grad(|| layer.forward(&x));
        return calls(timing, || Ok(()), forward, |y: Tensor<f32>| y.data_vec());
    }
    let x = x.requires_grad_(true);
    let grad_output = from_vec(grad_output(timing), &timing.shape)?;
    let forward = || {
        x.zero_grad()?;
        layer.parameters().into_iter().try_for_each(|parameter| parameter.zero_grad())?;
        layer.forward(&x)
    };
    let backward = |y: Tensor<f32>| y.backward_with_gradient(&grad_output);
    calls(timing, forward, backward, |()| x.grad()?.expect("x requires it").data_vec())
}
