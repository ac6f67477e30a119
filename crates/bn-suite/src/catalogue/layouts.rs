//! Where elements lie in memory changes where answers lie, and never their values.

use super::Entry;
use super::arrangement::Arrangement::{
    self, ChannelsLast, Contiguous, EverySecond, FirstFastest, Rows, SomeChannels,
};
use super::builder::{Script, script};
use crate::outcome::Field;
use crate::tensor::DType::{Bf16, F16, F32, F64};

/// What libtorch does with strided 16-bit input.
pub(super) const STRIDED_16_BITS: &str = "For strides that are neither contiguous nor channels last libtorch keeps \
     mean(grad_output) and the other terms of grad_input in the input's 16 bits, rounding after each of some eight \
     operations, and sums grad_output there too, even where the parameters are f32. Its contiguous kernels do not, \
     and the answer must not depend on where the input lies.";

pub(super) fn cases() -> Vec<Entry> {
    [channels_last(), strided(), gradients(), mixed()].concat()
}

/// Training and evaluation with gradients.
fn both_modes(script: Script) -> Entry {
    script.train().grad().eval().grad().stored()
}

fn channels_last() -> Vec<Entry> {
    let last = |name: &str, shape: &[usize], note: &str| script(name, shape, note).channels_last();
    vec![
        both_modes(last(
            "layouts/channels-last",
            &[2, 3, 4, 5],
            "Channels last in memory: output and grad_input are so too, with the values in place.",
        )),
        both_modes(last(
            "layouts/channels-last-3d",
            &[2, 3, 2, 3, 4],
            "Channels last in 5D: N, D, H, W, C in memory, and the answers likewise.",
        )),
        both_modes(last(
            "layouts/channels-last-one-channel",
            &[2, 1, 3, 5],
            "C = 1: both orders coincide in memory, and strides alone cannot tell them apart.",
        )),
        both_modes(last(
            "layouts/channels-last-one-pixel",
            &[4, 3, 1, 1],
            "H = W = 1: both orders coincide.",
        )),
        both_modes(last(
            "layouts/channels-last-17",
            &[2, 17, 2, 3],
            "17 channels: the last one is a vector kernel's tail.",
        )),
        both_modes(last(
            "layouts/channels-last-one-image",
            &[1, 5, 3, 7],
            "N = 1, channels last: a transposed matrix of positions and channels.",
        )),
        both_modes(
            last("layouts/channels-last-without-affine", &[2, 3, 3, 2], "Channels last, no weight and bias.")
                .no_affine(),
        ),
        both_modes(
            last(
                "layouts/channels-last-f64",
                &[2, 3, 3, 2],
                "Channels last in f64: another kernel than f32's in most engines.",
            )
            .dtype(F64),
        ),
        both_modes(
            last("layouts/channels-last-f16", &[2, 3, 3, 2], "Channels last in f16 with f32 parameters.")
                .dtypes(F16, F32),
        ),
        both_modes(
            last("layouts/channels-last-bf16", &[2, 3, 3, 2], "Channels last in bf16 throughout.")
                .dtype(Bf16),
        ),
        last("layouts/channels-last-then-contiguous", &[2, 3, 4, 3], "One layer sees both orders in turn.")
            .train()
            .arranged(Contiguous)
            .train()
            .channels_last()
            .eval()
            .stored(),
        last(
            "layouts/channels-last-many-values",
            &[4, 5, 9, 11],
            "396 values per channel, channels last: sums over rows of channels.",
        )
        .train()
        .grad()
        .generated(),
    ]
}

