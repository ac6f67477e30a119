//! Batch norm, a sum and relu in one pass, against the three apart.
//!
//! Apart means: the layer's own pass (which other tests hold against the truth), in f64,
//! then the sum and relu by hand, then one rounding; and the layer's own backward pass at
//! the gradient that was masked by hand. Where both take the same way through the arrays,
//! every bit must agree.

use batchnorm::forward::{Affine, normalize_into};
use batchnorm::{
    BatchNorm, Config, DType, Element, Error, GradientsInto, MixesWith, OutputMask, Relu, ReluGradientsInto,
    ReluMask, Saved, State, Workspace,
};
use half::{bf16, f16};
use ndarray::{Array1, ArrayD, Axis, Dimension, IxDyn, Slice, array};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// How an array lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Contiguous,
    ChannelsLast,
    /// Channels first: rows that are one sample each.
    ChannelsFirst,
    /// Every second element of a larger array.
    Gaps,
    /// The last axis backwards.
    Backwards,
}

const LAYOUTS: [Layout; 5] =
    [Layout::Contiguous, Layout::ChannelsLast, Layout::ChannelsFirst, Layout::Gaps, Layout::Backwards];

fn in_order<T: Element>(array: &ArrayD<T>, order: &[usize]) -> ArrayD<T> {
    let mut back = vec![0; order.len()];
    order.iter().enumerate().for_each(|(to, &from)| back[from] = to);
    let moved = array.view().permuted_axes(IxDyn(order)).as_standard_layout().into_owned();
    moved.permuted_axes(IxDyn(&back))
}

/// The same values, laid so.
fn laid<T: Element>(array: &ArrayD<T>, layout: Layout) -> ArrayD<T> {
    let rank = array.ndim();
    let others = (0..rank).filter(|&axis| axis != 1);
    let last = Axis(rank - 1);
    match layout {
        Layout::Contiguous => array.as_standard_layout().into_owned(),
        Layout::ChannelsLast => in_order(array, &others.chain([1]).collect::<Vec<_>>()),
        Layout::ChannelsFirst => in_order(array, &[1].into_iter().chain(others).collect::<Vec<_>>()),
        Layout::Gaps => {
            let mut shape = array.shape().to_vec();
            shape[rank - 1] *= 2;
            let mut wide = ArrayD::from_elem(IxDyn(&shape), T::from_f64(f64::NAN));
            wide.slice_axis_inplace(last, Slice::new(1, None, 2));
            wide.assign(array);
            wide
        }
        Layout::Backwards => {
            let mut turned = array.clone();
            turned.invert_axis(last);
            let mut turned = turned.as_standard_layout().into_owned();
            turned.invert_axis(last);
            turned
        }
    }
}

/// Noise of deviation about 1 around `mean`.
fn noise<T: Element>(shape: &[usize], mean: f64, seed: u64) -> ArrayD<T> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    ArrayD::from_shape_simple_fn(IxDyn(shape), || T::from_f64(mean + (uniform() + uniform() - 1.0) * 2.4))
}

/// Of the same bits; one NaN is as good as another.
fn same<T: Element>(a: T, b: T) -> bool {
    let (a, b) = (a.to_f64(), b.to_f64());
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

#[track_caller]
fn assert_same<'a, T: Element>(
    what: &str,
    got: impl IntoIterator<Item = &'a T>,
    expected: impl IntoIterator<Item = &'a T>,
) {
    for (k, (got, expected)) in got.into_iter().zip(expected).enumerate() {
        assert!(same(*got, *expected), "{what}, {k}: {got:?}, expected {expected:?}");
    }
}

/// A question, but for the dtypes.
#[derive(Clone, Debug)]
struct Case {
    shape: Vec<usize>,
    layout: Layout,
    mean: f64,
    residual: bool,
    training: bool,
    /// Weights of both signs, or none.
    weight: bool,
    seed: u64,
}

