// libtorch's backward kernel of batch norm, which tch does not bind. Autograd
// would reach it too, with the bookkeeping of a graph timed along.
#include <ATen/core/Tensor.h>
#include <ATen/ops/native_batch_norm_backward.h>

#include <string>

// For a layer with weight and bias: in training by the saved statistics, else by
// the running ones. The results replace what the first three pointers hold. Null on
// success, else why not, valid until the next call on the same thread.
extern "C" const char* bn_bench_backward(
    at::Tensor* grad_input, at::Tensor* grad_weight, at::Tensor* grad_bias,
    const at::Tensor* grad_output, const at::Tensor* input, const at::Tensor* weight,
    const at::Tensor* running_mean, const at::Tensor* running_var,
    const at::Tensor* save_mean, const at::Tensor* save_invstd, bool training, double eps) {
  static thread_local std::string problem;
  try {
    // Hand the memory of the last results back before asking for more, so that
    // the allocator gives out the same again.
    *grad_input = at::Tensor();
    std::tie(*grad_input, *grad_weight, *grad_bias) = at::native_batch_norm_backward(
        *grad_output, *input, *weight, *running_mean, *running_var, *save_mean, *save_invstd,
        training, eps, {true, true, true});
    return nullptr;
  } catch (const std::exception& error) {
    problem = error.what();
    return problem.c_str();
  }
}
