//! Which kernel a pass takes, and on how many threads.
//!
//! | kernel | for | bytes from and to global memory |
//! |---|---|---|
//! | `resident_…` | contiguous arrays, where a group of channels fits into the shared memory of a cluster | each value once |
//! | `slab_…` | channels-last arrays that fit into the shared memory of all multiprocessors | each value once |
//! | `stream_…` | contiguous arrays whose channels no cluster holds | x, or x and grad_output, twice |
//! | `strip_…` | channels-last arrays beyond that | x, or x and grad_output, twice |
//! | `baseline_…` | everything else, any strides | x three times forward, x and grad_output twice backward |
//!
//! The choice is a function of shape, dtype, layout and the device's [`Properties`]: the same
//! question gets the same kernel, and so the same order of sums and the same bits.

use batchnorm::DType;

use crate::arguments::{self, Geometry};
use crate::array::element_bytes;
use crate::device::{Launch, Properties};
use crate::mask::MaskOrder;

/// Bytes of shared memory for a block's sums: `SUM_BYTES` of `kernels/sum.cuh`.
const SUM_BYTES: u32 = 32 * 8;

/// The same for `Desk` of `kernels/rows.cuh`.
pub(crate) const DESK_BYTES: u32 = (32 + 2 * 8 + 1) * 8;

/// The same for `Notes` of `kernels/columns.cuh`.
pub(crate) const NOTES_BYTES: u32 = (1024 + 2) * 8;

/// The same for `StreamDesk` of `kernels/stream.cuh`.
pub(crate) const STREAM_DESK_BYTES: u32 = (32 + 2) * 8;

/// As many channels as a cluster may own: `MOST_CHANNELS` of `kernels/rows.cuh`. Eight
/// elements make a unit, so it is never more.
const MOST_CHANNELS: usize = 8;

/// As many blocks as a cluster has on every device that has clusters.
const MOST_BLOCKS: usize = 8;

/// The copy engine's unit.
const COPY_BYTES: usize = 16;

/// Another block is worth its part in the barriers of the grid from so many bytes on.
const LEAST_SLAB_BYTES: usize = 8 << 10;

/// Bytes of each array that a stream has in shared memory, twice.
const TILE_BYTES: usize = 24 << 10;

/// The same of a strip, which has a multiprocessor for itself.
const STRIP_TILE_BYTES: usize = 32 << 10;

/// A piece of a stream is worth its part in the barrier of the grid from so many bytes on.
const LEAST_UNIT_BYTES: usize = 64 << 10;

/// Blocks that a multiprocessor runs in a stream, and threads that each has at most: with 128
/// registers a thread, the registers are enough for both.
const STREAM_BLOCKS: usize = 2;
const STREAM_THREADS: u32 = 256;

/// Blocks that a multiprocessor runs at the same time in evaluation.
const BLOCKS_AT_ONCE: u32 = 4;

/// Copies smaller than this would cost more than they move.
const LEAST_ROW_BYTES: usize = 64;

/// Longer rows are cut, where they can be.
const MOST_ROW_BYTES: usize = 8 << 10;

/// A pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    ForwardTrain,
    ForwardEval,
    BackwardTrain,
    BackwardEval,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Operation::ForwardTrain => "forward_train",
            Operation::ForwardEval => "forward_eval",
            Operation::BackwardTrain => "backward_train",
            Operation::BackwardEval => "backward_eval",
        }
    }
}

/// What a pass is about.
#[derive(Clone, Debug)]
pub(crate) struct Question<'a> {
    pub operation: Operation,
    pub dtype: DType,
    /// N.
    pub batch: usize,
    /// C.
    pub channels: usize,
    /// Π*.
    pub spatial: usize,
    /// Every array of the pass, and of a backward pass the mask.
    pub arrays: &'a [arguments::Array],
    /// Whether a relu follows, whose mask is written or read.
    pub has_relu: bool,
    /// Whether something is added before it.
    pub has_residual: bool,
}

impl Question<'_> {
    /// The arrays that are in shared memory at once.
    fn slabs(&self) -> usize {
        match self.operation {
            Operation::ForwardTrain | Operation::ForwardEval => 1 + usize::from(self.has_residual),
            Operation::BackwardTrain | Operation::BackwardEval => 2,
        }
    }

    /// What a block's part is a multiple of, in bytes: the copy engine's unit; and with a mask
    /// eight elements, whose bits no other block writes a byte of.
    fn unit(&self) -> usize {
        let eight = 8 * element_bytes(self.dtype);
        if self.has_relu { eight.max(COPY_BYTES) } else { COPY_BYTES }
    }
}

