//! y = (x − mean)/√(var + eps)·weight + bias, per channel.
//!
//! The result is that of f64 arithmetic in this order, rounded once at the end:
//!
//! ```text
//! invstd = 1/√(var + eps)
//! y      = ((x − mean_hi) − mean_lo)·(invstd·weight) + bias
//! ```
//!
//! Subtracting before scaling keeps the error relative to the deviation from the
//! mean. The shorter x·a + (bias − mean·a), with a = invstd·weight, would round
//! at the size of mean·a, which is what makes it lose digits at large means.
//!
//! Networks mostly go on with a relu, often after adding another branch's output:
//!
//! ```text
//! y = relu(bn(x))      y = relu(bn(x) + residual)
//! ```
//!
//! [`forward_train_relu_into`] and [`normalize_relu_into`] do that before anything is
//! rounded, and keep which elements passed as a [`ReluMask`]; so y is rounded once.
//!
//! These functions are arithmetic only: they check shapes, but take any eps and
//! any count, as PyTorch's native operators do. [`crate::BatchNorm`] refuses
//! what PyTorch's modules refuse.

mod tiles;

use std::ops::Range;

use ndarray::{ArrayView1, ArrayViewD, ArrayViewMutD};

use self::tiles::Work;
use crate::config::Rank;
use crate::dtype::{DType, Element, MixesWith};
use crate::error::Error;
use crate::kernels::bits::Bits;
use crate::kernels::entry::{Group, Operation};
use crate::kernels::geometry::Geometry;
use crate::kernels::maps::Constants;
use crate::kernels::target::Target;
use crate::kernels::{Context, Inputs};
use crate::layout::{check_shape, plain, plain_mut};
use crate::mask::ReluMask;
use crate::moments::{Moments, measure, measure_again, measure_group};
use crate::state::check_length;
use crate::sum::Pair;

/// γ and β, where present; 1 and 0 where not.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a, P> {
    /// γ, of length C.
    pub weight: Option<ArrayView1<'a, P>>,
    /// β, of length C.
    pub bias: Option<ArrayView1<'a, P>>,
}

impl<P: Element> Affine<'_, P> {
    fn check(&self, channels: usize) -> Result<(), Error> {
        check_length("weight", channels, self.weight)?;
        check_length("bias", channels, self.bias)
    }
}

/// What follows the normalisation in y = relu(bn(x)) and y = relu(bn(x) + residual).
#[derive(Debug)]
pub struct Relu<'a, T> {
    /// What is added first, of the input's shape and any strides.
    pub residual: Option<ArrayViewD<'a, T>>,
    /// Receives which elements relu lets through.
    pub mask: &'a mut ReluMask,
}

impl<T> Relu<'_, T> {
    pub(crate) fn check(&self, input: &[usize]) -> Result<(), Error> {
        check_shape("residual", input, self.residual.as_ref().map_or(input, |residual| residual.shape()))
    }
}

/// Element c of a parameter, or what stands for an absent one.
pub(crate) fn at<P: Element>(parameter: Option<ArrayView1<'_, P>>, c: usize, absent: f64) -> f64 {
    parameter.map_or(absent, |parameter| parameter[c].to_f64())
}

/// What a channel is normalised by: mean and 1/√(var + eps), both in more than
/// the input's precision.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Statistics {
    /// As [`Moments::scale`]: deviations are scale·x − mean.
    scale: f64,
    mean: Pair,
    /// 1/√(var + eps) of the scaled values.
    scaled_invstd: f64,
}

impl Statistics {
    /// From the batch: its mean and its biased variance. An empty batch has
    /// neither; 0 and 0 stand in, so that the empty sums of its gradients are 0.
    pub fn from_moments(moments: &Moments, eps: f64) -> Self {
        let Moments { count, scale, mean, m2 } = *moments;
        let var_biased = m2 / count.max(1) as f64;
        Statistics { scale, mean, scaled_invstd: 1.0 / (var_biased + eps * scale * scale).sqrt() }
    }

    /// From the running statistics of a channel.
    pub fn from_running(mean: f64, var: f64, eps: f64) -> Self {
        let mean = Pair { hi: mean, lo: 0.0 };
        Statistics { scale: 1.0, mean, scaled_invstd: 1.0 / (var + eps).sqrt() }
    }

