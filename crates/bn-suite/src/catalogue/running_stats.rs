//! Are the running statistics those of the batches seen?
//! running ← (1 − momentum)·running + momentum·batch, with the *unbiased* variance.

use super::Entry;
use super::builder::script;
use super::fill::Fill;
use crate::tensor::DType;

pub(super) fn cases() -> Vec<Entry> {
    [variance(), update(), precision()].concat()
}

fn variance() -> Vec<Entry> {
    vec![
        script(
            "running-stats/var-unbiased",
            &[3, 4],
            "The running variance takes n/(n − 1) times the variance that normalises; at n = 3 the biased one is a third \
             too small (tt-metal#55438, mlx#3817, FastNN#11, tinygrad#807, burn).",
        )
        .train()
        .eval()
        .stored(),
        script("running-stats/var-unbiased-at-two", &[2, 3], "n = 2: the unbiased variance is twice the \
             biased one.")
            .train()
            .stored(),
        script(
            "running-stats/n-counts-space",
            &[2, 3, 5],
            "n = N·L = 10, so the factor is 10/9; with n = N it would be 2.",
        )
        .train()
        .stored(),
        script("running-stats/n-counts-all-of-space", &[1, 2, 2, 3, 2], "One sample: n = D·H·W = 12, \
             and n − 1 is not N − 1 = 0.")
            .train()
            .eval()
            .stored(),
        script(
            "running-stats/bessel-in-integers",
            &[5, 2],
            "n/(n − 1) in whole numbers is 1: the factor must be 1.25 (zyx).",
        )
        .train()
        .stored(),
        script(
            "running-stats/eps-stays-out",
            &[4, 3],
            "eps = 1 goes under the root and nowhere else: running_var must not contain it.",
        )
        .eps(1.0)
        .train()
        .train()
        .stored(),
        script(
            "running-stats/eps-outside-bessel",
            &[3, 2],
            "Bessel's factor times (var + eps), less eps or not, is wrong: eps = 0.5 shows it \
                 (mlpack#2474).",
        )
        .eps(0.5)
        .momentum(1.0)
        .train()
        .stored(),
        script("running-stats/not-the-deviation", &[6, 2], "A running standard deviation, squared or \
             not, is no running variance.")
            .train()
            .train()
            .stored(),
    ]
}

fn update() -> Vec<Entry> {
    vec![
        script(
            "running-stats/written-at-all",
            &[4, 3],
            "Train, then evaluate: an engine that computes the update and drops it evaluates as if new \
                 (aprender#2166, tvm#18518).",
        )
        .fresh()
        .train()
        .eval()
        .stored(),
        script(
            "running-stats/updated-before-use",
            &[5, 3],
            "Training normalises with the batch's statistics; an update in place beforehand, or an aliased buffer, shows in \
             the output (tt-metal#45578).",
        )
        .momentum(0.9)
        .train()
        .train()
        .stored(),
        script("running-stats/normalised-by-running-var", &[6, 2], "Training divides by the batch's \
             deviation, not by the running one (zyx).")
            .buffers(&[0.0, 0.0], &[100.0, 0.015625])
            .train()
            .stored(),
        script("running-stats/eval-leaves-them", &[4, 3], "Evaluation changes neither buffer nor \
             counter, however often it runs.")
            .eval()
            .eval()
            .train()
            .eval()
            .stored(),
        script(
            "running-stats/three-batches",
            &[3, 2],
            "Three batches of different sizes: each weighs the same, and the order matters.",
        )
        .train()
        .batch(&[7, 2])
        .train()
        .batch(&[2, 2])
        .train()
        .eval()
        .stored(),
        script(
            "running-stats/old-value-kept",
            &[4, 2],
            "The old value keeps 0.7 of its weight: starting values far from the batch's show a sum \
                 that forgets it.",
        )
        .buffers(&[-40.0, 25.0], &[90.0, 0.125])
        .train()
        .train()
        .stored(),
        script(
            "running-stats/affine-stays-out",
            &[5, 2],
            "Statistics are those of the input, not of the output: weight 2 and −0.5, bias 10 and −7 \
                 must not enter.",
        )
        .weight(&[2.0, -0.5])
        .bias(&[10.0, -7.0])
        .train()
        .train()
        .stored(),
        script("running-stats/per-channel", &[4, 7], "Seven channels with their own running statistics: \
             no mean over channels.")
            .train()
            .eval()
            .stored(),
        script("running-stats/constant-channel", &[4, 2], "A constant channel contributes variance 0: \
             running_var falls by the momentum.")
            .fill(Fill::Constant(2.5))
            .train()
            .train()
            .eval()
            .stored(),
        script(
            "running-stats/backward-leaves-them",
            &[4, 3],
            "The backward pass updates nothing: whoever runs the forward pass again inside it counts \
                 the batch twice.",
        )
        .train()
        .grad()
        .train()
        .grad()
        .stored(),
        script(
            "running-stats/var-not-clamped",
            &[9, 2],
            "A variance of 1e-8 is stored as such, not as eps nor as 0.",
        )
        .momentum(1.0)
        .buffers(&[0.0, 0.0], &[2f64.powi(-27), 2f64.powi(-26)])
        .fill(Fill::Normal { mean: 0.0, deviation: 1.0 / 8192.0 })
        .train()
        .eval()
        .stored(),
    ]
}

fn precision() -> Vec<Entry> {
    vec![
        script(
            "running-stats/f32-buffers-of-f16",
            &[9, 3],
            "f16 input, f32 buffers: statistics that pass through f16 on their way lose 13 bits \
                 (coreai-torch#54).",
        )
        .dtypes(DType::F16, DType::F32)
        .fill(Fill::Normal { mean: 100.0, deviation: 3.0 })
        .train()
        .train()
        .stored(),
        script(
            "running-stats/f32-buffers-of-bf16",
            &[9, 3],
            "bf16 input, f32 buffers: statistics that pass through bf16 lose 16 bits (pytorch#126525).",
        )
        .dtypes(DType::Bf16, DType::F32)
        .fill(Fill::Normal { mean: 100.0, deviation: 3.0 })
        .train()
        .train()
        .stored(),
        script(
            "running-stats/f64-kept-in-f64",
            &[9, 3],
            "f64 buffers hold f64: a detour by f32 shows \
             in the eighth digit.",
        )
        .dtype(DType::F64)
        .fill(Fill::Normal { mean: 100.0, deviation: 3.0 })
        .train()
        .train()
        .eval()
        .stored(),
        script(
            "running-stats/large-mean",
            &[16, 2],
            "A mean of 1e5: running_var comes from the \
             deviations, not from the squares.",
        )
        .fill(Fill::Normal { mean: 1e5, deviation: 1.0 })
        .train()
        .eval()
        .stored(),
    ]
}
