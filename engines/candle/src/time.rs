//! candle's passes on the clock. On the CPU it computes at once.
//!
//! A backward pass starts from a number, the loss Σ output·grad_output, and pays for the
//! product and the sum as well.

use bn_engine_kit::timing::{calls, grad_output, input, is_f32};
use bn_protocol::engine::EngineError;
use bn_protocol::timing::{Op, Timed, Timing};
use candle_core::{Device, Result, Tensor, Var};
use candle_nn::{BatchNorm, ModuleT};

pub fn time(timing: &Timing) -> std::result::Result<Timed, EngineError> {
    if !is_f32(timing) {
        return Err(EngineError::Unsupported("timed on f32 alone".into()));
    }
    timed(timing).map_err(|error| EngineError::Failed(error.to_string()))
}

fn timed(timing: &Timing) -> Result<Timed> {
    let array = |data: Vec<f32>| Var::from_vec(data, timing.shape.as_slice(), &Device::Cpu);
    let channels = |value: f32| Var::from_vec(vec![value; timing.shape[1]], timing.shape[1], &Device::Cpu);
    let (weight, bias) = (channels(1.0)?, channels(0.0)?);
    let (w, b) = (weight.as_tensor().clone(), bias.as_tensor().clone());
    let (mean, var) = (channels(0.0)?.as_detached_tensor(), channels(1.0)?.as_detached_tensor());
    let layer = BatchNorm::new_with_momentum(timing.shape[1], mean, var, w, b, 1e-5, 0.1)?;
    let x = array(input(timing))?;
    let elements = |tensor: Tensor| tensor.flatten_all()?.to_vec1::<f32>();
    let train = timing.op != Op::ForwardEval;
    if timing.op == Op::BackwardTrain {
        let grad_output = array(grad_output(timing))?.as_detached_tensor();
        let forward = || (layer.forward_t(&x, train)? * &grad_output)?.sum_all();
        let backward = |loss: Tensor| {
            let mut gradients = loss.backward()?;
            Ok([&x, &weight, &bias].map(|var| gradients.remove(var)))
        };
        calls(timing, forward, backward, |[grad_input, ..]| elements(grad_input.expect("x is a Var")))
    } else {
        let x = x.as_detached_tensor();
        calls(timing, || Ok(()), |()| layer.forward_t(&x, train), elements)
    }
}
