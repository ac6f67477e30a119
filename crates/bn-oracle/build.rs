//! Tells the linker where libtorch lies at run time, and the program which
//! version it was built against.
//!
//! Besides, it compiles the one call that tch does not bind.
//!
//! The run path is the folder that really holds libtorch_cpu.so, not the one
//! that links to it: libtorch finds its own dependencies relative to itself.

use std::path::{Path, PathBuf};
use std::{env, fs, process};

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let Some(root) = env::var_os("LIBTORCH").map(PathBuf::from) else {
        fail("LIBTORCH is not set");
    };
    let library = root.join("lib/libtorch_cpu.so");
    println!("cargo:rerun-if-changed={}", library.display());
    let Ok(real) = library.canonicalize() else {
        fail(&format!("{} does not exist", library.display()));
    };
    let folder = real.parent().expect("a file lies in a folder");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", folder.display());
    println!("cargo:rustc-env=LIBTORCH_LINKED={}", linked_version(&root));
    println!("cargo:rerun-if-changed={SHIM}");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .include(root.join("include"))
        // libtorch's own headers are not ours to mend.
        .warnings(false)
        .file(SHIM)
        .compile("bn_oracle_implementation");
    println!("cargo:rustc-link-search=native={}", root.join("lib").display());
    println!("cargo:rustc-link-lib=dylib=torch_cpu");
    println!("cargo:rustc-link-lib=dylib=c10");
}

const SHIM: &str = "src/implementation.cpp";

/// The version in libtorch's headers, which torch-sys compiles against.
fn linked_version(root: &Path) -> String {
    let header = root.join("include/torch/headeronly/version.h");
    let text = fs::read_to_string(&header).unwrap_or_default();
    let number = |part: &str| {
        let mut lines = text.lines().map(str::split_whitespace);
        lines.find_map(|mut words| {
            (words.next() == Some("#define") && words.next() == Some(part)).then(|| words.next()).flatten()
        })
    };
    let parts = ["TORCH_VERSION_MAJOR", "TORCH_VERSION_MINOR", "TORCH_VERSION_PATCH"].map(number);
    parts.map(|part| part.unwrap_or("?")).join(".")
}

fn fail(problem: &str) -> ! {
    eprintln!("bn-oracle links libtorch, and {problem}.");
    eprintln!("Run scripts/setup-libtorch, or set LIBTORCH to the folder of a libtorch of your own.");
    process::exit(1)
}
