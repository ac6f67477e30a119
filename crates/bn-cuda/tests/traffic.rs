//! Do the kernels move what `docs/cuda.md` says, and no more? The machine counts what its threads
//! ask of each array.

mod common;

use batchnorm::{Config, DType, OutputMask, Rank};
use bn_cuda::arguments::{Backward, ForwardEval, ForwardTrain, Geometry};
use bn_cuda::device::{Launch, Properties};
use bn_cuda::emulator::{Emulator, HostMemory, Schedule, Traffic};
use bn_cuda::{Array, BatchNorm, Device, Relu, ReluMask, State, Vector};

use common::{OLD, SMALL, TINY};

/// How often a pass asks for each value of its arrays.
#[derive(Clone, Copy)]
struct Readings {
    forward_train: u64,
    forward_eval: u64,
    /// grad_output's, and the input's.
    backward_train: [u64; 2],
    backward_eval: [u64; 2],
}

/// A kernel, and arrays that it gets.
struct Place {
    kernel: &'static str,
    properties: Properties,
    shape: [usize; 4],
    is_channels_last: bool,
    readings: Readings,
}

const ONCE: Readings =
    Readings { forward_train: 1, forward_eval: 1, backward_train: [1, 1], backward_eval: [1, 1] };

/// The last column of the table in `docs/cuda.md`, and in evaluation what follows: nothing is added
/// up forwards, and grad_input needs no input.
fn places() -> [Place; 6] {
    let plain = Readings { forward_train: 3, forward_eval: 1, backward_train: [2, 2], backward_eval: [2, 1] };
    let place = |kernel, properties, shape, is_channels_last, readings| Place {
        kernel,
        properties,
        shape,
        is_channels_last,
        readings,
    };
    // A stream has nothing to do in evaluation forwards: another kernel reads once there.
    let twice = Readings { forward_train: 2, forward_eval: 1, backward_train: [2, 2], backward_eval: [2, 2] };
    [
        place("baseline", OLD, [6, 5, 7, 9], false, plain),
        place("resident", SMALL, [9, 4, 6, 7], false, ONCE),
        place("resident", Properties::EMULATED, [33, 3, 4, 10], false, ONCE),
        place("slab", Properties::EMULATED, [20, 12, 5, 5], true, ONCE),
        place("stream", TINY, [601, 1, 4, 10], false, twice),
        place(
            "strip",
            Properties { multiprocessors: 2, shared_bytes: 32 << 10, ..SMALL },
            [1501, 12, 1, 2],
            true,
            twice,
        ),
    ]
}

/// A pass's arrays, all of one shape.
struct Arrays {
    x: Array<Emulator>,
    z: Array<Emulator>,
    g: Array<Emulator>,
    y: Array<Emulator>,
}

fn arrays(device: &Emulator, place: &Place, dtype: DType) -> Arrays {
    let [n, c, h, w] = place.shape;
    let strides = if place.is_channels_last { [c * h * w, 1, w * c, c] } else { [c * h * w, h * w, w, 1] };
    let elements = n * c * h * w;
    let array = |seed: usize| {
        let values: Vec<f64> = (0..elements).map(|i| ((i * 7 + seed) % 13) as f64 - 5.5).collect();
        // A vector's memory is that of any array without gaps.
        let vector = Vector::upload(device, dtype, &values).unwrap();
        let bytes = device.download(vector.memory()).unwrap();
        Array::new(device.upload(&bytes).unwrap(), dtype, &place.shape, &strides, 0).unwrap()
    };
    Arrays { x: array(0), z: array(1), g: array(2), y: array(3) }
}

fn layer(device: &Emulator, channels: usize) -> BatchNorm<Emulator> {
    let vector = |value| Some(Vector::upload(device, DType::F32, &vec![value; channels]).unwrap());
    let state = State {
        weight: vector(0.5),
        bias: vector(0.25),
        running_mean: vector(0.0),
        running_var: vector(1.0),
        num_batches_tracked: Some(0),
    };
    BatchNorm::new(Rank::Two, Config::new(channels), state)
}

#[track_caller]
fn assert_moved(device: &Emulator, memory: &HostMemory, loaded: u64, stored: u64, what: &str) {
    let launch = device.last_launch().unwrap();
    assert_eq!(device.traffic_of(memory), Traffic { loaded, stored }, "{what}: {launch:?}");
}

/// What a launch moved besides these bytes of its arrays: parameters, statistics, and what blocks
/// tell each other. A thread asks for no more than 64 bytes for each channel that it comes to, and
/// those who merge what blocks or pieces noted for 48 bytes of each.
#[track_caller]
fn assert_little_besides(device: &Emulator, of_arrays: u64, channels: usize, geometry: Geometry) {
    let launch = device.last_launch().unwrap();
    let all = device.traffic();
    let besides = all.loaded + all.stored - of_arrays;
    let visits = match &launch.kernel[..5] {
        "strea" | "strip" => stretches(&launch, geometry),
        _ => i64::from(launch.blocks) * channels.div_ceil(launch.threads as usize) as i64,
    };
    let merged = match &launch.kernel[..5] {
        "strea" => visits * i64::from(launch.threads) * geometry.splits,
        _ => channels as i64 * i64::from(launch.blocks),
    };
    let bound = (64 * visits * i64::from(launch.threads) + 48 * merged) as u64;
    assert!(besides <= bound, "{besides} bytes besides the arrays, at most {bound}: {launch:?}");
}

