// Kernels for channels-last arrays that fit into the shared memory of the whole device: every
// value is read from global memory once and written once.
//
// All blocks run at the same time. Each owns a slab, a stretch of neighbouring positions with
// all their channels, and copies it into shared memory.
//
//   memory  positions × channels values of each array | one number for each thread | transactions
#pragma once
#include "columns.cuh"

template <class T> DEVICE Slab<T> slab_of(const Geometry& g, void* scratch, int arrays) {
    return stretch_of<T>(g, scratch, (Notes*)(shared_memory() + g.slab_bytes * arrays));
}

template <class T, int ARRAYS>
DEVICE void bring(const Slab<T>& slab, const Geometry& g, const Array* const (&arrays)[ARRAYS]) {
    Transaction* arrival = slab.notes->arrival;
    int bytes = slab.positions * slab.channels * (int)sizeof(T);
    if (thread() == 0) start_transaction(arrival);
    barrier();
    if (thread() == 0) {
        expect(arrival, number_of(arrays) * bytes);
        for (int i = 0; i < ARRAYS && bytes > 0; i++) {
            if (!arrays[i]->data) continue;
            const T* from = (const T*)arrays[i]->data + slab.first * slab.channels;
            copy_in(shared_memory() + i * g.slab_bytes, from, bytes, arrival);
        }
    }
    wait_for(arrival, 0);
}

// Each block measures its slab by itself: mean and Σ(x − mean)². Over the blocks, of n values
// each, the mean is Σn·mean/Σn, and the squares are Σ(squares + n·(mean of block − mean)²).
template <class T> DEVICE void slab_forward_train(const ForwardTrain& a) {
    Slab<T> slab = slab_of<T>(a.geometry, a.scratch, arrays_of(a.relu));
    bring(slab, a.geometry, {&a.input, &a.relu.residual});
    T* values = slab.values;
    const T* residual = (const T*)(shared_memory() + a.geometry.slab_bytes);

    slab.each_channel([&](int c) {
        double n = slab.positions > 0 ? slab.positions : 1;
        double sum = 0;
        slab.each(c, [&](int at) { sum += widen(load_shared(values + at)); });
        double mean = slab.over_teams(sum) / n;
        double squares = 0;
        slab.each(c, [&](int at) {
            double d = widen(load_shared(values + at)) - mean;
            squares = fused(d, d, squares);
        });
        slab.tell_blocks(c, mean, slab.over_teams(squares));
    });
    grid_barrier(slab.scratch.gate);

    slab.each_channel_of_all([&](long long c) {
        double sum = 0;
        for (int b = thread() % WARP; b < blocks(); b += WARP) {
            sum = fused(positions_of(a.geometry, b), slab.told(c, b, 0), sum);
        }
        double mean = warp_sum(sum) / (double)a.count;
        double squares = 0;
        for (int b = thread() % WARP; b < blocks(); b += WARP) {
            double d = slab.told(c, b, 0) - mean;
            squares += fused(positions_of(a.geometry, b) * d, d, slab.told(c, b, 1));
        }
        squares = warp_sum(squares);
        if (thread() % WARP != 0) return;
        Statistics s = {mean, 1.0 / root(squares / (double)a.count + a.eps)};
        remember(a, c, s, squares);
        slab.answer(c, s.mean, s.invstd);
    });
    grid_barrier(slab.scratch.gate);

    slab.each_channel([&](int c) {
        if (c >= slab.channels) return;
        Statistics s = {load(slab.scratch.of_channels + 2 * c), load(slab.scratch.of_channels + 2 * c + 1)};
        double factor = s.invstd * parameter(a.weight, c, 1.0), bias = parameter(a.bias, c, 0.0);
        slab.each(c, [&](int at) {
            double d = widen(load_shared(values + at)) - s.mean;
            store_shared(values + at, activated(a.relu, fused(d, factor, bias), residual + at));
        });
    });
    note(slab, values, a.relu.mask);
    send(slab, values, a.output);
}

