//! Steps in words.

use bn_suite::case::{Fold, Step};
use serde::Serialize;

/// The step in a few words.
pub fn describe(step: &Step) -> String {
    match step {
        Step::BatchNorm(pass) => {
            let mut text = word(pass.mode);
            let parts = [
                (pass.grad_output.is_some(), ", backward"),
                (pass.backward_at_end, " after the last step"),
                (pass.cotangents.is_some(), ", double backward"),
            ];
            parts.iter().filter(|(is_asked, _)| *is_asked).for_each(|(_, part)| text.push_str(part));
            text
        }
        Step::Reset { what } => format!("reset {}", word(what)),
        Step::Fold(Fold { into, groups, .. }) => {
            format!("fold into {}, {groups} groups", word(into))
        }
        Step::Merge { parts } => format!("merge {} parts", parts.len()),
    }
}

/// A choice, as JSON names it.
fn word(choice: impl Serialize) -> String {
    serde_json::to_value(choice).ok().and_then(|name| Some(name.as_str()?.to_owned())).unwrap_or_default()
}
