//! The machine of `emulator/`: kernels on a CPU, thread by thread, every access checked.

use std::cell::{RefCell, UnsafeCell};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;

use crate::arguments::Arguments;
use crate::device::{Device, DeviceError, Launch, Memory, Properties};
use crate::replay::Zero;

/// In which order threads run between the places where they wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// 0, 1, 2, ….
    Ascending,
    /// The last one first, and the last block first.
    Descending,
    /// At random, drawn anew at each turn, and interrupted at random accesses.
    Shuffled {
        /// What the order is drawn from.
        seed: u64,
    },
}

/// The entry of a library of kernels built for emulation.
pub type Emulate = unsafe extern "C" fn(*const RawLaunch, *mut RawOutcome);

/// A device on the CPU.
#[derive(Debug)]
pub struct Emulator {
    emulate: Emulate,
    schedule: Schedule,
    properties: Properties,
    traffic: RefCell<Vec<(u64, Traffic)>>,
    last: RefCell<Option<(Launch, Vec<u8>)>>,
    launched: RefCell<Vec<String>>,
}

/// Bytes that a kernel moved to and from global memory, as its threads asked for them: where a
/// warp asks for one place in all its lanes, a GPU fetches it once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Read.
    pub loaded: u64,
    /// Written.
    pub stored: u64,
}

impl Emulator {
    /// A device whose threads run in this order.
    pub fn new(schedule: Schedule) -> Self {
        // SAFETY: the library of this crate's own kernels.
        unsafe { Emulator::with_kernels(bn_emulate, schedule) }
    }

    /// The same with kernels of another library.
    ///
    /// # Safety
    /// `emulate` is `bn_emulate` of a library built from `emulator/`, which stays loaded.
    pub unsafe fn with_kernels(emulate: Emulate, schedule: Schedule) -> Self {
        Emulator {
            emulate,
            schedule,
            properties: Properties::EMULATED,
            traffic: RefCell::default(),
            last: RefCell::default(),
            launched: RefCell::default(),
        }
    }

    /// The same device with other properties.
    pub fn with_properties(self, properties: Properties) -> Self {
        Emulator { properties, ..self }
    }

    /// What the latest launch moved of the memory: nothing, if it took no part.
    pub fn traffic_of(&self, memory: &HostMemory) -> Traffic {
        let traffic = self.traffic.borrow();
        traffic
            .iter()
            .find(|(address, _)| *address == memory.address())
            .map_or_else(Traffic::default, |of| of.1)
    }

    /// What the latest launch moved in all.
    pub fn traffic(&self) -> Traffic {
        self.traffic.borrow().iter().fold(Traffic::default(), |all, (_, of)| Traffic {
            loaded: all.loaded + of.loaded,
            stored: all.stored + of.stored,
        })
    }

    /// The latest launch: which kernel, and on how many threads.
    pub fn last_launch(&self) -> Option<Launch> {
        Some(self.last.borrow().as_ref()?.0.clone())
    }

    /// The kernels of all launches, in turn.
    pub fn launched(&self) -> Vec<String> {
        self.launched.borrow().clone()
    }

    /// What the latest launch was given, if it was an `A`.
    pub fn last_arguments<A: Arguments>(&self) -> Option<A> {
        let last = self.last.borrow();
        let bytes = &last.as_ref()?.1;
        // SAFETY: so many bytes of plain data, which were an `A` or its like.
        (bytes.len() == size_of::<A>()).then(|| unsafe { ptr::read_unaligned(bytes.as_ptr().cast()) })
    }
}

impl Device for Emulator {
    type Memory = HostMemory;

    fn name(&self) -> String {
        "emulator".into()
    }

    fn properties(&self) -> Properties {
        self.properties
    }

    fn allocate(&self, bytes: usize) -> Result<HostMemory, DeviceError> {
        Ok(HostMemory::filled_with(bytes, u128::MAX))
    }

    fn upload(&self, bytes: &[u8]) -> Result<HostMemory, DeviceError> {
        let memory = HostMemory::filled_with(bytes.len(), u128::MAX);
        // SAFETY: both are so many bytes, and nobody else knows the new one.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), memory.start(), bytes.len()) };
        Ok(memory)
    }

    fn download(&self, memory: &HostMemory) -> Result<Vec<u8>, DeviceError> {
        // SAFETY: kernels run within `launch` only, so nobody writes now.
        Ok(unsafe { std::slice::from_raw_parts(memory.start(), memory.bytes) }.to_vec())
    }

