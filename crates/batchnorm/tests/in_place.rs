//! A pass over its own input gives what a pass into another array gives, to the bit.

use batchnorm::{BatchNorm, Config, Element, Error, MixesWith, Saved};
use half::{bf16, f16};
use ndarray::{Array1, ArrayD, IxDyn, Slice};

/// Values of many sizes around 3, and where asked some that are none.
fn values<T: Element>(shape: &[usize], special: bool) -> ArrayD<T> {
    let mut count = 0u64;
    ArrayD::from_shape_simple_fn(IxDyn(shape), || {
        count += 1;
        let noise = (count.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f64 / f64::from(1 << 24);
        match count % 11 {
            3 if special => T::from_f64(f64::INFINITY),
            7 if special => T::from_f64(f64::NAN),
            _ => T::from_f64(3.0 + 4.0 * (noise - 0.5)),
        }
    })
}

fn layer<P: Element>(channels: usize, training: bool) -> BatchNorm<P> {
    let mut layer = BatchNorm::<P>::new(Config::new(channels));
    let ramp = |first: f64| Some(Array1::from_shape_fn(channels, |c| P::from_f64(first + c as f64 / 4.0)));
    let state = layer.state_mut();
    (state.weight, state.bias) = (ramp(-1.0), ramp(0.25));
    (state.running_mean, state.running_var) = (ramp(2.0), ramp(0.5));
    if training {
        layer.train()
    } else {
        layer.eval()
    }
    layer
}

fn bits<T: Element>(array: &ArrayD<T>) -> Vec<u64> {
    array.iter().map(|v| if v.to_f64().is_nan() { u64::MAX } else { v.to_f64().to_bits() }).collect()
}

/// In the array's own strides; as a part of a larger array; and with its axes turned round.
fn check<T: MixesWith<P>, P: Element>(input: &ArrayD<T>, training: bool) {
    let channels = input.shape()[1];
    let case = format!("{} {:?} {:?}, training: {training}", T::DTYPE, input.shape(), input.strides());
    let (mut apart, mut saved) = (layer::<P>(channels, training), Saved::default());
    let mut output = input.mapv(|_| T::default());
    apart.forward_into(input.view(), output.view_mut(), &mut saved).unwrap();

    let (mut here, mut saved_here) = (layer::<P>(channels, training), Saved::default());
    let mut values = input.clone();
    here.forward_in_place(values.view_mut(), &mut saved_here).unwrap();
    assert_eq!(bits(&values), bits(&output), "{case}");
    let of_state = |layer: &BatchNorm<P>| format!("{:?}", layer.state());
    assert_eq!(of_state(&here), of_state(&apart), "{case}");
    assert_eq!(format!("{saved_here:?}"), format!("{saved:?}"), "{case}");

    let mut shape = input.shape().to_vec();
    shape[0] *= 2;
    let mut larger = ArrayD::from_elem(IxDyn(&shape), T::from_f64(77.0));
    let mut part = larger.slice_axis_mut(ndarray::Axis(0), Slice::new(0, None, 2));
    part.assign(input);
    let mut output = input.mapv(|_| T::default());
    let (into, saved) = (output.view_mut(), &mut Saved::default());
    layer::<P>(channels, training).forward_into(part.view(), into, saved).unwrap();
    layer::<P>(channels, training).forward_in_place(part.view_mut(), saved).unwrap();
    assert_eq!(bits(&part.to_owned()), bits(&output), "{case}: every second sample");
    let others = larger.slice_axis(ndarray::Axis(0), Slice::new(1, None, 2));
    assert!(others.iter().all(|v| v.to_f64() == 77.0), "{case}: the samples between are not touched");
}

fn check_layouts<T: MixesWith<P>, P: Element>(special: bool) {
    for shape in [&[6, 5][..], &[4, 3, 7], &[3, 4, 5, 9], &[2, 3, 40, 41], &[5, 70, 3, 3]] {
        for training in [true, false] {
            let input = values::<T>(shape, special);
            check::<T, P>(&input, training);
            if shape.len() == 4 {
                let turned = |axes: [usize; 4]| {
                    let mut back = [0; 4];
                    axes.iter().enumerate().for_each(|(to, &from)| back[from] = to);
                    let memory = input.view().permuted_axes(IxDyn(&axes));
                    memory.as_standard_layout().into_owned().permuted_axes(IxDyn(&back))
                };
                check::<T, P>(&turned([0, 2, 3, 1]), training);
                check::<T, P>(&turned([3, 1, 0, 2]), training);
            }
        }
    }
}

#[test]
fn in_place_is_as_into_another_array() {
    for special in [false, true] {
        check_layouts::<f32, f32>(special);
        check_layouts::<f64, f64>(special);
        check_layouts::<f16, f32>(special);
        check_layouts::<bf16, bf16>(special);
    }
}

#[test]
fn values_whose_squares_overflow_come_out_right() {
    let input = values::<f64>(&[4, 3, 10], false).mapv(|v| v * 1e200);
    check::<f64, f64>(&input, true);
}

#[test]
fn what_is_refused_is_not_touched() {
    let mut values = values::<f32>(&[4, 3, 5], false);
    let before = values.clone();
    let refused = layer::<f32>(2, false).forward_in_place(values.view_mut(), &mut Saved::default());
    assert!(matches!(refused, Err(Error::NumFeatures { .. })), "{refused:?}");
    assert_eq!(values, before);
}
