//! oneDNN's benchdnn, driver `bnorm`.
//!
//! Its idea: inputs whose mean and variance are exact in any order of summation
//! (see [`fill`]), so that thresholds can be tight. Digits of the data type decide
//! the thresholds, with k = 2^(24 − d):
//!
//! | array | threshold | rule |
//! |---|---|---|
//! | mean | 0 | per element |
//! | variance | 5·10⁻⁷, see below | per element |
//! | dst | 6·10⁻⁷·k | per element, cancellation with the shift excused |
//! | diff_src | 6·10⁻⁷·k | relative error of the whole array, in the Euclidean norm |
//! | diff_scale, diff_shift | 5·10⁻⁶·k | the same |
//!
//! benchdnn asks a kernel for the batch's mean and variance. Here they are read from
//! running statistics that start at 0 with momentum 1, where the variance is the
//! sample's; for kernels that keep that one benchdnn itself has the threshold
//! 5·10⁻⁷ instead of 0. benchdnn's eps is 1/16, always. Scale, shift and statistics
//! are f32 whatever the data. Its low-precision data, mostly zeros, make it
//! distrust a result, which fails nothing, here or there.
//!
//! Covered: forward training, forward inference with and without given statistics,
//! backward with and without given statistics, of data alone or of everything;
//! scale and shift apart and together; f32, f16, bf16; plain and channels-last
//! order, and rows with a gap, as its option for strides has it. Left out: fused ReLU and addition, blocked formats, int8, in-place runs,
//! none of which is batch norm's own. Where benchdnn runs forward and backward
//! apart, one case asks for both. Its shapes are those of real networks; here are
//! three layers of ResNet-50 with one or two images, and small ones.

mod fill;

use std::ops::Range;

use rayon::prelude::*;

use super::rule::Rule;
use super::{Rival, Vector, case, layer};
use crate::case::{Case, Mode, OutputMask, Pass, State, Step};
use crate::catalogue::fill::SplitMix64;
use crate::outcome::Field;
use crate::tensor::{DType, Layout, Tensor};
use fill::{Fill, digits, scale, shift, value_beside_global_statistics};

const EPS: f64 = 1.0 / 16.0;

const DTYPES: [DType; 3] = [DType::F32, DType::F16, DType::Bf16];

/// Of ResNet-50: 512×7×7, 256×14×14, 128×28×28.
const REAL: [&[usize]; 3] = [&[2, 512, 7, 7], &[2, 256, 14, 14], &[1, 128, 28, 28]];

/// One of each rank; L is odd in the last.
const SMALL: [&[usize]; 5] = [&[32, 17], &[4, 13, 10], &[2, 16, 5, 3], &[2, 9, 3, 4, 5], &[3, 8, 5, 7]];

/// What is run, in benchdnn's words.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Direction {
    /// FWD_D and BWD_DW: batch statistics, every gradient.
    Training,
    /// BWD_D: batch statistics, diff_src alone.
    BackwardData,
    /// FWD_I: batch statistics, none kept.
    Inference,
    /// FWD_I and BWD_DW with the flag G: statistics that are given.
    Global,
}

/// One line of a benchdnn run.
#[derive(Clone, Debug)]
struct Problem {
    shape: &'static [usize],
    dtype: DType,
    layout: Layout,
    direction: Direction,
    scale: bool,
    shift: bool,
}

/// Every problem.
pub(super) fn rival() -> Rival {
    Rival {
        name: "benchdnn",
        about: "oneDNN's benchdnn: inputs with exact statistics, eps 1/16, f32, f16 and bf16; forward per \
                element at 6e-7 times the type's precision, backward by the norm of the whole array",
        vectors: problems().par_iter().map(Problem::vector).collect(),
    }
}

