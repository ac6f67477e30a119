//! The generated groups: do they hold as many cases as they promise, and can
//! every case tell right from wrong? The lint that says so is itself tested, on
//! fills that other test suites use.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use bn_suite::case::{Case, Mode, Pass, Step};
use bn_suite::catalogue::{self, Entry, random};
use bn_suite::lint::{Flaw, FlawKind, lint, sums_are_exact};
use bn_suite::tensor::{DType, Layout, Tensor};
use bn_suite::truth;
use common::gradient_case;

/// What a case may be found to have, because it is about that.
struct Exception {
    /// A case's name, or how the names begin.
    cases: &'static str,
    flaws: &'static [&'static str],
    reason: &'static str,
}

const fn exception(cases: &'static str, flaws: &'static [&'static str], reason: &'static str) -> Exception {
    Exception { cases, flaws, reason }
}

const EXCEPTIONS: [Exception; 16] = [
    exception(
        "digits/",
        &["zero channel", "sparse", "alike"],
        "scans of digits, whose corners are always empty",
    ),
    exception("edge/", &["inexact"], "values side by side at the end of a format have all their bits in use"),
    exception("random/", &["vacuous"], "few values, or one; the share of these is bounded below"),
    exception("gradients/uniform", &["vacuous"], "about a uniform grad_output: the gradients are 0"),
    exception("gradients/constant-channel", &["vacuous"], "x̂ = 0: grad_weight is 0"),
    exception("second-gradients/constant-channel", &["vacuous"], "x̂ = 0: grad_weight is 0"),
    exception("merging/constant", &["vacuous"], "the variance is 0"),
    exception(
        "specials/",
        &["inexact"],
        "sums with NaN, ∞ or the largest number are not exact in any format",
    ),
    exception("histories/momentum-infinite", &["vacuous"], "∞ or NaN: either form of the update is right"),
    exception("momentum/infinite", &["vacuous"], "∞ or NaN: either form of the update is right"),
    exception("accuracy/constant", &["vacuous"], "variance and grad_weight are 0; the output is not"),
    exception("accuracy/f64-constant", &["vacuous"], "variance and grad_weight are 0; the output is not"),
    exception("accuracy/f16-constant", &["vacuous"], "grad_weight is 0; the output is not"),
    exception(
        "accuracy/mean-1e",
        &["vacuous"],
        "far from 0 f32 statistics lose grad_input; NaN does not pass",
    ),
    exception("accuracy/bf16-throughout-far", &["vacuous"], "8 bits at 4 deviations: grad_weight is lost"),
    exception(
        "accuracy/squares-overflow-in-sum",
        &["vacuous"],
        "asked of the grade accurate: f32 sums overflow",
    ),
];

fn kind(flaw: &Flaw) -> &'static str {
    match flaw.kind {
        FlawKind::ZeroChannel(_) => "zero channel",
        FlawKind::Sparse(_) => "sparse",
        FlawKind::ZeroMean(_) => "zero mean",
        FlawKind::Alike(..) => "alike",
        FlawKind::Inexact(_) => "inexact",
        FlawKind::Vacuous { .. } => "vacuous",
    }
}

/// In a stored case the data are chosen by hand, and its note says why; that its
/// answers can be wrong is asked of it all the same.
#[test]
fn every_case_can_tell_right_from_wrong() {
    let (mut flaws, mut needed) = (Vec::new(), BTreeSet::new());
    for Entry { case, stored, .. } in catalogue::all() {
        for flaw in lint(&case, &truth::solve(&case)) {
            if stored && kind(&flaw) != "vacuous" {
                continue;
            }
            let excepts = |exception: &Exception| {
                case.name.starts_with(exception.cases) && exception.flaws.contains(&kind(&flaw))
            };
            match EXCEPTIONS.iter().position(excepts) {
                Some(index) => _ = needed.insert(index),
                None => flaws.push(format!("{}: {flaw}", case.name)),
            }
        }
    }
    assert!(flaws.is_empty(), "{} flaws:\n{}", flaws.len(), flaws.join("\n"));
    for (index, Exception { cases, reason, .. }) in EXCEPTIONS.iter().enumerate() {
        assert!(needed.contains(&index), "no case {cases}* needs its exception any more: {reason}");
    }
}

