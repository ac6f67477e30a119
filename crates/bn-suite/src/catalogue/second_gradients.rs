//! Second gradients: those of S = Σ u·grad_input + Σ v·grad_weight + Σ t·grad_bias
//! with respect to grad_output, input and weight. Gradient penalties and
//! second-order methods need them; most engines have them untested.

use super::Entry;
use super::builder::{Script, script};
use super::fill::Fill;
use crate::outcome::Field;
use crate::tensor::DType::{F16, F32, F64};

pub(super) fn cases() -> Vec<Entry> {
    [affine(), cotangents(), shapes(), special()].concat()
}

fn layer(name: &str, note: &str) -> Script {
    script(name, &[4, 3], note).dtype(F64)
}

fn affine() -> Vec<Entry> {
    vec![
        layer("second-gradients/weight-and-bias", "All three cotangents in training.")
            .train()
            .grad()
            .second(true, true, true)
            .stored(),
        layer("second-gradients/neither", "No weight and bias: grad_input's cotangent alone.")
            .no_affine()
            .train()
            .grad()
            .second(true, false, false)
            .stored(),
        layer(
            "second-gradients/weight-alone",
            "A weight without bias: grad_bias's cotangent falls away, nothing else does.",
        )
        .no_bias()
        .train()
        .grad()
        .second(true, true, false)
        .stored(),
        layer("second-gradients/bias-alone", "A bias without weight: grad_input's cotangent.")
            .no_weight()
            .train()
            .grad()
            .second(true, false, false)
            .stored(),
        layer(
            "second-gradients/bias-alone-of-grad-bias",
            "A bias without weight: ∂grad_bias/∂grad_output is 1, and t must arrive in second_grad_output.",
        )
        .no_weight()
        .train()
        .grad()
        .second(false, false, true)
        .disputed_by_libtorch(&[Field::SecondGradOutput], BIAS_ALONE)
        .stored(),
        layer("second-gradients/eval", "All three cotangents in evaluation: only grad_weight depends on x.")
            .eval()
            .grad()
            .second(true, true, true)
            .stored(),
        layer(
            "second-gradients/eval-neither",
            "Evaluation without weight and bias: grad_input does not depend on x at all.",
        )
        .no_affine()
        .eval()
        .grad()
        .second(true, false, false)
        .stored(),
        layer("second-gradients/eval-weight-alone", "Evaluation, a weight without bias.")
            .no_bias()
            .eval()
            .grad()
            .second(true, true, false)
            .stored(),
        layer(
            "second-gradients/eval-bias-alone",
            "Evaluation, a bias without weight: t must arrive in second_grad_output.",
        )
        .no_weight()
        .eval()
        .grad()
        .second(false, false, true)
        .disputed_by_libtorch(&[Field::SecondGradOutput], BIAS_ALONE)
        .stored(),
        layer(
            "second-gradients/eval-without-buffers",
            "Evaluation with batch statistics: training's second gradients.",
        )
        .untracked()
        .eval()
        .grad()
        .second(true, true, true)
        .stored(),
    ]
}

pub(super) const BIAS_ALONE: &str = "Without a weight libtorch's double backward drops the bias gradient's part, ∂grad_bias/∂grad_output = 1; \
                          grad_bias = Σ grad_output, so its derivative is 1 with or without a weight.";

fn cotangents() -> Vec<Entry> {
    vec![
        layer(
            "second-gradients/of-grad-input",
            "u alone: the second derivative of the normalisation itself.",
        )
        .train()
        .grad()
        .second(true, false, false)
        .stored(),
        layer("second-gradients/of-grad-weight", "v alone: v·g taken back through the normalisation.")
            .train()
            .grad()
            .second(false, true, false)
            .stored(),
        layer(
            "second-gradients/of-grad-bias",
            "t alone: second_grad_output is t everywhere, the others are 0.",
        )
        .train()
        .grad()
        .second(false, false, true)
        .stored(),
        layer("second-gradients/of-grad-weight-eval", "v alone in evaluation: v·invstd·g and v·x̂.")
            .eval()
            .grad()
            .second(false, true, false)
            .stored(),
        layer("second-gradients/deferred", "The double backward, too, belongs to its own forward pass.")
            .train()
            .grad()
            .second(true, true, true)
            .deferred()
            .train()
            .stored(),
        layer("second-gradients/in-turn", "Training and evaluation in turn, with second gradients each.")
            .train()
            .grad()
            .second(true, true, true)
            .eval()
            .grad()
            .second(true, true, true)
            .stored(),
    ]
}

fn shapes() -> Vec<Entry> {
    let shaped = |name: &str, shape: &[usize], note: &str| script(name, shape, note).dtype(F64);
    let both = |script: Script| {
        script.train().grad().second(true, true, true).eval().grad().second(true, true, true).stored()
    };
    vec![
        both(shaped("second-gradients/sequence", &[2, 3, 5], "(N, C, L), training and evaluation.")),
        both(shaped("second-gradients/image", &[2, 3, 2, 4], "(N, C, H, W), training and evaluation.")),
        both(shaped(
            "second-gradients/volume",
            &[2, 2, 2, 3, 2],
            "(N, C, D, H, W), training and evaluation.",
        )),
        both(
            shaped(
                "second-gradients/channels-last",
                &[2, 3, 2, 4],
                "Channels last, training and evaluation.",
            )
            .channels_last(),
        ),
        both(
            shaped(
                "second-gradients/strided",
                &[2, 3, 5],
                "Rows of longer sequences, training and evaluation.",
            )
            .arranged(super::arrangement::Arrangement::Rows),
        ),
    ]
}

fn special() -> Vec<Entry> {
    let all = |script: Script| script.train().grad().second(true, true, true).stored();
    vec![
        all(layer(
            "second-gradients/eps",
            "eps as large as the variance: invstd's own derivative, −invstd²·x̂/n, has eps in it.",
        )
        .eps(4.0)),
        all(layer(
            "second-gradients/weight-zero",
            "A weight of 0 stops what u sends to input and grad_output, not to the weight.",
        )
        .weight(&[0.0, -1.5, 0.0])),
        all(script(
            "second-gradients/two-values",
            &[2, 3],
            "n = 2 and eps = 0.5: the smallest batch, with the largest correction.",
        )
        .dtype(F64)
        .eps(0.5)),
        all(layer(
            "second-gradients/constant-channel",
            "Variance 0 and eps = 0.25: x̂ is 0, and half of the terms with it.",
        )
        .eps(0.25)
        .fill(Fill::Constant(1.5))),
        all(script("second-gradients/f32", &[5, 3], "The same in f32: sums of products of three \
             factors, each rounded.")),
        script(
            "second-gradients/f16-with-f32",
            &[5, 3],
            "f16 data with f32 parameters: computed in f32, rounded at the end.",
        )
        .dtypes(F16, F32)
        .train()
        .grad()
        .second(true, true, true)
        .disputed_by_libtorch(
            &[Field::SecondGradOutput, Field::SecondGradInput, Field::SecondGradWeight],
            "libtorch's double backward is some thirty tensor operations, each rounded to f16; with f32 parameters \
             nothing but the answers needs to be.",
        )
        .stored(),
    ]
}
