//! Measuring on a GPU: who takes part, by which clock, and what the caches hold.
//!
//! Calls are put in line on the device's default stream, which ours and libtorch share, and
//! time is that between two events in the line. The calls before a sample, its lead-in, are
//! still being worked on when its first call arrives, so that the device does not wait for
//! the host, unless the calls are shorter than it takes to make one: then that is what is
//! measured, for everyone alike.
//!
//! | cache | each call finds in the L2 cache |
//! |---|---|
//! | warm | what the call before left there: it was on the same arrays |
//! | cold | other copies of the arrays, [`rotated`] bytes of them at least, since its own turn |

use std::process::Command;
use std::sync::Arc;
use std::{fmt, fs};

use anyhow::{Result, ensure};
use bn_cuda::DeviceError;
use bn_cuda::gpu::{Event, Gpu};
use bn_cuda::replay::Recorder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::axes::{Cache, Op};
use crate::contestants::{Contestant, Kernels, Libtorch, LibtorchCopy, OursOnDevice, Setting, Who};
use crate::paired::{self, Call, Clock, Plan, Rounds, Start};
use crate::row::Venue;
use crate::value::Value;
use crate::workload::Workload;

/// So many bytes of other arrays are used between two calls on the same ones, at least.
const ROTATED: u64 = 120_000_000;
/// Arrays so small that more copies would be needed are not measured cold.
const MOST_COPIES: usize = 256;

/// The first CUDA device.
pub struct Cuda {
    gpu: Arc<Gpu>,
    about: CudaDevice,
    cache: Cache,
}

/// A device, as it belongs beside every number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CudaDevice {
    /// Its name: `NVIDIA H200`.
    pub name: String,
    /// The driver's version, where the system tells it: `580.95.05`.
    pub driver: Option<String>,
    /// The version of CUDA that the driver speaks: `13.0`.
    pub cuda: String,
    /// The compute capability: `9.0`.
    pub compute_capability: String,
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of the cache that all multiprocessors share.
    pub l2_cache: u64,
    /// cuDNN's version, of the one that libtorch has: `9.20.0`.
    pub cudnn: Option<String>,
}

/// There is no device to measure on, or what was asked cannot be measured on one. That is
/// neither a success nor a failure.
#[derive(Debug)]
pub struct NotRun(pub String);

impl fmt::Display for NotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotRun {}

impl Cuda {
    /// The first device, if libtorch finds it too.
    ///
    /// # Errors
    /// [`NotRun`] without one; what keeps our kernels from it.
    pub fn find(cache: Cache) -> Result<Cuda> {
        // libtorch first: it must load its CUDA part before anyone asks it about devices.
        let libtorch = bn_oracle::cuda::devices();
        let gpu = match Gpu::new(0) {
            Err(error @ DeviceError::None(_)) => return Err(NotRun(error.to_string()).into()),
            gpu => Arc::new(gpu?),
        };
        libtorch.map_err(NotRun)?;
        let traits = gpu.traits()?;
        let ((major, minor), cuda) = (traits.capability, traits.cuda);
        let about = CudaDevice {
            name: traits.name,
            driver: driver_version(),
            cuda: format!("{}.{}", cuda / 1000, cuda % 1000 / 10),
            compute_capability: format!("{major}.{minor}"),
            multiprocessors: traits.multiprocessors,
            memory: traits.memory,
            l2_cache: traits.l2_cache,
            cudnn: bn_oracle::cuda::cudnn_version().ok(),
        };
        Ok(Cuda { gpu, about, cache })
    }

    /// What belongs beside the numbers.
    pub fn about(&self) -> &CudaDevice {
        &self.about
    }

    /// What the caches hold.
    pub fn cache(&self) -> Cache {
        self.cache
    }

    /// The same device, with other caches.
    pub fn with_cache(&self, cache: Cache) -> Cuda {
        Cuda { gpu: self.gpu.clone(), about: self.about.clone(), cache }
    }
}

/// How many bytes a cold call is away from the last one on its arrays, at least: more than
/// the device's cache holds twice.
pub fn rotated(l2_cache: u64) -> u64 {
    ROTATED.max(2 * l2_cache)
}

