//! Special values in every place: NaN, ±∞, the largest number, 0 and −1, in one
//! element, a whole channel, a parameter, a buffer, grad_output or eps, for
//! several mixes of dtypes.
//!
//! Channel 1 of four is the one that is special; a weight of 0 stands beside it
//! where 0·NaN is the question. What a channel may not do is spread: to its
//! neighbours in training, to its other elements in evaluation, to what a formula
//! does not contain, or to steps that come later without cause.
//!
//! Some pairs are left out because right arithmetic differs there. With an infinite
//! weight x·α + β is ∞ − ∞. With the largest number as weight, grad_output or
//! running mean a product overflows or not, depending on what is multiplied first.

use super::Entry;
use super::builder::{Script, script};
use super::fill::Fill;
use crate::case::Mode::{self, Eval, Train};
use crate::tensor::{DType, Tensor};
use crate::truth::format::Format;

/// The mixes of dtypes, each with a shape of its own rank.
const MIXES: [(&str, DType, DType, &[usize]); 4] = [
    ("f64", DType::F64, DType::F64, &[5, 4]),
    ("f32", DType::F32, DType::F32, &[2, 4, 3]),
    ("f16-with-f32", DType::F16, DType::F32, &[2, 4, 3, 2]),
    ("bf16", DType::Bf16, DType::Bf16, &[6, 4]),
];

/// The channel that is special.
const CHANNEL: usize = 1;

/// As many cases as this group promises: the values of each place, for every mix.
pub const COUNT: usize = (4 + 3 + 2 + 3 + 2 + 2 + 3 + 3 + 5 + 4) * MIXES.len();

pub(super) fn cases() -> Vec<Entry> {
    let of_mix = |mix| PLACES.iter().flat_map(move |place| place.cases(mix));
    MIXES.iter().flat_map(of_mix).collect()
}

#[derive(Clone, Copy)]
enum Value {
    Nan,
    Infinity,
    MinusInfinity,
    Largest,
    Zero,
    MinusOne,
}

use Value::{Infinity, Largest, MinusInfinity, MinusOne, Nan, Zero};

impl Value {
    fn name(self) -> &'static str {
        match self {
            Nan => "nan",
            Infinity => "infinity",
            MinusInfinity => "minus-infinity",
            Largest => "largest",
            Zero => "zero",
            MinusOne => "minus-one",
        }
    }

    /// The value in a format; the largest is that format's.
    fn of(self, dtype: DType) -> f64 {
        match self {
            Nan => f64::NAN,
            Infinity => f64::INFINITY,
            MinusInfinity => f64::NEG_INFINITY,
            Largest => Format::of(dtype).expect("a floating-point dtype").max_finite(),
            Zero => 0.0,
            MinusOne => -1.0,
        }
    }
}

/// Where a special value stands.
#[derive(Clone, Copy)]
enum Where {
    Element,
    Channel,
    ElementBesideWeightZero,
    GradOutput,
    GradOutputBesideWeightZero,
    Weight,
    Bias,
    RunningMean,
    RunningVar,
    Eps,
}

struct Place {
    name: &'static str,
    place: Where,
    values: &'static [Value],
    /// What a failure means.
    note: &'static str,
}

