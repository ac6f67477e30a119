//! Training, epoch by epoch, as the documents do it.

use std::fmt;

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use crate::blueprint::{Document, Norm};
use crate::data::{Dataset, Split, Targets};
use crate::error::Error;
use crate::experiment::Settings;
use crate::layers::Mode;
use crate::loss::{Target, loss};
use crate::network::{Engine, Network, State};
use crate::optimizer::Optimizer;

/// Everything that a training follows from, but the examples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The network.
    pub document: Document,
    /// Where its batch norm is.
    pub norm: Norm,
    /// Whose that is.
    pub engine: Engine,
    /// Of the initial weights and of the order of the examples.
    pub seed: u64,
    /// Batch, optimiser and number of epochs.
    pub settings: Settings,
}

impl Plan {
    /// The document's own settings, with batch norm before the activation.
    pub fn new(document: Document) -> Self {
        let (norm, engine, settings) = (Norm::Before, Engine::Batchnorm, Settings::of(document));
        Plan { document, norm, engine, seed: 1, settings }
    }

    /// The same with batch norm elsewhere.
    pub fn with_norm(self, norm: Norm) -> Self {
        Plan { norm, ..self }
    }

    /// The same with another learning rate.
    pub fn with_lr(self, lr: f64) -> Self {
        let settings = Settings { rule: self.settings.rule.with_lr(lr), ..self.settings };
        Plan { settings, ..self }
    }

    /// `batch norm before ReLU`, as a legend has it.
    pub fn title(self) -> String {
        let whose = if self.engine == Engine::Labml { "labml's batch norm" } else { "batch norm" };
        match self.norm {
            Norm::Without => "without batch norm".into(),
            norm => format!("{whose} {} ReLU", norm.name()),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { document, seed, settings: Settings { batch, rule, .. }, .. } = self;
        write!(f, "{document} {}, {rule}, in batches of {batch}, seed {seed}", self.title())
    }
}

/// What an epoch came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// The mean over the examples of the loss that each had when its batch came.
    #[serde(with = "number")]
    pub train_loss: f64,
    /// The mean loss of the validation examples after the epoch, in evaluation mode.
    #[serde(with = "number")]
    pub validation_loss: f64,
    /// The part of the validation examples that are told right.
    #[serde(with = "number")]
    pub accuracy: f64,
    /// The mean loss of each 500 batches, as MachineCurve prints it.
    pub intervals: Vec<Interval>,
}

/// 500 batches.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval(#[serde(with = "number")] pub f64);

/// So many batches MachineCurve's script takes the mean of.
pub const INTERVAL: usize = 500;

/// A training under way.
pub struct Training {
    plan: Plan,
    network: Network<f32>,
    optimizer: Optimizer<f32>,
    history: Vec<Epoch>,
}

impl Training {
    /// One that has not begun.
    pub fn new(plan: Plan) -> Self {
        let network = Network::new(&plan.document.blueprint(plan.norm), plan.engine, plan.seed);
        Training { plan, network, optimizer: Optimizer::new(plan.settings.rule), history: Vec::new() }
    }

    /// One that goes on from what another left.
    ///
    /// # Errors
    /// [`Error::State`] for the state of another network.
    pub fn resumed(
        plan: Plan,
        state: &State,
        optimizer: Optimizer<f32>,
        history: Vec<Epoch>,
    ) -> Result<Self, Error> {
        let mut training = Training::new(plan);
        training.network.load(state)?;
        Ok(Training { optimizer, history, ..training })
    }

    /// Sets how many epochs there are to be.
    pub fn set_epochs(&mut self, epochs: usize) {
        self.plan.settings.epochs = epochs;
    }

    /// What it follows from.
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// The epochs so far.
    pub fn history(&self) -> &[Epoch] {
        &self.history
    }

    /// Whether all epochs of the plan are done.
    pub fn is_finished(&self) -> bool {
        self.history.len() >= self.plan.settings.epochs
    }

    /// The network.
    pub fn network(&mut self) -> &mut Network<f32> {
        &mut self.network
    }

    /// The optimiser.
    pub fn optimizer(&self) -> &Optimizer<f32> {
        &self.optimizer
    }

