//! What the integration tests share: engines by name, wrong engines made from
//! right ones, and small cases.
#![allow(dead_code, reason = "each test file uses its part")]

use bn_suite::case::{Case, Cotangents, Layer, Mode, Pass, State, Step};
use bn_suite::engine::{About, Engine, EngineError};
use bn_suite::engines;
use bn_suite::number::Number;
use bn_suite::outcome::Outcome;
use bn_suite::tensor::{DType, Layout, Tensor};

/// The engines that need nothing but this crate.
pub const ENGINES: [&str; 2] = ["batchnorm", "textbook"];

/// An engine that comes with the suite.
pub fn engine(name: &str) -> Box<dyn Engine> {
    engines::by_name(name).unwrap_or_else(|| panic!("{name} comes with the suite"))
}

/// A right engine whose answers `change` spoils.
pub struct Spoiled<F> {
    inner: Box<dyn Engine>,
    change: F,
}

impl<F: FnMut(&Case, &mut Vec<Outcome>)> Spoiled<F> {
    pub fn new(change: F) -> Self {
        Spoiled { inner: engine("textbook"), change }
    }
}

impl<F: FnMut(&Case, &mut Vec<Outcome>)> Engine for Spoiled<F> {
    fn about(&self) -> &About {
        self.inner.about()
    }

    fn run(&mut self, case: &Case) -> Result<Vec<Outcome>, EngineError> {
        let mut outcomes = self.inner.run(case)?;
        (self.change)(case, &mut outcomes);
        Ok(outcomes)
    }
}

/// Weight and bias, weight, bias, none.
pub const AFFINE: [(bool, bool); 4] = [(true, true), (true, false), (false, true), (false, false)];

/// One f64 step with first and second cotangents, none of them uniform, and
/// parameters and running statistics that differ from channel to channel.
pub fn gradient_case(shape: &[usize], mode: Mode, affine: (bool, bool), layout: Layout) -> Case {
    let channels = shape[1];
    let like_input = |seed| Tensor::new(DType::F64, shape, values(seed, shape.iter().product(), 1.0));
    let per_channel = |seed, offset: f64| {
        let data: Vec<f64> = values(seed, channels, 0.25).iter().map(|v| offset + v).collect();
        Tensor::vector(DType::F64, &data)
    };
    let (weight, bias) = affine;
    let cotangents = Cotangents {
        grad_input: Some(like_input(3)),
        grad_weight: weight.then(|| per_channel(4, -0.75)),
        grad_bias: bias.then(|| per_channel(5, 1.25)),
    };
    let pass = Pass {
        grad_output: Some(like_input(2)),
        cotangents: Some(cotangents),
        ..Pass::forward(mode, like_input(1).with_layout(layout))
    };
    Case {
        name: format!("gradients/{shape:?} {mode:?} weight {weight} bias {bias}"),
        note: "made by a test".into(),
        layer: Layer { num_features: channels, eps: 0.125, momentum: Some(Number(0.3)), ..Layer::default() },
        state: State {
            weight: weight.then(|| per_channel(6, -1.5)),
            bias: bias.then(|| per_channel(7, 0.5)),
            running_mean: Some(per_channel(8, 0.375)),
            running_var: Some(per_channel(9, 1.75)),
            num_batches_tracked: Some(0),
        },
        steps: vec![Step::BatchNorm(Box::new(pass))],
    }
}

/// Values between −2 and 2 times `scale`, multiples of 2⁻¹⁰·scale.
pub fn values(seed: u64, len: usize, scale: f64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 40) % 4097) as f64 / 1024.0 - 2.0
    };
    (0..len).map(|_| scale * next()).collect()
}
