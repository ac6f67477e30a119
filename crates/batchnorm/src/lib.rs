//! Batch normalization from scratch, as PyTorch defines it.
//!
//! For each channel c of an input (N, C, *), over its n = N·Π* values:
//!
//! ```text
//! y = (x − mean)/√(var_biased + eps)·weight + bias
//! running_mean ← (1 − momentum)·running_mean + momentum·mean
//! running_var  ← (1 − momentum)·running_var  + momentum·var_unbiased
//! ```
//!
//! In training, mean and variance are the batch's; in evaluation, they are the
//! running ones. The biased variance (÷ n) normalises; the running one receives
//! the unbiased (÷ n − 1).
//!
//! ```
//! use batchnorm::{BatchNorm1d, Config, OutputMask};
//! use ndarray::array;
//!
//! let mut layer = BatchNorm1d::<f32>::new(Config::new(4));
//! let input = array![[1.0f32, 2.0, 3.0, 4.0], [2.0, 3.0, 4.0, 5.0], [3.0, 4.0, 5.0, 6.0]];
//! let (output, saved) = layer.forward(input.view())?;
//!
//! // Deviations −1, 0, 1 over √(2/3 + 1e-5).
//! assert_eq!(output.column(0).to_vec(), [-1.2247357, 0.0, 1.2247357]);
//! // A tenth of the batch's means 2, 3, 4, 5; 0.9·1 + 0.1·1, the unbiased variance being 1.
//! let state = layer.state();
//! assert_eq!(state.running_mean, Some(array![0.2, 0.3, 0.4, 0.5]));
//! assert_eq!(state.running_var, Some(array![1.0, 1.0, 1.0, 1.0]));
//! assert_eq!(state.num_batches_tracked, Some(1));
//!
//! // The gradients belong to the forward pass that saved its statistics.
//! let grad_output = array![[1.0f32, 0.0, 0.0, 0.0], [0.0; 4], [0.0; 4]];
//! let gradients = saved.backward(input.view(), grad_output.view(), OutputMask::ALL)?;
//! assert_eq!(gradients.bias, Some(array![1.0, 0.0, 0.0, 0.0]));
//! # Ok::<(), batchnorm::Error>(())
//! ```
//!
//! # With relu
//! relu(bn(x)) and relu(bn(x) + residual) are one pass, rounded once, which keeps which
//! elements relu let through as a bit each ([`ReluMask`]):
//!
//! ```
//! use batchnorm::{BatchNorm1d, Config, OutputMask};
//! use ndarray::array;
//!
//! let mut layer = BatchNorm1d::<f32>::new(Config::new(1));
//! let (input, residual) = (array![[1.0f32], [2.0], [3.0]], array![[2.0f32], [0.0], [-2.0]]);
//! let (output, saved, mask) = layer.forward_add_relu(input.view(), residual.view())?;
//! assert_eq!(output, array![[0.7752643], [0.0], [0.0]]);
//! assert_eq!(mask.to_array().into_raw_vec_and_offset().0, [true, false, false]);
//!
//! let grad_output = array![[1.0f32], [1.0], [1.0]];
//! let (gradients, grad_residual) =
//!     saved.backward_add_relu(input.view(), grad_output.view(), &mask, OutputMask::ALL)?;
//! assert_eq!(grad_residual, array![[1.0], [0.0], [0.0]]);
//! assert_eq!(gradients.bias, Some(array![1.0]));
//! # Ok::<(), batchnorm::Error>(())
//! ```
//!
//! # In place
//! [`BatchNorm::forward_in_place`] puts the output where the input was: for evaluation, or
//! where nobody asks for gradients.
//!
//! # Where things are
//! [`BatchNorm`] and its ranked kin remember and refuse; the functions of
//! [`moments`](mod@moments), [`running`], [`forward`], [`backward`] and
//! [`double_backward`] compute, arrays in and arrays out, over any strides, with
//! outputs and O(C) of workspace passed in. [`dtype`] lists which numbers mix.
//!
//! # How it computes
//! All results are those of f64 arithmetic, rounded once at the end. The mean is kept as a pair of
//! f64, and subtracted before anything is scaled, so errors are relative to the
//! deviations, however large the mean. Sums run in an order that the shape and the
//! strides settle: the number of threads and the instruction set never change a bit.
//!
//! # How fast
//! Arrays whose memory is full, contiguous or channels-last, take vector kernels
//! (AVX-512, AVX2 or what the compiler makes of plain loops, found out at run time;
//! 16-bit outputs by way of f32 where that is sure to round alike);
//! large ones use the threads of rayon's current pool, and small ones the calling
//! thread alone. The functions that end in `_into` allocate nothing, up to rank 4.

pub mod admit;
pub mod backward;
mod config;
pub mod double_backward;
pub mod dtype;
mod error;
mod fold;
pub mod forward;
mod kernels;
mod layer;
mod layout;
pub mod mask;
pub mod moments;
pub mod running;
mod saved;
mod state;
mod sum;

pub use admit::Origin;
pub use backward::OutputMask;
pub use config::{Config, Momentum, Rank};
pub use dtype::{DType, Element, MixesWith, check_dtypes};
pub use error::Error;
pub use fold::Map;
pub use forward::{Affine, Relu, Statistics};
pub use layer::{
    BatchNorm, BatchNorm1d, BatchNorm2d, BatchNorm3d, Parts, Ranked, Ranks, Ranks1d, Ranks2d, Ranks3d,
    Rectified,
};
pub use layout::MemoryFormat;
pub use mask::ReluMask;
pub use moments::{Moments, moments};
pub use saved::{
    Gradients, GradientsInto, ReluGradientsInto, Saved, SecondGradients, WithResidual, Workspace,
};
pub use state::{Entry, State};