// Nothing is added up, so the blocks need not run at the same time: there may be any number.
template <class T> DEVICE void slab_forward_eval(const ForwardEval& a) {
    Slab<T> slab = slab_of<T>(a.geometry, nullptr, arrays_of(a.relu));
    bring(slab, a.geometry, {&a.input, &a.relu.residual});
    T* values = slab.values;
    const T* residual = (const T*)(shared_memory() + a.geometry.slab_bytes);
    slab.each_channel([&](int c) {
        if (c >= slab.channels) return;
        Statistics s = of_running(a, c);
        double factor = s.invstd * parameter(a.weight, c, 1.0), bias = parameter(a.bias, c, 0.0);
        slab.each(c, [&](int at) {
            double d = widen(load_shared(values + at)) - s.mean;
            store_shared(values + at, activated(a.relu, fused(d, factor, bias), residual + at));
        });
        if (block() == 0 && slab.team() == 0) remember(a.saved, c, s);
    });
    note(slab, values, a.relu.mask);
    send(slab, values, a.output);
}

template <class T, bool OF_BATCH> DEVICE void slab_backward(const Backward& a) {
    Slab<T> slab = slab_of<T>(a.geometry, a.scratch, 2);
    bring(slab, a.geometry, {&a.grad_output, &a.input});
    T* gradients = slab.values;
    const T* values = (const T*)(shared_memory() + a.geometry.slab_bytes);
    gate(slab, gradients, a.mask);
    if (a.grad_residual.data) send(slab, gradients, a.grad_residual);

    slab.each_channel([&](int c) {
        double mean = c < slab.channels ? load(&a.saved[c].mean) : 0.0;
        double sum = 0, dot = 0;
        slab.each(c, [&](int at) {
            double g = widen(load_shared(gradients + at));
            sum += g;
            dot = fused(g, widen(load_shared(values + at)) - mean, dot);
        });
        sum = slab.over_teams(sum);
        slab.tell_blocks(c, sum, slab.over_teams(dot));
    });
    grid_barrier(slab.scratch.gate);

    slab.each_channel_of_all([&](long long c) {
        double sum = 0, dot = 0;
        for (int b = thread() % WARP; b < blocks(); b += WARP) {
            sum += slab.told(c, b, 0);
            dot += slab.told(c, b, 1);
        }
        sum = warp_sum(sum);
        dot = warp_sum(dot) * load(&a.saved[c].invstd);
        if (thread() % WARP != 0) return;
        tell(a, c, sum, dot);
        slab.answer(c, sum, dot);
    });
    if (!a.grad_input.data) return;
    grid_barrier(slab.scratch.gate);

    slab.each_channel([&](int c) {
        if (c >= slab.channels) return;
        Statistics s = {load(&a.saved[c].mean), load(&a.saved[c].invstd)};
        double sum = load(slab.scratch.of_channels + 2 * c), dot = load(slab.scratch.of_channels + 2 * c + 1);
        Gradient<OF_BATCH> gradient(a, c, s, sum, dot);
        slab.each(c, [&](int at) {
            double g = widen(load_shared(gradients + at));
            double x = OF_BATCH ? widen(load_shared(values + at)) : 0.0;
            store_shared(gradients + at, rounded<T>(gradient.of(g, x)));
        });
    });
    send(slab, gradients, a.grad_input);
}

#ifdef HAS_CLUSTERS

#define SLAB(dtype, T)                                                                 \
    KERNEL(slab_forward_train_##dtype, slab_forward_train<T>, ForwardTrain)            \
    KERNEL(slab_forward_eval_##dtype, slab_forward_eval<T>, ForwardEval)               \
    KERNEL(slab_backward_train_##dtype, (slab_backward<T, true>), Backward)            \
    KERNEL(slab_backward_eval_##dtype, (slab_backward<T, false>), Backward)

FOR_EACH_DTYPE(SLAB)

#endif
