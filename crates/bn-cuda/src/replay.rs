//! A pass that is prepared once and made many times: what a bench times.
//!
//! The layer chooses a kernel, allocates what it writes to and launches it, in every pass.
//! Benches ask how long the launch takes, with memory that is there. So a [`Recorder`]
//! stands before the device: it allocates and uploads, and *notes* the launches in place of
//! making them. A [`Recording`] makes them, as often as is wanted, into the same memory.
//!
//! What a pass uploads for a kernel to write to, such as the counters of a barrier, must be
//! as new for each launch; it is all zeros, and is set to zeros again, which counts as part
//! of the pass. What was there before the pass, such as running statistics, goes on from
//! launch to launch, as it does in a layer.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ptr;
use std::sync::Arc;

use crate::arguments::Arguments;
use crate::device::{Device, DeviceError, Launch, Memory, Properties};

/// A device that can set memory to zeros without a host that waits.
pub trait Zero: Device {
    /// Sets all bytes to 0, after the launches so far and before the next one.
    ///
    /// # Errors
    /// [`DeviceError::Driver`].
    fn zero(&self, memory: &Self::Memory) -> Result<(), DeviceError>;
}

/// A device that notes launches in place of making them.
pub struct Recorder<D: Device> {
    device: Arc<D>,
    noted: RefCell<Vec<Step<D>>>,
    /// How many passes were begun.
    passes: Cell<usize>,
}

/// Memory that a recording keeps for as long as it needs it.
pub struct Kept<D: Device> {
    memory: Arc<D::Memory>,
    /// What was uploaded, if that was it.
    uploaded: Option<Uploaded>,
}

struct Uploaded {
    /// In which pass; 0 is before all.
    pass: usize,
    zeros: bool,
}

/// Launches, to be made again and again.
pub struct Recording<D: Device> {
    device: Arc<D>,
    steps: Vec<Step<D>>,
}

/// A launch, with what must be set to zeros before it.
struct Step<D: Device> {
    zeroed: Vec<Arc<D::Memory>>,
    launch: Launch,
    /// The bytes of its arguments, and who knows their type.
    arguments: Vec<u8>,
    make: Make<D>,
    inputs: Vec<Arc<D::Memory>>,
    outputs: Vec<Arc<D::Memory>>,
}

/// Makes the launch of a step.
type Make<D> = unsafe fn(&D, &Step<D>) -> Result<(), DeviceError>;

impl<D: Device> Recorder<D> {
    /// Before this device.
    pub fn new(device: D) -> Self {
        Recorder::over(Arc::new(device))
    }

    /// Before a device that others use as well.
    pub fn over(device: Arc<D>) -> Self {
        Recorder { device, noted: RefCell::default(), passes: Cell::default() }
    }

    /// What `pass` gives, and the launches that it would have made.
    ///
    /// # Errors
    /// Those of `pass`.
    pub fn record<R, E>(&self, pass: impl FnOnce() -> Result<R, E>) -> Result<(R, Recording<D>), E> {
        self.noted.take();
        self.passes.set(self.passes.get() + 1);
        let result = pass()?;
        Ok((result, Recording { device: self.device.clone(), steps: self.noted.take() }))
    }

    /// Whether the memory must be set to zeros before a launch that writes to it.
    ///
    /// # Panics
    /// If the pass uploaded anything else for a kernel to write to: that cannot be repeated.
    fn is_to_zero(&self, kept: &Kept<D>) -> bool {
        let of_pass = kept.uploaded.as_ref().filter(|uploaded| uploaded.pass == self.passes.get());
        of_pass.is_some_and(|uploaded| {
            assert!(uploaded.zeros, "a kernel writes to what the pass uploaded, and it is not all zeros");
            true
        })
    }
}

impl<D: Zero> Recording<D> {
    /// Makes the launches, in their order. A device may do them later.
    ///
    /// # Errors
    /// The first that the device refuses.
    pub fn replay(&self) -> Result<(), DeviceError> {
        for step in &self.steps {
            step.zeroed.iter().try_for_each(|memory| self.device.zero(memory))?;
            // SAFETY: `make` is that of the arguments' type; whoever noted the launch vouched
            // for it, and its memory is kept.
            unsafe { (step.make)(&self.device, step)? };
        }
        Ok(())
    }

