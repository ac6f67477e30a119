//! A real device: NVIDIA's driver and run-time compiler, found when the program runs.

use std::collections::HashMap;
use std::env;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{
    CudaContext, CudaEvent, CudaFunction, CudaModule, CudaSlice, CudaStream, DevicePtr, DriverError, result,
    sys,
};
use cudarc::nvrtc::{self, CompileError, CompileOptions};

use crate::arguments::Arguments;
use crate::device::{Device, DeviceError, Launch, Memory, Properties};
use crate::replay::Zero;

/// The kernels, one text: the run-time compiler is given no files.
const SOURCES: [&str; 14] = [
    include_str!("../kernels/device.cuh"),
    include_str!("../kernels/element.cuh"),
    include_str!("../kernels/arguments.cuh"),
    include_str!("../kernels/channel.cuh"),
    include_str!("../kernels/formulas.cuh"),
    include_str!("../kernels/sum.cuh"),
    include_str!("../kernels/baseline.cuh"),
    include_str!("../kernels/relu.cuh"),
    include_str!("../kernels/rows.cuh"),
    include_str!("../kernels/resident.cuh"),
    include_str!("../kernels/columns.cuh"),
    include_str!("../kernels/slab.cuh"),
    include_str!("../kernels/stream.cuh"),
    include_str!("../kernels/strip.cuh"),
];

/// The variable that names a file with the kernels, compiled ahead for the device by
/// `scripts/cuda-compile`. Without it they are compiled when a [`Gpu`] is made, which takes
/// some seconds.
pub const CUBIN: &str = "BN_CUDA_CUBIN";

/// A CUDA device with the kernels loaded.
#[derive(Debug)]
pub struct Gpu {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    module: Arc<CudaModule>,
    properties: Properties,
    functions: Mutex<HashMap<String, CudaFunction>>,
}

/// What belongs beside a time that was measured on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traits {
    /// Its name, as the driver says it.
    pub name: String,
    /// The compute capability: 9 and 0.
    pub capability: (i32, i32),
    /// The version of CUDA that the driver speaks: 13000 is 13.0.
    pub cuda: i32,
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of the cache that all multiprocessors share.
    pub l2_cache: u64,
}

/// A place in the line of what a device was given to do.
#[derive(Debug)]
pub struct Event(CudaEvent);

/// The number of CUDA devices.
///
/// # Errors
/// [`DeviceError::None`] where there is no driver, or it finds no device.
pub fn devices() -> Result<usize, DeviceError> {
    // SAFETY: opens the driver's library, if there is one; its initialisers have no precondition.
    if !unsafe { sys::is_culib_present() } {
        return Err(DeviceError::None("there is no NVIDIA driver (libcuda.so)".into()));
    }
    match CudaContext::device_count() {
        Ok(count) if count > 0 => Ok(count as usize),
        Ok(_) => Err(DeviceError::None("the driver finds no device".into())),
        Err(error) => Err(DeviceError::None(format!("the driver says {}", text(error)))),
    }
}

impl Gpu {
    /// The device of that number, with the kernels compiled for it.
    ///
    /// # Errors
    /// [`DeviceError::None`], [`DeviceError::Kernels`] or [`DeviceError::Driver`].
    pub fn new(ordinal: usize) -> Result<Self, DeviceError> {
        let count = devices()?;
        if ordinal >= count {
            return Err(DeviceError::None(format!("device {ordinal} was asked for, there are {count}")));
        }
        let context = CudaContext::new(ordinal).map_err(driver)?;
        let (major, minor) = context.compute_capability().map_err(driver)?;
        let code = match env::var_os(CUBIN) {
            Some(file) => nvrtc::Ptx::from_file(file),
            None => compile(major, minor)?,
        };
        let module = context.load_module(code).map_err(|error| kernels(text(error)))?;
        let properties = properties(&context, major).map_err(driver)?;
        let (stream, functions) = (context.default_stream(), Mutex::default());
        Ok(Gpu { context, stream, module, properties, functions })
    }

