//! libtorch, through the calls that do no more than the arithmetic.
//!
//! It has no batch norm with relu on the CPU, so there the calls are those of its users:
//! forward `native_batch_norm.out`, then in place `add_` and `relu_`, as torchvision's
//! ResNet has them, so that one array is written; backward `threshold_backward.grad_input`,
//! into memory that was allocated once, whose result is the gradient of what was added too,
//! then `native_batch_norm_backward`.

use std::ffi::{CStr, c_char};

use anyhow::{Result, bail, ensure};
use ndarray::Array1;
use tch::{Device, Kind, Tensor};

use super::Contestant;
use crate::axes::{DType, Layout, Op};
use crate::expected::Expected;
use crate::paired::Call;
use crate::value::Value;
use crate::workload::{EPS, MOMENTUM, Workload};

/// libtorch on a workload, with its outputs.
pub struct Libtorch<'a, T: Value> {
    work: &'a Workload<T>,
    op: Op,
    device: Device,
    input: Tensor,
    grad_output: Tensor,
    /// What is added before relu.
    residual: Option<Tensor>,
    /// On the way back through relu.
    relu: Option<Relu>,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    save_mean: Tensor,
    save_invstd: Tensor,
    /// The output, or grad_input.
    result: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
}

/// What a backward pass through relu has to itself.
struct Relu {
    /// relu's output: of it, only which elements are positive is looked at.
    output: Tensor,
    /// grad_output where the output is positive, 0 elsewhere.
    gated: Tensor,
}

unsafe extern "C" {
    /// src/contestants/backward.cpp.
    fn bn_bench_backward(
        grad_input: *const Handle,
        grad_weight: *const Handle,
        grad_bias: *const Handle,
        grad_output: *const Handle,
        input: *const Handle,
        weight: *const Handle,
        running_mean: *const Handle,
        running_var: *const Handle,
        save_mean: *const Handle,
        save_invstd: *const Handle,
        training: bool,
        eps: f64,
    ) -> *const c_char;
}

/// What tch's pointers point to: an `at::Tensor`.
type Handle = std::ffi::c_void;

impl<'a, T: Value> Libtorch<'a, T> {
    /// Takes the workload, on the CPU in its own memory and else as a copy on `device`;
    /// allocates what is written to; a backward pass in training gets the statistics
    /// of its forward pass.
    ///
    /// # Errors
    /// What libtorch refuses.
    pub fn new(work: &'a Workload<T>, op: Op, device: Device) -> Result<Self> {
        let batch = |memory: &'a [T]| -> Result<Tensor> { Ok(borrow(work, memory)?.f_to_device(device)?) };
        let vector = |values: &Array1<T::Parameter>| -> Result<Tensor> {
            let values = values.to_vec();
            let borrowed = tensor_of(&values, &[values.len()], &[1])?;
            let mut vector = borrowed.f_zeros_like()?;
            vector.f_copy_(&borrowed)?;
            Ok(vector.f_to_device(device)?)
        };
        let (input, weight) = (batch(&work.input)?, vector(&work.weight)?);
        let relu = || -> Result<Relu> {
            // Positive where the input is ([`Workload::passes`]), in memory of its own.
            let mut output = input.f_zeros_like()?;
            output.f_copy_(&input)?;
            Ok(Relu { output, gated: input.f_zeros_like()? })
        };
        let adds = op.adds() && !op.is_backward();
        let mut libtorch = Libtorch {
            work,
            op,
            device,
            residual: adds.then(|| batch(work.residual())).transpose()?,
            relu: (op.relu() && op.is_backward()).then(relu).transpose()?,
            grad_output: batch(&work.grad_output)?,
            bias: vector(&work.bias)?,
            running_mean: vector(&work.running_mean)?,
            running_var: vector(&work.running_var)?,
            save_mean: weight.f_zeros_like()?,
            save_invstd: weight.f_zeros_like()?,
            result: input.f_zeros_like()?,
            // Replaced by each backward pass.
            grad_weight: weight.f_zeros_like()?,
            grad_bias: weight.f_zeros_like()?,
            input,
            weight,
        };
        if op.norm() == Op::BackwardTrain {
            libtorch.normalize(true)?;
        }
        Ok(libtorch)
    }

    fn forward(&mut self, training: bool) -> Result<()> {
        self.normalize(training)?;
        // Both give the same tensor back under another name.
        if let Some(residual) = &self.residual {
            let _ = self.result.f_add_(residual)?;
        }
        if self.op.relu() {
            let _ = self.result.f_relu_()?;
        }
        self.finish();
        Ok(())
    }

    fn normalize(&mut self, training: bool) -> Result<()> {
        // It gives back the outputs under other names. The saved statistics of an
        // evaluation pass are empty, and the `_out` form shrinks what it is given to that.
        let _ = self.input.f_native_batch_norm_out(
            &self.result,
            &self.save_mean,
            &self.save_invstd,
            Some(&self.weight),
            Some(&self.bias),
            Some(&self.running_mean),
            Some(&self.running_var),
            training,
            MOMENTUM,
            EPS,
        )?;
        Ok(())
    }

