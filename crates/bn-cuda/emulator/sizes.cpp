// The sizes of the structs that both languages spell out, for a test to compare.
#include "device.cuh"

// No kernel is made here.
#define FOR_EACH_DTYPE(KERNELS)

namespace {
#include "../kernels/batchnorm.cu"
}

extern "C" void bn_sizes(unsigned long long sizes[8]) {
    sizes[0] = sizeof(Array);
    sizes[1] = sizeof(Statistics);
    sizes[2] = sizeof(ForwardTrain);
    sizes[3] = sizeof(ForwardEval);
    sizes[4] = sizeof(Backward);
    sizes[5] = sizeof(Desk);
    sizes[6] = sizeof(Notes);
    sizes[7] = sizeof(StreamDesk);
}
