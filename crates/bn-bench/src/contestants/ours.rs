//! Our engine, through the functions that write into given outputs.

use anyhow::{Result, ensure};
use batchnorm::backward::{At, GradSums, backward_into};
use batchnorm::forward::{forward_train_into, normalize_into};
use batchnorm::running::update_running_stats;
use batchnorm::{Affine, Element, Moments, Origin, Statistics};
use ndarray::Array1;

use super::Contestant;
use crate::axes::Op;
use crate::buffer::Buffer;
use crate::expected::Expected;
use crate::paired::Call;
use crate::value::Value;
use crate::workload::{EPS, MOMENTUM, Workload};

/// `batchnorm` on a workload, with its outputs and workspaces.
///
/// It takes the threads of the rayon pool that it is called in.
pub struct Ours<'a, T: Value> {
    work: &'a Workload<T>,
    op: Op,
    /// The output, or grad_input.
    result: Buffer<T>,
    running_mean: Array1<T::Parameter>,
    running_var: Array1<T::Parameter>,
    grad_weight: Array1<T::Parameter>,
    grad_bias: Array1<T::Parameter>,
    moments: Vec<Moments>,
    statistics: Vec<Statistics>,
    sums: Vec<GradSums>,
}

impl<'a, T: Value> Ours<'a, T> {
    /// Allocates all that the operation writes to; a backward pass in training gets the
    /// statistics of its forward pass.
    ///
    /// # Errors
    /// What `batchnorm` refuses.
    pub fn new(work: &'a Workload<T>, op: Op) -> Result<Self> {
        let channels = work.channels();
        let mut ours = Ours {
            work,
            op,
            result: work.blank(),
            running_mean: work.running_mean.clone(),
            running_var: work.running_var.clone(),
            grad_weight: work.weight.clone(),
            grad_bias: work.bias.clone(),
            moments: vec![Moments::default(); channels],
            statistics: vec![Statistics::default(); channels],
            sums: vec![GradSums::default(); channels],
        };
        if op == Op::BackwardTrain {
            ours.train_forward()?;
        }
        Ok(ours)
    }

    fn affine(&self) -> Affine<'a, T::Parameter> {
        Affine { weight: Some(self.work.weight.view()), bias: Some(self.work.bias.view()) }
    }

    fn train_forward(&mut self) -> Result<()> {
        let (input, affine) = (self.work.view(&self.work.input), self.affine());
        let output = self.work.view_mut(&mut self.result);
        forward_train_into(input, affine, EPS, output, &mut self.moments, &mut self.statistics)?;
        let (mean, var) = (self.running_mean.view_mut(), self.running_var.view_mut());
        Ok(update_running_stats(mean, var, MOMENTUM, &self.moments)?)
    }

    fn recall_statistics(&mut self) {
        let running = self.work.running_mean.iter().zip(&self.work.running_var);
        for (statistics, (mean, var)) in self.statistics.iter_mut().zip(running) {
            *statistics = Statistics::from_running(mean.to_f64(), var.to_f64(), EPS);
        }
    }

    fn eval_forward(&mut self) -> Result<()> {
        self.recall_statistics();
        let (input, affine) = (self.work.view(&self.work.input), self.affine());
        Ok(normalize_into(input, &self.statistics, affine, self.work.view_mut(&mut self.result))?)
    }

    fn backward(&mut self, origin: Origin) -> Result<()> {
        let at = At {
            input: self.work.view(&self.work.input),
            grad_output: self.work.view(&self.work.grad_output),
            weight: Some(self.work.weight.view()),
            statistics: &self.statistics,
            origin,
        };
        backward_into(&at, &mut self.sums, Some(self.work.view_mut(&mut self.result)))?;
        for (c, sums) in self.sums.iter().enumerate() {
            self.grad_weight[c] = Element::from_f64(sums.grad_weight);
            self.grad_bias[c] = Element::from_f64(sums.grad_bias);
        }
        Ok(())
    }
}

impl<T: Value> Call for Ours<'_, T> {
    fn call(&mut self) -> Result<()> {
        match self.op {
            Op::ForwardTrain => self.train_forward(),
            Op::ForwardEval => self.eval_forward(),
            Op::BackwardTrain => self.backward(Origin::Batch),
            Op::BackwardEval => {
                self.recall_statistics();
                self.backward(Origin::Running)
            }
        }
    }
}

impl<T: Value> Contestant<T> for Ours<'_, T> {
    fn check(&self, expected: &Expected<'_, T>) -> Result<()> {
        if self.op.is_backward() {
            let n = self.work.per_channel();
            ensure!(self.sums.iter().all(|sums| sums.count == n), "not every value was summed");
            expected.check_sums(&self.grad_weight, &self.grad_bias)?;
            expected.check_grad_input(&self.result)?;
        } else {
            expected.check_output(&self.result)?;
        }
        if self.op == Op::ForwardTrain {
            expected.check_running(&self.running_mean, &self.running_var)?;
        }
        Ok(())
    }
}
