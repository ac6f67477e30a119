//! The documents' networks, ours against libtorch's, step by step.

use batchnorm::DType;
use bn_documents::agreement::{Ours, Run, Trainee, follow};
use bn_oracle::training::Libtorch;

fn ours(run: Run) -> Box<dyn Trainee> {
    match run.dtype {
        DType::F32 => Box::new(Ours::<f32>::new(run)),
        _ => Box::new(Ours::<f64>::new(run)),
    }
}

#[test]
fn both_take_the_steps_of_libtorchs_training() {
    for run in Run::all() {
        let start = std::time::Instant::now();
        let result = follow(run, &mut [Box::new(Libtorch::new(run)), ours(run)], 1);
        println!("{:60} {result:?} {:.1?}", run.name(), start.elapsed());
    }
}
