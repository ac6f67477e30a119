//! What a forward pass leaves behind for its backward passes: the statistics and
//! the weight of *that* pass, so that a backward pass which runs after later
//! forward passes, resets or optimiser steps is still the gradient of its own.

use ndarray::{
    Array, Array1, ArrayView, ArrayView1, ArrayViewD, ArrayViewMut1, ArrayViewMutD, Dimension, IxDyn,
};

use crate::admit::Origin;
use crate::backward::{At, GradSums, OutputMask, backward_into, backward_relu_into};
use crate::double_backward::{
    COTANGENT_OF_BIAS, COTANGENT_OF_WEIGHT, Cotangents, SecondSums, double_backward_into,
};
use crate::dtype::{Element, MixesWith};
use crate::error::Error;
use crate::forward::Statistics;
use crate::layout::{check_shape, zeros_like};
use crate::mask::ReluMask;
use crate::moments::Moments;
use crate::state::view;

/// What a forward pass leaves behind. Of size O(C): the input is not kept, and
/// is passed again.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved<P> {
    pub(crate) shape: Vec<usize>,
    pub(crate) origin: Origin,
    /// Of the batch; left over from an earlier pass where the origin is `Running`.
    pub(crate) moments: Vec<Moments>,
    pub(crate) statistics: Vec<Statistics>,
    pub(crate) weight: Option<Array1<P>>,
    pub(crate) has_bias: bool,
}

impl<P> Default for Saved<P> {
    /// Of no pass yet: for [`crate::BatchNorm::forward_into`] to fill.
    fn default() -> Self {
        Saved {
            shape: Vec::new(),
            origin: Origin::Batch,
            moments: Vec::new(),
            statistics: Vec::new(),
            weight: None,
            has_bias: false,
        }
    }
}

/// The gradients that were asked for and that the layer has.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients<T, P, D: Dimension> {
    /// ∂loss/∂x, in the input's shape and memory order.
    pub input: Option<Array<T, D>>,
    /// ∂loss/∂weight, of length C.
    pub weight: Option<Array1<P>>,
    /// ∂loss/∂bias, of length C.
    pub bias: Option<Array1<P>>,
}

/// The gradients of the batch norm, and that of what was added to it.
pub type WithResidual<T, P, D> = (Gradients<T, P, D>, Array<T, D>);

impl<T, P> Gradients<T, P, IxDyn> {
    fn views(&mut self) -> GradientsInto<'_, T, P> {
        GradientsInto {
            input: self.input.as_mut().map(|array| array.view_mut()),
            weight: self.weight.as_mut().map(|vector| vector.view_mut()),
            bias: self.bias.as_mut().map(|vector| vector.view_mut()),
        }
    }

    fn in_rank<D: Dimension>(self) -> Gradients<T, P, D> {
        let Gradients { input, weight, bias } = self;
        Gradients { input: input.map(in_rank), weight, bias }
    }
}

/// Where gradients are to go: what is absent is not computed, or not kept.
#[derive(Debug)]
pub struct GradientsInto<'a, T, P> {
    /// ∂loss/∂x, of the input's shape and any strides.
    pub input: Option<ArrayViewMutD<'a, T>>,
    /// ∂loss/∂weight, of length C.
    pub weight: Option<ArrayViewMut1<'a, P>>,
    /// ∂loss/∂bias, of length C.
    pub bias: Option<ArrayViewMut1<'a, P>>,
}

/// Where the gradients through batch norm, a sum and relu are to go.
#[derive(Debug)]
pub struct ReluGradientsInto<'a, T, P> {
    /// ∂loss/∂residual, of the input's shape and any strides; absent where none was added.
    pub residual: Option<ArrayViewMutD<'a, T>>,
    /// Those of the batch norm.
    pub batch_norm: GradientsInto<'a, T, P>,
}

/// What a backward pass needs beside its arrays, O(C), to be used again and again.
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    sums: Vec<GradSums>,
}

/// The gradients of S (see [`crate::double_backward`]).
#[derive(Clone, Debug, PartialEq)]
pub struct SecondGradients<T, P, D: Dimension> {
    /// ∂S/∂grad_output, in the input's shape and memory order.
    pub grad_output: Array<T, D>,
    /// ∂S/∂x, likewise.
    pub input: Array<T, D>,
    /// ∂S/∂weight, of length C, where the layer has a weight.
    pub weight: Option<Array1<P>>,
}

impl<P: Element> Saved<P> {
    /// Where the statistics came from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The statistics by which each channel was normalised.
    pub fn statistics(&self) -> &[Statistics] {
        &self.statistics
    }

