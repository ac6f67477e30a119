//! Claims that are theorems: each holds to the last roundings, whose size is derived.

use ndarray::{Array1, Array2, ArrayD, Axis};

use super::training::Setting;
use super::{Claim, ClaimError, Draft, Figure};
use crate::agreement::bounded::Arithmetic;
use crate::blueprint::{Document, Norm};
use crate::error::Error;
use crate::layers::{BatchNorm, Detached, Layer, Linear, Mode, Slot};
use crate::loss::Target;
use crate::network::{Engine, Network};
use crate::optimizer::{Optimizer, Rule};
use crate::train::{Plan, Training};

/// A batch of the hands-on network's shape, by chance, in f64.
fn batch(draws: &mut fastrand::Rng, features: usize) -> (ArrayD<f64>, Target<f64>) {
    let input = Array2::from_shape_simple_fn((64, features), || 4.0 * draws.f64() - 1.0).into_dyn();
    (input, Target::Binary((0..64).map(|_| f64::from(u8::from(draws.f64() < 0.7))).collect()))
}

fn network(seed: u64) -> Network<f64> {
    Network::new(&Document::ApxHandsOn.blueprint(Norm::Before), Engine::Batchnorm, seed)
}

fn gradient_of(network: &mut Network<f64>, wanted: &str) -> Option<ArrayD<f64>> {
    network.slots().into_iter().find_map(|(name, slot)| match slot {
        Slot::Parameter { grad, .. } if name == wanted => Some(grad.to_owned()),
        _ => None,
    })
}

fn largest(array: &ArrayD<f64>) -> f64 {
    array.fold(0.0, |a: f64, b| a.max(b.abs()))
}

/// "A bias before batch norm is cancelled": labml's. Its gradient is Σ over the batch of a batch
/// norm's grad_input, and that sum is 0.
///
/// # Errors
/// [`ClaimError::Network`].
pub fn bias_before(seeds: u64) -> Result<Claim, ClaimError> {
    let (mut of_bias, mut of_weight, mut shown) = (Vec::new(), Vec::new(), Vec::new());
    let mut moved = Vec::new();
    for seed in 1..=seeds {
        let mut network = network(seed);
        let mut draws = fastrand::Rng::with_seed(seed);
        let (input, target) = batch(&mut draws, 20);
        let mut terms = 0.0;
        network.differentiate_tapped(input.clone(), &target, &mut |tap, array| {
            // What comes back through bn1, whose columns layer1 sums up.
            if tap == crate::network::Tap::GradInput(1) {
                terms = array.mapv(f64::abs).sum_axis(Axis(0)).fold(0.0, |a: f64, &b| a.max(b));
            }
        })?;
        let bias = largest(&gradient_of(&mut network, "layer1.bias").expect("a bias"));
        let weight = largest(&gradient_of(&mut network, "layer1.weight").expect("a weight"));
        // 64 terms, each rounded once more than a few times.
        let allowed = Arithmetic::of(batchnorm::DType::F64).sum_factor(4 * 64) * terms;
        let before = network.forward(input.clone(), Mode::Train)?;
        for (name, slot) in network.slots() {
            if let (true, Slot::Parameter { mut value, .. }) = (name == "layer1.bias", slot) {
                value.mapv_inplace(|b| b + 100.0);
            }
        }
        let after = network.forward(input, Mode::Train)?;
        of_bias.push(bias);
        of_weight.push(weight);
        moved.push(largest(&(after - before)));
        shown.push(bias <= allowed);
    }
    let draft = Draft {
        name: "bias-before",
        statement: "A bias before batch norm is cancelled: its gradient is 0, and it may be left out.",
        document: "labml",
        setting: "apx-hands-on in f64, one batch of 64 by chance".into(),
        criterion: "The largest gradient of layer1's bias is within the rounding of the sum that it is.",
    };
    let figures = vec![
        Figure::new("largest gradient of the bias", of_bias),
        Figure::new("largest gradient of the weights beside it", of_weight),
        Figure::new("how far the output moves when 100 is added to the bias", moved),
    ];
    Ok(draft.finish(&shown, figures, Vec::new()))
}

