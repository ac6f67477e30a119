//! NaN, infinities, zeros and extremes: what they spread to, and what they do not.

use super::Entry;
use super::builder::{Script, script};
use crate::tensor::DType::{Bf16, F16, F32, F64};

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

pub(super) fn cases() -> Vec<Entry> {
    [training(), evaluation(), state(), gradients()].concat()
}

/// Four samples of three channels, the middle one with this value in row 1.
fn with(value: f64) -> [f64; 12] {
    [1.0, 2.0, -3.0, 0.5, value, 4.0, -1.5, 0.25, 2.0, 3.0, -2.0, 1.0]
}

fn layer(name: &str, note: &str) -> Script {
    script(name, &[4, 3], note)
}

fn training() -> Vec<Entry> {
    vec![
        layer(
            "special-values/nan-in-training",
            "One NaN turns its channel's output, gradients and both \
             running statistics to NaN; the other channels do not notice.",
        )
        .train_on(&with(NAN))
        .grad()
        .train()
        .stored(),
        layer(
            "special-values/infinity-in-training",
            "One +∞: output and running_var of its channel are \
             NaN, running_mean is +∞.",
        )
        .train_on(&with(INF))
        .grad()
        .stored(),
        layer(
            "special-values/minus-infinity-in-training",
            "One −∞: output and running_var of its \
             channel are NaN, running_mean is −∞.",
        )
        .train_on(&with(-INF))
        .grad()
        .stored(),
        layer("special-values/both-infinities-in-training", "+∞ and −∞ in one channel: its mean is NaN.")
            .train_on(&[1.0, INF, 2.0, 3.0, -INF, 4.0, 5.0, 0.0, -6.0, 7.0, 1.0, 8.0])
            .grad()
            .stored(),
        script(
            "special-values/nan-in-an-image",
            &[2, 3, 2, 3],
            "One NaN pixel takes its channel in \
             every image of the batch, and no other.",
        )
        .train_on(&one_nan(36, 20))
        .grad()
        .stored(),
        layer(
            "special-values/nan-low-precision",
            "A NaN through bf16 with f32 buffers stays in its \
             channel.",
        )
        .dtypes(Bf16, F32)
        .train_on(&with(NAN))
        .grad()
        .stored(),
        layer(
            "special-values/nan-poisons-later-evaluations",
            "After a NaN batch evaluation is NaN in \
             that channel for good.",
        )
        .train_on(&with(NAN))
        .train()
        .eval()
        .stored(),
    ]
}

fn one_nan(count: usize, place: usize) -> Vec<f64> {
    (0..count).map(|i| if i == place { NAN } else { (i * 5 % 13) as f64 / 4.0 - 1.0 }).collect()
}

fn evaluation() -> Vec<Entry> {
    vec![
        layer(
            "special-values/nan-in-evaluation",
            "In evaluation a NaN stays in its element; grad_input does not contain x and is finite.",
        )
        .eval_on(&with(NAN))
        .grad()
        .stored(),
        layer(
            "special-values/infinity-in-evaluation",
            "In evaluation +∞ gives ±∞ in its element, by the weight's sign.",
        )
        .weight(&[1.5, -2.0, 0.5])
        .eval_on(&with(INF))
        .grad()
        .stored(),
        layer("special-values/minus-infinity-in-evaluation", "In evaluation −∞ gives ∓∞ in its element.")
            .weight(&[1.5, -2.0, 0.5])
            .eval_on(&with(-INF))
            .stored(),
        script("special-values/nan-in-an-evaluated-image", &[2, 3, 2, 3], "One NaN pixel of 36 stays one.")
            .channels_last()
            .eval_on(&one_nan(36, 20))
            .stored(),
        layer(
            "special-values/negative-zero",
            "−0 and 0 are the same value to the statistics and to every answer.",
        )
        .train_on(&[0.0, -0.0, 1.0, -0.0, 0.0, 2.0, 0.0, -0.0, 4.0, -0.0, 0.0, -1.0])
        .grad()
        .eval_on(&[0.0, -0.0, 1.0, -0.0, 0.0, 2.0, 0.0, -0.0, 4.0, -0.0, 0.0, -1.0])
        .stored(),
    ]
}