    /// The names of the kernels.
    pub fn kernels(&self) -> Vec<&str> {
        self.steps.iter().map(|step| step.launch.kernel.as_str()).collect()
    }
}

/// # Safety
/// The step's arguments are the bytes of an `A`, and [`Device::launch`] may be called with them.
unsafe fn make<D: Device, A: Arguments>(device: &D, step: &Step<D>) -> Result<(), DeviceError> {
    // SAFETY: so the caller says; plain data may be read from any place.
    let arguments: A = unsafe { ptr::read_unaligned(step.arguments.as_ptr().cast()) };
    let inputs: Vec<&D::Memory> = step.inputs.iter().map(Arc::as_ref).collect();
    let outputs: Vec<&D::Memory> = step.outputs.iter().map(Arc::as_ref).collect();
    // SAFETY: the caller's.
    unsafe { device.launch(&step.launch, &arguments, &inputs, &outputs) }
}

impl<D: Device> Device for Recorder<D> {
    type Memory = Kept<D>;

    fn name(&self) -> String {
        self.device.name()
    }

    fn properties(&self) -> Properties {
        self.device.properties()
    }

    fn allocate(&self, bytes: usize) -> Result<Kept<D>, DeviceError> {
        Ok(Kept { memory: Arc::new(self.device.allocate(bytes)?), uploaded: None })
    }

    fn upload(&self, bytes: &[u8]) -> Result<Kept<D>, DeviceError> {
        let memory = Arc::new(self.device.upload(bytes)?);
        let uploaded = Uploaded { pass: self.passes.get(), zeros: bytes.iter().all(|&byte| byte == 0) };
        Ok(Kept { memory, uploaded: Some(uploaded) })
    }

    fn download(&self, memory: &Kept<D>) -> Result<Vec<u8>, DeviceError> {
        self.device.download(&memory.memory)
    }

    unsafe fn launch<A: Arguments>(
        &self,
        launch: &Launch,
        arguments: &A,
        inputs: &[&Kept<D>],
        outputs: &[&Kept<D>],
    ) -> Result<(), DeviceError> {
        let keep = |memories: &[&Kept<D>]| memories.iter().map(|kept| kept.memory.clone()).collect();
        // SAFETY: plain data, as `Arguments` says, without padding.
        let bytes =
            unsafe { std::slice::from_raw_parts(ptr::from_ref(arguments).cast::<u8>(), size_of::<A>()) };
        self.noted.borrow_mut().push(Step {
            zeroed: keep(&outputs.iter().copied().filter(|kept| self.is_to_zero(kept)).collect::<Vec<_>>()),
            launch: launch.clone(),
            arguments: bytes.to_vec(),
            make: make::<D, A>,
            inputs: keep(inputs),
            outputs: keep(outputs),
        });
        Ok(())
    }
}

impl<D: Device> Memory for Kept<D> {
    fn address(&self) -> u64 {
        self.memory.address()
    }

    fn bytes(&self) -> usize {
        self.memory.bytes()
    }
}

impl<D: Device> fmt::Debug for Kept<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.memory.fmt(f)
    }
}

impl<D: Device> fmt::Debug for Recorder<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} launches noted before {}", self.noted.borrow().len(), self.device.name())
    }
}

#[cfg(test)]
mod tests {
    use batchnorm::{Config, DType, MemoryFormat, OutputMask, Rank};

    use super::*;
    use crate::array::{Array, Vector, packed};
    use crate::emulator::{Emulator, Schedule};
    use crate::layer::{BatchNorm, State};

    const SHAPE: [usize; 4] = [3, 4, 2, 5];

    fn layer<D: Device>(device: &D) -> BatchNorm<D> {
        let vector = |elements: [f64; 4]| Some(Vector::upload(device, DType::F32, &elements).unwrap());
        let state = State {
            weight: vector([1.0, 0.5, -2.0, 3.0]),
            bias: vector([0.0, 1.0, -1.0, 0.25]),
            // As a layer begins: zeros, which are not those of a barrier.
            running_mean: vector([0.0; 4]),
            running_var: vector([1.0; 4]),
            num_batches_tracked: Some(0),
        };
        BatchNorm::new(Rank::Any, Config::new(4), state)
    }

