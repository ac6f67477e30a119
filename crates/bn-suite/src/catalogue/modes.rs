//! Which statistics normalise, and what is updated: train or eval, tracking or
//! not, both buffers, one or none.

use super::Entry;
use super::builder::{Script, script};

pub(super) fn cases() -> Vec<Entry> {
    [training(), evaluation(), switching()].concat()
}

fn layer(name: &str, note: &str) -> Script {
    script(name, &[5, 3], note)
}

fn training() -> Vec<Entry> {
    vec![
        layer(
            "modes/train-tracking",
            "Batch statistics normalise, both buffers and the counter are updated.",
        )
        .train()
        .grad()
        .stored(),
        layer(
            "modes/train-without-buffers",
            "Tracking on, but no buffers: batch statistics, and the counter still rises.",
        )
        .no_buffers()
        .train()
        .grad()
        .train()
        .stored(),
        layer(
            "modes/train-without-running-mean",
            "Tracking with running_var alone is refused, and counted; evaluation is refused as well.",
        )
        .no_running_mean()
        .train()
        .eval()
        .stored(),
        layer(
            "modes/train-without-running-var",
            "Tracking with running_mean alone is refused, and counted; evaluation is refused as well.",
        )
        .no_running_var()
        .train()
        .eval()
        .stored(),
        layer(
            "modes/train-untracked",
            "track_running_stats=False: batch statistics in training, and nothing to update.",
        )
        .untracked()
        .train()
        .grad()
        .stored(),
        layer(
            "modes/train-tracking-stopped",
            "Tracking switched off with buffers present: they and the counter stay as they are.",
        )
        .stop_tracking()
        .train()
        .grad()
        .train()
        .stored(),
        layer(
            "modes/train-untracked-running-mean-alone",
            "Not tracking, and only a running mean: training does not look at it, and works.",
        )
        .stop_tracking()
        .no_running_var()
        .train()
        .stored(),
        layer(
            "modes/train-untracked-running-var-alone",
            "Not tracking, and only a running variance: training does not look at it, and works.",
        )
        .stop_tracking()
        .no_running_mean()
        .train()
        .stored(),
    ]
}

fn evaluation() -> Vec<Entry> {
    vec![
        layer(
            "modes/eval-tracking",
            "Evaluation uses the running statistics, not the \
             batch's.",
        )
        .eval()
        .grad()
        .stored(),
        layer("modes/eval-one-sample", "A single sample is no difficulty in evaluation.")
            .batch(&[1, 3])
            .eval()
            .grad()
            .stored(),
        layer(
            "modes/eval-does-not-see-the-batch",
            "The same sample alone and in a batch: the output \
             must not depend on its company.",
        )
        .eval_on(&[0.5, -1.0, 2.0, 7.0, 7.5, -3.0, 1.0, 0.0, 4.0, -2.0, 3.0, 1.5, 0.25, 6.0, -5.0])
        .batch(&[1, 3])
        .eval_on(&[0.5, -1.0, 2.0])
        .stored(),
        layer(
            "modes/eval-tracking-stopped",
            "Tracking switched off with buffers present: evaluation \
             uses them all the same.",
        )
        .stop_tracking()
        .eval()
        .grad()
        .stored(),
        layer(
            "modes/eval-untracked",
            "track_running_stats=False: evaluation uses the batch's \
             statistics, and its gradient is training's.",
        )
        .untracked()
        .eval()
        .grad()
        .stored(),
        layer(
            "modes/eval-without-buffers",
            "Tracking on, no buffers: evaluation uses the batch's \
             statistics and does not count.",
        )
        .no_buffers()
        .eval()
        .grad()
        .eval()
        .stored(),
        layer(
            "modes/eval-untracked-without-running-var",
            "Not tracking, and no running_var: evaluation is refused all the same, training is not.",
        )
        .stop_tracking()
        .no_running_var()
        .eval()
        .train()
        .stored(),
        layer(
            "modes/eval-untracked-without-running-mean",
            "Not tracking, and no running_mean: evaluation is refused all the same, training is not.",
        )
        .stop_tracking()
        .no_running_mean()
        .eval()
        .train()
        .stored(),
        layer(
            "modes/eval-var-is-not-corrected-again",
            "The running variance is unbiased already and divides as it stands; Bessel's factor or its \
                 inverse at n = 5 shows.",
        )
        .train()
        .eval()
        .stored(),
    ]
}

fn switching() -> Vec<Entry> {
    vec![
        layer(
            "modes/switched-mid-way",
            "Train, evaluate, train, evaluate: each step follows its own mode, nothing is cached.",
        )
        .train()
        .eval()
        .train()
        .eval()
        .stored(),
        layer("modes/evaluated-first", "Evaluation before any training uses the starting values 0 and 1.")
            .fresh()
            .eval()
            .train()
            .eval()
            .stored(),
        layer(
            "modes/gradients-after-switching",
            "Gradients of training and evaluation in turn: each with its own formula.",
        )
        .train()
        .grad()
        .eval()
        .grad()
        .train()
        .grad()
        .stored(),
        layer(
            "modes/stale-scale",
            "A scale and shift cached by the first evaluation is stale after the next training step.",
        )
        .eval()
        .train()
        .eval()
        .stored(),
        layer(
            "modes/other-shape-after-switching",
            "Evaluation at another batch size and length than training's.",
        )
        .batch(&[4, 3, 2])
        .train()
        .batch(&[1, 3, 7])
        .eval()
        .batch(&[2, 3])
        .eval()
        .stored(),
        layer(
            "modes/counter-only-in-training",
            "Starting at 41: two training steps and three evaluations make 43.",
        )
        .counter(Some(41))
        .eval()
        .train()
        .eval()
        .train()
        .eval()
        .stored(),
    ]
}
