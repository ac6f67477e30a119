//! The record: its figures follow from its samples, it comes back as it was written, its
//! schema takes it, and its tables stay within their width.

use std::fs;
use std::path::Path;

use bn_bench::Record;
use bn_bench::axes::{Cache, DType, Layout, Op};
use bn_bench::cuda::CudaDevice;
use bn_bench::machine::Machine;
use bn_bench::record::{RecordError, Remarks, Row, Samples, Subject, schema};
use bn_bench::table::tables;
use serde_json::{Value, json};

const OUTSIDE: &str = "output[0] is 1.0, expected 2.0: off by 1.000e0, allowed 1.000e-6";

fn subject(op: Op, count: usize) -> Subject {
    Subject {
        network: "resnet50".into(),
        shape: vec![32, 64, 112, 112],
        count,
        dtype: DType::F32,
        layout: Layout::Contiguous,
        op,
        threads: 1,
    }
}

/// Rounds of a machine that halves its speed after the second: libtorch takes `ratio`
/// times as long as ours, a copy half as long, a streaming copy a quarter.
fn samples(ratio: f64) -> Samples {
    let rounds = |factor: f64| -> Vec<[f64; 2]> {
        [1.0, 1.0, 2.0, 2.0, 2.0]
            .iter()
            .map(|slow| [slow * factor * 0.9e-3, slow * factor * 1.1e-3])
            .collect()
    };
    Samples {
        ours: rounds(1.0),
        libtorch: rounds(ratio),
        cudnn: None,
        copy: rounds(0.5),
        stream_copy: Some(rounds(0.25)),
    }
}

fn record() -> Record {
    let rows = vec![
        Row::new(subject(Op::ForwardTrain, 1), samples(8.0), Remarks::default()),
        Row::new(subject(Op::ForwardTrain, 2), samples(1.0), Remarks::default()),
        Row::new(
            Subject { network: "small".into(), count: 3, ..subject(Op::ForwardTrain, 1) },
            samples(4.0),
            Remarks { libtorch_outside: Some(OUTSIDE.into()), ..Remarks::default() },
        ),
        Row::new(
            Subject {
                dtype: DType::Bf16,
                layout: Layout::ChannelsLast,
                threads: 128,
                shape: vec![1024, 2048, 112, 112],
                ..subject(Op::BackwardTrain, 100)
            },
            samples(1000.0),
            Remarks::default(),
        ),
    ];
    Record::new(1_800_000_000, Machine::look(), Cache::Warm, rows)
}

/// A run on a GPU: cuDNN takes as long as ours in the first row, and has no part in the second.
fn record_on_cuda() -> Record {
    let cudnn = samples(1.0).libtorch;
    let with_cudnn = Samples { cudnn: Some(cudnn), stream_copy: None, ..samples(4.0) };
    let without = Samples { stream_copy: None, ..samples(2.0) };
    let refused = Some("cuDNN has no backward pass of an evaluation pass".into());
    let rows = vec![
        Row::new(subject(Op::ForwardTrain, 1), with_cudnn, Remarks::default()),
        Row::new(
            subject(Op::BackwardEval, 1),
            without,
            Remarks { cudnn_refused: refused, ..Remarks::default() },
        ),
    ];
    let cuda = CudaDevice {
        name: "NVIDIA H200".into(),
        driver: Some("580.95.05".into()),
        cuda: "13.0".into(),
        compute_capability: "9.0".into(),
        multiprocessors: 132,
        memory: 150 << 30,
        l2_cache: 60 << 20,
        cudnn: Some("9.20.0".into()),
    };
    let machine = Machine { cuda: Some(cuda), ..Machine::look() };
    Record::new(1_800_000_000, machine, Cache::Cold, rows)
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * b.abs()
}

#[test]
fn a_rows_figures_follow_from_its_samples() {
    let row = Row::new(subject(Op::ForwardTrain, 1), samples(8.0), Remarks::default());
    assert!(near(row.ours_s, 2e-3), "three of the five rounds are slow");
    assert!(near(row.ratio, 8.0) && near(row.ratio_low, 8.0) && near(row.ratio_high, 8.0));
    assert!(near(row.libtorch_s, 16e-3) && near(row.copy_s, 1e-3));
    assert!(near(row.copy_fraction, 0.5) && near(row.stream_fraction.unwrap(), 0.25));
    assert_eq!(row.bytes, 2 * 4 * 32 * 64 * 112 * 112);
    assert!(near(row.gb_per_s, row.bytes as f64 / 2e-3 / 1e9));
}

