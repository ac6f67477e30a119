//! Mixes of dtypes that no layer takes, and dtypes that are no numbers to average.

use super::super::Entry;
use super::super::builder::script;
use crate::tensor::{DType, Tensor};

pub(super) fn cases() -> Vec<Entry> {
    [mixes(), mixed_state()].concat()
}

/// Refused mixes of the input's dtype with the parameters'; f32 input works.
fn mixes() -> Vec<Entry> {
    use DType::{Bf16, Bool, F16, F32, F64, I64};
    let mix = |input: DType, parameters: DType, note: &str| {
        let name = format!("refusals/{}-input-{}-parameters", input.name(), parameters.name());
        let after = if parameters == F64 { F64 } else { parameters };
        script(&name, &[4, 3], note)
            .dtypes(input, parameters)
            .train()
            .eval()
            .dtypes(after, parameters)
            .train()
            .eval()
            .stored()
    };
    vec![
        mix(F64, F32, "f64 input with f32 parameters is refused, not rounded; counted in training."),
        mix(F32, F64, "f32 input with f64 parameters is refused, not widened."),
        mix(F16, F64, "f16 input goes with f16 or f32, not with f64."),
        mix(F16, Bf16, "f16 input goes with f16 or f32, not with bf16."),
        mix(Bf16, F16, "bf16 input goes with bf16 or f32, not with f16."),
        mix(F32, F16, "f32 input with f16 parameters: the mix works the other way round only."),
        mix(F32, Bf16, "f32 input with bf16 parameters: the mix works the other way round only."),
        mix(F64, Bf16, "f64 input with bf16 parameters."),
        integers(I64, "Integers have no mean of their own kind: refused."),
        integers(Bool, "Booleans are no numbers: refused."),
        script(
            "refusals/integers-without-state",
            &[4, 3],
            "Integers to a layer without any state: nothing to clash with, refused all the same.",
        )
        .dtypes(I64, F32)
        .no_affine()
        .untracked()
        .train_on(&[1., 0., 1., 0., 1., 1., 1., 1., 0., 0., 0., 1.])
        .eval_on(&[1., 0., 1., 0., 1., 1., 1., 1., 0., 0., 0., 1.])
        .dtype(F32)
        .train()
        .stored(),
    ]
}

fn integers(dtype: DType, note: &str) -> Entry {
    let values = [1., 0., 1., 0., 1., 1., 1., 1., 0., 0., 0., 1.];
    script(&format!("refusals/{}-input", dtype.name()), &[4, 3], note)
        .dtypes(dtype, DType::F32)
        .train_on(&values)
        .eval_on(&values)
        .dtype(DType::F32)
        .train()
        .eval()
        .stored()
}

/// Low-precision input with parameters of one dtype and buffers of the other.
fn mixed_state() -> Vec<Entry> {
    let mixed = |name: &str, parameters: DType, buffers: DType, note: &str| {
        let mut entry = script(name, &[4, 3], note).dtypes(DType::F16, buffers).train().eval().stored();
        let as_dtype =
            |tensor: &Option<Tensor>| tensor.clone().map(|tensor| Tensor { dtype: parameters, ..tensor });
        entry.case.state.weight = as_dtype(&entry.case.state.weight);
        entry.case.state.bias = as_dtype(&entry.case.state.bias);
        entry
    };
    vec![
        mixed(
            "refusals/f16-parameters-f32-buffers",
            DType::F16,
            DType::F32,
            "f16 input, f16 parameters, f32 buffers: all of them must be f16, or all f32.",
        ),
        mixed(
            "refusals/f32-parameters-f16-buffers",
            DType::F32,
            DType::F16,
            "f16 input, f32 parameters, f16 buffers: all of them must be f16, or all f32.",
        ),
    ]
}
