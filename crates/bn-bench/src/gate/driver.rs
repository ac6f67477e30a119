//! A `bn-driver` that runs, and what it answers.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use bn_driver::protocol::{Answer, Request, Row};

/// Why a driver gave no answer.
#[derive(Debug, thiserror::Error)]
#[error("{program}: {reason}")]
pub struct DriverError {
    /// Which driver.
    pub program: PathBuf,
    /// Why.
    pub reason: Reason,
}

/// What can go wrong with a driver.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// It could not be started, or reached.
    #[error(transparent)]
    System(#[from] std::io::Error),
    /// It ended in the middle.
    #[error("it ended without an answer")]
    Ended,
    /// It answered something else.
    #[error("expected an answer to {asked}, got {got:?}")]
    Answer {
        /// What was asked, as it was sent.
        asked: String,
        /// What came.
        got: String,
    },
    /// It refused.
    #[error("it refuses {asked}: {why}")]
    Refused {
        /// What was asked, as it was sent.
        asked: String,
        /// Its words.
        why: String,
    },
}

/// A driver, idle between two questions.
pub struct Driver {
    program: PathBuf,
    child: Child,
    /// None once it is to end.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Driver {
    /// Starts the program, or a tool that runs it: `command` is its whole command line.
    ///
    /// # Errors
    /// If the system cannot.
    pub fn start(program: &Path, command: &mut Command) -> Result<Driver, DriverError> {
        let error = |error| DriverError { program: program.into(), reason: Reason::System(error) };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(error)?;
        let (input, output) = (child.stdin.take(), child.stdout.take().map(BufReader::new));
        let output = output.expect("the output is piped");
        Ok(Driver { program: program.into(), child, input, output })
    }

    /// Prepares a row; the digest of its result.
    ///
    /// # Errors
    /// [`DriverError`].
    pub fn prepare(&mut self, row: &Row) -> Result<String, DriverError> {
        self.ask(&Request::Prepare(row.clone()), |answer| match answer {
            Answer::Ready { digest } => Some(digest),
            _ => None,
        })
    }

    /// How many calls last so many seconds, as a multiple of `multiple`.
    ///
    /// # Errors
    /// [`DriverError`].
    pub fn calibrate(&mut self, seconds: f64, multiple: usize) -> Result<usize, DriverError> {
        self.ask(&Request::Calibrate { seconds, multiple }, |answer| match answer {
            Answer::Calibrated { calls } => Some(calls),
            _ => None,
        })
    }

    /// The seconds that so many calls take, after some that are not timed. `extra` more
    /// are timed with them.
    ///
    /// # Errors
    /// [`DriverError`].
    pub fn sample(&mut self, lead_in: usize, calls: usize, extra: usize) -> Result<f64, DriverError> {
        self.ask(&Request::Sample { lead_in, calls, extra }, |answer| match answer {
            Answer::Sampled { seconds } => Some(seconds),
            _ => None,
        })
    }

    /// One call that is counted.
    ///
    /// # Errors
    /// [`DriverError`].
    pub fn once(&mut self) -> Result<(), DriverError> {
        self.ask(&Request::Once {}, |answer| (answer == Answer::Done {}).then_some(()))
    }

    /// Lets it end, and waits for that.
    ///
    /// # Errors
    /// If it ends in another way than it should.
    pub fn end(mut self) -> Result<(), DriverError> {
        self.input = None;
        match self.child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err(self.error(Reason::Ended)),
            Err(error) => Err(self.error(Reason::System(error))),
        }
    }

    fn error(&self, reason: Reason) -> DriverError {
        DriverError { program: self.program.clone(), reason }
    }

    fn ask<A>(&mut self, request: &Request, take: impl Fn(Answer) -> Option<A>) -> Result<A, DriverError> {
        let asked = serde_json::to_string(request).expect("a request is JSON");
        let got = self.exchange(&asked).map_err(|reason| self.error(reason))?;
        let answer = serde_json::from_str(&got).ok();
        if let Some(Answer::Error(why)) = answer {
            return Err(self.error(Reason::Refused { asked, why }));
        }
        answer.and_then(take).ok_or_else(|| self.error(Reason::Answer { asked, got: got.trim_end().into() }))
    }

    fn exchange(&mut self, asked: &str) -> Result<String, Reason> {
        let input = self.input.as_mut().ok_or(Reason::Ended)?;
        input.write_all(format!("{asked}\n").as_bytes())?;
        let mut got = String::new();
        match self.output.read_line(&mut got)? {
            0 => Err(Reason::Ended),
            _ => Ok(got),
        }
    }
}

impl Drop for Driver {
    /// One that was not let end is not left behind.
    fn drop(&mut self) {
        if self.input.take().is_some() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
