//! The gradients of a loss with respect to input, weight and bias.
//!
//! With g = ∂loss/∂y, x̂ = (x − mean)·invstd and n values per channel:
//!
//! ```text
//! grad_bias   = Σg
//! grad_weight = Σg·x̂
//! grad_input  = weight·invstd·(g − grad_bias/n − x̂·grad_weight/n)   statistics of the batch
//! grad_input  = weight·invstd·g                                     running statistics
//! ```
//!
//! The two subtracted terms are how the batch's mean and variance answer to x.
//! They make Σ grad_input = 0: moving a whole channel changes nothing. (Hence a
//! gradient test with g = 1 throughout tests nothing: all its gradients are 0.)
//!
//! Where a relu followed, its [`ReluMask`] comes first, and g' takes the place of g in all
//! of that ([`backward_relu_into`]):
//!
//! ```text
//! g'            = g where the bit is set, 0 elsewhere
//! grad_residual = g'                                                what was added before relu
//! ```
//!
//! Two readings of input and grad_output: one for the sums, one for grad_input.
//! Done apart, as [`gradient_sums_into`] and [`grad_input_into`], they serve a
//! batch in parts: add the parts' sums between the two.

mod tiles;

use std::ops::{Add, Range};

use ndarray::{ArrayView1, ArrayViewD, ArrayViewMutD};

use self::tiles::Work;
use crate::admit::Origin;
use crate::config::Rank;
use crate::dtype::{Element, MixesWith};
use crate::error::Error;
use crate::forward::{Statistics, at};
use crate::kernels::bits::Bits;
use crate::kernels::entry::{Group, Operation, Terms};
use crate::kernels::geometry::Geometry;
use crate::kernels::maps::Constants;
use crate::kernels::target::Target;
use crate::kernels::{Context, Inputs, PerChannel};
use crate::layout::{Sink, check_shape, plain, plain_mut};
use crate::mask::ReluMask;
use crate::state::check_length;
use crate::sum::Pair;

/// The two sums of a channel that its gradients are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GradSums {
    /// How many values were summed.
    pub count: usize,
    /// Σg.
    pub grad_bias: f64,
    /// Σg·x̂.
    pub grad_weight: f64,
}

impl Add for GradSums {
    type Output = GradSums;

    /// The sums over the values of both.
    fn add(self, other: GradSums) -> GradSums {
        GradSums {
            count: self.count + other.count,
            grad_bias: self.grad_bias + other.grad_bias,
            grad_weight: self.grad_weight + other.grad_weight,
        }
    }
}

/// Which gradients are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputMask {
    /// grad_input.
    pub input: bool,
    /// grad_weight, of a layer that has a weight.
    pub weight: bool,
    /// grad_bias, of a layer that has a bias.
    pub bias: bool,
}

impl OutputMask {
    /// All that the layer has.
    pub const ALL: OutputMask = OutputMask { input: true, weight: true, bias: true };
}

/// What a gradient is taken at: the forward pass's input and statistics.
#[derive(Clone, Debug)]
pub struct At<'a, T, P> {
    /// x, (N, C, *).
    pub input: ArrayViewD<'a, T>,
    /// ∂loss/∂y, of the input's shape and any strides.
    pub grad_output: ArrayViewD<'a, T>,
    /// γ, where present.
    pub weight: Option<ArrayView1<'a, P>>,
    /// What each channel was normalised by.
    pub statistics: &'a [Statistics],
    /// Whether those depend on the input.
    pub origin: Origin,
}

impl<T: MixesWith<P>, P: Element> At<'_, T, P> {
    pub(crate) fn check(&self) -> Result<(), Error> {
        Rank::Any.check(self.input.ndim())?;
        let channels = self.input.shape()[1];
        check_shape("grad_output", self.input.shape(), self.grad_output.shape())?;
        check_shape("statistics", &[channels], &[self.statistics.len()])?;
        check_length("weight", channels, self.weight)
    }
}

/// A backward pass: the sums of every channel, and where asked, grad_input.
///
/// `sums` has length C; `grad_input` has the input's shape and any strides.
///
/// # Errors
/// [`Error::Rank`], [`Error::Shape`], [`Error::NumFeatures`]; then nothing was written.
pub fn backward_into<T: MixesWith<P>, P: Element>(
    at: &At<'_, T, P>,
    sums: &mut [GradSums],
    grad_input: Option<ArrayViewMutD<'_, T>>,
) -> Result<(), Error> {
    run(at, None, sums, grad_input, None)
}

