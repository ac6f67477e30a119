//! Convolution as a product of matrices: every place of the output is a column that holds
//! what the kernel sees there.

use ndarray::{Array2, Array4, ArrayD, ArrayView3, Axis, Ix1, Ix2, s};

use super::{Layer, Mode, Parameter, Slot, check_grad_output, of_rank, weight_and_bias};
use crate::error::Error;
use crate::real::Real;

/// `torch.nn.Conv2d` with a square kernel and stride 1: (N, in, H, W) to
/// (N, out, H + 2p − k + 1, W + 2p − k + 1), zeros around the image.
#[derive(Clone, Debug)]
pub struct Conv2d<T> {
    /// (out, in, k, k).
    pub weight: Parameter<T>,
    /// (out).
    pub bias: Option<Parameter<T>>,
    padding: usize,
    input: Option<Array4<T>>,
}

impl<T: Real> Conv2d<T> {
    /// A layer of zeros.
    pub fn new(in_channels: usize, out_channels: usize, kernel: usize, padding: usize, bias: bool) -> Self {
        let weight = Parameter::zeros(&[out_channels, in_channels, kernel, kernel]);
        let bias = bias.then(|| Parameter::zeros(&[out_channels]));
        Conv2d { weight, bias, padding, input: None }
    }

    fn kernel(&self) -> usize {
        self.weight.value.shape()[2]
    }

    /// (out, in·k·k).
    fn matrix(&self) -> Array2<T> {
        let [out, input, k, _] = four(self.weight.value.shape());
        let matrix = self.weight.value.view().into_shape_with_order((out, input * k * k));
        matrix.expect("a weight is contiguous").to_owned()
    }

    fn output_shape(&self, input: &[usize]) -> [usize; 4] {
        let across = |extent| extent + 2 * self.padding - self.kernel() + 1;
        [input[0], self.weight.value.shape()[0], across(input[2]), across(input[3])]
    }
}

impl<T: Real> Layer<T> for Conv2d<T> {
    fn describe(&self) -> String {
        let [out, input, k, _] = four(self.weight.value.shape());
        let (padding, bias) = (self.padding, self.bias.is_some());
        format!("Conv2d({input}, {out}, kernel_size={k}, padding={padding}, bias={bias})")
    }

    fn forward(&mut self, input: ArrayD<T>, _: Mode) -> Result<ArrayD<T>, Error> {
        let [_, channels, k, _] = four(self.weight.value.shape());
        let least = k.saturating_sub(2 * self.padding);
        let shape = input.shape();
        if k == 0 || shape.len() != 4 || shape[1] != channels || shape[2] < least || shape[3] < least {
            let expected = format!("(N, {channels}, H, W) with H and W of at least {least}");
            return Err(Error::Input { layer: self.describe(), expected, actual: shape.to_vec() });
        }
        let input: Array4<T> = of_rank(input);
        let [n, out, height, width] = self.output_shape(input.shape());
        let matrix = self.matrix();
        let mut output = Array4::<T>::zeros((n, out, height, width));
        for (image, mut answer) in input.outer_iter().zip(output.outer_iter_mut()) {
            let product = matrix.dot(&columns(image, k, self.padding));
            answer.assign(&product.into_shape_with_order((out, height, width)).expect("as many elements"));
        }
        if let Some(bias) = &self.bias {
            let bias = bias.value.view().into_shape_with_order((1, out, 1, 1)).expect("(out)");
            output += &bias;
        }
        self.input = Some(input);
        Ok(output.into_dyn())
    }

    fn backward(&mut self, grad_output: ArrayD<T>) -> Result<ArrayD<T>, Error> {
        let Some(input) = &self.input else { return Err(Error::NoForward { layer: self.describe() }) };
        let shape = self.output_shape(input.shape());
        check_grad_output(&self.describe(), &shape, &grad_output)?;
        let grad_output: Array4<T> = of_rank(grad_output);
        let [_, out, height, width] = shape;
        let (k, padding) = (self.kernel(), self.padding);
        let matrix = self.matrix();
        let mut grad_matrix = Array2::<T>::zeros(matrix.raw_dim());
        let mut grad_input = Array4::<T>::zeros(input.raw_dim());
        for ((image, gradient), mut answer) in
            input.outer_iter().zip(grad_output.outer_iter()).zip(grad_input.outer_iter_mut())
        {
            let gradient = gradient.to_shape((out, height * width)).expect("as many elements");
            grad_matrix += &gradient.dot(&columns(image, k, padding).t());
            from_columns(&matrix.t().dot(&gradient), k, padding, &mut answer);
        }
        let grad_weight = grad_matrix.into_shape_with_order(self.weight.grad.raw_dim());
        self.weight.grad.assign(&grad_weight.expect("as many elements"));
        if let Some(bias) = &mut self.bias {
            let sums = grad_output.sum_axis(Axis(3)).sum_axis(Axis(2)).sum_axis(Axis(0));
            bias.grad.view_mut().into_dimensionality::<Ix1>().expect("(out)").assign(&sums);
        }
        Ok(grad_input.into_dyn())
    }

    fn slots(&mut self) -> Vec<(&'static str, Slot<'_, T>)> {
        weight_and_bias(&mut self.weight, &mut self.bias)
    }
}

fn four(shape: &[usize]) -> [usize; 4] {
    shape.try_into().expect("four axes")
}

/// What the kernel sees of an image, (in, H, W): (in·k·k, places of the output).
pub fn columns<T: Real>(image: ArrayView3<'_, T>, k: usize, padding: usize) -> Array2<T> {
    let (channels, h, w) = image.dim();
    let mut padded = ndarray::Array3::<T>::zeros((channels, h + 2 * padding, w + 2 * padding));
    padded.slice_mut(s![.., padding..padding + h, padding..padding + w]).assign(&image);
    let (height, width) = (h + 2 * padding + 1 - k, w + 2 * padding + 1 - k);
    let mut columns = Array2::<T>::zeros((channels * k * k, height * width));
    for (row, mut seen) in columns.outer_iter_mut().enumerate() {
        let (channel, y, x) = (row / (k * k), row / k % k, row % k);
        let mut seen = seen.view_mut().into_shape_with_order((height, width)).expect("a row is contiguous");
        seen.assign(&padded.slice(s![channel, y..y + height, x..x + width]));
    }
    columns
}

/// The transpose of [`columns`]: adds each element to the place where it was seen.
pub fn from_columns<T: Real>(
    columns: &Array2<T>,
    k: usize,
    padding: usize,
    image: &mut ndarray::ArrayViewMut3<'_, T>,
) {
    let (channels, h, w) = image.dim();
    let (height, width) = (h + 2 * padding + 1 - k, w + 2 * padding + 1 - k);
    let mut padded = ndarray::Array3::<T>::zeros((channels, h + 2 * padding, w + 2 * padding));
    for (row, seen) in columns.outer_iter().enumerate() {
        let (channel, y, x) = (row / (k * k), row / k % k, row % k);
        let seen = seen.to_shape((height, width)).expect("as many elements");
        let mut place = padded.slice_mut(s![channel, y..y + height, x..x + width]);
        place += &seen.view().into_dimensionality::<Ix2>().expect("two axes");
    }
    *image += &padded.slice(s![.., padding..padding + h, padding..padding + w]);
}
