//! Arrays on a device.

use batchnorm::{DType, MemoryFormat};
use half::{bf16, f16};

use crate::arguments::{self, AXES};
use crate::device::{Device, DeviceError, Memory};
use crate::layer::Error;

/// An array (N, C, *) on a device, of any strides.
#[derive(Debug)]
pub struct Array<D: Device> {
    memory: D::Memory,
    dtype: DType,
    shape: Vec<usize>,
    /// In elements.
    strides: Vec<usize>,
    /// Where the first element lies.
    offset: usize,
}

impl<D: Device> Array<D> {
    /// The array whose element (i₀, i₁, …) is element `offset + Σ iₖ·strides[k]` of `memory`.
    ///
    /// # Errors
    /// [`Error::Memory`] where that leaves the memory, [`Error::Strides`] where there are not as
    /// many strides as extents.
    pub fn new(
        memory: D::Memory,
        dtype: DType,
        shape: &[usize],
        strides: &[usize],
        offset: usize,
    ) -> Result<Self, Error> {
        if strides.len() != shape.len() {
            return Err(Error::Strides { expected: shape.len(), actual: strides.len() });
        }
        let reach: usize = shape.iter().zip(strides).map(|(&len, &s)| len.saturating_sub(1) * s).sum();
        let elements = if shape.contains(&0) { 0 } else { offset + reach + 1 };
        let (expected, actual) = (elements * element_bytes(dtype), memory.bytes());
        if expected > actual {
            return Err(Error::Memory { expected, actual });
        }
        Ok(Array { memory, dtype, shape: shape.to_vec(), strides: strides.to_vec(), offset })
    }

    /// An array without gaps in the memory order that PyTorch gives to what belongs to `input`;
    /// its elements are NaN.
    pub fn like(device: &D, input: &Array<D>) -> Result<Self, DeviceError> {
        let (dtype, shape) = (input.dtype, input.shape.clone());
        let signed: Vec<isize> = input.strides.iter().map(|&stride| stride as isize).collect();
        let strides = packed(&shape, MemoryFormat::suggested(&shape, &signed));
        let memory = device.allocate(shape.iter().product::<usize>() * element_bytes(dtype))?;
        Ok(Array { memory, dtype, shape, strides, offset: 0 })
    }

    /// Its memory.
    pub fn memory(&self) -> &D::Memory {
        &self.memory
    }

    /// The elements' dtype.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The extents.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// From an element to its neighbour along each axis, in elements.
    pub fn strides(&self) -> &[usize] {
        &self.strides
    }

    /// N·Π*, the values of a channel.
    pub(crate) fn values_per_channel(&self) -> usize {
        self.shape.iter().enumerate().filter(|&(axis, _)| axis != 1).map(|(_, &len)| len).product()
    }

    /// The array as a kernel sees it.
    pub(crate) fn argument(&self) -> Result<arguments::Array, Error> {
        let mut array = arguments::Array {
            data: self.memory.address() + (self.offset * element_bytes(self.dtype)) as u64,
            channel_stride: self.strides[1] as i64,
            axes: 0,
            length: [1; AXES],
            stride: [0; AXES],
        };
        for (axis, (&len, &stride)) in self.shape.iter().zip(&self.strides).enumerate() {
            if axis == 1 || len == 1 {
                continue;
            }
            let (len, stride, last) = (len as i64, stride as i64, array.axes as usize);
            if last > 0 && array.stride[last - 1] == len * stride {
                // The axis before continues where this one ends.
                array.length[last - 1] *= len;
                array.stride[last - 1] = stride;
                continue;
            }
            if last == AXES {
                return Err(Error::Axes { shape: self.shape.clone() });
            }
            (array.length[last], array.stride[last]) = (len, stride);
            array.axes += 1;
        }
        array.axes = array.axes.max(1);
        Ok(array)
    }
}

/// A parameter or buffer: C elements, one after the other.
#[derive(Debug)]
pub struct Vector<D: Device> {
    memory: D::Memory,
    dtype: DType,
}

impl<D: Device> Vector<D> {
    /// The vector that fills `memory`.
    pub fn new(memory: D::Memory, dtype: DType) -> Self {
        Vector { memory, dtype }
    }

    /// A vector of these elements, each a value of the dtype.
    pub fn upload(device: &D, dtype: DType, elements: &[f64]) -> Result<Self, DeviceError> {
        let mut bytes = vec![0; elements.len() * element_bytes(dtype)];
        elements.iter().enumerate().for_each(|(place, &value)| write(&mut bytes, dtype, place, value));
        Ok(Vector { memory: device.upload(&bytes)?, dtype })
    }

    /// A vector of as many, of the same dtype, all NaN.
    pub fn like(device: &D, other: &Vector<D>) -> Result<Self, DeviceError> {
        Ok(Vector { memory: device.allocate(other.memory.bytes())?, dtype: other.dtype })
    }

