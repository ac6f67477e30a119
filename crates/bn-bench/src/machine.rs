//! On what, with what: the line that belongs beside every number.

use std::process::Command;
use std::{fs, thread};

/// Makes the C allocator keep what is handed back, so that large tensors of
/// libtorch come from memory that is mapped already. A fresh mapping for each
/// result would have its page faults timed: several times the arithmetic.
pub fn keep_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt sets two numbers of the allocator, before it has threads to share with.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
    }
}

/// How many threads the machine offers.
pub fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Processor, threads, libtorch and revision.
pub fn describe() -> String {
    format!(
        "machine: {}, {} threads\nlibtorch: {}\nrevision: {}",
        processor(),
        threads(),
        bn_oracle::version::loaded(),
        revision()
    )
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name"));
    model.map_or_else(
        || std::env::consts::ARCH.into(),
        |name| name.trim_start_matches(['\t', ' ', ':']).into(),
    )
}

/// The commit, and a mark where the checkout differs from it.
fn revision() -> String {
    let git = Command::new("git").args(["describe", "--always", "--dirty", "--exclude=*"]).output();
    match git {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().into(),
        _ => "unknown".into(),
    }
}
