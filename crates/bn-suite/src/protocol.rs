//! The engine protocol: how a program in any language plugs in.
//!
//! The suite starts the program and writes one JSON request per line to its
//! standard input; the program writes one JSON answer per line to its standard
//! output, in the same order. Standard error is the program's own.
//!
//! | request | answer |
//! |---|---|
//! | `{"hello":{"protocol":1}}` | `{"hello":{"name":…,"version":…,"claims":[…]}}` |
//! | `{"run":CASE}` | `{"outcomes":[OUTCOME, …]}`, one per step, or `{"unsupported":"why"}`, or `{"error":"what went wrong"}` |
//! | `"bye"` | none: the program ends |
//!
//! `hello` comes first, and again after each answer to a `run`: so a second line
//! for one case, or a program that ends just after its answer, is noticed at the
//! case that it belongs to and spoils no other. The answer is always the same.
//!
//! CASE, OUTCOME and the claims have the form that `fixtures/schema.json` gives.

use std::cell::Cell;
use std::io::{self, BufRead, Write};
use std::panic::{self, AssertUnwindSafe};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::case::Case;
use crate::engine::{About, Engine, EngineError};
use crate::outcome::Outcome;

/// The version of the protocol that this suite speaks.
pub const VERSION: u32 = 1;

/// What the suite writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// The first request, and again after each answer to a `run`.
    Hello {
        /// [`VERSION`].
        protocol: u32,
    },
    /// Play this case.
    Run(Box<Case>),
    /// Nothing more will be asked.
    Bye,
}

/// What an engine's program answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To `hello`.
    Hello(About),
    /// To `run`: one outcome per step.
    Outcomes(Vec<Outcome>),
    /// To `run`: the engine cannot do this case, and says why.
    Unsupported(String),
    /// To `run`: the engine failed, and says how.
    Error(String),
}

/// Serves `engine` over the protocol until `bye` or the end of `requests`.
///
/// A panic of the engine is answered as an error, and a request that does not
/// parse likewise: the suite counts both against the case.
pub fn serve(engine: &mut dyn Engine, requests: impl BufRead, mut answers: impl Write) -> io::Result<()> {
    for line in requests.lines() {
        let answer = match serde_json::from_str(&line?) {
            Ok(Request::Bye) => break,
            Ok(Request::Hello { protocol: VERSION }) => Answer::Hello(engine.about().clone()),
            Ok(Request::Hello { protocol }) => {
                Answer::Error(format!("protocol {protocol} asked, this engine speaks {VERSION}"))
            }
            Ok(Request::Run(case)) => answer_case(engine, &case),
            Err(problem) => Answer::Error(format!("request not understood: {problem}")),
        };
        serde_json::to_writer(&mut answers, &answer)?;
        answers.write_all(b"\n")?;
        answers.flush()?;
    }
    Ok(())
}

fn answer_case(engine: &mut dyn Engine, case: &Case) -> Answer {
    match run_caught(engine, case) {
        Ok(outcomes) => Answer::Outcomes(outcomes),
        Err(EngineError::Unsupported(why)) => Answer::Unsupported(why),
        Err(EngineError::Failed(what)) => Answer::Error(what),
        Err(other) => Answer::Error(other.to_string()),
    }
}

thread_local! {
    /// Whether an engine is at work on this thread.
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
}

/// Runs the case, and turns a panic of the engine into [`EngineError::Crashed`].
pub fn run_caught(engine: &mut dyn Engine, case: &Case) -> Result<Vec<Outcome>, EngineError> {
    AT_WORK.set(true);
    let answer = panic::catch_unwind(AssertUnwindSafe(|| engine.run(case)));
    AT_WORK.set(false);
    answer.unwrap_or_else(|payload| Err(EngineError::Crashed(panic_message(payload.as_ref()))))
}

/// From now on a panic of an engine is only what it answers, and nothing is written
/// to the standard error. Other panics are reported as before.
pub fn silence_engines() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !AT_WORK.get() {
            report(panic);
        }
    }));
}

fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("panicked without a message")
        .to_owned()
}
