// A contiguous array as rows: neighbouring channels that are copied together, a sample or a
// piece of one at a time. Which of them are a block's, and which of their values a thread's?
//
// The work is cut into pieces, `size` for each group of channels; a piece has every size-th row.
// Where there are more warps than channels, several warps share one.
#pragma once
#include "formulas.cuh"
#include "relu.cuh"
#include "sum.cuh"

constexpr int MOST_WARPS = 32;
constexpr int MOST_CHANNELS = 8;
constexpr int MOST_SUMS = 2;

// What a block keeps beside the values.
struct Desk {
    double totals[MOST_WARPS];
    double partials[MOST_SUMS * MOST_CHANNELS];
    Transaction arrival;
};

// This thread's part in the group: one channel, and every `step`th of its positions in this
// block's rows. Where there are more warps than channels, several warps share one.
template <class T> struct Part {
    Geometry geometry;
    Desk* desk;
    T* values;      // shared: rows × channels × spatial
    int index;      // of this block's work: group by group, in each the ranks in turn
    int rank;       // among those who share the group
    int size;       // the number of those
    int rows;       // of this block
    int channel;    // of this thread, within the group
    int first;
    int step;

    DEVICE_METHOD long long first_channel() const { return (long long)(index / size) * geometry.group; }

    // Where the rows of one of several arrays start.
    DEVICE_METHOD T* slab(int array) const {
        return (T*)((unsigned char*)values + array * geometry.slab_bytes);
    }

    // Calls visit(offset) for each of this thread's values.
    template <class Visit> DEVICE_METHOD void each(Visit visit) const {
        int spatial = (int)geometry.spatial;
        int row = first / spatial, i = first % spatial;
        int rows_on = step / spatial, on = step % spatial;
        while (row < rows) {
            visit((row * (int)geometry.group + channel) * spatial + i);
            row += rows_on;
            i += on;
            if (i >= spatial) {
                i -= spatial;
                row++;
            }
        }
    }

    // Σ over the channel's threads in this block, in each of them: their warps, one after the
    // other. `totals` is shared memory, a number for each warp.
    DEVICE_METHOD double in_block(double value, double* totals) const {
        int warps = threads() / WARP, group = (int)geometry.group;
        value = warp_sum(value);
        barrier();  // until everyone has read the totals of the sum before
        if (thread() % WARP == 0) store_shared(totals + thread() / WARP, value);
        barrier();
        double total = 0;
        for (int w = channel; w < warps; w += group) total += load_shared(totals + w);
        return total;
    }

    // Σ over the channel, in each of its threads throughout the cluster. `slot` is one of
    // MOST_SUMS; none is used twice.
    DEVICE_METHOD double sum(double value, int slot) const {
        value = in_block(value, desk->totals);
        double* partial = desk->partials + slot * MOST_CHANNELS + channel;
        if (first == 0) store_shared(partial, value);
        cluster_barrier();
        double total = 0;
        for (int rank = 0; rank < cluster_size(); rank++) total += load_remote(partial, rank);
        return total;
    }
};

// The number of the first value of this block's row, in an array of the group's shape.
template <class T> DEVICE long long row_start(const Part<T>& part, int row) {
    const Geometry& g = part.geometry;
    long long n = part.rank + (long long)row * part.size;
    long long whole = n / g.pieces, piece = n - whole * g.pieces;
    return ((whole * g.channels + part.first_channel()) * g.pieces + piece) * g.spatial;
}

template <class T> DEVICE T* row_of(const Array& array, const Part<T>& part, int row) {
    return (T*)array.data + row_start(part, row);
}

template <class T> DEVICE int row_bytes(const Part<T>& part) {
    return (int)(part.geometry.group * part.geometry.spatial) * (int)sizeof(T);
}

// This thread's part in a piece of the work, where `size` pieces make a group.
template <class T> DEVICE Part<T> part_among(const Geometry& geometry, int index, int size) {
    Part<T> part;
    part.geometry = geometry;
    part.index = index;
    part.rank = index % size;
    part.size = size;
    int group = (int)geometry.group, warp = thread() / WARP, warps = threads() / WARP;
    part.rows = (int)((geometry.batch - part.rank + size - 1) / size);
    part.channel = warp % group;
    part.first = warp / group * WARP + thread() % WARP;
    part.step = warps / group * WARP;
    return part;
}

// Calls visit(first value, their number, the mask's bytes) for each row of `part`, a warp to a row.
// In shared memory the rows start at `values`; they are those from `from` on.
template <class T, class Visit>
DEVICE void each_row(const Part<T>& part, T* values, const Array& mask, int from, Visit visit) {
    int count = (int)(part.geometry.group * part.geometry.spatial);
    for (int row = thread() / WARP; row < part.rows; row += threads() / WARP) {
        visit(values + row * count, count, byte_of(mask, row_start(part, from + row)));
    }
}

// Notes what relu let through, once everyone has computed.
template <class T> DEVICE void note_rows(const Part<T>& part, T* values, const Array& mask, int from) {
    if (!mask.data) return;
    barrier();
    each_row(part, values, mask, from, [](T* row, int count, unsigned char* bytes) {
        note_bits(row, count, bytes, 0, WARP);
    });
}

// Makes g' of g, before anyone computes. The next tile may come where this one is.
template <class T> DEVICE void gate_rows(const Part<T>& part, T* gradients, const Array& mask, int from) {
    if (!mask.data) return;
    each_row(part, gradients, mask, from, [](T* row, int count, const unsigned char* bytes) {
        gate(row, count, bytes, 0, WARP);
    });
    hand_over();
    barrier();
}
