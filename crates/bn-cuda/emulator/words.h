// What a thread of a kernel may ask of the machine that runs it.
//
// No header is included: every mutant of the kernels compiles this, and the standard library
// would take longer than they do.
#pragma once

namespace emulator {

constexpr int WARP = 32;

enum Access { READ, WRITE };

typedef void (*Body)(const void* arguments);

// A kernel's entry in the table of all of them.
struct Registration {
    const char* name;
    Body body;
    unsigned long long arguments_bytes;
    const Registration* next;

    Registration(const char* name, Body body, unsigned long long arguments_bytes);
};

int thread();
int threads();
int block();
int blocks();
int cluster_rank();
int cluster_size();
unsigned char* shared_memory();

void barrier();
void cluster_barrier();
void grid_barrier();
double exchange(double value, int mask);
unsigned vote(bool bit);

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

// Arithmetic that a GPU has instructions for.
unsigned bits_of(float value);
float from_bits(unsigned bits);
float toward_zero(double value);
double fused(double a, double b, double c);
double root(double value);
float half_to_float(unsigned short half);
unsigned short float_to_half(float value);

}  // namespace emulator
