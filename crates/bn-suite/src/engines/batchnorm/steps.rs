//! The steps of a script, put to a layer.

use ::batchnorm::admit::Signature;
use ::batchnorm::{BatchNorm, Element, Error, Map, MixesWith, Moments, OutputMask, Saved, check_dtypes};
use half::{bf16, f16};
use ndarray::Array1;

use super::any_layer::{AnyLayer, Held, vectors, with_layer, with_types};
use super::arrays::{Buffer, our_dtype, tensor, vector};
use super::{Fields, Stop};
use crate::case::{Fold, FoldInto, Mode, Pass, Step};
use crate::outcome::Field;
use crate::tensor::{DType, Layout, Tensor};

/// The backward passes of a step, to run now or later.
pub(super) type Backward<'c> = Box<dyn FnOnce() -> Result<Fields, Stop> + 'c>;

/// The dtype that a step brings.
pub(super) fn dtype_of(step: &Step) -> DType {
    match step {
        Step::BatchNorm(pass) => pass.input.dtype,
        Step::Fold(fold) => fold.weight.dtype,
        Step::Merge { parts } => parts.first().map_or(DType::F32, |part| part.dtype),
        Step::Reset { .. } => DType::F32,
    }
}

/// The arrays of a step, and its backward passes if it has any.
pub(super) type Answer<'c> = Result<(Fields, Option<Backward<'c>>), Stop>;

pub(super) fn play<'c>(layer: &mut AnyLayer, step: &'c Step) -> Answer<'c> {
    match step {
        Step::BatchNorm(pass) => {
            let (training, input) = (pass.mode == Mode::Train, &pass.input);
            with_types!(
                &mut *layer,
                input.dtype,
                |layer, T| passes::<T, _>(layer, pass),
                Err(layer.refuse(training, input.dtype, &input.shape))
            )
        }
        Step::Merge { parts } => {
            let joined = joined_shape(parts)?;
            let dtype = dtype_of(step);
            let fields = with_types!(
                &mut *layer,
                dtype,
                |layer, T| merge::<T, _>(layer, parts),
                Err(layer.refuse(true, dtype, &joined))
            );
            Ok((fields?, None))
        }
        Step::Fold(map) => {
            let fields = with_types!(
                &*layer,
                map.weight.dtype,
                |layer, T| fold::<T, _>(layer, map),
                Err(with_layer!(&*layer, |layer| refuse_fold(layer.held(), map.weight.dtype)))
            );
            Ok((fields?, None))
        }
        Step::Reset { what } => Ok((with_layer!(layer, |layer| layer.reset(*what)), None)),
    }
}

/// A forward pass, and its backward passes for when their time comes.
fn passes<'c, T: MixesWith<P>, P: Element>(layer: &mut BatchNorm<P>, pass: &'c Pass) -> Answer<'c> {
    let input = Buffer::<T>::new(&pass.input);
    layer.set_training(pass.mode == Mode::Train);
    let (output, saved) = layer.forward(input.view()?)?;
    let fields = Fields::from([(Field::Output, tensor(&output, &pass.input.layout))]);
    let Some(grad_output) = &pass.grad_output else { return Ok((fields, None)) };
    let backward = move || gradients(pass, &input, grad_output, &saved);
    Ok((fields, Some(Box::new(backward))))
}

