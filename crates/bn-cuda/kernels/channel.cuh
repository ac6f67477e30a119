// One channel of an array with any strides, as a list of n values.
#pragma once
#include "arguments.cuh"
#include "element.cuh"

template <class T> struct Channel {
    const Array& array;
    T* first;

    // Where the i-th position in logical order lies.
    DEVICE_METHOD long long offset(long long i) const {
        long long offset = 0;
        for (int axis = (int)array.axes - 1; axis > 0; axis--) {
            long long outer = i / array.length[axis];
            offset += (i - outer * array.length[axis]) * array.stride[axis];
            i = outer;
        }
        return offset + i * array.stride[0];
    }

    DEVICE_METHOD double get(long long i) const { return widen(load(first + offset(i))); }
    DEVICE_METHOD void set(long long i, double value) const { store(first + offset(i), rounded<T>(value)); }
};

template <class T> DEVICE Channel<T> channel(const Array& array, long long c) {
    return {array, (T*)array.data + c * array.channel_stride};
}
