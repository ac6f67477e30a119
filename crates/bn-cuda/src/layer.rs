//! The layer over a device: PyTorch's checks on the host, everything else in kernels.

use batchnorm::admit::{Plan, Request, Signature};
use batchnorm::{Config, DType, Origin, OutputMask, Rank};

use crate::arguments::{self, Statistics};
use crate::array::{Array, Vector};
use crate::device::{Device, DeviceError, Launch, Memory};
use crate::plan::{Choice, Operation, Question, choose};

/// Parameters and buffers on a device; what is absent is none.
#[derive(Debug)]
pub struct State<D: Device> {
    /// γ.
    pub weight: Option<Vector<D>>,
    /// β.
    pub bias: Option<Vector<D>>,
    /// The running mean.
    pub running_mean: Option<Vector<D>>,
    /// The running (unbiased) variance.
    pub running_var: Option<Vector<D>>,
    /// Training batches seen so far.
    pub num_batches_tracked: Option<i64>,
}

impl<D: Device> State<D> {
    fn signature(&self) -> Signature {
        let held = |vector: &Option<Vector<D>>| vector.as_ref().map(|v| (v.dtype(), v.len()));
        Signature {
            weight: held(&self.weight),
            bias: held(&self.bias),
            running_mean: held(&self.running_mean),
            running_var: held(&self.running_var),
        }
    }
}

/// Batch normalization over (N, C, *) of f32, f16 or bf16, with parameters and buffers of f32.
#[derive(Debug)]
pub struct BatchNorm<D: Device> {
    config: Config,
    rank: Rank,
    training: bool,
    state: State<D>,
}

/// What the backward pass needs of its forward pass, besides the input.
#[derive(Debug)]
pub struct Saved<D: Device> {
    statistics: D::Memory,
    origin: Origin,
    dtype: DType,
    shape: Vec<usize>,
}

impl<D: Device> Saved<D> {
    /// [`arguments::Statistics`] of each channel, on the device.
    pub fn statistics(&self) -> &D::Memory {
        &self.statistics
    }
}

/// The gradients that were asked for.
#[derive(Debug)]
pub struct Gradients<D: Device> {
    /// ∂loss/∂x.
    pub input: Option<Array<D>>,
    /// ∂loss/∂γ.
    pub weight: Option<Vector<D>>,
    /// ∂loss/∂β.
    pub bias: Option<Vector<D>>,
}

/// Why a pass was not done.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// Batch norm refuses it, wherever it runs.
    #[error(transparent)]
    Refused(#[from] batchnorm::Error),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Dtypes that batch norm takes and these kernels do not.
    #[error(
        "the CUDA kernels take f32, f16 or bf16 input with f32 parameters, \
         got {input} input with parameters {parameters:?}"
    )]
    Unsupported {
        /// The input's.
        input: DType,
        /// Those of the parameters and buffers.
        parameters: Vec<DType>,
    },
    /// An array would leave its memory.
    #[error("expected memory of at least {expected} bytes, got {actual}")]
    Memory {
        /// What shape, strides and offset reach.
        expected: usize,
        /// What there is.
        actual: usize,
    },
    /// There are not as many strides as extents.
    #[error("expected {expected} strides, got {actual}")]
    Strides {
        /// The number of extents.
        expected: usize,
        /// The number of strides.
        actual: usize,
    },
    /// More axes than a kernel can follow.
    #[error(
        "expected at most {} axes of positions with strides of their own, got shape {shape:?}",
        arguments::AXES
    )]
    Axes {
        /// The shape that came.
        shape: Vec<usize>,
    },
}

impl<D: Device> BatchNorm<D> {
    /// A layer with this state, in training mode. What does not fit, a pass refuses.
    pub fn new(rank: Rank, config: Config, state: State<D>) -> Self {
        BatchNorm { config, rank, training: true, state }
    }

    /// The parameters and buffers.
    pub fn state(&self) -> &State<D> {
        &self.state
    }

    /// The parameters and buffers, to change.
    pub fn state_mut(&mut self) -> &mut State<D> {
        &mut self.state
    }

    /// Training mode or evaluation mode.
    pub fn set_training(&mut self, training: bool) {
        self.training = training;
    }

