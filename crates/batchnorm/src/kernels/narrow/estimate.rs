//! What a [`Map`] gives, told in f32 and to within a bound.
//!
//! u = 2⁻²⁴ is what one operation in f32 may be off by, relative to its result. Bounds are
//! of what distinguishes the f32 from what the map's own f64 arithmetic gives, whose
//! roundings (2⁻⁵³) are counted where they are not small beside u. Constants between
//! [`LEAST`] and [`MOST`], or 0, keep what underflows below 2⁻¹²⁶ and let nothing overflow
//! that does not become ∞ in 16 bits too.

use super::constants::COUNT;
use super::lines::{Half, Lines};
use crate::kernels::maps::{Combine, Gated, Map, Normalize, NormalizeAdd, Pass, Project, Rectified, Scale};

/// u.
const ROUNDING: f64 = 1.0 / (1u64 << 24) as f64;
/// 2⁻⁵².
const OF_F64: f64 = f64::EPSILON;
/// 2⁻¹⁰⁰: no constant but 0 is smaller.
const LEAST: f64 = 1.0 / (1u128 << 100) as f64;
/// 2¹⁰⁰: none is larger.
const MOST: f64 = (1u128 << 100) as f64;
/// 2⁻¹³³, the least bf16; f16 are larger.
const LEAST_BF16: f64 = LEAST / (1u64 << 33) as f64;
/// 2⁻¹⁴⁹, the least f32.
const LEAST_F32: f64 = LEAST / (1u64 << 49) as f64;
/// Bounds are increased by this factor, for the roundings of their own arithmetic.
const SLACK: f64 = 1.0 + 1.0 / 64.0;

/// Of what kind the bound of an estimate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// It is none: the value is one of the dtype.
    None,
    /// Fewer than [`super::lines::UNITS`] units in the last place, always.
    Units,
    /// It comes with each value.
    Given,
}

/// A map whose values can be estimated.
pub trait Estimate: Map {
    /// Of what kind its bound is.
    const BOUND: Bound;

    /// The constants of a channel for [`Self::estimate`], from those of the map; None where it
    /// promises nothing. With `sign` it promises besides that no value but 0 becomes 0.
    fn constants<T: Half>(of: [f64; 4], sign: bool) -> Option<[f32; COUNT]>;

    /// The new values of sixteen elements, and their bounds where they are
    /// [`Bound::Given`].
    fn estimate<S: Lines>(simd: S, constants: [S::W; COUNT], x: S::W, g: S::W) -> [S::W; 2];
}

/// Constants whose size is none that the arithmetic minds.
fn moderate<const N: usize>(of: [f64; N]) -> Option<[f64; N]> {
    let fine = |v: &f64| *v == 0.0 || (LEAST..=MOST).contains(&v.abs());
    of.iter().all(fine).then_some(of)
}

/// y = factor·(x − z) = (x − mean)·factor + bias, told as factor·(x − hi) + rest with
/// hi the f32 next to z: no sum but x − z can cancel. x − hi rounds only where it is more than
/// half of hi, beside which hi − z is nothing. So x − hi and the last sum are off by u each,
/// relative to y, and the product by the factor's u, relative to itself. `off` says how far
/// the rest and the map's own f64 are off, as a change of x.
struct Centred {
    hi: f32,
    factor: f32,
    rest: f32,
    z: f64,
    off: f64,
}

impl Centred {
    fn of(constants: [f64; 3]) -> Option<Self> {
        let [mean, factor, bias] = moderate(constants)?;
        let moved = bias / factor;
        let z = mean - moved;
        moderate([z])?;
        let hi = z as f32;
        // Exact: the digits of z beyond those of hi.
        let beyond = z - f64::from(hi);
        // Without a bias nothing is moved, and each rounding of the map is relative to x − z.
        let own = if moved == 0.0 { 0.0 } else { OF_F64 * (moved.abs() + z.abs()) };
        let off = ROUNDING * beyond.abs() + own;
        let rest = (-beyond * factor) as f32;
        (factor != 0.0).then_some(Centred { hi, factor: factor as f32, rest, z, off })
    }
}

/// As [`Centred`], where no x is so near to z that `off` is more than u/4 of their distance:
/// a quarter of u for what is off, and a quarter more for the factor, since x − hi is then
/// 5/4 of x − z at most. That makes 3.5u of y, 3.5 units at most.
impl Estimate for Normalize {
    const BOUND: Bound = Bound::Units;

    fn constants<T: Half>([mean, factor, bias, _]: [f64; 4], sign: bool) -> Option<[f32; COUNT]> {
        let of = Centred::of([mean, factor, bias])?;
        // No x of this dtype is nearer to z than the one that z rounds to: not the infinite.
        let nearest = (of.z - T::from_f64(of.z).to_f64()).abs();
        let certain = nearest.is_finite() && of.off <= nearest * (ROUNDING / 4.0);
        // Below the least f32 nothing is left of y, where x is as near as that.
        let least = if of.z == 0.0 { LEAST_BF16 } else { nearest };
        let kept = !sign || least * factor.abs() >= LEAST_F32;
        (certain && kept).then_some([of.hi, of.factor, of.rest, 0.0, 0.0, 0.0])
    }

    #[inline(always)]
    fn estimate<S: Lines>(simd: S, [hi, factor, rest, ..]: [S::W; COUNT], x: S::W, _: S::W) -> [S::W; 2] {
        let y = simd.mul_add32(simd.sub32(x, hi), factor, rest);
        [y, y]
    }
}

/// y = factor·(x − hi) + (rest + g), as [`Centred`]: x − hi and the factor are off by u, the
/// inner sum rounds both of its terms, the outer one and y ∓ bound everything.
impl Estimate for NormalizeAdd {
    const BOUND: Bound = Bound::Given;

