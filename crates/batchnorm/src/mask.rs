//! Which elements a relu let through, a bit each.
//!
//! ```text
//! y  = relu(v)                  v = bn(x), or bn(x) + residual
//! g' = g where the bit is set, 0 elsewhere
//! ```
//!
//! A bit is clear where v ≤ 0 and set elsewhere: where v is NaN too, which relu returns
//! and whose gradient it lets through, as in PyTorch. v is the f64 value, before it is
//! rounded to the output's dtype: where a positive v rounds to 0, its bit is set all the
//! same.
//!
//! The bits lie in memory as the input of their forward pass did, each row of neighbours
//! padded to whole bytes: a 32nd of what the input takes in f32. A backward pass whose arrays lie in
//! that order takes the vector kernels; any other order comes out as right, but slower.

use ndarray::{ArrayD, ArrayViewD, Dimension, IxDyn};

use crate::dtype::Element;
use crate::error::Error;
use crate::kernels::geometry::Geometry;
use crate::kernels::simd::LANES;
use crate::layout::{check_shape, plain, values_per_channel};

/// The mask of a relu that followed a batch norm: see [this module](self).
///
/// A forward pass writes it, over whatever it held: its memory is reused where it is
/// large enough.
#[derive(Clone, Debug)]
pub struct ReluMask {
    shape: Vec<usize>,
    /// Where the bits lie.
    geometry: Geometry,
    bytes: Vec<u8>,
}

impl Default for ReluMask {
    /// Of no pass yet: for [`crate::BatchNorm::forward_relu_into`] to fill.
    fn default() -> Self {
        ReluMask { shape: vec![0; 2], geometry: one_row_each(&[0; 2]), bytes: Vec::new() }
    }
}

/// A row for each channel, in logical order: for inputs that lie neither in rows nor in
/// columns.
fn one_row_each(shape: &[usize]) -> Geometry {
    Geometry::rows(shape[1], (1, 0), 0, values_per_channel(shape)).of_bits()
}

/// Index (i₀, c, i₂, …) as channel and place in logical order.
fn channel_and_position(shape: &[usize], index: &[usize]) -> (usize, usize) {
    let axes = (0..shape.len()).filter(|&axis| axis != 1);
    (index[1], axes.fold(0, |position, axis| position * shape[axis] + index[axis]))
}

impl ReluMask {
    /// The shape of the forward's input, (N, C, *).
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How many bytes the bits take.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether relu let the element at `index` through; None for an index outside the shape.
    pub fn get(&self, index: &[usize]) -> Option<bool> {
        let inside = index.len() == self.shape.len() && index.iter().zip(&self.shape).all(|(i, len)| i < len);
        inside.then(|| {
            let (channel, position) = channel_and_position(&self.shape, index);
            self.bit(channel, position)
        })
    }

    /// The bit of each element, in the input's shape.
    pub fn to_array(&self) -> ArrayD<bool> {
        ArrayD::from_shape_fn(IxDyn(&self.shape), |index| {
            let (channel, position) = channel_and_position(&self.shape, index.slice());
            self.bit(channel, position)
        })
    }

    pub(crate) fn check(&self, input: &[usize]) -> Result<(), Error> {
        check_shape("mask", input, &self.shape)
    }

    /// Makes room for the bits of a pass over `input`, whose rank is 2 or more. What they
    /// are is left open.
    pub(crate) fn prepare<T: Element>(&mut self, input: &ArrayViewD<'_, T>) {
        let shape = input.shape();
        self.shape.clear();
        self.shape.extend_from_slice(shape);
        self.geometry = match plain(input) {
            Some((_, geometry)) => geometry.of_bits(),
            None => one_row_each(shape),
        };
        let bits = match self.geometry {
            Geometry::Rows(rows) => rows.samples * rows.sample_stride,
            Geometry::Columns(columns) => columns.positions * columns.stride,
        };
        self.bytes.resize(bits / LANES, 0);
    }

    /// The bytes, where they belong to arrays that lie so.
    pub(crate) fn bytes_like(&self, geometry: &Geometry) -> Option<&[u8]> {
        (self.geometry == geometry.of_bits()).then_some(&self.bytes)
    }

    /// As [`Self::bytes_like`], to write.
    pub(crate) fn bytes_like_mut(&mut self, geometry: &Geometry) -> Option<&mut [u8]> {
        (self.geometry == geometry.of_bits()).then_some(&mut self.bytes)
    }

    /// Clears every bit.
    pub(crate) fn clear(&mut self) {
        self.bytes.fill(0);
    }

    /// The bit of a channel's value, by its place in logical order.
    pub(crate) fn bit(&self, channel: usize, position: usize) -> bool {
        let place = self.geometry.place(channel, position);
        self.bytes[place / LANES] >> (place % LANES) & 1 == 1
    }

    /// Sets or clears that bit.
    pub(crate) fn set(&mut self, channel: usize, position: usize, bit: bool) {
        let place = self.geometry.place(channel, position);
        let byte = &mut self.bytes[place / LANES];
        *byte = *byte & !(1 << (place % LANES)) | u8::from(bit) << (place % LANES);
    }
}

impl PartialEq for ReluMask {
    /// Of the same shape, with the same bits; in whatever order they are kept.
    fn eq(&self, other: &Self) -> bool {
        self.shape == other.shape
            && if self.geometry == other.geometry {
                self.bytes == other.bytes
            } else {
                self.to_array() == other.to_array()
            }
    }
}
