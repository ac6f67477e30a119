//! What must come out of an operation, in plain f64 loops, and how far from it a right
//! engine may be.
//!
//! An engine computes in the parameters' dtype, of unit roundoff u, and rounds each
//! result once to its own; the loops here compute in f64 and may be as wrong in their
//! u. The allowances are written for the sum of the two:
//!
//! ```text
//! s       = chain(n)·u                       a sum of n terms, relative to Σ|terms|
//! drift   = |Δmean|·invstd     ≤ (s + 2u)·mean|x|·invstd
//! stretch = |Δinvstd| / invstd ≤ (s + 4u + drift²)/2 + 3u
//! |Δx̂|    ≤ drift + |x̂|·stretch
//! ```
//!
//! (The mean is divided and rounded; the variance, a mean of squares around a mean that
//! is off by `drift`, is too, and its root inverted.) In evaluation both are 0: the
//! statistics are given. To what that makes of a result come 8 roundings of the terms
//! that it is made of, and the last one, where the result is narrower than u.
//!
//! relu moves no two numbers apart. An engine that adds or rectifies in a step of its own
//! rounds the step before to its dtype too; that is allowed to both.

use std::fmt;

use batchnorm::Element;
use bn_suite::allowance::chain;
use ndarray::Array1;
use rayon::prelude::*;

use crate::axes::Op;
use crate::value::Value;
use crate::workload::{EPS, MOMENTUM, Workload};

/// One channel: its statistics, its sums, and their bounds.
#[derive(Clone, Copy, Default)]
struct Channel {
    mean: f64,
    invstd: f64,
    /// Of the batch; 0 in evaluation.
    var_unbiased: f64,
    drift: f64,
    stretch: f64,
    /// Σg, Σ|g|, Σg·x̂, Σ|g·x̂|; 0 forward.
    grad_bias: f64,
    grad_bias_size: f64,
    grad_weight: f64,
    grad_weight_size: f64,
}

/// The right results of an operation on a workload.
pub struct Expected<'a, T: Value> {
    work: &'a Workload<T>,
    op: Op,
    channels: Vec<Channel>,
}

/// An element that is further from the truth than a right engine can be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub struct Outside {
    /// Which array: `output`, `grad_weight`.
    pub array: &'static str,
    /// Where in it, in memory order.
    pub index: usize,
    /// What came.
    pub got: f64,
    /// What f64 loops give.
    pub expected: f64,
    /// How far apart they may be.
    pub allowance: f64,
}

impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outside { array, index, got, expected, allowance } = self;
        let off = (got - expected).abs();
        write!(
            f,
            "{array}[{index}] is {got:?}, expected {expected:?}: off by {off:.3e}, allowed {allowance:.3e}"
        )
    }
}

impl<'a, T: Value> Expected<'a, T> {
    /// The unit roundoff of the engine's arithmetic, and of the loops'.
    const UNIT: f64 = <T::Parameter as Value>::UNIT + f64::UNIT;

    /// Works out the channels.
    pub fn new(work: &'a Workload<T>, op: Op) -> Self {
        let groups = work.groups().into_par_iter();
        let channels = groups.flat_map_iter(|group| {
            let mut channels = vec![Channel::default(); group.len()];
            if op.trains() {
                measure(work, group.start, &mut channels);
            } else {
                recall(work, group.start, &mut channels);
            }
            if op.is_backward() {
                sum_gradients(work, op, group.start, &mut channels);
            }
            channels
        });
        Expected { work, op, channels: channels.collect() }
    }

    fn summing(&self) -> f64 {
        chain(self.work.per_channel()) * Self::UNIT
    }

    /// Whether `output`, in memory order, is the forward pass.
    ///
    /// |Δy| ≤ |weight|·|Δx̂|, and the roundings of x·(invstd·weight), its mean's part, and
    /// the bias.
    ///
    /// # Errors
    /// [`Outside`].
    ///
    /// # Panics
    /// If the length is not the input's.
    pub fn check_output(&self, output: &[T]) -> Result<(), Outside> {
        let work = self.work;
        self.check_each("output", output, |c, at| {
            let Channel { mean, invstd, drift, stretch, .. } = self.channels[c];
            let (weight, bias) = (work.weight[c].to_f64(), work.bias[c].to_f64());
            let x = work.input[at].to_f64();
            let x_hat = (x - mean) * invstd;
            let terms = (weight * invstd).abs() * (x.abs() + mean.abs()) + bias.abs();
            let moved = weight.abs() * (drift + x_hat.abs() * stretch);
            let (y, allowance) = (x_hat * weight + bias, moved + 8.0 * Self::UNIT * terms);
            if !self.op.relu() {
                return (y, allowance);
            }
            let residual = if self.op.adds() { work.residual()[at].to_f64() } else { 0.0 };
            let step = T::UNIT * (y.abs() + allowance) + T::TINY;
            ((y + residual).max(0.0), allowance + step + Self::UNIT * (y.abs() + residual.abs()))
        })
    }