#[test]
fn a_backward_row_has_three_arrays_to_move_and_so_one_and_a_half_copies() {
    for op in [Op::BackwardTrain, Op::BackwardEval] {
        let row = Row::new(subject(op, 1), samples(8.0), Remarks::default());
        assert_eq!(row.bytes, 3 * 4 * 32 * 64 * 112 * 112);
        assert!(near(row.copy_s, 1.5e-3) && near(row.copy_fraction, 0.75));
        assert!(near(row.stream_fraction.unwrap(), 0.375));
    }
}

#[test]
fn means_are_weighted_by_count_within_their_key() {
    let record = record();
    let key = "forward-train/f32/contiguous/1";
    assert_eq!(record.geomean.keys().collect::<Vec<_>>(), ["backward-train/bf16/channels-last/128", key]);
    // 8 once, 1 twice, 4 three times.
    assert!(near(record.geomean[key], 8f64.powf(1.0 / 6.0) * 4f64.powf(0.5)));
    assert!(near(record.geomeans_by_network["resnet50"][key], 2.0));
    assert!(near(record.geomeans_by_network["small"][key], 4.0));
    let [low, high] = record.geomean_interval[key];
    assert_eq!([low, high], [record.geomean[key]; 2], "all rounds agree");
}

#[test]
fn cudnn_has_a_ratio_of_its_own_where_it_took_part() {
    let [with, without] = &record_on_cuda().rows[..] else { panic!("two rows") };
    assert!(near(with.ratio, 4.0) && near(with.cudnn_ratio.unwrap(), 1.0));
    assert!(
        near(with.cudnn_s.unwrap(), 2e-3)
            && with.cudnn_ratio_interval.unwrap().iter().all(|&end| near(end, 1.0))
    );
    assert_eq!((without.cudnn_s, without.cudnn_ratio, without.cudnn_ratio_interval), (None, None, None));
}

#[test]
fn a_record_comes_back_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.json");
    for record in [record_on_cuda(), record()] {
        record.write(&path).unwrap();
        assert_eq!(Record::read(&path).unwrap(), record);
    }
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1, "a line of a history");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left behind");
}

#[test]
fn what_is_no_record_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.json");
    let refusal = |text: &str| {
        fs::write(&path, text).unwrap();
        Record::read(&path).unwrap_err()
    };
    assert!(matches!(refusal("not JSON"), RecordError::Form { .. }));
    assert!(matches!(refusal("{}"), RecordError::Form { .. }));
    let error = refusal(r#"{"schema_version": 99}"#);
    assert!(error.to_string().ends_with("record.json: schema version 99, expected 1"), "{error}");
    let missing = Record::read(&folder.path().join("missing.json")).unwrap_err();
    assert!(matches!(missing, RecordError::File(_)), "{missing}");
    let nowhere = record().write(Path::new("/nonexistent/record.json")).unwrap_err();
    assert_eq!(nowhere.path, Path::new("/nonexistent/record.json"));
}

#[test]
fn the_schema_takes_a_record_and_refuses_what_is_none() {
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    compiler.add_resource("schema.json", schema()).unwrap();
    let schema = compiler.compile("schema.json", &mut schemas).unwrap();
    let value: Value = serde_json::from_str(&record().to_json()).unwrap();
    schemas.validate(&value, schema).unwrap_or_else(|error| panic!("{error:#}"));
    let on_cuda: Value = serde_json::from_str(&record_on_cuda().to_json()).unwrap();
    schemas.validate(&on_cuda, schema).unwrap_or_else(|error| panic!("{error:#}"));
    for member in ["/rows/0/ratio", "/rows/0/op", "/rows/0/network", "/machine/processor", "/revision"] {
        let mut wrong = value.clone();
        *wrong.pointer_mut(member).unwrap() = json!([]);
        assert!(schemas.validate(&wrong, schema).is_err(), "{member}");
    }
}

#[test]
fn tables_stay_within_a_hundred_columns_and_name_what_is_wrong() {
    let text = tables(&record());
    let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(widest <= 100, "{widest}:\n{text}");
    assert!(text.contains("resnet50 forward-train/f32/contiguous/1: 2.00 times as fast"), "{text}");
    assert!(text.contains("\n* small 32x64x112x112 forward-train/f32/contiguous/1: "), "{text}");
    assert_eq!(text.matches(" ms*").count(), 1, "{text}");
}

#[test]
fn tables_of_a_gpu_name_it_and_show_cudnn() {
    let text = tables(&record_on_cuda());
    assert!(text.starts_with("NVIDIA H200, driver 580.95.05, libtorch "), "{text}");
    let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(widest <= 100, "{widest}:\n{text}");
    let head = ["shape", "layers", "ours", "libtorch", "ratio", "95", "%", "cuDNN", "ratio", "copy", "GB/s"];
    assert!(text.lines().any(|line| line.split_whitespace().eq(head)), "{text}");
    let refused = "cuDNN does not take part:\n    cuDNN has no backward pass of an evaluation pass";
    assert!(text.contains(refused), "{text}");
}
