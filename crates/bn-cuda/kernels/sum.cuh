// Sums over threads, in an order that only the number of threads settles.
#pragma once
#include "device.cuh"

// Bytes of shared memory that block_sum needs: a total for each warp of the largest block.
constexpr int SUM_BYTES = 32 * sizeof(double);

// Σ over the warp: sixteen pairs, eight pairs of pairs, … . Every thread computes the
// same sum of the same two numbers at each step, so all end with the same bits.
DEVICE double warp_sum(double value) {
    for (int mask = WARP / 2; mask > 0; mask /= 2) value += exchange(value, mask);
    return value;
}

// Σ over the block, in every thread. `totals` is shared memory.
DEVICE double block_sum(double value, double* totals) {
    int lane = thread() % WARP, warp = thread() / WARP, warps = threads() / WARP;
    value = warp_sum(value);
    barrier();  // until everyone has read the totals of the sum before
    if (lane == 0) store_shared(totals + warp, value);
    barrier();
    return warp_sum(lane < warps ? load_shared(totals + lane) : 0.0);
}