/// One field in twenty of the random cases may be vacuous by chance, not more.
#[test]
fn random_cases_are_rarely_vacuous() {
    let (mut fields, mut vacuous) = (0, 0);
    for Entry { case, .. } in random::cases(random::SEED, random::COUNT) {
        let expected = truth::solve(&case);
        fields += expected.iter().map(|expected| expected.fields.len()).sum::<usize>();
        vacuous += lint(&case, &expected).iter().filter(|flaw| kind(flaw) == "vacuous").count();
    }
    println!("{vacuous} of {fields} fields are vacuous");
    assert!(vacuous * 20 <= fields, "{vacuous} of {fields} fields are vacuous");
}

#[test]
fn every_generated_group_keeps_its_promise() {
    let promised = [
        ("combinations", catalogue::COMBINATIONS_COUNT),
        ("edge", catalogue::EDGE_COUNT),
        ("spaced", catalogue::SPACED_COUNT),
        ("specials", catalogue::SPECIALS_COUNT),
        ("refusal-grid", catalogue::REFUSAL_GRID_COUNT),
        ("histories", catalogue::HISTORIES_COUNT),
        ("cotangents", catalogue::COTANGENTS_COUNT),
        ("maps", catalogue::MAPS_COUNT),
        ("parts", catalogue::PARTS_COUNT),
        ("random", random::COUNT),
    ];
    let mut counts = BTreeMap::<String, usize>::new();
    for entry in catalogue::all() {
        let group = entry.case.group();
        let generated = promised.iter().any(|(promising, _)| *promising == group);
        assert!(!(generated && entry.stored), "{} is stored", entry.case.name);
        *counts.entry(group.to_owned()).or_default() += 1;
    }
    for (group, count) in promised {
        assert_eq!(counts.get(group), Some(&count), "{group}");
    }
}

/// Wherever sizes are the question, all sums are exact in f32, in any order: what
/// differs is wrong.
#[test]
fn sums_over_every_size_are_exact() {
    let mut largest = 0;
    for Entry { case, .. } in catalogue::all() {
        if case.group() != "spaced" {
            continue;
        }
        for pass in passes(&case) {
            for array in [Some(&pass.input), pass.grad_output.as_ref()].into_iter().flatten() {
                let channels = by_channel(array);
                largest = largest.max(channels[0].len());
                let inexact = channels.iter().position(|channel| !sums_are_exact(channel));
                assert_eq!(inexact, None, "{}", case.name);
            }
        }
    }
    assert_eq!(largest, 1 << 22);
}

fn passes(case: &Case) -> impl Iterator<Item = &Pass> {
    case.steps.iter().filter_map(|step| match step {
        Step::BatchNorm(pass) => Some(pass.as_ref()),
        _ => None,
    })
}

fn by_channel(array: &Tensor) -> Vec<Vec<f64>> {
    let inner: usize = array.shape[2..].iter().product();
    let mut channels = vec![Vec::new(); array.shape[1]];
    for (place, value) in array.data.iter().enumerate() {
        channels[place / inner % array.shape[1]].push(*value);
    }
    channels
}

/// A case without flaws, changed in one pass.
fn flaws_of(change: impl Fn(&mut Pass)) -> Vec<String> {
    let mut case = gradient_case(&[4, 3, 2, 3], Mode::Train, (true, true), Layout::Contiguous);
    let [Step::BatchNorm(pass)] = case.steps.as_mut_slice() else { panic!("one pass") };
    change(pass);
    let flaws = lint(&case, &truth::solve(&case));
    flaws.iter().map(Flaw::to_string).collect()
}

#[test]
fn the_lint_lets_a_good_case_pass() {
    assert_eq!(flaws_of(|_| {}), [] as [&str; 0]);
}