/// A launch, and how it cuts the arrays up.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Choice {
    pub launch: Launch,
    pub geometry: Geometry,
    /// Bytes of global memory for what blocks tell each other, all 0 at first.
    pub scratch_bytes: usize,
    /// How the mask lies that a forward pass writes.
    pub mask: MaskOrder,
}

/// The kernel for a pass.
pub(crate) fn choose(question: &Question, properties: Properties) -> Choice {
    resident(question, properties)
        .or_else(|| slab(question, properties))
        .or_else(|| stream(question, properties))
        .or_else(|| strip(question, properties))
        .unwrap_or_else(|| baseline(question))
}

/// The plain kernels: a block for each channel, and a thread for each eight of its values, so
/// that small channels do not pay for threads that have nothing to do.
fn baseline(question: &Question) -> Choice {
    let Question { operation, dtype, batch, channels, spatial, .. } = *question;
    let launch = Launch {
        kernel: format!("baseline_{}_{}", operation.name(), dtype.name()),
        blocks: channels as u32,
        threads: threads(batch * spatial, 1),
        cluster: 1,
        cooperative: false,
        shared_bytes: SUM_BYTES,
    };
    Choice { launch, geometry: Geometry::default(), scratch_bytes: 0, mask: MaskOrder::OfChannels }
}

/// The kernels that keep a group of channels in shared memory.
fn resident(question: &Question, properties: Properties) -> Option<Choice> {
    let Question { operation, dtype, channels, .. } = *question;
    let rows = rows(question, properties)?;
    let slab = |blocks: usize| rows.count.div_ceil(blocks) * rows.bytes;
    let shared = |blocks: usize| question.slabs() * slab(blocks) + DESK_BYTES as usize;
    let clusters = channels / rows.group;
    // How many blocks share a group: as few as hold it, more where multiprocessors would stand
    // idle, and in evaluation so many that several fit on a multiprocessor, one bringing what
    // it needs while another computes.
    let is_eval = operation == Operation::ForwardEval;
    let most = if is_eval { rows.count } else { rows.count.min(MOST_BLOCKS) };
    let room = if is_eval { properties.shared_bytes / BLOCKS_AT_ONCE } else { properties.shared_bytes };
    let fits = |&blocks: &usize| shared(blocks) <= room as usize;
    let is_busy = |&blocks: &usize| clusters * blocks >= properties.multiprocessors as usize;
    let sizes = || (0..).map(|power| 1 << power).take_while(|&blocks| blocks <= most).filter(fits);
    let blocks = sizes().find(is_busy).or(sizes().last())?;
    let launch = Launch {
        kernel: format!("resident_{}_{}", operation.name(), dtype.name()),
        blocks: (clusters * blocks) as u32,
        threads: threads(rows.count.div_ceil(blocks) * rows.group * rows.spatial, rows.group),
        cluster: if is_eval { 1 } else { blocks as u32 },
        cooperative: false,
        shared_bytes: shared(blocks) as u32,
    };
    let geometry = rows.geometry(channels, blocks, 0, slab(blocks));
    Some(Choice { launch, geometry, scratch_bytes: 0, mask: MaskOrder::OfInput })
}

/// The kernels that keep a channels-last array in the shared memory of all blocks.
fn slab(question: &Question, properties: Properties) -> Option<Choice> {
    let Question { operation, dtype, channels, .. } = *question;
    let Columns { positions, row, unit } = columns(question, properties)?;
    // In evaluation blocks do not wait for each other, and there may be any number of them.
    let is_eval = operation == Operation::ForwardEval;
    let most = if is_eval { usize::MAX } else { properties.multiprocessors as usize };
    let blocks = (positions * row / LEAST_SLAB_BYTES).clamp(1, most);
    let group = positions.div_ceil(blocks).next_multiple_of(unit);
    let shared = question.slabs() * group * row + NOTES_BYTES as usize;
    if shared > properties.shared_bytes as usize {
        return None;
    }
    let blocks = positions.div_ceil(group);
    let launch = Launch {
        kernel: format!("slab_{}_{}", operation.name(), dtype.name()),
        blocks: blocks as u32,
        threads: threads(group * channels, 1),
        cluster: 1,
        cooperative: !is_eval,
        shared_bytes: shared as u32,
    };
    let geometry = columns_geometry(question, group, 0, group * row);
    let scratch_bytes = if is_eval { 0 } else { scratch_of_columns(channels, blocks) };
    Some(Choice { launch, geometry, scratch_bytes, mask: MaskOrder::OfInput })
}

