//! Does the judge judge? A right answer passes; each way of being wrong is found,
//! named, and described well enough to be reproduced.

use std::collections::BTreeSet;

use bn_suite::capability::Capability;
use bn_suite::case::{Case, Layer, Mode, Pass, Rank, State, Step};
use bn_suite::catalogue::{self, Entry};
use bn_suite::check::{Fault, Replay, Verdict, Worst, check, check_both_grades, judge};
use bn_suite::engine::{About, Engine, EngineError};
use bn_suite::engines;
use bn_suite::fixtures;
use bn_suite::golden::{Dispute, Expected, ExpectedField, Golden};
use bn_suite::outcome::{Field, Outcome, Refusal, RefusalKind};
use bn_suite::report::Report;
use bn_suite::tensor::{DType, Layout, Tensor};

type Answer = Result<Vec<Outcome>, EngineError>;

/// Gives the answer that it was made with.
struct Replaying {
    about: About,
    answer: Answer,
}

impl Engine for Replaying {
    fn about(&self) -> &About {
        &self.about
    }

    fn run(&mut self, _: &Case) -> Answer {
        self.answer.clone()
    }
}

fn about() -> About {
    About::new("replaying", "1", Capability::all())
}

const SHAPE: [usize; 4] = [2, 3, 1, 2];

/// A step that is done and a step that is refused, with made-up numbers: only
/// the judge is on trial here.
fn golden() -> Golden {
    let image = |layout: Layout| {
        let data: Vec<f64> = (0..12).map(|v| f64::from(v) / 4.0).collect();
        Tensor::new(DType::F32, &SHAPE, data).with_layout(layout)
    };
    let three = |v: f64| Tensor::vector(DType::F32, &[v, v + 1.0, v + 2.0]);
    let field = |value: Tensor, allowance: f64| {
        let allowance = vec![allowance; value.len()];
        ExpectedField { value, allowance }
    };
    let pass = |layout| Step::BatchNorm(Box::new(Pass::forward(Mode::Train, image(layout))));
    let buffers =
        || [(Field::RunningMean, field(three(0.0), 0.0)), (Field::RunningVar, field(three(1.0), 0.25))];
    let done = Expected {
        fields: [(Field::Output, field(image(Layout::Contiguous), 0.125))]
            .into_iter()
            .chain(buffers())
            .collect(),
        num_batches_tracked: Some(1),
        refused: None,
    };
    let refused = Expected {
        fields: buffers().into(),
        num_batches_tracked: Some(2),
        refused: Some(RefusalKind::TooFewValues),
    };
    Golden {
        case: Case {
            name: "judge/one".into(),
            note: "A failure here means that the judge is wrong.".into(),
            layer: Layer { rank: Rank::Two, num_features: 3, ..Layer::default() },
            state: State {
                running_mean: Some(three(0.0)),
                running_var: Some(three(1.0)),
                num_batches_tracked: Some(0),
                ..State::default()
            },
            steps: vec![pass(Layout::ChannelsLast), pass(Layout::Contiguous)],
        },
        expected: vec![done, refused],
        disputed: None,
    }
}

/// The expected values as an answer.
fn right(golden: &Golden) -> Vec<Outcome> {
    let outcome = |expected: &Expected| Outcome {
        fields: expected.fields.iter().map(|(&field, expected)| (field, expected.value.clone())).collect(),
        num_batches_tracked: expected.num_batches_tracked,
        refused: expected.refused.map(|kind| Refusal { kind, message: "no".into() }),
    };
    let mut outcomes: Vec<Outcome> = golden.expected.iter().map(outcome).collect();
    outcomes[0].fields.get_mut(&Field::Output).unwrap().layout = Layout::ChannelsLast;
    outcomes
}

/// The step and the fault of the only failure of a right answer that was spoiled.
fn only_fault(spoil: impl FnOnce(&mut Vec<Outcome>)) -> (Option<usize>, Fault) {
    let golden = golden();
    let mut outcomes = right(&golden);
    spoil(&mut outcomes);
    match judge(&golden, &about(), &Ok(outcomes)) {
        Verdict::Failed { mut failures, .. } if failures.len() == 1 => {
            let failure = failures.remove(0);
            (failure.step, failure.fault)
        }
        other => panic!("expected one failure, got {other:?}"),
    }
}

