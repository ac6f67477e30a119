//! The six mixes of dtypes: f64, f32, f16 and bf16 throughout, and f16 or bf16
//! input with f32 parameters and buffers. Answers have the dtype of what they
//! belong to: output and grad_input the input's, the rest the parameters'.

use super::Entry;
use super::builder::{Script, script};
use super::fill::Fill;
use crate::tensor::DType::{self, Bf16, F16, F32, F64};

pub(super) fn cases() -> Vec<Entry> {
    [every_mix(), f16(), bf16(), wide(), states()].concat()
}

/// The mixes by name: the input's dtype, and that of parameters and buffers.
pub(super) const MIXES: [(&str, DType, DType); 6] = [
    ("f64", F64, F64),
    ("f32", F32, F32),
    ("f16-with-f32", F16, F32),
    ("bf16-with-f32", Bf16, F32),
    ("f16", F16, F16),
    ("bf16", Bf16, Bf16),
];

fn every_mix() -> Vec<Entry> {
    let flat = |(name, input, parameters): (&str, DType, DType)| {
        let note = format!(
            "A layer's life with {name} data: two training steps and an evaluation, with \
                 gradients."
        );
        script(&format!("dtypes/{name}"), &[7, 3], &note)
            .dtypes(input, parameters)
            .train()
            .grad()
            .train()
            .eval()
            .grad()
            .stored()
    };
    let image = |(name, input, parameters): (&str, DType, DType)| {
        let note = format!("4D {name} data: a training step and an evaluation, with gradients.");
        script(&format!("dtypes/{name}-images"), &[2, 3, 3, 5], &note)
            .dtypes(input, parameters)
            .train()
            .grad()
            .eval()
            .grad()
            .stored()
    };
    MIXES.map(flat).into_iter().chain(MIXES.map(image)).collect()
}

fn f16() -> Vec<Entry> {
    let mixed = |name: &str, shape: &[usize], note: &str| script(name, shape, note).dtypes(F16, F32);
    vec![
        mixed(
            "dtypes/f16-sum-overflows",
            &[9, 2],
            "Nine values near 20 000 sum to more than f16's largest, 65 504; their mean does not.",
        )
        .fill(Fill::Normal { mean: 20000.0, deviation: 500.0 })
        .train()
        .grad()
        .stored(),
        mixed(
            "dtypes/f16-squares-overflow",
            &[9, 2],
            "Deviations of 1000: their squares exceed f16's largest.",
        )
        .fill(Fill::Normal { mean: 0.0, deviation: 1000.0 })
        .train()
        .grad()
        .eval()
        .stored(),
        mixed(
            "dtypes/f16-squares-underflow",
            &[9, 2],
            "Deviations of 1e-4: their squares are below f16's smallest, 6e-8.",
        )
        .eps(1e-12)
        .fill(Fill::Normal { mean: 0.0, deviation: 1.0 / 8192.0 })
        .train()
        .grad()
        .stored(),
        mixed(
            "dtypes/f16-output-overflows",
            &[4, 2],
            "A weight of 60 000 takes some outputs beyond f16: they are infinite, the others right.",
        )
        .weight(&[60000.0, 2.0])
        .no_bias()
        .train_on(&[1.0, 1.0, -1.0, 2.0, 8.0, 3.0, 0.0, 5.0])
        .stored(),
        mixed(
            "dtypes/f16-output-subnormal",
            &[5, 2],
            "A weight of 1e-6 makes outputs among f16's subnormals: neither 0 nor rounded twice.",
        )
        .weight(&[f64::from(1e-6_f32), f64::from(-3e-7_f32)])
        .no_bias()
        .train()
        .grad()
        .stored(),
        mixed(
            "dtypes/f16-input-subnormal",
            &[5, 2],
            "Inputs among f16's subnormals keep their value on the way to f32.",
        )
        .eps(1e-14)
        .fill(Fill::Normal { mean: 0.0, deviation: 1.0 / 1_048_576.0 })
        .train()
        .stored(),
        mixed(
            "dtypes/f16-mean-needs-f32",
            &[33, 2],
            "A mean of 300 with deviation 1: f16's steps there are 1/4, so the mean must be kept in more.",
        )
        .fill(Fill::Normal { mean: 300.0, deviation: 1.0 })
        .train()
        .grad()
        .stored(),
        script(
            "dtypes/f16-throughout-small-eps",
            &[7, 2],
            "f16 throughout: eps = 1e-8 is 0 as an f16, but not in the arithmetic.",
        )
        .dtype(F16)
        .eps(1e-8)
        .train()
        .grad()
        .stored(),
    ]
}

