//! The numbers that networks are made of.

use batchnorm::{Element, MixesWith};
use ndarray::{ArrayD, NdFloat};

/// `f32` or `f64`: what libtorch trains in on a processor, and our batch norm takes.
pub trait Real: NdFloat + Default + MixesWith<Self> {}

impl Real for f32 {}
impl Real for f64 {}

/// The same values, exactly.
pub fn widen<T: Element>(array: &ArrayD<T>) -> ArrayD<f64> {
    array.mapv(Element::to_f64)
}

/// The nearest values.
pub fn narrow<T: Element>(array: &ArrayD<f64>) -> ArrayD<T> {
    array.mapv(Element::from_f64)
}
