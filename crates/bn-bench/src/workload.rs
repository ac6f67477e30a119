//! A shape with its values, and what must come out.

use anyhow::{Result, ensure};
use bn_suite::allowance::chain;
use ndarray::{Array1, ArrayD, IxDyn};

/// ε of every layer here: PyTorch's default.
pub const EPS: f64 = 1e-5;
/// The weight of the new value in the running statistics: PyTorch's default.
pub const MOMENTUM: f64 = 0.1;

/// u of f32.
const UNIT: f64 = f64::EPSILON * (1u64 << 28) as f64;

/// An f32 layer with all its parts, and a batch for it.
pub struct Workload {
    /// x, (N, C, *), contiguous.
    pub input: ArrayD<f32>,
    /// ∂loss/∂y.
    pub grad_output: ArrayD<f32>,
    /// γ.
    pub weight: Array1<f32>,
    /// β.
    pub bias: Array1<f32>,
    /// The running mean.
    pub running_mean: Array1<f32>,
    /// The running variance.
    pub running_var: Array1<f32>,
}

/// One channel in f64, worked out in plain loops.
struct Channel {
    mean: f64,
    invstd: f64,
    /// What a mean in f32 may be off by, in units of the deviation: the error of
    /// a sum of n terms is at most (chain of additions)·u·Σ|terms|.
    drift: f64,
}

impl Workload {
    /// Values from a fixed seed: activations around 0.5 with deviation about 1.
    pub fn new(shape: &[usize]) -> Self {
        let mut rng = fastrand::Rng::with_seed(0x5eed);
        // Four uniforms: near enough to normal, and quick to draw by the million.
        let mut normal = move || (0..4).map(|_| rng.f32()).sum::<f32>() * 1.732 - 3.464;
        let mut values = |shape: &[usize], mean: f32, deviation: f32| {
            ArrayD::from_shape_simple_fn(IxDyn(shape), || mean + deviation * normal())
        };
        let channels = [shape[1]];
        let vector = |array: ArrayD<f32>| Array1::from_iter(array);
        Workload {
            input: values(shape, 0.5, 1.0),
            grad_output: values(shape, 0.1, 1.0),
            weight: vector(values(&channels, 1.0, 0.25)),
            bias: vector(values(&channels, 0.0, 0.25)),
            running_mean: vector(values(&channels, 0.4, 0.1)),
            running_var: vector(values(&channels, 1.0, 0.1)),
        }
    }

    /// C.
    pub fn channels(&self) -> usize {
        self.input.shape()[1]
    }

    /// n, the number of values of a channel.
    pub fn per_channel(&self) -> usize {
        self.input.len() / self.channels()
    }

    /// How many values of one sample and channel lie side by side.
    fn inner(&self) -> usize {
        self.input.shape()[2..].iter().product()
    }