fn problems() -> Vec<Problem> {
    let mut problems = Vec::new();
    for dtype in DTYPES {
        let plain = |shape| Problem {
            shape,
            dtype,
            layout: Layout::Contiguous,
            direction: Direction::Training,
            scale: true,
            shift: true,
        };
        problems.extend(REAL.map(plain));
        problems.push(Problem { direction: Direction::Global, ..plain(REAL[0]) });
        for shape in SMALL {
            for direction in [Direction::Training, Direction::Inference, Direction::Global] {
                for (scale, shift) in [(false, false), (true, false), (false, true), (true, true)] {
                    problems.push(Problem { direction, scale, shift, ..plain(shape) });
                }
                if shape.len() >= 4 {
                    for layout in [Layout::ChannelsLast, rows_with_a_gap(shape)] {
                        problems.push(Problem { layout, direction, ..plain(shape) });
                    }
                }
            }
            problems.push(Problem { direction: Direction::BackwardData, ..plain(shape) });
        }
    }
    problems
}

/// Two more elements in memory than in the array along its last axis.
fn rows_with_a_gap(shape: &[usize]) -> Layout {
    let mut strides = vec![1; shape.len()];
    let mut reach = shape[shape.len() - 1] + 2;
    for axis in (0..shape.len() - 1).rev() {
        strides[axis] = reach;
        reach *= shape[axis];
    }
    Layout::Strided { strides, offset: 0 }
}

impl Problem {
    fn vector(&self) -> Vector {
        Vector::of_truth(self.case(), |_, field| self.rule(field))
    }

    fn rule(&self, field: Field) -> Option<Rule> {
        let k = 2f64.powi((24 - digits(self.dtype)) as i32);
        let forward = self.direction != Direction::BackwardData;
        match field {
            Field::RunningMean | Field::RunningVar if self.direction != Direction::Training => None,
            Field::RunningMean => Some(Rule::Element { threshold: 0.0, shift: None }),
            Field::RunningVar => Some(Rule::Element { threshold: 5e-7, shift: None }),
            Field::Output if !forward => None,
            Field::Output => Some(Rule::Element { threshold: 6e-7 * k, shift: self.shifts() }),
            Field::GradInput => Some(Rule::Norm(6e-7 * k)),
            Field::GradWeight | Field::GradBias => Some(Rule::Norm(5e-6 * k)),
            _ => None,
        }
    }

    fn name(&self) -> String {
        let sizes = self.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        let order = match self.layout {
            Layout::Contiguous => "abx",
            Layout::ChannelsLast => "axb",
            Layout::Strided { .. } => "strided",
        };
        let flags = [("C", self.scale), ("H", self.shift)];
        let flags: String = flags.iter().filter(|(_, set)| *set).map(|(flag, _)| *flag).collect();
        format!("{:?} {} {order} {sizes} {flags}", self.direction, self.dtype.name())
    }

    fn case(&self) -> Case {
        let global = self.direction == Direction::Global;
        let stored = self.direction != Direction::Inference;
        // With given statistics scale and shift are as large as the data.
        let (larger_scale, larger_shift) = if global { (8.0, 512.0) } else { (1.0, 1.0) };
        let running_var = |c| if global { 2.0 * (c % 7) as f64 } else { 0.0 };
        let state = State {
            weight: self.scale.then(|| self.per_channel(|c| scale(c) * larger_scale)),
            bias: self.shifts().map(|_| self.per_channel(|c| shift(c) * larger_shift)),
            running_mean: stored.then(|| self.per_channel(|c| if global { scale(c) * 2.0 } else { 0.0 })),
            running_var: stored.then(|| self.per_channel(running_var)),
            num_batches_tracked: stored.then_some(0),
        };
        let mut layer = layer(self.shape, EPS, 1.0);
        layer.track_running_stats = stored;
        let training = matches!(self.direction, Direction::Training | Direction::BackwardData);
        let mode = if training { Mode::Train } else { Mode::Eval };
        let data_alone = OutputMask { input: true, weight: false, bias: false };
        let pass = Pass {
            grad_output: stored.then(|| self.tensor(self.diff_dst()).with_layout(Layout::Contiguous)),
            output_mask: (self.direction == Direction::BackwardData).then_some(data_alone),
            ..Pass::forward(mode, self.tensor(self.src()))
        };
        case("benchdnn", &self.name(), layer, state, vec![Step::BatchNorm(Box::new(pass))])
    }

    /// The shift of every channel, where there is one.
    fn shifts(&self) -> Option<Vec<f64>> {
        let larger = if self.direction == Direction::Global { 512.0 } else { 1.0 };
        self.shift.then(|| self.channels().map(|c| shift(c) * larger).collect())
    }

