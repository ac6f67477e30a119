//! An engine that is another program, asked over the protocol of
//! [`crate::protocol`].
//!
//! The program is not trusted to behave. Whatever it does with a case — end,
//! hang, write garbage, write too much or too often — fails that case and no
//! other: it is killed, started anew, and asked the next one.
//!
//! After each answer it is greeted again, and must answer that greeting next: so a
//! second line for one case, or an end just after the answer, is blamed on the
//! case it belongs to. A program that turns out, at its start, to know `hello` only
//! once is served all the same: a second line is then blamed on its case if it
//! comes within some milliseconds.
//!
//! A line that comes between two cases belongs to neither, and the program that
//! wrote it is started anew for the next one. A line that comes later still looks
//! like the answer to the next case, and that case's own answer like a second one:
//! so a case with two answers is asked once more, of a program that was asked
//! nothing before, and what happens then is what counts.

mod program;

use std::time::Duration;

use crate::case::Case;
use crate::engine::{About, Engine, EngineError, Reproduction};
use crate::outcome::Outcome;
use crate::protocol::timing::{Timed, Timing};
use crate::protocol::{Answer, Request, VERSION};
use program::{Line, Program};

/// After so many starts in a row that failed, the program is not started again:
/// each may cost a whole timeout.
const FAILED_STARTS: u32 = 3;

/// After so many requests in a row without an answer in time, only one case in [`TRIED_AGAIN`] is
/// asked, until one is answered: each may cost a whole timeout.
const HANGS: u32 = 8;
/// One case in so many, less one.
const TRIED_AGAIN: u32 = 40;

/// How long a program that has just started may take to be greeted a second time,
/// before it counts as one that knows only one greeting.
const SECOND_GREETING: Duration = Duration::from_secs(5);

/// How long a line too many is waited for after an answer, where no second
/// greeting shows it for certain.
const SECOND_LINE: Duration = Duration::from_millis(5);

/// What a program may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long it may think about one request.
    pub timeout: Duration,
    /// How many bytes one answer may have.
    pub line: usize,
}

impl Default for Limits {
    /// A minute, and 256 MiB: twenty times the longest answer that a case of the
    /// catalogue asks for.
    fn default() -> Self {
        Limits { timeout: Duration::from_secs(60), line: 256 << 20 }
    }
}

/// A program as an engine.
pub struct ProcessEngine {
    command: Vec<String>,
    limits: Limits,
    about: About,
    /// Whether the program answers `hello` more than once.
    greets_again: bool,
    program: Option<Program>,
    failed_starts: u32,
    /// Requests in a row that it did not answer in time.
    hangs: u32,
    /// Cases that it was not asked since then.
    passed_over: u32,
}

/// Why a case has no answer.
enum Misconduct {
    /// A second line, where the next `hello` was to be answered.
    SecondLine(EngineError),
    /// Anything else.
    Other(EngineError),
}

impl From<EngineError> for Misconduct {
    fn from(error: EngineError) -> Self {
        Misconduct::Other(error)
    }
}

impl ProcessEngine {
    /// Starts `command`, split as a shell splits words, and greets it.
    pub fn start(command: &str, limits: Limits) -> Result<Self, EngineError> {
        let command = shell_words::split(command)
            .map_err(|error| EngineError::NotStarted(format!("{command:?}: {error}")))?;
        Self::start_words(command, limits)
    }

    /// Starts a program given as words: its name, then its arguments.
    pub fn start_words(command: Vec<String>, limits: Limits) -> Result<Self, EngineError> {
        let (mut program, about) = greet_anew(&command, limits)?;
        let patience = Limits { timeout: limits.timeout.min(SECOND_GREETING), ..limits };
        let greets_again = greet(&mut program, patience).is_ok_and(|again| again == about);
        // What it made of a greeting that it did not expect must not be left over.
        let program = greets_again.then_some(program);
        Ok(ProcessEngine {
            command,
            limits,
            about,
            greets_again,
            program,
            failed_starts: 0,
            hangs: 0,
            passed_over: 0,
        })
    }

    /// The running program, started anew if the last one is gone.
    fn program(&mut self) -> Result<&mut Program, EngineError> {
        if self.program.is_none() {
            if self.failed_starts >= FAILED_STARTS {
                let why =
                    format!("{:?} failed to start {FAILED_STARTS} times in a row", self.command.join(" "));
                return Err(EngineError::NotStarted(why));
            }
            self.failed_starts += 1;
            let (program, about) = greet_anew(&self.command, self.limits)?;
            if about != self.about {
                let why = "started anew, it gives another name, version or claims than at first".into();
                return Err(EngineError::NotStarted(why));
            }
            self.failed_starts = 0;
            self.program = Some(program);
        }
        self.program.as_mut().ok_or_else(|| EngineError::NotStarted("no program".into()))
    }

    fn ask(&mut self, case: &Case) -> Result<Result<Vec<Outcome>, EngineError>, Misconduct> {
        let (limits, greets_again) = (self.limits, self.greets_again);
        if self.program.as_mut().is_some_and(|program| !program.is_silent()) {
            self.program = None;
        }
        let program = self.program()?;
        let answer = match exchange(program, &Request::Run(Box::new(case.clone())), limits)? {
            Answer::Outcomes(outcomes) => Ok(outcomes),
            other => Err(declined(other, "run")?),
        };
        if !greets_again {
            return match program.receive(SECOND_LINE) {
                Line::Late => Ok(answer),
                Line::End { partial } => Err(EngineError::Crashed(program.obituary(&partial)).into()),
                Line::Whole(line) => {
                    Err(malformed("a second line, though each request has one answer", &line).into())
                }
                Line::TooLong => {
                    Err(EngineError::Malformed("a second line, and a very long one".into()).into())
                }
            };
        }
        match greet(program, limits) {
            Ok(_) => Ok(answer),
            Err(EngineError::Malformed(what)) => {
                Err(Misconduct::SecondLine(EngineError::Malformed(format!(
                    "the line after its answer must answer the next `hello`, since each request has one answer: {what}"
                ))))
            }
            Err(other) => Err(other.into()),
        }
    }

