//! The second gradients of one channel by a kernel: those of
//! S = Σ u·grad_input + v·grad_weight + t·grad_bias.
//!
//! With M the map of `through_normalisation`, grad_input = w·M g, and
//! - ∂S/∂g = w·M u + v·x̂ + t,
//! - ∂S/∂w = Σ u·(M g),
//! - ∂S/∂x = M a − w·Σ u·(M g)·s·x̂/n with a = v·g − (w·s/n)·(u·Σ(g·x̂) + g·Σ(u·x̂)),
//!   or s·v·g under fixed statistics.

use super::float::Float;
use super::kernel::{Kernel, Saved};

/// ∂S/∂g.
pub(super) fn grad_output<F: Float>(
    kernel: &impl Kernel<F>,
    saved: &Saved<F>,
    (u, v, t): (&[F], F, F),
) -> Vec<F> {
    let through_u = kernel.grad_input(saved, u);
    through_u.iter().zip(&saved.x_hat).map(|(&through_u, &x_hat)| through_u + v * x_hat + t).collect()
}

/// ∂S/∂x.
pub(super) fn input<F: Float>(
    kernel: &impl Kernel<F>,
    saved: &Saved<F>,
    g: &[F],
    (u, v): (&[F], F),
) -> Vec<F> {
    let s = saved.scale.invstd;
    if !saved.own_statistics {
        return g.iter().map(|&g| s * v * g).collect();
    }
    let (n, w) = (saved.n(), saved.scale.weight);
    let ws_n = w * s / n;
    let (u_x_hat, g_x_hat) = (kernel.dot(u, &saved.x_hat), kernel.dot(g, &saved.x_hat));
    let a: Vec<F> = g.iter().zip(u).map(|(&g, &u)| v * g - ws_n * (u * g_x_hat + g * u_x_hat)).collect();
    let by_invstd = w * kernel.second_grad_weight(saved, g, u) * s / n;
    let through_a = kernel.through_normalisation(saved, &a);
    through_a.iter().zip(&saved.x_hat).map(|(&through_a, &x_hat)| through_a - by_invstd * x_hat).collect()
}
