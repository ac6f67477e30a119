//! `bn check`: asks an engine every case and sums up.

mod excesses;
mod findings;
mod junit;

use std::io::Write;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use bn_findings::findings::{CausesOfCase, Finding, by_cause, causes};
use bn_findings::record::{Random, Record};
use bn_page::WholeFile;
use bn_suite::check::{self, CaseReport, Verdict};
use bn_suite::engine::About;
use bn_suite::fixtures;
use bn_suite::golden::Golden;
use bn_suite::model::Grade;
use bn_suite::report::{AccurateCounts, Counts, DisputedEntry, GroupReport, Report, WorstOf};
use clap::{Args, ValueEnum};

use crate::engine::EngineArguments;
use crate::selection::{self, CasesArguments};
use crate::{progress, style};

/// So many failed cases are shown in full; the others by name.
const SHOWN: usize = 10;

/// So many of the cases that share a dispute are named; `--format json` names all.
const NAMED: usize = 3;

/// What `bn check` takes.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    engine: EngineArguments,
    /// Only the cases of this group
    #[arg(long, value_name = "G")]
    group: Option<String>,
    /// Only this case
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// The grade that decides: does it conform, or is it as accurate as our own engine?
    #[arg(long, value_enum, default_value_t = GradeArgument::Conforms)]
    grade: GradeArgument,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Keep the result in this file too, as `bn report` reads it
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    #[command(flatten)]
    cases: CasesArguments,
}

#[derive(Clone, Copy, ValueEnum)]
enum GradeArgument {
    /// What float arithmetic with statistics in the parameters' precision can promise
    Conforms,
    /// What wide sums and a mean in more than the parameters' precision can
    Accurate,
}

