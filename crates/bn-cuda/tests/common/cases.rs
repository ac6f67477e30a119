//! Cases that each kernel must meet, on a small device: the catalogue's are mostly too small to
//! need several blocks, or tiles.

use bn_suite::case::{Case, Layer, Mode, Pass, State, Step};
use bn_suite::catalogue::Entry;
use bn_suite::tensor::{DType, Layout, Tensor};

/// (N, C, H, W): one group to a channel and several, whole and ragged, blocks that share a group,
/// tiles; few channels and more than threads, and threads that no channel has; one position; N
/// smaller than a cluster.
const SHAPES: [[usize; 4]; 13] = [
    [6, 3, 4, 10],
    [7, 6, 6, 7],
    [5, 12, 5, 5],
    [3, 2, 20, 35],
    [128, 2, 20, 30],
    [130, 6, 2, 71],
    [40, 12, 5, 10],
    [2, 1100, 2, 4],
    [9, 33, 1, 8],
    [16, 72, 1, 2],
    [150, 1, 4, 10],
    [30, 12, 4, 4],
    [9, 2, 80, 80],
];

/// Each shape in each dtype and layout, in training and in evaluation, with gradients.
pub fn kernels() -> Vec<Entry> {
    let mut entries = Vec::new();
    for shape in SHAPES {
        for dtype in [DType::F32, DType::F16, DType::Bf16] {
            for layout in [Layout::Contiguous, Layout::ChannelsLast] {
                for mode in [Mode::Train, Mode::Eval] {
                    entries.push(entry(shape, dtype, layout.clone(), mode));
                }
            }
        }
    }
    let special =
        |shape, dtype, value| starting_with(value, entry(shape, dtype, Layout::Contiguous, Mode::Train));
    entries.push(special(SHAPES[4], DType::F32, f64::INFINITY));
    entries.push(special(SHAPES[0], DType::F16, f64::NAN));
    entries.push(special(SHAPES[0], DType::Bf16, f64::NAN));
    entries
}

/// The first value of the first channel is infinite, or NaN: so is its mean.
fn starting_with(value: f64, mut entry: Entry) -> Entry {
    entry.case.name.push_str(&format!("-{value}"));
    if let Step::BatchNorm(pass) = &mut entry.case.steps[0] {
        pass.input.data[0] = value;
    }
    entry
}

fn entry(shape: [usize; 4], dtype: DType, layout: Layout, mode: Mode) -> Entry {
    let [n, c, h, w] = shape;
    let tensor = |seed: usize| {
        let values = (0..n * c * h * w).map(|i| value(i * 31 + seed, i / (h * w) % c)).collect();
        Tensor::new(dtype, &shape, values).with_layout(layout.clone())
    };
    let vector = |from: f64, step: f64| {
        let values: Vec<f64> = (0..c).map(|channel| from + step * (channel % 7) as f64).collect();
        Some(Tensor::vector(DType::F32, &values))
    };
    let pass = Pass { grad_output: Some(tensor(77)), ..Pass::forward(mode, tensor(5)) };
    let case = Case {
        name: format!("kernels/{}-{shape:?}-{layout:?}-{mode:?}", dtype.name()),
        note: "An array that a small device cuts up.".into(),
        layer: Layer { num_features: c, ..Layer::default() },
        state: State {
            weight: vector(0.5, 0.25),
            bias: vector(-1.0, 0.5),
            running_mean: vector(0.125, 0.0625),
            running_var: vector(0.75, 0.5),
            num_batches_tracked: Some(3),
        },
        steps: vec![Step::BatchNorm(Box::new(pass))],
    };
    Entry { case, stored: false, disputed: None }
}

/// A multiple of 1/16 from −4 to 4, about a mean of the channel's own: a value of every dtype. In
/// every fifth channel a 64th of that, so that eps is felt.
fn value(seed: usize, channel: usize) -> f64 {
    let mixed = (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let value = (mixed % 97) as f64 / 16.0 - 3.0 + (channel % 5) as f64 / 4.0;
    if channel % 5 == 1 { value / 64.0 } else { value }
}