    /// The mean.
    pub fn mean(&self) -> f64 {
        self.mean.value() / self.scale
    }

    /// 1/√(var + eps).
    pub fn invstd(&self) -> f64 {
        self.scaled_invstd * self.scale
    }

    /// Whether x need not be centred before it is multiplied, in f64: for values of 24
    /// bits or fewer, with a mean of up to 32 standard deviations. Products and sums
    /// then lose 2⁻⁴⁸ of a deviation at most, which is 2⁻²⁴ of what such a value loses
    /// when it is rounded.
    pub(crate) fn near<T: Element>(&self) -> bool {
        T::DTYPE != DType::F64 && (self.mean.hi * self.scaled_invstd).abs() <= 32.0
    }

    /// mean_lo·factor. Without a remainder nothing, whatever the factor.
    pub(crate) fn of_remainder(&self, factor: f64) -> f64 {
        if self.mean.lo == 0.0 { 0.0 } else { self.mean.lo * factor }
    }

    /// y = (x − mean_hi)·factor + (bias − mean_lo·factor), where unscaled.
    fn normalizing(&self, weight: f64, bias: f64) -> [f64; 4] {
        let factor = self.scaled_invstd * weight;
        [self.mean.hi, factor, bias - self.of_remainder(factor), 0.0]
    }

    /// x − mean, up to the scale.
    pub(crate) fn deviation(&self, x: f64) -> f64 {
        (x * self.scale - self.mean.hi) - self.mean.lo
    }

    /// Whether the values are taken as they came.
    pub(crate) fn unscaled(&self) -> bool {
        self.scale == 1.0
    }

    /// mean = hi + lo, where unscaled.
    pub(crate) fn mean_pair(&self) -> Pair {
        self.mean
    }

    /// What makes x̂ of a [`Self::deviation`].
    pub(crate) fn per_deviation(&self) -> f64 {
        self.scaled_invstd
    }
}

/// A training forward pass: measures every channel of `input`, and normalises by
/// what it measured, channel after channel, so that the second reading of a
/// channel finds it in the cache.
///
/// `input` and `output` are (N, C, *) of one shape and any strides; `moments` and
/// `statistics` have length C and receive what was measured.
///
/// # Errors
/// [`Error::Rank`], [`Error::Shape`], [`Error::NumFeatures`]; then nothing was written.
pub fn forward_train_into<T: MixesWith<P>, P: Element>(
    input: ArrayViewD<'_, T>,
    affine: Affine<'_, P>,
    eps: f64,
    output: ArrayViewMutD<'_, T>,
    moments: &mut [Moments],
    statistics: &mut [Statistics],
) -> Result<(), Error> {
    train(input, affine, eps, None, output, moments, statistics)
}

/// As [`forward_train_into`], and relu: y = relu(bn(x) + residual), or relu(bn(x)).
///
/// # Errors
/// As [`forward_train_into`], and [`Error::Shape`] for a residual of another shape; then
/// nothing was written.
pub fn forward_train_relu_into<T: MixesWith<P>, P: Element>(
    input: ArrayViewD<'_, T>,
    affine: Affine<'_, P>,
    eps: f64,
    relu: Relu<'_, T>,
    output: ArrayViewMutD<'_, T>,
    moments: &mut [Moments],
    statistics: &mut [Statistics],
) -> Result<(), Error> {
    train(input, affine, eps, Some(relu), output, moments, statistics)
}

fn train<T: MixesWith<P>, P: Element>(
    input: ArrayViewD<'_, T>,
    affine: Affine<'_, P>,
    eps: f64,
    mut relu: Option<Relu<'_, T>>,
    mut output: ArrayViewMutD<'_, T>,
    moments: &mut [Moments],
    statistics: &mut [Statistics],
) -> Result<(), Error> {
    check(&input, &affine, relu.as_ref(), &output, statistics)?;
    check_shape("moments", &[input.shape()[1]], &[moments.len()])?;
    if let Some(relu) = &mut relu {
        relu.mask.prepare(&input);
    }
    if let Some(job) = Job::of(&input, relu.as_mut(), &mut output) {
        let slots = (&mut *moments, &mut *statistics);
        job.context.each_group::<T, _>(&job.geometry, 1, slots, &|group, (moments, statistics)| {
            measure_group(job.context, &job.geometry, job.x, &group, moments);
            for (statistics, moments) in statistics.iter_mut().zip(moments) {
                *statistics = Statistics::from_moments(moments, eps);
            }
            job.normalize(&group, statistics, affine, true);
        });
        return look_closer(&input, affine, eps, relu, output, moments, statistics);
    }
    let mut work = Work::new(&input, affine, relu.as_mut(), &mut output);
    work.clear_mask();
    for group in work.walk.groups() {
        measure(&work.walk, &work.input, &group, &mut work.x, &mut moments[group.clone()]);
        for c in group.clone() {
            statistics[c] = Statistics::from_moments(&moments[c], eps);
        }
        work.normalize(&group, statistics);
    }
    Ok(())
}

