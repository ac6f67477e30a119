//! The kernels' mutants: one text replaced by another, once.

mod relu;
mod written;

use std::fs;
use std::path::Path;

use self::relu::RELU;
use self::written::*;

/// The kernels with one thing changed.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// What is wrong with it.
    pub name: &'static str,
    /// The file of `kernels/`.
    pub file: &'static str,
    find: &'static str,
    replace: &'static str,
    /// Which of the places where `find` stands, from 0.
    place: usize,
    /// Whether it shows only where there is a relu.
    pub is_of_relu: bool,
}

impl Mutant {
    /// The file's text, changed.
    pub fn apply(&self, text: &str) -> String {
        let (at, _) = text.match_indices(self.find).nth(self.place).unwrap_or_else(|| {
            panic!("{}: {} has no place {} of {:?}", self.name, self.file, self.place, self.find)
        });
        [&text[..at], self.replace, &text[at + self.find.len()..]].concat()
    }
}

/// Every mutant: those that are written down, and everything that orders threads left out.
pub fn mutants() -> Vec<Mutant> {
    let groups =
        [("sum.cuh", SUM), ("channel.cuh", CHANNEL), ("element.cuh", ELEMENT), ("formulas.cuh", FORMULAS)];
    let more = [
        ("baseline.cuh", BASELINE),
        ("rows.cuh", ROWS),
        ("resident.cuh", RESIDENT),
        ("columns.cuh", COLUMNS),
        ("slab.cuh", SLAB),
        ("stream.cuh", STREAM),
        ("strip.cuh", STRIP),
    ];
    let of_relu = RELU.iter().map(|&(file, group)| (file, group, true));
    let all = groups.into_iter().chain(more).map(|(file, group)| (file, group, false)).chain(of_relu);
    let written = all.flat_map(|(file, group, is_of_relu)| {
        group.iter().map(move |&(name, find, replace)| Mutant {
            name,
            file,
            find,
            replace,
            place: 0,
            is_of_relu,
        })
    });
    let left_out = [
        "sum.cuh",
        "baseline.cuh",
        "rows.cuh",
        "resident.cuh",
        "columns.cuh",
        "slab.cuh",
        "stream.cuh",
        "strip.cuh",
    ]
    .into_iter()
    .flat_map(left_out);
    written.chain(left_out).collect()
}

/// What orders one thread's accesses before another's, or before the copy engine's.
const ORDERING: [(&str, &str); 10] = [
    ("a barrier is left out", " barrier();"),
    ("a barrier of the cluster is left out", " cluster_barrier();"),
    ("a barrier of the grid is left out", " grid_barrier(slab.scratch.gate);"),
    ("a barrier of the grid is left out", " grid_barrier(stream.gate);"),
    ("a barrier of the grid is left out", " grid_barrier(whole.scratch.gate);"),
    ("nobody waits for the tiles", " wait_for(&whole.notes->arrival[tiles_so_far % 2], tiles_so_far / 2);"),
    ("nobody waits for the tiles", " wait_for(&desk->arrival[tiles_so_far % 2], tiles_so_far / 2);"),
    ("what was written is not handed over", " hand_over();"),
    ("nobody waits for the copies in", " wait_for(arrival, 0);"),
    ("nobody waits for the copies out", " wait_for_copies_out();"),
];

fn left_out(file: &'static str) -> Vec<Mutant> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let text = fs::read_to_string(folder.join(file)).unwrap();
    let of_kind = |&(name, find): &(&'static str, &'static str)| {
        (0..text.matches(find).count()).map(move |place| Mutant {
            name,
            file,
            find,
            replace: " ;",
            place,
            is_of_relu: false,
        })
    };
    ORDERING.iter().flat_map(of_kind).collect()
}