fn array(outcomes: &mut [Outcome], step: usize, field: Field) -> &mut Tensor {
    outcomes[step].fields.get_mut(&field).unwrap()
}

fn passes(spoil: impl FnOnce(&mut Vec<Outcome>)) -> bool {
    let golden = golden();
    let mut outcomes = right(&golden);
    spoil(&mut outcomes);
    matches!(judge(&golden, &about(), &Ok(outcomes)), Verdict::Passed { .. })
}

#[test]
fn the_truth_itself_passes() {
    assert!(passes(|_| {}));
}

#[test]
fn an_allowance_may_be_used_up_and_not_exceeded() {
    assert!(passes(|outcomes| array(outcomes, 0, Field::Output).data[5] += 0.125));
    let (step, fault) = only_fault(|outcomes| {
        array(outcomes, 0, Field::Output).data[5] += 0.1875;
        array(outcomes, 0, Field::Output).data[6] -= 0.25;
    });
    let Fault::Elements { field, worst, multi_index, failing, elements, .. } = fault else {
        panic!("{fault:?}")
    };
    assert_eq!((step, field, worst.index, failing, elements), (Some(0), Field::Output, 6, 2, 12));
    assert_eq!(multi_index, [1, 0, 0, 0]);
    assert_eq!((worst.got, worst.expected, worst.allowance, worst.ratio()), (1.25, 1.5, 0.125, 2.0));
}

#[test]
fn the_worst_of_a_passing_case_is_told() {
    let golden = golden();
    let mut outcomes = right(&golden);
    array(&mut outcomes, 0, Field::Output).data[3] += 0.0625;
    array(&mut outcomes, 1, Field::RunningVar).data[2] += 0.1875;
    let Verdict::Passed { worst: Some(worst) } = judge(&golden, &about(), &Ok(outcomes)) else { panic!() };
    assert_eq!((worst.step, worst.field, worst.index, worst.ratio), (1, Field::RunningVar, 2, 0.75));
}

#[test]
fn an_exact_field_wants_exact_values_and_nan_is_never_near() {
    let (step, fault) =
        only_fault(|outcomes| array(outcomes, 0, Field::RunningMean).data[0] = 2f64.powi(-149));
    assert_eq!((step, fault.field()), (Some(0), Some("running_mean")));
    let (_, fault) = only_fault(|outcomes| array(outcomes, 0, Field::Output).data[0] = f64::NAN);
    assert_eq!(fault.kind(), "elements");
}

#[test]
fn buffers_are_judged_after_a_refusal_too() {
    let (step, fault) = only_fault(|outcomes| array(outcomes, 1, Field::RunningVar).data[1] = 9.0);
    assert_eq!((step, fault.field()), (Some(1), Some("running_var")));
}

#[test]
fn form_comes_before_values() {
    let (_, fault) = only_fault(|outcomes| array(outcomes, 0, Field::RunningMean).shape = vec![1, 3]);
    assert_eq!(fault.to_string(), "running_mean: expected shape [3], got [1, 3]");
    let (_, fault) = only_fault(|outcomes| array(outcomes, 0, Field::RunningMean).dtype = DType::F64);
    assert_eq!(fault.to_string(), "running_mean: expected dtype f32, got f64");
    let (_, fault) = only_fault(|outcomes| array(outcomes, 0, Field::RunningVar).data[0] = 1.1);
    let words = "running_var: not an array of its dtype and shape: element 0, 1.1, is not a value of f32";
    assert_eq!(fault.to_string(), words);
    let (_, fault) = only_fault(|outcomes| _ = array(outcomes, 0, Field::RunningVar).data.pop());
    assert_eq!(fault.kind(), "not_an_array");
}

