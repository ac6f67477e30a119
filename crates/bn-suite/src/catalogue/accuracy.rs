//! Inputs on which right formulas give wrong numbers: means large against the
//! deviation, constants, outliers, heavy tails, extremes, many values. The
//! allowances follow each element's conditioning, so that what is lost here is
//! lost by the arithmetic, not by the data.

use super::Entry;
use super::builder::{Script, script};
use super::fill::Fill;
use crate::tensor::DType::{self, Bf16, F16, F32, F64};

pub(super) fn cases() -> Vec<Entry> {
    [flat(), images(), channels_last(), doubles(), low_precision(), extremes(), large()].concat()
}

/// The hard inputs, by name: mean and deviation, and what is hard about them.
fn hard() -> Vec<(&'static str, Fill, &'static str)> {
    vec![
        (
            "mean-100",
            Fill::Normal { mean: 100.0, deviation: 1.0 },
            "N(100, 1): E[x²] − E[x]² loses four digits.",
        ),
        (
            "mean-1e4",
            Fill::Normal { mean: 1e4, deviation: 1.0 },
            "N(10⁴, 1): E[x²] − E[x]² is noise in f32 (tensorflow#25115).",
        ),
        (
            "mean-1e6",
            Fill::Normal { mean: 1e6, deviation: 1.0 },
            "N(10⁶, 1): f32's steps are 1/16 there; a mean kept in f32 costs a digit.",
        ),
        (
            "mean-1e8",
            Fill::Normal { mean: 1e8, deviation: 100.0 },
            "N(10⁸, 100): f32's steps are 8, and the mean lies between them.",
        ),
        (
            "constant",
            Fill::Constant(f64::from(7.3_f32)),
            "All 7.3: the variance is 0, and what rounding makes of it is scaled by 316.",
        ),
        (
            "outlier",
            Fill::Outlier { mean: 1e4, deviation: 1.0, outlier: 1e6 },
            "N(10⁴, 1) and one value of 10⁶ in the middle: two passes see both.",
        ),
        (
            "heavy-tail",
            Fill::HeavyTail,
            "Lognormal, σ = 3: a few values make up the sum; the small ones keep their digits.",
        ),
    ]
}

/// A training step with gradients, and an evaluation.
fn trained(script: Script) -> Entry {
    script.train().grad().eval().stored()
}

fn flat() -> Vec<Entry> {
    let case = |(name, fill, note): (&str, Fill, &str)| {
        trained(script(&format!("accuracy/{name}"), &[64, 3], &format!("{note} (N, C), n = 64.")).fill(fill))
    };
    hard().into_iter().map(case).collect()
}

fn images() -> Vec<Entry> {
    let case = |(name, fill, note): (&str, Fill, &str)| {
        let name = format!("accuracy/{name}-image");
        trained(script(&name, &[3, 2, 7, 9], &format!("{note} Contiguous images, n = 189.")).fill(fill))
    };
    hard().into_iter().map(case).collect()
}

fn channels_last() -> Vec<Entry> {
    let case = |(name, fill, note): (&str, Fill, &str)| {
        let name = format!("accuracy/{name}-channels-last");
        let note = format!("{note} Channels last, n = 126.");
        trained(script(&name, &[2, 3, 7, 9], &note).fill(fill).channels_last())
    };
    hard().into_iter().map(case).collect()
}

fn doubles() -> Vec<Entry> {
    let case = |name: &str, fill: Fill, note: &str| {
        trained(script(&format!("accuracy/f64-{name}"), &[48, 2], note).dtype(F64).fill(fill))
    };
    vec![
        case(
            "mean-1e6",
            Fill::Normal { mean: 1e6, deviation: 1.0 },
            "f64, mean 10⁶ deviations: two passes lose nothing, E[x²] − E[x]² twelve digits.",
        ),
        case(
            "mean-1e12",
            Fill::Normal { mean: 1e12, deviation: 1.0 },
            "f64, mean 10¹² deviations: the mean itself has an ulp of 10⁻⁴ deviations.",
        ),
        case(
            "tiny-on-large",
            Fill::Normal { mean: 1e4, deviation: 2f64.powi(-26) },
            "f64, deviations of 1.5e-8 on 10⁴: a ratio of 7·10¹¹, with eps far above the variance.",
        ),
        case("constant", Fill::Constant(7.3), "f64, all 7.3: variance 0."),
        case(
            "outlier",
            Fill::Outlier { mean: 1.0, deviation: 2f64.powi(-10), outlier: 1e9 },
            "f64, 10⁹ among values near 1.",
        ),
        case("heavy-tail", Fill::HeavyTail, "f64, lognormal with σ = 3."),
    ]
}

