//! The losses, each the mean over the batch, with its gradient.

use ndarray::{Array2, ArrayD, ArrayView2, Axis, Ix2};

use crate::error::Error;
use crate::real::Real;

/// What a network should have answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Target<T> {
    /// 0 or 1 (or a probability) for each example: binary cross-entropy with logits.
    Binary(Vec<T>),
    /// The number of a class for each example: cross-entropy.
    Class(Vec<usize>),
}

/// The loss of logits and ∂loss/∂logits, of the logits' shape.
///
/// Binary, logits (N, 1): mean of max(z, 0) − z·t + ln(1 + e^−|z|); its gradient
/// (1/(1 + e^−z) − t)/N. PyTorch's `BCEWithLogitsLoss`.
///
/// Class, logits (N, classes): mean of ln Σ e^(z − max) + max − z\[t\]; its gradient
/// (softmax(z) − onehot(t))/N. PyTorch's `CrossEntropyLoss`.
///
/// # Errors
/// [`Error::Targets`] where the targets do not belong to these logits.
pub fn loss<T: Real>(logits: &ArrayD<T>, target: &Target<T>) -> Result<(T, ArrayD<T>), Error> {
    let shape = logits.shape();
    let n = match target {
        Target::Binary(of) => of.len(),
        Target::Class(of) => of.len(),
    };
    let (name, columns) = match target {
        Target::Binary(_) => ("binary cross-entropy", 1),
        Target::Class(of) => ("cross-entropy", of.iter().max().map_or(1, |class| class + 1)),
    };
    let refused = |expected: String| Error::Targets {
        loss: name,
        expected,
        actual: format!("logits of shape {shape:?} for {n} targets"),
    };
    let logits = logits.view().into_dimensionality::<Ix2>();
    let Ok(logits) = logits else { return Err(refused("logits of two axes".into())) };
    if n == 0 || logits.nrows() != n {
        return Err(refused("one row of logits for each of at least one target".into()));
    }
    match target {
        Target::Binary(_) if logits.ncols() != 1 => Err(refused("logits of one column".into())),
        Target::Binary(of) => Ok(binary(logits, of)),
        Target::Class(_) if logits.ncols() < columns => {
            Err(refused(format!("at least {columns} columns of logits, for the largest class")))
        }
        Target::Class(of) => Ok(classes(logits, of)),
    }
}

fn binary<T: Real>(logits: ArrayView2<'_, T>, targets: &[T]) -> (T, ArrayD<T>) {
    let n = T::from_f64(targets.len() as f64);
    let mut total = T::zero();
    let mut gradient = Array2::zeros(logits.raw_dim());
    for ((&z, &t), gradient) in logits.iter().zip(targets).zip(&mut gradient) {
        let small = (-z.abs()).exp();
        total += z.max(T::zero()) - z * t + small.ln_1p();
        let sigmoid = if z >= T::zero() { T::one() } else { small } / (T::one() + small);
        *gradient = (sigmoid - t) / n;
    }
    (total / n, gradient.into_dyn())
}

fn classes<T: Real>(logits: ArrayView2<'_, T>, targets: &[usize]) -> (T, ArrayD<T>) {
    let n = T::from_f64(targets.len() as f64);
    let mut total = T::zero();
    let mut gradient = logits.to_owned();
    for ((z, &t), mut gradient) in logits.outer_iter().zip(targets).zip(gradient.axis_iter_mut(Axis(0))) {
        let max = z.fold(T::neg_infinity(), |a, &b| a.max(b));
        gradient.mapv_inplace(|z| (z - max).exp());
        let sum = gradient.sum();
        total += sum.ln() - (z[t] - max);
        gradient.mapv_inplace(|e| e / sum);
        gradient[t] -= T::one();
        gradient.mapv_inplace(|e| e / n);
    }
    (total / n, gradient.into_dyn())
}
