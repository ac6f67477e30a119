//! Compiles the kernels for the machine of `emulator/`, which runs them on a CPU.

fn main() {
    for folder in ["emulator", "kernels"] {
        println!("cargo:rerun-if-changed={folder}");
    }
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        // A GPU fuses only what the kernels ask it to fuse, and so must a CPU.
        .flag("-ffp-contract=off")
        .opt_level(2)
        .warnings(true)
        .include("emulator")
        .files(
            ["context.cpp", "machine.cpp", "shared.cpp", "kernels.cpp"]
                .map(|file| format!("emulator/{file}")),
        )
        // The table of kernels fills itself before main: no object may be left out.
        .link_lib_modifier("+whole-archive")
        .compile("bn_cuda_emulator");
}
