//! A layer with its values: what both engines are given.

use std::ops::Range;

use ndarray::{Array1, ArrayViewD, ArrayViewMutD, IxDyn, ShapeBuilder};

use crate::axes::Layout;
use crate::buffer::Buffer;
use crate::value::Value;

/// ε of every layer here: PyTorch's default.
pub const EPS: f64 = 1e-5;
/// The weight of the new value in the running statistics: PyTorch's default.
pub const MOMENTUM: f64 = 0.1;

/// No batch has more elements: at eight bytes each, six arrays of so many fill 12 GiB.
const MOST_ELEMENTS: usize = 1 << 28;

/// Why there is no batch of a shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// A batch is (N, C, *), and none of its extents is 0.
    #[error("expected at least two axes, none of them empty, got the shape {0:?}")]
    Axes(Vec<usize>),
    /// A slip in an extent must not ask for all the memory there is.
    #[error("expected at most {MOST_ELEMENTS} elements, got the shape {0:?}")]
    TooLarge(Vec<usize>),
}

/// A layer with all its parts, and a batch for it.
pub struct Workload<T: Value> {
    shape: Vec<usize>,
    layout: Layout,
    /// x, in memory order.
    pub input: Buffer<T>,
    /// ∂loss/∂y, in memory order.
    pub grad_output: Buffer<T>,
    /// γ.
    pub weight: Array1<T::Parameter>,
    /// β.
    pub bias: Array1<T::Parameter>,
    /// The running mean.
    pub running_mean: Array1<T::Parameter>,
    /// The running variance.
    pub running_var: Array1<T::Parameter>,
}

