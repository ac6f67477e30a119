//! The page of what was measured so far: one HTML file that needs nothing else.

use std::collections::{BTreeMap, BTreeSet};

use bn_page::charts::{Chart, Scale, Series};
use bn_page::{date, figure};
use maud::{Markup, html};

use crate::axes::Op;
use crate::gate::{Report, Verdict};
use crate::history::Line;
use crate::record::{Record, Row};
use crate::statistics::geometric_mean;

/// The page of these lines, in any order.
pub fn page(lines: &[Line]) -> String {
    let mut runs: Vec<&Record> = Vec::new();
    let mut gates: Vec<&Report> = Vec::new();
    for line in lines {
        match line {
            Line::Run(record) => runs.push(record),
            Line::Gate(report) => gates.push(report),
        }
    }
    runs.sort_by_key(|record| record.unix_time);
    gates.sort_by_key(|report| report.unix_time);
    let body = html! {
        h1 { "Batch norm: how fast" }
        @if let Some(last) = runs.last() {
            (about(last))
            (over_time(&runs))
            (roofline(last))
            (scaling(last))
            (networks(last))
        } @else {
            p { "No run of bn-perf is in what was given." }
        }
        (gate_table(&gates))
    };
    bn_page::page("batch norm: how fast", "en", body)
}

fn about(run: &Record) -> Markup {
    let machine = &run.machine;
    html! {
        p {
            "The last run: " (date(run.unix_time)) ", revision " code { (run.revision) }
            ", libtorch " (run.libtorch) ", on " (machine.processor) ", " (machine.threads)
            " processors, " (machine.os)
            @if let Some(cuda) = &machine.cuda {
                ", on its " (cuda.name) ", driver " (cuda.driver.as_deref().unwrap_or("unknown"))
            }
            "."
        }
        @if let Some(warning) = machine.warning() {
            p.warning { "Warning: " (warning) }
        }
    }
}

fn over_time(runs: &[&Record]) -> Markup {
    // A GPU's ratios are others than a processor's.
    let mut series = BTreeMap::<String, Vec<(f64, f64)>>::new();
    for (number, run) in (1..).zip(runs) {
        let place = run.machine.cuda.as_ref().map_or(String::new(), |cuda| format!("{}: ", cuda.name));
        for (key, mean) in &run.geomean {
            series.entry(format!("{place}{key}")).or_default().push((f64::from(number), *mean));
        }
    }
    let series = series.into_iter().map(|(name, points)| Series::line(name, points));
    let chart = Chart {
        x: format!("run, of {}", runs.len()),
        y: "libtorch's time / ours".into(),
        x_scale: Scale::Whole,
        y_scale: Scale::FromZero,
        series: series.collect(),
    };
    html! {
        h2 { "Ratio over time" }
        p { "How many times as fast as libtorch: the geometric mean over the layers of each run, \
             weighted by how often a layer occurs. Runs on different machines do not compare." }
        (figure(&chart, ""))
        table {
            thead { tr { th { "run" } th { "when" } th { "revision" } th { "libtorch" } th { "processor" } th.number { "rows" } } }
            tbody {
                @for (number, run) in (1..).zip(runs) {
                    tr {
                        td { (number) } td { (date(run.unix_time)) } td { code { (run.revision) } }
                        td { (run.libtorch) } td { (run.machine.processor) } td.number { (run.rows.len()) }
                    }
                }
            }
        }
    }
}

/// The rows of each thread count, dtype and layout.
fn settings(run: &Record) -> BTreeMap<String, Vec<&Row>> {
    let mut by_setting = BTreeMap::<String, Vec<&Row>>::new();
    for row in &run.rows {
        let subject = &row.subject;
        let threads = if subject.threads == 1 { "thread" } else { "threads" };
        let setting = format!("{}, {}, {} {threads}", subject.dtype, subject.layout, subject.threads);
        by_setting.entry(setting).or_default().push(row);
    }
    by_setting
}

fn roofline(run: &Record) -> Markup {
    html! {
        h2 { "Roofline" }
        p { "Each point is a row: the bytes that it must move, and how fast it moves them. The lines are \
             libtorch's copy, and a copy with streaming stores, of as many bytes." }
        @for (setting, rows) in settings(run) {
            h3 { (setting) }
            (figure(&roofline_chart(&rows), ""))
        }
    }
}

