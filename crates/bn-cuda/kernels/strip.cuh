// Kernels for channels-last arrays beyond the shared memory of the whole device: every value is
// read from global memory twice and written once.
//
// All blocks run at the same time. Each owns a strip, a stretch of neighbouring positions with all
// their channels, which comes through shared memory tile by tile, two tiles at a time: one is
// worked on while the next arrives. After the first pass the blocks exchange what they found; the
// second takes the tiles in reverse, so that it begins with what the caches still hold.
//
// The variance takes one pass, about a pivot: see stream.cuh.
//
//   memory  two tiles of positions × channels values of each array | notes | totals
//
// Order of sums: a thread adds up every `teams`th position of each tile, tile after tile; then as
// columns.cuh says.
#pragma once
#include "columns.cuh"

template <class T> struct Strip {
    Slab<T> whole;
    Geometry geometry;
    int arrays;       // that a tile has room for
    double* totals;   // shared: two numbers of each channel that a thread works on, for each thread
    unsigned tiles_so_far = 0;

    DEVICE_METHOD Strip(const Geometry& g, void* scratch, int arrays) : geometry(g), arrays(arrays) {
        Notes* notes = (Notes*)(shared_memory() + 2 * arrays * g.slab_bytes);
        whole = stretch_of<T>(g, scratch, notes);
        totals = (double*)(notes + 1);
        if (thread() < 2) start_transaction(&notes->arrival[thread()]);
        barrier();
    }

    // Where the thread's number of channel c is.
    DEVICE_METHOD double* total(int c, int which) const {
        return totals + ((c / whole.width) * 2 + which) * threads() + thread();
    }

    DEVICE_METHOD T* values(unsigned number, int array) const {
        return (T*)(shared_memory() + (number % 2 * arrays + array) * geometry.slab_bytes);
    }

    // The tile that starts at a position of the strip.
    DEVICE_METHOD Slab<T> tile(unsigned number, int from) const {
        Slab<T> tile = whole;
        int left = whole.positions - from;
        tile.values = values(number, 0);
        tile.first = whole.first + from;
        tile.positions = left < geometry.tile_rows ? left : (int)geometry.tile_rows;
        return tile;
    }

    template <int ARRAYS>
    DEVICE_METHOD void bring(const Array* const (&arrays)[ARRAYS], unsigned number, int from) const {
        if (thread() != 0) return;
        Slab<T> coming = tile(number, from);
        Transaction* arrival = &whole.notes->arrival[number % 2];
        int bytes = coming.positions * coming.channels * (int)sizeof(T);
        expect(arrival, number_of(arrays) * bytes);
        for (int i = 0; i < ARRAYS; i++) {
            if (!arrays[i]->data) continue;
            copy_in(values(number, i), (const T*)arrays[i]->data + coming.first * coming.channels, bytes, arrival);
        }
    }

    // Calls compute(tile, the second array's values) for each tile, in order or in reverse. Every
    // thread of the block comes along.
    template <int ARRAYS, class Compute>
    DEVICE_METHOD void each_tile(bool forwards, const Array* const (&arrays)[ARRAYS], Compute compute) {
        int size = (int)geometry.tile_rows, tiles = (whole.positions + size - 1) / size;
        auto start = [&](int i) { return (forwards ? i : tiles - 1 - i) * size; };
        bring(arrays, tiles_so_far, start(0));
        for (int i = 0; i < tiles; i++, tiles_so_far++) {
            if (i + 1 < tiles) bring(arrays, tiles_so_far + 1, start(i + 1));
            wait_for(&whole.notes->arrival[tiles_so_far % 2], tiles_so_far / 2);
            compute(tile(tiles_so_far, start(i)), (const T*)values(tiles_so_far, 1));
            barrier();  // until everyone is done with the tile
        }
    }

    // Makes every total 0; add(c) is its thread's alone.
    DEVICE_METHOD void clear() const {
        whole.each_channel([&](int c) {
            store_shared(total(c, 0), 0.0);
            store_shared(total(c, 1), 0.0);
        });
    }

    // Calls add(offset, first, second) for each of the tile's values of channel c that are this
    // thread's, the totals of the channel being the latter two.
    template <class Add> DEVICE_METHOD void add_up(const Slab<T>& tile, int c, Add add) const {
        double first = load_shared(total(c, 0)), second = load_shared(total(c, 1));
        tile.each(c, [&](int at) { add(at, first, second); });
        store_shared(total(c, 0), first);
        store_shared(total(c, 1), second);
    }

    // Tells the others this block's totals.
    DEVICE_METHOD void tell_totals() const {
        whole.each_channel([&](int c) {
            double first = whole.over_teams(load_shared(total(c, 0)));
            whole.tell_blocks(c, first, whole.over_teams(load_shared(total(c, 1))));
        });
    }

    // Calls combine(c, Σ of the first, Σ of the second) in one thread for each channel, which share
    // them out among the warps of all blocks.
    template <class Combine> DEVICE_METHOD void each_sum(Combine combine) const {
        whole.each_channel_of_all([&](long long c) {
            double first = 0, second = 0;
            for (int b = thread() % WARP; b < blocks(); b += WARP) {
                first += whole.told(c, b, 0);
                second += whole.told(c, b, 1);
            }
            first = warp_sum(first);
            second = warp_sum(second);
            if (thread() % WARP == 0) combine(c, first, second);
        });
    }
};

