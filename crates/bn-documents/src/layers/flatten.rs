//! Images as vectors.

use ndarray::{ArrayD, IxDyn};

use super::{Layer, Mode, check_grad_output};
use crate::error::Error;
use crate::real::Real;

/// `torch.nn.Flatten`: (N, *) to (N, the product of *).
#[derive(Clone, Debug, Default)]
pub struct Flatten {
    shape: Option<Vec<usize>>,
}

impl<T: Real> Layer<T> for Flatten {
    fn describe(&self) -> String {
        "Flatten()".into()
    }

    fn forward(&mut self, input: ArrayD<T>, _: Mode) -> Result<ArrayD<T>, Error> {
        let Some((&n, rest)) = input.shape().split_first() else {
            let layer = Layer::<T>::describe(self);
            return Err(Error::Input { layer, expected: "(N, *)".into(), actual: Vec::new() });
        };
        let flat = IxDyn(&[n, rest.iter().product()]);
        self.shape = Some(input.shape().to_vec());
        Ok(input.into_shape_clone(flat).expect("as many elements"))
    }

    fn backward(&mut self, grad_output: ArrayD<T>) -> Result<ArrayD<T>, Error> {
        let layer = Layer::<T>::describe(self);
        let Some(shape) = &self.shape else { return Err(Error::NoForward { layer }) };
        check_grad_output(&layer, &[shape[0], shape[1..].iter().product()], &grad_output)?;
        Ok(grad_output.into_shape_clone(IxDyn(shape)).expect("as many elements"))
    }
}
