//! Arithmetic in too few bits, formulas that cancel, roundings that are none.

use super::{Mutant, mutant};
use crate::case::State;
use crate::engines::textbook::formulas::{self, Channel, Statistics};
use crate::engines::textbook::module;
use crate::engines::textbook::recipe::{Context, Recipe};
use crate::engines::textbook::rounding::round;
use crate::tensor::DType;

pub(super) fn mutants() -> Vec<Mutant> {
    [sums(), one_pass(), kept_in_few_bits(), roundings(), approximations()].into_iter().flatten().collect()
}

fn is_16_bits(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::Bf16)
}

/// The arithmetic of a kernel that is otherwise right: f64 for f64, f32 for the rest.
fn arithmetic(cx: &Context) -> DType {
    if cx.input == DType::F64 { DType::F64 } else { DType::F32 }
}

/// A running sum, each partial sum rounded to the dtype.
fn recursive_sum(values: &[f64], dtype: DType) -> f64 {
    values.iter().fold(0.0, |total, value| round(total + value, dtype))
}

fn rounded(statistics: Statistics, dtype: DType) -> Statistics {
    let Statistics { mean, mean_rest, var_biased } = statistics;
    Statistics { mean: round(mean + mean_rest, dtype), mean_rest: 0.0, var_biased: round(var_biased, dtype) }
}

fn sums() -> Vec<Mutant> {
    vec![
        mutant!("sums-in-16-bits", "sums over 16-bit input are accumulated in 16 bits", "pytorch#126525", {
            fn sum(&self, values: &[f64], cx: &Context) -> f64 {
                if is_16_bits(cx.input) { recursive_sum(values, cx.input) } else { formulas::sum(values) }
            }
        }),
        mutant!(
            "statistics-summed-in-bf16",
            "the mean of bf16 input is accumulated in bf16",
            "coreai-torch#54",
            {
                fn mean(&self, x: &[f64], cx: &Context) -> (f64, f64) {
                    if cx.input != DType::Bf16 {
                        return formulas::mean(self, x, cx);
                    }
                    (recursive_sum(x, DType::Bf16) / x.len() as f64, 0.0)
                }
            }
        ),
        mutant!("squares-in-f16", "the squared deviations of f16 input are f16, and overflow", "", {
            fn var_biased(&self, x: &[f64], mean: f64, rest: f64, cx: &Context) -> f64 {
                if cx.input != DType::F16 {
                    return formulas::var_biased(self, x, mean, rest, cx);
                }
                let squares: Vec<f64> =
                    x.iter().map(|x| round((x - mean - rest).powi(2), DType::F16)).collect();
                self.sum(&squares, cx) / x.len() as f64
            }
        }),
        mutant!("gradient-sums-in-16-bits", "Σg of 16-bit gradients is accumulated in 16 bits", "", {
            fn grad_bias(&self, _channel: &Channel, g: &[f64], cx: &Context) -> f64 {
                if is_16_bits(cx.input) { recursive_sum(g, cx.input) } else { self.sum(g, cx) }
            }
        }),
        mutant!("f64-summed-in-f32", "sums over f64 input are accumulated in f32", "", {
            fn sum(&self, values: &[f64], cx: &Context) -> f64 {
                if cx.input == DType::F64 { recursive_sum(values, DType::F32) } else { formulas::sum(values) }
            }
        }),
    ]
}

/// E[x²] − E[x]², every operation rounded to the arithmetic.
fn cancelling_var(x: &[f64], cx: &Context) -> f64 {
    let dtype = arithmetic(cx);
    let n = x.len() as f64;
    let squares: Vec<f64> = x.iter().map(|x| round(x * x, dtype)).collect();
    let mean = round(round(formulas::sum(x), dtype) / n, dtype);
    let mean_square = round(round(formulas::sum(&squares), dtype) / n, dtype);
    round(mean_square - round(mean * mean, dtype), dtype)
}

