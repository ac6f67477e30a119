//! AVX-512, and AVX2 with FMA and F16C: the [`Simd`](super::simd::Simd) of x86-64.
//!
//! # Why the `unsafe` is sound
//! - An intrinsic asks for a processor that has its instruction set. The tokens'
//!   only constructors look for every set that their intrinsics need.
//! - Loads and stores through pointers take them from array references, which are
//!   valid for eight values, or from slices, under a mask no longer than they are.
//!   The forms used need no alignment, but for the streaming ones, whose callers
//!   promise 16 bytes.

mod avx2;
mod avx2_lines;
mod avx512;
mod avx512_lines;

use std::arch::x86_64::*;

use super::LINE;
use super::narrow::SIXTEEN;
use super::simd::LANES;

/// Proof of AVX-512 F, VL, DQ and BW, and of what [`Avx2`] proves.
#[derive(Clone, Copy)]
pub struct Avx512(Avx2);

/// Proof of AVX2, FMA and F16C.
#[derive(Clone, Copy)]
pub struct Avx2(());

impl Avx512 {
    /// Where the processor has it.
    pub fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw");
        Avx2::detect().filter(|_| found).map(Avx512)
    }
}

impl Avx2 {
    /// Where the processor has it.
    pub fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        found.then_some(Avx2(()))
    }
}

/// Asks for each line of `soon`.
#[inline(always)]
fn prefetch<T>(soon: &[T]) {
    for line in soon.chunks(LINE / size_of::<T>()) {
        // SAFETY: a hint, and every x86-64 takes it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) }
    }
}

/// The nearest bf16 of eight f32, ties to even; of NaN, a quiet one.
#[inline(always)]
fn to_bf16(bits: __m256i) -> __m128i {
    // SAFETY: both tokens prove AVX2, and only their methods call this.
    unsafe {
        let odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
        let up = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
        let rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, up), 16);
        let quiet = _mm256_or_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(0x40));
        let value = _mm256_castsi256_ps(bits);
        let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(value, value));
        let halves = _mm256_blendv_epi8(rounded, quiet, nan);
        _mm_packus_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves))
    }
}

/// The nearest f16 of eight f32, ties to even.
#[inline(always)]
fn to_f16(bits: __m256i) -> __m128i {
    // SAFETY: as in `to_bf16`, with F16C.
    unsafe { _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm256_castsi256_ps(bits)) }
}

/// Stores past the caches: at once where the alignment is there, as it is in rows; columns
/// rarely have more than that of sixteen bytes.
#[inline(always)]
fn stream_f32(v: __m256, to: &mut [f32; LANES]) {
    let to = to.as_mut_ptr();
    debug_assert!(to.cast::<__m128>().is_aligned());
    // SAFETY: twice sixteen bytes, aligned as the callers of the methods promise.
    unsafe {
        if to.cast::<__m256>().is_aligned() {
            _mm256_stream_ps(to, v);
        } else {
            _mm_stream_ps(to, _mm256_castps256_ps128(v));
            _mm_stream_ps(to.add(4), _mm256_extractf128_ps::<1>(v));
        }
    }
}

/// As [`stream_f32`], sixteen bytes at a time.
#[inline(always)]
fn stream_f64(v: [__m256d; 2], to: &mut [f64; LANES]) {
    let to = to.as_mut_ptr();
    debug_assert!(to.cast::<__m128d>().is_aligned());
    // SAFETY: four times sixteen bytes, aligned as the callers of the methods promise.
    unsafe {
        _mm_stream_pd(to, _mm256_castpd256_pd128(v[0]));
        _mm_stream_pd(to.add(2), _mm256_extractf128_pd::<1>(v[0]));
        _mm_stream_pd(to.add(4), _mm256_castpd256_pd128(v[1]));
        _mm_stream_pd(to.add(6), _mm256_extractf128_pd::<1>(v[1]));
    }
}

/// Stores twice sixteen halves past the caches: 32 bytes at a time where the alignment is there.
#[inline(always)]
fn stream_sixteens(line: [__m256i; 2], to: &mut [u16; 2 * SIXTEEN]) {
    let to: *mut __m256i = to.as_mut_ptr().cast();
    debug_assert!(to.cast::<__m128i>().is_aligned());
    // SAFETY: twice 32 bytes, aligned to 16 as the callers promise; both tokens prove AVX2.
    unsafe {
        for (k, v) in line.into_iter().enumerate() {
            let at = to.add(k);
            if at.is_aligned() {
                _mm256_stream_si256(at, v);
            } else {
                _mm_stream_si128(at.cast(), _mm256_castsi256_si128(v));
                _mm_stream_si128(at.cast::<__m128i>().add(1), _mm256_extracti128_si256::<1>(v));
            }
        }
    }
}

#[inline(always)]
fn from_bf16(halves: __m128i) -> __m256 {
    // SAFETY: as in `to_bf16`.
    unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves))) }
}
