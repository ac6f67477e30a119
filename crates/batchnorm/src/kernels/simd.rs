//! Eight f64 at a time, on whatever the processor has.
//!
//! [`Simd`] is a *token*: a value of type `Avx512` exists only where the processor
//! was seen to have AVX-512, so its methods are safe to call. They are inlined
//! into the one function of each instruction set that was compiled for it
//! ([`Simd::vectorize`]); nowhere else are they worth calling.
//!
//! Every operation rounds once, as IEEE 754 says, on each of the eight lanes, and
//! [`Simd::mul_add`] rounds once for both. So the bits that come out are those of
//! [`Portable`], whichever set computes them.

use half::{bf16, f16};

use crate::dtype::{Element, round_to_odd};

/// f64 per vector.
pub const LANES: usize = 8;

/// What a processor can do with eight f64.
///
/// Loads widen exactly; stores round once, ties to even. A *part* is a slice of
/// fewer than eight values: the lanes beyond it load as 0 and are not stored.
pub trait Simd: Copy + Send + Sync {
    /// Eight f64.
    type V: Copy;

    /// Whether there is a way past the caches.
    const STREAMS: bool = false;

    /// Runs `kernel` compiled for this instruction set.
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output;

    /// Eight times `value`.
    fn splat(self, value: f64) -> Self::V;
    /// a + b.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// a − b.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// a·b.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// a·b + c, rounded once.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The first `count` lanes; 0 in the others.
    fn first(self, v: Self::V, count: usize) -> Self::V;
    /// A bit for each lane, the lowest for the first: clear where the lane is at most 0,
    /// set where it is more, or NaN.
    fn positive(self, v: Self::V) -> u8;
    /// The lanes whose bit is set; +0 in the others, whatever they hold.
    fn gate(self, v: Self::V, bits: u8) -> Self::V;

    /// Eight f64.
    fn load_f64(self, from: &[f64; LANES]) -> Self::V;
    /// Eight f32, widened.
    fn load_f32(self, from: &[f32; LANES]) -> Self::V;
    /// Eight f16, widened.
    fn load_f16(self, from: &[f16; LANES]) -> Self::V;
    /// Eight bf16, widened.
    fn load_bf16(self, from: &[bf16; LANES]) -> Self::V;

    /// Eight f64.
    fn store_f64(self, v: Self::V, to: &mut [f64; LANES]);
    /// Eight f32, rounded.
    fn store_f32(self, v: Self::V, to: &mut [f32; LANES]);
    /// Eight f16, rounded.
    fn store_f16(self, v: Self::V, to: &mut [f16; LANES]);
    /// Eight bf16, rounded.
    fn store_bf16(self, v: Self::V, to: &mut [bf16; LANES]);

    /// Twice eight f16, rounded: cheaper together, where the processor has more lanes for
    /// what is narrow.
    #[inline(always)]
    fn store_f16_twice(self, v: [Self::V; 2], [low, high]: [&mut [f16; LANES]; 2]) {
        self.store_f16(v[0], low);
        self.store_f16(v[1], high);
    }
    /// Twice eight bf16, rounded.
    #[inline(always)]
    fn store_bf16_twice(self, v: [Self::V; 2], [low, high]: [&mut [bf16; LANES]; 2]) {
        self.store_bf16(v[0], low);
        self.store_bf16(v[1], high);
    }

    /// As [`Self::store_f64`], past the caches where there is a way. `to` is aligned to
    /// 16 bytes; so in the next. (16 bits go past them in lines, [`super::narrow`].)
    #[inline(always)]
    fn stream_f64(self, v: Self::V, to: &mut [f64; LANES]) {
        self.store_f64(v, to);
    }
    /// As [`Self::store_f32`], past the caches.
    #[inline(always)]
    fn stream_f32(self, v: Self::V, to: &mut [f32; LANES]) {
        self.store_f32(v, to);
    }
    /// Asks for memory that will be read soon, where there is a way.
    #[inline(always)]
    fn prefetch<T: Element>(self, _soon: &[T]) {}

    /// Asks for the line of memory of a value that will be read later, beyond the innermost
    /// cache, where there is a way.
    #[inline(always)]
    fn prefetch_line<T>(self, _later: *const T) {}

    /// Makes what was streamed visible to other threads like any other store.
    #[inline(always)]
    fn fence(self) {}

    /// A part of f32, widened.
    #[inline(always)]
    fn load_f32_part(self, from: &[f32]) -> Self::V {
        self.load_f32(&padded(from))
    }
    /// A part of f64.
    #[inline(always)]
    fn load_f64_part(self, from: &[f64]) -> Self::V {
        self.load_f64(&padded(from))
    }
    /// A part of f16, widened.
    #[inline(always)]
    fn load_f16_part(self, from: &[f16]) -> Self::V {
        self.load_f16(&padded(from))
    }
    /// A part of bf16, widened.
    #[inline(always)]
    fn load_bf16_part(self, from: &[bf16]) -> Self::V {
        self.load_bf16(&padded(from))
    }
    /// A part of f32, rounded.
    #[inline(always)]
    fn store_f32_part(self, v: Self::V, to: &mut [f32]) {
        let mut lanes = [0.0; LANES];
        self.store_f32(v, &mut lanes);
        put(&lanes, to);
    }
    /// A part of f64.
    #[inline(always)]
    fn store_f64_part(self, v: Self::V, to: &mut [f64]) {
        let mut lanes = [0.0; LANES];
        self.store_f64(v, &mut lanes);
        put(&lanes, to);
    }