    unsafe fn launch<A: Arguments>(
        &self,
        launch: &Launch,
        arguments: &A,
        inputs: &[&HostMemory],
        outputs: &[&HostMemory],
    ) -> Result<(), DeviceError> {
        // SAFETY: plain data, as `Arguments` says, without padding.
        let bytes =
            unsafe { std::slice::from_raw_parts(ptr::from_ref(arguments).cast::<u8>(), size_of::<A>()) };
        self.last.replace(Some((launch.clone(), bytes.to_vec())));
        self.launched.borrow_mut().push(launch.kernel.clone());
        let fault = |fault: String| DeviceError::Fault { kernel: launch.kernel.clone(), fault };
        let kernel = CString::new(launch.kernel.as_str()).map_err(|error| fault(error.to_string()))?;
        let range = |memory: &&HostMemory, writable| RawRange {
            start: memory.start(),
            bytes: memory.bytes as u64,
            writable,
            loaded: 0,
            stored: 0,
        };
        let mut ranges: Vec<RawRange> = outputs
            .iter()
            .map(|memory| range(memory, 1))
            .chain(inputs.iter().map(|memory| range(memory, 0)))
            .collect();
        let (schedule, seed) = match self.schedule {
            Schedule::Ascending => (0, 0),
            Schedule::Descending => (1, 0),
            Schedule::Shuffled { seed } => (2, seed),
        };
        let request = RawLaunch {
            kernel: kernel.as_ptr(),
            arguments: ptr::from_ref(arguments).cast(),
            arguments_bytes: size_of::<A>() as u64,
            ranges: ranges.as_mut_ptr(),
            range_count: ranges.len() as u64,
            blocks: launch.blocks as c_int,
            threads: launch.threads as c_int,
            cluster: launch.cluster as c_int,
            cooperative: launch.cooperative.into(),
            shared_bytes: launch.shared_bytes as c_int,
            schedule,
            seed,
        };
        let mut outcome = RawOutcome { fault: [0; 512] };
        // SAFETY: all pointers live until the call returns; the machine itself checks that
        // the kernel's accesses stay within the ranges before it makes them.
        unsafe { (self.emulate)(&request, &mut outcome) };
        let moved =
            |range: &RawRange| (range.start as u64, Traffic { loaded: range.loaded, stored: range.stored });
        self.traffic.replace(ranges.iter().map(moved).collect());
        // SAFETY: the machine ends the text with a 0 within the array.
        let text = unsafe { CStr::from_ptr(outcome.fault.as_ptr()) };
        if text.is_empty() { Ok(()) } else { Err(fault(text.to_string_lossy().into_owned())) }
    }
}

impl Zero for Emulator {
    fn zero(&self, memory: &HostMemory) -> Result<(), DeviceError> {
        // SAFETY: the memory's own bytes, which nobody reads or writes between launches.
        unsafe { ptr::write_bytes(memory.start(), 0, memory.bytes) };
        Ok(())
    }
}

/// Memory of the emulator: aligned to 16 bytes, with room before and after it that belongs to
/// no array.
#[derive(Debug)]
pub struct HostMemory {
    words: Box<[UnsafeCell<u128>]>,
    bytes: usize,
}

/// Words on either side.
const FENCE: usize = 1;

impl HostMemory {
    fn filled_with(bytes: usize, word: u128) -> Self {
        let words = 2 * FENCE + bytes.div_ceil(size_of::<u128>());
        HostMemory { words: (0..words).map(|_| UnsafeCell::new(word)).collect(), bytes }
    }

    fn start(&self) -> *mut u8 {
        // Through the whole slice, so that the pointer may reach all of it.
        UnsafeCell::raw_get(self.words.as_ptr().wrapping_add(FENCE)).cast()
    }
}

impl Memory for HostMemory {
    fn address(&self) -> u64 {
        self.start() as u64
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

/// `Range` of `emulator/machine.h`.
#[repr(C)]
#[derive(Debug)]
pub struct RawRange {
    start: *mut u8,
    bytes: u64,
    writable: c_int,
    loaded: u64,
    stored: u64,
}

/// `Launch` of `emulator/machine.h`.
#[repr(C)]
#[derive(Debug)]
pub struct RawLaunch {
    kernel: *const c_char,
    arguments: *const c_void,
    arguments_bytes: u64,
    ranges: *mut RawRange,
    range_count: u64,
    blocks: c_int,
    threads: c_int,
    cluster: c_int,
    cooperative: c_int,
    shared_bytes: c_int,
    schedule: c_int,
    seed: u64,
}

/// `Outcome` of `emulator/machine.h`.
#[repr(C)]
#[derive(Debug)]
pub struct RawOutcome {
    fault: [c_char; 512],
}

unsafe extern "C" {
    fn bn_emulate(launch: *const RawLaunch, outcome: *mut RawOutcome);
    #[cfg(test)]
    fn bn_sizes(sizes: *mut [u64; 8]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{Array, Backward, ForwardEval, ForwardTrain, Statistics};
    use crate::plan::{DESK_BYTES, NOTES_BYTES, STREAM_DESK_BYTES};

    #[test]
    fn both_languages_agree_on_the_structs() {
        let mut sizes = [0; 8];
        // SAFETY: the function writes eight numbers.
        unsafe { bn_sizes(&mut sizes) };
        let ours = [
            size_of::<Array>(),
            size_of::<Statistics>(),
            size_of::<ForwardTrain>(),
            size_of::<ForwardEval>(),
            size_of::<Backward>(),
            DESK_BYTES as usize,
            NOTES_BYTES as usize,
            STREAM_DESK_BYTES as usize,
        ];
        assert_eq!(sizes, ours.map(|size| size as u64));
    }

    #[test]
    fn a_kernel_that_does_not_exist_is_named() {
        let launch = Launch {
            kernel: "nonesuch".into(),
            blocks: 1,
            threads: 32,
            cluster: 1,
            cooperative: false,
            shared_bytes: 0,
        };
        let emulator = Emulator::new(Schedule::Ascending);
        // SAFETY: there is no such kernel.
        let error = unsafe { emulator.launch(&launch, &Backward::default(), &[], &[]) }.unwrap_err();
        assert_eq!(error.to_string(), "nonesuch: no kernel is named nonesuch");
    }
}
