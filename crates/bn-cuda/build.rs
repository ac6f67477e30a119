//! Compiles the kernels for the machine of `emulator/`, which runs them on a CPU.

use std::env;

/// The machine, and a file for each family of kernels.
const SOURCES: [&str; 10] = [
    "arithmetic",
    "context",
    "machine",
    "shared",
    "sizes",
    "baseline",
    "resident",
    "slab",
    "stream",
    "strip",
];

fn main() {
    for folder in ["emulator", "kernels"] {
        println!("cargo:rerun-if-changed={folder}");
    }
    let objects = cc::Build::new()
        .cpp(true)
        .std("c++17")
        // A GPU fuses only what the kernels ask it to fuse, and so must a CPU.
        .flag("-ffp-contract=off")
        .opt_level(2)
        .warnings(true)
        .include("emulator")
        .files(SOURCES.map(|file| format!("emulator/{file}.cpp")))
        .compile_intermediates();
    // For the tests of mutants, which compile only what a mutant changes.
    let paths = env::join_paths(&objects).expect("cargo's folders have no separators in their names");
    println!("cargo:rustc-env=EMULATOR_OBJECTS={}", paths.display());
    cc::Build::new()
        .cpp(true)
        .objects(&objects)
        // The table of kernels fills itself before main: no object may be left out.
        .link_lib_modifier("+whole-archive")
        .compile("bn_cuda_emulator");
}
