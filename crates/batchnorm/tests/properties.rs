//! What must hold for every input, with bounds that are derived, in f64.
//!
//! With U = 2⁻⁵³, the largest relative error of one rounding:
//!
//! - A deviation x − mean has 2 roundings at its own size. The mean is off by its
//!   terms x − m₀, each rounded once: by U·mean|x − mean|, which is at most U
//!   standard deviations, so by U in units of x̂; the rest is of second order.
//! - The variance has at most 8 (see the tests of `moments`), so 1/√(var + eps) has
//!   8/2 and, from the sum, the root and the quotient, 3 more: 7.
//! - An **output**: 2 + 7 for x̂, 1 each for weight, product and bias, and the mean's 1:
//!   within 12·U·((|x̂| + 1)·|w| + |b|) of the truth: [`OUTPUT`].
//! - Σg·x̂/n has 9 for x̂, and 1 each for the product, the (compensated) sum, two
//!   factors: 13; Σg/n has 2. In (g − ḡ) − x̂·m the last term has 10 + 13 + 1, each
//!   difference 1, and the factor w·invstd 9: a **grad_input** is within
//!   40·U·w·invstd·(|g| + mean|g| + (|x̂| + 1)·mean|g·(|x̂| + 1)|) of the truth:
//!   [`GRADIENT`]. (Means of magnitudes: the errors of a sum are relative to
//!   its terms, not to what remains of them.)
//!
//! Two computations of the same thing may differ by twice that. Inputs are
//! multiples of 2⁻¹⁶ below 8, so that shifting and scaling them is exact and
//! changes the question in no digit.

use batchnorm::backward::{At, GradSums, backward_into, grad_input_into, gradient_sums_into};
use batchnorm::{
    BatchNorm, Config, DType, Element, MixesWith, Moments, Origin, OutputMask, Saved, State, Statistics,
    moments,
};
use half::f16;
use ndarray::{Array1, Array2, Array3, ArrayD, ArrayView, Axis, Ix3, Slice, concatenate};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

const U: f64 = f64::EPSILON / 2.0;
const OUTPUT: f64 = 12.0 * U;
const GRADIENT: f64 = 40.0 * U;

/// Multiples of 2⁻¹⁶ between −8 and 8.
fn exact() -> impl Strategy<Value = f64> {
    (-(1i32 << 19)..(1 << 19)).prop_map(|v| f64::from(v) / 65536.0)
}

prop_compose! {
    /// An input (N, C, L), a grad_output like it, weight and bias.
    fn problem()(n in 2..9usize, c in 1..20usize, l in 1..20usize)
        (x in prop::collection::vec(exact(), n * c * l),
         g in prop::collection::vec(exact(), n * c * l),
         w in prop::collection::vec(exact(), c),
         b in prop::collection::vec(exact(), c),
         shape in Just((n, c, l))) -> Problem {
        let array = |data| Array3::from_shape_vec(shape, data).expect("as long as the shape");
        Problem { x: array(x), g: array(g), w: Array1::from(w), b: Array1::from(b) }
    }
}

#[derive(Clone, Debug)]
struct Problem {
    x: Array3<f64>,
    g: Array3<f64>,
    w: Array1<f64>,
    b: Array1<f64>,
}

impl Problem {
    fn channels(&self) -> usize {
        self.w.len()
    }

    fn layer(&self, eps: f64) -> BatchNorm<f64> {
        let mut layer = BatchNorm::new(Config { eps, ..Config::new(self.channels()) });
        let (weight, bias) = (Some(self.w.clone()), Some(self.b.clone()));
        let fresh = layer.state().clone();
        *layer.state_mut() = State { weight, bias, ..fresh };
        layer
    }

    fn forward(&self, eps: f64) -> (Array3<f64>, Saved<f64>) {
        self.layer(eps).forward(self.x.view()).expect("a good input")
    }

    fn grad_input(&self, eps: f64) -> Array3<f64> {
        let (_, saved) = self.forward(eps);
        let gradients =
            saved.backward(self.x.view(), self.g.view(), OutputMask::ALL).expect("a good gradient");
        gradients.input.expect("asked for")
    }

