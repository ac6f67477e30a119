//! What may be asked of a layer, in PyTorch's words and with PyTorch's defaults.

use crate::error::Error;

/// How the running statistics follow the batches:
///
/// new = (1 − factor)·old + factor·batch
///
/// The factor weighs the **new** value, as in PyTorch. (ONNX, flax and Keras
/// give the same name to its complement.)
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Momentum {
    /// The factor is this number, taken as it is: 0, 1, −0.5, 2, NaN and
    /// infinity do what the formula says.
    Exponential(f64),
    /// The factor is 1/num_batches_tracked: the unweighted mean of the batches'
    /// statistics (PyTorch's `momentum=None`).
    Cumulative,
}

/// The configuration of a layer.
///
/// ```
/// use batchnorm::{Config, Momentum};
/// let config = Config { eps: 1e-3, bias: false, ..Config::new(64) };
/// assert_eq!(config.momentum, Momentum::Exponential(0.1));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// C, the number of channels: the length of the parameters and buffers that
    /// a layer starts with. As in PyTorch, an input is checked against those.
    pub num_features: usize,
    /// Added to the biased variance under the root.
    pub eps: f64,
    /// How the running statistics follow the batches.
    pub momentum: Momentum,
    /// Whether the layer has a weight γ.
    pub weight: bool,
    /// Whether the layer has a bias β.
    pub bias: bool,
    /// Whether training updates the running statistics and the counter.
    pub track_running_stats: bool,
}

impl Config {
    /// PyTorch's defaults: eps 1e-5, momentum 0.1, weight and bias, tracking.
    pub fn new(num_features: usize) -> Self {
        Config {
            num_features,
            eps: 1e-5,
            momentum: Momentum::Exponential(0.1),
            weight: true,
            bias: true,
            track_running_stats: true,
        }
    }

    /// The same with weight and bias both present or both absent (`affine=…`).
    pub fn affine(self, affine: bool) -> Self {
        Config { weight: affine, bias: affine, ..self }
    }
}

/// Which inputs a layer takes: all that PyTorch's classes differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// `BatchNorm1d`: (N, C) or (N, C, L).
    One,
    /// `BatchNorm2d`: (N, C, H, W).
    Two,
    /// `BatchNorm3d`: (N, C, D, H, W).
    Three,
    /// The function under the modules: (N, C, *) of any rank from 2 up.
    Any,
}

impl Rank {
    /// Refuses an input of another rank with [`Error::Rank`].
    pub fn check(self, rank: usize) -> Result<(), Error> {
        let (taken, expected) = match self {
            Rank::One => (rank == 2 || rank == 3, "2D or 3D"),
            Rank::Two => (rank == 4, "4D"),
            Rank::Three => (rank == 5, "5D"),
            Rank::Any => (rank >= 2, "at least 2D"),
        };
        if taken { Ok(()) } else { Err(Error::Rank { expected, actual: rank }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_takes_its_ranks_and_says_which() {
        let taken = |rank: Rank| (0..7).filter(|&r| rank.check(r).is_ok()).collect::<Vec<_>>();
        assert_eq!(taken(Rank::One), [2, 3]);
        assert_eq!(taken(Rank::Two), [4]);
        assert_eq!(taken(Rank::Three), [5]);
        assert_eq!(taken(Rank::Any), [2, 3, 4, 5, 6]);
        let message = |rank: Rank, r| rank.check(r).unwrap_err().to_string();
        assert_eq!(message(Rank::One, 4), "expected 2D or 3D input (got 4D input)");
        assert_eq!(message(Rank::Two, 3), "expected 4D input (got 3D input)");
        assert_eq!(message(Rank::Three, 4), "expected 5D input (got 4D input)");
        assert_eq!(message(Rank::Any, 1), "expected at least 2D input (got 1D input)");
    }
}