    fn array<D: Device>(device: &D, format: MemoryFormat, factor: f32) -> Array<D> {
        let values: Vec<u8> = (0..120u8).flat_map(|i| (f32::from(i % 17) * factor).to_ne_bytes()).collect();
        let memory = device.upload(&values).unwrap();
        Array::new(memory, DType::F32, &SHAPE, &packed(&SHAPE, format), 0).unwrap()
    }

    fn bytes<D: Device>(device: &D, vector: &Option<Vector<D>>) -> Vec<u8> {
        device.download(vector.as_ref().unwrap().memory()).unwrap()
    }

    /// Output, running statistics and gradients after two training passes of a layer, each
    /// with its backward pass.
    fn twice(device: &Emulator, format: MemoryFormat) -> Vec<Vec<u8>> {
        let (x, g, mut layer) = (array(device, format, 1.0), array(device, format, -0.5), layer(device));
        layer.forward(device, &x).unwrap();
        let (y, saved) = layer.forward(device, &x).unwrap();
        let gradients = layer.backward(device, &saved, &x, &g, OutputMask::ALL).unwrap();
        vec![
            device.download(y.memory()).unwrap(),
            bytes(device, &layer.state().running_mean),
            bytes(device, &layer.state().running_var),
            device.download(gradients.input.unwrap().memory()).unwrap(),
            bytes(device, &gradients.weight),
            bytes(device, &gradients.bias),
        ]
    }

    /// The same from one pass each way that was noted, and made twice.
    fn replayed(device: Emulator, format: MemoryFormat) -> Vec<Vec<u8>> {
        let device = &Recorder::new(device);
        let (x, g, mut layer) = (array(device, format, 1.0), array(device, format, -0.5), layer(device));
        let ((y, saved), forward) = device.record(|| layer.forward(device, &x)).unwrap();
        let pass = || layer.backward(device, &saved, &x, &g, OutputMask::ALL);
        let (gradients, backward) = device.record(pass).unwrap();
        let poison = device.download(y.memory()).unwrap();
        assert!(poison.iter().all(|&byte| byte == 0xff), "a launch was made before it was asked for");
        for _ in 0..2 {
            forward.replay().unwrap();
            backward.replay().unwrap();
        }
        vec![
            device.download(y.memory()).unwrap(),
            bytes(device, &layer.state().running_mean),
            bytes(device, &layer.state().running_var),
            device.download(gradients.input.unwrap().memory()).unwrap(),
            bytes(device, &gradients.weight),
            bytes(device, &gradients.bias),
        ]
    }

    #[test]
    fn a_recording_gives_what_the_layer_gives() {
        for format in [MemoryFormat::Contiguous, MemoryFormat::ChannelsLast] {
            let emulator = || Emulator::new(Schedule::Shuffled { seed: 5 });
            assert_eq!(replayed(emulator(), format), twice(&emulator(), format), "{format:?}");
        }
    }

    /// A kernel of channels-last arrays counts arrivals from 0.
    #[test]
    fn what_a_barrier_counts_in_is_zeroed_before_each_launch() {
        let device = &Recorder::new(Emulator::new(Schedule::Ascending));
        let (x, mut layer) = (array(device, MemoryFormat::ChannelsLast, 1.0), layer(device));
        let (_, forward) = device.record(|| layer.forward(device, &x)).unwrap();
        assert_eq!(forward.kernels(), ["slab_forward_train_f32"]);
        assert_eq!(forward.steps[0].zeroed.len(), 1);
    }

    #[test]
    #[should_panic(expected = "it is not all zeros")]
    fn what_cannot_be_repeated_is_not_recorded() {
        let device = Recorder::new(Emulator::new(Schedule::Ascending));
        let _ = device.record(|| {
            let memory = device.upload(&[1])?;
            let launch = Launch {
                kernel: "nonesuch".into(),
                blocks: 1,
                threads: 32,
                cluster: 1,
                cooperative: false,
                shared_bytes: 0,
            };
            // SAFETY: it is noted, and never made.
            unsafe { device.launch(&launch, &crate::arguments::Backward::default(), &[], &[&memory]) }
        });
    }
}
