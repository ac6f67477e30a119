//! Any configuration at all: ranks, modes, dtypes, memory orders, options, scripts
//! of several steps, and now and then something that must be refused.
//!
//! The other groups know why they ask. This one asks what nobody thought of. The
//! values are kind (small exact numbers, or means within a few deviations of 0):
//! what is random is the combination. A case is named after its seed and its place,
//! `random/SEED-INDEX`, and made again from that name alone.

mod tape;

pub use tape::Tape;

use super::Entry;
use super::exact;
use super::fill::Fill;
use crate::case::{
    Case, Cotangents, Fold, FoldInto, Layer, Mode, OutputMask, Pass, Rank, Reset, State, Step,
};
use crate::number::Number;
use crate::tensor::DType::{self, Bf16, F16, F32, F64};
use crate::tensor::{Layout, Tensor};
use crate::truth::format::nearest;

/// The seed of the cases that are drawn unless another one is given.
pub const SEED: u64 = 1;

/// As many are drawn unless told otherwise.
pub const COUNT: usize = 200;

/// The group's name.
const GROUP: &str = "random";

/// The first `count` cases of a seed.
pub fn cases(seed: u64, count: usize) -> Vec<Entry> {
    (0..count).map(|index| entry(seed, index)).collect()
}

/// The case of that name, if it is one of this group's: `random/7-42`.
pub fn named(name: &str) -> Option<Entry> {
    let (seed, index) = name.strip_prefix(GROUP)?.strip_prefix('/')?.split_once('-')?;
    let entry = entry(seed.parse().ok()?, index.parse().ok()?);
    // No second spelling (a sign, a leading 0) of the same case.
    (entry.case.name == name).then_some(entry)
}

fn entry(seed: u64, index: usize) -> Entry {
    let name = format!("{GROUP}/{seed}-{index}");
    let mut case = case(&mut Tape::seeded(&name), Breadth::Common);
    case.note = format!("Number {index} of seed {seed}, drawn at random: {}", case.note);
    Entry { case: Case { name, ..case }, stored: false, disputed: None }
}

/// How much may be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breadth {
    /// Everything.
    Whole,
    /// Without what libtorch is known to get wrong: second gradients, strides,
    /// folding and parts in 16 bits, a cotangent of grad_bias without a weight,
    /// deferred evaluation backwards, strides along an axis of extent 1, f32 buffers
    /// that are neither used nor updated beside 16-bit input. The other groups ask
    /// for these by name, and dispute them; so any seed can be put to any engine, and
    /// what fails is news.
    Common,
}

/// The case that these choices make.
pub fn case(tape: &mut Tape, breadth: Breadth) -> Case {
    let setting = Setting::draw(tape, breadth);
    let state = setting.state(tape);
    // Folding is a composition of PyTorch's, which looks at lengths and nothing else.
    let foldable = matches!(setting.odd, Oddity::None | Oddity::Length | Oddity::OneStatistic);
    let is_plain = breadth == Breadth::Whole || !is_short(setting.input);
    let steps = match tape.below(12) {
        11 if foldable && is_plain => vec![setting.fold(tape)],
        10 if is_plain => vec![setting.merge(tape), setting.pass(tape, &state)],
        _ => setting.script(tape, &state),
    };
    let note = setting.note(steps.len());
    Case { name: format!("{GROUP}/any"), note, layer: setting.layer, state, steps }
}

/// Something about a case that is out of the ordinary. At most one, so that what
/// must come of it does not depend on what is looked at first.
#[derive(Clone, Copy, Debug, PartialEq)]
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

const ODDITIES: [Oddity; 8] = [
    Oddity::Rank,
    Oddity::Eps,
    Oddity::Length,
    Oddity::Dtype,
    Oddity::OneStatistic,
    Oddity::GradShape,
    Oddity::Empty,
    Oddity::NoChannels,
];

/// The mixes of input and parameters that batch norm takes; f32 more often.
const MIXES: [(DType, DType); 7] =
    [(F32, F32), (F64, F64), (F16, F32), (Bf16, F32), (F16, F16), (Bf16, Bf16), (F32, F32)];

/// What all steps of a case share.
struct Setting {
    layer: Layer,
    input: DType,
    parameters: DType,
    channels_last: bool,
    odd: Oddity,
    breadth: Breadth,
}

