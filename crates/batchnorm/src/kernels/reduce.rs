//! Two sums over the values of each channel:
//!
//! ```text
//! D = Σ e      Q = Σ e·d      with d = x − shift, and e = d or another array's value
//! ```
//!
//! With e = d these are the sums of the moments, with e = grad_output those of the
//! gradients.
//!
//! # The order
//! Every sum of this module runs in one order, which the shape and the strides of
//! the array settle, and nothing else:
//!
//! 1. The pieces of a channel (see [`super::geometry`]) form 1 to 64 *stretches*,
//!    2^k of them, the i-th from piece ⌊i·pieces/2^k⌋ on.
//! 2. Rows: each piece is cut into eights. Their lanes add to sixteen sums, the odd
//!    eights to the first eight of those, the even ones to the others; what is left of
//!    a piece after its eights counts as an even one, padded with zeros. The sixteen
//!    meet in a fixed tree. Columns: a stretch of a channel is one sum.
//! 3. Stretches meet as a binary tree, in unevaluated pairs.
//!
//! f64 values are summed in pairs throughout
//! ([`Compensated`](super::accumulate::Compensated)).
//!
//! With a mask, g counts as 0 wherever its bit is clear.

use std::ops::Range;

use arrayvec::ArrayVec;

use super::Inputs;
use super::accumulate::Accumulator;
use super::bits::Bits;
use super::entry::Group;
use super::geometry::{Columns, Pace, Rows};
use super::simd::{Kernel, LANES, Simd};
use super::threads::Team;
use crate::dtype::Element;
use crate::sum::Pair;

/// D and Q of a channel.
pub type Sums = [Pair; 2];

/// The two accumulators of D and Q.
struct Both<A> {
    d: A,
    q: A,
}

impl<A> Both<A> {
    /// Adds the terms of eight values.
    #[inline(always)]
    fn add<S: Simd>(&mut self, simd: S, d: S::V, e: S::V)
    where
        A: Accumulator<S>,
    {
        self.d.add(simd, e);
        self.q.add_product(simd, e, d);
    }

    #[inline(always)]
    fn zero<S: Simd>(simd: S) -> Self
    where
        A: Accumulator<S>,
    {
        Both { d: A::zero(simd), q: A::zero(simd) }
    }
}

/// Most channels in rows whose accumulators are at hand together: 32 KiB of them, or 64
/// KiB of pairs.
pub const MOST_ROWS: usize = 128;

/// The sums of some channels in rows, over some pieces, into `totals`.
struct RowSums<'a, T, const G: bool, const MASK: bool, const SHIFT: bool> {
    rows: &'a Rows,
    inputs: Inputs<'a, T>,
    channels: Range<usize>,
    pieces: Range<usize>,
    bits: Bits<'a>,
    shifts: &'a [f64],
    totals: &'a mut [Sums],
}

impl<T: Element, const G: bool, const MASK: bool, const SHIFT: bool> Kernel
    for RowSums<'_, T, G, MASK, SHIFT>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut sums = ArrayVec::<[Both<T::Sum<S>>; 2], MOST_ROWS>::new();
        for _ in self.channels.clone() {
            sums.push([Both::zero(simd), Both::zero(simd)]);
        }
        let channel_stride = self.rows.channel_stride;
        let of_bits = self.rows.of_bits();
        for piece in self.pieces {
            let (first, len) = self.rows.piece(piece);
            let mut place = first + self.channels.start * channel_stride;
            let mut bit = 0;
            if MASK {
                bit = of_bits.piece(piece).0 + self.channels.start * of_bits.channel_stride;
            }
            for (k, [odd, even]) in sums.iter_mut().enumerate() {
                let x = self.inputs.x(place..place + len);
                let g = if G { self.inputs.g(place..place + len) } else { x };
                let bits = if MASK { self.bits.read(bit..bit + len) } else { &[] };
                let shift = simd.splat(if SHIFT { self.shifts[k] } else { 0.0 });
                add_row::<S, T, G, MASK, SHIFT>(simd, x, g, bits, shift, odd, even);
                place += channel_stride;
                if MASK {
                    bit += of_bits.channel_stride;
                }
            }
        }
        for (total, [odd, even]) in self.totals.iter_mut().zip(&sums) {
            *total = [odd.d.total(even.d, simd), odd.q.total(even.q, simd)];
        }
    }
}