    fn channels(&self) -> Range<usize> {
        0..self.shape[1]
    }

    fn per_channel(&self, value: impl Fn(usize) -> f64) -> Tensor {
        Tensor::vector(DType::F32, &self.channels().map(value).collect::<Vec<_>>())
    }

    fn tensor(&self, data: Vec<f64>) -> Tensor {
        Tensor::new(self.dtype, self.shape, data).with_layout(self.layout.clone())
    }

    fn src(&self) -> Vec<f64> {
        let fill = Fill::new(self.dtype, self.shape);
        let per_image: usize = self.shape[2..].iter().product();
        let channels = self.shape[1];
        let value = |place: usize| {
            let (n, c, sp) = (place / per_image / channels, place / per_image % channels, place % per_image);
            match self.direction {
                Direction::Global => value_beside_global_statistics(per_image, n, c, sp),
                _ => fill.value(n, c, sp),
            }
        };
        (0..self.shape.iter().product()).map(value).collect()
    }

    /// Mostly zeros, else integers from −2 to 2.
    fn diff_dst(&self) -> Vec<f64> {
        let count: usize = self.shape.iter().product();
        let density = (20.0 / count as f64).clamp(0.05, 1.0);
        let mut random = SplitMix64::seeded(&self.name(), "diff_dst");
        let mut value = || {
            let kept = (random.uniform(24) as f64) < density * 2f64.powi(24);
            let integer = (random.uniform(32) % 5) as f64 - 2.0;
            if kept { integer } else { 0.0 }
        };
        (0..count).map(|_| value()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rivals::tests::{answering_otherwise, asked_otherwise};

    /// What the first vector of these kinds has to say.
    fn rival_of(keep: impl Fn(&Problem) -> bool) -> Rival {
        let vectors = problems().iter().filter(|problem| keep(problem)).map(Problem::vector).collect();
        Rival { vectors, name: "", about: "" }
    }

    #[test]
    fn an_eps_ten_per_cent_too_large_is_noticed() {
        let small = rival_of(|problem| problem.shape == SMALL[2]);
        assert!(!small.accepts(&mut asked_otherwise(|case| case.layer.eps *= 1.1)));
    }

    #[test]
    fn a_biased_variance_is_noticed() {
        let small = rival_of(|problem| problem.shape == SMALL[2]);
        let mut biased = answering_otherwise(|fields| {
            if let Some(running_var) = fields.get_mut(&Field::RunningVar) {
                running_var.data.iter_mut().for_each(|var| *var = f64::from((*var * 29.0 / 30.0) as f32));
            }
        });
        let objection = small.objection(&mut biased).unwrap();
        assert!(objection.contains("running_var: ["), "{objection}");
    }

    /// A tenth of the usual gradient in one place hides in the norm of bf16.
    #[test]
    fn one_wrong_gradient_hides_among_many() {
        let real = rival_of(|problem| problem.shape == REAL[0] && problem.dtype == DType::Bf16);
        let mut one_wrong = answering_otherwise(|fields| {
            let gradient = fields.get_mut(&Field::GradInput).expect("a gradient");
            gradient.data[1] += 0.125;
        });
        assert_eq!(real.objection(&mut one_wrong), None);
    }

    /// Two channels of a layer of 56×56 with 32 images: in bf16 all of it is 0, and
    /// a kernel that takes 0 for every mean and variance is right, backward too.
    #[test]
    fn in_bf16_statistics_need_not_be_computed() {
        let layer = |dtype| {
            let shape = &[32, 2, 56, 56];
            let problem = Problem { shape, dtype, ..problems()[0].clone() };
            Rival { vectors: vec![problem.vector()], name: "", about: "" }
        };
        fn never_computed(case: &mut Case) {
            let Step::BatchNorm(pass) = &mut case.steps[0] else { unreachable!("a pass is asked") };
            // The running statistics of the question are 0.
            pass.mode = Mode::Eval;
        }
        assert_eq!(layer(DType::Bf16).objection(&mut asked_otherwise(never_computed)), None);
        assert!(!layer(DType::F32).accepts(&mut asked_otherwise(never_computed)));
    }
}
