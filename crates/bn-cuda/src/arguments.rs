//! What a kernel is given: `kernels/arguments.cuh`, field for field. Addresses are those of
//! the device; 0 stands for what there is not.

/// As many axes as a kernel can follow.
pub const AXES: usize = 6;

/// An array (N, C, *): channel c's positions lie at
/// `data + c·channel_stride + Σ index[axis]·stride[axis]`, the last axis fastest, in elements.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Array {
    /// The address of the first element.
    pub data: u64,
    /// From a channel to the next.
    pub channel_stride: i64,
    /// How many of `length` and `stride` count: at least one.
    pub axes: i64,
    /// Positions along each axis, slowest first.
    pub length: [i64; AXES],
    /// From a position to the next along each axis.
    pub stride: [i64; AXES],
}

impl Array {
    /// Where the i-th position of channel c lies, in logical order: `offset` of
    /// `kernels/channel.cuh`.
    pub(crate) fn place(&self, c: usize, mut i: usize) -> usize {
        let mut place = c * self.channel_stride as usize;
        for axis in (1..self.axes as usize).rev() {
            let length = self.length[axis] as usize;
            place += i % length * self.stride[axis] as usize;
            i /= length;
        }
        place + i * self.stride[0] as usize
    }
}

/// What follows the normalisation in y = relu(bn(x)) and y = relu(bn(x) + residual).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Relu {
    /// What is added first.
    pub residual: Array,
    /// Receives what relu lets through; its elements are bits.
    pub mask: Array,
}

/// How an array without gaps is cut up for kernels that keep it in shared memory.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Geometry {
    /// Contiguous: N, times the pieces; channels-last: all positions.
    pub batch: i64,
    /// C.
    pub channels: i64,
    /// Contiguous: the values of a row, Π* over the pieces.
    pub spatial: i64,
    /// Contiguous: rows into which those of the array are cut.
    pub pieces: i64,
    /// Contiguous: channels that a cluster owns, a power of two; channels-last: positions
    /// that a block owns.
    pub group: i64,
    /// Contiguous: pieces that a group is cut into.
    pub splits: i64,
    /// Rows, channels-last positions, that are in shared memory at once, if not all.
    pub tile_rows: i64,
    /// Bytes of shared memory for each array, a multiple of 16.
    pub slab_bytes: i64,
}

/// What a channel was normalised by, as the device keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Statistics {
    /// The mean.
    pub mean: f64,
    /// 1/√(var + eps).
    pub invstd: f64,
}

/// Of the kernels named `…_forward_train_…`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct ForwardTrain {
    /// x.
    pub input: Array,
    /// y.
    pub output: Array,
    /// All absent where there is no relu.
    pub relu: Relu,
    /// γ, f32.
    pub weight: u64,
    /// β, f32.
    pub bias: u64,
    /// Updated in place, f32; 0 where it is not tracked.
    pub running_mean: u64,
    /// The same.
    pub running_var: u64,
    /// Receives [`Statistics`], one per channel.
    pub saved: u64,
    /// Added to the variance.
    pub eps: f64,
    /// The weight of the new value in the running statistics.
    pub momentum: f64,
    /// n, the values per channel.
    pub count: i64,
    /// Of kernels that keep the array.
    pub geometry: Geometry,
    /// For what blocks tell each other, in kernels whose blocks do.
    pub scratch: u64,
}

/// Of the kernels named `…_forward_eval_…`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct ForwardEval {
    /// x.
    pub input: Array,
    /// y.
    pub output: Array,
    /// All absent where there is no relu.
    pub relu: Relu,
    /// γ, f32.
    pub weight: u64,
    /// β, f32.
    pub bias: u64,
    /// f32.
    pub running_mean: u64,
    /// f32.
    pub running_var: u64,
    /// Receives [`Statistics`], one per channel.
    pub saved: u64,
    /// Added to the variance.
    pub eps: f64,
    /// n, the values per channel.
    pub count: i64,
    /// Of kernels that keep the array.
    pub geometry: Geometry,
}

/// Of the kernels named `…_backward_…`; an address of 0 asks for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Backward {
    /// x.
    pub input: Array,
    /// ∂loss/∂y.
    pub grad_output: Array,
    /// Receives ∂loss/∂x.
    pub grad_input: Array,
    /// What relu let through, where one followed; its elements are bits.
    pub mask: Array,
    /// Receives ∂loss/∂residual.
    pub grad_residual: Array,
    /// γ, f32.
    pub weight: u64,
    /// [`Statistics`] of the forward pass.
    pub saved: u64,
    /// Receives ∂loss/∂γ, f32.
    pub grad_weight: u64,
    /// Receives ∂loss/∂β, f32.
    pub grad_bias: u64,
    /// n, the values per channel.
    pub count: i64,
    /// Of kernels that keep the array.
    pub geometry: Geometry,
    /// For what blocks tell each other, in kernels whose blocks do.
    pub scratch: u64,
}

/// The struct of some kernel.
///
/// # Safety
/// The type is `repr(C)` and the same as its namesake in `kernels/arguments.cuh`.
pub unsafe trait Arguments: Copy {}

// SAFETY: compared with the C++ structs by the emulator's test of sizes, and on every launch.
unsafe impl Arguments for ForwardTrain {}
// SAFETY: the same.
unsafe impl Arguments for ForwardEval {}
// SAFETY: the same.
unsafe impl Arguments for Backward {}
