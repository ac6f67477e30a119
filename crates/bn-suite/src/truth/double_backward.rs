//! The double backward of one channel: the gradients of
//! S = Σu·gi + v·gw + t·gb with respect to g, x and w.
//!
//! Write s = 1/σ, means over the channel with a bar, a = mean(u·x̂), b = mean(g·x̂).
//!
//! Training. gi = w·s·(g − ḡ − x̂·b), so Σu·gi = w·s·Q with
//! Q = Σu·g − n·ū·ḡ − n·a·b, and
//!   ∂S/∂g = w·s·(u − ū − x̂·a) + v·x̂ + t
//!   ∂S/∂w = s·Q
//!   ∂S/∂x̂ = G = v·g − w·s·(b·u + a·g)
//! x acts through x̂ (as in the first backward) and through s, ∂s/∂x = −s²·x̂/n:
//!   ∂S/∂x = s·(G − Ḡ − x̂·mean(G·x̂)) − w·s²·Q·x̂/n
//!
//! Evaluation. gi = w·s·g with s constant:
//!   ∂S/∂g = w·s·u + v·x̂ + t,  ∂S/∂w = s·Σu·g,  ∂S/∂x = s·v·g

use super::channels::Channel;
use super::forward::Normalised;
use crate::allowance::{Tracked, sum};
use crate::case::Mode;
use crate::model::Precision;

/// The second gradients of one channel.
pub(super) struct SecondGradients {
    pub grad_output: Vec<Tracked>,
    pub input: Vec<Tracked>,
    pub weight: Tracked,
}

/// The second gradients that belong to `normalised`, under u beside the channel's
/// values and `v`, `t`.
pub(super) fn double_backward(
    channel: &Channel,
    (v, t): (f64, f64),
    normalised: &Normalised,
    weight: Option<&Tracked>,
    statistics: Mode,
) -> SecondGradients {
    let Precision { elements, moments, sums, .. } = normalised.precision;
    let exact = |value: f64| Tracked::exact(value, elements);
    if channel.n() == 0 {
        // An empty batch: empty sums, not their quotients by 0.
        return SecondGradients { grad_output: vec![], input: vec![], weight: exact(0.0) };
    }
    let g: Vec<Tracked> = channel.grad_output.iter().map(|&g| exact(g)).collect();
    let u: Vec<Tracked> = channel.cotangent.iter().map(|&u| exact(u)).collect();
    let (v, t) = (exact(v), exact(t));
    let x_hat = &normalised.values;
    let s = normalised.deviation.divide(&exact(1.0));
    let ws = normalised.deviation.divide(&weight.cloned().unwrap_or_else(|| exact(1.0)));
    let dot = |a: &[Tracked], b: &[Tracked]| -> Tracked {
        let products: Vec<Tracked> = a.iter().zip(b).map(|(a, b)| a * b).collect();
        sum(&products, &channel.counts, sums).completed(moments)
    };
    let affine_part = |x_hat: &Tracked| &(&v * x_hat) + &t;

    if statistics == Mode::Eval {
        let vs = &v * &s;
        return SecondGradients {
            grad_output: u.iter().zip(x_hat).map(|(u, x_hat)| &(&ws * u) + &affine_part(x_hat)).collect(),
            input: g.iter().map(|g| &vs * g).collect(),
            weight: &s * &dot(&u, &g),
        };
    }

    let n = Tracked::exact(channel.n() as f64, sums);
    let mean = |values: &[Tracked]| &sum(values, &channel.counts, sums).completed(moments) / &n;
    let mean_dot = |a: &[Tracked], b: &[Tracked]| &dot(a, b) / &n;
    let (mean_u, mean_g) = (mean(&u), mean(&g));
    let (a, b) = (mean_dot(&u, x_hat), mean_dot(&g, x_hat));
    let q = &(&dot(&u, &g) - &(&n * &(&mean_u * &mean_g))) - &(&n * &(&a * &b));

    let through_x_hat: Vec<Tracked> =
        g.iter().zip(&u).map(|(g, u)| &(&v * g) - &(&ws * &(&(&b * u) + &(&a * g)))).collect();
    let mean_through = mean(&through_x_hat);
    let mean_through_x = mean_dot(&through_x_hat, x_hat);
    let through_s = &(&(&ws * &s) * &q) / &n;

    SecondGradients {
        grad_output: u
            .iter()
            .zip(x_hat)
            .map(|(u, x_hat)| &(&ws * &(&(u - &mean_u) - &(x_hat * &a))) + &affine_part(x_hat))
            .collect(),
        input: through_x_hat
            .iter()
            .zip(x_hat)
            .map(|(through, x_hat)| {
                let centred = &(through - &mean_through) - &(x_hat * &mean_through_x);
                &(&s * &centred) - &(&through_s * x_hat)
            })
            .collect(),
        weight: &s * &q,
    }
}
