//! First gradients. With x̂ = (x − mean)·invstd and n values per channel:
//! grad_bias = Σg, grad_weight = Σg·x̂, and
//! grad_input = weight·invstd·(g − Σg/n − x̂·Σ(g·x̂)/n) in training,
//! grad_input = weight·invstd·g in evaluation.
//!
//! No grad_output here is uniform unless that is the point: under a plain sum of
//! the outputs, training's grad_input is 0 whatever the code does (Odyssey#3174,
//! torch/nn#744).

use super::Entry;
use super::builder::{Script, script};
use super::fill::Fill;
use crate::outcome::Field;
use crate::tensor::DType::F64;

/// Why the truth stands where libtorch's evaluation is differentiated later.
pub(super) const STATISTICS_OF_NOW: &str = "libtorch keeps a reference to the running statistics, not their values, and differentiates with what training \
             made of them in between; the gradient of a function is taken where the function was.";

pub(super) fn cases() -> Vec<Entry> {
    [terms(), evaluation(), masks(), deferred(), special()].concat()
}

fn terms() -> Vec<Entry> {
    let layer = |name: &str, note: &str| script(name, &[5, 3], note);
    vec![
        layer(
            "gradients/through-the-statistics",
            "Mean and deviation depend on x: without their two terms grad_input is just weight·invstd·g \
                 (CrypTen#143, mlpack#1923).",
        )
        .train()
        .grad()
        .stored(),
        layer(
            "gradients/term-of-the-deviation",
            "x̂·Σ(g·x̂)/n is what is lost when the deviation counts as constant; here g leans on x, so \
                 that it is large.",
        )
        .no_affine()
        .train_on(&LEANING)
        .grad_of(&lean(1.0, 0.0))
        .stored(),
        layer(
            "gradients/term-of-the-mean",
            "Σg/n is what is lost when the mean counts as constant; here g is 4 and a little, so that \
                 it is nearly all there is.",
        )
        .no_affine()
        .train_on(&LEANING)
        .grad_of(&lean(0.0, 4.0))
        .stored(),
        layer(
            "gradients/weight-in-grad-input",
            "grad_input has the weight as a factor, once \
             (Knet.jl#288).",
        )
        .weight(&[-2.5, 0.125, 8.0])
        .train()
        .grad()
        .stored(),
        layer(
            "gradients/weight-not-in-grad-weight",
            "grad_weight is Σg·x̂ and grad_bias Σg: the weight \
             is in neither (mxnet#1053).",
        )
        .weight(&[-2.5, 0.125, 8.0])
        .train()
        .grad()
        .mask(false, true, true)
        .stored(),
        layer(
            "gradients/eps-in-backward",
            "eps as large as the variance: backward must use the same \
             invstd as forward.",
        )
        .eps(4.0)
        .train()
        .grad()
        .stored(),
        layer(
            "gradients/eps-keeps-a-component",
            "Σ grad_input·x̂ is 0 only without eps: whoever \
             projects x̂ out altogether is wrong.",
        )
        .eps(0.5)
        .fill(Fill::Normal { mean: 0.0, deviation: 0.5 })
        .train()
        .grad()
        .stored(),
        layer("gradients/sum-to-zero", "In training every channel's grad_input sums to 0, whatever g is.")
            .train()
            .grad_of(&[7.0, -3.0, 2.0, 0.5, 1.0, -8.0, 4.0, 4.0, 1.0, -0.25, 6.0, 2.0, 3.0, -5.0, 1.0])
            .stored(),
        layer(
            "gradients/uniform",
            "g all 1: training's grad_input is 0 to rounding, grad_bias is n. By \
             itself this proves nothing.",
        )
        .train()
        .grad_of(&[1.0; 15])
        .stored(),
        layer("gradients/zero", "g all 0: every gradient is exactly 0.")
            .train()
            .grad_of(&[0.0; 15])
            .eval()
            .grad_of(&[0.0; 15])
            .stored(),
        layer(
            "gradients/one-hot",
            "g is 1 in one element: grad_input shows one column of the Jacobian, \
             1/n and x̂ᵢx̂ⱼ/n.",
        )
        .train()
        .grad_of(&[0., 0., 0., 0., 1., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0.])
        .stored(),
    ]
}

const LEANING: [f64; 15] = [1., -2., 4., 2., -1., 0., 3., 1., -4., 5., 0., 2., -1., 2., 7.];

/// slope·x + level, and quarters that follow neither.
fn lean(slope: f64, level: f64) -> [f64; 15] {
    const QUARTERS: [f64; 15] = [3., 1., -2., 0., 4., -1., -3., 2., 1., 2., -4., 0., 1., 3., -2.];
    std::array::from_fn(|i| slope * LEANING[i] + level + QUARTERS[i] / 4.0)
}

