//! When several things are wrong the first in PyTorch's order is reported, and
//! whether the batch was counted follows from it: rank, the counter of a
//! cumulative average, one value, eps, lengths, a missing buffer (which evaluation
//! notices in its turn between the lengths), dtypes.

use super::super::Entry;
use super::super::builder::script;
use super::refused;
use crate::tensor::DType;

pub(super) fn cases() -> Vec<Entry> {
    let layer = |name: &str, note: &str| script(name, &[4, 3], note);
    vec![
        refused(
            layer(
                "refusals/rank-before-length",
                "Rank and length both wrong: the rank is reported, and nothing counted.",
            ),
            &[1, 5, 1, 1],
            &[4, 3],
        ),
        refused(
            layer(
                "refusals/one-value-before-length",
                "One value, and 5 channels for 3: in training the size is reported, in evaluation the \
                     length.",
            ),
            &[1, 5],
            &[4, 3],
        ),
        layer(
            "refusals/counter-zero-before-one-value",
            "Counter −1, momentum null and one value: the division by zero comes first.",
        )
        .cumulative()
        .counter(Some(-1))
        .batch(&[1, 3])
        .train()
        .batch(&[4, 3])
        .train()
        .stored(),
        layer(
            "refusals/rank-before-counter",
            "Counter −1, momentum null and a wrong rank: the rank is reported, the counter stays at −1.",
        )
        .cumulative()
        .counter(Some(-1))
        .batch(&[2, 3, 2, 2])
        .train()
        .batch(&[4, 3])
        .train()
        .train()
        .stored(),
        layer(
            "refusals/one-value-before-missing-buffer",
            "One value and only a running mean: in training the size is reported.",
        )
        .no_running_var()
        .batch(&[1, 3])
        .train()
        .eval()
        .stored(),
        layer(
            "refusals/one-value-before-eps",
            "One value and eps = 0: the size is reported; evaluation takes both.",
        )
        .eps(0.0)
        .batch(&[1, 3])
        .train()
        .eval()
        .stored(),
        layer("refusals/eps-before-length", "5 channels for 3 and a negative eps: eps is reported.")
            .eps(-1.0)
            .batch(&[4, 5])
            .train()
            .eval()
            .stored(),
        layer(
            "refusals/eps-before-missing-buffer",
            "A negative eps and only a running mean: eps is reported.",
        )
        .eps(-1.0)
        .no_running_var()
        .train()
        .eval()
        .stored(),
        layer(
            "refusals/length-before-missing-buffer",
            "5 channels for 3 and only a running mean: its length is reported, in both modes.",
        )
        .no_running_var()
        .batch(&[4, 5])
        .train()
        .eval()
        .stored(),
        layer(
            "refusals/eps-before-dtype",
            "A negative eps and f64 input to f32 parameters: eps is reported.",
        )
        .eps(-1.0)
        .dtypes(DType::F64, DType::F32)
        .train()
        .eval()
        .stored(),
        layer(
            "refusals/counter-rises-again-and-again",
            "Three refused batches and one good one: the counter says 4.",
        )
        .cumulative()
        .batch(&[1, 3])
        .train()
        .train()
        .train()
        .batch(&[4, 3])
        .train()
        .stored(),
    ]
}
