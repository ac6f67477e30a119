//! The layer as its users meet it: known values, state, refusals, deferred
//! backward passes, parts, empty batches, and what one NaN may touch.

use batchnorm::{
    BatchNorm, BatchNorm1d, BatchNorm2d, BatchNorm3d, Config, DType, Error, Map, Momentum, Origin,
    OutputMask, Rank, Saved, State,
};
use half::{bf16, f16};
use ndarray::{Array1, Array2, Array3, Array4, Array5, array};

/// mean 2, 3, 4, 5; biased variance 2/3; unbiased 1.
fn three_by_four<T: batchnorm::Element>() -> Array2<T> {
    Array2::from_shape_fn((3, 4), |(row, column)| T::from_f64((row + column + 1) as f64))
}

/// What x − mean = 1 becomes at variance 2/3 and eps 1e-5.
fn one_normalised() -> f64 {
    1.0 / (2.0 / 3.0 + 1e-5f64).sqrt()
}

fn three_by_four_rounds_once<T: batchnorm::MixesWith<P>, P: batchnorm::Element>() {
    let mut layer = BatchNorm1d::<P>::new(Config::new(4));
    let (output, _) = layer.forward(three_by_four::<T>().view()).unwrap();
    // An f64 with 3 roundings of its own is within 2⁻⁵¹ of the truth, and no
    // midpoint of the narrower dtypes lies that near to it.
    let ends = T::from_f64(one_normalised());
    let columns = array![[-ends.to_f64()], [0.0], [ends.to_f64()]];
    for column in 0..4 {
        let got = output.column(column).mapv(T::to_f64);
        let off = (&got - &columns.column(0)).mapv(f64::abs).sum();
        let allowed = if T::DTYPE == DType::F64 { 2f64.powi(-50) } else { 0.0 };
        assert!(off <= allowed, "{}: {got} for {columns}", T::DTYPE);
    }
    let rounded = |values: [f64; 4]| Some(Array1::from(values.map(P::from_f64).to_vec()));
    let near = |got: &Option<Array1<P>>, values: [f64; 4]| match P::DTYPE {
        // 0.1·2 and 0.9·1 + 0.1·1 round in f64 as well.
        DType::F64 => got.iter().flatten().zip(values).all(|(g, v)| (g.to_f64() - v).abs() <= 2f64.powi(-52)),
        _ => *got == rounded(values),
    };
    assert!(near(&layer.state().running_mean, [0.2, 0.3, 0.4, 0.5]), "{:?}", layer.state().running_mean);
    assert!(near(&layer.state().running_var, [1.0; 4]), "{:?}", layer.state().running_var);
}

#[test]
fn the_three_by_four_example_in_every_mix_of_dtypes() {
    three_by_four_rounds_once::<f64, f64>();
    three_by_four_rounds_once::<f32, f32>();
    three_by_four_rounds_once::<f16, f32>();
    three_by_four_rounds_once::<bf16, f32>();
    three_by_four_rounds_once::<f16, f16>();
    three_by_four_rounds_once::<bf16, bf16>();
}

#[test]
fn evaluation_uses_the_running_statistics_and_leaves_them() {
    let mut layer = BatchNorm::<f64>::new(Config { eps: 0.0, ..Config::new(1) });
    *layer.state_mut() = State {
        weight: Some(array![3.0]),
        bias: Some(array![0.5]),
        running_mean: Some(array![2.0]),
        running_var: Some(array![4.0]),
        num_batches_tracked: Some(7),
    };
    layer.eval();
    let before = layer.state().clone();
    let (output, saved) = layer.forward(array![[6.0]].view()).unwrap();
    assert_eq!(output, array![[6.5]]); // (6 − 2)/2·3 + 0.5
    assert_eq!((saved.origin(), layer.state()), (Origin::Running, &before));
    let gradients = saved.backward(array![[6.0]].view(), array![[10.0]].view(), OutputMask::ALL).unwrap();
    assert_eq!(gradients.input, Some(array![[15.0]])); // 10·3/2
    assert_eq!(gradients.weight, Some(array![20.0])); // 10·(6 − 2)/2
    assert_eq!(gradients.bias, Some(array![10.0]));
}

