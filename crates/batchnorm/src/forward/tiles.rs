//! The forward pass by tiles, for arrays of any strides and values of any size.

use std::ops::Range;

use ndarray::{ArrayViewD, ArrayViewMutD};

use super::{Affine, Relu, Statistics, at};
use crate::dtype::Element;
use crate::kernels::simd::is_positive;
use crate::layout::{BLANK, Sink, Source, Tile, Walk};
use crate::mask::ReluMask;

/// A forward pass by tiles.
pub(super) struct Work<'a, 'p, T, P> {
    pub walk: Walk,
    affine: Affine<'p, P>,
    pub input: Source<'a, T>,
    /// A piece of the input, and what it becomes.
    pub x: Tile,
    residual: Option<(Source<'a, T>, Tile)>,
    mask: Option<&'a mut ReluMask>,
    output: Sink<'a, T>,
}

impl<'a, 'p, T: Element, P: Element> Work<'a, 'p, T, P> {
    pub fn new(
        input: &'a ArrayViewD<'_, T>,
        affine: Affine<'p, P>,
        relu: Option<&'a mut Relu<'_, T>>,
        output: &'a mut ArrayViewMutD<'_, T>,
    ) -> Self {
        let (residual, mask) = match relu {
            Some(Relu { residual, mask }) => {
                (residual.as_ref().map(|z| (Source::new(z), BLANK)), Some(&mut **mask))
            }
            None => (None, None),
        };
        let (walk, input, output) = (Walk::over(input), Source::new(input), Sink::new(output));
        Work { walk, affine, input, x: BLANK, residual, mask, output }
    }

    /// Before a pass over every channel: no bit is left of another one.
    pub fn clear_mask(&mut self) {
        if let Some(mask) = &mut self.mask {
            mask.clear();
        }
    }

    /// The outputs of a group, by the statistics of all channels.
    pub fn normalize(&mut self, group: &Range<usize>, statistics: &[Statistics]) {
        for piece in self.walk.pieces() {
            self.input.load(group, &piece, &mut self.x);
            for (c, row) in group.clone().zip(self.x.iter_mut()) {
                let statistics = statistics[c];
                let factor = statistics.per_deviation() * at(self.affine.weight, c, 1.0);
                let bias = at(self.affine.bias, c, 0.0);
                for x in &mut row[..piece.len()] {
                    *x = statistics.deviation(*x) * factor + bias;
                }
            }
            if let Some((source, z)) = &mut self.residual {
                source.load(group, &piece, z);
                self.x.iter_mut().flatten().zip(z.iter().flatten()).for_each(|(v, z)| *v += z);
            }
            if let Some(mask) = &mut self.mask {
                for (c, row) in group.clone().zip(self.x.iter_mut()) {
                    for (position, v) in piece.clone().zip(row) {
                        mask.set(c, position, is_positive(*v));
                        *v = if is_positive(*v) { *v } else { 0.0 };
                    }
                }
            }
            self.output.store(group, &piece, &self.x);
        }
    }
}
