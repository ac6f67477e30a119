// Kernels for contiguous arrays whose channels no cluster holds: every value is read from
// global memory twice and written once.
//
// All blocks run at the same time. The work is cut into units, a group of channels and every
// splits-th row of the batch, and the units are dealt out to the blocks. A unit comes through
// shared memory tile by tile, two tiles at a time: one is worked on while the next arrives.
// After the first pass a barrier of the grid; the second pass takes the units in reverse, so
// that it begins with what the caches still hold.
//
// One pass is enough for the variance: with d = x − pivot and the pivot one of the channel's
// own values, (pivot − mean)² ≤ n·σ², so that Σd² − (Σd)²/n loses log₂ n of its 53 bits at most.
//
//   memory  two tiles of rows × group × spatial values of each array | desk
#pragma once
#include "rows.cuh"

// What a block keeps beside the tiles.
struct StreamDesk {
    double totals[MOST_WARPS];
    Transaction arrival[2];
};

template <class T> struct Stream {
    Geometry geometry;
    int arrays;        // that a tile has room for
    StreamDesk* desk;
    GridGate gate;
    double* of_units;  // two numbers for each channel and unit
    unsigned tiles_so_far = 0;

    DEVICE_METHOD Stream(const Geometry& g, void* scratch, int arrays)
        : geometry(g), arrays(arrays), desk((StreamDesk*)(shared_memory() + 2 * arrays * g.slab_bytes)),
          gate({(unsigned*)scratch}), of_units((double*)scratch + 2) {
        if (thread() < 2) start_transaction(&desk->arrival[thread()]);
        barrier();
    }

    DEVICE_METHOD int units() const {
        return (int)(geometry.channels / geometry.group * geometry.splits);
    }

    // The part of this thread in a unit; its rows are those of the whole unit.
    DEVICE_METHOD Part<T> part(int unit) const {
        Part<T> part = part_among<T>(geometry, unit, (int)geometry.splits);
        part.values = nullptr;
        return part;
    }

    DEVICE_METHOD T* tile(unsigned number, int array) const {
        return (T*)(shared_memory() + (number % 2 * arrays + array) * geometry.slab_bytes);
    }

    // Rows of the tile that starts at a row of the unit.
    DEVICE_METHOD int rows_from(const Part<T>& part, int row) const {
        int left = part.rows - row;
        return left < geometry.tile_rows ? left : (int)geometry.tile_rows;
    }

    template <int ARRAYS>
    DEVICE_METHOD void bring(const Part<T>& part, const Array* const (&arrays)[ARRAYS], unsigned number, int from) {
        if (thread() >= WARP) return;
        Transaction* arrival = &desk->arrival[number % 2];
        int bytes = row_bytes(part), rows = rows_from(part, from);
        if (thread() == 0) expect(arrival, number_of(arrays) * rows * bytes);
        for (int row = thread(); row < rows; row += WARP) {
            for (int i = 0; i < ARRAYS; i++) {
                if (!arrays[i]->data) continue;
                copy_in((unsigned char*)tile(number, i) + row * bytes, row_of<T>(*arrays[i], part, from + row), bytes, arrival);
            }
        }
    }

    // Calls compute(part, tile number, first row) for each tile of a unit, the rows of the part
    // being the tile's. Every thread of the block comes along.
    template <int ARRAYS, class Compute>
    DEVICE_METHOD void each_tile(const Part<T>& unit, const Array* const (&arrays)[ARRAYS], Compute compute) {
        int step = (int)geometry.tile_rows;
        bring(unit, arrays, tiles_so_far, 0);
        for (int row = 0; row < unit.rows; row += step, tiles_so_far++) {
            if (row + step < unit.rows) bring(unit, arrays, tiles_so_far + 1, row + step);
            wait_for(&desk->arrival[tiles_so_far % 2], tiles_so_far / 2);
            Part<T> part = unit;
            part.rows = rows_from(unit, row);
            compute(part, tiles_so_far, row);
            barrier();  // until everyone is done with the tile
        }
    }

    // Calls work(unit) for each of this block's units, in order or in reverse.
    template <class Work> DEVICE_METHOD void each_unit(bool forwards, Work work) const {
        int mine = (units() - block() + blocks() - 1) / blocks();
        for (int i = 0; i < mine; i++) work(block() + (forwards ? i : mine - 1 - i) * blocks());
    }

    // Notes a number of the unit for each channel: the sum over the channel's threads.
    DEVICE_METHOD void note(const Part<T>& part, int unit, int which, double value) const {
        value = part.in_block(value, desk->totals);
        if (part.first == 0) store(of_units + 2 * (unit * geometry.group + part.channel) + which, value);
    }

    // Σ of a number over the units of the group that this unit belongs to.
    DEVICE_METHOD double noted(const Part<T>& part, int unit, int which) const {
        long long splits = geometry.splits, first = unit / splits * splits;
        double total = 0;
        for (long long u = first; u < first + splits; u++) {
            total += load(of_units + 2 * (u * geometry.group + part.channel) + which);
        }
        return total;
    }

    // Copies out what was computed in place of the first array's tile.
    DEVICE_METHOD void send(const Part<T>& part, const Array& array, unsigned number, int from) const {
        hand_over();
        barrier();
        if (thread() >= WARP) return;
        int bytes = row_bytes(part);
        for (int row = thread(); row < part.rows; row += WARP) {
            copy_out(row_of<T>(array, part, from + row), (unsigned char*)tile(number, 0) + row * bytes, bytes);
        }
        wait_for_copies_out();
    }
};