fn one_pass() -> Vec<Mutant> {
    vec![
        mutant!("one-pass", "the variance is E[x²] − E[x]²", "tensorflow#25115", {
            fn var_biased(&self, x: &[f64], _mean: f64, _rest: f64, cx: &Context) -> f64 {
                cancelling_var(x, cx)
            }
        }),
        mutant!("one-pass-clamped", "the variance is max(E[x²] − E[x]², 0)", "flax#1491", {
            fn var_biased(&self, x: &[f64], _mean: f64, _rest: f64, cx: &Context) -> f64 {
                let var = cancelling_var(x, cx);
                if var < 0.0 { 0.0 } else { var }
            }
        }),
        mutant!("one-pass-in-f64-only", "the variance of f64 input is E[x²] − E[x]²", "", {
            fn var_biased(&self, x: &[f64], mean: f64, rest: f64, cx: &Context) -> f64 {
                if cx.input == DType::F64 {
                    return cancelling_var(x, cx);
                }
                formulas::var_biased(self, x, mean, rest, cx)
            }
        }),
        mutant!(
            "one-pass-for-16-bits-only",
            "the variance of 16-bit input is E[x²] − E[x]²",
            "tt-metal#45968",
            {
                fn var_biased(&self, x: &[f64], mean: f64, rest: f64, cx: &Context) -> f64 {
                    if is_16_bits(cx.input) {
                        return cancelling_var(x, cx);
                    }
                    formulas::var_biased(self, x, mean, rest, cx)
                }
            }
        ),
        mutant!(
            "one-pass-about-running-mean",
            "E[(x − r)²] − E[x − r]² about the running mean r",
            "",
            {
                fn statistics(&self, state: &State, values: &[f64], cx: &Context) -> Vec<Statistics> {
                    let mut all = module::statistics(self, state, values, cx);
                    for (c, statistics) in all.iter_mut().enumerate().filter(|_| cx.own_statistics) {
                        let shift = state.running_mean.as_ref().map_or(0.0, |mean| mean.data[c]);
                        let x = self.gather(values, &cx.at(c));
                        let shifted: Vec<f64> = x.iter().map(|x| round(x - shift, arithmetic(cx))).collect();
                        statistics.var_biased = cancelling_var(&shifted, cx);
                    }
                    all
                }
            }
        ),
    ]
}

fn kept_in_few_bits() -> Vec<Mutant> {
    vec![
        mutant!("f64-through-f32", "the statistics of f64 input are kept in f32", "", {
            fn statistics(&self, state: &State, values: &[f64], cx: &Context) -> Vec<Statistics> {
                let all = module::statistics(self, state, values, cx);
                match cx.input {
                    DType::F64 => all.into_iter().map(|one| rounded(one, DType::F32)).collect(),
                    _ => all,
                }
            }
        }),
        mutant!("f64-output-through-f32", "x̂ of f64 input is kept in f32", "", {
            fn normalise(&self, x: &[f64], statistics: &Statistics, cx: &Context) -> Vec<f64> {
                let mut x_hat = formulas::normalise(self, x, statistics, cx);
                if cx.input == DType::F64 {
                    x_hat.iter_mut().for_each(|value| *value = round(*value, DType::F32));
                }
                x_hat
            }
        }),
        mutant!("f64-gradient-through-f32", "grad_input of f64 input is kept in f32", "", {
            fn grad_input(&self, channel: &Channel, g: &[f64], cx: &Context) -> Vec<f64> {
                let mut input = formulas::grad_input(self, channel, g, cx);
                if cx.input == DType::F64 {
                    input.iter_mut().for_each(|value| *value = round(*value, DType::F32));
                }
                input
            }
        }),
        mutant!(
            "statistics-in-16-bits",
            "mean and variance of 16-bit input are kept in 16 bits, though parameters are f32",
            "",
            {
                fn statistics(&self, state: &State, values: &[f64], cx: &Context) -> Vec<Statistics> {
                    let all = module::statistics(self, state, values, cx);
                    if is_16_bits(cx.input) {
                        all.into_iter().map(|one| rounded(one, cx.input)).collect()
                    } else {
                        all
                    }
                }
            }
        ),
        mutant!(
            "deviation-in-16-bits",
            "1/σ of 16-bit input is kept in 16 bits, though parameters are f32",
            "",
            {
                fn invstd(&self, statistics: &Statistics, cx: &Context) -> f64 {
                    let right = 1.0 / (statistics.var_biased + cx.layer.eps).sqrt();
                    if is_16_bits(cx.input) { round(right, cx.input) } else { right }
                }
            }
        ),
        mutant!("buffers-in-16-bits", "running statistics pass through the dtype of a 16-bit input", "", {
            fn running_update(&self, old: f64, batch: f64, momentum: f64, cx: &Context) -> f64 {
                let new = (1.0 - momentum) * old + momentum * batch;
                if is_16_bits(cx.input) { round(new, cx.input) } else { new }
            }
        }),
        mutant!("weight-in-16-bits", "an f32 weight is cast to the dtype of a 16-bit input", "", {
            fn affine(
                &self,
                x_hat: &[f64],
                weight: Option<f64>,
                bias: Option<f64>,
                cx: &Context,
            ) -> Vec<f64> {
                let low = is_16_bits(cx.input);
                let cast = |weight: f64| if low { round(weight, cx.input) } else { weight };
                formulas::affine(x_hat, weight.map(cast), bias)
            }
        }),
        mutant!("x-hat-in-16-bits", "x̂ of 16-bit input is rounded before weight and bias", "", {
            fn normalise(&self, x: &[f64], statistics: &Statistics, cx: &Context) -> Vec<f64> {
                let x_hat = formulas::normalise(self, x, statistics, cx);
                let low = is_16_bits(cx.input);
                x_hat.into_iter().map(|value| if low { round(value, cx.input) } else { value }).collect()
            }
        }),
        mutant!("difference-in-16-bits", "x − μ of 16-bit input is rounded to 16 bits", "", {
            fn normalise(&self, x: &[f64], statistics: &Statistics, cx: &Context) -> Vec<f64> {
                if !is_16_bits(cx.input) {
                    return formulas::normalise(self, x, statistics, cx);
                }
                let s = self.invstd(statistics, cx);
                x.iter().map(|x| round(x - statistics.mean - statistics.mean_rest, cx.input) * s).collect()
            }
        }),
        mutant!(
            "gradient-means-in-16-bits",
            "grad_input's means are rounded to 16 bits for 16-bit input",
            "",
            {
                fn through_normalisation(&self, channel: &Channel, a: &[f64], cx: &Context) -> Vec<f64> {
                    if !is_16_bits(cx.input) || !cx.own_statistics {
                        return formulas::through_normalisation(self, channel, a, cx);
                    }
                    let mean = round(self.sum(a, cx) / channel.n(), cx.input);
                    let slope = round(self.dot(a, &channel.x_hat, cx) / channel.n(), cx.input);
                    let pairs = a.iter().zip(&channel.x_hat);
                    pairs.map(|(a, x_hat)| channel.invstd * (a - mean - x_hat * slope)).collect()
                }
            }
        ),
        mutant!(
            "n-in-16-bits",
            "n is counted in the dtype of a 16-bit input: 257 becomes 256 in bf16",
            "",
            {
                fn mean(&self, x: &[f64], cx: &Context) -> (f64, f64) {
                    if !is_16_bits(cx.input) {
                        return formulas::mean(self, x, cx);
                    }
                    (self.sum(x, cx) / round(x.len() as f64, cx.input), 0.0)
                }
            }
        ),
    ]
}

