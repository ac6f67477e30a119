//! The order in which sums run, written down a second time: what the kernels save must have
//! these bits.

use batchnorm::{Config, DType, Rank};
use bn_cuda::arguments::ForwardTrain;
use bn_cuda::emulator::Emulator;
use bn_cuda::{Array, BatchNorm, Device, State};

use super::rounding;

/// (N, C, L) contiguous: part of a warp, warps, and several rounds; for the plain kernels, and
/// for the resident ones with one channel to a cluster, two and four, whole groups and a
/// ragged one; on a small device, streams.
const CONTIGUOUS: [[usize; 3]; 15] = [
    [2, 1, 1],
    [31, 1, 1],
    [33, 1, 1],
    [257, 3, 1],
    [5001, 1, 1],
    [333, 3, 5],
    [1001, 3, 5],
    [6, 3, 40],
    [7, 6, 42],
    [5, 12, 25],
    [3, 2, 700],
    [9, 6, 94],
    [64, 2, 600],
    [130, 6, 142],
    [9, 2, 6400],
];

/// (N, C, L) channels-last: several teams to a channel and one, one block and several, the last
/// one short, more channels than threads.
const CHANNELS_LAST: [[usize; 3]; 6] =
    [[4, 20, 1], [64, 100, 1], [40, 12, 50], [32, 33, 9], [16, 500, 3], [8, 1100, 2]];

/// A training pass whose sums are looked at.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    shape: [usize; 3],
    channels_last: bool,
    /// Whether the first value is infinite.
    infinite: bool,
}

impl Question {
    /// Of the array.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Every pass.
pub fn questions() -> Vec<Question> {
    let layouts = [(false, &CONTIGUOUS[..]), (true, &CHANNELS_LAST)];
    let in_layout = |infinite: bool| {
        layouts.into_iter().flat_map(move |(channels_last, shapes)| {
            shapes.iter().map(move |&shape| Question { shape, channels_last, infinite })
        })
    };
    [false, true].into_iter().flat_map(in_layout).collect()
}

/// Compares what each training pass saves and answers with the order's, bit for bit; and what an
/// evaluation pass rounds.
pub fn check(emulator: &Emulator) -> Result<(), String> {
    questions().into_iter().try_for_each(|question| ask(emulator, question))?;
    rounding::check(emulator)
}

/// Compares what one training pass saves and answers with the order's, bit for bit.
pub fn ask(emulator: &Emulator, question: Question) -> Result<(), String> {
    let Question { shape, channels_last: last, infinite } = question;
    let [batch, channels, spatial] = shape;
    let strides = if last { [channels * spatial, 1, channels] } else { [channels * spatial, spatial, 1] };
    // Sizes that differ by 2¹⁶ make each order round in its own way.
    let mut values: Vec<f32> = (0..batch * channels * spatial)
        .map(|i| ((i * 7919 % 1009) as f32 - 500.0) * if i % 3 == 0 { 65537.0 } else { 0.37 })
        .collect();
    if infinite {
        values[0] = f32::INFINITY;
    }
    let (saved, output) = pass(emulator, shape, strides, &values)?;
    let sums = Sums::of(emulator, shape)?;
    let geometry = emulator.last_arguments::<ForwardTrain>().ok_or("another pass")?.geometry;
    for channel in 0..channels {
        let at = |n: usize, i: usize| n * strides[0] + channel * strides[1] + i * strides[2];
        let places: Vec<usize> = (0..batch).flat_map(|n| (0..spatial).map(move |i| at(n, i))).collect();
        let of_channel: Vec<f64> = places.iter().map(|&place| values[place].into()).collect();
        let row = spatial / geometry.pieces.max(1) as usize;
        let rows: Vec<Vec<f64>> = of_channel.chunks(row).map(<[f64]>::to_vec).collect();
        let [mean, invstd] = sums.statistics(&rows);
        let normalized = of_channel.iter().map(|x| f64::from((x - mean).mul_add(invstd, 0.0) as f32));
        let expected: Vec<u64> = [mean, invstd].into_iter().chain(normalized).map(class).collect();
        let answered = places.iter().map(|&place| f64::from(output[place]));
        let got: Vec<u64> =
            [saved[2 * channel], saved[2 * channel + 1]].into_iter().chain(answered).map(class).collect();
        if got != expected {
            let first = (0..got.len()).find(|&i| got[i] != expected[i]).unwrap_or_default();
            let (launch, got, expected) = (emulator.last_launch(), got[first], expected[first]);
            return Err(format!(
                "{launch:?} {shape:?}: channel {channel}, number {first}: {got:x}, not {expected:x}"
            ));
        }
    }
    Ok(())
}

/// A number's bits; one NaN is as good as another.
fn class(value: f64) -> u64 {
    if value.is_nan() { u64::MAX } else { value.to_bits() }
}

/// Mean and invstd of each channel as a training pass saves them, and its output.
fn pass(
    emulator: &Emulator,
    shape: [usize; 3],
    strides: [usize; 3],
    values: &[f32],
) -> Result<(Vec<f64>, Vec<f32>), String> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
    let array = |memory| Array::new(memory, DType::F32, &shape, &strides, 0).map_err(|e| e.to_string());
    let input = array(emulator.upload(&bytes).map_err(|error| error.to_string())?)?;
    // PyTorch knows channels-last by its rank, 4 or 5; a layer may be given any output.
    let output = array(emulator.allocate(bytes.len()).map_err(|error| error.to_string())?)?;
    let state =
        State { weight: None, bias: None, running_mean: None, running_var: None, num_batches_tracked: None };
    let mut layer = BatchNorm::new(Rank::Any, Config::new(shape[1]).affine(false), state);
    let saved = layer.forward_into(emulator, &input, &output).map_err(|error| error.to_string())?;
    let saved = emulator.download(saved.statistics()).map_err(|error| error.to_string())?;
    let output = emulator.download(output.memory()).map_err(|error| error.to_string())?;
    Ok((
        saved.chunks(8).map(|bytes| f64::from_ne_bytes(bytes.try_into().unwrap())).collect(),
        output.chunks(4).map(|bytes| f32::from_ne_bytes(bytes.try_into().unwrap())).collect(),
    ))
}

