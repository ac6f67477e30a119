//! Can the tests of the kernels fail? Each mutant is the kernels with one thing changed,
//! compiled anew for the emulator; the suite, the emulator's own checks or the written order
//! of sums must refuse it.

mod common;
mod mutants;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use bn_cuda::CudaEngine;
use bn_cuda::emulator::{Emulate, Emulator};
use bn_suite::catalogue::{self, Entry};
use bn_suite::check::{self, Replay, Verdict};
use bn_suite::fixtures;
use bn_suite::golden::Golden;
use libloading::Library;
use rayon::prelude::*;
use tempfile::TempDir;

use common::{SETTINGS, Setting, cases, is_claimed, order};
use mutants::{Mutant, mutants};

const CRATE: &str = env!("CARGO_MANIFEST_DIR");

/// The catalogue's cases are asked up to so many elements.
const MOST_ELEMENTS: usize = 6000;

/// The cases of [`cases`], then the catalogue's, those with the most elements first: they have
/// several warps in a block, and sums worth the name.
static CASES: LazyLock<Vec<Golden>> = LazyLock::new(|| {
    let elements = |entry: &Entry| -> usize {
        entry.case.steps.iter().filter_map(|step| step.input()).map(|input| input.len()).sum()
    };
    let mut claimed = catalogue::all();
    claimed.retain(|entry| is_claimed(&entry.case) && elements(entry) <= MOST_ELEMENTS);
    claimed.sort_by_key(|entry| std::cmp::Reverse(elements(entry)));
    let entries = [cases::kernels(), claimed].concat();
    entries.par_iter().map(fixtures::solve).collect()
});

/// What does not change from mutant to mutant, compiled once.
static MACHINE: LazyLock<(TempDir, Vec<PathBuf>)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let object = |name: &str| {
        let object = folder.path().join(name).with_extension("o");
        let source = Path::new(CRATE).join("emulator").join(name);
        compile(&["-O2", "-c"], &[source], &object, name);
        object
    };
    let objects = ["context.cpp", "machine.cpp", "shared.cpp"].map(object).to_vec();
    (folder, objects)
});

/// What both tests need, made before anyone waits for it within a thread pool.
fn prepare() {
    LazyLock::force(&CASES);
    LazyLock::force(&MACHINE);
}

fn compile(options: &[&str], sources: &[PathBuf], to: &Path, what: &str) {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    let done = Command::new(&compiler)
        .args(["-std=c++17", "-ffp-contract=off", "-fPIC"])
        .args(options)
        .args(sources)
        .arg("-o")
        .arg(to)
        .output()
        .unwrap_or_else(|error| panic!("{compiler}: {error}"));
    assert!(done.status.success(), "{what}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A mutant's kernels, loaded.
struct Build {
    // Unloaded before its folder goes.
    library: Library,
    _folder: TempDir,
}

impl Build {
    fn of(mutant: Option<&Mutant>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(&Path::new(CRATE).join("emulator"), &folder.path().join("emulator"));
        copy(&Path::new(CRATE).join("kernels"), &folder.path().join("kernels"));
        if let Some(mutant) = mutant {
            let file = folder.path().join("kernels").join(mutant.file);
            fs::write(&file, mutant.apply(&fs::read_to_string(&file).unwrap())).unwrap();
        }
        let name = mutant.map_or("the kernels", |mutant| mutant.name);
        let library = folder.path().join("kernels.so");
        let mut sources = MACHINE.1.clone();
        sources.push(folder.path().join("emulator/kernels.cpp"));
        compile(&["-O0", "-shared"], &sources, &library, name);
        // SAFETY: the library's initialisers fill a table of its own kernels.
        let library = unsafe { Library::new(&library) }.unwrap_or_else(|error| panic!("{name}: {error}"));
        Build { library, _folder: folder }
    }

    fn emulate(&self) -> Emulate {
        // SAFETY: the function of emulator/machine.cpp has this type.
        unsafe { *self.library.get::<Emulate>(b"bn_emulate").expect("built from machine.cpp") }
    }

    /// What first shows that something is wrong with these kernels.
    fn refused(&self, goldens: &[Golden]) -> Option<String> {
        let emulator = |(schedule, properties): Setting| {
            // SAFETY: the library outlives the emulators, which this function drops.
            unsafe { Emulator::with_kernels(self.emulate(), schedule) }.with_properties(properties)
        };
        // Both of these devices have every kind of kernel; a schedule changes no bit.
        for setting in [SETTINGS[0], SETTINGS[2]] {
            if let Err(difference) = order::check(&emulator(setting)) {
                return Some(difference);
            }
        }
        let replay = Replay::named("cuda-emulated");
        for golden in goldens {
            for setting in SETTINGS {
                let mut engine = CudaEngine::new("cuda-emulated", emulator(setting));
                let report = check::check(golden, &mut engine, &replay);
                if !matches!(report.verdict, Verdict::Passed { .. }) {
                    return Some(report.to_string());
                }
            }
        }
        None
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    let entries: Vec<PathBuf> = fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()).collect();
    for file in entries {
        fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
    }
}

#[test]
fn the_kernels_as_they_are_pass() {
    prepare();
    assert_eq!(Build::of(None).refused(&CASES[..cases::kernels().len()]), None);
}

#[test]
fn every_mutant_is_caught() {
    prepare();
    let mutants = mutants();
    let survivors: Vec<String> = mutants
        .par_iter()
        .filter(|mutant| Build::of(Some(mutant)).refused(&CASES).is_none())
        .map(|mutant| format!("{} ({})", mutant.name, mutant.file))
        .collect();
    assert!(survivors.is_empty(), "{} of {} live: {survivors:#?}", survivors.len(), mutants.len());
}
