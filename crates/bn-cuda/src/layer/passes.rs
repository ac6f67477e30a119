//! A pass as a kernel sees it: arrays to arguments, arguments to a launch.

use std::cell::Ref;

use batchnorm::admit::Plan;
use batchnorm::{DType, Origin};

use super::{BatchNorm, Error, Gradients, Relu, Saved, State, check_counterpart};
use crate::arguments::{self, Statistics};
use crate::array::{Array, Vector};
use crate::device::{Device, DeviceError, Launch, Memory};
use crate::mask::ReluMask;
use crate::plan::{Choice, Operation, Question, choose};

/// A forward pass whose kernel is chosen.
struct Forward<'a, D: Device> {
    choice: Choice,
    input: arguments::Array,
    output: arguments::Array,
    relu: arguments::Relu,
    residual: Option<&'a D::Memory>,
    mask: Option<&'a D::Memory>,
}

impl<'a, D: Device> Forward<'a, D> {
    /// Chooses the kernel, and makes room for the mask in the order that it writes.
    fn new(
        device: &D,
        operation: Operation,
        input: &Array<D>,
        relu: Option<Relu<'a, D>>,
        output: &Array<D>,
    ) -> Result<Self, Error> {
        let residual = relu.as_ref().and_then(|relu| relu.residual);
        let (from, to, added) = (input.argument()?, output.argument()?, argument(residual)?);
        let arrays = [from, to, added];
        let question = Question {
            has_relu: relu.is_some(),
            has_residual: residual.is_some(),
            ..question(operation, input, &arrays)
        };
        let choice = choose(&question, device.properties());
        let mut forward = Forward {
            choice,
            input: from,
            output: to,
            relu: arguments::Relu { residual: added, mask: arguments::Array::default() },
            residual: residual.map(Array::memory),
            mask: None,
        };
        if let Some(Relu { mask, .. }) = relu {
            mask.prepare(device, input.shape(), &from, forward.choice.mask)?;
            forward.relu.mask = mask.argument();
            forward.mask = mask.memory();
        }
        Ok(forward)
    }
}

impl<D: Device> BatchNorm<D> {
    /// Runs a forward pass that was admitted.
    pub(super) fn run(
        &self,
        device: &D,
        plan: Plan,
        input: &Array<D>,
        relu: Option<Relu<'_, D>>,
        output: &Array<D>,
    ) -> Result<Saved<D>, Error> {
        let statistics = device.allocate(input.shape()[1] * size_of::<Statistics>())?;
        match plan.origin {
            Origin::Batch => self.forward_train(device, plan, input, relu, output, &statistics)?,
            Origin::Running => self.forward_eval(device, input, relu, output, &statistics)?,
        }
        let (origin, dtype, shape) = (plan.origin, input.dtype(), input.shape().to_vec());
        Ok(Saved { statistics, origin, dtype, shape })
    }

    fn forward_train(
        &self,
        device: &D,
        plan: Plan,
        input: &Array<D>,
        relu: Option<Relu<'_, D>>,
        output: &Array<D>,
        saved: &D::Memory,
    ) -> Result<(), Error> {
        let State { weight, bias, .. } = &self.state;
        let tracked = |vector| if plan.update.is_some() { vector } else { &None };
        let (mean, var) = (tracked(&self.state.running_mean), tracked(&self.state.running_var));
        let forward = Forward::new(device, Operation::ForwardTrain, input, relu, output)?;
        let scratch = self.scratch(device, forward.choice.scratch_bytes)?;
        let arguments = arguments::ForwardTrain {
            input: forward.input,
            output: forward.output,
            relu: forward.relu,
            weight: address(weight),
            bias: address(bias),
            running_mean: address(mean),
            running_var: address(var),
            saved: saved.address(),
            eps: self.config.eps,
            momentum: plan.update.unwrap_or(0.0),
            count: input.values_per_channel() as i64,
            geometry: forward.choice.geometry,
            scratch: scratch.as_ref().map_or(0, Memory::address),
        };
        let inputs = present([Some(input.memory()), forward.residual, memory(weight), memory(bias)]);
        let outputs = present([
            Some(output.memory()),
            forward.mask,
            Some(saved),
            memory(mean),
            memory(var),
            scratch.as_ref(),
        ]);
        // SAFETY: the arrays were checked against their memory, the vectors' lengths by `admit`.
        unsafe { launch_unless_empty(device, &forward.choice.launch, &arguments, &inputs, &outputs)? };
        Ok(())
    }

