//! The scoreboard as one HTML file: tables, findings, filters, and nothing from elsewhere.

use bn_suite::report::Ulps;
use maud::{Markup, PreEscaped, html};

use super::{Board, CauseRow, Shown, cells, failures, replay, speeds};
use crate::cause::Severity;
use crate::record::{Record, Tally};

const STYLE: &str = include_str!("board.css");
const SCRIPT: &str = include_str!("board.js");

/// The page.
pub fn page(board: &Board) -> String {
    let causes = board.causes();
    let body = html! {
        style { (PreEscaped(STYLE)) }
        h1 { "Batch norm: who computes it" }
        (introduction(board))
        (scores(board))
        (not_run(board))
        (filters(board))
        h2 #findings { "What is wrong, by cause" }
        @for row in &causes { (finding(row)) }
        @if causes.is_empty() { p { "Nothing." } }
        p.none hidden { "No finding is left by these filters." }
        (groups(board))
        (speeds::section(board))
        (disputes(board))
        (conventions(board))
        script { (PreEscaped(SCRIPT)) }
    };
    bn_page::page("batch norm: who computes it", "en", body)
}

fn introduction(board: &Board) -> Markup {
    let cases = board.records.iter().map(|record| record.all.cases).max().unwrap_or(0);
    html! {
        p {
            "Each engine is asked those of " (cases) " cases that it claims to be able to do, and every number of its \
             answers is compared with the truth, computed in 256 bits. It " b { "conforms" } " where each is within what \
             float arithmetic may lose in that place; it is " b { "accurate" } " besides where each is within what \
             wide sums can give. What PyTorch does is what is asked."
        }
        ul.legend {
            li { (pill(Severity::Wrong)) "another function than batch norm" }
            li { (pill(Severity::Inaccurate)) "the right function, further from the truth than allowed" }
            li { (pill(Severity::Convention)) "another function, and the engine's documentation says so" }
            li { (pill(Severity::Unsupported)) "claimed by the engine, and declined with an error" }
        }
    }
}

fn pill(severity: Severity) -> Markup {
    html! { span class={ "pill " (severity.name()) } { (severity.name()) } " " }
}

/// Of everybody: counts, and how near.
fn scores(board: &Board) -> Markup {
    html! {
        h2 { "Scores" }
        table.scores {
            thead { tr {
                th { "engine" } th { "of its cases" } th.number { "passed" } th.number { "wrong" }
                th.number { "inacc." } th.number { "conv." } th.number { "unsupp." } th.number { "not asked" }
                th.number { "worst ×" } th.number { "accurate" } th.number { "worst ×" }
                th.number { "ULP, median" } th.number { "worst" }
            } }
            tbody { @for record in &board.records { (score(board, record)) } }
        }
        p.faint {
            "Failed cases stand under their worst cause. “Not asked”: the engine does not claim what they need, or the case \
             is disputed. “Worst ×” is the largest |got − expected| / allowance by the grade to its left (at most 1 is \
             right). “ULP”: each case counts by its largest error in units in the last place of the truth, over the \
             elements that accurate arithmetic settles to 8 of them."
        }
    }
}

fn score(board: &Board, record: &Record) -> Markup {
    let failed = board.failed_cases(record);
    let of = |severity: Severity| failed.get(&severity).copied().unwrap_or(0);
    let all = &record.all;
    let name = &record.engine.name;
    let homepage = board.registry.find(name).map_or("", |engine| engine.homepage.as_str());
    let title = board.title(name);
    html! {
        tr.engine data-engine=(name) {
            th scope="row" {
                (name) " " span.version { (record.engine.version) }
                div.faint {
                    @if homepage.is_empty() { (title) } @else { a href=(homepage) { (title) } }
                    ", " (cells::day(record.recorded))
                }
            }
            td { (bar(all, &Severity::ALL.map(of))) }
            td.number { (all.passed) }
            @for severity in Severity::ALL {
                td.number.zero[of(severity) == 0] { (of(severity)) }
            }
            td.number { (all.unsupported + all.disputed) }
            td.number { (cells::ratio(all.worst)) }
            td.number { (all.accurate) "/" (all.judged) }
            td.number { (cells::ratio(all.accurate_worst)) }
            td.number { (cells::ulps(all.ulps.map(|ulps| ulps.median))) }
            td.number { (cells::ulps(all.ulps.map(|ulps| ulps.worst))) }
        }
    }
}

/// Passed, failed by severity, and the rest blank.
fn bar(all: &Tally, failed: &[usize; 4]) -> Markup {
    let asked = (all.passed + all.failed).max(1) as f64;
    let parts = [("passed", all.passed)]
        .into_iter()
        .chain(Severity::ALL.map(Severity::name).into_iter().zip(*failed));
    html! {
        div.bar title={ (all.passed) " of " (all.passed + all.failed) " cases that it was asked" } {
            @for (class, count) in parts.filter(|(_, count)| *count > 0) {
                span class=(class) style={ "width:" (format!("{:.2}", 100.0 * count as f64 / asked)) "%" } {}
            }
        }
    }
}

