//! Can the tests of the kernels fail? Each mutant is the kernels with one thing changed,
//! compiled anew for the emulator; the suite, the emulator's own checks or the written order
//! of sums must refuse it.

mod common;
mod mutants;

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use bn_cuda::CudaEngine;
use bn_cuda::emulator::{Emulate, Emulator};
use bn_suite::case::Case;
use bn_suite::catalogue::{self, Entry};
use bn_suite::check::{self, Replay, Verdict};
use bn_suite::fixtures;
use bn_suite::golden::Golden;
use libloading::Library;
use rayon::prelude::*;
use tempfile::TempDir;

use common::{SETTINGS, Setting, cases, is_claimed, order, relu};
use mutants::{Mutant, mutants};

const CRATE: &str = env!("CARGO_MANIFEST_DIR");

/// The catalogue's cases are asked up to so many elements.
const MOST_ELEMENTS: usize = 6000;

/// So many cases find most mutants that they find; what only relu shows is asked after them.
const FEW: usize = 64;

/// Where relu is asked: the first has every kind of kernel but streams, the second those.
const RELUS: [Setting; 3] = [SETTINGS[1], SETTINGS[4], SETTINGS[0]];

/// So many of the catalogue's come to one that a device cuts up.
const CATALOGUES_TO_ONE: usize = 2;

/// The cases of [`cases`] and the catalogue's in turn, the small ones first, of the former one of
/// each shape before another of any: most mutants need an array that is cut up, some a special
/// value or no value at all, few a large array.
static CASES: LazyLock<Vec<Golden>> = LazyLock::new(|| {
    let mut kernels: Vec<(usize, Entry)> = cases::kernels().into_iter().enumerate().collect();
    kernels.sort_by_key(|(i, entry)| (elements(&entry.case) > MOST_ELEMENTS, i % cases::OF_EACH_SHAPE));
    let kernels = kernels.into_iter().map(|(_, entry)| entry);
    let mut claimed = catalogue::all();
    claimed.retain(|entry| is_claimed(&entry.case) && elements(&entry.case) <= MOST_ELEMENTS);
    claimed.sort_by_key(|entry| elements(&entry.case));
    let (mut kernels, mut claimed) = (kernels, claimed.into_iter());
    let mut entries = Vec::new();
    while kernels.len() + claimed.len() > 0 {
        entries.extend(kernels.next());
        entries.extend(claimed.by_ref().take(CATALOGUES_TO_ONE));
    }
    entries.par_iter().map(fixtures::solve).collect()
});

fn elements(case: &Case) -> usize {
    case.steps.iter().filter_map(|step| step.input()).map(|input| input.len()).sum()
}

/// The objects of the machine and of the kernels as they are, which this crate was linked of.
static OBJECTS: LazyLock<Vec<PathBuf>> =
    LazyLock::new(|| env::split_paths(env!("EMULATOR_OBJECTS")).collect());

/// The families of kernels: a file of `kernels/` each, and one of `emulator/` that compiles it.
const FAMILIES: [&str; 5] = ["baseline", "resident", "slab", "stream", "strip"];

/// Files of kernels for channels-last arrays alone.
const CHANNELS_LAST: [&str; 3] = ["columns.cuh", "slab.cuh", "strip.cuh"];

/// Whether a family's kernels include a file of `kernels/`, themselves or through others.
fn includes(family: &str, file: &str) -> bool {
    fn reaches(from: &str, file: &str) -> bool {
        let text = fs::read_to_string(Path::new(CRATE).join("kernels").join(from)).unwrap();
        let included = text.lines().filter_map(|line| line.strip_prefix("#include \"")?.strip_suffix('"'));
        from == file || included.into_iter().any(|name| reaches(name, file))
    }
    reaches(&format!("{family}.cuh"), file)
}

