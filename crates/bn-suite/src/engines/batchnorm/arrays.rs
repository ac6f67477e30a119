//! The suite's tensors as ndarray's arrays, and back.

use ::batchnorm::{Element, MemoryFormat};
use ndarray::{Array, Array1, ArrayView, ArrayViewD, Dimension, IxDyn, ShapeBuilder};

use crate::engine::EngineError;
use crate::tensor::{DType, Layout, Tensor};

/// A tensor's elements in memory, where its layout puts them.
pub(super) struct Buffer<T> {
    memory: Vec<T>,
    shape: Vec<usize>,
    strides: Vec<usize>,
    offset: usize,
}

impl<T: Element> Buffer<T> {
    pub fn new(tensor: &Tensor) -> Self {
        let shape = tensor.shape.clone();
        let (strides, offset) = match &tensor.layout {
            Layout::Contiguous => (row_major(&shape, (0..shape.len()).collect()), 0),
            Layout::ChannelsLast => (row_major(&shape, channels_last(shape.len())), 0),
            Layout::Strided { strides, offset } => (strides.clone(), *offset),
        };
        let reach: usize =
            shape.iter().zip(&strides).map(|(&len, stride)| len.saturating_sub(1) * stride).sum();
        // Without elements too: ndarray wants the other axes' reach all the same.
        let mut memory = vec![T::default(); offset + reach + 1];
        for (value, index) in tensor.data.iter().zip(ndarray::indices(IxDyn(&shape))) {
            let place: usize = index.as_array_view().iter().zip(&strides).map(|(i, stride)| i * stride).sum();
            memory[offset + place] = T::from_f64(*value);
        }
        Buffer { memory, shape, strides, offset }
    }

    pub fn view(&self) -> Result<ArrayViewD<'_, T>, EngineError> {
        let shape = IxDyn(&self.shape).strides(IxDyn(&self.strides));
        ArrayView::from_shape(shape, &self.memory[self.offset..])
            .map_err(|error| EngineError::Unsupported(format!("strides {:?}: {error}", self.strides)))
    }
}

/// The axes from the slowest to the fastest: N, *, C.
fn channels_last(rank: usize) -> Vec<usize> {
    let mut axes: Vec<usize> = (0..rank).filter(|&axis| axis != 1).collect();
    axes.push(1);
    axes
}

/// The strides of an array without gaps whose axes, slowest first, are `axes`.
fn row_major(shape: &[usize], axes: Vec<usize>) -> Vec<usize> {
    let mut strides = vec![0; shape.len()];
    let mut next = 1;
    for axis in axes.into_iter().rev() {
        strides[axis] = next;
        next *= shape[axis];
    }
    strides
}

/// A parameter or buffer.
pub(super) fn vector<P: Element>(tensor: &Option<Tensor>) -> Option<Array1<P>> {
    tensor.as_ref().map(|tensor| tensor.data.iter().map(|&value| P::from_f64(value)).collect())
}

/// An answer. `like` is the layout of the input that it answers to: where the
/// array's strides fit more than one order, that one is named.
pub(super) fn tensor<T: Element, D: Dimension>(array: &Array<T, D>, like: &Layout) -> Tensor {
    let fits = |layout: &Layout| match layout {
        Layout::Contiguous => array.is_standard_layout(),
        Layout::ChannelsLast => {
            (4..=5).contains(&array.ndim())
                && array.view().into_dyn().permuted_axes(channels_last(array.ndim())).is_standard_layout()
        }
        Layout::Strided { .. } => false,
    };
    let layout = match (MemoryFormat::of(&array.view()), like) {
        (_, like) if fits(like) => like.clone(),
        (MemoryFormat::ChannelsLast, _) if fits(&Layout::ChannelsLast) => Layout::ChannelsLast,
        _ if fits(&Layout::Contiguous) => Layout::Contiguous,
        _ => unreachable!("outputs are contiguous or channels-last"),
    };
    let data = array.iter().map(|value| value.to_f64()).collect();
    Tensor { layout, ..Tensor::new(dtype(T::DTYPE), array.shape(), data) }
}

/// The suite's name of a dtype of ours.
pub(super) fn dtype(of: ::batchnorm::DType) -> DType {
    match of {
        ::batchnorm::DType::F16 => DType::F16,
        ::batchnorm::DType::Bf16 => DType::Bf16,
        ::batchnorm::DType::F32 => DType::F32,
        ::batchnorm::DType::F64 => DType::F64,
        ::batchnorm::DType::I64 => DType::I64,
        ::batchnorm::DType::Bool => DType::Bool,
    }
}

/// Our name of a dtype of the suite.
pub(super) fn our_dtype(of: DType) -> ::batchnorm::DType {
    match of {
        DType::F16 => ::batchnorm::DType::F16,
        DType::Bf16 => ::batchnorm::DType::Bf16,
        DType::F32 => ::batchnorm::DType::F32,
        DType::F64 => ::batchnorm::DType::F64,
        DType::I64 => ::batchnorm::DType::I64,
        DType::Bool => ::batchnorm::DType::Bool,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_goes_there_and_comes_back() {
        let data: Vec<f64> = (0..120).map(f64::from).collect();
        let plain = Tensor::new(DType::F32, &[2, 3, 4, 5], data);
        for layout in [
            Layout::Contiguous,
            Layout::ChannelsLast,
            Layout::Strided { strides: vec![200, 60, 11, 2], offset: 7 },
        ] {
            let tensor = plain.clone().with_layout(layout.clone());
            let buffer = Buffer::<f32>::new(&tensor);
            let array = buffer.view().unwrap().to_owned();
            assert_eq!(super::tensor(&array, &layout).data, plain.data, "{layout:?}");
        }
    }

    #[test]
    fn ambiguous_orders_are_named_as_the_inputs() {
        let narrow = Array::<f32, _>::zeros((2, 3, 1, 1));
        assert_eq!(tensor(&narrow, &Layout::ChannelsLast).layout, Layout::ChannelsLast);
        assert_eq!(tensor(&narrow, &Layout::Contiguous).layout, Layout::Contiguous);
        let wide = Array::<f32, _>::zeros((2, 3, 2, 2));
        assert_eq!(tensor(&wide, &Layout::ChannelsLast).layout, Layout::Contiguous);
    }
}
