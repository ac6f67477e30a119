//! What the introductions show: the layers, shapes and defaults that most people
//! meet first. An engine that fails here fails everybody.

use super::Entry;
use super::builder::{Script, script};
use super::fill::Fill;

const THREE_BY_FOUR: [f64; 12] = [1., 2., 3., 4., 2., 3., 4., 5., 3., 4., 5., 6.];

/// A new layer with PyTorch's defaults.
fn defaults(name: &str, shape: &[usize], note: &str) -> Script {
    script(name, shape, note).fresh().momentum(0.1)
}

pub(super) fn cases() -> Vec<Entry> {
    [sheet(), course(), other_texts()].concat()
}

/// The short syntax sheet.
fn sheet() -> Vec<Entry> {
    vec![
        defaults(
            "documents/three-by-four",
            &[3, 4],
            "The 3×4 example: output ±1.2247, running mean 0.1 of the batch's, running variance 1.",
        )
        .train_on(&THREE_BY_FOUR)
        .stored(),
        defaults(
            "documents/three-by-four-eval",
            &[3, 4],
            "The 3×4 example, then evaluated: the output must come from the running statistics, \
             not from the batch, and leave them alone.",
        )
        .train_on(&THREE_BY_FOUR)
        .eval_on(&THREE_BY_FOUR)
        .stored(),
        defaults(
            "documents/three-by-four-gradients",
            &[3, 4],
            "The 3×4 example with its gradients under a grad_output that differs in every element.",
        )
        .train_on(&THREE_BY_FOUR)
        .grad()
        .stored(),
        defaults(
            "documents/batchnorm1d-10",
            &[7, 10],
            "BatchNorm1d(10) as it is made: train twice, \
             then evaluate.",
        )
        .train()
        .train()
        .eval()
        .stored(),
        defaults(
            "documents/batchnorm2d-3",
            &[2, 3, 5, 4],
            "BatchNorm2d(3) as it is made: train twice, \
             then evaluate.",
        )
        .train()
        .train()
        .eval()
        .stored(),
        defaults(
            "documents/momentum-0.05",
            &[6, 5],
            "BatchNorm1d(5, momentum=0.05): after two batches the running statistics have moved by 5 % \
                 each time.",
        )
        .momentum(0.05)
        .train()
        .train()
        .stored(),
    ]
}

/// The course's three networks.
fn course() -> Vec<Entry> {
    vec![
        defaults(
            "documents/mlp-64x100",
            &[64, 100],
            "The activations between the layers of an MLP 784-100-10, batch 64: a training step with \
                 gradients.",
        )
        .train()
        .grad()
        .stored(),
        defaults(
            "documents/cnn-first",
            &[16, 16, 32, 32],
            "After the first convolution of the CNN: a \
             training step.",
        )
        .train()
        .generated(),
        defaults(
            "documents/cnn-second",
            &[16, 32, 16, 16],
            "After the second convolution of the CNN: a \
             training step.",
        )
        .train()
        .generated(),
        script(
            "documents/eval-4x20",
            &[4, 20],
            "The evaluation model 10-20 on a batch of 4: running statistics that training left, batch \
                 statistics unused.",
        )
        .momentum(0.1)
        .counter(Some(40))
        .eval()
        .stored(),
    ]
}

/// The from-scratch layer, CIFAR-10 and the hands-on comparison.
fn other_texts() -> Vec<Entry> {
    vec![
        defaults(
            "documents/zeros",
            &[2, 3, 2, 4],
            "zeros(2, 3, 2, 4): variance 0, so eps alone keeps the division finite; running_var falls \
                 to 0.9.",
        )
        .fill(Fill::Constant(0.0))
        .train()
        .grad()
        .stored(),
        script(
            "documents/zeros-give-the-bias",
            &[2, 3, 2, 4],
            "Zeros through a trained layer: in training the output is the bias exactly, whatever the \
                 weight is.",
        )
        .fill(Fill::Constant(0.0))
        .train()
        .eval()
        .stored(),
        defaults(
            "documents/running-var-of-the-from-scratch-layer",
            &[2, 3],
            "With two values per channel the biased running variance that a popular from-scratch layer \
                 keeps is half of PyTorch's.",
        )
        .train()
        .eval()
        .stored(),
        defaults(
            "documents/cifar-mlp-64",
            &[10, 64],
            "The first batch norm of the CIFAR-10 MLP, batch \
             10: two steps.",
        )
        .train()
        .grad()
        .train()
        .stored(),
        defaults(
            "documents/cifar-mlp-32",
            &[10, 32],
            "The second batch norm of the CIFAR-10 MLP: \
             train, then evaluate.",
        )
        .train()
        .grad()
        .eval()
        .stored(),
        defaults(
            "documents/hands-on-128",
            &[64, 128],
            "The first batch norm of the MLP 20-128-64-1, \
             batch 64.",
        )
        .train()
        .grad()
        .eval()
        .generated(),
        defaults(
            "documents/hands-on-last-batch",
            &[8, 64],
            "1000 examples in batches of 64 end with \
             one of 40 or, of a split, 8: the smaller batch weighs as much in the running statistics.",
        )
        .batch(&[16, 64])
        .train()
        .batch(&[8, 64])
        .train()
        .eval()
        .stored(),
        bias_before_batch_norm(),
    ]
}

/// x and x + 2, in separate layers of one script: the statistics take the shift.
fn bias_before_batch_norm() -> Entry {
    let shifted = THREE_BY_FOUR.map(|x| x + 2.0);
    defaults(
        "documents/a-bias-before-is-cancelled",
        &[3, 4],
        "The same batch with 2 added: in training output and gradients are the same, only running_mean \
             shows the bias.",
    )
    .train_on(&THREE_BY_FOUR)
    .grad_of(&GRADIENT)
    .train_on(&shifted)
    .grad_of(&GRADIENT)
    .stored()
}

const GRADIENT: [f64; 12] = [0.5, -1., 0.25, 2., 1.5, 0.75, -0.5, 1., -2., 0.125, 3., 0.25];
