//! What libtorch 2.13 on the CPU is known not to do, so that a random case can
//! be held to the rest. Two kinds:
//!
//! * faults, where its answer is wrong or missing ([`fault`]): the case is not
//!   put to libtorch. tests/faults.rs shows each of them, and fails once it is
//!   repaired;
//! * 16-bit arithmetic ([`relax`]): it rounds intermediate results to f16 or
//!   bf16, where the truth's allowances expect f32. How far that can carry is
//!   derived below and added to the allowance.

use bn_suite::case::{Case, Mode, Pass, State, Step};
use bn_suite::golden::{Expected, ExpectedField};
use bn_suite::outcome::Field;
use bn_suite::tensor::{DType, Layout, Tensor};

/// The fault of libtorch that this case would show, if any.
pub fn fault(case: &Case) -> Option<&'static str> {
    let passes: Vec<&Pass> = case.steps.iter().filter_map(pass_of).collect();
    let bias_only = case.state.weight.is_none() && case.state.bias.is_some();
    let through_bias = |pass: &&Pass| pass.cotangents.as_ref().is_some_and(|given| given.grad_bias.is_some());
    if bias_only && passes.iter().any(through_bias) {
        return Some("bias without weight: the double backward loses or refuses the cotangent of grad_bias");
    }
    let updates = |pass: &&Pass| pass.mode == Mode::Train && case.layer.track_running_stats;
    let deferred_eval = passes.iter().position(|pass| pass.mode == Mode::Eval && pass.backward_at_end);
    if deferred_eval.is_some_and(|at| passes[at..].iter().any(updates)) {
        return Some(
            "a deferred evaluation backward uses running statistics that a later training pass changed",
        );
    }
    if passes.iter().any(|pass| has_ambiguous_strides(pass)) {
        return Some("strides along an axis of extent 1 make grad_output pass for the input's memory order");
    }
    if passes.iter().any(|pass| pass.cotangents.is_some() && is_short(pass.input.dtype)) {
        return Some("second gradients in 16 bits: thirty operations, each rounded, which in f16 overflow");
    }
    None
}

/// libtorch takes its fast backward where input and grad_output are both
/// contiguous in *some* order and both *suggest* the same one
/// (`all_contiguous` in aten/src/ATen/native/Normalization.cpp). The first looks
/// past the strides of axes of extent 1 and the second does not, so that the
/// orders can differ all the same, and elements are taken from the wrong places.
fn has_ambiguous_strides(pass: &Pass) -> bool {
    let strided = |tensor: &Tensor| matches!(tensor.layout, Layout::Strided { .. });
    let Some(grad_output) = &pass.grad_output else { return false };
    (strided(&pass.input) || strided(grad_output))
        && pass.input.shape.len() >= 4
        && pass.input.shape.contains(&1)
}

fn pass_of(step: &Step) -> Option<&Pass> {
    match step {
        Step::BatchNorm(pass) => Some(pass),
        _ => None,
    }
}

/// How many times libtorch may round to the 16-bit format on the way to a result.
///
/// Its scalar kernel for grad_input (aten/src/ATen/native/Normalization.cpp,
/// `batch_norm_backward_cpu_template`) keeps ḡ, k = mean(g·x̂)·invstd and x − μ
/// in the input's format, and rounds after each of: (x − μ)·k, g − ḡ, the
/// difference, ·invstd, ·weight. Eight in all; forward and folding take fewer.
const ROUNDINGS: f64 = 8.0;

/// Widens the allowances of 16-bit steps, each by [`ROUNDINGS`]·u·scale, where
/// scale is the sum of the magnitudes of the terms that make up the element.
pub fn relax(case: &Case, expected: &mut [Expected]) {
    for (step, expected) in case.steps.iter().zip(expected) {
        match step {
            Step::BatchNorm(pass) => relax_pass(case, pass, expected),
            Step::Reset { .. } => {}
            Step::Fold(fold) if is_short(fold.weight.dtype) => relax_all(expected, fold.weight.dtype),
            Step::Merge { parts } if parts.iter().any(|part| is_short(part.dtype)) => {
                relax_all(expected, parts[0].dtype);
            }
            _ => {}
        }
    }
}

/// Products, quotients and well-conditioned sums: the scale is the value itself,
/// beside 1 for the biases and means that went into it.
fn relax_all(expected: &mut Expected, format: DType) {
    for field in expected.fields.values_mut() {
        widen(field, |_, value| ROUNDINGS * unit(format) * (value.abs() + 8.0));
    }
}

