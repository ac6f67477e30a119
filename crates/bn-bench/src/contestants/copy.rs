//! What the memory can do: the input copied, one array read and one written.

use anyhow::{Result, ensure};
use tch::{Device, Tensor};

use super::Contestant;
use super::libtorch::{blank, borrow, copy, values};
use crate::buffer::Buffer;
use crate::expected::Expected;
use crate::paired::Call;
use crate::value::Value;
use crate::workload::Workload;

/// libtorch's `copy_`, the copy that its users have. On a GPU it is the driver's own, from
/// device to device.
pub struct LibtorchCopy<'a, T: Value> {
    work: &'a Workload<T>,
    /// From and to; each call takes the next.
    pairs: Vec<(Tensor, Tensor)>,
    next: usize,
}

impl<'a, T: Value> LibtorchCopy<'a, T> {
    /// Takes the input, on the CPU in the workload's own memory and else so many copies of it
    /// on the device, and allocates what is written to.
    ///
    /// # Errors
    /// What libtorch refuses.
    pub fn new(work: &'a Workload<T>, device: Device, copies: usize) -> Result<Self> {
        let from = borrow(work, &work.input)?.f_to_device(device)?;
        let mut pairs = Vec::new();
        for _ in 1..copies {
            pairs.push((copy(&from)?, blank(&from)?));
        }
        pairs.push((from.shallow_clone(), blank(&from)?));
        Ok(LibtorchCopy { work, pairs, next: 0 })
    }
}

impl<T: Value> Call for LibtorchCopy<'_, T> {
    fn call(&mut self) -> Result<()> {
        let next = (self.next + 1) % self.pairs.len();
        let (from, to) = &mut self.pairs[std::mem::replace(&mut self.next, next)];
        // The method's name is the fallible form of libtorch's `copy_`.
        to.f_copy_(from)?;
        Ok(())
    }
}

impl<T: Value> Contestant<T> for LibtorchCopy<'_, T> {
    fn check(&mut self, _: &Expected<'_, T>) -> Result<()> {
        for _ in 1..self.pairs.len() {
            self.call()?;
        }
        let layout = self.work.layout();
        self.pairs.iter().try_for_each(|(_, to)| is_copy(&values::<T>(to, layout)?, self.work))
    }
}

/// A copy whose stores go to memory without reading the lines that they overwrite, as an
/// ordinary store does: for arrays larger than the caches the least time there is.
pub struct StreamCopy<'a, T: Value> {
    work: &'a Workload<T>,
    to: Buffer<T>,
}

impl<'a, T: Value> StreamCopy<'a, T> {
    /// Whether there is one for this processor.
    pub const IS_HERE: bool = cfg!(target_arch = "x86_64");

    /// Allocates what is written to.
    pub fn new(work: &'a Workload<T>) -> Self {
        StreamCopy { work, to: work.blank() }
    }
}

impl<T: Value> Call for StreamCopy<'_, T> {
    /// In one part for every thread of the pool that it is called in.
    fn call(&mut self) -> Result<()> {
        let threads = rayon::current_num_threads();
        // Whole cache lines each.
        let line = 64 / size_of::<T>();
        let part = self.to.len().div_ceil(threads).next_multiple_of(line);
        let (from, to) = (self.work.input.chunks(part), self.to.chunks_mut(part));
        if threads == 1 {
            from.zip(to).for_each(|(from, to)| stream(from, to));
        } else {
            rayon::scope(|scope| {
                from.zip(to).for_each(|(from, to)| scope.spawn(move |_| stream(from, to)));
            });
        }
        Ok(())
    }
}

impl<T: Value> Contestant<T> for StreamCopy<'_, T> {
    fn check(&mut self, _: &Expected<'_, T>) -> Result<()> {
        is_copy(&self.to, self.work)
    }
}

fn is_copy<T: Value>(copy: &[T], work: &Workload<T>) -> Result<()> {
    ensure!(*copy == *work.input, "the copy differs from the input");
    Ok(())
}

/// Copies `from` to `to`, which has its length and starts on a cache line.
#[cfg(target_arch = "x86_64")]
fn stream<T: Value>(from: &[T], to: &mut [T]) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};
    let width = size_of::<__m128i>() / size_of::<T>();
    assert_eq!(from.len(), to.len());
    assert!(to.as_ptr().cast::<__m128i>().is_aligned());
    let (from_parts, from_rest) = from.split_at(from.len() / width * width);
    let (to_parts, to_rest) = to.split_at_mut(from_parts.len());
    for (from, to) in from_parts.chunks_exact(width).zip(to_parts.chunks_exact_mut(width)) {
        // SAFETY: SSE2 belongs to every x86_64. Both pieces are 16 bytes long, and plain
        // numbers; `to` is at a multiple of 16 bytes from an aligned start.
        unsafe { _mm_stream_si128(to.as_mut_ptr().cast(), _mm_loadu_si128(from.as_ptr().cast())) };
    }
    to_rest.copy_from_slice(from_rest);
    // SAFETY: as above. Others see streamed stores in order only after a fence.
    unsafe { _mm_sfence() };
}

#[cfg(not(target_arch = "x86_64"))]
fn stream<T: Value>(from: &[T], to: &mut [T]) {
    to.copy_from_slice(from);
}
