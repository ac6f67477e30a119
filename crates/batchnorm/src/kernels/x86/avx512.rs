//! AVX-512.

use std::arch::x86_64::*;

use half::{bf16, f16};

use super::{Avx512, from_bf16, prefetch, stream_f32, stream_f64, to_bf16, to_f16};
use crate::dtype::Element;
use crate::kernels::simd::{Kernel, LANES, Simd};

impl Simd for Avx512 {
    type V = __m512d;
    const STREAMS: bool = true;

    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma,f16c")]
        fn compiled<K: Kernel>(simd: Avx512, kernel: K) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: the token is the proof of these features.
        unsafe { compiled(self, kernel) }
    }

    #[inline(always)]
    fn splat(self, value: f64) -> __m512d {
        // SAFETY: the token proves AVX-512F; so in all methods below that say nothing else.
        unsafe { _mm512_set1_pd(value) }
    }
    #[inline(always)]
    fn add(self, a: __m512d, b: __m512d) -> __m512d {
        unsafe { _mm512_add_pd(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512d, b: __m512d) -> __m512d {
        unsafe { _mm512_sub_pd(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512d, b: __m512d) -> __m512d {
        unsafe { _mm512_mul_pd(a, b) }
    }
    #[inline(always)]
    fn mul_add(self, a: __m512d, b: __m512d, c: __m512d) -> __m512d {
        unsafe { _mm512_fmadd_pd(a, b, c) }
    }
    #[inline(always)]
    fn first(self, v: __m512d, count: usize) -> __m512d {
        unsafe { _mm512_maskz_mov_pd(mask(count), v) }
    }
    #[inline(always)]
    fn positive(self, v: __m512d) -> u8 {
        unsafe { _mm512_cmp_pd_mask::<_CMP_NLE_UQ>(v, _mm512_setzero_pd()) }
    }
    #[inline(always)]
    fn gate(self, v: __m512d, bits: u8) -> __m512d {
        unsafe { _mm512_maskz_mov_pd(bits, v) }
    }
    #[inline(always)]
    fn load_f64(self, from: &[f64; LANES]) -> __m512d {
        // SAFETY: a reference to eight f64.
        unsafe { _mm512_loadu_pd(from.as_ptr()) }
    }
    #[inline(always)]
    fn load_f32(self, from: &[f32; LANES]) -> __m512d {
        // SAFETY: a reference to eight f32.
        unsafe { _mm512_cvtps_pd(_mm256_loadu_ps(from.as_ptr())) }
    }
    #[inline(always)]
    fn load_f16(self, from: &[f16; LANES]) -> __m512d {
        // SAFETY: a reference to eight f16, which are u16 (repr(transparent)).
        unsafe { _mm512_cvtps_pd(_mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().cast()))) }
    }
    #[inline(always)]
    fn load_bf16(self, from: &[bf16; LANES]) -> __m512d {
        // SAFETY: a reference to eight bf16, which are u16 (repr(transparent)).
        unsafe { _mm512_cvtps_pd(from_bf16(_mm_loadu_si128(from.as_ptr().cast()))) }
    }
    #[inline(always)]
    fn store_f64(self, v: __m512d, to: &mut [f64; LANES]) {
        // SAFETY: a reference to eight f64.
        unsafe { _mm512_storeu_pd(to.as_mut_ptr(), v) }
    }
    #[inline(always)]
    fn store_f32(self, v: __m512d, to: &mut [f32; LANES]) {
        // SAFETY: a reference to eight f32.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), _mm512_cvtpd_ps(v)) }
    }
    #[inline(always)]
    fn store_f16(self, v: __m512d, to: &mut [f16; LANES]) {
        // SAFETY: a reference to eight f16, which are u16.
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), to_f16(self.to_odd(v))) }
    }
    #[inline(always)]
    fn store_bf16(self, v: __m512d, to: &mut [bf16; LANES]) {
        // SAFETY: a reference to eight bf16, which are u16.
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), to_bf16(self.to_odd(v))) }
    }
    #[inline(always)]
    fn stream_f64(self, v: __m512d, to: &mut [f64; LANES]) {
        // SAFETY: the token proves AVX-512F.
        unsafe {
            let (low, high) = (_mm512_castpd512_pd256(v), _mm512_extractf64x4_pd::<1>(v));
            stream_f64([low, high], to);
        }
    }
    #[inline(always)]
    fn stream_f32(self, v: __m512d, to: &mut [f32; LANES]) {
        // SAFETY: the token proves AVX-512F.
        stream_f32(unsafe { _mm512_cvtpd_ps(v) }, to);
    }
    #[inline(always)]
    fn store_f16_twice(self, v: [__m512d; 2], [low, high]: [&mut [f16; LANES]; 2]) {
        let [v, w] = self.to_f16_twice(v);
        // SAFETY: two references to eight f16, which are u16.
        unsafe {
            _mm_storeu_si128(low.as_mut_ptr().cast(), v);
            _mm_storeu_si128(high.as_mut_ptr().cast(), w);
        }
    }
    #[inline(always)]
    fn store_bf16_twice(self, v: [__m512d; 2], [low, high]: [&mut [bf16; LANES]; 2]) {
        let [v, w] = self.to_bf16_twice(v);
        // SAFETY: two references to eight bf16, which are u16.
        unsafe {
            _mm_storeu_si128(low.as_mut_ptr().cast(), v);
            _mm_storeu_si128(high.as_mut_ptr().cast(), w);
        }
    }
    #[inline(always)]
    fn prefetch<T: Element>(self, soon: &[T]) {
        prefetch(soon);
    }
    #[inline(always)]
    fn prefetch_line<T>(self, later: *const T) {
        // SAFETY: a hint, about any address, and every x86-64 takes it.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(later.cast()) }
    }
    #[inline(always)]
    fn fence(self) {
        // SAFETY: every x86-64 has it.
        unsafe { _mm_sfence() }
    }
    #[inline(always)]
    fn load_f32_part(self, from: &[f32]) -> __m512d {
        // SAFETY: masked lanes are not read, and the others lie in the slice.
        unsafe { _mm512_cvtps_pd(_mm256_maskz_loadu_ps(mask(from.len()), from.as_ptr())) }
    }
    #[inline(always)]
    fn load_f64_part(self, from: &[f64]) -> __m512d {
        // SAFETY: masked lanes are not read, and the others lie in the slice.
        unsafe { _mm512_maskz_loadu_pd(mask(from.len()), from.as_ptr()) }
    }
    #[inline(always)]
    fn store_f32_part(self, v: __m512d, to: &mut [f32]) {
        // SAFETY: masked lanes are not written, and the others lie in the slice.
        unsafe { _mm256_mask_storeu_ps(to.as_mut_ptr(), mask(to.len()), _mm512_cvtpd_ps(v)) }
    }
    #[inline(always)]
    fn store_f64_part(self, v: __m512d, to: &mut [f64]) {
        // SAFETY: masked lanes are not written, and the others lie in the slice.
        unsafe { _mm512_mask_storeu_pd(to.as_mut_ptr(), mask(to.len()), v) }
    }
    #[inline(always)]
    fn load_f16_part(self, from: &[f16]) -> __m512d {
        // SAFETY: masked lanes are not read, and the others lie in the slice; f16 are u16.
        let halves = unsafe { _mm_maskz_loadu_epi16(mask(from.len()), from.as_ptr().cast()) };
        unsafe { _mm512_cvtps_pd(_mm256_cvtph_ps(halves)) }
    }
    #[inline(always)]
    fn load_bf16_part(self, from: &[bf16]) -> __m512d {
        // SAFETY: masked lanes are not read, and the others lie in the slice; bf16 are u16.
        let halves = unsafe { _mm_maskz_loadu_epi16(mask(from.len()), from.as_ptr().cast()) };
        unsafe { _mm512_cvtps_pd(from_bf16(halves)) }
    }
    #[inline(always)]
    fn store_f16_part(self, v: __m512d, to: &mut [f16]) {
        // SAFETY: masked lanes are not written, and the others lie in the slice.
        unsafe { _mm_mask_storeu_epi16(to.as_mut_ptr().cast(), mask(to.len()), to_f16(self.to_odd(v))) }
    }
    #[inline(always)]
    fn store_bf16_part(self, v: __m512d, to: &mut [bf16]) {
        // SAFETY: masked lanes are not written, and the others lie in the slice.
        unsafe { _mm_mask_storeu_epi16(to.as_mut_ptr().cast(), mask(to.len()), to_bf16(self.to_odd(v))) }
    }
}

