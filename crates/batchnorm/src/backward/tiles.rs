//! The backward pass by tiles, for arrays of any strides and values of any size.

use std::ops::Range;

use ndarray::ArrayView1;

use super::{At, GradSums};
use crate::admit::Origin;
use crate::dtype::Element;
use crate::forward::{Statistics, at};
use crate::layout::{BLANK, Sink, Source, Tile, WIDTH, Walk};
use crate::mask::ReluMask;
use crate::sum::{Pair, accumulate};

/// A backward pass under way: both inputs, and a tile for each.
pub(super) struct Work<'a, T, P> {
    pub walk: Walk,
    input: Source<'a, T>,
    grad_output: Source<'a, T>,
    weight: Option<ArrayView1<'a, P>>,
    statistics: &'a [Statistics],
    origin: Origin,
    mask: Option<&'a ReluMask>,
    x: Tile,
    g: Tile,
}

impl<'a, T: Element, P: Element> Work<'a, T, P> {
    pub fn new(at: &'a At<'_, T, P>, mask: Option<&'a ReluMask>) -> Self {
        Work {
            walk: Walk::over(&at.input),
            input: Source::new(&at.input),
            grad_output: Source::new(&at.grad_output),
            weight: at.weight,
            statistics: at.statistics,
            origin: at.origin,
            mask,
            x: BLANK,
            g: BLANK,
        }
    }

    /// g, or g' where there is a mask.
    fn load_gradient(&mut self, group: &Range<usize>, piece: &Range<usize>) {
        self.grad_output.load(group, piece, &mut self.g);
        let Some(mask) = self.mask else { return };
        for (c, row) in group.clone().zip(&mut self.g) {
            for (position, g) in piece.clone().zip(row) {
                *g = if mask.bit(c, position) { *g } else { 0.0 };
            }
        }
    }

    /// The sums; and g', which goes to `grad_residual`.
    pub fn sum(
        &mut self,
        group: &Range<usize>,
        sums: &mut [GradSums],
        mut grad_residual: Option<&mut Sink<'_, T>>,
    ) {
        let mut totals = [[Pair::default(); 2]; WIDTH];
        for piece in self.walk.pieces() {
            self.input.load(group, &piece, &mut self.x);
            self.load_gradient(group, &piece);
            if let Some(sink) = &mut grad_residual {
                sink.store(group, &piece, &self.g);
            }
            let rows = self.x.iter().zip(&self.g);
            for ((c, total), (x, g)) in group.clone().zip(&mut totals).zip(rows) {
                let statistics = self.statistics[c];
                accumulate::<T, 2>(total, piece.len(), |k| [g[k], g[k] * statistics.deviation(x[k])]);
            }
        }
        for (c, [g, g_deviation]) in group.clone().zip(totals) {
            let grad_weight = g_deviation.value() * self.statistics[c].per_deviation();
            sums[c] = GradSums { count: self.walk.n(), grad_bias: g.value(), grad_weight };
        }
    }

    /// grad_input, from the sums of all channels.
    pub fn grad_input(&mut self, group: &Range<usize>, sums: &[GradSums], sink: &mut Sink<'_, T>) {
        for piece in self.walk.pieces() {
            self.load_gradient(group, &piece);
            if self.origin == Origin::Batch {
                self.input.load(group, &piece, &mut self.x);
            }
            for (c, (x, g)) in group.clone().zip(self.x.iter().zip(&mut self.g)) {
                let factor = at(self.weight, c, 1.0) * self.statistics[c].invstd();
                if self.origin == Origin::Batch {
                    project(g, x, self.statistics[c], sums[c]);
                }
                g.iter_mut().take(piece.len()).for_each(|g| *g *= factor);
            }
            sink.store(group, &piece, &self.g);
        }
    }
}

/// g − mean(g) − x̂·mean(g·x̂): what of g neither a shift nor a stretch of the
/// channel explains.
fn project(g: &mut [f64], x: &[f64], statistics: Statistics, sums: GradSums) {
    let n = sums.count as f64;
    let (mean_g, mean_gx) = (sums.grad_bias / n, sums.grad_weight / n);
    for (g, x) in g.iter_mut().zip(x) {
        let x_hat = statistics.deviation(*x) * statistics.per_deviation();
        *g = (*g - mean_g) - x_hat * mean_gx;
    }
}
