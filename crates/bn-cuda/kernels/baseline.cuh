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

// y = (x − mean)·(invstd·weight) + bias
template <class T>
DEVICE void normalize(
    const Channel<T>& x, const Channel<T>& y, long long count, const Statistics& s, double weight, double bias
) {
    double factor = s.invstd * weight;
    for (long long i = thread(); i < count; i += threads()) {
        y.set(i, fused(x.get(i) - s.mean, factor, bias));
    }
}

template <class T> DEVICE void baseline_forward_train(const ForwardTrain& a) {
    double* totals = (double*)shared_memory();
    long long c = block();
    Channel<T> x = channel<T>(a.input, c), y = channel<T>(a.output, c);
    double squares;
    Statistics s = measure(x, a.count, a.eps, squares, totals);
    normalize(x, y, a.count, s, parameter(a.weight, c, 1.0), parameter(a.bias, c, 0.0));
    if (thread() == 0) remember(a, c, s, squares);
}

template <class T> DEVICE void baseline_forward_eval(const ForwardEval& a) {
    long long c = block();
    Statistics s = of_running(a, c);
    Channel<T> x = channel<T>(a.input, c), y = channel<T>(a.output, c);
    normalize(x, y, a.count, s, parameter(a.weight, c, 1.0), parameter(a.bias, c, 0.0));
    if (thread() == 0) remember(a.saved, c, s);
}

// grad_bias = Σg, grad_weight = Σg·x̂, and grad_input as Gradient says.
template <class T, bool OF_BATCH> DEVICE void baseline_backward(const Backward& a) {
    double* totals = (double*)shared_memory();
    long long c = block();
    Channel<T> x = channel<T>(a.input, c), g = channel<T>(a.grad_output, c);
    Statistics s = {load(&a.saved[c].mean), load(&a.saved[c].invstd)};

    double sum = 0, dot = 0;
    for (long long i = thread(); i < a.count; i += threads()) {
        double gi = g.get(i);
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
        to.set(i, gradient.of(g.get(i), OF_BATCH ? x.get(i) : 0.0));
    }
}

#define BASELINE(dtype, T)                                                             \
    KERNEL(baseline_forward_train_##dtype, baseline_forward_train<T>, ForwardTrain)    \
    KERNEL(baseline_forward_eval_##dtype, baseline_forward_eval<T>, ForwardEval)       \
    KERNEL(baseline_backward_train_##dtype, (baseline_backward<T, true>), Backward)    \
    KERNEL(baseline_backward_eval_##dtype, (baseline_backward<T, false>), Backward)

FOR_EACH_DTYPE(BASELINE)
