//! The dialect of labml's annotated layer: the same function, another bookkeeping.

use ndarray::{Array1, ArrayD, ArrayViewD, Axis, Zip};

use super::{Layer, Mode, Parameter, Slot, check_grad_output};
use crate::error::Error;
use crate::real::Real;

/// Batch norm in labml's way: everything in the input's own dtype, the variance as
/// mean(x²) − mean(x)², which cancels where the mean is large, and the **biased** variance in
/// running_var, where PyTorch has n/(n−1) times that.
///
/// Its state goes by PyTorch's names, so that either layer can load the other's.
#[derive(Clone, Debug)]
pub struct Labml<T> {
    eps: T,
    momentum: T,
    weight: Parameter<T>,
    bias: Parameter<T>,
    running_mean: ArrayD<T>,
    running_var: ArrayD<T>,
    num_batches_tracked: i64,
    passed: Option<Passed<T>>,
}

#[derive(Clone, Debug)]
struct Passed<T> {
    normalized: ArrayD<T>,
    invstd: Array1<T>,
    /// By the batch's statistics, not by the running ones.
    by_batch: bool,
}

impl<T: Real> Labml<T> {
    /// A fresh layer for so many channels, with eps 1e-5 and momentum 0.1.
    pub fn new(channels: usize) -> Self {
        let vector = |value| ArrayD::from_elem(&[channels][..], value);
        let parameter = |value| Parameter { value: vector(value), grad: vector(T::zero()) };
        Labml {
            eps: T::from_f64(1e-5),
            momentum: T::from_f64(0.1),
            weight: parameter(T::one()),
            bias: parameter(T::zero()),
            running_mean: vector(T::zero()),
            running_var: vector(T::one()),
            num_batches_tracked: 0,
            passed: None,
        }
    }

    fn follow(&mut self, mean: &Array1<T>, var: &Array1<T>) {
        let momentum = self.momentum;
        let update = |running: &mut ArrayD<T>, batch: &Array1<T>| {
            Zip::from(running.view_mut()).and(&batch.view().into_dyn()).for_each(|running, &batch| {
                *running = (T::one() - momentum) * *running + momentum * batch;
            });
        };
        update(&mut self.running_mean, mean);
        update(&mut self.running_var, var);
        self.num_batches_tracked += 1;
    }
}

/// Per channel, the mean over all other axes of `of` each element.
fn mean_of<T: Real>(x: &ArrayViewD<'_, T>, of: impl Fn(T) -> T) -> Array1<T> {
    let mean = |channel: ArrayViewD<'_, T>| {
        channel.iter().map(|&x| of(x)).fold(T::zero(), |a, b| a + b) / T::from_f64(channel.len() as f64)
    };
    x.axis_iter(Axis(1)).map(mean).collect()
}

impl<T: Real> Layer<T> for Labml<T> {
    fn describe(&self) -> String {
        format!("Labml({}, eps={})", self.weight.value.len(), self.eps)
    }

    fn forward(&mut self, input: ArrayD<T>, mode: Mode) -> Result<ArrayD<T>, Error> {
        let channels = self.weight.value.len();
        if input.ndim() < 2 || input.shape()[1] != channels {
            let (expected, actual) = (format!("(N, {channels}, *)"), input.shape().to_vec());
            return Err(Error::Input { layer: self.describe(), expected, actual });
        }
        let (mean, var) = if mode == Mode::Train {
            let mean = mean_of(&input.view(), |x| x);
            let var = mean_of(&input.view(), |x| x * x) - mean.mapv(|mean| mean * mean);
            self.follow(&mean, &var);
            (mean, var)
        } else {
            let vector = |running: &ArrayD<T>| running.iter().copied().collect();
            (vector(&self.running_mean), vector(&self.running_var))
        };
        let invstd = var.mapv(|var| T::one() / (var + self.eps).sqrt());
        let mut normalized = input;
        let mut output = normalized.clone();
        for (c, (mut normalized, mut output)) in
            normalized.axis_iter_mut(Axis(1)).zip(output.axis_iter_mut(Axis(1))).enumerate()
        {
            normalized.mapv_inplace(|x| (x - mean[c]) * invstd[c]);
            output.assign(&normalized);
            output.mapv_inplace(|x| self.weight.value[c] * x + self.bias.value[c]);
        }
        self.passed = Some(Passed { normalized, invstd, by_batch: mode == Mode::Train });
        Ok(output)
    }

    fn backward(&mut self, mut grad_output: ArrayD<T>) -> Result<ArrayD<T>, Error> {
        let layer = self.describe();
        let Some(Passed { normalized, invstd, by_batch }) = &self.passed else {
            return Err(Error::NoForward { layer });
        };
        check_grad_output(&layer, normalized.shape(), &grad_output)?;
        for (c, (mut g, normalized)) in
            grad_output.axis_iter_mut(Axis(1)).zip(normalized.axis_iter(Axis(1))).enumerate()
        {
            let n = T::from_f64(g.len() as f64);
            let of_bias = g.sum();
            let of_weight = (&g * &normalized).sum();
            self.bias.grad[c] = of_bias;
            self.weight.grad[c] = of_weight;
            let scale = self.weight.value[c] * invstd[c];
            let [mean, slope] = if *by_batch { [of_bias / n, of_weight / n] } else { [T::zero(); 2] };
            g.zip_mut_with(&normalized, |g, &x| *g = scale * (*g - mean - x * slope));
        }
        Ok(grad_output)
    }

    fn slots(&mut self) -> Vec<(&'static str, Slot<'_, T>)> {
        vec![
            ("weight", self.weight.slot()),
            ("bias", self.bias.slot()),
            ("running_mean", Slot::Buffer(self.running_mean.view_mut())),
            ("running_var", Slot::Buffer(self.running_var.view_mut())),
            ("num_batches_tracked", Slot::Counter(&mut self.num_batches_tracked)),
        ]
    }
}
