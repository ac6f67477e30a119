//! Which libtorch: the one that was linked, and the one that is loaded.

unsafe extern "C" {
    /// From libtorch's stable C interface (torch/csrc/inductor/aoti_torch/c/shim.h):
    /// major, minor and patch in the three highest bytes.
    fn aoti_torch_abi_version() -> u64;
}

/// The version whose headers this program was compiled against.
pub fn linked() -> &'static str {
    env!("LIBTORCH_LINKED")
}

/// The version of the library that is loaded, as it says itself.
pub fn loaded() -> String {
    // SAFETY: the function takes nothing, reads nothing and returns a constant.
    let packed = unsafe { aoti_torch_abi_version() };
    let [major, minor, patch, ..] = packed.to_be_bytes();
    format!("{major}.{minor}.{patch}")
}

/// An address inside the libtorch_cpu.so that is loaded.
pub(crate) fn address() -> *const std::ffi::c_void {
    aoti_torch_abi_version as *const std::ffi::c_void
}
