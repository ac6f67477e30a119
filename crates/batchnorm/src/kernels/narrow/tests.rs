//! The same bits by way of f32 and by f64: for every value of 16 bits, and constants that put
//! as many outputs as possible next to midpoints.

use half::{bf16, f16};

use super::*;
use crate::kernels::bits::Bits;
use crate::kernels::entry::Operation;
use crate::kernels::geometry::{Columns, Rows};
use crate::kernels::{Context, Inputs};

/// Every value of 16 bits, several times over where that is asked.
struct Values<T> {
    x: Vec<T>,
    g: Vec<T>,
    mask: Vec<u8>,
}

/// Small numbers without a pattern.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    /// From −1 to 1.
    fn unit(&mut self) -> f64 {
        self.next() as f64 / (1u64 << 52) as f64 - 1.0
    }

    /// Of any size from 2^-most to 2^most.
    fn size(&mut self, most: f64) -> f64 {
        self.unit() * (self.unit() * most).exp2()
    }
}

const ALL: usize = 1 << 16;

impl<T: Half> Values<T> {
    fn new(from_bits: impl Fn(u16) -> T) -> Self {
        let mut noise = Noise(17);
        // In an order that puts unlike ones beside each other.
        let x: Vec<T> = (0..ALL).map(|k| from_bits((k * 40_503 % ALL) as u16)).collect();
        // Two NaN at once are not promised: which one comes out is left to the processor.
        let g = x.iter().map(|x| {
            let g = T::from_f64(noise.size(6.0));
            if x.to_f64().is_nan() { T::from_f64(1.0) } else { g }
        });
        Values { g: g.collect(), mask: (0..ALL / 8).map(|_| noise.next() as u8).collect(), x }
    }

    /// What an operation gives on a level, and the mask that it writes.
    fn map(
        &self,
        level: Level,
        geometry: &Geometry,
        operation: Operation,
        of: &[[f64; 4]],
    ) -> (Vec<T>, Vec<u8>) {
        let mut constants = Constants::new();
        constants.fill(of.iter().copied());
        let (mut out, mut written) = (vec![T::from_f64(7.0); ALL], vec![0; ALL / 8]);
        let (target, mask) = (Target::new(&mut out), Target::new(&mut written));
        let bits = match operation {
            Operation::NormalizeRelu | Operation::NormalizeAddRelu => Bits::Write(&mask),
            Operation::Normalize | Operation::Project | Operation::Combine | Operation::Scale => Bits::None,
            _ => Bits::Read(&self.mask),
        };
        let context = Context { level, ..Context::for_elements::<T>(1) };
        let inputs = Inputs::with(&self.x, &self.g);
        let group = Group { context, geometry, inputs, bits, channels: &(0..of.len()) };
        T::map(group, operation, &constants, &target);
        (out, written)
    }

    fn check(&self, geometry: &Geometry, operation: Operation, of: &[[f64; 4]]) {
        let levels = Level::available();
        let (expected, mask) = self.map(levels[0], geometry, operation, of);
        for &level in &levels[1..] {
            let (got, got_mask) = self.map(level, geometry, operation, of);
            let same = |(a, b): (&T, &T)| {
                let (a, b) = (a.to_f64(), b.to_f64());
                a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
            };
            if let Some(k) = got.iter().zip(&expected).position(|pair| !same(pair)) {
                panic!(
                    "{} {} {operation:?} {of:?}: x {:?}, g {:?}: {:?}, portable {:?}",
                    T::DTYPE,
                    level.name(),
                    self.x[k],
                    self.g[k],
                    got[k],
                    expected[k]
                );
            }
            assert!(got_mask == mask, "{} {} {operation:?} {of:?}: the mask", T::DTYPE, level.name());
        }
    }
}

const OPERATIONS: [Operation; 10] = [
    Operation::Gate,
    Operation::Normalize,
    Operation::NormalizeRelu,
    Operation::NormalizeAddRelu,
    Operation::Project,
    Operation::Combine,
    Operation::Scale,
    Operation::GatedProject,
    Operation::GatedCombine,
    Operation::GatedScale,
];

