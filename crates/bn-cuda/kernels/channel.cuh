// One channel of an array with any strides, as a list of n values.
#pragma once
#include "arguments.cuh"
#include "element.cuh"

// Where the i-th position of a channel in logical order lies, from the first one on.
DEVICE long long offset(const Array& array, long long i) {
    long long offset = 0;
    for (int axis = (int)array.axes - 1; axis > 0; axis--) {
        long long outer = i / array.length[axis];
        offset += (i - outer * array.length[axis]) * array.stride[axis];
        i = outer;
    }
    return offset + i * array.stride[0];
}

template <class T> struct Channel {
    const Array& array;
    T* first;

    DEVICE_METHOD double get(long long i) const { return widen(load(first + offset(array, i))); }
    DEVICE_METHOD void set(long long i, double value) const {
        store(first + offset(array, i), rounded<T>(value));
    }
};

template <class T> DEVICE Channel<T> channel(const Array& array, long long c) {
    return {array, (T*)array.data + c * array.channel_stride};
}

// The same of a mask, whose elements are bits.
struct ChannelBits {
    const Array& array;
    long long first;

    DEVICE_METHOD bool get(long long i) const {
        long long bit = first + offset(array, i);
        return load((const unsigned char*)array.data + bit / 8) >> bit % 8 & 1;
    }

    // Sets 32 bits from the i-th position on, a multiple of 32 where the positions lie in order.
    DEVICE_METHOD void set(long long i, unsigned bits) const {
        store((unsigned*)array.data + (first + i) / 32, bits);
    }
};

DEVICE ChannelBits channel_bits(const Array& array, long long c) { return {array, c * array.channel_stride}; }
