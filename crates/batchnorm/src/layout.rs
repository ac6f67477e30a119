//! Any strided (N, C, *) as C channels of n values each.
//!
//! The values of channel c, in **logical order**, are those at (i₀, c, i₂, i₃, …)
//! with i₀ slowest and the last index fastest.
//!
//! Arrays that fill their memory in rows or in columns of channels go to the
//! [kernels](crate::kernels) ([`plain`]). The others, and the passes that are rare, take
//! *tiles*: the work is cut into *groups* of channels (one channel, or [`WIDTH`]
//! neighbours where the channels of a position lie side by side) and *pieces* of
//! [`PIECE`] positions in logical order. A piece of a group is copied into a [`Tile`] of
//! f64, a few kilobytes that stay in the innermost cache; all arithmetic is on tiles.
//!
//! Positions are found through their *axes*: (length, stride) pairs, slowest
//! first, with neighbours merged where one stride continues the other. A
//! contiguous (N, C, H, W) has two, (N, C·H·W) and (H·W, 1); channels-last has
//! one, (N·H·W, C).

use std::ops::Range;

use ndarray::{Array, ArrayView, ArrayViewD, ArrayViewMutD, Dimension, IxDyn};

use crate::dtype::Element;
use crate::error::Error;
use crate::kernels::geometry::Geometry;

/// Positions per piece: enough to amortise finding them, few enough for the cache.
pub(crate) const PIECE: usize = 128;

/// Channels per group where they lie side by side: 16 f32 are a cache line.
pub(crate) const WIDTH: usize = 16;

/// One piece of one group: a row of values per channel.
pub(crate) type Tile = [[f64; PIECE]; WIDTH];

/// A tile to load into.
pub(crate) const BLANK: Tile = [[0.0; PIECE]; WIDTH];

/// Values per channel: n = N·Π(spatial extents).
pub(crate) fn values_per_channel(shape: &[usize]) -> usize {
    shape.iter().enumerate().filter(|&(axis, _)| axis != 1).map(|(_, &len)| len).product()
}

/// Refuses an array whose shape is not `expected`.
pub(crate) fn check_shape(name: &'static str, expected: &[usize], actual: &[usize]) -> Result<(), Error> {
    if expected == actual {
        return Ok(());
    }
    Err(Error::Shape { name, expected: expected.to_vec(), actual: actual.to_vec() })
}

/// The order in which the work on an input is done.
pub(crate) struct Walk {
    channels: usize,
    width: usize,
    n: usize,
}

impl Walk {
    /// The walk that suits the memory of `input`, which must have rank ≥ 2.
    pub fn over<T: Element>(input: &ArrayViewD<'_, T>) -> Self {
        let strides = input.strides();
        let channels_are_neighbours = strides[1] == 1 && strides.last() != Some(&1) || input.ndim() == 2;
        Walk {
            channels: input.shape()[1],
            width: if channels_are_neighbours { WIDTH } else { 1 },
            n: values_per_channel(input.shape()),
        }
    }

    /// Values per channel.
    pub fn n(&self) -> usize {
        self.n
    }

    /// The channels, group by group.
    pub fn groups(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (channels, width) = (self.channels, self.width);
        (0..channels).step_by(width).map(move |first| first..channels.min(first + width))
    }

    /// The positions of a channel, piece by piece.
    pub fn pieces(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let n = self.n;
        (0..n).step_by(PIECE).map(move |first| first..n.min(first + PIECE))
    }
}

/// Most axes that are told apart, after merging; there are no arrays with more.
const MOST_AXES: usize = 8;

/// Where the positions of a channel lie, as offsets from its first value.
pub(crate) struct Positions {
    axes: [(usize, usize); MOST_AXES],
    count: usize,
    channel_stride: usize,
}

impl Positions {
    /// None where a stride points backwards, or there are too many axes.
    fn new(shape: &[usize], strides: &[isize]) -> Option<Self> {
        let (mut axes, mut count) = ([(0, 0); MOST_AXES], 0);
        for axis in (0..shape.len()).filter(|&axis| axis != 1 && shape[axis] != 1) {
            let (len, stride) = (shape[axis], usize::try_from(strides[axis]).ok()?);
            match axes[..count].last_mut() {
                Some(outer) if outer.1 == len * stride => *outer = (outer.0 * len, stride),
                _ => {
                    *axes.get_mut(count)? = (len, stride);
                    count += 1;
                }
            }
        }
        let channel_stride = if shape[1] > 1 { usize::try_from(strides[1]).ok()? } else { 0 };
        Some(Positions { axes, count, channel_stride })
    }

    /// (length, stride) pairs, slowest first.
    fn axes(&self) -> &[(usize, usize)] {
        &self.axes[..self.count]
    }