#[test]
fn each_class_refuses_the_other_ranks_and_counts_nothing() {
    let message = |result: Result<(), Error>| result.unwrap_err().to_string();
    let (two, four, five) = (
        Array2::<f32>::zeros((2, 3)),
        Array4::<f32>::zeros((2, 3, 1, 1)),
        Array5::<f32>::zeros((2, 3, 1, 1, 1)),
    );
    let mut one_d = BatchNorm1d::<f32>::new(Config::new(3));
    assert!(one_d.forward(Array3::<f32>::zeros((2, 3, 4)).view()).is_ok());
    assert_eq!(message(one_d.forward(four.view()).map(drop)), "expected 2D or 3D input (got 4D input)");
    let mut two_d = BatchNorm2d::<f32>::new(Config::new(3));
    assert!(two_d.forward(four.view()).is_ok());
    assert_eq!(message(two_d.forward(two.view()).map(drop)), "expected 4D input (got 2D input)");
    let mut three_d = BatchNorm3d::<f32>::new(Config::new(3));
    assert!(three_d.forward(five.view()).is_ok());
    assert_eq!(message(three_d.forward(four.view()).map(drop)), "expected 5D input (got 4D input)");
    for layer in [&*one_d, &*two_d, &*three_d] {
        assert_eq!(layer.state().num_batches_tracked, Some(1));
    }
}

#[test]
fn a_refused_batch_is_counted_and_changes_no_statistics() {
    for (config, input, expected) in [
        (Config::new(3), Array2::<f32>::zeros((1, 3)), Error::TooFewValues { shape: vec![1, 3] }),
        (
            Config::new(3),
            Array2::zeros((5, 2)),
            Error::NumFeatures { name: "running_mean", expected: 2, actual: 3 },
        ),
        (Config { eps: 0.0, ..Config::new(3) }, Array2::zeros((5, 3)), Error::EpsNotPositive { eps: 0.0 }),
    ] {
        let mut layer = BatchNorm::<f32>::new(config.clone());
        let refused = layer.forward(input.view()).unwrap_err();
        assert_eq!(refused, expected);
        let counted = State { num_batches_tracked: Some(1), ..State::new(&config) };
        assert_eq!(layer.state(), &counted, "{refused}");
    }
}

#[test]
fn cumulative_momentum_is_the_plain_mean_of_the_batches() {
    let mut layer = BatchNorm::<f64>::new(Config { momentum: Momentum::Cumulative, ..Config::new(1) });
    // Means 1, 4, 10 and unbiased variances 2, 8, 0, whatever the sizes.
    for batch in [array![[0.0], [2.0]], array![[2.0], [6.0]], Array2::from_elem((50, 1), 10.0)] {
        layer.forward(batch.view()).unwrap();
    }
    let state = layer.state();
    let off = |got: &Option<Array1<f64>>, expected: f64| (got.as_ref().unwrap()[0] - expected).abs();
    // 3 updates of 4 roundings each.
    assert!(off(&state.running_mean, 5.0) <= 12.0 * 5.0 * f64::EPSILON, "{state:?}");
    assert!(off(&state.running_var, 10.0 / 3.0) <= 12.0 * 5.0 * f64::EPSILON, "{state:?}");
    assert_eq!(state.num_batches_tracked, Some(3));
}

/// Autograd may run the backward pass of a step after later steps, resets and
/// updates of the weight; the gradient is still that of its own step.
#[test]
fn a_deferred_backward_pass_is_that_of_its_own_forward_pass() {
    let (input, grad_output) =
        (array![[6.0, 1.0], [2.0, 4.0], [0.0, 3.0]], array![[1.0, 2.0], [0.0, -1.0], [3.0, 5.0]]);
    for training in [true, false] {
        let mut layer = BatchNorm::<f64>::new(Config::new(2));
        layer.set_training(training);
        let (_, saved) = layer.forward(input.view()).unwrap();
        let at_once = saved.backward(input.view(), grad_output.view(), OutputMask::ALL).unwrap();
        layer.train();
        layer.forward((&input * 5.0 + 1.0).view()).unwrap();
        layer.state_mut().weight = Some(array![9.0, 9.0]);
        layer.reset_running_stats();
        let deferred = saved.backward(input.view(), grad_output.view(), OutputMask::ALL).unwrap();
        assert_eq!(deferred, at_once);
    }
}

#[test]
fn the_mask_gives_what_is_asked_and_had_and_nothing_else() {
    let input = array![[6.0f32], [2.0]];
    for (weight, bias) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut layer = BatchNorm::<f32>::new(Config { weight, bias, ..Config::new(1) });
        let (_, saved) = layer.forward(input.view()).unwrap();
        for bits in 0..8 {
            let mask = OutputMask { input: bits & 1 != 0, weight: bits & 2 != 0, bias: bits & 4 != 0 };
            let given = saved.backward(input.view(), input.view(), mask).unwrap();
            assert_eq!(given.input.is_some(), mask.input);
            assert_eq!(given.weight.is_some(), mask.weight && weight);
            assert_eq!(given.bias.is_some(), mask.bias && bias);
        }
    }
}