    /// A request besides the cases: one answer, and a program that misbehaves is not asked again.
    fn ask_besides<T>(
        &mut self,
        request: &Request,
        name: &str,
        read: impl FnOnce(Answer) -> Result<T, Answer>,
    ) -> Result<T, EngineError> {
        let limits = self.limits;
        let answer = exchange(self.program()?, request, limits);
        let answer = answer.and_then(|answer| match read(answer) {
            Ok(answer) => Ok(Ok(answer)),
            Err(other) => Ok(Err(declined(other, name)?)),
        });
        answer.unwrap_or_else(|misconduct| {
            self.program = None;
            Err(misconduct)
        })
    }
}

impl Engine for ProcessEngine {
    fn about(&self) -> &About {
        &self.about
    }

    fn run(&mut self, case: &Case) -> Result<Vec<Outcome>, EngineError> {
        if self.hangs >= HANGS && self.passed_over < TRIED_AGAIN {
            self.passed_over += 1;
            let why = format!("the {} requests before had no answer in time", self.hangs);
            return Err(EngineError::GivenUp(why));
        }
        self.passed_over = 0;
        let used = self.program.as_ref().is_some_and(Program::is_used);
        let mut answer = self.ask(case);
        if let (Err(Misconduct::SecondLine(_)), true) = (&answer, used) {
            self.program = None;
            answer = self.ask(case);
        }
        // A program that misbehaved is not asked again.
        let answer = answer.unwrap_or_else(|misconduct| {
            self.program = None;
            let (Misconduct::SecondLine(error) | Misconduct::Other(error)) = misconduct;
            Err(error)
        });
        self.hangs = if matches!(answer, Err(EngineError::TimedOut { .. })) { self.hangs + 1 } else { 0 };
        answer
    }

    fn reproduce(&mut self, case: &Case) -> Result<Reproduction, EngineError> {
        self.ask_besides(&Request::Reproduce(Box::new(case.clone())), "reproduce", |answer| match answer {
            Answer::Reproduction(reproduction) => Ok(reproduction),
            other => Err(other),
        })
    }

    fn time(&mut self, timing: &Timing) -> Result<Timed, EngineError> {
        self.ask_besides(&Request::Time(Box::new(timing.clone())), "time", |answer| match answer {
            Answer::Timed(timed) => Ok(timed),
            other => Err(other),
        })
    }
}

fn greet_anew(command: &[String], limits: Limits) -> Result<(Program, About), EngineError> {
    let mut program = Program::start(command, limits.line)?;
    match greet(&mut program, limits) {
        Ok(about) => Ok((program, about)),
        Err(error) => {
            Err(EngineError::NotStarted(format!("{:?}, asked `hello`: {error}", command.join(" "))))
        }
    }
}

fn greet(program: &mut Program, limits: Limits) -> Result<About, EngineError> {
    match exchange(program, &Request::Hello { protocol: VERSION }, limits)? {
        Answer::Hello(about) => Ok(about),
        Answer::Error(what) => Err(EngineError::Malformed(format!("an error in answer to `hello`: {what}"))),
        other => Err(stray(&other, "hello")),
    }
}

/// Why the engine did not do what it was asked to; or, if this is no answer to it at all,
/// what it did instead.
fn declined(answer: Answer, to: &str) -> Result<EngineError, EngineError> {
    match answer {
        Answer::Unsupported(why) => Ok(EngineError::Unsupported(why)),
        Answer::Error(what) => Ok(EngineError::Failed(what)),
        other => Err(stray(&other, to)),
    }
}

fn stray(answer: &Answer, to: &str) -> EngineError {
    let name = match answer {
        Answer::Hello(_) => "hello",
        Answer::Outcomes(_) => "outcomes",
        Answer::Reproduction(_) => "reproduction",
        Answer::Timed(_) => "timed",
        Answer::Unsupported(_) => "unsupported",
        Answer::Error(_) => "error",
    };
    EngineError::Malformed(format!("`{name}` in answer to `{to}`"))
}

/// One request, one answer.
fn exchange(program: &mut Program, request: &Request, limits: Limits) -> Result<Answer, EngineError> {
    program.send(request)?;
    let line = match program.receive(limits.timeout) {
        Line::Whole(line) => line,
        Line::TooLong => {
            return Err(EngineError::Malformed(format!("a line of more than {} bytes", limits.line)));
        }
        Line::Late => return Err(EngineError::TimedOut { seconds: limits.timeout.as_secs().max(1) }),
        Line::End { partial } => return Err(EngineError::Crashed(program.obituary(&partial))),
    };
    let text = std::str::from_utf8(&line).map_err(|_| malformed("not UTF-8", &line))?;
    serde_json::from_str(text).map_err(|error| malformed(&error.to_string(), &line))
}

fn malformed(why: &str, line: &[u8]) -> EngineError {
    EngineError::Malformed(format!("{why}, in the line {}", program::excerpt(line)))
}