#[test]
fn output_keeps_the_inputs_memory_order() {
    let (step, fault) = only_fault(|outcomes| array(outcomes, 0, Field::Output).layout = Layout::Contiguous);
    assert_eq!(step, Some(0));
    assert_eq!(fault.to_string(), "output: expected memory order channels_last, got contiguous");
    // The same places in other words: N over C, 1, W with C innermost.
    let strides = Layout::Strided { strides: vec![6, 1, 99, 3], offset: 0 };
    assert!(passes(|outcomes| array(outcomes, 0, Field::Output).layout = strides));
}

#[test]
fn fields_are_exactly_those_asked_for() {
    let (step, fault) = only_fault(|outcomes| _ = outcomes[1].fields.remove(&Field::RunningMean));
    assert_eq!((step, fault), (Some(1), Fault::Missing { field: Field::RunningMean }));
    let (_, fault) = only_fault(|outcomes| {
        let mean = outcomes[0].fields[&Field::RunningMean].clone();
        outcomes[0].fields.insert(Field::GradBias, mean);
    });
    assert_eq!(fault, Fault::NotAsked { field: Field::GradBias });
}

#[test]
fn the_counter_is_judged() {
    for got in [Some(0), Some(2), None] {
        let (step, fault) = only_fault(|outcomes| outcomes[0].num_batches_tracked = got);
        assert_eq!((step, fault), (Some(0), Fault::Counter { expected: Some(1), got }));
    }
}

#[test]
fn refusals_are_told_apart() {
    let refusal = |kind| Some(Refusal { kind, message: "too small".into() });
    let (step, fault) = only_fault(|outcomes| outcomes[1].refused = None);
    assert_eq!(
        (step, fault),
        (Some(1), Fault::NotRefused { expected: RefusalKind::TooFewValues, not_finite: vec![] })
    );
    let (step, fault) = only_fault(|outcomes| outcomes[0].refused = refusal(RefusalKind::Unsorted));
    assert_eq!(step, Some(0));
    assert_eq!(fault.to_string(), "expected an answer, got a refusal (unsorted): too small");
    let (_, fault) = only_fault(|outcomes| outcomes[1].refused = refusal(RefusalKind::Eps));
    assert_eq!(fault.kind(), "wrong_refusal");
    assert!(passes(|outcomes| outcomes[1].refused = refusal(RefusalKind::Unsorted)));
}

#[test]
fn one_outcome_per_step() {
    let (step, fault) = only_fault(|outcomes| _ = outcomes.pop());
    assert_eq!((step, fault), (None, Fault::StepCount { expected: 2, got: 1 }));
    let (_, fault) = only_fault(|outcomes| outcomes.push(Outcome::default()));
    assert_eq!(fault, Fault::StepCount { expected: 2, got: 3 });
}

#[test]
fn what_is_not_claimed_is_not_asked_and_what_is_claimed_is_owed() {
    let golden = golden();
    let declines = || Err(EngineError::Unsupported("not today".into()));
    let mut claims = Capability::all();
    claims.remove(&Capability::NoAffine);
    let mut engine = Replaying { about: About { claims, ..about() }, answer: declines() };
    let report = check(&golden, &mut engine, &Replay::named("replaying"));
    assert_eq!(report.verdict, Verdict::Unsupported { missing: vec![Capability::NoAffine] });
    engine.about = about();
    let report = check(&golden, &mut engine, &Replay::named("replaying"));
    assert_eq!(report.failures()[0].fault.kind(), "claimed_but_unsupported");
}

#[test]
fn a_panic_is_a_failure_of_its_case() {
    struct Panicking(About);
    impl Engine for Panicking {
        fn about(&self) -> &About {
            &self.0
        }
        fn run(&mut self, _: &Case) -> Answer {
            panic!("index out of bounds, say")
        }
    }
    let report = check(&golden(), &mut Panicking(about()), &Replay::named("panicking"));
    assert_eq!(report.failures()[0].fault.to_string(), "crashed: index out of bounds, say");
}

fn dispute(fields: &[Field]) -> Dispute {
    Dispute {
        engine: "replaying".into(),
        fields: fields.to_vec(),
        note: "it drops a term".into(),
        sporadic: false,
    }
}

