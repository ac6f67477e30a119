//! The functions on arrays refuse what does not fit, by name and with both
//! sizes, and a refused call has written nothing.

use batchnorm::backward::{At, GradSums, backward_into, grad_input_into, gradient_sums_into};
use batchnorm::double_backward::{Cotangents, SecondSums, double_backward_into};
use batchnorm::forward::{forward_train_into, normalize_into};
use batchnorm::moments::moments_into;
use batchnorm::{Affine, Error, Moments, Origin, Statistics, moments};
use ndarray::{Array1, ArrayD, IxDyn};

/// Everything that a call of these functions reads or writes.
#[derive(Clone, Debug, PartialEq)]
struct Arrays {
    input: ArrayD<f64>,
    grad_output: ArrayD<f64>,
    weight: Array1<f64>,
    bias: Array1<f64>,
    statistics: Vec<Statistics>,
    u: ArrayD<f64>,
    v: Array1<f64>,
    t: Array1<f64>,
    output: ArrayD<f64>,
    another_output: ArrayD<f64>,
    moments: Vec<Moments>,
    sums: Vec<GradSums>,
    second_sums: Vec<SecondSums>,
}

const SHAPE: [usize; 3] = [4, 2, 3];

fn ramp(shape: &[usize]) -> ArrayD<f64> {
    let mut next = 0.0;
    ArrayD::from_shape_simple_fn(IxDyn(shape), || {
        next += 1.0;
        next % 5.0
    })
}

/// Arrays that fit each other.
fn fitting() -> Arrays {
    let two = Array1::from(vec![2.0, 3.0]);
    let input = ramp(&SHAPE);
    let measured = moments(input.view()).unwrap();
    Arrays {
        grad_output: ramp(&SHAPE) * 2.0,
        u: ramp(&SHAPE) + 1.0,
        output: ArrayD::zeros(IxDyn(&SHAPE)),
        another_output: ArrayD::zeros(IxDyn(&SHAPE)),
        weight: two.clone(),
        bias: two.clone(),
        v: two.clone(),
        t: two,
        statistics: measured.iter().map(|moments| Statistics::from_moments(moments, 0.5)).collect(),
        moments: vec![Moments::default(); 2],
        sums: vec![GradSums::default(); 2],
        second_sums: vec![SecondSums::default(); 2],
        input,
    }
}

/// A call, and its name.
type Call = (&'static str, fn(&mut Arrays) -> Result<(), Error>);

const MOMENTS: Call = ("moments_into", |a| moments_into(a.input.view(), &mut a.moments));

const FORWARD: Call = ("forward_train_into", |a| {
    let affine = Affine { weight: Some(a.weight.view()), bias: Some(a.bias.view()) };
    let output = a.output.view_mut();
    forward_train_into(a.input.view(), affine, 0.25, output, &mut a.moments, &mut a.statistics)
});

const NORMALIZE: Call = ("normalize_into", |a| {
    let affine = Affine { weight: Some(a.weight.view()), bias: Some(a.bias.view()) };
    normalize_into(a.input.view(), &a.statistics, affine, a.output.view_mut())
});

fn at<'a>(
    input: &'a ArrayD<f64>,
    grad_output: &'a ArrayD<f64>,
    weight: &'a Array1<f64>,
    statistics: &'a [Statistics],
) -> At<'a, f64, f64> {
    let (input, grad_output) = (input.view(), grad_output.view());
    At { input, grad_output, weight: Some(weight.view()), statistics, origin: Origin::Batch }
}

const BACKWARD: Call = ("backward_into", |a| {
    let at = at(&a.input, &a.grad_output, &a.weight, &a.statistics);
    backward_into(&at, &mut a.sums, Some(a.output.view_mut()))
});

const GRADIENT_SUMS: Call = ("gradient_sums_into", |a| {
    gradient_sums_into(&at(&a.input, &a.grad_output, &a.weight, &a.statistics), &mut a.sums)
});

const GRAD_INPUT: Call = ("grad_input_into", |a| {
    let at = at(&a.input, &a.grad_output, &a.weight, &a.statistics);
    let sums: Vec<_> =
        a.sums.iter().map(|_| GradSums { count: 12, grad_bias: 6.0, grad_weight: 3.0 }).collect();
    grad_input_into(&at, &sums, a.output.view_mut())
});