    /// What was measured of each channel, where the statistics are the batch's.
    pub fn moments(&self) -> Option<&[Moments]> {
        (self.origin == Origin::Batch).then_some(&self.moments)
    }

    /// The gradients at `input` (the same that the forward pass had) of a loss
    /// whose gradient with respect to the output is `grad_output`.
    ///
    /// # Errors
    /// [`Error::Shape`] where either has another shape than the forward's input.
    pub fn backward<T: MixesWith<P>, D: Dimension>(
        &self,
        input: ArrayView<'_, T, D>,
        grad_output: ArrayView<'_, T, D>,
        mask: OutputMask,
    ) -> Result<Gradients<T, P, D>, Error> {
        let (input, grad_output) = (input.into_dyn(), grad_output.into_dyn());
        let mut gradients = self.blank(&input, mask);
        self.backward_into(input, grad_output, gradients.views(), &mut Workspace::default())?;
        Ok(gradients.in_rank())
    }

    /// The gradients at `input` through [`crate::BatchNorm::forward_relu`], whose output
    /// `grad_output` belongs to and whose mask `relu` is.
    ///
    /// # Errors
    /// [`Error::Shape`] where an array or the mask has another shape than the forward's input.
    pub fn backward_relu<T: MixesWith<P>, D: Dimension>(
        &self,
        input: ArrayView<'_, T, D>,
        grad_output: ArrayView<'_, T, D>,
        relu: &ReluMask,
        mask: OutputMask,
    ) -> Result<Gradients<T, P, D>, Error> {
        self.through_relu(input, grad_output, relu, mask, None)
    }

    /// The gradients through [`crate::BatchNorm::forward_add_relu`]: as
    /// [`Self::backward_relu`], and that of the residual, in the input's shape and memory
    /// order.
    ///
    /// # Errors
    /// As [`Self::backward_relu`].
    pub fn backward_add_relu<T: MixesWith<P>, D: Dimension>(
        &self,
        input: ArrayView<'_, T, D>,
        grad_output: ArrayView<'_, T, D>,
        relu: &ReluMask,
        mask: OutputMask,
    ) -> Result<WithResidual<T, P, D>, Error> {
        let mut residual = zeros_like(&input);
        let gradients = self.through_relu(input, grad_output, relu, mask, Some(residual.view_mut()))?;
        Ok((gradients, in_rank(residual)))
    }

    fn through_relu<T: MixesWith<P>, D: Dimension>(
        &self,
        input: ArrayView<'_, T, D>,
        grad_output: ArrayView<'_, T, D>,
        relu: &ReluMask,
        mask: OutputMask,
        residual: Option<ArrayViewMutD<'_, T>>,
    ) -> Result<Gradients<T, P, D>, Error> {
        let (input, grad_output) = (input.into_dyn(), grad_output.into_dyn());
        let mut gradients = self.blank(&input, mask);
        let into = ReluGradientsInto { residual, batch_norm: gradients.views() };
        self.backward_relu_into(input, grad_output, relu, into, &mut Workspace::default())?;
        Ok(gradients.in_rank())
    }

    /// Zeros for the gradients that `mask` asks for and that the layer has.
    fn blank<T: Element>(&self, input: &ArrayViewD<'_, T>, mask: OutputMask) -> Gradients<T, P, IxDyn> {
        let vector = |wanted: bool| wanted.then(|| Array1::from_elem(self.statistics.len(), P::default()));
        Gradients {
            input: mask.input.then(|| zeros_like(input)),
            weight: vector(mask.weight && self.weight.is_some()),
            bias: vector(mask.bias && self.has_bias),
        }
    }

    /// As [`Self::backward`], into given arrays. With a workspace that has served a layer
    /// of as many channels, nothing is allocated.
    ///
    /// # Errors
    /// [`Error::Shape`] for an array of another shape than the forward's input, or a vector
    /// that is not of length C. Then nothing was written.
    pub fn backward_into<T: MixesWith<P>>(
        &self,
        input: ArrayViewD<'_, T>,
        grad_output: ArrayViewD<'_, T>,
        gradients: GradientsInto<'_, T, P>,
        workspace: &mut Workspace,
    ) -> Result<(), Error> {
        let at = self.at(input, grad_output)?;
        self.run(gradients, workspace, |sums, grad_input| backward_into(&at, sums, grad_input))
    }

