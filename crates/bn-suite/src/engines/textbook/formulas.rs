//! Batch norm of one channel: its n values, wherever in the batch and in space
//! they lie, are a list. Everything here is a formula over such lists.
//!
//! Words: x the input, g = ∂loss/∂output, w the weight (1 if there is none), b
//! the bias (0 if there is none), μ and σ² the mean and the variance that
//! normalise, s = 1/√(σ² + eps) the inverse deviation, x̂ = (x − μ)·s.

/// Σ values, by halves: n terms are rounded log₂ n times on their way into the
/// total instead of n times, and one infinity stays an infinity.
pub(super) fn sum(values: &[f64]) -> f64 {
    match values {
        [] => 0.0,
        [one] => *one,
        _ => {
            let (left, right) = values.split_at(values.len() / 2);
            sum(left) + sum(right)
        }
    }
}

/// Σ aᵢ·bᵢ.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let products: Vec<f64> = a.iter().zip(b).map(|(a, b)| a * b).collect();
    sum(&products)
}

/// The statistics that normalise a channel. The mean is `mean + mean_rest`, two
/// numbers that are never added: next to a mean of 10¹² an f64 has no room for
/// the digits that matter to a deviation of 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Statistics {
    pub(super) mean: f64,
    pub(super) mean_rest: f64,
    pub(super) var_biased: f64,
}

impl Statistics {
    /// μ = Σx/n and σ² = Σ(x − μ)²/n, in two passes: E[x²] − E[x]² would cancel
    /// when the mean is large. What the first mean m₀ is wrong by is the mean of
    /// x − m₀, and these differences are small and nearly exact.
    pub(super) fn of_batch(x: &[f64]) -> Self {
        let n = x.len() as f64;
        let mean = sum(x) / n;
        if !mean.is_finite() {
            // The differences would turn an infinite mean into NaN.
            return Statistics { mean, mean_rest: 0.0, var_biased: f64::NAN };
        }
        let differences: Vec<f64> = x.iter().map(|x| x - mean).collect();
        let mean_rest = sum(&differences) / n;
        let deviations: Vec<f64> = differences.iter().map(|d| d - mean_rest).collect();
        Statistics { mean, mean_rest, var_biased: dot(&deviations, &deviations) / n }
    }

    /// The running statistics, taken as they stand.
    pub(super) fn of_buffers(running_mean: f64, running_var: f64) -> Self {
        Statistics { mean: running_mean, mean_rest: 0.0, var_biased: running_var }
    }

    /// s = 1/√(σ² + eps).
    pub(super) fn invstd(&self, eps: f64) -> f64 {
        1.0 / (self.var_biased + eps).sqrt()
    }

    /// x̂ = (x − μ)·s.
    pub(super) fn normalise(&self, x: &[f64], eps: f64) -> Vec<f64> {
        let s = self.invstd(eps);
        x.iter().map(|x| ((x - self.mean) - self.mean_rest) * s).collect()
    }
}

/// new = (1 − momentum)·old + momentum·batch: momentum weighs the new value.
pub(super) fn running_update(old: f64, batch: f64, momentum: f64) -> f64 {
    (1.0 - momentum) * old + momentum * batch
}

/// y = x̂·w + b.
pub(super) fn scale_and_shift(x_hat: &[f64], weight: f64, bias: f64) -> Vec<f64> {
    x_hat.iter().map(|x_hat| x_hat * weight + bias).collect()
}

/// What a backward pass needs to know of the forward pass of its channel.
pub(super) struct Channel {
    pub(super) x_hat: Vec<f64>,
    pub(super) invstd: f64,
    pub(super) weight: f64,
    /// Whether μ and σ² were the batch's own, and so depend on x.
    pub(super) own_statistics: bool,
}

/// The first gradients of one channel.
pub(super) struct Gradients {
    pub(super) input: Vec<f64>,
    pub(super) weight: f64,
    pub(super) bias: f64,
}

