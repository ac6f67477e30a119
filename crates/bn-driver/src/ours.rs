//! Our engine, through the functions that write into given outputs.

use batchnorm::backward::{At, GradSums, backward_into, backward_relu_into};
use batchnorm::forward::{forward_train_into, forward_train_relu_into, normalize_into, normalize_relu_into};
use batchnorm::running::update_running_stats;
use batchnorm::{Affine, Element, Error, Moments, Origin, Relu, ReluMask, Statistics};
use ndarray::Array1;

use crate::axes::Op;
use crate::buffer::Buffer;
use crate::value::Value;
use crate::workload::{EPS, MOMENTUM, Workload};

/// `batchnorm` on a workload, with its outputs and workspaces.
///
/// It takes the threads of the rayon pool that it is called in.
pub struct Ours<'a, T: Value> {
    work: &'a Workload<T>,
    op: Op,
    /// The output, or grad_input.
    pub result: Buffer<T>,
    /// The gradient of what was added, where something was.
    pub grad_residual: Option<Buffer<T>>,
    /// What relu let through.
    mask: ReluMask,
    /// After the calls of a training pass forward.
    pub running_mean: Array1<T::Parameter>,
    /// As the mean.
    pub running_var: Array1<T::Parameter>,
    /// Of a backward pass.
    pub grad_weight: Array1<T::Parameter>,
    /// Of a backward pass.
    pub grad_bias: Array1<T::Parameter>,
    moments: Vec<Moments>,
    statistics: Vec<Statistics>,
    /// What grad_weight and grad_bias are rounded from.
    pub sums: Vec<GradSums>,
}

impl<'a, T: Value> Ours<'a, T> {
    /// Allocates all that the operation writes to; a backward pass in training gets the
    /// statistics of its forward pass.
    ///
    /// # Errors
    /// What `batchnorm` refuses.
    pub fn new(work: &'a Workload<T>, op: Op) -> Result<Self, Error> {
        let channels = work.channels();
        let mut ours = Ours {
            work,
            op,
            result: work.blank(),
            grad_residual: (op.is_backward() && op.adds()).then(|| work.blank()),
            mask: ReluMask::default(),
            running_mean: work.running_mean.clone(),
            running_var: work.running_var.clone(),
            grad_weight: work.weight.clone(),
            grad_bias: work.bias.clone(),
            moments: vec![Moments::default(); channels],
            statistics: vec![Statistics::default(); channels],
            sums: vec![GradSums::default(); channels],
        };
        if op.norm() == Op::BackwardTrain {
            ours.train_forward()?;
            if op.relu() {
                ours.take_mask()?;
            }
        }
        Ok(ours)
    }

    /// Does the operation once.
    ///
    /// # Errors
    /// What `batchnorm` refuses.
    pub fn call(&mut self) -> Result<(), Error> {
        match self.op.norm() {
            Op::ForwardTrain => self.train_forward(),
            Op::ForwardEval => self.eval_forward(),
            Op::BackwardTrain => self.backward(Origin::Batch),
            _ => {
                self.recall_statistics();
                self.backward(Origin::Running)
            }
        }
    }

    /// What it does.
    pub fn op(&self) -> Op {
        self.op
    }

    /// n, the number of values of a channel.
    pub fn per_channel(&self) -> usize {
        self.work.per_channel()
    }

    fn affine(&self) -> Affine<'a, T::Parameter> {
        Affine { weight: Some(self.work.weight.view()), bias: Some(self.work.bias.view()) }
    }

    fn train_forward(&mut self) -> Result<(), Error> {
        let (input, affine) = (self.work.view(&self.work.input), self.affine());
        let output = self.work.view_mut(&mut self.result);
        let (moments, statistics) = (&mut self.moments, &mut self.statistics);
        if self.op.relu() {
            let residual = self.op.adds().then(|| self.work.view(self.work.residual()));
            let relu = Relu { residual, mask: &mut self.mask };
            forward_train_relu_into(input, affine, EPS, relu, output, moments, statistics)?;
        } else {
            forward_train_into(input, affine, EPS, output, moments, statistics)?;
        }
        let (mean, var) = (self.running_mean.view_mut(), self.running_var.view_mut());
        update_running_stats(mean, var, MOMENTUM, &self.moments)
    }

    /// The mask of [`Workload::passes`]: that of relu(x).
    fn take_mask(&mut self) -> Result<(), Error> {
        let as_it_is = vec![Statistics::from_running(0.0, 1.0, 0.0); self.work.channels()];
        let (input, affine) =
            (self.work.view(&self.work.input), Affine::<T::Parameter> { weight: None, bias: None });
        let relu = Relu { residual: None, mask: &mut self.mask };
        normalize_relu_into(input, &as_it_is, affine, relu, self.work.view_mut(&mut self.result))
    }

    fn recall_statistics(&mut self) {
        let running = self.work.running_mean.iter().zip(&self.work.running_var);
        for (statistics, (mean, var)) in self.statistics.iter_mut().zip(running) {
            *statistics = Statistics::from_running(mean.to_f64(), var.to_f64(), EPS);
        }
    }

    fn eval_forward(&mut self) -> Result<(), Error> {
        self.recall_statistics();
        let (input, affine) = (self.work.view(&self.work.input), self.affine());
        let output = self.work.view_mut(&mut self.result);
        if self.op.relu() {
            let relu = Relu { residual: None, mask: &mut self.mask };
            return normalize_relu_into(input, &self.statistics, affine, relu, output);
        }
        normalize_into(input, &self.statistics, affine, output)
    }

    fn backward(&mut self, origin: Origin) -> Result<(), Error> {
        let at = At {
            input: self.work.view(&self.work.input),
            grad_output: self.work.view(&self.work.grad_output),
            weight: Some(self.work.weight.view()),
            statistics: &self.statistics,
            origin,
        };
        let grad_input = Some(self.work.view_mut(&mut self.result));
        if self.op.relu() {
            let grad_residual = self.grad_residual.as_mut().map(|memory| self.work.view_mut(memory));
            backward_relu_into(&at, &self.mask, &mut self.sums, grad_input, grad_residual)?;
        } else {
            backward_into(&at, &mut self.sums, grad_input)?;
        }
        for (c, sums) in self.sums.iter().enumerate() {
            self.grad_weight[c] = Element::from_f64(sums.grad_weight);
            self.grad_bias[c] = Element::from_f64(sums.grad_bias);
        }
        Ok(())
    }
}
