// A channels-last array as positions: stretches of them with all their channels. Which of their
// values are a thread's, and how do the blocks come to a channel's sums?
//
// What the blocks say of each channel goes through global memory: one warp adds a channel up, and
// everyone reads the sum. Order of sums: in a block, every `teams`th position, then the teams in
// turn; over the blocks, every 32nd, then the warp.
#pragma once
#include "formulas.cuh"
#include "relu.cuh"
#include "sum.cuh"

// What a block keeps beside the values.
struct Notes {
    double of_thread[1024];
    Transaction arrival[2];
};

// What the blocks tell each other, in global memory.
struct Scratch {
    GridGate gate;
    double* of_blocks;    // two numbers for each channel and block
    double* of_channels;  // two numbers for each channel
};

DEVICE Scratch scratch_of(void* memory, long long channels) {
    double* numbers = (double*)memory + 2;  // past the gate
    return {{(unsigned*)memory}, numbers, numbers + 2 * channels * blocks()};
}

// A stretch of neighbouring positions in shared memory.
template <class T> struct Slab {
    T* values;
    Notes* notes;
    Scratch scratch;
    int channels;
    int positions;        // of this block
    long long first;      // of all
    int width;            // channels that are worked on at once
    int teams;            // threads that share a channel; a few may belong to none

    DEVICE_METHOD int team() const { return thread() / width; }

    // Calls visit(c) for each channel that falls to this thread; threads of one team and all
    // teams come to the same calls.
    template <class Visit> DEVICE_METHOD void each_channel(Visit visit) const {
        for (int tile = 0; tile < channels; tile += width) visit(tile + thread() % width);
    }

    // Calls visit(offset) for each of this thread's values of channel c.
    template <class Visit> DEVICE_METHOD void each(int c, Visit visit) const {
        if (c >= channels || team() >= teams) return;
        for (int p = team(); p < positions; p += teams) visit(p * channels + c);
    }

    // Σ over the teams, in every thread of the channel.
    DEVICE_METHOD double over_teams(double value) const {
        if (teams == 1) return value;
        barrier();  // until everyone has read the sum before
        store_shared(notes->of_thread + thread(), value);
        barrier();
        double total = 0;
        for (int t = 0; t < teams; t++) total += load_shared(notes->of_thread + t * width + thread() % width);
        return total;
    }

    // Tells the others this block's two numbers of channel c.
    DEVICE_METHOD void tell_blocks(int c, double first, double second) const {
        if (team() != 0 || c >= channels) return;
        double* place = scratch.of_blocks + 2 * ((long long)c * blocks() + block());
        store(place, first);
        store(place + 1, second);
    }

    // Calls combine(c) in all lanes of one warp for each channel, the channels shared out
    // among the warps of all blocks.
    template <class Combine> DEVICE_METHOD void each_channel_of_all(Combine combine) const {
        int warps = threads() / WARP;
        for (long long c = (long long)block() * warps + thread() / WARP; c < channels; c += (long long)blocks() * warps) {
            combine(c);
        }
    }

    DEVICE_METHOD double told(long long c, int of_block, int which) const {
        return load(scratch.of_blocks + 2 * (c * blocks() + of_block) + which);
    }

    // Answers two numbers of channel c to everyone; one thread does.
    DEVICE_METHOD void answer(long long c, double first, double second) const {
        store(scratch.of_channels + 2 * c, first);
        store(scratch.of_channels + 2 * c + 1, second);
    }
};

// How many positions a block owns.
DEVICE int positions_of(const Geometry& g, int of_block) {
    long long left = g.batch - of_block * g.group;
    return left < 0 ? 0 : (int)(left < g.group ? left : g.group);
}

// The stretch of a block, wherever in its shared memory it and the notes lie.
template <class T> DEVICE Slab<T> stretch_of(const Geometry& g, void* scratch, Notes* notes) {
    Slab<T> slab;
    slab.values = (T*)shared_memory();
    slab.notes = notes;
    slab.scratch = scratch_of(scratch, g.channels);
    slab.channels = (int)g.channels;
    slab.positions = positions_of(g, block());
    slab.first = block() * g.group;
    int whole = (slab.channels + WARP - 1) / WARP * WARP;
    slab.width = whole < threads() ? whole : threads();
    slab.teams = threads() / slab.width;
    return slab;
}

// Notes what relu let through, once everyone has computed.
template <class T> DEVICE void note(const Slab<T>& slab, T* values, const Array& mask) {
    if (!mask.data) return;
    barrier();
    unsigned char* bytes = byte_of(mask, slab.first * slab.channels);
    note_bits(values, slab.positions * slab.channels, bytes, thread() / WARP * WARP, threads());
}

// Makes g' of g, before anyone computes. The next tile may come where this one is.
template <class T> DEVICE void gate(const Slab<T>& slab, T* gradients, const Array& mask) {
    if (!mask.data) return;
    const unsigned char* bytes = byte_of(mask, slab.first * slab.channels);
    gate(gradients, slab.positions * slab.channels, bytes, thread() / WARP * WARP, threads());
    hand_over();
    barrier();
}

template <class T> DEVICE void send(const Slab<T>& slab, T* values, const Array& array) {
    hand_over();
    barrier();
    int bytes = slab.positions * slab.channels * (int)sizeof(T);
    if (thread() == 0 && bytes > 0) {
        copy_out((T*)array.data + slab.first * slab.channels, values, bytes);
        wait_for_copies_out();
    }
}