#[test]
fn a_gradient_of_another_shape_is_refused_with_both_shapes() {
    let mut layer = BatchNorm::<f32>::new(Config::new(2));
    let input = Array2::<f32>::zeros((3, 2));
    let (_, saved) = layer.forward(input.view()).unwrap();
    let other = Array2::<f32>::zeros((4, 2));
    let refused = saved.backward(input.view(), other.view(), OutputMask::ALL).unwrap_err();
    assert_eq!(refused.to_string(), "expected grad_output of shape [3, 2], got [4, 2]");
    let refused = saved.backward(other.view(), other.view(), OutputMask::ALL).unwrap_err();
    assert_eq!(refused.to_string(), "expected input of shape [3, 2], got [4, 2]");
    let v = Array1::zeros(3);
    let refused = saved.double_backward(input.view(), input.view(), None, Some(v.view()), None).unwrap_err();
    assert_eq!(refused.to_string(), "expected the cotangent of grad_weight of shape [2], got [3]");
    let (mut output, mut saved) = (Array2::<f32>::zeros((2, 3)).into_dyn(), Saved::default());
    let refused = layer.forward_into(input.into_dyn().view(), output.view_mut(), &mut saved).unwrap_err();
    assert_eq!(refused.to_string(), "expected output of shape [3, 2], got [2, 3]");
    assert_eq!(layer.state().num_batches_tracked, Some(1), "a wrong output is no batch");
}

#[test]
fn empty_batches_are_counted_and_change_nothing_else() {
    for shape in [(0, 2, 3), (4, 2, 0)] {
        let mut layer = BatchNorm1d::<f32>::new(Config::new(2));
        let input = Array3::<f32>::zeros(shape);
        let (output, saved) = layer.forward(input.view()).unwrap();
        assert_eq!(output.dim(), shape);
        let counted = State { num_batches_tracked: Some(1), ..State::new(&Config::new(2)) };
        assert_eq!(layer.state(), &counted);
        let gradients = saved.backward(input.view(), input.view(), OutputMask::ALL).unwrap();
        assert_eq!((gradients.weight, gradients.bias), (Some(array![0.0, 0.0]), Some(array![0.0, 0.0])));
        let second = saved.double_backward(input.view(), input.view(), None, None, None).unwrap();
        assert_eq!(second.weight, Some(array![0.0, 0.0]));
    }
    let mut layer = BatchNorm::<f32>::new(Config::new(0));
    assert_eq!(layer.forward(Array2::<f32>::zeros((5, 0)).view()).unwrap().0.dim(), (5, 0));
}

#[test]
fn one_nan_or_infinity_spoils_its_channel_and_no_other() {
    for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let clean = array![[1.0f32, 7.0], [2.0, 5.0], [4.0, 1.0]];
        let mut input = clean.clone();
        input[[1, 0]] = poison;
        let config = Config::new(2);
        let (mut layer, mut unspoilt) =
            (BatchNorm::<f32>::new(config.clone()), BatchNorm::<f32>::new(config));
        layer.state_mut().weight = Some(array![0.0, 1.0]); // weight 0 masks nothing
        let (output, saved) = layer.forward(input.view()).unwrap();
        let (clean_output, _) = unspoilt.forward(clean.view()).unwrap();
        assert!(output.column(0).iter().all(|y| y.is_nan()));
        assert_eq!(output.column(1), clean_output.column(1));
        let grad_input = saved.backward(input.view(), clean.view(), OutputMask::ALL).unwrap().input.unwrap();
        assert!(grad_input.column(0).iter().all(|g| g.is_nan()));
        assert!(grad_input.column(1).iter().all(|g| g.is_finite()));
        let state = layer.state();
        let (mean, var) = (state.running_mean.as_ref().unwrap(), state.running_var.as_ref().unwrap());
        assert!(var[0].is_nan() && var[1].is_finite() && mean[1].is_finite());
        assert!(if poison.is_nan() { mean[0].is_nan() } else { mean[0] == poison });
    }
}

