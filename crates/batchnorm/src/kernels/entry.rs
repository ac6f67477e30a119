//! The way into the loops: a function for the sums and one for the maps, which are
//! compiled in this crate, once for each dtype. Without them, every crate that
//! normalises something would compile all loops for all instruction sets again.

use std::ops::Range;

use half::{bf16, f16};

use super::bits::Bits;
use super::geometry::Geometry;
use super::in_place;
use super::map;
use super::maps::{Combine, Constants, Gated, Map, Normalize, NormalizeAdd, Pass, Project, Rectified, Scale};
use super::narrow::{self, Estimate, Half};
use super::reduce::{self, Sums};
use super::target::Target;
use super::{Context, Inputs, PerChannel};
use crate::dtype::Element;

/// Which sums: see [`reduce`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terms {
    /// Of x: e = d.
    Moments,
    /// Of x and g: e = g.
    Gradients,
    /// Of x and what the mask leaves of g.
    GatedGradients,
}

/// Which map: see [`maps`](super::maps).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// [`Normalize`].
    Normalize,
    /// [`Project`].
    Project,
    /// [`Combine`].
    Combine,
    /// [`Scale`].
    Scale,
    /// relu of [`Normalize`].
    NormalizeRelu,
    /// relu of [`NormalizeAdd`].
    NormalizeAddRelu,
    /// What the mask leaves of g.
    Gate,
    /// [`Project`] of what the mask leaves of g.
    GatedProject,
    /// [`Combine`] of that.
    GatedCombine,
    /// [`Scale`] of that.
    GatedScale,
}

/// Some channels of a call: what the loops run over.
#[derive(Clone, Copy)]
pub struct Group<'a, T> {
    /// How the kernels run.
    pub context: Context,
    /// How all arrays lie.
    pub geometry: &'a Geometry,
    /// What is read.
    pub inputs: Inputs<'a, T>,
    /// The mask, which some maps write and others read.
    pub bits: Bits<'a>,
    /// Which channels, as many as [`PerChannel`] holds at most.
    pub channels: &'a Range<usize>,
}

/// A dtype for which the loops are compiled.
pub trait Loops: Sized {
    /// D and Q of each channel, about shifts or about 0, into `totals`.
    fn sums(group: Group<'_, Self>, terms: Terms, shifts: Option<&[f64]>, totals: &mut [Sums]);

    /// The new value of each element, into `out`.
    fn map(group: Group<'_, Self>, operation: Operation, constants: &Constants, out: &Target<'_, Self>);

    /// See [`in_place`].
    fn normalize_in_place(group: Group<'_, Self>, constants: &Constants, values: &Target<'_, Self>);
}

macro_rules! loops {
    ($map:ident: $($dtype:ty)*) => {$(
        impl Loops for $dtype {
            fn sums(group: Group<'_, Self>, terms: Terms, shifts: Option<&[f64]>, totals: &mut [Sums]) {
                match terms {
                    Terms::Moments => sums::<Self, false, false>(group, shifts, totals),
                    Terms::Gradients => sums::<Self, true, false>(group, shifts, totals),
                    Terms::GatedGradients => sums::<Self, true, true>(group, shifts, totals),
                }
            }

            fn map(
                group: Group<'_, Self>,
                operation: Operation,
                constants: &Constants,
                out: &Target<'_, Self>,
            ) {
                match operation {
                    Operation::Normalize => $map(group, Normalize, constants, out),
                    Operation::Project => $map(group, Project, constants, out),
                    Operation::Combine => $map(group, Combine, constants, out),
                    Operation::Scale => $map(group, Scale, constants, out),
                    Operation::NormalizeRelu => $map(group, Rectified(Normalize), constants, out),
                    Operation::NormalizeAddRelu => $map(group, Rectified(NormalizeAdd), constants, out),
                    Operation::Gate => $map(group, Gated(Pass), constants, out),
                    Operation::GatedProject => $map(group, Gated(Project), constants, out),
                    Operation::GatedCombine => $map(group, Gated(Combine), constants, out),
                    Operation::GatedScale => $map(group, Gated(Scale), constants, out),
                }
            }

            fn normalize_in_place(
                group: Group<'_, Self>,
                constants: &Constants,
                values: &Target<'_, Self>,
            ) {
                in_place::normalize(group, constants, values);
            }
        }
    )*};
}

loops!(map: f32 f64);
loops!(map_narrow: f16 bf16);

fn sums<T: Element, const G: bool, const MASK: bool>(
    group: Group<'_, T>,
    shifts: Option<&[f64]>,
    totals: &mut [Sums],
) {
    match group.geometry {
        Geometry::Rows(rows) => reduce::rows::<T, G, MASK>(group, rows, shifts, totals),
        Geometry::Columns(columns) => reduce::columns::<T, G, MASK>(group, columns, shifts, totals),
    }
}

fn map<T: Element, M: Map>(group: Group<'_, T>, map: M, constants: &Constants, out: &Target<'_, T>) {
    match group.geometry {
        Geometry::Rows(rows) => map::rows(group, map, rows, constants, out),
        Geometry::Columns(columns) => map::columns(group, map, columns, constants, out),
    }
}

/// [`map`], by way of f32 where that is quicker.
fn map_narrow<T: Half, M: Estimate>(group: Group<'_, T>, of: M, constants: &Constants, out: &Target<'_, T>) {
    if !narrow::map::<T, M>(group, constants, out) {
        map(group, of, constants, out);
    }
}

impl<T: Element> Group<'_, T> {
    /// As [`Loops::sums`]. They replace what `totals` holds (which is large: it is filled,
    /// not moved).
    pub fn sums(self, terms: Terms, shifts: Option<&[f64]>, totals: &mut PerChannel<Sums>) {
        totals.clear();
        totals.extend(self.channels.clone().map(|_| Sums::default()));
        T::sums(self, terms, shifts, totals);
    }
}