/// How a launch adds a channel up.
enum Sums {
    /// Over the threads of one block, as a tree.
    Baseline { threads: usize },
    /// Rows in turn to the blocks of a cluster; the totals of warps, then of blocks, in turn.
    Resident { blocks: usize, threads: usize },
    /// Rows in turn to the pieces of a group, tile by tile; the totals of warps, then of pieces,
    /// in turn; deviations from the first value, in one pass.
    Stream { splits: usize, tile_rows: usize, threads: usize },
    /// Stretches of positions to blocks, measured alone and merged.
    Slab { positions: usize, teams: usize },
    /// Stretches of positions to blocks, tile by tile; deviations from the first value, in one pass.
    Strip { positions: usize, tile: usize, teams: usize },
}

impl Sums {
    fn of(emulator: &Emulator, [_, channels, _]: [usize; 3]) -> Result<Sums, String> {
        let launch = emulator.last_launch().ok_or("nothing was launched")?;
        let geometry = emulator.last_arguments::<ForwardTrain>().ok_or("another pass")?.geometry;
        let (group, threads) = (geometry.group as usize, launch.threads as usize);
        let teams = threads / channels.next_multiple_of(32).min(threads);
        Ok(match launch.kernel.as_str() {
            "baseline_forward_train_f32" => Sums::Baseline { threads },
            "resident_forward_train_f32" => {
                Sums::Resident { blocks: launch.cluster as usize, threads: threads / group }
            }
            "slab_forward_train_f32" => Sums::Slab { positions: group, teams },
            "strip_forward_train_f32" => {
                Sums::Strip { positions: group, tile: geometry.tile_rows as usize, teams }
            }
            "stream_forward_train_f32" => {
                let splits = geometry.splits as usize;
                Sums::Stream { splits, tile_rows: geometry.tile_rows as usize, threads: threads / group }
            }
            other => return Err(format!("the order of {other} is not written")),
        })
    }

    /// mean and invstd.
    fn statistics(&self, rows: &[Vec<f64>]) -> [f64; 2] {
        let n = (rows.len() * rows[0].len()) as f64;
        let (mean, squares) = match *self {
            Sums::Slab { positions, teams } => merged(&rows.concat(), positions, teams),
            Sums::Stream { splits, tile_rows, threads } => streamed(rows, splits, tile_rows, threads),
            Sums::Strip { positions, tile, teams } => stripped(&rows.concat(), positions, tile, teams),
            _ => {
                let mean = self.sum(rows, |x, sum| sum + x) / n;
                (mean, self.sum(rows, |x, sum| (x - mean).mul_add(x - mean, sum)))
            }
        };
        [mean, 1.0 / (squares / n + 1e-5).sqrt()]
    }

    fn sum(&self, rows: &[Vec<f64>], add: impl Fn(f64, f64) -> f64) -> f64 {
        match *self {
            Sums::Baseline { threads } => {
                let mut of_warp = warps(&rows.concat(), threads, &add);
                of_warp.resize(32, 0.0);
                warp_sum(&of_warp)
            }
            Sums::Resident { blocks, threads } => {
                let of_block = |block: usize| {
                    let rows: Vec<f64> = rows.iter().skip(block).step_by(blocks).flatten().copied().collect();
                    warps(&rows, threads, &add).iter().sum::<f64>()
                };
                (0..blocks).map(of_block).sum()
            }
            Sums::Slab { .. } | Sums::Stream { .. } | Sums::Strip { .. } => {
                unreachable!("measured in one pass")
            }
        }
    }
}

