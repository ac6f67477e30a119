//! What does a pass take of the device's memory? What it answers, and nothing else, from the second
//! pass on.

mod common;

use std::cell::Cell;

use batchnorm::{Config, DType, OutputMask, Rank};
use bn_cuda::arguments::Arguments;
use bn_cuda::device::{DeviceError, Launch, Properties};
use bn_cuda::emulator::{Emulator, HostMemory, Schedule};
use bn_cuda::{Array, BatchNorm, Device, Error, Gradients, Relu, ReluMask, State, Vector};

use common::{SMALL, TINY};

/// A device that counts how often it is asked for memory.
struct Counted {
    device: Emulator,
    asked: Cell<usize>,
}

impl Device for Counted {
    type Memory = HostMemory;

    fn name(&self) -> String {
        self.device.name()
    }

    fn properties(&self) -> Properties {
        self.device.properties()
    }

    fn allocate(&self, bytes: usize) -> Result<HostMemory, DeviceError> {
        self.asked.set(self.asked.get() + 1);
        self.device.allocate(bytes)
    }

    fn upload(&self, bytes: &[u8]) -> Result<HostMemory, DeviceError> {
        self.asked.set(self.asked.get() + 1);
        self.device.upload(bytes)
    }

    fn download(&self, memory: &HostMemory) -> Result<Vec<u8>, DeviceError> {
        self.device.download(memory)
    }

    unsafe fn launch<A: Arguments>(
        &self,
        launch: &Launch,
        arguments: &A,
        inputs: &[&HostMemory],
        outputs: &[&HostMemory],
    ) -> Result<(), DeviceError> {
        // SAFETY: the caller's.
        unsafe { self.device.launch(launch, arguments, inputs, outputs) }
    }
}

fn counted(properties: Properties) -> Counted {
    let device = Emulator::new(Schedule::Ascending).with_properties(properties);
    Counted { device, asked: Cell::new(0) }
}

fn layer(device: &Counted, channels: usize) -> BatchNorm<Counted> {
    let vector = |value| Vector::upload(device, DType::F32, &vec![value; channels]).ok();
    let (weight, bias) = (vector(0.5), vector(0.25));
    let state = State { weight, bias, running_mean: None, running_var: None, num_batches_tracked: None };
    let config = Config { track_running_stats: false, ..Config::new(channels) };
    BatchNorm::new(Rank::Two, config, state)
}

fn array(device: &Counted, [n, c, l]: [usize; 3], last: bool, seed: usize) -> Array<Counted> {
    let strides = if last { [c * l, 1, c, c] } else { [c * l, l, l, 1] };
    let values = (0..n * c * l).map(|i| ((i * 7 + seed) % 13) as f32 - 5.5);
    let bytes: Vec<u8> = values.flat_map(f32::to_ne_bytes).collect();
    Array::new(device.upload(&bytes).unwrap(), DType::F32, &[n, c, 1, l], &strides, 0).unwrap()
}

/// The kernels whose blocks tell each other something: slabs, streams, strips.
#[test]
fn the_second_pass_needs_no_memory_but_for_its_statistics() {
    let places = [
        (Properties::EMULATED, [20, 12, 25], true, "slab"),
        (TINY, [300, 1, 40], false, "stream"),
        (SMALL, [100, 12, 10], true, "strip"),
    ];
    for (properties, shape, last, kernel) in places {
        let device = counted(properties);
        let mut layer = layer(&device, shape[1]);
        let [x, z, g, y] = [0, 1, 2, 3].map(|seed| array(&device, shape, last, seed));
        let mut mask = ReluMask::new();
        let gradients = layer.gradients_like(&device, &x, OutputMask::ALL).unwrap();
        let residual = Array::like(&device, &x).unwrap();
        let mut pass = || {
            let before = device.asked.get();
            let relu = Relu { residual: Some(&z), mask: &mut mask };
            let saved = layer.forward_relu_into(&device, &x, relu, &y).unwrap();
            assert!(device.device.last_launch().unwrap().kernel.starts_with(kernel));
            layer.backward_relu_into(&device, &saved, &x, &g, &mask, &gradients, Some(&residual)).unwrap();
            layer.backward_into(&device, &saved, &x, &g, &gradients).unwrap();
            let answers = [y.memory(), residual.memory(), gradients.input.as_ref().unwrap().memory()];
            let bits = answers.map(|memory| device.download(memory).unwrap());
            (device.asked.get() - before, bits, mask.download(&device).unwrap())
        };
        let (first, second, third) = (pass(), pass(), pass());
        assert!(first.0 > 1, "{kernel}: {}", first.0);
        assert_eq!((second.0, third.0), (1, 1), "{kernel}");
        assert!((&second.1, &second.2) == (&first.1, &first.2) && third.1 == first.1, "{kernel}: other bits");
    }
}

#[test]
fn a_gradient_has_the_shape_and_dtype_of_what_it_is_the_gradient_of() {
    let device = counted(Properties::EMULATED);
    let mut layer = layer(&device, 3);
    let [x, other] = [[4, 3, 5], [4, 3, 6]].map(|shape| array(&device, shape, false, 0));
    let y = Array::like(&device, &x).unwrap();
    let saved = layer.forward_into(&device, &x, &y).unwrap();
    let none = || Gradients { input: None, weight: None, bias: None };
    let refused =
        |gradients: &Gradients<Counted>| match layer.backward_into(&device, &saved, &x, &y, gradients) {
            Err(Error::Refused(refusal)) => refusal.to_string(),
            other => panic!("{other:?}"),
        };
    let vector = |dtype, len| Vector::upload(&device, dtype, &vec![0.0; len]).ok();
    let found = [
        refused(&Gradients { input: Some(other), ..none() }),
        refused(&Gradients { weight: vector(DType::F32, 4), ..none() }),
        refused(&Gradients { bias: vector(DType::F16, 3), ..none() }),
    ];
    let (expected, actual) = (vec![4, 3, 1, 5], vec![4, 3, 1, 6]);
    let expected = [
        batchnorm::Error::Shape { name: "grad_input", expected, actual },
        batchnorm::Error::NumFeatures { name: "grad_weight", expected: 3, actual: 4 },
        batchnorm::Error::Dtype { input: DType::F16, parameters: vec![DType::F32] },
    ];
    assert_eq!(found, expected.map(|error| error.to_string()));
}
