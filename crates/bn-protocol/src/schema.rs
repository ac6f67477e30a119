//! The form of a line, for those who read it without these types.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;

use crate::messages::{Answer, Request};

/// A line of the engine protocol, version 1: one that the suite writes (Request), or one that a
/// program answers (Answer).
#[derive(JsonSchema)]
#[schemars(untagged, title = "The engine protocol")]
#[expect(dead_code, reason = "only its schema is wanted")]
enum Line {
    Request(Request),
    Answer(Answer),
}

/// The JSON Schema of a line. Under `$defs` it has `Request` and `Answer` apart.
pub fn schema() -> serde_json::Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Line>().to_value()
}
