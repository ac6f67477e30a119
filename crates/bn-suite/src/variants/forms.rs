//! Variants by the form of the formulas.

use super::float::Float;
use super::kernel::{Kernel, Moments, Saved, Scale, by_halves};
use super::{Variant, variant};

pub(super) fn variants() -> Vec<Variant> {
    vec![
        variant!("folded", "y = α·x + β with α = w·s, β = b − μ·α, and its gradients in x", Folded),
        variant!("folded-autodiff", "the folded form differentiated line by line", FoldedAutodiff),
        variant!("autodiff", "(x − μ)·s differentiated line by line, through variance and mean", Autodiff),
        variant!("centred", "y = (x − μ)·(w·s) + b", Centred),
        variant!("fused", "every product and sum fused into one rounding", Fused),
        variant!("quotient", "x̂ = (x − μ)/√(σ² + eps)", Quotient),
        variant!("newton", "1/√ by Newton's steps from a rough start", Newton),
        variant!("times-n", "grad_input = (w·s/n)·(n·g − Σg − x̂·Σ(g·x̂))", TimesN),
        variant!("three-sums", "second gradients from Σ(u·g) − Σu·Σg/n − Σ(u·x̂)·Σ(g·x̂)/n", ThreeSums),
        variant!("reciprocal-n", "means by a product with 1/n", ReciprocalN),
        variant!("running-step", "running + m·(batch − running), and σ²·(n/(n − 1))", RunningStep),
    ]
}

struct Folded;

impl<F: Float> Kernel<F> for Folded {
    fn output(&self, x: &[F], scale: &Scale<F>) -> Vec<F> {
        let alpha = scale.weight * scale.invstd;
        let beta = scale.bias - scale.mean * alpha;
        x.iter().map(|&x| alpha * x + beta).collect()
    }

    /// s·(Σg·x − μ·Σg).
    fn grad_weight(&self, saved: &Saved<F>, g: &[F]) -> F {
        let Scale { mean, invstd, .. } = saved.scale;
        (self.dot(g, &saved.x) - mean * self.sum(g)) * invstd
    }

    /// α·g + β·x + γ with α = w·s, β = −α·s·gw/n and γ = −β·μ − α·Σg/n.
    fn grad_input(&self, saved: &Saved<F>, g: &[F]) -> Vec<F> {
        let Scale { mean, invstd, weight, .. } = saved.scale;
        let alpha = weight * invstd;
        if !saved.own_statistics {
            return g.iter().map(|&g| alpha * g).collect();
        }
        let slope = self.grad_weight(saved, g) / saved.n();
        let beta = F::zero() - alpha * invstd * slope;
        let gamma = F::zero() - beta * mean - alpha * (self.sum(g) / saved.n());
        g.iter().zip(&saved.x).map(|(&g, &x)| alpha * g + beta * x + gamma).collect()
    }

    fn folded_bias(&self, before: F, mean: F, scale: F, bias: F) -> F {
        before * scale + (bias - mean * scale)
    }
}

struct FoldedAutodiff;

impl<F: Float> Kernel<F> for FoldedAutodiff {
    fn output(&self, x: &[F], scale: &Scale<F>) -> Vec<F> {
        Folded.output(x, scale)
    }

    /// From y = α·x + β and α = w·s: s·∂loss/∂α.
    fn grad_weight(&self, saved: &Saved<F>, g: &[F]) -> F {
        let Scale { mean, invstd, .. } = saved.scale;
        let (by_alpha, by_beta) = (self.dot(g, &saved.x), self.sum(g));
        invstd * (by_alpha - mean * by_beta)
    }

    /// Backwards through β = b − μ·α, α = w·s, s = (σ² + eps)^(−1/2), σ² and μ.
    fn grad_input(&self, saved: &Saved<F>, g: &[F]) -> Vec<F> {
        let Scale { mean, invstd: s, weight, .. } = saved.scale;
        let alpha = weight * s;
        if !saved.own_statistics {
            return g.iter().map(|&g| g * alpha).collect();
        }
        let by_beta = self.sum(g);
        let by_alpha = self.dot(g, &saved.x) - mean * by_beta;
        let by_s = weight * by_alpha;
        let by_mean = F::zero() - alpha * by_beta;
        let twice_by_var = F::zero() - s * (s * (s * by_s));
        let (of_mean, of_var) = (by_mean / saved.n(), twice_by_var / saved.n());
        g.iter().zip(&saved.x).map(|(&g, &x)| g * alpha + of_mean + of_var * (x - mean)).collect()
    }
}

