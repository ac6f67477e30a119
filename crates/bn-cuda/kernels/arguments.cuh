// What a kernel is given. src/arguments.rs mirrors these structs field for field, and a
// test compares their sizes.
#pragma once

// Most axes that the positions of a channel can have; neighbours that continue each
// other's strides are merged before.
constexpr int AXES = 6;

// An array (N, C, *) in memory. The n positions of channel c, in logical order, lie at
// data + c*channel_stride + Σ index[axis]*stride[axis], the last axis fastest. All in elements.
struct Array {
    void* data;  // null: there is none, and none is asked for
    long long channel_stride;
    long long axes;
    long long length[AXES];
    long long stride[AXES];
};

// What follows the normalisation in y = relu(bn(x)) and y = relu(bn(x) + residual).
struct Relu {
    Array residual;  // null: nothing is added
    Array mask;      // its elements are bits, what relu lets through; null: there is no relu
};

// How an array without gaps is cut up for kernels that keep it in shared memory.
struct Geometry {
    long long batch;       // contiguous: N, times the pieces; channels-last: all positions
    long long channels;
    long long spatial;     // contiguous: the values of a row, Π* over the pieces
    long long pieces;      // contiguous: rows into which those of the array are cut
    long long group;       // contiguous: channels that are copied together, a power of two
                           // that divides them;
                           // channels-last: positions that a block owns
    long long splits;      // contiguous: pieces that a group is cut into
    long long tile_rows;   // rows, channels-last positions, that are in shared memory at once, if
                           // not all
    long long slab_bytes;  // of shared memory for each array, a multiple of 16
};

// What a channel was normalised by, for the backward pass. In f64: rounded to f32, a mean
// that is large beside the deviations would have lost the digits that matter to them.
struct Statistics {
    double mean;
    double invstd;  // 1/√(var + eps)
};

// y = (x − mean)·invstd·weight + bias with the batch's statistics.
struct ForwardTrain {
    Array input;
    Array output;
    Relu relu;
    const float* weight;    // null: 1
    const float* bias;      // null: 0
    float* running_mean;    // null: not tracked
    float* running_var;     // null where running_mean is
    Statistics* saved;
    double eps;
    double momentum;        // the weight of the new value
    long long count;        // n, values per channel
    Geometry geometry;      // of kernels that keep the array
    void* scratch;          // for what blocks tell each other, in kernels whose blocks do
};

// The same with the running statistics.
struct ForwardEval {
    Array input;
    Array output;
    Relu relu;
    const float* weight;
    const float* bias;
    const float* running_mean;
    const float* running_var;
    Statistics* saved;
    double eps;
    long long count;
    Geometry geometry;
};

// The gradients of either; what is null is not asked for.
struct Backward {
    Array input;
    Array grad_output;
    Array grad_input;
    Array mask;           // of the relu that followed
    Array grad_residual;  // what it let through of grad_output
    const float* weight;
    const Statistics* saved;
    float* grad_weight;
    float* grad_bias;
    long long count;
    Geometry geometry;
    void* scratch;
};
