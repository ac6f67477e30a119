//! `bn schema`: the JSON Schema of the engine protocol, as `docs/engine-protocol.schema.json` has it.

use std::io::Write;

use anyhow::Result;
use bn_suite::{fixtures, protocol};

/// Prints it.
pub fn run() -> Result<bool> {
    write!(anstream::stdout(), "{}", fixtures::pretty(&protocol::schema()))?;
    Ok(true)
}
