//! Folding a batch norm, in evaluation, into the map before it.
//!
//! In evaluation, batch norm is y·s + (bias − running_mean·s) per channel, with
//! s = weight/√(running_var + eps). A linear map or a convolution that produces
//! y = W·x + b can do that work itself:
//!
//! ```text
//! W' = W·s, over the output channels
//! b' = (b − running_mean)·s + bias
//! ```
//!
//! | map | shape of W | output channel of W[i, j, …] |
//! |---|---|---|
//! | linear | (out, in) | i |
//! | convolution | (out, in/groups, *kernel) | i |
//! | transposed convolution | (in, out/groups, *kernel) | (i div (in/groups))·(out/groups) + j |

use ndarray::{Array, Array1, ArrayView, ArrayView1, Axis, Dimension};

use crate::admit::check_eps_in_evaluation;
use crate::dtype::{Element, MixesWith};
use crate::error::Error;
use crate::forward::at;
use crate::layer::BatchNorm;
use crate::saved::in_rank;
use crate::state::{check_length, view};

/// The map that precedes a batch norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Map {
    /// `Linear`: one group, and a weight of rank 2.
    Linear,
    /// `Conv1d`, `Conv2d`, `Conv3d`, with this many groups.
    Conv {
        /// Groups, at least 1.
        groups: usize,
    },
    /// `ConvTranspose1d`, `2d`, `3d`, with this many groups.
    ConvTranspose {
        /// Groups, at least 1.
        groups: usize,
    },
}

impl Map {
    /// The number of output channels of a map with a weight of this shape.
    fn outputs(self, shape: &[usize]) -> Result<usize, Error> {
        let (map, groups, fits, expected) = match self {
            Map::Linear => ("linear map", 1, shape.len() == 2, "(out, in)"),
            Map::Conv { groups } => {
                let fits = shape.len() >= 2 && groups > 0 && shape[0].is_multiple_of(groups);
                ("convolution", groups, fits, "(out, in/groups, *kernel), with out a multiple of groups")
            }
            Map::ConvTranspose { groups } => {
                let fits = shape.len() >= 2 && groups > 0 && shape[0].is_multiple_of(groups);
                (
                    "transposed convolution",
                    groups,
                    fits,
                    "(in, out/groups, *kernel), with in a multiple of groups",
                )
            }
        };
        match self {
            _ if !fits => Err(Error::MapWeight { map, groups, expected, actual: shape.to_vec() }),
            Map::ConvTranspose { groups } => Ok(shape[1] * groups),
            _ => Ok(shape[0]),
        }
    }
}

impl<P: Element> BatchNorm<P> {
    /// The weight and bias of a map that does the work of `map` and of this layer
    /// in evaluation. Without a bias of its own, the map's counts as 0.
    ///
    /// # Errors
    /// [`Error::MissingRunningStat`]; [`Error::MapWeight`] for a weight that is none
    /// of such a map; [`Error::NumFeatures`] where the layer's
    /// vectors or the map's bias are not as long as the map has output channels;
    /// [`Error::EpsNegative`].
    pub fn fold<T: MixesWith<P>, D: Dimension>(
        &self,
        map: Map,
        weight: ArrayView<'_, T, D>,
        bias: Option<ArrayView1<'_, T>>,
    ) -> Result<(Array<T, D>, Array1<T>), Error> {
        let state = self.state();
        let missing = |name| Error::MissingRunningStat { name };
        let mean = view(&state.running_mean).ok_or(missing("running_mean"))?;
        let var = view(&state.running_var).ok_or(missing("running_var"))?;
        let outputs = map.outputs(weight.shape())?;
        let (bn_weight, bn_bias) = (view(&state.weight), view(&state.bias));
        let vectors = [
            ("running_mean", Some(mean)),
            ("running_var", Some(var)),
            ("weight", bn_weight),
            ("bias", bn_bias),
        ];
        vectors.into_iter().try_for_each(|(name, vector)| check_length(name, outputs, vector))?;
        check_length("the map's bias", outputs, bias)?;
        let eps = self.config().eps;
        check_eps_in_evaluation(eps)?;

        let scale: Vec<f64> =
            (0..outputs).map(|c| at(bn_weight, c, 1.0) / (var[c].to_f64() + eps).sqrt()).collect();
        let folded_bias = (0..outputs)
            .map(|c| T::from_f64((at(bias, c, 0.0) - mean[c].to_f64()) * scale[c] + at(bn_bias, c, 0.0)))
            .collect();
        Ok((scaled(map, weight, &scale), folded_bias))
    }
}

/// W·s, contiguous.
fn scaled<T: Element, D: Dimension>(map: Map, weight: ArrayView<'_, T, D>, scale: &[f64]) -> Array<T, D> {
    let mut folded = weight.into_dyn().as_standard_layout().into_owned();
    let inputs = folded.shape()[0];
    for (i, mut row) in folded.axis_iter_mut(Axis(0)).enumerate() {
        match map {
            Map::Linear | Map::Conv { .. } => row.mapv_inplace(|w| T::from_f64(w.to_f64() * scale[i])),
            Map::ConvTranspose { groups } => {
                let first = i / (inputs / groups) * row.shape()[0];
                for (j, mut kernel) in row.axis_iter_mut(Axis(0)).enumerate() {
                    kernel.mapv_inplace(|w| T::from_f64(w.to_f64() * scale[first + j]));
                }
            }
        }
    }
    in_rank(folded)
}
