//! The layers: a configuration, a state, a mode, and the passes that join them.

mod forms;

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use ndarray::{Array, ArrayView, ArrayViewD, ArrayViewMutD, Dimension};

use crate::admit::{Origin, Plan, Request};
use crate::config::{Config, Rank};
use crate::dtype::{DType, Element, MixesWith};
use crate::error::Error;
use crate::forward::{
    Affine, Relu, Statistics, at, forward_train_into, forward_train_relu_into, normalize_into,
    normalize_relu_into,
};
use crate::layout::{check_shape, zeros_like};
use crate::moments::{Moments, moments_into};
use crate::running::update_running_stats;
use crate::saved::{Saved, in_rank};
use crate::state::{State, view};

pub use self::forms::Rectified;

/// Batch normalization over (N, C, *), with parameters and buffers of dtype `P`.
///
/// A new layer is in training mode and takes any rank from 2 up;
/// [`BatchNorm1d`], [`BatchNorm2d`] and [`BatchNorm3d`] take those of PyTorch's
/// classes.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNorm<P> {
    config: Config,
    rank: Rank,
    training: bool,
    state: State<P>,
}

impl<P: Element> BatchNorm<P> {
    /// A layer with fresh parameters and buffers, for any rank from 2 up.
    pub fn new(config: Config) -> Self {
        Self::with_rank(Rank::Any, config)
    }

    /// A layer with fresh parameters and buffers.
    pub fn with_rank(rank: Rank, config: Config) -> Self {
        let state = State::new(&config);
        Self::from_state(rank, config, state)
    }