const DOUBLE_BACKWARD: Call = ("double_backward_into", |a| {
    let at = at(&a.input, &a.grad_output, &a.weight, &a.statistics);
    let (u, v, t) = (Some(a.u.view()), Some(a.v.view()), Some(a.t.view()));
    let cotangents = Cotangents { grad_input: u, grad_weight: v, grad_bias: t };
    let (output, another) = (a.output.view_mut(), a.another_output.view_mut());
    double_backward_into(&at, &cotangents, &mut a.second_sums, output, another)
});

#[test]
fn what_fits_is_computed() {
    for (name, call) in [MOMENTS, FORWARD, NORMALIZE, BACKWARD, GRADIENT_SUMS, GRAD_INPUT, DOUBLE_BACKWARD] {
        let mut arrays = fitting();
        call(&mut arrays).unwrap();
        assert_ne!(arrays, fitting(), "{name}");
    }
}

/// Each of `calls`, with one thing changed, refuses with this error and writes nothing.
fn refused(calls: &[Call], change: fn(&mut Arrays), error: Error) {
    for (name, call) in calls {
        let mut arrays = fitting();
        change(&mut arrays);
        let before = arrays.clone();
        assert_eq!(call(&mut arrays), Err(error.clone()), "{name}");
        assert_eq!(arrays, before, "{name} wrote before it refused");
    }
}

fn shape(name: &'static str, expected: &[usize], actual: &[usize]) -> Error {
    Error::Shape { name, expected: expected.to_vec(), actual: actual.to_vec() }
}

const BACKWARDS: [Call; 4] = [BACKWARD, GRADIENT_SUMS, GRAD_INPUT, DOUBLE_BACKWARD];

#[test]
fn an_input_needs_an_axis_of_channels() {
    let rank = Error::Rank { expected: "at least 2D", actual: 1 };
    let one_axis: fn(&mut Arrays) = |a| a.input = ramp(&[4]);
    refused(&[MOMENTS, FORWARD, NORMALIZE], one_axis, rank.clone());
    refused(&BACKWARDS, one_axis, rank);
}

#[test]
fn arrays_have_the_shape_of_the_input() {
    const OTHER: [usize; 3] = [4, 2, 2];
    refused(&[FORWARD, NORMALIZE], |a| a.output = ramp(&OTHER), shape("output", &SHAPE, &OTHER));
    refused(&BACKWARDS, |a| a.grad_output = ramp(&OTHER), shape("grad_output", &SHAPE, &OTHER));
    refused(&[BACKWARD, GRAD_INPUT], |a| a.output = ramp(&OTHER), shape("grad_input", &SHAPE, &OTHER));
    let second = |name| shape(name, &SHAPE, &OTHER);
    refused(&[DOUBLE_BACKWARD], |a| a.output = ramp(&OTHER), second("the second gradient of grad_output"));
    refused(&[DOUBLE_BACKWARD], |a| a.another_output = ramp(&OTHER), second("the second gradient of input"));
    refused(&[DOUBLE_BACKWARD], |a| a.u = ramp(&OTHER), second("the cotangent of grad_input"));
}

#[test]
fn vectors_have_the_length_of_the_channels() {
    let number = |name| Error::NumFeatures { name, expected: 2, actual: 3 };
    let readers = [FORWARD, NORMALIZE, BACKWARD, GRADIENT_SUMS, GRAD_INPUT, DOUBLE_BACKWARD];
    refused(&readers, |a| a.weight = Array1::ones(3), number("weight"));
    refused(&[FORWARD, NORMALIZE], |a| a.bias = Array1::ones(3), number("bias"));
    refused(&readers, |a| a.statistics.push(Statistics::default()), shape("statistics", &[2], &[3]));
    refused(&[MOMENTS, FORWARD], |a| a.moments.push(Moments::default()), shape("moments", &[2], &[3]));
    let sums = shape("sums", &[2], &[3]);
    refused(&BACKWARDS[..3], |a| a.sums.push(GradSums::default()), sums.clone());
    refused(&[DOUBLE_BACKWARD], |a| a.second_sums.push(SecondSums::default()), sums);
    let cotangent = |name| shape(name, &[2], &[3]);
    refused(&[DOUBLE_BACKWARD], |a| a.v = Array1::ones(3), cotangent("the cotangent of grad_weight"));
    refused(&[DOUBLE_BACKWARD], |a| a.t = Array1::ones(3), cotangent("the cotangent of grad_bias"));
}