fn not_run(board: &Board) -> Markup {
    html! {
        @if !board.not_run.is_empty() {
            h3 { "Not run" }
            ul { @for engine in &board.not_run {
                li { b { (engine.name) } " (" (engine.date) "): " (engine.reason) }
            } }
        }
    }
}

fn filters(board: &Board) -> Markup {
    let select = |name: &str, all: &str, values: Vec<&str>| {
        html! {
            label { (name) " "
                select data-filter=(name) {
                    option value="" { (all) }
                    @for value in values { option value=(value) { (value) } }
                }
            }
        }
    };
    let engines = board.records.iter().map(|record| record.engine.name.as_str()).collect();
    html! {
        form.filters {
            (select("engine", "all", engines))
            (select("group", "all", board.groups()))
            (select("severity", "all", Severity::ALL.map(Severity::name).to_vec()))
            button type="reset" { "clear" }
            span.count {}
        }
    }
}

/// A cause, in a drawer: whose, why, and every failure.
fn finding(row: &CauseRow) -> Markup {
    let names = |shown: &Shown| {
        html! {
            span.who data-engine=(shown.record.engine.name) {
                (shown.record.engine.name) " " span.version { (shown.record.engine.version) } " "
                span.faint { (shown.finding.cases) }
                @if shown.severity != row.severity() { " " (pill(shown.severity)) }
            }
        }
    };
    html! {
        section.finding {
            h3 { (pill(row.severity())) (row.cause.title) }
            p.engines { @for shown in &row.engines { (names(shown)) } }
            p { (row.cause.explanation) }
            @for shown in &row.engines {
                @if let Some(convention) = shown.convention {
                    p.convention-note { b { (shown.record.engine.name) } " documents it: " (convention.says) " "
                        a href=(convention.link) { (convention.link) } }
                }
            }
            @if let Some(shown) = row.engines.first() {
                p { "Shown by " code.command { (replay(&shown.record.engine.name, &shown.finding.shown_by)) }
                    ", and in a few lines of the framework's own by "
                    code.command { "bn explain " (shown.record.engine.name) " " (shown.finding.shown_by) } "." }
            }
            details { summary { "every case" } (failures::table(row)) }
        }
    }
}

/// Engines × groups.
fn groups(board: &Board) -> Markup {
    html! {
        h2 { "By group" }
        p.faint { "Passed of the cases that were asked; beneath, how many of the judged ones are accurate, the worst by \
            either grade, and the median and the worst in ULP. Blank: not asked." }
        table.groups {
            thead { tr {
                th { "group" }
                @for record in &board.records { th data-engine=(record.engine.name) { (record.engine.name) } }
            } }
            tbody {
                @for group in board.groups() {
                    tr data-group=(group) {
                        th scope="row" { (group) }
                        @for record in &board.records {
                            (group_cell(record, record.groups.iter().find(|tally| tally.name == group)))
                        }
                    }
                }
            }
        }
    }
}

fn group_cell(record: &Record, tally: Option<&Tally>) -> Markup {
    let engine = &record.engine.name;
    let Some(tally) = tally.filter(|tally| tally.passed + tally.failed > 0) else {
        return html! { td data-engine=(engine) {} };
    };
    let asked = tally.passed + tally.failed;
    let class = if tally.failed == 0 {
        "all"
    } else if tally.passed == 0 {
        "no"
    } else {
        "some"
    };
    html! {
        td class={ "cell " (class) } data-engine=(engine) {
            b { (tally.passed) "/" (asked) }
            div.faint {
                (tally.accurate) "/" (tally.judged) br;
                (cells::ratio(tally.worst)) " · " (cells::ratio(tally.accurate_worst)) br;
                @if let Some(Ulps { median, worst }) = tally.ulps {
                    (cells::ulps(Some(median))) " · " (cells::ulps(Some(worst))) " ULP"
                }
            }
        }
    }
}

/// What the catalogue knows of an engine already.
fn disputes(board: &Board) -> Markup {
    let disputed: Vec<&Record> = board.records.iter().filter(|record| !record.disputed.is_empty()).collect();
    html! {
        @if !disputed.is_empty() {
            h2 { "Disputed" }
            p { "Where an engine is known to differ, and the truth stands all the same." }
            @for record in disputed {
                h3 { (record.engine.name) ": " (record.disputed.len()) " cases" }
                @for (note, cases) in by_note(record) {
                    p { (note) }
                    p.faint { (cases.join(", ")) }
                }
            }
        }
    }
}

fn by_note(record: &Record) -> Vec<(&str, Vec<&str>)> {
    let mut notes: Vec<(&str, Vec<&str>)> = Vec::new();
    for disputed in &record.disputed {
        match notes.iter_mut().find(|(note, _)| *note == disputed.note) {
            Some((_, cases)) => cases.push(&disputed.case),
            None => notes.push((&disputed.note, vec![&disputed.case])),
        }
    }
    notes
}

fn conventions(board: &Board) -> Markup {
    let documented = &board.conventions.conventions;
    html! {
        @if !documented.is_empty() {
            h2 { "Documented conventions" }
            ul { @for convention in documented {
                li { b { (convention.engine) } ": " (convention.says) " "
                    a href=(convention.link) { (convention.link) } }
            } }
        }
    }
}