/// "Back-propagation is invariant to the scale of the weights": labml's, from Ioffe and Szegedy.
/// BN((aW)x) = BN(Wx), and the gradient by aW is 1/a of that by W; with ε = 0 exactly.
///
/// # Errors
/// [`ClaimError::Network`].
pub fn scaled_weights(seeds: u64) -> Result<Claim, ClaimError> {
    /// Powers of 2, so that scaling rounds nothing; and one that does.
    const SCALES: [f64; 3] = [0.125, 10.0, 1024.0];
    let (mut outputs, mut inputs, mut weights, mut shown) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for seed in 1..=seeds {
        let mut draws = fastrand::Rng::with_seed(seed);
        let (input, _) = batch(&mut draws, 20);
        let weight = ArrayD::from_shape_simple_fn(&[8, 20][..], || draws.f64() - 0.5);
        let grad_output = ArrayD::from_shape_simple_fn(&[64, 8][..], || draws.f64() - 0.5);
        let passes = |scale: f64| -> Result<[ArrayD<f64>; 3], Error> {
            let mut linear = Linear::new(20, 8, false);
            linear.weight.value.assign(&(&weight * scale));
            let config = batchnorm::Config { eps: f64::MIN_POSITIVE, ..batchnorm::Config::new(8) };
            let mut norm = BatchNorm::with_config(config);
            let output = norm.forward(linear.forward(input.clone(), Mode::Train)?, Mode::Train)?;
            let grad_input = linear.backward(norm.backward(grad_output.clone())?)?;
            Ok([output, grad_input, linear.weight.grad])
        };
        let [output, grad_input, grad_weight] = passes(1.0)?;
        let mut off = [0.0_f64; 3];
        for scale in SCALES {
            let [y, gx, gw] = passes(scale)?;
            let part = |a: &ArrayD<f64>, b: &ArrayD<f64>| largest(&(a - b)) / largest(b);
            off[0] = off[0].max(part(&y, &output));
            off[1] = off[1].max(part(&gx, &grad_input));
            off[2] = off[2].max(part(&(gw * scale), &grad_weight));
        }
        outputs.push(off[0]);
        inputs.push(off[1]);
        weights.push(off[2]);
        // Scaling rounds each weight once, and products, sums and gradients of up to 64 terms follow; the
        // condition of the deviations (|x| up to 3 of deviation 1) multiplies that by less than 10.
        let allowed = 10.0 * Arithmetic::of(batchnorm::DType::F64).sum_factor(2 * 64 + 20);
        shown.push(off.iter().all(|&off| off <= allowed));
    }
    let draft = Draft {
        name: "scaled-weights",
        statement: "Scaling a layer's weights by a leaves the output and the gradient of the input, and scales \
                    the gradient of the weights by 1/a.",
        document: "labml",
        setting: "linear 20-8 and batch norm with ε → 0 in f64, a = 1/8, 10, 1024".into(),
        criterion: "The largest difference, in parts of the largest number, is within the rounding of the sums.",
    };
    let figures = vec![
        Figure::new("output, largest difference in parts", outputs),
        Figure::new("gradient of the input, likewise", inputs),
        Figure::new("a times the gradient of the weights, likewise", weights),
    ];
    Ok(draft.finish(&shown, figures, Vec::new()))
}