const PLACES: [Place; 10] = [
    Place {
        name: "element",
        place: Where::Element,
        values: &[Nan, Infinity, MinusInfinity, Largest],
        note: "in one element: its channel in training, and the buffers from then on; in evaluation that element alone",
    },
    Place {
        name: "channel",
        place: Where::Channel,
        values: &[Nan, Infinity, MinusInfinity],
        note: "throughout a channel: the neighbours do not notice",
    },
    Place {
        name: "beside-weight-0",
        place: Where::ElementBesideWeightZero,
        values: &[Nan, Infinity],
        note: "in one element, and the channel's weight is 0: 0·NaN and 0·∞ are NaN, so that nothing is masked",
    },
    Place {
        name: "grad-output",
        place: Where::GradOutput,
        values: &[Nan, Infinity, MinusInfinity],
        note: "in one element of grad_output: its channel in training, in evaluation that element and the parameters",
    },
    Place {
        name: "grad-output-beside-weight-0",
        place: Where::GradOutputBesideWeightZero,
        values: &[Nan, Infinity],
        note: "in one element of grad_output, and the channel's weight is 0: grad_input is NaN, not 0",
    },
    Place {
        name: "weight",
        place: Where::Weight,
        values: &[Nan, Zero],
        note: "as a weight: output and grad_input of its channel; grad_weight and grad_bias do not contain it",
    },
    Place {
        name: "bias",
        place: Where::Bias,
        values: &[Nan, Infinity, Largest],
        note: "as a bias: the output of its channel, and no gradient",
    },
    Place {
        name: "running-mean",
        place: Where::RunningMean,
        values: &[Nan, Infinity, MinusInfinity],
        note: "as a running mean: evaluation's output and grad_weight; training updates it without reading a number into it",
    },
    Place {
        name: "running-var",
        place: Where::RunningVar,
        values: &[Nan, Infinity, Largest, Zero, MinusOne],
        note: "as a running variance: under the root as it stands, without a clamp, a sign dropped, or a default",
    },
    Place {
        name: "eps",
        place: Where::Eps,
        values: &[Nan, Infinity, Zero, MinusOne],
        note: "as eps: only a negative one is refused, and 0 where batch statistics are used",
    },
];

type Mix = (&'static str, DType, DType, &'static [usize]);

impl Place {
    fn cases<'a>(&'a self, mix: &'a Mix) -> impl Iterator<Item = Entry> + 'a {
        self.values.iter().map(|&value| self.case(mix, value))
    }

    /// Evaluation and training with the special value, then both without it (but
    /// for what it left in the buffers), each with gradients.
    fn case(&self, &(mix, input, parameters, shape): &Mix, value: Value) -> Entry {
        let name = format!("specials/{mix}-{}-{}", self.name, value.name());
        let note = format!("{mix}, {} {}.", value.name(), self.note);
        let mut layer = script(&name, shape, &note).dtypes(input, parameters).fill(Fill::Dense);
        if let Where::Eps = self.place {
            layer = layer.eps(value.of(DType::F32));
        }
        let mut entry = [Eval, Train]
            .into_iter()
            .fold(layer, |layer, mode| self.step(layer, mode, value))
            .train()
            .grad_exact()
            .eval()
            .grad_exact()
            .generated();
        let state = &mut entry.case.state;
        let put = |vector: &mut Option<Tensor>, value: f64| {
            vector.as_mut().expect("a layer with everything").data[CHANNEL] = value;
        };
        match self.place {
            Where::Weight => put(&mut state.weight, value.of(parameters)),
            Where::Bias => put(&mut state.bias, value.of(parameters)),
            Where::RunningMean => put(&mut state.running_mean, value.of(parameters)),
            Where::RunningVar => put(&mut state.running_var, value.of(parameters)),
            Where::ElementBesideWeightZero | Where::GradOutputBesideWeightZero => put(&mut state.weight, 0.0),
            Where::Element | Where::Channel | Where::GradOutput | Where::Eps => {}
        }
        entry
    }

    fn step(&self, layer: Script, mode: Mode, value: Value) -> Script {
        let mut layer = layer.forward(mode).grad_exact();
        let pass = layer.last_pass();
        let places = places(&pass.input.shape);
        let middle = places[places.len() / 2];
        let special = value.of(pass.input.dtype);
        let grad_output = pass.grad_output.as_mut().expect("asked for above");
        match self.place {
            Where::Element | Where::ElementBesideWeightZero => pass.input.data[middle] = special,
            Where::Channel => places.iter().for_each(|&place| pass.input.data[place] = special),
            Where::GradOutput | Where::GradOutputBesideWeightZero => grad_output.data[middle] = special,
            Where::Weight | Where::Bias | Where::RunningMean | Where::RunningVar | Where::Eps => {}
        }
        layer
    }
}

/// Where the values of the special channel stand in an array of this shape.
fn places(shape: &[usize]) -> Vec<usize> {
    let inner: usize = shape[2..].iter().product();
    (0..shape.iter().product()).filter(|place| place / inner % shape[1] == CHANNEL).collect()
}
