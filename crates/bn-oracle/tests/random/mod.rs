//! Random cases: every group of shapes × modes × dtypes × layouts × affine, from
//! a seed.
//!
//! The values are kind (means up to 8 deviations from 0, deviations around 1):
//! what libtorch loses on hard values is known, and stands in the catalogue. What
//! is random here is the *combination*: of ranks, modes, options, memory orders,
//! scripts, and now and then of something that must be refused.

use bn_suite::case::{
    Case, Cotangents, Fold, FoldInto, Layer, Mode, OutputMask, Pass, Rank, Reset, State, Step,
};
use bn_suite::number::Number;
use bn_suite::tensor::{DType, Layout, Tensor};
use bn_suite::truth::format::nearest;
use fastrand::Rng;

/// Something about a case that is out of the ordinary. At most one, so that what
/// must come of it does not depend on what is looked at first.
#[derive(Clone, Copy, PartialEq)]
enum Oddity {
    None,
    /// An input of a rank that the layer does not take.
    Rank,
    /// `eps` is 0 or negative.
    Eps,
    /// One parameter or buffer of another length.
    Length,
    /// The input alone is of another dtype.
    Dtype,
    /// One running statistic without the other.
    OneStatistic,
    /// `grad_output` is of another shape.
    GradShape,
    /// No samples, or none per sample.
    Empty,
    /// No channels at all.
    NoChannels,
}

/// The case that belongs to this seed.
pub fn case(seed: u64) -> Case {
    let mut rng = Rng::with_seed(seed);
    let setting = Setting::draw(&mut rng);
    let state = setting.state(&mut rng);
    // Folding is a composition of PyTorch's, which looks at lengths and nothing else.
    let foldable = matches!(setting.odd, Oddity::None | Oddity::Length | Oddity::OneStatistic);
    let steps = match rng.u32(0..12) {
        0 if foldable => vec![setting.fold(&mut rng)],
        1 => vec![setting.merge(&mut rng), setting.pass(&mut rng, &state)],
        _ => setting.script(&mut rng, &state),
    };
    Case { name: format!("random/{seed}"), note: "A random case.".into(), layer: setting.layer, state, steps }
}

/// What all steps of a case share.
struct Setting {
    layer: Layer,
    input: DType,
    parameters: DType,
    channels_last: bool,
    odd: Oddity,
}

impl Setting {
    fn draw(rng: &mut Rng) -> Self {
        use DType::{Bf16, F16, F32, F64};
        use Oddity::{Empty, Eps, GradShape, Length, NoChannels, OneStatistic};
        let mixes = [(F64, F64), (F32, F32), (F32, F32), (F16, F32), (Bf16, F32), (F16, F16), (Bf16, Bf16)];
        let (mut input, parameters) = pick(rng, &mixes);
        let odd = match rng.u32(0..3) {
            0 => pick(
                rng,
                &[Oddity::Rank, Eps, Length, Oddity::Dtype, OneStatistic, GradShape, Empty, NoChannels],
            ),
            _ => Oddity::None,
        };
        if odd == Oddity::Dtype {
            input = pick(rng, &[F64, F32, F16, Bf16, DType::I64, DType::Bool]);
        }
        let layer = Layer {
            rank: pick(rng, &[Rank::One, Rank::Two, Rank::Three, Rank::Any]),
            num_features: if odd == NoChannels { 0 } else { rng.usize(1..=5) },
            eps: if odd == Eps { pick(rng, &[0.0, -1e-5]) } else { pick(rng, &[1e-5, 1e-3, 0.5]) },
            momentum: pick(rng, &[Some(0.1), Some(0.3), Some(0.0), Some(1.0), None]).map(Number),
            // The truth checks the dtypes of all that a layer holds. PyTorch checks what it
            // hands to the function, which leaves out the buffers of training that does
            // not track: whether a foreign dtype there is refused is not asked.
            track_running_stats: rng.u32(0..4) > 0 || odd == Oddity::Dtype,
        };
        Setting { layer, input, parameters, channels_last: rng.bool(), odd }
    }

