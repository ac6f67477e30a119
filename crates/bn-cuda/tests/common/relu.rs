//! Batch norm, a sum and relu in one pass, against the three apart.
//!
//! Apart means: v in f64 by the statistics that the pass saved, with the sum and relu by hand, then
//! one rounding: of that every bit must agree. And the CPU's passes through relu, which have
//! their own tests: gradients must agree but for one rounding.

use batchnorm::{Config, DType, MixesWith, OutputMask, Rank};
use bn_cuda::arguments::Statistics;
use bn_cuda::emulator::Emulator;
use bn_cuda::{Array, BatchNorm, Device, Gradients, Relu, ReluMask, State, Vector};
use half::{bf16, f16};
use ndarray::{Array1, ArrayD, IxDyn};

/// How an array lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Contiguous,
    ChannelsLast,
    /// Every second element of a larger array.
    Gaps,
}

/// (N, C, H, W): rows of whole words of the mask and not, one channel to a row and several; fewer
/// samples than a cluster has blocks; a stream on [`super::TINY`], strips on
/// [`super::SMALL`]; teams, and threads that belong to none;
/// positions that are no whole bytes of the mask by themselves.
const SHAPES: [[usize; 4]; 8] = [
    [6, 3, 4, 10],
    [5, 8, 5, 5],
    [2, 4, 6, 7],
    [320, 1, 4, 10],
    [16, 72, 1, 2],
    [9, 12, 3, 5],
    [50, 12, 3, 5],
    [3, 5, 3, 3],
];

/// A pass with relu.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    shape: [usize; 4],
    layout: Layout,
    residual: bool,
    training: bool,
}

impl Case {
    /// Of the array.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// An element that an array can be made of.
trait Element: MixesWith<f32> + Copy {
    /// Of the last bit, relative to the number.
    const ULP: f64;
    fn bytes(self) -> Vec<u8>;
    fn read(bytes: &[u8]) -> Self;
}

macro_rules! element {
    ($($type:ty, $ulp:expr;)*) => {
        $(impl Element for $type {
            const ULP: f64 = $ulp;
            fn bytes(self) -> Vec<u8> {
                self.to_ne_bytes().to_vec()
            }
            fn read(bytes: &[u8]) -> Self {
                Self::from_ne_bytes(bytes.try_into().unwrap())
            }
        })*
    };
}

element! {
    f32, 1.2e-7;
    f16, 9.8e-4;
    bf16, 7.9e-3;
}

/// Every case.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in SHAPES {
        for layout in [Layout::Contiguous, Layout::ChannelsLast, Layout::Gaps] {
            for (residual, training) in [(false, true), (true, true), (true, false), (false, false)] {
                cases.push(Case { shape, layout, residual, training });
            }
        }
    }
    cases
}

/// Runs every case; the first difference.
pub fn check(emulator: &Emulator) -> Result<(), String> {
    what_passes(emulator)?;
    cases().into_iter().try_for_each(|case| ask(emulator, case))
}

/// Runs a case in each dtype; the first difference.
pub fn ask(emulator: &Emulator, case: Case) -> Result<(), String> {
    check_dtype::<f32>(emulator, case)?;
    check_dtype::<f16>(emulator, case)?;
    check_dtype::<bf16>(emulator, case)
}

/// NaN passes, −0 and 0 do not, nor does what is below; a residual takes v to exactly 0, and where v
/// is too small for an f32 it passes, though y is 0.
pub fn what_passes(emulator: &Emulator) -> Result<(), String> {
    let nan = f32::NAN;
    let x = [1.0, nan, -2.0, 0.0, f32::INFINITY, 3.0, f32::NEG_INFINITY, -0.0];
    let z = [-1.0, 1.0, 2.5, 0.0, 1.0, nan, 1.0, 0.0];
    let passed = [false, true, true, false, true, true, false, false];
    let y = ["0.0", "NaN", "0.5", "0.0", "inf", "NaN", "0.0", "0.0"];
    one_channel(emulator, None, (x, z), (passed, y))?;
    let tiny = [false, true, true, false, true, false, true, false];
    let zeros = ["0.0", "0.0", "1e-45", "0.0", "0.0", "0.0", "0.0", "0.0"];
    let x = [-0.25, 0.25, 0.75, -0.5, 0.5, -1.0, 0.125, 0.0];
    one_channel(emulator, Some(1e-45), (x, [0.0; 8]), (tiny, zeros))
}