/// The first `count` of eight lanes.
#[inline(always)]
fn mask(count: usize) -> __mmask8 {
    if count >= LANES { 0xff } else { (1 << count) - 1 }
}

impl Avx512 {
    /// [`crate::dtype::round_to_odd`] of each lane, as bits: toward zero, and the last bit
    /// set where that dropped something.
    #[inline(always)]
    fn to_odd(self, v: __m512d) -> __m256i {
        // SAFETY: the token proves AVX-512 F and VL.
        unsafe {
            let cut = _mm512_cvt_roundpd_ps::<{ _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC }>(v);
            let inexact = _mm512_cmp_pd_mask::<_CMP_NEQ_OQ>(_mm512_cvtps_pd(cut), v);
            let bits = _mm256_castps_si256(cut);
            _mm256_mask_or_epi32(bits, inexact, bits, _mm256_set1_epi32(1))
        }
    }

    /// [`Self::to_odd`] of sixteen.
    #[inline(always)]
    fn to_odd_twice(self, v: [__m512d; 2]) -> __m512i {
        let (low, high) = (self.to_odd(v[0]), self.to_odd(v[1]));
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high) }
    }

    /// The nearest f32 of sixteen, as bits. They may be rounded again where they did not fall
    /// on a midpoint of the narrower dtype.
    #[inline(always)]
    fn to_nearest_twice(self, v: [__m512d; 2]) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe {
            let (low, high) = (_mm512_cvtpd_ps(v[0]), _mm512_cvtpd_ps(v[1]));
            let (low, high) = (_mm256_castps_si256(low), _mm256_castps_si256(high));
            _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
        }
    }

    /// The nearest bf16 of sixteen f64, rounded once: by way of the nearest f32, or where one
    /// of those is a midpoint (its lower half is 0x8000), of f32 rounded to odd.
    #[inline(always)]
    fn to_bf16_twice(self, v: [__m512d; 2]) -> [__m128i; 2] {
        // SAFETY: the token proves AVX-512 F, VL, DQ and BW.
        unsafe {
            let mut bits = self.to_nearest_twice(v);
            let lower = _mm512_cmpeq_epi16_mask(bits, _mm512_set1_epi16(i16::MIN)) & 0x5555_5555;
            if lower != 0 {
                bits = self.to_odd_twice(v);
            }
            let upper = _mm512_srli_epi32::<16>(bits);
            let odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
            let up = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
            let rounded = _mm512_srli_epi32::<16>(_mm512_add_epi32(bits, up));
            let values = _mm512_castsi512_ps(bits);
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(values, values);
            let halves = _mm512_mask_or_epi32(rounded, nan, upper, _mm512_set1_epi32(0x40));
            let halves = _mm512_cvtepi32_epi16(halves);
            [_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves)]
        }
    }

    /// The nearest f16 of sixteen f64, rounded once: by way of the nearest f32, or where one of
    /// those may be a midpoint (its last 12 bits are 0, and it is not), of f32 rounded to odd.
    #[inline(always)]
    fn to_f16_twice(self, v: [__m512d; 2]) -> [__m128i; 2] {
        // SAFETY: the token proves AVX-512F.
        unsafe {
            let mut bits = self.to_nearest_twice(v);
            let short = _mm512_testn_epi32_mask(bits, _mm512_set1_epi32(0xfff));
            if _mm512_mask_test_epi32_mask(short, bits, _mm512_set1_epi32(i32::MAX)) != 0 {
                bits = self.to_odd_twice(v);
            }
            let halves = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm512_castsi512_ps(bits));
            [_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves)]
        }
    }
}
