//! Variants by the way to mean and variance.

use rayon::prelude::*;

use super::float::Float;
use super::kernel::{Kernel, Moments};
use super::{Variant, variant};

pub(super) fn variants() -> Vec<Variant> {
    vec![
        variant!("welford", "Welford's update over runs of 256 values; runs merged as Chan has it", Welford),
        variant!(
            "welford-lanes",
            "Welford's update in interleaved lanes, merged as Chan has it",
            WelfordLanes
        ),
        variant!("chan-tree", "moments of halves merged as Chan has it, down to single values", ChanTree),
        variant!("shifted", "mean and variance of x − x₀, with x₀ the first value", Shifted),
        variant!(
            "corrected-two-pass",
            "Σ(x − μ)² − (Σ(x − μ))²/n: what the mean is wrong by is taken back",
            Corrected
        ),
        variant!("one-pass-in-wider", "E[x²] − E[x]² in a type with twice the digits", OnePassInWider),
    ]
}

/// The moments of two sets together (Chan, Golub and LeVeque 1983):
/// with δ = μ_b − μ_a, μ = μ_a + δ·n_b/n and Σ² = Σ²_a + Σ²_b + δ²·n_a·n_b/n.
pub(super) fn chan<F: Float>(a: Moments<F>, b: Moments<F>) -> Moments<F> {
    if a.n == F::zero() {
        return b;
    }
    if b.n == F::zero() {
        return a;
    }
    let n = a.n + b.n;
    let delta = b.mean - a.mean;
    let share = b.n / n;
    Moments {
        n,
        mean: a.mean + delta * share,
        squares: a.squares + b.squares + delta * delta * (a.n * share),
    }
}

/// The moments of chunks, found in parallel and merged in order.
pub(super) fn in_chunks<F: Float>(
    x: &[F],
    chunk: usize,
    moments: impl Fn(&[F]) -> Moments<F> + Send + Sync,
) -> Moments<F> {
    let parts: Vec<Moments<F>> = x.par_chunks(chunk).map(moments).collect();
    or_nan(parts.into_iter().fold(Moments::none(), chan))
}

/// No values have no mean.
fn or_nan<F: Float>(moments: Moments<F>) -> Moments<F> {
    if moments.n == F::zero() { Moments { mean: F::zero() / F::zero(), ..moments } } else { moments }
}

/// One more value: μ ← μ + (x − μ)/n, Σ² ← Σ² + (x − μ_old)·(x − μ_new).
fn welford<F: Float>(moments: Moments<F>, x: F) -> Moments<F> {
    let n = moments.n + F::one();
    let delta = x - moments.mean;
    let mean = moments.mean + delta / n;
    Moments { n, mean, squares: moments.squares + delta * (x - mean) }
}

struct Welford;

impl<F: Float> Kernel<F> for Welford {
    fn moments(&self, x: &[F]) -> Moments<F> {
        let run = |run: &[F]| run.iter().copied().fold(Moments::none(), welford);
        merged_by_halves(&x.chunks(256).map(run).collect::<Vec<_>>())
    }

    fn merged(&self, parts: &[Vec<F>]) -> Moments<F> {
        let parts: Vec<Moments<F>> = parts.iter().map(|part| self.moments(part)).collect();
        parts.into_iter().filter(|part| part.n > F::zero()).fold(Moments::none(), chan)
    }
}

fn merged_by_halves<F: Float>(parts: &[Moments<F>]) -> Moments<F> {
    match parts {
        [] => or_nan(Moments::none()),
        [one] => *one,
        _ => {
            let (left, right) = parts.split_at(parts.len() / 2);
            chan(merged_by_halves(left), merged_by_halves(right))
        }
    }
}

struct WelfordLanes;

impl<F: Float> Kernel<F> for WelfordLanes {
    /// Lane k takes the values k, k + L, k + 2L, …, at most 256 of them.
    fn moments(&self, x: &[F]) -> Moments<F> {
        let mut lanes = vec![Moments::none(); x.len().div_ceil(256).max(8)];
        let count = lanes.len();
        for row in x.chunks(count) {
            for (lane, &x) in lanes.iter_mut().zip(row) {
                *lane = welford(*lane, x);
            }
        }
        or_nan(merged_by_halves(&lanes))
    }
}

struct ChanTree;

impl<F: Float> Kernel<F> for ChanTree {
    fn moments(&self, x: &[F]) -> Moments<F> {
        match x {
            [] => or_nan(Moments::none()),
            [one] => Moments { n: F::one(), mean: *one, squares: F::zero() },
            _ => {
                let (left, right) = x.split_at(x.len() / 2);
                chan(self.moments(left), self.moments(right))
            }
        }
    }
}

struct Shifted;

impl<F: Float> Kernel<F> for Shifted {
    /// With d = x − x₀: μ = x₀ + Σd/n and Σ(x − μ)² = Σd² − (Σd)²/n, which cancels
    /// no more than x₀ lies away from the mean.
    fn moments(&self, x: &[F]) -> Moments<F> {
        let n = F::from_f64(x.len() as f64);
        let Some(&first) = x.first() else { return or_nan(Moments::none()) };
        let d: Vec<F> = x.iter().map(|&x| x - first).collect();
        let shift = self.sum(&d) / n;
        let squares = self.dot(&d, &d) - shift * shift * n;
        Moments { n, mean: first + shift, squares: if squares < F::zero() { F::zero() } else { squares } }
    }
}

struct Corrected;

impl<F: Float> Kernel<F> for Corrected {
    fn moments(&self, x: &[F]) -> Moments<F> {
        let n = F::from_f64(x.len() as f64);
        let mean = self.sum(x) / n;
        let d: Vec<F> = x.iter().map(|&x| x - mean).collect();
        let rest = self.sum(&d) / n;
        Moments { n, mean: mean + rest, squares: self.dot(&d, &d) - rest * rest * n }
    }
}

struct OnePassInWider;

impl<F: Float> Kernel<F> for OnePassInWider {
    fn moments(&self, x: &[F]) -> Moments<F> {
        let n = F::Wider::from_f64(x.len() as f64);
        let (mut sum, mut squares) = (F::Wider::zero(), F::Wider::zero());
        for x in x.iter().map(|x| x.widen()) {
            sum = sum + x;
            squares = squares + x * x;
        }
        let mean = sum / n;
        let rest = squares - mean * sum;
        let rest = if rest < F::Wider::zero() { F::Wider::zero() } else { rest };
        Moments { n: F::narrow(n), mean: F::narrow(mean), squares: F::narrow(rest) }
    }
}
