//! Does the catalogue ask about everything? Each test fails on a gap and lists it.
//!
//! A case is good for something only if it can fail: it must have a note that
//! says what a failure means, data that its dtypes hold, and allowances that a
//! wrong answer would exceed.

use std::collections::{BTreeMap, BTreeSet};

use bn_suite::capability::Capability;
use bn_suite::case::{Case, Mode, Pass, Step};
use bn_suite::catalogue::{self, Entry, GROUPS};
use bn_suite::golden::ExpectedField;
use bn_suite::model::Grade;
use bn_suite::outcome::RefusalKind;
use bn_suite::tensor::{DType, Layout, Tensor};
use bn_suite::truth;

/// The issue asks for 200 stored cases.
const LEAST_STORED: usize = 200;

/// A note of fewer letters cannot say what a failure means.
const LEAST_NOTE: usize = 30;

fn passes(case: &Case) -> impl Iterator<Item = &Pass> {
    case.steps.iter().filter_map(|step| match step {
        Step::BatchNorm(pass) => Some(pass.as_ref()),
        _ => None,
    })
}

fn assert_empty<T: std::fmt::Debug>(gaps: &[T], what: &str) {
    assert!(gaps.is_empty(), "{} {what}:\n{gaps:#?}", gaps.len());
}

#[test]
fn there_are_enough_cases_in_every_group() {
    let entries = catalogue::all();
    let stored = entries.iter().filter(|entry| entry.stored).count();
    assert!(stored >= LEAST_STORED, "{stored} stored cases");
    let groups: BTreeSet<&str> = entries.iter().map(|entry| entry.case.group()).collect();
    assert_eq!(groups, BTreeSet::from(GROUPS), "the groups that have cases, and those that are announced");
}

#[test]
fn names_are_unique_and_speak() {
    let mut names = BTreeMap::<String, usize>::new();
    for entry in catalogue::all() {
        *names.entry(entry.case.name).or_default() += 1;
    }
    let twice: Vec<_> = names.iter().filter(|(_, count)| **count > 1).collect();
    assert_empty(&twice, "names given more than once");
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-./".contains(c);
    let odd: Vec<_> =
        names.keys().filter(|name| !name.chars().all(allowed) || name.matches('/').count() != 1).collect();
    assert_empty(&odd, "names that are not group/fault in small letters");
}

#[test]
fn every_case_says_why_it_exists() {
    let mut notes = BTreeMap::<String, Vec<String>>::new();
    for Entry { case, disputed, .. } in catalogue::all() {
        if let Some(dispute) = disputed {
            assert!(dispute.note.len() > LEAST_NOTE, "{}: the dispute says too little", case.name);
        }
        notes.entry(case.note).or_default().push(case.name);
    }
    let short: Vec<_> =
        notes.iter().filter(|(note, _)| note.len() < LEAST_NOTE || !note.ends_with('.')).collect();
    assert_empty(&short, "notes that say too little, or are no sentence");
    let shared: Vec<_> = notes.iter().filter(|(_, names)| names.len() > 1).collect();
    assert_empty(&shared, "notes that several cases share");
}

#[test]
fn every_array_holds_values_of_its_dtype() {
    let mut faults = Vec::new();
    for Entry { case, .. } in catalogue::all() {
        let parts = case.steps.iter().flat_map(|step| match step {
            Step::Merge { parts } => parts.iter().collect::<Vec<&Tensor>>(),
            Step::Fold(fold) => fold.bias.iter().chain([&fold.weight]).collect(),
            _ => Vec::new(),
        });
        let of_passes = passes(&case).flat_map(|pass| {
            let cotangents =
                pass.cotangents.iter().flat_map(|c| [&c.grad_input, &c.grad_weight, &c.grad_bias]);
            cotangents.flatten().chain(&pass.grad_output).chain([&pass.input])
        });
        let tensors = case.state.tensors().chain(parts).chain(of_passes);
        faults.extend(tensors.filter_map(Tensor::problem).map(|problem| format!("{}: {problem}", case.name)));
    }
    assert_empty(&faults, "arrays that are none");
}

#[test]
fn every_capability_is_needed_by_some_case() {
    let needed: BTreeSet<Capability> =
        catalogue::all().iter().flat_map(|entry| entry.case.requires()).collect();
    let gaps: Vec<_> = Capability::all().difference(&needed).copied().collect();
    assert_empty(&gaps, "capabilities that no case needs");
}

