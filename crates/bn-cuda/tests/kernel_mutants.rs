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
use bn_cuda::emulator::{Emulate, Emulator, RawLaunch, RawOutcome};
use bn_suite::case::Case;
use bn_suite::catalogue;
use bn_suite::check::{self, Replay, Verdict};
use bn_suite::fixtures;
use bn_suite::golden::Golden;
use libloading::Library;
use rayon::prelude::*;
use tempfile::TempDir;

use common::{SETTINGS, Setting, cases, is_claimed, order, relu, rounding};
use mutants::{Mutant, mutants};

const CRATE: &str = env!("CARGO_MANIFEST_DIR");

/// The catalogue's cases are asked up to so many elements.
const MOST_ELEMENTS: usize = 6000;

/// Fewer elements take as long.
const FEWEST_ELEMENTS: usize = 1000;

/// A sum is asked for in one pass, and takes so many times less than a case of as many elements.
const PASSES: usize = 8;

/// A mutant of relu comes to what has no relu as if that cost so many times as much, and any other
/// mutant to what has.
const LATER: usize = 8;

/// So many questions find most mutants that they find.
const FEW: usize = 32;

/// Where sums are asked for: both of these devices have every kind of kernel, and a schedule changes
/// no bit.
const ORDERS: [Setting; 2] = [SETTINGS[0], SETTINGS[2]];

/// Where relu is asked: the first has every kind of kernel but streams, the second those.
const RELUS: [Setting; 3] = [SETTINGS[1], SETTINGS[4], SETTINGS[0]];

/// What kernels may be asked.
#[derive(Clone, Copy)]
enum Subject {
    Order(order::Question),
    Rounding,
    WhatPasses,
    Relu(relu::Case),
    Case(&'static Golden),
}

impl Subject {
    fn is_of_relu(self) -> bool {
        matches!(self, Subject::Relu(_) | Subject::WhatPasses)
    }

    /// In elements of a case.
    fn cost(self) -> usize {
        match self {
            Subject::Order(question) => question.elements() / PASSES,
            Subject::Rounding | Subject::WhatPasses => 0,
            Subject::Relu(case) => case.elements(),
            Subject::Case(golden) => elements(&golden.case),
        }
    }
}

fn elements(case: &Case) -> usize {
    case.steps.iter().filter_map(|step| step.input()).map(|input| input.len()).sum()
}

/// What kernels are asked on a device.
struct Question {
    subject: Subject,
    setting: Setting,
    /// The kernels that it launches: of subjects that end at the first wrong answer, the first.
    launches: Vec<String>,
}

impl Question {
    fn new(subject: Subject, setting: Setting) -> Self {
        let question = Question { subject, setting, launches: Vec::new() };
        let (_, launches) = question.ask(nothing);
        Question { launches, ..question }
    }

    /// What is wrong with the answers, and the kernels that were launched.
    fn ask(&self, emulate: Emulate) -> (Option<String>, Vec<String>) {
        let (schedule, properties) = self.setting;
        // SAFETY: the library outlives the emulator, which goes before this function returns.
        let emulator = unsafe { Emulator::with_kernels(emulate, schedule) }.with_properties(properties);
        let answer = match self.subject {
            Subject::Order(question) => order::ask(&emulator, question),
            Subject::Rounding => rounding::check(&emulator),
            Subject::WhatPasses => relu::what_passes(&emulator),
            Subject::Relu(case) => relu::ask(&emulator, case),
            Subject::Case(golden) => {
                let mut engine = CudaEngine::new("cuda-emulated", emulator);
                let report = check::check(golden, &mut engine, &Replay::named("cuda-emulated"));
                let is_refused = !matches!(report.verdict, Verdict::Passed { .. });
                return (is_refused.then(|| report.to_string()), engine.device().launched());
            }
        };
        (answer.err(), emulator.launched())
    }
}

/// Kernels that leave everything as it is, to see which are launched.
unsafe extern "C" fn nothing(_: *const RawLaunch, _: *mut RawOutcome) {}

/// The cases of [`cases`] and the catalogue's.
static CASES: LazyLock<Vec<Golden>> = LazyLock::new(|| {
    let mut entries = catalogue::all();
    entries.retain(|entry| is_claimed(&entry.case) && elements(&entry.case) <= MOST_ELEMENTS);
    entries.extend(cases::kernels());
    entries.par_iter().map(fixtures::solve).collect()
});

/// Everything that is asked.
static QUESTIONS: LazyLock<Vec<Question>> = LazyLock::new(|| {
    let order = order::questions().into_iter().map(Subject::Order).chain([Subject::Rounding]);
    let relu = relu::cases().into_iter().map(Subject::Relu).chain([Subject::WhatPasses]);
    let subjects: [(Vec<Subject>, &[Setting]); 3] = [
        (order.collect(), &ORDERS),
        (CASES.iter().map(Subject::Case).collect(), &SETTINGS),
        (relu.collect(), &RELUS),
    ];
    let asked = subjects.into_iter().flat_map(|(subjects, settings)| {
        subjects.into_iter().flat_map(|subject| settings.iter().map(move |&setting| (subject, setting)))
    });
    asked
        .collect::<Vec<_>>()
        .into_par_iter()
        .map(|(subject, setting)| Question::new(subject, setting))
        .collect()
});

/// The objects of the machine and of the kernels as they are, which this crate was linked of.
static OBJECTS: LazyLock<Vec<PathBuf>> =
    LazyLock::new(|| env::split_paths(env!("EMULATOR_OBJECTS")).collect());

/// The families of kernels: a file of `kernels/` each, and one of `emulator/` that compiles it.
const FAMILIES: [&str; 5] = ["baseline", "resident", "slab", "stream", "strip"];

/// Whether a family's kernels include a file of `kernels/`, themselves or through others.
fn includes(family: &str, file: &str) -> bool {
    fn reaches(from: &str, file: &str) -> bool {
        let text = fs::read_to_string(Path::new(CRATE).join("kernels").join(from)).unwrap();
        let included = text.lines().filter_map(|line| line.strip_prefix("#include \"")?.strip_suffix('"'));
        from == file || included.into_iter().any(|name| reaches(name, file))
    }
    reaches(&format!("{family}.cuh"), file)
}

/// Kernels that are compiled anew.
#[derive(Clone, Copy)]
struct Part<'a> {
    families: &'a [&'static str],
    only_f32: bool,
}

