//! Claims that take trainings.

use std::borrow::Cow;

use rayon::prelude::*;

use super::{Claim, ClaimError, Curves, Draft, Figure, Verdict};
use crate::blueprint::{Document, Norm};
use crate::data::Split;
use crate::error::Error;
use crate::network::Engine;
use crate::source::examples;
use crate::train::{Epoch, Plan, Training};

/// What the claims are asked on.
pub struct Examples<'a> {
    hands_on: Split,
    machinecurve: Cow<'a, Split>,
}

/// A document's setting.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// The network.
    pub document: Document,
    /// What it learns from.
    pub split: &'a Split,
}

impl<'a> Examples<'a> {
    /// The examples that come along, and CIFAR-10 if it is given.
    ///
    /// # Errors
    /// [`ClaimError::Source`].
    pub fn load(cifar10: Option<&'a Split>) -> Result<Self, ClaimError> {
        let machinecurve = match cifar10 {
            Some(split) => Cow::Borrowed(split),
            None => Cow::Owned(examples(Document::MachineCurve, None)?),
        };
        Ok(Examples { hands_on: examples(Document::ApxHandsOn, None)?, machinecurve })
    }

    /// ApX's hands-on page.
    pub fn hands_on(&self) -> Setting<'_> {
        Setting { document: Document::ApxHandsOn, split: &self.hands_on }
    }

    /// MachineCurve's script.
    pub fn machinecurve(&self) -> Setting<'_> {
        Setting { document: Document::MachineCurve, split: &self.machinecurve }
    }
}

impl Setting<'_> {
    fn describe(&self, plan: Plan) -> String {
        let settings = plan.settings;
        format!(
            "{}, {} for training and {} for validation ({}), {} epochs of batches of {}, {}",
            self.document,
            self.split.train.len(),
            self.split.validation.len(),
            self.split.train.name(),
            settings.epochs,
            settings.batch,
            settings.rule
        )
    }

    /// Trains with each seed.
    fn train(&self, plan: Plan, seeds: u64) -> Result<Trained, Error> {
        let run = |seed| {
            let mut training = Training::new(Plan { seed, ..plan });
            while !training.is_finished() {
                training.epoch(self.split, &mut |_, _| {})?;
            }
            Ok(training)
        };
        let runs = (1..=seeds).into_par_iter().map(run).collect::<Result<Vec<_>, Error>>()?;
        Ok(Trained { plan, runs })
    }
}

/// One plan, seed by seed.
struct Trained {
    plan: Plan,
    runs: Vec<Training>,
}

impl Trained {
    fn curves(&self) -> Curves {
        let of = |of: fn(&Epoch) -> f64| {
            self.runs.iter().map(|run| run.history().iter().map(of).collect()).collect()
        };
        Curves {
            name: self.plan.title(),
            train: of(|epoch| epoch.train_loss),
            validation: of(|epoch| epoch.validation_loss),
        }
    }

    fn last(&self, of: fn(&Epoch) -> f64) -> Vec<f64> {
        self.runs.iter().filter_map(|run| run.history().last().map(of)).collect()
    }

    fn last_loss(&self) -> Vec<f64> {
        self.last(|epoch| epoch.train_loss)
    }

    /// The training loss of the epoch of this number, from 1.
    fn after_epochs(&self, epochs: usize) -> Vec<f64> {
        self.runs
            .iter()
            .filter_map(|run| run.history().get(epochs - 1))
            .map(|epoch| epoch.train_loss)
            .collect()
    }

    /// The least validation loss of any epoch.
    fn best_validation(&self) -> Vec<f64> {
        let least = |run: &Training| {
            run.history().iter().map(|epoch| epoch.validation_loss).fold(f64::INFINITY, f64::min)
        };
        self.runs.iter().map(least).collect()
    }

    /// The first epoch, from 1, whose training loss is at most `losses`; one more than there are where
    /// there is none.
    fn epochs_to(&self, losses: &[f64]) -> Vec<f64> {
        let reached = |(run, loss): (&Training, &f64)| {
            let first = run.history().iter().position(|epoch| epoch.train_loss <= *loss);
            (first.unwrap_or(run.history().len()) + 1) as f64
        };
        self.runs.iter().zip(losses).map(reached).collect()
    }
}