#[test]
fn a_dispute_excuses_one_engine_until_it_is_not_needed() {
    let mut golden = golden();
    golden.disputed = Some(dispute(&[Field::Output]));
    let mut wrong = right(&golden);
    array(&mut wrong, 0, Field::Output).data[0] = 7.0;
    let verdict =
        |name: &str, answer: &Answer| judge(&golden, &About { name: name.into(), ..about() }, answer);
    assert!(matches!(verdict("replaying", &Ok(wrong.clone())), Verdict::Disputed { .. }));
    assert!(matches!(verdict("another", &Ok(wrong.clone())), Verdict::Failed { .. }));
    assert!(matches!(verdict("another", &Ok(right(&golden))), Verdict::Passed { .. }));
    // What the dispute does not name is not excused.
    array(&mut wrong, 0, Field::RunningMean).data[0] = 7.0;
    assert!(matches!(verdict("replaying", &Ok(wrong)), Verdict::Failed { .. }));
    let Verdict::Failed { failures, .. } = verdict("replaying", &Ok(right(&golden))) else { panic!() };
    assert_eq!(failures[0].fault.kind(), "dispute_not_needed");
}

#[test]
fn a_sporadic_dispute_may_pass_and_excuses_no_more_than_another() {
    let mut golden = golden();
    golden.disputed = Some(Dispute { sporadic: true, ..dispute(&[Field::Output]) });
    let verdict = |answer: &Answer| judge(&golden, &about(), answer);
    assert!(matches!(verdict(&Ok(right(&golden))), Verdict::Passed { .. }));
    let mut wrong = right(&golden);
    array(&mut wrong, 0, Field::Output).data[0] = 7.0;
    assert!(matches!(verdict(&Ok(wrong.clone())), Verdict::Disputed { .. }));
    array(&mut wrong, 0, Field::RunningMean).data[0] = 7.0;
    assert!(matches!(verdict(&Ok(wrong)), Verdict::Failed { .. }));
}

#[test]
fn a_dispute_without_arrays_is_about_an_error_that_the_engine_raises() {
    let mut golden = golden();
    let raised = Err(EngineError::Failed("undefined tensor".into()));
    let crash = Err(EngineError::Crashed("signal 11".into()));
    let verdict = |golden: &Golden, answer: &Answer| judge(golden, &about(), answer);
    golden.disputed = Some(dispute(&[Field::Output]));
    assert!(matches!(verdict(&golden, &raised), Verdict::Failed { .. }));
    golden.disputed = Some(dispute(&[]));
    assert!(matches!(verdict(&golden, &raised), Verdict::Disputed { .. }));
    assert!(matches!(verdict(&golden, &crash), Verdict::Failed { .. }), "a crash is never excused");
    let mut wrong = right(&golden);
    array(&mut wrong, 0, Field::Output).data[0] = 7.0;
    assert!(matches!(verdict(&golden, &Ok(wrong)), Verdict::Failed { .. }));
}

#[test]
fn a_failure_is_a_reproduction() {
    let golden = golden();
    let mut outcomes = right(&golden);
    array(&mut outcomes, 0, Field::Output).data[6] = 1.25;
    array(&mut outcomes, 1, Field::RunningMean).data[1] = f64::INFINITY;
    let mut engine = Replaying { about: about(), answer: Ok(outcomes) };
    let replay = Replay { program: "bn".into(), options: "--command './mine --fast'".into() };
    insta::assert_snapshot!(check(&golden, &mut engine, &replay));
}

#[test]
fn a_report_counts_and_carries_every_failure() {
    let golden = golden();
    let mut wrong = right(&golden);
    array(&mut wrong, 0, Field::Output).data[6] = 1.25;
    wrong[1].num_batches_tracked = None;
    let replay = Replay { program: "bn".into(), options: "--engine replaying".into() };
    let lesser: BTreeSet<Capability> = [Capability::F32].into();
    let engines = [
        (about(), Ok(right(&golden))),
        (about(), Ok(wrong)),
        (About { claims: lesser, ..about() }, Ok(vec![])),
    ];
    let reports: Vec<_> = engines
        .into_iter()
        .map(|(about, answer)| check(&golden, &mut Replaying { about, answer }, &replay))
        .collect();
    let report = Report::new(&about(), &reports);
    insta::assert_snapshot!(bn_suite::fixtures::pretty(&serde_json::to_value(&report).unwrap()));
}

