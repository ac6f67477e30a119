//! A case made as small as it can be, and still fails in the same way.
//!
//! Greedy: one simplification after another is tried, and kept if the failure stays; again
//! from the start until none is kept. First steps go, then extents are halved and lowered,
//! then what is asked for besides, then the settings become the defaults, and at last the
//! elements become 0, 1 or whole numbers.

use std::ops::Range;
use std::time::{Duration, Instant};

use bn_suite::case::{Case, Layer, Pass, Step};
use bn_suite::tensor::{Layout, Tensor};

/// The smallest case that was found in this time; `fails` says whether a case still fails in
/// the way that is looked for.
pub fn shrink(case: &Case, patience: Duration, mut fails: impl FnMut(&Case) -> bool) -> Case {
    let deadline = Instant::now() + patience;
    let mut smallest = case.clone();
    loop {
        let mut shrunk = false;
        for simplify in SIMPLIFICATIONS {
            // What was possible once may be possible again: to halve, and halve again.
            let mut at = 0;
            while let Some(simpler) = simplify(&smallest, at) {
                if Instant::now() > deadline {
                    return smallest;
                }
                match simpler {
                    Some(simpler) if simpler != smallest && fails(&simpler) => {
                        smallest = simpler;
                        shrunk = true;
                    }
                    _ => at += 1,
                }
            }
        }
        if !shrunk {
            return smallest;
        }
    }
}

/// The attempt of that number: none when there are no more, `Some(None)` where this one does
/// not apply.
type Simplification = fn(&Case, usize) -> Option<Option<Case>>;

const SIMPLIFICATIONS: [Simplification; 6] = [steps, extents, asked, settings, parameters, elements];

/// Without a step.
fn steps(case: &Case, at: usize) -> Option<Option<Case>> {
    let at = case.steps.len().checked_sub(at + 1)?;
    let mut simpler = case.clone();
    simpler.steps.remove(at);
    Some((!simpler.steps.is_empty()).then_some(simpler))
}

/// Half of an axis, or all of it but the last.
fn extents(case: &Case, at: usize) -> Option<Option<Case>> {
    let rank = passes(case).map(|pass| pass.input.shape.len()).max()?;
    let (axis, by) = (at / 4, at % 4);
    if axis >= rank {
        return None;
    }
    let extent = passes(case).filter_map(|pass| pass.input.shape.get(axis)).copied().max()?;
    let kept = match by {
        0 => 0..extent / 2,
        1 => extent / 2..extent,
        2 => 0..extent.saturating_sub(1),
        _ => 1..extent,
    };
    if kept.is_empty() {
        return Some(None);
    }
    Some(cut(case, axis, extent, &kept))
}

/// Only these places along an axis of every pass; none where the passes differ in it.
fn cut(case: &Case, axis: usize, extent: usize, kept: &Range<usize>) -> Option<Case> {
    let is_plain = case.steps.iter().all(|step| matches!(step, Step::BatchNorm(_) | Step::Reset { .. }));
    let is_alike = passes(case).all(|pass| pass.input.shape.get(axis) == Some(&extent));
    if !is_plain || !is_alike {
        return None;
    }
    let mut simpler = case.clone();
    for pass in passes_mut(&mut simpler) {
        for tensor in of_input_shape(pass) {
            *tensor = slice(tensor, axis, kept)?;
        }
    }
    if axis == 1 {
        simpler.layer.num_features = kept.len();
        for tensor in of_channels(&mut simpler) {
            *tensor = slice(tensor, 0, kept)?;
        }
    }
    Some(simpler)
}

/// Without second gradients, without gradients, with all of them, in the usual order.
fn asked(case: &Case, at: usize) -> Option<Option<Case>> {
    let (step, what) = (at / 5, at % 5);
    let mut simpler = case.clone();
    let Step::BatchNorm(pass) = simpler.steps.get_mut(step)? else { return Some(None) };
    match what {
        0 => pass.cotangents = None,
        1 => (pass.grad_output, pass.cotangents, pass.output_mask) = (None, None, None),
        2 => pass.output_mask = None,
        3 => pass.backward_at_end = false,
        _ => of_input_shape(pass).for_each(|tensor| tensor.layout = Layout::Contiguous),
    }
    Some(Some(simpler))
}

/// PyTorch's defaults.
fn settings(case: &Case, at: usize) -> Option<Option<Case>> {
    let defaults = Layer::default();
    let mut simpler = case.clone();
    match at {
        0 => simpler.layer.eps = defaults.eps,
        1 => simpler.layer.momentum = defaults.momentum,
        2 => simpler.state.num_batches_tracked = simpler.state.num_batches_tracked.map(|_| 0),
        _ => return None,
    }
    Some(Some(simpler))
}

/// Weight 1, bias 0, running mean 0, running variance 1.
fn parameters(case: &Case, at: usize) -> Option<Option<Case>> {
    let mut simpler = case.clone();
    let state = &mut simpler.state;
    let (tensor, value) = match at {
        0 => (&mut state.weight, 1.0),
        1 => (&mut state.bias, 0.0),
        2 => (&mut state.running_mean, 0.0),
        3 => (&mut state.running_var, 1.0),
        _ => return None,
    };
    tensor.iter_mut().for_each(|tensor| tensor.data.fill(value));
    Some(Some(simpler))
}

