//! The suite's tensors as arrays on a device, and back.

use batchnorm::{DType, MemoryFormat};
use bn_suite::tensor::{self, Layout, Tensor};
use half::{bf16, f16};

use crate::array::{Array, Vector, element_bytes, packed, write};
use crate::device::{Device, DeviceError};
use crate::layer::Error;

/// Our name of a dtype of the suite.
pub(super) fn dtype(of: tensor::DType) -> DType {
    match of {
        tensor::DType::F16 => DType::F16,
        tensor::DType::Bf16 => DType::Bf16,
        tensor::DType::F32 => DType::F32,
        tensor::DType::F64 => DType::F64,
        tensor::DType::I64 => DType::I64,
        tensor::DType::Bool => DType::Bool,
    }
}

/// The suite's name of a dtype of ours.
fn suites_dtype(of: DType) -> tensor::DType {
    match of {
        DType::F16 => tensor::DType::F16,
        DType::Bf16 => tensor::DType::Bf16,
        DType::F32 => tensor::DType::F32,
        DType::F64 => tensor::DType::F64,
        DType::I64 => tensor::DType::I64,
        DType::Bool => tensor::DType::Bool,
    }
}

/// Whether there are kernels for it.
pub(super) fn is_computed_with(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F16 | DType::Bf16)
}

/// A tensor on the device, laid out as it says, with NaN in the gaps.
pub(super) fn upload<D: Device>(device: &D, tensor: &Tensor) -> Result<Array<D>, Error> {
    let (shape, dtype) = (&tensor.shape, dtype(tensor.dtype));
    let (strides, offset) = match &tensor.layout {
        Layout::Contiguous => (packed(shape, MemoryFormat::Contiguous), 0),
        Layout::ChannelsLast => (packed(shape, MemoryFormat::ChannelsLast), 0),
        Layout::Strided { strides, offset } => (strides.clone(), *offset),
    };
    let places = places(shape, &strides, offset);
    let end = places.iter().max().map_or(0, |last| last + 1);
    let mut bytes = vec![0xff; end * element_bytes(dtype)];
    for (place, &value) in places.into_iter().zip(&tensor.data) {
        write(&mut bytes, dtype, place, value);
    }
    Array::new(device.upload(&bytes)?, dtype, shape, &strides, offset)
}

/// A parameter or buffer on the device.
pub(super) fn upload_vector<D: Device>(device: &D, tensor: &Tensor) -> Result<Vector<D>, DeviceError> {
    Vector::upload(device, dtype(tensor.dtype), &tensor.data)
}

/// An answer. `like` is the layout of the input that it answers to: where the strides fit more
/// than one order, that one is named.
pub(super) fn download<D: Device>(device: &D, array: &Array<D>, like: &Layout) -> Result<Tensor, Error> {
    let bytes = device.download(array.memory())?;
    let (shape, strides) = (array.shape(), array.strides());
    let is_packed = |layout: &Layout| match layout {
        Layout::Contiguous => is_same_order(shape, strides, MemoryFormat::Contiguous),
        Layout::ChannelsLast => is_same_order(shape, strides, MemoryFormat::ChannelsLast),
        Layout::Strided { .. } => false,
    };
    let layouts = [like.clone(), Layout::Contiguous, Layout::ChannelsLast];
    let layout = layouts.into_iter().find(is_packed).unwrap_or(Layout::Contiguous);
    let places = places(shape, strides, 0);
    let data = places.into_iter().map(|place| read(&bytes, array.dtype(), place)).collect();
    Ok(Tensor { dtype: suites_dtype(array.dtype()), shape: shape.to_vec(), layout, data })
}

/// A parameter or buffer, where it is of floats.
pub(super) fn download_vector<D: Device>(device: &D, vector: &Vector<D>) -> Result<Option<Tensor>, Error> {
    let dtype = vector.dtype();
    if matches!(dtype, DType::I64 | DType::Bool) {
        return Ok(None);
    }
    let bytes = device.download(vector.memory())?;
    let data: Vec<f64> = (0..vector.len()).map(|place| read(&bytes, dtype, place)).collect();
    Ok(Some(Tensor::vector(suites_dtype(dtype), &data)))
}

/// Whether these strides are that format's, wherever an extent lets them matter.
fn is_same_order(shape: &[usize], strides: &[usize], format: MemoryFormat) -> bool {
    if format == MemoryFormat::ChannelsLast && !(4..=5).contains(&shape.len()) {
        return false;
    }
    let packed = packed(shape, format);
    shape.contains(&0) || (0..shape.len()).all(|axis| shape[axis] == 1 || strides[axis] == packed[axis])
}

/// Where the elements lie, in logical order.
fn places(shape: &[usize], strides: &[usize], offset: usize) -> Vec<usize> {
    let mut places = vec![offset];
    for (&extent, &stride) in shape.iter().zip(strides) {
        let row = |place: usize| (0..extent).map(move |index| place + index * stride);
        places = places.into_iter().flat_map(row).collect();
    }
    places
}

fn read(bytes: &[u8], dtype: DType, place: usize) -> f64 {
    fn at<const N: usize>(bytes: &[u8], place: usize) -> [u8; N] {
        bytes[place * N..][..N].try_into().expect("a slice of N bytes")
    }
    match dtype {
        DType::F16 => f16::from_ne_bytes(at(bytes, place)).to_f64(),
        DType::Bf16 => bf16::from_ne_bytes(at(bytes, place)).to_f64(),
        DType::F32 => f32::from_ne_bytes(at(bytes, place)).into(),
        DType::F64 => f64::from_ne_bytes(at(bytes, place)),
        DType::I64 | DType::Bool => f64::NAN,
    }
}