fn low_precision() -> Vec<Entry> {
    let case = |name: &str, input: DType, parameters: DType, fill: Fill, note: &str| {
        trained(script(&format!("accuracy/{name}"), &[50, 2], note).dtypes(input, parameters).fill(fill))
    };
    let far = |mean: f64| Fill::Normal { mean, deviation: 1.0 };
    vec![
        case(
            "f16-far",
            F16,
            F32,
            far(64.0),
            "f16 with f32 parameters at 64 deviations: output to the last bit of f16.",
        ),
        case(
            "bf16-far",
            Bf16,
            F32,
            far(64.0),
            "bf16 with f32 parameters at 64 deviations: the input has steps of half a deviation.",
        ),
        case(
            "f16-throughout-far",
            F16,
            F16,
            far(8.0),
            "f16 throughout at 8 deviations: the mean to 11 bits.",
        ),
        case(
            "bf16-throughout-far",
            Bf16,
            Bf16,
            far(4.0),
            "bf16 throughout at 4 deviations: the mean to 8 bits.",
        ),
        case(
            "f16-heavy-tail",
            F16,
            F32,
            Fill::HeavyTail,
            "f16, lognormal with σ = 3: from subnormals to thousands.",
        ),
        case("bf16-heavy-tail", Bf16, F32, Fill::HeavyTail, "bf16, lognormal with σ = 3."),
        case("f16-constant", F16, F32, Fill::Constant(7.30078125), "f16, all 7.3: the output is the bias."),
    ]
}

fn extremes() -> Vec<Entry> {
    vec![
        script(
            "accuracy/squares-overflow-in-sum",
            &[512, 1],
            "10¹⁸·N(0, 1), n = 512: each square fits in f32, their sum of 5·10³⁸ does not.",
        )
        .fill(Fill::Normal { mean: 0.0, deviation: 1e18 })
        .train()
        .grad()
        .disputed_by_libtorch(
            "libtorch sums the squares in f32, gets infinity, and answers output 0 and running_var ∞; mean and variance \
             both fit in f32.",
        )
        .stored(),
        script("accuracy/large-without-overflow", &[64, 2], "10¹⁵·N(0, 1) in f32: nothing overflows, eps is nothing.")
            .fill(Fill::Normal { mean: 0.0, deviation: 1e15 })
            .train()
            .grad()
            .stored(),
        script("accuracy/small-beside-eps", &[64, 2], "10⁻¹⁰·N(0, 1) in f32: a variance of 10⁻²⁰ beside eps = 10⁻⁵.")
            .fill(Fill::Normal { mean: 0.0, deviation: 1e-10 })
            .train()
            .grad()
            .stored(),
        script("accuracy/variance-equals-eps", &[96, 2], "A deviation of √eps: half of what divides is eps, on a mean of 1.")
            .fill(Fill::Normal { mean: 1.0, deviation: 0.003_162_277_66 })
            .train()
            .grad()
            .stored(),
        script("accuracy/alternating", &[300, 1], "±1000 in turn, with 1 added: partial sums swing, the mean is 1.")
            .train_on(&(0..300).map(|i| if i % 2 == 0 { 1001.0 } else { -999.0 }).collect::<Vec<f64>>())
            .stored(),
        script("accuracy/sorted", &[500, 1], "0, 1, 2, …, 499: a sum that grows, and a variance of (n² − 1)/12.")
            .train_on(&(0..500).map(f64::from).collect::<Vec<f64>>())
            .stored(),
        script("accuracy/gradients-cancel", &[64, 2], "grad_output near 1000 everywhere: what is left after Σg/n is a thousandth.")
            .train()
            .grad_of(&(0..128).map(|i| 1000.0 + f64::from(i * 37 % 64) / 64.0).collect::<Vec<f64>>())
            .stored(),
        script("accuracy/running-var-in-many-steps", &[8, 2], "Six updates in f32: each may round once, not more.")
            .fill(Fill::Normal { mean: 3.0, deviation: 1.0 })
            .train()
            .train()
            .train()
            .train()
            .train()
            .train()
            .eval()
            .stored(),
    ]
}

fn large() -> Vec<Entry> {
    let large = |name: &str, shape: &[usize], note: &str, fill: Fill| {
        script(&format!("accuracy/{name}"), shape, note).fill(fill).train()
    };
    vec![
        large(
            "many-values",
            &[65536, 1],
            "n = 65 536 in rank 2: running sums in f32 drift.",
            Fill::Normal { mean: 100.0, deviation: 1.0 },
        )
        .generated(),
        large(
            "many-values-image",
            &[4, 1, 128, 128],
            "n = 65 536 in images, far from 0.",
            Fill::Normal { mean: 1e4, deviation: 1.0 },
        )
        .generated(),
        large(
            "many-values-channels-last",
            &[4, 2, 64, 96],
            "n = 24 576, channels last.",
            Fill::Normal { mean: 100.0, deviation: 1.0 },
        )
        .channels_last()
        .generated(),
        large("many-values-heavy-tail", &[8192, 1], "n = 8192, lognormal.", Fill::HeavyTail)
            .grad()
            .generated(),
        large(
            "many-values-gradients",
            &[8192, 1],
            "n = 8192: Σg and Σg·x̂ are long sums too.",
            Fill::Channels,
        )
        .grad()
        .generated(),
        script(
            "accuracy/many-values-f16",
            &[16384, 1],
            "n = 16 384 in f16: a sum in f16, or of f16 partial sums, is far off.",
        )
        .dtypes(F16, F32)
        .fill(Fill::Normal { mean: 1.0, deviation: 1.0 })
        .train()
        .generated(),
        large(
            "a-million-values",
            &[4, 1, 512, 512],
            "n = 2²⁰, N(10, 1): plain recursion in f32 loses the third digit (burn: mean off by 2.7 at 2²²).",
            Fill::Normal { mean: 10.0, deviation: 1.0 },
        )
        .generated(),
    ]
}