#[test]
fn in_evaluation_nan_spoils_one_element_and_a_strange_variance_its_channel() {
    let mut layer = BatchNorm::<f32>::new(Config::new(4));
    layer.state_mut().running_var = Some(array![1.0, -1.0, f32::NAN, f32::INFINITY]);
    layer.eval();
    let (output, _) =
        layer.forward(array![[f32::NAN, 1.0, 1.0, 1.0], [1.0f32, 1.0, 1.0, 1.0]].view()).unwrap();
    assert!(output[[0, 0]].is_nan() && output[[1, 0]].is_finite());
    assert!(output.column(1).iter().chain(output.column(2)).all(|y| y.is_nan()));
    assert_eq!(output.column(3), array![0.0, 0.0]);
}

#[test]
fn outputs_keep_the_order_of_the_input_in_memory() {
    let contiguous =
        Array4::<f32>::from_shape_fn((2, 3, 4, 5), |(n, c, h, w)| (n * 7 + c * 5 + h * 3 + w) as f32);
    let last = contiguous.view().permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned();
    let last = last.permuted_axes([0, 3, 1, 2]);
    let reversed = contiguous.view().reversed_axes().as_standard_layout().into_owned().reversed_axes();
    for (input, expected) in [(&contiguous, &contiguous), (&last, &last), (&reversed, &contiguous)] {
        let mut layer = BatchNorm2d::<f32>::new(Config::new(3));
        let (output, saved) = layer.forward(input.view()).unwrap();
        let gradients = saved.backward(input.view(), contiguous.view(), OutputMask::ALL).unwrap();
        assert_eq!(output.strides(), expected.strides());
        assert_eq!(gradients.input.unwrap().strides(), expected.strides());
    }
}

#[test]
fn a_batch_in_parts_is_refused_where_the_whole_would_be() {
    let mut layer = BatchNorm1d::<f32>::new(Config::new(2));
    let part = |rows: usize, columns: usize| Array2::<f32>::zeros((rows, columns));
    assert_eq!(layer.forward_parts::<f32, ndarray::Ix2>(&[]).unwrap_err(), Error::NoParts);
    let refused = layer.forward_parts(&[part(3, 2).view(), part(3, 4).view()]).unwrap_err();
    assert_eq!(refused.to_string(), "expected part of shape [3, 2], got [3, 4]");
    let refused = layer.forward_parts(&[part(0, 2).view(), part(1, 2).view()]).unwrap_err();
    assert_eq!(refused, Error::TooFewValues { shape: vec![1, 2] });
    // One value per part is enough when the whole has more.
    assert!(layer.forward_parts(&[part(1, 2).view(), part(1, 2).view()]).is_ok());
}

#[test]
fn a_layer_says_its_mode_and_starts_in_training() {
    let mut layer = BatchNorm::<f32>::new(Config::new(2));
    assert!(layer.training());
    layer.eval();
    assert!(!layer.training());
    layer.train();
    assert!(layer.training());
    assert_eq!(layer.config(), &Config::new(2));
}

#[test]
fn a_pass_tells_what_it_measured_or_that_it_measured_nothing() {
    let mut layer = BatchNorm::<f64>::new(Config::new(1));
    let input = array![[1.0], [5.0]];
    let (_, saved) = layer.forward(input.view()).unwrap();
    let moments = saved.moments().unwrap();
    assert_eq!((moments[0].count(), moments[0].mean(), moments[0].var_biased()), (2, 3.0, 4.0));
    layer.eval();
    let (_, saved) = layer.forward(input.view()).unwrap();
    assert_eq!(saved.moments(), None);
}

#[test]
fn resets_reach_what_they_name_and_only_where_tracked() {
    let used = |config: Config| {
        let mut layer = BatchNorm::<f64>::new(config);
        let state = layer.state_mut();
        state.weight = Some(array![3.0]);
        state.running_mean = Some(array![4.0]);
        state.running_var = Some(array![5.0]);
        state.num_batches_tracked = Some(6);
        layer
    };
    let mut layer = used(Config::new(1));
    layer.reset_running_stats();
    let kept = State { weight: Some(array![3.0]), ..State::new(&Config::new(1)) };
    assert_eq!(layer.state(), &kept);
    layer.reset_parameters();
    assert_eq!(layer.state(), &State::new(&Config::new(1)));
    let mut untracked = used(Config { track_running_stats: false, ..Config::new(1) });
    let before = untracked.state().clone();
    untracked.reset_running_stats();
    assert_eq!(untracked.state(), &before);
}

