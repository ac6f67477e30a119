//! Arrays across the border: the suite's JSON arrays into libtorch's tensors and
//! back, element for element, with dtype and memory order as they stand.
//!
//! Every value of a narrower dtype is an `f64`, so both ways go through `f64`
//! and no value changes.

use bn_suite::tensor::{DType, Layout, Tensor as Array};
use tch::{Device, Kind, Tensor};

use crate::cuda;
use crate::refusal::Stop;

/// No buffer of a case may be larger than this many elements: strides are data,
/// and a slip in one must not ask for all the memory there is.
const MOST_ELEMENTS: usize = 1 << 28;

/// libtorch's name for a dtype.
pub fn kind_of(dtype: DType) -> Kind {
    match dtype {
        DType::F16 => Kind::Half,
        DType::Bf16 => Kind::BFloat16,
        DType::F32 => Kind::Float,
        DType::F64 => Kind::Double,
        DType::I64 => Kind::Int64,
        DType::Bool => Kind::Bool,
    }
}

fn dtype_of(kind: Kind) -> Result<DType, Stop> {
    match kind {
        Kind::Half => Ok(DType::F16),
        Kind::BFloat16 => Ok(DType::Bf16),
        Kind::Float => Ok(DType::F32),
        Kind::Double => Ok(DType::F64),
        Kind::Int64 => Ok(DType::I64),
        Kind::Bool => Ok(DType::Bool),
        other => Err(Stop::Failed(format!("libtorch answered in {other:?}, which the suite does not carry"))),
    }
}

/// The array as a tensor of its own memory, on the device that the process uses.
pub fn into_torch(array: &Array) -> Result<Tensor, Stop> {
    if let Some(problem) = array.problem() {
        return Err(Stop::Failed(format!("not an array: {problem}")));
    }
    let shape = extents(&array.shape);
    let plain = Tensor::f_from_slice(&array.data)?.f_reshape(&shape)?.f_to_kind(kind_of(array.dtype))?;
    let plain = plain.f_to_device(cuda::device())?;
    match &array.layout {
        Layout::Contiguous => Ok(plain),
        Layout::ChannelsLast => Ok(channels_last(&plain)?),
        Layout::Strided { strides, offset } => strided(&plain, &array.shape, strides, *offset),
    }
}

/// The same values with the channel axis innermost in memory.
fn channels_last(plain: &Tensor) -> Result<Tensor, Stop> {
    let rank = plain.dim() as i64;
    let (to_last, from_last): (Vec<i64>, Vec<i64>) = (
        [0].into_iter().chain(2..rank).chain([1]).collect(),
        [0, rank - 1].into_iter().chain(1..rank - 1).collect(),
    );
    Ok(plain.f_permute(to_last)?.f_contiguous()?.f_permute(from_last)?)
}

/// The same values at `offset + Σ iₖ·strides[k]` of a buffer. Elements that share
/// a place must have the same value; the places between hold NaN, which shows in
/// the answer if anything reads them.
fn strided(plain: &Tensor, shape: &[usize], strides: &[usize], offset: usize) -> Result<Tensor, Stop> {
    let kind = plain.f_kind()?;
    let size = buffer_size(shape, strides, offset)?;
    let padding = if plain.f_is_floating_point()? { f64::NAN } else { 0.0 };
    let buffer = Tensor::f_full([size as i64], padding, (kind, cuda::device()))?;
    let mut view = buffer.f_as_strided(extents(shape), extents(strides), offset as i64)?;
    // `copy_` refuses a view whose elements share places, so write through the
    // flat buffer instead, at the place of every element.
    let places = places(shape, strides, offset);
    let places = Tensor::f_from_slice(&places)?.f_to_device(cuda::device())?;
    let _ = buffer.shallow_clone().f_index_copy_(0, &places, &plain.f_reshape([-1])?)?;
    if !view.f_to_kind(Kind::Double)?.f_allclose(&plain.f_to_kind(Kind::Double)?, 0.0, 0.0, true)? {
        return Err(Stop::Failed(format!(
            "elements that share a place in strides {strides:?} differ in value"
        )));
    }
    view = view.f_detach()?;
    Ok(view)
}

fn buffer_size(shape: &[usize], strides: &[usize], offset: usize) -> Result<usize, Stop> {
    let last = shape.iter().zip(strides).try_fold(offset, |sum, (&extent, &stride)| {
        extent.saturating_sub(1).checked_mul(stride).and_then(|reach| sum.checked_add(reach))
    });
    match last {
        Some(last) if last < MOST_ELEMENTS => Ok(last + 1),
        _ => Err(Stop::Failed(format!(
            "shape {shape:?} with strides {strides:?} at {offset} reaches beyond {MOST_ELEMENTS} elements"
        ))),
    }
}

/// Where each element lies, in row-major order of `shape`.
fn places(shape: &[usize], strides: &[usize], offset: usize) -> Vec<i64> {
    let mut places = vec![offset as i64];
    for (&extent, &stride) in shape.iter().zip(strides) {
        places = places.iter().flat_map(|&at| (0..extent).map(move |i| at + (i * stride) as i64)).collect();
    }
    places
}

/// The tensor as an array. Where its extents leave the memory order open (a
/// single channel is in order either way), it is named as `like` names it.
pub fn from_torch(tensor: &Tensor, like: &Layout) -> Result<Array, Stop> {
    let tensor = tensor.f_detach()?;
    let dtype = dtype_of(tensor.f_kind()?)?;
    let shape: Vec<usize> = tensor.size().iter().map(|&extent| extent as usize).collect();
    let layout = layout_of(&tensor, like)?;
    let flat = tensor.f_to_device(Device::Cpu)?.f_to_kind(Kind::Double)?.f_contiguous()?.f_reshape([-1])?;
    let mut data = vec![0.0; flat.numel()];
    flat.f_copy_data(&mut data, flat.numel())?;
    Ok(Array { dtype, shape, layout, data })
}

/// A tensor of one axis, for which there is only one memory order.
pub fn vector_from_torch(tensor: &Tensor) -> Result<Array, Stop> {
    from_torch(tensor, &Layout::Contiguous)
}

fn layout_of(tensor: &Tensor, like: &Layout) -> Result<Layout, Stop> {
    let contiguous = tensor.is_contiguous();
    let channels_last = is_channels_last(tensor)?;
    Ok(match like {
        Layout::ChannelsLast if channels_last => Layout::ChannelsLast,
        _ if contiguous => Layout::Contiguous,
        _ if channels_last => Layout::ChannelsLast,
        _ => Layout::Strided {
            strides: tensor.stride().iter().map(|&stride| stride as usize).collect(),
            // How far into its storage a fresh tensor starts is nobody's concern.
            offset: 0,
        },
    })
}

fn is_channels_last(tensor: &Tensor) -> Result<bool, Stop> {
    let rank = tensor.dim() as i64;
    if !(4..=5).contains(&rank) {
        return Ok(false);
    }
    let to_last: Vec<i64> = [0].into_iter().chain(2..rank).chain([1]).collect();
    Ok(tensor.f_permute(to_last)?.is_contiguous())
}

fn extents(values: &[usize]) -> Vec<i64> {
    values.iter().map(|&value| value as i64).collect()
}
