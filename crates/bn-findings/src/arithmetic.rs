//! Is a wrong number the right formula in poor arithmetic, or another formula?
//!
//! A *poor arithmetic* is one that the grade *conforms* does not excuse and that people use
//! all the same: sums term by term, the variance as E\[x²\] − E\[x\]², fewer bits than the
//! numbers have. What it may lose at most follows from the usual bounds (Higham, *Accuracy
//! and Stability of Numerical Algorithms*, chapters 3 and 4), carried through the formulas
//! channel by channel. An answer within that is *inaccurate*; one beyond is *wrong*.
//!
//! With u the unit roundoff, γ the relative loss of a sum of n terms, and hats on what is
//! computed:
//!
//! > |μ̂ − μ| ≤ γ·E|x|
//! > |σ̂² − σ²| ≤ 2γ·σ² + |μ̂ − μ|², centred
//! > |σ̂² − σ²| ≤ (γ + 2u)·E\[x²\] + 2|μ|·|μ̂ − μ| + |μ̂ − μ|², as E\[x²\] − E\[x\]²
//!
//! and where σ² + eps may come out as 0 or less, everything may, NaN included. These are
//! bounds for an explanation, wide on purpose; no verdict rests on them.

use std::collections::BTreeMap;

use bn_suite::case::{Case, Mode, Pass, Step};
use bn_suite::outcome::Field;
use bn_suite::tensor::{DType, Tensor};

/// An arithmetic that loses more than the suite allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arithmetic {
    /// Numbers are kept in this format, whatever they came in.
    pub kept_in: Kept,
    /// n terms are added one after the other.
    pub serial: bool,
    /// The variance is E\[x²\] − E\[x\]².
    pub uncentred: bool,
}

/// In what numbers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// What the suite expects: f64 for f64, f32 for all else.
    AsExpected,
    /// f32 where f64 came in.
    F32,
    /// The 16 bits that came in.
    SixteenBits,
}

impl Arithmetic {
    /// Its unit roundoff for such input; none where it is not poorer than what is expected.
    fn unit(self, input: DType) -> Option<f64> {
        match (self.kept_in, input) {
            (Kept::AsExpected, DType::F64) => Some(f64::EPSILON / 2.0),
            (Kept::AsExpected, _) | (Kept::F32, DType::F64) => Some(f64::from(f32::EPSILON) / 2.0),
            (Kept::SixteenBits, DType::F16) => Some(2f64.powi(-11)),
            (Kept::SixteenBits, DType::Bf16) => Some(2f64.powi(-8)),
            _ => None,
        }
    }

    /// How far each array of a pass may be from its truth, element by element: infinite where
    /// anything may come out. None for a step that this says nothing about.
    pub fn bounds(self, case: &Case) -> Option<BTreeMap<Field, Vec<f64>>> {
        let [Step::BatchNorm(pass)] = case.steps.as_slice() else { return None };
        if pass.input.shape.len() < 2 || pass.input.is_empty() {
            return None;
        }
        let unit = self.unit(pass.input.dtype)?;
        let channels = pass.input.shape[1];
        let mut bounds: BTreeMap<Field, Vec<f64>> = BTreeMap::new();
        for c in 0..channels {
            let channel = Channel::of(self, unit, case, pass, c)?;
            for (field, of) in [(Field::Output, channel.output()), (Field::GradInput, channel.grad_input())] {
                let all = bounds.entry(field).or_insert_with(|| vec![0.0; pass.input.len()]);
                places(&pass.input.shape, c).zip(of).for_each(|(place, bound)| all[place] = bound);
            }
            let (running_mean, running_var) = channel.running();
            let of_channel = [
                (Field::RunningMean, running_mean),
                (Field::RunningVar, running_var),
                (Field::GradWeight, channel.n() * channel.lost_mean_gx),
                (Field::GradBias, channel.n() * channel.lost_mean_g),
            ];
            of_channel.into_iter().for_each(|(field, bound)| bounds.entry(field).or_default().push(bound));
        }
        Some(bounds)
    }
}