/// Constants of a map: mostly those of ordinary layers, and now and then one that is not.
fn constants(noise: &mut Noise, operation: Operation) -> [f64; 4] {
    let rare = noise.next() % 8;
    let odd = [0.0, -0.0, f64::NAN, f64::INFINITY, 1e-300, 1e300, 3e38, 1e-40];
    let mut some = |most: f64| {
        let ordinary = noise.size(most);
        match (rare, noise.next() % 4) {
            (0, 0) => odd[noise.next() as usize % odd.len()],
            // Values of the dtype itself, and what f32 holds.
            (1, 0) => (ordinary * 8.0).round() / 8.0,
            (2, _) => f64::from(ordinary as f32),
            _ => ordinary,
        }
    };
    match operation {
        Operation::Normalize | Operation::NormalizeRelu | Operation::NormalizeAddRelu => {
            [some(8.0), some(3.0), some(3.0), 0.0]
        }
        Operation::Scale | Operation::GatedScale => [some(3.0), 0.0, 0.0, 0.0],
        Operation::Project | Operation::GatedProject => [some(6.0), some(3.0), some(6.0), some(3.0)],
        _ => [some(3.0), some(3.0), some(3.0), 0.0],
    }
}

fn check<T: Half>(from_bits: impl Fn(u16) -> T) {
    let values = Values::new(from_bits);
    let mut noise = Noise(29);
    for operation in OPERATIONS {
        // One channel; rows of 49 and a rest; columns of one line and a part.
        for _ in 0..40 {
            let of = [constants(&mut noise, operation)];
            values.check(&rows(1, ALL), operation, &of);
        }
        for _ in 0..10 {
            let of: Vec<_> = (0..16).map(|_| constants(&mut noise, operation)).collect();
            values.check(&rows(16, 56), operation, &of);
        }
        for channels in [32, 45, 96] {
            for _ in 0..8 {
                let of: Vec<_> = (0..channels).map(|_| constants(&mut noise, operation)).collect();
                values.check(&columns(channels), operation, &of);
            }
        }
    }
    midpoints(&values, &mut noise);
}

fn rows(channels: usize, inner: usize) -> Geometry {
    let samples = ALL / channels / inner;
    Geometry::Rows(Rows { channels, samples, sample_stride: channels * inner, channel_stride: inner, inner })
}

fn columns(channels: usize) -> Geometry {
    // A mask has whole bytes for each position.
    let stride = channels.next_multiple_of(8);
    Geometry::Columns(Columns { channels, positions: ALL / stride, stride })
}

/// A mean that puts some x a little off a midpoint between two outputs, or on it.
fn midpoints<T: Half>(values: &Values<T>, noise: &mut Noise) {
    for k in 0..600 {
        let x = values.x[noise.next() as usize % ALL].to_f64();
        let near = T::from_f64(noise.size(3.0)).to_f64();
        let next = T::from_f64(near * (1.0 + if T::DTYPE == crate::DType::Bf16 { 0.0079 } else { 0.00098 }));
        let midpoint = (near + next.to_f64()) / 2.0;
        let units = (k % 13) as f64 - 6.0;
        let target = midpoint * (1.0 + units / (1u64 << 24) as f64);
        let factor = noise.size(2.0);
        let mean = x - target / factor;
        if !mean.is_finite() || mean.abs() > 1e30 {
            continue;
        }
        for operation in [Operation::Normalize, Operation::NormalizeRelu] {
            values.check(&rows(1, ALL), operation, &[[mean, factor, 0.0, 0.0]]);
            let moved = [mean - 0.5 / factor, factor, -0.5, 0.0];
            values.check(&rows(1, ALL), operation, &[moved]);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "every value, thousands of times")]
fn bf16_by_way_of_f32_are_those_of_f64() {
    check(bf16::from_bits);
}

#[test]
#[cfg_attr(miri, ignore = "every value, thousands of times")]
fn f16_by_way_of_f32_are_those_of_f64() {
    check(f16::from_bits);
}