    /// A layer with this state, whatever it lacks and however long its vectors
    /// are: what does not fit, a forward pass refuses. (As assigning a module's
    /// attributes does in PyTorch; [`State::load_entries`] checks at once.)
    pub fn from_state(rank: Rank, config: Config, state: State<P>) -> Self {
        BatchNorm { config, rank, training: true, state }
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The parameters and buffers.
    pub fn state(&self) -> &State<P> {
        &self.state
    }

    /// The parameters and buffers, to change: for an optimiser, or to load.
    pub fn state_mut(&mut self) -> &mut State<P> {
        &mut self.state
    }

    /// Whether the layer is in training mode.
    pub fn training(&self) -> bool {
        self.training
    }

    /// Training mode or evaluation mode.
    pub fn set_training(&mut self, training: bool) {
        self.training = training;
    }

    /// Training mode: normalise by the batch, and update the running statistics.
    pub fn train(&mut self) {
        self.set_training(true);
    }

    /// Evaluation mode: normalise by the running statistics, if there are any.
    pub fn eval(&mut self) {
        self.set_training(false);
    }

    /// running_mean 0, running_var 1, num_batches_tracked 0. Does nothing where
    /// `track_running_stats` is off, as in PyTorch.
    pub fn reset_running_stats(&mut self) {
        if self.config.track_running_stats {
            self.state.reset_running_stats();
        }
    }

    /// As [`Self::reset_running_stats`], and weight 1, bias 0.
    pub fn reset_parameters(&mut self) {
        self.reset_running_stats();
        self.state.reset_affine();
    }

    /// Runs the checks that begin a forward pass and counts the batch, without
    /// computing anything. Every forward pass begins so; this form is for callers
    /// who hold an input whose dtype batch norm does not take.
    ///
    /// # Errors
    /// Those of [`Self::forward`], in the order of [`crate::admit`].
    pub fn admit(&mut self, input: DType, shape: &[usize]) -> Result<Plan, Error> {
        let request = Request {
            config: &self.config,
            rank: self.rank,
            signature: self.state.signature(),
            training: self.training,
            input,
            shape,
        };
        request.admit(&mut self.state.num_batches_tracked)
    }

    /// Normalises `input`, (N, C, *), in the layer's mode: the output, in the
    /// input's shape and memory order, and what the backward passes need.
    ///
    /// In training mode the running statistics and the counter are updated where
    /// they are tracked.
    ///
    /// # Errors
    /// In the order of [`crate::admit`], which see for when the counter rises all
    /// the same; the running statistics of a refused pass stay as they were.
    pub fn forward<T: MixesWith<P>, D: Dimension>(
        &mut self,
        input: ArrayView<'_, T, D>,
    ) -> Result<(Array<T, D>, Saved<P>), Error> {
        let plan = self.admit(T::DTYPE, input.shape())?;
        let (mut output, mut saved) = (zeros_like(&input), Saved::default());
        self.run(plan, input.into_dyn(), None, output.view_mut(), &mut saved)?;
        Ok((in_rank(output), saved))
    }

    /// As [`Self::forward`], into an output of any strides, and over a `Saved`
    /// whose memory is reused.
    ///
    /// # Errors
    /// [`Error::Shape`] for an output of another shape, before anything else;
    /// then as [`Self::forward`].
    pub fn forward_into<T: MixesWith<P>>(
        &mut self,
        input: ArrayViewD<'_, T>,
        output: ArrayViewMutD<'_, T>,
        saved: &mut Saved<P>,
    ) -> Result<(), Error> {
        check_shape("output", input.shape(), output.shape())?;
        let plan = self.admit(T::DTYPE, input.shape())?;
        self.run(plan, input, None, output, saved)
    }

    fn run<T: MixesWith<P>>(
        &mut self,
        plan: Plan,
        input: ArrayViewD<'_, T>,
        relu: Option<Relu<'_, T>>,
        output: ArrayViewMutD<'_, T>,
        saved: &mut Saved<P>,
    ) -> Result<(), Error> {
        self.save(plan, input.shape(), saved);
        let affine = self.affine();
        match plan.origin {
            Origin::Batch => {
                let (eps, moments, statistics) = (self.config.eps, &mut saved.moments, &mut saved.statistics);
                match relu {
                    None => forward_train_into(input, affine, eps, output, moments, statistics)?,
                    Some(relu) => {
                        forward_train_relu_into(input, affine, eps, relu, output, moments, statistics)?;
                    }
                }
            }
            Origin::Running => {
                self.running_statistics(&mut saved.statistics);
                let statistics = &saved.statistics;
                match relu {
                    None => normalize_into(input, statistics, affine, output)?,
                    Some(relu) => normalize_relu_into(input, statistics, affine, relu, output)?,
                }
            }
        }
        self.update(plan, &saved.moments)
    }

    /// A forward pass over a batch that arrives in parts, as the ranks of
    /// PyTorch's SyncBatchNorm hold it: each part is measured, the moments are
    /// merged, and each part is normalised by the whole. Outputs, running
    /// statistics and counter are those of the parts joined along N.
    ///
    /// The returned [`Saved`] belongs to the joined batch.
    ///
    /// # Errors
    /// [`Error::NoParts`]; [`Error::Shape`] for a part that differs from the first
    /// in more than N; then as [`Self::forward`] of the joined batch.
    pub fn forward_parts<T: MixesWith<P>, D: Dimension>(
        &mut self,
        parts: &[ArrayView<'_, T, D>],
    ) -> Result<Parts<T, P, D>, Error> {
        let shape = joined_shape(parts)?;
        let plan = self.admit(T::DTYPE, &shape)?;
        let mut saved = Saved::default();
        self.save(plan, &shape, &mut saved);
        match plan.origin {
            Origin::Batch => merge_parts(parts, self.config.eps, &mut saved)?,
            Origin::Running => self.running_statistics(&mut saved.statistics),
        }
        let normalize = |part: &ArrayView<'_, T, D>| {
            let mut output = zeros_like(part);
            normalize_into(part.view().into_dyn(), &saved.statistics, self.affine(), output.view_mut())?;
            Ok(in_rank(output))
        };
        let outputs = parts.iter().map(normalize).collect::<Result<_, Error>>()?;
        self.update(plan, &saved.moments)?;
        Ok((outputs, saved))
    }

    /// Notes in `saved` all that is known before the input is read.
    fn save(&self, plan: Plan, shape: &[usize], saved: &mut Saved<P>) {
        let channels = shape[1];
        saved.shape.clear();
        saved.shape.extend_from_slice(shape);
        saved.origin = plan.origin;
        saved.moments.resize(channels, Moments::default());
        saved.statistics.resize(channels, Statistics::default());
        saved.weight.clone_from(&self.state.weight);
        saved.has_bias = self.state.bias.is_some();
    }

    fn affine(&self) -> Affine<'_, P> {
        Affine { weight: view(&self.state.weight), bias: view(&self.state.bias) }
    }

