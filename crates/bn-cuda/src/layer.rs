//! The layer over a device: PyTorch's checks on the host, everything else in kernels.

mod passes;
mod relu;

use std::cell::RefCell;

use batchnorm::admit::{Plan, Request, Signature};
use batchnorm::{Config, DType, Origin, OutputMask, Rank};

use crate::arguments;
use crate::array::{Array, Vector};
use crate::device::{Device, DeviceError};

pub use self::relu::{Rectified, Relu};

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
    /// What blocks of a pass tell each other: kept from pass to pass, since they end one after
    /// the other and leave it fit for the next.
    scratch: RefCell<Option<D::Memory>>,
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
        BatchNorm { config, rank, training: true, state, scratch: RefCell::default() }
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
        let saved = self.run(device, plan, input, None, &output)?;
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
        self.run(device, plan, input, None, output)
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
        let gradients = self.gradients_like(device, input, mask)?;
        self.differentiate(device, saved, input, grad_output, None, &gradients)?;
        Ok(gradients)
    }

    /// As [`Self::backward`], into the gradients that there is a place for.
    ///
    /// # Errors
    /// As [`Self::backward`], and [`Error::Refused`] for a gradient of another shape or dtype than
    /// what it is the gradient of.
    pub fn backward_into(
        &self,
        device: &D,
        saved: &Saved<D>,
        input: &Array<D>,
        grad_output: &Array<D>,
        gradients: &Gradients<D>,
    ) -> Result<(), Error> {
        self.differentiate(device, saved, input, grad_output, None, gradients)
    }

    /// Room for the gradients that `mask` asks for and the layer has.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn gradients_like(
        &self,
        device: &D,
        input: &Array<D>,
        mask: OutputMask,
    ) -> Result<Gradients<D>, Error> {
        let vector = |asked: bool, of: &Option<Vector<D>>| match of {
            Some(vector) if asked => Vector::like(device, vector).map(Some),
            _ => Ok(None),
        };
        Ok(Gradients {
            input: mask.input.then(|| Array::like(device, input)).transpose()?,
            weight: vector(mask.weight, &self.state.weight)?,
            bias: vector(mask.bias, &self.state.bias)?,
        })
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
