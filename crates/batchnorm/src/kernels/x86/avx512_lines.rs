//! Lines in AVX-512.

use std::arch::x86_64::*;

use super::{Avx512, stream_sixteens};
use crate::kernels::narrow::{
    BEYOND_BF16, BEYOND_F16, LEAST_NORMAL_F16, LINE, LineKernel, Lines, SIXTEEN, TO_MIDPOINT_BF16,
    TO_MIDPOINT_F16, UNITS,
};

impl Lines for Avx512 {
    type W = __m512;
    type Line = __m512i;

    fn vectorize_lines<K: LineKernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma,f16c")]
        fn compiled<K: LineKernel>(simd: Avx512, kernel: K) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: the token is the proof of these features.
        unsafe { compiled(self, kernel) }
    }

    #[inline(always)]
    fn splat32(self, value: f32) -> __m512 {
        // SAFETY: the token proves AVX-512 F, DQ and BW; so in all methods below that say nothing else.
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    fn load32(self, from: &[f32; SIXTEEN]) -> __m512 {
        // SAFETY: a reference to sixteen f32.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }
    #[inline(always)]
    fn add32(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub32(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul32(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn mul_add32(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn abs32(self, a: __m512) -> __m512 {
        unsafe { _mm512_abs_ps(a) }
    }
    #[inline(always)]
    fn positive32(self, [low, high]: [__m512; 2]) -> u32 {
        unsafe {
            let zero = _mm512_setzero_ps();
            let of_low = _mm512_cmp_ps_mask::<_CMP_NLE_UQ>(low, zero);
            let of_high = _mm512_cmp_ps_mask::<_CMP_NLE_UQ>(high, zero);
            u32::from(of_low) | u32::from(of_high) << SIXTEEN
        }
    }
    #[inline(always)]
    fn gate32(self, [low, high]: [__m512; 2], bits: u32) -> [__m512; 2] {
        let of_high = (bits >> SIXTEEN) as __mmask16;
        unsafe { [_mm512_maskz_mov_ps(bits as __mmask16, low), _mm512_maskz_mov_ps(of_high, high)] }
    }

    #[inline(always)]
    fn widen_f16(self, from: &[u16; LINE]) -> [__m512; 2] {
        // SAFETY: a reference to twice sixteen u16.
        unsafe {
            let (low, high) = (from.as_ptr(), from.as_ptr().add(SIXTEEN));
            let (low, high) = (_mm256_loadu_si256(low.cast()), _mm256_loadu_si256(high.cast()));
            [_mm512_cvtph_ps(low), _mm512_cvtph_ps(high)]
        }
    }
    #[inline(always)]
    fn widen_bf16(self, from: &[u16; LINE]) -> [__m512; 2] {
        // SAFETY: a reference to twice sixteen u16.
        unsafe {
            let (low, high) = (from.as_ptr(), from.as_ptr().add(SIXTEEN));
            [from_bf16(_mm256_loadu_si256(low.cast())), from_bf16(_mm256_loadu_si256(high.cast()))]
        }
    }
    #[inline(always)]
    fn widen_f16_part(self, from: &[u16]) -> [__m512; 2] {
        let [low, high] = halves(load_part(from));
        unsafe { [_mm512_cvtph_ps(low), _mm512_cvtph_ps(high)] }
    }
    #[inline(always)]
    fn widen_bf16_part(self, from: &[u16]) -> [__m512; 2] {
        let [low, high] = halves(load_part(from));
        [from_bf16(low), from_bf16(high)]
    }

    #[inline(always)]
    fn nearest_f16(self, w: [__m512; 2]) -> (__m512i, bool) {
        let [low, high] = moved(w, TO_MIDPOINT_F16);
        let near = near::<BEYOND_F16>(low) | near::<BEYOND_F16>(high);
        let line = joined(to_f16(w[0]), to_f16(w[1]));
        unsafe {
            let unsigned = _mm512_add_epi16(line, line);
            let small = _mm512_cmple_epu16_mask(unsigned, _mm512_set1_epi16(2 * LEAST_NORMAL_F16));
            (line, u32::from(near) | small == 0)
        }
    }
    #[inline(always)]
    fn nearest_bf16(self, w: [__m512; 2]) -> (__m512i, bool) {
        let [low, high] = moved(w, TO_MIDPOINT_BF16);
        let near = near::<BEYOND_BF16>(low) | near::<BEYOND_BF16>(high);
        (upper_halves([low, high]), near == 0)
    }
    #[inline(always)]
    fn between_f16(self, low: [__m512; 2], high: [__m512; 2]) -> (__m512i, bool) {
        let (low, high) = (joined(to_f16(low[0]), to_f16(low[1])), joined(to_f16(high[0]), to_f16(high[1])));
        (high, unsafe { _mm512_cmpneq_epi16_mask(low, high) == 0 })
    }
    #[inline(always)]
    fn between_bf16(self, low: [__m512; 2], high: [__m512; 2]) -> (__m512i, bool) {
        const HALF: i32 = 1 << 15;
        let (low, high) = (moved(low, HALF), moved(high, HALF));
        let differ = upper_differ(low[0], high[0]) | upper_differ(low[1], high[1]);
        (upper_halves(high), differ == 0)
    }

    #[inline(always)]
    fn gate_line(self, line: __m512i, bits: u32) -> __m512i {
        unsafe { _mm512_maskz_mov_epi16(bits, line) }
    }
    #[inline(always)]
    fn store_line(self, line: __m512i, to: &mut [u16; LINE]) {
        // SAFETY: a reference to 32 u16.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), line) }
    }
    #[inline(always)]
    fn stream_line(self, line: __m512i, to: &mut [u16; LINE]) {
        let at: *mut __m512i = to.as_mut_ptr().cast();
        if at.is_aligned() {
            // SAFETY: a reference to 32 u16, aligned to a line.
            unsafe { _mm512_stream_si512(at, line) }
        } else {
            stream_sixteens(halves(line), to);
        }
    }
    #[inline(always)]
    fn store_line_part(self, line: __m512i, to: &mut [u16]) {
        // SAFETY: masked lanes are not written, and the others lie in the slice.
        unsafe { _mm512_mask_storeu_epi16(to.as_mut_ptr().cast(), mask(to.len()), line) }
    }
}

/// The first `count` of 32 lanes.
#[inline(always)]
fn mask(count: usize) -> __mmask32 {
    if count >= LINE { !0 } else { (1 << count) - 1 }
}

#[inline(always)]
fn load_part(from: &[u16]) -> __m512i {
    // SAFETY: only methods of `Avx512` call this. Masked lanes are not read, and the others lie
    // in the slice.
    unsafe { _mm512_maskz_loadu_epi16(mask(from.len()), from.as_ptr().cast()) }
}

#[inline(always)]
fn halves(line: __m512i) -> [__m256i; 2] {
    // SAFETY: only methods of `Avx512` call this; so in all below.
    unsafe { [_mm512_castsi512_si256(line), _mm512_extracti64x4_epi64::<1>(line)] }
}

#[inline(always)]
fn joined(low: __m256i, high: __m256i) -> __m512i {
    unsafe { _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high) }
}

#[inline(always)]
fn from_bf16(halves: __m256i) -> __m512 {
    unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves))) }
}