#[inline(always)]
fn add_row<S: Simd, T: Element, const G: bool, const MASK: bool, const SHIFT: bool>(
    simd: S,
    x: &[T],
    g: &[T],
    bits: &[u8],
    shift: S::V,
    odd: &mut Both<T::Sum<S>>,
    even: &mut Both<T::Sum<S>>,
) {
    let (x, x_rest) = x.as_chunks::<LANES>();
    let (g, g_rest) = g.as_chunks::<LANES>();
    let whole = x.len();
    let of = |k: usize| if MASK { bits[k] } else { 0 };
    let (x_twos, x_last) = x.as_chunks::<2>();
    let (g_twos, g_last) = g.as_chunks::<2>();
    let twos = x_twos.iter().zip(g_twos);
    if MASK {
        for ((x, g), bits) in twos.zip(bits.as_chunks::<2>().0) {
            add_eight::<S, T, G, MASK, SHIFT>(simd, &x[0], &g[0], bits[0], shift, odd);
            add_eight::<S, T, G, MASK, SHIFT>(simd, &x[1], &g[1], bits[1], shift, even);
        }
    } else {
        for (x, g) in twos {
            add_eight::<S, T, G, MASK, SHIFT>(simd, &x[0], &g[0], 0, shift, odd);
            add_eight::<S, T, G, MASK, SHIFT>(simd, &x[1], &g[1], 0, shift, even);
        }
    }
    for (x, g) in x_last.iter().zip(g_last) {
        add_eight::<S, T, G, MASK, SHIFT>(simd, x, g, of(whole - 1), shift, odd);
    }
    if !x_rest.is_empty() {
        let d = T::load_part(simd, x_rest);
        let d = if SHIFT { simd.first(simd.sub(d, shift), x_rest.len()) } else { d };
        let e = if G { gated::<S, MASK>(simd, T::load_part(simd, g_rest), of(whole)) } else { d };
        even.add(simd, d, e);
    }
}

/// g where its bit is set, if that is asked.
#[inline(always)]
fn gated<S: Simd, const MASK: bool>(simd: S, g: S::V, bits: u8) -> S::V {
    if MASK { simd.gate(g, bits) } else { g }
}

#[inline(always)]
fn add_eight<S: Simd, T: Element, const G: bool, const MASK: bool, const SHIFT: bool>(
    simd: S,
    x: &[T; LANES],
    g: &[T; LANES],
    bits: u8,
    shift: S::V,
    sums: &mut Both<T::Sum<S>>,
) {
    let d = T::load(simd, x);
    let d = if SHIFT { simd.sub(d, shift) } else { d };
    let e = if G { gated::<S, MASK>(simd, T::load(simd, g), bits) } else { d };
    sums.add(simd, d, e);
}

/// Most channels in columns whose accumulators are at hand together: 16 KiB of
/// them, half of an innermost cache.
pub const MOST_COLUMNS: usize = 1024;

/// The sums of some channels in columns, over some positions, into `totals`.
struct ColumnSums<'a, T, const G: bool, const MASK: bool, const SHIFT: bool> {
    columns: &'a Columns,
    pace: Pace,
    inputs: Inputs<'a, T>,
    channels: Range<usize>,
    positions: Range<usize>,
    bits: Bits<'a>,
    shifts: &'a [f64],
    totals: &'a mut [Sums],
}

impl<T: Element, const G: bool, const MASK: bool, const SHIFT: bool> Kernel
    for ColumnSums<'_, T, G, MASK, SHIFT>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut sums = ArrayVec::<Both<T::Sum<S>>, { MOST_COLUMNS / LANES }>::new();
        for _ in 0..self.channels.len().div_ceil(LANES) {
            sums.push(Both::zero(simd));
        }
        let rest = match self.pace.abreast {
            4 => self.add::<S, 4>(simd, self.positions.clone(), &mut sums),
            2 if !MASK => self.add::<S, 2>(simd, self.positions.clone(), &mut sums),
            _ => self.positions.clone(),
        };
        self.add::<S, 1>(simd, rest, &mut sums);
        for (totals, sums) in self.totals.chunks_mut(LANES).zip(&sums) {
            let (d, q) = (sums.d.lanes(simd), sums.q.lanes(simd));
            totals.iter_mut().zip(d.into_iter().zip(q)).for_each(|(total, (d, q))| *total = [d, q]);
        }
    }
}

impl<T: Element, const G: bool, const MASK: bool, const SHIFT: bool> ColumnSums<'_, T, G, MASK, SHIFT> {
    /// Adds positions, P at a time; what is left of them.
    #[inline(always)]
    fn add<S: Simd, const P: usize>(
        &self,
        simd: S,
        positions: Range<usize>,
        sums: &mut [Both<T::Sum<S>>],
    ) -> Range<usize> {
        let of_bits = self.columns.of_bits();
        let mut position = positions.start;
        while position + P <= positions.end {
            let place = |k| self.columns.row(&self.channels, position + k);
            let bits = |k| of_bits.row(&self.channels, position + k);
            if self.pace.prefetch {
                self.inputs.prefetch(simd, place(0).start..place(P - 1).end);
            }
            let x: [_; P] = std::array::from_fn(|k| self.inputs.x(place(k)));
            let g = if G { std::array::from_fn(|k| self.inputs.g(place(k))) } else { x };
            let bits: [&[u8]; P] = std::array::from_fn(|k| if MASK { self.bits.read(bits(k)) } else { &[] });
            add_across::<S, T, G, MASK, SHIFT, P>(simd, x, g, bits, self.shifts, sums);
            position += P;
        }
        position..positions.end
    }
}

