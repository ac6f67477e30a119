//! `docs/engine-protocol.schema.json` is the schema of the types that the suite reads and writes, and
//! takes and refuses what they do.

use std::fs;
use std::path::Path;

use bn_suite::case::Case;
use bn_suite::engine::{Offer, Reproduction};
use bn_suite::engines;
use bn_suite::protocol::timing::{Op, Timed, Timing};
use bn_suite::protocol::{self, Answer, Request, VERSION};
use bn_suite::tensor::DType;
use bn_suite::{catalogue, fixtures};
use serde_json::{Value, json};

#[test]
fn the_committed_schema_is_that_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/engine-protocol.schema.json");
    let committed = fs::read_to_string(path).unwrap();
    // Without printing both, which are long.
    assert!(
        committed == fixtures::pretty(&protocol::schema()),
        "not up to date: `cargo run --release -- schema > docs/engine-protocol.schema.json` writes it"
    );
}

/// One side's lines, by its schema.
struct Lines {
    schemas: boon::Schemas,
    index: boon::SchemaIndex,
}

impl Lines {
    fn of(side: &str) -> Self {
        let mut schemas = boon::Schemas::new();
        let mut compiler = boon::Compiler::new();
        compiler.add_resource("schema.json", protocol::schema()).unwrap();
        let index = compiler.compile(&format!("schema.json#/$defs/{side}"), &mut schemas).unwrap();
        Lines { schemas, index }
    }

    fn take(&self, line: &Value) -> bool {
        self.schemas.validate(line, self.index).is_ok()
    }

    #[track_caller]
    fn assert_take(&self, line: &impl serde::Serialize) {
        let line = serde_json::to_value(line).unwrap();
        if let Err(error) = self.schemas.validate(&line, self.index) {
            panic!("{error:#}");
        }
    }
}

/// Every stored case: all kinds of steps, special values, refusals, layouts and dtypes.
fn cases() -> impl Iterator<Item = Case> {
    catalogue::all().into_iter().filter(|entry| entry.stored).map(|entry| entry.case)
}

fn timing() -> Timing {
    let probes = vec![0, 63];
    Timing { op: Op::ForwardTrain, shape: vec![2, 2, 4, 4], dtype: DType::F32, calls: 3, probes }
}

#[test]
fn what_the_suite_writes_follows_it() {
    let requests = Lines::of("Request");
    for case in cases() {
        requests.assert_take(&Request::Run(Box::new(case)));
    }
    let case = Box::new(cases().next().unwrap());
    requests.assert_take(&Request::Reproduce(case));
    requests.assert_take(&Request::Hello { protocol: VERSION });
    requests.assert_take(&Request::Time(Box::new(timing())));
    requests.assert_take(&Request::Bye);
    // In the words of the page.
    assert!(requests.take(&json!({"hello": {"protocol": 1}})) && requests.take(&json!("bye")));
}

#[test]
fn what_an_engine_answers_follows_it() {
    let answers = Lines::of("Answer");
    let mut engine = engines::constructor("textbook").unwrap()();
    for case in cases() {
        answers.assert_take(&Answer::Outcomes(engine.run(&case).unwrap()));
    }
    let about = engine.about().clone();
    answers.assert_take(&Answer::Hello(about.clone()));
    answers.assert_take(&Answer::Hello(about.offering([Offer::Reproduce, Offer::Time])));
    let (language, code) = ("python".into(), "print(1)".into());
    answers.assert_take(&Answer::Reproduction(Reproduction { language, code }));
    answers.assert_take(&Answer::Timed(Timed { seconds: vec![1e-3; 3], probes: vec![0.5, f64::NAN] }));
    answers.assert_take(&Answer::Unsupported("why".into()));
    answers.assert_take(&Answer::Error("what".into()));
}

/// The schema is no formality: what the suite cannot read, it refuses.
#[test]
fn wrong_lines_are_refused() {
    let outcome = |outcome: Value| json!({"outcomes": [outcome]});
    let array = |array: Value| outcome(json!({"fields": {"output": array}}));
    let hello = |more: Value| {
        let mut hello = json!({"name": "a", "version": "1", "claims": ["f32"]});
        hello.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"hello": hello})
    };
    let right = json!({"dtype": "f32", "shape": [2], "data": [1, "NaN"]});
    let right = [
        hello(json!({})),
        hello(json!({"offers": ["time"], "kernels": "libtorch"})),
        array(right),
        outcome(json!({"refused": {"kind": "unsorted", "message": "no"}})),
        outcome(json!({"fields": {}, "num_batches_tracked": 3})),
    ];
    let wrong = [
        json!("hello"),
        json!("bye"),
        json!({"outcome": []}),
        json!({"outcomes": {}}),
        json!({"outcomes": [], "hello": {}}),
        hello(json!({"claims": ["f33"]})),
        hello(json!({"name": null})),
        hello(json!({"homepage": "a"})),
        hello(json!({"offers": ["sing"]})),
        array(json!([1.0, 2.0])),
        array(json!({"shape": [1], "data": [1]})),
        array(json!({"dtype": "float32", "shape": [1], "data": [1]})),
        array(json!({"dtype": "f32", "shape": [-1], "data": [1]})),
        array(json!({"dtype": "f32", "shape": [1], "data": ["nan"]})),
        array(json!({"dtype": "f32", "shape": [1], "data": [null]})),
        array(json!({"dtype": "f32", "shape": [1], "data": [1], "layout": "nchw"})),
        array(json!({"dtype": "f32", "shape": [1], "data": [1], "strides": [1]})),
        outcome(json!({"fields": {"out": {"dtype": "f32", "shape": [0], "data": []}}})),
        outcome(json!({"refused": "no"})),
        outcome(json!({"refused": {"kind": "bad_eps", "message": "no"}})),
        outcome(json!({"refused": {"kind": "eps"}})),
        outcome(json!({"num_batches_tracked": 1.5})),
        outcome(json!({"loss": 1.0})),
    ];
    let answers = Lines::of("Answer");
    for (lines, is_right) in [(&right[..], true), (&wrong[..], false)] {
        for line in lines {
            assert_eq!(answers.take(line), is_right, "{line}");
            assert_eq!(serde_json::from_value::<Answer>(line.clone()).is_ok(), is_right, "{line}");
        }
    }
}
