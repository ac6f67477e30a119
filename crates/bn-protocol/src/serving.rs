//! The engine's side of the protocol, and what becomes of a panic.

use std::any::Any;
use std::cell::Cell;
use std::io::{self, BufRead, Write};
use std::panic::{self, AssertUnwindSafe};

use crate::case::Case;
use crate::engine::{Engine, EngineError};
use crate::messages::{Answer, Request, VERSION};
use crate::outcome::Outcome;

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
            Ok(Request::Run(case)) => answer(run_caught(engine, &case), Answer::Outcomes),
            Ok(Request::Reproduce(case)) => answer(caught(|| engine.reproduce(&case)), Answer::Reproduction),
            Ok(Request::Time(timing)) => answer(caught(|| engine.time(&timing)), Answer::Timed),
            Err(problem) => Answer::Error(format!("request not understood: {problem}")),
        };
        serde_json::to_writer(&mut answers, &answer)?;
        answers.write_all(b"\n")?;
        answers.flush()?;
    }
    Ok(())
}

fn answer<T>(result: Result<T, EngineError>, done: impl FnOnce(T) -> Answer) -> Answer {
    match result {
        Ok(answer) => done(answer),
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
    caught(|| engine.run(case))
}

fn caught<T>(ask: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    AT_WORK.set(true);
    let answer = panic::catch_unwind(AssertUnwindSafe(ask));
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

fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("panicked without a message")
        .to_owned()
}
