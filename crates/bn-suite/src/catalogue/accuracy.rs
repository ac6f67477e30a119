//! Inputs on which right formulas give wrong numbers: means large against the
//! deviation, constants, outliers, heavy tails, extremes, many values. The
//! allowances follow each element's conditioning, so that what is lost here is
//! lost by the arithmetic, not by the data.

use super::Entry;
use super::arrangement::Arrangement::{self, ChannelsLast, Contiguous};
use super::builder::{Script, script};
use super::fill::Fill;
use crate::tensor::DType::{self, Bf16, F16, F32, F64};

pub(super) fn cases() -> Vec<Entry> {
    [flat(), images(), channels_last(), doubles(), low_precision(), extremes(), large()].concat()
}

/// A hard input: its name, what is hard about it, and whether its mean is so far
/// from 0, in deviations, that f32 arithmetic promises nothing about long sums
/// (64 values at 10⁶ deviations: the mean may be off by 64·2⁻²⁴·10⁶, nearly four
/// deviations); a few values ask what can be answered.
struct Hard {
    name: &'static str,
    fill: Fill,
    note: &'static str,
    far: bool,
    /// Whether grad_weight = Σg·x̂ can be told from 0: at 10⁶ deviations the error
    /// that x̂ may have is as large as the sum.
    grad_weight: bool,
}

impl Hard {
    fn new(name: &'static str, fill: Fill, note: &'static str) -> Self {
        Hard { name, fill, note, far: false, grad_weight: true }
    }

    fn far(self) -> Self {
        Hard { far: true, ..self }
    }

    fn very_far(self) -> Self {
        Hard { far: true, grad_weight: false, ..self }
    }

    /// A training step with gradients, and an evaluation by its statistics.
    fn case(&self, kind: &str, shape: &[usize], far_shape: &[usize], arrangement: Arrangement) -> Entry {
        let shape = if self.far { far_shape } else { shape };
        let n = shape.iter().product::<usize>() / shape[1];
        let name = format!("accuracy/{}-{}", self.name, kind.replace(' ', "-"));
        let trained = script(&name, shape, &format!("{}; {kind}, n = {n}.", self.note))
            .momentum(1.0)
            .fill(self.fill)
            .arranged(arrangement)
            .train()
            .grad();
        let asked = if self.grad_weight { trained } else { trained.mask(true, false, true) };
        asked.eval().stored()
    }
}

fn hard() -> Vec<Hard> {
    let normal = |mean: f64, deviation: f64| Fill::Normal { mean, deviation };
    vec![
        Hard::new("mean-100", normal(100.0, 1.0), "N(100, 1): E[x²] − E[x]² loses four digits"),
        Hard::new(
            "mean-1e4",
            normal(1e4, 1.0),
            "N(10⁴, 1): E[x²] − E[x]² is noise in f32 (tensorflow#25115)",
        )
        .far(),
        Hard::new("mean-1e6", normal(1e6, 4.0), "N(10⁶, 4): f32's steps are 1/16 there").very_far(),
        Hard::new(
            "mean-1e8",
            normal(1e8, 400.0),
            "N(10⁸, 400): f32's steps are 8, and the mean lies between them",
        )
        .very_far(),
        Hard::new(
            "constant",
            Fill::Constant(f64::from(7.3_f32)),
            "All 7.3: the variance is 0, and what rounding makes of it is scaled by 316",
        ),
        Hard::new(
            "outlier",
            Fill::Outlier { mean: 1e4, deviation: 1.0, outlier: 1e6 },
            "N(10⁴, 1) and one value of 10⁶ in the middle: two passes see both",
        ),
        Hard::new(
            "heavy-tail",
            Fill::HeavyTail,
            "Lognormal, σ = 3: a few values make up the sum, and the small ones keep their digits",
        ),
    ]
}

/// A training step with gradients, and an evaluation.
fn trained(script: Script) -> Entry {
    script.train().grad().eval().stored()
}

fn flat() -> Vec<Entry> {
    hard().iter().map(|hard| hard.case("flat", &[64, 3], &[8, 5], Contiguous)).collect()
}

fn images() -> Vec<Entry> {
    hard().iter().map(|hard| hard.case("image", &[3, 2, 7, 9], &[2, 5, 2, 2], Contiguous)).collect()
}