#[test]
fn of_two_elements_as_bad_the_first_is_named() {
    let worst = |step: usize, ratio: f64| Some(Worst { step, field: Field::Output, index: 0, ratio });
    for (a, b, expected) in [
        (worst(0, 0.5), worst(1, 0.5), worst(0, 0.5)),
        (worst(0, 0.5), worst(1, 0.75), worst(1, 0.75)),
        (worst(0, 0.75), worst(1, 0.5), worst(0, 0.75)),
        (None, worst(1, 0.0), worst(1, 0.0)),
        (worst(0, 0.0), None, worst(0, 0.0)),
        (None, None, None),
    ] {
        assert_eq!(Worst::larger(a, b), expected);
    }
}

fn solved(entries: &[Entry], case: &str) -> Golden {
    let entry = entries.iter().find(|entry| entry.case.name == case);
    fixtures::solve(entry.expect("a case of the catalogue"))
}

/// Ours is accurate; a folded kernel conforms and is not; a biased running variance is neither.
#[test]
fn an_engine_is_judged_by_both_grades_where_that_is_asked() {
    let golden = solved(&catalogue::all(), "normalise/square-of-the-mean");
    for (name, conforms, accurate) in [
        ("batchnorm", true, true),
        ("variant:folded", true, false),
        ("mutant:running-var-biased", false, false),
    ] {
        let mut engine = engines::constructor(name).expect("an engine of the suite")();
        let report = check_both_grades(&golden, engine.as_mut(), &Replay::named(name));
        assert_eq!(
            (report.failures().is_empty(), report.is_accurate()),
            (conforms, Some(accurate)),
            "{name}"
        );
        assert_eq!(check(&golden, engine.as_mut(), &Replay::named(name)).is_accurate(), None, "{name}");
    }
}

/// What stands beside each array that is not accurate is what the engine does, or
/// the least that explains it.
#[test]
fn the_least_shortcut_that_explains_an_array_is_its_cause() {
    let entries = catalogue::all();
    for (engine, case, field, cause) in [
        (
            "variant:folded",
            "normalise/square-of-the-mean",
            Field::Output,
            "scaled before the mean is subtracted",
        ),
        ("variant:pairwise", "accuracy/bf16-heavy-tail", Field::RunningVar, "statistics kept in f32"),
        ("variant:pairwise", "accuracy/f64-mean-1e12", Field::Output, "statistics kept in f64"),
        ("variant:pairwise", "accuracy/large-without-overflow", Field::RunningMean, "sums in f32"),
        (
            "variant:pairwise",
            "accuracy/squares-overflow-in-sum",
            Field::GradInput,
            "a sum overflows in the elements' precision",
        ),
        (
            "mutant:sums-in-16-bits",
            "dtypes/f16-mean-needs-f32",
            Field::RunningMean,
            "statistics kept in f32, sums in f32",
        ),
        ("mutant:sums-in-16-bits", "dtypes/bf16", Field::GradBias, "every operation rounded to bf16"),
        (
            "mutant:running-var-biased",
            "normalise/square-of-the-mean",
            Field::RunningVar,
            "unexplained by any arithmetic that conforms",
        ),
    ] {
        let mut engine_under_test = engines::constructor(engine).expect("an engine of the suite")();
        let report =
            check_both_grades(&solved(&entries, case), engine_under_test.as_mut(), &Replay::named(engine));
        let excesses = report.accuracy.expect("judged by both grades").excesses;
        let of_field = excesses.iter().filter(|excess| excess.field == field);
        let causes: Vec<String> = of_field.map(|excess| excess.cause.to_string()).collect();
        assert!(causes.iter().any(|found| found == cause), "{engine}, {case}, {field:?}: {causes:?}");
    }
}