/// As [`backward_into`], through the relu that followed: with g' for g, which goes to
/// `grad_residual` where that is asked.
///
/// The batch in parts needs no form of its own: g' is what [`gradient_sums_into`] and
/// [`grad_input_into`] then take.
///
/// # Errors
/// As [`backward_into`], and [`Error::Shape`] for a mask of another shape than the input.
pub fn backward_relu_into<T: MixesWith<P>, P: Element>(
    at: &At<'_, T, P>,
    mask: &ReluMask,
    sums: &mut [GradSums],
    grad_input: Option<ArrayViewMutD<'_, T>>,
    grad_residual: Option<ArrayViewMutD<'_, T>>,
) -> Result<(), Error> {
    run(at, Some(mask), sums, grad_input, grad_residual)
}

fn run<T: MixesWith<P>, P: Element>(
    at: &At<'_, T, P>,
    mask: Option<&ReluMask>,
    sums: &mut [GradSums],
    mut grad_input: Option<ArrayViewMutD<'_, T>>,
    mut grad_residual: Option<ArrayViewMutD<'_, T>>,
) -> Result<(), Error> {
    at.check()?;
    check_sums(at, sums)?;
    mask.map_or(Ok(()), |mask| mask.check(at.input.shape()))?;
    for (name, array) in [("grad_input", &grad_input), ("grad_residual", &grad_residual)] {
        array.as_ref().map_or(Ok(()), |array| check_shape(name, at.input.shape(), array.shape()))?;
    }
    if let Some(job) = Job::of(at, mask, grad_input.as_mut(), grad_residual.as_mut()) {
        job.context.each_group::<T, _>(&job.geometry, 2, sums, &|group, sums| {
            job.sum(&group, sums);
            job.grad_residual(&group);
            job.grad_input(&group, sums);
        });
        return Ok(());
    }
    let (mut of_input, mut of_residual) =
        (grad_input.as_mut().map(Sink::new), grad_residual.as_mut().map(Sink::new));
    let mut work = Work::new(at, mask);
    for group in work.walk.groups() {
        work.sum(&group, sums, of_residual.as_mut());
        if let Some(sink) = &mut of_input {
            work.grad_input(&group, sums, sink);
        }
    }
    Ok(())
}

/// The first half of [`backward_into`]: the sums alone.
///
/// # Errors
/// As [`backward_into`].
pub fn gradient_sums_into<T: MixesWith<P>, P: Element>(
    at: &At<'_, T, P>,
    sums: &mut [GradSums],
) -> Result<(), Error> {
    backward_into(at, sums, None)
}

/// The second half of [`backward_into`]: grad_input from sums, which may cover
/// more values than this input's, where it is a part of a batch.
///
/// # Errors
/// As [`backward_into`].
pub fn grad_input_into<T: MixesWith<P>, P: Element>(
    at: &At<'_, T, P>,
    sums: &[GradSums],
    mut grad_input: ArrayViewMutD<'_, T>,
) -> Result<(), Error> {
    at.check()?;
    check_sums(at, sums)?;
    check_shape("grad_input", at.input.shape(), grad_input.shape())?;
    if let Some(job) = Job::of(at, None, Some(&mut grad_input), None) {
        job.context.each_group::<T, _>(&job.geometry, 2, (), &|group, ()| {
            job.grad_input(&group, &sums[group.clone()]);
        });
        return Ok(());
    }
    let (mut work, mut sink) = (Work::new(at, None), Sink::new(&mut grad_input));
    for group in work.walk.groups() {
        work.grad_input(&group, sums, &mut sink);
    }
    Ok(())
}

fn check_sums<T, P>(at: &At<'_, T, P>, sums: &[GradSums]) -> Result<(), Error> {
    check_shape("sums", &[at.input.shape()[1]], &[sums.len()])
}

/// A backward pass that the kernels can take.
struct Job<'a, 'b, T, P> {
    context: Context,
    geometry: Geometry,
    inputs: Inputs<'a, T>,
    /// The mask, if any.
    bits: Bits<'a>,
    at: &'a At<'b, T, P>,
    grad_input: Option<Target<'a, T>>,
    grad_residual: Option<Target<'a, T>>,
}