/// The cotangents u, v, t of one channel's first gradients.
pub(super) struct Cotangents {
    pub(super) input: Vec<f64>,
    pub(super) weight: f64,
    pub(super) bias: f64,
}

/// The gradients of S = Σ u·grad_input + v·grad_weight + t·grad_bias.
pub(super) struct SecondGradients {
    pub(super) grad_output: Vec<f64>,
    pub(super) input: Vec<f64>,
    pub(super) weight: f64,
}

impl Channel {
    fn n(&self) -> f64 {
        self.x_hat.len() as f64
    }

    /// How a gradient a = ∂loss/∂x̂ reaches x.
    ///
    /// With fixed statistics ∂x̂ᵢ/∂xⱼ = s·δᵢⱼ. With the batch's own,
    /// ∂μ/∂xⱼ = 1/n and ∂s/∂xⱼ = −s²·x̂ⱼ/n, hence
    /// ∂x̂ᵢ/∂xⱼ = s·(δᵢⱼ − 1/n − x̂ᵢ·x̂ⱼ/n), and
    /// Σᵢ aᵢ·∂x̂ᵢ/∂xⱼ = s·(aⱼ − Σa/n − x̂ⱼ·Σ(a·x̂)/n).
    ///
    /// The matrix is symmetric, so the same map also takes a change of x to the
    /// change of x̂.
    fn through_normalisation(&self, a: &[f64]) -> Vec<f64> {
        let s = self.invstd;
        if !self.own_statistics {
            return a.iter().map(|a| a * s).collect();
        }
        let mean = sum(a) / self.n();
        let slope = dot(a, &self.x_hat) / self.n();
        a.iter().zip(&self.x_hat).map(|(a, x_hat)| s * (a - mean - x_hat * slope)).collect()
    }

    /// grad_bias = Σg, grad_weight = Σg·x̂, and grad_input: ∂loss/∂x̂ = w·g taken
    /// through the normalisation.
    pub(super) fn backward(&self, g: &[f64]) -> Gradients {
        let input = self.through_normalisation(g).iter().map(|gradient| gradient * self.weight).collect();
        Gradients { input, weight: dot(g, &self.x_hat), bias: sum(g) }
    }

    /// The gradients of S = Σ u·grad_input + v·grad_weight + t·grad_bias.
    ///
    /// Let M be the map of `through_normalisation`, so that grad_input = w·M g.
    ///
    /// - grad_output: M is symmetric, so ∂S/∂g = w·M u + v·x̂ + t.
    /// - weight: only grad_input contains w, so ∂S/∂w = Σ u·(M g).
    /// - input: x enters through s and x̂. Written with them,
    ///   S = w·s·Q + v·Σ(g·x̂) + t·Σg, where
    ///   Q = Σ(u·g) − Σu·Σg/n − Σ(u·x̂)·Σ(g·x̂)/n, so
    ///   ∂S/∂s = w·Q and a = ∂S/∂x̂ = v·g − (w·s/n)·(u·Σ(g·x̂) + g·Σ(u·x̂)).
    ///   With ∂s/∂x = −s²·x̂/n: ∂S/∂x = M a − w·Q·s²·x̂/n.
    ///   With fixed statistics s is constant and S's only x̂ is grad_weight's: ∂S/∂x = s·v·g.
    pub(super) fn double_backward(&self, g: &[f64], cotangents: &Cotangents) -> SecondGradients {
        let Cotangents { input: u, weight: v, bias: t } = cotangents;
        let through_u = self.through_normalisation(u);
        SecondGradients {
            grad_output: (0..g.len()).map(|i| self.weight * through_u[i] + v * self.x_hat[i] + t).collect(),
            input: self.second_grad_input(g, u, *v),
            weight: dot(u, &self.through_normalisation(g)),
        }
    }

