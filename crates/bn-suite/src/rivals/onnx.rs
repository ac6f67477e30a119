//! ONNX's backend tests: its four node cases of `BatchNormalization`.
//!
//! One shape, (2, 3, 4, 5) in f32, twice with the operator's own epsilon and twice
//! with 0.01, each in evaluation and in training. The vectors are recorded from the
//! Python package by `scripts/make-onnx-vectors` in `data/onnx.json`, with their
//! provenance; a vector that is not what was recorded is refused by name.
//!
//! ONNX's momentum weighs the old value: 1 − momentum is PyTorch's. And its
//! running variance receives the population's variance where PyTorch's receives
//! the sample's. At n = 40 that is 2.6 % of the batch's part, more than the
//! tolerance: taken at its word, the suite refuses every engine that answers
//! what PyTorch does. So there are two rivals: the vectors as published, and the
//! same with the running variance translated, as one would who tests an engine
//! of PyTorch's convention with them.

use std::collections::BTreeMap;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::rule::Rule;
use super::{Compared, Rival, Vector, case, layer, pass};
use crate::case::{Mode, State};
use crate::outcome::Field;
use crate::tensor::{DType, Tensor};

const FILE: &str = include_str!("../../data/onnx.json");

/// What ONNX's loader gives a node case that brings no tolerance of its own.
const RULE: Rule = Rule::Close { rtol: 1e-3, atol: 1e-7 };

/// Why the recorded vectors cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not JSON, or of another form.
    #[error("data/onnx.json: {0}; scripts/make-onnx-vectors writes it anew")]
    Form(#[from] serde_json::Error),
    /// The text is not what was recorded.
    #[error(
        "data/onnx.json: {vector}: tampered: sha256 is {got}, the file says {expected}; \
         scripts/make-onnx-vectors writes it anew"
    )]
    Digest {
        /// The vector.
        vector: String,
        /// What the file says.
        expected: String,
        /// That of the vector as it stands.
        got: String,
    },
}

/// The recorded file; its other members say where the vectors come from.
#[derive(Deserialize)]
struct Record {
    vectors: Vec<Recorded>,
}

/// One node case: attributes, inputs x, s, bias, mean, var, and outputs y and, in
/// training, the running mean and variance.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recorded {
    name: String,
    epsilon: f32,
    momentum: f32,
    training_mode: bool,
    inputs: [Array; 5],
    outputs: Vec<Array>,
    /// SHA-256 of the package's files.
    files: BTreeMap<String, String>,
    /// SHA-256 of this vector, as [`Recorded::digest`] takes it.
    sha256: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Array {
    name: String,
    shape: Vec<usize>,
    data: Vec<f32>,
}

impl Array {
    fn tensor(&self) -> Tensor {
        Tensor::new(DType::F32, &self.shape, self.data.iter().copied().map(f64::from).collect())
    }
}

/// The vectors as they were recorded.
pub(super) fn recorded() -> Result<Vec<Recorded>, RecordError> {
    read(FILE)
}

fn read(text: &str) -> Result<Vec<Recorded>, RecordError> {
    let Record { vectors, .. } = serde_json::from_str(text)?;
    for vector in &vectors {
        let got = vector.digest();
        if got != vector.sha256 {
            let (vector, expected) = (vector.name.clone(), vector.sha256.clone());
            return Err(RecordError::Digest { vector, expected, got });
        }
    }
    Ok(vectors)
}

/// Whose running variance a vector expects.
#[derive(Clone, Copy, PartialEq)]
enum Convention {
    /// ONNX's: running = momentum·running + (1 − momentum)·var, the population's.
    Onnx,
    /// PyTorch's: n/(n − 1) times that var, the sample's.
    PyTorch,
}

/// ONNX's vectors to the letter.
pub(super) fn as_published(vectors: &[Recorded]) -> Rival {
    Rival {
        name: "onnx",
        about: "ONNX's four batch-norm node cases, (2, 3, 4, 5) in f32, rtol 1e-3: y, and in training the \
                running statistics, whose variance is the population's",
        vectors: vectors.iter().map(|vector| vector.vector(Convention::Onnx)).collect(),
    }
}

