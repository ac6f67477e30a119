//! Every rank that a layer takes, extents of 1 and 0 among them.

use super::Entry;
use super::builder::{Script, script};
use crate::case::Rank;

pub(super) fn cases() -> Vec<Entry> {
    [modules(), function(), extents_of_one(), empty()].concat()
}

/// Training and evaluation with gradients.
fn both_modes(script: Script) -> Entry {
    script.train().grad().eval().grad().stored()
}

fn modules() -> Vec<Entry> {
    vec![
        both_modes(script(
            "ranks/1d-n-c",
            &[5, 3],
            "BatchNorm1d on (N, C): the statistics run over the batch alone.",
        )),
        both_modes(script(
            "ranks/1d-n-c-l",
            &[2, 3, 7],
            "BatchNorm1d on (N, C, L): the channel axis is the second, not the last (torsh refuses it).",
        )),
        both_modes(script("ranks/2d", &[2, 3, 5, 4], "BatchNorm2d on (N, C, H, W), H ≠ W.")),
        both_modes(script("ranks/3d", &[2, 3, 2, 3, 4], "BatchNorm3d on (N, C, D, H, W), all different.")),
        script(
            "ranks/1d-both-in-turn",
            &[4, 3],
            "One layer takes (N, C) and (N, C, L) in turn, with the same statistics.",
        )
        .train()
        .batch(&[2, 3, 5])
        .train()
        .batch(&[3, 3])
        .eval()
        .stored(),
        script("ranks/2d-sizes-in-turn", &[2, 3, 4, 5], "Images of another size at each step.")
            .train()
            .batch(&[1, 3, 7, 2])
            .train()
            .batch(&[3, 3, 1, 1])
            .eval()
            .stored(),
    ]
}

fn function() -> Vec<Entry> {
    let any = |script: Script| script.rank(Rank::Any);
    vec![
        both_modes(any(
            script("ranks/function-2", &[5, 3], "The function under the modules takes rank 2.").cumulative()
        )),
        both_modes(any(script(
            "ranks/function-3",
            &[2, 3, 4],
            "The function under the modules takes rank 3.",
        ))),
        both_modes(any(script(
            "ranks/function-4",
            &[2, 3, 2, 3],
            "The function under the modules takes rank 4.",
        ))),
        both_modes(any(script(
            "ranks/function-5",
            &[2, 3, 2, 1, 3],
            "The function under the modules takes rank 5.",
        ))),
        both_modes(any(script(
            "ranks/function-6",
            &[2, 3, 2, 2, 1, 3],
            "The function takes rank 6, which no module does.",
        ))),
        both_modes(any(script(
            "ranks/function-7",
            &[2, 2, 1, 2, 2, 1, 2],
            "The function takes rank 7: no list of known ranks.",
        ))),
        any(script(
            "ranks/function-in-turn",
            &[4, 3],
            "Ranks 2 to 5 in turn through one set of \
             statistics.",
        ))
        .train()
        .batch(&[2, 3, 3])
        .train()
        .batch(&[2, 3, 2, 2])
        .train()
        .batch(&[1, 3, 2, 2, 2])
        .train()
        .eval()
        .stored(),
    ]
}

fn extents_of_one() -> Vec<Entry> {
    vec![
        both_modes(script("ranks/length-one", &[5, 3, 1], "(N, C, 1) is (N, C), and not squeezed to it.")),
        both_modes(script(
            "ranks/image-of-one-pixel",
            &[5, 3, 1, 1],
            "(N, C, 1, 1), as after global pooling.",
        )),
        both_modes(script(
            "ranks/one-sample",
            &[1, 3, 4, 5],
            "One image is a batch of 20 values per channel.",
        )),
        both_modes(script(
            "ranks/one-sample-two-values",
            &[1, 3, 1, 2],
            "(1, C, 1, 2): two values per channel are enough to train.",
        )),
        both_modes(script(
            "ranks/one-sample-length-two",
            &[1, 3, 2],
            "(1, C, 2): two values per channel are enough to train.",
        )),
        both_modes(script(
            "ranks/one-channel-image",
            &[3, 1, 2, 5],
            "C = 1 in 4D, as grey images are: nothing to tell the channel axis by.",
        )),
        both_modes(script(
            "ranks/volume-of-one-slice",
            &[2, 3, 1, 3, 5],
            "D = 1: a volume that is an image.",
        )),
        both_modes(script("ranks/channels-outnumber-values", &[2, 29], "More channels than values in each.")),
        both_modes(script(
            "ranks/long-row",
            &[1, 2, 101],
            "101 values in a row: no multiple of any vector's width.",
        )),
    ]
}

fn empty() -> Vec<Entry> {
    vec![
        script(
            "ranks/empty-batch",
            &[0, 3],
            "N = 0: empty output, statistics unchanged (not NaN: tinygrad), counter up, grad_weight = \
                 grad_bias = 0.",
        )
        .train()
        .grad()
        .eval()
        .grad()
        .batch(&[4, 3])
        .train()
        .stored(),
        script(
            "ranks/empty-length",
            &[2, 3, 0],
            "L = 0: as an empty batch, counted and otherwise without effect.",
        )
        .train()
        .grad()
        .eval()
        .batch(&[2, 3, 4])
        .train()
        .stored(),
        script(
            "ranks/empty-image",
            &[2, 3, 0, 4],
            "H = 0: as an empty batch (dfdx panics on \
             one).",
        )
        .train()
        .grad()
        .eval()
        .grad()
        .stored(),
        script(
            "ranks/empty-batch-without-affine",
            &[0, 3, 2, 2],
            "N = 0 without weight and bias: only \
             the empty grad_input.",
        )
        .no_affine()
        .train()
        .grad()
        .stored(),
        script(
            "ranks/no-channels",
            &[4, 0],
            "C = 0 without weight and bias: nothing to do, and nothing \
             to fail on.",
        )
        .no_affine()
        .train()
        .eval()
        .stored(),
    ]
}