#[test]
fn every_refusal_is_provoked_in_both_modes() {
    let mut seen = BTreeSet::new();
    for Entry { case, stored, .. } in catalogue::all() {
        if !stored {
            continue;
        }
        for (step, expected) in case.steps.iter().zip(truth::solve(&case)) {
            if let (Step::BatchNorm(pass), Some(kind)) = (step, expected.refused) {
                seen.insert((kind, pass.mode == Mode::Train));
            }
        }
    }
    use RefusalKind::*;
    let both =
        [Rank, TooFewValues, Eps, RunningStats, NumFeatures, Dtype].map(|kind| [(kind, true), (kind, false)]);
    // The counter is divided by in training only; the shape of a gradient is no matter of the mode.
    let wanted = both.concat().into_iter().chain([(CounterZero, true), (Shape, false)]);
    let gaps: Vec<_> = wanted.filter(|wanted| !seen.contains(wanted)).collect();
    assert_empty(&gaps, "refusals (in training: true) that no case provokes");
}

/// The dimensions of the grid, as words, of a pass and the layer around it.
fn corner(case: &Case, pass: &Pass) -> [String; 6] {
    let mode = format!("{:?}", pass.mode).to_lowercase();
    let affine = match (&case.state.weight, &case.state.bias) {
        (Some(_), Some(_)) => "weight-and-bias",
        (Some(_), None) => "weight",
        (None, Some(_)) => "bias",
        (None, None) => "neither",
    };
    let tracking = if case.layer.track_running_stats { "tracked" } else { "untracked" };
    let rank = match pass.input.shape.len() {
        2 => "n-c",
        3 => "n-c-l",
        4 => "4d",
        5 => "5d",
        _ => "more",
    };
    let parameters = case.state.dtypes().first().copied().unwrap_or(pass.input.dtype);
    let dtypes = format!("{}-with-{}", pass.input.dtype.name(), parameters.name());
    let layout = match pass.input.layout {
        Layout::Contiguous => "contiguous",
        Layout::ChannelsLast => "channels_last",
        Layout::Strided { .. } => "strided",
    };
    [mode, affine.into(), tracking.into(), rank.into(), dtypes, layout.into()]
}

/// The corners of the full grid that exist: channels last is for ranks 4 and 5,
/// and a layer without any state has no parameters of another dtype.
fn grid() -> Vec<[String; 6]> {
    let mixes = [
        (DType::F64, DType::F64),
        (DType::F32, DType::F32),
        (DType::F16, DType::F32),
        (DType::Bf16, DType::F32),
        (DType::F16, DType::F16),
        (DType::Bf16, DType::Bf16),
    ];
    let mut corners = Vec::new();
    for mode in ["train", "eval"] {
        for affine in ["weight-and-bias", "weight", "bias", "neither"] {
            for tracking in ["tracked", "untracked"] {
                for rank in ["n-c", "n-c-l", "4d", "5d"] {
                    for (input, parameters) in mixes {
                        for layout in ["contiguous", "channels_last", "strided"] {
                            let flat = rank.starts_with('n');
                            let stateless = affine == "neither" && tracking == "untracked";
                            if (layout == "channels_last" && flat) || (stateless && input != parameters) {
                                continue;
                            }
                            let dtypes = format!("{}-with-{}", input.name(), parameters.name());
                            corners.push([mode, affine, tracking, rank, &dtypes, layout].map(str::to_owned));
                        }
                    }
                }
            }
        }
    }
    corners
}

#[test]
fn every_corner_of_the_grid_is_visited_with_gradients() {
    let entries = catalogue::all();
    let with_gradients = |case: &Case| {
        let asked = passes(case).filter(|pass| pass.grad_output.is_some());
        asked.map(|pass| corner(case, pass)).collect::<Vec<_>>()
    };
    let visited: BTreeSet<[String; 6]> =
        entries.iter().flat_map(|entry| with_gradients(&entry.case)).collect();
    let corners = grid();
    // 2·4·2·6 settings × (2·2 + 2·3) rank-layout pairs, less 2 mixes without state in 2 modes.
    assert_eq!(corners.len(), 96 * 10 - 2 * 2 * 10);
    let gaps: Vec<String> =
        corners.iter().filter(|corner| !visited.contains(*corner)).map(|corner| corner.join(" ")).collect();
    assert_empty(&gaps, "combinations that no case visits with gradients");
}

