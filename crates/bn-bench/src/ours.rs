//! Our engine, through the functions that write into given outputs.

use anyhow::{Result, ensure};
use batchnorm::backward::{At, GradSums, backward_into};
use batchnorm::forward::{forward_train_into, normalize_into};
use batchnorm::running::update_running_stats;
use batchnorm::{Affine, Moments, Origin, Statistics};
use ndarray::{Array1, ArrayD};

use crate::workload::{EPS, MOMENTUM, Workload};

/// `batchnorm` on a workload, with its outputs and workspaces.
pub struct Ours<'a> {
    work: &'a Workload,
    running_mean: Array1<f32>,
    running_var: Array1<f32>,
    output: ArrayD<f32>,
    grad_input: ArrayD<f32>,
    moments: Vec<Moments>,
    statistics: Vec<Statistics>,
    sums: Vec<GradSums>,
}

impl<'a> Ours<'a> {
    /// Allocates all that the operations write to.
    pub fn new(work: &'a Workload) -> Self {
        let channels = work.channels();
        let like_input = || ArrayD::zeros(work.input.raw_dim());
        Ours {
            work,
            running_mean: work.running_mean.clone(),
            running_var: work.running_var.clone(),
            output: like_input(),
            grad_input: like_input(),
            moments: vec![Moments::default(); channels],
            statistics: vec![Statistics::default(); channels],
            sums: vec![GradSums::default(); channels],
        }
    }

    fn affine(&self) -> Affine<'a, f32> {
        Affine { weight: Some(self.work.weight.view()), bias: Some(self.work.bias.view()) }
    }

    /// A training forward pass with the update of the running statistics.
    pub fn train_forward(&mut self) -> Result<()> {
        let (input, affine) = (self.work.input.view(), self.affine());
        let output = self.output.view_mut();
        forward_train_into(input, affine, EPS, output, &mut self.moments, &mut self.statistics)?;
        let (mean, var) = (self.running_mean.view_mut(), self.running_var.view_mut());
        Ok(update_running_stats(mean, var, MOMENTUM, &self.moments)?)
    }

    /// An evaluation forward pass.
    pub fn eval_forward(&mut self) -> Result<()> {
        let running = self.work.running_mean.iter().zip(&self.work.running_var);
        for (statistics, (&mean, &var)) in self.statistics.iter_mut().zip(running) {
            *statistics = Statistics::from_running(mean.into(), var.into(), EPS);
        }
        let affine = self.affine();
        Ok(normalize_into(self.work.input.view(), &self.statistics, affine, self.output.view_mut())?)
    }

    /// The backward pass of the last [`Self::train_forward`].
    pub fn train_backward(&mut self) -> Result<()> {
        let at = At {
            input: self.work.input.view(),
            grad_output: self.work.grad_output.view(),
            weight: Some(self.work.weight.view()),
            statistics: &self.statistics,
            origin: Origin::Batch,
        };
        Ok(backward_into(&at, &mut self.sums, Some(self.grad_input.view_mut()))?)
    }

    /// Compares the last forward pass with the plain loops.
    pub fn check_forward(&self, training: bool) -> Result<()> {
        self.work.check_forward(training, self.output.as_slice().expect("contiguous"))
    }

    /// Compares the last backward pass with the plain loops.
    pub fn check_backward(&self) -> Result<()> {
        ensure!(
            self.sums.iter().all(|sums| sums.count == self.work.per_channel()),
            "not every value was summed"
        );
        let vector =
            |value: fn(&GradSums) -> f64| self.sums.iter().map(|sums| value(sums) as f32).collect::<Vec<_>>();
        let (weight, bias) = (vector(|sums| sums.grad_weight), vector(|sums| sums.grad_bias));
        self.work.check_backward(self.grad_input.as_slice().expect("contiguous"), &weight, &bias)
    }
}
