//! Cases and engines for the tests.

#![allow(dead_code)] // Each test file uses some of it.

use std::collections::BTreeMap;

use bn_suite::capability::Capability;
use bn_suite::case::{Case, Layer, Mode, Pass, State, Step};
use bn_suite::check::{self, CaseReport, Replay};
use bn_suite::engine::{About, Engine, EngineError};
use bn_suite::golden::Golden;
use bn_suite::outcome::{Field, Outcome};
use bn_suite::tensor::{DType, Tensor};
use bn_suite::{catalogue, fixtures, mutants, truth};

/// The stored cases of these groups, with their truth.
pub fn goldens(groups: &[&str]) -> Vec<Golden> {
    let entries = catalogue::all();
    let wanted = entries.iter().filter(|entry| entry.stored && groups.contains(&entry.case.group()));
    wanted.map(fixtures::solve).collect()
}

/// What becomes of them.
pub fn checked(goldens: &[Golden], engine: &mut dyn Engine) -> Vec<CaseReport> {
    let replay = Replay::named("test");
    goldens.iter().map(|golden| check::check_both_grades(golden, engine, &replay)).collect()
}

/// The mutant of that name as an engine.
pub fn mutant(name: &str) -> Box<dyn Engine> {
    mutants::by_name(name).unwrap().engine()
}

/// An engine whose answers are changed.
pub struct Altered<'a, F> {
    engine: &'a mut dyn Engine,
    alter: F,
}

impl<'a, F: Fn(&Case, &mut Vec<Outcome>)> Altered<'a, F> {
    pub fn new(engine: &'a mut dyn Engine, alter: F) -> Self {
        Altered { engine, alter }
    }
}

impl<F: Fn(&Case, &mut Vec<Outcome>)> Engine for Altered<'_, F> {
    fn about(&self) -> &About {
        self.engine.about()
    }

    fn run(&mut self, case: &Case) -> Result<Vec<Outcome>, EngineError> {
        let mut outcomes = self.engine.run(case)?;
        (self.alter)(case, &mut outcomes);
        Ok(outcomes)
    }
}

/// n values of one channel of deviation 1 about a mean, in f32, in training.
pub fn far_from_zero(mean: f64, n: usize) -> Golden {
    let value = |i: usize| f64::from((mean + bn_suite::protocol::timing::element(i, 0) * 1.7) as f32);
    let input = Tensor::new(DType::F32, &[n, 1], (0..n).map(value).collect());
    let vector = |value| Some(Tensor::vector(DType::F32, &[value]));
    let state = State {
        weight: vector(1.0),
        bias: vector(0.0),
        running_mean: vector(0.0),
        running_var: vector(1.0),
        num_batches_tracked: None,
    };
    let steps = vec![Step::BatchNorm(Box::new(Pass::forward(Mode::Train, input)))];
    let case = Case { name: "test/far".into(), note: "far".into(), layer: Layer::default(), state, steps };
    Golden { expected: truth::solve(&case), case, disputed: None }
}

/// Batch norm of one channel in training, all in f32, its sums term by term.
pub struct NaiveF32 {
    /// Whether the variance is E[x²] − E[x]².
    pub uncentred: bool,
}

impl Engine for NaiveF32 {
    fn about(&self) -> &About {
        static ABOUT: std::sync::OnceLock<About> = std::sync::OnceLock::new();
        ABOUT.get_or_init(|| {
            let claims = [Capability::F32, Capability::Train, Capability::RankAny];
            About::new("naive", "1", claims)
        })
    }

    fn run(&mut self, case: &Case) -> Result<Vec<Outcome>, EngineError> {
        let [Step::BatchNorm(pass)] = case.steps.as_slice() else {
            return Err(EngineError::Unsupported("one pass".into()));
        };
        let x = pass.input.to_f32();
        let n = x.len() as f32;
        let mean = x.iter().sum::<f32>() / n;
        let var = match self.uncentred {
            true => x.iter().map(|x| x * x).sum::<f32>() / n - mean * mean,
            false => x.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / n,
        };
        let invstd = 1.0 / (var + 1e-5).sqrt();
        let y: Vec<f32> = x.iter().map(|x| (x - mean) * invstd).collect();
        let one = |value: f32| Tensor::from_f32(&[1], &[value]);
        let fields: BTreeMap<Field, Tensor> = [
            (Field::Output, Tensor::from_f32(&pass.input.shape, &y)),
            (Field::RunningMean, one(0.1 * mean)),
            (Field::RunningVar, one(0.9 + 0.1 * var * n / (n - 1.0))),
        ]
        .into();
        Ok(vec![Outcome { fields, ..Outcome::default() }])
    }
}