    /// What belongs beside a time.
    ///
    /// # Errors
    /// [`DeviceError::Driver`].
    pub fn traits(&self) -> Result<Traits, DeviceError> {
        let l2_cache = self.context.attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
        let mut cuda = 0;
        // SAFETY: the driver is there, and writes one number.
        unsafe { sys::cuDriverGetVersion(&mut cuda) }.result().map_err(driver)?;
        Ok(Traits {
            name: self.name(),
            capability: self.context.compute_capability().map_err(driver)?,
            cuda,
            multiprocessors: self.properties.multiprocessors,
            memory: self.context.total_mem().map_err(driver)? as u64,
            l2_cache: l2_cache.map_err(driver)? as u64,
        })
    }

    /// This place in the line: behind all that any thread has given the device's default
    /// stream to do.
    ///
    /// # Errors
    /// [`DeviceError::Driver`].
    pub fn event(&self) -> Result<Event, DeviceError> {
        let event = self.context.new_event(Some(sys::CUevent_flags::CU_EVENT_DEFAULT)).map_err(driver)?;
        event.record(&self.stream).map_err(driver)?;
        Ok(Event(event))
    }

    fn function(&self, name: &str) -> Result<CudaFunction, DeviceError> {
        // Whoever panicked before left a map that is whole.
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = functions.get(name) {
            return Ok(function.clone());
        }
        let missing = |error| kernels(format!("{name}: {}", text(error)));
        let function = self.module.load_function(name).map_err(missing)?;
        // Beyond 48 KiB a kernel has to be told that it may.
        let most = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        function.set_attribute(most, self.properties.shared_bytes as i32).map_err(driver)?;
        functions.insert(name.into(), function.clone());
        Ok(function)
    }
}

impl Event {
    /// The seconds from this place to a later one, once the device has come to both.
    ///
    /// # Errors
    /// [`DeviceError::Driver`]: also where a launch before either has failed.
    pub fn seconds_until(&self, later: &Event) -> Result<f64, DeviceError> {
        let milliseconds = self.0.elapsed_ms(&later.0).map_err(driver)?;
        Ok(f64::from(milliseconds) * 1e-3)
    }
}

fn properties(context: &CudaContext, major: i32) -> Result<Properties, DriverError> {
    use sys::CUdevice_attribute::{
        CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
    };
    Ok(Properties {
        multiprocessors: context.attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)? as u32,
        shared_bytes: context.attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)? as u32,
        has_clusters: major >= 9,
    })
}

/// The kernels' text, without the lines that only files need.
fn source() -> String {
    let is_for_files = |line: &&str| line.starts_with("#include") || line.starts_with("#pragma once");
    SOURCES.iter().flat_map(|file| file.lines().filter(|line| !is_for_files(line))).fold(
        String::new(),
        |mut all, line| {
            all.push_str(line);
            all.push('\n');
            all
        },
    )
}

fn compile(major: i32, minor: i32) -> Result<nvrtc::Ptx, DeviceError> {
    // SAFETY: opens the compiler's library, if there is one.
    if !unsafe { nvrtc::sys::is_culib_present() } {
        return Err(kernels("there is no run-time compiler (libnvrtc.so)"));
    }
    let options = [
        format!("--gpu-architecture=compute_{major}{minor}"),
        // Only what the kernels fuse themselves: the bits are the emulator's.
        "--fmad=false".into(),
        "--std=c++17".into(),
    ];
    let options = CompileOptions { options: options.into(), ..CompileOptions::default() };
    nvrtc::compile_ptx_with_opts(source(), options).map_err(|error| match error {
        CompileError::CompileError { log, .. } => kernels(log.to_string_lossy()),
        other => kernels(format!("{other:?}")),
    })
}

impl Device for Gpu {
    type Memory = GpuMemory;

    fn name(&self) -> String {
        self.context.name().unwrap_or_else(|_| "a CUDA device".into())
    }

    fn properties(&self) -> Properties {
        self.properties
    }

    fn allocate(&self, bytes: usize) -> Result<GpuMemory, DeviceError> {
        if bytes == 0 {
            return Ok(GpuMemory { slice: None, address: 0 });
        }
        // SAFETY: every byte is written before the memory is handed out.
        let slice = unsafe { self.stream.alloc::<u8>(bytes) }.map_err(driver)?;
        let address = slice.device_ptr(&self.stream).0;
        // SAFETY: the memory's own bytes.
        unsafe { result::memset_d8_async(address, 0xff, bytes, self.stream.cu_stream()) }.map_err(driver)?;
        Ok(GpuMemory { slice: Some(slice), address })
    }