impl Arithmetic {
    /// What an array may lose of which no formula stands here, the second gradients: some
    /// thirty operations on terms that are about as large as its largest element. Only for an
    /// arithmetic of fewer bits than are expected; the others lose less than would show.
    pub fn of_largest(self, case: &Case, expected: &[f64]) -> Option<f64> {
        let [Step::BatchNorm(pass)] = case.steps.as_slice() else { return None };
        let unit = self.unit(pass.input.dtype).filter(|_| self.kept_in != Kept::AsExpected)?;
        let largest = expected
            .iter()
            .copied()
            .filter(|element| element.is_finite())
            .fold(0.0, |a: f64, b| a.max(b.abs()));
        Some(256.0 * unit * largest)
    }
}

/// The places of a channel's values in an array (N, C, *), in row-major order.
fn places(shape: &[usize], channel: usize) -> impl Iterator<Item = usize> {
    let (channels, inner) = (shape[1], shape[2..].iter().product::<usize>());
    (0..shape[0]).flat_map(move |batch| (0..inner).map(move |i| (batch * channels + channel) * inner + i))
}

/// A channel with everything exact, and beside it what may be lost.
struct Channel {
    unit: f64,
    /// Whether the batch's own statistics normalise, through which a gradient goes, too.
    own: bool,
    x: Vec<f64>,
    x_hat: Vec<f64>,
    g: Vec<f64>,
    weight: f64,
    bias: f64,
    mean: f64,
    var: f64,
    invstd: f64,
    mean_g: f64,
    mean_gx: f64,
    /// Of the new value in the running statistics; 0 where they are not kept.
    momentum: f64,
    old: (f64, f64),
    lost_mean: f64,
    lost_var: f64,
    /// The largest inverse deviation that may come out.
    largest_invstd: f64,
    lost_x_hat: Vec<f64>,
    lost_mean_g: f64,
    lost_mean_gx: f64,
}

impl Channel {
    fn of(arithmetic: Arithmetic, unit: f64, case: &Case, pass: &Pass, c: usize) -> Option<Channel> {
        let state = &case.state;
        let at = |tensor: &Option<Tensor>, otherwise: f64| match tensor {
            Some(tensor) => tensor.data.get(c).copied(),
            None => Some(otherwise),
        };
        let x: Vec<f64> = places(&pass.input.shape, c).map(|place| pass.input.data[place]).collect();
        let g: Vec<f64> = match &pass.grad_output {
            Some(g) if g.shape == pass.input.shape => {
                places(&g.shape, c).map(|place| g.data[place]).collect()
            }
            _ => vec![0.0; x.len()],
        };
        let n = x.len() as f64;
        let mean_of = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / n;
        let own = pass.mode == Mode::Train || (state.running_mean.is_none() && state.running_var.is_none());
        let old = (at(&state.running_mean, 0.0)?, at(&state.running_var, 0.0)?);
        let batch_mean = mean_of(&mut x.iter().copied());
        let batch_var = mean_of(&mut x.iter().map(|x| (x - batch_mean).powi(2)));
        let (mean, var) = if own { (batch_mean, batch_var) } else { old };
        let (eps, gamma) = (case.layer.eps, unit * (4.0 + terms(arithmetic, n)));
        let lost_mean = match own {
            true => gamma * mean_of(&mut x.iter().map(|x| x.abs())),
            false => unit * mean.abs(),
        };
        let lost_var = match arithmetic.uncentred {
            _ if !own => unit * var.abs(),
            true => (gamma + 2.0 * unit) * (var + mean * mean) + 2.0 * mean.abs() * lost_mean,
            false => 2.0 * gamma * var,
        } + lost_mean * lost_mean;
        let smallest_var = var - lost_var + eps;
        let largest_invstd = if smallest_var > 0.0 { smallest_var.sqrt().recip() } else { f64::INFINITY };
        let invstd = (var + eps).sqrt().recip();
        let x_hat: Vec<f64> = x.iter().map(|x| (x - mean) * invstd).collect();
        let lost_x_hat: Vec<f64> = x
            .iter()
            .map(|x| {
                let away = (x - mean).abs();
                let folded = 4.0 * unit * (x.abs() + mean.abs());
                (away + lost_mean + folded) * largest_invstd - away * invstd
            })
            .collect();
        let with_g = |of: &dyn Fn(usize) -> f64| mean_of(&mut (0..x.len()).map(of));
        let lost_mean_gx = with_g(&|i| times(g[i].abs(), lost_x_hat[i]))
            + gamma * with_g(&|i| times(g[i].abs(), x_hat[i].abs() + lost_x_hat[i]));
        let keeps = pass.mode == Mode::Train && case.layer.track_running_stats;
        let counted = state.num_batches_tracked.unwrap_or(0) as f64 + 1.0;
        Some(Channel {
            unit,
            own,
            mean_g: mean_of(&mut g.iter().copied()),
            mean_gx: with_g(&|i| g[i] * x_hat[i]),
            lost_mean_g: gamma * mean_of(&mut g.iter().map(|g| g.abs())),
            weight: at(&state.weight, 1.0)?,
            bias: at(&state.bias, 0.0)?,
            momentum: if keeps {
                case.layer.momentum.map_or(1.0 / counted, |momentum| momentum.0)
            } else {
                0.0
            },
            old,
            x,
            x_hat,
            g,
            mean,
            var,
            invstd,
            lost_mean,
            lost_var,
            largest_invstd,
            lost_x_hat,
            lost_mean_gx,
        })
    }

