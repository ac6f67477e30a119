//! Which kernel does a layer of a network get?

use super::*;

fn contiguous(batch: usize, channels: usize, spatial: usize) -> arguments::Array {
    let mut array =
        arguments::Array { data: 64, channel_stride: spatial as i64, axes: 2, ..Default::default() };
    (array.length[0], array.stride[0]) = (batch as i64, (channels * spatial) as i64);
    (array.length[1], array.stride[1]) = (spatial as i64, 1);
    array
}

fn launch(operation: Operation, dtype: DType, [batch, channels, spatial]: [usize; 3]) -> Launch {
    let arrays = [contiguous(batch, channels, spatial)];
    let question = Question {
        operation,
        dtype,
        batch,
        channels,
        spatial,
        arrays: &arrays,
        has_relu: false,
        has_residual: false,
    };
    choose(&question, Properties::HOPPER).launch
}

#[test]
fn the_plain_kernels_have_a_block_per_channel_of_whole_warps() {
    let launch = |spatial| launch(Operation::BackwardEval, DType::Bf16, [1, 7, spatial]);
    assert_eq!(launch(3).kernel, "baseline_backward_eval_bf16");
    assert_eq!(launch(3).blocks, 7);
    let threads = [1, 257, 513, 9001, (1 << 21) + 1].map(|spatial| launch(spatial).threads);
    assert_eq!(threads, [32, 32, 64, 1024, 1024]);
}

/// The shapes of ResNet-50 at batch 32: what stays in shared memory, and in clusters of
/// how many blocks.
#[test]
fn which_layers_are_resident() {
    let resident = |operation, dtype, shape| {
        let launch = launch(operation, dtype, shape);
        launch.kernel.starts_with("resident").then_some((launch.cluster, launch.blocks, launch.shared_bytes))
    };
    use DType::{Bf16, F32};
    use Operation::{BackwardTrain, ForwardTrain};
    let found = [
        resident(ForwardTrain, F32, [32, 64, 112 * 112]),
        resident(BackwardTrain, F32, [32, 64, 112 * 112]),
        resident(BackwardTrain, Bf16, [32, 64, 112 * 112]),
        resident(ForwardTrain, F32, [32, 64, 56 * 56]),
        resident(BackwardTrain, F32, [32, 256, 56 * 56]),
        resident(ForwardTrain, F32, [32, 2048, 49]),
        resident(ForwardTrain, Bf16, [32, 512, 49]),
        resident(ForwardTrain, F32, [1, 64, 224 * 224]),
    ];
    // A channel of 1.6 MB needs eight multiprocessors; its gradient would need sixteen. Four
    // channels of 7×7 f32 make whole copies, eight of bf16. One long row is shared too.
    let expected = [
        Some((8, 512, 201096)),
        None,
        Some((8, 512, 201096)),
        Some((4, 256, 100744)),
        Some((4, 1024, 201096)),
        Some((1, 512, 25480)),
        Some((4, 256, 6664)),
        Some((4, 256, 50568)),
    ];
    assert_eq!(found, expected);
    // Too large for any cluster; an odd number of bytes; nothing at all.
    assert_eq!(resident(ForwardTrain, F32, [256, 64, 112 * 112]), None);
    assert_eq!(resident(ForwardTrain, Bf16, [32, 3, 49]), None);
    assert_eq!(resident(ForwardTrain, F32, [0, 64, 49]), None);
}

#[test]
fn what_no_cluster_holds_is_a_stream() {
    let stream = |operation, dtype, shape| {
        let launch = launch(operation, dtype, shape);
        launch.kernel.starts_with("stream").then_some((launch.blocks, launch.threads, launch.shared_bytes))
    };
    use DType::{Bf16, F32};
    use Operation::{BackwardTrain, ForwardTrain};
    let found = [
        stream(ForwardTrain, F32, [32, 64, 112 * 112]),
        stream(BackwardTrain, F32, [32, 64, 112 * 112]),
        stream(ForwardTrain, Bf16, [256, 64, 112 * 112]),
        stream(BackwardTrain, F32, [256, 256, 56 * 56]),
    ];
    // Tiles of three rows of 6272 bytes, four at once backward and two forward.
    let expected = [None, Some((264, 256, 75536)), Some((264, 256, 37904)), Some((264, 256, 75536))];
    assert_eq!(found, expected);
}

/// What is chosen for a channels-last array.
fn of_columns(operation: Operation, dtype: DType, [batch, channels, spatial]: [usize; 3]) -> Choice {
    let mut array = arguments::Array { data: 64, channel_stride: 1, axes: 1, ..Default::default() };
    (array.length[0], array.stride[0]) = ((batch * spatial) as i64, channels as i64);
    let arrays = [array];
    let (has_relu, has_residual) = (false, false);
    let question =
        Question { operation, dtype, batch, channels, spatial, arrays: &arrays, has_relu, has_residual };
    choose(&question, Properties::HOPPER)
}

