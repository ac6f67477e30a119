// A machine that runs kernels on a CPU, thread by thread, and trusts none of them.
//
// Each thread of the blocks that run together (a block, or the blocks of a cluster) is a
// fiber. A fiber runs until it waits: at a barrier, for a copy, or in an exchange within its
// warp. Which one is next is the schedule's choice, so a result that hangs on an order shows
// as a difference between schedules. Besides, every access is checked as it happens:
//
//   global memory   lies in an array that the launch names, is aligned, and is writable where
//                   written; what another thread wrote in the same launch is touched only past a
//                   barrier that both took part in
//   shared memory   lies in the block's, is aligned, and was written before it is read; of two
//                   threads that touch the same place between the same two barriers,
//                   neither writes (shared.h)
//
// The second rule needs no unlucky schedule to find a barrier that is missing.
#pragma once
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "context.h"
#include "shared.h"
#include "words.h"

namespace emulator {

// An array of the launch.
struct Range {
    unsigned char* start;
    unsigned long long bytes;
    int writable;
    // What the launch moved of it, in bytes: these are written.
    unsigned long long loaded;
    unsigned long long stored;
};

// What to run. src/emulator.rs mirrors it.
struct Launch {
    const char* kernel;
    const void* arguments;
    unsigned long long arguments_bytes;
    Range* ranges;
    unsigned long long range_count;
    int blocks;
    int threads;
    int cluster;      // blocks of a cluster
    int cooperative;  // whether all blocks run together
    int shared_bytes;
    int schedule;
    unsigned long long seed;
};

// What came of it.
struct Outcome {
    char fault[512];  // empty where there was none
};

enum Schedule { ASCENDING, DESCENDING, SHUFFLED };

// A count of arrivals, and how often it was complete: who waits, waits for the latter to rise.
struct Gate {
    int arrived = 0;
    unsigned epoch = 0;
};

struct Warp {
    Gate gate;
    int mask = 0;
    double values[2][WARP];
};

// A barrier in shared memory that counts bytes: complete when one thread has said how many
// to expect, and all have come.
struct Transaction {
    const void* place;
    bool is_told = false;
    long long bytes = 0;
    unsigned phase = 0;
};

struct Block {
    int index;
    // The group's epoch when a thread of this block first ended, and when another block last
    // read its shared memory. A barrier of the group must lie between the two.
    long long ended_at = -1;
    long long read_remotely_at = -1;
    Shared shared;
    Gate gate;
    std::vector<Warp> warps;
    std::deque<Transaction> transactions;

    Block(const Launch& launch, int index);
};

// Who wrote a place of global memory, and when: threads of groups that run one after the other
// cannot wait for each other.
struct Writer {
    int group = NOBODY;
    Moment moment;

    static constexpr int NOBODY = -1;
};

// A copy that the copy engine has not made yet.
struct Copy {
    Block* block;
    unsigned char* to;
    const unsigned char* from;
    int bytes;
    int transaction;
};

struct Fiber {
    Context context;
    int thread;            // within its block
    int number;            // within the group
    Block* block;
    bool done = false;
    const unsigned* waits_for = nullptr;  // to change from
    unsigned waits_since = 0;
    std::vector<unsigned> phases_seen;    // of the block's transactions
    std::vector<Copy> stores;             // begun, not waited for

    bool is_blocked() const { return waits_for && *waits_for == waits_since; }
};

class Machine {
public:
    Machine(const Launch& launch, Outcome& outcome);

    // Runs the groups of blocks one after the other, and stops at the first fault.
    void run(Body body);

    // What a fiber may ask: the functions of words.h.
    int thread() const { return current->thread; }
    int threads() const { return launch.threads; }
    int block() const { return current->block->index; }
    int cluster_rank() const { return current->block->index % launch.cluster; }
    int cluster_size() const { return launch.cluster; }
    unsigned char* shared() { return current->block->shared.data(); }
    void barrier();
    int blocks_of_grid() const { return launch.blocks; }
    void cluster_barrier();
    void grid_barrier();
    double exchange(double value, int mask);

    void touch_shared(const void* place, int bytes, Access access);
    // The same place in the shared memory of another block of the cluster.
    const void* touch_remote(const void* place, int bytes, int rank);
    void touch_global(const void* place, int bytes, Access access);

    void start_transaction(const void* place);
    void expect(const void* place, int bytes);
    void wait_for(const void* place, unsigned phase);
    void copy_in(void* to, const void* from, int bytes, const void* transaction);
    void hand_over();
    void copy_out(void* to, const void* from, int bytes);
    void wait_for_copies_out();

    // The function that a fiber runs.
    void live();

private:
    const Launch& launch;
    Outcome& outcome;
    Body body = nullptr;

    int alive = 0;
    std::vector<std::unique_ptr<Block>> blocks;
    std::vector<Fiber> fibers;
    std::vector<unsigned> fences;  // of each fiber
    int group_number = 0;
    Gate group;
    std::deque<Copy> arriving;
    // For each array that may be written: who wrote each byte last.
    std::vector<std::vector<Writer>> writers;

    Fiber* current = nullptr;
    Context scheduler;
    std::vector<int> order;
    unsigned long long random_state;
    long long steps = 0;

    void start_group(int first, int count);
    void run_group();
    void arrange();
    void arrive();
    bool arrive_at_random();
    void complete(Block& block, int transaction);
    int transaction_at(const void* place);
    bool failed() const { return outcome.fault[0] != 0; }
    void wait(const unsigned& epoch, unsigned since);
    void yield();
    void maybe_yield();
    Moment now() const;
    void check(const char* verb, const std::string& fault);
    void fail(const std::string& message);
    unsigned long long random();
};

}  // namespace emulator