/// The units of a stream, the tiles of a strip.
fn stretches(launch: &Launch, geometry: Geometry) -> i64 {
    let Geometry { batch, channels, group, splits, tile_rows, .. } = geometry;
    if launch.kernel.starts_with("stream") {
        return channels / group * splits;
    }
    let tiles = |first: i64| ((batch - first).min(group) + tile_rows - 1) / tile_rows;
    (0..batch).step_by(group as usize).map(tiles).sum()
}

/// How often a channel's first value is asked for besides: in a stream by each thread in each of two
/// passes over a unit; in a strip by each thread that has a channel for each tile, and by who merges.
fn pivots(launch: &Launch, geometry: Geometry) -> u64 {
    let threads = i64::from(launch.threads);
    // Channels are fewer than a warp's threads, which take one each.
    let count = match &launch.kernel[..5] {
        "strea" => 2 * stretches(launch, geometry) * threads,
        "strip" => stretches(launch, geometry) * threads / 32 * geometry.channels + geometry.channels,
        _ => 0,
    };
    count as u64
}

fn check(place: &Place, dtype: DType, training: bool, has_relu: bool, has_residual: bool) {
    let device = Emulator::new(Schedule::Ascending).with_properties(place.properties);
    let Arrays { x, z, g, y } = arrays(&device, place, dtype);
    let [n, c, h, w] = place.shape;
    let (elements, size) = ((n * c * h * w) as u64, if dtype == DType::F32 { 4 } else { 2 });
    let bytes = elements * size;
    let mut layer = layer(&device, c);
    layer.set_training(training);

    let mut mask = ReluMask::new();
    let saved = if has_relu {
        let relu = Relu { residual: has_residual.then_some(&z), mask: &mut mask };
        layer.forward_relu_into(&device, &x, relu, &y).unwrap()
    } else {
        layer.forward_into(&device, &x, &y).unwrap()
    };
    let launch = device.last_launch().unwrap();
    let (readings, geometry) = if training {
        (place.readings.forward_train, device.last_arguments::<ForwardTrain>().unwrap().geometry)
    } else {
        (place.readings.forward_eval, device.last_arguments::<ForwardEval>().unwrap().geometry)
    };
    let is_plain = launch.kernel.starts_with("baseline");
    let is_for_others = matches!(place.kernel, "stream" | "strip") && !training;
    assert!(launch.kernel.starts_with(place.kernel) || is_for_others, "{launch:?}");
    let pivots = size * pivots(&launch, geometry);
    assert_moved(&device, x.memory(), readings * bytes + pivots, 0, "x");
    assert_moved(&device, y.memory(), 0, bytes, "y");
    assert_moved(&device, z.memory(), if has_residual { bytes } else { 0 }, 0, "residual");
    let mut of_arrays = (readings + 1 + u64::from(has_residual)) * bytes + pivots;
    if let Some(memory) = mask.memory() {
        // A bit for each element; the plain kernel's are whole words of each channel.
        let bits = if is_plain { (c * (n * h * w).next_multiple_of(32)) as u64 } else { elements };
        assert_moved(&device, memory, 0, bits.div_ceil(8), "mask");
        of_arrays += bits.div_ceil(8);
    }
    assert_little_besides(&device, of_arrays, c, geometry);

    let all = OutputMask::ALL;
    let (gradients, residual) = if has_residual {
        let (gradients, residual) = layer.backward_add_relu(&device, &saved, &x, &g, &mask, all).unwrap();
        (gradients, Some(residual))
    } else if has_relu {
        (layer.backward_relu(&device, &saved, &x, &g, &mask, all).unwrap(), None)
    } else {
        (layer.backward(&device, &saved, &x, &g, all).unwrap(), None)
    };
    let launch = device.last_launch().unwrap();
    let is_place = launch.kernel.starts_with(place.kernel);
    assert!(is_place, "{launch:?}");
    let readings = if training { place.readings.backward_train } else { place.readings.backward_eval };
    let geometry = device.last_arguments::<Backward>().unwrap().geometry;
    // The plain kernel asks only for what relu let through.
    let passed = mask.download(&device).unwrap().into_iter().filter(|&bit| bit).count() as u64;
    let of_g = readings[0] * if has_relu && place.kernel == "baseline" { passed * size } else { bytes };
    assert_moved(&device, g.memory(), of_g, 0, "grad_output");
    assert_moved(&device, x.memory(), readings[1] * bytes, 0, "x");
    assert_moved(&device, gradients.input.as_ref().unwrap().memory(), 0, bytes, "grad_input");
    let mut of_arrays = of_g + (readings[1] + 1) * bytes;
    if let Some(residual) = &residual {
        assert_moved(&device, residual.memory(), 0, bytes, "grad_residual");
        of_arrays += bytes;
    }
    if let Some(memory) = mask.memory() {
        // Each element's thread asks for its byte, whenever g is read: eight threads of a warp for one.
        assert_moved(&device, memory, readings[0] * elements, 0, "mask");
        of_arrays += readings[0] * elements;
    }
    assert_little_besides(&device, of_arrays, c, geometry);
}

#[test]
fn each_kernel_moves_what_the_table_says() {
    for place in places() {
        for dtype in [DType::F32, DType::F16, DType::Bf16] {
            for training in [true, false] {
                for (has_relu, has_residual) in [(false, false), (true, false), (true, true)] {
                    check(&place, dtype, training, has_relu, has_residual);
                }
            }
        }
    }
}