#[test]
fn an_output_that_is_given_receives_what_forward_returns() {
    let input = Array3::from_shape_fn((4, 3, 5), |(n, c, l)| (n * 7 + c * 5 + l * 3 % 4) as f64);
    let (mut one, mut other) = (BatchNorm::<f64>::new(Config::new(3)), BatchNorm::new(Config::new(3)));
    let (mut saved, mut output) = (Saved::default(), Array3::zeros((4, 3, 5)).into_dyn());
    let mut reversed = Array3::zeros((5, 3, 4)).reversed_axes().into_dyn();
    // A layer of other channels first: what it left in `saved` must not matter.
    let (wide, mut narrow) = (Array2::<f64>::ones((2, 4)).into_dyn(), BatchNorm::<f64>::new(Config::new(4)));
    narrow.forward_into(wide.view(), Array2::<f64>::zeros((2, 4)).into_dyn().view_mut(), &mut saved).unwrap();
    for training in [true, false] {
        one.set_training(training);
        other.set_training(training);
        let (expected, expected_saved) = one.forward(input.view().into_dyn()).unwrap();
        other.forward_into(input.view().into_dyn(), output.view_mut(), &mut saved).unwrap();
        assert_eq!(output, expected);
        assert_eq!(other.state(), one.state());
        assert_eq!(saved.statistics(), expected_saved.statistics());
        // Of other strides than the input, in evaluation: another way through memory,
        // which rounds the product before it adds the bias, and subtracts the mean in two steps.
        other.set_training(false);
        let (expected, _) = other.forward(input.view().into_dyn()).unwrap();
        other.forward_into(input.view().into_dyn(), reversed.view_mut(), &mut saved).unwrap();
        for (a, b) in reversed.iter().zip(&expected) {
            assert!((a - b).abs() <= 2.0 * f64::EPSILON * (a.abs() + 1.0), "{a:e} and {b:e}");
        }
    }
}

#[test]
fn folding_refuses_what_is_no_such_map() {
    let layer = BatchNorm::<f32>::new(Config::new(4));
    let fold = |map, shape: &[usize]| {
        let weight = ndarray::ArrayD::<f32>::zeros(shape);
        layer.fold(map, weight.view(), None).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(fold(Map::Linear, &[4, 7]), Ok(()));
    assert_eq!(fold(Map::Conv { groups: 2 }, &[4, 7, 3]), Ok(()));
    assert_eq!(fold(Map::ConvTranspose { groups: 2 }, &[6, 2, 3]), Ok(()));
    assert_eq!(fold(Map::Linear, &[3, 4]), Err("running_mean should contain 3 elements not 4".into()));
    assert_eq!(
        fold(Map::ConvTranspose { groups: 4 }, &[6, 1, 3]),
        Err(
            "expected the weight of a transposed convolution with 4 groups to be (in, out/groups, *kernel), \
             with in a multiple of groups, got shape [6, 1, 3]"
                .into()
        )
    );
    for (map, shape) in [
        (Map::Linear, vec![4, 7, 1]),
        (Map::Conv { groups: 0 }, vec![4, 7, 3]),
        (Map::Conv { groups: 0 }, vec![0, 7, 3]),
        (Map::Conv { groups: 3 }, vec![4, 7, 3]),
        (Map::Conv { groups: 1 }, vec![4]),
        (Map::ConvTranspose { groups: 0 }, vec![0, 4, 3]),
        (Map::ConvTranspose { groups: 1 }, vec![4]),
    ] {
        let refused = fold(map, &shape).unwrap_err();
        assert!(refused.contains("expected the weight of a"), "{map:?} {shape:?}: {refused}");
    }
    let weight = Array2::<f32>::zeros((4, 7));
    let short = Array1::zeros(3);
    let refused = layer.fold(Map::Linear, weight.view(), Some(short.view())).unwrap_err();
    assert_eq!(refused.to_string(), "the map's bias should contain 4 elements not 3");
    let negative = BatchNorm::<f32>::new(Config { eps: -1.0, ..Config::new(4) });
    let refused = negative.fold(Map::Linear, weight.view(), None).unwrap_err();
    assert_eq!(refused, Error::EpsNegative { eps: -1.0 });
    let stateless =
        BatchNorm::<f32>::with_rank(Rank::Any, Config { track_running_stats: false, ..Config::new(4) });
    let refused = stateless.fold(Map::Linear, Array2::<f32>::zeros((4, 7)).view(), None).unwrap_err();
    assert_eq!(refused.to_string(), "running_mean must be defined in evaluation mode, got None");
}
