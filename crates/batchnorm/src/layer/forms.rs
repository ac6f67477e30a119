//! The other forms of a forward pass: in place, and with relu.

use ndarray::{Array, ArrayView, ArrayViewD, ArrayViewMutD, Dimension};

use super::BatchNorm;
use crate::admit::Origin;
use crate::dtype::{Element, MixesWith};
use crate::error::Error;
use crate::forward::{Relu, Statistics, normalize_in_place};
use crate::layout::{check_shape, zeros_like};
use crate::mask::ReluMask;
use crate::moments::moments_into;
use crate::saved::{Saved, in_rank};

/// The output of relu, what the backward passes need, and which elements relu let through.
pub type Rectified<T, P, D> = (Array<T, D>, Saved<P>, ReluMask);

impl<P: Element> BatchNorm<P> {
    /// As [`Self::forward_into`], with the output in the place of the input. What is saved
    /// serves a backward pass only beside a copy of the input.
    ///
    /// # Errors
    /// As [`Self::forward`]; then nothing was written.
    pub fn forward_in_place<T: MixesWith<P>>(
        &mut self,
        values: ArrayViewMutD<'_, T>,
        saved: &mut Saved<P>,
    ) -> Result<(), Error> {
        let plan = self.admit(T::DTYPE, values.shape())?;
        self.save(plan, values.shape(), saved);
        match plan.origin {
            Origin::Batch => {
                moments_into(values.view(), &mut saved.moments)?;
                for (statistics, moments) in saved.statistics.iter_mut().zip(&saved.moments) {
                    *statistics = Statistics::from_moments(moments, self.config.eps);
                }
            }
            Origin::Running => self.running_statistics(&mut saved.statistics),
        }
        normalize_in_place(values, &saved.statistics, self.affine())?;
        self.update(plan, &saved.moments)
    }

    /// relu(bn(x)): as [`Self::forward`], then relu, rounded once. Which elements relu let
    /// through is what [`Saved::backward_relu`] needs beside.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_relu<T: MixesWith<P>, D: Dimension>(
        &mut self,
        input: ArrayView<'_, T, D>,
    ) -> Result<Rectified<T, P, D>, Error> {
        self.rectified(input, None)
    }

    /// relu(bn(x) + residual): as [`Self::forward`], then the sum, then relu, rounded once.
    /// For [`Saved::backward_add_relu`].
    ///
    /// # Errors
    /// [`Error::Shape`] for a residual of another shape than the input, before anything
    /// else; then as [`Self::forward`].
    pub fn forward_add_relu<T: MixesWith<P>, D: Dimension>(
        &mut self,
        input: ArrayView<'_, T, D>,
        residual: ArrayView<'_, T, D>,
    ) -> Result<Rectified<T, P, D>, Error> {
        self.rectified(input, Some(residual.into_dyn()))
    }

    fn rectified<T: MixesWith<P>, D: Dimension>(
        &mut self,
        input: ArrayView<'_, T, D>,
        residual: Option<ArrayViewD<'_, T>>,
    ) -> Result<Rectified<T, P, D>, Error> {
        let (mut output, mut saved) = (zeros_like(&input), Saved::default());
        let mut mask = ReluMask::default();
        let relu = Relu { residual, mask: &mut mask };
        self.forward_relu_into(input.into_dyn(), relu, output.view_mut(), &mut saved)?;
        Ok((in_rank(output), saved, mask))
    }

    /// As [`Self::forward_relu`] or, with a residual, [`Self::forward_add_relu`], into an
    /// output of any strides, and over a `Saved` and a mask whose memory is reused.
    ///
    /// # Errors
    /// [`Error::Shape`] for an output or a residual of another shape, before anything else;
    /// then as [`Self::forward`].
    pub fn forward_relu_into<T: MixesWith<P>>(
        &mut self,
        input: ArrayViewD<'_, T>,
        relu: Relu<'_, T>,
        output: ArrayViewMutD<'_, T>,
        saved: &mut Saved<P>,
    ) -> Result<(), Error> {
        check_shape("output", input.shape(), output.shape())?;
        relu.check(input.shape())?;
        let plan = self.admit(T::DTYPE, input.shape())?;
        self.run(plan, input, Some(relu), output, saved)
    }
}