/// An element 0, or 1, or a whole number: only of few elements, which somebody may read.
fn elements(case: &Case, at: usize) -> Option<Option<Case>> {
    const READABLE: usize = 32;
    let (place, value) = (at / 3, at % 3);
    let mut simpler = case.clone();
    let mut tensors: Vec<&mut Tensor> = passes_mut(&mut simpler).flat_map(of_input_shape).collect();
    if tensors.iter().map(|tensor| tensor.data.len()).sum::<usize>() > READABLE {
        return None;
    }
    let element = tensors.iter_mut().flat_map(|tensor| tensor.data.iter_mut()).nth(place)?;
    let simple = *element == element.round() && element.abs() < 10.0;
    match value {
        0 => *element = 0.0,
        1 if *element != 0.0 => *element = 1.0,
        2 if !simple => *element = element.round(),
        _ => return Some(None),
    }
    Some(Some(simpler))
}

fn passes(case: &Case) -> impl Iterator<Item = &Pass> {
    case.steps.iter().filter_map(|step| match step {
        Step::BatchNorm(pass) => Some(pass.as_ref()),
        _ => None,
    })
}

fn passes_mut(case: &mut Case) -> impl Iterator<Item = &mut Pass> {
    case.steps.iter_mut().filter_map(|step| match step {
        Step::BatchNorm(pass) => Some(pass.as_mut()),
        _ => None,
    })
}

/// The arrays of a pass that have the input's shape.
fn of_input_shape(pass: &mut Pass) -> impl Iterator<Item = &mut Tensor> {
    let Pass { input, grad_output, cotangents, .. } = pass;
    let cotangent = cotangents.as_mut().and_then(|cotangents| cotangents.grad_input.as_mut());
    [Some(input), grad_output.as_mut(), cotangent].into_iter().flatten()
}

/// The arrays that have an element per channel.
fn of_channels(case: &mut Case) -> impl Iterator<Item = &mut Tensor> {
    let Case { state, steps, .. } = case;
    let buffers = [&mut state.weight, &mut state.bias, &mut state.running_mean, &mut state.running_var];
    let cotangents = steps.iter_mut().filter_map(|step| match step {
        Step::BatchNorm(pass) => pass.cotangents.as_mut(),
        _ => None,
    });
    let of_cotangents =
        cotangents.flat_map(|cotangents| [&mut cotangents.grad_weight, &mut cotangents.grad_bias]);
    buffers.into_iter().chain(of_cotangents).flatten()
}

/// These places along an axis; none where the array has no such places.
fn slice(tensor: &Tensor, axis: usize, kept: &Range<usize>) -> Option<Tensor> {
    let extent = *tensor.shape.get(axis).filter(|&&extent| extent >= kept.end)?;
    let inner: usize = tensor.shape[axis + 1..].iter().product();
    let row = extent * inner;
    let data = if row == 0 {
        Vec::new()
    } else {
        let rows = tensor.data.chunks(row);
        rows.flat_map(|row| &row[kept.start * inner..kept.end * inner]).copied().collect()
    };
    let mut shape = tensor.shape.clone();
    shape[axis] = kept.len();
    let layout = match tensor.layout {
        // Other strides would be those of another array.
        Layout::Strided { .. } => Layout::Contiguous,
        ref layout => layout.clone(),
    };
    Some(Tensor { shape, data, layout, dtype: tensor.dtype })
}

#[cfg(test)]
mod tests {
    use bn_suite::case::{Mode, State};
    use bn_suite::tensor::DType;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn case() -> Case {
        let data: Vec<f64> = (0..24).map(|i| f64::from(i) * 0.37 - 3.0).collect();
        let input = Tensor::new(DType::F64, &[4, 3, 2], data);
        let pass = |mode| {
            let mut pass = Pass::forward(mode, input.clone());
            pass.grad_output = Some(input.clone());
            Step::BatchNorm(Box::new(pass))
        };
        let ones = Tensor::vector(DType::F64, &[1.5, 2.5, 3.5]);
        let state = State { weight: Some(ones.clone()), bias: Some(ones), ..State::default() };
        let layer = Layer { num_features: 3, eps: 0.25, ..Layer::default() };
        let steps = vec![pass(Mode::Eval), pass(Mode::Train), pass(Mode::Eval)];
        Case { name: "a/b".into(), note: "c".into(), layer, state, steps }
    }

    #[test]
    fn what_does_not_matter_goes() {
        // Fails as soon as something is trained on two values that differ.
        let fails = |case: &Case| {
            passes(case).any(|pass| {
                let data = &pass.input.data;
                pass.mode == Mode::Train && pass.input.len() >= 2 && data.iter().any(|x| *x != data[0])
            })
        };
        let small = shrink(&case(), PATIENCE, fails);
        let [Step::BatchNorm(pass)] = small.steps.as_slice() else { panic!("{small:?}") };
        assert_eq!((pass.input.len(), pass.grad_output.as_ref()), (2, None));
        assert_eq!(small.layer.eps, 1e-5);
        assert!(pass.input.data.iter().all(|x| [0.0, 1.0].contains(x)), "{:?}", pass.input.data);
        let channels = pass.input.shape[1];
        assert_eq!(small.layer.num_features, channels);
        assert_eq!(small.state.weight.unwrap(), Tensor::vector(DType::F64, &vec![1.0; channels]));
    }

    #[test]
    fn what_must_stay_stays() {
        let whole = case();
        assert_eq!(shrink(&whole, PATIENCE, |case| *case == whole), whole);
    }

    #[test]
    fn channels_are_cut_out_of_everything() {
        let has_the_last =
            |case: &Case| case.state.bias.as_ref().is_some_and(|bias| bias.data.contains(&3.5));
        let small = shrink(&case(), PATIENCE, has_the_last);
        assert_eq!((small.layer.num_features, small.state.bias.unwrap().data), (1, vec![3.5]));
        assert!(small.steps.iter().all(|step| step.input().unwrap().shape[1] == 1));
    }
}
