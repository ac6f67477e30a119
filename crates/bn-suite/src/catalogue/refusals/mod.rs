//! What PyTorch declines. A refused step answers buffers and counter as it left
//! them (counted, mostly, and otherwise untouched), and the step after it must
//! find the layer unharmed.

mod dtypes;
mod order;

use super::Entry;
use super::builder::{Script, script};
use crate::case::Rank;
use crate::tensor::{DType, Tensor};

pub(super) fn cases() -> Vec<Entry> {
    [ranks(), sizes(), lengths(), eps(), dtypes::cases(), order::cases(), gradients(), accepted()].concat()
}

/// Two refused steps of a shape, one in each mode, between steps that work.
fn refused(layer: Script, shape: &[usize], good: &[usize]) -> Entry {
    layer.train().batch(shape).train().eval().batch(good).train().eval().stored()
}

/// As [`refused`], for a shape without a channel axis.
fn refused_vector(layer: Script, good: &[usize]) -> Entry {
    let values = [1.0, 2.0, -3.0];
    layer.train().batch(&[3]).train_on(&values).eval_on(&values).batch(good).train().eval().stored()
}

fn ranks() -> Vec<Entry> {
    let one = |name: &str, note: &str| script(name, &[4, 3], note);
    let two = |name: &str, note: &str| script(name, &[2, 3, 2, 3], note);
    let three = |name: &str, note: &str| script(name, &[2, 3, 2, 1, 3], note);
    let (flat, image, volume) = ([4, 3], [2, 3, 2, 3], [2, 3, 2, 1, 3]);
    vec![
        refused_vector(
            one(
                "refusals/1d-takes-no-vector",
                "BatchNorm1d on rank 1: expected 2D or 3D input (got 1D input); not counted.",
            ),
            &flat,
        ),
        refused(
            one(
                "refusals/1d-takes-no-4d",
                "BatchNorm1d on rank 4: expected 2D or 3D input (got 4D input); not counted.",
            ),
            &image,
            &flat,
        ),
        refused(
            one(
                "refusals/1d-takes-no-5d",
                "BatchNorm1d on rank 5: expected 2D or 3D input (got 5D input); not counted.",
            ),
            &volume,
            &flat,
        ),
        refused(
            two(
                "refusals/2d-takes-no-2d",
                "BatchNorm2d on rank 2: expected 4D input (got 2D input); not counted.",
            ),
            &flat,
            &image,
        ),
        refused(
            two("refusals/2d-takes-no-3d", "BatchNorm2d on rank 3: an image without its batch axis."),
            &[3, 3, 4],
            &image,
        ),
        refused(
            two(
                "refusals/2d-takes-no-5d",
                "BatchNorm2d on rank 5: expected 4D input (got 5D input); not counted.",
            ),
            &volume,
            &image,
        ),
        refused(
            three(
                "refusals/3d-takes-no-4d",
                "BatchNorm3d on rank 4: expected 5D input (got 4D input); not counted.",
            ),
            &image,
            &volume,
        ),
        refused(
            three(
                "refusals/3d-takes-no-3d",
                "BatchNorm3d on rank 3: expected 5D input (got 3D input); not counted.",
            ),
            &[3, 3, 4],
            &volume,
        ),
        refused(
            three(
                "refusals/3d-takes-no-6d",
                "BatchNorm3d on rank 6, which the function under it takes; not counted.",
            ),
            &[2, 3, 1, 2, 1, 2],
            &volume,
        ),
    ]
}

