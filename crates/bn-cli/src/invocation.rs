//! The command that is running, as a page says what made it.

/// `bn train apx-hands-on`, whatever path the program was started by.
pub fn this_command() -> String {
    let words: Vec<String> = ["bn".to_owned()].into_iter().chain(std::env::args().skip(1)).collect();
    shell_words::join(&words)
}
