//! A few lines to build a case with.

use bn_oracle::LibtorchEngine;
use bn_suite::case::{Case, Layer, Pass, State, Step};
use bn_suite::engine::{Engine, EngineError};
use bn_suite::outcome::Outcome;
use bn_suite::tensor::{DType, Tensor};

/// A layer of any rank, and what happens to it.
pub fn case(layer: Layer, state: State, steps: Vec<Step>) -> Case {
    Case { name: "oracle/case".into(), note: "A case of the oracle's own tests.".into(), layer, state, steps }
}

/// Parameters and buffers of C channels, none of them at its default.
pub fn state(dtype: DType, channels: usize) -> State {
    let vector = |first: f64| {
        let data: Vec<f64> = (0..channels).map(|c| first + 0.25 * c as f64).collect();
        Some(Tensor::vector(dtype, &data))
    };
    State {
        weight: vector(1.5),
        bias: vector(-0.5),
        running_mean: vector(0.25),
        running_var: vector(0.75),
        num_batches_tracked: Some(0),
    }
}

/// Values between −2 and 2, no two neighbours alike, exact in every dtype.
pub fn ramp(dtype: DType, shape: &[usize]) -> Tensor {
    let count = shape.iter().product::<usize>();
    Tensor::new(dtype, shape, (0..count).map(|i| ((i * 7 + 3) % 17) as f64 * 0.25 - 2.0).collect())
}

/// Other values, for gradients.
pub fn slope(dtype: DType, shape: &[usize]) -> Tensor {
    let count = shape.iter().product::<usize>();
    Tensor::new(dtype, shape, (0..count).map(|i| ((i * 5 + 1) % 11) as f64 * 0.5 - 1.0).collect())
}

/// A step.
pub fn step(pass: Pass) -> Step {
    Step::BatchNorm(Box::new(pass))
}

/// libtorch's answers.
pub fn run(case: &Case) -> Result<Vec<Outcome>, EngineError> {
    LibtorchEngine::default().run(case)
}
