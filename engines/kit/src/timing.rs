//! The clock around a framework's passes, as [`bn_protocol::timing`] asks for it.

use std::time::Instant;

use bn_protocol::tensor::DType;
use bn_protocol::timing::{Timed, Timing, element};

/// The input, in f32.
pub fn input(timing: &Timing) -> Vec<f32> {
    stream(timing, 0)
}

/// grad_output, in f32.
pub fn grad_output(timing: &Timing) -> Vec<f32> {
    stream(timing, 1)
}

fn stream(timing: &Timing, stream: usize) -> Vec<f32> {
    (0..timing.shape.iter().product()).map(|index| element(index, stream) as f32).collect()
}

/// Whether all is f32, which is what these engines are timed on.
pub fn is_f32(timing: &Timing) -> bool {
    timing.dtype == DType::F32
}

/// Calls `pass` once without a clock, then `timing.calls` times with one, each on what
/// `prepare` gives, which is not timed. `elements` reads the last answer.
///
/// The answer of the call before is freed within the clock: so every call pays for one
/// allocation and for one release.
pub fn calls<P, A, E>(
    timing: &Timing,
    mut prepare: impl FnMut() -> Result<P, E>,
    mut pass: impl FnMut(P) -> Result<A, E>,
    elements: impl FnOnce(A) -> Result<Vec<f32>, E>,
) -> Result<Timed, E> {
    let mut answer = pass(prepare()?)?;
    let mut seconds = Vec::with_capacity(timing.calls);
    for _ in 0..timing.calls {
        let prepared = prepare()?;
        let start = Instant::now();
        answer = pass(prepared)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    let elements = elements(answer)?;
    let probes = timing.probes.iter().map(|&place| elements[place].into()).collect();
    Ok(Timed { seconds, probes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bn_protocol::timing::Op;

    #[test]
    fn every_call_is_prepared_and_the_last_is_probed() {
        let timing = Timing {
            op: Op::ForwardTrain,
            shape: vec![1, 3, 1, 1],
            dtype: DType::F32,
            calls: 4,
            probes: vec![2],
        };
        let mut prepared = 0;
        let prepare = || {
            prepared += 1;
            Ok::<_, ()>(prepared as f32)
        };
        let timed = calls(&timing, prepare, |n| Ok(vec![0.0, 0.0, n]), Ok).unwrap();
        assert_eq!((timed.seconds.len(), timed.probes), (4, vec![5.0]));
    }
}
