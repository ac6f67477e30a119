// The plain kernels: one block per channel, any strides, every value read from memory once
// for each pass over it. The ones to read, and what the fast ones are measured against.
//
// All arithmetic is f64; each result is rounded once.
#pragma once
#include "channel.cuh"
#include "formulas.cuh"
#include "sum.cuh"

// mean = Σx/n and squares = Σ(x − mean)², in two passes: E[x²] − E[x]² would cancel.
//
// The mean needs no correction. Values of 24 bits add up exactly in f64, unless the largest is
// 2²⁹/n times another; then σ ≥ max|x|/2√n, while each of a thread's n/1024 additions and the
// ten of the tree err by 2⁻⁵³·max|x| at most: for n = 2²² that is 2⁻²⁹·σ.
template <class T>
DEVICE Statistics measure(const Channel<T>& x, long long count, double eps, double& squares, double* totals) {
    double n = count > 0 ? (double)count : 1.0;  // nothing has mean 0 and variance 0
    double sum = 0;
    for (long long i = thread(); i < count; i += threads()) sum += x.get(i);
    double mean = block_sum(sum, totals) / n;

    squares = 0;
    for (long long i = thread(); i < count; i += threads()) {
        double d = x.get(i) - mean;
        squares = fused(d, d, squares);
    }
    squares = block_sum(squares, totals);
    return {mean, 1.0 / root(squares / n + eps)};
}

// v = (x − mean)·(invstd·weight) + bias, and the residual where there is one.
// y = v, or relu(v), whose mask has a row of whole words for each channel.
template <class T, class Arguments> DEVICE void normalize(const Arguments& a, long long c, const Statistics& s) {
    const Relu& relu = a.relu;
    Channel<T> x = channel<T>(a.input, c), y = channel<T>(a.output, c), residual = channel<T>(relu.residual, c);
    ChannelBits mask = channel_bits(relu.mask, c);
    double factor = s.invstd * parameter(a.weight, c, 1.0), bias = parameter(a.bias, c, 0.0);
    int lane = thread() % WARP;
    for (long long i = thread() - lane; i < a.count; i += threads()) {
        bool is_there = i + lane < a.count, passed = false;
        if (is_there) {
            double v = fused(x.get(i + lane) - s.mean, factor, bias);
            if (relu.residual.data) v += residual.get(i + lane);
            passed = !(v <= 0);  // NaN does
            y.set(i + lane, relu.mask.data && !passed ? 0.0 : v);
        }
        if (!relu.mask.data) continue;
        unsigned bits = vote(passed);
        if (lane == 0) mask.set(i, bits);
    }
}

template <class T> DEVICE void baseline_forward_train(const ForwardTrain& a) {
    double* totals = (double*)shared_memory();
    long long c = block();
    double squares;
    Statistics s = measure(channel<T>(a.input, c), a.count, a.eps, squares, totals);
    normalize<T>(a, c, s);
    if (thread() == 0) remember(a, c, s, squares);
}

template <class T> DEVICE void baseline_forward_eval(const ForwardEval& a) {
    long long c = block();
    Statistics s = of_running(a, c);
    normalize<T>(a, c, s);
    if (thread() == 0) remember(a.saved, c, s);
}

// grad_bias = Σg, grad_weight = Σg·x̂, and grad_input as Gradient says; after a relu with g'.
template <class T, bool OF_BATCH> DEVICE void baseline_backward(const Backward& a) {
    double* totals = (double*)shared_memory();
    long long c = block();
    Channel<T> x = channel<T>(a.input, c), g = channel<T>(a.grad_output, c);
    ChannelBits mask = channel_bits(a.mask, c);
    Statistics s = {load(&a.saved[c].mean), load(&a.saved[c].invstd)};
    auto gated = [&](long long i) { return !a.mask.data || mask.get(i) ? g.get(i) : 0.0; };

    double sum = 0, dot = 0;
    Channel<T> to_residual = channel<T>(a.grad_residual, c);
    for (long long i = thread(); i < a.count; i += threads()) {
        double gi = gated(i);
        if (a.grad_residual.data) to_residual.set(i, gi);
        sum += gi;
        dot = fused(gi, x.get(i) - s.mean, dot);
    }
    sum = block_sum(sum, totals);
    dot = block_sum(dot, totals) * s.invstd;
    if (thread() == 0) tell(a, c, sum, dot);

    if (!a.grad_input.data) return;
    Channel<T> to = channel<T>(a.grad_input, c);
    Gradient<OF_BATCH> gradient(a, c, s, sum, dot);
    for (long long i = thread(); i < a.count; i += threads()) {
        to.set(i, gradient.of(gated(i), OF_BATCH ? x.get(i) : 0.0));
    }
}

#define BASELINE(dtype, T)                                                             \
    KERNEL(baseline_forward_train_##dtype, baseline_forward_train<T>, ForwardTrain)    \
    KERNEL(baseline_forward_eval_##dtype, baseline_forward_eval<T>, ForwardEval)       \
    KERNEL(baseline_backward_train_##dtype, (baseline_backward<T, true>), Backward)    \
    KERNEL(baseline_backward_eval_##dtype, (baseline_backward<T, false>), Backward)

FOR_EACH_DTYPE(BASELINE)
