//! The few layers that the documents' networks need, forward and backward.
//!
//! A layer keeps of its last forward pass what its backward pass needs, and of its last
//! backward pass the gradients of its parameters. All compute in their own dtype, as
//! libtorch does; batch norm, as its crate says, in f64.

mod batch_norm;
mod conv2d;
mod detached;
mod flatten;
mod labml;
mod linear;
mod max_pool2d;
mod relu;

pub use batch_norm::BatchNorm;
pub use conv2d::{Conv2d, columns, from_columns};
pub use detached::Detached;
pub use flatten::Flatten;
pub use labml::Labml;
pub use linear::Linear;
pub use max_pool2d::MaxPool2d;
pub use relu::Relu;

use ndarray::{Array, ArrayD, ArrayViewMutD, Dimension, IxDyn};

use crate::error::Error;
use crate::real::Real;

/// Whether a network learns or answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Batch norm normalises by the batch and follows it.
    Train,
    /// Batch norm normalises by what it followed.
    Eval,
}

/// A function with parameters.
pub trait Layer<T: Real>: Send {
    /// What it is, as PyTorch prints it.
    fn describe(&self) -> String;

    /// The output for a batch, (N, *).
    ///
    /// # Errors
    /// [`Error::Input`] for a shape that the layer does not take, [`Error::BatchNorm`].
    fn forward(&mut self, input: ArrayD<T>, mode: Mode) -> Result<ArrayD<T>, Error>;

    /// ∂loss/∂input for ∂loss/∂output of the last forward pass; the gradients of the
    /// parameters are kept.
    ///
    /// # Errors
    /// [`Error::NoForward`], [`Error::GradOutput`], [`Error::BatchNorm`].
    fn backward(&mut self, grad_output: ArrayD<T>) -> Result<ArrayD<T>, Error>;

    /// Parameters, buffers and counters, by PyTorch's names and in its order.
    fn slots(&mut self) -> Vec<(&'static str, Slot<'_, T>)> {
        Vec::new()
    }
}

/// A part of a layer's state.
#[derive(Debug)]
pub enum Slot<'a, T> {
    /// What is learnt.
    Parameter {
        /// Its value.
        value: ArrayViewMutD<'a, T>,
        /// ∂loss/∂value of the last backward pass.
        grad: ArrayViewMutD<'a, T>,
    },
    /// What follows the batches.
    Buffer(ArrayViewMutD<'a, T>),
    /// How many batches there were.
    Counter(&'a mut i64),
}

/// A parameter with its gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter<T> {
    /// Its value.
    pub value: ArrayD<T>,
    /// ∂loss/∂value of the last backward pass; zeros before it.
    pub grad: ArrayD<T>,
}

impl<T: Real> Parameter<T> {
    /// Zeros.
    pub fn zeros(shape: &[usize]) -> Self {
        Parameter { value: ArrayD::zeros(IxDyn(shape)), grad: ArrayD::zeros(IxDyn(shape)) }
    }

    fn slot(&mut self) -> Slot<'_, T> {
        Slot::Parameter { value: self.value.view_mut(), grad: self.grad.view_mut() }
    }
}

/// The slots of a layer that multiplies, and adds a bias if it has one.
fn weight_and_bias<'a, T: Real>(
    weight: &'a mut Parameter<T>,
    bias: &'a mut Option<Parameter<T>>,
) -> Vec<(&'static str, Slot<'a, T>)> {
    let bias = bias.as_mut().map(|bias| ("bias", bias.slot()));
    [("weight", weight.slot())].into_iter().chain(bias).collect()
}

/// An array of a rank that was checked.
fn of_rank<T, D: Dimension>(array: ArrayD<T>) -> Array<T, D> {
    array.into_dimensionality().expect("the rank was checked")
}

/// Refuses a gradient of another shape than the output had.
fn check_grad_output<T>(layer: &str, expected: &[usize], grad_output: &ArrayD<T>) -> Result<(), Error> {
    if grad_output.shape() == expected {
        return Ok(());
    }
    let (expected, actual) = (expected.to_vec(), grad_output.shape().to_vec());
    Err(Error::GradOutput { layer: layer.into(), expected, actual })
}