impl Setting {
    fn draw(tape: &mut Tape, breadth: Breadth) -> Self {
        let (mut input, parameters) = tape.pick(&MIXES);
        let odd = if tape.once_in(4) { tape.pick(&ODDITIES) } else { Oddity::None };
        if odd == Oddity::Dtype {
            input = tape.pick(&[F64, F32, F16, Bf16, DType::I64, DType::Bool]);
        }
        let eps = if odd == Oddity::Eps { &[0.0, -1e-5][..] } else { &[1e-5, 1e-3, 0.5] };
        let layer = Layer {
            rank: tape.pick(&[Rank::Any, Rank::One, Rank::Two, Rank::Three]),
            num_features: if odd == Oddity::NoChannels { 0 } else { 1 + tape.below(5) },
            eps: tape.pick(eps),
            momentum: tape.pick(&[Some(0.1), Some(0.3), Some(0.0), Some(1.0), None]).map(Number),
            // The truth checks the dtypes of all that a layer holds. PyTorch checks what it
            // hands to the function, which leaves out the buffers of training that does
            // not track: whether a foreign dtype there is refused is not asked.
            track_running_stats: !tape.once_in(4) || odd == Oddity::Dtype,
        };
        Setting { layer, input, parameters, channels_last: tape.once_in(2), odd, breadth }
    }

    fn note(&self, steps: usize) -> String {
        let Setting { layer, input, parameters, odd, .. } = self;
        let rank = match layer.rank {
            Rank::One => "1d",
            Rank::Two => "2d",
            Rank::Three => "3d",
            Rank::Any => "any rank",
        };
        let odd = if *odd == Oddity::None { String::new() } else { format!(", odd in {odd:?}") };
        let (input, parameters) = (input.name(), parameters.name());
        format!("{rank}, C = {}, {input} with {parameters}, steps: {steps}{odd}.", layer.num_features)
    }

    fn state(&self, tape: &mut Tape) -> State {
        // torch takes no weight and no bias where there are no channels.
        let affine = self.odd != Oddity::NoChannels;
        let odd_one = if self.odd == Oddity::Length { tape.below(4) } else { 4 };
        let vector = |tape: &mut Tape, index: usize, present: bool, mean: f64, positive: bool| {
            let length = self.layer.num_features + usize::from(index == odd_one);
            let mut values = tape.values();
            let mut value = || {
                let value = mean + 0.4 * values.normal(VALUE_BITS);
                nearest(self.parameters, if positive { value.abs() + 0.1 } else { value })
            };
            let data: Vec<f64> = (0..length).map(|_| value()).collect();
            present.then(|| Tensor::vector(self.parameters, &data))
        };
        let statistics = !tape.once_in(5);
        let missing = if self.odd == Oddity::OneStatistic { tape.below(2) } else { 2 };
        // Handed nothing in f32, libtorch keeps everything in 16 bits.
        let handed = self.layer.track_running_stats || self.input == self.parameters;
        let must_have_weight = affine && self.breadth == Breadth::Common && !handed;
        let (has_weight, has_bias) =
            (affine && !tape.once_in(4) || must_have_weight, affine && !tape.once_in(4));
        State {
            weight: vector(tape, 2, has_weight, 1.0, false),
            bias: vector(tape, 3, has_bias, 0.0, false),
            running_mean: vector(tape, 0, statistics && missing != 0, 0.5, false),
            running_var: vector(tape, 1, statistics && missing != 1, 1.0, true),
            num_batches_tracked: tape.pick(&[Some(0), Some(9), Some(0), Some(-1), None]),
        }
    }

    /// Up to four steps. A reset does not come between a forward pass and its
    /// deferred backward pass: autograd refuses that, since it keeps the tensors.
    fn script(&self, tape: &mut Tape, state: &State) -> Vec<Step> {
        let mut deferred = false;
        let count = 1 + tape.below(4);
        let steps = (0..count).map(|_| {
            if !deferred && tape.once_in(16) {
                return Step::Reset { what: tape.pick(&[Reset::RunningStats, Reset::Parameters]) };
            }
            let step = self.pass(tape, state);
            deferred |= matches!(&step, Step::BatchNorm(pass) if pass.backward_at_end);
            step
        });
        steps.collect()
    }