fn channels_last() -> Vec<Entry> {
    hard().iter().map(|hard| hard.case("channels last", &[2, 3, 7, 9], &[2, 5, 2, 2], ChannelsLast)).collect()
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
        case(
            "constant",
            Fill::Constant(7.3),
            "f64, all 7.3: the variance is 0, not what rounding leaves of it.",
        ),
        case(
            "outlier",
            Fill::Outlier { mean: 1.0, deviation: 2f64.powi(-10), outlier: 1e9 },
            "f64, 10⁹ among values near 1.",
        ),
        case("heavy-tail", Fill::HeavyTail, "f64, lognormal with σ = 3: a few values make up the sum."),
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
            far(2.0),
            "bf16 throughout at 2 deviations: the mean to 8 bits.",
        ),
        case(
            "f16-heavy-tail",
            F16,
            F32,
            Fill::HeavyTail,
            "f16, lognormal with σ = 3: from subnormals to thousands.",
        ),
        case(
            "bf16-heavy-tail",
            Bf16,
            F32,
            Fill::HeavyTail,
            "bf16, lognormal with σ = 3: the small values are not lost beside the large.",
        ),
        case("f16-constant", F16, F32, Fill::Constant(7.30078125), "f16, all 7.3: the output is the bias."),
    ]
}

fn extremes() -> Vec<Entry> {
    vec![
        script(
            "accuracy/squares-overflow-in-sum",
            &[512, 1],
            "10¹⁸·N(0, 1), n = 512: each square fits in f32, their sum of 5·10³⁸ does not. f32 sums \
             promise nothing here; wider or scaled ones do.",
        )
        .fill(Fill::Normal { mean: 0.0, deviation: 1e18 })
        .train()
        .grad()
        .stored(),
        script(
            "accuracy/large-without-overflow",
            &[64, 2],
            "10¹⁵·N(0, 1) in f32: nothing overflows, \
             eps is nothing.",
        )
        .fill(Fill::Normal { mean: 0.0, deviation: 1e15 })
        .train()
        .grad()
        .stored(),
        script(
            "accuracy/small-beside-eps",
            &[64, 2],
            "10⁻¹⁰·N(0, 1) in f32: a variance of 10⁻²⁰ beside \
             eps = 10⁻⁵.",
        )
        .fill(Fill::Normal { mean: 0.0, deviation: 1e-10 })
        .train()
        .grad()
        .stored(),
        script(
            "accuracy/variance-equals-eps",
            &[96, 2],
            "A deviation of √eps: half of what divides is \
             eps, on a mean of 1.",
        )
        .fill(Fill::Normal { mean: 1.0, deviation: 0.003_162_277_66 })
        .train()
        .grad()
        .stored(),
        script(
            "accuracy/alternating",
            &[300, 1],
            "±1000 in turn, with 1 added: partial sums swing, the \
             mean is 1.",
        )
        .train_on(&(0..300).map(|i| if i % 2 == 0 { 1001.0 } else { -999.0 }).collect::<Vec<f64>>())
        .stored(),
        script(
            "accuracy/sorted",
            &[500, 1],
            "0, 1, 2, …, 499: a sum that grows, and a variance of (n² \
             − 1)/12.",
        )
        .train_on(&(0..500).map(f64::from).collect::<Vec<f64>>())
        .stored(),
        script(
            "accuracy/gradients-cancel",
            &[16, 3],
            "grad_output near 100 everywhere: what is left \
             after Σg/n is a hundredth.",
        )
        .train()
        .grad_of(&(0..48).map(|i| 100.0 + f64::from(i * 37 % 64) / 64.0).collect::<Vec<f64>>())
        .stored(),
        script(
            "accuracy/running-var-in-many-steps",
            &[8, 2],
            "Six updates in f32: each may round once, \
             not more.",
        )
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
            &[2, 1, 128, 128],
            "n = 32 768 in images, far from 0.",
            Fill::Normal { mean: 1e3, deviation: 1.0 },
        )
        .generated(),
        large(
            "many-values-channels-last",
            &[4, 2, 64, 96],
            "n = 24 576, channels last: long sums with a stride.",
            Fill::Normal { mean: 100.0, deviation: 1.0 },
        )
        .channels_last()
        .generated(),
        large(
            "many-values-heavy-tail",
            &[8192, 1],
            "n = 8192, lognormal: a long sum whose terms span ten orders of magnitude.",
            Fill::HeavyTail,
        )
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
        .fill(Fill::Dense)
        .train()
        .generated(),
        large(
            "half-a-million-values",
            &[4, 8, 128, 128],
            "2¹⁹ values in 8 channels, N(10, 1): running sums in f32 drift.",
            Fill::Normal { mean: 10.0, deviation: 1.0 },
        )
        .generated(),
        large(
            "four-million-of-mean-100",
            &[4, 1, 1024, 1024],
            "n = 2²², N(100, 1): plain recursion in f32 misses the mean by 2.7, blocks and halves do not.",
            Fill::Coarse { mean: 100.0, deviation: 1.0 },
        )
        .generated(),
    ]
}
