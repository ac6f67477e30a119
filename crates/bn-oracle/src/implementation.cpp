// Which implementation libtorch takes for an input, and which cuDNN it runs: what tch does not
// bind.
#include <ATen/core/Tensor.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/ops/_batch_norm_impl_index.h>

// 0 for libtorch's own kernels, 1 for cuDNN's; −1 where it fails.
extern "C" int bn_oracle_implementation(const at::Tensor* input, const at::Tensor* weight, const at::Tensor* bias) {
  try {
    auto all = at::_batch_norm_impl_index(*input, *weight, *bias, {}, {}, true, 0.1, 1e-5, true);
    return static_cast<int>(std::get<4>(all));
  } catch (const std::exception&) {
    return -1;
  }
}

// As cuDNN numbers its versions; −1 where libtorch has none.
extern "C" long bn_oracle_cudnn_version() {
  try {
    return at::detail::getCUDAHooks().versionRuntimeCuDNN();
  } catch (const std::exception&) {
    return -1;
  }
}