    fn pass(&self, tape: &mut Tape, state: &State) -> Step {
        let shape = self.shape(tape);
        let mode = if tape.once_in(3) { Mode::Eval } else { Mode::Train };
        let mut pass = Pass::forward(mode, self.array(tape, &shape));
        if tape.below(4) > 0 {
            pass.grad_output = Some(self.grad_output(tape, mode, &pass.input));
            let may_wait = self.breadth == Breadth::Whole || mode == Mode::Train;
            pass.backward_at_end = may_wait && tape.once_in(4);
            let flag = |tape: &mut Tape| !tape.once_in(2);
            pass.output_mask = tape.once_in(4).then(|| OutputMask {
                input: flag(tape),
                weight: flag(tape),
                bias: flag(tape),
            });
            let may_go_on = self.breadth == Breadth::Whole || !is_short(self.input);
            if may_go_on && pass.output_mask.is_none() && tape.once_in(3) {
                pass.cotangents = Some(self.cotangents(tape, &shape, state));
            }
        }
        Step::BatchNorm(Box::new(pass))
    }

    fn cotangents(&self, tape: &mut Tape, shape: &[usize], state: &State) -> Cotangents {
        let grad_input = (!tape.once_in(4)).then(|| self.array(tape, shape));
        let like = |tape: &mut Tape, parameter: &Option<Tensor>| {
            let parameter = parameter.as_ref().filter(|_| !tape.once_in(4))?;
            let mut values = tape.values();
            let value = |_: &f64| nearest(parameter.dtype, values.normal(VALUE_BITS));
            let data: Vec<f64> = parameter.data.iter().map(value).collect();
            Some(Tensor::vector(parameter.dtype, &data))
        };
        let grad_weight = like(tape, &state.weight);
        let through_bias = self.breadth == Breadth::Whole || state.weight.is_some();
        let grad_bias = if through_bias { like(tape, &state.bias) } else { None };
        Cotangents { grad_input, grad_weight, grad_bias }
    }

    fn shape(&self, tape: &mut Tape) -> Vec<usize> {
        let rank = match self.layer.rank {
            _ if self.odd == Oddity::Rank => 1 + tape.below(6),
            Rank::One => 2 + tape.below(2),
            Rank::Two => 4,
            Rank::Three => 5,
            Rank::Any => 2 + tape.below(4),
        };
        // Small batches, so that n/(n − 1) matters; now and then a longer one.
        let batch = if tape.once_in(6) { 20 + tape.below(51) } else { tape.pick(&[2, 3, 4, 5, 6, 1]) };
        let mut shape = vec![batch];
        shape.extend(
            (1..rank).map(|axis| if axis == 1 { self.layer.num_features } else { 1 + tape.below(4) }),
        );
        if self.odd == Oddity::Empty && tape.once_in(2) {
            let axis = tape.pick(&[0, 0, rank - 1]);
            if axis != 1 {
                shape[axis] = 0;
            }
        }
        shape
    }

    /// An array like an input: exact and dense in 16 bits and often elsewhere,
    /// else around a mean within a few deviations of 0.
    fn array(&self, tape: &mut Tape, shape: &[usize]) -> Tensor {
        let (mean, deviation) = (tape.pick(&[2.0, -0.5, 7.0, -6.0]), tape.pick(&[1.0, 0.5, 3.0]));
        let is_dense = tape.once_in(3) || !matches!(self.input, F32 | F64);
        let mut values = tape.values();
        let data = match shape.len() {
            0 | 1 => vec![1.0; shape.iter().product()],
            _ if is_dense => Fill::Dense.draw(&mut values, shape, F64),
            _ => Fill::Normal { mean, deviation }.draw(&mut values, shape, self.input),
        };
        self.tensor(shape, data).with_layout(self.layout(tape, shape))
    }

    /// Of another shape in evaluation alone: in training the buffers have moved
    /// before PyTorch looks at it, and an engine that looks first is as right.
    fn grad_output(&self, tape: &mut Tape, mode: Mode, input: &Tensor) -> Tensor {
        if self.odd == Oddity::GradShape && tape.once_in(2) && mode == Mode::Eval {
            let mut shape = input.shape.clone();
            shape[0] += 1;
            return self.array(tape, &shape);
        }
        let mut values = tape.values();
        let shape = &input.shape;
        let data = match shape.len() {
            0 | 1 => vec![1.0; shape.iter().product()],
            _ => exact::gradient(&mut values, shape, &input.data),
        };
        // In 16 bits libtorch sums another order than the input's in 16 bits.
        let alike = self.breadth == Breadth::Common && is_short(self.input);
        let layout = if alike { input.layout.clone() } else { self.layout(tape, shape) };
        self.tensor(shape, data).with_layout(layout)
    }

