//! Batch norm of one channel in a floating-point type, as an ordinary kernel has
//! it: everything it computes and keeps is of that type.
//!
//! A *kernel* is the formulas of the [textbook](crate::engines::textbook) once
//! more, each as a method that a variant may build in another way. With nothing
//! overridden: two passes, sums by halves, x̂ = (x − μ)·s, gradients as PyTorch's
//! documentation derives them.

use super::float::Float;

/// n, mean, and Σ(x − μ)² of some values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments<F> {
    pub n: F,
    pub mean: F,
    pub squares: F,
}

impl<F: Float> Moments<F> {
    /// Of no values.
    pub fn none() -> Self {
        Moments { n: F::zero(), mean: F::zero(), squares: F::zero() }
    }

    /// Σ(x − μ)²/n.
    pub fn var_biased(&self) -> F {
        self.squares / self.n
    }
}

/// What a pass over one channel knows: statistics, and the parameters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale<F> {
    /// μ.
    pub mean: F,
    /// σ², biased.
    pub var: F,
    /// eps.
    pub eps: F,
    /// s = 1/√(σ² + eps).
    pub invstd: F,
    /// w, or 1.
    pub weight: F,
    /// b, or 0.
    pub bias: F,
}

/// What a backward pass needs of its channel.
pub(super) struct Saved<F> {
    /// The input.
    pub x: Vec<F>,
    /// x̂.
    pub x_hat: Vec<F>,
    /// Statistics and parameters.
    pub scale: Scale<F>,
    /// Whether the statistics are the batch's own.
    pub own_statistics: bool,
}

impl<F: Float> Saved<F> {
    /// n.
    pub fn n(&self) -> F {
        F::from_f64(self.x.len() as f64)
    }
}

/// How one channel is computed in the type `F`.
pub(super) trait Kernel<F: Float> {
    /// Σ values.
    fn sum(&self, values: &[F]) -> F {
        by_halves(values)
    }

    /// Σ aᵢ·bᵢ.
    fn dot(&self, a: &[F], b: &[F]) -> F {
        let products: Vec<F> = a.iter().zip(b).map(|(&a, &b)| a * b).collect();
        self.sum(&products)
    }

    /// Mean and Σ(x − μ)², in two passes.
    fn moments(&self, x: &[F]) -> Moments<F> {
        let n = F::from_f64(x.len() as f64);
        let mean = self.sum(x) / n;
        let deviations: Vec<F> = x.iter().map(|&x| x - mean).collect();
        Moments { n, mean, squares: self.dot(&deviations, &deviations) }
    }

    /// The same of a batch that comes in parts: here of the parts joined.
    fn merged(&self, parts: &[Vec<F>]) -> Moments<F> {
        self.moments(&parts.concat())
    }

    /// 1/√(σ² + eps).
    fn invstd(&self, var: F, eps: F) -> F {
        F::one() / (var + eps).sqrt()
    }

    /// σ²·n/(n − 1).
    fn unbiased(&self, var: F, n: F) -> F {
        var * n / (n - F::one())
    }

    /// (1 − m)·old + m·new.
    fn running(&self, old: F, new: F, momentum: F) -> F {
        (F::one() - momentum) * old + momentum * new
    }

    /// x̂ = (x − μ)·s.
    fn normalise(&self, x: &[F], scale: &Scale<F>) -> Vec<F> {
        x.iter().map(|&x| (x - scale.mean) * scale.invstd).collect()
    }

    /// y = x̂·w + b.
    fn output(&self, x: &[F], scale: &Scale<F>) -> Vec<F> {
        self.normalise(x, scale).into_iter().map(|x_hat| x_hat * scale.weight + scale.bias).collect()
    }

    /// Σg·x̂.
    fn grad_weight(&self, saved: &Saved<F>, g: &[F]) -> F {
        self.dot(g, &saved.x_hat)
    }

    /// w·s·(g − Σg/n − x̂·Σ(g·x̂)/n), or w·s·g under fixed statistics.
    fn grad_input(&self, saved: &Saved<F>, g: &[F]) -> Vec<F> {
        self.through_normalisation(saved, g).into_iter().map(|g| g * saved.scale.weight).collect()
    }

    /// M a: how a gradient a = ∂loss/∂x̂ reaches x.
    fn through_normalisation(&self, saved: &Saved<F>, a: &[F]) -> Vec<F> {
        let s = saved.scale.invstd;
        if !saved.own_statistics {
            return a.iter().map(|&a| a * s).collect();
        }
        let mean = self.sum(a) / saved.n();
        let slope = self.dot(a, &saved.x_hat) / saved.n();
        a.iter().zip(&saved.x_hat).map(|(&a, &x_hat)| (a - mean - x_hat * slope) * s).collect()
    }

    /// ∂S/∂w = Σ u·(M g), with S = Σ u·grad_input.
    fn second_grad_weight(&self, saved: &Saved<F>, g: &[F], u: &[F]) -> F {
        self.dot(u, &self.through_normalisation(saved, g))
    }

    /// b′ = (b − μ)·s + bias, of a map with bias b before the layer.
    fn folded_bias(&self, before: F, mean: F, scale: F, bias: F) -> F {
        (before - mean) * scale + bias
    }
}

/// The kernel with nothing overridden.
pub(super) struct Ordinary;

impl<F: Float> Kernel<F> for Ordinary {}

/// Σ values by halves.
pub(super) fn by_halves<F: Float>(values: &[F]) -> F {
    match values {
        [] => F::zero(),
        [one] => *one,
        _ => {
            let (left, right) = values.split_at(values.len() / 2);
            by_halves(left) + by_halves(right)
        }
    }
}

/// Σ values from first to last.
pub(super) fn in_order<F: Float>(values: impl IntoIterator<Item = F>) -> F {
    values.into_iter().fold(F::zero(), |total, value| total + value)
}