    /// As [`Self::backward_relu`] or, where the residual's gradient is asked for,
    /// [`Self::backward_add_relu`], into given arrays. With a workspace that has served a
    /// layer of as many channels, nothing is allocated.
    ///
    /// # Errors
    /// [`Error::Shape`] for an array or a mask of another shape than the forward's input, or
    /// a vector that is not of length C. Then nothing was written.
    pub fn backward_relu_into<T: MixesWith<P>>(
        &self,
        input: ArrayViewD<'_, T>,
        grad_output: ArrayViewD<'_, T>,
        relu: &ReluMask,
        gradients: ReluGradientsInto<'_, T, P>,
        workspace: &mut Workspace,
    ) -> Result<(), Error> {
        let at = self.at(input, grad_output)?;
        let ReluGradientsInto { residual, batch_norm } = gradients;
        self.run(batch_norm, workspace, |sums, grad_input| {
            backward_relu_into(&at, relu, sums, grad_input, residual)
        })
    }

    /// A backward pass: the sums and grad_input by `pass`, and the vectors of them.
    fn run<'a, T>(
        &self,
        gradients: GradientsInto<'a, T, P>,
        workspace: &mut Workspace,
        pass: impl FnOnce(&mut [GradSums], Option<ArrayViewMutD<'a, T>>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let channels = [self.statistics.len()];
        for (name, vector) in [("grad_weight", &gradients.weight), ("grad_bias", &gradients.bias)] {
            check_shape(name, &channels, vector.as_ref().map_or(&channels, |vector| vector.shape()))?;
        }
        let sums = &mut workspace.sums;
        sums.resize(self.statistics.len(), GradSums::default());
        pass(sums, gradients.input)?;
        let round = |vector: Option<ArrayViewMut1<'_, P>>, value: fn(&GradSums) -> f64| {
            vector.into_iter().flatten().zip(&*sums).for_each(|(slot, s)| *slot = P::from_f64(value(s)));
        };
        round(gradients.weight, |s| s.grad_weight);
        round(gradients.bias, |s| s.grad_bias);
        Ok(())
    }

    /// The gradients of S = Σ u·grad_input + Σ v·grad_weight + Σ t·grad_bias, for
    /// cotangents u, v and t; what is absent counts as 0.
    ///
    /// # Errors
    /// [`Error::Shape`] where an array has another shape than the forward's input,
    /// or v or t is not of length C.
    pub fn double_backward<T: MixesWith<P>, D: Dimension>(
        &self,
        input: ArrayView<'_, T, D>,
        grad_output: ArrayView<'_, T, D>,
        grad_input: Option<ArrayView<'_, T, D>>,
        grad_weight: Option<ArrayView1<'_, P>>,
        grad_bias: Option<ArrayView1<'_, P>>,
    ) -> Result<SecondGradients<T, P, D>, Error> {
        let (input, grad_output) = (input.into_dyn(), grad_output.into_dyn());
        let at = self.at(input.view(), grad_output.view())?;
        let channels = [self.statistics.len()];
        for (name, vector) in [(COTANGENT_OF_WEIGHT, grad_weight), (COTANGENT_OF_BIAS, grad_bias)] {
            check_shape(name, &channels, vector.as_ref().map_or(&channels, |vector| vector.shape()))?;
        }
        // What the layer lacks has no gradient for a cotangent to meet.
        let cotangents = Cotangents {
            grad_input: grad_input.map(|u| u.into_dyn()),
            grad_weight: grad_weight.filter(|_| self.weight.is_some()),
            grad_bias: grad_bias.filter(|_| self.has_bias),
        };
        let mut sums = vec![SecondSums::default(); self.statistics.len()];
        let (mut second_grad_output, mut second_input) = (zeros_like(&input), zeros_like(&input));
        double_backward_into(
            &at,
            &cotangents,
            &mut sums,
            second_grad_output.view_mut(),
            second_input.view_mut(),
        )?;
        Ok(SecondGradients {
            grad_output: in_rank(second_grad_output),
            input: in_rank(second_input),
            weight: self.weight.as_ref().map(|_| sums.iter().map(|s| P::from_f64(s.weight)).collect()),
        })
    }

    fn at<'a, T>(
        &'a self,
        input: ArrayViewD<'a, T>,
        grad_output: ArrayViewD<'a, T>,
    ) -> Result<At<'a, T, P>, Error> {
        check_shape("input", &self.shape, input.shape())?;
        check_shape("grad_output", &self.shape, grad_output.shape())?;
        let (weight, statistics) = (view(&self.weight), self.statistics.as_slice());
        Ok(At { input, grad_output, weight, statistics, origin: self.origin })
    }
}

/// An array of the rank that an input had, as that rank's type.
pub(crate) fn in_rank<T, D: Dimension>(array: Array<T, IxDyn>) -> Array<T, D> {
    array.into_dimensionality().expect("outputs have the rank of the input")
}
