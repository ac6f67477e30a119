//! The three layers as one: they have the same methods, in no trait of ferrotorch's.

use ferrotorch_core::{FerrotorchResult, Float};
use ferrotorch_nn::{BatchNorm1d, BatchNorm2d, BatchNorm3d, Module};

/// A batch norm of one of the ranks.
pub trait Norm<T: Float>: Module<T> {
    fn running_mean(&self) -> Vec<f64>;
    fn running_var(&self) -> Vec<f64>;
    fn num_batches_tracked(&self) -> usize;
    fn set_running_mean(&self, value: &[T]) -> FerrotorchResult<()>;
    fn set_running_var(&self, value: &[T]) -> FerrotorchResult<()>;
    fn set_num_batches_tracked(&self, value: usize) -> FerrotorchResult<()>;
}

macro_rules! norm {
    ($($layer:ident),*) => {$(
        impl<T: Float> Norm<T> for $layer<T> {
            fn running_mean(&self) -> Vec<f64> {
                $layer::running_mean(self)
            }
            fn running_var(&self) -> Vec<f64> {
                $layer::running_var(self)
            }
            fn num_batches_tracked(&self) -> usize {
                $layer::num_batches_tracked(self)
            }
            fn set_running_mean(&self, value: &[T]) -> FerrotorchResult<()> {
                $layer::set_running_mean(self, value)
            }
            fn set_running_var(&self, value: &[T]) -> FerrotorchResult<()> {
                $layer::set_running_var(self, value)
            }
            fn set_num_batches_tracked(&self, value: usize) -> FerrotorchResult<()> {
                $layer::set_num_batches_tracked(self, value)
            }
        }
    )*};
}

norm!(BatchNorm1d, BatchNorm2d, BatchNorm3d);
