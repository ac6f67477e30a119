//! Our CUDA kernels: the launches that the layer makes in a pass, and nothing else.
//!
//! A pass is prepared once and noted ([`bn_cuda::replay`]); a call makes its launches into
//! memory that is there. The device is a GPU, or the machine that emulates one, which is
//! not timed, and shows without a GPU that what is timed is right.

use anyhow::{Result, ensure};
use batchnorm::{Config, Element, OutputMask, Rank};
use bn_cuda::device::Device;
use bn_cuda::gpu::Gpu;
use bn_cuda::replay::{Recorder, Recording, Zero};
use bn_cuda::{Array, BatchNorm, State, Vector};
use ndarray::Array1;

use super::Contestant;
use crate::axes::{DType, Op};
use crate::expected::Expected;
use crate::paired::Call;
use crate::value::Value;
use crate::workload::{EPS, Workload};

/// `bn-cuda` on a workload, with its outputs.
pub struct OursOnDevice<'a, T: Value, D: Device> {
    work: &'a Workload<T>,
    op: Op,
    device: Recorder<D>,
    layer: BatchNorm<Recorder<D>>,
    passes: Vec<Pass<D>>,
    /// Whose turn it is.
    next: usize,
}

/// A pass over arrays of its own.
struct Pass<D: Device> {
    launches: Recording<D>,
    /// The output, or grad_input.
    result: Array<Recorder<D>>,
    /// grad_weight and grad_bias, of a backward pass.
    sums: Option<[Vector<Recorder<D>>; 2]>,
}

impl<'a, T: Value, D: Zero> OursOnDevice<'a, T, D> {
    /// Copies the workload to the device so many times, for each call the next, and allocates
    /// what is written to, filled with NaN; a backward pass in training gets the statistics
    /// of its forward pass.
    ///
    /// # Errors
    /// What the layer or the device refuses.
    pub fn new(work: &'a Workload<T>, op: Op, device: Recorder<D>, copies: usize) -> Result<Self> {
        ensure!(!op.relu(), "the CUDA kernels have no relu: {op}");
        let vector = |values: &Array1<T::Parameter>| {
            let values: Vec<f64> = values.iter().map(|value| value.to_f64()).collect();
            Vector::upload(&device, dtype::<T::Parameter>(), &values).map(Some)
        };
        let state = State {
            weight: vector(&work.weight)?,
            bias: vector(&work.bias)?,
            running_mean: vector(&work.running_mean)?,
            running_var: vector(&work.running_var)?,
            num_batches_tracked: Some(0),
        };
        let config = Config { eps: EPS, ..Config::new(work.channels()) };
        let mut layer = BatchNorm::new(Rank::Any, config, state);
        layer.set_training(op.trains());
        let mut ours = OursOnDevice { work, op, device, layer, passes: Vec::new(), next: 0 };
        for _ in 0..copies {
            let pass = ours.prepare()?;
            ours.passes.push(pass);
        }
        Ok(ours)
    }

    /// Does the operation once, on the next arrays; a GPU does it later.
    ///
    /// # Errors
    /// What the device refuses.
    pub fn call(&mut self) -> Result<()> {
        self.passes[self.next].launches.replay()?;
        self.next = (self.next + 1) % self.passes.len();
        Ok(())
    }

    /// Compares what the first call gave with the truth; then the bits of that with what calls
    /// give for each of the other copies of the arrays, and for the first once more.
    ///
    /// # Errors
    /// [`crate::Outside`], other bits, or what the device refuses.
    pub fn check(&mut self, expected: &Expected<'_, T>) -> Result<()> {
        if self.op.norm() == Op::ForwardTrain {
            let State { running_mean, running_var, .. } = self.layer.state();
            let both = running_mean.as_ref().zip(running_var.as_ref());
            let (mean, var) = both.expect("the layer has running statistics");
            expected.check_running(&self.vector(mean)?, &self.vector(var)?)?;
        }
        let Pass { result, sums, .. } = &self.passes[0];
        let values = values(&self.device.download(result.memory())?);
        match sums {
            None => expected.check_output(&values)?,
            Some([weight, bias]) => {
                expected.check_sums(&self.vector(weight)?, &self.vector(bias)?)?;
                expected.check_grad_input(&values)?;
            }
        }
        let first = self.bits(0)?;
        for pass in (1..self.passes.len()).chain([0]) {
            self.call()?;
            ensure!(self.bits(pass)? == first, "the same input gave other bits in another call");
        }
        Ok(())
    }

    /// All that a pass writes to, but for running statistics, which go on.
    fn bits(&self, pass: usize) -> Result<Vec<Vec<u8>>> {
        let Pass { result, sums, .. } = &self.passes[pass];
        let sums = sums.iter().flatten().map(Vector::memory);
        [result.memory()].into_iter().chain(sums).map(|memory| Ok(self.device.download(memory)?)).collect()
    }

    fn prepare(&mut self) -> Result<Pass<D>> {
        let (device, layer) = (&self.device, &mut self.layer);
        let input = batch(self.work, device, &self.work.input)?;
        let ((output, saved), forward) = device.record(|| layer.forward(device, &input))?;
        if !self.op.is_backward() {
            return Ok(Pass { launches: forward, result: output, sums: None });
        }
        forward.replay()?;
        let grad_output = batch(self.work, device, &self.work.grad_output)?;
        let backward = || layer.backward(device, &saved, &input, &grad_output, OutputMask::ALL);
        let (gradients, launches) = device.record(backward)?;
        let all = gradients.input.zip(gradients.weight.zip(gradients.bias));
        let (result, (weight, bias)) = all.expect("a layer with weight and bias has all gradients");
        Ok(Pass { launches, result, sums: Some([weight, bias]) })
    }

    fn vector(&self, vector: &Vector<Recorder<D>>) -> Result<Array1<T::Parameter>> {
        Ok(values(&self.device.download(vector.memory())?).into())
    }
}

/// Numbers from their bytes.
fn values<V: Value>(bytes: &[u8]) -> Vec<V> {
    let values = bytes.chunks_exact(size_of::<V>());
    // SAFETY: as many bytes as a V has, at any alignment; every pattern of bits is a number.
    values.map(|value| unsafe { value.as_ptr().cast::<V>().read_unaligned() }).collect()
}

/// Memory of the workload as an array of its shape and layout, on the device.
fn batch<T: Value, D: Device>(
    work: &Workload<T>,
    device: &Recorder<D>,
    memory: &[T],
) -> Result<Array<Recorder<D>>> {
    // SAFETY: a number has no padding.
    let bytes = unsafe { std::slice::from_raw_parts(memory.as_ptr().cast::<u8>(), size_of_val(memory)) };
    Ok(Array::new(device.upload(bytes)?, dtype::<T>(), work.shape(), &work.strides(), 0)?)
}

fn dtype<T: Value>() -> batchnorm::DType {
    match T::NAME {
        DType::F32 => batchnorm::DType::F32,
        DType::F64 => batchnorm::DType::F64,
        DType::Bf16 => batchnorm::DType::Bf16,
        DType::F16 => batchnorm::DType::F16,
    }
}

impl<T: Value> Call for OursOnDevice<'_, T, Gpu> {
    fn call(&mut self) -> Result<()> {
        OursOnDevice::call(self)
    }
}

impl<T: Value> Contestant<T> for OursOnDevice<'_, T, Gpu> {
    fn check(&mut self, expected: &Expected<'_, T>) -> Result<()> {
        OursOnDevice::check(self, expected)
    }
}