    fn constants<T: Half>([mean, factor, bias, _]: [f64; 4], _: bool) -> Option<[f32; COUNT]> {
        let of = Centred::of([mean, factor, bias])?;
        let of_d = 4.0 * ROUNDING * factor.abs() * SLACK;
        let of_g = 3.0 * ROUNDING * SLACK;
        let constant = (of.off * factor.abs() + 3.0 * ROUNDING * f64::from(of.rest).abs()) * SLACK + LEAST;
        Some([of.hi, of.factor, of.rest, of_d as f32, of_g as f32, constant as f32])
    }

    #[inline(always)]
    fn estimate<S: Lines>(simd: S, constants: [S::W; COUNT], x: S::W, g: S::W) -> [S::W; 2] {
        let [hi, factor, rest, of_d, of_g, constant] = constants;
        let d = simd.sub32(x, hi);
        let bound = simd.mul_add32(simd.abs32(g), of_g, constant);
        let y = simd.mul_add32(d, factor, simd.add32(rest, g));
        [y, simd.mul_add32(simd.abs32(d), of_d, bound)]
    }
}

/// y = a·g + (b·x + c). Each constant is off by u; the inner sum rounds b·x and c, the outer
/// one all three, and so does y ∓ bound.
impl Estimate for Combine {
    const BOUND: Bound = Bound::Given;

    fn constants<T: Half>([a, b, c, _]: [f64; 4], _: bool) -> Option<[f32; COUNT]> {
        let [a, b, c] = moderate([a, b, c])?;
        let bound = |count: f64, of: f64| count * ROUNDING * of.abs() * SLACK;
        let bounds = [bound(3.0, a), bound(4.0, b), bound(4.0, c) + LEAST];
        let [of_g, of_x, constant] = bounds.map(|bound| bound as f32);
        Some([a as f32, b as f32, c as f32, of_g, of_x, constant])
    }

    #[inline(always)]
    fn estimate<S: Lines>(simd: S, constants: [S::W; COUNT], x: S::W, g: S::W) -> [S::W; 2] {
        let [a, b, c, of_g, of_x, constant] = constants;
        let y = simd.mul_add32(g, a, simd.mul_add32(x, b, c));
        let bound = simd.mul_add32(simd.abs32(x), of_x, constant);
        [y, simd.mul_add32(simd.abs32(g), of_g, bound)]
    }
}

/// By [`Combine`]: where its brackets hide a small difference, its bound says so. What f64
/// rounds off in c is 2⁻⁵⁰ of c's terms, and counted with b·mean.
impl Estimate for Project {
    const BOUND: Bound = Bound::Given;

    fn constants<T: Half>([mean, mean_g, slope, factor]: [f64; 4], sign: bool) -> Option<[f32; COUNT]> {
        let b = slope * factor;
        let terms = [b * mean, mean_g * factor];
        moderate(terms)?;
        let mut constants = Combine::constants::<T>([factor, b, -(terms[0] + terms[1]), 0.0], sign)?;
        let of_f64 = 8.0 * OF_F64 * (terms[0].abs() + terms[1].abs());
        constants[COUNT - 1] = (f64::from(constants[COUNT - 1]) + of_f64) as f32 * SLACK as f32;
        Some(constants)
    }

    #[inline(always)]
    fn estimate<S: Lines>(simd: S, constants: [S::W; COUNT], x: S::W, g: S::W) -> [S::W; 2] {
        Combine::estimate(simd, constants, x, g)
    }
}

/// y = factor·g: 2u.
impl Estimate for Scale {
    const BOUND: Bound = Bound::Units;

    fn constants<T: Half>([factor, ..]: [f64; 4], sign: bool) -> Option<[f32; COUNT]> {
        let [factor] = moderate([factor])?;
        let kept = factor != 0.0 && (!sign || LEAST_BF16 * factor.abs() >= LEAST_F32);
        kept.then_some([factor as f32, 0.0, 0.0, 0.0, 0.0, 0.0])
    }

    #[inline(always)]
    fn estimate<S: Lines>(simd: S, [factor, ..]: [S::W; COUNT], _: S::W, g: S::W) -> [S::W; 2] {
        let y = simd.mul32(g, factor);
        [y, y]
    }
}

/// y = g.
impl Estimate for Pass {
    const BOUND: Bound = Bound::None;

    fn constants<T: Half>(_: [f64; 4], _: bool) -> Option<[f32; COUNT]> {
        Some([0.0; COUNT])
    }

    #[inline(always)]
    fn estimate<S: Lines>(_: S, _: [S::W; COUNT], _: S::W, g: S::W) -> [S::W; 2] {
        [g, g]
    }
}

impl<M: Estimate> Estimate for Rectified<M> {
    const BOUND: Bound = M::BOUND;

    fn constants<T: Half>(of: [f64; 4], _: bool) -> Option<[f32; COUNT]> {
        M::constants::<T>(of, true)
    }

    #[inline(always)]
    fn estimate<S: Lines>(simd: S, constants: [S::W; COUNT], x: S::W, g: S::W) -> [S::W; 2] {
        M::estimate(simd, constants, x, g)
    }
}

impl<M: Estimate> Estimate for Gated<M> {
    const BOUND: Bound = M::BOUND;

    fn constants<T: Half>(of: [f64; 4], sign: bool) -> Option<[f32; COUNT]> {
        M::constants::<T>(of, sign)
    }

    #[inline(always)]
    fn estimate<S: Lines>(simd: S, constants: [S::W; COUNT], x: S::W, g: S::W) -> [S::W; 2] {
        M::estimate(simd, constants, x, g)
    }
}