    /// A part of f16, rounded.
    #[inline(always)]
    fn store_f16_part(self, v: Self::V, to: &mut [f16]) {
        let mut lanes = [f16::ZERO; LANES];
        self.store_f16(v, &mut lanes);
        put(&lanes, to);
    }
    /// A part of bf16, rounded.
    #[inline(always)]
    fn store_bf16_part(self, v: Self::V, to: &mut [bf16]) {
        let mut lanes = [bf16::ZERO; LANES];
        self.store_bf16(v, &mut lanes);
        put(&lanes, to);
    }

    /// The eight lanes.
    #[inline(always)]
    fn lanes(self, v: Self::V) -> [f64; LANES] {
        let mut lanes = [0.0; LANES];
        self.store_f64(v, &mut lanes);
        lanes
    }
}

/// Work that is compiled once for each instruction set. `run` and all that it
/// calls per element must be `#[inline(always)]`.
pub trait Kernel {
    /// What it gives back.
    type Output;

    /// The work.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// The values of a part, and zeros.
#[inline(always)]
pub fn padded<T: Element>(part: &[T]) -> [T; LANES] {
    let mut lanes = [T::default(); LANES];
    lanes.iter_mut().zip(part).for_each(|(lane, value)| *lane = *value);
    lanes
}

/// The first lanes, as many as there is room for.
#[inline(always)]
pub fn put<T: Element>(lanes: &[T; LANES], part: &mut [T]) {
    part.iter_mut().zip(lanes).for_each(|(slot, lane)| *slot = *lane);
}

/// Whether relu lets `v` through: NaN it does.
#[inline(always)]
pub fn is_positive(v: f64) -> bool {
    // Not `v > 0.0`, which is false of NaN.
    v > 0.0 || v.is_nan()
}

/// Plain Rust, for any processor. What it has of vectors, the compiler finds.
#[derive(Clone, Copy)]
pub struct Portable;

impl Portable {
    #[inline(always)]
    fn map<T: Copy, R>(from: &[T; LANES], f: impl Fn(T) -> R) -> [R; LANES] {
        std::array::from_fn(|k| f(from[k]))
    }

    #[inline(always)]
    fn join(a: [f64; LANES], b: [f64; LANES], f: impl Fn(f64, f64) -> f64) -> [f64; LANES] {
        std::array::from_fn(|k| f(a[k], b[k]))
    }
}

impl Simd for Portable {
    type V = [f64; LANES];

    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    #[inline(always)]
    fn splat(self, value: f64) -> Self::V {
        [value; LANES]
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        Self::join(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        Self::join(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        Self::join(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        std::array::from_fn(|k| a[k].mul_add(b[k], c[k]))
    }
    #[inline(always)]
    fn first(self, v: Self::V, count: usize) -> Self::V {
        std::array::from_fn(|k| if k < count { v[k] } else { 0.0 })
    }
    #[inline(always)]
    fn positive(self, v: Self::V) -> u8 {
        v.iter().enumerate().fold(0, |bits, (k, v)| bits | (u8::from(is_positive(*v)) << k))
    }
    #[inline(always)]
    fn gate(self, v: Self::V, bits: u8) -> Self::V {
        std::array::from_fn(|k| if bits >> k & 1 == 1 { v[k] } else { 0.0 })
    }
    #[inline(always)]
    fn load_f64(self, from: &[f64; LANES]) -> Self::V {
        *from
    }
    #[inline(always)]
    fn load_f32(self, from: &[f32; LANES]) -> Self::V {
        Self::map(from, f64::from)
    }
    #[inline(always)]
    fn load_f16(self, from: &[f16; LANES]) -> Self::V {
        Self::map(from, Element::to_f64)
    }
    #[inline(always)]
    fn load_bf16(self, from: &[bf16; LANES]) -> Self::V {
        Self::map(from, Element::to_f64)
    }
    #[inline(always)]
    fn store_f64(self, v: Self::V, to: &mut [f64; LANES]) {
        *to = v;
    }
    #[inline(always)]
    fn store_f32(self, v: Self::V, to: &mut [f32; LANES]) {
        *to = Self::map(&v, |v| v as f32);
    }
    #[inline(always)]
    fn store_f16(self, v: Self::V, to: &mut [f16; LANES]) {
        *to = Self::map(&v, |v| f16::from_f32(round_to_odd(v)));
    }
    #[inline(always)]
    fn store_bf16(self, v: Self::V, to: &mut [bf16; LANES]) {
        *to = Self::map(&v, |v| bf16::from_f32(round_to_odd(v)));
    }
}