/// How many copies of arrays of so many bytes in all.
fn copies(bytes: usize, cache: Cache, l2_cache: u64) -> Result<usize> {
    if cache == Cache::Warm {
        return Ok(1);
    }
    let others = rotated(l2_cache).div_ceil(bytes as u64) as usize;
    if others >= MOST_COPIES {
        let reason = format!(
            "arrays of {bytes} bytes cannot be measured cold: {} copies of them would be needed, at most \
             {MOST_COPIES} are made",
            others + 1
        );
        return Err(NotRun(reason).into());
    }
    Ok(others + 1)
}

impl Venue for Cuda {
    fn enter<'a, T: Value>(
        &self,
        who: Who,
        work: &'a Workload<T>,
        op: Op,
    ) -> Result<Box<dyn Contestant<T> + 'a>> {
        let arrays = if who.copies() { 2 } else { op.streams() };
        let copies = copies(arrays * size_of_val(&work.input[..]), self.cache, self.about.l2_cache)?;
        let device = Device::Cuda(0);
        let libtorch = |kernels| Libtorch::new(work, op, Setting { device, kernels, copies });
        Ok(match who {
            Who::Ours => Box::new(OursOnDevice::new(work, op, Recorder::over(self.gpu.clone()), copies)?),
            Who::Libtorch => Box::new(libtorch(Kernels::Native)?),
            Who::Cudnn => Box::new(libtorch(Kernels::Cudnn)?),
            Who::Copy => Box::new(LibtorchCopy::new(work, device, copies)?),
            Who::StreamCopy => anyhow::bail!("streaming stores are a processor's"),
        })
    }

    fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let _no_graph = tch::no_grad_guard();
        work()
    }

    /// In the state of the caches that the contestants were made for.
    fn measure(&self, contestants: &mut [&mut dyn Call], plan: Plan) -> Result<Vec<Rounds>> {
        ensure!(plan.cache == self.cache, "the contestants were made for {} caches", self.cache);
        self.run(|| paired::measure(contestants, plan.seconds, Start::LeadIn(0.0), self))
    }
}

impl Clock for Cuda {
    type Mark = Event;

    fn mark(&self) -> Result<Event> {
        Ok(self.gpu.event()?)
    }

    fn seconds(&self, from: &Event, to: &Event) -> Result<f64> {
        Ok(from.seconds_until(to)?)
    }
}

/// As the kernel's module says it, or NVIDIA's tool.
fn driver_version() -> Option<String> {
    let module = fs::read_to_string("/proc/driver/nvidia/version").ok();
    module.as_deref().and_then(version_in).or_else(|| {
        let query = ["--query-gpu=driver_version", "--format=csv,noheader"];
        let output = Command::new("nvidia-smi").args(query).output().ok()?;
        version_in(&String::from_utf8_lossy(&output.stdout))
    })
}

/// The first word that is numbers with points between.
fn version_in(text: &str) -> Option<String> {
    let is_version =
        |word: &&str| word.contains('.') && word.split('.').all(|part| part.parse::<u32>().is_ok());
    text.split_whitespace().find(is_version).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cold_call_is_far_from_the_last_on_its_arrays() {
        let l2_cache = 60 << 20;
        let two = 2 * 4 * 32 * 512 * 7 * 7;
        assert_eq!(copies(two, Cache::Warm, l2_cache).unwrap(), 1);
        let cold = copies(two, Cache::Cold, l2_cache).unwrap();
        assert!((cold - 1) * two >= 2 * (60 << 20) && (cold - 2) * two < 2 * (60 << 20), "{cold}");
        // Larger than the cache by themselves, they still take turns.
        assert_eq!(copies(1 << 30, Cache::Cold, l2_cache).unwrap(), 2);
        assert_eq!(rotated(4 << 20), 120_000_000);
        let refusal = copies(640, Cache::Cold, l2_cache).unwrap_err();
        assert!(refusal.is::<NotRun>());
        assert!(
            refusal.to_string().starts_with("arrays of 640 bytes cannot be measured cold: "),
            "{refusal}"
        );
    }

    #[test]
    fn the_driver_s_version_is_found_in_what_is_said_of_it() {
        let module = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build\n\
                      GCC version:  gcc version 13.3.0";
        assert_eq!(version_in(module).as_deref(), Some("580.95.05"));
        assert_eq!(version_in("580.95.05\n").as_deref(), Some("580.95.05"));
        assert_eq!(version_in("no devices were found"), None);
    }
}
