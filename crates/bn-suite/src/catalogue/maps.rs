//! Folding into every kind of map: linear, convolutions and transposed ones of one
//! to three dimensions, in 1, 2 and 4 groups, with and without a bias; then every
//! combination of affine × dtypes before a linear map. A layer folds, trains, and
//! folds again.

use super::Entry;
use super::builder::{Script, script};
use super::dtypes::MIXES;
use super::fill::Fill;
use crate::case::FoldInto::{self, Conv, ConvTranspose, Linear};
use crate::outcome::Field;
use crate::tensor::DType;

/// Channels of the layer: two in each of four groups.
const CHANNELS: usize = 8;

/// Input channels of a map: as many as none of its other extents.
const INPUTS: usize = 12;

/// Kernels of one to three dimensions.
const KERNELS: [&[usize]; 3] = [&[3], &[3, 2], &[2, 1, 3]];

const GROUPS: [usize; 3] = [1, 2, 4];

const AFFINE: [&str; 4] = ["weight-and-bias", "weight", "bias", "neither"];

/// eps, from next to nothing to as much as the running variances.
const EPS: [f64; 3] = [1e-5, 0.0, 2.0];

/// As many cases as this group promises: two kinds of convolution × kernels ×
/// groups × bias, and affine × dtypes before a linear map.
pub const COUNT: usize = 2 * KERNELS.len() * GROUPS.len() * 2 + AFFINE.len() * MIXES.len();

/// Why the truth stands where libtorch folds 16-bit parameters.
const ROUNDED_FACTORS: &str = "libtorch folds by tensor operations, each rounded to the parameters' 16 bits: the root's inverse, its product with \
    the weight, and the product with the map. One rounding of the answer is enough.";

pub(super) fn cases() -> Vec<Entry> {
    convolutions().into_iter().chain(linear()).collect()
}

fn with_or_without(bias: bool) -> &'static str {
    if bias { "with-bias" } else { "without-bias" }
}

fn convolutions() -> Vec<Entry> {
    let mut entries = Vec::new();
    for (into, kind) in [(Conv, "conv"), (ConvTranspose, "transposed")] {
        for kernel in KERNELS {
            for groups in GROUPS {
                for bias in [true, false] {
                    let affine = AFFINE[entries.len() % AFFINE.len()];
                    let eps = EPS[entries.len() % EPS.len()];
                    let map = format!("{kind}{}d-groups-{groups}-{}", kernel.len(), with_or_without(bias));
                    let note = format!(
                        "{map}, before a layer with {affine} and eps = {eps}: each output channel of each group has its \
                         own factor, sign included."
                    );
                    // A layer of the convolution's rank, N and C before the kernel's axes.
                    let batch = [&[2, CHANNELS][..], kernel].concat();
                    let layer = script(&format!("maps/{map}"), &batch, &note).affine(affine).eps(eps);
                    entries.push(folded(layer, into, groups, kernel, bias, eps));
                }
            }
        }
    }
    entries
}

fn linear() -> Vec<Entry> {
    let mut entries = Vec::new();
    for (dtypes, input, parameters) in MIXES {
        for affine in AFFINE {
            let (eps, bias) = (EPS[entries.len() % EPS.len()], entries.len() % 5 < 3);
            let map = format!("linear-{dtypes}-{affine}-{}", with_or_without(bias));
            let note = format!(
                "{map}, eps = {eps}: rows are scaled in the parameters' precision and rounded once to the map's."
            );
            let layer = script(&format!("maps/{map}"), &[5, CHANNELS], &note).dtypes(input, parameters);
            let layer = layer.affine(affine).eps(eps);
            let layer = if matches!(parameters, DType::F16 | DType::Bf16) {
                let fields = [Field::FoldedWeight, Field::FoldedBias];
                layer.sometimes_disputed_by_libtorch(&fields, ROUNDED_FACTORS)
            } else {
                layer
            };
            entries.push(folded(layer, Linear, 1, &[], bias, eps));
        }
    }
    entries
}

/// Fold, train where eps allows it, fold again, evaluate.
fn folded(layer: Script, into: FoldInto, groups: usize, kernel: &[usize], bias: bool, eps: f64) -> Entry {
    let leading = match into {
        Linear | Conv => [CHANNELS, INPUTS / groups],
        ConvTranspose => [INPUTS, CHANNELS / groups],
    };
    let shape = [&leading, kernel].concat();
    let layer = layer.fill(Fill::Dense).fold(into, groups, &shape, bias);
    let layer = if eps > 0.0 { layer.train() } else { layer };
    layer.fold(into, groups, &shape, bias).eval().generated()
}
