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
//! Two readings of input and grad_output: one for the sums, one for grad_input.
//! Done apart, as [`gradient_sums_into`] and [`grad_input_into`], they serve a
//! batch in parts: add the parts' sums between the two.

use std::ops::{Add, Range};

use ndarray::{ArrayView1, ArrayViewD, ArrayViewMutD};

use crate::admit::Origin;
use crate::config::Rank;
use crate::dtype::{Element, MixesWith};
use crate::error::Error;
use crate::forward::{Statistics, at};
use crate::kernels::entry::{Group, Operation, Terms};
use crate::kernels::geometry::Geometry;
use crate::kernels::map::Constants;
use crate::kernels::target::Target;
use crate::kernels::{Context, Inputs, PerChannel};
use crate::layout::{BLANK, Sink, Source, Tile, WIDTH, Walk, check_shape, plain, plain_mut};
use crate::state::check_length;
use crate::sum::{Pair, accumulate};

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
    at.check()?;
    check_sums(at, sums)?;
    let mut grad_input = grad_input;
    if let Some((job, out)) = Job::of(at, grad_input.as_mut()) {
        job.context.each_group::<T, _>(&job.geometry, sums, &|group, sums| {
            job.sum(&group, sums);
            if let Some(out) = &out {
                job.grad_input(&group, sums, out);
            }
        });
        return Ok(());
    }
    let mut sink = sink_for(at, grad_input.as_mut())?;
    let mut work = Work::new(at);
    for group in work.walk.groups() {
        work.sum(&group, sums);
        if let Some(sink) = &mut sink {
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
    if let Some((job, Some(out))) = Job::of(at, Some(&mut grad_input)) {
        job.context.each_group::<T, _>(&job.geometry, (), &|group, ()| {
            job.grad_input(&group, &sums[group.clone()], &out);
        });
        return Ok(());
    }
    let mut work = Work::new(at);
    if let Some(mut sink) = sink_for(at, Some(&mut grad_input))? {
        for group in work.walk.groups() {
            work.grad_input(&group, sums, &mut sink);
        }
    }
    Ok(())
}

fn check_sums<T, P>(at: &At<'_, T, P>, sums: &[GradSums]) -> Result<(), Error> {
    check_shape("sums", &[at.input.shape()[1]], &[sums.len()])
}

fn sink_for<'s, T: Element, P>(
    at: &At<'_, T, P>,
    grad_input: Option<&'s mut ArrayViewMutD<'_, T>>,
) -> Result<Option<Sink<'s, T>>, Error> {
    let Some(grad_input) = grad_input else { return Ok(None) };
    check_shape("grad_input", at.input.shape(), grad_input.shape())?;
    Ok(Some(Sink::new(grad_input)))
}

/// A backward pass that the kernels can take.
struct Job<'a, 'b, T, P> {
    context: Context,
    geometry: Geometry,
    inputs: Inputs<'a, T>,
    at: &'a At<'b, T, P>,
}

impl<'a, 'b, T: MixesWith<P>, P: Element> Job<'a, 'b, T, P> {
    /// Where all arrays lie plainly, and alike, and no deviation needs a scale.
    #[allow(clippy::type_complexity)] // Two parts, the second optional.
    fn of<'o>(
        at: &'a At<'b, T, P>,
        grad_input: Option<&'o mut ArrayViewMutD<'_, T>>,
    ) -> Option<(Self, Option<Target<'o, T>>)> {
        let (x, geometry) = plain(&at.input)?;
        let (g, of_g) = plain(&at.grad_output)?;
        if of_g != geometry || !at.statistics.iter().all(Statistics::unscaled) {
            return None;
        }
        let context = Context::for_elements::<T>(x.len());
        let job = Job { context, geometry, inputs: Inputs::with(x, g), at };
        let Some(grad_input) = grad_input else { return Some((job, None)) };
        let (out, of_out) = plain_mut(grad_input)?;
        (of_out == geometry).then(|| (job, Some(Target::new(out))))
    }

    fn sum(&self, group: &Range<usize>, sums: &mut [GradSums]) {
        let statistics = &self.at.statistics[group.clone()];
        let (mut means, mut totals) = (PerChannel::<f64>::new(), PerChannel::new());
        let near = statistics.iter().all(Statistics::near::<T>);
        if !near {
            means.extend(statistics.iter().map(|s| s.mean_pair().hi));
        }
        let shifts = (!near).then_some(means.as_slice());
        self.group(group).sums(Terms::Gradients, shifts, &mut totals);
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

    fn grad_input(&self, group: &Range<usize>, sums: &[GradSums], out: &Target<'_, T>) {
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
        let mut constants = PerChannel::<Constants>::new();
        constants.extend(group.clone().zip(sums).map(of_channel));
        let operation = match self.at.origin {
            Origin::Batch if near => Operation::Combine,
            Origin::Batch => Operation::Project,
            Origin::Running => Operation::Scale,
        };
        T::map(self.group(group), operation, &constants, out);
    }

    fn group<'g>(&'g self, channels: &'g Range<usize>) -> Group<'g, T> {
        Group { context: self.context, geometry: &self.geometry, inputs: self.inputs, channels }
    }
}