    fn state(&self, rng: &mut Rng) -> State {
        // torch takes no weight and no bias where there are no channels.
        let affine = self.odd != Oddity::NoChannels;
        let odd_one = if self.odd == Oddity::Length { rng.usize(0..4) } else { 4 };
        let vector = |rng: &mut Rng, index: usize, present: bool, mean: f64, positive: bool| {
            let length = self.layer.num_features + usize::from(index == odd_one);
            let value = |rng: &mut Rng| {
                let value = mean + 0.4 * normal(rng);
                round(self.parameters, if positive { value.abs() + 0.1 } else { value })
            };
            let data: Vec<f64> = (0..length).map(|_| value(rng)).collect();
            present.then(|| Tensor::vector(self.parameters, &data))
        };
        let statistics = rng.u32(0..5) > 0;
        let missing = if self.odd == Oddity::OneStatistic { rng.usize(0..2) } else { 2 };
        let (has_weight, has_bias) = (affine && rng.u32(0..10) < 7, affine && rng.u32(0..10) < 7);
        State {
            weight: vector(rng, 2, has_weight, 1.0, false),
            bias: vector(rng, 3, has_bias, 0.0, false),
            running_mean: vector(rng, 0, statistics && missing != 0, 0.5, false),
            running_var: vector(rng, 1, statistics && missing != 1, 1.0, true),
            num_batches_tracked: pick(rng, &[Some(0), Some(0), Some(9), Some(-1), None]),
        }
    }

    /// Up to four steps. A reset does not come between a forward pass and its
    /// deferred backward pass: autograd refuses that, since it keeps the tensors.
    fn script(&self, rng: &mut Rng, state: &State) -> Vec<Step> {
        let mut deferred = false;
        let count = rng.usize(1..=4);
        let steps = (0..count).map(|_| {
            if !deferred && rng.u32(0..16) == 0 {
                return Step::Reset { what: pick(rng, &[Reset::RunningStats, Reset::Parameters]) };
            }
            let step = self.pass(rng, state);
            deferred |= matches!(&step, Step::BatchNorm(pass) if pass.backward_at_end);
            step
        });
        steps.collect()
    }

    fn pass(&self, rng: &mut Rng, state: &State) -> Step {
        let shape = self.shape(rng);
        let mode = if rng.u32(0..3) > 0 { Mode::Train } else { Mode::Eval };
        let mut pass = Pass::forward(mode, self.array(rng, &shape));
        if rng.u32(0..4) > 0 {
            let mut given = shape.clone();
            if self.odd == Oddity::GradShape && rng.bool() {
                given[0] += 1;
            }
            pass.grad_output = Some(self.array(rng, &given));
            pass.backward_at_end = rng.u32(0..4) == 0;
            pass.output_mask = (rng.u32(0..4) == 0).then(|| OutputMask {
                input: rng.bool(),
                weight: rng.bool(),
                bias: rng.bool(),
            });
            if pass.output_mask.is_none() && rng.u32(0..3) == 0 {
                pass.cotangents = Some(self.cotangents(rng, &shape, state));
            }
        }
        Step::BatchNorm(Box::new(pass))
    }

    fn cotangents(&self, rng: &mut Rng, shape: &[usize], state: &State) -> Cotangents {
        let grad_input = (rng.u32(0..4) > 0).then(|| self.array(rng, shape));
        let like = |rng: &mut Rng, parameter: &Option<Tensor>| {
            let parameter = parameter.as_ref().filter(|_| rng.u32(0..4) > 0)?;
            let data: Vec<f64> = parameter.data.iter().map(|_| round(parameter.dtype, normal(rng))).collect();
            Some(Tensor::vector(parameter.dtype, &data))
        };
        Cotangents { grad_input, grad_weight: like(rng, &state.weight), grad_bias: like(rng, &state.bias) }
    }