    fn n(&self) -> f64 {
        self.x.len() as f64
    }

    /// y = x̂·w + b.
    fn output(&self) -> Vec<f64> {
        let size = |x_hat: &f64| 4.0 * self.unit * ((self.weight * x_hat).abs() + self.bias.abs());
        let lost = self.lost_x_hat.iter().zip(&self.x_hat);
        lost.map(|(lost, x_hat)| times(self.weight.abs(), *lost) + size(x_hat)).collect()
    }

    /// w·s·(g − E\[g\] − x̂·E\[g·x̂\]), or w·s·g with statistics that are not the batch's.
    fn grad_input(&self) -> Vec<f64> {
        let lost_invstd = self.largest_invstd - self.invstd;
        let element = |i: usize| {
            let (g, x_hat, lost_x_hat) = (self.g[i], self.x_hat[i], self.lost_x_hat[i]);
            if !self.own {
                let lost =
                    times(g.abs(), lost_invstd) + 4.0 * self.unit * times(g.abs(), self.largest_invstd);
                return times(self.weight.abs(), lost);
            }
            let core = g - self.mean_g - x_hat * self.mean_gx;
            let size = g.abs() + self.mean_g.abs() + (x_hat * self.mean_gx).abs();
            let lost_core = self.lost_mean_g
                + times(self.mean_gx.abs() + self.lost_mean_gx, lost_x_hat)
                + times(x_hat.abs(), self.lost_mean_gx)
                + 4.0 * self.unit * size;
            times(self.weight.abs(), times(core.abs(), lost_invstd) + times(lost_core, self.largest_invstd))
        };
        (0..self.x.len()).map(element).collect()
    }

    fn running(&self) -> (f64, f64) {
        let (m, n) = (self.momentum.abs(), self.n());
        let bessel = n / (n - 1.0).max(1.0);
        let (old_mean, old_var) = self.old;
        (
            m * self.lost_mean + 4.0 * self.unit * (old_mean.abs() + m * self.mean.abs()),
            m * bessel * self.lost_var + 4.0 * self.unit * (old_var.abs() + m * bessel * self.var),
        )
    }
}

/// A product in which nothing of anything is nothing.
fn times(a: f64, b: f64) -> f64 {
    if a == 0.0 || b == 0.0 { 0.0 } else { a * b }
}

/// How many roundings a term of a sum goes through, at most: n, or as in a balanced tree
/// over blocks of 16. Twice that, for what lies between γ and n·u.
fn terms(arithmetic: Arithmetic, n: f64) -> f64 {
    2.0 * if arithmetic.serial { n } else { n.log2() + 16.0 }
}
