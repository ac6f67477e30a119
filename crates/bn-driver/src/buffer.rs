//! Memory at the alignment that libtorch's allocator gives its tensors, so that both
//! engines can work on the same bytes.

use std::ops::{Deref, DerefMut};

/// A cache line, and the widest vector.
const ALIGNMENT: usize = 64;

/// A slice that starts at a multiple of 64 bytes.
#[derive(Debug)]
pub struct Buffer<T> {
    /// The elements from `start` on, with slack before and after them.
    memory: Vec<T>,
    start: usize,
    length: usize,
}

impl<T: Copy> Buffer<T> {
    /// `length` elements, from `value`, in order. Every page is touched.
    pub fn from_fn(length: usize, filler: T, mut value: impl FnMut() -> T) -> Self {
        let mut memory = vec![filler; length + ALIGNMENT / size_of::<T>()];
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        memory[start..start + length].iter_mut().for_each(|place| *place = value());
        Buffer { memory, start, length }
    }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.memory[self.start..][..self.length]
    }
}

impl<T> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.memory[self.start..][..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_starts_on_a_cache_line_and_has_its_length() {
        for length in [0, 1, 63, 1000] {
            let mut next = 0;
            let buffer = Buffer::from_fn(length, 0u16, || {
                next += 1;
                next
            });
            assert_eq!(buffer.as_ptr() as usize % ALIGNMENT, 0);
            assert!(buffer.iter().copied().eq(1..=length as u16));
        }
    }
}
