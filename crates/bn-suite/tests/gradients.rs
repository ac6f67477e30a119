//! Gradients by finite differences, first and second order, and proof that the
//! check itself catches wrong gradients and refuses to be vacuous.

mod common;

use bn_suite::case::{Mode, Step};
use bn_suite::gradcheck::{GradcheckError, Order, gradcheck};
use bn_suite::outcome::Field;
use bn_suite::tensor::Layout;
use common::{AFFINE, ENGINES, Spoiled, engine, gradient_case};

const SHAPES: [&[usize]; 4] = [&[5, 3], &[3, 2, 4], &[2, 3, 2, 3], &[2, 2, 1, 2, 3]];

#[test]
fn first_and_second_gradients_are_those_of_the_engines_own_forward_pass() {
    for name in ENGINES {
        let mut engine = engine(name);
        for shape in SHAPES {
            for mode in [Mode::Train, Mode::Eval] {
                for affine in AFFINE {
                    let case = gradient_case(shape, mode, affine, Layout::Contiguous);
                    for order in [Order::First, Order::Second] {
                        let checked = vacuous_only_where_zero(
                            gradcheck(engine.as_mut(), &case, 0, order),
                            mode,
                            affine,
                        );
                        checked.unwrap_or_else(|error| panic!("{name}: {error}"));
                    }
                }
            }
        }
    }
}

/// In evaluation ∂S/∂input = v·s·g: without a weight there is no v, and it is 0.
fn vacuous_only_where_zero<T>(
    result: Result<T, GradcheckError>,
    mode: Mode,
    affine: (bool, bool),
) -> Result<(), GradcheckError> {
    match result {
        Err(GradcheckError::Vacuous { field: Field::SecondGradInput, .. })
            if mode == Mode::Eval && !affine.0 =>
        {
            Ok(())
        }
        other => other.map(|_| ()),
    }
}

#[test]
fn evaluation_without_running_statistics_differentiates_the_batch_statistics() {
    let mut case = gradient_case(&[4, 3, 2], Mode::Eval, (true, true), Layout::Contiguous);
    (case.state.running_mean, case.state.running_var, case.state.num_batches_tracked) = (None, None, None);
    for name in ENGINES {
        for order in [Order::First, Order::Second] {
            gradcheck(engine(name).as_mut(), &case, 0, order)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}

#[test]
fn other_memory_orders_have_the_same_gradients() {
    let strided = Layout::Strided { strides: vec![1, 40, 10, 3], offset: 7 };
    for layout in [Layout::ChannelsLast, strided] {
        let case = gradient_case(&[2, 3, 2, 3], Mode::Train, (true, true), layout);
        for name in ENGINES {
            for order in [Order::First, Order::Second] {
                gradcheck(engine(name).as_mut(), &case, 0, order)
                    .unwrap_or_else(|error| panic!("{name}: {error}"));
            }
        }
    }
}

/// A relative error of 1e-6 in any one gradient field must be found.
#[test]
fn a_gradient_off_by_a_millionth_is_found() {
    let case = gradient_case(&[5, 3], Mode::Train, (true, true), Layout::Contiguous);
    let fields = [
        (Order::First, Field::GradInput),
        (Order::First, Field::GradWeight),
        (Order::First, Field::GradBias),
        (Order::Second, Field::SecondGradOutput),
        (Order::Second, Field::SecondGradInput),
        (Order::Second, Field::SecondGradWeight),
    ];
    for (order, spoiled) in fields {
        let mut wrong = Spoiled::new(|_, outcomes| {
            let tensor = outcomes[0].fields.get_mut(&spoiled).expect("asked for");
            tensor.data.iter_mut().for_each(|value| *value *= 1.0 + 1e-6);
        });
        match gradcheck(&mut wrong, &case, 0, order) {
            Err(GradcheckError::Differs { field, .. }) => assert_eq!(field, spoiled),
            other => panic!("{spoiled} spoiled, but the check says {other:?}"),
        }
    }
}

/// The loss Σoutput has the gradient 0 through batch norm, whatever the code does.
#[test]
fn a_sum_loss_is_called_vacuous() {
    let mut case = gradient_case(&[5, 3], Mode::Train, (true, true), Layout::Contiguous);
    let Step::BatchNorm(pass) = &mut case.steps[0] else { unreachable!("made so") };
    pass.grad_output.as_mut().expect("made so").data.fill(1.0);
    match gradcheck(engine("textbook").as_mut(), &case, 0, Order::First) {
        Err(GradcheckError::Vacuous { field: Field::GradInput, .. }) => {}
        other => panic!("a sum loss was not flagged: {other:?}"),
    }
}

#[test]
fn what_cannot_be_differentiated_is_said() {
    let mut case = gradient_case(&[5, 3], Mode::Train, (true, true), Layout::Contiguous);
    let Step::BatchNorm(pass) = &mut case.steps[0] else { unreachable!("made so") };
    pass.cotangents = None;
    let error = gradcheck(engine("textbook").as_mut(), &case, 0, Order::Second).unwrap_err();
    assert!(error.to_string().ends_with("the step has no cotangents"), "{error}");
}