struct Autodiff;

impl<F: Float> Kernel<F> for Autodiff {
    /// Backwards through y = w·x̂ + b, x̂ = (x − μ)·s, σ² = Σ(x − μ)²/n and μ = Σx/n.
    fn grad_input(&self, saved: &Saved<F>, g: &[F]) -> Vec<F> {
        let Scale { mean, invstd: s, weight, .. } = saved.scale;
        let by_x_hat: Vec<F> = g.iter().map(|&g| g * weight).collect();
        let by_centred = by_x_hat.iter().map(|&by_x_hat| by_x_hat * s);
        if !saved.own_statistics {
            return by_centred.collect();
        }
        let centred: Vec<F> = saved.x.iter().map(|&x| x - mean).collect();
        let by_s = self.dot(&by_x_hat, &centred);
        let twice_by_var = F::zero() - s * (s * (s * by_s));
        let of_var = twice_by_var / saved.n();
        let by_centred: Vec<F> =
            by_centred.zip(&centred).map(|(direct, &centred)| direct + of_var * centred).collect();
        let by_mean = F::zero() - self.sum(&by_centred);
        by_centred.iter().map(|&by_centred| by_centred + by_mean / saved.n()).collect()
    }
}

struct Centred;

impl<F: Float> Kernel<F> for Centred {
    fn output(&self, x: &[F], scale: &Scale<F>) -> Vec<F> {
        let alpha = scale.weight * scale.invstd;
        x.iter().map(|&x| (x - scale.mean) * alpha + scale.bias).collect()
    }

    /// s·Σg·(x − μ).
    fn grad_weight(&self, saved: &Saved<F>, g: &[F]) -> F {
        let Scale { mean, invstd, .. } = saved.scale;
        let centred: Vec<F> = saved.x.iter().map(|&x| x - mean).collect();
        self.dot(g, &centred) * invstd
    }

    /// With k = s·s·Σg·(x − μ)/n: (g − Σg/n − (x − μ)·k)·(w·s).
    fn grad_input(&self, saved: &Saved<F>, g: &[F]) -> Vec<F> {
        let Scale { mean, invstd, weight, .. } = saved.scale;
        let alpha = weight * invstd;
        if !saved.own_statistics {
            return g.iter().map(|&g| g * alpha).collect();
        }
        let k = self.grad_weight(saved, g) / saved.n() * invstd;
        let mean_g = self.sum(g) / saved.n();
        g.iter().zip(&saved.x).map(|(&g, &x)| (g - mean_g - (x - mean) * k) * alpha).collect()
    }
}

struct Fused;

impl<F: Float> Kernel<F> for Fused {
    /// Sixteen lanes of fused sums in blocks of 4096.
    fn dot(&self, a: &[F], b: &[F]) -> F {
        let block = |(a, b): (&[F], &[F])| {
            let mut lanes = [F::zero(); 16];
            for (a, b) in a.chunks(16).zip(b.chunks(16)) {
                for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
                    *lane = a.mul_add(b, *lane);
                }
            }
            by_halves(&lanes)
        };
        by_halves(&a.chunks(4096).zip(b.chunks(4096)).map(block).collect::<Vec<F>>())
    }

    fn running(&self, old: F, new: F, momentum: F) -> F {
        momentum.mul_add(new, (F::one() - momentum) * old)
    }

    /// x̂ = x·s − μ·s.
    fn normalise(&self, x: &[F], scale: &Scale<F>) -> Vec<F> {
        let shift = F::zero() - scale.mean * scale.invstd;
        x.iter().map(|&x| x.mul_add(scale.invstd, shift)).collect()
    }

    fn output(&self, x: &[F], scale: &Scale<F>) -> Vec<F> {
        let alpha = scale.weight * scale.invstd;
        let beta = (F::zero() - scale.mean).mul_add(alpha, scale.bias);
        x.iter().map(|&x| x.mul_add(alpha, beta)).collect()
    }

    fn through_normalisation(&self, saved: &Saved<F>, a: &[F]) -> Vec<F> {
        let s = saved.scale.invstd;
        if !saved.own_statistics {
            return a.iter().map(|&a| a * s).collect();
        }
        let mean = self.sum(a) / saved.n();
        let minus_slope = F::zero() - self.dot(a, &saved.x_hat) / saved.n();
        a.iter().zip(&saved.x_hat).map(|(&a, &x_hat)| x_hat.mul_add(minus_slope, a - mean) * s).collect()
    }

    fn folded_bias(&self, before: F, mean: F, scale: F, bias: F) -> F {
        (before - mean).mul_add(scale, bias)
    }
}