/// relu(x·weight + z), for mean 0 and variance 1; and what goes through of a gradient.
fn one_channel(
    emulator: &Emulator,
    weight: Option<f32>,
    (x, z): ([f32; 8], [f32; 8]),
    (passed, y): ([bool; 8], [&str; 8]),
) -> Result<(), String> {
    let fail = |error: bn_cuda::Error| error.to_string();
    let vector = |value: f64| Vector::upload(emulator, DType::F32, &[value]).ok();
    let state = State {
        weight: weight.and_then(|weight| vector(weight.into())),
        bias: None,
        running_mean: vector(0.0),
        running_var: vector(1.0),
        num_batches_tracked: Some(0),
    };
    let config = Config { eps: 0.0, weight: weight.is_some(), bias: false, ..Config::new(1) };
    let mut layer = BatchNorm::new(Rank::Any, config, state);
    layer.set_training(false);
    let array = |values: [f32; 8]| {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
        Array::new(emulator.upload(&bytes).unwrap(), DType::F32, &[8, 1], &[1, 1], 0).unwrap()
    };
    let g = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, f32::NAN, 8.0];
    let (x, z, g_there) = (array(x), array(z), array(g));
    let (answered, saved, mask) = layer.forward_add_relu(emulator, &x, &z).map_err(fail)?;
    equal("bit", &mask.download(emulator).unwrap(), &passed)?;
    let text = |values: &[f32]| values.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>();
    equal("y", &text(&values(emulator, &answered)), &y.map(String::from))?;
    let all = OutputMask::ALL;
    let (_, residual) = layer.backward_add_relu(emulator, &saved, &x, &g_there, &mask, all).map_err(fail)?;
    let gated: Vec<f32> = (0..8).map(|i| if passed[i] { g[i] } else { 0.0 }).collect();
    equal("grad_residual", &text(&values(emulator, &residual)), &text(&gated))
}

fn check_dtype<T: Element>(emulator: &Emulator, case: Case) -> Result<(), String> {
    compare::<T>(emulator, case).map_err(|error| {
        format!("{} {case:?}, {:?}: {error}", T::DTYPE, emulator.last_launch().map(|launch| launch.kernel))
    })
}

