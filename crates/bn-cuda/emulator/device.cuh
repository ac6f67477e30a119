// The words that kernels are written in, for a CPU: each means what it means in
// kernels/device.cuh, and is checked by the machine.
#pragma once
#include <cstring>
#include <cmath>

#include "machine.h"

#define DEVICE static inline
#define DEVICE_METHOD inline
#define HAS_CLUSTERS

#define KERNEL(name, body, Arguments)                                              \
    static void name(const void* arguments) { body(*(const Arguments*)arguments); } \
    static const emulator::Registration registration_##name(#name, name, sizeof(Arguments));

constexpr int WARP = emulator::WARP_SIZE;

DEVICE int thread() { return emulator::machine->thread(); }
DEVICE int threads() { return emulator::machine->threads(); }
DEVICE int block() { return emulator::machine->block(); }
DEVICE int blocks() { return emulator::machine->blocks_of_grid(); }
DEVICE void barrier() { emulator::machine->barrier(); }
DEVICE double exchange(double value, int mask) { return emulator::machine->exchange(value, mask); }
DEVICE unsigned char* shared_memory() { return emulator::machine->shared(); }

template <class T> DEVICE T load_shared(const T* from) {
    emulator::machine->touch_shared(from, sizeof(T), emulator::READ);
    return *from;
}
template <class T> DEVICE void store_shared(T* to, T value) {
    emulator::machine->touch_shared(to, sizeof(T), emulator::WRITE);
    *to = value;
}
template <class T> DEVICE T load(const T* from) {
    emulator::machine->touch_global(from, sizeof(T), emulator::READ);
    return *from;
}
template <class T> DEVICE void store(T* to, T value) {
    emulator::machine->touch_global(to, sizeof(T), emulator::WRITE);
    *to = value;
}

DEVICE int cluster_rank() { return emulator::machine->cluster_rank(); }
DEVICE int cluster_size() { return emulator::machine->cluster_size(); }
DEVICE void cluster_barrier() { emulator::machine->cluster_barrier(); }
DEVICE double load_remote(const double* place, int rank) {
    return *(const double*)emulator::machine->touch_remote(place, sizeof(double), rank);
}

typedef unsigned long long Transaction;

DEVICE void start_transaction(Transaction* t) { emulator::machine->start_transaction(t); }
DEVICE void expect(Transaction* t, int bytes) { emulator::machine->expect(t, bytes); }
DEVICE void wait_for(Transaction* t, unsigned phase) { emulator::machine->wait_for(t, phase); }
DEVICE void copy_in(void* to, const void* from, int bytes, Transaction* t) {
    emulator::machine->copy_in(to, from, bytes, t);
}
DEVICE void hand_over() { emulator::machine->hand_over(); }
DEVICE void copy_out(void* to, const void* from, int bytes) { emulator::machine->copy_out(to, from, bytes); }
DEVICE void wait_for_copies_out() { emulator::machine->wait_for_copies_out(); }

struct GridGate {
    unsigned* counters;
};
DEVICE void grid_barrier(const GridGate&) { emulator::machine->grid_barrier(); }

DEVICE unsigned bits_of(float value) {
    unsigned bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}
DEVICE float from_bits(unsigned bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
DEVICE float toward_zero(double value) {
    float nearest = (float)value;
    // One step towards zero is one less in the bits; from infinity it leads to the largest.
    bool away = std::fabs((double)nearest) > std::fabs(value);
    return away ? from_bits(bits_of(nearest) - 1) : nearest;
}
DEVICE double fused(double a, double b, double c) { return std::fma(a, b, c); }
DEVICE double root(double value) { return std::sqrt(value); }

DEVICE float half_to_float(unsigned short half) {
    unsigned sign = (half & 0x8000u) << 16, exponent = half >> 10 & 0x1f, fraction = half & 0x3ff;
    if (exponent == 0x1f) return from_bits(sign | 0x7f800000u | fraction << 13);
    if (exponent != 0) return from_bits(sign | (exponent + 112) << 23 | fraction << 13);
    float magnitude = std::ldexp((float)fraction, -24);
    return sign ? -magnitude : magnitude;
}

DEVICE unsigned short float_to_half(float value) {
    unsigned sign = bits_of(value) >> 16 & 0x8000u, bits = bits_of(value) & 0x7fffffffu;
    if (bits > 0x7f800000u) return (unsigned short)(sign | 0x7fffu);
    if (bits >= 0x477ff000u) return (unsigned short)(sign | 0x7c00u);  // 65520 and more
    if (bits < 0x38800000u) {
        // Below the normal numbers, the steps are 2⁻²⁴.
        return (unsigned short)(sign | (unsigned)std::nearbyint(std::ldexp(from_bits(bits), 24)));
    }
    unsigned rounded = bits - 0x38000000u + 0xfff + (bits >> 13 & 1);
    return (unsigned short)(sign | rounded >> 13);
}
