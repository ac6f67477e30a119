//! The largest of each square.

use ndarray::{Array4, ArrayD, Zip};

use super::{Layer, Mode, check_grad_output, of_rank};
use crate::error::Error;
use crate::real::Real;

/// `torch.nn.MaxPool2d` with a stride of its kernel: (N, C, H, W) to (N, C, ⌊H/k⌋, ⌊W/k⌋).
///
/// Of equals the first in row-major order gets the gradient, and NaN is larger than all.
#[derive(Clone, Debug)]
pub struct MaxPool2d {
    kernel: usize,
    /// Of the input; and for each output, where in its row-major window the largest was.
    passed: Option<([usize; 4], Array4<usize>)>,
}

impl MaxPool2d {
    /// Squares of `kernel` × `kernel`.
    pub fn new(kernel: usize) -> Self {
        MaxPool2d { kernel, passed: None }
    }
}

impl<T: Real> Layer<T> for MaxPool2d {
    fn describe(&self) -> String {
        format!("MaxPool2d(kernel_size={0}, stride={0})", self.kernel)
    }

    fn forward(&mut self, input: ArrayD<T>, _: Mode) -> Result<ArrayD<T>, Error> {
        let k = self.kernel;
        if k == 0 || input.ndim() != 4 || input.shape()[2..].iter().any(|&extent| extent < k) {
            let expected = format!("(N, C, H, W) with H and W of at least {k}");
            let (layer, actual) = (Layer::<T>::describe(self), input.shape().to_vec());
            return Err(Error::Input { layer, expected, actual });
        }
        let input: Array4<T> = of_rank(input);
        let (n, c, h, w) = input.dim();
        let mut output = Array4::<T>::zeros((n, c, h / k, w / k));
        let mut largest = Array4::<usize>::zeros(output.raw_dim());
        Zip::indexed(&mut output).and(&mut largest).for_each(|(n, c, y, x), output, largest| {
            let at = |place: usize| input[[n, c, y * k + place / k, x * k + place % k]];
            for place in 0..k * k {
                if place == 0 || at(place) > *output || at(place).is_nan() {
                    (*output, *largest) = (at(place), place);
                }
            }
        });
        self.passed = Some(([n, c, h, w], largest));
        Ok(output.into_dyn())
    }

    fn backward(&mut self, grad_output: ArrayD<T>) -> Result<ArrayD<T>, Error> {
        let layer = Layer::<T>::describe(self);
        let Some((shape, largest)) = &self.passed else { return Err(Error::NoForward { layer }) };
        check_grad_output(&layer, largest.shape(), &grad_output)?;
        let (grad_output, k): (Array4<T>, _) = (of_rank(grad_output), self.kernel);
        let mut grad_input = Array4::<T>::zeros(*shape);
        Zip::indexed(&grad_output).and(largest).for_each(|(n, c, y, x), &gradient, &place| {
            grad_input[[n, c, y * k + place / k, x * k + place % k]] = gradient;
        });
        Ok(grad_input.into_dyn())
    }
}