    fn forward_eval(
        &self,
        device: &D,
        input: &Array<D>,
        relu: Option<Relu<'_, D>>,
        output: &Array<D>,
        saved: &D::Memory,
    ) -> Result<(), Error> {
        let State { weight, bias, running_mean, running_var, .. } = &self.state;
        let forward = Forward::new(device, Operation::ForwardEval, input, relu, output)?;
        let arguments = arguments::ForwardEval {
            input: forward.input,
            output: forward.output,
            relu: forward.relu,
            weight: address(weight),
            bias: address(bias),
            running_mean: address(running_mean),
            running_var: address(running_var),
            saved: saved.address(),
            eps: self.config.eps,
            count: input.values_per_channel() as i64,
            geometry: forward.choice.geometry,
        };
        let inputs = present([
            Some(input.memory()),
            forward.residual,
            memory(weight),
            memory(bias),
            memory(running_mean),
            memory(running_var),
        ]);
        let outputs = present([Some(output.memory()), forward.mask, Some(saved)]);
        // SAFETY: as in `forward_train`.
        unsafe { launch_unless_empty(device, &forward.choice.launch, &arguments, &inputs, &outputs)? };
        Ok(())
    }

    /// The gradients of the forward pass that left `saved`, where there is a place for them;
    /// through a relu where one is given.
    pub(super) fn differentiate(
        &self,
        device: &D,
        saved: &Saved<D>,
        input: &Array<D>,
        grad_output: &Array<D>,
        relu: Option<(&ReluMask<D>, Option<&Array<D>>)>,
        gradients: &Gradients<D>,
    ) -> Result<(), Error> {
        let (bits, residual) = relu.unzip();
        let residual = residual.flatten();
        let given = [("input", Some(input)), ("grad_output", Some(grad_output))];
        let answers = [("grad_input", gradients.input.as_ref()), ("grad_residual", residual)];
        for (name, array) in given.into_iter().chain(answers) {
            array.map_or(Ok(()), |array| check_counterpart(name, array, &saved.shape, saved.dtype))?;
        }
        if let Some(bits) = bits
            && bits.shape() != saved.shape
        {
            let (expected, actual) = (saved.shape.clone(), bits.shape().to_vec());
            return Err(batchnorm::Error::Shape { name: "mask", expected, actual }.into());
        }
        check_vector("grad_weight", &gradients.weight, saved.shape[1])?;
        check_vector("grad_bias", &gradients.bias, saved.shape[1])?;
        let operation = match saved.origin {
            Origin::Batch => Operation::BackwardTrain,
            Origin::Running => Operation::BackwardEval,
        };
        let (x, from) = (input.argument()?, grad_output.argument()?);
        let (to, to_residual) = (argument(gradients.input.as_ref())?, argument(residual)?);
        let bits_of = bits.map_or_else(Default::default, ReluMask::argument);
        let arrays = [x, from, to, to_residual, bits_of];
        let question = Question { has_relu: bits.is_some(), ..question(operation, input, &arrays) };
        let Choice { launch, geometry, scratch_bytes, .. } = choose(&question, device.properties());
        let scratch = self.scratch(device, scratch_bytes)?;
        let arguments = arguments::Backward {
            input: x,
            grad_output: from,
            grad_input: to,
            mask: bits_of,
            grad_residual: to_residual,
            weight: address(&self.state.weight),
            saved: saved.statistics.address(),
            grad_weight: address(&gradients.weight),
            grad_bias: address(&gradients.bias),
            count: input.values_per_channel() as i64,
            geometry,
            scratch: scratch.as_ref().map_or(0, Memory::address),
        };
        let inputs = present([
            Some(input.memory()),
            Some(grad_output.memory()),
            bits.and_then(ReluMask::memory),
            Some(&saved.statistics),
            memory(&self.state.weight),
        ]);
        let outputs = present([
            gradients.input.as_ref().map(Array::memory),
            residual.map(Array::memory),
            memory(&gradients.weight),
            memory(&gradients.bias),
            scratch.as_ref(),
        ]);
        // SAFETY: the arrays were checked against their memory and have one shape; the vectors
        // are as long as the layer's, which the forward pass checked.
        unsafe { launch_unless_empty(device, &launch, &arguments, &inputs, &outputs)? };
        Ok(())
    }

