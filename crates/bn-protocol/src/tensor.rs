//! Arrays as the suite's JSON carries them: a dtype, a shape, where the elements
//! lie in memory, and the elements themselves in logical (row-major) order.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::number::{self, Number};

/// The element type of an array. The integer and boolean ones exist so that a
/// case can offer what batch norm must refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DType {
    /// IEEE binary16.
    F16,
    /// bfloat16: the upper half of binary32.
    Bf16,
    /// IEEE binary32.
    F32,
    /// IEEE binary64.
    F64,
    /// 64-bit signed integers.
    I64,
    /// Booleans, as 0 and 1.
    Bool,
}

impl DType {
    /// The name in JSON, and in messages: `f16`, `bf16`, `f32`, `f64`, `i64`, `bool`.
    pub fn name(self) -> &'static str {
        match self {
            DType::F16 => "f16",
            DType::Bf16 => "bf16",
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::I64 => "i64",
            DType::Bool => "bool",
        }
    }
}

/// Where the elements lie in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Layout {
    /// Row-major in the order of the shape: (N, C, *).
    #[default]
    Contiguous,
    /// Row-major with the channel axis moved to the end: N, *, C. Only for
    /// tensors of rank 4 and 5, as in PyTorch.
    ChannelsLast,
    /// Any other arrangement, in elements: index (i₀, i₁, …) lies at
    /// `offset + Σ iₖ·strides[k]` of a buffer just large enough to hold it.
    Strided {
        /// Distance between neighbours along each axis, in elements.
        strides: Vec<usize>,
        /// Where the first element lies.
        offset: usize,
    },
}

/// An array of a case or of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tensor {
    /// Element type; every value of `data` is one of its values.
    pub dtype: DType,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// Where the elements lie in memory; left out when contiguous.
    #[serde(default, skip_serializing_if = "is_contiguous")]
    pub layout: Layout,
    /// The elements in row-major order of `shape`, whatever the layout.
    #[serde(with = "number::list")]
    #[schemars(with = "Vec<Number>")]
    pub data: Vec<f64>,
}

fn is_contiguous(layout: &Layout) -> bool {
    *layout == Layout::Contiguous
}

impl Tensor {
    /// A contiguous array. Panics when `data` does not fill `shape`: that is a
    /// fault of the catalogue, never of an engine (see [`Tensor::problem`]).
    pub fn new(dtype: DType, shape: &[usize], data: Vec<f64>) -> Self {
        let tensor = Tensor { dtype, shape: shape.to_vec(), layout: Layout::Contiguous, data };
        if let Some(problem) = tensor.problem() {
            panic!("{problem}");
        }
        tensor
    }

    /// A one-dimensional array.
    pub fn vector(dtype: DType, data: &[f64]) -> Self {
        Tensor::new(dtype, &[data.len()], data.to_vec())
    }

    /// The same values, laid out otherwise.
    pub fn with_layout(self, layout: Layout) -> Self {
        Tensor { layout, ..self }
    }

    /// The number of elements that the shape promises.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the shape holds no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is wrong with this array as data, if anything: a count that does
    /// not fit the shape, a layout that does not fit the rank, or a value that
    /// the dtype cannot hold.
    pub fn problem(&self) -> Option<String> {
        let expected = self.shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
        if expected != Some(self.data.len()) {
            return Some(format!(
                "shape {:?} needs {} elements, data has {}",
                self.shape,
                expected.map_or("too many".into(), |n| n.to_string()),
                self.data.len()
            ));
        }
        match &self.layout {
            Layout::ChannelsLast if !(4..=5).contains(&self.shape.len()) => {
                return Some(format!("channels_last needs rank 4 or 5, shape is {:?}", self.shape));
            }
            Layout::Strided { strides, .. } if strides.len() != self.shape.len() => {
                return Some(format!("{} strides for a shape of rank {}", strides.len(), self.shape.len()));
            }
            _ => {}
        }
        let foreign = self.data.iter().position(|&v| !self.dtype.holds(v))?;
        Some(format!("element {foreign}, {:?}, is not a value of {}", self.data[foreign], self.dtype.name()))
    }
}

impl DType {
    /// Whether `value` is one of this dtype's values.
    pub fn holds(self, value: f64) -> bool {
        match self {
            DType::F64 => true,
            _ if value.is_nan() => !matches!(self, DType::I64 | DType::Bool),
            DType::F32 => f64::from(value as f32) == value,
            // Through f32 is safe here: a value that survives both steps is exact in both.
            DType::F16 => half::f16::from_f32(value as f32).to_f64() == value,
            DType::Bf16 => half::bf16::from_f32(value as f32).to_f64() == value,
            DType::I64 => value.fract() == 0.0 && value.abs() < 2f64.powi(53),
            DType::Bool => value == 0.0 || value == 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_outside_the_dtype_is_named() {
        let tensor = Tensor { data: vec![0.5, 0.1], ..Tensor::vector(DType::F32, &[0.0, 0.0]) };
        assert_eq!(tensor.problem().unwrap(), "element 1, 0.1, is not a value of f32");
    }

    #[test]
    fn a_short_tensor_is_named() {
        let tensor = Tensor { data: vec![0.5], ..Tensor::vector(DType::F32, &[0.0, 0.0]) };
        assert_eq!(tensor.problem().unwrap(), "shape [2] needs 2 elements, data has 1");
    }

    #[test]
    fn layout_is_left_out_when_contiguous() {
        let text = serde_json::to_string(&Tensor::vector(DType::Bf16, &[1.0, f64::NAN])).unwrap();
        assert_eq!(text, r#"{"dtype":"bf16","shape":[2],"data":[1.0,"NaN"]}"#);
    }
}
