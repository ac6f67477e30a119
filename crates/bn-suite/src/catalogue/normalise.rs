//! Is the output (x − mean)/√(var_biased + eps), per channel?

use super::Entry;
use super::builder::script;
use super::fill::Fill;

pub(super) fn cases() -> Vec<Entry> {
    [variance(), eps(), axes()].concat()
}

fn variance() -> Vec<Entry> {
    vec![
        script(
            "normalise/var-biased",
            &[3, 4],
            "Normalises with the unbiased variance: at n = 3 every output is off by √(2/3) \
                 (nn-zero-to-hero#44, rustorch).",
        )
        .no_affine()
        .train()
        .stored(),
        script(
            "normalise/two-values",
            &[2, 5],
            "n = 2: the outputs are ±1 less what eps takes; with the unbiased variance they are ±0.707.",
        )
        .no_affine()
        .train()
        .stored(),
        script(
            "normalise/one-value-and-many",
            &[9, 3],
            "One value differs from eight equal ones: outputs of −0.354 and 2.83, which the mean of a \
                 median or of ranks misses.",
        )
        .train_on(&one_differs())
        .stored(),
        script(
            "normalise/mean-not-subtracted",
            &[6, 4],
            "Means of some deviations in every channel, none 0: whoever divides without subtracting \
                 shows at once.",
        )
        .no_affine()
        .fill(Fill::Normal { mean: 3.0, deviation: 1.0 })
        .train()
        .stored(),
        script(
            "normalise/square-of-the-mean",
            &[33, 3],
            "E[x²] − E[x]² at a mean of 1000 deviations loses all its digits in f32 (tt-metal#45968, \
                 flax#1491, objax#182).",
        )
        .fill(Fill::Normal { mean: 1000.0, deviation: 1.0 })
        .train()
        .grad()
        .stored(),
        script(
            "normalise/constant-channel",
            &[5, 3],
            "A channel whose values are all equal has variance 0: its output is the bias, not NaN, and \
                 its gradients stay finite.",
        )
        .train_on(&constant_in_the_middle())
        .grad()
        .stored(),
        script(
            "normalise/variance-of-a-negative-channel",
            &[7, 2],
            "Only negative values: a variance from |x|, or a square root of x², would show.",
        )
        .fill(Fill::Normal { mean: -5.0, deviation: 2.0 })
        .train()
        .stored(),
    ]
}

fn one_differs() -> Vec<f64> {
    (0..27).map(|place| if place / 3 == 4 { [2.5, -3.0, 40.0][place % 3] } else { 1.0 }).collect()
}

fn constant_in_the_middle() -> Vec<f64> {
    (0..15)
        .map(|place| match place % 3 {
            1 => 3.0,
            c => (place as f64 - 7.0) * (c as f64 + 0.5),
        })
        .collect()
}

fn eps() -> Vec<Entry> {
    let eps = |name: &str, eps: f64, note: &str| {
        let fill = Fill::Normal { mean: 0.5, deviation: 1.0 };
        script(name, &[5, 3], note).eps(eps).fill(fill).train().grad().eval().grad().stored()
    };
    vec![
        eps(
            "normalise/eps-ignored",
            1.0,
            "eps as large as the variance: ignoring it makes the output \
             1.4 times too large.",
        ),
        eps(
            "normalise/eps-inside-the-root",
            0.25,
            "eps belongs under the root: 1/(√var + eps) is off by a fifth here (ncnn#311, chainer#4505).",
        ),
        eps(
            "normalise/eps-once",
            2.0,
            "eps is added once, not twice, nor to a variance that has it \
             already (Synchronized-BatchNorm-PyTorch#43).",
        ),
        eps(
            "normalise/eps-not-a-floor",
            0.5,
            "var + eps, not max(var, eps): above the floor that would \
             change nothing.",
        ),
        eps(
            "normalise/eps-tiny",
            1e-12,
            "An eps of 1e-12 must not be raised to some built-in least \
             value.",
        ),
        eps(
            "normalise/eps-huge",
            1e6,
            "A huge eps shrinks the outputs a thousandfold; it does not make \
             them 0.",
        ),
        eps(
            "normalise/eps-of-keras",
            1e-3,
            "1e-3, the default elsewhere: an engine with a fixed eps of \
             1e-5 shows.",
        ),
        script(
            "normalise/variance-near-eps",
            &[17, 3],
            "var ≈ eps = 1e-5: half of the deviation that divides comes from eps, so that neither may \
                 be rounded away.",
        )
        .fill(Fill::Normal { mean: 0.25, deviation: 1.0 / 256.0 })
        .train()
        .grad()
        .stored(),
        script(
            "normalise/variance-below-eps",
            &[17, 3],
            "var ≈ 1e-9, far below eps: the outputs are small, not ±1.",
        )
        .fill(Fill::Normal { mean: 0.0, deviation: 1.0 / 32768.0 })
        .train()
        .grad()
        .stored(),
        script(
            "normalise/eps-denormal",
            &[4, 2],
            "eps = 1e-300 with f64 parameters: beside any variance it is nothing, and it is no reason \
                 to refuse.",
        )
        .dtype(crate::tensor::DType::F64)
        .eps(1e-300)
        .train_on(&[1.0, 2.0, 3.0, 4.0, -1.0, 7.0, 1.5, -3.0])
        .stored(),
    ]
}

fn axes() -> Vec<Entry> {
    vec![
        script(
            "normalise/square-input",
            &[4, 4],
            "N = C: statistics over the wrong axis have the right shape and the wrong values \
                 (NumPyNet#7, deepnet#11).",
        )
        .train()
        .grad()
        .eval()
        .stored(),
        script(
            "normalise/cube-input",
            &[3, 3, 3],
            "N = C = L: as with the square, for (N, C, \
             L).",
        )
        .train()
        .grad()
        .eval()
        .stored(),
        script(
            "normalise/same-extent-everywhere",
            &[3, 3, 3, 3],
            "N = C = H = W: statistics per position, per row or per sample all have a plausible shape.",
        )
        .train()
        .grad()
        .stored(),
        script(
            "normalise/over-space-too",
            &[2, 3, 7],
            "A channel's 14 values in batch and space are one population; statistics per position would \
                 have n = 2.",
        )
        .no_affine()
        .train()
        .stored(),
        script(
            "normalise/not-per-sample",
            &[3, 2, 4, 5],
            "Instance norm would have n = 20, layer norm 40; batch norm has 60.",
        )
        .no_affine()
        .train()
        .stored(),
        script(
            "normalise/channels-apart",
            &[5, 3],
            "One channel a million times larger than the \
             others: nothing of it may leak into them.",
        )
        .train_on(&one_huge_channel())
        .grad()
        .stored(),
        script(
            "normalise/one-channel",
            &[8, 1],
            "C = 1: the parameters have one element, and broadcast \
             only by accident.",
        )
        .train()
        .grad()
        .eval()
        .stored(),
        script(
            "normalise/many-channels",
            &[3, 37],
            "C = 37, no multiple of a vector's width: the last \
             channels count too.",
        )
        .train()
        .grad()
        .eval()
        .stored(),
        script(
            "normalise/odd-tail",
            &[1, 2, 3, 11],
            "33 positions: a kernel for 4, 8 or 16 at a time \
             must do its tail.",
        )
        .train()
        .grad()
        .stored(),
    ]
}

fn one_huge_channel() -> Vec<f64> {
    let factor = [1.0, 1048576.0, 0.5];
    (0..15).map(|place| ((place * 7 % 11) as f64 - 4.0) * factor[place % 3]).collect()
}