    /// How many batches an epoch has.
    pub fn batches(&self, examples: usize) -> usize {
        let Settings { batch, .. } = self.plan.settings;
        // One value per channel has no variance: PyTorch refuses such a batch, and here it is left out.
        let alone = self.plan.norm != Norm::Without && batch > 1 && examples % batch == 1;
        examples.div_ceil(batch) - usize::from(alone)
    }

    /// Trains for one more epoch. `on_batch` is told the number of batches so far and the loss.
    ///
    /// The order of the examples follows from the seed and the epoch's number, so that a training
    /// that was interrupted goes on as it would have.
    ///
    /// # Errors
    /// Those of the network, for examples that are not for it.
    pub fn epoch(&mut self, split: &Split, on_batch: &mut dyn FnMut(usize, f64)) -> Result<&Epoch, Error> {
        let Settings { batch, .. } = self.plan.settings;
        let mut order: Vec<usize> = (0..split.train.len()).collect();
        let number = self.history.len() as u64;
        fastrand::Rng::with_seed(self.plan.seed.wrapping_mul(1_000_003).wrapping_add(number))
            .shuffle(&mut order);
        let (mut total, mut seen) = (0.0, 0);
        let (mut interval, mut intervals) = (0.0, Vec::new());
        let batches = self.batches(order.len());
        if batches == 0 {
            let (layer, expected) = (self.plan.to_string(), "(N, *) with N of at least 2".into());
            return Err(Error::Input { layer, expected, actual: vec![order.len()] });
        }
        for (index, examples) in order.chunks(batch).take(batches).enumerate() {
            let (input, target) = (split.train.batch(examples), targets(&split.train, examples));
            let loss = f64::from(self.network.learn(input, &target, &mut self.optimizer)?);
            total += loss * examples.len() as f64;
            seen += examples.len();
            interval += loss;
            if (index + 1) % INTERVAL == 0 {
                intervals.push(Interval(interval / INTERVAL as f64));
                interval = 0.0;
            }
            on_batch(index + 1, loss);
        }
        let (validation_loss, accuracy) = evaluate(&mut self.network, &split.validation, Mode::Eval)?;
        let train_loss = total / seen as f64;
        self.history.push(Epoch { train_loss, validation_loss, accuracy, intervals });
        Ok(self.history.last().expect("just pushed"))
    }
}

/// What the loss is to be told of these examples.
pub fn targets(data: &Dataset, examples: &[usize]) -> Target<f32> {
    match data.targets().at(examples) {
        Targets::Binary(of) => Target::Binary(of),
        Targets::Classes { of, .. } => Target::Class(of),
    }
}

/// So many examples are evaluated at a time.
const AT_ONCE: usize = 256;

/// The mean loss, and the part of the examples that are told right.
///
/// # Errors
/// Those of the network, for examples that are not for it.
pub fn evaluate(network: &mut Network<f32>, data: &Dataset, mode: Mode) -> Result<(f64, f64), Error> {
    let all: Vec<usize> = (0..data.len()).collect();
    let (mut total, mut right) = (0.0, 0);
    for examples in all.chunks(AT_ONCE) {
        let target = targets(data, examples);
        let logits = network.forward(data.batch(examples), mode)?;
        total += f64::from(loss(&logits, &target)?.0) * examples.len() as f64;
        right += told_right(&logits, &target);
    }
    let n = data.len() as f64;
    Ok((total / n, right as f64 / n))
}

fn told_right(logits: &ArrayD<f32>, target: &Target<f32>) -> usize {
    let rows = logits.outer_iter();
    match target {
        Target::Binary(of) => rows.zip(of).filter(|(z, t)| (z.first() > Some(&0.0)) == (**t > 0.5)).count(),
        Target::Class(of) => {
            let largest = |row: ndarray::ArrayViewD<'_, f32>| {
                let mut numbers = row.iter().enumerate();
                numbers.by_ref().max_by(|a, b| a.1.total_cmp(b.1)).map(|(class, _)| class)
            };
            rows.zip(of).filter(|(row, t)| largest(row.clone()) == Some(**t)).count()
        }
    }
}

/// JSON has no infinities and no NaN, which a training may come to: they are strings.
mod number {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Number {
        Finite(f64),
        Other(String),
    }

    pub fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        let number =
            if value.is_finite() { Number::Finite(*value) } else { Number::Other(value.to_string()) };
        number.serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        match Number::deserialize(from)? {
            Number::Finite(value) => Ok(value),
            Number::Other(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}
