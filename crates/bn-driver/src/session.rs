//! A driver at work: requests in, answers out.

use std::io::{self, BufRead, Write};
use std::time::Instant;

use batchnorm::Element;
use half::{bf16, f16};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::axes::{DType, Op};
use crate::ours::Ours;
use crate::protocol::{Answer, Request, Row};
use crate::value::Value;
use crate::workload::{ShapeError, Workload};

/// Part of the name that [`Request::Once`]'s function has in the symbol table.
pub const COUNTED: &str = "counted_call";

/// No row takes more threads.
const MOST_THREADS: usize = 1024;
/// No sample has more calls.
const MOST_CALLS: usize = 1 << 24;
/// No sample lasts longer, in seconds.
const LONGEST: f64 = 60.0;

/// Why a request was not granted.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is none.
    #[error("not a request: {0}")]
    Form(serde_json::Error),
    /// It is not even text.
    #[error("not a line of UTF-8")]
    Text,
    /// It is about a row, and there is none.
    #[error("expected prepare first")]
    Unprepared,
    /// The shape is none.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// One value has no variance.
    #[error("expected more than 1 value per channel in training, got the shape {0:?}")]
    OneValue(Vec<usize>),
    /// A number that is too small or too large.
    #[error("{name}: expected {expected}, got {got}")]
    Number {
        /// Which number.
        name: &'static str,
        /// What it may be.
        expected: String,
        /// What it was.
        got: String,
    },
    /// The system has no more threads.
    #[error("{0} threads: {1}")]
    Threads(usize, rayon::ThreadPoolBuildError),
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] batchnorm::Error),
    /// The engine gave infinities or NaN, and the values were plain.
    #[error("a result is not finite")]
    NotFinite,
}

/// Answers every line of `input` by one of `output`, until the input ends.
///
/// # Errors
/// What reading or writing fails with.
pub fn serve(input: impl BufRead, output: impl Write) -> io::Result<()> {
    let mut lines = Lines { input, output, line: Vec::new() };
    let mut next = lines.request()?;
    while let Some(request) = next {
        next = match request {
            Request::Prepare(row) => {
                let attend = match row.dtype {
                    DType::F32 => attend::<f32, _, _>,
                    DType::F64 => attend::<f64, _, _>,
                    DType::Bf16 => attend::<bf16, _, _>,
                    DType::F16 => attend::<f16, _, _>,
                };
                attend(row, &mut lines)?
            }
            _ => lines.refuse(&Refusal::Unprepared)?,
        };
    }
    Ok(())
}

/// The two ends of the conversation.
struct Lines<I, O> {
    input: I,
    output: O,
    line: Vec<u8>,
}

impl<I: BufRead, O: Write> Lines<I, O> {
    /// The next request, if there is one; lines that are none are answered on the way.
    fn request(&mut self) -> io::Result<Option<Request>> {
        loop {
            self.line.clear();
            if self.input.read_until(b'\n', &mut self.line)? == 0 {
                return Ok(None);
            }
            let parsed = match std::str::from_utf8(&self.line) {
                Ok(text) => serde_json::from_str(text).map_err(Refusal::Form),
                Err(_) => Err(Refusal::Text),
            };
            match parsed {
                Ok(request) => return Ok(Some(request)),
                Err(refusal) => self.answer(&Answer::Error(refusal.to_string()))?,
            }
        }
    }

    fn answer(&mut self, answer: &Answer) -> io::Result<()> {
        serde_json::to_writer(&mut self.output, answer)?;
        self.output.write_all(b"\n")?;
        self.output.flush()
    }

    /// Refuses, and takes the next request.
    fn refuse(&mut self, refusal: &Refusal) -> io::Result<Option<Request>> {
        self.answer(&Answer::Error(refusal.to_string()))?;
        self.request()
    }
}

/// Prepares a row and answers what is asked about it; gives back the request that is
/// about another.
fn attend<T: Value, I: BufRead, O: Write>(row: Row, lines: &mut Lines<I, O>) -> io::Result<Option<Request>> {
    let made = make::<T>(&row);
    let (work, pool) = match &made {
        Ok((work, pool)) => (work, pool),
        Err(refusal) => return lines.refuse(refusal),
    };
    let (mut ours, ready) = match begin(work, row.op, pool) {
        Ok(begun) => begun,
        Err(refusal) => return lines.refuse(&refusal),
    };
    lines.answer(&ready)?;
    loop {
        let request = match lines.request()? {
            None => return Ok(None),
            Some(Request::Prepare(row)) => return Ok(Some(Request::Prepare(row))),
            Some(request) => request,
        };
        let answer = pool.install(|| grant(&mut ours, &request));
        lines.answer(&answer.unwrap_or_else(|refusal| Answer::Error(refusal.to_string())))?;
    }
}

