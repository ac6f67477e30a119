//! libtorch, through the calls that do no more than the arithmetic.

use std::ffi::{CStr, c_char};

use anyhow::{Result, bail};
use ndarray::{Array1, ArrayD};
use tch::{Device, Tensor};

use crate::workload::{EPS, MOMENTUM, Workload};

/// libtorch on a workload, with its outputs.
pub struct Libtorch<'a> {
    work: &'a Workload,
    device: Device,
    input: Tensor,
    grad_output: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    output: Tensor,
    save_mean: Tensor,
    save_invstd: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
}

unsafe extern "C" {
    /// src/backward.cpp.
    fn bn_bench_backward(
        grad_input: *const Handle,
        grad_weight: *const Handle,
        grad_bias: *const Handle,
        grad_output: *const Handle,
        input: *const Handle,
        weight: *const Handle,
        save_mean: *const Handle,
        save_invstd: *const Handle,
        eps: f64,
    ) -> *const c_char;
}

/// What tch's pointers point to: an `at::Tensor`.
type Handle = std::ffi::c_void;

impl<'a> Libtorch<'a> {
    /// Copies the workload to `device`, and allocates all that is written to.
    pub fn new(work: &'a Workload, device: Device) -> Result<Self> {
        let (input, weight) = (array(&work.input, device)?, vector(&work.weight, device)?);
        Ok(Libtorch {
            work,
            device,
            grad_output: array(&work.grad_output, device)?,
            bias: vector(&work.bias, device)?,
            running_mean: vector(&work.running_mean, device)?,
            running_var: vector(&work.running_var, device)?,
            output: input.f_zeros_like()?,
            save_mean: weight.f_zeros_like()?,
            save_invstd: weight.f_zeros_like()?,
            // Replaced by each backward pass.
            grad_input: weight.f_zeros_like()?,
            grad_weight: weight.f_zeros_like()?,
            grad_bias: weight.f_zeros_like()?,
            input,
            weight,
        })
    }

    /// A training forward pass with the update of the running statistics.
    pub fn train_forward(&mut self) -> Result<()> {
        self.forward(true)
    }

    /// An evaluation forward pass.
    pub fn eval_forward(&mut self) -> Result<()> {
        // The saved statistics of an evaluation pass are empty, and the `_out`
        // form shrinks what it is given to that; on a GPU it fills them.
        self.forward(false)
    }

    fn forward(&mut self, training: bool) -> Result<()> {
        // The running statistics of evaluation are the workload's own.
        let (mean, var) = (&self.running_mean, &self.running_var);
        // It gives back the outputs under other names.
        let _ = self.input.f_native_batch_norm_out(
            &self.output,
            &self.save_mean,
            &self.save_invstd,
            Some(&self.weight),
            Some(&self.bias),
            Some(mean),
            Some(var),
            training,
            MOMENTUM,
            EPS,
        )?;
        self.finish();
        Ok(())
    }

    /// The backward pass of the last [`Self::train_forward`].
    ///
    /// libtorch has no backward that writes into given memory: its `_out` form
    /// allocates, computes and copies. So the plain form is called, and the
    /// process keeps memory that is handed back ([`crate::machine::keep_memory`]).
    pub fn train_backward(&mut self) -> Result<()> {
        let at = |tensor: &Tensor| tensor.as_ptr().cast::<Handle>();
        // SAFETY: every pointer is a live at::Tensor that tch made and owns, and
        // the shim assigns through the first three, of which `self` holds the
        // only handles. Shapes and dtypes are the workload's, which agree; the
        // saved statistics have length C after a training forward pass, which
        // the kernel reads.
        let problem = unsafe {
            bn_bench_backward(
                at(&self.grad_input),
                at(&self.grad_weight),
                at(&self.grad_bias),
                at(&self.grad_output),
                at(&self.input),
                at(&self.weight),
                at(&self.save_mean),
                at(&self.save_invstd),
                EPS,
            )
        };
        if !problem.is_null() {
            // SAFETY: the shim gives a C string that lives until its next call.
            bail!("libtorch: {}", unsafe { CStr::from_ptr(problem) }.to_string_lossy());
        }
        self.finish();
        Ok(())
    }

    /// A GPU works on after the call has come back: wait for it.
    fn finish(&self) {
        if let Device::Cuda(index) = self.device {
            tch::Cuda::synchronize(index as i64);
        }
    }

    /// Compares the last forward pass with the plain loops.
    pub fn check_forward(&self, training: bool) -> Result<()> {
        self.work.check_forward(training, &values(&self.output)?)
    }

    /// Compares the last backward pass with the plain loops.
    pub fn check_backward(&self) -> Result<()> {
        let (weight, bias) = (values(&self.grad_weight)?, values(&self.grad_bias)?);
        self.work.check_backward(&values(&self.grad_input)?, &weight, &bias)
    }
}

fn array(values: &ArrayD<f32>, device: Device) -> Result<Tensor> {
    let shape: Vec<i64> = values.shape().iter().map(|&extent| extent as i64).collect();
    let flat = Tensor::f_from_slice(values.as_slice().expect("a workload is contiguous"))?;
    Ok(flat.f_reshape(shape)?.f_to_device(device)?)
}

fn vector(values: &Array1<f32>, device: Device) -> Result<Tensor> {
    array(&values.clone().into_dyn(), device)
}

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    let flat = tensor.f_to_device(Device::Cpu)?.f_contiguous()?.f_reshape([-1])?;
    let mut values = vec![0.0; flat.numel()];
    flat.f_copy_data(&mut values, flat.numel())?;
    Ok(values)
}