fn state() -> Vec<Entry> {
    vec![
        layer("special-values/running-var-nan", "A NaN running variance gives NaN in its channel only.")
            .buffers(&[0.5, -1.0, 2.0], &[NAN, 4.0, 0.25])
            .eval()
            .grad()
            .stored(),
        layer(
            "special-values/running-var-negative",
            "A running variance of −1 gives NaN: no absolute \
             value, no clamp at 0.",
        )
        .buffers(&[0.5, -1.0, 2.0], &[1.5, -1.0, 0.25])
        .eval()
        .grad()
        .stored(),
        layer(
            "special-values/running-var-infinite",
            "An infinite running variance gives the bias, and \
             grad_input 0.",
        )
        .buffers(&[0.5, -1.0, 2.0], &[1.5, 4.0, INF])
        .eval()
        .grad()
        .stored(),
        layer("special-values/running-var-zero", "A running variance of 0 leaves eps alone under the root.")
            .eps(0.25)
            .buffers(&[0.5, -1.0, 2.0], &[0.0, 4.0, 0.0])
            .eval()
            .grad()
            .stored(),
        layer(
            "special-values/running-mean-nan",
            "A NaN running mean gives NaN in its channel; \
             grad_input, which does not contain it, is finite.",
        )
        .buffers(&[0.5, NAN, 2.0], &[1.5, 4.0, 0.25])
        .eval()
        .grad()
        .stored(),
        layer(
            "special-values/running-mean-infinite",
            "An infinite running mean gives an infinite \
             output of the other sign.",
        )
        .weight(&[1.5, -2.0, 0.5])
        .buffers(&[INF, -INF, 2.0], &[1.5, 4.0, 0.25])
        .eval()
        .stored(),
        layer(
            "special-values/weight-nan",
            "A NaN weight gives NaN output and grad_input in its \
             channel; grad_weight and grad_bias are finite.",
        )
        .weight(&[NAN, 1.5, -2.0])
        .train()
        .grad()
        .stored(),
        layer(
            "special-values/weight-zero-hides-no-nan",
            "0·NaN is NaN: a weight of 0 does not mask a \
             NaN batch.",
        )
        .weight(&[0.0; 3])
        .train_on(&with(NAN))
        .grad()
        .eval_on(&with(NAN))
        .stored(),
        layer(
            "special-values/bias-infinite",
            "An infinite bias makes its channel infinite, and no \
             gradient.",
        )
        .bias(&[INF, -INF, 0.5])
        .train()
        .grad()
        .stored(),
        layer(
            "special-values/eps-nan",
            "A NaN eps is accepted, and makes output and grad_input NaN; \
             the running statistics do not contain it.",
        )
        .eps(NAN)
        .train()
        .grad()
        .stored(),
        layer(
            "special-values/eps-nan-in-evaluation",
            "A NaN eps is accepted in evaluation \
             too.",
        )
        .eps(NAN)
        .eval()
        .stored(),
        layer(
            "special-values/eps-infinite",
            "An infinite eps is accepted: x̂ is 0, so the output is \
             the bias.",
        )
        .eps(INF)
        .train()
        .grad()
        .eval()
        .stored(),
        layer(
            "special-values/eps-zero-in-evaluation",
            "eps = 0 is accepted in evaluation, with \
             positive running variances.",
        )
        .eps(0.0)
        .eval()
        .grad()
        .stored(),
    ]
}

fn gradients() -> Vec<Entry> {
    let nan_gradient = [0.5, 1.0, -2.0, 0.25, NAN, 1.0, 3.0, -1.0, 0.75, 2.0, 0.5, -0.5];
    let infinite_gradient = nan_gradient.map(|g| if g.is_nan() { INF } else { g });
    vec![
        layer(
            "special-values/nan-gradient",
            "A NaN in grad_output: in training its channel's gradients \
             are NaN, in evaluation grad_input is so in one element.",
        )
        .train()
        .grad_of(&nan_gradient)
        .eval()
        .grad_of(&nan_gradient)
        .stored(),
        layer(
            "special-values/infinite-gradient",
            "An ∞ in grad_output: NaN in its channel in training, \
             ±∞ in one element in evaluation.",
        )
        .train()
        .grad_of(&infinite_gradient)
        .eval()
        .grad_of(&infinite_gradient)
        .stored(),
        layer(
            "special-values/f64-largest-range",
            "f64 values from 1e-300 to 1e3 in one channel: the \
             small ones are no less than 0.",
        )
        .dtype(F64)
        .train_on(&[1e-300, 1.0, 1e3, 2e-300, 2.0, -1e3, -1e-300, 4.0, 5e2, 1e3, 1e-5, 1e-12])
        .grad()
        .stored(),
        script(
            "special-values/f16-largest",
            &[2, 3],
            "±65 504, f16's largest: mean 0 and a deviation \
             that f16 holds, squares that it does not.",
        )
        .dtypes(F16, F32)
        .train_on(&[65504.0, 1.0, -65504.0, -65504.0, 2.0, 65504.0])
        .grad()
        .stored(),
        layer("special-values/integers-in-f32", "2²³ + 1025·{0, 1, 2}: exact in f32, but their sum is not.")
            .train_on(&[0., 1., 2., 1., 2., 0., 2., 0., 1., 1., 0., 2.].map(|x| 8_388_608.0 + 1025.0 * x))
            .stored(),
    ]
}
