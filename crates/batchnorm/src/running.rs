//! The running statistics follow the batches:
//!
//! ```text
//! running_mean = (1 − factor)·running_mean + factor·mean
//! running_var  = (1 − factor)·running_var  + factor·var_unbiased
//! ```
//!
//! in f64, from batch statistics that were never rounded, and rounded once to
//! the buffer's dtype. Note the variance: normalising uses the biased one, the
//! buffer receives the unbiased one, and eps enters neither.

use ndarray::ArrayViewMut1;

use crate::dtype::Element;
use crate::error::Error;
use crate::moments::Moments;
use crate::state::check_length;

/// Updates both buffers, each of the length of `moments`.
///
/// Channels without values are left alone. Nothing is special about any factor:
/// with 1, an old NaN stays (0·NaN); with 0, a new one comes.
///
/// # Errors
/// [`Error::NumFeatures`] for a buffer of another length; then neither changes.
pub fn update_running_stats<P: Element>(
    mut running_mean: ArrayViewMut1<'_, P>,
    mut running_var: ArrayViewMut1<'_, P>,
    factor: f64,
    moments: &[Moments],
) -> Result<(), Error> {
    check_length("running_mean", moments.len(), Some(running_mean.view()))?;
    check_length("running_var", moments.len(), Some(running_var.view()))?;
    let buffers = running_mean.iter_mut().zip(running_var.iter_mut());
    for ((mean, var), batch) in buffers.zip(moments).filter(|(_, batch)| batch.count() > 0) {
        blend(mean, factor, batch.mean());
        blend(var, factor, batch.var_unbiased());
    }
    Ok(())
}

fn blend<P: Element>(running: &mut P, factor: f64, batch: f64) {
    *running = P::from_f64((1.0 - factor) * running.to_f64() + factor * batch);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moments::moments;
    use ndarray::{Array1, array};

    fn updated(factor: f64, mean: f64, var: f64, batch: &[f64]) -> (f64, f64) {
        let batch = Array1::from(batch.to_vec()).into_shape_with_order((batch.len(), 1)).unwrap();
        let (mut mean, mut var) = (array![mean], array![var]);
        update_running_stats(mean.view_mut(), var.view_mut(), factor, &moments(batch.view()).unwrap())
            .unwrap();
        (mean[0], var[0])
    }

    #[test]
    fn the_variance_is_the_unbiased_one() {
        // Values 1, 3: mean 2, var_biased 1, var_unbiased 2.
        assert_eq!(updated(0.5, 0.0, 1.0, &[1.0, 3.0]), (1.0, 1.5));
        assert_eq!(updated(1.0, 9.0, 9.0, &[1.0, 3.0]), (2.0, 2.0));
        assert_eq!(updated(0.0, 9.0, 7.0, &[1.0, 3.0]), (9.0, 7.0));
        assert_eq!(updated(-0.5, 4.0, 8.0, &[1.0, 3.0]), (5.0, 11.0));
        assert_eq!(updated(2.0, 4.0, 8.0, &[1.0, 3.0]), (0.0, -4.0));
    }

    /// The mistake that most projects made, through the whole layer. The suite has
    /// a case for it, which shows more; this crate's tests run before the suite's.
    #[test]
    fn a_layer_stores_the_unbiased_variance() {
        let mut layer = crate::BatchNorm1d::<f32>::new(crate::Config::new(1));
        layer.forward(array![[1.0f32], [2.0], [3.0]].view()).unwrap();
        let running_var = layer.state().running_var.as_ref().unwrap()[0];
        assert_eq!(
            running_var, 1.0,
            "\nrunning_var of 1, 2, 3 must be 0.9·1 + 0.1·(2/2): the unbiased variance. Case running-stats/var-unbiased;\n\
             reproduce: cargo run --release -- run running-stats/var-unbiased --engine batchnorm\n"
        );
    }

    #[test]
    fn no_factor_masks_nan() {
        let (mean, var) = updated(1.0, f64::NAN, f64::NAN, &[1.0, 3.0]);
        assert!(mean.is_nan() && var.is_nan());
        let (mean, var) = updated(0.0, 0.0, 1.0, &[1.0, f64::NAN]);
        assert!(mean.is_nan() && var.is_nan());
    }

    #[test]
    fn a_single_value_has_no_unbiased_variance_and_no_values_change_nothing() {
        let (mean, var) = updated(0.5, 0.0, 1.0, &[4.0]);
        assert_eq!(mean, 2.0);
        assert!(var.is_nan());
        assert_eq!(updated(0.5, 3.0, 4.0, &[]), (3.0, 4.0));
    }

    #[test]
    fn a_buffer_of_another_length_is_refused_and_neither_changes() {
        let (mut mean, mut var) = (array![1.0f32], array![1.0f32, 2.0]);
        let batch = moments(array![[1.0f32], [3.0]].view()).unwrap();
        let error = update_running_stats(mean.view_mut(), var.view_mut(), 0.5, &batch).unwrap_err();
        assert_eq!(error.to_string(), "running_var should contain 1 elements not 2");
        assert_eq!(mean, array![1.0]);
    }
}
