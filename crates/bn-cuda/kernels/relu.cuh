// relu, and which elements it let through: a bit each.
//
//   y  = relu(v)                  v = bn(x), or bn(x) + residual
//   g' = g where the bit is set, 0 elsewhere
//
// A bit is clear where v ≤ 0 and set elsewhere, where v is NaN too. v is the f64 value: where a
// positive v rounds to 0, its bit is set all the same.
//
// What these functions are for: arrays without gaps of which a block has a stretch in shared
// memory. The mask lies as they do, and a stretch starts with a byte of it.
#pragma once
#include "arguments.cuh"
#include "element.cuh"

// The arrays of a forward pass that are read.
DEVICE int arrays_of(const Relu& relu) { return relu.residual.data ? 2 : 1; }

// How many of a list there are.
template <int ARRAYS> DEVICE int number_of(const Array* const (&arrays)[ARRAYS]) {
    int number = 0;
    for (int i = 0; i < ARRAYS; i++) number += arrays[i]->data != nullptr;
    return number;
}

// y, where v is what bn(x) gave. Until the bits are noted, a −0 stands for what relu did not let
// through: nothing that it lets through is one. `residual` is the element's, in shared memory.
template <class T> DEVICE T activated(const Relu& relu, double v, const T* residual) {
    if (relu.residual.data) v += widen(load_shared(residual));
    if (relu.mask.data && v <= 0) v = -0.0;
    return rounded<T>(v);
}

DEVICE bool is_minus_zero(float value) { return bits_of(value) == 0x80000000u; }
DEVICE bool is_minus_zero(Half value) { return value.bits == 0x8000; }
DEVICE bool is_minus_zero(Bfloat value) { return value.bits == 0x8000; }

// The mask's byte in which an element has its bit.
DEVICE unsigned char* byte_of(const Array& mask, long long element) {
    return (unsigned char*)mask.data + element / 8;
}

// Notes which of `count` elements passed, and makes a 0 of each −0. A warp takes 32 at a time: from
// `first` on, every `step`th such stretch of 32 elements is this warp's.
template <class T> DEVICE void note_bits(T* values, int count, unsigned char* bytes, int first, int step) {
    int lane = thread() % WARP;
    for (int i = first; i < count; i += step) {
        bool is_there = i + lane < count;
        bool passed = is_there && !is_minus_zero(load_shared(values + i + lane));
        if (is_there && !passed) store_shared(values + i + lane, rounded<T>(0.0));
        unsigned bits = vote(passed);
        if (lane < 4 && i + 8 * lane < count) store(bytes + i / 8 + lane, (unsigned char)(bits >> 8 * lane));
    }
}

// Makes g' of `count` elements of g; shared out as above.
template <class T> DEVICE void gate(T* gradients, int count, const unsigned char* bytes, int first, int step) {
    for (int i = first + thread() % WARP; i < count; i += step) {
        bool passed = load(bytes + i / 8) >> i % 8 & 1;
        if (!passed) store_shared(gradients + i, rounded<T>(0.0));
    }
}
