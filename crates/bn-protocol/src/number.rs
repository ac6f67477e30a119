//! How a floating-point value becomes JSON and comes back the same.
//!
//! A finite value is written as the JSON number whose nearest `f64` is that
//! value, in its shortest form; every value of a narrower dtype is an `f64` too,
//! so one reader serves all dtypes without a second rounding. JSON has no NaN
//! and no infinities: they are the strings `"NaN"`, `"Infinity"` and
//! `"-Infinity"`, as in JavaScript and Python.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An `f64` with the JSON form described in this module. Two are equal when
/// they have the same bits, so that NaN equals NaN and −0 differs from 0.
#[derive(Clone, Copy, Default, PartialOrd)]
pub struct Number(pub f64);

impl Number {
    /// A view of plain values as numbers.
    pub fn from_slice(values: &[f64]) -> Vec<Number> {
        values.iter().copied().map(Number).collect()
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Number(value)
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            v if v.is_nan() => serializer.serialize_str("NaN"),
            f64::INFINITY => serializer.serialize_str("Infinity"),
            f64::NEG_INFINITY => serializer.serialize_str("-Infinity"),
            v => serializer.serialize_f64(v),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor;
        impl Visitor<'_> for NumberVisitor {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or one of \"NaN\", \"Infinity\", \"-Infinity\"")
            }
            fn visit_f64<E: de::Error>(self, v: f64) -> Result<Number, E> {
                Ok(Number(v))
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Number, E> {
                Ok(Number(v as f64))
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Number, E> {
                Ok(Number(v as f64))
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Number, E> {
                match v {
                    "NaN" => Ok(Number(f64::NAN)),
                    "Infinity" => Ok(Number(f64::INFINITY)),
                    "-Infinity" => Ok(Number(f64::NEG_INFINITY)),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }
        }
        deserializer.deserialize_any(NumberVisitor)
    }
}

impl JsonSchema for Number {
    fn schema_name() -> Cow<'static, str> {
        "Number".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number that equals the value exactly, or a string for what JSON cannot write.",
            "anyOf": [
                { "type": "number" },
                { "type": "string", "enum": ["NaN", "Infinity", "-Infinity"] }
            ]
        })
    }
}

/// `#[serde(with = "number::plain")]` for a bare `f64` field.
pub mod plain {
    use super::*;

    /// Writes the value as a [`Number`].
    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        Number(*value).serialize(serializer)
    }

    /// Reads a [`Number`].
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Number::deserialize(deserializer).map(|n| n.0)
    }
}

/// `#[serde(with = "number::list")]` for a bare `Vec<f64>` field.
pub mod list {
    use super::*;

    /// Writes every value as a [`Number`].
    pub fn serialize<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(|&v| Number(v)))
    }

    /// Reads a list of [`Number`]s.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        let numbers = Vec::<Number>::deserialize(deserializer)?;
        Ok(numbers.into_iter().map(|n| n.0).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_survives_json() {
        let awkward = [
            0.1,
            -0.0,
            5e-324,
            f64::MAX,
            1.0 + f64::EPSILON,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            0.1_f32 as f64,
            1.175_494_4e-38_f32 as f64,
            8_388_609.0,
        ];
        for value in awkward {
            let text = serde_json::to_string(&Number(value)).unwrap();
            let back: Number = serde_json::from_str(&text).unwrap();
            assert_eq!(Number(value), back, "{value:?} became {text}");
        }
    }

    #[test]
    fn other_strings_are_refused_by_name() {
        let error = serde_json::from_str::<Number>("\"nan\"").unwrap_err().to_string();
        assert!(error.contains("\"nan\"") && error.contains("\"NaN\""), "{error}");
    }
}
