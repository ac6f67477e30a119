//! Trainings: interrupted ones go on as they would have, and files that are damaged are refused.

use std::fs;

use bn_documents::blueprint::{Document, Norm};
use bn_documents::checkpoint::{load_training, load_weights, save_training, save_weights};
use bn_documents::data::Split;
use bn_documents::network::Engine;
use bn_documents::optimizer::Rule;
use bn_documents::source::examples;
use bn_documents::train::{Plan, Training};

fn plan(document: Document) -> Plan {
    let mut plan = Plan::new(document);
    plan.settings.epochs = 4;
    plan
}

fn train(training: &mut Training, split: &Split, epochs: usize) {
    for _ in 0..epochs {
        training.epoch(split, &mut |_, _| {}).unwrap();
    }
}

#[test]
fn an_interrupted_training_goes_on_as_it_would_have() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("training.safetensors");
    // Adam, and SGD with its momentum.
    for document in [Document::ApxHandsOn, Document::ApxEval] {
        let split = examples(document, None).unwrap();
        let mut whole = Training::new(plan(document));
        train(&mut whole, &split, 4);
        assert!(whole.is_finished());
        let mut first = Training::new(plan(document));
        train(&mut first, &split, 2);
        save_training(&path, &mut first, "these").unwrap();
        let (mut second, of) = load_training(&path).unwrap();
        assert_eq!((of.as_str(), second.history()), ("these", first.history()));
        train(&mut second, &split, 2);
        assert_eq!(second.history(), whole.history());
        assert_eq!(second.network().state(), whole.network().state());
        assert_eq!(second.optimizer(), whole.optimizer());
    }
}

#[test]
fn a_training_that_has_not_begun_can_be_kept() {
    let path = tempfile::tempdir().unwrap().keep().join("training.safetensors");
    let mut fresh = Training::new(plan(Document::ApxEval).with_norm(Norm::Without));
    save_training(&path, &mut fresh, "none").unwrap();
    let (mut loaded, _) = load_training(&path).unwrap();
    assert_eq!(loaded.network().state(), fresh.network().state());
    assert_eq!(loaded.optimizer(), fresh.optimizer());
}

#[test]
fn a_diverged_training_is_kept_with_its_nan() {
    let path = tempfile::tempdir().unwrap().keep().join("training.safetensors");
    let mut wild = plan(Document::ApxEval).with_norm(Norm::Without);
    wild.settings.rule = Rule::Sgd { lr: 1e38, momentum: 0.9 };
    let mut training = Training::new(wild);
    train(&mut training, &examples(Document::ApxEval, None).unwrap(), 1);
    assert!(training.history()[0].train_loss.is_nan());
    save_training(&path, &mut training, "noise").unwrap();
    assert!(load_training(&path).unwrap().0.history()[0].train_loss.is_nan());
}

#[test]
fn weights_come_back_and_damage_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let mut training = Training::new(plan(Document::ApxHandsOn));
    train(&mut training, &examples(Document::ApxHandsOn, None).unwrap(), 1);
    let state = training.network().state();
    save_weights(&path, &state).unwrap();
    let loaded = load_weights(&path).unwrap();
    let mut other = Training::new(Plan { seed: 9, ..plan(Document::ApxHandsOn) });
    other.network().load(&loaded).unwrap();
    assert_eq!(other.network().state(), state);
    assert_eq!(loaded.counter("bn1.num_batches_tracked"), Some(13));
    let bytes = fs::read(&path).unwrap();
    for damaged in [&bytes[..bytes.len() - 1], &bytes[..7], b"", b"no safetensors at all, but long enough"] {
        fs::write(&path, damaged).unwrap();
        for error in [load_weights(&path).unwrap_err(), load_training(&path).map(drop).unwrap_err()] {
            assert!(error.to_string().contains("weights.safetensors"), "{error}");
        }
    }
    // Weights alone are no training.
    fs::write(&path, &bytes).unwrap();
    let error = load_training(&path).map(drop).unwrap_err();
    assert!(error.to_string().contains("not a training: its plan"), "{error}");
    fs::remove_file(&path).unwrap();
    assert!(load_weights(&path).unwrap_err().to_string().contains("weights.safetensors"));
}

#[test]
fn the_last_batch_is_left_out_where_batch_norm_would_have_one_value() {
    let mut plan = plan(Document::ApxHandsOn);
    plan.settings.batch = 17;
    assert_eq!((Training::new(plan).batches(800), Training::new(plan).batches(35)), (47, 2));
    assert_eq!(Training::new(plan.with_norm(Norm::Without)).batches(800), 48);
    let Split { train, validation } = examples(Document::ApxHandsOn, None).unwrap();
    let one = Split { train: train.subset(&[0]), validation };
    let error = Training::new(plan).epoch(&one, &mut |_, _| {}).map(drop).unwrap_err();
    assert!(error.to_string().contains("N of at least 2, got [1]"), "{error}");
}

#[test]
fn labmls_dialect_learns_the_same_and_evaluates_otherwise() {
    let split = examples(Document::ApxHandsOn, None).unwrap();
    let run = |engine| {
        let mut training = Training::new(Plan { engine, ..plan(Document::ApxHandsOn) });
        train(&mut training, &split, 1);
        training
    };
    let (mut ours, mut labml) = (run(Engine::Batchnorm), run(Engine::Labml));
    let [a, b] = [&ours, &labml].map(|training| training.history()[0].clone());
    assert!((a.train_loss - b.train_loss).abs() < 1e-3 * a.train_loss);
    assert_ne!(a.validation_loss, b.validation_loss);
    // Biased by 63/64 in each full batch and by 31/32 in the last; a quarter is still the 1 of the start.
    let var = |training: &mut Training| training.network().state().array("bn1.running_var").unwrap().sum();
    let part = var(&mut labml) / var(&mut ours);
    assert!(1.0 - 1.0 / 32.0 < part && part < 1.0 - 0.5 / 64.0, "{part}");
}