fn roundings() -> Vec<Mutant> {
    /// The value of the dtype next to `value` on the side of 0.
    fn truncated(value: f64, dtype: DType) -> f64 {
        let nearest = round(value, dtype);
        if nearest.abs() <= value.abs() || value.is_nan() {
            return nearest;
        }
        // Half a step back and to nearest again: the step of the dtype at this size is `ulp`.
        let bits = if dtype == DType::Bf16 { 8 } else { 11 };
        let ulp = 2f64.powi(value.abs().log2().floor() as i32 - bits + 1);
        round(value - value.signum() * ulp / 2.0, dtype)
    }
    vec![
        mutant!("bf16-truncated", "bf16 is the upper half of f32, cut off and not rounded", "", {
            fn round(&self, value: f64, dtype: DType) -> f64 {
                if dtype == DType::Bf16 { truncated(value, dtype) } else { round(value, dtype) }
            }
        }),
        mutant!("f16-truncated", "f16 answers are cut off and not rounded", "", {
            fn round(&self, value: f64, dtype: DType) -> f64 {
                if dtype == DType::F16 { truncated(value, dtype) } else { round(value, dtype) }
            }
        }),
        mutant!("f16-saturates", "what is too large for f16 becomes its largest value, not infinity", "", {
            fn round(&self, value: f64, dtype: DType) -> f64 {
                let right = round(value, dtype);
                let overflows = dtype == DType::F16 && right.is_infinite() && value.is_finite();
                if overflows { value.signum() * 65504.0 } else { right }
            }
        }),
        mutant!("f32-subnormals-flushed", "f32 answers below the smallest normal one become 0", "", {
            fn round(&self, value: f64, dtype: DType) -> f64 {
                let right = round(value, dtype);
                let tiny = dtype == DType::F32 && right.abs() < f64::from(f32::MIN_POSITIVE);
                if tiny { 0.0 } else { right }
            }
        }),
        mutant!("f16-subnormals-flushed", "f16 answers below the smallest normal one become 0", "", {
            fn round(&self, value: f64, dtype: DType) -> f64 {
                let right = round(value, dtype);
                if dtype == DType::F16 && right.abs() < 2f64.powi(-14) { 0.0 } else { right }
            }
        }),
    ]
}

fn approximations() -> Vec<Mutant> {
    vec![
        mutant!("fast-inverse-root", "1/σ is good to 12 bits: the machine's estimate, not refined", "", {
            fn invstd(&self, statistics: &Statistics, cx: &Context) -> f64 {
                (1.0 - 2f64.powi(-12)) / (statistics.var_biased + cx.layer.eps).sqrt()
            }
        }),
        mutant!("inverse-root-to-17-bits", "1/σ is good to 17 bits", "", {
            fn invstd(&self, statistics: &Statistics, cx: &Context) -> f64 {
                (1.0 + 2f64.powi(-17)) / (statistics.var_biased + cx.layer.eps).sqrt()
            }
        }),
        mutant!("f64-inverse-root-to-46-bits", "1/σ of f64 input is good to 46 bits", "", {
            fn invstd(&self, statistics: &Statistics, cx: &Context) -> f64 {
                let right = 1.0 / (statistics.var_biased + cx.layer.eps).sqrt();
                if cx.input == DType::F64 { right * (1.0 + 2f64.powi(-46)) } else { right }
            }
        }),
    ]
}
