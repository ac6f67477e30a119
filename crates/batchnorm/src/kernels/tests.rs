//! The same bits from every instruction set and every number of threads.

use std::cell::Cell;

use half::{bf16, f16};
use ndarray::{Array1, ArrayD, IxDyn};
use rayon::ThreadPoolBuilder;

use super::*;
use crate::admit::Origin;
use crate::backward::{At, GradSums, backward_into, backward_relu_into};
use crate::dtype::MixesWith;
use crate::forward::{
    Affine, Relu, Statistics, forward_train_into, forward_train_relu_into, normalize_in_place,
    normalize_into, normalize_relu_into,
};
use crate::mask::ReluMask;
use crate::moments::{Moments, moments_into};

thread_local! {
    /// What [`Level::in_use`] answers to a test.
    pub(super) static FORCED: Cell<Option<Level>> = const { Cell::new(None) };
}

/// Noise of deviation about 1 around `mean`, in shape and memory order.
fn noise<T: Element>(shape: &[usize], channels_last: bool, mean: f64, seed: u64) -> ArrayD<T> {
    let mut state = seed | 1;
    let mut uniform = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let array = ArrayD::from_shape_simple_fn(IxDyn(shape), || {
        T::from_f64(mean + (uniform() + uniform() - 1.0) * 2.4)
    });
    if !channels_last {
        return array;
    }
    let mut last: Vec<usize> = (0..shape.len()).filter(|&axis| axis != 1).collect();
    last.push(1);
    let mut back = vec![0; shape.len()];
    last.iter().enumerate().for_each(|(to, &from)| back[from] = to);
    array.permuted_axes(IxDyn(&last)).as_standard_layout().into_owned().permuted_axes(IxDyn(&back))
}

/// Every number that the passes of a layer give, as bits of f64.
fn everything<T: MixesWith<P>, P: Element>(x: &ArrayD<T>, g: &ArrayD<T>) -> Vec<u64> {
    let channels = x.shape()[1];
    let ramp = |first: f64| Array1::from_shape_fn(channels, |c| P::from_f64(first + c as f64 / 8.0));
    let (weight, bias) = (ramp(-1.0), ramp(0.5));
    let affine = Affine { weight: Some(weight.view()), bias: Some(bias.view()) };
    let like = || x.mapv(|_| T::default());
    let (mut y, mut evaluated, mut grad_input, mut grad_input_of_evaluation) =
        (like(), like(), like(), like());
    let mut moments = vec![Moments::default(); channels];
    let mut statistics = vec![Statistics::default(); channels];
    let mut sums = [vec![GradSums::default(); channels], vec![GradSums::default(); channels]];
    forward_train_into(x.view(), affine, 1e-5, y.view_mut(), &mut moments, &mut statistics).unwrap();
    let mut alone = moments.clone();
    moments_into(x.view(), &mut alone).unwrap();
    assert_eq!(alone, moments, "measured alone or on the way to an output");
    let [of_batch, of_running] = &mut sums;
    for (origin, sums, grad_input) in [
        (Origin::Batch, of_batch, &mut grad_input),
        (Origin::Running, of_running, &mut grad_input_of_evaluation),
    ] {
        let (input, grad_output, weight) = (x.view(), g.view(), Some(weight.view()));
        let at = At { input, grad_output, weight, statistics: &statistics, origin };
        backward_into(&at, sums, Some(grad_input.view_mut())).unwrap();
    }
    normalize_into(x.view(), &statistics, affine, evaluated.view_mut()).unwrap();
    assert_eq!(evaluated, y, "normalised by what was measured");
    let mut in_place = x.clone();
    normalize_in_place(in_place.view_mut(), &statistics, affine).unwrap();
    assert_eq!(in_place, y, "normalised in place");
    let rectified = rectified(x, g, affine, &statistics);
    let arrays = [&y, &grad_input, &grad_input_of_evaluation].map(|array| array.iter().map(|v| v.to_f64()));
    let of_moments = moments.iter().flat_map(|m| [m.mean.hi, m.mean.lo, m.m2]);
    let of_sums = sums.iter().flatten().flat_map(|sums| [sums.grad_bias, sums.grad_weight]);
    let numbers = arrays.into_iter().flatten().chain(of_moments).chain(of_sums).chain(rectified);
    numbers.map(f64::to_bits).collect()
}