/// "Normalising outside the gradient lets the bias grow": labml's, from Ioffe and Szegedy.
///
/// # Errors
/// [`ClaimError::Network`].
pub fn detached_bias(seeds: u64) -> Result<Claim, ClaimError> {
    const STEPS: usize = 100;
    let (mut grown, mut drifts, mut right, mut shown) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for seed in 1..=seeds {
        let mut draws = fastrand::Rng::with_seed(seed);
        let (input, target) = batch(&mut draws, 20);
        let weight = ArrayD::from_shape_simple_fn(&[1, 20][..], || draws.f64() - 0.5);
        // Only the bias learns, so that nothing else can move the loss.
        let train = |norm: Box<dyn Layer<f64>>| -> Result<(Vec<f64>, Vec<f64>), Error> {
            let mut linear = Linear::new(20, 1, true);
            linear.weight.value.assign(&weight);
            let layers: Vec<(String, Box<dyn Layer<f64>>)> =
                vec![("linear".into(), Box::new(linear)), ("norm".into(), norm)];
            let mut network = Network::from_layers(layers);
            let mut optimizer = Optimizer::new(Rule::Sgd { lr: 1.0, momentum: 0.0 });
            let (mut biases, mut losses) = (Vec::new(), Vec::new());
            for _ in 0..STEPS {
                losses.push(network.differentiate(input.clone(), &target)?);
                optimizer.step(network.parameters().skip(1).take(1));
                biases.push(network.state().array("linear.bias").map_or(f64::NAN, |bias| bias[[0]]));
            }
            Ok((biases, losses))
        };
        let (biases, losses) = train(Box::<Detached>::default())?;
        let config = batchnorm::Config::new(1).affine(false);
        let (attached, _) = train(Box::new(BatchNorm::with_config(config)))?;
        let spread = losses.iter().fold(0.0, |a: f64, &loss| a.max((loss - losses[0]).abs() / losses[0]));
        let grows = biases.windows(2).all(|pair| pair[1].abs() > pair[0].abs());
        let last = biases.last().map_or(f64::NAN, |bias| bias.abs());
        grown.push(last);
        drifts.push(spread);
        right.push(attached.last().map_or(f64::NAN, |bias| bias.abs()));
        // The bias is taken out again; what it rounded away of x, relative to the deviation, stays.
        let allowed = Arithmetic::of(batchnorm::DType::F64).sum_factor(64) * (10.0 + last);
        shown.push(grows && spread <= allowed);
    }
    let draft = Draft {
        name: "detached-bias",
        statement: "Normalising by statistics that the gradient does not see lets a bias grow step after step, \
                    while the loss stays.",
        document: "labml",
        setting: format!(
            "linear 20-1, normalised, binary cross-entropy in f64; only the bias learns, {STEPS} steps of SGD with lr 1"
        ),
        criterion: "The bias grows at every step, and no loss differs from the first by more than rounding.",
    };
    let figures = vec![
        Figure::new(format!("the bias after {STEPS} steps, detached"), grown),
        Figure::new("largest change of the loss, in parts", drifts),
        Figure::new(format!("the bias after {STEPS} steps, with the right gradient"), right),
    ];
    Ok(draft.finish(&shown, figures, Vec::new()))
}

/// "Without `eval()` the answers depend on the batch": ApX's.
///
/// # Errors
/// [`ClaimError::Network`].
pub fn forgotten_eval(setting: &Setting<'_>, seeds: u64) -> Result<Claim, ClaimError> {
    let (mut forgotten, mut right, mut flips, mut shown) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for seed in 1..=seeds {
        let mut training = Training::new(Plan { seed, ..Plan::new(setting.document) });
        for _ in 0..5 {
            training.epoch(setting.split, &mut |_, _| {})?;
        }
        let validation = &setting.split.validation;
        // Each example among 7 neighbours, and among 7 others.
        let neighbours = |example: usize, turn: usize| -> Vec<usize> {
            let others = (0..7).map(|k| (example + 1 + k + 50 * turn) % validation.len());
            [example].into_iter().chain(others).collect()
        };
        let network = training.network();
        let mut answers = |mode: Mode, turn: usize| -> Result<Array1<f32>, Error> {
            let answer =
                |example| Ok(network.forward(validation.batch(&neighbours(example, turn)), mode)?[[0, 0]]);
            (0..validation.len()).map(answer).collect()
        };
        let [train_a, train_b] = [answers(Mode::Train, 0)?, answers(Mode::Train, 1)?];
        let [eval_a, eval_b] = [answers(Mode::Eval, 0)?, answers(Mode::Eval, 1)?];
        let apart = |a: &Array1<f32>, b: &Array1<f32>| {
            a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max)
        };
        let flipped = train_a.iter().zip(&train_b).filter(|(a, b)| (**a > 0.0) != (**b > 0.0)).count();
        forgotten.push(apart(&train_a, &train_b));
        right.push(apart(&eval_a, &eval_b));
        flips.push(flipped as f64 / validation.len() as f64);
        // In evaluation a row is computed from itself alone: not a bit may differ.
        shown.push(right.last() == Some(&0.0) && flipped > 0);
    }
    let draft = Draft {
        name: "forgotten-eval",
        statement: "Where eval() is forgotten, what is predicted of an example depends on its neighbours in the \
                    batch.",
        document: "ApX",
        setting: format!(
            "{}, five epochs; each validation example among 7 neighbours, and among 7 others",
            setting.document
        ),
        criterion: "In training mode some example changes its class; in evaluation mode no logit changes by a bit.",
    };
    let figures = vec![
        Figure::new("largest change of a logit, eval() forgotten", forgotten),
        Figure::new("largest change of a logit, in evaluation mode", right),
        Figure::new("part of the examples that change their class, eval() forgotten", flips),
    ];
    Ok(draft.finish(&shown, figures, Vec::new()))
}