fn gradients<T: MixesWith<P>, P: Element>(
    pass: &Pass,
    input: &Buffer<T>,
    grad_output: &Tensor,
    saved: &Saved<P>,
) -> Result<Fields, Stop> {
    let like = &pass.input.layout;
    let of_input = |given: &Tensor| match given.dtype == pass.input.dtype {
        true => Ok(Buffer::<T>::new(given)),
        false => Err(Stop::dtype(format!(
            "expected a gradient of dtype {}, got {}",
            pass.input.dtype.name(),
            given.dtype.name()
        ))),
    };
    let grad_output = of_input(grad_output)?;
    let mask = pass.output_mask.map_or(OutputMask::ALL, |mask| OutputMask {
        input: mask.input,
        weight: mask.weight,
        bias: mask.bias,
    });
    let first = saved.backward(input.view()?, grad_output.view()?, mask)?;
    let mut fields = vectors([(Field::GradWeight, &first.weight), (Field::GradBias, &first.bias)]);
    fields.extend(first.input.map(|array| (Field::GradInput, tensor(&array, like))));
    if let Some(cotangents) = &pass.cotangents {
        let u = cotangents.grad_input.as_ref().map(of_input).transpose()?;
        let u = u.as_ref().map(Buffer::view).transpose()?;
        let (v, t) = (vector(&cotangents.grad_weight), vector(&cotangents.grad_bias));
        let (v, t) = (v.as_ref().map(|v| v.view()), t.as_ref().map(|v| v.view()));
        let second = saved.double_backward(input.view()?, grad_output.view()?, u, v, t)?;
        fields.insert(Field::SecondGradOutput, tensor(&second.grad_output, like));
        fields.insert(Field::SecondGradInput, tensor(&second.input, like));
        fields.extend(vectors([(Field::SecondGradWeight, &second.weight)]));
    }
    Ok(fields)
}

/// The shape of the parts joined along N, where they have one dtype.
fn joined_shape(parts: &[Tensor]) -> Result<Vec<usize>, Stop> {
    let first = parts.first().ok_or(Error::NoParts)?;
    if let Some(other) = parts.iter().find(|part| part.dtype != first.dtype) {
        let (expected, actual) = (first.dtype.name(), other.dtype.name());
        return Err(Stop::dtype(format!("expected parts of dtype {expected}, got {actual}")));
    }
    let mut shape = first.shape.clone();
    if let Some(n) = shape.first_mut() {
        *n = parts.iter().filter_map(|part| part.shape.first()).sum();
    }
    Ok(shape)
}

fn merge<T: MixesWith<P>, P: Element>(layer: &mut BatchNorm<P>, parts: &[Tensor]) -> Result<Fields, Stop> {
    layer.set_training(true);
    let buffers: Vec<Buffer<T>> = parts.iter().map(Buffer::new).collect();
    let views = buffers.iter().map(Buffer::view).collect::<Result<Vec<_>, _>>()?;
    let (outputs, saved) = layer.forward_parts(&views)?;
    let outputs: Vec<_> = outputs.iter().map(|output| output.view()).collect();
    let joined = ndarray::concatenate(ndarray::Axis(0), &outputs).expect("the parts were joined before");
    let moments = saved.moments().expect("a training pass measures");
    let measured = |value: fn(&Moments) -> f64| {
        Some(moments.iter().map(|m| P::from_f64(value(m))).collect::<Array1<P>>())
    };
    let (mean, var) = (measured(|m| m.mean()), measured(|m| m.var_biased()));
    let mut fields = vectors([(Field::Mean, &mean), (Field::VarBiased, &var)]);
    let joined = joined.as_standard_layout().into_owned();
    fields.insert(Field::Output, tensor(&joined, &Layout::Contiguous));
    Ok(fields)
}

fn fold<T: MixesWith<P>, P: Element>(layer: &BatchNorm<P>, fold: &Fold) -> Result<Fields, Stop> {
    let map = match fold.into {
        FoldInto::Linear => Map::Linear,
        FoldInto::Conv => Map::Conv { groups: fold.groups },
        FoldInto::ConvTranspose => Map::ConvTranspose { groups: fold.groups },
    };
    let (weight, bias) = (Buffer::<T>::new(&fold.weight), vector::<T>(&fold.bias));
    let (weight, bias) = layer.fold(map, weight.view()?, bias.as_ref().map(|v| v.view()))?;
    let plain = &Layout::Contiguous;
    Ok([(Field::FoldedWeight, tensor(&weight, plain)), (Field::FoldedBias, tensor(&bias, plain))].into())
}

/// The refusal of a map whose dtype the layer does not take.
fn refuse_fold(held: Signature, weight: DType) -> Stop {
    let missing = [("running_mean", held.running_mean), ("running_var", held.running_var)];
    if let Some((name, _)) = missing.into_iter().find(|(_, vector)| vector.is_none()) {
        return Error::MissingRunningStat { name }.into();
    }
    match check_dtypes(our_dtype(weight), &held.dtypes()) {
        Err(error) => error.into(),
        Ok(()) => unreachable!("a mix that is admitted has types"),
    }
}
