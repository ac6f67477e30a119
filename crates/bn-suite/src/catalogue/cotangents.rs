//! Second gradients under every subset of the cotangents u, v, t, for every layer
//! that has them, in training and in evaluation. What a cotangent does not reach
//! is exactly 0, and what it reaches is wrong without it.

use super::Entry;
use super::builder::{Script, script};
use super::fill::Fill;
use super::second_gradients::BIAS_ALONE;
use crate::case::Mode::{Eval, Train};
use crate::outcome::Field;
use crate::tensor::DType;

/// What a layer has, and which of u, v, t it can be asked with.
const ASKED: [(&str, &[(bool, bool, bool)]); 4] = [
    (
        "weight-and-bias",
        &[
            (true, false, false),
            (false, true, false),
            (false, false, true),
            (true, true, false),
            (true, false, true),
            (false, true, true),
            (true, true, true),
        ],
    ),
    ("weight", &[(true, false, false), (false, true, false), (true, true, false)]),
    ("bias", &[(true, false, false), (false, false, true), (true, false, true)]),
    ("neither", &[(true, false, false)]),
];

/// As many cases as this group promises: 14 askings, in two modes, in f64 and f32.
pub const COUNT: usize = (7 + 3 + 3 + 1) * 2 * 2;

pub(super) fn cases() -> Vec<Entry> {
    let mut entries = Vec::new();
    for dtype in [DType::F64, DType::F32] {
        for (mode, mode_name) in [(Train, "train"), (Eval, "eval")] {
            for (affine, subsets) in ASKED {
                for &(u, v, t) in subsets {
                    let given = [(u, "u"), (v, "v"), (t, "t")];
                    let letters: String =
                        given.iter().filter(|(given, _)| *given).map(|(_, name)| *name).collect();
                    let name = format!("cotangents/{}-{mode_name}-{affine}-{letters}", dtype.name());
                    let note = format!(
                        "{}, {mode_name}, {affine}, cotangents {letters}: what is not given counts as 0, what is given \
                         arrives.",
                        dtype.name()
                    );
                    let layer = script(&name, &[2, 3, 3], &note).dtype(dtype).fill(Fill::Dense);
                    let layer = with_affine(layer, affine).forward(mode).grad_exact().second(u, v, t);
                    let lost = t && affine == "bias";
                    entries.push(if lost {
                        layer.disputed_by_libtorch(&[Field::SecondGradOutput], BIAS_ALONE).generated()
                    } else {
                        layer.generated()
                    });
                }
            }
        }
    }
    entries
}

fn with_affine(layer: Script, affine: &str) -> Script {
    match affine {
        "weight" => layer.no_bias(),
        "bias" => layer.no_weight(),
        "neither" => layer.no_affine(),
        _ => layer,
    }
}