    fn upload(&self, bytes: &[u8]) -> Result<GpuMemory, DeviceError> {
        if bytes.is_empty() {
            return Ok(GpuMemory { slice: None, address: 0 });
        }
        let slice = self.stream.clone_htod(bytes).map_err(driver)?;
        let address = slice.device_ptr(&self.stream).0;
        Ok(GpuMemory { slice: Some(slice), address })
    }

    fn download(&self, memory: &GpuMemory) -> Result<Vec<u8>, DeviceError> {
        match &memory.slice {
            Some(slice) => self.stream.clone_dtoh(slice).map_err(driver),
            None => Ok(Vec::new()),
        }
    }

    unsafe fn launch<A: Arguments>(
        &self,
        launch: &Launch,
        arguments: &A,
        _inputs: &[&GpuMemory],
        _outputs: &[&GpuMemory],
    ) -> Result<(), DeviceError> {
        let function = self.function(&launch.kernel)?;
        let mut argument = *arguments;
        let mut parameters = [std::ptr::from_mut(&mut argument).cast::<c_void>()];
        let mut attributes = attributes(launch);
        let config = sys::CUlaunchConfig {
            gridDimX: launch.blocks,
            gridDimY: 1,
            gridDimZ: 1,
            blockDimX: launch.threads,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: launch.shared_bytes,
            hStream: self.stream.cu_stream(),
            attrs: attributes.as_mut_ptr(),
            numAttrs: attributes.len() as u32,
        };
        self.context.bind_to_thread().map_err(driver)?;
        // SAFETY: the caller's; the driver copies attributes and arguments before it returns.
        unsafe {
            sys::cuLaunchKernelEx(
                &config,
                function.cu_function(),
                parameters.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        }
        .result()
        .map_err(driver)
    }
}

impl Zero for Gpu {
    fn zero(&self, memory: &GpuMemory) -> Result<(), DeviceError> {
        if memory.bytes() == 0 {
            return Ok(());
        }
        self.context.bind_to_thread().map_err(driver)?;
        // SAFETY: the memory's own bytes.
        unsafe { result::memset_d8_async(memory.address, 0, memory.bytes(), self.stream.cu_stream()) }
            .map_err(driver)
    }
}

fn attributes(launch: &Launch) -> Vec<sys::CUlaunchAttribute> {
    // SAFETY: plain data of numbers, for which all zero is a value.
    let blank = || unsafe { std::mem::zeroed::<sys::CUlaunchAttribute>() };
    let mut attributes = Vec::new();
    if launch.cluster > 1 {
        let mut cluster = blank();
        cluster.id = sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
        cluster.value.clusterDim.x = launch.cluster;
        cluster.value.clusterDim.y = 1;
        cluster.value.clusterDim.z = 1;
        attributes.push(cluster);
    }
    if launch.cooperative {
        let mut cooperative = blank();
        cooperative.id = sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_COOPERATIVE;
        cooperative.value.cooperative = 1;
        attributes.push(cooperative);
    }
    attributes
}

/// Memory of a GPU.
#[derive(Debug)]
pub struct GpuMemory {
    /// None for no bytes, which the driver does not give.
    slice: Option<CudaSlice<u8>>,
    address: u64,
}

impl Memory for GpuMemory {
    fn address(&self) -> u64 {
        self.address
    }

    fn bytes(&self) -> usize {
        self.slice.as_ref().map_or(0, CudaSlice::len)
    }
}

fn driver(error: DriverError) -> DeviceError {
    DeviceError::Driver(text(error))
}

fn kernels(reason: impl Into<String>) -> DeviceError {
    DeviceError::Kernels(reason.into())
}

fn text(error: DriverError) -> String {
    match error.error_string() {
        Ok(text) => text.to_string_lossy().into_owned(),
        Err(_) => format!("{error:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Needs the compiler and no device.
    #[test]
    #[ignore = "takes NVIDIA's run-time compiler: scripts/test-cuda runs it"]
    fn the_run_time_compiler_takes_the_kernels() {
        for (major, minor) in [(8, 0), (9, 0)] {
            let ptx = compile(major, minor).unwrap().to_src();
            let kernels = ptx.matches(".visible .entry").count();
            assert!(kernels > 0, "sm_{major}{minor}");
            eprintln!("sm_{major}{minor}: {kernels} kernels");
        }
    }
}
