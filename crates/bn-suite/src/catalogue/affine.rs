//! y = x̂·weight + bias, with either, both or neither present.

use super::Entry;
use super::builder::{Script, script};
use crate::case::Reset;

pub(super) fn cases() -> Vec<Entry> {
    [presence(), values()].concat()
}

/// Training and evaluation with gradients.
fn both_modes(script: Script) -> Entry {
    script.train().grad().eval().grad().stored()
}

fn presence() -> Vec<Entry> {
    vec![
        both_modes(script(
            "affine/weight-and-bias",
            &[4, 3],
            "Both, of both signs: y = x̂·w + b, not (x̂ + b)·w.",
        )),
        both_modes(
            script("affine/neither", &[4, 3], "affine=False: y = x̂, and no gradients but the input's.")
                .no_affine(),
        ),
        both_modes(
            script("affine/weight-alone", &[4, 3], "A weight without bias works, and has a gradient.")
                .no_bias(),
        ),
        both_modes(
            script("affine/bias-alone", &[4, 3], "A bias without weight works, and has a gradient.")
                .no_weight(),
        ),
        both_modes(
            script(
                "affine/neither-in-space",
                &[2, 3, 2, 5],
                "affine=False for 4D input: y = x̂, and no gradients but the input's.",
            )
            .no_affine(),
        ),
        both_modes(
            script("affine/weight-alone-in-space", &[2, 3, 2, 5], "A weight without bias for 4D input.")
                .no_bias(),
        ),
        both_modes(
            script("affine/bias-alone-in-space", &[2, 3, 2, 5], "A bias without weight for 4D input.")
                .no_weight(),
        ),
    ]
}

fn values() -> Vec<Entry> {
    vec![
        both_modes(
            script(
                "affine/one-and-zero",
                &[4, 3],
                "Weight 1 and bias 0, as in a new layer: the same numbers as without.",
            )
            .weight(&[1.0; 3])
            .bias(&[0.0; 3]),
        ),
        both_modes(
            script(
                "affine/weight-zero",
                &[4, 3],
                "Weight 0: the output is the bias and grad_input is 0, but grad_weight is not.",
            )
            .weight(&[0.0, 1.5, 0.0]),
        ),
        both_modes(
            script(
                "affine/weight-negative",
                &[4, 3],
                "Negative weights turn the channel over; |w| or w² under the root would not.",
            )
            .weight(&[-1.5, -0.25, -2.0]),
        ),
        both_modes(
            script(
                "affine/weight-large-and-small",
                &[4, 3],
                "Weights of 1e4 and 1e-4 beside 2: gradients scale with them, per channel.",
            )
            .weight(&[10000.0, 2.0, f64::from(1e-4_f32)]),
        ),
        both_modes(
            script(
                "affine/bias-dominates",
                &[4, 3],
                "A bias of 1e5 hides all but two digits of x̂, which must be right in the gradients.",
            )
            .bias(&[1e5, -1e5, 0.5]),
        ),
        script(
            "affine/swapped-order",
            &[2, 4, 3],
            "Weight and bias per channel, not per position: L and C differ by one.",
        )
        .weight(&[2.0, -3.0, 0.5, 4.0])
        .bias(&[1.0, 10.0, -20.0, 0.25])
        .train()
        .eval()
        .stored(),
        script(
            "affine/reset-parameters",
            &[4, 3],
            "reset_parameters sets weight 1, bias 0, running mean 0, running variance 1, counter 0.",
        )
        .train()
        .reset(Reset::Parameters)
        .train()
        .grad()
        .stored(),
        script(
            "affine/reset-running-stats-leaves-them",
            &[4, 3],
            "reset_running_stats leaves weight and bias as they are.",
        )
        .train()
        .reset(Reset::RunningStats)
        .eval()
        .train()
        .stored(),
        script(
            "affine/reset-without-affine",
            &[4, 3],
            "A layer without weight and bias resets what it \
             has.",
        )
        .no_affine()
        .train()
        .reset(Reset::Parameters)
        .eval()
        .stored(),
        script(
            "affine/reset-untracked",
            &[4, 3],
            "A layer without running statistics resets its weight and bias.",
        )
        .untracked()
        .train()
        .reset(Reset::Parameters)
        .eval()
        .stored(),
        script(
            "affine/reset-when-tracking-stopped",
            &[4, 3],
            "reset_running_stats does nothing to a layer that does not track, even if its buffers are \
                 there.",
        )
        .stop_tracking()
        .counter(Some(5))
        .reset(Reset::RunningStats)
        .eval()
        .stored(),
    ]
}
