//! Lines in AVX2 with FMA and F16C.

use std::arch::x86_64::*;

use super::{Avx2, from_bf16, stream_sixteens, to_f16};
use crate::kernels::narrow::{
    BEYOND_BF16, BEYOND_F16, LEAST_NORMAL_F16, LINE, LineKernel, Lines, SIXTEEN, TO_MIDPOINT_BF16,
    TO_MIDPOINT_F16, UNITS,
};
use crate::kernels::simd::LANES;

impl Lines for Avx2 {
    /// Lanes 0 to 7, and 8 to 15.
    type W = [__m256; 2];
    /// Values 0 to 15, and 16 to 31.
    type Line = [__m256i; 2];

    fn vectorize_lines<K: LineKernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn compiled<K: LineKernel>(simd: Avx2, kernel: K) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: the token is the proof of these features.
        unsafe { compiled(self, kernel) }
    }

    #[inline(always)]
    fn splat32(self, value: f32) -> Self::W {
        // SAFETY: the token proves AVX2, FMA and F16C; so in all methods below that say nothing else.
        unsafe { [_mm256_set1_ps(value); 2] }
    }
    #[inline(always)]
    fn load32(self, from: &[f32; SIXTEEN]) -> Self::W {
        // SAFETY: a reference to sixteen f32.
        unsafe { [_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(LANES))] }
    }
    #[inline(always)]
    fn add32(self, a: Self::W, b: Self::W) -> Self::W {
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn sub32(self, a: Self::W, b: Self::W) -> Self::W {
        unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn mul32(self, a: Self::W, b: Self::W) -> Self::W {
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn mul_add32(self, a: Self::W, b: Self::W, c: Self::W) -> Self::W {
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }
    #[inline(always)]
    fn abs32(self, [low, high]: Self::W) -> Self::W {
        unsafe {
            let sign = _mm256_set1_ps(-0.0);
            [_mm256_andnot_ps(sign, low), _mm256_andnot_ps(sign, high)]
        }
    }
    #[inline(always)]
    fn positive32(self, [[a, b], [c, d]]: [Self::W; 2]) -> u32 {
        positive(a) | positive(b) << 8 | positive(c) << 16 | positive(d) << 24
    }
    #[inline(always)]
    fn gate32(self, [[a, b], [c, d]]: [Self::W; 2], bits: u32) -> [Self::W; 2] {
        [[gate(a, bits), gate(b, bits >> 8)], [gate(c, bits >> 16), gate(d, bits >> 24)]]
    }

    #[inline(always)]
    fn widen_f16(self, from: &[u16; LINE]) -> [Self::W; 2] {
        let [a, b, c, d] = eights(from);
        unsafe { [[_mm256_cvtph_ps(a), _mm256_cvtph_ps(b)], [_mm256_cvtph_ps(c), _mm256_cvtph_ps(d)]] }
    }
    #[inline(always)]
    fn widen_bf16(self, from: &[u16; LINE]) -> [Self::W; 2] {
        let [a, b, c, d] = eights(from);
        [[from_bf16(a), from_bf16(b)], [from_bf16(c), from_bf16(d)]]
    }

    #[inline(always)]
    fn nearest_f16(self, w: [Self::W; 2]) -> (Self::Line, bool) {
        let near = near::<BEYOND_F16>(moved(w, TO_MIDPOINT_F16));
        let line = [half_pair(w[0]), half_pair(w[1])];
        (line, none(or(near, or(small(line[0]), small(line[1])))))
    }
    #[inline(always)]
    fn nearest_bf16(self, w: [Self::W; 2]) -> (Self::Line, bool) {
        let moved = moved(w, TO_MIDPOINT_BF16);
        ([upper_halves(moved[0]), upper_halves(moved[1])], none(near::<BEYOND_BF16>(moved)))
    }
    #[inline(always)]
    fn between_f16(self, low: [Self::W; 2], high: [Self::W; 2]) -> (Self::Line, bool) {
        let (low, high) = ([half_pair(low[0]), half_pair(low[1])], [half_pair(high[0]), half_pair(high[1])]);
        (high, none(differ(low, high)))
    }
    #[inline(always)]
    fn between_bf16(self, low: [Self::W; 2], high: [Self::W; 2]) -> (Self::Line, bool) {
        const HALF: i32 = 1 << 15;
        let (low, high) = (moved(low, HALF), moved(high, HALF));
        let differ = or(differ(low[0], high[0]), differ(low[1], high[1]));
        let settled = unsafe { _mm256_testz_si256(differ, _mm256_set1_epi32(!0xffff)) == 1 };
        ([upper_halves(high[0]), upper_halves(high[1])], settled)
    }

    #[inline(always)]
    fn gate_line(self, [low, high]: Self::Line, bits: u32) -> Self::Line {
        [gate_sixteen(low, bits), gate_sixteen(high, bits >> SIXTEEN)]
    }
    #[inline(always)]
    fn store_line(self, [low, high]: Self::Line, to: &mut [u16; LINE]) {
        // SAFETY: a reference to twice sixteen u16.
        unsafe {
            _mm256_storeu_si256(to.as_mut_ptr().cast(), low);
            _mm256_storeu_si256(to.as_mut_ptr().add(SIXTEEN).cast(), high);
        }
    }
    #[inline(always)]
    fn stream_line(self, line: Self::Line, to: &mut [u16; LINE]) {
        stream_sixteens(line, to);
    }
}

/// A line as four times eight.
#[inline(always)]
fn eights(from: &[u16; LINE]) -> [__m128i; 4] {
    let at = from.as_ptr();
    // SAFETY: only methods of `Avx2` call this, so in all below; and a reference to 32 u16.
    unsafe {
        [
            _mm_loadu_si128(at.cast()),
            _mm_loadu_si128(at.add(LANES).cast()),
            _mm_loadu_si128(at.add(2 * LANES).cast()),
            _mm_loadu_si128(at.add(3 * LANES).cast()),
        ]
    }
}

/// As [`crate::kernels::simd::Simd::positive`], of eight.
#[inline(always)]
fn positive(v: __m256) -> u32 {
    unsafe { _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_NLE_UQ>(v, _mm256_setzero_ps())) as u32 }
}

/// As [`crate::kernels::simd::Simd::gate`], of eight, by the lowest bits.
#[inline(always)]
fn gate(v: __m256, bits: u32) -> __m256 {
    unsafe {
        let of_lanes = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        let chosen = _mm256_and_si256(_mm256_set1_epi32(bits as i32), of_lanes);
        _mm256_and_ps(v, _mm256_castsi256_ps(_mm256_cmpeq_epi32(chosen, of_lanes)))
    }
}

/// The same of sixteen values of 16 bits.
#[inline(always)]
fn gate_sixteen(v: __m256i, bits: u32) -> __m256i {
    static OF_LANES: [u16; SIXTEEN] = {
        let mut of_lanes = [0; SIXTEEN];
        let mut k = 0;
        while k < SIXTEEN {
            of_lanes[k] = 1 << k;
            k += 1;
        }
        of_lanes
    };
    // SAFETY: and `OF_LANES` is sixteen u16.
    unsafe {
        let of_lanes = _mm256_loadu_si256(OF_LANES.as_ptr().cast());
        let chosen = _mm256_and_si256(_mm256_set1_epi16(bits as i16), of_lanes);
        _mm256_and_si256(v, _mm256_cmpeq_epi16(chosen, of_lanes))
    }
}

/// The bits of a line, `by` added to each.
#[inline(always)]
fn moved([[a, b], [c, d]]: [[__m256; 2]; 2], by: i32) -> [[__m256i; 2]; 2] {
    unsafe {
        let by = _mm256_set1_epi32(by);
        let (a, b) = (_mm256_castps_si256(a), _mm256_castps_si256(b));
        let (c, d) = (_mm256_castps_si256(c), _mm256_castps_si256(d));
        [
            [_mm256_add_epi32(a, by), _mm256_add_epi32(b, by)],
            [_mm256_add_epi32(c, by), _mm256_add_epi32(d, by)],
        ]
    }
}

#[inline(always)]
fn or(a: __m256i, b: __m256i) -> __m256i {
    unsafe { _mm256_or_si256(a, b) }
}

/// Whether no bit is set.
#[inline(always)]
fn none(v: __m256i) -> bool {
    unsafe { _mm256_testz_si256(v, v) == 1 }
}

/// Bits where some lane has the bits of `BEYOND` below twice [`UNITS`].
#[inline(always)]
fn near<const BEYOND: i32>([[a, b], [c, d]]: [[__m256i; 2]; 2]) -> __m256i {
    unsafe {
        let beyond = _mm256_set1_epi32(BEYOND & !(2 * UNITS - 1));
        let (a, b) = (_mm256_and_si256(a, beyond), _mm256_and_si256(b, beyond));
        let (c, d) = (_mm256_and_si256(c, beyond), _mm256_and_si256(d, beyond));
        // The least is 0 where one is.
        let least = _mm256_min_epu32(_mm256_min_epu32(a, b), _mm256_min_epu32(c, d));
        _mm256_cmpeq_epi32(least, _mm256_setzero_si256())
    }
}

/// Bits where an f16 is no larger than the least normal one.
#[inline(always)]
fn small(v: __m256i) -> __m256i {
    unsafe {
        let size = _mm256_and_si256(v, _mm256_set1_epi16(i16::MAX));
        _mm256_cmpgt_epi16(_mm256_set1_epi16(LEAST_NORMAL_F16 + 1), size)
    }
}

/// Where the bits of sixteen lanes differ.
#[inline(always)]
fn differ(a: [__m256i; 2], b: [__m256i; 2]) -> __m256i {
    unsafe { or(_mm256_xor_si256(a[0], b[0]), _mm256_xor_si256(a[1], b[1])) }
}

/// Sixteen values as f16.
#[inline(always)]
fn half_pair([low, high]: [__m256; 2]) -> __m256i {
    unsafe { _mm256_set_m128i(to_f16(_mm256_castps_si256(high)), to_f16(_mm256_castps_si256(low))) }
}

/// The upper half of each of sixteen lanes.
#[inline(always)]
fn upper_halves([low, high]: [__m256i; 2]) -> __m256i {
    unsafe {
        // Lanes 0 to 3, 8 to 11 | 4 to 7, 12 to 15.
        let mixed = _mm256_packus_epi32(_mm256_srli_epi32::<16>(low), _mm256_srli_epi32::<16>(high));
        _mm256_permute4x64_epi64::<0b11_01_10_00>(mixed)
    }
}
