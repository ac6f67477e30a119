//! Our batch norm as a layer of a network.

use batchnorm::{Config, OutputMask, Saved};
use ndarray::{Array1, ArrayD};

use super::{Layer, Mode, Slot};
use crate::error::Error;
use crate::real::Real;

/// `torch.nn.BatchNorm1d` or `2d` by [`batchnorm::BatchNorm`].
#[derive(Clone, Debug)]
pub struct BatchNorm<T> {
    layer: batchnorm::BatchNorm<T>,
    grad_weight: Array1<T>,
    grad_bias: Array1<T>,
    passed: Option<(ArrayD<T>, Saved<T>)>,
}

impl<T: Real> BatchNorm<T> {
    /// A fresh layer for so many channels, with PyTorch's defaults.
    pub fn new(num_features: usize) -> Self {
        Self::with_config(Config::new(num_features))
    }

    /// A fresh layer.
    pub fn with_config(config: Config) -> Self {
        let [grad_weight, grad_bias] = [(); 2].map(|()| Array1::zeros(config.num_features));
        BatchNorm { layer: batchnorm::BatchNorm::new(config), grad_weight, grad_bias, passed: None }
    }

    fn refused(&self, source: batchnorm::Error) -> Error {
        Error::BatchNorm { layer: self.describe(), source }
    }
}

impl<T: Real> Layer<T> for BatchNorm<T> {
    fn describe(&self) -> String {
        let Config { num_features, eps, .. } = self.layer.config();
        format!("BatchNorm({num_features}, eps={eps})")
    }

    fn forward(&mut self, input: ArrayD<T>, mode: Mode) -> Result<ArrayD<T>, Error> {
        self.layer.set_training(mode == Mode::Train);
        let passed = self.layer.forward(input.view());
        let (output, saved) = passed.map_err(|source| self.refused(source))?;
        self.passed = Some((input, saved));
        Ok(output)
    }

    fn backward(&mut self, grad_output: ArrayD<T>) -> Result<ArrayD<T>, Error> {
        let Some((input, saved)) = &self.passed else {
            return Err(Error::NoForward { layer: self.describe() });
        };
        let gradients = saved.backward(input.view(), grad_output.view(), OutputMask::ALL);
        let gradients = gradients.map_err(|source| self.refused(source))?;
        if let (Some(weight), Some(bias)) = (gradients.weight, gradients.bias) {
            (self.grad_weight, self.grad_bias) = (weight, bias);
        }
        Ok(gradients.input.expect("asked for"))
    }

    fn slots(&mut self) -> Vec<(&'static str, Slot<'_, T>)> {
        let state = self.layer.state_mut();
        let mut slots = Vec::new();
        for (name, value, grad) in [
            ("weight", &mut state.weight, &mut self.grad_weight),
            ("bias", &mut state.bias, &mut self.grad_bias),
        ] {
            if let Some(value) = value {
                let (value, grad) = (value.view_mut().into_dyn(), grad.view_mut().into_dyn());
                slots.push((name, Slot::Parameter { value, grad }));
            }
        }
        for (name, buffer) in
            [("running_mean", &mut state.running_mean), ("running_var", &mut state.running_var)]
        {
            slots.extend(buffer.as_mut().map(|buffer| (name, Slot::Buffer(buffer.view_mut().into_dyn()))));
        }
        slots.extend(state.num_batches_tracked.as_mut().map(|n| ("num_batches_tracked", Slot::Counter(n))));
        slots
    }
}
