//! Relu in the kernels, in every order of threads and on every kind of device.

mod common;

use batchnorm::{Config, DType, OutputMask, Rank};
use bn_cuda::emulator::Emulator;
use bn_cuda::{Array, BatchNorm, Device, Error, ReluMask, State};

use common::relu;
use common::{SETTINGS, Setting};

fn emulator((schedule, properties): Setting) -> Emulator {
    Emulator::new(schedule).with_properties(properties)
}

/// What is asked is in `common/relu.rs`; and every kernel that there is is asked.
#[test]
fn relu_is_what_its_parts_are() {
    let mut launched = Vec::new();
    for setting in SETTINGS {
        let device = emulator(setting);
        relu::check(&device).unwrap_or_else(|difference| panic!("{setting:?}: {difference}"));
        launched.extend(device.launched());
    }
    for kernel in ["baseline", "resident", "slab", "stream", "strip"] {
        for pass in ["forward_train", "forward_eval", "backward_train", "backward_eval"] {
            for dtype in ["f32", "f16", "bf16"] {
                let name = format!("{kernel}_{pass}_{dtype}");
                // Streams and strips have nothing to do in evaluation forwards.
                let there_is_none = matches!(kernel, "stream" | "strip") && pass == "forward_eval";
                assert_eq!(launched.contains(&name), !there_is_none, "{name}");
            }
        }
    }
}

#[test]
fn other_shapes_are_refused_and_empty_arrays_have_empty_masks() {
    let device = emulator(SETTINGS[0]);
    let state = |channels: usize| State {
        weight: None,
        bias: None,
        running_mean: Some(bn_cuda::Vector::upload(&device, DType::F32, &vec![0.0; channels]).unwrap()),
        running_var: Some(bn_cuda::Vector::upload(&device, DType::F32, &vec![1.0; channels]).unwrap()),
        num_batches_tracked: Some(0),
    };
    let zeros = |shape: [usize; 3]| {
        let [n, c, l] = shape;
        let memory = device.upload(&vec![0; n * c * l * 4]).unwrap();
        Array::new(memory, DType::F32, &shape, &[c * l, l, 1], 0).unwrap()
    };
    let mut layer = BatchNorm::new(Rank::Any, Config::new(3).affine(false), state(3));
    let (x, other) = (zeros([4, 3, 5]), zeros([4, 3, 6]));
    let refused = |name, actual: &[usize]| {
        let (expected, actual) = (vec![4, 3, 5], actual.to_vec());
        Error::Refused(batchnorm::Error::Shape { name, expected, actual })
    };
    let got = layer.forward_add_relu(&device, &x, &other).unwrap_err();
    assert_eq!(got, refused("residual", &[4, 3, 6]));
    assert_eq!(layer.state().num_batches_tracked, Some(0));
    let (y, saved, _) = layer.forward_relu(&device, &x).unwrap();
    let (_, _, of_other) = layer.forward_relu(&device, &other).unwrap();
    for (mask, shape) in [(&of_other, &[4, 3, 6][..]), (&ReluMask::default(), &[0, 0])] {
        let got = layer.backward_relu(&device, &saved, &x, &y, mask, OutputMask::ALL).unwrap_err();
        assert_eq!(got, refused("mask", shape));
    }

    layer.set_training(false);
    for shape in [[0, 3, 4], [2, 3, 0]] {
        let x = zeros(shape);
        let (y, saved, mask) = layer.forward_add_relu(&device, &x, &x).unwrap();
        assert_eq!((y.shape(), mask.download(&device).unwrap()), (&shape[..], vec![]));
        layer.backward_add_relu(&device, &saved, &x, &x, &mask, OutputMask::ALL).unwrap();
    }
}