/// A backward pass under way: both inputs, and a tile for each.
struct Work<'a, T, P> {
    walk: Walk,
    input: Source<'a, T>,
    grad_output: Source<'a, T>,
    weight: Option<ArrayView1<'a, P>>,
    statistics: &'a [Statistics],
    origin: Origin,
    x: Tile,
    g: Tile,
}

impl<'a, T: Element, P: Element> Work<'a, T, P> {
    fn new(at: &'a At<'_, T, P>) -> Self {
        Work {
            walk: Walk::over(&at.input),
            input: Source::new(&at.input),
            grad_output: Source::new(&at.grad_output),
            weight: at.weight,
            statistics: at.statistics,
            origin: at.origin,
            x: BLANK,
            g: BLANK,
        }
    }

    fn sum(&mut self, group: &Range<usize>, sums: &mut [GradSums]) {
        let mut totals = [[Pair::default(); 2]; WIDTH];
        for piece in self.walk.pieces() {
            self.input.load(group, &piece, &mut self.x);
            self.grad_output.load(group, &piece, &mut self.g);
            let rows = self.x.iter().zip(&self.g);
            for ((c, total), (x, g)) in group.clone().zip(&mut totals).zip(rows) {
                let statistics = self.statistics[c];
                accumulate::<T, 2>(total, piece.len(), |k| [g[k], g[k] * statistics.deviation(x[k])]);
            }
        }
        for (c, [g, g_deviation]) in group.clone().zip(totals) {
            let grad_weight = g_deviation.value() * self.statistics[c].per_deviation();
            sums[c] = GradSums { count: self.walk.n(), grad_bias: g.value(), grad_weight };
        }
    }

    fn grad_input(&mut self, group: &Range<usize>, sums: &[GradSums], sink: &mut Sink<'_, T>) {
        for piece in self.walk.pieces() {
            self.grad_output.load(group, &piece, &mut self.g);
            if self.origin == Origin::Batch {
                self.input.load(group, &piece, &mut self.x);
            }
            for (c, (x, g)) in group.clone().zip(self.x.iter().zip(&mut self.g)) {
                let factor = at(self.weight, c, 1.0) * self.statistics[c].invstd();
                if self.origin == Origin::Batch {
                    project(g, x, self.statistics[c], sums[c]);
                }
                g.iter_mut().take(piece.len()).for_each(|g| *g *= factor);
            }
            sink.store(group, &piece, &self.g);
        }
    }
}

/// g − mean(g) − x̂·mean(g·x̂): what of g neither a shift nor a stretch of the
/// channel explains.
fn project(g: &mut [f64], x: &[f64], statistics: Statistics, sums: GradSums) {
    let n = sums.count as f64;
    let (mean_g, mean_gx) = (sums.grad_bias / n, sums.grad_weight / n);
    for (g, x) in g.iter_mut().zip(x) {
        let x_hat = statistics.deviation(*x) * statistics.per_deviation();
        *g = (*g - mean_g) - x_hat * mean_gx;
    }
}
