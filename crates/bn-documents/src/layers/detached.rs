//! A mistake to show: statistics that the gradient does not see.

use batchnorm::Statistics;
use ndarray::{ArrayD, Axis};

use super::{Layer, Mode, check_grad_output};
use crate::error::Error;
use crate::real::Real;

/// Normalises by the batch, without weight and bias, and differentiates as if mean and variance
/// were constants: ∂loss/∂x = ∂loss/∂y · invstd.
///
/// What Ioffe and Szegedy warn of (section 2 of <https://arxiv.org/abs/1502.03167>): a bias
/// before such a layer gets a gradient though it has no effect, and grows for ever.
#[derive(Clone, Debug, Default)]
pub struct Detached {
    passed: Option<(Vec<usize>, Vec<Statistics>)>,
}

impl<T: Real> Layer<T> for Detached {
    fn describe(&self) -> String {
        "Detached()".into()
    }

    fn forward(&mut self, input: ArrayD<T>, _: Mode) -> Result<ArrayD<T>, Error> {
        let layer = Layer::<T>::describe(self);
        let channels = input.shape().get(1).copied().unwrap_or(0);
        let config = batchnorm::Config { track_running_stats: false, ..batchnorm::Config::new(channels) };
        let mut norm = batchnorm::BatchNorm::<T>::new(config.affine(false));
        let (output, saved) =
            norm.forward(input.view()).map_err(|source| Error::BatchNorm { layer, source })?;
        self.passed = Some((input.shape().to_vec(), saved.statistics().to_vec()));
        Ok(output)
    }

    fn backward(&mut self, mut grad_output: ArrayD<T>) -> Result<ArrayD<T>, Error> {
        let layer = Layer::<T>::describe(self);
        let Some((shape, statistics)) = &self.passed else { return Err(Error::NoForward { layer }) };
        check_grad_output(&layer, shape, &grad_output)?;
        for (mut channel, statistics) in grad_output.axis_iter_mut(Axis(1)).zip(statistics) {
            channel.mapv_inplace(|g| g * T::from_f64(statistics.invstd()));
        }
        Ok(grad_output)
    }
}
