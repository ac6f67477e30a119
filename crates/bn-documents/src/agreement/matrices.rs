//! Linear layers and convolutions with their bounds: γₖ|A||B| for a product with inner extent k.

use ndarray::{Array2, Array4, ArrayD, ArrayView2, Axis, Ix2, Ix4};

use super::bounded::{Arithmetic, Estimate};
use crate::layers::{columns, from_columns};

fn magnitude(matrix: &ArrayView2<'_, f64>) -> Array2<f64> {
    matrix.mapv(f64::abs)
}

/// A product, and the same of the magnitudes.
fn product(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>) -> [Array2<f64>; 2] {
    [a.dot(&b), magnitude(&a).dot(&magnitude(&b))]
}

fn estimate(a: Arithmetic, terms: usize, [value, most]: [ArrayD<f64>; 2]) -> Estimate {
    Estimate { value, bound: most * a.sum_factor(terms) + a.tiny }
}

fn two(array: &ArrayD<f64>) -> ArrayView2<'_, f64> {
    array.view().into_dimensionality::<Ix2>().expect("two axes")
}

/// x·Wᵀ + b.
pub fn linear(
    a: Arithmetic,
    input: &ArrayD<f64>,
    weight: &ArrayD<f64>,
    bias: Option<&ArrayD<f64>>,
) -> Estimate {
    let weight = two(weight);
    let [mut value, mut most] = product(two(input), weight.t());
    if let Some(bias) = bias {
        value += bias;
        most += &bias.mapv(f64::abs);
    }
    estimate(a, weight.ncols() + 1, [value.into_dyn(), most.into_dyn()])
}

/// grad_input, grad_weight and grad_bias of a linear layer.
pub fn linear_backward(
    a: Arithmetic,
    input: &ArrayD<f64>,
    weight: &ArrayD<f64>,
    grad_output: &ArrayD<f64>,
) -> [Estimate; 3] {
    let (x, w, g) = (two(input), two(weight), two(grad_output));
    let sums = [g.sum_axis(Axis(0)), magnitude(&g).sum_axis(Axis(0))];
    [
        estimate(a, w.nrows(), product(g, w).map(Array2::into_dyn)),
        estimate(a, x.nrows(), product(g.t(), x).map(Array2::into_dyn)),
        estimate(a, x.nrows(), sums.map(|sum| sum.into_dyn())),
    ]
}

/// A convolution's fixed sides.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// The kernel's side.
    pub kernel: usize,
    /// Zeros around the image.
    pub padding: usize,
}

fn image_columns(images: &ArrayD<f64>, n: usize, Window { kernel, padding }: Window) -> Array2<f64> {
    let images = images.view().into_dimensionality::<Ix4>().expect("(N, C, H, W)");
    columns(images.index_axis_move(Axis(0), n), kernel, padding)
}

fn flat(weight: &ArrayD<f64>) -> ArrayView2<'_, f64> {
    let out = weight.shape()[0];
    weight.view().into_shape_with_order((out, weight.len() / out)).expect("a weight is contiguous")
}

/// The convolution of a batch.
pub fn conv2d(
    a: Arithmetic,
    input: &ArrayD<f64>,
    weight: &ArrayD<f64>,
    bias: Option<&ArrayD<f64>>,
    window: Window,
) -> Estimate {
    let (shape, kernel) = (input.shape(), flat(weight));
    let across = |extent: usize| extent + 2 * window.padding + 1 - window.kernel;
    let output = (shape[0], weight.shape()[0], across(shape[2]), across(shape[3]));
    let mut both = [(); 2].map(|()| Array4::<f64>::zeros(output));
    for n in 0..shape[0] {
        let mut products = product(kernel, image_columns(input, n, window).view());
        if let Some(bias) = bias {
            let bias = bias.view().into_shape_with_order((output.1, 1)).expect("(out)");
            products[0] += &bias;
            products[1] += &bias.mapv(f64::abs);
        }
        for (whole, product) in both.iter_mut().zip(products) {
            let image = product.into_shape_with_order((output.1, output.2, output.3));
            whole.index_axis_mut(Axis(0), n).assign(&image.expect("as many elements"));
        }
    }
    estimate(a, kernel.ncols() + 1, both.map(Array4::into_dyn))
}

/// grad_input, grad_weight and grad_bias of a convolution.
pub fn conv2d_backward(
    a: Arithmetic,
    input: &ArrayD<f64>,
    weight: &ArrayD<f64>,
    grad_output: &ArrayD<f64>,
    window: Window,
) -> [Estimate; 3] {
    let Window { kernel: k, padding } = window;
    let [n, out, h, w]: [usize; 4] = grad_output.shape().try_into().expect("(N, C, H, W)");
    let images: [usize; 4] = input.shape().try_into().expect("(N, C, H, W)");
    let kernel = flat(weight);
    let mut of_input = [(); 2].map(|()| Array4::<f64>::zeros(images));
    let mut of_weight = [(); 2].map(|()| Array2::<f64>::zeros(kernel.raw_dim()));
    for image in 0..n {
        let g = grad_output.index_axis(Axis(0), image).to_owned();
        let g = g.into_shape_with_order((out, h * w)).expect("as many elements");
        let columns = product(kernel.t(), g.view());
        for (whole, columns) in of_input.iter_mut().zip(&columns) {
            from_columns(columns, k, padding, &mut whole.index_axis_mut(Axis(0), image));
        }
        let products = product(g.view(), image_columns(input, image, window).t());
        of_weight.iter_mut().zip(&products).for_each(|(whole, product)| *whole += product);
    }
    let shaped = |array: Array2<f64>| array.into_dyn().into_shape_clone(weight.raw_dim()).expect("as many");
    let sum = |array: &ArrayD<f64>| array.sum_axis(Axis(3)).sum_axis(Axis(2)).sum_axis(Axis(0));
    let places = n * h * w;
    [
        estimate(a, out * k * k, of_input.map(Array4::into_dyn)),
        estimate(a, places, of_weight.map(shaped)),
        estimate(a, places, [sum(grad_output), sum(&grad_output.mapv(f64::abs))]),
    ]
}
