//! Numbers between those of f16 and bf16, and what they are rounded to: once, to nearest, ties to
//! even.

use batchnorm::{Config, DType, Rank};
use bn_cuda::emulator::Emulator;
use bn_cuda::{Array, BatchNorm, Device, State, Vector};
use half::{bf16, f16};

/// 2^exponent.
fn two(exponent: i32) -> f64 {
    2f64.powi(exponent)
}

/// What is added to 1, and what that becomes in f16 and in bf16. The last bit of an f16 at 1 is
/// 2⁻¹⁰, of a bf16 2⁻⁷; halves of them are ties, and 2⁻³⁴ is lost in an f32.
fn cases() -> [(f64, f64, f64); 9] {
    let (half, brain) = (two(-10), two(-7));
    [
        (two(-11), 1.0, 1.0),
        (two(-11) + two(-34), 1.0 + half, 1.0),
        (two(-11) - two(-34), 1.0, 1.0),
        (3.0 * two(-11), 1.0 + 2.0 * half, 1.0),
        (3.0 * two(-11) - two(-33), 1.0 + half, 1.0),
        (two(-8), 1.0 + two(-8), 1.0),
        (two(-8) + two(-31), 1.0 + two(-8), 1.0 + brain),
        (3.0 * two(-8), 1.0 + 3.0 * two(-8), 1.0 + 2.0 * brain),
        (3.0 * two(-8) - two(-30), 1.0 + 3.0 * two(-8), 1.0 + brain),
    ]
}

/// Compares the bits of 1 + bias, through every kernel of evaluation that takes the array.
pub fn check(emulator: &Emulator) -> Result<(), String> {
    for dtype in [DType::F16, DType::Bf16] {
        let one = if dtype == DType::F16 { f16::ONE.to_bits() } else { bf16::ONE.to_bits() };
        let bits = |value: f64| match dtype {
            DType::F16 => f16::from_f64(value).to_bits(),
            _ => bf16::from_f64(value).to_bits(),
        };
        // Rows of 64 bytes for the resident kernel, and a single value for the others.
        for spatial in [32, 1] {
            let added: Vec<f64> = cases().iter().map(|case| case.0).collect();
            let got = ones_plus(emulator, dtype, one, &added, spatial).map_err(|error| error.to_string())?;
            for (channel, (bias, in_half, in_brain)) in cases().into_iter().enumerate() {
                let expected = bits(if dtype == DType::F16 { in_half } else { in_brain });
                let got = got[channel * spatial];
                if got != expected {
                    return Err(format!("{dtype}: 1 + {bias:e} became {got:#x}, not {expected:#x}"));
                }
            }
        }
    }
    Ok(())
}

/// The bits of 1 + bias for each channel: normalised by mean 0 and variance 1.
fn ones_plus(
    emulator: &Emulator,
    dtype: DType,
    one: u16,
    biases: &[f64],
    spatial: usize,
) -> Result<Vec<u16>, bn_cuda::Error> {
    let channels = biases.len();
    let vector = |values: &[f64]| Vector::upload(emulator, DType::F32, values).map(Some);
    let state = State {
        weight: None,
        bias: vector(biases)?,
        running_mean: vector(&vec![0.0; channels])?,
        running_var: vector(&vec![1.0; channels])?,
        num_batches_tracked: None,
    };
    let config = Config { eps: 0.0, weight: false, ..Config::new(channels) };
    let mut layer = BatchNorm::new(Rank::Any, config, state);
    layer.set_training(false);
    let bytes: Vec<u8> = (0..channels * spatial).flat_map(|_| one.to_ne_bytes()).collect();
    let shape = [1, channels, spatial];
    let input = Array::new(emulator.upload(&bytes)?, dtype, &shape, &[channels * spatial, spatial, 1], 0)?;
    let (output, _) = layer.forward(emulator, &input)?;
    let bytes = emulator.download(output.memory())?;
    Ok(bytes.chunks(2).map(|bytes| u16::from_ne_bytes(bytes.try_into().unwrap())).collect())
}
