//! Compiles the one call that tch does not bind, and says where libtorch lies
//! at run time (see bn-oracle's build.rs).

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-changed=src/contestants/backward.cpp");
    let root = PathBuf::from(env::var_os("LIBTORCH").expect("LIBTORCH is set: run scripts/setup-libtorch"));
    let library = root.join("lib/libtorch_cpu.so");
    let real = library.canonicalize().unwrap_or_else(|error| {
        panic!("{}: {error}: run scripts/setup-libtorch, or set LIBTORCH", library.display())
    });
    let folder = real.parent().expect("a file lies in a folder");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", folder.display());
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .include(root.join("include"))
        // libtorch's own headers are not ours to mend.
        .warnings(false)
        .file("src/contestants/backward.cpp")
        .compile("bn_bench_backward");
    println!("cargo:rustc-link-search=native={}", root.join("lib").display());
    println!("cargo:rustc-link-lib=dylib=torch_cpu");
    println!("cargo:rustc-link-lib=dylib=c10");
}
