// Shared memory that remembers who touched it, so that a missing barrier shows however the
// threads happened to run.
#pragma once
#include <string>
#include <vector>

#include "words.h"

namespace emulator {

// Where a thread stands: what it did is ordered before what another thread does once that
// one is past a later barrier that both take part in.
struct Moment {
    int thread;             // within the group of blocks that run together
    int block;              // within the group
    unsigned block_epoch;   // barriers of its block that it is past
    unsigned group_epoch;   // barriers of the group that it is past
    unsigned fences;        // how often it handed its writes to the copy engine
};

// Two threads of a block are ordered by the block's barriers, others by the group's alone.
inline bool is_before(const Moment& then, const Moment& now) {
    if (then.thread == now.thread || then.group_epoch < now.group_epoch) return true;
    return then.block == now.block && then.block_epoch < now.block_epoch;
}

// Bytes on their way into shared memory, by a copy that a transaction barrier tells of.
struct Arrival {
    int barrier;  // which of the block's, or none
    unsigned phase;

    static constexpr int NONE = -1;
};

class Shared {
public:
    explicit Shared(int bytes);

    unsigned char* data() { return memory.data(); }
    bool contains(const void* place, int bytes) const;

    // Notes an access, or tells what is wrong with it. `seen` are the phases of the block's
    // transaction barriers that the thread has waited for.
    std::string touch(const void* place, int bytes, Access access, const Moment& now, const std::vector<unsigned>& seen);

    // A copy into this memory begins: its bytes are nobody's until `arrival`. What threads wrote
    // there must have been handed over, or it might come after.
    std::string expect(
        const void* place, int bytes, const Moment& now, const std::vector<unsigned>& fences, Arrival arrival
    );

    // A copy out of this memory begins: what threads wrote must have been handed over.
    std::string hand_over(const void* place, int bytes, const Moment& now, const std::vector<unsigned>& fences);

private:
    static constexpr int GRANULE = 2;  // the smallest element
    static constexpr int NOBODY = -1, MANY = -2;

    // Who touched a granule last.
    struct Cell {
        bool holds_something = false;
        Moment writer = {NOBODY, 0, 0, 0, 0};
        Moment reader = {NOBODY, 0, 0, 0, 0};
        Arrival arrival = {Arrival::NONE, 0};
    };

    std::vector<unsigned char> memory;
    std::vector<Cell> cells;

    std::string refuse(const void* place, int bytes) const;
    static void note_reader(Cell& cell, const Moment& now);

    template <class Visit> std::string each(const void* place, int bytes, Visit visit);
};

}  // namespace emulator