    /// Whether `gradient`, in memory order, is grad_output where relu let the element
    /// through, and 0 elsewhere.
    ///
    /// # Errors
    /// [`Outside`].
    ///
    /// # Panics
    /// If the length is not the input's.
    pub fn check_grad_residual(&self, gradient: &[T]) -> Result<(), Outside> {
        assert_eq!(gradient.len(), self.work.input.len(), "grad_residual has another length than the input");
        (0..gradient.len()).into_par_iter().try_for_each(|at| {
            near("grad_residual", at, gradient[at].to_f64(), grad_output(self.work, self.op, at), 0.0)
        })
    }

    /// Whether these are the running statistics after one pass, from those of the workload.
    ///
    /// # Errors
    /// [`Outside`].
    pub fn check_running(
        &self,
        mean: &Array1<T::Parameter>,
        var: &Array1<T::Parameter>,
    ) -> Result<(), Outside> {
        for (c, channel) in self.channels.iter().enumerate() {
            let (old_mean, old_var) = (self.work.running_mean[c].to_f64(), self.work.running_var[c].to_f64());
            let check = |array, got: T::Parameter, old: f64, new: f64, error: f64| {
                let (old, new) = ((1.0 - MOMENTUM) * old, MOMENTUM * new);
                let allowance = MOMENTUM * error + 4.0 * Self::UNIT * (old.abs() + new.abs());
                near(array, c, got.to_f64(), old + new, allowance)
            };
            check("running_mean", mean[c], old_mean, channel.mean, channel.drift / channel.invstd)?;
            let var_error = channel.var_unbiased * 2.0 * channel.stretch;
            check("running_var", var[c], old_var, channel.var_unbiased, var_error)?;
        }
        Ok(())
    }

    /// Whether these are grad_weight and grad_bias.
    ///
    /// # Errors
    /// [`Outside`].
    pub fn check_sums(
        &self,
        weight: &Array1<T::Parameter>,
        bias: &Array1<T::Parameter>,
    ) -> Result<(), Outside> {
        for (c, channel) in self.channels.iter().enumerate() {
            let bias_error = self.summing() * channel.grad_bias_size + Self::UNIT * channel.grad_bias.abs();
            near("grad_bias", c, bias[c].to_f64(), channel.grad_bias, bias_error)?;
            let weight_error = self.grad_weight_error(channel);
            near("grad_weight", c, weight[c].to_f64(), channel.grad_weight, weight_error)?;
        }
        Ok(())
    }

    /// Of Σg·x̂: the summing, Σ|g|·|Δx̂|, and 8 roundings of every term.
    fn grad_weight_error(&self, channel: &Channel) -> f64 {
        let relative = self.summing() + channel.stretch + 8.0 * Self::UNIT;
        relative * channel.grad_weight_size + channel.drift * channel.grad_bias_size
    }

    /// Whether `grad_input`, in memory order, is the gradient.
    ///
    /// # Errors
    /// [`Outside`].
    ///
    /// # Panics
    /// If the length is not the input's.
    pub fn check_grad_input(&self, grad_input: &[T]) -> Result<(), Outside> {
        let (work, n) = (self.work, self.work.per_channel() as f64);
        self.check_each("grad_input", grad_input, |c, at| {
            let channel = &self.channels[c];
            let scale = work.weight[c].to_f64() * channel.invstd;
            let g = grad_output(work, self.op, at);
            if !self.op.trains() {
                return (scale * g, 8.0 * Self::UNIT * (scale * g).abs());
            }
            let x = work.input[at].to_f64();
            let x_hat = (x - channel.mean) * channel.invstd;
            let (gb, gw) = (channel.grad_bias / n, channel.grad_weight / n);
            let (gb_size, gw_size) = (channel.grad_bias_size / n, channel.grad_weight_size / n);
            let sums = self.summing() * gb_size
                + x_hat.abs() * self.grad_weight_error(channel) / n
                + (channel.drift + x_hat.abs() * channel.stretch) * gw.abs();
            let terms = g.abs() + gb_size + (x.abs() + channel.mean.abs()) * channel.invstd * gw_size;
            let relative = 8.0 * Self::UNIT + channel.stretch;
            (scale * (g - gb - x_hat * gw), scale.abs() * (sums + relative * terms))
        })
    }

