//! Engines that are wrong in known ways, and what the suite finds of that by itself.

mod common;

use bn_findings::cause::{Cause, Severity};
use bn_findings::findings::causes;
use bn_suite::capability::Capability;
use bn_suite::case::{Case, Mode, Step};
use bn_suite::engine::{About, Engine, EngineError};
use bn_suite::outcome::{Field, Outcome};
use bn_suite::{catalogue, engines, fixtures, mutants};
use common::{Altered, NaiveF32, checked, far_from_zero, goldens, mutant};

fn by_case(engine: &mut dyn Engine, groups: &[&str]) -> Vec<Vec<Cause>> {
    let goldens = goldens(groups);
    let reports = checked(&goldens, engine);
    causes(&goldens, &reports, || ())
}

/// The distinct causes, those of most failures first.
fn found(engine: &mut dyn Engine, groups: &[&str]) -> Vec<Cause> {
    let mut counts: Vec<(Cause, usize)> = Vec::new();
    for cause in by_case(engine, groups).into_iter().flatten() {
        match counts.iter_mut().find(|(known, _)| known.id == cause.id) {
            Some((_, count)) => *count += 1,
            None => counts.push((cause, 1)),
        }
    }
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.into_iter().map(|(cause, _)| cause).collect()
}

fn ids(causes: &[Cause]) -> Vec<&str> {
    causes.iter().map(|cause| cause.id.as_str()).collect()
}

#[test]
fn a_right_engine_has_no_causes() {
    let mut right = engines::constructor("batchnorm").unwrap()();
    assert!(found(right.as_mut(), &["documents", "gradients"]).is_empty());
}

/// Each is found under its own name, and nothing else is.
#[test]
fn a_mutant_is_recognised() {
    let groups = ["documents", "running-stats", "momentum", "modes", "gradients"];
    for name in [
        "running-var-biased",
        "momentum-inverted",
        "momentum-inverted-for-var",
        "output-by-unbiased-var",
        "variances-swapped",
        "eval-made-biased",
        "running-var-is-a-deviation",
    ] {
        let found = found(mutant(name).as_mut(), &groups);
        assert_eq!(ids(&found), [name]);
        assert_eq!(found[0].severity, Severity::Wrong);
        assert!(!found[0].title.is_empty() && found[0].explanation.contains(". "), "{found:?}");
    }
}

/// What is wrong at the first step makes later ones wrong, and is one cause all the same.
#[test]
fn a_consequence_is_no_cause() {
    let cases = by_case(mutant("running-var-biased").as_mut(), &["running-stats"]);
    let several = cases.iter().filter(|causes| causes.len() > 2).count();
    assert!(several > 3, "{several} cases fail in several places");
    assert!(cases.iter().flatten().all(|cause| cause.id == "running-var-biased"));
}

/// Two mistakes in one engine are two causes, each for its arrays.
#[test]
fn two_mistakes_are_told_apart() {
    let mut biased = mutant("running-var-biased");
    let zero = |case: &Case, outcomes: &mut Vec<Outcome>| {
        for (step, outcome) in case.steps.iter().zip(outcomes) {
            if matches!(step, Step::BatchNorm(pass) if pass.mode == Mode::Eval)
                && let Some(gradient) = outcome.fields.get_mut(&Field::GradInput)
            {
                gradient.data.fill(0.0);
            }
        }
    };
    let mut engine = Altered::new(biased.as_mut(), zero);
    let found = found(&mut engine, &["running-stats", "modes", "gradients"]);
    assert_eq!(found[0].id, "running-var-biased");
    assert!(ids(&found).contains(&"zero-grad_input-eval"), "{:?}", ids(&found));
    assert!(found.iter().all(|cause| cause.severity == Severity::Wrong && cause.id != "consequence"));
}