/// Every number that the passes through relu give, with g for a residual too. The
/// statistics are those of the batch.
fn rectified<T: MixesWith<P>, P: Element>(
    x: &ArrayD<T>,
    g: &ArrayD<T>,
    affine: Affine<'_, P>,
    statistics: &[Statistics],
) -> Vec<f64> {
    let (channels, mut numbers) = (x.shape()[1], Vec::new());
    for residual in [None, Some(g.view())] {
        let (mut mask, mut of_evaluation) = (ReluMask::default(), ReluMask::default());
        let [mut y, mut evaluated, mut grad_residual] = [(); 3].map(|()| x.mapv(|_| T::default()));
        let mut moments = vec![Moments::default(); channels];
        let mut measured = vec![Statistics::default(); channels];
        let relu = Relu { residual: residual.clone(), mask: &mut mask };
        forward_train_relu_into(x.view(), affine, 1e-5, relu, y.view_mut(), &mut moments, &mut measured)
            .unwrap();
        assert_eq!(measured, statistics, "the same statistics with and without relu");
        let relu = Relu { residual, mask: &mut of_evaluation };
        normalize_relu_into(x.view(), statistics, affine, relu, evaluated.view_mut()).unwrap();
        assert_eq!((&evaluated, &of_evaluation), (&y, &mask), "normalised by what was measured");
        numbers.extend(y.iter().map(|v| v.to_f64()));
        numbers.extend(mask.to_array().iter().map(|&bit| f64::from(u8::from(bit))));
        for origin in [Origin::Batch, Origin::Running] {
            let (input, grad_output, weight) = (x.view(), g.view(), affine.weight);
            let at = At { input, grad_output, weight, statistics, origin };
            let mut sums = vec![GradSums::default(); channels];
            let mut grad_input = x.mapv(|_| T::default());
            let into = (Some(grad_input.view_mut()), Some(grad_residual.view_mut()));
            backward_relu_into(&at, &mask, &mut sums, into.0, into.1).unwrap();
            numbers.extend(grad_input.iter().chain(&grad_residual).map(|v| v.to_f64()));
            numbers.extend(sums.iter().flat_map(|sums| [sums.grad_bias, sums.grad_weight]));
        }
    }
    numbers
}

fn same_everywhere<T: MixesWith<P>, P: Element>(shape: &[usize], channels_last: bool, mean: f64) {
    let x = noise::<T>(shape, channels_last, mean, 7);
    let g = noise::<T>(shape, channels_last, 0.125, 11);
    let run = |level: Level, threads: usize| {
        if cfg!(miri) {
            // One thread; what is interpreted has no time for rayon's.
            FORCED.set(Some(level));
            return everything::<T, P>(&x, &g);
        }
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            FORCED.set(Some(level));
            everything::<T, P>(&x, &g)
        })
    };
    let expected = run(Level::available()[0], 1);
    for level in Level::available() {
        for threads in [1, 2, 3, 7] {
            let got = run(level, threads);
            let differ = got.iter().zip(&expected).position(|(a, b)| a != b);
            let case = format!("{} {shape:?}, channels last: {channels_last}, mean {mean}", T::DTYPE);
            assert_eq!(differ, None, "{case}: {} with {threads} threads and the portable one", level.name());
        }
    }
}

