//! Which trainings are compared, on what, and how a difference is told.

use batchnorm::DType;
use ndarray::{ArrayD, IxDyn, Zip};

use super::bounded::{Arithmetic, Estimate};
use super::reference::Reference;
use crate::blueprint::{Document, Named, Norm};
use crate::experiment::Settings;
use crate::loss::Target;
use crate::network::Engine;
use crate::optimizer::Rule;

/// How many steps are compared.
pub const STEPS: usize = 50;

/// Of the initial weights, and the first of the batches.
const SEED: u64 = 42;

/// A training that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The network.
    pub document: Document,
    /// Where its batch norm is.
    pub norm: Norm,
    /// Whose that is.
    pub engine: Engine,
    /// f32 or f64.
    pub dtype: DType,
}

impl Run {
    /// Every network in both dtypes, without batch norm, with it before and after the activation,
    /// and labml's with its own dialect.
    pub fn all() -> Vec<Run> {
        let mut runs = Vec::new();
        for document in Document::ALL {
            for dtype in [DType::F32, DType::F64] {
                let run = |norm, engine| Run { document, norm, engine, dtype };
                runs.extend(Norm::ALL.map(|norm| run(norm, Engine::Batchnorm)));
                runs.extend((document == Document::Labml).then(|| run(Norm::Before, Engine::Labml)));
            }
        }
        runs
    }

    /// `apx-mlp, batch norm before, f32`.
    pub fn name(self) -> String {
        let Run { document, norm, engine, dtype } = self;
        let whose = if engine == Engine::Labml { "labml's " } else { "" };
        match norm {
            Norm::Without => format!("{document}, without batch norm, {dtype}"),
            _ => format!("{document}, {whose}batch norm {} the activation, {dtype}", norm.name()),
        }
    }

    /// The network.
    pub fn blueprint(self) -> Vec<Named> {
        self.document.blueprint(self.norm)
    }

    /// The document's optimiser; where it has none SGD with momentum, so that this is compared too.
    pub fn rule(self) -> Rule {
        match self.document {
            Document::ApxMlp | Document::ApxCnn | Document::ApxEval => Rule::Sgd { lr: 0.05, momentum: 0.9 },
            document => Settings::of(document).rule,
        }
    }

    /// The seed of the initial weights.
    pub fn seed(self) -> u64 {
        SEED
    }

    /// The reference for this dtype.
    pub fn reference(self) -> Reference {
        Reference { engine: self.engine, arithmetic: Arithmetic::of(self.dtype) }
    }

    /// The batch of a step, from 0: the document's number of examples (of labml's 64 eight, for
    /// time), uniform with variance 1, and labels by chance. All values are f32.
    pub fn batch(self, step: usize) -> (ArrayD<f64>, Target<f64>) {
        let n = if self.document == Document::Labml { 8 } else { Settings::of(self.document).batch };
        let mut draws = fastrand::Rng::with_seed(SEED + 1 + step as u64);
        let shape: Vec<usize> = [n].iter().chain(self.document.input()).copied().collect();
        let reach = 3.0_f64.sqrt();
        let input = ArrayD::from_shape_simple_fn(IxDyn(&shape), || {
            f64::from(((2.0 * draws.f64() - 1.0) * reach) as f32)
        });
        let target = match self.document.outputs() {
            1 => Target::Binary((0..n).map(|_| f64::from(u8::from(draws.bool()))).collect()),
            classes => Target::Class((0..n).map(|_| draws.usize(..classes)).collect()),
        };
        (input, target)
    }
}

/// A number that is farther from what it must be than it may.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "{run}, step {step}: {name}[{index}] is {got:e}, must be {expected:e}, off by {:e} where {allowance:e} is allowed",
    (got - expected).abs()
)]
pub struct Disagreement {
    /// The training.
    pub run: String,
    /// The step, from 0.
    pub step: usize,
    /// The loss, a gradient (`NAME.grad`), a buffer or a parameter.
    pub name: String,
    /// The place of the element, in row-major order.
    pub index: usize,
    /// What it is.
    pub got: f64,
    /// What it must be.
    pub expected: f64,
    /// How far it may be from that.
    pub allowance: f64,
}

/// Refuses the first element that is farther off than it may be, and gives the largest part of
/// its allowance that any element takes.
///
/// # Errors
/// [`Disagreement`]. NaN disagrees with everything.
pub fn compare(
    run: Run,
    step: usize,
    name: &str,
    expected: &Estimate,
    got: &ArrayD<f64>,
) -> Result<f64, Disagreement> {
    let mut parts = ArrayD::zeros(expected.value.raw_dim());
    Zip::from(&mut parts).and(&expected.value).and(&expected.bound).and(got).for_each(|part, e, b, g| {
        let off: f64 = e - g;
        *part = if off == 0.0 { 0.0 } else { off.abs() / b };
    });
    match parts.iter().position(|part: &f64| part.is_nan() || *part > 1.0) {
        None => Ok(parts.fold(0.0, |a: f64, &b| a.max(b))),
        Some(index) => Err(Disagreement {
            run: run.name(),
            step,
            name: name.into(),
            index,
            got: *got.iter().nth(index).expect("of the same shape"),
            expected: *expected.value.iter().nth(index).expect("the place was found in it"),
            allowance: *expected.bound.iter().nth(index).expect("the place was found in it"),
        }),
    }
}
