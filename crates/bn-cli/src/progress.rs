//! A progress bar on standard error, where that is a terminal; nothing elsewhere.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar for `steps` steps of the work that `what` names.
pub fn bar(steps: usize, what: impl Into<std::borrow::Cow<'static, str>>) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}{prefix}")
        .unwrap_or(ProgressStyle::default_bar());
    // indicatif draws nothing where standard error is no terminal.
    ProgressBar::new(steps as u64).with_style(style).with_message(what)
}
