//! Sizes: every extent that has a tail of its own modulo 4, 8, 16, 32 or 64, for
//! each of N, C and the spatial axes in turn; then sizes past which an engine may
//! take another path; then a few giants.
//!
//! A kernel that works in vectors, blocks or threads is right on the sizes that
//! its author tried. What it drops is the last partial vector, the row between two
//! blocks, the partial sum of a thread: visible only where the extent leaves a
//! remainder, or exceeds a threshold. The data are exact and dense
//! ([`super::exact`]), so that a value left out is never a 0, and so that a plain
//! f32 engine that leaves nothing out is right.

use super::Entry;
use super::arrangement::Arrangement::{
    self, ChannelsLast, Contiguous, EverySecond, FirstFastest, Rows, SomeChannels,
};
use super::builder::script;
use super::dtypes::MIXES;
use super::fill::Fill;
use crate::tensor::DType;

/// The extents that each axis takes in turn.
const EXTENTS: [usize; 31] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1000, 1023,
    1024, 1025, 4095, 4096, 4097,
];

/// From here on a case has two channels, and asks for gradients in training only.
const LARGE: usize = 1000;

/// (n, whether gradients are asked for), along N alone and along L alone. n + 1
/// has a tail; its variance is no power of two, and long sums of rounded products
/// are not asked of plain recursion.
const LONG: [(usize, bool); 4] = [(8192, true), (16385, false), (65536, true), (131_073, false)];

/// Shapes of many channels of many values, C·n = 2¹⁵.
const PRODUCTS: [[usize; 4]; 3] = [[4, 32, 16, 16], [8, 256, 4, 4], [2, 2048, 2, 4]];

/// As many cases as this group promises: f32 for every extent of every axis, the
/// other mixes of dtypes for every extent of one axis, f32 forward alone, long axes,
/// products in two memory orders, giants.
pub const COUNT: usize = 3 * EXTENTS.len()
    + EXTENTS.len()
    + 2 * EXTENTS.len() * AXES.len()
    + 2 * LONG.len()
    + 2 * PRODUCTS.len()
    + 3;

pub(super) fn cases() -> Vec<Entry> {
    [tails(), forward_alone(), long(), products(), giants()].concat()
}

/// The axis whose extent a case is about.
#[derive(Clone, Copy, PartialEq)]
enum Axis {
    Batch,
    Channels,
    Spatial,
}

const AXES: [Axis; 3] = [Axis::Batch, Axis::Channels, Axis::Spatial];

impl Axis {
    fn name(self) -> &'static str {
        match self {
            Axis::Batch => "n",
            Axis::Channels => "c",
            Axis::Spatial => "spatial",
        }
    }

    /// A shape with this extent along the axis, of rank 2 to 5 in turn. A channel
    /// has at least five values: with two, x̂ is ±1 whatever they are, and
    /// grad_input is nearly 0.
    fn shape(self, extent: usize, turn: usize) -> Vec<usize> {
        let large = extent >= LARGE;
        let c = if large { 2 } else { 3 };
        let n = if extent < 3 { 5 } else { 2 };
        match self {
            Axis::Batch => {
                let (width, height) = if large { (2, 1) } else { (3, 2) };
                match turn % 4 {
                    0 if extent >= 5 => vec![extent, c],
                    0 | 1 => vec![extent, c, 5],
                    2 => vec![extent, c, height, width + usize::from(!large)],
                    _ => vec![extent, c, width, 1, height + 1],
                }
            }
            Axis::Channels => match turn % 4 {
                0 => vec![5, extent],
                1 => vec![2, extent, 3],
                2 => vec![2, extent, 2, 2],
                _ => vec![2, extent, 1, 2, 2],
            },
            Axis::Spatial => match turn % 6 {
                0 => vec![n, c, extent],
                1 => vec![n, c, 2, extent],
                2 => vec![n, c, extent, 2],
                3 => vec![n, c, extent, 1, 2],
                4 => vec![n, c, 1, extent, 2],
                _ => vec![n, c, 2, 1, extent],
            },
        }
    }
}

fn tails() -> Vec<Entry> {
    let others: Vec<_> = MIXES.into_iter().filter(|(name, ..)| *name != "f32").collect();
    let mut entries = Vec::new();
    for (turn, extent) in EXTENTS.into_iter().enumerate() {
        for axis in AXES {
            entries.push(tail(axis, extent, turn, ("f32", DType::F32, DType::F32)));
        }
        let axis = AXES[turn / others.len() % AXES.len()];
        entries.push(tail(axis, extent, turn + 1, others[turn % others.len()]));
    }
    entries
}

/// A training step and an evaluation, in two arrangements, with gradients.
fn tail(axis: Axis, extent: usize, turn: usize, mix: (&str, DType, DType)) -> Entry {
    let (dtypes, input, parameters) = mix;
    let shape = axis.shape(extent, turn);
    let ways = arrangements(&shape, turn + axis as usize, input);
    let name = format!("spaced/{dtypes}-{}-{extent}", axis.name());
    let note = format!(
        "{dtypes}, {shape:?}, {:?} in training and {:?} in evaluation: what is left of {extent} after vectors, \
         blocks and threads have their share is normalised too.",
        ways[0], ways[1]
    );
    let trained = script(&name, &shape, &note).dtypes(input, parameters).fill(Fill::Dense);
    let evaluated = trained.arranged(ways[0]).train().grad_exact().arranged(ways[1]).eval();
    if extent < LARGE { evaluated.grad_exact().generated() } else { evaluated.generated() }
}