/// Every single value of every dimension is also in a committed fixture.
#[test]
fn every_value_of_every_dimension_is_in_a_fixture() {
    let entries = catalogue::all();
    let stored = entries.iter().filter(|entry| entry.stored);
    let visited: BTreeSet<(usize, String)> = stored
        .flat_map(|entry| {
            passes(&entry.case).flat_map(|pass| corner(&entry.case, pass).into_iter().enumerate())
        })
        .collect();
    let wanted: BTreeSet<(usize, String)> =
        grid().into_iter().flat_map(|corner| corner.into_iter().enumerate()).collect();
    let gaps: Vec<_> = wanted.difference(&visited).collect();
    assert_empty(&gaps, "values of a dimension that no fixture has");
}

/// Where f32 sums overflow, and the grade *conforms* promises nothing.
const ONLY_FOR_THE_ACCURATE: [&str; 1] = ["accuracy/squares-overflow-in-sum"];

/// No question is asked whose every answer is right: allowances are finite, and
/// in each array some element must be right to a quarter of the largest one. A
/// case that asks it only for the grade *accurate* is named above.
#[test]
fn every_array_can_be_wrong() {
    let stored: Vec<Case> =
        catalogue::all().into_iter().filter(|entry| entry.stored).map(|entry| entry.case).collect();
    let vacuous = |grade: Grade| -> Vec<(&str, String)> {
        let arrays = |case| {
            let steps = truth::solve_for(case, grade.model());
            let fields = steps.into_iter().enumerate().flat_map(|(step, expected)| {
                expected.fields.into_iter().map(move |(name, field)| (step, name, field))
            });
            fields.collect::<Vec<_>>()
        };
        let of_case = |case| {
            arrays(case).into_iter().filter_map(move |(step, field, expected)| {
                vacuity(&expected).map(|why| (case.name.as_str(), format!("step {step}, {field}: {why}")))
            })
        };
        stored.iter().flat_map(of_case).collect()
    };
    assert_empty(&vacuous(Grade::Accurate), "arrays that no answer could get wrong");
    let (known, unknown): (Vec<_>, Vec<_>) =
        vacuous(Grade::Conforms).into_iter().partition(|(name, _)| ONLY_FOR_THE_ACCURATE.contains(name));
    assert_empty(&unknown, "arrays that no answer could get wrong and still conform");
    let gone: Vec<_> =
        ONLY_FOR_THE_ACCURATE.iter().filter(|name| known.iter().all(|(known, _)| known != *name)).collect();
    assert_empty(&gone, "cases that are not vacuous any more");
}

fn vacuity(field: &ExpectedField) -> Option<String> {
    let pairs = field.value.data.iter().zip(&field.allowance).filter(|(value, _)| value.is_finite());
    if let Some((value, allowance)) = pairs.clone().find(|(_, allowance)| !allowance.is_finite()) {
        return Some(format!("{value} ± {allowance}"));
    }
    let largest = pairs.clone().map(|(value, _)| value.abs()).fold(0.0, f64::max);
    let least = pairs.map(|(_, allowance)| *allowance).fold(f64::INFINITY, f64::min);
    (largest > 0.0 && least > largest / 4.0).then(|| format!("at most {largest}, allowance at least {least}"))
}

/// Σg = 0 or Σg·x̂ = 0 would hide a lost term: gradients are asked under a
/// grad_output that is not uniform, but for the few cases that are about that, and
/// random ones of two or three values.
#[test]
fn grad_outputs_are_not_uniform() {
    let about_it = ["gradients/uniform", "gradients/zero", "gradients/eval-uniform"];
    let uniform = |grad: &Tensor| grad.len() > 1 && grad.data.windows(2).all(|pair| pair[0] == pair[1]);
    let entries = catalogue::all();
    let gaps: Vec<&str> = entries
        .iter()
        .filter(|entry| passes(&entry.case).any(|pass| pass.grad_output.as_ref().is_some_and(uniform)))
        .map(|entry| entry.case.name.as_str())
        .filter(|name| !about_it.contains(name) && !name.starts_with("random/"))
        .collect();
    assert_empty(&gaps, "cases with a uniform grad_output");
}
