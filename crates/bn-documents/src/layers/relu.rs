//! max(x, 0).

use ndarray::ArrayD;

use super::{Layer, Mode, check_grad_output};
use crate::error::Error;
use crate::real::Real;

/// `torch.nn.ReLU`. At 0 the gradient is 0; NaN stays NaN.
#[derive(Clone, Debug, Default)]
pub struct Relu<T> {
    input: Option<ArrayD<T>>,
}

impl<T: Real> Layer<T> for Relu<T> {
    fn describe(&self) -> String {
        "ReLU()".into()
    }

    fn forward(&mut self, input: ArrayD<T>, _: Mode) -> Result<ArrayD<T>, Error> {
        let output = input.mapv(|x| if x <= T::zero() { T::zero() } else { x });
        self.input = Some(input);
        Ok(output)
    }

    fn backward(&mut self, mut grad_output: ArrayD<T>) -> Result<ArrayD<T>, Error> {
        let Some(input) = &self.input else { return Err(Error::NoForward { layer: self.describe() }) };
        check_grad_output(&self.describe(), input.shape(), &grad_output)?;
        grad_output.zip_mut_with(input, |g, &x| *g = if x <= T::zero() { T::zero() } else { *g });
        Ok(grad_output)
    }
}
