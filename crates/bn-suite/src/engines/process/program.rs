//! A child process with its three pipes.
//!
//! Each pipe has a thread of its own, so that neither a program that does not
//! read nor one that does not write can block the suite: it waits on a channel,
//! with a time limit.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::engine::EngineError;
use crate::protocol::Request;

/// How many of the last lines of standard error an obituary quotes.
const STDERR_LINES: usize = 8;

/// How long a program may take to end by itself once its output has ended or it
/// was told `bye`.
const GRACE: Duration = Duration::from_millis(500);

/// How many lines may wait to be received. A program that writes more of them has
/// to wait itself, so that a flood of lines does not fill the memory.
const WAITING_LINES: usize = 4;

/// What came from a program's standard output.
pub(super) enum Line {
    /// A line, without its line break.
    Whole(Vec<u8>),
    /// A line longer than the limit.
    TooLong,
    /// Nothing within the time limit.
    Late,
    /// The end of the output.
    End {
        /// What was written since the last line break.
        partial: Vec<u8>,
    },
}

/// A running program. Dropping it ends it.
pub(super) struct Program {
    child: Child,
    requests: Option<Sender<Vec<u8>>>,
    lines: Receiver<Line>,
    stderr: Arc<Mutex<VecDeque<String>>>,
    stderr_reader: JoinHandle<()>,
    /// Whether it was asked a case.
    used: bool,
}

impl Program {
    pub(super) fn start(command: &[String], line_limit: usize) -> Result<Self, EngineError> {
        let [program, arguments @ ..] = command else {
            return Err(EngineError::NotStarted("the command is empty".into()));
        };
        let failed = |why: String| EngineError::NotStarted(format!("{program:?}: {why}"));
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own, so that what a wrapper script starts ends with it.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failed("its pipes are missing".into()));
        };
        let (requests, to_write) = mpsc::channel();
        let (found, lines) = mpsc::sync_channel(WAITING_LINES);
        let last_lines = Arc::default();
        thread::spawn(move || write_requests(stdin, &to_write));
        thread::spawn(move || read_lines(stdout, line_limit, &found));
        let stderr_reader = thread::spawn({
            let last_lines = Arc::clone(&last_lines);
            move || keep_last_lines(stderr, &last_lines)
        });
        Ok(Program { child, requests: Some(requests), lines, stderr: last_lines, stderr_reader, used: false })
    }

    pub(super) fn send(&mut self, request: &Request) -> Result<(), EngineError> {
        let mut line =
            serde_json::to_vec(request).map_err(|error| EngineError::Malformed(error.to_string()))?;
        line.push(b'\n');
        self.used |= matches!(request, Request::Run(_));
        // A program that is gone shows as the end of its output.
        let _ = self.requests.as_ref().map(|requests| requests.send(line));
        Ok(())
    }

    pub(super) fn receive(&mut self, timeout: Duration) -> Line {
        match self.lines.recv_timeout(timeout) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => Line::Late,
            Err(RecvTimeoutError::Disconnected) => Line::End { partial: Vec::new() },
        }
    }

    /// Whether it was asked a case before.
    pub(super) fn is_used(&self) -> bool {
        self.used
    }

    /// Whether it is there and has written nothing that was not received.
    pub(super) fn is_silent(&mut self) -> bool {
        matches!(self.lines.try_recv(), Err(TryRecvError::Empty))
    }

    /// How the program ended, once its output has.
    pub(super) fn obituary(&mut self, partial: &[u8]) -> String {
        let mut text = match self.wait(GRACE) {
            Some(status) => format!("the program ended ({status})"),
            None => "the program closed its standard output".to_owned(),
        };
        if !partial.is_empty() {
            text.push_str(&format!(" in the middle of an answer: {}", excerpt(partial)));
        }
        let deadline = Instant::now() + GRACE;
        while !self.stderr_reader.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
        let stderr = lock(&self.stderr);
        if !stderr.is_empty() {
            text.push_str("; standard error ends:");
            stderr.iter().for_each(|line| text.push_str(&format!("\n      {line}")));
        }
        text
    }

    /// The exit status, if the program ends within `patience`.
    fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(2)),
                _ => return None,
            }
        }
    }

    fn kill(&mut self) {
        // Not reaped yet, so the id cannot belong to another group.
        #[cfg(unix)]
        let _ = rustix::process::kill_process_group(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::Signal::KILL,
        );
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    /// `bye` and the end of its input; whoever stays all the same is killed.
    fn drop(&mut self) {
        let _ = self.send(&Request::Bye);
        self.requests = None;
        if self.wait(GRACE).is_none() {
            self.kill();
        }
    }
}

fn write_requests(mut stdin: ChildStdin, requests: &Receiver<Vec<u8>>) {
    for line in requests {
        if stdin.write_all(&line).and_then(|()| stdin.flush()).is_err() {
            return;
        }
    }
}

fn read_lines(stdout: ChildStdout, limit: usize, found: &SyncSender<Line>) {
    let mut stdout = BufReader::new(stdout);
    loop {
        let mut line = Vec::new();
        let read = stdout.by_ref().take(limit as u64 + 1).read_until(b'\n', &mut line);
        let found_line = match (read, line.last()) {
            (Ok(_), Some(b'\n')) => {
                line.pop();
                Line::Whole(line)
            }
            (Ok(_), Some(_)) if line.len() > limit => Line::TooLong,
            _ => Line::End { partial: line },
        };
        let last = !matches!(found_line, Line::Whole(_));
        if found.send(found_line).is_err() || last {
            return;
        }
    }
}

fn keep_last_lines(stderr: ChildStderr, kept: &Mutex<VecDeque<String>>) {
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    // A line without end is taken in pieces.
    while matches!(stderr.by_ref().take(1 << 16).read_until(b'\n', &mut line), Ok(1..)) {
        let mut kept = lock(kept);
        if kept.len() == STDERR_LINES {
            kept.pop_front();
        }
        kept.push_back(excerpt_of(&String::from_utf8_lossy(&line), 300));
        line.clear();
    }
}

/// The text behind the lock. A thread that died holding it left whole lines.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The beginning of a line that may be long and may not be text.
pub(super) fn excerpt(line: &[u8]) -> String {
    let start = &line[..line.len().min(400)];
    format!("{:?}", excerpt_of(&String::from_utf8_lossy(start), 80))
}

fn excerpt_of(line: &str, limit: usize) -> String {
    let line = line.trim_end();
    match line.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