#[test]
fn what_no_slabs_hold_is_strips() {
    let strip = |operation, dtype, shape| {
        let Choice { launch, geometry, .. } = of_columns(operation, dtype, shape);
        let of = (launch.blocks, launch.threads, geometry.group, geometry.tile_rows, launch.shared_bytes);
        launch.kernel.starts_with("strip").then_some(of)
    };
    use DType::{Bf16, F32};
    use Operation::{BackwardTrain, ForwardEval, ForwardTrain};
    // Tiles of 32 KiB; 2048 channels are two to each thread; 40000 leave no room for a position.
    let found = [
        strip(ForwardTrain, F32, [32, 256, 56 * 56]),
        strip(BackwardTrain, Bf16, [32, 64, 112 * 112]),
        strip(BackwardTrain, F32, [256, 2048, 49]),
        strip(ForwardTrain, F32, [32, 64, 56 * 56]),
        strip(ForwardEval, F32, [32, 256, 56 * 56]),
        strip(ForwardTrain, F32, [2000, 40_000, 1]),
    ];
    let expected = [
        Some((132, 1024, 761, 32, 90_128)),
        Some((132, 1024, 3041, 256, 155_664)),
        Some((131, 1024, 96, 4, 172_048)),
        None,
        None,
        None,
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_mask_wants_whole_bytes_of_each_block() {
    let choose = |has_relu, has_residual| {
        let arrays = [contiguous(8, 16, 49)];
        let (operation, dtype) = (Operation::ForwardTrain, DType::F32);
        let question = Question {
            operation,
            dtype,
            batch: 8,
            channels: 16,
            spatial: 49,
            arrays: &arrays,
            has_relu,
            has_residual,
        };
        let Choice { geometry, launch, .. } = super::choose(&question, Properties::HOPPER);
        (geometry.group, launch.shared_bytes)
    };
    // Of 49 values four channels are whole copies, eight are whole bytes of bits; a residual
    // takes as much room as x.
    let rows = |samples: u32, group: u32, arrays: u32| samples * group * 49 * 4 * arrays + DESK_BYTES;
    assert_eq!(choose(false, false), (4, rows(1, 4, 1)));
    assert_eq!(choose(true, false), (8, rows(1, 8, 1)));
    assert_eq!(choose(true, true), (8, rows(1, 8, 2)));
}

#[test]
fn which_channels_last_layers_are_slabs() {
    let slab = |dtype, shape| {
        let Choice { launch, geometry, .. } = of_columns(Operation::ForwardTrain, dtype, shape);
        launch.kernel.starts_with("slab").then_some((launch.blocks, geometry.group))
    };
    assert_eq!(slab(DType::F32, [32, 64, 56 * 56]), Some((132, 761)));
    assert_eq!(slab(DType::F32, [32, 2048, 49]), Some((131, 12)));
    assert_eq!(slab(DType::Bf16, [32, 1024, 14 * 14]), Some((131, 48)));
    assert_eq!(slab(DType::F32, [64, 100, 1]), Some((3, 22)));
    assert_eq!(slab(DType::F32, [4, 20, 1]), Some((1, 4)));
    // Beyond the shared memory of all; an odd number of bytes.
    assert_eq!(slab(DType::F32, [32, 256, 56 * 56]), None);
    assert_eq!(slab(DType::Bf16, [3, 5, 1]), None);
}

#[test]
fn a_resident_kernel_wants_contiguous_aligned_arrays_and_clusters() {
    let is_resident = |array, properties| {
        let question = Question {
            operation: Operation::ForwardTrain,
            dtype: DType::F32,
            batch: 8,
            channels: 16,
            spatial: 16,
            arrays: &[array],
            has_relu: false,
            has_residual: false,
        };
        choose(&question, properties).launch.kernel.starts_with("resident")
    };
    let plain = contiguous(8, 16, 16);
    assert!(is_resident(plain, Properties::HOPPER));
    assert!(!is_resident(plain, Properties { has_clusters: false, ..Properties::HOPPER }));
    assert!(!is_resident(plain, Properties { shared_bytes: 400, ..Properties::HOPPER }));
    assert!(!is_resident(arguments::Array { data: 68, ..plain }, Properties::HOPPER));
    assert!(!is_resident(arguments::Array { channel_stride: 17, ..plain }, Properties::HOPPER));
    let mut gaps = plain;
    gaps.stride[0] += 16;
    assert!(!is_resident(gaps, Properties::HOPPER));
}