    /// (|x̂| + 1)·|w| + |b| of an output of channel c: the size that its errors are relative to.
    fn size(&self, c: usize, y: f64) -> f64 {
        (y - self.b[c]).abs() + self.w[c].abs() + self.b[c].abs()
    }

    /// The size that the errors of every grad_input are relative to.
    fn gradient_sizes(&self, statistics: &[Statistics]) -> Array3<f64> {
        let n = (self.x.len() / self.channels()) as f64;
        let mut sizes = self.g.mapv(f64::abs);
        for (c, statistics) in statistics.iter().enumerate() {
            let (x, g) = (self.x.index_axis(Axis(1), c), self.g.index_axis(Axis(1), c));
            let x_hat = x.mapv(|x| ((x - statistics.mean()) * statistics.invstd()).abs() + 1.0);
            let (mean_g, mean_gx) = (g.mapv(f64::abs).sum() / n, (&g.mapv(f64::abs) * &x_hat).sum() / n);
            let factor = (self.w[c] * statistics.invstd()).abs();
            let mut of_channel = sizes.index_axis_mut(Axis(1), c);
            of_channel
                .zip_mut_with(&x_hat, |size, x_hat| *size = factor * (*size + mean_g + x_hat * mean_gx));
        }
        sizes
    }
}

/// Outputs of the same question asked in two ways.
fn same_outputs(problem: &Problem, a: &Array3<f64>, b: &Array3<f64>, roundings: f64) {
    for ((index, &a), &b) in a.indexed_iter().zip(b) {
        let bound = 2.0 * roundings * problem.size(index.1, a);
        assert!((a - b).abs() <= bound, "{a:e} and {b:e} at {index:?}: {:e} apart, {bound:e} allowed", a - b);
    }
}

fn permuted(array: &Array3<f64>, axis: usize) -> Array3<f64> {
    // Reversed, then rotated: no row keeps its place.
    let len = array.len_of(Axis(axis));
    array.select(Axis(axis), &(0..len).map(|i| (len - 1 - i + len / 2) % len).collect::<Vec<_>>())
}

