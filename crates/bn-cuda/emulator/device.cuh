// The words that kernels are written in, for a CPU: each means what it means in
// kernels/device.cuh, and is checked by the machine.
#pragma once
#include "words.h"

// Most words are the machine's own.
using namespace emulator;

#define DEVICE static inline
#define DEVICE_METHOD inline
#define HAS_CLUSTERS

#define KERNEL(name, body, Arguments)                                              \
    static void name(const void* arguments) { body(*(const Arguments*)arguments); } \
    static const Registration registration_##name(#name, name, sizeof(Arguments));

typedef unsigned long long Transaction;

template <class T> DEVICE T load_shared(const T* from) {
    touch_shared(from, sizeof(T), READ);
    return *from;
}
template <class T> DEVICE void store_shared(T* to, T value) {
    touch_shared(to, sizeof(T), WRITE);
    *to = value;
}
template <class T> DEVICE T load(const T* from) {
    touch_global(from, sizeof(T), READ);
    return *from;
}
template <class T> DEVICE void store(T* to, T value) {
    touch_global(to, sizeof(T), WRITE);
    *to = value;
}
DEVICE double load_remote(const double* place, int rank) {
    return *(const double*)touch_remote(place, sizeof(double), rank);
}

struct GridGate {
    unsigned* counters;
};
DEVICE void grid_barrier(const GridGate&) { grid_barrier(); }
