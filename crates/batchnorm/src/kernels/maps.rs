//! What becomes of an element.

use super::PerChannel;
use super::simd::{LANES, Simd};

/// The up to four numbers of each channel that a [`Map`] uses: all first ones side by side,
/// then all second ones, as columns want to read them. (It is large: it is filled, not moved.)
pub struct Constants([PerChannel<f64>; 4]);

impl Constants {
    /// Of no channels.
    #[inline(always)]
    pub fn new() -> Self {
        Constants([PerChannel::new(), PerChannel::new(), PerChannel::new(), PerChannel::new()])
    }

    /// Takes the numbers of every channel of a group, for what it held.
    pub fn fill(&mut self, channels: impl Iterator<Item = [f64; 4]>) {
        self.0.iter_mut().for_each(PerChannel::clear);
        let [a, b, c, d] = &mut self.0;
        for numbers in channels {
            a.push(numbers[0]);
            b.push(numbers[1]);
            c.push(numbers[2]);
            d.push(numbers[3]);
        }
        // To a whole eight, for those who load eights.
        for numbers in &mut self.0 {
            while !numbers.len().is_multiple_of(LANES) {
                numbers.push(0.0);
            }
        }
    }

    /// Those of one channel.
    pub fn channel(&self, channel: usize) -> [f64; 4] {
        self.0.each_ref().map(|numbers| numbers[channel])
    }

    /// Those of one channel, in all lanes.
    #[inline(always)]
    pub fn splat<S: Simd>(&self, simd: S, channel: usize) -> [S::V; 4] {
        let [a, b, c, d] = &self.0;
        [simd.splat(a[channel]), simd.splat(b[channel]), simd.splat(c[channel]), simd.splat(d[channel])]
    }

    /// Those of the k-th eight channels.
    #[inline(always)]
    pub fn eight<S: Simd>(&self, simd: S, k: usize) -> [S::V; 4] {
        let [a, b, c, d] = self.0.each_ref().map(|numbers| &numbers.as_chunks().0[k]);
        [simd.load_f64(a), simd.load_f64(b), simd.load_f64(c), simd.load_f64(d)]
    }
}

/// What a [`Map`] has to do with the bits of a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Nothing.
    None,
    /// Where a bit is clear, 0 stands for g.
    Read,
    /// Where the new value is at most 0, its bit is cleared and 0 stands for it; the others
    /// are set.
    Written,
}

/// What becomes of an element.
pub trait Map: Copy + Send + Sync {
    /// Whether it reads x.
    const X: bool;
    /// Whether it reads g.
    const G: bool;
    /// What it has to do with a mask.
    const MASK: Use = Use::None;

    /// The new values of eight elements.
    fn apply<S: Simd>(simd: S, constants: [S::V; 4], x: S::V, g: S::V) -> S::V;
}

/// (x − mean)·factor + bias, of the constants mean, factor, bias.
#[derive(Clone, Copy)]
pub struct Normalize;

impl Map for Normalize {
    const X: bool = true;
    const G: bool = false;

    #[inline(always)]
    fn apply<S: Simd>(simd: S, [mean, factor, bias, _]: [S::V; 4], x: S::V, _: S::V) -> S::V {
        simd.mul_add(simd.sub(x, mean), factor, bias)
    }
}

/// ((g − mean_g) − (x − mean)·slope)·factor, of the constants mean, mean_g, −slope,
/// factor: what of g neither a shift nor a stretch of the channel explains.
#[derive(Clone, Copy)]
pub struct Project;

impl Map for Project {
    const X: bool = true;
    const G: bool = true;

    #[inline(always)]
    fn apply<S: Simd>(simd: S, [mean, mean_g, slope, factor]: [S::V; 4], x: S::V, g: S::V) -> S::V {
        let rest = simd.mul_add(simd.sub(x, mean), slope, simd.sub(g, mean_g));
        simd.mul(rest, factor)
    }
}

/// g·factor + (x·slope + rest), of the constants factor, slope, rest: [`Project`] with
/// its brackets dissolved.
#[derive(Clone, Copy)]
pub struct Combine;

impl Map for Combine {
    const X: bool = true;
    const G: bool = true;

    #[inline(always)]
    fn apply<S: Simd>(simd: S, [factor, slope, rest, _]: [S::V; 4], x: S::V, g: S::V) -> S::V {
        simd.mul_add(g, factor, simd.mul_add(x, slope, rest))
    }
}

/// g·factor, of the constant factor.
#[derive(Clone, Copy)]
pub struct Scale;

impl Map for Scale {
    const X: bool = false;
    const G: bool = true;

    #[inline(always)]
    fn apply<S: Simd>(simd: S, [factor, ..]: [S::V; 4], _: S::V, g: S::V) -> S::V {
        simd.mul(g, factor)
    }
}

/// (x − mean)·factor + bias + g, of the constants of [`Normalize`]. Here g is what a
/// normalised value is added to.
#[derive(Clone, Copy)]
pub struct NormalizeAdd;

impl Map for NormalizeAdd {
    const X: bool = true;
    const G: bool = true;

    #[inline(always)]
    fn apply<S: Simd>(simd: S, constants: [S::V; 4], x: S::V, g: S::V) -> S::V {
        simd.add(Normalize::apply(simd, constants, x, x), g)
    }
}

/// g, as it is.
#[derive(Clone, Copy)]
pub struct Pass;

impl Map for Pass {
    const X: bool = false;
    const G: bool = true;

    #[inline(always)]
    fn apply<S: Simd>(_: S, _: [S::V; 4], _: S::V, g: S::V) -> S::V {
        g
    }
}

/// relu of what M makes; the mask is written.
#[derive(Clone, Copy)]
pub struct Rectified<M>(pub M);

impl<M: Map> Map for Rectified<M> {
    const X: bool = M::X;
    const G: bool = M::G;
    const MASK: Use = Use::Written;

    #[inline(always)]
    fn apply<S: Simd>(simd: S, constants: [S::V; 4], x: S::V, g: S::V) -> S::V {
        M::apply(simd, constants, x, g)
    }
}

/// What M makes of the g that a mask lets through, and of 0 elsewhere.
#[derive(Clone, Copy)]
pub struct Gated<M>(pub M);

impl<M: Map> Map for Gated<M> {
    const X: bool = M::X;
    const G: bool = M::G;
    const MASK: Use = Use::Read;

    #[inline(always)]
    fn apply<S: Simd>(simd: S, constants: [S::V; 4], x: S::V, g: S::V) -> S::V {
        M::apply(simd, constants, x, g)
    }
}
