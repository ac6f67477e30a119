//! What zyx finds and leaves around it: its configuration, its cache, the standard output.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::{env, io};

/// No OpenCL, CUDA, Vulkan or BLAS: C, which the machine's C compiler compiles.
const CONFIG: &str = r#"{
    "opencl": { "platform_ids": [] },
    "cuda": { "device_ids": [], "cudnn": false },
    "vulkan": { "device_ids": [] },
    "cblas": { "enabled": false }
}
"#;

/// Has zyx compute on the CPU alone.
///
/// It reads that from a file in the user's folder of configurations, and looks for every
/// kind of device where there is none, which crashes where an OpenCL is installed without a
/// device. Beside that file it keeps what it has compiled. Both get a folder of their own.
pub fn choose_backend() -> io::Result<()> {
    let home = env::temp_dir().join(concat!(env!("CARGO_PKG_NAME"), "-", env!("CARGO_PKG_VERSION")));
    fs::create_dir_all(home.join("zyx"))?;
    fs::write(home.join("zyx/config.json"), CONFIG)?;
    // SAFETY: called first in `main`, when no other thread can be reading the environment.
    unsafe { env::set_var("XDG_CONFIG_HOME", home) };
    Ok(())
}

/// The standard output, for answers alone: zyx writes there that it is "Autotuning", and how
/// far it has come. From now on that goes nowhere.
pub fn take_stdout() -> io::Result<File> {
    let answers = io::stdout().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdout(File::options().write(true).open("/dev/null")?)?;
    Ok(File::from(answers))
}