fn strided() -> Vec<Entry> {
    let arranged = |name: &str, shape: &[usize], arrangement: Arrangement, note: &str| {
        both_modes(script(name, shape, note).arranged(arrangement))
    };
    vec![
        arranged(
            "layouts/rows-of-a-wider-array",
            &[5, 3],
            Rows,
            "(N, C) cut out of a wider matrix: its rows do not follow each other, and it does not start \
                 at 0.",
        ),
        arranged(
            "layouts/rows-of-longer-sequences",
            &[2, 3, 5],
            Rows,
            "(N, C, L) cut out of longer sequences.",
        ),
        arranged(
            "layouts/rows-of-a-larger-image",
            &[2, 3, 3, 4],
            Rows,
            "(N, C, H, W) cut out of wider images.",
        ),
        arranged(
            "layouts/rows-of-a-larger-volume",
            &[2, 3, 2, 2, 3],
            Rows,
            "(N, C, D, H, W) cut out of wider volumes.",
        ),
        arranged(
            "layouts/every-second-column",
            &[5, 3],
            EverySecond,
            "Every second column of a matrix: neighbours in a row are 2 apart.",
        ),
        arranged("layouts/every-second-pixel", &[2, 3, 3, 4], EverySecond, "Every second pixel along a row."),
        arranged(
            "layouts/transposed-matrix",
            &[5, 3],
            FirstFastest,
            "(N, C) that is the transpose of a (C, N) matrix.",
        ),
        arranged(
            "layouts/transposed-sequences",
            &[4, 3, 5],
            FirstFastest,
            "(N, C, L) with the batch fastest in memory.",
        ),
        arranged(
            "layouts/transposed-images",
            &[3, 2, 4, 5],
            FirstFastest,
            "(N, C, H, W) as Fortran would have it.",
        ),
        arranged(
            "layouts/channels-last-sequences",
            &[3, 4, 5],
            SomeChannels,
            "(N, C, L) seen into (N, L, C + 1), as a transposed sequence model has it.",
        ),
        arranged(
            "layouts/some-of-the-channels",
            &[2, 3, 4, 5],
            SomeChannels,
            "Three of four channels of a channels-last image: the answer is channels last without the gap.",
        ),
        arranged(
            "layouts/some-of-the-channels-3d",
            &[2, 3, 2, 3, 2],
            SomeChannels,
            "Three of four channels of a channels-last volume.",
        ),
    ]
}

fn gradients() -> Vec<Entry> {
    let image = |name: &str, note: &str| script(name, &[2, 3, 3, 4], note);
    vec![
        image(
            "layouts/gradient-channels-last",
            "Contiguous input, channels-last grad_output: grad_input is contiguous.",
        )
        .train()
        .grad()
        .grad_arranged(ChannelsLast)
        .stored(),
        image(
            "layouts/gradient-contiguous",
            "Channels-last input, contiguous grad_output: grad_input is channels last.",
        )
        .channels_last()
        .train()
        .grad()
        .grad_arranged(Contiguous)
        .eval()
        .grad()
        .grad_arranged(Contiguous)
        .stored(),
        image("layouts/gradient-strided", "Contiguous input, grad_output cut out of a larger array.")
            .train()
            .grad()
            .grad_arranged(Rows)
            .eval()
            .grad()
            .grad_arranged(EverySecond)
            .stored(),
        image("layouts/gradient-transposed", "Channels-last input, grad_output as Fortran would have it.")
            .channels_last()
            .train()
            .grad()
            .grad_arranged(FirstFastest)
            .stored(),
    ]
}

fn mixed() -> Vec<Entry> {
    vec![
        script("layouts/low-precision-strided", &[3, 4, 5], "f16 rows of longer sequences, f32 parameters.")
            .dtypes(F16, F32)
            .arranged(Rows)
            .train()
            .grad()
            .eval()
            .disputed_by_libtorch(&[Field::GradInput, Field::GradBias], STRIDED_16_BITS)
            .stored(),
        script(
            "layouts/in-turn",
            &[4, 3],
            "Three arrangements through one layer, then an evaluation of a fourth.",
        )
        .train()
        .arranged(Rows)
        .train()
        .arranged(FirstFastest)
        .train()
        .arranged(EverySecond)
        .eval()
        .stored(),
    ]
}