/// Small ones; rows of every length around eight; several pieces, stretches and
/// groups; more channels than a group has; means that ask for the shift.
#[test]
fn every_instruction_set_and_number_of_threads_gives_the_same_bits() {
    let shapes: [&[usize]; 12] = [
        &[4, 20],
        &[10, 7],
        &[3, 5, 1],
        &[2, 3, 7],
        &[3, 2, 4, 2],
        &[5, 4, 3, 3],
        &[6, 3, 15],
        &[2, 5, 17],
        &[3, 70, 7, 7],
        &[40, 3, 33, 29],
        &[2, 2, 41_000],
        &[40, 1100, 3],
    ];
    // The first seven are small enough to be interpreted.
    for shape in &shapes[..if cfg!(miri) { 7 } else { shapes.len() }] {
        for channels_last in [false, true] {
            for mean in [0.5, 1000.0] {
                same_everywhere::<f32, f32>(shape, channels_last, mean);
                same_everywhere::<f64, f64>(shape, channels_last, mean);
                same_everywhere::<bf16, f32>(shape, channels_last, mean);
                same_everywhere::<f16, f32>(shape, channels_last, mean);
            }
        }
    }
}

/// Above [`STREAM_BYTES`] the outputs take another way, from any alignment.
#[test]
#[cfg_attr(miri, ignore = "millions of elements")]
fn streamed_outputs_are_the_same() {
    let elements = STREAM_BYTES / 4 + 4096;
    for shape in [
        [1, 3, elements / 3 + 1],
        [elements / 640, 10, 64],
        [elements / 1212, 1, 1212],
        [2, elements / 64, 32],
    ] {
        for channels_last in [false, true] {
            let x = noise::<f32>(&shape, channels_last, 0.5, 3);
            let mut outputs = Vec::new();
            for level in Level::available() {
                FORCED.set(Some(level));
                let mut y = x.mapv(|_| f32::NAN);
                let statistics = vec![Statistics::from_running(0.25, 2.0, 1e-5); shape[1]];
                let affine = Affine::<f32> { weight: None, bias: None };
                normalize_into(x.view(), &statistics, affine, y.view_mut()).unwrap();
                outputs.push(y.clone());
                let mut mask = ReluMask::default();
                let relu = Relu { residual: None, mask: &mut mask };
                let mut rectified = y.clone();
                normalize_relu_into(x.view(), &statistics, affine, relu, rectified.view_mut()).unwrap();
                assert!(
                    rectified == y.mapv(|y| if y > 0.0 { y } else { 0.0 }),
                    "{shape:?}, {}",
                    level.name()
                );
                assert!(mask.to_array() == y.mapv(|y| y > 0.0), "{shape:?}, {}", level.name());
                let (mut grad_input, mut grad_residual) = (y.clone(), y.clone());
                let (input, grad_output) = (x.view(), x.view());
                let (weight, origin) = (None, Origin::Running);
                let at = At::<_, f32> { input, grad_output, weight, statistics: &statistics, origin };
                let into = (Some(grad_input.view_mut()), Some(grad_residual.view_mut()));
                backward_relu_into(&at, &mask, &mut vec![GradSums::default(); shape[1]], into.0, into.1)
                    .unwrap();
                y.zip_mut_with(&x, |y, x| *y = if *y > 0.0 { *x } else { 0.0 });
                assert!(grad_residual == y, "{shape:?}, {}", level.name());
                let invstd = 1.0 / (2.0f64 + 1e-5).sqrt();
                assert!(
                    grad_input == y.mapv(|g| (f64::from(g) * invstd) as f32),
                    "{shape:?}, {}",
                    level.name()
                );
            }
            let factor = 1.0 / (2.0f64 + 1e-5).sqrt();
            let plain = x.mapv(|x| ((f64::from(x) - 0.25) * factor) as f32);
            for (y, level) in outputs.iter().zip(Level::available()) {
                assert!(*y == plain, "{shape:?}, channels last: {channels_last}, {}", level.name());
            }
        }
    }
}

