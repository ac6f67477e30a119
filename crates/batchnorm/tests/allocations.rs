//! Passes into given arrays allocate nothing: a training loop may run them for ever.
//! (Up to rank 4. Of higher ranks ndarray keeps each shape in a box, and makes some when
//! it is asked whether an array is contiguous.)

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use batchnorm::{
    BatchNorm, Config, GradientsInto, MixesWith, Relu, ReluGradientsInto, ReluMask, Saved, Workspace,
};
use half::bf16;
use ndarray::{Array1, ArrayD, IxDyn};

/// Counts what this thread asks for.
struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: all work is the system allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: as this function's own contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as this function's own contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(run: impl FnOnce()) -> usize {
    let before = COUNT.get();
    run();
    COUNT.get() - before
}

fn check<T: MixesWith<P>, P: batchnorm::Element>(shape: &[usize]) {
    let channels = shape[1];
    let mut next = 0u32;
    let input = ArrayD::from_shape_simple_fn(IxDyn(shape), || {
        next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        T::from_f64(f64::from(next >> 20) / 1024.0)
    });
    let (mut output, mut grad_input) = (input.mapv(|_| T::default()), input.clone());
    let mut grad_residual = input.clone();
    let vector = || Array1::from_elem(channels, P::default());
    let (mut grad_weight, mut grad_bias) = (vector(), vector());
    let mut layer = BatchNorm::<P>::new(Config::new(channels));
    let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
    let mut mask = ReluMask::default();
    let mut pass = |training: bool, relu: bool| {
        let (forward_input, backward_input, grad_output) = (input.view(), input.view(), input.view());
        let (residual, of_residual) = (Some(input.view()), Some(grad_residual.view_mut()));
        let output = output.view_mut();
        let into = GradientsInto {
            input: Some(grad_input.view_mut()),
            weight: Some(grad_weight.view_mut()),
            bias: Some(grad_bias.view_mut()),
        };
        layer.set_training(training);
        allocations(|| {
            if relu {
                let relu = Relu { residual, mask: &mut mask };
                layer.forward_relu_into(forward_input, relu, output, &mut saved).unwrap();
                let into = ReluGradientsInto { residual: of_residual, batch_norm: into };
                saved.backward_relu_into(backward_input, grad_output, &mask, into, &mut workspace).unwrap();
                return;
            }
            layer.forward_into(forward_input, output, &mut saved).unwrap();
            saved.backward_into(backward_input, grad_output, into, &mut workspace).unwrap();
        })
    };
    for relu in [false, true] {
        assert!(pass(true, relu) > 0, "the first pass makes what the later ones use: the counter counts");
        for training in [true, false, true] {
            let allocated = pass(training, relu);
            assert_eq!(allocated, 0, "{} {shape:?}, training: {training}, relu: {relu}", T::DTYPE);
        }
    }
    for training in [true, false] {
        layer.set_training(training);
        let values = output.view_mut();
        let allocated = allocations(|| layer.forward_in_place(values, &mut saved).unwrap());
        assert_eq!(allocated, 0, "{} {shape:?}, training: {training}, in place", T::DTYPE);
    }
}

#[test]
fn later_passes_into_given_arrays_allocate_nothing() {
    for shape in [&[16, 20][..], &[4, 3, 5], &[4, 3, 5, 7], &[8, 2, 32, 33]] {
        check::<f32, f32>(shape);
        check::<f64, f64>(shape);
        check::<bf16, f32>(shape);
    }
}
