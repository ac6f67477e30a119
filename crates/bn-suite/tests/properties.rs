//! On any case at all, small but of every kind, the engines that come with the
//! suite are within the allowances of the truth. What proptest finds, it shrinks,
//! prints as JSON, and keeps in `properties.proptest-regressions`, to be committed.
//!
//! The properties of batch norm itself are tested in the crate `batchnorm`.

mod common;

use bn_suite::case::{Case, Cotangents, Layer, Mode, Pass, Rank, State, Step};
use bn_suite::check::{Replay, Verdict, check};
use bn_suite::golden::Golden;
use bn_suite::number::Number;
use bn_suite::tensor::{DType, Layout, Tensor};
use bn_suite::truth::{self, format::nearest};
use common::{AFFINE, ENGINES, engine};
use proptest::prelude::*;
use proptest::test_runner::Config;

/// The mixes of input and parameters that batch norm takes.
const MIXES: [(DType, DType); 6] = [
    (DType::F64, DType::F64),
    (DType::F32, DType::F32),
    (DType::F16, DType::F32),
    (DType::Bf16, DType::F32),
    (DType::F16, DType::F16),
    (DType::Bf16, DType::Bf16),
];

fn tensor(dtype: DType, shape: Vec<usize>, mean: f64, deviation: f64) -> impl Strategy<Value = Tensor> {
    let len = shape.iter().product::<usize>();
    prop::collection::vec(-2.0..2.0, len).prop_map(move |values: Vec<f64>| {
        let data = values.iter().map(|value| nearest(dtype, mean + deviation * value)).collect();
        Tensor::new(dtype, &shape, data)
    })
}

/// A training or evaluation pass with first and second gradients.
fn pass(
    shape: Vec<usize>,
    input: DType,
    parameters: DType,
    affine: (bool, bool),
) -> impl Strategy<Value = Step> {
    let channels = vec![shape[1]];
    let layout = if shape.len() == 4 { Layout::ChannelsLast } else { Layout::Contiguous };
    let deviations = prop::sample::select(vec![0.01, 1.0, 30.0]);
    let means = prop::sample::select(vec![0.0, -0.5, 3.0]);
    (means, deviations, prop::bool::ANY, prop::bool::ANY).prop_flat_map(
        move |(mean, deviation, train, last)| {
            let layout = if last { layout.clone() } else { Layout::Contiguous };
            let like_input = |mean, deviation| tensor(input, shape.clone(), mean, deviation);
            let like_parameters = || tensor(parameters, channels.clone(), 0.25, 1.0);
            (
                like_input(mean, deviation),
                like_input(0.25, 1.0),
                like_input(0.0, 1.0),
                like_parameters(),
                like_parameters(),
            )
                .prop_map(move |(x, g, u, v, t)| {
                    let cotangents = Cotangents {
                        grad_input: Some(u),
                        grad_weight: affine.0.then_some(v),
                        grad_bias: affine.1.then_some(t),
                    };
                    Step::BatchNorm(Box::new(Pass {
                        grad_output: Some(g),
                        cotangents: Some(cotangents),
                        ..Pass::forward(
                            if train { Mode::Train } else { Mode::Eval },
                            x.with_layout(layout.clone()),
                        )
                    }))
                })
        },
    )
}

prop_compose! {
    fn setting()(
        batch in 2..5usize,
        channels in 1..4usize,
        spatial in prop::collection::vec(1..4usize, 0..4),
        mix in prop::sample::select(MIXES.to_vec()),
        affine in prop::sample::select(AFFINE.to_vec()),
        eps in prop::sample::select(vec![1e-5, 1e-3, 0.5]),
        momentum in prop::sample::select(vec![Some(0.1), Some(0.75), None]),
        tracking in prop::bool::weighted(0.8),
    ) -> (Vec<usize>, (DType, DType), (bool, bool), Layer) {
        let layer = Layer {
            rank: Rank::Any,
            num_features: channels,
            eps,
            momentum: momentum.map(Number),
            track_running_stats: tracking,
        };
        ([vec![batch, channels], spatial].concat(), mix, affine, layer)
    }
}

fn case() -> impl Strategy<Value = Case> {
    setting().prop_flat_map(|(shape, (input, parameters), affine, layer)| {
        let channels = vec![layer.num_features];
        let vector = |mean, deviation| tensor(parameters, channels.clone(), mean, deviation);
        let steps = prop::collection::vec(pass(shape.clone(), input, parameters, affine), 1..4);
        (vector(1.0, 0.25), vector(0.0, 0.5), vector(0.5, 0.5), vector(1.5, 0.5), steps).prop_map(
            move |(weight, bias, running_mean, running_var, steps)| Case {
                name: "properties/any".into(),
                note: "Made by proptest.".into(),
                layer: layer.clone(),
                state: State {
                    weight: affine.0.then_some(weight),
                    bias: affine.1.then_some(bias),
                    running_mean: Some(running_mean),
                    running_var: Some(running_var),
                    num_batches_tracked: Some(3),
                },
                steps,
            },
        )
    })
}

proptest! {
    #![proptest_config(Config { cases: 200, ..Config::default() })]

    #[test]
    fn every_engine_is_within_the_allowances(case in case()) {
        let golden = Golden { expected: truth::solve(&case), case, disputed: None };
        for name in ENGINES {
            let report = check(&golden, engine(name).as_mut(), &Replay::named(name));
            let passed = matches!(report.verdict, Verdict::Passed { .. });
            prop_assert!(passed, "{report}\n{}", serde_json::to_string(&golden).expect("a case is JSON"));
        }
    }
}
