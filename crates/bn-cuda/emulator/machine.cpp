#include "machine.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <numeric>

namespace emulator {

namespace {

// The one that runs on this thread of the host.
thread_local Machine* machine = nullptr;

constexpr size_t STACK_BYTES = 64 * 1024;
constexpr int LARGEST_ACCESS = 16;

// More accesses than any launch needs that ends.
constexpr long long MOST_STEPS = 1ll << 28;

const Registration* first_registration = nullptr;

// The fibers' stacks, kept from launch to launch. Never cleared: pages that no fiber needs
// are never touched.
unsigned char* stacks(int threads) {
    thread_local std::unique_ptr<unsigned char[]> memory;
    thread_local int room = 0;
    if (room < threads) {
        memory.reset(new unsigned char[threads * STACK_BYTES]);
        room = threads;
    }
    return memory.get();
}

void enter() { machine->live(); }

std::string number(long long value) { return std::to_string(value); }

}  // namespace

Registration::Registration(const char* name, Body body, unsigned long long arguments_bytes)
    : name(name), body(body), arguments_bytes(arguments_bytes), next(first_registration) {
    first_registration = this;
}

Block::Block(const Launch& launch, int index)
    : index(index), shared(launch.shared_bytes), warps(launch.threads / WARP) {}

Machine::Machine(const Launch& launch, Outcome& outcome)
    : launch(launch), outcome(outcome), random_state(launch.seed * 2 + 1) {
    for (unsigned long long i = 0; i < launch.range_count; i++) {
        const Range& range = launch.ranges[i];
        writers.emplace_back(range.writable ? range.bytes : 0);
    }
}

void Machine::run(Body body) {
    this->body = body;
    if (launch.threads < WARP || launch.threads > 1024 || launch.threads % WARP != 0) {
        return fail("a block has 32 to 1024 threads in whole warps, not " + number(launch.threads));
    }
    if (launch.cluster < 1 || launch.cluster > 16 || launch.blocks % launch.cluster != 0) {
        return fail(number(launch.blocks) + " blocks are not clusters of " + number(launch.cluster));
    }
    // In a schedule that descends the blocks do too: nothing may hang on their order.
    int together = launch.cooperative ? launch.blocks : launch.cluster;
    int groups = launch.blocks / together;
    for (int i = 0; i < groups && !failed(); i++) {
        group_number = launch.schedule == DESCENDING ? groups - 1 - i : i;
        start_group(group_number * together, together);
        run_group();
    }
}

void Machine::start_group(int first, int count) {
    blocks.clear();
    for (int i = 0; i < count; i++) blocks.push_back(std::make_unique<Block>(launch, first + i));
    group = Gate();
    arriving.clear();
    alive = count * launch.threads;
    fibers.clear();
    fibers.resize(alive);
    fences.assign(alive, 0);
    order.resize(alive);
    std::iota(order.begin(), order.end(), 0);
    if (launch.schedule == DESCENDING) std::reverse(order.begin(), order.end());
    unsigned char* stack = stacks(alive);
    for (int i = 0; i < alive; i++) {
        Fiber& fiber = fibers[i];
        fiber.number = i;
        fiber.thread = i % launch.threads;
        fiber.block = blocks[i / launch.threads].get();
        fiber.context.start(stack + i * STACK_BYTES, STACK_BYTES, enter);
    }
}

void Machine::run_group() {
    while (alive > 0) {
        arrange();
        bool moved = false;
        for (int i : order) {
            Fiber& fiber = fibers[i];
            if (fiber.done || fiber.is_blocked()) continue;
            fiber.waits_for = nullptr;
            current = &fiber;
            scheduler.switch_to(fiber.context);
            current = nullptr;
            if (failed()) return;
            moved = true;
        }
        if (launch.schedule == SHUFFLED && arrive_at_random()) continue;
        if (moved) continue;
        if (!arriving.empty()) {
            // As late as can be: everyone waits.
            arrive();
            continue;
        }
        return fail(
            number(alive) + " of " + number((long long)fibers.size()) + " threads, of block " +
            number(blocks[0]->index) + " on, wait for others that never come"
        );
    }
}

void Machine::arrange() {
    if (launch.schedule != SHUFFLED) return;
    for (int i = (int)order.size() - 1; i > 0; i--) std::swap(order[i], order[random() % (i + 1)]);
}

void Machine::live() {
    body(launch.arguments);
    if (!current->stores.empty()) fail("ends before its copies out of shared memory do");
    Block& block = *current->block;
    if (block.read_remotely_at == group.epoch) fail("ends while another block may read its shared memory");
    if (block.ended_at < 0) block.ended_at = group.epoch;
    current->done = true;
    alive--;
    yield();
}

void Machine::yield() { current->context.switch_to(scheduler); }

// A preemption that no program asked for.
void Machine::maybe_yield() {
    if (++steps > MOST_STEPS) fail("has not ended after " + number(MOST_STEPS) + " accesses of its launch");
    if (launch.schedule == SHUFFLED && random() % 16 == 0) yield();
}

void Machine::wait(const unsigned& epoch, unsigned since) {
    current->waits_for = &epoch;
    current->waits_since = since;
    yield();
}

void Machine::barrier() {
    Gate& gate = current->block->gate;
    unsigned epoch = gate.epoch;
    if (++gate.arrived < launch.threads) return wait(gate.epoch, epoch);
    gate.arrived = 0;
    gate.epoch++;
}

void Machine::cluster_barrier() {
    if (launch.cooperative && launch.cluster > 1) fail("clusters of a cooperative grid are not emulated");
    unsigned epoch = group.epoch;
    if (++group.arrived < (int)fibers.size()) return wait(group.epoch, epoch);
    group.arrived = 0;
    group.epoch++;
}

void Machine::grid_barrier() {
    if (!launch.cooperative) fail("waits for a grid whose blocks do not run at the same time");
    cluster_barrier();
}

double Machine::exchange(double value, int mask) {
    int lane = current->thread % WARP;
    Warp& warp = current->block->warps[current->thread / WARP];
    unsigned epoch = warp.gate.epoch;
    if (warp.gate.arrived > 0 && warp.mask != mask) {
        fail("exchanges with mask " + number(mask) + ", its warp with " + number(warp.mask));
    }
    warp.mask = mask;
    double* values = warp.values[epoch % 2];
    values[lane] = value;
    if (++warp.gate.arrived < WARP) {
        wait(warp.gate.epoch, epoch);
    } else {
        warp.gate.arrived = 0;
        warp.gate.epoch++;
    }
    return values[lane ^ mask];
}

Moment Machine::now() const {
    return {current->number, current->block->index, current->block->gate.epoch, group.epoch, fences[current->number]};
}

void Machine::check(const char* verb, const std::string& fault) {
    if (!fault.empty()) fail(verb + (" " + fault));
}

void Machine::touch_shared(const void* place, int bytes, Access access) {
    maybe_yield();
    std::string fault = current->block->shared.touch(place, bytes, access, now(), current->phases_seen);
    check(access == READ ? "reads" : "writes", fault);
}

const void* Machine::touch_remote(const void* place, int bytes, int rank) {
    maybe_yield();
    if (rank < 0 || rank >= launch.cluster) fail("reads shared memory of block " + number(rank) + " of its cluster");
    Block& other = *blocks[rank];
    if (&other != current->block) {
        if (other.ended_at == group.epoch) fail("reads shared memory of block " + number(other.index) + ", which may have ended");
        other.read_remotely_at = group.epoch;
    }
    const unsigned char* there = other.shared.data() + ((const unsigned char*)place - shared());
    check("reads another block's", other.shared.touch(there, bytes, READ, now(), current->phases_seen));
    return there;
}

void Machine::touch_global(const void* place, int bytes, Access access) {
    maybe_yield();
    const unsigned char* byte = (const unsigned char*)place;
    const char* verb = access == READ ? "reads " : "writes ";
    for (unsigned long long i = 0; i < launch.range_count; i++) {
        Range& range = launch.ranges[i];
        if (byte < range.start || byte + bytes > range.start + range.bytes) continue;
        // A message is made only where there is a fault: every access comes through here.
        auto refuse = [&](const std::string& fault) {
            fail(verb + ("array " + number(i)) + " at byte " + number(byte - range.start) + ", " + fault);
        };
        int alignment = std::min(bytes, LARGEST_ACCESS);
        if ((uintptr_t)place % alignment != 0) return refuse("not aligned to " + number(alignment));
        if (access == WRITE && !range.writable) return refuse("which is an input");
        (access == READ ? range.loaded : range.stored) += bytes;
        if (!range.writable) return;
        Moment me = now();
        size_t first = byte - range.start;
        for (size_t cell = first; cell < first + bytes; cell++) {
            Writer& writer = writers[i][cell];
            bool is_ordered = writer.group == group_number && is_before(writer.moment, me);
            if (writer.group != Writer::NOBODY && !is_ordered) return refuse("which another thread wrote");
            if (access == WRITE) writer = {group_number, me};
        }
        return;
    }
    fail(verb + std::string("memory that is in no array of the launch"));
}

int Machine::transaction_at(const void* place) {
    auto& all = current->block->transactions;
    for (size_t i = 0; i < all.size(); i++) {
        if (all[i].place == place) return (int)i;
    }
    fail("uses a transaction barrier that was never started");
    return -1;
}

void Machine::start_transaction(const void* place) {
    touch_shared(place, 8, WRITE);
    Transaction transaction;
    transaction.place = place;
    current->block->transactions.push_back(transaction);
    for (Fiber& fiber : fibers) {
        if (fiber.block == current->block) fiber.phases_seen.push_back(0);
    }
}

void Machine::expect(const void* place, int bytes) {
    touch_shared(place, 8, READ);
    int index = transaction_at(place);
    Transaction& transaction = current->block->transactions[index];
    if (transaction.is_told) fail("says twice what a transaction barrier is to expect");
    transaction.is_told = true;
    transaction.bytes += bytes;
    complete(*current->block, index);
}

void Machine::complete(Block& block, int index) {
    Transaction& transaction = block.transactions[index];
    if (!transaction.is_told || transaction.bytes != 0) return;
    transaction.is_told = false;
    transaction.phase++;
}

void Machine::wait_for(const void* place, unsigned phase) {
    touch_shared(place, 8, READ);
    int index = transaction_at(place);
    const Transaction& transaction = current->block->transactions[index];
    while (transaction.phase <= phase) wait(transaction.phase, transaction.phase);
    current->phases_seen[index] = std::max(current->phases_seen[index], phase + 1);
}

void Machine::copy_in(void* to, const void* from, int bytes, const void* place) {
    if (bytes <= 0 || bytes % 16 != 0) fail("copies " + number(bytes) + " bytes, not a multiple of 16");
    touch_global(from, bytes, READ);
    int index = transaction_at(place);
    Block& block = *current->block;
    check("copies into", block.shared.expect(to, bytes, now(), fences, {index, block.transactions[index].phase}));
    arriving.push_back({&block, (unsigned char*)to, (const unsigned char*)from, bytes, index});
    if (launch.schedule == DESCENDING) arrive();
}

void Machine::arrive() {
    Copy copy = arriving.front();
    arriving.pop_front();
    std::memcpy(copy.to, copy.from, copy.bytes);
    copy.block->transactions[copy.transaction].bytes -= copy.bytes;
    complete(*copy.block, copy.transaction);
}

// Whether any did.
bool Machine::arrive_at_random() {
    bool any = false;
    while (!arriving.empty() && random() % 2 == 0) {
        std::swap(arriving.front(), arriving[random() % arriving.size()]);
        arrive();
        any = true;
    }
    return any;
}

void Machine::hand_over() { fences[current->number]++; }

void Machine::copy_out(void* to, const void* from, int bytes) {
    if (bytes <= 0 || bytes % 16 != 0) fail("copies " + number(bytes) + " bytes, not a multiple of 16");
    check("copies out of", current->block->shared.hand_over(from, bytes, now(), fences));
    touch_global(to, bytes, WRITE);
    current->stores.push_back({current->block, (unsigned char*)to, (const unsigned char*)from, bytes, 0});
    // Either at once, or not before it is waited for.
    if (launch.schedule == DESCENDING) std::memcpy(to, from, bytes);
}

void Machine::wait_for_copies_out() {
    for (const Copy& copy : current->stores) {
        if (launch.schedule != DESCENDING) std::memcpy(copy.to, copy.from, copy.bytes);
    }
    current->stores.clear();
}

void Machine::fail(const std::string& message) {
    if (!failed()) {
        std::string text = message;
        if (current) text = "thread " + number(current->thread) + " of block " + number(block()) + " " + message;
        size_t length = std::min(text.size(), sizeof outcome.fault - 1);
        std::memcpy(outcome.fault, text.data(), length);
        outcome.fault[length] = 0;
    }
    // From a fiber, never to come back.
    if (current) yield();
}

int thread() { return machine->thread(); }
int threads() { return machine->threads(); }
int block() { return machine->block(); }
int blocks() { return machine->blocks_of_grid(); }
int cluster_rank() { return machine->cluster_rank(); }
int cluster_size() { return machine->cluster_size(); }
unsigned char* shared_memory() { return machine->shared(); }
void barrier() { machine->barrier(); }
void cluster_barrier() { machine->cluster_barrier(); }
void grid_barrier() { machine->grid_barrier(); }
double exchange(double value, int mask) { return machine->exchange(value, mask); }
unsigned vote(bool bit) {
    // A sum of different powers of two, which are fewer than the bits of an f64.
    double bits = bit ? (double)(1u << thread() % WARP) : 0;
    for (int mask = 1; mask < WARP; mask *= 2) bits += exchange(bits, mask);
    return (unsigned)bits;
}
void touch_shared(const void* place, int bytes, Access access) { machine->touch_shared(place, bytes, access); }
const void* touch_remote(const void* place, int bytes, int rank) { return machine->touch_remote(place, bytes, rank); }
void touch_global(const void* place, int bytes, Access access) { machine->touch_global(place, bytes, access); }
void start_transaction(const void* place) { machine->start_transaction(place); }
void expect(const void* place, int bytes) { machine->expect(place, bytes); }
void wait_for(const void* place, unsigned phase) { machine->wait_for(place, phase); }
void copy_in(void* to, const void* from, int bytes, const void* transaction) {
    machine->copy_in(to, from, bytes, transaction);
}
void hand_over() { machine->hand_over(); }
void copy_out(void* to, const void* from, int bytes) { machine->copy_out(to, from, bytes); }
void wait_for_copies_out() { machine->wait_for_copies_out(); }

// splitmix64
unsigned long long Machine::random() {
    unsigned long long z = random_state += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

}  // namespace emulator

// Runs a kernel; whatever goes wrong is told in the outcome.
extern "C" void bn_emulate(const emulator::Launch* launch, emulator::Outcome* outcome) {
    using namespace emulator;
    std::memset(outcome, 0, sizeof *outcome);
    auto refuse = [&](const std::string& message) {
        std::strncpy(outcome->fault, message.c_str(), sizeof outcome->fault - 1);
    };
    // Of two with one name, the later one: a mutant is linked after what it is a mutant of.
    const Registration* found = first_registration;
    while (found && std::strcmp(found->name, launch->kernel) != 0) found = found->next;
    if (!found) return refuse(std::string("no kernel is named ") + launch->kernel);
    if (found->arguments_bytes != launch->arguments_bytes) {
        return refuse(
            std::string(launch->kernel) + " takes " + number(found->arguments_bytes) + " bytes of arguments, got " +
            number(launch->arguments_bytes)
        );
    }
    Machine instance(*launch, *outcome);
    machine = &instance;
    instance.run(found->body);
    machine = nullptr;
}