/// Normalises by given statistics: an evaluation forward pass, or the second half
/// of a training one whose moments were merged from several parts.
///
/// # Errors
/// [`Error::Rank`], [`Error::Shape`], [`Error::NumFeatures`]; then nothing was written.
pub fn normalize_into<T: MixesWith<P>, P: Element>(
    input: ArrayViewD<'_, T>,
    statistics: &[Statistics],
    affine: Affine<'_, P>,
    output: ArrayViewMutD<'_, T>,
) -> Result<(), Error> {
    normalize(input, statistics, affine, None, output)
}

/// As [`normalize_into`], and relu: y = relu(bn(x) + residual), or relu(bn(x)).
///
/// # Errors
/// As [`normalize_into`], and [`Error::Shape`] for a residual of another shape; then
/// nothing was written.
pub fn normalize_relu_into<T: MixesWith<P>, P: Element>(
    input: ArrayViewD<'_, T>,
    statistics: &[Statistics],
    affine: Affine<'_, P>,
    relu: Relu<'_, T>,
    output: ArrayViewMutD<'_, T>,
) -> Result<(), Error> {
    normalize(input, statistics, affine, Some(relu), output)
}

fn normalize<T: MixesWith<P>, P: Element>(
    input: ArrayViewD<'_, T>,
    statistics: &[Statistics],
    affine: Affine<'_, P>,
    mut relu: Option<Relu<'_, T>>,
    mut output: ArrayViewMutD<'_, T>,
) -> Result<(), Error> {
    check(&input, &affine, relu.as_ref(), &output, statistics)?;
    if let Some(relu) = &mut relu {
        relu.mask.prepare(&input);
    }
    if statistics.iter().all(Statistics::unscaled)
        && let Some(job) = Job::of(&input, relu.as_mut(), &mut output)
    {
        job.context.each_group::<T, _>(&job.geometry, 1, (), &|group, ()| {
            job.normalize(&group, &statistics[group.clone()], affine, false);
        });
        return Ok(());
    }
    let mut work = Work::new(&input, affine, relu.as_mut(), &mut output);
    work.clear_mask();
    for group in work.walk.groups() {
        work.normalize(&group, statistics);
    }
    Ok(())
}

/// As [`normalize_into`], with the output in the place of the input: an evaluation pass that
/// needs no second array.
///
/// Values that fill their memory in rows or in columns are not copied; others are.
///
/// # Errors
/// As [`normalize_into`].
pub fn normalize_in_place<T: MixesWith<P>, P: Element>(
    mut values: ArrayViewMutD<'_, T>,
    statistics: &[Statistics],
    affine: Affine<'_, P>,
) -> Result<(), Error> {
    check(&values.view(), &affine, None, &values, statistics)?;
    let (count, scaled) = (values.len(), !statistics.iter().all(Statistics::unscaled));
    let Some((memory, geometry)) = plain_mut(&mut values).filter(|_| !scaled) else {
        let input = values.to_owned();
        return normalize_into(input.view(), statistics, affine, values);
    };
    let (context, values) = (Context::for_elements::<T>(count), Target::new(memory));
    context.each_group::<T, _>(&geometry, 1, (), &|channels, ()| {
        let mut constants = Constants::new();
        fill(&mut constants, &channels, &statistics[channels.clone()], affine);
        let (geometry, inputs, channels) = (&geometry, Inputs::of(&[]), &channels);
        let group = Group { context, geometry, inputs, bits: Bits::None, channels };
        T::normalize_in_place(group, &constants, &values);
    });
    Ok(())
}

