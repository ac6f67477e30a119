//! Maps to 16 bits by f32 arithmetic, to the bit what f64 arithmetic gives.
//!
//! An output of 11 or 8 bits has 13 or 16 fewer than an f32, so a value that is off by a few
//! units of f32 rounds as the true one does, unless it lies that near to a midpoint between
//! two outputs. So a line is *estimated*, with twice the lanes of f64 and no
//! conversions ([`estimate`] has the bounds), and rounded where that settles it. Where it
//! does not, one line of bf16 in two hundred and one of f16 in thirty, the f64 loops of
//! [`super::map`] do that line again. The idea is that of exact geometric predicates
//! (Shewchuk 1997): a quick answer that knows when it is right.
//!
//! Since the bits are the same, what takes this path is a question of speed alone:
//! [`worthwhile`].

mod columns;
mod constants;
mod estimate;
mod lines;
mod rows;

use self::estimate::Bound;
use super::Level;
use super::entry::Group;
use super::geometry::Geometry;
use super::maps::{Constants, Use};
use super::target::Target;

pub use self::constants::LineConstants;
pub use self::estimate::Estimate;
#[cfg(target_arch = "x86_64")]
pub use self::lines::{
    BEYOND_BF16, BEYOND_F16, LEAST_NORMAL_F16, LINE, SIXTEEN, TO_MIDPOINT_BF16, TO_MIDPOINT_F16, UNITS,
};
pub use self::lines::{Half, LineKernel, Lines};

/// A line, in bytes.
const BYTES: usize = 2 * lines::LINE;

/// Values of a channel in columns from which on its constants in f32 are worth their while: a
/// division and some twenty operations more.
const WORTHWHILE: usize = 128;

/// Whether these channels take this path. Rows always do, where the instruction set has
/// lines; columns if there are enough of them, and enough in them.
fn worthwhile<T>(group: Group<'_, T>) -> bool {
    let enough = match group.geometry {
        Geometry::Rows(_) => true,
        Geometry::Columns(columns) => group.channels.len() >= lines::LINE && columns.positions >= WORTHWHILE,
    };
    !matches!(group.context.level, Level::Portable(_)) && enough
}

/// Maps some channels, if that is [`worthwhile`].
pub fn map<T: Half, M: Estimate>(group: Group<'_, T>, constants: &Constants, out: &Target<'_, T>) -> bool {
    if !worthwhile(group) {
        return false;
    }
    let mut narrow = LineConstants::new();
    narrow.fill::<T, M>(constants, group.channels.len());
    match group.geometry {
        Geometry::Rows(rows) => rows::rows::<T, M>(group, rows, constants, &narrow, out),
        Geometry::Columns(columns) => columns::columns::<T, M>(group, columns, constants, &narrow, out),
    }
    true
}

/// What becomes of twice sixteen elements, where that is settled, and the bits that were given
/// or that came of it.
#[inline(always)]
fn settle<S: Lines, T: Half, M: Estimate>(
    simd: S,
    constants: [[S::W; constants::COUNT]; 2],
    x: [S::W; 2],
    g: [S::W; 2],
    bits: u32,
) -> Option<(S::Line, u32)> {
    let g = if matches!(M::MASK, Use::Read) { simd.gate32(g, bits) } else { g };
    let [v, bound] = M::estimate(simd, constants[0], x[0], g[0]);
    let [w, bound_w] = M::estimate(simd, constants[1], x[1], g[1]);
    let (line, settled, low, high) = match M::BOUND {
        Bound::Units => {
            let (line, settled) = T::nearest(simd, [v, w]);
            (line, settled, [v, w], [v, w])
        }
        Bound::None => (T::nearest(simd, [v, w]).0, true, [v, w], [v, w]),
        Bound::Given => {
            let low = [simd.sub32(v, bound), simd.sub32(w, bound_w)];
            let high = [simd.add32(v, bound), simd.add32(w, bound_w)];
            let (line, settled) = T::between(simd, low, high);
            (line, settled, low, high)
        }
    };
    if !matches!(M::MASK, Use::Written) {
        return settled.then_some((line, bits));
    }
    let bits = simd.positive32(low);
    let signs = !matches!(M::BOUND, Bound::Given) || bits == simd.positive32(high);
    (settled && signs).then(|| (simd.gate_line(line, bits), bits))
}

#[cfg(test)]
mod tests;