fn layer<P: Element>(case: &Case) -> BatchNorm<P> {
    let c = case.shape[1];
    let config = Config { weight: case.weight, bias: case.weight, ..Config::new(c) };
    let mut layer = BatchNorm::<P>::new(config);
    let vector =
        |seed: u64, mean: f64| noise::<P>(&[c], mean, case.seed ^ seed).into_dimensionality().unwrap();
    let fresh = layer.state().clone();
    let state = State {
        weight: fresh.weight.as_ref().map(|_| vector(3, 0.0)),
        bias: fresh.bias.as_ref().map(|_| vector(4, 0.0)),
        running_mean: Some(Array1::from_elem(c, P::from_f64(case.mean))),
        ..fresh
    };
    *layer.state_mut() = state;
    layer.set_training(case.training);
    layer
}

/// bn(x) in f64, by the statistics that were saved, into an array laid as `output`.
fn normalized<T: Element, P: Element>(
    case: &Case,
    x: &ArrayD<T>,
    state: &State<P>,
    saved: &Saved<P>,
    output: &ArrayD<T>,
) -> ArrayD<f64> {
    let (weight, bias) = (
        state.weight.as_ref().map(|vector| vector.mapv(P::to_f64)),
        state.bias.as_ref().map(|vector| vector.mapv(P::to_f64)),
    );
    let affine = Affine {
        weight: weight.as_ref().map(|vector| vector.view()),
        bias: bias.as_ref().map(|vector| vector.view()),
    };
    // The output is full, in some order of axes: so is the image.
    let mut v = output.mapv(|_| 0.0f64);
    let x = laid(&x.mapv(T::to_f64), case.layout);
    normalize_into(x.view(), saved.statistics(), affine, v.view_mut()).unwrap();
    v
}

fn gate<T: Element>(g: &ArrayD<T>, mask: &ArrayD<bool>, layout: Layout) -> ArrayD<T> {
    let mut gated = g.clone();
    gated.zip_mut_with(mask, |g, &bit| *g = if bit { *g } else { T::from_f64(0.0) });
    laid(&gated, layout)
}

fn check<T: MixesWith<P>, P: Element>(case: &Case) {
    let Case { shape, layout, .. } = case;
    let name = format!("{} {} {case:?}", T::DTYPE, P::DTYPE);
    let x = laid(&noise::<T>(shape, case.mean, case.seed), *layout);
    let z = laid(&noise::<T>(shape, 0.25, case.seed ^ 1), *layout);
    let g = laid(&noise::<T>(shape, 0.5, case.seed ^ 2), *layout);
    let (mut fused, mut apart) = (layer::<P>(case), layer::<P>(case));
    let state = apart.state().clone();
    let (y, saved, mask) = if case.residual {
        fused.forward_add_relu(x.view(), z.view()).unwrap()
    } else {
        fused.forward_relu(x.view()).unwrap()
    };
    let (plain, plain_saved) = apart.forward(x.view()).unwrap();
    assert_eq!(saved, plain_saved, "{name}");
    assert_eq!(fused, apart, "{name}");

    let mut v = normalized(case, &x, &state, &saved, &plain);
    if T::DTYPE == DType::F64 {
        assert_same(&name, &v, &plain.mapv(T::to_f64));
    }
    if case.residual {
        v.zip_mut_with(&z, |v, z| *v += z.to_f64());
    }
    let passed = v.mapv(|v| v > 0.0 || v.is_nan());
    assert_eq!(mask.to_array(), passed, "{name}");
    let relu = v.mapv(|v| T::from_f64(if v > 0.0 || v.is_nan() { v } else { 0.0 }));
    assert_same(&name, &y, &relu);

    let gated = gate(&g, &passed, *layout);
    let expected = saved.backward(x.view(), gated.view(), OutputMask::ALL).unwrap();
    let got = if case.residual {
        let (gradients, residual) =
            saved.backward_add_relu(x.view(), g.view(), &mask, OutputMask::ALL).unwrap();
        assert_same(&name, &residual, &gated);
        gradients
    } else {
        saved.backward_relu(x.view(), g.view(), &mask, OutputMask::ALL).unwrap()
    };
    assert_same(&name, got.input.iter().flatten(), expected.input.iter().flatten());
    assert_same(&name, got.weight.iter().flatten(), expected.weight.iter().flatten());
    assert_same(&name, got.bias.iter().flatten(), expected.bias.iter().flatten());
    assert_eq!(got.weight.is_some(), case.weight);
}