#[inline(always)]
fn to_f16(v: __m512) -> __m256i {
    unsafe { _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v) }
}

/// The bits of two vectors, `by` added to each.
#[inline(always)]
fn moved([low, high]: [__m512; 2], by: i32) -> [__m512i; 2] {
    unsafe {
        let by = _mm512_set1_epi32(by);
        [_mm512_add_epi32(_mm512_castps_si512(low), by), _mm512_add_epi32(_mm512_castps_si512(high), by)]
    }
}

/// The lanes in which the bits of `BEYOND` are below twice [`UNITS`].
#[inline(always)]
fn near<const BEYOND: i32>(v: __m512i) -> __mmask16 {
    unsafe { _mm512_testn_epi32_mask(v, _mm512_set1_epi32(BEYOND & !(2 * UNITS - 1))) }
}

/// The lanes whose upper halves differ.
#[inline(always)]
fn upper_differ(a: __m512i, b: __m512i) -> __mmask16 {
    unsafe { _mm512_test_epi32_mask(_mm512_xor_si512(a, b), _mm512_set1_epi32(!0xffff)) }
}

/// The upper half of each of 32 lanes.
#[inline(always)]
fn upper_halves([low, high]: [__m512i; 2]) -> __m512i {
    static ODD: [u16; LINE] = {
        let mut odd = [0; LINE];
        let mut k = 0;
        while k < LINE {
            odd[k] = 2 * k as u16 + 1;
            k += 1;
        }
        odd
    };
    // SAFETY: and `ODD` is 32 u16.
    unsafe { _mm512_permutex2var_epi16(low, _mm512_loadu_si512(ODD.as_ptr().cast()), high) }
}
