//! The gradients of the gradients.
//!
//! Given cotangents u, v, t of grad_input, grad_weight and grad_bias, the second
//! gradients are those of the number
//!
//! ```text
//! S = Σ u·grad_input + Σ v·grad_weight + Σ t·grad_bias
//! ```
//!
//! with respect to g = grad_output, x = input and w = weight. Per channel, with
//! r = invstd, overlines for means over the n values, a = mean(u·x̂) and
//! b = mean(g·x̂), let
//!
//! ```text
//! P(q) = q − q̄ − x̂·mean(q·x̂)
//! ```
//!
//! # Statistics of the batch
//!
//! grad_input = w·r·P(g), and P is symmetric (Σ u·P(g) = Σ g·P(u)), so
//!
//! ```text
//! S = w·r·A + v·Σ g·x̂ + t·Σ g          A = Σ u·P(g) = Σ u·g − n·ū·ḡ − n·a·b
//!
//! ∂S/∂g = w·r·P(u) + v·x̂ + t
//! ∂S/∂w = r·A
//! ```
//!
//! x enters through x̂ and through r. From A: dA = −Σ (b·u + a·g)·dx̂. The
//! backward pass itself says how x̂ answers to x: Σ q·dx̂ = Σ r·P(q)·dx. And
//! r = (var + eps)^(−1/2) with dvar = (2/n)·Σ (x − mean)·dx gives
//! dr = −(r²/n)·Σ x̂·dx. Together:
//!
//! ```text
//! q     = v·g − w·r·(b·u + a·g)
//! ∂S/∂x = r·P(q) − w·A·(r²/n)·x̂
//! ```
//!
//! where P(q) needs no sums of its own: q̄ = v·ḡ − w·r·(b·ū + a·ḡ), and
//! mean(q·x̂) = v·b − 2·w·r·a·b.
//!
//! A is summed as Σ (u − ū)·P(g), which is the same number since ΣP(g) = 0, and
//! cancels nothing when u or g has a large mean.
//!
//! # Running statistics
//!
//! x̂ = (x − running_mean)·r is linear in x and r is a constant, so
//!
//! ```text
//! ∂S/∂g = w·r·u + v·x̂ + t      ∂S/∂w = r·Σ u·g      ∂S/∂x = v·r·g
//! ```
//!
//! Where the layer has no weight, w = 1 and v = 0; where it has no bias, t = 0.
//! A layer with a bias alone still has ∂S/∂g = … + t.

use std::ops::Range;

use ndarray::{ArrayView1, ArrayViewD, ArrayViewMutD};

use crate::admit::Origin;
use crate::backward::At;
use crate::dtype::{Element, MixesWith};
use crate::error::Error;
use crate::forward::{Statistics, at as value_at};
use crate::layout::{BLANK, Sink, Source, Tile, WIDTH, Walk, check_shape};
use crate::sum::{Pair, accumulate};

/// What v is called in an error.
pub(crate) const COTANGENT_OF_WEIGHT: &str = "the cotangent of grad_weight";
/// What t is called in an error.
pub(crate) const COTANGENT_OF_BIAS: &str = "the cotangent of grad_bias";

/// The cotangents of the first gradients; what is absent counts as 0.
#[derive(Clone, Debug)]
pub struct Cotangents<'a, T, P> {
    /// u, of the input's shape and any strides.
    pub grad_input: Option<ArrayViewD<'a, T>>,
    /// v, of length C.
    pub grad_weight: Option<ArrayView1<'a, P>>,
    /// t, of length C.
    pub grad_bias: Option<ArrayView1<'a, P>>,
}

/// Workspace and result of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SecondSums {
    /// ḡ.
    mean_g: f64,
    /// ū.
    mean_u: f64,
    /// b = mean(g·x̂).
    mean_gx: f64,
    /// a = mean(u·x̂).
    mean_ux: f64,
    /// A, or Σ u·g for running statistics.
    total: f64,
    /// ∂S/∂w.
    pub weight: f64,
}

/// A double backward pass.
///
/// `sums` has length C; `grad_output` receives ∂S/∂g and `input` ∂S/∂x, both of
/// the input's shape and any strides.
///
/// # Errors
/// [`Error::Rank`], [`Error::Shape`], and [`Error::NumFeatures`] for the weight; then
/// nothing was written.
pub fn double_backward_into<T: MixesWith<P>, P: Element>(
    at: &At<'_, T, P>,
    cotangents: &Cotangents<'_, T, P>,
    sums: &mut [SecondSums],
    mut grad_output: ArrayViewMutD<'_, T>,
    mut input: ArrayViewMutD<'_, T>,
) -> Result<(), Error> {
    at.check()?;
    let (shape, channels) = (at.input.shape(), at.input.shape()[1]);
    check_shape("sums", &[channels], &[sums.len()])?;
    check_shape("the second gradient of grad_output", shape, grad_output.shape())?;
    check_shape("the second gradient of input", shape, input.shape())?;
    check_shape(
        "the cotangent of grad_input",
        shape,
        cotangents.grad_input.as_ref().map_or(shape, |u| u.shape()),
    )?;
    for (name, vector) in
        [(COTANGENT_OF_WEIGHT, cotangents.grad_weight), (COTANGENT_OF_BIAS, cotangents.grad_bias)]
    {
        check_shape(name, &[channels], vector.as_ref().map_or(&[channels], |vector| vector.shape()))?;
    }
    let (mut grad_output, mut input) = (Sink::new(&mut grad_output), Sink::new(&mut input));
    let mut work = Work::new(at, cotangents);
    for group in work.walk.groups() {
        if at.origin == Origin::Batch {
            work.means(&group, sums);
        }
        work.total(&group, sums);
        work.write(&group, sums, &mut grad_output, &mut input);
    }
    Ok(())
}

