//! The engine by itself, on answers that can be worked out by hand, and over
//! the protocol.

use bn_oracle::LibtorchEngine;
use bn_suite::case::{Case, Layer, Mode, Pass, State, Step};
use bn_suite::engine::Engine;
use bn_suite::outcome::{Field, Outcome};
use bn_suite::protocol::{self, Answer, Request};
use bn_suite::tensor::{DType, Tensor};

/// Three samples of four features, each feature 2, 3, 4 and so on: every column
/// has deviation √(2/3), so the outputs are −√1.5, 0 and √1.5 (1.2247), and the
/// unbiased variance is 1.
fn three_by_four() -> Case {
    let rows = [[1.0, 2.0, 3.0, 4.0], [2.0, 3.0, 4.0, 5.0], [3.0, 4.0, 5.0, 6.0]];
    let vector = |value: f64| Some(Tensor::vector(DType::F32, &[value; 4]));
    Case {
        name: "documents/three-by-four".into(),
        note: "The worked example.".into(),
        layer: Layer { num_features: 4, ..Layer::default() },
        state: State {
            weight: vector(1.0),
            bias: vector(0.0),
            running_mean: vector(0.0),
            running_var: vector(1.0),
            num_batches_tracked: Some(0),
        },
        steps: vec![Step::BatchNorm(Box::new(Pass::forward(
            Mode::Train,
            Tensor::new(DType::F32, &[3, 4], rows.concat()),
        )))],
    }
}

fn assert_three_by_four(outcome: &Outcome) {
    let near = |field: Field, expected: &[f64]| {
        let got = &outcome.fields[&field].data;
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(expected) {
            // The 3×4 values are of order 1: a few f32 roundings.
            assert!((got - expected).abs() < 4.0 * f64::from(f32::EPSILON), "{field}: {got}, not {expected}");
        }
    };
    // eps = 1e-5 beside a variance of 2/3.
    let high = 1.0 / (2.0 / 3.0 + 1e-5_f64).sqrt();
    near(Field::Output, &[[-high; 4], [0.0; 4], [high; 4]].concat());
    near(Field::RunningMean, &[0.2, 0.3, 0.4, 0.5]);
    near(Field::RunningVar, &[1.0; 4]);
    assert_eq!(outcome.num_batches_tracked, Some(1));
    assert_eq!(outcome.refused, None);
}

#[test]
fn the_worked_example() {
    let outcomes = LibtorchEngine::default().run(&three_by_four()).unwrap();
    assert_three_by_four(&outcomes[0]);
}

#[test]
fn the_worked_example_over_the_protocol() {
    let requests = [
        Request::Hello { protocol: protocol::VERSION },
        Request::Run(Box::new(three_by_four())),
        Request::Bye,
    ];
    let lines: Vec<String> = requests.iter().map(|request| serde_json::to_string(request).unwrap()).collect();
    let mut answers = Vec::new();
    protocol::serve(&mut LibtorchEngine::default(), lines.join("\n").as_bytes(), &mut answers).unwrap();
    let answers: Vec<Answer> =
        String::from_utf8(answers).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [Answer::Hello(about), Answer::Outcomes(outcomes)] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!((about.name.as_str(), about.version.as_str()), ("libtorch", bn_oracle::version::linked()));
    assert_three_by_four(&outcomes[0]);
}

/// On a machine without a device the reason must fit on the line that says so.
#[test]
fn cuda_is_there_or_the_reason_is_one_line() {
    match bn_oracle::cuda::devices() {
        Ok(count) => assert!(count > 0),
        Err(reason) => assert!(!reason.is_empty() && !reason.contains('\n'), "{reason:?}"),
    }
}

/// What names the implementation on a device is asked of libtorch itself, here on the CPU.
#[test]
fn libtorch_says_which_implementation_it_takes() {
    assert_eq!(bn_oracle::cuda::implementation(tch::Device::Cpu).unwrap(), "native");
}

/// Without a device the program says so in one line, and ends with a status of its own.
#[test]
fn the_program_without_a_device_is_not_run() {
    if bn_oracle::cuda::devices().is_ok() {
        eprintln!("not run: there is a device");
        return;
    }
    for backend in ["native", "cudnn"] {
        let asked = std::process::Command::new(env!("CARGO_BIN_EXE_bn-oracle"))
            .args(["--device", "cuda", "--backend", backend, "--version"])
            .output()
            .unwrap();
        let said = String::from_utf8(asked.stderr).unwrap();
        assert_eq!(asked.status.code(), Some(3), "{said}");
        assert!(said.starts_with("libtorch on CUDA: ") && said.lines().count() == 1, "{said:?}");
    }
}
