//! libtorch's CUDA part is at work once it is loaded, which a machine without a GPU shows too:
//! then libtorch says for itself that it finds no driver, and cuDNN which version it is. Had
//! anything asked about CUDA before the library was loaded, stand-ins would answer for good.
//!
//! It has a process of its own, since what is loaded stays loaded, and takes libraries of 4 GB,
//! which `scripts/setup-libtorch` does not get unless it is asked to: `scripts/test-cuda`
//! gets them and runs it.

use bn_oracle::cuda;
use tch::{Device, Kind, Tensor};

#[test]
#[ignore = "takes libtorch_cuda.so and what it needs, 4 GB: scripts/test-cuda runs it"]
fn libtorch_answers_for_cuda_by_itself() {
    let devices = cuda::devices();
    let version = cuda::cudnn_version().unwrap();
    assert!(version.starts_with("9."), "cuDNN {version}");
    let allocated = Tensor::f_ones([1], (Kind::Float, Device::Cuda(0)));
    match devices {
        Ok(_) => assert_eq!(allocated.unwrap().f_double_value(&[0]).unwrap(), 1.0),
        Err(reason) => {
            assert_eq!(reason, "libtorch_cuda.so is loaded, and finds no device");
            let refusal = allocated.unwrap_err().to_string();
            assert!(refusal.contains("Found no NVIDIA driver"), "{refusal}");
        }
    }
}
