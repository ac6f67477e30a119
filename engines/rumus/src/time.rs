//! rumus's passes on the clock. On the CPU it computes at once.

use bn_engine_kit::timing::{calls, grad_output, input, is_f32};
use bn_protocol::engine::EngineError;
use bn_protocol::timing::{Op, Timed, Timing};
use rumus::autograd::{AutogradError, backward_with_grad, context};
use rumus::nn::{BatchNorm2d, Module};
use rumus::tensor::Tensor;

pub fn time(timing: &Timing) -> Result<Timed, EngineError> {
    if !is_f32(timing) {
        return Err(EngineError::Unsupported("there is nothing but f32".into()));
    }
    timed(timing).map_err(|error| EngineError::Failed(error.to_string()))
}

fn timed(timing: &Timing) -> Result<Timed, AutogradError> {
    let mut layer = BatchNorm2d::new(timing.shape[1]);
    if timing.op == Op::ForwardEval {
        layer.eval();
    }
    let mut x = Tensor::new(input(timing), timing.shape.clone());
    let elements = |tensor: Tensor| Ok(tensor.contiguous().data().to_vec());
    if timing.op != Op::BackwardTrain {
        let _not_recorded = context::no_grad();
        return calls(timing, || Ok(()), |()| Ok(layer.forward(&x)), elements);
    }
    drop(context::take_tape());
    x.set_requires_grad(true);
    let grad_output = Tensor::new(grad_output(timing), timing.shape.clone());
    let backward = |y: Tensor| backward_with_grad(&y, grad_output.clone());
    calls(
        timing,
        || Ok(layer.forward(&x)),
        backward,
        |mut gradients| {
            let grad_input = x.grad_id().and_then(|id| gradients.remove(id));
            elements(grad_input.expect("x requires it"))
        },
    )
}