    /// running_mean 0, running_var 1, num_batches_tracked 0. Does nothing where
    /// `track_running_stats` is off, as in PyTorch.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn reset_running_stats(&mut self, device: &D) -> Result<(), Error> {
        if self.config.track_running_stats {
            fill(device, &mut self.state.running_mean, 0.0)?;
            fill(device, &mut self.state.running_var, 1.0)?;
            self.state.num_batches_tracked = self.state.num_batches_tracked.map(|_| 0);
        }
        Ok(())
    }

    /// As [`Self::reset_running_stats`], and weight 1, bias 0.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn reset_parameters(&mut self, device: &D) -> Result<(), Error> {
        self.reset_running_stats(device)?;
        fill(device, &mut self.state.weight, 1.0)?;
        fill(device, &mut self.state.bias, 0.0)
    }

    /// The checks that begin a forward pass; counts the batch when its turn comes.
    ///
    /// # Errors
    /// [`Error::Refused`], in the order of [`batchnorm::admit`].
    pub fn admit(&mut self, input: DType, shape: &[usize]) -> Result<Plan, Error> {
        let request = Request {
            config: &self.config,
            rank: self.rank,
            signature: self.state.signature(),
            training: self.training,
            input,
            shape,
        };
        Ok(request.admit(&mut self.state.num_batches_tracked)?)
    }

    /// Normalises `input` in the layer's mode: y in the input's memory order, and what the
    /// backward pass needs. In training, running statistics and counter are updated where
    /// they are tracked, the former on the device.
    ///
    /// # Errors
    /// [`Error::Refused`] as [`Self::admit`]; then [`Error::Unsupported`], [`Error::Axes`] and
    /// [`Error::Device`].
    pub fn forward(&mut self, device: &D, input: &Array<D>) -> Result<(Array<D>, Saved<D>), Error> {
        let plan = self.admit_input(input)?;
        let output = Array::like(device, input)?;
        let saved = self.run(device, plan, input, &output)?;
        Ok((output, saved))
    }

    /// As [`Self::forward`], into an output of any strides.
    ///
    /// # Errors
    /// [`Error::Refused`] for an output of another shape or dtype, before anything else; then as
    /// [`Self::forward`].
    pub fn forward_into(
        &mut self,
        device: &D,
        input: &Array<D>,
        output: &Array<D>,
    ) -> Result<Saved<D>, Error> {
        check_counterpart("output", output, input.shape(), input.dtype())?;
        let plan = self.admit_input(input)?;
        self.run(device, plan, input, output)
    }

    fn admit_input(&mut self, input: &Array<D>) -> Result<Plan, Error> {
        let plan = self.admit(input.dtype(), input.shape())?;
        let parameters = self.state.signature().dtypes();
        let takes_input = matches!(input.dtype(), DType::F32 | DType::F16 | DType::Bf16);
        if !takes_input || parameters.iter().any(|&dtype| dtype != DType::F32) {
            return Err(Error::Unsupported { input: input.dtype(), parameters: parameters.to_vec() });
        }
        Ok(plan)
    }

    fn run(&self, device: &D, plan: Plan, input: &Array<D>, output: &Array<D>) -> Result<Saved<D>, Error> {
        let statistics = device.allocate(input.shape()[1] * size_of::<Statistics>())?;
        match plan.origin {
            Origin::Batch => self.forward_train(device, plan, input, output, &statistics)?,
            Origin::Running => self.forward_eval(device, input, output, &statistics)?,
        }
        let (origin, dtype, shape) = (plan.origin, input.dtype(), input.shape().to_vec());
        Ok(Saved { statistics, origin, dtype, shape })
    }

    fn forward_train(
        &self,
        device: &D,
        plan: Plan,
        input: &Array<D>,
        output: &Array<D>,
        saved: &D::Memory,
    ) -> Result<(), Error> {
        let State { weight, bias, .. } = &self.state;
        let tracked = |vector| if plan.update.is_some() { vector } else { &None };
        let (mean, var) = (tracked(&self.state.running_mean), tracked(&self.state.running_var));
        let (from, to) = (input.argument()?, output.argument()?);
        let Choice { launch, geometry, scratch_bytes } =
            choice(device, Operation::ForwardTrain, input, &[from, to]);
        let scratch = scratch(device, scratch_bytes)?;
        let arguments = arguments::ForwardTrain {
            input: from,
            output: to,
            weight: address(weight),
            bias: address(bias),
            running_mean: address(mean),
            running_var: address(var),
            saved: saved.address(),
            eps: self.config.eps,
            momentum: plan.update.unwrap_or(0.0),
            count: input.values_per_channel() as i64,
            geometry,
            scratch: scratch.as_ref().map_or(0, Memory::address),
        };
        let inputs = present([Some(input.memory()), memory(weight), memory(bias)]);
        let outputs =
            present([Some(output.memory()), Some(saved), memory(mean), memory(var), scratch.as_ref()]);
        // SAFETY: the arrays were checked against their memory, the vectors' lengths by `admit`.
        unsafe { launch_unless_empty(device, &launch, &arguments, &inputs, &outputs)? };
        Ok(())
    }

    fn forward_eval(
        &self,
        device: &D,
        input: &Array<D>,
        output: &Array<D>,
        saved: &D::Memory,
    ) -> Result<(), Error> {
        let State { weight, bias, running_mean, running_var, .. } = &self.state;
        let (from, to) = (input.argument()?, output.argument()?);
        let Choice { launch, geometry, .. } = choice(device, Operation::ForwardEval, input, &[from, to]);
        let arguments = arguments::ForwardEval {
            input: from,
            output: to,
            weight: address(weight),
            bias: address(bias),
            running_mean: address(running_mean),
            running_var: address(running_var),
            saved: saved.address(),
            eps: self.config.eps,
            count: input.values_per_channel() as i64,
            geometry,
        };
        let inputs = present([
            Some(input.memory()),
            memory(weight),
            memory(bias),
            memory(running_mean),
            memory(running_var),
        ]);
        let outputs = [output.memory(), saved];
        // SAFETY: as in `forward_train`.
        unsafe { launch_unless_empty(device, &launch, &arguments, &inputs, &outputs)? };
        Ok(())
    }

    /// The gradients that `mask` asks for and the layer has, of the forward pass that left
    /// `saved`, whose input this was.
    ///
    /// # Errors
    /// [`Error::Refused`] for an input or a `grad_output` of another shape or dtype than the
    /// forward pass's; then [`Error::Axes`] and [`Error::Device`].
    pub fn backward(
        &self,
        device: &D,
        saved: &Saved<D>,
        input: &Array<D>,
        grad_output: &Array<D>,
        mask: OutputMask,
    ) -> Result<Gradients<D>, Error> {
        for (name, array) in [("input", input), ("grad_output", grad_output)] {
            check_counterpart(name, array, &saved.shape, saved.dtype)?;
        }
        let vector = |asked: bool, of: &Option<Vector<D>>| match of {
            Some(vector) if asked => Vector::like(device, vector).map(Some),
            _ => Ok(None),
        };
        let gradients = Gradients {
            input: mask.input.then(|| Array::like(device, input)).transpose()?,
            weight: vector(mask.weight, &self.state.weight)?,
            bias: vector(mask.bias, &self.state.bias)?,
        };
        let operation = match saved.origin {
            Origin::Batch => Operation::BackwardTrain,
            Origin::Running => Operation::BackwardEval,
        };
        let (x, from) = (input.argument()?, grad_output.argument()?);
        let to = gradients.input.as_ref().map_or(Ok(Default::default()), Array::argument)?;
        let Choice { launch, geometry, scratch_bytes } = choice(device, operation, input, &[x, from, to]);
        let scratch = scratch(device, scratch_bytes)?;
        let arguments = arguments::Backward {
            input: x,
            grad_output: from,
            grad_input: to,
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
            Some(&saved.statistics),
            memory(&self.state.weight),
        ]);
        let outputs = present([
            gradients.input.as_ref().map(Array::memory),
            memory(&gradients.weight),
            memory(&gradients.bias),
            scratch.as_ref(),
        ]);
        // SAFETY: the arrays were checked against their memory and have one shape; the vectors
        // are as long as the layer's, which the forward pass checked.
        unsafe { launch_unless_empty(device, &launch, &arguments, &inputs, &outputs)? };
        Ok(gradients)
    }
}