/// One value per channel: it has no variance. Evaluation with running statistics takes it.
fn sizes() -> Vec<Entry> {
    let note = |what: &str| {
        format!(
            "{what}: refused in training, counted, and running_var must not become NaN (Flux.jl#1992, \
                 torch/nn#1271, candle)."
        )
    };
    vec![
        refused(script("refusals/one-value", &[4, 3], &note("(1, C)")), &[1, 3], &[4, 3]),
        refused(
            script("refusals/one-value-sequence", &[2, 3, 4], &note("(1, C, 1)")),
            &[1, 3, 1],
            &[2, 3, 4],
        ),
        refused(
            script("refusals/one-value-image", &[2, 3, 2, 2], &note("(1, C, 1, 1)")),
            &[1, 3, 1, 1],
            &[2, 3, 2, 2],
        ),
        refused(
            script("refusals/one-value-volume", &[2, 3, 1, 2, 2], &note("(1, C, 1, 1, 1)")),
            &[1, 3, 1, 1, 1],
            &[2, 3, 1, 2, 2],
        ),
        refused(
            script("refusals/one-value-function", &[4, 3], &note("(1, C) to the function")).rank(Rank::Any),
            &[1, 3],
            &[4, 3],
        ),
        refused(
            script("refusals/one-value-momentum-0", &[4, 3], &note("(1, C) with momentum 0")).momentum(0.0),
            &[1, 3],
            &[4, 3],
        ),
        refused(
            script("refusals/one-value-cumulative", &[4, 3], &note("(1, C) with momentum null")).cumulative(),
            &[1, 3],
            &[4, 3],
        ),
        refused(
            script(
                "refusals/one-value-untracked",
                &[4, 3],
                "(1, C) without running statistics: refused in training and in evaluation.",
            )
            .untracked(),
            &[1, 3],
            &[4, 3],
        ),
        refused(
            script(
                "refusals/one-value-without-buffers",
                &[4, 3],
                "(1, C), tracking but no buffers: refused in both modes, counted in training.",
            )
            .no_buffers(),
            &[1, 3],
            &[4, 3],
        ),
        refused(
            script("refusals/one-value-f64", &[4, 3], &note("(1, C) in f64")).dtype(DType::F64),
            &[1, 3],
            &[4, 3],
        ),
        refused(script("refusals/one-value-one-channel", &[4, 1], &note("(1, 1)")), &[1, 1], &[4, 1]),
    ]
}

fn lengths() -> Vec<Entry> {
    let layer = |name: &str, note: &str| script(name, &[4, 3], note);
    let both_modes = |script: Script| script.train().eval().stored();
    vec![
        refused(
            layer(
                "refusals/more-channels",
                "4 channels to a layer of 3: running_mean should contain 4 elements not 3; counted.",
            ),
            &[4, 4],
            &[4, 3],
        ),
        refused(
            layer(
                "refusals/fewer-channels",
                "2 channels to a layer of 3: the spare statistics are no licence (zyx).",
            ),
            &[4, 2],
            &[4, 3],
        ),
        refused(
            layer(
                "refusals/one-channel-does-not-broadcast",
                "1 channel to a layer of 3: nothing broadcasts.",
            ),
            &[4, 1],
            &[4, 3],
        ),
        refused(
            layer("refusals/channels-in-the-wrong-place", "(N, L, C) to a layer that takes (N, C, L)."),
            &[2, 5, 3],
            &[2, 3, 5],
        ),
        refused(
            layer(
                "refusals/more-channels-untracked",
                "4 channels to a layer of 3 without buffers: the weight tells.",
            )
            .untracked(),
            &[4, 4],
            &[4, 3],
        ),
        refused(
            layer("refusals/more-channels-bias-alone", "4 channels to a layer of 3 that has only a bias.")
                .untracked()
                .no_weight(),
            &[4, 4],
            &[4, 3],
        ),
        refused(
            layer(
                "refusals/more-channels-buffers-alone",
                "4 channels to a layer of 3 that has only buffers.",
            )
            .no_affine(),
            &[4, 4],
            &[4, 3],
        ),
        both_modes(
            layer("refusals/weight-too-short", "A weight of 2 elements for 3 channels.").weight(&[1.5, -2.0]),
        ),
        both_modes(
            layer("refusals/weight-too-long", "A weight of 4 elements for 3 channels.")
                .weight(&[1.5, -2.0, 0.5, 0.25]),
        ),
        both_modes(
            layer("refusals/bias-too-long", "A bias of 4 elements for 3 channels.")
                .bias(&[1.5, -2.0, 0.5, 0.25]),
        ),
        both_modes(
            layer(
                "refusals/weight-of-one-does-not-broadcast",
                "A weight of 1 element for 3 channels does not broadcast.",
            )
            .weight(&[1.5]),
        ),
        both_modes(
            layer("refusals/buffers-too-long", "Buffers of 4 elements for 3 channels.")
                .buffers(&[0.; 4], &[1.; 4]),
        ),
        running_var_too_short(),
    ]
}

