// Every kernel, by the name under which it is launched.
#include "baseline.cuh"
#include "resident.cuh"
#include "slab.cuh"
#include "stream.cuh"

#define FOR_EACH_DTYPE(KERNELS)                                              \
    KERNELS(f32, float)                                                      \
    KERNELS(f16, Half)                                                       \
    KERNELS(bf16, Bfloat)

#define BASELINE(dtype, T)                                                             \
    KERNEL(baseline_forward_train_##dtype, baseline_forward_train<T>, ForwardTrain)    \
    KERNEL(baseline_forward_eval_##dtype, baseline_forward_eval<T>, ForwardEval)       \
    KERNEL(baseline_backward_train_##dtype, (baseline_backward<T, true>), Backward)    \
    KERNEL(baseline_backward_eval_##dtype, (baseline_backward<T, false>), Backward)

FOR_EACH_DTYPE(BASELINE)

#ifdef HAS_CLUSTERS

#define RESIDENT(dtype, T)                                                             \
    KERNEL(resident_forward_train_##dtype, resident_forward_train<T>, ForwardTrain)    \
    KERNEL(resident_forward_eval_##dtype, resident_forward_eval<T>, ForwardEval)       \
    KERNEL(resident_backward_train_##dtype, (resident_backward<T, true>), Backward)    \
    KERNEL(resident_backward_eval_##dtype, (resident_backward<T, false>), Backward)

FOR_EACH_DTYPE(RESIDENT)

#define SLAB(dtype, T)                                                                 \
    KERNEL(slab_forward_train_##dtype, slab_forward_train<T>, ForwardTrain)            \
    KERNEL(slab_forward_eval_##dtype, slab_forward_eval<T>, ForwardEval)               \
    KERNEL(slab_backward_train_##dtype, (slab_backward<T, true>), Backward)            \
    KERNEL(slab_backward_eval_##dtype, (slab_backward<T, false>), Backward)

FOR_EACH_DTYPE(SLAB)

#define STREAM(dtype, T)                                                               \
    KERNEL(stream_forward_train_##dtype, stream_forward_train<T>, ForwardTrain)        \
    KERNEL(stream_backward_train_##dtype, (stream_backward<T, true>), Backward)        \
    KERNEL(stream_backward_eval_##dtype, (stream_backward<T, false>), Backward)

FOR_EACH_DTYPE(STREAM)

#endif