/// The kernels that take a channels-last array tile by tile, twice: a block on each
/// multiprocessor, with a stretch of positions.
fn strip(question: &Question, properties: Properties) -> Option<Choice> {
    let Question { operation, dtype, channels, .. } = *question;
    if operation == Operation::ForwardEval {
        return None;
    }
    let Columns { positions, row, unit } = columns(question, properties)?;
    let shared = properties.shared_bytes as usize;
    let group = positions.div_ceil(properties.multiprocessors as usize).next_multiple_of(unit);
    // Two numbers for each thread and each channel that falls to it: for a quarter of the shared
    // memory at most, where one channel does.
    let most = 1 << (shared / 4 / 16).max(32).ilog2();
    let threads = threads(group * channels, 1).min(most);
    let rounds = channels.div_ceil(channels.next_multiple_of(32).min(threads as usize));
    let besides = NOTES_BYTES as usize + 2 * 8 * threads as usize * rounds;
    let tiles = 2 * question.slabs();
    let room = (shared.checked_sub(besides)? / tiles).min(STRIP_TILE_BYTES);
    let tile = (room / row / unit * unit).min(group);
    if tile == 0 {
        return None;
    }
    let blocks = positions.div_ceil(group);
    let launch = Launch {
        kernel: format!("strip_{}_{}", operation.name(), dtype.name()),
        blocks: blocks as u32,
        threads,
        cluster: 1,
        cooperative: true,
        shared_bytes: (tiles * tile * row + besides) as u32,
    };
    let geometry = columns_geometry(question, group, tile, tile * row);
    let scratch_bytes = scratch_of_columns(channels, blocks);
    Some(Choice { launch, geometry, scratch_bytes, mask: MaskOrder::OfInput })
}

/// How a channels-last array is seen: positions with all their channels.
struct Columns {
    /// How many there are.
    positions: usize,
    /// Bytes of one.
    row: usize,
    /// Positions that make whole units: a power of two, as those are.
    unit: usize,
}

/// The positions, where copies of a channels-last array are possible.
fn columns(question: &Question, properties: Properties) -> Option<Columns> {
    let Question { dtype, batch, channels, spatial, arrays, .. } = *question;
    let (positions, row) = (batch * spatial, channels * element_bytes(dtype));
    let may = properties.has_clusters
        && positions * channels > 0
        && (positions * row).is_multiple_of(COPY_BYTES)
        && arrays.iter().all(|array| is_channels_last(array, question));
    let unit = may.then(|| question.unit() / greatest_power_of_two(row).min(question.unit()))?;
    Some(Columns { positions, row, unit })
}

fn columns_geometry(question: &Question, group: usize, tile: usize, slab_bytes: usize) -> Geometry {
    Geometry {
        batch: (question.batch * question.spatial) as i64,
        channels: question.channels as i64,
        spatial: 1,
        pieces: 1,
        group: group as i64,
        splits: 1,
        tile_rows: tile as i64,
        slab_bytes: slab_bytes as i64,
    }
}

/// The gate, two numbers of each block and two of all, for each channel.
fn scratch_of_columns(channels: usize, blocks: usize) -> usize {
    16 + 2 * 8 * channels * (blocks + 1)
}

/// The kernels that take a contiguous array tile by tile, twice.
fn stream(question: &Question, properties: Properties) -> Option<Choice> {
    let Question { operation, dtype, channels, .. } = *question;
    if operation == Operation::ForwardEval {
        return None;
    }
    let rows = rows(question, properties)?;
    let tiles = 2 * question.slabs();
    let room = (properties.shared_bytes as usize / STREAM_BLOCKS).checked_sub(STREAM_DESK_BYTES as usize)?;
    let tile_rows = (room / tiles).min(TILE_BYTES) / rows.bytes;
    if tile_rows == 0 {
        return None;
    }
    let tile_rows = tile_rows.min(rows.count);
    let groups = channels / rows.group;
    let most = properties.multiprocessors as usize * STREAM_BLOCKS;
    let worth = rows.count * rows.bytes / LEAST_UNIT_BYTES;
    let splits = (4 * most).div_ceil(groups).min(worth).clamp(1, rows.count);
    let units = groups * splits;
    let threads = threads(tile_rows * rows.group * rows.spatial, rows.group);
    let launch = Launch {
        kernel: format!("stream_{}_{}", operation.name(), dtype.name()),
        blocks: units.min(most) as u32,
        threads: threads.min(STREAM_THREADS.max(32 * rows.group as u32)),
        cluster: 1,
        cooperative: true,
        shared_bytes: (tiles * tile_rows * rows.bytes) as u32 + STREAM_DESK_BYTES,
    };
    let geometry = rows.geometry(channels, splits, tile_rows, tile_rows * rows.bytes);
    // The gate, and two numbers for each channel of each unit.
    let scratch_bytes = 16 + 2 * 8 * units * rows.group;
    Some(Choice { launch, geometry, scratch_bytes, mask: MaskOrder::OfInput })
}