    /// Its memory.
    pub fn memory(&self) -> &D::Memory {
        &self.memory
    }

    /// The elements' dtype.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.memory.bytes() / element_bytes(self.dtype)
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.memory.bytes() == 0
    }
}

/// The size of an element; of those that are never computed with, as the others'.
pub(crate) fn element_bytes(dtype: DType) -> usize {
    match dtype {
        DType::F16 | DType::Bf16 => 2,
        DType::F32 => 4,
        DType::F64 | DType::I64 => 8,
        DType::Bool => 1,
    }
}

/// Puts a value, one of the dtype's, at a place counted in elements.
pub(crate) fn write(bytes: &mut [u8], dtype: DType, place: usize, value: f64) {
    let size = element_bytes(dtype);
    let slot = &mut bytes[place * size..][..size];
    match dtype {
        DType::F16 => slot.copy_from_slice(&f16::from_f64(value).to_ne_bytes()),
        DType::Bf16 => slot.copy_from_slice(&bf16::from_f64(value).to_ne_bytes()),
        DType::F32 => slot.copy_from_slice(&(value as f32).to_ne_bytes()),
        DType::F64 => slot.copy_from_slice(&value.to_ne_bytes()),
        DType::I64 => slot.copy_from_slice(&(value as i64).to_ne_bytes()),
        DType::Bool => slot.copy_from_slice(&[u8::from(value != 0.0)]),
    }
}

/// The strides of an array without gaps.
pub(crate) fn packed(shape: &[usize], format: MemoryFormat) -> Vec<usize> {
    let rank = shape.len();
    let slowest_first: Vec<usize> = match format {
        MemoryFormat::Contiguous => (0..rank).collect(),
        MemoryFormat::ChannelsLast => [0].into_iter().chain(2..rank).chain([1]).collect(),
    };
    let (mut strides, mut next) = (vec![0; rank], 1);
    for axis in slowest_first.into_iter().rev() {
        strides[axis] = next;
        next *= shape[axis];
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::{Emulator, Schedule};

    fn argument(shape: &[usize], strides: &[usize]) -> arguments::Array {
        let memory = Emulator::new(Schedule::Ascending).allocate(1 << 16).unwrap();
        Array::<Emulator>::new(memory, DType::F32, shape, strides, 0).unwrap().argument().unwrap()
    }

    #[test]
    fn axes_that_continue_each_other_are_one() {
        let contiguous = argument(&[2, 3, 4, 5], &packed(&[2, 3, 4, 5], MemoryFormat::Contiguous));
        assert_eq!((contiguous.axes, contiguous.channel_stride), (2, 20));
        assert_eq!((&contiguous.length[..2], &contiguous.stride[..2]), (&[2, 20][..], &[60, 1][..]));
        let last = argument(&[2, 3, 4, 5], &packed(&[2, 3, 4, 5], MemoryFormat::ChannelsLast));
        assert_eq!((last.axes, last.channel_stride, last.length[0], last.stride[0]), (1, 1, 40, 3));
        let single = argument(&[1, 3, 1], &[3, 1, 1]);
        assert_eq!((single.axes, single.length[0]), (1, 1));
    }

    #[test]
    fn an_array_stays_within_its_memory() {
        let emulator = Emulator::new(Schedule::Ascending);
        let new = |bytes, shape: &[usize], strides: &[usize], offset| {
            let memory = emulator.allocate(bytes).unwrap();
            Array::<Emulator>::new(memory, DType::F16, shape, strides, offset).map(|_| ())
        };
        assert_eq!(new(12, &[2, 3], &[3, 1], 0), Ok(()));
        assert_eq!(new(12, &[0, 3], &[3, 1], 99), Ok(()));
        let message = |result: Result<(), Error>| result.unwrap_err().to_string();
        assert_eq!(message(new(12, &[2, 3], &[3, 1], 1)), "expected memory of at least 14 bytes, got 12");
        assert_eq!(message(new(12, &[2, 3], &[1], 0)), "expected 2 strides, got 1");
    }

    #[test]
    fn too_many_axes_are_refused() {
        let memory = Emulator::new(Schedule::Ascending).allocate(1 << 20).unwrap();
        let shape = [2, 1, 2, 2, 2, 2, 2, 2];
        let array = Array::<Emulator>::new(memory, DType::F32, &shape, &[900, 1, 301, 101, 41, 17, 7, 3], 0);
        let error = array.unwrap().argument().unwrap_err();
        assert_eq!(
            error.to_string(),
            "expected at most 6 axes of positions with strides of their own, got shape [2, 1, 2, 2, 2, 2, 2, 2]"
        );
    }
}
