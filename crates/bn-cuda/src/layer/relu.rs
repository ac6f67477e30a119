//! Batch norm with relu, and with a sum before it: rounded once, in the same kernels.

use batchnorm::OutputMask;

use super::{BatchNorm, Error, Gradients, Saved, check_counterpart};
use crate::array::Array;
use crate::device::Device;
use crate::mask::ReluMask;

/// What follows the normalisation in y = relu(bn(x)) and y = relu(bn(x) + residual).
#[derive(Debug)]
pub struct Relu<'a, D: Device> {
    /// What is added first, of the input's shape and dtype and any strides.
    pub residual: Option<&'a Array<D>>,
    /// Receives which elements relu lets through.
    pub mask: &'a mut ReluMask<D>,
}

/// The output of relu, what the backward passes need, and which elements relu let through.
pub type Rectified<D> = (Array<D>, Saved<D>, ReluMask<D>);

impl<D: Device> BatchNorm<D> {
    /// relu(bn(x)): as [`Self::forward`], then relu, rounded once. Which elements relu let
    /// through is what [`Self::backward_relu`] needs beside.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_relu(&mut self, device: &D, input: &Array<D>) -> Result<Rectified<D>, Error> {
        self.rectified(device, input, None)
    }

    /// relu(bn(x) + residual): as [`Self::forward`], then the sum, then relu, rounded once.
    /// For [`Self::backward_add_relu`].
    ///
    /// # Errors
    /// [`Error::Refused`] for a residual of another shape or dtype than the input, before anything
    /// else; then as [`Self::forward`].
    pub fn forward_add_relu(
        &mut self,
        device: &D,
        input: &Array<D>,
        residual: &Array<D>,
    ) -> Result<Rectified<D>, Error> {
        check_counterpart("residual", residual, input.shape(), input.dtype())?;
        self.rectified(device, input, Some(residual))
    }

    fn rectified(
        &mut self,
        device: &D,
        input: &Array<D>,
        residual: Option<&Array<D>>,
    ) -> Result<Rectified<D>, Error> {
        let plan = self.admit_input(input)?;
        let (output, mut mask) = (Array::like(device, input)?, ReluMask::new());
        let relu = Relu { residual, mask: &mut mask };
        let saved = self.run(device, plan, input, Some(relu), &output)?;
        Ok((output, saved, mask))
    }

    /// As [`Self::forward_relu`] or, with a residual, [`Self::forward_add_relu`], into an output
    /// of any strides, and over a mask whose memory is kept where it is large enough.
    ///
    /// # Errors
    /// [`Error::Refused`] for an output or a residual of another shape or dtype, before anything
    /// else; then as [`Self::forward`].
    pub fn forward_relu_into(
        &mut self,
        device: &D,
        input: &Array<D>,
        relu: Relu<'_, D>,
        output: &Array<D>,
    ) -> Result<Saved<D>, Error> {
        check_counterpart("output", output, input.shape(), input.dtype())?;
        if let Some(residual) = relu.residual {
            check_counterpart("residual", residual, input.shape(), input.dtype())?;
        }
        let plan = self.admit_input(input)?;
        self.run(device, plan, input, Some(relu), output)
    }

    /// The gradients at `input` through [`Self::forward_relu`], whose output `grad_output` belongs
    /// to and whose mask `relu` is.
    ///
    /// # Errors
    /// As [`Self::backward`], and [`Error::Refused`] for a mask of another shape than the input.
    pub fn backward_relu(
        &self,
        device: &D,
        saved: &Saved<D>,
        input: &Array<D>,
        grad_output: &Array<D>,
        relu: &ReluMask<D>,
        mask: OutputMask,
    ) -> Result<Gradients<D>, Error> {
        let gradients = self.gradients_like(device, input, mask)?;
        self.differentiate(device, saved, input, grad_output, Some((relu, None)), &gradients)?;
        Ok(gradients)
    }

    /// The gradients through [`Self::forward_add_relu`]: as [`Self::backward_relu`], and that of
    /// the residual, in the input's shape and memory order.
    ///
    /// # Errors
    /// As [`Self::backward_relu`].
    pub fn backward_add_relu(
        &self,
        device: &D,
        saved: &Saved<D>,
        input: &Array<D>,
        grad_output: &Array<D>,
        relu: &ReluMask<D>,
        mask: OutputMask,
    ) -> Result<(Gradients<D>, Array<D>), Error> {
        let (gradients, residual) = (self.gradients_like(device, input, mask)?, Array::like(device, input)?);
        let relu = Some((relu, Some(&residual)));
        self.differentiate(device, saved, input, grad_output, relu, &gradients)?;
        Ok((gradients, residual))
    }

    /// As [`Self::backward_relu`] or, where there is a place for the residual's gradient,
    /// [`Self::backward_add_relu`], into the gradients that there is a place for.
    ///
    /// # Errors
    /// As [`Self::backward_into`], and as [`Self::backward_relu`].
    #[allow(clippy::too_many_arguments, reason = "what the gradients hang on, and where they go")]
    pub fn backward_relu_into(
        &self,
        device: &D,
        saved: &Saved<D>,
        input: &Array<D>,
        grad_output: &Array<D>,
        relu: &ReluMask<D>,
        gradients: &Gradients<D>,
        residual: Option<&Array<D>>,
    ) -> Result<(), Error> {
        self.differentiate(device, saved, input, grad_output, Some((relu, residual)), gradients)
    }
}
