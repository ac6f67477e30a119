//! y = x·Wᵀ + b.

use ndarray::{Array2, ArrayD, Axis, Ix1, Ix2};

use super::{Layer, Mode, Parameter, Slot, check_grad_output, of_rank, weight_and_bias};
use crate::error::Error;
use crate::real::Real;

/// `torch.nn.Linear`: (N, in) to (N, out) by a weight of (out, in) and a bias of (out).
#[derive(Clone, Debug)]
pub struct Linear<T> {
    /// W, (out, in).
    pub weight: Parameter<T>,
    /// b, (out).
    pub bias: Option<Parameter<T>>,
    input: Option<Array2<T>>,
}

impl<T: Real> Linear<T> {
    /// A layer of zeros.
    pub fn new(in_features: usize, out_features: usize, bias: bool) -> Self {
        let bias = bias.then(|| Parameter::zeros(&[out_features]));
        Linear { weight: Parameter::zeros(&[out_features, in_features]), bias, input: None }
    }
}

impl<T: Real> Layer<T> for Linear<T> {
    fn describe(&self) -> String {
        let [out, input] = [0, 1].map(|axis| self.weight.value.shape()[axis]);
        format!("Linear(in_features={input}, out_features={out}, bias={})", self.bias.is_some())
    }

    fn forward(&mut self, input: ArrayD<T>, _: Mode) -> Result<ArrayD<T>, Error> {
        let weight = self.weight.value.view().into_dimensionality::<Ix2>().expect("(out, in)");
        if input.ndim() != 2 || input.shape()[1] != weight.ncols() {
            let (expected, actual) = (format!("(N, {})", weight.ncols()), input.shape().to_vec());
            return Err(Error::Input { layer: self.describe(), expected, actual });
        }
        let input: Array2<T> = of_rank(input);
        let mut output = input.dot(&weight.t());
        if let Some(bias) = &self.bias {
            output += &bias.value;
        }
        self.input = Some(input);
        Ok(output.into_dyn())
    }

    fn backward(&mut self, grad_output: ArrayD<T>) -> Result<ArrayD<T>, Error> {
        let Some(input) = &self.input else { return Err(Error::NoForward { layer: self.describe() }) };
        let weight = self.weight.value.view().into_dimensionality::<Ix2>().expect("(out, in)");
        check_grad_output(&self.describe(), &[input.nrows(), weight.nrows()], &grad_output)?;
        let grad_output: Array2<T> = of_rank(grad_output);
        let grad_input = grad_output.dot(&weight);
        self.weight.grad.assign(&grad_output.t().dot(input));
        if let Some(bias) = &mut self.bias {
            let sums = grad_output.sum_axis(Axis(0));
            bias.grad.view_mut().into_dimensionality::<Ix1>().expect("(out)").assign(&sums);
        }
        Ok(grad_input.into_dyn())
    }

    fn slots(&mut self) -> Vec<(&'static str, Slot<'_, T>)> {
        weight_and_bias(&mut self.weight, &mut self.bias)
    }
}