fn zip_all(a: &[f64], b: &[f64], of: fn(f64, f64) -> bool) -> Vec<bool> {
    a.iter().zip(b).map(|(&a, &b)| of(a, b)).collect()
}

/// "Batch norm trains faster, to a lower loss, and regularises": ApX's, MachineCurve's and labml's.
///
/// # Errors
/// [`ClaimError::Network`].
pub fn trains_better(setting: &Setting<'_>, seeds: u64) -> Result<[Claim; 3], ClaimError> {
    let plan = Plan::new(setting.document);
    let with = setting.train(plan, seeds)?;
    let without = setting.train(plan.with_norm(Norm::Without), seeds)?;
    let (names, document) = match setting.document {
        Document::MachineCurve => {
            (["machinecurve-faster", "machinecurve-lower", "machinecurve-validation"], "MachineCurve")
        }
        _ => (["hands-on-faster", "hands-on-lower", "hands-on-validation"], "ApX, hands-on"),
    };
    let draft = |name, statement, criterion| Draft {
        name,
        statement,
        document,
        setting: setting.describe(plan),
        criterion,
    };
    let lower = |a: &[f64], b: &[f64]| zip_all(a, b, |a, b| a < b);

    let first = [&with, &without].map(|trained| trained.after_epochs(1));
    let early = plan.settings.epochs.div_ceil(5);
    let mark = without.after_epochs(early);
    let faster = draft(
        names[0],
        "With batch norm the network trains faster.",
        "After a fifth of the epochs the training loss is lower.",
    );
    let at_mark = with.after_epochs(early);
    let shown = lower(&at_mark, &mark);
    let epochs = with.epochs_to(&mark);
    let figures = vec![
        Figure::new("training loss of the first epoch, with", first[0].clone()),
        Figure::new("training loss of the first epoch, without", first[1].clone()),
        Figure::new(format!("training loss of epoch {early}, with"), at_mark),
        Figure::new(format!("training loss of epoch {early}, without"), mark),
        Figure::new("epochs to that, with", epochs),
    ];
    let faster = faster.finish(&shown, figures, vec![with.curves(), without.curves()]);

    let last = [&with, &without].map(Trained::last_loss);
    let figures = vec![
        Figure::new("training loss of the last epoch, with", last[0].clone()),
        Figure::new("training loss of the last epoch, without", last[1].clone()),
    ];
    let to_lower = draft(
        names[1],
        "With batch norm the network trains to a lower loss.",
        "The training loss of the last epoch is lower.",
    );
    let to_lower = to_lower.finish(&lower(&last[0], &last[1]), figures, Vec::new());

    let best = [&with, &without].map(Trained::best_validation);
    let figures = vec![
        Figure::new("least validation loss, with", best[0].clone()),
        Figure::new("least validation loss, without", best[1].clone()),
        Figure::new("accuracy on validation at the end, with", with.last(|epoch| epoch.accuracy)),
        Figure::new("accuracy on validation at the end, without", without.last(|epoch| epoch.accuracy)),
    ];
    let validation = draft(
        names[2],
        "With batch norm the network does better on what it has not seen.",
        "The least validation loss of any epoch is lower.",
    );
    let validation = validation.finish(&lower(&best[0], &best[1]), figures, Vec::new());
    Ok([faster, to_lower, validation])
}

/// "With a learning rate of 0.1 the plain network struggles": ApX's.
///
/// # Errors
/// [`ClaimError::Network`].
pub fn high_learning_rate(setting: &Setting<'_>, seeds: u64) -> Result<Claim, ClaimError> {
    let plan = Plan::new(setting.document).with_lr(0.1);
    let with = setting.train(plan, seeds)?;
    let without = setting.train(plan.with_norm(Norm::Without), seeds)?;
    let calm = setting.train(Plan::new(setting.document).with_norm(Norm::Without), seeds)?;
    let (low, high, before) = (with.last_loss(), without.last_loss(), calm.last_loss());
    // NaN is worse than all.
    let worse: Vec<bool> = zip_all(&high, &before, |high, before| high.is_nan() || high > 2.0 * before);
    let better = zip_all(&low, &high, |low, high| low < high || high.is_nan());
    let shown: Vec<bool> = worse.iter().zip(&better).map(|(a, b)| *a && *b).collect();
    let draft = Draft {
        name: "high-learning-rate",
        statement: "With a learning rate of 0.1 in place of 0.01 the plain network struggles, where the \
                    normalised one does not.",
        document: "ApX, hands-on",
        setting: setting.describe(plan),
        criterion: "The plain network ends with more than twice the training loss that it has at 0.01, and the \
                    normalised one with less than the plain one.",
    };
    let figures = vec![
        Figure::new("training loss of the last epoch at 0.1, with", low),
        Figure::new("training loss of the last epoch at 0.1, without", high),
        Figure::new("training loss of the last epoch at 0.01, without", before),
        Figure::new("accuracy on validation at the end at 0.1, with", with.last(|epoch| epoch.accuracy)),
        Figure::new(
            "accuracy on validation at the end at 0.1, without",
            without.last(|epoch| epoch.accuracy),
        ),
    ];
    Ok(draft.finish(&shown, figures, vec![with.curves(), without.curves()]))
}