    /// Compares every element with an expected value and its allowance, adding that of
    /// the last rounding.
    fn check_each(
        &self,
        array: &'static str,
        got: &[T],
        expected: impl Fn(usize, usize) -> (f64, f64) + Sync,
    ) -> Result<(), Outside> {
        assert_eq!(got.len(), self.work.input.len(), "{array} has another length than the input");
        let narrow = T::UNIT > <T::Parameter as Value>::UNIT;
        self.work.groups().into_par_iter().try_for_each(|group| {
            self.work.try_each(group, |c, at| {
                let (expected, mut allowance) = expected(c, at);
                if narrow {
                    allowance += T::UNIT * (expected.abs() + allowance) + T::TINY;
                }
                near(array, at, got[at].to_f64(), expected, allowance)
            })
        })
    }
}

/// ∂loss/∂y of the batch norm: what relu lets through, where the operation has one.
fn grad_output<T: Value>(work: &Workload<T>, op: Op, at: usize) -> f64 {
    if op.relu() && !work.passes(at) { 0.0 } else { work.grad_output[at].to_f64() }
}

/// Mean and deviation of the batch.
fn measure<T: Value>(work: &Workload<T>, first: usize, channels: &mut [Channel]) {
    let n = work.per_channel();
    let x = |at: usize| work.input[at].to_f64();
    let (sums, sizes) =
        (sums(work, first, channels, |_, at| x(at)), sums(work, first, channels, |_, at| x(at).abs()));
    for (channel, sum) in channels.iter_mut().zip(sums) {
        channel.mean = sum / n as f64;
    }
    let squares = self::sums(work, first, channels, |channel, at| (x(at) - channel.mean).powi(2));
    let unit = Expected::<T>::UNIT;
    let summing = chain(n) * unit;
    for ((channel, square), size) in channels.iter_mut().zip(squares).zip(sizes) {
        channel.invstd = 1.0 / (square / n as f64 + EPS).sqrt();
        channel.var_unbiased = square / (n as f64 - 1.0);
        channel.drift = (summing + 2.0 * unit) * size / n as f64 * channel.invstd;
        channel.stretch = (summing + 4.0 * unit + channel.drift.powi(2)) / 2.0 + 3.0 * unit;
    }
}

/// Mean and deviation that the running statistics give.
fn recall<T: Value>(work: &Workload<T>, first: usize, channels: &mut [Channel]) {
    for (c, channel) in channels.iter_mut().enumerate() {
        channel.mean = work.running_mean[first + c].to_f64();
        channel.invstd = 1.0 / (work.running_var[first + c].to_f64() + EPS).sqrt();
    }
}

fn sum_gradients<T: Value>(work: &Workload<T>, op: Op, first: usize, channels: &mut [Channel]) {
    let g = |at: usize| grad_output(work, op, at);
    let product =
        |channel: &Channel, at: usize| g(at) * ((work.input[at].to_f64() - channel.mean) * channel.invstd);
    let [bias, bias_size, weight, weight_size] = [
        sums(work, first, channels, |_, at| g(at)),
        sums(work, first, channels, |_, at| g(at).abs()),
        sums(work, first, channels, product),
        sums(work, first, channels, |channel, at| product(channel, at).abs()),
    ];
    for (c, channel) in channels.iter_mut().enumerate() {
        channel.grad_bias = bias[c];
        channel.grad_bias_size = bias_size[c];
        channel.grad_weight = weight[c];
        channel.grad_weight_size = weight_size[c];
    }
}

/// Σ term(channel, place in memory) of each channel from `first` on, compensated
/// (Neumaier), so that the loops' own error is below every bound here.
fn sums<T: Value>(
    work: &Workload<T>,
    first: usize,
    channels: &[Channel],
    term: impl Fn(&Channel, usize) -> f64,
) -> Vec<f64> {
    let mut sums = vec![(0.0f64, 0.0f64); channels.len()];
    let done: Result<(), std::convert::Infallible> = work.try_each(first..first + channels.len(), |c, at| {
        let (sum, lost) = &mut sums[c - first];
        let term = term(&channels[c - first], at);
        let next = *sum + term;
        *lost += if sum.abs() >= term.abs() { (*sum - next) + term } else { (term - next) + *sum };
        *sum = next;
        Ok(())
    });
    let Ok(()) = done;
    sums.into_iter().map(|(sum, lost)| sum + lost).collect()
}

fn near(array: &'static str, index: usize, got: f64, expected: f64, allowance: f64) -> Result<(), Outside> {
    // Written so that NaN is outside.
    if (got - expected).abs() <= allowance {
        return Ok(());
    }
    Err(Outside { array, index, got, expected, allowance })
}