impl<'a, 'b, T: MixesWith<P>, P: Element> Job<'a, 'b, T, P> {
    /// Where all arrays lie plainly, and alike, and no deviation needs a scale.
    fn of(
        at: &'a At<'b, T, P>,
        mask: Option<&'a ReluMask>,
        grad_input: Option<&'a mut ArrayViewMutD<'_, T>>,
        grad_residual: Option<&'a mut ArrayViewMutD<'_, T>>,
    ) -> Option<Self> {
        let (x, geometry) = plain(&at.input)?;
        let (g, of_g) = plain(&at.grad_output)?;
        if of_g != geometry || !at.statistics.iter().all(Statistics::unscaled) {
            return None;
        }
        let bits = match mask {
            Some(mask) => Bits::Read(mask.bytes_like(&geometry)?),
            None => Bits::None,
        };
        let (grad_input, grad_residual) = (target(&geometry, grad_input)?, target(&geometry, grad_residual)?);
        let context = Context::for_elements::<T>(x.len());
        let inputs = Inputs::with(x, g).asking_ahead(context.asks_ahead::<T>(&geometry, 2));
        Some(Job { context, geometry, inputs, bits, at, grad_input, grad_residual })
    }

    fn gated(&self) -> bool {
        !matches!(self.bits, Bits::None)
    }

    fn sum(&self, group: &Range<usize>, sums: &mut [GradSums]) {
        let statistics = &self.at.statistics[group.clone()];
        let (mut means, mut totals) = (PerChannel::<f64>::new(), PerChannel::new());
        let near = statistics.iter().all(Statistics::near::<T>);
        if !near {
            means.extend(statistics.iter().map(|s| s.mean_pair().hi));
        }
        let shifts = (!near).then_some(means.as_slice());
        let terms = if self.gated() { Terms::GatedGradients } else { Terms::Gradients };
        self.group(group).sums(terms, shifts, &mut totals);
        for ((sums, statistics), total) in sums.iter_mut().zip(statistics).zip(&totals) {
            let [g, mut g_deviation] = total.map(Pair::value);
            if near {
                g_deviation -= statistics.mean_pair().hi * g;
            }
            let g_deviation = g_deviation - statistics.of_remainder(g);
            let grad_weight = g_deviation * statistics.per_deviation();
            *sums = GradSums { count: self.geometry.n(), grad_bias: g, grad_weight };
        }
    }

    /// g', where it is asked for.
    fn grad_residual(&self, group: &Range<usize>) {
        let Some(out) = &self.grad_residual else { return };
        let mut constants = Constants::new();
        constants.fill(group.clone().map(|_| [0.0; 4]));
        T::map(self.group(group), Operation::Gate, &constants, out);
    }

    /// grad_input, where it is asked for.
    fn grad_input(&self, group: &Range<usize>, sums: &[GradSums]) {
        let Some(out) = &self.grad_input else { return };
        let near = self.at.statistics[group.clone()].iter().all(Statistics::near::<T>);
        let of_channel = |(c, sums): (usize, &GradSums)| {
            let statistics = &self.at.statistics[c];
            let factor = at(self.at.weight, c, 1.0) * statistics.invstd();
            if self.at.origin == Origin::Running {
                return [factor, 0.0, 0.0, 0.0];
            }
            let n = sums.count as f64;
            let slope = statistics.per_deviation() * (sums.grad_weight / n);
            let mean_g = sums.grad_bias / n - statistics.of_remainder(slope);
            let mean = statistics.mean_pair().hi;
            if near {
                [factor, -slope * factor, (slope * mean - mean_g) * factor, 0.0]
            } else {
                [mean, mean_g, -slope, factor]
            }
        };
        let mut constants = Constants::new();
        constants.fill(group.clone().zip(sums).map(of_channel));
        let operation = match (self.at.origin, self.gated()) {
            (Origin::Batch, false) if near => Operation::Combine,
            (Origin::Batch, true) if near => Operation::GatedCombine,
            (Origin::Batch, false) => Operation::Project,
            (Origin::Batch, true) => Operation::GatedProject,
            (Origin::Running, false) => Operation::Scale,
            (Origin::Running, true) => Operation::GatedScale,
        };
        T::map(self.group(group), operation, &constants, out);
    }

    fn group<'g>(&'g self, channels: &'g Range<usize>) -> Group<'g, T> {
        let Job { context, ref geometry, inputs, bits, .. } = *self;
        Group { context, geometry, inputs, bits, channels }
    }
}

/// An output, if it is asked for; None where it does not lie as the inputs do.
#[allow(clippy::option_option)] // Two questions.
fn target<'a, T: Element>(
    geometry: &Geometry,
    array: Option<&'a mut ArrayViewMutD<'_, T>>,
) -> Option<Option<Target<'a, T>>> {
    let Some(array) = array else { return Some(None) };
    let (out, of_out) = plain_mut(array)?;
    (of_out == *geometry).then(|| Some(Target::new(out)))
}
