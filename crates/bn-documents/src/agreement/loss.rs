//! The losses with their bounds.

use ndarray::{Array2, ArrayD, ArrayView2, Axis, Ix2};

use super::bounded::{Arithmetic, Bounded, Estimate, exact};
use crate::loss::Target;

/// The loss, and its gradient by the logits.
pub fn loss(a: Arithmetic, logits: &ArrayD<f64>, target: &Target<f64>) -> (Bounded, Estimate) {
    let logits = logits.view().into_dimensionality::<Ix2>().expect("(N, classes)");
    let (terms, gradients) = match target {
        Target::Binary(of) => binary(a, logits, of),
        Target::Class(of) => classes(a, logits, of),
    };
    let n = exact(terms.len() as f64);
    let gradients: Vec<Bounded> = gradients.into_iter().map(|gradient| a.div(gradient, n)).collect();
    let array = |of: fn(&Bounded) -> f64| {
        let values = gradients.iter().map(of).collect();
        Array2::from_shape_vec(logits.raw_dim(), values).expect("one for each logit").into_dyn()
    };
    let gradient =
        Estimate { value: array(|gradient| gradient.value), bound: array(|gradient| gradient.bound) };
    (a.div(a.sum(terms.into_iter()), n), gradient)
}

/// Of each example its loss, and of each logit the gradient of that.
type Terms = (Vec<Bounded>, Vec<Bounded>);

fn binary(a: Arithmetic, logits: ArrayView2<'_, f64>, targets: &[f64]) -> Terms {
    let term = |(&z, &t): (&f64, &f64)| {
        let small = (-z.abs()).exp();
        let rest = small.ln_1p();
        // Two products and sums of z, whose roundings do not cancel as they do.
        let sums = 4.0 * a.u * (z.abs() * (1.0 + t.abs()) + rest);
        let value = a.function(z.max(0.0) - z * t + rest, sums);
        let sigmoid = if z >= 0.0 { 1.0 } else { small } / (1.0 + small);
        let sigmoid = a.function(sigmoid, 2.0 * a.u * sigmoid);
        (value, a.sub(sigmoid, exact(t)))
    };
    logits.iter().zip(targets).map(term).unzip()
}

fn classes(a: Arithmetic, logits: ArrayView2<'_, f64>, targets: &[usize]) -> Terms {
    let (mut terms, mut gradients) = (Vec::new(), Vec::new());
    for (row, &t) in logits.axis_iter(Axis(0)).zip(targets) {
        let max = row.fold(f64::NEG_INFINITY, |a, &b| a.max(b));
        let most = row.fold(0.0, |a: f64, &b| a.max(b.abs()));
        let sum: f64 = row.iter().map(|z| (z - max).exp()).sum();
        // z − max rounds relative to itself, which moves its exponential by as much of itself.
        let exponential = 2.0 * a.u * most + 4.0 * a.u;
        let of_sum = exponential + a.sum_factor(row.len());
        terms.push(a.function(sum.ln() - (row[t] - max), of_sum + 4.0 * a.u * (2.0 * most + sum.ln())));
        for (j, z) in row.iter().enumerate() {
            let p = (z - max).exp() / sum;
            let p = a.function(p, p * (exponential + of_sum));
            gradients.push(a.sub(p, exact(if j == t { 1.0 } else { 0.0 })));
        }
    }
    (terms, gradients)
}