fn check_dtypes(case: &Case) {
    check::<f64, f64>(case);
    check::<f32, f32>(case);
    check::<f16, f32>(case);
    check::<bf16, f32>(case);
    check::<f16, f16>(case);
}

/// Every mode of a shape, in every layout.
fn check_modes(shape: &[usize], mean: f64) {
    for layout in LAYOUTS {
        for (residual, training, weight) in [
            (false, true, true),
            (true, true, true),
            (true, true, false),
            (false, false, true),
            (true, false, false),
        ] {
            let shape = shape.to_vec();
            check_dtypes(&Case { shape, layout, mean, residual, training, weight, seed: 5 });
        }
    }
}

#[test]
fn rows_of_every_length_around_two_bytes() {
    for len in 1..=17 {
        check_modes(&[3, 5, len], 0.5);
    }
}

#[test]
fn as_many_channels_side_by_side() {
    for channels in 1..=17 {
        check_modes(&[4, channels], 0.5);
        check_modes(&[2, channels, 1, 3], 0.5);
    }
}

#[test]
fn means_far_from_zero_one_sample_and_many_channels() {
    check_modes(&[3, 4, 11], 1000.0);
    check_modes(&[1, 3, 37], 0.5);
    check_modes(&[1, 3, 37], -1000.0);
    check_modes(&[2, 70, 3, 3], 0.5);
    check_modes(&[3, 1, 40], 0.5);
}

