//! The suite's command.
fn main() {}