impl Rows {
    fn geometry(&self, channels: usize, splits: usize, tile_rows: usize, slab_bytes: usize) -> Geometry {
        Geometry {
            batch: self.count as i64,
            channels: channels as i64,
            spatial: self.spatial as i64,
            pieces: self.pieces as i64,
            group: self.group as i64,
            splits: splits as i64,
            tile_rows: tile_rows as i64,
            slab_bytes: slab_bytes as i64,
        }
    }
}

/// How a contiguous array is seen: rows of `group` neighbouring channels, copied as a whole.
struct Rows {
    /// Channels that are copied together.
    group: usize,
    /// Parts into which a row of one channel is cut.
    pieces: usize,
    /// How many there are.
    count: usize,
    /// Values of each channel in one.
    spatial: usize,
    /// Bytes of one.
    bytes: usize,
}

/// The rows, where copies of a contiguous array are possible.
fn rows(question: &Question, properties: Properties) -> Option<Rows> {
    let Question { dtype, batch, channels, spatial, arrays, .. } = *question;
    let row = spatial * element_bytes(dtype);
    let unit = question.unit();
    let may = properties.has_clusters
        && batch * channels * spatial > 0
        && (channels * row).is_multiple_of(unit)
        && arrays.iter().all(|array| is_contiguous(array, question));
    // As few channels as make whole units: a power of two, as those are. It divides the channels,
    // since all of them are whole units too.
    let group = may.then(|| unit / greatest_power_of_two(row).min(unit))?;
    debug_assert!(group <= MOST_CHANNELS);
    if group * row < LEAST_ROW_BYTES {
        return None;
    }
    // Long rows in halves, so that blocks can share them and tiles hold them.
    let mut pieces = 1;
    while group == 1 && row / pieces > MOST_ROW_BYTES && (row / pieces).is_multiple_of(2 * unit) {
        pieces *= 2;
    }
    let (spatial, bytes) = (spatial / pieces, group * row / pieces);
    Some(Rows { group, pieces, count: batch * pieces, spatial, bytes })
}

/// A thread for each eight values, and a warp for each channel at least.
fn threads(values: usize, channels: usize) -> u32 {
    (values / 8).next_power_of_two().clamp(32 * channels, 1024) as u32
}

fn greatest_power_of_two(bytes: usize) -> usize {
    1 << bytes.trailing_zeros()
}

/// Whether the array lies row by row and channel by channel without gaps, where a copy may
/// begin. One that is not there at all is no hindrance.
fn is_contiguous(array: &arguments::Array, question: &Question) -> bool {
    let Question { batch, channels, spatial, .. } = *question;
    if array.data == 0 {
        return true;
    }
    // Axes of one position have no stride to look at.
    let expected: Vec<(i64, i64)> = [(batch, channels * spatial), (spatial, 1)]
        .into_iter()
        .filter(|&(length, _)| length > 1)
        .map(|(length, stride)| (length as i64, stride as i64))
        .collect();
    let axes = array.axes as usize;
    let found: Vec<(i64, i64)> =
        (0..axes).map(|axis| (array.length[axis], array.stride[axis])).filter(|axis| axis.0 > 1).collect();
    // With a single channel the two axes are one.
    let merged = channels == 1 && found == [((batch * spatial) as i64, 1)];
    (found == expected || merged)
        && (channels == 1 || array.channel_stride == spatial as i64)
        && array.data.is_multiple_of(COPY_BYTES as u64)
}

/// Whether the array lies position by position, all channels of one side by side, without
/// gaps, where a copy may begin. One that is not there at all is no hindrance.
fn is_channels_last(array: &arguments::Array, question: &Question) -> bool {
    let Question { batch, channels, spatial, .. } = *question;
    let positions = (batch * spatial) as i64;
    let is_one_axis = array.axes == 1 && array.length[0] == positions;
    let has_no_gaps = positions == 1 || array.stride[0] == channels as i64;
    let is_packed = is_one_axis && has_no_gaps && (channels == 1 || array.channel_stride == 1);
    array.data == 0 || is_packed && array.data.is_multiple_of(COPY_BYTES as u64)
}

#[cfg(test)]
mod tests;