struct Quotient;

impl<F: Float> Kernel<F> for Quotient {
    fn normalise(&self, x: &[F], scale: &Scale<F>) -> Vec<F> {
        let deviation = (scale.var + scale.eps).sqrt();
        x.iter().map(|&x| (x - scale.mean) / deviation).collect()
    }

    /// w/σ·(g − mean(g) − x̂·mean(g·x̂)).
    fn through_normalisation(&self, saved: &Saved<F>, a: &[F]) -> Vec<F> {
        let deviation = (saved.scale.var + saved.scale.eps).sqrt();
        if !saved.own_statistics {
            return a.iter().map(|&a| a / deviation).collect();
        }
        let mean = self.sum(a) / saved.n();
        let slope = self.dot(a, &saved.x_hat) / saved.n();
        a.iter().zip(&saved.x_hat).map(|(&a, &x_hat)| (a - (mean + x_hat * slope)) / deviation).collect()
    }
}

struct Newton;

impl<F: Float> Kernel<F> for Newton {
    /// r ← r + r·(1 − v·r·r)/2 from a start with 8 right bits, as hardware gives it.
    fn invstd(&self, var: F, eps: F) -> F {
        let radicand = var + eps;
        let rough = 1.0 / radicand.to_f64().sqrt();
        if !rough.is_finite() || rough == 0.0 {
            return F::from_f64(rough);
        }
        let start = F::from_f64(f64::from_bits(rough.to_bits() & !((1 << 44) - 1)));
        let half = F::from_f64(0.5);
        let step = |r: F| r + half * r * (F::one() - (radicand * r) * r);
        (0..4).fold(start, |r, _| step(r))
    }
}

struct TimesN;

impl<F: Float> Kernel<F> for TimesN {
    fn grad_input(&self, saved: &Saved<F>, g: &[F]) -> Vec<F> {
        let Scale { invstd, weight, .. } = saved.scale;
        if !saved.own_statistics {
            return g.iter().map(|&g| g * (weight * invstd)).collect();
        }
        let n = saved.n();
        let (sum, slope) = (self.sum(g), self.dot(g, &saved.x_hat));
        let scale = weight * invstd / n;
        g.iter().zip(&saved.x_hat).map(|(&g, &x_hat)| scale * (n * g - sum - x_hat * slope)).collect()
    }
}

struct ThreeSums;

impl<F: Float> Kernel<F> for ThreeSums {
    fn second_grad_weight(&self, saved: &Saved<F>, g: &[F], u: &[F]) -> F {
        let s = saved.scale.invstd;
        if !saved.own_statistics || g.is_empty() {
            return s * self.dot(u, g);
        }
        let (mean_u, mean_g) = (self.sum(u) / saved.n(), self.sum(g) / saved.n());
        let (slope_u, slope_g) =
            (self.dot(u, &saved.x_hat) / saved.n(), self.dot(g, &saved.x_hat) / saved.n());
        s * (self.dot(u, g) - saved.n() * mean_u * mean_g - saved.n() * slope_u * slope_g)
    }
}

struct ReciprocalN;

impl<F: Float> Kernel<F> for ReciprocalN {
    fn moments(&self, x: &[F]) -> Moments<F> {
        let n = F::from_f64(x.len() as f64);
        let one_nth = F::one() / n;
        let mean = self.sum(x) * one_nth;
        let deviations: Vec<F> = x.iter().map(|&x| x - mean).collect();
        let var = self.dot(&deviations, &deviations) * one_nth;
        Moments { n, mean, squares: var * n }
    }

    fn through_normalisation(&self, saved: &Saved<F>, a: &[F]) -> Vec<F> {
        let s = saved.scale.invstd;
        if !saved.own_statistics {
            return a.iter().map(|&a| a * s).collect();
        }
        let one_nth = F::one() / saved.n();
        let (mean, slope) = (self.sum(a) * one_nth, self.dot(a, &saved.x_hat) * one_nth);
        a.iter().zip(&saved.x_hat).map(|(&a, &x_hat)| (a - mean - x_hat * slope) * s).collect()
    }
}

struct RunningStep;

impl<F: Float> Kernel<F> for RunningStep {
    fn unbiased(&self, var: F, n: F) -> F {
        var * (n / (n - F::one()))
    }

    fn running(&self, old: F, new: F, momentum: F) -> F {
        old + momentum * (new - old)
    }
}
