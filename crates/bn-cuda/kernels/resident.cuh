// Kernels for contiguous arrays whose channels fit into the shared memory of a cluster: every
// value is read from global memory once and written once.
//
// A cluster owns a group of neighbouring channels, and each of its blocks every size-th row of
// the batch. The rows of the group are copied into shared memory; there the block sums,
// the cluster adds the blocks' sums up, and what is computed is written in place and copied out.
//
//   memory  rows × group × spatial values of each array | totals | partials | transaction
//
// Sums run in an order that the launch settles: a thread's own values, its warp, the warps of
// its channel, the blocks of the cluster.
#pragma once
#include "rows.cuh"

// The part of a block whose piece stays in shared memory, `arrays` arrays one after the other.
template <class T> DEVICE Part<T> part_of(const Geometry& geometry, int arrays, int size) {
    Part<T> part = part_among<T>(geometry, block(), size);
    part.values = (T*)shared_memory();
    part.desk = (Desk*)(shared_memory() + geometry.slab_bytes * arrays);
    return part;
}

// Copies this block's rows of those arrays that there are into shared memory, each to its slab.
template <class T, int ARRAYS> DEVICE void bring(const Part<T>& part, const Array* const (&arrays)[ARRAYS]) {
    Transaction* arrival = &part.desk->arrival;
    int bytes = row_bytes(part);
    if (thread() == 0) start_transaction(arrival);
    barrier();
    if (thread() == 0) expect(arrival, number_of(arrays) * part.rows * bytes);
    if (thread() < WARP) {
        for (int row = thread(); row < part.rows; row += WARP) {
            for (int i = 0; i < ARRAYS; i++) {
                if (!arrays[i]->data) continue;
                copy_in((unsigned char*)part.slab(i) + row * bytes, row_of<T>(*arrays[i], part, row), bytes, arrival);
            }
        }
    }
    wait_for(arrival, 0);
}

// Copies out what was computed in place.
template <class T> DEVICE void send(const Part<T>& part, T* values, const Array& array) {
    hand_over();
    barrier();
    if (thread() < WARP) {
        for (int row = thread(); row < part.rows; row += WARP) {
            copy_out(row_of<T>(array, part, row), (unsigned char*)values + row * row_bytes(part), row_bytes(part));
        }
        wait_for_copies_out();
    }
}

template <class T> DEVICE void resident_forward_train(const ForwardTrain& a) {
    Part<T> part = part_of<T>(a.geometry, arrays_of(a.relu), cluster_size());
    bring(part, {&a.input, &a.relu.residual});
    T* values = part.values;
    const T* residual = part.slab(1);
    double n = (double)a.count;

    double sum = 0;
    part.each([&](int at) { sum += widen(load_shared(values + at)); });
    double mean = part.sum(sum, 0) / n;
    double squares = 0;
    part.each([&](int at) {
        double d = widen(load_shared(values + at)) - mean;
        squares = fused(d, d, squares);
    });
    squares = part.sum(squares, 1);
    double invstd = 1.0 / root(squares / n + a.eps);

    long long c = part.first_channel() + part.channel;
    double factor = invstd * parameter(a.weight, c, 1.0), bias = parameter(a.bias, c, 0.0);
    part.each([&](int at) {
        double d = widen(load_shared(values + at)) - mean;
        store_shared(values + at, activated(a.relu, fused(d, factor, bias), residual + at));
    });
    note_rows(part, values, a.relu.mask, 0);
    if (part.first == 0 && part.rank == 0) remember(a, c, {mean, invstd}, squares);
    send(part, values, a.output);
    cluster_barrier();  // other blocks may still read this one's sums
}

// Nothing is added up, so the blocks of a group are no cluster: any number may share it.
template <class T> DEVICE void resident_forward_eval(const ForwardEval& a) {
    Part<T> part = part_of<T>(a.geometry, arrays_of(a.relu), (int)a.geometry.splits);
    bring(part, {&a.input, &a.relu.residual});
    T* values = part.values;
    const T* residual = part.slab(1);
    long long c = part.first_channel() + part.channel;
    Statistics s = of_running(a, c);
    double factor = s.invstd * parameter(a.weight, c, 1.0), bias = parameter(a.bias, c, 0.0);
    part.each([&](int at) {
        double d = widen(load_shared(values + at)) - s.mean;
        store_shared(values + at, activated(a.relu, fused(d, factor, bias), residual + at));
    });
    note_rows(part, values, a.relu.mask, 0);
    if (part.first == 0 && part.rank == 0) remember(a.saved, c, s);
    send(part, values, a.output);
}

template <class T, bool OF_BATCH> DEVICE void resident_backward(const Backward& a) {
    Part<T> part = part_of<T>(a.geometry, 2, cluster_size());
    bring(part, {&a.grad_output, &a.input});
    T* gradients = part.values;
    const T* values = part.slab(1);
    gate_rows(part, gradients, a.mask, 0);
    if (a.grad_residual.data) send(part, gradients, a.grad_residual);
    long long c = part.first_channel() + part.channel;
    Statistics s = {load(&a.saved[c].mean), load(&a.saved[c].invstd)};

    double sum = 0, dot = 0;
    part.each([&](int at) {
        double g = widen(load_shared(gradients + at));
        sum += g;
        dot = fused(g, widen(load_shared(values + at)) - s.mean, dot);
    });
    sum = part.sum(sum, 0);
    dot = part.sum(dot, 1) * s.invstd;
    if (part.first == 0 && part.rank == 0) tell(a, c, sum, dot);

    if (a.grad_input.data) {
        Gradient<OF_BATCH> gradient(a, c, s, sum, dot);
        part.each([&](int at) {
            double g = widen(load_shared(gradients + at));
            double x = OF_BATCH ? widen(load_shared(values + at)) : 0.0;
            store_shared(gradients + at, rounded<T>(gradient.of(g, x)));
        });
        send(part, gradients, a.grad_input);
    }
    cluster_barrier();  // other blocks may still read this one's sums
}

#ifdef HAS_CLUSTERS

#define RESIDENT(dtype, T)                                                             \
    KERNEL(resident_forward_train_##dtype, resident_forward_train<T>, ForwardTrain)    \
    KERNEL(resident_forward_eval_##dtype, resident_forward_eval<T>, ForwardEval)       \
    KERNEL(resident_backward_train_##dtype, (resident_backward<T, true>), Backward)    \
    KERNEL(resident_backward_eval_##dtype, (resident_backward<T, false>), Backward)

FOR_EACH_DTYPE(RESIDENT)

#endif