fn relax_pass(case: &Case, pass: &Pass, expected: &mut Expected) {
    let format = pass.input.dtype;
    if !is_short(format) {
        return;
    }
    if expected.refused.is_some() {
        // The buffers alone, as earlier steps left them.
        return relax_all(expected, format);
    }
    let channels = Channels::of(case, pass, expected);
    let unit = ROUNDINGS * unit(format);
    for (field, value) in &mut expected.fields {
        match field {
            Field::RunningMean | Field::RunningVar => widen(value, |_, v| unit * (v.abs() + 8.0)),
            Field::GradWeight | Field::GradBias => {
                let sums = if *field == Field::GradBias { &channels.sum_g } else { &channels.sum_g_x_hat };
                widen(value, |c, _| unit * sums[c]);
            }
            Field::GradInput => widen(value, |i, _| unit * channels.grad_input_scale(pass, i)),
            _ => widen(value, |i, _| unit * channels.output_scale(pass, i)),
        }
    }
}

fn widen(field: &mut ExpectedField, more: impl Fn(usize, f64) -> f64) {
    for (i, (allowance, &value)) in field.allowance.iter_mut().zip(&field.value.data).enumerate() {
        if value.is_finite() {
            *allowance += more(i, value);
        }
    }
}

/// Sizes per channel, in plain f64: they only scale a bound.
struct Channels {
    mean: Vec<f64>,
    invstd: Vec<f64>,
    weight: Vec<f64>,
    bias: Vec<f64>,
    /// Σ|g| and Σ|g·x̂|, and how many elements they are over.
    sum_g: Vec<f64>,
    sum_g_x_hat: Vec<f64>,
    count: f64,
}

impl Channels {
    fn of(case: &Case, pass: &Pass, expected: &Expected) -> Self {
        let State { weight, bias, .. } = &case.state;
        let input = &pass.input;
        let number = input.shape[1];
        let count = input.len() as f64 / number.max(1) as f64;
        let per_channel = |term: &dyn Fn(usize) -> f64| {
            let mut sums = vec![0.0; number];
            (0..input.len()).for_each(|i| sums[channel(input, i)] += term(i));
            sums
        };
        let running = |field| expected.fields.get(&field).map(|field| field.value.data.clone());
        let (mean, var) = match (pass.mode, running(Field::RunningMean), running(Field::RunningVar)) {
            (Mode::Eval, Some(mean), Some(var)) => (mean, var),
            _ => {
                let mean: Vec<f64> = per_channel(&|i| input.data[i] / count);
                let var = per_channel(&|i| (input.data[i] - mean[channel(input, i)]).powi(2) / count);
                (mean, var)
            }
        };
        let invstd: Vec<f64> = var.iter().map(|var| 1.0 / (var + case.layer.eps).sqrt()).collect();
        let x_hat = |i: usize| (input.data[i] - mean[channel(input, i)]) * invstd[channel(input, i)];
        let g = |i: usize| pass.grad_output.as_ref().map_or(0.0, |grad| grad.data[i]);
        let sum_g = per_channel(&|i| g(i).abs());
        let sum_g_x_hat = per_channel(&|i| (g(i) * x_hat(i)).abs());
        let parameter = |tensor: &Option<Tensor>, other: f64| {
            tensor.as_ref().map_or_else(|| vec![other; number], |tensor| tensor.data.clone())
        };
        let (weight, bias) = (parameter(weight, 1.0), parameter(bias, 0.0));
        Channels { mean, invstd, weight, bias, sum_g, sum_g_x_hat, count }
    }

    /// |w|·invstd·(|x| + |μ|) + |b|.
    fn output_scale(&self, pass: &Pass, i: usize) -> f64 {
        let c = channel(&pass.input, i);
        (self.weight[c] * self.invstd[c]).abs() * (pass.input.data[i].abs() + self.mean[c].abs())
            + self.bias[c].abs()
    }

    /// |w|·invstd·(|g| + Σ|g|/n + (|x| + |μ|)·invstd·Σ|g·x̂|/n).
    fn grad_input_scale(&self, pass: &Pass, i: usize) -> f64 {
        let c = channel(&pass.input, i);
        let g = pass.grad_output.as_ref().map_or(0.0, |grad| grad.data[i].abs());
        let x_hat = (pass.input.data[i].abs() + self.mean[c].abs()) * self.invstd[c];
        let terms = g + (self.sum_g[c] + x_hat * self.sum_g_x_hat[c]) / self.count;
        (self.weight[c] * self.invstd[c]).abs() * terms
    }
}

/// The channel of the i-th element in row-major order of (N, C, *).
fn channel(tensor: &Tensor, i: usize) -> usize {
    let inner: usize = tensor.shape[2..].iter().product();
    i / inner % tensor.shape[1]
}

fn is_short(format: DType) -> bool {
    matches!(format, DType::F16 | DType::Bf16)
}

/// Half the distance between 1 and the next value.
fn unit(format: DType) -> f64 {
    if format == DType::F16 { 2f64.powi(-11) } else { 2f64.powi(-8) }
}