    /// Memory for what blocks tell each other, where a kernel needs any: that of the pass before,
    /// if it is large enough. Its gates are open, as every pass leaves them, and new memory is 0.
    fn scratch(&self, device: &D, bytes: usize) -> Result<Ref<'_, Option<D::Memory>>, DeviceError> {
        if self.scratch.borrow().as_ref().map_or(0, Memory::bytes) < bytes {
            self.scratch.replace(Some(device.upload(&vec![0; bytes])?));
        }
        Ok(self.scratch.borrow())
    }
}

/// Refuses a place for the gradient of a parameter that is not like the parameter.
fn check_vector<D: Device>(
    name: &'static str,
    vector: &Option<Vector<D>>,
    expected: usize,
) -> Result<(), Error> {
    match vector {
        Some(vector) if vector.len() != expected => {
            Err(batchnorm::Error::NumFeatures { name, expected, actual: vector.len() }.into())
        }
        Some(vector) if vector.dtype() != DType::F32 => {
            Err(batchnorm::Error::Dtype { input: vector.dtype(), parameters: vec![DType::F32] }.into())
        }
        _ => Ok(()),
    }
}

/// What is asked about a pass over `input`, without a relu, in which these arrays take part.
fn question<'a, D: Device>(
    operation: Operation,
    input: &Array<D>,
    arrays: &'a [arguments::Array],
) -> Question<'a> {
    let shape = input.shape();
    Question {
        operation,
        dtype: input.dtype(),
        batch: shape[0],
        channels: shape[1],
        spatial: shape[2..].iter().product(),
        arrays,
        has_relu: false,
        has_residual: false,
    }
}

/// Runs a kernel, unless there is no channel to run it on.
///
/// # Safety
/// As [`Device::launch`].
unsafe fn launch_unless_empty<D: Device, A: arguments::Arguments>(
    device: &D,
    launch: &Launch,
    arguments: &A,
    inputs: &[&D::Memory],
    outputs: &[&D::Memory],
) -> Result<(), DeviceError> {
    if launch.blocks == 0 {
        return Ok(());
    }
    // SAFETY: the caller's.
    unsafe { device.launch(launch, arguments, inputs, outputs) }
}

/// An array as a kernel sees it, or that there is none.
fn argument<D: Device>(array: Option<&Array<D>>) -> Result<arguments::Array, Error> {
    array.map_or(Ok(arguments::Array::default()), Array::argument)
}

fn memory<D: Device>(vector: &Option<Vector<D>>) -> Option<&D::Memory> {
    vector.as_ref().map(Vector::memory)
}

fn address<D: Device>(vector: &Option<Vector<D>>) -> u64 {
    memory(vector).map_or(0, Memory::address)
}

fn present<M, const N: usize>(memories: [Option<&M>; N]) -> Vec<&M> {
    memories.into_iter().flatten().collect()
}