/// As zyx: whatever the batch, the buffer's variance divides.
/// As when a framework computes f64 input in f32: the one number is wrong in two ways, and
/// the fault that is known from f32 is its cause.
#[test]
fn a_mistake_in_poor_arithmetic_is_that_mistake() {
    let mut biased = mutant("running-var-biased");
    let narrow = |_: &Case, outcomes: &mut Vec<Outcome>| {
        let fields = outcomes.iter_mut().flat_map(|outcome| outcome.fields.values_mut());
        for tensor in fields {
            tensor.data.iter_mut().for_each(|element| *element = f64::from(*element as f32));
        }
    };
    let found = found(&mut Altered::new(biased.as_mut(), narrow), &["documents", "running-stats", "dtypes"]);
    assert!(ids(&found).contains(&"running-var-biased"), "{found:?}");
    assert!(!ids(&found).iter().any(|id| id.starts_with("unexplained-running_var")), "{found:?}");
}

#[test]
fn who_trains_by_the_buffer_is_found() {
    let mut right = engines::constructor("textbook").unwrap()();
    let by_buffer = |case: &Case, outcomes: &mut Vec<Outcome>| {
        for (step, outcome) in case.steps.iter().zip(outcomes) {
            let Step::BatchNorm(pass) = step else { continue };
            let Some(var) = outcome.fields.get(&Field::RunningVar).map(|var| var.data.clone()) else {
                continue;
            };
            let Some(output) = outcome.fields.get_mut(&Field::Output) else { continue };
            if pass.mode == Mode::Eval || pass.input.is_empty() {
                continue;
            }
            let (channels, inner) = (output.shape[1], output.shape[2..].iter().product::<usize>());
            let at = |i: usize| i / inner % channels;
            let n = (output.data.len() / channels) as f64;
            let x = &pass.input.data;
            let of = |tensor: &Option<bn_suite::tensor::Tensor>, c: usize, other: f64| {
                tensor.as_ref().map_or(other, |tensor| tensor.data[c])
            };
            for i in 0..x.len() {
                let c = at(i);
                let mean = (0..x.len()).filter(|&k| at(k) == c).map(|k| x[k]).sum::<f64>() / n;
                let y = (x[i] - mean) / (var[c] + case.layer.eps).sqrt();
                let y = y * of(&case.state.weight, c, 1.0) + of(&case.state.bias, c, 0.0);
                output.data[i] =
                    if output.dtype == bn_suite::tensor::DType::F64 { y } else { f64::from(y as f32) };
            }
        }
    };
    let found = found(&mut Altered::new(right.as_mut(), by_buffer), &["documents"]);
    assert_eq!(found[0].id, "train-normalises-by-running-var", "{:?}", ids(&found));
    assert_eq!(found[0].severity, Severity::Wrong);
}

/// Wrong by a hundredth is nobody's known mistake, and no arithmetic either.
#[test]
fn what_nobody_knows_is_wrong_and_unexplained() {
    let mut right = engines::constructor("textbook").unwrap()();
    let spoil = |_: &Case, outcomes: &mut Vec<Outcome>| {
        let weights = outcomes.iter_mut().filter_map(|outcome| outcome.fields.get_mut(&Field::GradWeight));
        let elements = weights.flat_map(|tensor| tensor.data.iter_mut());
        elements.for_each(|element| *element = f64::from((*element * 1.01) as f32));
    };
    let found = found(&mut Altered::new(right.as_mut(), spoil), &["gradients"]);
    assert_eq!(found[0].id, "unexplained-grad_weight-train");
    assert_eq!(found[0].severity, Severity::Wrong);
}

/// The right formulas in f32, term by term: inaccurate, and named as what it is.
#[test]
fn poor_arithmetic_is_inaccurate_and_not_wrong() {
    for (mean, uncentred) in [(1e4, true), (100.0, true), (1e4, false)] {
        let golden = far_from_zero(mean, 1 << 14);
        let reports = checked(std::slice::from_ref(&golden), &mut NaiveF32 { uncentred });
        let causes: Vec<Cause> = causes(&[golden], &reports, || ()).into_iter().flatten().collect();
        assert!(causes.iter().all(|cause| cause.severity == Severity::Inaccurate), "{causes:?}");
        // E[x²] − E[x]² at a mean of 10⁴ does not conform.
        assert!(mean < 1e4 || !uncentred || !causes.is_empty());
    }
}