fn bf16() -> Vec<Entry> {
    let mixed = |name: &str, shape: &[usize], note: &str| script(name, shape, note).dtypes(Bf16, F32);
    vec![
        mixed(
            "dtypes/bf16-sum-stalls",
            &[300, 1],
            "A sum in bf16 stops growing at 256 times its terms: \
             300 values need a wider accumulator.",
        )
        .fill(Fill::Normal { mean: 1.0, deviation: 0.25 })
        .train()
        .stored(),
        mixed(
            "dtypes/bf16-count-beyond-256",
            &[257, 1],
            "257 values: bf16 has no 257, and a mean that divides by 256 is 0.4 % too large.",
        )
        .fill(Fill::Normal { mean: 1.0, deviation: 0.25 })
        .train()
        .stored(),
        mixed(
            "dtypes/bf16-weight-keeps-f32",
            &[3, 2],
            "f32 weights of 1.001 and −0.7505 with biases that cancel them: cast to bf16, as the \
             input is, they leave another rest.",
        )
        .weight(&[f64::from(1.001_f32), f64::from(-0.7505_f32)])
        .bias(&[-2.0, 1.5])
        .buffers(&[0.0, 0.0], &[1.0, 1.0])
        .eval_on(&[2.0, 2.0, 1.0, 3.0, -2.0, 0.5])
        .grad()
        .stored(),
        mixed(
            "dtypes/bf16-mean-needs-f32",
            &[33, 2],
            "A mean of 30 with deviation 1: bf16's steps \
             there are 1/8, so the mean must be kept in more.",
        )
        .fill(Fill::Normal { mean: 30.0, deviation: 1.0 })
        .train()
        .grad()
        .stored(),
        mixed(
            "dtypes/bf16-wide-range",
            &[5, 3],
            "Values of 1e30: bf16 has f32's range, and f16 on the \
             way would be infinite; the variance overflows f32, so eval only.",
        )
        .buffers(&[0.0, 1.0, -2.0], &[1.0, 4.0, 9.0])
        .fill(Fill::Normal { mean: 0.0, deviation: 2f64.powi(100) })
        .eval()
        .stored(),
        script(
            "dtypes/bf16-throughout-many",
            &[128, 2],
            "bf16 throughout, 128 values: the mean to 8 \
             bits, from a sum in more.",
        )
        .dtype(Bf16)
        .train()
        .grad()
        .stored(),
    ]
}

fn wide() -> Vec<Entry> {
    vec![
        script(
            "dtypes/f64-not-f32-inside",
            &[6, 3],
            "f64 data computed in f32 inside is wrong from the \
             eighth digit on.",
        )
        .dtype(F64)
        .fill(Fill::Normal { mean: 1.0, deviation: 1.0 })
        .train()
        .grad()
        .second(true, true, true)
        .eval()
        .grad()
        .stored(),
        script("dtypes/f64-beyond-f32", &[6, 3], "f64 values of 1e100: f32 would make them infinite.")
            .dtype(F64)
            .fill(Fill::Normal { mean: 0.0, deviation: 2f64.powi(333) })
            .train()
            .grad()
            .eval()
            .stored(),
        script(
            "dtypes/f64-below-f32",
            &[6, 3],
            "f64 deviations of 1e-60 with an eps of 1e-130: f32 \
             would make them 0.",
        )
        .dtype(F64)
        .eps(1e-130)
        .fill(Fill::Normal { mean: 0.0, deviation: 2f64.powi(-200) })
        .train()
        .grad()
        .stored(),
        script(
            "dtypes/f64-settings-in-f64",
            &[5, 3],
            "eps and momentum are f64 settings: with f64 \
             parameters they are not rounded to f32 (1.23456789 does not survive that).",
        )
        .dtype(F64)
        .eps(1.23456789)
        .momentum(0.123456789)
        .train()
        .train()
        .eval()
        .stored(),
        script(
            "dtypes/f32-large-values",
            &[5, 3],
            "f32 values of 1e15: squares of 1e30 still fit, as \
             does their sum.",
        )
        .fill(Fill::Normal { mean: 0.0, deviation: 2f64.powi(50) })
        .train()
        .grad()
        .eval()
        .stored(),
        script(
            "dtypes/f32-subnormal-input",
            &[5, 3],
            "f32 subnormals as input: beside eps their \
             variance is nothing; the output is tiny and not flushed in evaluation.",
        )
        .fill(Fill::Normal { mean: 0.0, deviation: 2f64.powi(-135) })
        .buffers(&[0.0; 3], &[1.0; 3])
        .weight(&[2.0f64.powi(20), -2.0f64.powi(24), 1.5])
        .no_bias()
        .eval()
        .stored(),
    ]
}

/// Which parameters are there does not change the mix.
fn states() -> Vec<Entry> {
    let evaluated = |script: Script| script.train().grad().eval().grad().stored();
    vec![
        evaluated(
            script(
                "dtypes/f16-nothing-but-buffers",
                &[5, 3],
                "f16 input, f32 buffers, no weight or bias: still the mix with f32.",
            )
            .dtypes(F16, F32)
            .no_affine(),
        ),
        evaluated(
            script(
                "dtypes/bf16-nothing-but-bias",
                &[5, 3],
                "bf16 input, an f32 bias alone: its gradient is f32.",
            )
            .dtypes(Bf16, F32)
            .no_weight()
            .untracked(),
        ),
        evaluated(
            script("dtypes/f16-without-state", &[5, 3], "f16 input and no state at all: f16 throughout.")
                .dtype(F16)
                .no_affine()
                .untracked(),
        ),
        evaluated(
            script("dtypes/f64-without-state", &[5, 3], "f64 input and no state at all.")
                .dtype(F64)
                .no_affine()
                .untracked(),
        ),
    ]
}
