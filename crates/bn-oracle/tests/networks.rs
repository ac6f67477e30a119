//! The documents' networks, ours against libtorch's autograd and optimisers, step by step.

use batchnorm::DType;
use bn_documents::agreement::golden::{self, CurveFile};
use bn_documents::agreement::{Ours, Run, Trainee, follow};
use bn_documents::blueprint::Document;
use bn_oracle::training::Libtorch;
use rayon::prelude::*;

fn ours(run: Run) -> Box<dyn Trainee> {
    match run.dtype {
        DType::F32 => Box::new(Ours::<f32>::new(run)),
        _ => Box::new(Ours::<f64>::new(run)),
    }
}

/// From the same weights, on the same batches: libtorch trains, ours is put into its state at every
/// step, and of both every output, gradient and buffer, and of libtorch every new parameter, is within
/// what the formulas allow. Of the larger networks, whose bounds take long, the first and the 26th step
/// are looked into; all steps of all are in the recorded curves.
#[test]
fn both_take_the_steps_of_libtorchs_training() {
    Run::all().into_par_iter().for_each(|run| {
        let small = matches!(run.document, Document::ApxHandsOn | Document::ApxEval);
        let every = if small { 1 } else { 25 };
        let closeness = follow(run, &mut [Box::new(Libtorch::new(run)), ours(run)], every).unwrap();
        assert!(closeness.compared > 40_000, "{}: {closeness:?}", run.name());
    });
}

/// And the other way round: libtorch is put into the states of our training.
#[test]
fn both_take_the_steps_of_our_training() {
    for run in Run::all().into_iter().filter(|run| run.document == Document::ApxHandsOn) {
        follow(run, &mut [ours(run), Box::new(Libtorch::new(run))], 1).unwrap();
    }
}

#[test]
fn the_recorded_curves_are_still_libtorchs() {
    let folder = golden::folder();
    Run::all().into_par_iter().for_each(|run| {
        let file = CurveFile::read(&folder, run.document).unwrap();
        file.curve(&folder, run).unwrap().check(run, &mut Libtorch::new(run)).unwrap();
    });
}