/// The totals of the warps, where every `threads`th value is one thread's.
fn warps(values: &[f64], threads: usize, add: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    every(values, threads, add).chunks(32).map(warp_sum).collect()
}

/// The sums of every `threads`th value.
fn every(values: &[f64], threads: usize, add: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    let mut sums = vec![0.0; threads];
    for (i, &value) in values.iter().enumerate() {
        sums[i % threads] = add(value, sums[i % threads]);
    }
    sums
}

/// What a block finds of its stretch.
struct Stretch {
    n: f64,
    mean: f64,
    squares: f64,
}

/// mean and Σ(x − mean)² over stretches of positions.
fn merged(values: &[f64], positions: usize, teams: usize) -> (f64, f64) {
    let stretch = |values: &[f64]| {
        let n = values.len() as f64;
        let mean = every(values, teams, |x, sum| sum + x).iter().sum::<f64>() / n;
        let squares = every(values, teams, |x, sum| (x - mean).mul_add(x - mean, sum));
        Stretch { n, mean, squares: squares.iter().sum() }
    };
    let stretches: Vec<Stretch> = values.chunks(positions).map(stretch).collect();
    let over_blocks = |add: &dyn Fn(&Stretch, f64) -> f64| {
        let mut lanes = [0.0; 32];
        for (b, stretch) in stretches.iter().enumerate() {
            lanes[b % 32] = add(stretch, lanes[b % 32]);
        }
        warp_sum(&lanes)
    };
    let mean = over_blocks(&|block, sum| block.n.mul_add(block.mean, sum)) / values.len() as f64;
    let squares = over_blocks(&|block, sum| {
        let d = block.mean - mean;
        sum + (block.n * d).mul_add(d, block.squares)
    });
    (mean, squares)
}

/// The sum over lanes of a warp, each of which adds up every 32nd.
fn over_blocks(of_blocks: impl Iterator<Item = f64>) -> f64 {
    let mut lanes = [0.0; 32];
    of_blocks.enumerate().for_each(|(b, of_block)| lanes[b % 32] += of_block);
    warp_sum(&lanes)
}

/// What is told apart is told apart from this.
fn pivot(first: f64) -> f64 {
    if first.is_finite() { first } else { 0.0 }
}

/// mean and Σ(x − mean)² of stretches of positions that come tile by tile.
fn stripped(values: &[f64], positions: usize, tile: usize, teams: usize) -> (f64, f64) {
    let (n, pivot) = (values.len() as f64, pivot(values[0]));
    let total = |add: &dyn Fn(f64, f64) -> f64| -> f64 {
        let of_block = |stretch: &[f64]| {
            let mut of_team = vec![0.0; teams];
            for tile in stretch.chunks(tile) {
                for (p, x) in tile.iter().enumerate() {
                    of_team[p % teams] = add(x - pivot, of_team[p % teams]);
                }
            }
            of_team.iter().sum::<f64>()
        };
        over_blocks(values.chunks(positions).map(of_block))
    };
    let shift = total(&|d, sum| sum + d) / n;
    let squares = total(&|d: f64, sum| d.mul_add(d, sum)) - shift * shift * n;
    (pivot + shift, squares)
}

/// mean and Σ(x − mean)² of rows that come tile by tile.
fn streamed(rows: &[Vec<f64>], splits: usize, tile_rows: usize, threads: usize) -> (f64, f64) {
    let n = (rows.len() * rows[0].len()) as f64;
    let pivot = pivot(rows[0][0]);
    let total = |add: &dyn Fn(f64, f64) -> f64| -> f64 {
        let of_piece = |piece: usize| {
            let rows: Vec<&Vec<f64>> = rows.iter().skip(piece).step_by(splits).collect();
            let mut of_thread = vec![0.0; threads];
            for tile in rows.chunks(tile_rows) {
                for (i, x) in tile.iter().copied().flatten().enumerate() {
                    of_thread[i % threads] = add(x - pivot, of_thread[i % threads]);
                }
            }
            of_thread.chunks(32).map(warp_sum).sum::<f64>()
        };
        (0..splits).map(of_piece).sum()
    };
    let shift = total(&|d, sum| sum + d) / n;
    let squares = total(&|d: f64, sum| d.mul_add(d, sum)) - shift * shift * n;
    (pivot + shift, squares)
}

/// Lanes 16 apart, then 8, 4, 2, 1.
fn warp_sum(lanes: &[f64]) -> f64 {
    let mut lanes = lanes.to_vec();
    while lanes.len() > 1 {
        let half = lanes.len() / 2;
        lanes = (0..half).map(|lane| lanes[lane] + lanes[lane + half]).collect();
    }
    lanes[0]
}
