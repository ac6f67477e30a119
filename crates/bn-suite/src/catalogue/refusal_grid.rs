//! Every reason to refuse, alone and with every other one, in both modes; then
//! those of the input, for every kind of layer. Two reasons at once show the order
//! in which they are looked for, and with it whether the batch was counted; the
//! steps that follow show that the layer is unharmed.

use super::Entry;
use super::builder::{Script, script};
use super::fill::Fill;
use crate::case::Mode::{self, Eval, Train};
use crate::tensor::{DType, Tensor};

/// What is wrong with a step, or with the layer.
#[derive(Clone, Copy, PartialEq)]
enum Reason {
    Rank,
    CounterZero,
    OneValue,
    NegativeEps,
    ZeroEps,
    MoreChannels,
    LongWeight,
    NoRunningMean,
    NoRunningVar,
    AnotherDtype,
    Integers,
    GradOutputShape,
}

use Reason::*;

const REASONS: [Reason; 12] = [
    Rank,
    CounterZero,
    OneValue,
    NegativeEps,
    ZeroEps,
    MoreChannels,
    LongWeight,
    NoRunningMean,
    NoRunningVar,
    AnotherDtype,
    Integers,
    GradOutputShape,
];

/// Reasons that exclude each other: one number, one dtype.
const EXCLUSIVE: [(Reason, Reason); 2] = [(NegativeEps, ZeroEps), (AnotherDtype, Integers)];

/// The reasons that any layer can have.
const OF_ANY_LAYER: [Reason; 7] =
    [Rank, OneValue, NegativeEps, ZeroEps, MoreChannels, AnotherDtype, Integers];

/// Kinds of layers that lack something.
const LAYERS: [&str; 5] = ["untracked", "stopped", "without-buffers", "without-affine", "without-state"];

/// As many cases as this group promises: the reasons alone, those in pairs, and
/// some for each kind of layer.
pub const COUNT: usize = REASONS.len() + REASONS.len() * (REASONS.len() - 1) / 2 - EXCLUSIVE.len()
    + OF_ANY_LAYER.len() * LAYERS.len();

const GOOD: [usize; 2] = [4, 3];

pub(super) fn cases() -> Vec<Entry> {
    let alone = REASONS.iter().map(|&reason| {
        case(reason.name(), &format!("{}: refused where it matters.", reason.name()), &[reason], whole)
    });
    let pairs = REASONS.iter().enumerate().flat_map(|(at, &first)| {
        let others = REASONS[at + 1..].iter().map(move |&second| [first, second]);
        others.filter(|[first, second]| !EXCLUSIVE.contains(&(*first, *second))).map(|pair| {
            let names = pair.map(Reason::name).join("-and-");
            let note = format!("{names} at once: the one that PyTorch looks for first is reported.");
            case(&names, &note, &pair, whole)
        })
    });
    let kinds = LAYERS.iter().flat_map(|&kind| {
        OF_ANY_LAYER.iter().map(move |&reason| {
            let name = format!("{kind}-{}", reason.name());
            let note = format!("{}, to a layer {kind}: what it lacks cannot be at fault.", reason.name());
            case(&name, &note, &[reason], |layer| of_kind(layer, kind))
        })
    });
    alone.chain(pairs).chain(kinds).collect()
}

fn whole(layer: Script) -> Script {
    layer
}

fn of_kind(layer: Script, kind: &str) -> Script {
    match kind {
        "untracked" => layer.untracked(),
        "stopped" => layer.stop_tracking(),
        "without-buffers" => layer.no_buffers(),
        "without-affine" => layer.no_affine(),
        "without-state" => layer.untracked().no_affine(),
        other => unreachable!("no kind {other}"),
    }
}

/// Both modes with everything wrong, then both with only the layer wrong, if it is.
fn case(name: &str, note: &str, reasons: &[Reason], kind: impl Fn(Script) -> Script) -> Entry {
    let layer = kind(script(&format!("refusal-grid/{name}"), &GOOD, note).fill(Fill::Dense));
    let layer = reasons.iter().fold(layer, |layer, reason| reason.of_layer(layer));
    let layer = [Train, Eval].into_iter().fold(layer, |layer, mode| wrong(layer, mode, reasons));
    layer.batch(&GOOD).dtype(DType::F32).train().eval().generated()
}

fn wrong(layer: Script, mode: Mode, reasons: &[Reason]) -> Script {
    let has = |reason| reasons.contains(&reason);
    let n = if has(OneValue) { 1 } else { 4 };
    let c = if has(MoreChannels) { 5 } else { 3 };
    let shape = if has(Rank) { vec![n, c, 1, 1] } else { vec![n, c] };
    let dtype = match () {
        () if has(AnotherDtype) => DType::F64,
        () if has(Integers) => DType::I64,
        () => DType::F32,
    };
    let data = (0..n * c).map(|place| (place * 5 % 11) as f64 - 3.0).collect::<Vec<_>>();
    let layer = layer.batch(&shape).dtypes(dtype, DType::F32).forward_on(mode, &data);
    // In training the buffers have moved before PyTorch looks at grad_output, and an
    // engine that looks first is as right.
    if !has(GradOutputShape) || mode == Train {
        return layer;
    }
    let mut layer = layer.grad_of(&data);
    let grad_output = layer.last_pass().grad_output.as_mut().expect("given above");
    // The same values, channels first.
    *grad_output = Tensor::new(dtype, &[c, n], data);
    layer
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Rank => "rank",
            CounterZero => "counter-zero",
            OneValue => "one-value",
            NegativeEps => "negative-eps",
            ZeroEps => "zero-eps",
            MoreChannels => "more-channels",
            LongWeight => "long-weight",
            NoRunningMean => "no-running-mean",
            NoRunningVar => "no-running-var",
            AnotherDtype => "another-dtype",
            Integers => "integers",
            GradOutputShape => "grad-output-shape",
        }
    }

    /// The layer with what is wrong about it.
    fn of_layer(self, layer: Script) -> Script {
        match self {
            CounterZero => layer.cumulative().counter(Some(-1)),
            NegativeEps => layer.eps(-1.0),
            ZeroEps => layer.eps(0.0),
            LongWeight => layer.weight(&[1.5, -2.0, 0.5, 0.25]),
            NoRunningMean => layer.no_running_mean(),
            NoRunningVar => layer.no_running_var(),
            Rank | OneValue | MoreChannels | AnotherDtype | Integers | GradOutputShape => layer,
        }
    }
}