fn roofline_chart(rows: &[&Row]) -> Chart {
    let points = |time: &dyn Fn(&Row) -> Option<f64>, of: &dyn Fn(&Row) -> bool| {
        let speed = |row: &&&Row| Some((row.bytes as f64, row.bytes as f64 / time(row)? / 1e9));
        let mut points: Vec<(f64, f64)> =
            rows.iter().filter(|row| of(row)).filter_map(|row| speed(&row)).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    };
    let ops: BTreeSet<Op> = rows.iter().map(|row| row.subject.op).collect();
    let mut series: Vec<Series> = ops
        .iter()
        .map(|op| {
            let points = points(&|row| Some(row.ours_s), &|row| row.subject.op == *op);
            Series::dots(format!("ours, {op}"), points)
        })
        .collect();
    // The copies are timed beside each operation; the forward pass moves what they do.
    let first = ops.first().copied();
    for (name, time) in [
        ("copy", (&|row: &Row| Some(row.copy_s)) as &dyn Fn(&Row) -> Option<f64>),
        ("streaming copy", &|row: &Row| row.stream_copy_s),
    ] {
        let points = points(time, &|row| Some(row.subject.op) == first);
        series.push(Series::line(name, points));
    }
    Chart {
        x: "bytes moved".into(),
        y: "GB/s".into(),
        x_scale: Scale::Bytes,
        y_scale: Scale::FromZero,
        series,
    }
}

fn scaling(run: &Record) -> Markup {
    let counts: BTreeSet<usize> = run.rows.iter().map(|row| row.subject.threads).collect();
    let series = scaling_series(run);
    let chart = Chart {
        x: "threads".into(),
        y: "times as fast as with the fewest".into(),
        x_scale: Scale::Whole,
        y_scale: Scale::FromZero,
        series,
    };
    html! {
        h2 { "Scaling by threads" }
        @if counts.len() < 2 {
            p { "The last run has one number of threads; --threads 1,2 measures more." }
        } @else {
            p { "Our time with the fewest threads over that with more, the geometric mean over layers, \
                 weighted by how often one occurs." }
            (figure(&chart, ""))
        }
    }
}

fn scaling_series(run: &Record) -> Vec<Series> {
    let fewest = run.rows.iter().map(|row| row.subject.threads).min();
    let mut gains = BTreeMap::<String, BTreeMap<usize, Vec<(usize, f64)>>>::new();
    for row in &run.rows {
        let subject = &row.subject;
        let alike = |other: &&Row| {
            let mut as_this = other.subject.clone();
            as_this.threads = subject.threads;
            as_this == *subject && Some(other.subject.threads) == fewest
        };
        if let Some(base) = run.rows.iter().find(alike) {
            let key = format!("{}/{}/{}", subject.op, subject.dtype, subject.layout);
            let of_key = gains.entry(key).or_default();
            of_key.entry(subject.threads).or_default().push((subject.count, base.ours_s / row.ours_s));
        }
    }
    gains
        .into_iter()
        .map(|(name, by_threads)| {
            let means = by_threads.into_iter().map(|(t, gains)| (t as f64, geometric_mean(gains)));
            Series::line(name, means.collect())
        })
        .collect()
}

fn networks(run: &Record) -> Markup {
    let names: Vec<&String> = run.geomeans_by_network.keys().collect();
    html! {
        h2 { "By network" }
        p { "How many times as fast as libtorch, the geometric mean over the layers of each network." }
        table {
            thead { tr { th { "operation" } @for name in &names { th.number { (name) } } th.number { "all" } } }
            tbody {
                @for (key, mean) in &run.geomean {
                    tr {
                        td { (key) }
                        @for means in run.geomeans_by_network.values() {
                            td.number { @if let Some(mean) = means.get(key) { (format!("{mean:.2}")) } @else { "–" } }
                        }
                        td.number { (format!("{mean:.2}")) }
                    }
                }
            }
        }
    }
}

fn gate_table(gates: &[&Report]) -> Markup {
    html! {
        h2 { "Gates" }
        @if gates.is_empty() {
            p { "No gate is in what was given." }
        } @else {
            table {
                thead { tr { th { "when" } th { "base" } th { "change" } th { "verdict" } th.number { "worst row" } th { "of" } } }
                tbody {
                    @for gate in gates {
                        tr {
                            td { (date(gate.unix_time)) } td { code { (gate.base) } } td { code { (gate.change) } }
                            td { (match gate.verdict {
                                Verdict::Pass => "pass",
                                Verdict::Slower => "slower",
                                Verdict::NoVerdict => "none: too noisy",
                            }) }
                            @let worst = gate.rows.iter().max_by(|a, b| a.slowdown.total_cmp(&b.slowdown));
                            @if let Some(worst) = worst {
                                td.number { (format!("{:+.1} %", 100.0 * worst.slowdown)) }
                                td { (crate::gate::catalogue::name(&worst.row)) }
                            } @else {
                                td.number { "–" } td { "no time was taken" }
                            }
                        }
                    }
                }
            }
        }
    }
}