fn make<T: Value>(row: &Row) -> Result<(Workload<T>, ThreadPool), Refusal> {
    within("threads", row.threads, MOST_THREADS)?;
    let work = Workload::<T>::new(&row.shape, row.layout)?;
    if row.op.trains() && work.per_channel() < 2 {
        return Err(Refusal::OneValue(row.shape.clone()));
    }
    let pool = ThreadPoolBuilder::new().num_threads(row.threads).build();
    Ok((work, pool.map_err(|error| Refusal::Threads(row.threads, error))?))
}

/// The engine, after its first call, and what it gave.
fn begin<'a, T: Value>(
    work: &'a Workload<T>,
    op: Op,
    pool: &ThreadPool,
) -> Result<(Ours<'a, T>, Answer), Refusal> {
    let mut ours = Ours::new(work, op)?;
    pool.install(|| ours.call())?;
    let digest = digest(&ours)?;
    Ok((ours, Answer::Ready { digest }))
}

/// FNV-1a over the bits of everything that the operation wrote.
fn digest<T: Value>(ours: &Ours<'_, T>) -> Result<String, Refusal> {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut finite = true;
    let mut take = |value: f64| {
        finite &= value.is_finite();
        hash = (hash ^ value.to_bits()).wrapping_mul(0x0100_0000_01b3);
    };
    let of_residual = ours.grad_residual.iter().flat_map(|memory| memory.iter());
    ours.result.iter().chain(of_residual).for_each(|value| take(value.to_f64()));
    let per_channel = [&ours.running_mean, &ours.running_var, &ours.grad_weight, &ours.grad_bias];
    per_channel.into_iter().flatten().for_each(|value| take(value.to_f64()));
    if finite { Ok(format!("{hash:016x}")) } else { Err(Refusal::NotFinite) }
}

fn grant<T: Value>(ours: &mut Ours<'_, T>, request: &Request) -> Result<Answer, Refusal> {
    Ok(match *request {
        Request::Calibrate { seconds, multiple } => {
            if !(seconds > 0.0 && seconds <= LONGEST) {
                return Err(number("seconds", format!("more than 0, at most {LONGEST}"), seconds));
            }
            within("multiple", multiple, MOST_CALLS)?;
            let calls = calls_that_last(ours, seconds)?.next_multiple_of(multiple);
            Answer::Calibrated { calls: calls.min(MOST_CALLS) }
        }
        Request::Sample { lead_in, calls, extra } => {
            within("calls", calls, MOST_CALLS)?;
            for (name, more) in [("lead_in", lead_in), ("extra", extra)] {
                within(name, more.max(1), MOST_CALLS)?;
            }
            repeat(ours, lead_in)?;
            let begin = Instant::now();
            repeat(ours, calls + extra)?;
            Answer::Sampled { seconds: begin.elapsed().as_secs_f64() }
        }
        Request::Once {} => {
            counted_call(ours)?;
            Answer::Done {}
        }
        Request::Prepare(_) => return Err(Refusal::Unprepared),
    })
}

/// One call, in a function that keeps its name.
#[inline(never)]
fn counted_call<T: Value>(ours: &mut Ours<'_, T>) -> Result<(), batchnorm::Error> {
    ours.call()
}

fn repeat<T: Value>(ours: &mut Ours<'_, T>, calls: usize) -> Result<(), batchnorm::Error> {
    (0..calls).try_for_each(|_| ours.call())
}

/// Doubles the calls until they last half as long as is asked, and reckons from there.
fn calls_that_last<T: Value>(ours: &mut Ours<'_, T>, seconds: f64) -> Result<usize, batchnorm::Error> {
    let mut calls = 1;
    loop {
        let begin = Instant::now();
        repeat(ours, calls)?;
        let lasted = begin.elapsed().as_secs_f64();
        if 2.0 * lasted >= seconds || calls >= MOST_CALLS {
            return Ok((calls as f64 * seconds / lasted).ceil().max(1.0) as usize);
        }
        calls *= 2;
    }
}

fn within(name: &'static str, got: usize, most: usize) -> Result<(), Refusal> {
    if (1..=most).contains(&got) { Ok(()) } else { Err(number(name, format!("1 to {most}"), got)) }
}

fn number(name: &'static str, expected: String, got: impl ToString) -> Refusal {
    Refusal::Number { name, expected, got: got.to_string() }
}