    /// Calls `run(offset, stride, done, len)` for each stretch of constant stride
    /// among `positions`, where `done` positions went before.
    fn runs(&self, positions: Range<usize>, mut run: impl FnMut(usize, usize, usize, usize)) {
        let ((inner, stride), outer_axes) = match self.axes().split_last() {
            Some((&inner, outer)) => (inner, outer),
            None => ((1, 1), &[][..]),
        };
        let mut at = positions.start;
        while at < positions.end {
            let within = at % inner;
            let len = (inner - within).min(positions.end - at);
            let offset = outer_offset(outer_axes, at / inner) + within * stride;
            run(offset, stride, at - positions.start, len);
            at += len;
        }
    }
}

fn outer_offset(axes: &[(usize, usize)], mut index: usize) -> usize {
    let mut offset = 0;
    for &(len, stride) in axes.iter().rev() {
        offset += index % len * stride;
        index /= len;
    }
    offset
}

/// The memory of an array and how its channels lie in it, where the kernels can
/// take it: it fills a slice, in rows or in columns, and is not empty.
pub(crate) fn plain<'v, T: Element>(view: &'v ArrayViewD<'_, T>) -> Option<(&'v [T], Geometry)> {
    Some((view.as_slice_memory_order()?, geometry(view.shape(), view.strides())?))
}

/// As [`plain`].
pub(crate) fn plain_mut<'v, T: Element>(
    view: &'v mut ArrayViewMutD<'_, T>,
) -> Option<(&'v mut [T], Geometry)> {
    let geometry = geometry(view.shape(), view.strides())?;
    Some((view.as_slice_memory_order_mut()?, geometry))
}

fn geometry(shape: &[usize], strides: &[isize]) -> Option<Geometry> {
    if shape.contains(&0) {
        return None;
    }
    let positions = Positions::new(shape, strides)?;
    Geometry::of(shape[1], positions.axes(), positions.channel_stride)
}