    fn tensor(&self, shape: &[usize], data: Vec<f64>) -> Tensor {
        let value = |value: f64| match self.input {
            DType::Bool => f64::from(value > 0.0),
            dtype => nearest(dtype, value),
        };
        Tensor::new(self.input, shape, data.into_iter().map(value).collect())
    }

    fn layout(&self, tape: &mut Tape, shape: &[usize]) -> Layout {
        let is_image = matches!(shape.len(), 4 | 5);
        let plain = is_short(self.input) || (is_image && shape.contains(&1));
        match tape.below(5) {
            4 if self.breadth == Breadth::Whole || !plain => strided(tape, shape),
            1..=3 if self.channels_last && is_image => Layout::ChannelsLast,
            _ => Layout::Contiguous,
        }
    }

    fn fold(&self, tape: &mut Tape) -> Step {
        let out = self.layer.num_features;
        let into = tape.pick(&[FoldInto::Linear, FoldInto::Conv, FoldInto::ConvTranspose]);
        let groups = tape.pick(&[1, 1, 2, 3]);
        let groups = if into == FoldInto::Linear || !out.is_multiple_of(groups) { 1 } else { groups };
        let mut shape = match into {
            FoldInto::ConvTranspose => vec![groups * (1 + tape.below(3)), out / groups],
            _ => vec![out, 1 + tape.below(4)],
        };
        if into != FoldInto::Linear {
            let spatial = 1 + tape.below(3);
            shape.extend((0..spatial).map(|_| 1 + tape.below(3)));
        }
        let map = |tape: &mut Tape, shape: &[usize]| {
            let mut values = tape.values();
            let data = (0..shape.iter().product()).map(|_| 1.0 + values.normal(VALUE_BITS)).collect();
            self.tensor(shape, data)
        };
        let weight = map(tape, &shape);
        let bias = (!tape.once_in(2)).then(|| map(tape, &[out]));
        Step::Fold(Fold { into, groups, weight, bias })
    }

    fn merge(&self, tape: &mut Tape) -> Step {
        let mut shape = self.shape(tape);
        let count = 1 + tape.below(4);
        let parts = (0..count).map(|_| {
            // Parts may be empty; where something is to be refused they are not,
            // since torch looks at nothing in an empty batch.
            let may_be_empty = matches!(self.odd, Oddity::None | Oddity::Empty);
            let is_empty = may_be_empty && tape.once_in(6);
            shape[0] = if is_empty { 0 } else { 1 + tape.below(4) };
            self.array(tape, &shape).with_layout(Layout::Contiguous)
        });
        Step::Merge { parts: parts.collect() }
    }
}

/// The grid of drawn values: 2⁻²⁶.
const VALUE_BITS: u32 = 26;

/// Axes in any order in memory, with gaps, and not from the start.
fn strided(tape: &mut Tape, shape: &[usize]) -> Layout {
    let mut order: Vec<usize> = (0..shape.len()).rev().collect();
    for last in (1..order.len()).rev() {
        // 0 leaves the order alone.
        order.swap(last, last - tape.below(last + 1));
    }
    let mut strides = vec![0; shape.len()];
    let mut step = 1 + tape.below(2);
    for &axis in &order {
        strides[axis] = step;
        step *= shape[axis].max(1) + tape.below(2);
    }
    Layout::Strided { strides, offset: tape.below(4) }
}

fn is_short(dtype: DType) -> bool {
    matches!(dtype, F16 | Bf16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gives_the_case_back() {
        let drawn = cases(7, 3);
        assert_eq!(named("random/7-2").unwrap().case, drawn[2].case);
        assert_ne!(cases(8, 1)[0].case.steps, drawn[0].case.steps);
        for other in ["random/7", "random/07-2", "random/7-+2", "edge/7-2", "random/7-x"] {
            assert!(named(other).is_none(), "{other}");
        }
    }

    /// Nothing but zeros is the simplest case, and small.
    #[test]
    fn the_simplest_case_is_one_step_of_one_channel() {
        let case = case(&mut Tape::listed(Vec::new()), Breadth::Whole);
        let Step::BatchNorm(pass) = &case.steps[0] else { panic!("{:?}", case.steps) };
        assert_eq!((case.steps.len(), pass.input.shape.as_slice()), (1, &[2, 1][..]));
    }
}