/// Before or after the activation: all documents leave it to a trial.
///
/// # Errors
/// [`ClaimError::Network`].
pub fn placement(setting: &Setting<'_>, seeds: u64) -> Result<Claim, ClaimError> {
    let plan = Plan::new(setting.document);
    let before = setting.train(plan, seeds)?;
    let after = setting.train(plan.with_norm(Norm::After), seeds)?;
    let shown = zip_all(&before.best_validation(), &after.best_validation(), |before, after| before < after);
    let draft = Draft {
        name: "placement",
        statement: "Batch norm before the activation is the reliable start; after it may do as well or better.",
        document: "ApX, MachineCurve",
        setting: setting.describe(plan),
        criterion: "A seed counts for `before` where its least validation loss is the lower.",
    };
    let figures = vec![
        Figure::new("training loss of the last epoch, before", before.last_loss()),
        Figure::new("training loss of the last epoch, after", after.last_loss()),
        Figure::new("least validation loss, before", before.best_validation()),
        Figure::new("least validation loss, after", after.best_validation()),
        Figure::new("accuracy on validation at the end, before", before.last(|epoch| epoch.accuracy)),
        Figure::new("accuracy on validation at the end, after", after.last(|epoch| epoch.accuracy)),
    ];
    Ok(draft.with_verdict(Verdict::Compared, &shown, figures, vec![before.curves(), after.curves()]))
}

/// labml's biased running variance: the same training, another evaluation.
///
/// # Errors
/// [`ClaimError::Network`].
pub fn dialect(setting: &Setting<'_>, seeds: u64) -> Result<Claim, ClaimError> {
    let plan = Plan::new(setting.document);
    let ours = setting.train(plan, seeds)?;
    let labml = setting.train(Plan { engine: Engine::Labml, ..plan }, seeds)?;
    let off = |ours: &[f64], labml: &[f64]| -> Vec<f64> {
        ours.iter().zip(labml).map(|(a, b)| (a - b).abs() / a).collect()
    };
    let first = |trained: &Trained, of: fn(&Epoch) -> f64| -> Vec<f64> {
        trained.runs.iter().map(|run| of(&run.history()[0])).collect()
    };
    let [training, validation] = [|epoch: &Epoch| epoch.train_loss, |epoch: &Epoch| epoch.validation_loss]
        .map(|of| off(&first(&ours, of), &first(&labml, of)));
    // f32 trainings drift by less than that in an epoch; the variances differ by 64/63.
    let shown = zip_all(&training, &validation, |training, validation| training < validation);
    let draft = Draft {
        name: "labml-dialect",
        statement: "labml's biased running variance changes what is learnt by nothing, and what evaluation \
                    answers by a little.",
        document: "labml",
        setting: setting.describe(plan),
        criterion: "After one epoch the validation losses of the two differ by more, in parts of themselves, \
                    than their training losses.",
    };
    let figures = vec![
        Figure::new("difference of the first epoch's training losses, in parts", training),
        Figure::new("difference of the first epoch's validation losses, in parts", validation),
        Figure::new("validation loss at the end, PyTorch's way", ours.last(|epoch| epoch.validation_loss)),
        Figure::new("validation loss at the end, labml's way", labml.last(|epoch| epoch.validation_loss)),
    ];
    Ok(draft.finish(&shown, figures, Vec::new()))
}
