//! AVX2 with FMA and F16C.

use std::arch::x86_64::*;

use half::{bf16, f16};

use super::{Avx2, from_bf16, prefetch, stream_f32, stream_f64, to_bf16, to_f16};
use crate::dtype::Element;
use crate::kernels::simd::{Kernel, LANES, Simd};

impl Simd for Avx2 {
    /// Lanes 0 to 3, and 4 to 7.
    type V = [__m256d; 2];
    const STREAMS: bool = true;

    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn compiled<K: Kernel>(simd: Avx2, kernel: K) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: the token is the proof of these features.
        unsafe { compiled(self, kernel) }
    }

    #[inline(always)]
    fn splat(self, value: f64) -> Self::V {
        // SAFETY: the token proves AVX2, FMA and F16C; so in all methods below that say nothing else.
        unsafe { [_mm256_set1_pd(value); 2] }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { [_mm256_add_pd(a[0], b[0]), _mm256_add_pd(a[1], b[1])] }
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { [_mm256_sub_pd(a[0], b[0]), _mm256_sub_pd(a[1], b[1])] }
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { [_mm256_mul_pd(a[0], b[0]), _mm256_mul_pd(a[1], b[1])] }
    }
    #[inline(always)]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        unsafe { [_mm256_fmadd_pd(a[0], b[0], c[0]), _mm256_fmadd_pd(a[1], b[1], c[1])] }
    }
    #[inline(always)]
    fn first(self, v: Self::V, count: usize) -> Self::V {
        // SAFETY: `window` gives a reference to eight.
        unsafe {
            let keep = window(count).as_ptr();
            let low = _mm256_castsi256_pd(_mm256_cvtepi32_epi64(_mm_loadu_si128(keep.cast())));
            let high = _mm256_castsi256_pd(_mm256_cvtepi32_epi64(_mm_loadu_si128(keep.add(4).cast())));
            [_mm256_and_pd(v[0], low), _mm256_and_pd(v[1], high)]
        }
    }
    #[inline(always)]
    fn positive(self, v: Self::V) -> u8 {
        unsafe {
            let zero = _mm256_setzero_pd();
            let low = _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_NLE_UQ>(v[0], zero));
            let high = _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_NLE_UQ>(v[1], zero));
            (low | high << 4) as u8
        }
    }
    #[inline(always)]
    fn gate(self, v: Self::V, bits: u8) -> Self::V {
        unsafe {
            let bits = _mm256_set1_epi64x(bits.into());
            let chosen = |of_lanes: __m256i| {
                _mm256_castsi256_pd(_mm256_cmpeq_epi64(_mm256_and_si256(bits, of_lanes), of_lanes))
            };
            let (low, high) = (_mm256_setr_epi64x(1, 2, 4, 8), _mm256_setr_epi64x(16, 32, 64, 128));
            [_mm256_and_pd(v[0], chosen(low)), _mm256_and_pd(v[1], chosen(high))]
        }
    }
    #[inline(always)]
    fn load_f64(self, from: &[f64; LANES]) -> Self::V {
        // SAFETY: a reference to eight f64.
        unsafe { [_mm256_loadu_pd(from.as_ptr()), _mm256_loadu_pd(from.as_ptr().add(4))] }
    }
    #[inline(always)]
    fn load_f32(self, from: &[f32; LANES]) -> Self::V {
        // SAFETY: a reference to eight f32.
        unsafe {
            let (low, high) = (_mm_loadu_ps(from.as_ptr()), _mm_loadu_ps(from.as_ptr().add(4)));
            [_mm256_cvtps_pd(low), _mm256_cvtps_pd(high)]
        }
    }
    #[inline(always)]
    fn load_f16(self, from: &[f16; LANES]) -> Self::V {
        // SAFETY: a reference to eight f16, which are u16 (repr(transparent)).
        unsafe { widened(_mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().cast()))) }
    }
    #[inline(always)]
    fn load_bf16(self, from: &[bf16; LANES]) -> Self::V {
        // SAFETY: a reference to eight bf16, which are u16 (repr(transparent)).
        unsafe { widened(from_bf16(_mm_loadu_si128(from.as_ptr().cast()))) }
    }
    #[inline(always)]
    fn store_f64(self, v: Self::V, to: &mut [f64; LANES]) {
        // SAFETY: a reference to eight f64.
        unsafe {
            _mm256_storeu_pd(to.as_mut_ptr(), v[0]);
            _mm256_storeu_pd(to.as_mut_ptr().add(4), v[1]);
        }
    }
    #[inline(always)]
    fn store_f32(self, v: Self::V, to: &mut [f32; LANES]) {
        // SAFETY: a reference to eight f32.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), narrowed(v)) }
    }
    #[inline(always)]
    fn store_f16(self, v: Self::V, to: &mut [f16; LANES]) {
        // SAFETY: a reference to eight f16, which are u16.
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), to_f16(self.to_odd(v))) }
    }
    #[inline(always)]
    fn store_bf16(self, v: Self::V, to: &mut [bf16; LANES]) {
        // SAFETY: a reference to eight bf16, which are u16.
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), to_bf16(self.to_odd(v))) }
    }
    #[inline(always)]
    fn stream_f64(self, v: Self::V, to: &mut [f64; LANES]) {
        stream_f64(v, to);
    }
    #[inline(always)]
    fn stream_f32(self, v: Self::V, to: &mut [f32; LANES]) {
        stream_f32(narrowed(v), to);
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
    fn load_f32_part(self, from: &[f32]) -> Self::V {
        // SAFETY: masked lanes are not read, and the others lie in the slice.
        unsafe {
            let keep = _mm256_loadu_si256(window(from.len()).as_ptr().cast());
            widened(_mm256_maskload_ps(from.as_ptr(), keep))
        }
    }
    #[inline(always)]
    fn store_f32_part(self, v: Self::V, to: &mut [f32]) {
        // SAFETY: masked lanes are not written, and the others lie in the slice.
        unsafe {
            let keep = _mm256_loadu_si256(window(to.len()).as_ptr().cast());
            _mm256_maskstore_ps(to.as_mut_ptr(), keep, narrowed(v));
        }
    }
}