/// More channels than a group of columns, several pieces and stretches, threads.
#[test]
fn large_arrays() {
    for (shape, layout) in [
        (vec![40, 1100, 3], Layout::ChannelsLast),
        (vec![300, 1100], Layout::Contiguous),
        (vec![2, 3, 41_003], Layout::Contiguous),
        (vec![40, 3, 33, 29], Layout::ChannelsLast),
    ] {
        for residual in [false, true] {
            let (training, weight) = (true, true);
            let case = Case { shape: shape.clone(), layout, mean: 0.5, residual, training, weight, seed: 9 };
            check::<f32, f32>(&case);
            check::<f64, f64>(&case);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("proptest-regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn one_pass_is_three(
        n in 2..6usize,
        c in 1..20usize,
        spatial in prop::collection::vec(1..7usize, 0..3),
        layout in prop::sample::select(&LAYOUTS[..]),
        mean in prop::sample::select(&[0.0, 0.5, -3.0, 1000.0][..]),
        residual: bool,
        training: bool,
        weight: bool,
        seed: u64,
    ) {
        let shape = [n, c].into_iter().chain(spatial).collect();
        check_dtypes(&Case { shape, layout, mean, residual, training, weight, seed });
    }
}

/// mean 0 and deviation 1, so that v = −x: relu lets through what is negative.
fn negated() -> BatchNorm<f64> {
    let mut layer = BatchNorm::<f64>::new(Config { eps: 0.0, ..Config::new(1) });
    layer.state_mut().weight = Some(array![-1.0]);
    layer.eval();
    layer
}

/// By hand. A mask of the input's sign would let through the other half, and sums over all
/// of g would come to 1111 and 2089.
#[test]
fn the_mask_is_of_what_relu_saw_and_gates_every_gradient() {
    let x = array![[-2.0], [-1.0], [1.0], [2.0]];
    let g = array![[1.0], [10.0], [100.0], [1000.0]];
    let (y, saved, mask) = negated().forward_relu(x.view()).unwrap();
    assert_eq!(y, array![[2.0], [1.0], [0.0], [0.0]]);
    assert_eq!(mask.to_array(), array![[true], [true], [false], [false]].into_dyn());
    let gradients = saved.backward_relu(x.view(), g.view(), &mask, OutputMask::ALL).unwrap();
    assert_eq!(gradients.input, Some(array![[-1.0], [-10.0], [0.0], [0.0]]));
    assert_eq!(gradients.weight, Some(array![-12.0]));
    assert_eq!(gradients.bias, Some(array![11.0]));

    // v = 2, −4, 2, −2.
    let z = array![[0.0], [-5.0], [3.0], [0.0]];
    let (y, saved, mask) = negated().forward_add_relu(x.view(), z.view()).unwrap();
    assert_eq!(y, array![[2.0], [0.0], [2.0], [0.0]]);
    let (gradients, residual) = saved.backward_add_relu(x.view(), g.view(), &mask, OutputMask::ALL).unwrap();
    assert_eq!(residual, array![[1.0], [0.0], [100.0], [0.0]]);
    assert_eq!(gradients.input, Some(array![[-1.0], [0.0], [-100.0], [0.0]]));
    assert_eq!(gradients.weight, Some(array![98.0]));
    assert_eq!(gradients.bias, Some(array![101.0]));
}

/// Zeros of either sign are not let through; NaN is; and of a gradient that is not let
/// through, not even NaN or ∞ remains.
#[test]
fn zeros_nan_and_infinities() {
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let x = array![[0.0], [-0.0], [nan], [-inf], [inf], [-1.0], [5e-324]];
    let g = array![[nan], [inf], [3.0], [5.0], [nan], [7.0], [-inf]];
    let passed = array![[false], [false], [true], [true], [false], [true], [false]].into_dyn();
    let (y, saved, mask) = negated().forward_relu(x.view()).unwrap();
    assert_same("y", &y, &array![[0.0], [0.0], [nan], [inf], [0.0], [1.0], [0.0]]);
    assert_eq!(mask.to_array(), passed);
    let (gradients, residual) = saved.backward_add_relu(x.view(), g.view(), &mask, OutputMask::ALL).unwrap();
    assert_same("residual", &residual, &array![[0.0], [0.0], [3.0], [5.0], [0.0], [7.0], [0.0]]);
    assert_eq!(gradients.bias, Some(array![15.0]));

    // What the normalisation gave, taken away again: every v is exactly 0.
    let x = noise::<f64>(&[6, 3, 7], 2.0, 1);
    let mut layer = BatchNorm::<f64>::new(Config::new(3));
    let minus = -layer.forward(x.view()).unwrap().0;
    let (y, _, mask) = layer.forward_add_relu(x.view(), minus.view()).unwrap();
    assert!(y.iter().all(|y| y.to_bits() == 0));
    assert!(mask.to_array().iter().all(|bit| !bit));
}

/// A channel that the kernels cannot measure is done again: the others keep their bits.
#[test]
fn a_channel_with_nan_or_beyond_f64_leaves_the_others_alone() {
    for layout in LAYOUTS {
        for (value, len) in [(f64::NAN, 9), (f64::INFINITY, 9), (1e200, 9), (1e200, 300)] {
            let good = noise::<f64>(&[3, 5, len], 0.5, 2);
            let mut bad = good.clone();
            bad[[1, 2, 3]] = value;
            let z = laid(&noise::<f64>(&[3, 5, len], 0.0, 3), layout);
            let run = |x: &ArrayD<f64>| {
                let x = laid(x, layout);
                let mut layer = BatchNorm::<f64>::new(Config::new(5));
                // A mask with every bit of another pass set.
                let mut mask = layer.forward_relu(x.mapv(|_| f64::NAN).view()).unwrap().2;
                let fresh = layer.forward_add_relu(x.view(), z.view()).unwrap().2;
                let (mut y, mut saved) = (x.clone(), Saved::default());
                let relu = Relu { residual: Some(z.view()), mask: &mut mask };
                layer.forward_relu_into(x.view(), relu, y.view_mut(), &mut saved).unwrap();
                assert_eq!(mask, fresh, "{layout:?} {value}: nothing is left of another pass");
                let mut plain = x.clone();
                layer.forward_into(x.view(), plain.view_mut(), &mut saved).unwrap();
                plain += &z;
                let passed = plain.mapv(|v| v > 0.0 || v.is_nan());
                assert_eq!(mask.to_array(), passed, "{layout:?} {value}");
                plain.mapv_inplace(|v| if v > 0.0 || v.is_nan() { v } else { 0.0 });
                assert_same("y", &y, &plain);
                let g = laid(&z, layout);
                let gated = gate(&g, &passed, layout);
                let got = saved.backward_relu(x.view(), g.view(), &mask, OutputMask::ALL).unwrap();
                let expected = saved.backward(x.view(), gated.view(), OutputMask::ALL).unwrap();
                assert_same("input", got.input.iter().flatten(), expected.input.iter().flatten());
                assert_same("weight", got.weight.iter().flatten(), expected.weight.iter().flatten());
                y
            };
            let (of_good, of_bad) = (run(&good), run(&bad));
            for c in [0, 1, 3, 4] {
                assert_same("y", of_bad.index_axis(Axis(1), c), of_good.index_axis(Axis(1), c));
            }
        }
    }
}

/// Forward in one memory order, backward in another, residual in a third: the same bits of
/// the mask, g' to the bit, and the rest as near as two ways of summing are.
#[test]
fn every_array_may_lie_otherwise() {
    let shape = [3, 10, 2, 7];
    let [x, z, g] = [1, 2, 3].map(|seed| noise::<f64>(&shape, 0.5, seed));
    let run = |of_x: Layout, of_z: Layout, of_backward: Layout, of_g: Layout| {
        let mut layer = BatchNorm::<f64>::new(Config::new(10));
        // Were the places between rows let through, their bits would be set.
        layer.state_mut().bias = Some(Array1::ones(10));
        let (x_there, z) = (laid(&x, of_x), laid(&z, of_z));
        let (y, saved, mask) = layer.forward_add_relu(x_there.view(), z.view()).unwrap();
        let (x, g) = (laid(&x, of_backward), laid(&g, of_g));
        let (gradients, residual) =
            saved.backward_add_relu(x.view(), g.view(), &mask, OutputMask::ALL).unwrap();
        (y, mask, gradients, residual)
    };
    let base = Layout::Contiguous;
    let (y, mask, gradients, residual) = run(base, base, base, base);
    // Noise has no v within the roundings of 0.
    assert!(y.iter().all(|&y| y == 0.0 || y > 1e-9));
    let near = |a: &ArrayD<f64>, b: &ArrayD<f64>| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);
    for of_x in LAYOUTS {
        for of_z in LAYOUTS {
            for of_backward in LAYOUTS {
                let (other_y, other_mask, other, other_residual) = run(of_x, of_z, of_backward, of_z);
                assert_eq!(other_mask, mask);
                assert_eq!(other_residual, residual);
                assert!(near(&other_y, &y), "{of_x:?} {of_z:?}");
                assert!(near(&other.input.unwrap(), gradients.input.as_ref().unwrap()));
                let (got, expected) = (other.weight.unwrap(), gradients.weight.as_ref().unwrap());
                assert!(near(&got.into_dyn(), &expected.clone().into_dyn()));
            }
        }
    }
}

#[test]
fn a_mask_tells_its_bits_its_shape_and_its_bytes() {
    let x = noise::<f32>(&[2, 3, 9], 0.0, 1);
    let mut layer = BatchNorm::<f32>::new(Config::new(3));
    let (y, _, mask) = layer.forward_relu(x.view()).unwrap();
    assert_eq!(mask.shape(), [2, 3, 9]);
    assert_eq!(mask.byte_len(), 2 * 3 * 2, "two bytes for each row of nine");
    for (index, y) in y.indexed_iter() {
        assert_eq!(mask.get(index.slice()), Some(*y > 0.0));
    }
    for outside in [&[2, 0, 0][..], &[0, 3, 0], &[0, 0, 9], &[0, 0], &[0, 0, 0, 0], &[]] {
        assert_eq!(mask.get(outside), None);
    }
    let (_, _, last) = layer.forward_relu(laid(&x, Layout::ChannelsLast).view()).unwrap();
    assert_eq!(last.byte_len(), 2 * 9, "a byte for the three channels of a position");
    assert_eq!(last, mask, "kept in another order");
    let none = ReluMask::default();
    assert_eq!((none.byte_len(), none.to_array().len(), none.get(&[0, 0])), (0, 0, None));
}

#[test]
fn empty_arrays_have_empty_masks() {
    for shape in [&[0, 3, 4][..], &[2, 3, 0], &[2, 0, 4]] {
        let x = ArrayD::<f32>::zeros(IxDyn(shape));
        let mut layer = BatchNorm::<f32>::new(Config::new(shape[1]));
        layer.eval();
        let (y, saved, mask) = layer.forward_add_relu(x.view(), x.view()).unwrap();
        assert_eq!((y.shape(), mask.byte_len()), (shape, 0));
        saved.backward_add_relu(x.view(), x.view(), &mask, OutputMask::ALL).unwrap();
    }
}

#[test]
fn other_shapes_are_refused_and_nothing_is_written() {
    let x = noise::<f32>(&[4, 3, 5], 0.0, 1);
    let other = noise::<f32>(&[4, 3, 6], 0.0, 1);
    // As many values in as many rows.
    let reshaped = x.clone().into_shape_with_order(IxDyn(&[4, 3, 5, 1])).unwrap();
    let refused = |name: &'static str, actual: &ArrayD<f32>| Error::Shape {
        name,
        expected: vec![4, 3, 5],
        actual: actual.shape().to_vec(),
    };
    let mut layer = BatchNorm::<f32>::new(Config::new(3));
    let before = layer.clone();
    for wrong in [&other, &reshaped] {
        assert_eq!(layer.forward_add_relu(x.view(), wrong.view()).unwrap_err(), refused("residual", wrong));
    }
    assert_eq!(layer, before);

    let (y, saved, mask) = layer.forward_relu(x.view()).unwrap();
    let of_other = layer.forward_relu(other.view()).unwrap().2;
    let of_reshaped = layer.forward_relu(reshaped.view()).unwrap().2;
    for (wrong, array) in [(&of_other, &other), (&of_reshaped, &reshaped)] {
        let got = saved.backward_relu(x.view(), y.view(), wrong, OutputMask::ALL).unwrap_err();
        assert_eq!(got, refused("mask", array));
    }
    for wrong in [&other, &reshaped] {
        let (mut wrong, mut input) = (wrong.clone(), x.clone());
        let expected = refused("grad_residual", &wrong);
        let batch_norm = GradientsInto { input: Some(input.view_mut()), weight: None, bias: None };
        let into = ReluGradientsInto { residual: Some(wrong.view_mut()), batch_norm };
        let got =
            saved.backward_relu_into(x.view(), y.view(), &mask, into, &mut Workspace::default()).unwrap_err();
        assert_eq!((got, &input), (expected, &x));
    }
    let wrong = saved.backward_relu(x.view(), y.view(), &ReluMask::default(), OutputMask::ALL).unwrap_err();
    assert_eq!(wrong, Error::Shape { name: "mask", expected: vec![4, 3, 5], actual: vec![0, 0] });
}