impl<T: Value> Workload<T> {
    /// Values from a fixed seed: activations around 0.5 with deviation about 1.
    ///
    /// # Errors
    /// [`ShapeError`].
    pub fn new(shape: &[usize], layout: Layout) -> Result<Self, ShapeError> {
        if shape.len() < 2 || shape.contains(&0) {
            return Err(ShapeError::Axes(shape.into()));
        }
        let elements = shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent));
        let Some(elements) = elements.filter(|&elements| elements <= MOST_ELEMENTS) else {
            return Err(ShapeError::TooLarge(shape.into()));
        };
        let mut rng = fastrand::Rng::with_seed(0x5eed);
        // Four uniforms: near enough to normal, and quick to draw by the million.
        let mut normal = move || (0..4).map(|_| rng.f32()).sum::<f32>() * 1.732 - 3.464;
        let mut batch =
            |mean: f32| Buffer::from_fn(elements, T::default(), || T::from_f64(f64::from(mean + normal())));
        let (input, grad_output) = (batch(0.5), batch(0.1));
        let mut vector = |mean: f32, deviation: f32| {
            let value =
                || <T::Parameter as batchnorm::Element>::from_f64((mean + deviation * normal()).into());
            Array1::from_shape_simple_fn(shape[1], value)
        };
        Ok(Workload {
            shape: shape.to_vec(),
            layout,
            input,
            grad_output,
            weight: vector(1.0, 0.25),
            bias: vector(0.0, 0.25),
            running_mean: vector(0.4, 0.1),
            running_var: vector(1.0, 0.1),
        })
    }

    /// What is added before relu, in memory order: grad_output, which is as good as any.
    pub fn residual(&self) -> &[T] {
        &self.grad_output
    }

    /// Whether relu lets an element through on the way back, by its place in memory: where
    /// x is positive. A backward pass is given that, so that both engines have the same
    /// gradients whatever each would have rounded near 0.
    pub fn passes(&self, at: usize) -> bool {
        self.input[at].to_f64() > 0.0
    }

    /// (N, C, *).
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Where the channel axis lies.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// C.
    pub fn channels(&self) -> usize {
        self.shape[1]
    }

    /// n, the number of values of a channel.
    pub fn per_channel(&self) -> usize {
        self.input.len() / self.channels()
    }

    /// How many values one channel of one sample has.
    fn places(&self) -> usize {
        self.shape[2..].iter().product()
    }

    /// How far apart in memory the neighbours of each axis are.
    pub fn strides(&self) -> Vec<usize> {
        let mut strides = vec![1; self.shape.len()];
        let channels_last = self.layout == Layout::ChannelsLast;
        let mut stride = if channels_last { self.channels() } else { 1 };
        for axis in (2..self.shape.len()).rev() {
            strides[axis] = stride;
            stride *= self.shape[axis];
        }
        strides[1] = if channels_last { 1 } else { stride };
        strides[0] = self.channels() * self.places();
        strides
    }

    /// Memory of the input's size as an array of its shape and layout.
    ///
    /// # Panics
    /// If the length is not the input's.
    pub fn view<'a>(&self, memory: &'a [T]) -> ArrayViewD<'a, T> {
        let shape = IxDyn(&self.shape).strides(IxDyn(&self.strides()));
        ArrayViewD::from_shape(shape, memory).expect("memory of the input's size")
    }

    /// As [`Self::view`], to write to.
    ///
    /// # Panics
    /// If the length is not the input's.
    pub fn view_mut<'a>(&self, memory: &'a mut [T]) -> ArrayViewMutD<'a, T> {
        let shape = IxDyn(&self.shape).strides(IxDyn(&self.strides()));
        ArrayViewMutD::from_shape(shape, memory).expect("memory of the input's size")
    }

    /// Memory of the input's size to write to.
    pub fn blank(&self) -> Buffer<T> {
        Buffer::from_fn(self.input.len(), T::default(), T::default)
    }

    /// Calls `visit` with every channel of `channels` and every place in memory that it
    /// has, stopping at the first error.
    pub fn try_each<E>(
        &self,
        channels: Range<usize>,
        mut visit: impl FnMut(usize, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        let (c_total, places) = (self.channels(), self.places());
        let (c_stride, place_stride) = match self.layout {
            Layout::Contiguous => (places, 1),
            Layout::ChannelsLast => (1, c_total),
        };
        for sample in 0..self.shape[0] {
            for place in 0..places {
                let at = sample * c_total * places + place * place_stride;
                for c in channels.clone() {
                    visit(c, at + c * c_stride)?;
                }
            }
        }
        Ok(())
    }

    /// The channels in groups that share cache lines.
    pub fn groups(&self) -> Vec<Range<usize>> {
        let together = match self.layout {
            Layout::Contiguous => 1,
            Layout::ChannelsLast => 64 / size_of::<T>(),
        };
        let first = (0..self.channels()).step_by(together);
        first.map(|first| first..(first + together).min(self.channels())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_are_those_of_the_layout() {
        let strides = |shape: &[usize], layout| Workload::<f32>::new(shape, layout).unwrap().strides();
        assert_eq!(strides(&[2, 3, 5, 7], Layout::Contiguous), [105, 35, 7, 1]);
        assert_eq!(strides(&[2, 3, 5, 7], Layout::ChannelsLast), [105, 1, 21, 3]);
        assert_eq!(strides(&[2, 3], Layout::Contiguous), [3, 1]);
    }

    /// The loops of the check reach what an array of the shape has in its channels.
    #[test]
    fn every_place_is_visited_once_with_its_channel() {
        for layout in [Layout::Contiguous, Layout::ChannelsLast] {
            let work = Workload::<f64>::new(&[2, 33, 5, 7], layout).unwrap();
            let mut channel_of = work.blank();
            for (index, c) in work.view_mut(&mut channel_of).indexed_iter_mut() {
                *c = index[1] as f64;
            }
            let mut visits = vec![0; work.input.len()];
            for group in work.groups() {
                let visited: Result<(), ()> = work.try_each(group, |c, at| {
                    assert_eq!(channel_of[at], c as f64);
                    visits[at] += 1;
                    Ok(())
                });
                visited.unwrap();
            }
            assert!(visits.iter().all(|&visits| visits == 1));
        }
    }

    #[test]
    fn values_differ_and_repeat_from_run_to_run() {
        let work = Workload::<f32>::new(&[8, 4, 10], Layout::Contiguous).unwrap();
        assert_eq!(*work.input, *Workload::<f32>::new(&[8, 4, 10], Layout::Contiguous).unwrap().input);
        assert_ne!(*work.input, *work.grad_output);
        assert!(work.running_var.iter().all(|&var| var > 0.0));
    }

    #[test]
    fn a_shape_that_is_none_is_refused() {
        let refusal = |shape: &[usize]| Workload::<f32>::new(shape, Layout::Contiguous).err().unwrap();
        assert_eq!(refusal(&[3]), ShapeError::Axes(vec![3]));
        assert_eq!(refusal(&[3, 0, 2]), ShapeError::Axes(vec![3, 0, 2]));
        for shape in [vec![1 << 14, 1 << 15], vec![usize::MAX, 2]] {
            assert_eq!(refusal(&shape), ShapeError::TooLarge(shape));
        }
    }
}