fn running_var_too_short() -> Entry {
    script(
        "refusals/running-var-too-short",
        &[4, 3],
        "A running_var of 2 elements beside a running_mean of 3.",
    )
    .buffers(&[0.5, -1.0, 2.0], &[1.5, 4.0])
    .train()
    .eval()
    .stored()
}

fn eps() -> Vec<Entry> {
    let layer = |name: &str, eps: f64, note: &str| script(name, &[4, 3], note).eps(eps);
    vec![
        layer(
            "refusals/eps-zero-in-training",
            0.0,
            "eps = 0: refused in training (and counted), accepted in evaluation.",
        )
        .train()
        .eval()
        .stored(),
        layer("refusals/eps-negative", -1e-5, "A negative eps is refused in both modes, however small.")
            .train()
            .eval()
            .stored(),
        layer(
            "refusals/eps-negative-beyond-the-variance",
            -100.0,
            "eps = −100 is refused, before a root of something negative becomes NaN.",
        )
        .train()
        .eval()
        .stored(),
        layer(
            "refusals/eps-zero-untracked",
            0.0,
            "eps = 0 where evaluation uses batch statistics: refused there too.",
        )
        .untracked()
        .train()
        .eval()
        .stored(),
    ]
}

/// Gradients that come in must have the shape of what they belong to.
fn gradients() -> Vec<Entry> {
    let mut gradient = script(
        "refusals/grad-output-of-another-shape",
        &[4, 3],
        "A grad_output of (3, 4) for an output of (4, 3).",
    )
    .eval()
    .grad();
    let pass = gradient.last_pass();
    pass.grad_output = pass.grad_output.take().map(|grad| Tensor { shape: vec![3, 4], ..grad });
    let mut shorter = script(
        "refusals/grad-output-does-not-broadcast",
        &[4, 3],
        "A grad_output of (1, 3) for an output of (4, 3).",
    )
    .eval()
    .grad();
    shorter.last_pass().grad_output = Some(Tensor::new(DType::F32, &[1, 3], vec![0.5, -1.0, 2.0]));
    let mut cotangent = script(
        "refusals/cotangent-of-another-shape",
        &[4, 3],
        "A cotangent of (3, 4) for a grad_input of (4, 3).",
    )
    .eval()
    .grad()
    .second(true, true, true);
    let cotangents = cotangent.last_pass().cotangents.as_mut().expect("asked for above");
    cotangents.grad_input = cotangents.grad_input.take().map(|u| Tensor { shape: vec![3, 4], ..u });
    [gradient, shorter, cotangent].map(|script| script.eval().grad().stored()).into()
}

/// What a too strict engine refuses and PyTorch does not.
fn accepted() -> Vec<Entry> {
    vec![
        script(
            "refusals/not-num-features-itself",
            &[4, 3],
            "Without parameters and buffers nothing has a length, and num_features is not compared with \
                 the input: 5 channels pass.",
        )
        .no_affine()
        .untracked()
        .batch(&[4, 5])
        .train()
        .eval()
        .stored(),
        script(
            "refusals/not-two-equal-values",
            &[2, 3],
            "Two equal values have variance 0, and are \
             enough.",
        )
        .train_on(&[1., 2., 3., 1., 2., 3.])
        .stored(),
        script(
            "refusals/not-one-value-in-evaluation",
            &[1, 3],
            "One value in evaluation needs no \
             variance.",
        )
        .eval()
        .grad()
        .stored(),
        script("refusals/not-eps-denormal", &[4, 3], "The smallest positive eps is positive.")
            .dtype(DType::F64)
            .eps(5e-324)
            .train()
            .stored(),
    ]
}