impl Part<'_> {
    fn has(&self, kernel: &str) -> bool {
        self.families.iter().any(|family| kernel.starts_with(family))
            && (!self.only_f32 || kernel.ends_with("_f32"))
    }
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
    /// Compiles a part of a mutant's kernels, or of the kernels as they are, and links it with
    /// everything as it is: of kernels that have one name, the later one is found.
    fn of(mutant: Option<&Mutant>, part: Part) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(&Path::new(CRATE).join("emulator"), &folder.path().join("emulator"));
        copy(&Path::new(CRATE).join("kernels"), &folder.path().join("kernels"));
        if let Some(mutant) = mutant {
            let file = folder.path().join("kernels").join(mutant.file);
            fs::write(&file, mutant.apply(&fs::read_to_string(&file).unwrap())).unwrap();
        }
        let name = mutant.map_or("the kernels", |mutant| mutant.name);
        let mut objects = OBJECTS.clone();
        for family in part.families {
            let source = folder.path().join("emulator").join(family).with_extension("cpp");
            let object = folder.path().join(family).with_extension("o");
            let mut options = vec!["-std=c++17", "-ffp-contract=off", "-fPIC", "-O0"];
            if part.only_f32 {
                options.push("-DFOR_EACH_DTYPE(KERNELS)=KERNELS(f32, float)");
            }
            options.extend(["-c", "-o"]);
            let options: Vec<&OsStr> = options.into_iter().map(OsStr::new).collect();
            compiler(&[&options[..], &[object.as_ref(), source.as_ref()]].concat(), name);
            objects.push(object);
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

/// What first shows that something is wrong with a mutant. One family for one dtype shows it mostly,
/// and takes a fraction of the time to compile; all of it is asked about everything in the end.
fn refused(mutant: &Mutant) -> Option<String> {
    let families: Vec<&str> = FAMILIES.into_iter().filter(|family| includes(family, mutant.file)).collect();
    let small = Part { families: &families[..1], only_f32: true };
    let whole = Part { families: &families, only_f32: false };
    [(small, FEW), (whole, usize::MAX)].into_iter().find_map(|(part, most)| {
        let build = Build::of(Some(mutant), part);
        let in_turn = in_turn(mutant, part);
        in_turn.into_iter().take(most).find_map(|question| question.ask(build.emulate()).0)
    })
}

/// The questions in the order in which a part of a mutant is asked: what launches none of its
/// kernels comes last, what is cheap first.
fn in_turn(mutant: &Mutant, part: Part) -> Vec<&'static Question> {
    let mut questions: Vec<&Question> = QUESTIONS.iter().collect();
    questions.sort_by_cached_key(|question| {
        let launches = question.launches.iter().any(|kernel| part.has(kernel));
        let is_alike = question.subject.is_of_relu() == mutant.is_of_relu;
        let cost = question.subject.cost().max(FEWEST_ELEMENTS);
        (!launches, if is_alike { cost } else { LATER * cost })
    });
    questions
}

#[test]
fn the_kernels_as_they_are_pass() {
    // Before anyone waits for them within a thread pool.
    LazyLock::force(&QUESTIONS);
    let build = Build::of(None, Part { families: &FAMILIES, only_f32: false });
    let is_asked = |question: &&Question| match question.subject {
        Subject::Case(golden) => {
            elements(&golden.case) <= MOST_ELEMENTS && golden.case.name.starts_with("kernels/")
        }
        _ => true,
    };
    let refused: Vec<String> = QUESTIONS
        .par_iter()
        .filter(is_asked)
        .filter_map(|question| question.ask(build.emulate()).0)
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn every_mutant_is_caught() {
    // Before anyone waits for them within a thread pool.
    LazyLock::force(&QUESTIONS);
    let mutants = mutants();
    let survivors: Vec<String> = mutants
        .par_iter()
        .filter(|mutant| refused(mutant).is_none())
        .map(|mutant| format!("{} ({})", mutant.name, mutant.file))
        .collect();
    assert!(survivors.is_empty(), "{} of {} live: {survivors:#?}", survivors.len(), mutants.len());
}
