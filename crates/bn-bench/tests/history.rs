//! A history grows by whole lines, and one with a corrupt line is refused by its number.

use std::fs;
use std::path::Path;

use bn_bench::Record;
use bn_bench::axes::{Cache, DType, Layout, Op};
use bn_bench::gate::decision::Rule;
use bn_bench::gate::{FLOOR, Judged, PAIRS, Report, Verdict, catalogue, confidence};
use bn_bench::history::{GATE_VERSION, HistoryError, Line, append, read};
use bn_bench::machine::Machine;
use bn_bench::record::{Remarks, Row, Samples, Subject};
use bn_bench::report::page;

fn record(unix_time: u64, ratio: f64) -> Record {
    let rounds = |seconds: f64| vec![[seconds; 2]; 5];
    let rows = [1, 2].into_iter().flat_map(|threads| {
        [(Op::ForwardTrain, 112), (Op::ForwardTrain, 56), (Op::BackwardTrain, 112)].map(|(op, side)| {
            let subject = Subject {
                network: if side == 112 { "resnet50" } else { "small & <odd>" }.into(),
                shape: vec![32, 64, side, side],
                count: 1,
                dtype: DType::F32,
                layout: Layout::Contiguous,
                op,
                threads,
            };
            let ours = 1e-3 / threads as f64;
            let samples = Samples {
                ours: rounds(ours),
                libtorch: rounds(ours * ratio),
                cudnn: None,
                copy: rounds(ours * 0.8),
                stream_copy: Some(rounds(ours * 0.6)),
            };
            Row::new(subject, samples, Remarks::default())
        })
    });
    Record::new(unix_time, Machine::look(), Cache::Warm, rows.collect())
}

fn gate(verdict: Verdict) -> Report {
    let row = catalogue::catalogue()[0].row.clone();
    Report {
        gate_version: GATE_VERSION,
        unix_time: 1_800_000_001,
        machine: Machine::look(),
        base: "0123abc".into(),
        change: "4567def-dirty".into(),
        rule: Some(Rule::new(FLOOR, PAIRS, 8).unwrap()),
        confidence: confidence(8),
        rows: vec![Judged {
            row,
            base_s: 1e-4,
            change_s: 1.05e-4,
            slowdowns: vec![0.05; 17],
            control: vec![0.0; 17],
            slowdown: 0.05,
            low: Some(0.05),
            same_bits: true,
            slower: true,
        }],
        left_out: vec![],
        instructions: None,
        verdict,
    }
}

#[test]
fn lines_come_back_in_order_without_their_samples() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.jsonl");
    let lines = [
        Line::of_run(&record(1_800_000_000, 4.0)),
        Line::Gate(Box::new(gate(Verdict::Slower))),
        Line::of_run(&record(1_800_000_002, 5.0)),
    ];
    for line in &lines {
        append(&path, line).unwrap();
    }
    assert_eq!(read(&path).unwrap(), lines);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 3);
    assert!(!text.contains("samples"));
    let Line::Run(run) = &lines[0] else { panic!("{:?}", lines[0]) };
    assert_eq!(run.rows[0].ratio, record(0, 4.0).rows[0].ratio, "what was made of the samples stays");
}

/// Many at once, each through a file of its own, as several programs would.
#[test]
fn those_who_add_at_the_same_time_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.jsonl");
    let line = Line::of_run(&record(1_800_000_000, 4.0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..5).for_each(|_| append(&path, &line).unwrap()));
        }
    });
    assert_eq!(read(&path).unwrap(), vec![line; 40]);
}

#[test]
fn a_corrupt_line_is_named_and_nothing_is_added() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.jsonl");
    let line = Line::of_run(&record(1_800_000_000, 4.0));
    append(&path, &line).unwrap();
    let good = fs::read_to_string(&path).unwrap();
    for (second, reason) in [
        ("{\n", "EOF"),
        ("\n", "EOF"),
        ("{}\n", "neither schema_version nor gate_version"),
        ("{\"schema_version\":99}\n", "schema_version 99, expected 1"),
        ("{\"gate_version\":0}\n", "gate_version 0, expected 1"),
        ("{\"gate_version\":1}\n", "missing field"),
        (&good[..good.len() / 2], "its end is missing"),
    ] {
        let text = format!("{good}{second}");
        fs::write(&path, &text).unwrap();
        for error in [read(&path).unwrap_err(), append(&path, &line).unwrap_err()] {
            assert!(matches!(&error, HistoryError::Line { line: 2, .. }), "{error}");
            let message = error.to_string();
            assert!(message.contains("history.jsonl:2: ") && message.contains(reason), "{message}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    let nowhere = append(Path::new("/nonexistent/history.jsonl"), &line).unwrap_err();
    assert!(matches!(nowhere, HistoryError::File(_)), "{nowhere}");
}

#[test]
fn the_page_has_its_parts_and_is_well_formed() {
    let lines = [
        Line::of_run(&record(1_800_000_002, 5.0)),
        Line::of_run(&record(1_800_000_000, 4.0)),
        Line::Gate(Box::new(gate(Verdict::Slower))),
    ];
    let page = page(&lines);
    for part in [
        "<h2>Ratio over time</h2>",
        "<h2>Roofline</h2>",
        "<h3>f32, contiguous, 2 threads</h3>",
        "<h2>Scaling by threads</h2>",
        "<h2>By network</h2>",
        "<h2>Gates</h2>",
        "prefers-color-scheme: dark",
        "The last run: 2027-01-15 08:00",
        "small &amp; &lt;odd&gt;",
        "streaming copy",
        "backward-train/f32/contiguous/2",
        "+5.0 %",
        "4567def-dirty",
        "class=\"swatch series-1\"",
    ] {
        assert!(page.contains(part), "{part}");
    }
    // Ratio, two rooflines, scaling.
    assert_eq!(page.matches("<svg").count(), 4);
    assert!(
        !page.contains("<script") && !page.contains("src=") && !page.contains("href="),
        "nothing is loaded"
    );
    assert_eq!(open_elements(&page), Vec::<String>::new());
}

#[test]
fn a_page_without_runs_says_so() {
    let page = page(&[]);
    assert!(page.contains("No run of bn-perf") && page.contains("No gate"));
    assert_eq!(open_elements(&page), Vec::<String>::new());
}

/// What is still open at the end; an element that is closed out of turn ends the test.
fn open_elements(page: &str) -> Vec<String> {
    let mut open: Vec<String> = Vec::new();
    for tag in page.split('<').skip(1).map(|rest| rest.split_once('>').expect("a tag has an end").0) {
        let name = tag.trim_start_matches('/').split([' ', '\n', '/']).next().unwrap();
        match tag {
            _ if tag.starts_with('!') || name == "meta" || tag.ends_with('/') => {}
            _ if tag.starts_with('/') => assert_eq!(open.pop().as_deref(), Some(name), "</{name}>"),
            _ => open.push(name.into()),
        }
    }
    open
}
