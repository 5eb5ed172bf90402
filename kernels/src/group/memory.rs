//! Zeroed memory of a hash table: words that are all 0 until written, in large pages where that pays.
//!
//! A table of millions of groups is touched at random, one line per row. With pages of 4 kB most of those
//! touches also miss the address translation; memory of several megabytes is therefore aligned to large
//! pages and the kernel is asked for them. It need not give them: nothing but speed depends on it.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// From this size on large pages are asked for.
const LARGE: usize = 4 << 20;
const LARGE_PAGE: usize = 2 << 20;

/// An array of words; zero when made.
#[derive(Debug)]
pub(crate) struct Words {
    at: NonNull<u64>,
    len: usize,
}

// SAFETY: it owns plain memory.
unsafe impl Send for Words {}
// SAFETY: shared references only read.
unsafe impl Sync for Words {}

impl Words {
    /// `len` words, all 0.
    pub fn zeroed(len: usize) -> Words {
        if len == 0 {
            return Words { at: NonNull::dangling(), len };
        }
        let layout = layout(len);
        // SAFETY: the layout's size is not 0.
        let at = unsafe { alloc_zeroed(layout) };
        let Some(at) = NonNull::new(at.cast::<u64>()) else { handle_alloc_error(layout) };
        if layout.size() >= LARGE {
            advise(at, layout.size());
        }
        Words { at, len }
    }

    /// `len` words, to be written before they are read.
    pub fn unwritten(len: usize) -> Words {
        if len == 0 {
            return Words::zeroed(0);
        }
        let layout = layout(len);
        // SAFETY: the layout's size is not 0.
        let at = unsafe { alloc(layout) };
        let Some(at) = NonNull::new(at.cast::<u64>()) else { handle_alloc_error(layout) };
        if layout.size() >= LARGE {
            advise(at, layout.size());
        }
        Words { at, len }
    }

    /// Makes all words 0 again.
    pub fn clear(&mut self) {
        // SAFETY: it has as many words.
        unsafe { self.at.write_bytes(0, self.len) };
    }

    /// A copy with room for `len` words, which is no fewer; what is added is 0.
    pub fn grown(&self, len: usize) -> Words {
        debug_assert!(len >= self.len);
        let new = Words::zeroed(len);
        // SAFETY: both hold `self.len` words and belong to different allocations.
        unsafe { new.at.copy_from_nonoverlapping(self.at, self.len.min(len)) };
        new
    }

    pub fn as_ptr(&self) -> *mut u64 {
        self.at.as_ptr()
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn bytes(&self) -> usize {
        self.len * size_of::<u64>()
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: allocated in `zeroed` with this very layout.
            unsafe { dealloc(self.at.as_ptr().cast(), layout(self.len)) }
        }
    }
}

fn layout(len: usize) -> Layout {
    let Some(size) = len.checked_mul(size_of::<u64>()) else { handle_alloc_error(Layout::new::<u64>()) };
    let align = if size >= LARGE { LARGE_PAGE } else { 64 };
    match Layout::from_size_align(size, align) {
        Ok(layout) => layout,
        // More than the address space holds.
        Err(_) => handle_alloc_error(Layout::new::<u64>()),
    }
}

#[cfg(target_os = "linux")]
fn advise(at: NonNull<u64>, bytes: usize) {
    // SAFETY: the range is ours, and the advice changes nothing that can be read.
    unsafe { libc::madvise(at.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn advise(_at: NonNull<u64>, _bytes: usize) {}

/// Asks the processor for the line at an address that may be anything.
#[inline(always)]
pub(crate) fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = at;
    }
}
