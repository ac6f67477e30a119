//! Batches of real activations: the digits of [`crate::digits`].

use super::Entry;
use super::builder::script;
use crate::digits::images;
use crate::tensor::DType::{Bf16, F16, F32, F64};

/// `count` images from number `first` on, as one batch.
fn batch(images: &[Vec<f64>], first: usize, count: usize) -> Vec<f64> {
    images[first..first + count].concat()
}

pub(super) fn cases() -> Vec<Entry> {
    let images = images();
    let take = |first, count| batch(&images, first, count);
    vec![
        script(
            "digits/two-batches-then-eval",
            &[32, 64],
            "Pixels as features, a new layer, two batches \
             of 32, an evaluation of 16: constant pixels have variance 0.",
        )
        .fresh()
        .momentum(0.1)
        .train_on(&take(0, 32))
        .train_on(&take(32, 32))
        .batch(&[16, 64])
        .eval_on(&take(64, 16))
        .stored(),
        script(
            "digits/gradients",
            &[24, 64],
            "Pixels as features, with gradients: invstd is 316 where \
             a pixel is constant.",
        )
        .train_on(&take(100, 24))
        .grad()
        .stored(),
        script(
            "digits/as-images",
            &[24, 1, 8, 8],
            "Pixels as images of one channel: n = 1536, integers \
             with many zeros.",
        )
        .train_on(&take(200, 24))
        .grad()
        .batch(&[8, 1, 8, 8])
        .eval_on(&take(224, 8))
        .stored(),
        script(
            "digits/rows-as-channels",
            &[12, 8, 8],
            "Rows as channels of a sequence of columns: (N, \
             C, L) with C = L.",
        )
        .train_on(&take(300, 12))
        .grad()
        .eval_on(&take(312, 12))
        .stored(),
        script(
            "digits/cumulative-average",
            &[20, 64],
            "Momentum null over three batches of 20: the \
             plain mean of their statistics.",
        )
        .cumulative()
        .train_on(&take(400, 20))
        .train_on(&take(420, 20))
        .train_on(&take(440, 20))
        .stored(),
        script("digits/f16-with-f32", &[16, 64], "f16 pixels, exact, with f32 parameters.")
            .dtypes(F16, F32)
            .train_on(&take(500, 16))
            .grad()
            .stored(),
        script("digits/bf16-throughout", &[16, 64], "bf16 pixels, exact, and bf16 everything else.")
            .dtype(Bf16)
            .train_on(&take(520, 16))
            .stored(),
        whole_set(&images),
    ]
}

/// An epoch: every image once, in batches of 64, the last one of 5.
fn whole_set(images: &[Vec<f64>]) -> Entry {
    let mut epoch = script(
        "digits/an-epoch",
        &[64, 64],
        "Every image once, in batches of 64 and a last one of 5, in f64; then an evaluation.",
    )
    .fresh()
    .dtype(F64)
    .momentum(0.1);
    for chunk in images.chunks(64) {
        epoch = epoch.batch(&[chunk.len(), 64]).train_on(&chunk.concat());
    }
    epoch.batch(&[64, 64]).eval_on(&batch(images, 0, 64)).generated()
}