    fn second_grad_input(&self, g: &[f64], u: &[f64], v: f64) -> Vec<f64> {
        if !self.own_statistics {
            return g.iter().map(|g| self.invstd * v * g).collect();
        }
        let (n, w, s) = (self.n(), self.weight, self.invstd);
        let (u_x_hat, g_x_hat) = (dot(u, &self.x_hat), dot(g, &self.x_hat));
        let a: Vec<f64> =
            (0..g.len()).map(|i| v * g[i] - w * s / n * (u[i] * g_x_hat + g[i] * u_x_hat)).collect();
        // Q = Σ u·(M g)/s, without the division: the cancellation inside M g is
        // per element and harmless, that between the three sums is not.
        let w_q_s = w * dot(u, &self.through_normalisation(g));
        let through_a = self.through_normalisation(&a);
        (0..g.len()).map(|i| through_a[i] - w_q_s * s * self.x_hat[i] / n).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: [f64; 5] = [1.0, -2.0, 0.5, 3.0, 0.25];
    const G: [f64; 5] = [0.3, -1.0, 2.0, 0.7, -0.4];
    const U: [f64; 5] = [-0.6, 0.2, 1.1, -0.9, 0.8];
    const EPS: f64 = 0.5;
    const WEIGHT: f64 = -1.5;
    const V: f64 = 0.7;
    const T: f64 = -0.3;

    fn channel(x: &[f64], weight: f64) -> Channel {
        let statistics = Statistics::of_batch(x);
        let x_hat = statistics.normalise(x, EPS);
        Channel { x_hat, invstd: statistics.invstd(EPS), weight, own_statistics: true }
    }

    fn loss(x: &[f64]) -> f64 {
        dot(&G, &scale_and_shift(&channel(x, WEIGHT).x_hat, WEIGHT, 0.2))
    }

    fn s(x: &[f64], g: &[f64], weight: f64) -> f64 {
        let gradients = channel(x, weight).backward(g);
        dot(&U, &gradients.input) + V * gradients.weight + T * gradients.bias
    }

    /// (f(z + h) − f(z − h))/2h. With h = 2⁻¹⁷ the truncation is f‴·h²/6 ≈
    /// 10⁻¹¹·f‴ and the rounding 2⁻⁵³·|f|/h ≈ 10⁻¹¹·|f|; here |f| and |f‴| stay
    /// below 30.
    fn slope(f: impl Fn(f64) -> f64, at: f64) -> f64 {
        let h = 2f64.powi(-17);
        (f(at + h) - f(at - h)) / (2.0 * h)
    }

    fn replaced(values: &[f64], index: usize, value: f64) -> Vec<f64> {
        let mut copy = values.to_vec();
        copy[index] = value;
        copy
    }

    fn assert_close(analytic: f64, numeric: f64) {
        assert!((analytic - numeric).abs() < 1e-9, "{analytic} against {numeric}");
    }

    #[test]
    fn gradients_are_slopes() {
        let gradients = channel(&X, WEIGHT).backward(&G);
        for (i, x) in X.into_iter().enumerate() {
            assert_close(gradients.input[i], slope(|v| loss(&replaced(&X, i, v)), x));
        }
    }

    #[test]
    fn second_gradients_are_slopes() {
        let cotangents = Cotangents { input: U.to_vec(), weight: V, bias: T };
        let second = channel(&X, WEIGHT).double_backward(&G, &cotangents);
        assert_close(second.weight, slope(|w| s(&X, &G, w), WEIGHT));
        for i in 0..X.len() {
            assert_close(second.input[i], slope(|v| s(&replaced(&X, i, v), &G, WEIGHT), X[i]));
            assert_close(second.grad_output[i], slope(|v| s(&X, &replaced(&G, i, v), WEIGHT), G[i]));
        }
    }

    /// The mean of 10¹⁵ + {0, 1, 1} is 10¹⁵ + 2/3, which no f64 holds (the gap
    /// there is 1/8); the variance is 2/9.
    #[test]
    fn the_mean_keeps_more_digits_than_an_f64() {
        let statistics = Statistics::of_batch(&[1e15, 1e15 + 1.0, 1e15 + 1.0]);
        assert_close(statistics.mean_rest + (statistics.mean - 1e15), 2.0 / 3.0);
        assert_close(statistics.var_biased, 2.0 / 9.0);
    }
}