/// The same extents for an engine that has no gradients and no strides, and takes
/// rows or images alone.
fn forward_alone() -> Vec<Entry> {
    let case = |axis: Axis, extent: usize, kind: &str, shape: &[usize]| {
        let name = format!("spaced/forward-{kind}-{}-{extent}", axis.name());
        let note = format!("Forward alone, {shape:?}: the tail of {extent}, in training and in evaluation.");
        script(&name, shape, &note).fill(Fill::Dense).train().eval().generated()
    };
    let of_extent = |extent: usize| {
        // A channel has at least five values, as in the cases with gradients.
        let n = if extent < 5 { 5 } else { 1 };
        let small = if extent < LARGE { 2 } else { 1 };
        let rows = [
            (Axis::Batch, if extent < 5 { vec![extent, 3, n] } else { vec![extent, 3] }),
            (Axis::Channels, vec![5, extent]),
            (Axis::Spatial, vec![n, 3, extent]),
        ];
        let images = [
            (Axis::Batch, vec![extent, 3, small, 5]),
            (Axis::Channels, vec![2, extent, 2, 2]),
            (Axis::Spatial, vec![2, 3, n, extent]),
        ];
        let of_kind = |kind: &'static str, shapes: [(Axis, Vec<usize>); 3]| {
            shapes.map(|(axis, shape)| case(axis, extent, kind, &shape)).to_vec()
        };
        [of_kind("1d", rows), of_kind("2d", images)].concat()
    };
    EXTENTS.into_iter().flat_map(of_extent).collect()
}

/// An ordinary arrangement and another one, by turns the one first. Strided input
/// in 16 bits is left to other groups, and so are strides along an axis of extent
/// 1: libtorch is known to fail there, and sizes are the question here.
fn arrangements(shape: &[usize], turn: usize, input: DType) -> [Arrangement; 2] {
    let is_image = shape.len() >= 4;
    let strided = [Rows, FirstFastest, EverySecond, SomeChannels][turn / 2 % 4];
    let short = matches!(input, DType::F16 | DType::Bf16);
    let other = match turn % 3 {
        0 | 1 if is_image => ChannelsLast,
        _ if short || (is_image && shape.contains(&1)) => Contiguous,
        _ => strided,
    };
    if turn.is_multiple_of(2) { [Contiguous, other] } else { [other, Contiguous] }
}

fn long() -> Vec<Entry> {
    let case = |(n, gradients): (usize, bool), axis: Axis| {
        let shape = if axis == Axis::Batch { vec![n, 1] } else { vec![1, 1, n] };
        let name = format!("spaced/long-{}-{n}", axis.name());
        let asked = if gradients { "with gradients, and an evaluation" } else { "forward" };
        let note = format!(
            "n = {n} in {shape:?}, {asked}: sizes past which engines change to blocks or threads. Every sum is \
             exact in f32, in any order."
        );
        let trained = script(&name, &shape, &note).eps(2.0).fill(Fill::Balanced).train();
        if gradients { trained.grad_exact().eval().generated() } else { trained.generated() }
    };
    LONG.into_iter().flat_map(|length| [Axis::Batch, Axis::Spatial].map(|axis| case(length, axis))).collect()
}

fn products() -> Vec<Entry> {
    let case = |shape: [usize; 4], arrangement: Arrangement, order: &str| {
        let [n, c, h, w] = shape;
        let per_channel = n * h * w;
        let name = format!("spaced/{c}-channels-of-{per_channel}-{order}");
        let note = format!(
            "{c} channels of {per_channel} values, {order}: work is divided by channels, by values, or both, and \
             no channel is done twice or left out."
        );
        let layer = script(&name, &shape, &note).fill(Fill::Dense).arranged(arrangement);
        layer.train().grad_exact().generated()
    };
    let orders = [(Contiguous, "contiguous"), (ChannelsLast, "channels-last")];
    PRODUCTS.into_iter().flat_map(|shape| orders.map(|(way, order)| case(shape, way, order))).collect()
}

fn giants() -> Vec<Entry> {
    let giant = |name: &str, shape: &[usize], note: &str| {
        script(&format!("spaced/{name}"), shape, note).eps(2.0).fill(Fill::Balanced).train()
    };
    vec![
        giant(
            "million-n",
            &[1 << 20, 1],
            "n = 2²⁰ along N: counts and sums beyond what 16 bits, or a block, can hold. Every sum is exact in f32.",
        )
        .grad_exact()
        .generated(),
        giant(
            "million-spatial",
            &[1, 1, 1 << 20],
            "n = 2²⁰ in one sample: the spatial loop is divided, not only that over samples. Every sum is exact in f32.",
        )
        .grad_exact()
        .generated(),
        giant(
            "four-million",
            &[4, 1, 1024, 1024],
            "n = 2²² with mean 1 and variance 2: Σx and Σ(x − μ)² reach 2²² and 2²³, exact in f32 in any order.",
        )
        .generated(),
    ]
}