    /// libtorch has no backward that writes into given memory: its `_out` form
    /// allocates, computes and copies. So the plain form is called, and the
    /// process keeps memory that is handed back ([`crate::machine::keep_memory`]).
    fn backward(&mut self, training: bool) -> Result<()> {
        let at = |tensor: &Tensor| tensor.as_ptr().cast::<Handle>();
        let mut grad_output = &self.grad_output;
        if let Some(Relu { output, gated }) = &self.relu {
            let _ = output.f_threshold_backward_grad_input(gated, grad_output, 0)?;
            grad_output = gated;
        }
        // SAFETY: every pointer is a live at::Tensor that tch made and owns, and
        // the shim assigns through the first three, of which `self` holds the
        // only handles. Shapes and dtypes are the workload's, which agree; the
        // statistics have length C, those that were saved by the training forward
        // pass that `new` ran.
        let problem = unsafe {
            bn_bench_backward(
                at(&self.result),
                at(&self.grad_weight),
                at(&self.grad_bias),
                at(grad_output),
                at(&self.input),
                at(&self.weight),
                at(&self.running_mean),
                at(&self.running_var),
                at(&self.save_mean),
                at(&self.save_invstd),
                training,
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

    fn vector(&self, tensor: &Tensor) -> Result<Array1<T::Parameter>> {
        Ok(values(tensor, Layout::Contiguous)?.into())
    }
}

impl<T: Value> Call for Libtorch<'_, T> {
    fn call(&mut self) -> Result<()> {
        let trains = self.op.trains();
        if self.op.is_backward() { self.backward(trains) } else { self.forward(trains) }
    }
}

impl<T: Value> Contestant<T> for Libtorch<'_, T> {
    fn check(&self, expected: &Expected<'_, T>) -> Result<()> {
        let result = values(&self.result, self.work.layout())?;
        if self.op.is_backward() {
            expected.check_sums(&self.vector(&self.grad_weight)?, &self.vector(&self.grad_bias)?)?;
            expected.check_grad_input(&result)?;
            if let Some(Relu { gated, .. }) = &self.relu {
                expected.check_grad_residual(&values(gated, self.work.layout())?)?;
            }
        } else {
            expected.check_output(&result)?;
        }
        if self.op.norm() == Op::ForwardTrain {
            expected.check_running(&self.vector(&self.running_mean)?, &self.vector(&self.running_var)?)?;
        }
        Ok(())
    }
}

/// Memory of the workload as a tensor of its shape and layout, without a copy.
pub(super) fn borrow<T: Value>(work: &Workload<T>, memory: &[T]) -> Result<Tensor> {
    tensor_of(memory, work.shape(), &work.strides())
}

/// A tensor over borrowed memory. It must be read only, and dropped before the memory.
fn tensor_of<T: Value>(memory: &[T], shape: &[usize], strides: &[usize]) -> Result<Tensor> {
    let extents = |extents: &[usize]| extents.iter().map(|&extent| extent as i64).collect::<Vec<_>>();
    let reach: usize = shape.iter().zip(strides).map(|(extent, stride)| (extent - 1) * stride).sum();
    assert!(reach < memory.len(), "{shape:?} at {strides:?} lies in {} elements", memory.len());
    // SAFETY: no element lies beyond the memory, as was just asserted, and the kind is
    // T's own. libtorch frees nothing under a tensor that was made so.
    Ok(unsafe {
        Tensor::f_from_blob(
            memory.as_ptr().cast(),
            &extents(shape),
            &extents(strides),
            kind::<T>(),
            Device::Cpu,
        )
    }?)
}

/// The elements in memory order, if the memory is of that layout; else as if it were.
pub(super) fn values<T: Value>(tensor: &Tensor, layout: Layout) -> Result<Vec<T>> {
    let mut tensor = tensor.f_to_device(Device::Cpu)?;
    if layout == Layout::ChannelsLast {
        let rank = tensor.dim() as i64;
        let to_last: Vec<i64> = [0].into_iter().chain(2..rank).chain([1]).collect();
        tensor = tensor.f_permute(to_last)?;
    }
    let dense = tensor.f_contiguous()?;
    ensure!(dense.f_kind()? == kind::<T>(), "a result in {:?}, expected {:?}", dense.kind(), kind::<T>());
    // SAFETY: the tensor is on the CPU, contiguous and of T's kind, so `numel` values of
    // type T lie there, and they are copied before it is dropped.
    Ok(unsafe { std::slice::from_raw_parts(dense.data_ptr().cast::<T>(), dense.numel()) }.to_vec())
}

/// libtorch's name of a dtype. (tch has one by type too; for bf16 it is that of f16.)
fn kind<T: Value>() -> Kind {
    match T::NAME {
        DType::F32 => Kind::Float,
        DType::F64 => Kind::Double,
        DType::Bf16 => Kind::BFloat16,
        DType::F16 => Kind::Half,
    }
}