fn compiler(arguments: &[&OsStr], what: &str) {
    let compiler = env::var("CXX").unwrap_or_else(|_| "c++".into());
    let done = Command::new(&compiler)
        .args(arguments)
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
    /// Compiles the families that a mutant changes, and links them in the place of those that
    /// they are mutants of.
    fn of(mutant: Option<&Mutant>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(&Path::new(CRATE).join("emulator"), &folder.path().join("emulator"));
        copy(&Path::new(CRATE).join("kernels"), &folder.path().join("kernels"));
        if let Some(mutant) = mutant {
            let file = folder.path().join("kernels").join(mutant.file);
            fs::write(&file, mutant.apply(&fs::read_to_string(&file).unwrap())).unwrap();
        }
        let name = mutant.map_or("the kernels", |mutant| mutant.name);
        let is_changed = |family: &&str| mutant.is_none_or(|mutant| includes(family, mutant.file));
        let mut objects = OBJECTS.clone();
        for family in FAMILIES.into_iter().filter(is_changed) {
            let source = folder.path().join("emulator").join(family).with_extension("cpp");
            let object = folder.path().join(family).with_extension("o");
            let options = ["-std=c++17", "-ffp-contract=off", "-fPIC", "-O0", "-c", "-o"].map(OsStr::new);
            compiler(&[&options[..], &[object.as_ref(), source.as_ref()]].concat(), name);
            // Files that were compiled before are named after their source, and something else.
            let is_original = |path: &PathBuf| path.to_string_lossy().ends_with(&format!("-{family}.o"));
            let place = objects.iter().position(is_original).expect("an object of each family");
            objects[place] = object;
        }
        let library = folder.path().join("kernels.so");
        let options = ["-shared", "-o"].map(OsStr::new);
        let objects: Vec<&OsStr> = objects.iter().map(AsRef::as_ref).collect();
        compiler(&[&options[..], &[library.as_ref()], &objects].concat(), name);
        // SAFETY: the library's initialisers fill a table of its own kernels.
        let library = unsafe { Library::new(&library) }.unwrap_or_else(|error| panic!("{name}: {error}"));
        Build { library, _folder: folder }
    }

    fn emulate(&self) -> Emulate {
        // SAFETY: the function of emulator/machine.cpp has this type.
        unsafe { *self.library.get::<Emulate>(b"bn_emulate").expect("built from machine.cpp") }
    }

    fn emulator(&self, (schedule, properties): Setting) -> Emulator {
        // SAFETY: the library outlives the emulators, which `refused` drops.
        unsafe { Emulator::with_kernels(self.emulate(), schedule) }.with_properties(properties)
    }

    /// What first shows that something is wrong with these kernels, as a mutant or as they are. What
    /// comes first is what the mutant is of: all of it is asked in the end.
    fn refused(&self, goldens: &[&Golden], mutant: Option<&Mutant>) -> Option<String> {
        let relu_first = mutant.is_some_and(|mutant| mutant.is_of_relu);
        let last_first = mutant.is_some_and(|mutant| CHANNELS_LAST.contains(&mutant.file));
        let (few, others) = goldens.split_at(goldens.len().min(FEW));
        let all = [
            &|| self.refused_by(&RELUS, relu::check),
            // Both of these devices have every kind of kernel; a schedule changes no bit.
            &|| self.refused_by(&[SETTINGS[0], SETTINGS[2]], |emulator| order::check(emulator, last_first)),
            &|| few.iter().find_map(|golden| self.refused_by_case(golden)),
            &|| self.refused_by(&RELUS, relu::check),
            &|| others.iter().find_map(|golden| self.refused_by_case(golden)),
        ] as [&dyn Fn() -> Option<String>; 5];
        all[usize::from(!relu_first)..].iter().find_map(|refused| refused())
    }

    fn refused_by(
        &self,
        settings: &[Setting],
        check: impl Fn(&Emulator) -> Result<(), String>,
    ) -> Option<String> {
        settings.iter().find_map(|&setting| check(&self.emulator(setting)).err())
    }

    fn refused_by_case(&self, golden: &Golden) -> Option<String> {
        let replay = Replay::named("cuda-emulated");
        SETTINGS.into_iter().find_map(|setting| {
            let mut engine = CudaEngine::new("cuda-emulated", self.emulator(setting));
            let report = check::check(golden, &mut engine, &replay);
            (!matches!(report.verdict, Verdict::Passed { .. })).then(|| report.to_string())
        })
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
fn every_mutant_is_a_change() {
    for mutant in mutants() {
        let text = fs::read_to_string(Path::new(CRATE).join("kernels").join(mutant.file)).unwrap();
        assert_ne!(mutant.apply(&text), text, "{mutant:?}");
    }
}

#[test]
fn the_kernels_as_they_are_pass() {
    // Before anyone waits for them within a thread pool.
    LazyLock::force(&CASES);
    let is_small = |golden: &&Golden| elements(&golden.case) <= MOST_ELEMENTS;
    let is_cut_up = |golden: &&Golden| golden.case.name.starts_with("kernels/");
    let cases: Vec<&Golden> = CASES.iter().filter(is_small).filter(is_cut_up).collect();
    assert_eq!(Build::of(None).refused(&cases, None), None);
}

#[test]
fn every_mutant_is_caught() {
    // Before anyone waits for them within a thread pool.
    LazyLock::force(&CASES);
    let (mutants, cases): (_, Vec<&Golden>) = (mutants(), CASES.iter().collect());
    let survivors: Vec<String> = mutants
        .par_iter()
        .filter(|mutant| Build::of(Some(mutant)).refused(&cases, Some(mutant)).is_none())
        .map(|mutant| format!("{} ({})", mutant.name, mutant.file))
        .collect();
    assert!(survivors.is_empty(), "{} of {} live: {survivors:#?}", survivors.len(), mutants.len());
}
