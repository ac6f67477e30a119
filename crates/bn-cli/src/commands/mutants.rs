//! `bn mutants`: how many wrong batch norms does the suite refuse?

use std::io::Write;

use anyhow::{Context, Result};
use bn_suite::catalogue;
use bn_suite::fixtures;
use bn_suite::kill_matrix::{self, Cases, KillMatrix, Row, Suspects, VariantRow};
use bn_suite::mutants;
use bn_suite::protocol;
use clap::{Args, ValueEnum};

use crate::engine::{self, CUDA_EMULATED};
use crate::selection::{self, CasesArguments};
use crate::{names, progress, style};

/// What `bn mutants` takes.
#[derive(Args)]
pub struct Arguments {
    /// Only this mutant
    #[arg(long, value_name = "NAME")]
    mutant: Option<String>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    cases: CasesArguments,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// Runs the engines, prints, and says whether no mutant survives and no right
/// engine is refused.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let suspects = chosen(arguments.mutant.as_deref())?;
    let cases = cases(&arguments.cases)?;
    let engines = suspects.mutants.len() + suspects.variants.len() + suspects.partial.len();
    let bar = progress::bar(engines, "judging");
    protocol::silence_engines();
    let matrix = kill_matrix::run(&suspects, &cases, || bar.inc(1));
    bar.finish_and_clear();
    let mut out = anstream::stdout();
    match (arguments.format, &arguments.mutant) {
        (Format::Json, _) => write!(out, "{}", fixtures::pretty(&serde_json::to_value(&matrix)?))?,
        (Format::Table, Some(_)) => write_killers(&mut out, &matrix)?,
        (Format::Table, None) => write_table(&mut out, &matrix)?,
    }
    Ok(matrix.is_clean())
}

/// Everybody, our CUDA kernels on the emulator among them, or one mutant alone.
fn chosen(name: Option<&str>) -> Result<Suspects> {
    let all = Suspects::all()?;
    let Some(name) = name else {
        let emulated = engine::constructor(CUDA_EMULATED).map(|make| (CUDA_EMULATED.to_owned(), make));
        return Ok(Suspects { partial: emulated.into_iter().collect(), ..all });
    };
    let known = all.mutants.iter().map(|mutant| mutant.name);
    let unknown = || names::unknown("mutant", name, known, "`bn mutants` lists them");
    let mutant = mutants::by_name(name).with_context(unknown)?;
    Ok(Suspects { mutants: vec![mutant], variants: Vec::new(), ..all })
}

/// Every case: what the catalogue stores, from the fixtures; the others solved anew.
fn cases(cases: &CasesArguments) -> Result<Cases> {
    let entries = catalogue::all();
    let is_generated = |name: &str| entries.iter().any(|entry| entry.case.name == name && !entry.stored);
    let all = selection::select(None, None, cases)?;
    let (generated, golden) = all.into_iter().partition(|golden| is_generated(&golden.case.name));
    Ok(Cases { golden, generated })
}

fn write_table(out: &mut impl Write, matrix: &KillMatrix) -> Result<()> {
    let row = |row: &Row| {
        let count = |killers: &[String]| match killers.len() {
            0 => "none".into(),
            killers => killers.to_string(),
        };
        let source = if row.source.is_empty() { String::new() } else { format!(" ({})", row.source) };
        let (golden, generated) = (count(&row.killed_by.golden), count(&row.killed_by.generated));
        vec![row.name.clone(), golden, generated, format!("{}{source}", row.fault)]
    };
    let rows = matrix.mutants.iter().map(row).collect();
    writeln!(out, "{}", style::table(&["mutant", "golden", "generated", "what is wrong"], rows, 1..3))?;
    write_variants(out, matrix)?;
    write_rivals(out, matrix)?;
    write_cases(out, matrix)?;
    let KillMatrix { total, killed_by_golden, killed_by_generated, .. } = matrix;
    let survivors = match matrix.survivors.len() {
        0 => style::good("0 survivors"),
        count => style::bad(style::count(count, "survivor")),
    };
    writeln!(
        out,
        "{total} mutants: {killed_by_golden} killed by stored cases alone, \
         {killed_by_generated} by generated cases alone, {survivors}; \
         {} of {} right engines passed",
        matrix.variants.iter().filter(|variant| variant.passed).count(),
        matrix.variants.len()
    )?;
    Ok(())
}

/// Whether the suite takes the right engines for right.
fn write_variants(out: &mut impl Write, matrix: &KillMatrix) -> Result<()> {
    let row = |variant: &VariantRow| {
        let refused = match variant.refused_by.as_slice() {
            [] => style::good("by no case"),
            cases => style::bad(cases.join(", ")),
        };
        let unsupported = variant.unsupported.to_string();
        vec![variant.name.clone(), style::ratio(variant.worst_ratio), unsupported, refused]
    };
    let rows = matrix.variants.iter().map(row).collect();
    writeln!(out, "{}", style::table(&["right engine", "worst", "not asked", "refused"], rows, 1..3))?;
    Ok(())
}

/// What the other suites make of the same engines.
fn write_rivals(out: &mut impl Write, matrix: &KillMatrix) -> Result<()> {
    let rivals = matrix.rivals.iter();
    let rows = rivals.map(|rival| {
        let counts = [rival.killed, rival.variants_refused].map(|count| count.to_string());
        [vec![rival.name.clone()], counts.to_vec(), vec![rival.about.clone()]].concat()
    });
    let head = ["other suite", "killed", "right refused", "what it is"];
    writeln!(out, "{}", style::table(&head, rows.collect(), 1..3))?;
    Ok(())
}

fn write_cases(out: &mut impl Write, matrix: &KillMatrix) -> Result<()> {
    let only: Vec<String> = matrix
        .only_killers
        .iter()
        .map(|killer| format!("{} ({})", killer.case, killer.mutants.join(", ")))
        .collect();
    if !only.is_empty() {
        writeln!(out, "{}", style::paragraph(&format!("the only killers: {}", only.join("; "))))?;
    }
    if !matrix.idle_cases.is_empty() {
        let text = format!("kill nothing: {}", matrix.idle_cases.join(", "));
        writeln!(out, "{}", style::paragraph(&text))?;
    }
    if !matrix.large_cases.is_empty() {
        let large = matrix.large_cases.join(", ");
        let text = format!("asked only about what smaller cases let live: {large}");
        writeln!(out, "{}", style::paragraph(&text))?;
    }
    Ok(())
}

/// One mutant with every case that kills it.
fn write_killers(out: &mut impl Write, matrix: &KillMatrix) -> Result<()> {
    for Row { name, fault, source, killed_by } in &matrix.mutants {
        let source = if source.is_empty() { String::new() } else { format!(" ({source})") };
        writeln!(out, "{name}: {fault}{source}")?;
        for (kind, killers) in [("stored", &killed_by.golden), ("generated", &killed_by.generated)] {
            let killers = if killers.is_empty() { style::bad("none") } else { killers.join(", ") };
            writeln!(out, "{}", style::paragraph(&format!("killed by {kind} cases: {killers}")))?;
        }
    }
    Ok(())
}