template <class T> DEVICE void stream_forward_train(const ForwardTrain& a) {
    Stream<T> stream(a.geometry, a.scratch, arrays_of(a.relu));
    auto pivot_of = [&](const Part<T>& part) {
        long long c = part.first_channel() + part.channel;
        double first = widen(load((const T*)a.input.data + c * a.geometry.spatial * a.geometry.pieces));
        return first - first == 0 ? first : 0.0;  // beside an infinity there is nothing to tell apart
    };
    stream.each_unit(true, [&](int unit) {
        Part<T> whole = stream.part(unit);
        double pivot = pivot_of(whole), sum = 0, squares = 0;
        stream.each_tile(whole, {&a.input}, [&](const Part<T>& part, unsigned tile, int) {
            const T* values = stream.tile(tile, 0);
            part.each([&](int at) {
                double d = widen(load_shared(values + at)) - pivot;
                sum += d;
                squares = fused(d, d, squares);
            });
        });
        stream.note(whole, unit, 0, sum);
        stream.note(whole, unit, 1, squares);
    });
    grid_barrier(stream.gate);
    stream.each_unit(false, [&](int unit) {
        Part<T> whole = stream.part(unit);
        long long c = whole.first_channel() + whole.channel;
        double n = (double)a.count, shift = stream.noted(whole, unit, 0) / n;
        double squares = stream.noted(whole, unit, 1) - shift * shift * n;
        Statistics s = {pivot_of(whole) + shift, 1.0 / root(squares / n + a.eps)};
        double factor = s.invstd * parameter(a.weight, c, 1.0), bias = parameter(a.bias, c, 0.0);
        if (whole.first == 0 && whole.rank == 0) remember(a, c, s, squares);
        stream.each_tile(whole, {&a.input, &a.relu.residual}, [&](const Part<T>& part, unsigned tile, int row) {
            T* values = stream.tile(tile, 0);
            const T* residual = stream.tile(tile, 1);
            part.each([&](int at) {
                double d = widen(load_shared(values + at)) - s.mean;
                store_shared(values + at, activated(a.relu, fused(d, factor, bias), residual + at));
            });
            note_rows(part, values, a.relu.mask, row);
            stream.send(part, a.output, tile, row);
        });
    });
}

template <class T, bool OF_BATCH> DEVICE void stream_backward(const Backward& a) {
    Stream<T> stream(a.geometry, a.scratch, 2);
    auto statistics_of = [&](const Part<T>& part) {
        long long c = part.first_channel() + part.channel;
        return Statistics{load(&a.saved[c].mean), load(&a.saved[c].invstd)};
    };
    stream.each_unit(true, [&](int unit) {
        Part<T> whole = stream.part(unit);
        double mean = statistics_of(whole).mean, sum = 0, dot = 0;
        stream.each_tile(whole, {&a.grad_output, &a.input}, [&](const Part<T>& part, unsigned tile, int row) {
            T* gradients = stream.tile(tile, 0);
            const T* values = stream.tile(tile, 1);
            gate_rows(part, gradients, a.mask, row);
            if (a.grad_residual.data) stream.send(part, a.grad_residual, tile, row);
            part.each([&](int at) {
                double g = widen(load_shared(gradients + at));
                sum += g;
                dot = fused(g, widen(load_shared(values + at)) - mean, dot);
            });
        });
        stream.note(whole, unit, 0, sum);
        stream.note(whole, unit, 1, dot);
    });
    grid_barrier(stream.gate);
    stream.each_unit(false, [&](int unit) {
        Part<T> whole = stream.part(unit);
        long long c = whole.first_channel() + whole.channel;
        Statistics s = statistics_of(whole);
        double sum = stream.noted(whole, unit, 0), dot = stream.noted(whole, unit, 1) * s.invstd;
        if (whole.first == 0 && whole.rank == 0) tell(a, c, sum, dot);
        if (!a.grad_input.data) return;
        Gradient<OF_BATCH> gradient(a, c, s, sum, dot);
        stream.each_tile(whole, {&a.grad_output, &a.input}, [&](const Part<T>& part, unsigned tile, int row) {
            T* gradients = stream.tile(tile, 0);
            const T* values = stream.tile(tile, 1);
            gate_rows(part, gradients, a.mask, row);
            part.each([&](int at) {
                double g = widen(load_shared(gradients + at));
                double x = OF_BATCH ? widen(load_shared(values + at)) : 0.0;
                store_shared(gradients + at, rounded<T>(gradient.of(g, x)));
            });
            stream.send(part, a.grad_input, tile, row);
        });
    });
}

#ifdef HAS_CLUSTERS

#define STREAM(dtype, T)                                                               \
    KERNEL(stream_forward_train_##dtype, stream_forward_train<T>, ForwardTrain)        \
    KERNEL(stream_backward_train_##dtype, (stream_backward<T, true>), Backward)        \
    KERNEL(stream_backward_eval_##dtype, (stream_backward<T, false>), Backward)

FOR_EACH_DTYPE(STREAM)

#endif