fn compare<T: Element>(emulator: &Emulator, case: Case) -> Result<(), String> {
    let fail = |error: bn_cuda::Error| error.to_string();
    let Case { shape, layout, residual, training } = case;
    let [_, c, ..] = shape;
    let tensor = |seed: u64| noise::<T>(&shape, seed);
    let (x, z, g) = (tensor(1), tensor(2), tensor(3));
    let vector = |seed: u64| noise::<f32>(&[c], seed).into_dimensionality::<ndarray::Ix1>().unwrap();
    let (weight, bias, var) = (vector(4), vector(5), vector(6).mapv(|value| 1.0 + value * value));

    // The CPU's answers.
    let mut on_cpu = batchnorm::BatchNorm::<f32>::new(Config::new(c));
    on_cpu.state_mut().weight = Some(weight.clone());
    on_cpu.state_mut().bias = Some(bias.clone());
    on_cpu.state_mut().running_var = Some(var.clone());
    on_cpu.set_training(training);
    let (_, saved_on_cpu, cpus_mask) = if residual {
        on_cpu.forward_add_relu(x.view(), z.view()).unwrap()
    } else {
        on_cpu.forward_relu(x.view()).unwrap()
    };
    let expected = saved_on_cpu.backward_relu(x.view(), g.view(), &cpus_mask, OutputMask::ALL).unwrap();

    // The kernels'.
    let upload = |vector: &Array1<f32>| {
        let values: Vec<f64> = vector.iter().map(|&value| value.into()).collect();
        Vector::upload(emulator, DType::F32, &values).map(Some).map_err(|error| error.to_string())
    };
    let state = State {
        weight: upload(&weight)?,
        bias: upload(&bias)?,
        running_mean: upload(&Array1::zeros(c))?,
        running_var: upload(&var)?,
        num_batches_tracked: Some(0),
    };
    let mut layer = BatchNorm::new(Rank::Two, Config::new(c), state);
    layer.set_training(training);
    let (x_there, z_there, g_there) =
        (laid(emulator, &x, layout), laid(emulator, &z, layout), laid(emulator, &g, layout));
    let (y, saved, mask) = if residual {
        layer.forward_add_relu(emulator, &x_there, &z_there).map_err(fail)?
    } else {
        layer.forward_relu(emulator, &x_there).map_err(fail)?
    };

    // v by what was saved.
    let statistics = statistics(emulator, saved.statistics());
    let v = ArrayD::from_shape_fn(IxDyn(&shape), |index| {
        let Statistics { mean, invstd } = statistics[index[1]];
        let (weight, bias): (f64, f64) = (weight[index[1]].into(), bias[index[1]].into());
        let normalized = (x[&index].to_f64() - mean).mul_add(invstd * weight, bias);
        if residual { normalized + z[&index].to_f64() } else { normalized }
    });
    let passed = v.mapv(|v| v > 0.0 || v.is_nan());
    equal("bit", &mask.download(emulator).map_err(|error| error.to_string())?, passed.as_slice().unwrap())?;
    equal("the CPU's bit", cpus_mask.to_array().as_slice().unwrap(), passed.as_slice().unwrap())?;
    let relu: Vec<Vec<u8>> =
        v.iter().map(|&v| T::from_f64(if v > 0.0 || v.is_nan() { v } else { 0.0 }).bytes()).collect();
    let answered: Vec<Vec<u8>> = values::<T>(emulator, &y).into_iter().map(T::bytes).collect();
    equal("y", &answered, &relu)?;

    let (gradients, of_residual) = if residual {
        let both = layer.backward_add_relu(emulator, &saved, &x_there, &g_there, &mask, OutputMask::ALL);
        both.map(|(gradients, residual)| (gradients, Some(residual))).map_err(fail)?
    } else {
        (
            layer
                .backward_relu(emulator, &saved, &x_there, &g_there, &mask, OutputMask::ALL)
                .map_err(fail)?,
            None,
        )
    };
    if let Some(of_residual) = of_residual {
        let gated = g.iter().zip(&passed).map(|(&g, &bit)| if bit { g } else { T::from_f64(0.0) });
        let answered: Vec<Vec<u8>> = values::<T>(emulator, &of_residual).into_iter().map(T::bytes).collect();
        equal("grad_residual", &answered, &gated.map(T::bytes).collect::<Vec<_>>())?;
    }
    let Gradients { input, weight, bias } = gradients;
    near(
        "grad_input",
        T::ULP,
        &doubles(&values::<T>(emulator, &input.unwrap())),
        &doubles(expected.input.iter().flatten()),
    )?;
    for (name, got, expected) in
        [("grad_weight", weight, expected.weight), ("grad_bias", bias, expected.bias)]
    {
        let bytes = emulator.download(got.unwrap().memory()).unwrap();
        let got: Vec<f32> = bytes.chunks(4).map(f32::read).collect();
        near(name, f32::ULP, &doubles(&got), &doubles(expected.iter().flatten()))?;
    }
    if T::DTYPE != DType::F32 {
        return Ok(());
    }
    let again = Again { input: &x_there, residual: residual.then_some(&z_there), g: &g };
    again.check(emulator, &mut layer, (&relu, mask), &doubles(expected.input.iter().flatten()))
}

/// Once more, into arrays that lie otherwise: another kernel, and another order of the mask's bits.
/// It is the same for each dtype, and asked of one.
struct Again<'a, T> {
    input: &'a Array<Emulator>,
    residual: Option<&'a Array<Emulator>>,
    g: &'a ArrayD<T>,
}

impl<T: Element> Again<'_, T> {
    fn check(
        &self,
        emulator: &Emulator,
        layer: &mut BatchNorm<Emulator>,
        (relu, mut mask): (&[Vec<u8>], ReluMask<Emulator>),
        grad_input: &[f64],
    ) -> Result<(), String> {
        let Again { input, residual, g } = *self;
        let before = mask.download(emulator).unwrap();
        let nothing = ArrayD::from_elem(IxDyn(input.shape()), T::from_f64(f64::NAN));
        let gaps = laid(emulator, &nothing, Layout::Gaps);
        let into = Relu { residual, mask: &mut mask };
        let saved =
            layer.forward_relu_into(emulator, input, into, &gaps).map_err(|error| error.to_string())?;
        // Sums run in another order, and v may round otherwise.
        let answered = doubles(&values::<T>(emulator, &gaps));
        let expected: Vec<f64> = relu.iter().map(|bytes| T::read(bytes).to_f64()).collect();
        near("y in gaps", T::ULP, &answered, &expected)?;
        equal("bit in gaps", &mask.download(emulator).unwrap(), &before)?;

        // The bits lie as they suit no fast kernel; then as they suit one, but g does not.
        let only_input = OutputMask { input: true, weight: false, bias: false };
        let mut of_input = ReluMask::new();
        let into = Relu { residual, mask: &mut of_input };
        let output = Array::like(emulator, input).map_err(|error| error.to_string())?;
        layer.forward_relu_into(emulator, input, into, &output).map_err(|error| error.to_string())?;
        for (mask, layout) in [(&mask, Layout::Contiguous), (&of_input, Layout::Gaps)] {
            let g = laid(emulator, g, layout);
            let gradients = layer
                .backward_relu(emulator, &saved, input, &g, mask, only_input)
                .map_err(|error| error.to_string())?;
            let answered = doubles(&values::<T>(emulator, &gradients.input.unwrap()));
            near("grad_input of other bits", T::ULP, &answered, grad_input)?;
        }
        Ok(())
    }
}

