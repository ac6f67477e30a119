//! Our networks take the documents' steps.

use batchnorm::DType;
use bn_documents::agreement::{Ours, Run, Trainee, drift, follow};

#[test]
fn every_step_is_what_the_formulas_say() {
    for run in Run::all() {
        let start = std::time::Instant::now();
        let ours: Box<dyn Trainee> = match run.dtype {
            DType::F32 => Box::new(Ours::<f32>::new(run)),
            _ => Box::new(Ours::<f64>::new(run)),
        };
        let closeness = follow(run, &mut [ours]).map_or_else(|e| e.to_string(), |c| format!("{c:?}"));
        println!("{:60} {} {:.1?}", run.name(), closeness, start.elapsed());
    }
}

#[test]
fn drifts() {
    for run in Run::all() {
        if run.document.name().contains("cnn") || run.document.name() == "labml" { continue; }
        let start = std::time::Instant::now();
        let a = drift::allowances(run);
        println!("{:60} loss allowance 1: {:.1e} 10: {:.1e} 50: {:.1e} {:.1?}", run.name(), a.losses[0], a.losses[9], a.losses[49], start.elapsed());
        for (name, v) in &a.entries { println!("    {name} {:.1e} {:.1e}", v[0], v[49]); }
    }
}