    fn running_statistics(&self, statistics: &mut [Statistics]) {
        let (mean, var) = (view(&self.state.running_mean), view(&self.state.running_var));
        for (c, statistics) in statistics.iter_mut().enumerate() {
            *statistics = Statistics::from_running(at(mean, c, 0.0), at(var, c, 1.0), self.config.eps);
        }
    }

    fn update(&mut self, plan: Plan, moments: &[Moments]) -> Result<(), Error> {
        match (plan.update, &mut self.state.running_mean, &mut self.state.running_var) {
            (Some(factor), Some(mean), Some(var)) => {
                update_running_stats(mean.view_mut(), var.view_mut(), factor, moments)
            }
            _ => Ok(()),
        }
    }
}

/// The output of each part, and what the backward passes of the whole need.
pub type Parts<T, P, D> = (Vec<Array<T, D>>, Saved<P>);

/// The shape of the parts joined along N.
fn joined_shape<T, D: Dimension>(parts: &[ArrayView<'_, T, D>]) -> Result<Vec<usize>, Error> {
    let mut joined = parts.first().ok_or(Error::NoParts)?.shape().to_vec();
    for part in &parts[1..] {
        let mut expected = joined.clone();
        if let (Some(n), Some(of_part)) = (expected.first_mut(), part.shape().first()) {
            *n = *of_part;
            joined[0] += of_part;
        }
        check_shape("part", &expected, part.shape())?;
    }
    Ok(joined)
}

fn merge_parts<T: MixesWith<P>, P: Element, D: Dimension>(
    parts: &[ArrayView<'_, T, D>],
    eps: f64,
    saved: &mut Saved<P>,
) -> Result<(), Error> {
    let mut of_part = saved.moments.clone();
    for part in parts {
        moments_into(part.view().into_dyn(), &mut of_part)?;
        saved.moments.iter_mut().zip(&of_part).for_each(|(whole, part)| *whole = whole.merge(part));
    }
    for (statistics, moments) in saved.statistics.iter_mut().zip(&saved.moments) {
        *statistics = Statistics::from_moments(moments, eps);
    }
    Ok(())
}

/// The ranks of one of PyTorch's classes, as a type.
pub trait Ranks {
    /// Those ranks.
    const RANK: Rank;
}

/// A [`BatchNorm`] that takes the ranks of one of PyTorch's classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked<P, R> {
    layer: BatchNorm<P>,
    ranks: PhantomData<R>,
}

impl<P: Element, R: Ranks> Ranked<P, R> {
    /// A layer with fresh parameters and buffers.
    pub fn new(config: Config) -> Self {
        Ranked { layer: BatchNorm::with_rank(R::RANK, config), ranks: PhantomData }
    }
}

impl<P, R> Deref for Ranked<P, R> {
    type Target = BatchNorm<P>;

    fn deref(&self) -> &BatchNorm<P> {
        &self.layer
    }
}

impl<P, R> DerefMut for Ranked<P, R> {
    fn deref_mut(&mut self) -> &mut BatchNorm<P> {
        &mut self.layer
    }
}

/// The ranks of [`BatchNorm1d`].
#[derive(Clone, Debug, PartialEq)]
pub enum Ranks1d {}
/// The rank of [`BatchNorm2d`].
#[derive(Clone, Debug, PartialEq)]
pub enum Ranks2d {}
/// The rank of [`BatchNorm3d`].
#[derive(Clone, Debug, PartialEq)]
pub enum Ranks3d {}

impl Ranks for Ranks1d {
    const RANK: Rank = Rank::One;
}
impl Ranks for Ranks2d {
    const RANK: Rank = Rank::Two;
}
impl Ranks for Ranks3d {
    const RANK: Rank = Rank::Three;
}

/// Batch normalization over (N, C) or (N, C, L).
pub type BatchNorm1d<P> = Ranked<P, Ranks1d>;
/// Batch normalization over (N, C, H, W).
pub type BatchNorm2d<P> = Ranked<P, Ranks2d>;
/// Batch normalization over (N, C, D, H, W).
pub type BatchNorm3d<P> = Ranked<P, Ranks3d>;
