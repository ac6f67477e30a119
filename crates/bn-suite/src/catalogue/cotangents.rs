//! Second gradients under every subset of the cotangents u, v, t, for every layer
//! that has them, in training and in evaluation. What a cotangent does not reach
//! is exactly 0, and what it reaches is wrong without it.

use super::Entry;
use super::builder::script;
use super::fill::Fill;
use super::second_gradients::BIAS_ALONE;
use crate::case::Mode::{self, Eval, Train};
use crate::outcome::Field;
use crate::tensor::DType;

/// Whether u, v and t are given.
type Given = (bool, bool, bool);

/// What a layer has, and which of u, v, t it can be asked with.
const ASKED: [(&str, &[Given]); 4] = [
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

/// As many cases as this group promises: 14 askings, in two modes, in f64.
pub const COUNT: usize = (7 + 3 + 3 + 1) * 2;

/// Why the truth stands where libtorch raises an error.
const BIAS_ALONE_WITH_BOTH: &str = "Without a weight libtorch's double backward fails when it is given u and t together: \
    \"Expected a proper Tensor but got None\". Each of them alone it takes, and S is their sum.";

pub(super) fn cases() -> Vec<Entry> {
    let modes = [(Train, "train"), (Eval, "eval")];
    let asked = |mode| {
        let subsets = move |(affine, subsets): (&'static str, &'static [Given])| {
            subsets.iter().map(move |&given| case(mode, affine, given))
        };
        ASKED.into_iter().flat_map(subsets)
    };
    modes.into_iter().flat_map(asked).collect()
}

fn case((mode, mode_name): (Mode, &str), affine: &str, (u, v, t): Given) -> Entry {
    let given = [(u, "u"), (v, "v"), (t, "t")];
    let letters: String = given.iter().filter(|(given, _)| *given).map(|(_, name)| *name).collect();
    let name = format!("cotangents/{mode_name}-{affine}-{letters}");
    let note = format!(
        "{mode_name}, {affine}, cotangents {letters}: what is not given counts as 0, what is given arrives."
    );
    let layer = script(&name, &[2, 3, 3], &note).dtype(DType::F64).fill(Fill::Dense);
    let layer = layer.affine(affine).forward(mode).grad_exact().second(u, v, t);
    let layer = match (affine, u, t) {
        ("bias", false, true) => layer.disputed_by_libtorch(&[Field::SecondGradOutput], BIAS_ALONE),
        ("bias", true, true) => layer.disputed_by_libtorch(&[], BIAS_ALONE_WITH_BOTH),
        _ => layer,
    };
    layer.generated()
}