/// The poor arithmetics are no excuse for another formula.
#[test]
fn another_formula_is_not_excused_as_arithmetic() {
    for name in ["running-var-biased", "output-by-unbiased-var"] {
        let found = found(mutant(name).as_mut(), &["documents", "normalise"]);
        assert_eq!(ids(&found), [name]);
    }
}

#[test]
fn the_form_of_an_answer_is_a_cause_too() {
    let mut right = engines::constructor("textbook").unwrap()();
    let accepts = |_: &Case, outcomes: &mut Vec<Outcome>| {
        for outcome in outcomes.iter_mut().filter(|outcome| outcome.refused.is_some()) {
            outcome.refused = None;
            if let Some(var) = outcome.fields.get_mut(&Field::RunningVar) {
                var.data.fill(f64::NAN);
            }
        }
    };
    let found = found(&mut Altered::new(right.as_mut(), accepts), &["refusals"]);
    assert!(ids(&found).contains(&"accepts-too_few_values-and-spoils-buffers"), "{:?}", ids(&found));
    assert!(found.iter().all(|cause| cause.severity == Severity::Wrong));
}

#[test]
fn crashes_are_sorted_by_what_was_to_be_done() {
    struct Crashing(About);
    impl Engine for Crashing {
        fn about(&self) -> &About {
            &self.0
        }
        fn run(&mut self, case: &Case) -> Result<Vec<Outcome>, EngineError> {
            Err(EngineError::Crashed(format!("{} steps", case.steps.len())))
        }
    }
    let found =
        found(&mut Crashing(About::new("crashing", "1", Capability::all())), &["documents", "refusals"]);
    let ids = ids(&found);
    assert!(ids.contains(&"crashes: … steps") && ids.contains(&"crashes-on-too_few_values"), "{ids:?}");
}

/// Whatever an engine answers to whatever case, every failure has a cause, and none is lost.
#[test]
fn nonsense_is_explained_too() {
    let groups = ["ranks", "refusals", "modes", "special-values", "second-gradients", "folding", "merging"];
    let mut goldens = goldens(&groups);
    let random = catalogue::with_random(3, 60).into_iter().filter(|entry| entry.case.group() == "random");
    goldens.extend(random.map(|entry| fixtures::solve(&entry)));
    let nonsense: [fn(&mut Outcome); 7] = [
        |outcome| outcome.fields.values_mut().for_each(|tensor| tensor.data.fill(f64::NAN)),
        |outcome| outcome.fields.values_mut().for_each(|tensor| tensor.data.fill(f64::INFINITY)),
        |outcome| outcome.fields.values_mut().for_each(|tensor| tensor.data.fill(0.0)),
        |outcome| outcome.fields.values_mut().for_each(|tensor| tensor.data.fill(-32768.0)),
        |outcome| outcome.fields.values_mut().for_each(|tensor| tensor.data.push(1.0)),
        |outcome| outcome.fields.values_mut().for_each(|tensor| tensor.shape.push(1)),
        |outcome| (outcome.refused, outcome.num_batches_tracked) = (None, Some(i64::MIN)),
    ];
    for (number, spoil) in nonsense.into_iter().enumerate() {
        let mut right = engines::constructor("batchnorm").unwrap()();
        let all = |_: &Case, outcomes: &mut Vec<Outcome>| outcomes.iter_mut().for_each(spoil);
        let reports = checked(&goldens, &mut Altered::new(right.as_mut(), all));
        let causes = causes(&goldens, &reports, || ());
        for (report, causes) in reports.iter().zip(&causes) {
            assert_eq!(report.failures().len(), causes.len(), "{number}: {}", report.case);
        }
        assert!(causes.iter().flatten().count() > 50, "{number}");
    }
}

#[test]
fn the_family_of_arithmetic_is_known() {
    assert!(mutants::is_arithmetic("one-pass") && !mutants::is_arithmetic("running-var-biased"));
}
