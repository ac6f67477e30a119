// The words that kernels are written in, for a GPU. emulator/device.cuh has the same words
// for a CPU, where each is checked.
//
// No header is included: the run-time compiler needs no toolkit.
#ifndef DEVICE  // the emulator's words come first, and are the words

#define DEVICE static __device__ __forceinline__
#define DEVICE_METHOD __device__ __forceinline__

// Whether there are clusters and a copy engine.
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
#define HAS_CLUSTERS
#endif

// The name of a kernel, the body that it runs, and the struct that it is given.
#define KERNEL(name, body, Arguments)                                        \
    extern "C" __global__ void name(const __grid_constant__ Arguments arguments) { body(arguments); }

constexpr int WARP = 32;

DEVICE int thread() { return threadIdx.x; }
DEVICE int threads() { return blockDim.x; }
DEVICE int block() { return blockIdx.x; }
DEVICE int blocks() { return gridDim.x; }

// Waits for every thread of the block; what they wrote to shared memory before is seen after.
DEVICE void barrier() { __syncthreads(); }

// The value of the thread whose number within the warp differs by the bits of `mask`.
DEVICE double exchange(double value, int mask) { return __shfl_xor_sync(0xffffffffu, value, mask); }

// A bit for each thread of the warp.
DEVICE unsigned vote(bool bit) { return __ballot_sync(0xffffffffu, bit); }

// The block's shared memory.
DEVICE unsigned char* shared_memory() {
    extern __shared__ __align__(16) unsigned char bytes[];
    return bytes;
}

template <class T> DEVICE T load_shared(const T* from) { return *from; }
template <class T> DEVICE void store_shared(T* to, T value) { *to = value; }
template <class T> DEVICE T load(const T* from) { return *from; }
template <class T> DEVICE void store(T* to, T value) { *to = value; }

DEVICE float toward_zero(double value) { return __double2float_rz(value); }
DEVICE unsigned bits_of(float value) { return __float_as_uint(value); }
DEVICE float from_bits(unsigned bits) { return __uint_as_float(bits); }
DEVICE double fused(double a, double b, double c) { return __fma_rn(a, b, c); }
DEVICE double root(double value) { return __dsqrt_rn(value); }

DEVICE float half_to_float(unsigned short bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

// To nearest, ties to even.
DEVICE unsigned short float_to_half(float value) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}

// What follows needs clusters and the copy engine: sm_90 and later.

// This block's number within its cluster, and the number of its blocks.
DEVICE int cluster_rank() {
    unsigned rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}
DEVICE int cluster_size() {
    unsigned size;
    asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
    return size;
}

// Waits for every thread of the cluster.
DEVICE void cluster_barrier() {
    asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

DEVICE unsigned shared_address(const void* place) { return (unsigned)__cvta_generic_to_shared(place); }

// What lies at the same place in the shared memory of another block of the cluster.
DEVICE double load_remote(const double* place, int rank) {
    double value;
    asm volatile(
        "{\n.reg .u32 there;\nmapa.shared::cluster.u32 there, %1, %2;\nld.shared::cluster.f64 %0, [there];\n}"
        : "=d"(value) : "r"(shared_address(place)), "r"(rank) : "memory");
    return value;
}

// A barrier in shared memory that counts the bytes that copies bring. One thread starts it,
// before a barrier() that everyone passes, and one thread tells it what to expect.
typedef unsigned long long Transaction;

DEVICE void start_transaction(Transaction* t) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;\nfence.mbarrier_init.release.cluster;" ::"r"(shared_address(t)) : "memory");
}
DEVICE void expect(Transaction* t, int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(t)), "r"(bytes) : "memory");
}

// Waits until all bytes of a phase have come; phases are numbered from 0.
DEVICE void wait_for(Transaction* t, unsigned phase) {
    unsigned done = 0;
    while (!done) {
        asm volatile(
            "{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
            : "=r"(done) : "r"(shared_address(t)), "r"(phase & 1) : "memory");
    }
}

// Starts a copy from global to shared memory. Addresses and size are multiples of 16.
DEVICE void copy_in(void* to, const void* from, int bytes, Transaction* t) {
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared_address(to)),
        "l"(__cvta_generic_to_global(from)), "r"(bytes), "r"(shared_address(t)) : "memory");
}

// Hands what this thread wrote to shared memory to the copies that start after the next barrier.
DEVICE void hand_over() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Starts a copy from shared to global memory; the same thread waits for it.
DEVICE void copy_out(void* to, const void* from, int bytes) {
    asm volatile(
        "cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(__cvta_generic_to_global(to)),
        "r"(shared_address(from)), "r"(bytes) : "memory");
}
DEVICE void wait_for_copies_out() {
    asm volatile("cp.async.bulk.commit_group;\ncp.async.bulk.wait_group.read 0;" ::: "memory");
}

// Waits for every thread of the grid, whose blocks must all run at the same time. The gate is
// two counters in global memory, 0 before the first launch, and 0 or a new round after each.
struct GridGate {
    unsigned* counters;
};

DEVICE unsigned round_of(const unsigned* place) {
    unsigned round;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(round) : "l"(place) : "memory");
    return round;
}

DEVICE void grid_barrier(const GridGate& gate) {
    barrier();
    if (thread() == 0) {
        unsigned* arrived = gate.counters;
        unsigned* round = gate.counters + 1;
        unsigned before = round_of(round);
        __threadfence();
        if (atomicAdd(arrived, 1u) == gridDim.x - 1) {
            *arrived = 0;
            __threadfence();
            atomicAdd(round, 1u);
        } else {
            while (round_of(round) == before) {}
        }
        __threadfence();
    }
    barrier();
}

#endif