impl From<GradeArgument> for Grade {
    fn from(grade: GradeArgument) -> Self {
        match grade {
            GradeArgument::Conforms => Grade::Conforms,
            GradeArgument::Accurate => Grade::Accurate,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Json,
    Junit,
}

/// Checks, prints, and says whether nothing failed by the grade that was asked for.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let record = arguments.record.as_deref().map(WholeFile::create).transpose()?;
    let mut engine = arguments.engine.open()?;
    let goldens = selection::select(arguments.group.as_deref(), arguments.case.as_deref(), &arguments.cases)?;
    let replay = arguments.engine.replay(arguments.cases.fixtures.fixtures.as_deref());
    let bar = progress::bar(goldens.len(), "checking");
    let cases = engine.check(&goldens, &replay, || bar.inc(1));
    bar.finish_and_clear();
    let about = engine.about();
    let report = Report::new(&about, &cases);
    let (causes, findings) = explained(&goldens, &about, &cases);
    if let Some(file) = record {
        let recorded = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let random = Random { seed: arguments.cases.seed, count: arguments.cases.random };
        let record = Record::new(&about, &report, &cases, &causes, findings.clone(), (random, recorded));
        file.finish(record.text())?;
    }
    let mut out = anstream::stdout();
    match arguments.format {
        Format::Table => {
            write_table(&mut out, &report, &cases, &findings, arguments.grade.into())?;
            write_seed(&mut out, &report, &arguments.cases)?;
        }
        Format::Json => {
            let mut value = serde_json::to_value(&report)?;
            value["findings"] = serde_json::to_value(&findings)?;
            write!(out, "{}", fixtures::pretty(&value))?;
        }
        Format::Junit => junit::write(&mut out, &report, &cases)?,
    }
    let accurate = matches!(arguments.grade, GradeArgument::Conforms) || report.accurate.failed == 0;
    Ok(report.counts.failed == 0 && accurate)
}

/// The cause of every failure, and the failures by cause.
fn explained(goldens: &[Golden], about: &About, cases: &[CaseReport]) -> (Vec<CausesOfCase>, Vec<Finding>) {
    let asked: Vec<Golden> =
        goldens.iter().map(|golden| check::asked(golden, &about.claims).into_owned()).collect();
    let failed = cases.iter().filter(|case| matches!(case.verdict, Verdict::Failed { .. })).count();
    let bar = progress::bar(failed, "explaining");
    let causes = causes(&asked, cases, || bar.inc(1));
    bar.finish_and_clear();
    let findings = by_cause(goldens, &causes);
    (causes, findings)
}

fn write_table(
    out: &mut impl Write,
    report: &Report,
    cases: &[CaseReport],
    findings: &[Finding],
    grade: Grade,
) -> Result<()> {
    let table = match grade {
        Grade::Conforms => conforming_table(report),
        Grade::Accurate => accurate_table(report),
    };
    writeln!(out, "{table}")?;
    write_unsupported(out, report)?;
    write_disputed(out, report)?;
    write_failures(out, cases)?;
    findings::write(out, findings)?;
    if grade == Grade::Accurate {
        excesses::write(out, report)?;
    }
    write_summary(out, report)
}

/// Which cases conform, group by group, and the worst ratio under either grade.
fn conforming_table(report: &Report) -> String {
    // Two columns are rarely needed, and the last one needs the room.
    let Counts { unsupported, disputed, .. } = report.counts;
    let is_shown = [true, true, true, unsupported > 0, disputed > 0];
    let counts = ["cases", "passed", "failed", "unsupported", "disputed"];
    fn shown<T>(all: impl IntoIterator<Item = T>, is_shown: [bool; 5]) -> impl Iterator<Item = T> {
        all.into_iter().zip(is_shown).filter(|(_, is_shown)| *is_shown).map(|(item, _)| item)
    }
    let mut head = vec!["group"];
    head.extend(shown(counts, is_shown));
    head.extend(["accurate", "worst", "at: case, step, element"]);
    let numbers = 1..head.len() - 1;
    let row = |group: &GroupReport| {
        let Counts { cases, passed, failed, unsupported, disputed } = group.counts;
        let mut row = vec![group.name.clone()];
        row.extend(shown([cases, passed, failed, unsupported, disputed].map(|n| n.to_string()), is_shown));
        row.push(group.accurate.passed.to_string());
        row.extend(worst_cells(&group.worst));
        row
    };
    style::table(&head, report.groups.iter().map(row).collect(), numbers)
}

/// Which cases are accurate, group by group.
fn accurate_table(report: &Report) -> String {
    let row = |group: &GroupReport| {
        let AccurateCounts { cases, passed, failed, worst } = &group.accurate;
        let mut row = vec![group.name.clone()];
        row.extend([cases, passed, failed].map(usize::to_string));
        row.extend(worst_cells(worst));
        row
    };
    let head = ["group", "judged", "accurate", "not", "worst", "at: case, step, element"];
    style::table(&head, report.groups.iter().map(row).collect(), 1..5)
}

/// One paragraph per reason, with the first cases that it holds for.
fn write_disputed(out: &mut impl Write, report: &Report) -> Result<()> {
    let mut notes: Vec<(&str, Vec<&str>)> = Vec::new();
    for DisputedEntry { case, note } in &report.disputed_cases {
        match notes.iter_mut().find(|(known, _)| known == note) {
            Some((_, cases)) => cases.push(case),
            None => notes.push((note, vec![case])),
        }
    }
    for (note, cases) in notes {
        let more = cases.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let named = cases.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
        let text = style::paragraph(&format!("disputed {named}{more}: {note}"));
        writeln!(out, "{}", text.replacen("disputed", &style::doubtful("disputed"), 1))?;
    }
    Ok(())
}

/// The worst ratio and its place, without the group, which stands in the same row.
fn worst_cells(worst: &Option<WorstOf>) -> [String; 2] {
    let Some(WorstOf { case, place }) = worst else { return [String::new(), String::new()] };
    if place.ratio == 0.0 {
        return ["0".into(), "every element exact".into()];
    }
    let short = case.split_once('/').map_or(case.as_str(), |(_, short)| short);
    [style::ratio(place.ratio), format!("{short}, {}, {}[{}]", place.step, place.field, place.index)]
}

/// What was not tested: how many cases need each capability that is not claimed.
fn write_unsupported(out: &mut impl Write, report: &Report) -> Result<()> {
    let mut needs: std::collections::BTreeMap<&str, usize> = Default::default();
    for capability in report.unsupported_cases.iter().flat_map(|entry| &entry.missing) {
        *needs.entry(capability).or_default() += 1;
    }
    if !needs.is_empty() {
        let needs: Vec<String> = needs.iter().map(|(name, count)| format!("{name} ({count})")).collect();
        let count = style::count(report.unsupported_cases.len(), "case");
        let text = format!("not asked: {count}, for want of {}", needs.join(", "));
        writeln!(out, "{}", style::paragraph(&text).replacen("not asked", &style::doubtful("not asked"), 1))?;
    }
    Ok(())
}

fn write_failures(out: &mut impl Write, cases: &[CaseReport]) -> Result<()> {
    let failed: Vec<&CaseReport> =
        cases.iter().filter(|case| matches!(case.verdict, Verdict::Failed { .. })).collect();
    for case in failed.iter().take(SHOWN) {
        let text = case.to_string();
        writeln!(out, "\n{}{}", style::bad("FAILED"), text.strip_prefix("FAILED").unwrap_or(&text))?;
    }
    if failed.len() > SHOWN {
        writeln!(out, "\nfailed too (--format json tells all about them):")?;
        for case in &failed[SHOWN..] {
            writeln!(out, "  {}", case.case)?;
        }
    }
    if !failed.is_empty() {
        writeln!(out)?;
    }
    Ok(())
}

/// Where the random cases came from, if there were any.
fn write_seed(out: &mut impl Write, report: &Report, cases: &CasesArguments) -> Result<()> {
    if let Some(random) = report.groups.iter().find(|group| group.name == "random") {
        let count = style::count(random.counts.cases, "random case");
        writeln!(out, "{count} of seed {}; --seed S draws others, --random K so many", cases.seed)?;
    }
    Ok(())
}

fn write_summary(out: &mut impl Write, report: &Report) -> Result<()> {
    let Counts { cases, passed, failed, unsupported, disputed } = report.counts;
    let engine = format!("{} {}", report.engine.name, report.engine.version);
    let cases = style::count(cases, "case");
    let failed = if failed == 0 { style::good("0 failed") } else { style::bad(format!("{failed} failed")) };
    writeln!(
        out,
        "{engine}: {cases}: {passed} passed, {failed}, {unsupported} unsupported, {disputed} disputed"
    )?;
    let AccurateCounts { cases, passed, worst, .. } = &report.accurate;
    if let Some(WorstOf { case, place }) = worst {
        let all = format!("{passed} of {}", style::count(*cases, "case"));
        let all = if passed == cases { style::good(all) } else { style::doubtful(all) };
        let worst = style::ratio(place.ratio);
        let text = format!(
            "accurate besides: {all}; worst {worst}: {case}, step {}, {}[{}]",
            place.step, place.field, place.index
        );
        writeln!(out, "{}", style::paragraph(&text))?;
    }
    Ok(())
}
