//! The driver as a program: what it answers, and that nothing that is asked ends it.

use std::io::Write;
use std::process::{Command, Stdio};

use bn_driver::protocol::Answer;

/// The answers to these lines.
fn ask(lines: &[u8]) -> Vec<Answer> {
    let mut driver = Command::new(env!("CARGO_BIN_EXE_bn-driver"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    driver.stdin.take().unwrap().write_all(lines).unwrap();
    let output = driver.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn prepare(shape: &str, dtype: &str, layout: &str, op: &str, threads: usize) -> String {
    format!(
        r#"{{"prepare":{{"shape":{shape},"dtype":"{dtype}","layout":"{layout}","op":"{op}","threads":{threads}}}}}"#
    ) + "\n"
}

#[test]
fn a_conversation_of_every_request() {
    let requests = prepare("[4,3,5,7]", "f32", "contiguous", "forward-train", 1)
        + r#"{"calibrate":{"seconds":0.0001,"multiple":20}}
{"sample":{"lead_in":1,"calls":20,"extra":1}}
{"sample":{"lead_in":0,"calls":1}}
{"once":{}}
"#;
    let answers = ask(requests.as_bytes());
    assert_eq!(answers.len(), 5, "{answers:?}");
    assert!(matches!(&answers[0], Answer::Ready { digest } if digest.len() == 16), "{answers:?}");
    assert!(matches!(answers[1], Answer::Calibrated { calls } if calls >= 20 && calls % 20 == 0));
    assert!(matches!(answers[2], Answer::Sampled { seconds } if seconds > 0.0));
    assert!(matches!(answers[3], Answer::Sampled { seconds } if seconds > 0.0));
    assert_eq!(answers[4], Answer::Done {});
}

/// The values are the same in each process, and the result does not hang on the threads.
#[test]
fn every_axis_has_a_digest_that_repeats() {
    let mut requests = String::new();
    for dtype in ["f32", "f64", "bf16", "f16"] {
        for layout in ["contiguous", "channels-last"] {
            for op in [
                "forward-train",
                "forward-eval",
                "backward-train",
                "backward-eval",
                "forward-train-relu",
                "forward-train-add-relu",
                "forward-eval-relu",
                "backward-train-relu",
                "backward-train-add-relu",
            ] {
                for threads in [1, 2] {
                    requests += &prepare("[8,64,14,14]", dtype, layout, op, threads);
                }
            }
        }
    }
    let answers = ask(requests.as_bytes());
    assert_eq!(answers, ask(requests.as_bytes()));
    assert!(answers.iter().all(|answer| matches!(answer, Answer::Ready { .. })), "{answers:?}");
    let (ones, twos): (Vec<_>, Vec<_>) = answers.chunks(2).map(|pair| (&pair[0], &pair[1])).unzip();
    assert_eq!(ones, twos);
    let mut distinct = ones.clone();
    distinct.sort_by_key(|answer| format!("{answer:?}"));
    distinct.dedup();
    assert_eq!(distinct.len(), ones.len(), "two settings have one result");
}

#[test]
fn what_cannot_be_done_is_answered_and_the_driver_goes_on() {
    let good = prepare("[2,3]", "f32", "contiguous", "forward-eval", 1);
    for (line, reason) in [
        (b"\n".to_vec(), "not a request"),
        (b"\xff\xfe\n".to_vec(), "not a line of UTF-8"),
        (br#"{"dance":{}}"#.to_vec(), "unknown variant `dance`"),
        (br#"{"once":{"twice":1}}"#.to_vec(), "unknown field `twice`"),
        (prepare("[2]", "f32", "contiguous", "forward-eval", 1).into(), "at least two axes"),
        (prepare("[2,0]", "f32", "contiguous", "forward-eval", 1).into(), "none of them empty"),
        (prepare("[99999999,99999999]", "f32", "contiguous", "forward-eval", 1).into(), "at most"),
        (prepare("[1,3]", "f32", "contiguous", "forward-train", 1).into(), "more than 1 value per channel"),
        (prepare("[2,3]", "f32", "contiguous", "forward-eval", 0).into(), "threads: expected 1 to"),
        (prepare("[2,3]", "i8", "contiguous", "forward-eval", 1).into(), "unknown variant `i8`"),
    ] {
        // Before anything was prepared, and in between.
        for before in ["", good.as_str()] {
            let lines = [before.as_bytes(), line.trim_ascii_end(), b"\n", good.as_bytes()].concat();
            let answers = ask(&lines);
            let refused = &answers[answers.len() - 2];
            assert!(matches!(refused, Answer::Error(why) if why.contains(reason)), "{reason}: {refused:?}");
            assert!(matches!(answers.last(), Some(Answer::Ready { .. })), "{reason}: {answers:?}");
        }
    }
    for (request, reason) in [
        (r#"{"sample":{"lead_in":0,"calls":0}}"#, "calls: expected 1 to"),
        (r#"{"sample":{"lead_in":99999999,"calls":1}}"#, "lead_in: expected"),
        (r#"{"sample":{"lead_in":1,"calls":1,"extra":99999999}}"#, "extra: expected"),
        (r#"{"calibrate":{"seconds":0,"multiple":1}}"#, "seconds: expected more than 0"),
        (r#"{"calibrate":{"seconds":1e9,"multiple":1}}"#, "seconds: expected more than 0"),
        (r#"{"calibrate":{"seconds":1,"multiple":0}}"#, "multiple: expected 1 to"),
    ] {
        let unprepared = ask(format!("{request}\n").as_bytes());
        assert_eq!(unprepared, [Answer::Error("expected prepare first".into())]);
        let answers = ask(format!("{good}{request}\n{{\"once\":{{}}}}\n").as_bytes());
        assert!(matches!(&answers[1], Answer::Error(why) if why.contains(reason)), "{answers:?}");
        assert_eq!(answers[2], Answer::Done {});
    }
}

#[test]
fn arguments_are_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_bn-driver")).arg("--fast").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("takes no arguments"));
}
