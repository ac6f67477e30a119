// Every kernel. Each file ends with the names under which its kernels are launched.
#include "baseline.cuh"
#include "resident.cuh"
#include "slab.cuh"
#include "stream.cuh"
#include "strip.cuh"
