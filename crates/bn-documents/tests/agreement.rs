//! Our networks take the steps that the formulas say, and those that libtorch took.

use std::fs;

use batchnorm::DType;
use bn_documents::agreement::golden::{self, CurveFile, GoldenError};
use bn_documents::agreement::{Disagreement, Ours, Run, Trace, Trainee, follow};
use bn_documents::blueprint::{Document, Norm};
use bn_documents::loss::Target;
use bn_documents::network::{Engine, State};
use ndarray::ArrayD;
use rayon::prelude::*;

fn ours(run: Run) -> Box<dyn Trainee> {
    match run.dtype {
        DType::F32 => Box::new(Ours::<f32>::new(run)),
        _ => Box::new(Ours::<f64>::new(run)),
    }
}

/// The bounds of the larger networks take long. All steps of all are in the curves.
fn every(document: Document) -> usize {
    if matches!(document, Document::ApxHandsOn | Document::ApxEval) { 1 } else { 25 }
}

#[test]
fn every_layer_of_every_step_is_what_the_formulas_say() {
    Run::all().into_par_iter().for_each(|run| {
        let closeness = follow(run, &mut [ours(run)], every(run.document)).unwrap();
        assert!(closeness.compared > 20_000 && closeness.worst > 0.0, "{}: {closeness:?}", run.name());
    });
}

#[test]
fn fifty_free_steps_stay_with_libtorchs() {
    let folder = golden::folder();
    Run::all().into_par_iter().for_each(|run| {
        let file = CurveFile::read(&folder, run.document).unwrap();
        file.curve(&folder, run).unwrap().check(run, &mut *ours(run)).unwrap();
    });
}

/// A run whose batch norm follows n values of each channel, n as small as the document has it.
fn hands_on(dtype: DType) -> Run {
    Run { document: Document::ApxHandsOn, norm: Norm::Before, engine: Engine::Batchnorm, dtype }
}

/// Ours with one thing changed.
struct Wrong<F> {
    ours: Box<dyn Trainee>,
    change: F,
}

impl<F: FnMut(&mut Vec<(String, ArrayD<f64>)>)> Trainee for Wrong<F> {
    fn state(&mut self) -> State {
        self.ours.state()
    }
    fn load(&mut self, state: &State) {
        self.ours.load(state);
    }
    fn differentiate(&mut self, input: &ArrayD<f64>, target: &Target<f64>) -> Trace {
        self.ours.differentiate(input, target)
    }
    fn gradients(&mut self) -> Vec<(String, ArrayD<f64>)> {
        let mut gradients = self.ours.gradients();
        (self.change)(&mut gradients);
        gradients
    }
    fn step(&mut self) {
        self.ours.step();
    }
}

#[test]
fn a_biased_running_variance_is_told_in_the_first_step() {
    for dtype in [DType::F32, DType::F64] {
        let run = hands_on(dtype);
        let labml = ours(Run { engine: Engine::Labml, ..run });
        let Disagreement { step, name, .. } = follow(run, &mut [labml], 1).unwrap_err();
        assert_eq!((step, name.as_str()), (0, "bn1.running_var"));
        let mut labml = ours(Run { engine: Engine::Labml, ..run });
        let folder = golden::folder();
        let file = CurveFile::read(&folder, run.document).unwrap();
        let error = file.curve(&folder, run).unwrap().check(run, &mut *labml).unwrap_err();
        assert!(error.to_string().contains("running_var"), "{error}");
    }
}

#[test]
fn a_gradient_that_is_off_by_little_is_told() {
    for (dtype, part) in [(DType::F32, 3e-5), (DType::F64, 1e-13)] {
        let run = hands_on(dtype);
        let change = move |gradients: &mut Vec<(String, ArrayD<f64>)>| {
            let (name, array) = gradients.last_mut().unwrap();
            assert_eq!(name, "output_layer.bias.grad");
            array.mapv_inplace(|g| g * (1.0 + part));
        };
        let error = follow(run, &mut [Box::new(Wrong { ours: ours(run), change })], 1).unwrap_err();
        assert_eq!(error.name, "output_layer.bias.grad");
    }
}

#[test]
fn other_weights_and_a_gradient_that_is_lost_are_told() {
    let run = hands_on(DType::F64);
    let folder = golden::folder();
    let file = CurveFile::read(&folder, run.document).unwrap();
    let recorded = file.curve(&folder, run).unwrap();
    let mut other = ours(run);
    let mut state = other.state();
    state.arrays[0].1[[0, 0]] += 1e-9;
    other.load(&state);
    assert!(matches!(recorded.check(run, &mut *other), Err(GoldenError::Disagreement(_))));
    let mut lost = Wrong { ours: ours(run), change: |gradients: &mut Vec<_>| drop(gradients.pop()) };
    assert!(matches!(recorded.check(run, &mut lost), Err(GoldenError::Disagreement(_))));
}

#[test]
fn a_damaged_file_of_curves_is_refused_by_name() {
    let document = Document::ApxEval;
    let text = fs::read_to_string(golden::path(&golden::folder(), document)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let refused = |text: &str| {
        fs::write(golden::path(folder.path(), document), text).unwrap();
        let error = CurveFile::read(folder.path(), document).unwrap_err();
        assert!(error.to_string().contains("apx-eval.json"), "{error}");
        error
    };
    assert!(matches!(refused(&text[..text.len() / 2]), GoldenError::Form { .. }));
    assert!(matches!(refused("{}"), GoldenError::Form { .. }));
    let other = text.replacen("\"schema_version\": 1", "\"schema_version\": 2", 1);
    assert!(matches!(refused(&other), GoldenError::Version { got: 2, .. }));
    let digit = text.find("\"expected\": [").unwrap() + 18;
    let mut edited = text.clone().into_bytes();
    edited[digit] = if edited[digit] == b'1' { b'2' } else { b'1' };
    assert!(matches!(refused(std::str::from_utf8(&edited).unwrap()), GoldenError::Tampered { .. }));
    let error = CurveFile::read(folder.path(), Document::ApxMlp).unwrap_err();
    assert!(matches!(error, GoldenError::Io { .. }), "{error}");
}