/// Every bit pattern of the 16-bit dtypes comes through every set as through scalars.
#[test]
#[cfg_attr(miri, ignore = "every bit pattern; the scalars have the same text")]
fn sixteen_bit_conversions_are_those_of_the_scalars() {
    const BOTH: usize = 2 * simd::LANES;
    struct There<'a, T>(&'a [T; simd::LANES], &'a mut [f64; simd::LANES]);
    impl<T: Element> Kernel for There<'_, T> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            *self.1 = simd.lanes(T::load(simd, self.0));
            for len in 0..simd::LANES {
                let part = simd.lanes(T::load_part(simd, &self.0[..len]));
                let expected = std::array::from_fn(|k| if k < len { self.1[k].to_bits() } else { 0 });
                assert_eq!(part.map(f64::to_bits), expected, "{} of a part", T::DTYPE);
            }
        }
    }
    /// Eight at a time, sixteen at a time, and a part of eight.
    struct Back<'a, T>(&'a [f64; BOTH], [&'a mut [T; BOTH]; 3], usize);
    impl<T: Element> Kernel for Back<'_, T> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            let Back(wide, [eights, sixteen, parts], len) = self;
            let v = [simd.load_f64(wide.first_chunk().unwrap()), simd.load_f64(wide.last_chunk().unwrap())];
            for (v, eight) in v.into_iter().zip(eights.as_chunks_mut().0) {
                T::store(simd, v, eight);
            }
            let (low, high) = sixteen.split_at_mut(simd::LANES);
            T::store_twice(simd, v, [low.first_chunk_mut().unwrap(), high.first_chunk_mut().unwrap()]);
            T::store_part(simd, v[0], &mut parts[..len]);
        }
    }
    fn check<T: Element>(from_bits: impl Fn(u16) -> T) {
        let same = |a: f64, b: f64| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
        for level in Level::available() {
            let context = Context { level, ..Context::for_elements::<T>(0) };
            for bits in (0..=u16::MAX).step_by(simd::LANES) {
                let values: [T; simd::LANES] = std::array::from_fn(|k| from_bits(bits + k as u16));
                let mut wide = [0.0; simd::LANES];
                context.run(There(&values, &mut wide));
                assert!(
                    wide.iter().zip(&values).all(|(&w, v)| same(w, v.to_f64())),
                    "{} {bits:#x}",
                    level.name()
                );
                // The value, midpoints to the next one, and what is next to those in f64: beside
                // values that need no second look, and beside each other.
                let all = [
                    wide,
                    wide.map(f64::next_up),
                    wide.map(f64::next_down),
                    wide.map(|w| w * (1.0 + 2f64.powi(-9))),
                    wide.map(|w| (w * (1.0 + 2f64.powi(-9))).next_up()),
                    wide.map(|w| w * (1.0 + 2f64.powi(-12))),
                    wide.map(|w| (w * (1.0 + 2f64.powi(-12))).next_down()),
                    wide.map(|w| w * 1.0007),
                ];
                for (k, moved) in all.iter().enumerate() {
                    let beside = &all[(k + 1) % all.len()];
                    let pair: [f64; BOTH] =
                        std::array::from_fn(
                            |k| {
                                if k < simd::LANES { moved[k] } else { beside[k - simd::LANES] }
                            },
                        );
                    let mut narrow = [[T::default(); BOTH]; 3];
                    let len = k % simd::LANES;
                    context.run(Back(&pair, narrow.each_mut(), len));
                    let [eights, sixteen, parts] = narrow;
                    let right = |(n, &m): (&T, &f64)| same(n.to_f64(), T::from_f64(m).to_f64());
                    let case = format!("{} {} {pair:?}", T::DTYPE, level.name());
                    assert!(eights.iter().zip(&pair).all(right), "{case}");
                    assert!(sixteen.iter().zip(&pair).all(right), "{case}, sixteen at once");
                    assert!(parts[..len].iter().zip(&pair).all(right), "{case}, {len} of eight");
                    assert!(parts[len..].iter().all(|v| *v == T::default()), "{case}, beyond {len}");
                }
            }
        }
    }
    check(f16::from_bits);
    check(bf16::from_bits);
}