/// A forward pass that the kernels can take.
struct Job<'a, T> {
    context: Context,
    geometry: Geometry,
    x: &'a [T],
    residual: Option<&'a [T]>,
    mask: Option<Target<'a, u8>>,
    output: Target<'a, T>,
}

impl<'a, T: Element> Job<'a, T> {
    /// Where all arrays lie plainly, and alike.
    fn of(
        input: &'a ArrayViewD<'_, T>,
        relu: Option<&'a mut Relu<'_, T>>,
        output: &'a mut ArrayViewMutD<'_, T>,
    ) -> Option<Self> {
        let (x, geometry) = plain(input)?;
        let (output, _) = plain_mut(output).filter(|(_, of_output)| *of_output == geometry)?;
        let (mut residual, mut mask) = (None, None);
        if let Some(relu) = relu {
            if let Some(z) = &relu.residual {
                residual = Some(plain(z).filter(|(_, of_residual)| *of_residual == geometry)?.0);
            }
            mask = Some(Target::new(relu.mask.bytes_like_mut(&geometry)?));
        }
        let context = Context::for_elements::<T>(x.len());
        Some(Job { context, geometry, x, residual, mask, output: Target::new(output) })
    }

    /// Normalises a group; the next one is `measured` after that, or not.
    fn normalize<P: Element>(
        &self,
        group: &Range<usize>,
        statistics: &[Statistics],
        affine: Affine<'_, P>,
        measured: bool,
    ) {
        let mut constants = Constants::new();
        fill(&mut constants, group, statistics, affine);
        let (operation, bits) = match (&self.mask, self.residual) {
            (None, _) => (Operation::Normalize, Bits::None),
            (Some(mask), None) => (Operation::NormalizeRelu, Bits::Write(mask)),
            (Some(mask), Some(_)) => (Operation::NormalizeAddRelu, Bits::Write(mask)),
        };
        let inputs = self.residual.map_or(Inputs::of(self.x), |residual| Inputs::with(self.x, residual));
        let (context, geometry) = (self.context, &self.geometry);
        let inputs = inputs.asking_ahead(measured && context.asks_ahead::<T>(geometry, 1));
        let group = Group { context, geometry, inputs, bits, channels: group };
        T::map(group, operation, &constants, &self.output);
    }
}

/// What normalises a group of channels.
fn fill<P: Element>(
    constants: &mut Constants,
    group: &Range<usize>,
    statistics: &[Statistics],
    affine: Affine<'_, P>,
) {
    constants.fill(
        group.clone().zip(statistics).map(|(c, statistics)| {
            statistics.normalizing(at(affine.weight, c, 1.0), at(affine.bias, c, 0.0))
        }),
    );
}

/// Does those channels again that the kernels could not measure.
fn look_closer<T: MixesWith<P>, P: Element>(
    input: &ArrayViewD<'_, T>,
    affine: Affine<'_, P>,
    eps: f64,
    mut relu: Option<Relu<'_, T>>,
    mut output: ArrayViewMutD<'_, T>,
    moments: &mut [Moments],
    statistics: &mut [Statistics],
) -> Result<(), Error> {
    if moments.iter().all(|moments| moments.m2.is_finite()) {
        return Ok(());
    }
    let unknown: Vec<usize> = (0..moments.len()).filter(|&c| !moments[c].m2.is_finite()).collect();
    measure_again(input, moments);
    let mut work = Work::new(input, affine, relu.as_mut(), &mut output);
    for c in unknown {
        statistics[c] = Statistics::from_moments(&moments[c], eps);
        work.normalize(&(c..c + 1), statistics);
    }
    Ok(())
}

fn check<T, P: Element>(
    input: &ArrayViewD<'_, T>,
    affine: &Affine<'_, P>,
    relu: Option<&Relu<'_, T>>,
    output: &ArrayViewMutD<'_, T>,
    statistics: &[Statistics],
) -> Result<(), Error> {
    Rank::Any.check(input.ndim())?;
    let channels = input.shape()[1];
    check_shape("output", input.shape(), output.shape())?;
    relu.map_or(Ok(()), |relu| relu.check(input.shape()))?;
    check_shape("statistics", &[channels], &[statistics.len()])?;
    affine.check(channels)
}
