//! Momentum weighs the *new* value: running ← (1 − m)·running + m·batch. Null
//! asks for the cumulative average: m = 1/num_batches_tracked, counted first.

use super::Entry;
use super::builder::{Script, script};
use crate::case::Reset;
use crate::tensor::DType;

pub(super) fn cases() -> Vec<Entry> {
    [factors(), cumulative()].concat()
}

fn with(name: &str, momentum: f64, note: &str) -> Script {
    script(name, &[4, 3], note).momentum(momentum)
}

fn factors() -> Vec<Entry> {
    vec![
        with(
            "momentum/weighs-the-new-value",
            0.25,
            "momentum 0.25 keeps 0.75 of the old value; with the roles exchanged, as in ONNX and Keras, it keeps 0.25 \
             (d2l-en#2213, vision#8250).",
        )
        .train()
        .train()
        .eval()
        .stored(),
        with("momentum/default", 0.1, "0.1, PyTorch's default, over three \
             batches.").train().train().train().stored(),
        with("momentum/half-tells-nothing", 0.5, "At 0.5 both conventions agree: here only the \
             arithmetic can fail.").train().train().stored(),
        with("momentum/fixed-in-the-code", 0.7, "A momentum above a half, for whoever wrote 0.1 or 0.9 \
             into the code.").train().train().eval().stored(),
        with("momentum/tiny", 1e-3, "1e-3: one thousandth of the batch must still \
             arrive.").train().train().stored(),
        with("momentum/zero", 0.0, "momentum 0 is not null and not the default: the running statistics \
             stay as they are, the counter rises.")
            .train()
            .train()
            .eval()
            .stored(),
        with("momentum/one", 1.0, "momentum 1 takes the last batch's statistics and forgets the \
             rest.").train().train().eval().stored(),
        with("momentum/negative", -0.5, "−0.5 is accepted as given: 1.5 of the old less half of the \
             batch's.").train().stored(),
        with("momentum/two", 2.0, "2 is accepted as given: twice the batch's less the \
             old.").train().stored(),
        with("momentum/nan", f64::NAN, "A NaN momentum is accepted: both running statistics become NaN, \
             output and counter do not.")
            .train()
            .grad()
            .stored(),
        with(
            "momentum/infinite",
            f64::INFINITY,
            "An infinite momentum is accepted: −∞·old + ∞·batch, which is NaN where both are positive \
                 and infinite where they are not.",
        )
        .buffers(&[-1.0, 1.0, -2.0], &[1.0, 2.0, 3.0])
        .train()
        .stored(),
        with("momentum/one-keeps-nan", 1.0, "0·NaN is NaN: momentum 1 does not clear a NaN out of the \
             running statistics.")
            .buffers(&[f64::NAN, 0.5, -1.0], &[1.0, f64::NAN, 2.0])
            .train()
            .eval()
            .stored(),
        with("momentum/zero-takes-nan", 0.0, "0·NaN is NaN: momentum 0 does not keep a NaN batch out, \
             in the channel that it is in.")
            .train_on(&[1.0, 2.0, 3.0, f64::NAN, 5.0, -1.0, 0.5, 4.0, 2.0, 1.5, 0.25, 3.0])
            .train()
            .stored(),
        with(
            "momentum/counter-beyond-f32",
            0.3,
            "A counter of 2²⁴, where f32 counts no further: it goes on by 1 (pytorch#110361).",
        )
        .counter(Some(1 << 24))
        .train()
        .train()
        .stored(),
        with(
            "momentum/counter-beyond-32-bits",
            0.3,
            "A counter of 2³¹ − 1: it is an int64, and does not wrap.",
        )
        .counter(Some((1 << 31) - 1))
        .train()
        .train()
        .stored(),
        with(
            "momentum/without-a-counter",
            0.3,
            "A layer without num_batches_tracked, as old checkpoints load: a given momentum works all \
                 the same.",
        )
        .counter(None)
        .train()
        .train()
        .stored(),
        with("momentum/low-precision", 0.1, "bf16 buffers: each update is rounded to 8 bits, and the \
             next one starts from there.")
            .dtype(DType::Bf16)
            .train()
            .train()
            .train()
            .stored(),
    ]
}

fn cumulative() -> Vec<Entry> {
    let null = |name: &str, note: &str| script(name, &[4, 3], note).cumulative();
    vec![
        null(
            "momentum/cumulative",
            "Momentum null: after three batches the plain mean of their statistics, the starting values \
                 forgotten.",
        )
        .train()
        .train()
        .train()
        .eval()
        .stored(),
        null(
            "momentum/cumulative-unweighted",
            "A batch of 2 weighs as much as one of 50: an average over samples is another one.",
        )
        .batch(&[2, 3])
        .train()
        .batch(&[50, 3])
        .train()
        .eval()
        .stored(),
        null(
            "momentum/cumulative-counts-first",
            "The first factor is 1/1, not 1/0 nor 1/2: the first \
             batch replaces the starting values.",
        )
        .train()
        .stored(),
        null(
            "momentum/cumulative-counter-preset",
            "A counter of 9, as loaded from a checkpoint: the \
             next factor is 0.1.",
        )
        .counter(Some(9))
        .train()
        .train()
        .stored(),
        null(
            "momentum/cumulative-from-minus-one",
            "A counter of −1 makes the factor 1/0: refused, \
             after counting; the next step has factor 1.",
        )
        .counter(Some(-1))
        .train()
        .train()
        .stored(),
        null(
            "momentum/cumulative-negative-counter",
            "A counter of −3 makes the factor −1/2: accepted \
             as it is.",
        )
        .counter(Some(-3))
        .train()
        .stored(),
        null(
            "momentum/cumulative-without-a-counter",
            "Momentum null and no counter: the factor is 0, \
             nothing is updated.",
        )
        .counter(None)
        .train()
        .eval()
        .stored(),
        null(
            "momentum/cumulative-evaluations-do-not-count",
            "Evaluations in between must not change \
             the factor.",
        )
        .train()
        .eval()
        .eval()
        .train()
        .stored(),
        null(
            "momentum/cumulative-after-a-reset",
            "reset_running_stats sets the counter to 0: the next \
             batch has factor 1 again.",
        )
        .train()
        .train()
        .reset(Reset::RunningStats)
        .train()
        .train()
        .stored(),
        null(
            "momentum/cumulative-low-precision",
            "f16 input and f32 buffers: a factor of 1/3 is not \
             rounded to 11 bits.",
        )
        .dtypes(DType::F16, DType::F32)
        .counter(Some(2))
        .train()
        .train()
        .stored(),
        null(
            "momentum/cumulative-empty-batch-counts",
            "An empty batch raises the counter and changes \
             nothing else: the next factor is 1/2.",
        )
        .batch(&[0, 3])
        .train()
        .batch(&[4, 3])
        .train()
        .stored(),
        null(
            "momentum/cumulative-untracked",
            "Without tracking there is nothing to average: a plain \
             training step.",
        )
        .untracked()
        .train()
        .eval()
        .stored(),
    ]
}