    fn shape(&self, rng: &mut Rng) -> Vec<usize> {
        let rank = match self.layer.rank {
            _ if self.odd == Oddity::Rank => rng.usize(1..=6),
            Rank::One => rng.usize(2..=3),
            Rank::Two => 4,
            Rank::Three => 5,
            Rank::Any => rng.usize(2..=5),
        };
        // Small batches, so that n/(n − 1) matters; now and then a longer one.
        let batch = if rng.u32(0..6) == 0 { rng.usize(20..=70) } else { rng.usize(1..=6) };
        let mut shape = vec![batch];
        shape
            .extend((1..rank).map(|axis| if axis == 1 { self.layer.num_features } else { rng.usize(1..=4) }));
        if self.odd == Oddity::Empty && rng.bool() {
            let axis = pick(rng, &[0, 0, rank - 1]);
            if axis != 1 {
                shape[axis] = 0;
            }
        }
        shape
    }

    fn array(&self, rng: &mut Rng, shape: &[usize]) -> Tensor {
        let (mean, deviation) = (16.0 * rng.f64() - 8.0, 0.5 + 1.5 * rng.f64());
        let count = shape.iter().product();
        let data = (0..count).map(|_| round(self.input, mean + deviation * normal(rng))).collect();
        let layout = self.layout(rng, shape);
        Tensor::new(self.input, shape, data).with_layout(layout)
    }

    fn layout(&self, rng: &mut Rng, shape: &[usize]) -> Layout {
        match rng.u32(0..5) {
            0 => strided(rng, shape),
            1..=3 if self.channels_last && matches!(shape.len(), 4 | 5) => Layout::ChannelsLast,
            _ => Layout::Contiguous,
        }
    }

    fn fold(&self, rng: &mut Rng) -> Step {
        let out = self.layer.num_features;
        let into = pick(rng, &[FoldInto::Linear, FoldInto::Conv, FoldInto::ConvTranspose]);
        let groups = pick(rng, &[1, 1, 2, 3]);
        let groups = if into == FoldInto::Linear || !out.is_multiple_of(groups) { 1 } else { groups };
        let mut shape = match into {
            FoldInto::ConvTranspose => vec![groups * rng.usize(1..=3), out / groups],
            _ => vec![out, rng.usize(1..=4)],
        };
        if into != FoldInto::Linear {
            shape.extend((0..rng.usize(1..=3)).map(|_| rng.usize(1..=3)));
        }
        let weight = self.array(rng, &shape).with_layout(Layout::Contiguous);
        let bias = rng.bool().then(|| self.array(rng, &[out]).with_layout(Layout::Contiguous));
        Step::Fold(Fold { into, groups, weight, bias })
    }

    fn merge(&self, rng: &mut Rng) -> Step {
        let mut shape = self.shape(rng);
        let count = rng.usize(1..=4);
        let parts = (0..count).map(|_| {
            // Parts may be empty; where something is to be refused they are not,
            // since torch looks at nothing in an empty batch.
            let least = if matches!(self.odd, Oddity::None | Oddity::Empty) { 0 } else { 1 };
            shape[0] = rng.usize(least..=4);
            self.array(rng, &shape).with_layout(Layout::Contiguous)
        });
        Step::Merge { parts: parts.collect() }
    }
}

/// Axes in any order in memory, with gaps, and not from the start.
fn strided(rng: &mut Rng, shape: &[usize]) -> Layout {
    let mut order: Vec<usize> = (0..shape.len()).collect();
    rng.shuffle(&mut order);
    let mut strides = vec![0; shape.len()];
    let mut step = rng.usize(1..=2);
    for &axis in &order {
        strides[axis] = step;
        step *= shape[axis].max(1) + rng.usize(0..=1);
    }
    Layout::Strided { strides, offset: rng.usize(0..=3) }
}

/// The nearest value of the dtype; for booleans the sign.
fn round(dtype: DType, value: f64) -> f64 {
    if dtype == DType::Bool { f64::from(value > 0.0) } else { nearest(dtype, value) }
}

/// Nearly normal, mean 0 and deviation 1: twelve uniforms less six.
fn normal(rng: &mut Rng) -> f64 {
    (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0
}

fn pick<T: Clone>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(0..from.len())].clone()
}
