//! Which elements a relu let through, a bit each, on a device.
//!
//! A bit is clear where v ≤ 0 and set elsewhere, as in [`batchnorm::ReluMask`]: v is the f64 value
//! before it is rounded, and NaN passes.

use crate::arguments;
use crate::device::{Device, DeviceError, Memory};

/// The mask of a relu that followed a batch norm.
///
/// A forward pass lays it out as suits the kernel that it takes; a backward pass follows any
/// order, and is fast where its arrays lie in that one.
#[derive(Debug)]
pub struct ReluMask<D: Device> {
    memory: Option<D::Memory>,
    shape: Vec<usize>,
    /// Where the bits lie, from the start of the memory.
    layout: arguments::Array,
}

/// How a kernel's mask lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MaskOrder {
    /// As the elements of the input, which has no gaps.
    OfInput,
    /// A row for each channel, in logical order, of whole words.
    OfChannels,
}

/// Bits of a word that one thread writes.
const WORD: usize = 32;

impl<D: Device> ReluMask<D> {
    /// Of no pass yet: for [`crate::BatchNorm::forward_relu_into`] to fill.
    pub fn new() -> Self {
        ReluMask { memory: None, shape: vec![0; 2], layout: arguments::Array::default() }
    }

    /// The shape of the forward's input, (N, C, *).
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Its memory; none before the first pass.
    pub fn memory(&self) -> Option<&D::Memory> {
        self.memory.as_ref()
    }

    /// The bits in logical order.
    ///
    /// # Errors
    /// [`DeviceError::Driver`].
    pub fn download(&self, device: &D) -> Result<Vec<bool>, DeviceError> {
        let bytes = self.memory.as_ref().map_or(Ok(Vec::new()), |memory| device.download(memory))?;
        let channels = self.shape[1];
        let positions: usize = self.shape[2..].iter().product();
        let bit = |element: usize| {
            let (row, position) = (element / positions, element % positions);
            let (sample, c) = (row / channels, row % channels);
            let bit = self.layout.place(c, sample * positions + position);
            bytes[bit / 8] >> (bit % 8) & 1 == 1
        };
        Ok((0..self.shape.iter().product()).map(bit).collect())
    }

    /// Makes room for the bits of a pass over an input of this shape, in memory that is kept where
    /// it is large enough. What they are is left open.
    pub(crate) fn prepare(
        &mut self,
        device: &D,
        shape: &[usize],
        input: &arguments::Array,
        order: MaskOrder,
    ) -> Result<(), DeviceError> {
        let elements: usize = shape.iter().product();
        let (bits, layout) = match order {
            MaskOrder::OfInput => (elements, *input),
            MaskOrder::OfChannels => {
                let count = elements / shape[1].max(1);
                let row = count.next_multiple_of(WORD);
                let mut layout =
                    arguments::Array { channel_stride: row as i64, axes: 1, ..Default::default() };
                (layout.length[0], layout.stride[0]) = (count as i64, 1);
                (shape[1] * row, layout)
            }
        };
        (self.shape, self.layout) = (shape.to_vec(), layout);
        let bytes = bits.div_ceil(8);
        if self.memory.as_ref().is_none_or(|memory| memory.bytes() < bytes) {
            self.memory = Some(device.allocate(bytes)?);
        }
        Ok(())
    }

    /// The mask as a kernel sees it.
    pub(crate) fn argument(&self) -> arguments::Array {
        arguments::Array { data: self.memory.as_ref().map_or(0, Memory::address), ..self.layout }
    }
}

impl<D: Device> Default for ReluMask<D> {
    fn default() -> Self {
        ReluMask::new()
    }
}
