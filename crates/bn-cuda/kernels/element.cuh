// The numbers that arrays are made of: widened to f64 without loss, and rounded once on the
// way back.
#pragma once
#include "device.cuh"

// IEEE binary16.
struct Half {
    unsigned short bits;
};

// The upper half of a binary32.
struct Bfloat {
    unsigned short bits;
};

DEVICE double widen(float value) { return value; }
DEVICE double widen(Half value) { return half_to_float(value.bits); }
DEVICE double widen(Bfloat value) { return from_bits((unsigned)value.bits << 16); }

// Cut off to an f32, whose last bit is set where anything was lost. Rounded again to 16
// bits it is the value rounded once: an odd last bit is never a tie, and still tells the
// side (Boldo and Melquiond 2008).
DEVICE float to_odd(double value) {
    float cut = toward_zero(value);
    if ((double)cut == value || value != value) return cut;
    return from_bits(bits_of(cut) | 1);
}

DEVICE void round_to(float& to, double value) { to = (float)value; }

DEVICE void round_to(Half& to, double value) { to.bits = float_to_half(to_odd(value)); }

DEVICE void round_to(Bfloat& to, double value) {
    float odd = to_odd(value);
    unsigned bits = bits_of(odd);
    // To nearest, ties to even; a NaN must not be carried into an infinity.
    unsigned carry = odd == odd ? 0x7fff + (bits >> 16 & 1) : 0;
    to.bits = (unsigned short)((bits + carry) >> 16);
    if (odd != odd) to.bits |= 0x40;
}

template <class T> DEVICE T rounded(double value) {
    T to;
    round_to(to, value);
    return to;
}

// Makes the kernels for each dtype, unless only some of them are wanted.
#ifndef FOR_EACH_DTYPE
#define FOR_EACH_DTYPE(KERNELS)                                              \
    KERNELS(f32, float)                                                      \
    KERNELS(f16, Half)                                                       \
    KERNELS(bf16, Bfloat)
#endif