    /// The places of channel c in memory order.
    fn places(&self, c: usize) -> impl Iterator<Item = usize> + '_ {
        let (samples, channels, inner) = (self.input.shape()[0], self.channels(), self.inner());
        (0..samples).flat_map(move |sample| (0..inner).map(move |i| (sample * channels + c) * inner + i))
    }

    fn trained(&self, c: usize) -> Channel {
        let (x, n) = (flat(&self.input), self.per_channel() as f64);
        let mean_of = |term: &dyn Fn(f64) -> f64| self.places(c).map(|i| term(x[i].into())).sum::<f64>() / n;
        let mean = mean_of(&|x| x);
        let invstd = 1.0 / (mean_of(&|x| (x - mean).powi(2)) + EPS).sqrt();
        let drift = chain(self.per_channel()) * UNIT * mean_of(&f64::abs) * invstd;
        Channel { mean, invstd, drift }
    }

    fn evaluated(&self, c: usize) -> Channel {
        let invstd = 1.0 / (f64::from(self.running_var[c]) + EPS).sqrt();
        Channel { mean: self.running_mean[c].into(), invstd, drift: 0.0 }
    }

    /// Whether `output` is the forward pass of this workload, element by element.
    ///
    /// An f32 engine may be off by the drift of its mean, by as much again, times
    /// |x̂|, for its variance, and by 8 roundings of the terms of x·α + β.
    pub fn check_forward(&self, training: bool, output: &[f32]) -> Result<()> {
        let x = flat(&self.input);
        ensure!(output.len() == x.len(), "expected {} outputs, got {}", x.len(), output.len());
        for c in 0..self.channels() {
            let Channel { mean, invstd, drift } = if training { self.trained(c) } else { self.evaluated(c) };
            let (weight, bias) = (f64::from(self.weight[c]), f64::from(self.bias[c]));
            for i in self.places(c) {
                let value = f64::from(x[i]);
                let x_hat = (value - mean) * invstd;
                let terms = (weight * invstd).abs() * (value.abs() + mean.abs()) + bias.abs();
                let allowance = weight.abs() * drift * (1.0 + x_hat.abs()) + 8.0 * UNIT * terms;
                near("output", i, output[i], x_hat * weight + bias, allowance)?;
            }
        }
        Ok(())
    }

    /// Whether these are the gradients of a training pass over this workload.
    ///
    /// Sums of n terms may be off by (chain)·u·Σ|terms|, and grad_input by what
    /// that does to it, by the drift of the mean, and by 8 roundings of its terms.
    pub fn check_backward(&self, grad_input: &[f32], grad_weight: &[f32], grad_bias: &[f32]) -> Result<()> {
        let (x, g, n) = (flat(&self.input), flat(&self.grad_output), self.per_channel() as f64);
        ensure!(grad_input.len() == x.len(), "expected {} gradients, got {}", x.len(), grad_input.len());
        let summing = chain(self.per_channel()) * UNIT;
        for c in 0..self.channels() {
            let Channel { mean, invstd, drift } = self.trained(c);
            let x_hat = |i: usize| (f64::from(x[i]) - mean) * invstd;
            let sum_of = |term: &dyn Fn(usize) -> f64| self.places(c).map(term).sum::<f64>();
            let (gb, gb_size) = (sum_of(&|i| g[i].into()), sum_of(&|i| g[i].abs().into()));
            let gw = sum_of(&|i| f64::from(g[i]) * x_hat(i));
            let gw_size = sum_of(&|i| (f64::from(g[i]) * x_hat(i)).abs());
            let gw_error = summing * gw_size + drift * (gb_size + gw_size) + 8.0 * UNIT * gw_size;
            near("grad_bias", c, grad_bias[c], gb, summing * gb_size + UNIT * gb.abs())?;
            near("grad_weight", c, grad_weight[c], gw, gw_error)?;
            let scale = f64::from(self.weight[c]) * invstd;
            for i in self.places(c) {
                let (g, x_hat) = (f64::from(g[i]), x_hat(i));
                let expected = scale * (g - gb / n - x_hat * gw / n);
                let sums =
                    (summing * gb_size + x_hat.abs() * gw_error + drift * (1.0 + x_hat.abs()) * gw.abs()) / n;
                let terms = g.abs() + gb_size / n + (x[i].abs() as f64 + mean.abs()) * invstd * gw_size / n;
                let allowance = scale.abs() * (sums + 8.0 * UNIT * terms + drift * terms);
                near("grad_input", i, grad_input[i], expected, allowance)?;
            }
        }
        Ok(())
    }
}

fn flat(array: &ArrayD<f32>) -> &[f32] {
    array.as_slice().expect("a workload is contiguous")
}

fn near(what: &str, index: usize, got: f32, expected: f64, allowance: f64) -> Result<()> {
    let distance = (f64::from(got) - expected).abs();
    ensure!(
        distance <= allowance,
        "{what}[{index}] is {got:?}, expected {expected:?}: off by {distance:e}, allowed {allowance:e}"
    );
    Ok(())
}
