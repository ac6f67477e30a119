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
use fastrand::Rng;
use half::{bf16, f16};

/// The case that belongs to this seed.
pub fn case(seed: u64) -> Case {
    let mut rng = Rng::with_seed(seed);
    let setting = Setting::draw(&mut rng);
    let state = setting.state(&mut rng);
    let steps = match rng.u32(0..12) {
        0 => vec![setting.fold(&mut rng)],
        1 => vec![setting.merge(&mut rng), setting.pass(&mut rng, &state)],
        _ => (0..rng.usize(1..=4)).map(|_| setting.step(&mut rng, &state)).collect(),
    };
    Case { name: format!("random/{seed}"), note: "A random case.".into(), layer: setting.layer, state, steps }
}

/// What all steps of a case share.
struct Setting {
    layer: Layer,
    input: DType,
    parameters: DType,
    channels_last: bool,
}

impl Setting {
    fn draw(rng: &mut Rng) -> Self {
        use DType::{Bf16, F16, F32, F64};
        let mixes = [(F64, F64), (F32, F32), (F32, F32), (F16, F32), (Bf16, F32), (F16, F16), (Bf16, Bf16)];
        let (mut input, parameters) = pick(rng, &mixes);
        if rarely(rng) {
            input = pick(rng, &[F64, F32, F16, Bf16, DType::I64, DType::Bool]);
        }
        let layer = Layer {
            rank: pick(rng, &[Rank::One, Rank::Two, Rank::Three, Rank::Any]),
            num_features: if rarely(rng) { 0 } else { rng.usize(1..=5) },
            eps: pick(rng, &[1e-5, 1e-5, 1e-3, 0.5]),
            momentum: pick(rng, &[Some(0.1), Some(0.3), Some(0.0), Some(1.0), Some(-0.5), None]).map(Number),
            track_running_stats: rng.u32(0..4) > 0,
        };
        let layer = if rarely(rng) { Layer { eps: pick(rng, &[0.0, -1e-5]), ..layer } } else { layer };
        Setting { layer, input, parameters, channels_last: rng.bool() }
    }

    fn state(&self, rng: &mut Rng) -> State {
        let mut vector = |present: u32, mean: f64, positive: bool| {
            if rng.u32(0..10) >= present {
                return None;
            }
            let dtype =
                if rarely(rng) { pick(rng, &[DType::F64, DType::F32, DType::Bf16]) } else { self.parameters };
            let length = if rarely(rng) { rng.usize(1..=5) } else { self.layer.num_features };
            let value = |rng: &mut Rng| {
                let value = mean + 0.4 * normal(rng);
                round(dtype, if positive { value.abs() + 0.1 } else { value })
            };
            let data: Vec<f64> = (0..length).map(|_| value(rng)).collect();
            Some(Tensor::vector(dtype, &data))
        };
        let (weight, bias) = (vector(7, 1.0, false), vector(7, 0.0, false));
        let (running_mean, running_var) = (vector(8, 0.5, false), vector(8, 1.0, true));
        let num_batches_tracked = pick(rng, &[Some(0), Some(0), Some(9), Some(-1), None]);
        // One statistic without the other is always refused: keep it rare.
        let (running_mean, running_var) = match (running_mean, running_var) {
            (Some(mean), None) if !rarely(rng) => (None, drop_value(mean)),
            (None, Some(var)) if !rarely(rng) => (None, drop_value(var)),
            both => both,
        };
        State { weight, bias, running_mean, running_var, num_batches_tracked }
    }

    fn step(&self, rng: &mut Rng, state: &State) -> Step {
        if rarely(rng) {
            return Step::Reset { what: pick(rng, &[Reset::RunningStats, Reset::Parameters]) };
        }
        self.pass(rng, state)
    }

    fn pass(&self, rng: &mut Rng, state: &State) -> Step {
        let shape = self.shape(rng);
        let mode = if rng.u32(0..3) > 0 { Mode::Train } else { Mode::Eval };
        let mut pass = Pass::forward(mode, self.array(rng, &shape));
        if rng.u32(0..4) > 0 {
            let given = if rarely(rng) { self.shape(rng) } else { shape.clone() };
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
        let mut like = |parameter: &Option<Tensor>| {
            let parameter = parameter.as_ref().filter(|_| rng.u32(0..4) > 0)?;
            let data: Vec<f64> = parameter.data.iter().map(|_| round(parameter.dtype, normal(rng))).collect();
            Some(Tensor::vector(parameter.dtype, &data))
        };
        Cotangents { grad_input, grad_weight: like(&state.weight), grad_bias: like(&state.bias) }
    }

    fn shape(&self, rng: &mut Rng) -> Vec<usize> {
        let rank = match self.layer.rank {
            _ if rarely(rng) => rng.usize(1..=6),
            Rank::One => rng.usize(2..=3),
            Rank::Two => 4,
            Rank::Three => 5,
            Rank::Any => rng.usize(2..=5),
        };
        // Small batches, so that n/(n − 1) matters; now and then a longer one.
        let batch = if rng.u32(0..6) == 0 { rng.usize(20..=70) } else { rng.usize(1..=6) };
        let mut shape = vec![batch];
        if rank > 1 {
            shape.push(if rarely(rng) { rng.usize(1..=5) } else { self.layer.num_features });
        }
        shape.extend((2..rank).map(|_| rng.usize(1..=4)));
        if rarely(rng) {
            let axis = rng.usize(0..rank);
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
        let array = Tensor::new(self.input, shape, data);
        let layout = self.layout(rng, shape);
        array.with_layout(layout)
    }

    fn layout(&self, rng: &mut Rng, shape: &[usize]) -> Layout {
        match rng.u32(0..5) {
            0 => strided(rng, shape),
            1..=3 if self.channels_last && matches!(shape.len(), 4 | 5) => Layout::ChannelsLast,
            _ => Layout::Contiguous,
        }
    }

    fn fold(&self, rng: &mut Rng) -> Step {
        let groups = pick(rng, &[1, 1, 2, 3]);
        let out = self.layer.num_features;
        let into = pick(rng, &[FoldInto::Linear, FoldInto::Conv, FoldInto::ConvTranspose]);
        let groups = if into == FoldInto::Linear || out % groups != 0 { 1 } else { groups };
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
        let shape = self.shape(rng);
        let parts = (0..rng.usize(1..=4)).map(|_| {
            let mut shape = shape.clone();
            shape[0] = rng.usize(0..=4);
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

/// The nearest value of the dtype (the nearest f32's nearest, for the 16-bit
/// ones: any value will do, as long as the dtype holds it).
fn round(dtype: DType, value: f64) -> f64 {
    match dtype {
        DType::F64 => value,
        DType::F32 => f64::from(value as f32),
        DType::F16 => f16::from_f32(value as f32).to_f64(),
        DType::Bf16 => bf16::from_f32(value as f32).to_f64(),
        DType::I64 => value.round(),
        DType::Bool => f64::from(value > 0.0),
    }
}

/// Nearly normal, mean 0 and deviation 1: twelve uniforms less six.
fn normal(rng: &mut Rng) -> f64 {
    (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0
}

fn rarely(rng: &mut Rng) -> bool {
    rng.u32(0..24) == 0
}

fn pick<T: Clone>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(0..from.len())].clone()
}

fn drop_value(_: Tensor) -> Option<Tensor> {
    None
}
