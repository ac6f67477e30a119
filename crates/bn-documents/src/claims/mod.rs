//! What the documents say of batch norm, asked of our runs.
//!
//! A *claim* is measured over several seeds: of weights, order of examples and whatever else is
//! drawn. It *holds* where every seed shows it, holds *mostly* where more than half do, and else
//! not. What was measured stands beside the verdict, so that a reader can judge otherwise.

mod exact;
mod training;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::data::Split;
use crate::source::SourceError;

pub use exact::{bias_before, detached_bias, forgotten_eval, scaled_weights};
pub use training::{Examples, dialect, high_learning_rate, placement, trains_better};

/// A number of each seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What was measured, with its unit.
    pub what: String,
    /// One for each seed.
    pub values: Vec<f64>,
}

impl Figure {
    /// A figure.
    pub fn new(what: impl Into<String>, values: Vec<f64>) -> Self {
        Figure { what: what.into(), values }
    }

    /// The median, of an even number the mean of the two in the middle.
    pub fn median(&self) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => sorted[n / 2],
            n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
        }
    }

    /// The smallest and the largest; NaN counts as the largest.
    pub fn range(&self) -> [f64; 2] {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        [sorted.first(), sorted.last()].map(|value| value.copied().unwrap_or(f64::NAN))
    }
}

/// What our runs say to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every seed shows it.
    Holds,
    /// More than half of the seeds show it.
    HoldsMostly,
    /// Half of them or fewer.
    DoesNotHold,
    /// There is nothing to hold: the claim is a comparison.
    Compared,
}

impl Verdict {
    fn of(shown: &[bool]) -> Self {
        let count = shown.iter().filter(|&&shown| shown).count();
        match count {
            _ if count == shown.len() => Verdict::Holds,
            _ if 2 * count > shown.len() => Verdict::HoldsMostly,
            _ => Verdict::DoesNotHold,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Holds => "holds",
            Verdict::HoldsMostly => "holds mostly",
            Verdict::DoesNotHold => "does not hold",
            Verdict::Compared => "compared",
        })
    }
}

/// A claim, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// A name for it, of words and hyphens.
    pub name: String,
    /// What is claimed.
    pub statement: String,
    /// Who claims it.
    pub document: String,
    /// What was run, on which examples.
    pub setting: String,
    /// What it means that a seed shows it.
    pub criterion: String,
    /// The verdict.
    pub verdict: Verdict,
    /// For how many of the seeds it was shown.
    pub shown: usize,
    /// What was measured.
    pub figures: Vec<Figure>,
    /// Curves to draw, if there are any.
    pub curves: Vec<Curves>,
}

/// The curves of one way to train, seed by seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    /// What a legend calls it.
    pub name: String,
    /// Of each seed, the training loss of each epoch.
    pub train: Vec<Vec<f64>>,
    /// Of each seed, the validation loss of each epoch.
    pub validation: Vec<Vec<f64>>,
}

/// A claim that is being put together.
struct Draft {
    name: &'static str,
    statement: &'static str,
    document: &'static str,
    setting: String,
    criterion: &'static str,
}

impl Draft {
    fn finish(self, shown: &[bool], figures: Vec<Figure>, curves: Vec<Curves>) -> Claim {
        let verdict = Verdict::of(shown);
        self.with_verdict(verdict, shown, figures, curves)
    }

    fn with_verdict(
        self,
        verdict: Verdict,
        shown: &[bool],
        figures: Vec<Figure>,
        curves: Vec<Curves>,
    ) -> Claim {
        Claim {
            name: self.name.into(),
            statement: self.statement.into(),
            document: self.document.into(),
            setting: self.setting,
            criterion: self.criterion.into(),
            verdict,
            shown: shown.iter().filter(|&&shown| shown).count(),
            figures,
            curves,
        }
    }
}

/// Why claims could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// No examples.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A network refused a batch.
    #[error(transparent)]
    Network(#[from] crate::error::Error),
}

/// How many claims [`all`] asks.
pub const COUNT: usize = 13;

/// Asks all claims, for seeds 1 to `seeds`. CIFAR-10 in place of the digits, if it is given. `done`
/// is told each claim when it is decided.
///
/// # Errors
/// [`ClaimError`].
pub fn all(
    seeds: u64,
    cifar10: Option<&Split>,
    done: &mut dyn FnMut(&Claim),
) -> Result<Vec<Claim>, ClaimError> {
    let examples = Examples::load(cifar10)?;
    let mut claims = Vec::new();
    let mut add = |claim: Claim| {
        done(&claim);
        claims.push(claim);
    };
    trains_better(&examples.hands_on(), seeds)?.into_iter().for_each(&mut add);
    trains_better(&examples.machinecurve(), seeds)?.into_iter().for_each(&mut add);
    add(high_learning_rate(&examples.hands_on(), seeds)?);
    add(bias_before(seeds)?);
    add(scaled_weights(seeds)?);
    add(detached_bias(seeds)?);
    add(forgotten_eval(&examples.hands_on(), seeds)?);
    add(placement(&examples.hands_on(), seeds)?);
    add(dialect(&examples.hands_on(), seeds)?);
    Ok(claims)
}