/// Failures are kept beside this file, to be committed and run first ever after.
fn config() -> ProptestConfig {
    let kept = FileFailurePersistence::WithSource("proptest-regressions");
    ProptestConfig { cases: 64, failure_persistence: Some(Box::new(kept)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn permuting_the_batch_permutes_the_output(problem in problem()) {
        let (y, _) = problem.forward(1e-5);
        for axis in [0, 2] {
            let moved = Problem { x: permuted(&problem.x, axis), ..problem.clone() };
            same_outputs(&problem, &permuted(&y, axis), &moved.forward(1e-5).0, OUTPUT);
        }
    }

    /// To the bit: what the other channels hold does not enter.
    #[test]
    fn channels_are_independent(problem in problem(), pick in any::<prop::sample::Index>()) {
        let c = pick.index(problem.channels());
        // Every other channel gets other values; the shape stays as it is.
        let elsewhere = |array: &Array3<f64>| {
            let mut other = array.mapv(|value| 3.0 - 2.0 * value);
            other.index_axis_mut(Axis(1), c).assign(&array.index_axis(Axis(1), c));
            other
        };
        let others = Problem { x: elsewhere(&problem.x), g: elsewhere(&problem.g), ..problem.clone() };
        let of_channel = |a: &Array3<f64>| a.index_axis(Axis(1), c).to_owned();
        prop_assert_eq!(of_channel(&problem.forward(1e-5).0), of_channel(&others.forward(1e-5).0));
        prop_assert_eq!(of_channel(&problem.grad_input(1e-5)), of_channel(&others.grad_input(1e-5)));
    }

    /// A shift that a network's bias would add before the layer is cancelled.
    #[test]
    fn a_bias_before_batch_norm_is_cancelled(problem in problem(), shift in -(1i64 << 32)..(1 << 32)) {
        let (y, _) = problem.forward(1e-5);
        // Exact: 33 bits before the point, 16 behind it.
        let shifted = Problem { x: &problem.x + shift as f64, ..problem.clone() };
        same_outputs(&problem, &y, &shifted.forward(1e-5).0, OUTPUT);
    }

    /// …and so the gradient of that bias, Σ grad_input, is 0.
    #[test]
    fn grad_input_sums_to_zero(problem in problem()) {
        let (_, saved) = problem.forward(1e-5);
        let (gradient, sizes) = (problem.grad_input(1e-5), problem.gradient_sizes(saved.statistics()));
        let n = problem.x.len() / problem.channels();
        for c in 0..problem.channels() {
            let channel = gradient.index_axis(Axis(1), c);
            // The last term: this plain sum's own n roundings.
            let bound = GRADIENT * sizes.index_axis(Axis(1), c).sum() + n as f64 * U * channel.mapv(f64::abs).sum();
            prop_assert!(channel.sum().abs() <= bound, "{:e}, allowed {bound:e}", channel.sum());
        }
    }

    /// Scaling the weights before the layer by a power of 2 (and eps by its square)
    /// scales every number in between exactly: the same output to the bit, and
    /// 1/a times the gradient.
    #[test]
    fn scaling_the_weights_before_leaves_the_output_and_divides_the_gradient(problem in problem(), k in -20..20i32) {
        let (a, eps) = (2f64.powi(k), 2f64.powi(-17));
        let scaled = Problem { x: &problem.x * a, ..problem.clone() };
        prop_assert_eq!(problem.forward(eps).0, scaled.forward(eps * a * a).0);
        prop_assert_eq!(problem.grad_input(eps) / a, scaled.grad_input(eps * a * a));
    }

    /// By any integer, within roundings.
    #[test]
    fn scaling_by_any_factor_leaves_the_output(problem in problem(), a in 1..1000i32) {
        let (a, eps) = (f64::from(a), 2f64.powi(-17));
        let scaled = Problem { x: &problem.x * a, ..problem.clone() };
        same_outputs(&problem, &problem.forward(eps).0, &scaled.forward(eps * a * a).0, OUTPUT);
    }

    /// y(½x₁ + ½x₂) = ½y(x₁) + ½y(x₂): running statistics make an affine map.
    /// x − mean has 1 rounding, the factor 4, the product 1, the sum 1.
    #[test]
    fn evaluation_is_affine_in_the_input(problem in problem()) {
        let mut layer = problem.layer(1e-5);
        layer.forward(problem.x.view()).unwrap();
        layer.eval();
        let mut y = |x: &Array3<f64>| layer.forward(x.view()).unwrap().0;
        let (ends, middle) = ([y(&problem.x), y(&problem.g)], y(&((&problem.x + &problem.g) / 2.0)));
        for (index, &middle) in middle.indexed_iter() {
            let (a, b) = (ends[0][index], ends[1][index]);
            let bound = 8.0 * U * (problem.size(index.1, middle) + problem.size(index.1, a) + problem.size(index.1, b));
            prop_assert!((middle - (a + b) / 2.0).abs() <= bound);
        }
    }

    /// The parts' moments, merged, are the whole's. Three merges add 3 roundings of
    /// the range to the mean and 6 to M2 each; the range is below 16.
    #[test]
    fn a_batch_in_parts_is_the_whole(problem in problem(), cuts in prop::array::uniform3(any::<prop::sample::Index>())) {
        let n = problem.x.len_of(Axis(0));
        let mut cuts = cuts.map(|cut| cut.index(n + 1)).to_vec();
        cuts.sort();
        let bounds: Vec<usize> = [vec![0], cuts, vec![n]].concat();
        let part = |array: &Array3<f64>, ends: &[usize]| array.slice_axis(Axis(0), Slice::from(ends[0]..ends[1])).to_owned();
        let parts: Vec<Array3<f64>> = bounds.windows(2).map(|ends| part(&problem.x, ends)).collect();
        let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
        let (mut whole, mut merged) = (problem.layer(1e-5), problem.layer(1e-5));
        let (y, _) = whole.forward(problem.x.view()).unwrap();
        let (outputs, saved) = merged.forward_parts(&views).unwrap();
        let joined = concatenate(Axis(0), &outputs.iter().map(|output| output.view()).collect::<Vec<_>>()).unwrap();
        for ((index, &a), &b) in y.indexed_iter().zip(&joined) {
            let of_mean = 3.0 * 3.0 * U * 16.0 * (problem.w[index.1] * saved.statistics()[index.1].invstd()).abs();
            let bound = 2.0 * (OUTPUT + 9.0 * U) * problem.size(index.1, a) + of_mean;
            prop_assert!((a - b).abs() <= bound, "{a:e} and {b:e} at {index:?}, allowed {bound:e}");
        }
        let vars = |layer: &BatchNorm<f64>| layer.state().running_var.clone().unwrap();
        for (a, b) in vars(&whole).iter().zip(&vars(&merged)) {
            prop_assert!((a - b).abs() <= (8.0 + 18.0 + 3.0) * 2.0 * U * a, "running_var {a:e} and {b:e}");
        }
        prop_assert_eq!(whole.state().num_batches_tracked, merged.state().num_batches_tracked);
        parts_backward_is_the_whole(&problem, &bounds, &saved);
    }

    /// Where the values lie in memory settles the order of sums, and nothing else.
    #[test]
    fn the_layout_changes_roundings_only(problem in problem()) {
        same_in_every_layout::<f64>(&problem);
        same_in_every_layout::<f32>(&problem);
        same_in_every_layout::<f16>(&problem);
    }
}

/// The two halves of the backward pass, with the parts' sums added in between,
/// against the backward pass of the whole, both by the same statistics.
fn parts_backward_is_the_whole(problem: &Problem, bounds: &[usize], saved: &Saved<f64>) {
    let whole = saved.backward(problem.x.view(), problem.g.view(), OutputMask::ALL).unwrap();
    let whole = whole.input.expect("asked for");
    let parts: Vec<_> = bounds
        .windows(2)
        .map(|ends| {
            let part = |array: &Array3<f64>| {
                array.slice_axis(Axis(0), Slice::from(ends[0]..ends[1])).to_owned().into_dyn()
            };
            (part(&problem.x), part(&problem.g))
        })
        .collect();
    let at = |(x, g): &(ArrayD<f64>, ArrayD<f64>), run: &mut dyn FnMut(&At<'_, f64, f64>)| {
        run(&At {
            input: x.view(),
            grad_output: g.view(),
            weight: Some(problem.w.view()),
            statistics: saved.statistics(),
            origin: Origin::Batch,
        });
    };
    let mut sums = vec![GradSums::default(); problem.channels()];
    for part in &parts {
        let mut of_part = sums.clone();
        at(part, &mut |at| gradient_sums_into(at, &mut of_part).unwrap());
        sums.iter_mut().zip(of_part).for_each(|(sum, part)| *sum = *sum + part);
    }
    let gradients: Vec<ArrayD<f64>> = parts
        .iter()
        .map(|part| {
            let mut gradient = ArrayD::zeros(part.0.shape());
            at(part, &mut |at| grad_input_into(at, &sums, gradient.view_mut()).unwrap());
            gradient
        })
        .collect();
    let views: Vec<_> = gradients.iter().map(|gradient| gradient.view()).collect();
    let joined = concatenate(Axis(0), &views).unwrap();
    // Adding the parts' sums rounds 3 times more.
    let sizes = problem.gradient_sizes(saved.statistics());
    for ((a, b), size) in whole.iter().zip(&joined).zip(&sizes) {
        assert!((a - b).abs() <= 2.0 * (GRADIENT + 3.0 * U) * size, "{a:e} and {b:e}");
    }
}

/// Two answers in T to the same question may be neighbours, where the numbers that
/// were rounded to T differ at all. Those differ by two allowances: [`OUTPUT`] or
/// [`GRADIENT`], and for dtypes whose sums are plain, up to 14 roundings more in each
/// of up to four sums (at most 10 additions in a lane, n being below 160, and 4 to
/// join the lanes).
fn same_in_every_layout<T: MixesWith<T>>(problem: &Problem) {
    let cast = |array: &Array3<f64>| array.mapv(T::from_f64);
    let back = |array: &Array3<T>| array.mapv(T::to_f64);
    let (x, g) = (cast(&problem.x), cast(&problem.g));
    let c = problem.channels();
    let (w, b) = (Array1::ones(c), Array1::zeros(c));
    let rounded = Problem { x: back(&x), g: back(&g), w, b };
    let run = |x: ArrayView<T, Ix3>, g: ArrayView<T, Ix3>| {
        let (y, saved) = BatchNorm::<T>::new(Config::new(c)).forward(x).unwrap();
        let gradients = saved.backward(x, g, OutputMask::ALL).unwrap();
        (back(&y), back(&gradients.input.unwrap()), saved)
    };
    let (y, grad_input, saved) = run(x.view(), g.view());
    let sizes = rounded.gradient_sizes(saved.statistics());
    let neighbours = |a: f64, b: f64, bound: f64| {
        let gap = (T::from_f64(a.abs().max(b.abs())).to_f64() * unit::<T>()).max(smallest::<T>());
        assert!((a - b).abs() <= gap + bound, "{}: {a:e} and {b:e}, allowed {bound:e}", T::DTYPE);
    };
    let same = |x: ArrayView<T, Ix3>, g: ArrayView<T, Ix3>| {
        let (other_y, other_grad_input, _) = run(x, g);
        for ((&a, &b), &size) in y.iter().zip(&other_y).zip(&y.mapv(|y| y.abs() + 1.0)) {
            neighbours(a, b, 2.0 * (OUTPUT + 4.0 * 14.0 * U) * size);
        }
        for ((&a, &b), &size) in grad_input.iter().zip(&other_grad_input).zip(&sizes) {
            neighbours(a, b, 2.0 * (GRADIENT + 4.0 * 14.0 * U) * size);
        }
    };
    let relaid = |array: &Array3<T>, order: [usize; 3]| {
        let mut back = [0; 3];
        order.iter().enumerate().for_each(|(to, &from)| back[from] = to);
        array.view().permuted_axes(order).as_standard_layout().into_owned().permuted_axes(back)
    };
    for order in [[0, 2, 1], [2, 1, 0], [1, 0, 2], [2, 0, 1]] {
        let (x, g) = (relaid(&x, order), relaid(&g, order));
        same(x.view(), g.view());
    }
    // One of the two laid otherwise, and gaps between the elements.
    same(relaid(&x, [0, 2, 1]).view(), g.view());
    let (n, _, l) = x.dim();
    let mut wide = Array3::from_elem((n, c, 2 * l), T::from_f64(f64::NAN));
    wide.slice_mut(ndarray::s![.., .., 1..;2]).assign(&x);
    same(wide.slice(ndarray::s![.., .., 1..;2]), g.view());
}

/// The distance of neighbours in T, at most, relative to their size.
fn unit<T: Element>() -> f64 {
    match T::DTYPE {
        DType::F16 => 2f64.powi(-10),
        DType::F32 => 2f64.powi(-23),
        _ => 2.0 * U,
    }
}

/// …and absolutely, near 0.
fn smallest<T: Element>() -> f64 {
    if T::DTYPE == DType::F16 { 2f64.powi(-24) } else { 2f64.powi(-149) }
}

/// The claim of the original paper (§2): a bias b before a normalisation whose
/// gradient treats its statistics as constants grows step after step, while the
/// loss stays as it is.
///
/// x + b, normalised; loss = Σ g·y with Σg > 0. The wrong gradient of b is
/// Σ g·w·invstd, the same at every step since y does not depend on b: after k
/// steps b = −k·lr·Σ g·w·invstd. The right gradient is 0.
#[test]
fn detached_statistics_let_the_bias_grow_while_the_loss_stays() {
    let x = Array2::from_shape_vec((8, 1), vec![0.5, -1.0, 2.0, 0.25, -0.75, 1.5, -2.0, 1.0]).unwrap();
    let g = Array2::from_shape_vec((8, 1), vec![1.0, 0.5, 2.0, -0.5, 0.25, 1.0, 0.75, -1.0]).unwrap();
    let learning_rate = 0.25;
    let run = |origin| {
        let (mut bias, mut losses, mut biases) = (0.0, vec![], vec![]);
        for _ in 0..40 {
            let shifted = &x + bias;
            let measured: Vec<Moments> = moments(shifted.view()).unwrap();
            let statistics = [Statistics::from_moments(&measured[0], 1e-5)];
            let y = shifted.mapv(|x| (x - statistics[0].mean()) * statistics[0].invstd());
            losses.push((&g * &y).sum());
            let at = At::<f64, f64> {
                input: shifted.view().into_dyn(),
                grad_output: g.view().into_dyn(),
                weight: None,
                statistics: &statistics,
                origin,
            };
            let (mut sums, mut grad_input) = ([GradSums::default()], ArrayD::zeros(ndarray::IxDyn(&[8, 1])));
            backward_into(&at, &mut sums, Some(grad_input.view_mut())).unwrap();
            bias -= learning_rate * grad_input.sum();
            biases.push(bias);
        }
        (losses, biases)
    };
    // Σg = 4; invstd of x from its exact moments: mean 1.5/8, Σx² = 13.125 (by hand).
    let var = 13.125 / 8.0 - (1.5f64 / 8.0).powi(2);
    let step = learning_rate * 4.0 / (var + 1e-5).sqrt();
    let (losses, biases) = run(Origin::Running);
    for (k, bias) in biases.iter().enumerate() {
        // x + bias rounds by up to 2⁻⁴⁸ (|bias| < 64), of which invstd feels 8 values' worth.
        let expected = -(k as f64 + 1.0) * step;
        assert!(
            (bias - expected).abs() <= 16.0 * 2f64.powi(-48) * expected.abs(),
            "step {k}: {bias} for {expected}"
        );
    }
    assert!(biases[39] < -25.0, "it grew to {}", biases[39]);
    // 8 terms |g·y| below 4 each, with x + bias rounded at 2⁻⁴⁷ and invstd below 1.
    let spread = losses.iter().map(|loss| (loss - losses[0]).abs()).fold(0.0, f64::max);
    assert!(spread <= 8.0 * 4.0 * 2f64.powi(-46), "the loss moved by {spread:e}");
    let (_, biases) = run(Origin::Batch);
    assert!(
        biases[39].abs() <= 40.0 * learning_rate * 8.0 * GRADIENT * 8.0,
        "the right one moved to {}",
        biases[39]
    );
}

/// With eps held fixed, scaling by a is nearly the same question: the output is
/// √((var + eps)/(var + eps/a²)) times what it was, which is 1 but for
/// eps/(2·var)·|1 − 1/a²|.
#[test]
fn with_eps_fixed_the_scale_of_the_weights_matters_by_eps_over_var_only() {
    let x = Array2::from_shape_vec((4, 1), vec![-3.0, -1.0, 1.0, 3.0]).unwrap(); // variance 5
    let y = |a: f64| BatchNorm::<f64>::new(Config::new(1)).forward((&x * a).view()).unwrap().0;
    for a in [0.5f64, 2.0, 10.0, 1000.0] {
        let factor = ((5.0 + 1e-5) / (5.0 + 1e-5 / (a * a))).sqrt();
        assert!((factor - 1.0).abs() <= 1e-5 / 10.0 * (1.0 - 1.0 / (a * a)).abs());
        for (one, scaled) in y(1.0).iter().zip(&y(a)) {
            // 4 roundings make the factor here.
            let off = (scaled / one - factor).abs();
            assert!(off <= 2.0 * OUTPUT + 4.0 * U, "a = {a}: {off:e}");
        }
    }
}
