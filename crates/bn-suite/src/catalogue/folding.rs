//! Folding an evaluating layer into the linear map or convolution before it:
//! with s = weight/√(running_var + eps), W′ = W·s over the output channels and
//! b′ = (b − running_mean)·s + bias.

use super::Entry;
use super::builder::{Script, script};
use crate::case::FoldInto::{Conv, ConvTranspose, Linear};
use crate::tensor::DType::{Bf16, F16, F32, F64};

pub(super) fn cases() -> Vec<Entry> {
    [maps(), layers(), refused()].concat()
}

fn maps() -> Vec<Entry> {
    let four = |name: &str, note: &str| script(name, &[3, 4, 2, 2], note);
    vec![
        script(
            "folding/linear",
            &[3, 4],
            "A linear map (out, in): s multiplies rows, not \
             columns.",
        )
        .fold(Linear, 1, &[4, 3], true)
        .stored(),
        script(
            "folding/linear-without-bias",
            &[3, 4],
            "A map without bias has one after folding \
             (ncnn#1339).",
        )
        .fold(Linear, 1, &[4, 3], false)
        .stored(),
        script(
            "folding/linear-square",
            &[3, 4],
            "As many inputs as outputs: rows and columns have the \
             same length.",
        )
        .fold(Linear, 1, &[4, 4], true)
        .stored(),
        script("folding/conv1d", &[3, 4, 5], "A 1-d convolution (out, in, k).")
            .fold(Conv, 1, &[4, 3, 5], true)
            .stored(),
        four("folding/conv2d", "A 2-d convolution (out, in, kh, kw).")
            .fold(Conv, 1, &[4, 3, 3, 2], true)
            .stored(),
        four(
            "folding/conv2d-without-bias",
            "A convolution without bias, as before batch norm it \
             usually is.",
        )
        .fold(Conv, 1, &[4, 2, 3, 3], false)
        .stored(),
        four("folding/conv2d-square", "4 inputs, 4 outputs: the axis must be the first.")
            .fold(Conv, 1, &[4, 4, 1, 3], true)
            .stored(),
        script(
            "folding/conv3d",
            &[2, 3, 2, 2, 2],
            "A 3-d convolution (out, in, kd, kh, \
             kw).",
        )
        .fold(Conv, 1, &[3, 2, 2, 1, 2], true)
        .stored(),
        four(
            "folding/conv-groups",
            "2 groups: (out, in/2, kh, kw), output channels still first \
             (ultralytics#25364).",
        )
        .fold(Conv, 2, &[4, 3, 2, 2], true)
        .stored(),
        four("folding/conv-depthwise", "As many groups as channels: (C, 1, kh, kw), one filter for each s.")
            .fold(Conv, 4, &[4, 1, 3, 3], true)
            .stored(),
        four(
            "folding/transposed",
            "A transposed convolution (in, out, kh, kw): output channels \
             second.",
        )
        .fold(ConvTranspose, 1, &[3, 4, 2, 3], true)
        .stored(),
        four(
            "folding/transposed-square",
            "4 inputs, 4 outputs: the axis must be the \
             second.",
        )
        .fold(ConvTranspose, 1, &[4, 4, 2, 2], false)
        .stored(),
        four(
            "folding/transposed-groups",
            "2 groups: (in, out/2, kh, kw); the second half of the inputs \
             makes the second half of the outputs (pytorch#180995).",
        )
        .fold(ConvTranspose, 2, &[6, 2, 2, 2], true)
        .stored(),
        four(
            "folding/transposed-depthwise",
            "As many groups as channels: (C, 1, kh, \
             kw).",
        )
        .fold(ConvTranspose, 4, &[4, 1, 2, 3], true)
        .stored(),
    ]
}

fn layers() -> Vec<Entry> {
    let linear = |script: Script| script.fold(Linear, 1, &[4, 3], true).stored();
    let layer = |name: &str, note: &str| script(name, &[5, 4], note);
    vec![
        linear(
            layer(
                "folding/without-affine",
                "No weight and bias: s = 1/√(running_var + \
             eps).",
            )
            .no_affine(),
        ),
        linear(
            layer(
                "folding/weight-alone",
                "A weight and no bias: b′ is (b − running_mean)·s, and not left out.",
            )
            .no_bias(),
        ),
        linear(
            layer(
                "folding/bias-alone",
                "A bias and no weight: s has no weight in it, b′ still ends with the bias.",
            )
            .no_weight(),
        ),
        linear(layer("folding/eps", "eps as large as the running variance, under the root.").eps(2.0)),
        linear(
            layer(
                "folding/tracking-stopped",
                "A layer that no longer tracks folds with the buffers \
             that it has.",
            )
            .stop_tracking(),
        ),
        linear(layer("folding/f64", "In f64: s is not rounded to f32 on the way.").dtype(F64)),
        linear(
            layer(
                "folding/f16-with-f32",
                "An f16 map and f32 parameters: computed in f32, answered \
             in f16.",
            )
            .dtypes(F16, F32),
        ),
        linear(
            layer(
                "folding/bf16",
                "bf16 throughout: the folded map is rounded to 8 bits, s before it is not.",
            )
            .dtype(Bf16),
        ),
        layer(
            "folding/after-training",
            "Fold after a training step, then evaluate: the running \
             statistics as training left them, and folding leaves them alone.",
        )
        .train()
        .fold(Linear, 1, &[4, 3], true)
        .eval()
        .stored(),
        layer("folding/stale-after-training", "Fold, train, fold: the second differs from the first.")
            .fold(Linear, 1, &[4, 3], true)
            .train()
            .fold(Linear, 1, &[4, 3], true)
            .stored(),
    ]
}

fn refused() -> Vec<Entry> {
    vec![
        script(
            "folding/refused-without-buffers",
            &[5, 4],
            "Without running statistics there is nothing constant to fold.",
        )
        .no_buffers()
        .fold(Linear, 1, &[4, 3], true)
        .train()
        .stored(),
        script(
            "folding/refused-other-channels",
            &[5, 4],
            "A map with 3 outputs before a layer of 4 channels.",
        )
        .fold(Linear, 1, &[3, 4], false)
        .eval()
        .stored(),
    ]
}