/// Refuses an array that is not of this shape and dtype.
fn check_counterpart<D: Device>(
    name: &'static str,
    array: &Array<D>,
    shape: &[usize],
    dtype: DType,
) -> Result<(), Error> {
    if array.shape() != shape {
        let (expected, actual) = (shape.to_vec(), array.shape().to_vec());
        return Err(batchnorm::Error::Shape { name, expected, actual }.into());
    }
    if array.dtype() != dtype {
        return Err(batchnorm::Error::Dtype { input: array.dtype(), parameters: vec![dtype] }.into());
    }
    Ok(())
}

/// Replaces a vector by one of equal elements.
fn fill<D: Device>(device: &D, vector: &mut Option<Vector<D>>, value: f64) -> Result<(), Error> {
    if let Some(vector) = vector {
        *vector = Vector::upload(device, vector.dtype(), &vec![value; vector.len()])?;
    }
    Ok(())
}

/// The kernel for a pass over `input`, in which these arrays take part.
fn choice<D: Device>(
    device: &D,
    operation: Operation,
    input: &Array<D>,
    arrays: &[arguments::Array],
) -> Choice {
    let shape = input.shape();
    let question = Question {
        operation,
        dtype: input.dtype(),
        batch: shape[0],
        channels: shape[1],
        spatial: shape[2..].iter().product(),
        arrays,
    };
    choose(&question, device.properties())
}

/// Memory for what blocks tell each other, where a kernel needs any.
fn scratch<D: Device>(device: &D, bytes: usize) -> Result<Option<D::Memory>, DeviceError> {
    (bytes > 0).then(|| device.upload(&vec![0; bytes])).transpose()
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

fn memory<D: Device>(vector: &Option<Vector<D>>) -> Option<&D::Memory> {
    vector.as_ref().map(Vector::memory)
}

fn address<D: Device>(vector: &Option<Vector<D>>) -> u64 {
    memory(vector).map_or(0, Memory::address)
}

fn present<M, const N: usize>(memories: [Option<&M>; N]) -> Vec<&M> {
    memories.into_iter().flatten().collect()
}