/// Adds P positions of the same channels.
#[inline(always)]
fn add_across<S: Simd, T: Element, const G: bool, const MASK: bool, const SHIFT: bool, const P: usize>(
    simd: S,
    x: [&[T]; P],
    g: [&[T]; P],
    bits: [&[u8]; P],
    shifts: &[f64],
    sums: &mut [Both<T::Sum<S>>],
) {
    let (shifts, shifts_rest) = shifts.as_chunks::<LANES>();
    let whole = x[0].len() / LANES;
    let of = |p: usize, k: usize| if MASK { bits[p][k] } else { 0 };
    let (sums, last) = sums.split_at_mut(whole);
    let x_eights: [&[[T; LANES]]; P] = x.map(|x| &x.as_chunks().0[..whole]);
    let g_eights: [&[[T; LANES]]; P] = g.map(|g| &g.as_chunks().0[..whole]);
    for k in 0..whole {
        let shift = if SHIFT { simd.load_f64(&shifts[k]) } else { simd.splat(0.0) };
        for p in 0..P {
            let (x, g) = (&x_eights[p][k], &g_eights[p][k]);
            add_eight::<S, T, G, MASK, SHIFT>(simd, x, g, of(p, k), shift, &mut sums[k]);
        }
    }
    if let Some(last) = last.first_mut() {
        for p in 0..P {
            let d = T::load_part(simd, &x[p][whole * LANES..]);
            let d = if SHIFT { simd.sub(d, simd.load_f64_part(shifts_rest)) } else { d };
            let g = || gated::<S, MASK>(simd, T::load_part(simd, &g[p][whole * LANES..]), of(p, whole));
            let e = if G { g() } else { d };
            last.add(simd, d, e);
        }
    }
}

/// D and Q of some channels in rows, at most [`MOST_ROWS`], into `totals`.
pub fn rows<T: Element, const G: bool, const MASK: bool>(
    group: Group<'_, T>,
    rows: &Rows,
    shifts: Option<&[f64]>,
    totals: &mut [Sums],
) {
    let Group { context, inputs, bits, .. } = group;
    let (count, pieces) = (rows.stretches(), rows.pieces());
    let sum = |stretch: Range<usize>, totals: &mut [Sums]| {
        let pieces = stretch.start * pieces / count..stretch.end * pieces / count;
        let channels = group.channels.clone();
        macro_rules! run {
            ($shift:literal, $shifts:expr) => {
                context.run(RowSums::<T, G, MASK, $shift> {
                    rows,
                    inputs,
                    channels,
                    pieces,
                    bits,
                    shifts: $shifts,
                    totals,
                })
            };
        }
        match shifts {
            Some(shifts) => run!(true, shifts),
            None => run!(false, &[]),
        }
    };
    join_stretches::<MOST_ROWS>(context.team, 0..count, totals, &sum);
}

/// D and Q of some channels in columns, at most [`MOST_COLUMNS`], into `totals`.
pub fn columns<T: Element, const G: bool, const MASK: bool>(
    group: Group<'_, T>,
    columns: &Columns,
    shifts: Option<&[f64]>,
    totals: &mut [Sums],
) {
    let Group { context, inputs, bits, .. } = group;
    let (count, all) = (columns.stretches(), columns.positions);
    let pace = columns.pace::<T>(context.bytes);
    let sum = |stretch: Range<usize>, totals: &mut [Sums]| {
        let positions = stretch.start * all / count..stretch.end * all / count;
        let channels = group.channels.clone();
        macro_rules! run {
            ($shift:literal, $shifts:expr) => {
                context.run(ColumnSums::<T, G, MASK, $shift> {
                    columns,
                    pace,
                    inputs,
                    channels,
                    positions,
                    bits,
                    shifts: $shifts,
                    totals,
                })
            };
        }
        match shifts {
            Some(shifts) => run!(true, shifts),
            None => run!(false, &[]),
        }
    };
    join_stretches::<MOST_COLUMNS>(context.team, 0..count, totals, &sum);
}

/// The sums over some stretches, 2^k of them, as a tree.
fn join_stretches<const MOST: usize>(
    team: Team,
    stretches: Range<usize>,
    totals: &mut [Sums],
    sum: &(impl Fn(Range<usize>, &mut [Sums]) + Sync),
) {
    if stretches.len() <= 1 {
        return sum(stretches, totals);
    }
    let middle = stretches.start + stretches.len() / 2;
    let mut right = ArrayVec::<Sums, MOST>::new();
    right.extend(totals.iter().map(|_| Sums::default()));
    team.join(
        || join_stretches::<MOST>(team, stretches.start..middle, totals, sum),
        || join_stretches::<MOST>(team, middle..stretches.end, &mut right, sum),
    );
    for (total, right) in totals.iter_mut().zip(&right) {
        total.iter_mut().zip(right).for_each(|(total, right)| total.merge(*right));
    }
}