fn evaluation() -> Vec<Entry> {
    let layer = |name: &str, note: &str| script(name, &[4, 3], note);
    vec![
        layer(
            "gradients/eval",
            "In evaluation the statistics are constants: training's formula is wrong there \
                 (pytorch/xla#913, #3361; ferrotorch).",
        )
        .eval()
        .grad()
        .stored(),
        layer(
            "gradients/eval-grad-weight",
            "In evaluation grad_weight uses x̂ from the running \
             statistics, not from the batch (rumus answers 0).",
        )
        .eval()
        .grad()
        .mask(false, true, true)
        .stored(),
        layer(
            "gradients/eval-one-sample",
            "One sample in evaluation has gradients too: \
             g·weight·invstd.",
        )
        .batch(&[1, 3])
        .eval()
        .grad()
        .stored(),
        layer(
            "gradients/eval-uniform",
            "g all 1 in evaluation: grad_input is weight·invstd, not \
             0.",
        )
        .eval()
        .grad_of(&[1.0; 12])
        .stored(),
        layer(
            "gradients/eval-without-buffers",
            "Evaluation with batch statistics has training's \
             gradient.",
        )
        .untracked()
        .eval()
        .grad()
        .stored(),
        layer("gradients/eval-image", "Evaluation of images, with gradients.")
            .batch(&[2, 3, 2, 3])
            .rank(crate::case::Rank::Two)
            .eval()
            .grad()
            .stored(),
        layer(
            "gradients/eval-after-training",
            "Training changes the running statistics that the next \
             evaluation's gradient uses.",
        )
        .train()
        .grad()
        .eval()
        .grad()
        .stored(),
    ]
}

fn masks() -> Vec<Entry> {
    let words = |(input, weight, bias): (bool, bool, bool)| {
        let names = [(input, "input"), (weight, "weight"), (bias, "bias")];
        let asked: Vec<&str> = names.iter().filter(|(asked, _)| *asked).map(|(_, name)| *name).collect();
        if asked.is_empty() { "nothing".to_owned() } else { asked.join("-and-") }
    };
    let masked = |mask: (bool, bool, bool)| {
        let (input, weight, bias) = mask;
        let asked = words(mask);
        let note = format!(
            "Asked for the gradient of {}: it must not lean on one that is not asked for.",
            asked.replace('-', " ")
        );
        script(&format!("gradients/only-{asked}"), &[4, 3], &note)
            .train()
            .grad()
            .mask(input, weight, bias)
            .eval()
            .grad()
            .mask(input, weight, bias)
            .stored()
    };
    let (no, yes) = (false, true);
    [
        (no, no, no),
        (yes, no, no),
        (no, yes, no),
        (no, no, yes),
        (yes, yes, no),
        (yes, no, yes),
        (no, yes, yes),
    ]
    .map(masked)
    .into()
}

fn deferred() -> Vec<Entry> {
    let layer = |name: &str, note: &str| script(name, &[4, 3], note);
    vec![
        layer(
            "gradients/two-forwards-one-backward",
            "Two training steps, then the first one's \
             backward: it uses its own batch's statistics.",
        )
        .train()
        .grad()
        .deferred()
        .train()
        .stored(),
        layer(
            "gradients/two-forwards-two-backwards",
            "Two training steps, then both backwards: each \
             with its own statistics (pytorch#20275).",
        )
        .train()
        .grad()
        .deferred()
        .train()
        .grad()
        .deferred()
        .stored(),
        layer(
            "gradients/eval-train-then-backward",
            "Evaluation, a training step, then the evaluation's backward: it belongs to the running \
                 statistics as they were.",
        )
        .eval()
        .grad()
        .deferred()
        .train()
        .disputed_by_libtorch(&[Field::GradInput, Field::GradWeight], STATISTICS_OF_NOW)
        .stored(),
        layer(
            "gradients/train-eval-then-backward",
            "A training step, an evaluation, then the training \
             step's backward.",
        )
        .train()
        .grad()
        .deferred()
        .eval()
        .grad()
        .stored(),
        layer(
            "gradients/deferred-over-a-refusal",
            "A refused step between forward and backward \
             disturbs neither.",
        )
        .train()
        .grad()
        .deferred()
        .batch(&[1, 3])
        .train()
        .stored(),
    ]
}

fn special() -> Vec<Entry> {
    let layer = |name: &str, shape: &[usize], note: &str| script(name, shape, note);
    let graded = |script: Script| script.train().grad().stored();
    vec![
        graded(
            layer(
                "gradients/two-values",
                &[2, 3],
                "n = 2: x̂ is ±1, so grad_input is 0 but for eps, here 0.5.",
            )
            .eps(0.5),
        ),
        graded(
            layer(
                "gradients/weight-zero",
                &[4, 3],
                "A weight of 0 makes grad_input exactly 0, and grad_weight not.",
            )
            .weight(&[0.0, 0.0, -1.5]),
        ),
        graded(
            layer(
                "gradients/constant-channel",
                &[4, 2],
                "Variance 0: invstd is 1/√eps = 316, and grad_input that times g − Σg/n.",
            )
            .fill(Fill::Constant(-0.75)),
        ),
        graded(
            layer(
                "gradients/tiny-variance",
                &[6, 2],
                "A deviation of 1/256 makes grad_input 256 times larger.",
            )
            .fill(Fill::Normal { mean: 0.0, deviation: 1.0 / 256.0 }),
        ),
        graded(layer("gradients/sequence", &[3, 4, 7], "(N, C, L): the sums run over batch and length.")),
        graded(layer(
            "gradients/image",
            &[2, 5, 3, 4],
            "(N, C, H, W): the sums run over batch, height and width.",
        )),
        graded(layer(
            "gradients/volume",
            &[2, 3, 2, 3, 3],
            "(N, C, D, H, W): the sums run over four \
             axes.",
        )),
        graded(
            layer(
                "gradients/in-f64",
                &[5, 4],
                "f64: where finite differences agree to ten digits, so must this.",
            )
            .dtype(F64),
        ),
        graded(layer(
            "gradients/many-values",
            &[2, 3, 9, 11],
            "198 values per channel: Σg and Σg·x̂ over a tail of every width.",
        )),
        graded(
            layer(
                "gradients/untracked",
                &[5, 3],
                "No running statistics: backward needs \
                 none.",
            )
            .untracked(),
        ),
    ]
}
