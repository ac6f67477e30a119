//! CUDA, found at run time.
//!
//! The program links libtorch's CPU part only. libtorch_cuda.so, where there is
//! one, must be loaded *before* the first question about CUDA: libtorch asks
//! once which CUDA functions it has, and keeps the answer. So this module is
//! the only place that may ask.

use std::ffi::{CStr, CString, OsStr, c_int, c_long};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tch::{Device, Kind, Tensor};

use crate::version;

/// Which of libtorch's batch norms a CUDA device runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// libtorch's own kernels.
    Native,
    /// cuDNN's, for the inputs that libtorch gives to it; its own for the others.
    Cudnn,
}

/// The device on which this process makes its tensors: the CPU, unless [`use_device`] chose.
pub fn device() -> Device {
    CHOSEN.get().copied().unwrap_or(Device::Cpu)
}

static CHOSEN: OnceLock<Device> = OnceLock::new();

/// Makes the first CUDA device the one on which this process makes its tensors, with this
/// backend, for good: libtorch keeps the choice of a backend for the process too. Says in a
/// few words what runs there.
///
/// # Errors
/// In one line why there is no device, or no cuDNN.
pub fn use_device(backend: Backend) -> Result<String, String> {
    devices()?;
    if backend == Backend::Cudnn && !tch::Cuda::cudnn_is_available() {
        return Err("libtorch finds no cuDNN".into());
    }
    tch::Cuda::set_user_enabled_cudnn(backend == Backend::Cudnn);
    let device = *CHOSEN.get_or_init(|| Device::Cuda(0));
    if device != Device::Cuda(0) {
        return Err("this process works on the CPU already".into());
    }
    let ran = implementation(device).map_err(|error| error.to_string())?;
    Ok(format!("CUDA, {ran}"))
}

/// Which implementation libtorch takes for a training pass over a contiguous f32 input, as it
/// says itself.
pub fn implementation(device: Device) -> Result<&'static str, tch::TchError> {
    let input = Tensor::f_ones([2, 2, 2, 2], (Kind::Float, device))?;
    let (weight, bias) =
        (Tensor::f_ones([2], (Kind::Float, device))?, Tensor::f_zeros([2], (Kind::Float, device))?);
    // SAFETY: three tensors that live until the call returns; it keeps none of them.
    let index = unsafe {
        bn_oracle_implementation(input.as_ptr().cast(), weight.as_ptr().cast(), bias.as_ptr().cast())
    };
    Ok(match index {
        0 => "native",
        1 => "cuDNN",
        _ => "an implementation without a name",
    })
}

/// The version of the cuDNN that libtorch runs: `9.20.0`. cuDNN itself answers, and needs no
/// device for that.
///
/// # Errors
/// In one line why there is none.
pub fn cudnn_version() -> Result<String, String> {
    load_once()?;
    // SAFETY: it takes nothing, and answers a number.
    match unsafe { bn_oracle_cudnn_version() } {
        // major · 10000 + minor · 100 + patch, since version 9.
        version @ 90000.. => Ok(format!("{}.{}.{}", version / 10000, version / 100 % 100, version % 100)),
        other => Err(format!("libtorch finds no cuDNN ({other})")),
    }
}

unsafe extern "C" {
    /// src/implementation.cpp.
    fn bn_oracle_implementation(input: *const Handle, weight: *const Handle, bias: *const Handle) -> c_int;
    /// The same.
    fn bn_oracle_cudnn_version() -> c_long;
}

/// What tch's pointers point to: an `at::Tensor`.
type Handle = std::ffi::c_void;

/// The number of CUDA devices that libtorch can use, or in one line why there
/// is none. Loads libtorch_cuda.so on the first call.
pub fn devices() -> Result<usize, String> {
    static FOUND: OnceLock<Result<usize, String>> = OnceLock::new();
    FOUND.get_or_init(find).clone()
}

/// Loads libtorch_cuda.so on the first call.
fn load_once() -> Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    let load_it = || {
        let folder = libtorch_folder().ok_or("the folder of libtorch_cpu.so is not known")?;
        let library = folder.join("libtorch_cuda.so");
        if !library.exists() {
            return Err(format!("libtorch {} was set up without libtorch_cuda.so", version::loaded()));
        }
        load(&library)
    };
    LOADED.get_or_init(load_it).clone()
}

fn find() -> Result<usize, String> {
    load_once()?;
    match tch::Cuda::device_count() {
        count if count > 0 => Ok(count as usize),
        _ => Err("libtorch_cuda.so is loaded, and finds no device".into()),
    }
}

/// The folder of the libtorch_cpu.so that this process runs.
fn libtorch_folder() -> Option<PathBuf> {
    // SAFETY: all-zero is a valid Dl_info; dladdr reads an address of code that
    // is loaded and fills the struct, whose name lives as long as the library.
    let name = unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        let address = version::address();
        if libc::dladdr(address, &mut info) == 0 || info.dli_fname.is_null() {
            return None;
        }
        CStr::from_ptr(info.dli_fname)
    };
    Path::new(OsStr::from_bytes(name.to_bytes())).parent().map(Path::to_path_buf)
}

/// Loads a library for good, with its symbols visible to those already loaded.
fn load(library: &Path) -> Result<(), String> {
    let name = CString::new(library.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    // SAFETY: loading libtorch_cuda.so runs its initialisers, which register its
    // kernels with the libtorch that is already loaded and have no other
    // precondition; the handle is never closed. dlerror's text is copied at once.
    unsafe {
        if libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL).is_null() {
            let error = libc::dlerror();
            let reason = if error.is_null() {
                "no reason given".into()
            } else {
                CStr::from_ptr(error).to_string_lossy()
            };
            return Err(format!("libtorch_cuda.so does not load: {reason}"));
        }
    }
    Ok(())
}