/// The first `count` of eight lanes, as the masks of AVX2: all bits, or none.
#[inline(always)]
fn window(count: usize) -> &'static [i32; LANES] {
    static EDGE: [i32; 2 * LANES] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    EDGE[LANES - count.min(LANES)..].first_chunk().expect("sixteen values from at most the eighth")
}

/// Eight f32 as f64.
#[inline(always)]
fn widened(v: __m256) -> [__m256d; 2] {
    // SAFETY: only methods of `Avx2` call this.
    unsafe { [_mm256_cvtps_pd(_mm256_castps256_ps128(v)), _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(v))] }
}

/// Eight f64 as f32, rounded.
#[inline(always)]
fn narrowed(v: [__m256d; 2]) -> __m256 {
    // SAFETY: only methods of `Avx2` call this.
    unsafe { _mm256_set_m128(_mm256_cvtpd_ps(v[1]), _mm256_cvtpd_ps(v[0])) }
}

impl Avx2 {
    /// [`crate::dtype::round_to_odd`] of each lane, as bits.
    #[inline(always)]
    fn to_odd(self, v: [__m256d; 2]) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe {
            let nearest = narrowed(v);
            let back = widened(nearest);
            let sign = _mm256_set1_pd(-0.0);
            let inexact = masks(
                _mm256_cmp_pd::<_CMP_NEQ_OQ>(back[0], v[0]),
                _mm256_cmp_pd::<_CMP_NEQ_OQ>(back[1], v[1]),
            );
            let away = masks(
                _mm256_cmp_pd::<_CMP_GT_OQ>(_mm256_andnot_pd(sign, back[0]), _mm256_andnot_pd(sign, v[0])),
                _mm256_cmp_pd::<_CMP_GT_OQ>(_mm256_andnot_pd(sign, back[1]), _mm256_andnot_pd(sign, v[1])),
            );
            // A mask is −1 as an integer.
            let toward_zero = _mm256_add_epi32(_mm256_castps_si256(nearest), away);
            _mm256_or_si256(toward_zero, _mm256_and_si256(inexact, _mm256_set1_epi32(1)))
        }
    }
}

/// Eight masks of 64 bits as eight of 32.
#[inline(always)]
fn masks(low: __m256d, high: __m256d) -> __m256i {
    // SAFETY: only methods of `Avx2` call this.
    unsafe {
        // The lower halves of lanes 0 1 4 5 | 2 3 6 7.
        let mixed = _mm256_shuffle_ps::<0b10_00_10_00>(_mm256_castpd_ps(low), _mm256_castpd_ps(high));
        _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_castps_si256(mixed))
    }
}