/// An array to read tiles from.
pub(crate) enum Source<'a, T> {
    /// The array fills a slice of memory, in some order of its axes.
    Dense(&'a [T], Positions),
    /// Any other strides: element by element, through ndarray's own indexing.
    Sparse(ArrayViewD<'a, T>),
}

impl<'a, T: Element> Source<'a, T> {
    /// The tiles of `view`.
    pub fn new(view: &'a ArrayViewD<'_, T>) -> Self {
        match (view.as_slice_memory_order(), Positions::new(view.shape(), view.strides())) {
            (Some(memory), Some(positions)) => Source::Dense(memory, positions),
            _ => Source::Sparse(view.view()),
        }
    }

    /// Copies a piece of a group into `tile`: row w holds channel `group.start + w`.
    pub fn load(&self, group: &Range<usize>, piece: &Range<usize>, tile: &mut Tile) {
        match self {
            Source::Dense(memory, positions) if positions.channel_stride == 1 && group.len() > 1 => {
                positions.runs(piece.clone(), |offset, stride, done, len| {
                    for p in 0..len {
                        let from = offset + p * stride + group.start;
                        let neighbours = &memory[from..from + group.len()];
                        neighbours
                            .iter()
                            .zip(tile.iter_mut())
                            .for_each(|(v, row)| row[done + p] = v.to_f64());
                    }
                });
            }
            Source::Dense(memory, positions) => {
                for (c, row) in group.clone().zip(tile.iter_mut()) {
                    positions.runs(piece.clone(), |offset, stride, done, len| {
                        let from = offset + c * positions.channel_stride;
                        let values = memory[from..=from + (len - 1) * stride].iter().step_by(stride);
                        row[done..done + len].iter_mut().zip(values).for_each(|(slot, v)| *slot = v.to_f64());
                    });
                }
            }
            Source::Sparse(view) => {
                for (c, row) in group.clone().zip(tile.iter_mut()) {
                    let mut index = index_of(view.shape(), c, piece.start);
                    for slot in &mut row[..piece.len()] {
                        *slot = view[index.as_slice()].to_f64();
                        advance(&mut index, view.shape());
                    }
                }
            }
        }
    }
}

/// An array to write tiles to.
pub(crate) enum Sink<'a, T> {
    /// As [`Source::Dense`].
    Dense(&'a mut [T], Positions),
    /// As [`Source::Sparse`].
    Sparse(ArrayViewMutD<'a, T>),
}

impl<'a, T: Element> Sink<'a, T> {
    /// The tiles of `view`.
    pub fn new(view: &'a mut ArrayViewMutD<'_, T>) -> Self {
        let positions = Positions::new(view.shape(), view.strides());
        match positions {
            Some(positions) if view.as_slice_memory_order().is_some() => {
                let memory = view.as_slice_memory_order_mut();
                Sink::Dense(memory.expect("the same slice, as mutable"), positions)
            }
            _ => Sink::Sparse(view.view_mut()),
        }
    }

    /// Rounds a piece of a group out of `tile`, once.
    pub fn store(&mut self, group: &Range<usize>, piece: &Range<usize>, tile: &Tile) {
        match self {
            Sink::Dense(memory, positions) if positions.channel_stride == 1 && group.len() > 1 => {
                positions.runs(piece.clone(), |offset, stride, done, len| {
                    for p in 0..len {
                        let from = offset + p * stride + group.start;
                        let neighbours = &mut memory[from..from + group.len()];
                        neighbours.iter_mut().zip(tile).for_each(|(v, row)| *v = T::from_f64(row[done + p]));
                    }
                });
            }
            Sink::Dense(memory, positions) => {
                for (c, row) in group.clone().zip(tile) {
                    positions.runs(piece.clone(), |offset, stride, done, len| {
                        let from = offset + c * positions.channel_stride;
                        let values = memory[from..=from + (len - 1) * stride].iter_mut().step_by(stride);
                        values.zip(&row[done..done + len]).for_each(|(v, x)| *v = T::from_f64(*x));
                    });
                }
            }
            Sink::Sparse(view) => {
                for (c, row) in group.clone().zip(tile) {
                    let shape = view.shape().to_vec();
                    let mut index = index_of(&shape, c, piece.start);
                    for x in &row[..piece.len()] {
                        view[index.as_slice()] = T::from_f64(*x);
                        advance(&mut index, &shape);
                    }
                }
            }
        }
    }
}

/// The index of a position of channel `c`.
fn index_of(shape: &[usize], c: usize, mut position: usize) -> Vec<usize> {
    let mut index = vec![c; shape.len()];
    for axis in (0..shape.len()).rev().filter(|&axis| axis != 1) {
        index[axis] = position % shape[axis];
        position /= shape[axis];
    }
    index
}

/// Moves to the next position of the same channel, and from the last to the first.
fn advance(index: &mut [usize], shape: &[usize]) {
    for axis in (0..shape.len()).rev().filter(|&axis| axis != 1) {
        index[axis] += 1;
        if index[axis] < shape[axis] {
            return;
        }
        index[axis] = 0;
    }
}

/// The order of axes in memory that an output takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryFormat {
    /// Row-major in the order of the shape: N, C, *.
    Contiguous,
    /// Row-major with the channels last: N, *, C (ranks 4 and 5).
    ChannelsLast,
}

impl MemoryFormat {
    /// The format that PyTorch's `suggest_memory_format` reads off the strides
    /// (in elements) of an array: channels-last where they look like it, whatever
    /// gaps they leave, and contiguous otherwise.
    ///
    /// With extents of 1 both readings may fit; PyTorch's rules decide.
    pub fn suggested(shape: &[usize], strides: &[isize]) -> Self {
        let order: &[usize] = match shape.len() {
            4 => &[1, 3, 2, 0],
            5 => &[1, 4, 3, 2, 0],
            _ => return MemoryFormat::Contiguous,
        };
        if strides[1] == 0 || shape.contains(&0) {
            return MemoryFormat::Contiguous;
        }
        let mut least = 0;
        for &axis in order {
            let ambiguous = axis == 0 && least == strides[1];
            if strides[axis] < least || ambiguous {
                return MemoryFormat::Contiguous;
            }
            least = strides[axis] * shape[axis] as isize;
        }
        MemoryFormat::ChannelsLast
    }

    /// The format suggested for the outputs that belong to `input`.
    pub fn of<T, D: Dimension>(input: &ArrayView<'_, T, D>) -> Self {
        Self::suggested(input.shape(), input.strides())
    }
}

/// An array of zeros of the input's shape, in the format suggested for it.
pub(crate) fn zeros_like<T: Element, D: Dimension>(input: &ArrayView<'_, T, D>) -> Array<T, IxDyn> {
    let shape = input.shape();
    match MemoryFormat::of(input) {
        MemoryFormat::Contiguous => Array::from_elem(IxDyn(shape), T::default()),
        MemoryFormat::ChannelsLast => {
            let mut last = shape.to_vec();
            last.remove(1);
            last.push(shape[1]);
            let mut axes: Vec<usize> = (0..shape.len() - 1).collect();
            axes.insert(1, shape.len() - 1);
            Array::from_elem(IxDyn(&last), T::default()).permuted_axes(axes)
        }
    }
}

#[cfg(test)]
mod tests;