/// A double backward pass under way: three inputs, and a tile for each.
struct Work<'a, T, P> {
    weight: Option<ArrayView1<'a, P>>,
    statistics: &'a [Statistics],
    origin: Origin,
    v: Option<ArrayView1<'a, P>>,
    t: Option<ArrayView1<'a, P>>,
    walk: Walk,
    input: Source<'a, T>,
    grad_output: Source<'a, T>,
    cotangent: Option<Source<'a, T>>,
    x_hat: Tile,
    g: Tile,
    u: Tile,
}

impl<'a, T: MixesWith<P>, P: Element> Work<'a, T, P> {
    fn new(at: &'a At<'_, T, P>, cotangents: &'a Cotangents<'_, T, P>) -> Self {
        Work {
            weight: at.weight,
            statistics: at.statistics,
            origin: at.origin,
            v: cotangents.grad_weight,
            t: cotangents.grad_bias,
            walk: Walk::over(&at.input),
            input: Source::new(&at.input),
            grad_output: Source::new(&at.grad_output),
            cotangent: cotangents.grad_input.as_ref().map(Source::new),
            x_hat: BLANK,
            g: BLANK,
            u: BLANK, // stays 0 where there is no cotangent u
        }
    }

    fn load(&mut self, group: &Range<usize>, piece: &Range<usize>) {
        self.input.load(group, piece, &mut self.x_hat);
        self.grad_output.load(group, piece, &mut self.g);
        if let Some(cotangent) = &self.cotangent {
            cotangent.load(group, piece, &mut self.u);
        }
        for (c, row) in group.clone().zip(&mut self.x_hat) {
            let statistics = self.statistics[c];
            for x in &mut row[..piece.len()] {
                *x = statistics.deviation(*x) * statistics.per_deviation();
            }
        }
    }

    /// The channel in place `row` of the group, once a piece is loaded.
    fn rows(&self, row: usize) -> (&[f64], &[f64], &[f64]) {
        (&self.x_hat[row], &self.g[row], &self.u[row])
    }

    fn means(&mut self, group: &Range<usize>, sums: &mut [SecondSums]) {
        let mut totals = [[Pair::default(); 4]; WIDTH];
        for piece in self.walk.pieces() {
            self.load(group, &piece);
            for (row, total) in totals.iter_mut().enumerate().take(group.len()) {
                let (x, g, u) = self.rows(row);
                accumulate::<T, 4>(total, piece.len(), |k| [g[k], u[k], g[k] * x[k], u[k] * x[k]]);
            }
        }
        let n = self.walk.n() as f64;
        for (c, total) in group.clone().zip(totals) {
            let [mean_g, mean_u, mean_gx, mean_ux] = total.map(|sum| sum.value() / n);
            sums[c] = SecondSums { mean_g, mean_u, mean_gx, mean_ux, ..SecondSums::default() };
        }
    }

    /// A, and with it ∂S/∂w. For running statistics the means are 0, and so are
    /// the terms of P(g) that subtract: A is Σ u·g.
    fn total(&mut self, group: &Range<usize>, sums: &mut [SecondSums]) {
        let mut totals = [[Pair::default()]; WIDTH];
        for piece in self.walk.pieces() {
            self.load(group, &piece);
            for (row, total) in totals.iter_mut().enumerate().take(group.len()) {
                let s = self.means_of(group.start + row, sums);
                let (x, g, u) = self.rows(row);
                accumulate::<T, 1>(total, piece.len(), |k| {
                    [(u[k] - s.mean_u) * ((g[k] - s.mean_g) - x[k] * s.mean_gx)]
                });
            }
        }
        for (c, [total]) in group.clone().zip(totals) {
            let total = total.value();
            let weight = self.statistics[c].invstd() * total;
            sums[c] = SecondSums { total, weight, ..self.means_of(c, sums) };
        }
    }

    fn means_of(&self, c: usize, sums: &[SecondSums]) -> SecondSums {
        if self.origin == Origin::Batch { sums[c] } else { SecondSums::default() }
    }

    fn write(
        &mut self,
        group: &Range<usize>,
        sums: &[SecondSums],
        grad_output: &mut Sink<'_, T>,
        input: &mut Sink<'_, T>,
    ) {
        let n = self.walk.n() as f64;
        for piece in self.walk.pieces() {
            self.load(group, &piece);
            for (row, c) in group.clone().enumerate() {
                let s = sums[c];
                let r = self.statistics[c].invstd();
                let w = value_at(self.weight, c, 1.0);
                let v = value_at(self.v, c, 0.0);
                let t = value_at(self.t, c, 0.0);
                let batch = self.origin == Origin::Batch;
                let (a, b) = (s.mean_ux, s.mean_gx);
                let mean_q = v * s.mean_g - w * r * (b * s.mean_u + a * s.mean_g);
                let mean_qx = v * b - 2.0 * w * r * a * b;
                for k in 0..piece.len() {
                    let (x, g, u) = (self.x_hat[row][k], self.g[row][k], self.u[row][k]);
                    let (second_g, second_x) = if batch {
                        let p_u = (u - s.mean_u) - x * a;
                        let q = v * g - w * r * (b * u + a * g);
                        let p_q = (q - mean_q) - x * mean_qx;
                        (w * r * p_u + v * x + t, r * p_q - w * s.total * r * (r / n) * x)
                    } else {
                        (w * r * u + v * x + t, v * r * g)
                    };
                    (self.g[row][k], self.x_hat[row][k]) = (second_g, second_x);
                }
            }
            grad_output.store(group, &piece, &self.g);
            input.store(group, &piece, &self.x_hat);
        }
    }
}
