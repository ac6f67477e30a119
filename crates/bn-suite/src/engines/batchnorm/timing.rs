//! Our engine timed: through its public calls that write into arrays which are there already.

use std::time::Instant;

use batchnorm::{BatchNorm, Config, Element, GradientsInto, MixesWith, Saved, Workspace};
use ndarray::{Array1, ArrayD, IxDyn};

use crate::engine::EngineError;
use crate::protocol::timing::{Op, Timed, Timing, element};
use crate::tensor::DType;

/// Times the pass.
pub(super) fn time(timing: &Timing) -> Result<Timed, EngineError> {
    match timing.dtype {
        DType::F32 => time_in(timing, |value| value as f32, f64::from),
        DType::F64 => time_in(timing, |value| value, |value| value),
        other => Err(EngineError::Unsupported(format!("timings in {}", other.name()))),
    }
}

fn time_in<T: Element + MixesWith<T>>(
    timing: &Timing,
    from_f64: impl Fn(f64) -> T,
    to_f64: impl Fn(T) -> f64,
) -> Result<Timed, EngineError> {
    let failed = |error: &dyn std::fmt::Display| EngineError::Failed(error.to_string());
    let Some(&channels) = timing.shape.get(1) else {
        return Err(EngineError::Failed(format!("a shape (N, C, …), not {:?}", timing.shape)));
    };
    let array = |stream| {
        let data = (0..timing.shape.iter().product()).map(|index| from_f64(element(index, stream))).collect();
        ArrayD::from_shape_vec(IxDyn(&timing.shape), data).map_err(|error| failed(&error))
    };
    let (input, grad_output) = (array(0)?, array(1)?);
    let mut layer = BatchNorm::<T>::new(Config::new(channels));
    layer.set_training(timing.op != Op::ForwardEval);
    let blank = || ArrayD::from_elem(IxDyn(&timing.shape), from_f64(0.0));
    let vector = || Array1::from_elem(channels, from_f64(0.0));
    let (mut output, mut saved) = (blank(), Saved::default());
    let (mut grad_input, mut grad_weight, mut grad_bias) = (blank(), vector(), vector());
    let mut workspace = Workspace::default();
    let mut seconds = Vec::new();
    // The first call has no clock: it finds memory that nobody has touched yet.
    for call in 0..=timing.calls {
        let begin = Instant::now();
        layer.forward_into(input.view(), output.view_mut(), &mut saved).map_err(|error| failed(&error))?;
        let mut elapsed = begin.elapsed();
        if timing.op == Op::BackwardTrain {
            let gradients = GradientsInto {
                input: Some(grad_input.view_mut()),
                weight: Some(grad_weight.view_mut()),
                bias: Some(grad_bias.view_mut()),
            };
            let begin = Instant::now();
            saved
                .backward_into(input.view(), grad_output.view(), gradients, &mut workspace)
                .map_err(|error| failed(&error))?;
            elapsed = begin.elapsed();
        }
        if call > 0 {
            seconds.push(elapsed.as_secs_f64());
        }
    }
    let answer = if timing.op == Op::BackwardTrain { grad_input } else { output };
    let at = |&place: &usize| answer.as_slice().and_then(|answer| answer.get(place)).copied().map(&to_f64);
    let probes: Option<Vec<f64>> = timing.probes.iter().map(at).collect();
    match probes {
        Some(probes) => Ok(Timed { seconds, probes }),
        None => Err(EngineError::Failed(format!("a probe lies outside of {:?}", timing.shape))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(op: Op) -> Timing {
        Timing { op, shape: vec![4, 2, 3, 5], dtype: DType::F64, calls: 3, probes: vec![0, 59, 119] }
    }

    #[test]
    fn every_call_has_its_time_and_the_answer_is_that_of_a_new_layer() {
        for op in [Op::ForwardTrain, Op::ForwardEval, Op::BackwardTrain] {
            let timed = time(&timing(op)).unwrap();
            assert_eq!((timed.seconds.len(), timed.probes.len()), (3, 3));
        }
        let timed = time(&timing(Op::ForwardEval)).unwrap();
        let expected = [0, 59, 119].map(|index| element(index, 0) / (1.0f64 + 1e-5).sqrt());
        for (got, expected) in timed.probes.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-15, "{got} {expected}");
        }
    }

    #[test]
    fn what_cannot_be_timed_is_said() {
        let outside = Timing { probes: vec![120], ..timing(Op::ForwardTrain) };
        assert!(matches!(time(&outside), Err(EngineError::Failed(_))));
        let narrow = Timing { dtype: DType::Bf16, ..timing(Op::ForwardTrain) };
        assert!(matches!(time(&narrow), Err(EngineError::Unsupported(_))));
    }
}
