//! A training batch that arrives in parts, as on several machines: the result
//! must be that of the whole batch (SyncBatchNorm). Parts give (mean, variance,
//! count); merging them is where n's and means go wrong.

use super::Entry;
use super::builder::script;
use super::fill::Fill;
use crate::case::Rank;
use crate::tensor::DType::{Bf16, F16, F32, F64};

pub(super) fn cases() -> Vec<Entry> {
    [parts(), layers(), refused()].concat()
}

fn parts() -> Vec<Entry> {
    let layer = |name: &str, note: &str| script(name, &[4, 3], note);
    vec![
        layer(
            "merging/two-parts",
            "Parts of 3 and 4: the merged variance contains the distance of their means.",
        )
        .merge(&[3, 4])
        .stored(),
        layer("merging/unequal-parts", "Parts of 1, 9 and 2: weights by count, not a mean of means.")
            .merge(&[1, 9, 2])
            .stored(),
        layer("merging/one-part", "One part is an ordinary training step.").merge(&[5]).stored(),
        layer(
            "merging/one-value-each",
            "Parts of one value: each alone has no variance, together they have.",
        )
        .merge(&[1, 1, 1])
        .stored(),
        layer("merging/an-empty-part", "A machine without data has count 0: dropped, not 0/0.")
            .merge(&[3, 0, 4])
            .stored(),
        layer("merging/an-empty-part-first", "The first part is empty: no start from its mean.")
            .merge(&[0, 2, 3])
            .stored(),
        layer(
            "merging/all-but-one-empty",
            "One part of four holds everything: it must come out as if alone.",
        )
        .merge(&[0, 0, 4, 0])
        .stored(),
        layer(
            "merging/many-parts",
            "Eleven parts of 2: pairwise merging must not depend on the order by more than rounding.",
        )
        .merge(&[2; 11])
        .stored(),
        script("merging/sequences", &[2, 3, 5], "Parts (Nᵢ, C, L): counts are Nᵢ·L.")
            .merge(&[2, 1, 3])
            .stored(),
        script("merging/images", &[2, 3, 3, 4], "Parts (Nᵢ, C, H, W): counts are Nᵢ·H·W.")
            .merge(&[1, 3])
            .stored(),
        script("merging/volumes", &[2, 3, 2, 2, 3], "Parts (Nᵢ, C, D, H, W): counts are Nᵢ·D·H·W.")
            .merge(&[1, 1, 1])
            .stored(),
        layer("merging/constant", "Equal values in all parts: the merged variance is 0.")
            .fill(Fill::Constant(2.5))
            .merge(&[2, 3])
            .stored(),
        layer(
            "merging/large-mean",
            "A mean of 10⁴ deviations: (m₁ − m₂)² is a difference of large \
             numbers.",
        )
        .fill(Fill::Normal { mean: 1e4, deviation: 1.0 })
        .merge(&[8, 5, 8])
        .stored(),
        layer("merging/heavy-tail", "Parts whose variances differ by orders of magnitude.")
            .fill(Fill::HeavyTail)
            .merge(&[4, 4, 4])
            .stored(),
    ]
}

fn layers() -> Vec<Entry> {
    let layer = |name: &str, note: &str| script(name, &[4, 3], note);
    vec![
        layer(
            "merging/running-var-global-n",
            "The running variance takes the global n/(n − 1), 7/6, not each part's.",
        )
        .momentum(1.0)
        .merge(&[3, 4])
        .eval()
        .stored(),
        layer(
            "merging/eps-stays-out",
            "1/invstd² − eps is the variance that a part sent: with eps = 2 a slip shows.",
        )
        .eps(2.0)
        .merge(&[3, 4])
        .stored(),
        layer(
            "merging/counts-once",
            "A merged batch is one batch: the counter rises by 1, and the cumulative factor is 1, then \
                 1/2.",
        )
        .cumulative()
        .merge(&[3, 2, 2])
        .merge(&[1, 4])
        .eval()
        .stored(),
        layer("merging/among-other-steps", "Train, merge, evaluate: the same statistics serve all.")
            .train()
            .merge(&[2, 5])
            .train()
            .eval()
            .stored(),
        layer("merging/without-affine", "No weight and bias: the output is x̂ of the whole batch.")
            .no_affine()
            .merge(&[3, 4])
            .stored(),
        layer(
            "merging/untracked",
            "No running statistics: mean, variance and output are answered all the same.",
        )
        .untracked()
        .merge(&[3, 4])
        .stored(),
        layer("merging/tracking-stopped", "Buffers that are there and not tracked stay as they are.")
            .stop_tracking()
            .merge(&[3, 4])
            .stored(),
        layer("merging/f64", "f64 parts at a mean of 10⁶: the merged mean keeps what f64 can hold.")
            .dtype(F64)
            .fill(Fill::Normal { mean: 1e6, deviation: 1.0 })
            .merge(&[5, 4])
            .stored(),
        layer("merging/f16-with-f32", "f16 data, f32 parameters: the parts' statistics travel in f32.")
            .dtypes(F16, F32)
            .merge(&[3, 4])
            .stored(),
        layer(
            "merging/bf16",
            "bf16 throughout: the merged statistics are rounded to 8 bits once, not part by part.",
        )
        .dtype(Bf16)
        .merge(&[3, 4])
        .stored(),
        layer("merging/any-rank", "Through the function under the modules, which takes any rank.")
            .dtype(F32)
            .rank(Rank::Any)
            .merge(&[3, 4])
            .stored(),
    ]
}

fn refused() -> Vec<Entry> {
    vec![
        script(
            "merging/refused-one-value",
            &[4, 3],
            "One value in all parts together: refused and counted, as a batch of one is.",
        )
        .merge(&[0, 1, 0])
        .merge(&[1, 1])
        .stored(),
        script("merging/refused-channels", &[4, 3], "Parts of 4 channels for a layer of 3.")
            .batch(&[4, 4])
            .merge(&[2, 3])
            .batch(&[4, 3])
            .merge(&[2, 3])
            .stored(),
    ]
}
