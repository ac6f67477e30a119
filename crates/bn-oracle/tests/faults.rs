//! The known faults of libtorch 2.13 on the CPU, each shown in its smallest form.
//!
//! A test here passes as long as libtorch is wrong, and fails once it is
//! repaired: then it goes, with its line in tests/limits and the disputed cases
//! of the catalogue.

mod common;

use bn_suite::case::{Case, Cotangents, Layer, Mode, Pass, State};
use bn_suite::outcome::{Field, Outcome, RefusalKind};
use bn_suite::tensor::{DType, Layout, Tensor};
use bn_suite::truth;
use common::{case, ramp, run, slope, state, step};

/// The largest |got − expected| / allowance of a field.
fn ratio(case: &Case, outcomes: &[Outcome], at: usize, field: Field) -> f64 {
    let expected = &truth::solve(case)[at].fields[&field];
    let got = &outcomes[at].fields[&field];
    let distances = got.data.iter().zip(&expected.value.data).map(|(got, expected)| (got - expected).abs());
    distances.zip(&expected.allowance).map(|(distance, allowance)| distance / allowance).fold(0.0, f64::max)
}

/// A factor between rounding, which the allowance covers, and wrong numbers.
const WRONG: f64 = 100.0;

fn double_backward(state: State, cotangents: Cotangents) -> Case {
    let shape = [4, 2, 3];
    let mut pass = Pass::forward(Mode::Train, ramp(DType::F64, &shape));
    pass.grad_output = Some(slope(DType::F64, &shape));
    pass.cotangents = Some(cotangents);
    case(Layer { num_features: 2, ..Layer::default() }, state, vec![step(pass)])
}

fn bias_alone() -> State {
    State { weight: None, ..state(DType::F64, 2) }
}

#[test]
fn without_a_weight_the_cotangent_of_grad_bias_is_lost() {
    let grad_bias = Some(Tensor::vector(DType::F64, &[0.5, -2.0]));
    let case = double_backward(bias_alone(), Cotangents { grad_bias, ..Cotangents::default() });
    let outcomes = run(&case).unwrap();
    // ∂(Σ t·grad_bias)/∂grad_output = t, for every element of the channel.
    assert!(ratio(&case, &outcomes, 0, Field::SecondGradOutput) > WRONG);
    assert!(outcomes[0].fields[&Field::SecondGradOutput].data.iter().all(|&value| value == 0.0));
}

#[test]
fn without_a_weight_two_cotangents_together_are_refused() {
    let grad_bias = Some(Tensor::vector(DType::F64, &[0.5, -2.0]));
    let grad_input = Some(ramp(DType::F64, &[4, 2, 3]));
    let case = double_backward(bias_alone(), Cotangents { grad_input, grad_bias, ..Cotangents::default() });
    let refusal = run(&case).unwrap().remove(0).refused.expect("autograd raises an exception");
    assert_eq!(refusal.kind, RefusalKind::Unsorted);
    assert!(refusal.message.contains("Expected a proper Tensor but got None"), "{}", refusal.message);
}

#[test]
fn a_deferred_evaluation_backward_uses_statistics_that_training_changed() {
    let shape = [4, 2, 3];
    let mut eval = Pass::forward(Mode::Eval, ramp(DType::F64, &shape));
    eval.grad_output = Some(slope(DType::F64, &shape));
    eval.backward_at_end = true;
    let train = Pass::forward(Mode::Train, slope(DType::F64, &shape));
    let layer = Layer { num_features: 2, ..Layer::default() };
    let case = case(layer, state(DType::F64, 2), vec![step(eval), step(train)]);
    let outcomes = run(&case).unwrap();
    assert!(ratio(&case, &outcomes, 0, Field::GradInput) > WRONG);
    // grad_bias = Σg needs no statistics, and is right.
    assert!(ratio(&case, &outcomes, 0, Field::GradBias) <= 1.0);
}

/// Channels-last but for the stride of the axis of extent 1, which means nothing.
fn one_row(stride_of_the_row: usize) -> Case {
    let shape = [2, 3, 1, 4];
    let mut pass = Pass::forward(Mode::Train, ramp(DType::F64, &shape));
    let strides = vec![12, 1, stride_of_the_row, 3];
    pass.grad_output = Some(slope(DType::F64, &shape).with_layout(Layout::Strided { strides, offset: 0 }));
    case(Layer { num_features: 3, ..Layer::default() }, state(DType::F64, 3), vec![step(pass)])
}

#[test]
fn the_stride_of_an_axis_of_extent_one_changes_the_gradients() {
    let usual = one_row(12);
    let outcomes = run(&usual).unwrap();
    assert!(ratio(&usual, &outcomes, 0, Field::GradInput) <= 1.0);
    let odd = one_row(1);
    let outcomes = run(&odd).unwrap();
    for field in [Field::GradInput, Field::GradWeight, Field::GradBias] {
        assert!(ratio(&odd, &outcomes, 0, field) > WRONG, "{field}");
    }
}

/// With grad_output in another memory order than the input, the sum over it is
/// taken and rounded in its own dtype, whatever that of the bias.
#[test]
fn f32_parameters_can_get_16_bit_gradients() {
    let shape = [10, 2, 4];
    let mut pass = Pass::forward(Mode::Eval, ramp(DType::Bf16, &shape));
    // Forty values near 1, whose sum has more than the 8 digits of a bf16.
    let data = (0..80).map(|i| 1.0 + (i % 3) as f64 / 128.0).collect();
    let strides = vec![8, 1, 2];
    pass.grad_output =
        Some(Tensor::new(DType::Bf16, &shape, data).with_layout(Layout::Strided { strides, offset: 0 }));
    let layer = Layer { num_features: 2, ..Layer::default() };
    let case = case(layer, state(DType::F32, 2), vec![step(pass)]);
    let outcomes = run(&case).unwrap();
    assert!(ratio(&case, &outcomes, 0, Field::GradBias) > WRONG);
    let got = &outcomes[0].fields[&Field::GradBias];
    assert_eq!(got.dtype, DType::F32);
    assert!(got.data.iter().all(|&value| DType::Bf16.holds(value)), "{:?}", got.data);
}

#[test]
fn no_channels_with_a_weight_is_an_error() {
    let pass = Pass::forward(Mode::Train, Tensor::new(DType::F32, &[2, 0, 3], vec![]));
    let layer = Layer { num_features: 0, ..Layer::default() };
    let error = run(&case(layer, state(DType::F32, 0), vec![step(pass)])).unwrap_err().to_string();
    assert!(error.contains("index 0 out of range"), "{error}");
}

#[test]
fn a_refused_dtype_may_have_updated_the_running_statistics() {
    let pass = Pass::forward(Mode::Train, ramp(DType::F16, &[4, 2]));
    let state = State { bias: Some(Tensor::vector(DType::F32, &[0.5, 1.0])), ..state(DType::F16, 2) };
    let case = case(Layer { num_features: 2, ..Layer::default() }, state.clone(), vec![step(pass)]);
    let outcome = &run(&case).unwrap()[0];
    assert!(outcome.refused.is_some());
    assert_ne!(outcome.fields[&Field::RunningMean].data, state.running_mean.unwrap().data);
}
