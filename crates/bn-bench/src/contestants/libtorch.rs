//! libtorch, through the calls that do no more than the arithmetic, on a CPU or on a GPU.
//!
//! There each of its two implementations is called by its name: its own kernels by
//! `native_batch_norm.out` and `native_batch_norm_backward`, as on the CPU, and those of cuDNN
//! by `cudnn_batch_norm` and `cudnn_batch_norm_backward`. What libtorch allocates in a call
//! comes from what it was handed back before the call.
//!
//! It has no batch norm with relu, so there the calls are those of its users:
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

/// Which of libtorch's batch norms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// Its own.
    Native,
    /// cuDNN's.
    Cudnn,
}

/// Where libtorch works, and on what.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// On this device.
    pub device: Device,
    /// With these kernels.
    pub kernels: Kernels,
    /// On so many copies of the arrays, each call on the next one.
    pub copies: usize,
}

impl Setting {
    /// On the CPU, on the workload's own memory.
    pub const CPU: Setting = Setting { device: Device::Cpu, kernels: Kernels::Native, copies: 1 };
}

/// libtorch on a workload, with its outputs.
pub struct Libtorch<'a, T: Value> {
    work: &'a Workload<T>,
    op: Op,
    kernels: Kernels,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    save_mean: Tensor,
    save_invstd: Tensor,
    /// What cuDNN's backward pass wants of its forward pass besides.
    reserve: Tensor,
    sets: Vec<Set>,
    /// Whose turn it is.
    next: usize,
}

/// The arrays of a call.
struct Set {
    input: Tensor,
    /// Of a backward pass.
    grad_output: Option<Tensor>,
    /// What is added before relu.
    residual: Option<Tensor>,
    /// On the way back through relu.
    relu: Option<Relu>,
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
    /// Takes the workload, on the CPU in its own memory and else as copies on the device;
    /// allocates what is written to, and fills it with NaN; a backward pass in training gets
    /// the statistics of its forward pass.
    ///
    /// # Errors
    /// What libtorch refuses.
    pub fn new(work: &'a Workload<T>, op: Op, setting: Setting) -> Result<Self> {
        let Setting { device, kernels, copies } = setting;
        let vector = |values: &Array1<T::Parameter>| -> Result<Tensor> {
            let values = values.to_vec();
            let borrowed = tensor_of(&values, &[values.len()], &[1])?;
            Ok(copy(&borrowed)?.f_to_device(device)?)
        };
        let weight = vector(&work.weight)?;
        let mut libtorch = Libtorch {
            work,
            op,
            kernels,
            bias: vector(&work.bias)?,
            running_mean: vector(&work.running_mean)?,
            running_var: vector(&work.running_var)?,
            save_mean: weight.f_zeros_like()?,
            save_invstd: weight.f_zeros_like()?,
            reserve: Tensor::new(),
            sets: vec![Set::new(work, op, device, &weight)?],
            next: 0,
            weight,
        };
        for _ in 1..copies {
            libtorch.sets.push(libtorch.sets[0].copy()?);
        }
        if op.norm() == Op::BackwardTrain {
            libtorch.normalize(0, true)?;
            libtorch.sets[0].result = blank(&libtorch.sets[0].input)?;
        }
        Ok(libtorch)
    }

    fn forward(&mut self, set: usize, training: bool) -> Result<()> {
        self.normalize(set, training)?;
        let Set { result, residual, .. } = &mut self.sets[set];
        // Both give the same tensor back under another name.
        if let Some(residual) = residual {
            let _ = result.f_add_(residual)?;
        }
        if self.op.relu() {
            let _ = result.f_relu_()?;
        }
        Ok(())
    }

