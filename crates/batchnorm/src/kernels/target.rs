//! A slice that several threads write to, each where no other does.

use std::marker::PhantomData;
use std::ops::Range;

/// A mutable slice, shared.
///
/// The channels of an output lie between each other in memory, so threads that
/// take different channels cannot have slices of it that Rust knows to be apart.
pub struct Target<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: it stands for a `&mut [T]`, which goes to another thread where T does.
unsafe impl<T: Send> Send for Target<'_, T> {}
// SAFETY: through a shared reference, only `slice` gives access, and its callers
// promise that no two take the same element.
unsafe impl<T: Send> Sync for Target<'_, T> {}

impl<'a, T> Target<'a, T> {
    /// Over the whole of `slice`.
    pub fn new(slice: &'a mut [T]) -> Self {
        Target { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// Whether it starts at a multiple of so many bytes.
    pub fn is_aligned_to(&self, bytes: usize) -> bool {
        self.start.addr().is_multiple_of(bytes)
    }

    /// The elements of `range`, which must lie in the slice (checked).
    ///
    /// # Safety
    /// While the result lives, nobody else takes any of these elements.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)] // That is the point; see above.
    pub unsafe fn slice(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {}", self.len);
        // SAFETY: inside the slice that `new` was given, which is borrowed for 'a.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}
