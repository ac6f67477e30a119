// What is computed of one channel, whoever adds up its sums.
#pragma once
#include "arguments.cuh"
#include "element.cuh"

// A parameter of channel c, or what stands for one that is absent.
DEVICE double parameter(const float* of, long long c, double absent) {
    return of ? widen(load(of + c)) : absent;
}

// What channel c is normalised by in evaluation.
DEVICE Statistics of_running(const ForwardEval& a, long long c) {
    return {widen(load(a.running_mean + c)), 1.0 / root(widen(load(a.running_var + c)) + a.eps)};
}

// running ← (1 − momentum)·running + momentum·batch
DEVICE void blend(float* running, double momentum, double batch) {
    double old = widen(load(running));
    store(running, rounded<float>((1.0 - momentum) * old + momentum * batch));
}

// Keeps what the backward pass needs.
DEVICE void remember(Statistics* saved, long long c, const Statistics& s) {
    store(&saved[c].mean, s.mean);
    store(&saved[c].invstd, s.invstd);
}

// The same, and moves the running statistics. `squares` is Σ(x − mean)².
DEVICE void remember(const ForwardTrain& a, long long c, const Statistics& s, double squares) {
    remember(a.saved, c, s);
    if (a.running_mean && a.count > 0) {
        // The biased variance normalises; the running one receives the unbiased.
        blend(a.running_mean + c, a.momentum, s.mean);
        blend(a.running_var + c, a.momentum, squares / (double)(a.count - 1));
    }
}

// Answers Σg and Σg·x̂ where they are asked for.
DEVICE void tell(const Backward& a, long long c, double sum, double dot) {
    if (a.grad_bias) store(a.grad_bias + c, rounded<float>(sum));
    if (a.grad_weight) store(a.grad_weight + c, rounded<float>(dot));
}

// From g to grad_input, for one channel.
//   (g − Σg/n − x̂·Σ(g·x̂)/n)·invstd·weight   where the batch was normalised by itself,
//   g·invstd·weight                            where by constants.
template <bool OF_BATCH> struct Gradient {
    Statistics s;
    double factor;
    double mean = 0;
    double slope = 0;

    DEVICE_METHOD Gradient(const Backward& a, long long c, const Statistics& s, double sum, double dot)
        : s(s), factor(s.invstd * parameter(a.weight, c, 1.0)) {
        if (OF_BATCH) {
            mean = sum / (double)a.count;
            slope = dot / (double)a.count;
        }
    }

    DEVICE_METHOD double of(double g, double x) const {
        if (!OF_BATCH) return g * factor;
        double x_hat = (x - s.mean) * s.invstd;
        return fused(-x_hat, slope, g - mean) * factor;
    }
};