    fn normalize(&mut self, set: usize, training: bool) -> Result<()> {
        let Set { input, result, .. } = &mut self.sets[set];
        if self.kernels == Kernels::Cudnn {
            *result = Tensor::new();
            (*result, self.save_mean, self.save_invstd, self.reserve) = input.f_cudnn_batch_norm(
                &self.weight,
                Some(&self.bias),
                Some(&self.running_mean),
                Some(&self.running_var),
                training,
                MOMENTUM,
                EPS,
            )?;
            return Ok(());
        }
        // It gives back the outputs under other names. The saved statistics of an
        // evaluation pass are empty, and the `_out` form shrinks what it is given to that.
        let _ = input.f_native_batch_norm_out(
            result,
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
    fn backward(&mut self, set: usize, training: bool) -> Result<()> {
        let at = |tensor: &Tensor| tensor.as_ptr().cast::<Handle>();
        let set = &mut self.sets[set];
        let mut grad_output = set.grad_output.as_ref().expect("a backward pass has one");
        if let Some(Relu { output, gated }) = &set.relu {
            let _ = output.f_threshold_backward_grad_input(gated, grad_output, 0)?;
            grad_output = gated;
        }
        if self.kernels == Kernels::Cudnn {
            ensure!(training, "cuDNN has no backward pass of an evaluation pass");
            set.result = Tensor::new();
            (set.result, set.grad_weight, set.grad_bias) = set.input.f_cudnn_batch_norm_backward(
                grad_output,
                &self.weight,
                Some(&self.running_mean),
                Some(&self.running_var),
                Some(&self.save_mean),
                Some(&self.save_invstd),
                EPS,
                &self.reserve,
            )?;
            return Ok(());
        }
        // SAFETY: every pointer is a live at::Tensor that tch made and owns, and
        // the shim assigns through the first three, of which `self` holds the
        // only handles. Shapes and dtypes are the workload's, which agree; the
        // statistics have length C, those that were saved by the training forward
        // pass that `new` ran.
        let problem = unsafe {
            bn_bench_backward(
                at(&set.result),
                at(&set.grad_weight),
                at(&set.grad_bias),
                at(grad_output),
                at(&set.input),
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
        Ok(())
    }

    fn vector(&self, tensor: &Tensor) -> Result<Array1<T::Parameter>> {
        Ok(values(tensor, Layout::Contiguous)?.into())
    }

    fn check_set(&self, set: &Set, expected: &Expected<'_, T>) -> Result<()> {
        let result = values(&set.result, self.work.layout())?;
        if !self.op.is_backward() {
            return Ok(expected.check_output(&result)?);
        }
        expected.check_sums(&self.vector(&set.grad_weight)?, &self.vector(&set.grad_bias)?)?;
        expected.check_grad_input(&result)?;
        if let Some(Relu { gated, .. }) = &set.relu {
            expected.check_grad_residual(&values(gated, self.work.layout())?)?;
        }
        Ok(())
    }
}

impl Set {
    /// The workload's arrays on a device, and blank results.
    fn new<T: Value>(work: &Workload<T>, op: Op, device: Device, weight: &Tensor) -> Result<Set> {
        let batch = |memory: &[T]| -> Result<Tensor> { Ok(borrow(work, memory)?.f_to_device(device)?) };
        let input = batch(&work.input)?;
        let relu = || -> Result<Relu> {
            // Positive where the input is ([`Workload::passes`]), in memory of its own.
            Ok(Relu { output: copy(&input)?, gated: blank(&input)? })
        };
        let adds = op.adds() && !op.is_backward();
        Ok(Set {
            residual: adds.then(|| batch(work.residual())).transpose()?,
            relu: (op.relu() && op.is_backward()).then(relu).transpose()?,
            grad_output: op.is_backward().then(|| batch(&work.grad_output)).transpose()?,
            result: blank(&input)?,
            // Replaced by each backward pass.
            grad_weight: blank(weight)?,
            grad_bias: blank(weight)?,
            input,
        })
    }

    /// The same in memory of its own.
    fn copy(&self) -> Result<Set> {
        let relu = |relu: &Relu| anyhow::Ok(Relu { output: copy(&relu.output)?, gated: copy(&relu.gated)? });
        Ok(Set {
            input: copy(&self.input)?,
            grad_output: self.grad_output.as_ref().map(copy).transpose()?,
            residual: self.residual.as_ref().map(copy).transpose()?,
            relu: self.relu.as_ref().map(relu).transpose()?,
            result: copy(&self.result)?,
            grad_weight: copy(&self.grad_weight)?,
            grad_bias: copy(&self.grad_bias)?,
        })
    }
}

impl<T: Value> Call for Libtorch<'_, T> {
    fn call(&mut self) -> Result<()> {
        let (set, trains) = (self.next, self.op.trains());
        self.next = (set + 1) % self.sets.len();
        if self.op.is_backward() { self.backward(set, trains) } else { self.forward(set, trains) }
    }
}

impl<T: Value> Contestant<T> for Libtorch<'_, T> {
    fn check(&mut self, expected: &Expected<'_, T>) -> Result<()> {
        if self.op.norm() == Op::ForwardTrain {
            expected.check_running(&self.vector(&self.running_mean)?, &self.vector(&self.running_var)?)?;
        }
        self.check_set(&self.sets[0], expected)?;
        for set in 1..self.sets.len() {
            self.call()?;
            self.check_set(&self.sets[set], expected)?;
        }
        Ok(())
    }
}

/// The same elements in memory of their own.
pub(super) fn copy(tensor: &Tensor) -> Result<Tensor> {
    let mut copy = tensor.f_empty_like()?;
    copy.f_copy_(tensor)?;
    Ok(copy)
}

/// As much memory, with NaN in it.
pub(super) fn blank(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.f_full_like(f64::NAN)?)
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
