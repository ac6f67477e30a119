//! Evaluation: which statistics are used, what is left alone, and which gradient
//! belongs to it.

mod common;

use bn_suite::case::{Case, Mode, Pass, Step};
use bn_suite::outcome::{Field, Outcome};
use bn_suite::tensor::{DType, Layout, Tensor};
use bn_suite::truth;
use common::{ENGINES, engine, gradient_case, values};

fn run(name: &str, case: &Case) -> Vec<Outcome> {
    engine(name).run(case).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn eval_case(shape: &[usize]) -> Case {
    gradient_case(shape, Mode::Eval, (true, true), Layout::Contiguous)
}

fn eval_step(data: &[f64], shape: &[usize]) -> Step {
    Step::BatchNorm(Box::new(Pass::forward(Mode::Eval, Tensor::new(DType::F64, shape, data.to_vec()))))
}

/// What a sample becomes must not depend on the company it is in: the fault of a
/// forgotten `eval()`, and of running statistics that are not used.
#[test]
fn a_sample_does_not_depend_on_its_neighbours() {
    let (rows, channels) = (6, 3);
    let data = values(21, rows * channels, 2.0);
    for name in ENGINES {
        let mut case = eval_case(&[rows, channels]);
        case.steps = vec![eval_step(&data, &[rows, channels])];
        let together = run(name, &case)[0].fields[&Field::Output].data.clone();
        for row in 0..rows {
            let part = row * channels..(row + 1) * channels;
            case.steps = vec![eval_step(&data[part.clone()], &[1, channels])];
            let alone = &run(name, &case)[0].fields[&Field::Output].data;
            assert_eq!(alone[..], together[part], "{name}: row {row}");
        }
    }
}

#[test]
fn evaluation_leaves_every_buffer_alone() {
    let mut case = eval_case(&[4, 3]);
    case.steps = vec![eval_step(&values(22, 12, 5.0), &[4, 3]); 3];
    for name in ENGINES {
        for outcome in run(name, &case) {
            assert_eq!(outcome.num_batches_tracked, Some(0), "{name}");
            for (field, before) in
                [(Field::RunningMean, &case.state.running_mean), (Field::RunningVar, &case.state.running_var)]
            {
                assert_eq!(Some(&outcome.fields[&field]), before.as_ref(), "{name}: {field}");
            }
        }
    }
}

/// In evaluation grad_input = w·g/σ: elementwise, so its sum is not 0, unlike the
/// training formula's. Using the wrong one is told apart by many allowances.
#[test]
fn the_gradient_of_evaluation_is_not_that_of_training() {
    let eval = eval_case(&[5, 3]);
    let mut train = eval.clone();
    let Step::BatchNorm(pass) = &mut train.steps[0] else { unreachable!("made so") };
    pass.mode = Mode::Train;
    let right = truth::solve(&eval)[0].fields[&Field::GradInput].clone();
    let wrong = truth::solve(&train)[0].fields[&Field::GradInput].clone();
    let apart = |i: usize| (right.value.data[i] - wrong.value.data[i]).abs() > 1e6 * right.allowance[i];
    assert!((0..right.value.len()).all(apart));
    for name in ENGINES {
        let got = &run(name, &eval)[0].fields[&Field::GradInput];
        for (i, value) in got.data.iter().enumerate() {
            assert!((value - right.value.data[i]).abs() <= right.allowance[i], "{name}: element {i}");
        }
    }
}

/// Train, train, eval: evaluation uses what training left, with the unbiased
/// variance, and training again goes on from there.
#[test]
fn modes_may_alternate() {
    let mut case = eval_case(&[4, 3]);
    let step = |mode, seed| {
        Step::BatchNorm(Box::new(Pass::forward(
            mode,
            Tensor::new(DType::F64, &[4, 3], values(seed, 12, 2.0)),
        )))
    };
    case.steps = [(Mode::Train, 1), (Mode::Train, 2), (Mode::Eval, 3), (Mode::Train, 4), (Mode::Eval, 3)]
        .map(|(mode, seed)| step(mode, seed))
        .to_vec();
    let expected = truth::solve(&case);
    assert_ne!(expected[2].fields[&Field::Output], expected[4].fields[&Field::Output]);
    for name in ENGINES {
        for (step, (got, expected)) in run(name, &case).iter().zip(&expected).enumerate() {
            assert_eq!(got.num_batches_tracked, expected.num_batches_tracked, "{name}, step {step}");
            for (field, expected) in &expected.fields {
                let pairs = got.fields[field].data.iter().zip(&expected.value.data).zip(&expected.allowance);
                for ((got, right), allowance) in pairs {
                    assert!(
                        (got - right).abs() <= *allowance,
                        "{name}, step {step}, {field}: {got} for {right}"
                    );
                }
            }
        }
    }
}