/// Benchmarks fill one value in so many, so that sums stay exact in low precision;
/// with few values per channel whole channels are 0.
#[test]
fn a_sparse_fill_is_flagged() {
    let flaws = flaws_of(|pass| {
        pass.input
            .data
            .iter_mut()
            .enumerate()
            .filter(|(i, _)| i % 7 != 0)
            .for_each(|(_, value)| *value = 0.0);
    });
    assert!(flaws.iter().any(|flaw| flaw.starts_with("step 0, input: only 15 %")), "{flaws:#?}");
}

#[test]
fn a_channel_of_zeros_is_flagged_in_input_and_gradient() {
    let blank = |data: &mut Vec<f64>| data[6..12].fill(0.0);
    for (name, is_input) in [("input", true), ("grad_output", false)] {
        let flaws = flaws_of(|pass| {
            let array = if is_input { &mut pass.input } else { pass.grad_output.as_mut().unwrap() };
            // Channel 1 of each of four samples.
            for sample in array.data.chunks_mut(18) {
                let mut values = sample.to_vec();
                blank(&mut values);
                sample.copy_from_slice(&values);
            }
        });
        let wanted = format!("step 0, {name}: channel 1 is 0 throughout");
        assert!(flaws.contains(&wanted), "{flaws:#?}");
    }
}

/// A sum as the loss: grad_output is 1 everywhere, grad_input truly 0, and so is
/// grad_weight. Every engine that answers something small is within its allowance.
#[test]
fn a_sum_loss_is_flagged() {
    let flaws = flaws_of(|pass| {
        pass.cotangents = None;
        pass.grad_output.as_mut().unwrap().data.fill(1.0);
    });
    for field in ["grad_input", "grad_weight"] {
        assert!(
            flaws.iter().any(|flaw| flaw.starts_with(&format!("step 0, {field}: vacuous: 0 of"))),
            "{flaws:#?}"
        );
    }
}

#[test]
fn a_mean_of_zero_and_equal_channels_are_flagged() {
    let flaws = flaws_of(|pass| {
        for sample in pass.input.data.chunks_mut(18) {
            sample[..6].copy_from_slice(&[1.0, -1.0, 2.0, -2.0, 3.0, -3.0]);
            sample.copy_within(0..6, 12);
        }
    });
    for wanted in ["step 0, input: channel 0 has the mean 0", "step 0, input: channels 0 and 2 are alike"] {
        assert!(flaws.iter().any(|flaw| flaw == wanted), "{flaws:#?}");
    }
}

/// 16-bit values whose squares do not add up exactly in f32.
#[test]
fn inexact_sums_in_16_bits_are_flagged() {
    let flaws = flaws_of(|pass| {
        pass.input.dtype = DType::Bf16;
        for (place, value) in pass.input.data.iter_mut().enumerate() {
            *value = if place % 2 == 0 { 255.0 } else { 255.0 / 4096.0 };
        }
    });
    assert!(flaws.is_empty(), "a mix that is refused is not linted: {flaws:#?}");
    let case = gradient_case(&[4, 3, 2, 3], Mode::Train, (false, false), Layout::Contiguous);
    let [Step::BatchNorm(pass)] = case.steps.as_slice() else { panic!("one pass") };
    let data: Vec<f64> =
        (0..pass.input.len()).map(|place| if place % 2 == 0 { 255.0 } else { 255.0 / 4096.0 }).collect();
    let input = Tensor::new(DType::Bf16, &pass.input.shape, data);
    let mut state = case.state.clone();
    state.running_mean = None;
    state.running_var = None;
    let case =
        Case { state, steps: vec![Step::BatchNorm(Box::new(Pass::forward(Mode::Train, input)))], ..case };
    let flaws = lint(&case, &truth::solve(&case));
    assert!(flaws.iter().any(|flaw| flaw.kind == FlawKind::Inexact(0)), "{flaws:#?}");
}
