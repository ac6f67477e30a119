//! burn's passes on the clock. flex computes at once, so there is nothing to wait for.
//!
//! A backward pass starts from a number, the loss Σ output·grad_output, and pays for the
//! product and the sum as well.

use bn_engine_kit::timing::{calls, grad_output, input, is_f32};
use bn_protocol::engine::EngineError;
use bn_protocol::timing::{Op, Timed, Timing};
use burn::module::Module;
use burn::nn::BatchNormConfig;
use burn::tensor::{Device, Tensor, TensorData};

pub fn time(timing: &Timing) -> Result<Timed, EngineError> {
    if !is_f32(timing) {
        return Err(EngineError::Unsupported("timed on f32 alone".into()));
    }
    let shape: [usize; 4] = timing.shape.as_slice().try_into().expect("(N, C, H, W)");
    let array =
        |data: Vec<f32>, device: &Device| Tensor::<4>::from_data(TensorData::new(data, shape), device);
    let elements = |tensor: Tensor<4>| Ok(tensor.into_data().iter::<f32>().collect());
    let plain = Device::flex();
    let training = plain.clone().autodiff();
    let layer = BatchNormConfig::new(shape[1]).init(&training);
    match timing.op {
        Op::ForwardTrain => {
            let x = array(input(timing), &training);
            calls(timing, || Ok(x.clone()), |x| Ok(layer.forward(x)), elements)
        }
        Op::ForwardEval => {
            let (layer, x) = (layer.valid(), array(input(timing), &plain));
            calls(timing, || Ok(x.clone()), |x| Ok(layer.forward(x)), elements)
        }
        Op::BackwardTrain => {
            let x = array(input(timing), &training).require_grad();
            let grad_output = array(grad_output(timing), &training);
            let forward = || Ok((layer.forward(x.clone()) * grad_output.clone()).sum());
            let backward = |loss: Tensor<1>| {
                let gradients = loss.backward();
                Ok((
                    x.grad(&gradients),
                    layer.gamma.val().grad(&gradients),
                    layer.beta.val().grad(&gradients),
                ))
            };
            calls(timing, forward, backward, |(grad_input, ..)| elements(grad_input.expect("x requires it")))
        }
    }
}
