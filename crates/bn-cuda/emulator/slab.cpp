// The kernels of slab.cuh, in the emulator's words. They are this file's own: others compile
// the same templates, and a mutant's must not be taken for theirs.
#include "device.cuh"

namespace {
#include "../kernels/slab.cuh"
}
