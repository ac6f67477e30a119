//! What is assumed of an engine's arithmetic, and what the two grades are.
//!
//! An allowance is what arithmetic may lose on the way to a value, so it depends
//! on the arithmetic. A [`Model`] says which arithmetic: the one of the grade
//! *conforms* is what an ordinary kernel has, floating-point arithmetic with
//! statistics kept in the parameters' precision; the one of the grade *accurate*
//! sums in more than the element's precision, keeps the mean in more than that,
//! and subtracts it before it scales. A model between the two explains an engine
//! that conforms and is not accurate.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tensor::DType;
use crate::truth::format::{EXTENDED, F32, F64, Format, TWO_WORDS};

/// How much is asked of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// What float arithmetic with statistics kept in the parameters' precision
    /// can promise. This decides whether an engine is right.
    Conforms,
    /// What the crate `batchnorm` promises: sums in more than the elements'
    /// precision, the mean kept in more than it, subtracted before scaling.
    Accurate,
}

impl Grade {
    /// The name in JSON and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Grade::Conforms => "conforms",
            Grade::Accurate => "accurate",
        }
    }

    /// The arithmetic that the grade assumes.
    pub fn model(self) -> Model {
        match self {
            Grade::Conforms => Model {
                narrow_sums: true,
                narrow_statistics: true,
                folded: true,
                narrow_elements: false,
                to_nearest: true,
            },
            Grade::Accurate => Model::default(),
        }
    }
}

/// An engine's arithmetic: what it does without, and how it rounds its answers. The
/// default is the arithmetic of the grade *accurate*, which does without nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// Sums, and the moments that they make, are rounded as single elements are.
    pub narrow_sums: bool,
    /// Mean and inverse deviation are rounded to the parameters' dtype.
    pub narrow_statistics: bool,
    /// y = x·α + β with α = w/σ and β = b − μ·α: scaled before it is subtracted.
    pub folded: bool,
    /// Every operation is rounded to the input's dtype, be it 16 bits wide. No
    /// grade assumes that; it is there to be found as a cause.
    pub narrow_elements: bool,
    /// What is answered is the value of its dtype nearest to what was computed, not
    /// one of the two neighbours (faithful rounding). The one thing in which the
    /// grade *conforms* is the stricter one: for 16-bit answers it tells rounding
    /// from cutting off.
    pub to_nearest: bool,
}

/// The formats that a model comes to for one case.
///
/// | parameters | elements | moments, sums: narrow | moments, sums: wide | statistics: narrow | wide |
/// |---|---|---|---|---|---|
/// | f64 | f64 | f64, f64 | f64 scaled, two f64 | f64 | two f64 |
/// | f32 | f32 | f32, f32 | f64, f64 | f32 | f64 |
/// | f16, bf16 | f32 | f32, f32 | f64, f64 | f16, bf16 | f64 |
///
/// *f64 scaled* is f64 whose exponent cannot overflow: an engine that means to be
/// accurate scales a channel by a power of two. No engine sums in 8 or 11 bits and
/// is right, hence the f32 in the last row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Precision {
    /// In which operations on single elements are rounded.
    pub elements: Format,
    /// In which (x − μ)² is rounded, and what a channel has once: variance,
    /// inverse deviation, the update of the running statistics.
    pub moments: Format,
    /// In which sums are rounded while they grow, and the mean of x that they make;
    /// other sums are put into `moments` when they are complete.
    pub sums: Format,
    /// In which mean and inverse deviation are kept.
    pub statistics: Format,
    /// Whether the engine may scale before it subtracts.
    pub folded: bool,
    /// Whether answers are rounded to nearest.
    pub to_nearest: bool,
}

impl Model {
    /// The formats for input and parameters of these dtypes; a dtype that batch
    /// norm does not take counts as f64 (its step is refused before it matters).
    pub fn precision(self, input: DType, parameters: DType) -> Precision {
        let of = |dtype: DType| Format::of(dtype).unwrap_or(F64);
        let double = of(parameters) == F64;
        let elements = match (self.narrow_elements, double) {
            (true, _) => of(input),
            (false, true) => F64,
            (false, false) => F32,
        };
        let (moments, sums) = match (self.narrow_sums, double) {
            (true, _) => (elements, elements),
            (false, true) => (EXTENDED, TWO_WORDS),
            (false, false) => (F64, F64),
        };
        let statistics = match (self.narrow_statistics, double) {
            (true, _) => of(parameters),
            (false, true) => TWO_WORDS,
            (false, false) => F64,
        };
        let Model { folded, to_nearest, .. } = self;
        Precision { elements, moments, sums, statistics, folded, to_nearest }
    }
}

impl Precision {
    /// Whether the mean is kept in more than single elements are.
    pub fn keeps_more(&self) -> bool {
        self.statistics.unit_roundoff() < self.elements.unit_roundoff()
    }
}
