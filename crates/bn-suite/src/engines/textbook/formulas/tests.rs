//! Gradients are the slopes of what they are gradients of.

use super::*;
use crate::case::{Layer, Mode};
use crate::engines::textbook::Right;
use crate::tensor::{DType, Layout};

const X: [f64; 5] = [1.0, -2.0, 0.5, 3.0, 0.25];
const G: [f64; 5] = [0.3, -1.0, 2.0, 0.7, -0.4];
const U: [f64; 5] = [-0.6, 0.2, 1.1, -0.9, 0.8];
const EPS: f64 = 0.5;
const WEIGHT: f64 = -1.5;
const V: f64 = 0.7;
const T: f64 = -0.3;

/// A training pass over one channel of five values.
fn with_context<T>(f: impl FnOnce(&Context) -> T) -> T {
    f(&Context {
        layer: &Layer { eps: EPS, ..Layer::default() },
        mode: Mode::Train,
        own_statistics: true,
        shape: &[5, 1],
        layout: &Layout::Contiguous,
        input: DType::F64,
        parameters: DType::F64,
        parts: &[],
        channel: 0,
    })
}

fn channel(x: &[f64], weight: f64, cx: &Context) -> Channel {
    let statistics = Right.batch_statistics(x, cx);
    let x_hat = Right.normalise(x, &statistics, cx);
    let invstd = Right.invstd(&statistics, cx);
    Channel { x: x.to_vec(), x_hat, statistics, invstd, weight: Some(weight), bias: None }
}

fn gradients(x: &[f64], g: &[f64], weight: f64) -> Gradients {
    with_context(|cx| Right.backward(&channel(x, weight, cx), g, cx))
}

fn loss(x: &[f64]) -> f64 {
    with_context(|cx| {
        let statistics = Right.batch_statistics(x, cx);
        Right.dot(&G, &Right.output(x, &statistics, Some(WEIGHT), Some(0.2), cx), cx)
    })
}

fn s(x: &[f64], g: &[f64], weight: f64) -> f64 {
    let Gradients { input, weight, bias } = gradients(x, g, weight);
    with_context(|cx| Right.dot(&U, &input, cx)) + V * weight + T * bias
}

/// (f(z + h) − f(z − h))/2h. With h = 2⁻¹⁷ the truncation is f‴·h²/6 ≈
/// 10⁻¹¹·f‴ and the rounding 2⁻⁵³·|f|/h ≈ 10⁻¹¹·|f|; here |f| and |f‴| stay
/// below 30.
fn slope(f: impl Fn(f64) -> f64, at: f64) -> f64 {
    let h = 2f64.powi(-17);
    (f(at + h) - f(at - h)) / (2.0 * h)
}

fn replaced(values: &[f64], index: usize, value: f64) -> Vec<f64> {
    let mut copy = values.to_vec();
    copy[index] = value;
    copy
}

fn assert_close(analytic: f64, numeric: f64) {
    assert!((analytic - numeric).abs() < 1e-9, "{analytic} against {numeric}");
}

#[test]
fn gradients_are_slopes() {
    let gradients = gradients(&X, &G, WEIGHT);
    for (i, x) in X.into_iter().enumerate() {
        assert_close(gradients.input[i], slope(|v| loss(&replaced(&X, i, v)), x));
    }
}

#[test]
fn second_gradients_are_slopes() {
    let cotangents = Cotangents { input: U.to_vec(), weight: V, bias: T };
    let second = with_context(|cx| Right.double_backward(&channel(&X, WEIGHT, cx), &G, &cotangents, cx));
    assert_close(second.weight, slope(|w| s(&X, &G, w), WEIGHT));
    for i in 0..X.len() {
        assert_close(second.input[i], slope(|v| s(&replaced(&X, i, v), &G, WEIGHT), X[i]));
        assert_close(second.grad_output[i], slope(|v| s(&X, &replaced(&G, i, v), WEIGHT), G[i]));
    }
}

/// The mean of 10¹⁵ + {0, 1, 1} is 10¹⁵ + 2/3, which no f64 holds (the gap
/// there is 1/8); the variance is 2/9.
#[test]
fn the_mean_keeps_more_digits_than_an_f64() {
    let statistics = with_context(|cx| Right.batch_statistics(&[1e15, 1e15 + 1.0, 1e15 + 1.0], cx));
    assert_close(statistics.mean_rest + (statistics.mean - 1e15), 2.0 / 3.0);
    assert_close(statistics.var_biased, 2.0 / 9.0);
}