/// ONNX's vectors with the running variance that PyTorch's convention makes of them.
pub(super) fn with_unbiased_running_var(vectors: &[Recorded]) -> Rival {
    Rival {
        name: "onnx-unbiased",
        about: "the same four cases, the running variance translated to the sample's, as PyTorch has it",
        vectors: vectors.iter().map(|vector| vector.vector(Convention::PyTorch)).collect(),
    }
}

impl Recorded {
    fn vector(&self, convention: Convention) -> Vector {
        let [x, scale, bias, mean, var] = self.inputs.each_ref().map(Array::tensor);
        let n = (x.len() / x.shape[1]) as f64;
        let fields = [Field::Output, Field::RunningMean, Field::RunningVar];
        let mut compared: Vec<Compared> = fields
            .into_iter()
            .zip(&self.outputs)
            .map(|(field, output)| Compared { step: 0, field, expected: output.tensor(), rule: RULE })
            .collect();
        if let (Convention::PyTorch, [_, _, running_var]) = (convention, &mut compared[..]) {
            let old_part = var.data.iter().map(|var| f64::from(self.momentum) * var);
            for (expected, old_part) in running_var.expected.data.iter_mut().zip(old_part) {
                *expected = old_part + (*expected - old_part) * n / (n - 1.0);
            }
        }
        let layer = layer(&x.shape, f64::from(self.epsilon), 1.0 - f64::from(self.momentum));
        let state = State {
            weight: Some(scale),
            bias: Some(bias),
            running_mean: Some(mean),
            running_var: Some(var),
            num_batches_tracked: Some(0),
        };
        let mode = if self.training_mode { Mode::Train } else { Mode::Eval };
        Vector { case: case("onnx", &self.name, layer, state, vec![pass(mode, x, None)]), compared }
    }

    /// SHA-256, in lower-case hexadecimal, of the vector without this member: its
    /// numbers as little-endian f32, its names and shapes as text.
    fn digest(&self) -> String {
        let mut text = format!("{}\n{}\n", self.name, self.training_mode).into_bytes();
        text.extend([self.epsilon, self.momentum].map(f32::to_le_bytes).concat());
        for array in self.inputs.iter().chain(&self.outputs) {
            text.extend(format!("{} {:?}\n", array.name, array.shape).into_bytes());
            text.extend(array.data.iter().flat_map(|value| value.to_le_bytes()));
        }
        for (path, digest) in &self.files {
            text.extend(format!("{path} {digest}\n").into_bytes());
        }
        Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::by_name;

    fn objection(rival: &Rival) -> Option<String> {
        rival.objection(by_name("batchnorm").unwrap().as_mut())
    }

    #[test]
    fn the_four_cases_are_there() {
        let names: Vec<String> = recorded().unwrap().into_iter().map(|vector| vector.name).collect();
        let expected = ["epsilon", "epsilon_training_mode", "example", "example_training_mode"];
        assert_eq!(names, expected.map(|name| format!("test_batchnorm_{name}")));
    }

    /// Taken at its word, ONNX wants the population's variance: 0.963 where
    /// PyTorch has 0.965.
    #[test]
    fn as_published_a_right_engine_is_refused_for_its_running_variance() {
        let refused = objection(&as_published(&recorded().unwrap())).unwrap();
        assert!(refused.contains("training_mode: step 0: running_var"), "{refused}");
    }

    #[test]
    fn translated_a_right_engine_is_accepted() {
        assert_eq!(objection(&with_unbiased_running_var(&recorded().unwrap())), None);
    }

    #[test]
    fn a_tampered_vector_is_refused_by_name() {
        let tampered = FILE.replacen("0.40746182203292847", "0.5", 1);
        let error = read(&tampered).err().unwrap().to_string();
        assert!(error.starts_with("data/onnx.json: test_batchnorm_epsilon: tampered: sha256"), "{error}");
    }

    #[test]
    fn a_file_cut_short_is_refused() {
        let error = read(&FILE[..FILE.len() / 2]).err().unwrap().to_string();
        assert!(error.starts_with("data/onnx.json: EOF while parsing"), "{error}");
    }
}
