// Arithmetic that a GPU has instructions for, bit for bit.
#include <cmath>
#include <cstring>

#include "words.h"

namespace emulator {

unsigned bits_of(float value) {
    unsigned bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}
float from_bits(unsigned bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
float toward_zero(double value) {
    float nearest = (float)value;
    // One step towards zero is one less in the bits; from infinity it leads to the largest.
    bool away = std::fabs((double)nearest) > std::fabs(value);
    return away ? from_bits(bits_of(nearest) - 1) : nearest;
}
double fused(double a, double b, double c) { return std::fma(a, b, c); }
double root(double value) { return std::sqrt(value); }

float half_to_float(unsigned short half) {
    unsigned sign = (half & 0x8000u) << 16, exponent = half >> 10 & 0x1f, fraction = half & 0x3ff;
    if (exponent == 0x1f) return from_bits(sign | 0x7f800000u | fraction << 13);
    if (exponent != 0) return from_bits(sign | (exponent + 112) << 23 | fraction << 13);
    float magnitude = std::ldexp((float)fraction, -24);
    return sign ? -magnitude : magnitude;
}

unsigned short float_to_half(float value) {
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

}  // namespace emulator