/// Noise of deviation about 1, around 1/4.
fn noise<T: batchnorm::Element>(shape: &[usize], seed: u64) -> ArrayD<T> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    ArrayD::from_shape_simple_fn(IxDyn(shape), || T::from_f64(0.25 + (uniform() + uniform() - 1.0) * 2.4))
}

/// The array on the device, laid so.
fn laid<T: Element>(emulator: &Emulator, array: &ArrayD<T>, layout: Layout) -> Array<Emulator> {
    let &[n, c, h, w] = array.shape() else { unreachable!("every shape has a rank of four") };
    let strides = match layout {
        Layout::Contiguous => [c * h * w, h * w, w, 1],
        Layout::ChannelsLast => [c * h * w, 1, w * c, c],
        Layout::Gaps => [c * h * w * 2, h * w * 2, w * 2, 2],
    };
    let mut bytes = vec![0xff; n * strides[0] * size_of::<T>()];
    for (index, value) in array.indexed_iter() {
        let place: usize = (0..4).map(|axis| index[axis] * strides[axis]).sum();
        bytes[place * size_of::<T>()..][..size_of::<T>()].copy_from_slice(&value.bytes());
    }
    Array::new(emulator.upload(&bytes).unwrap(), T::DTYPE, array.shape(), &strides, 0).unwrap()
}

/// The elements in logical order.
fn values<T: Element>(emulator: &Emulator, array: &Array<Emulator>) -> Vec<T> {
    let bytes = emulator.download(array.memory()).unwrap();
    let at = |index: &[usize]| -> usize { index.iter().zip(array.strides()).map(|(i, s)| i * s).sum() };
    ndarray::indices(IxDyn(array.shape()))
        .into_iter()
        .map(|index| {
            T::read(&bytes[at(ndarray::Dimension::slice(&index)) * size_of::<T>()..][..size_of::<T>()])
        })
        .collect()
}

fn doubles<'a, T: batchnorm::Element>(values: impl IntoIterator<Item = &'a T>) -> Vec<f64> {
    values.into_iter().map(|value| value.to_f64()).collect()
}

fn statistics(emulator: &Emulator, memory: &<Emulator as Device>::Memory) -> Vec<Statistics> {
    let number = |bytes: &[u8]| f64::from_ne_bytes(bytes.try_into().unwrap());
    let bytes = emulator.download(memory).unwrap();
    bytes.chunks(16).map(|pair| Statistics { mean: number(&pair[..8]), invstd: number(&pair[8..]) }).collect()
}

fn equal<V: PartialEq + std::fmt::Debug>(name: &str, got: &[V], expected: &[V]) -> Result<(), String> {
    match (0..expected.len()).find(|&k| got[k] != expected[k]) {
        None => Ok(()),
        Some(k) => Err(format!("{name} {k}: {:?}, not {:?}", got[k], expected[k])),
    }
}

/// Two numbers that were the same in f64 to its last bits, and were rounded once each: they differ
/// by a unit of the last place at most. Numbers here are below 2¹⁰; where one of them is what
/// larger ones left, they have 2⁻⁴⁰ of f64's error.
fn near(name: &str, ulp: f64, got: &[f64], expected: &[f64]) -> Result<(), String> {
    let is_near = |k: usize| (got[k] - expected[k]).abs() <= ulp * expected[k].abs() + 2f64.powi(-40);
    match (0..expected.len()).find(|&k| !is_near(k)) {
        None => Ok(()),
        Some(k) => Err(format!("{name} {k}: {}, not {}", got[k], expected[k])),
    }
}