template <class T> DEVICE void strip_forward_train(const ForwardTrain& a) {
    Strip<T> strip(a.geometry, a.scratch, arrays_of(a.relu));
    const Slab<T>& whole = strip.whole;
    auto pivot_of = [&](long long c) {
        double first = widen(load((const T*)a.input.data + c));
        return first - first == 0 ? first : 0.0;  // beside an infinity there is nothing to tell apart
    };
    strip.clear();
    strip.each_tile(true, {&a.input}, [&](const Slab<T>& tile, const T*) {
        tile.each_channel([&](int c) {
            if (c >= tile.channels) return;
            double pivot = pivot_of(c);
            strip.add_up(tile, c, [&](int at, double& sum, double& squares) {
                double d = widen(load_shared(tile.values + at)) - pivot;
                sum += d;
                squares = fused(d, d, squares);
            });
        });
    });
    strip.tell_totals();
    grid_barrier(whole.scratch.gate);

    strip.each_sum([&](long long c, double sum, double squares) {
        double n = (double)a.count, shift = sum / n;
        squares -= shift * shift * n;
        Statistics s = {pivot_of(c) + shift, 1.0 / root(squares / n + a.eps)};
        remember(a, c, s, squares);
        whole.answer(c, s.mean, s.invstd);
    });
    grid_barrier(whole.scratch.gate);

    strip.each_tile(false, {&a.input, &a.relu.residual}, [&](const Slab<T>& tile, const T* residual) {
        tile.each_channel([&](int c) {
            if (c >= tile.channels) return;
            double mean = load(tile.scratch.of_channels + 2 * c), invstd = load(tile.scratch.of_channels + 2 * c + 1);
            double factor = invstd * parameter(a.weight, c, 1.0), bias = parameter(a.bias, c, 0.0);
            tile.each(c, [&](int at) {
                double d = widen(load_shared(tile.values + at)) - mean;
                store_shared(tile.values + at, activated(a.relu, fused(d, factor, bias), residual + at));
            });
        });
        note(tile, tile.values, a.relu.mask);
        send(tile, tile.values, a.output);
    });
}

template <class T, bool OF_BATCH> DEVICE void strip_backward(const Backward& a) {
    Strip<T> strip(a.geometry, a.scratch, 2);
    const Slab<T>& whole = strip.whole;
    strip.clear();
    strip.each_tile(true, {&a.grad_output, &a.input}, [&](const Slab<T>& tile, const T* values) {
        gate(tile, tile.values, a.mask);
        if (a.grad_residual.data) send(tile, tile.values, a.grad_residual);
        tile.each_channel([&](int c) {
            if (c >= tile.channels) return;
            double mean = load(&a.saved[c].mean);
            strip.add_up(tile, c, [&](int at, double& sum, double& dot) {
                double g = widen(load_shared(tile.values + at));
                sum += g;
                dot = fused(g, widen(load_shared(values + at)) - mean, dot);
            });
        });
    });
    strip.tell_totals();
    grid_barrier(whole.scratch.gate);

    strip.each_sum([&](long long c, double sum, double dot) {
        dot *= load(&a.saved[c].invstd);
        tell(a, c, sum, dot);
        whole.answer(c, sum, dot);
    });
    if (!a.grad_input.data) return;
    grid_barrier(whole.scratch.gate);

    strip.each_tile(false, {&a.grad_output, &a.input}, [&](const Slab<T>& tile, const T* values) {
        gate(tile, tile.values, a.mask);
        tile.each_channel([&](int c) {
            if (c >= tile.channels) return;
            Statistics s = {load(&a.saved[c].mean), load(&a.saved[c].invstd)};
            double sum = load(tile.scratch.of_channels + 2 * c), dot = load(tile.scratch.of_channels + 2 * c + 1);
            Gradient<OF_BATCH> gradient(a, c, s, sum, dot);
            tile.each(c, [&](int at) {
                double g = widen(load_shared(tile.values + at));
                double x = OF_BATCH ? widen(load_shared(values + at)) : 0.0;
                store_shared(tile.values + at, rounded<T>(gradient.of(g, x)));
            });
        });
        send(tile, tile.values, a.grad_input);
    });
}

#ifdef HAS_CLUSTERS

#define STRIP(dtype, T)                                                                \
    KERNEL(strip_forward_train_##dtype, strip_forward_train<T>, ForwardTrain)          \
    KERNEL(strip_backward_train_##dtype, (strip_backward<T, true>), Backward)          \
    KERNEL(strip_backward_eval_##dtype, (strip_backward<T, false>), Backward)

FOR_EACH_DTYPE(STRIP)

#endif
