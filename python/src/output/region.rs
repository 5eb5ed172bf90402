//! Memory for one column of a result, which grows without being copied.
//!
//! On Linux a big region is pages of its own, which move to another address without their bytes being
//! copied. It is memory only where rows have been written, so a region may be made for more rows than
//! will come, and growing one does not need old and new memory at once. The pages asked for are huge
//! ones: touching a gigabyte for the first time is what most of a copy's time would go to.
//!
//! Invariant: `start` is valid for `capacity` bytes, and the first `length` bytes have been written.

use std::ptr::NonNull;

use crate::error::ResourceError;
use pyo3::PyErr;

/// What a region is at least, and grows by at least.
const LEAST: usize = 64 * 1024;

/// Growing memory.
#[derive(Debug)]
pub struct Region {
    start: NonNull<u8>,
    length: usize,
    capacity: usize,
}

// SAFETY: a region owns its memory, as a Vec does.
unsafe impl Send for Region {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Region {}

/// The C library has no memory left.
#[derive(Debug)]
pub struct OutOfMemory {
    bytes: usize,
}

impl From<OutOfMemory> for PyErr {
    fn from(error: OutOfMemory) -> PyErr {
        ResourceError::new_err(format!("no memory for {} bytes of a result's column", error.bytes))
    }
}

impl From<OutOfMemory> for fuseline::Error {
    fn from(error: OutOfMemory) -> Self {
        Self::Resources { message: format!("no memory for {} bytes of a result's column", error.bytes) }
    }
}

impl Region {
    /// A region without memory.
    pub fn new() -> Region {
        Region { start: NonNull::dangling(), length: 0, capacity: 0 }
    }

    /// A region of `bytes` bytes, to be written through [`Region::start`].
    pub fn with_length(bytes: usize) -> Result<Region, OutOfMemory> {
        let mut region = Region::new();
        region.resize(bytes)?;
        region.length = bytes;
        Ok(region)
    }

    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub fn len(&self) -> usize {
        self.length
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the first `length` bytes are valid and have been written.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    /// Adds `bytes` bytes and hands them over to be written; they are not yet.
    pub fn grow(&mut self, bytes: usize) -> Result<*mut u8, OutOfMemory> {
        let needed = self.length + bytes;
        if needed > self.capacity {
            self.resize(needed.max(self.capacity + self.capacity / 2).max(LEAST))?;
        }
        // SAFETY: `length` is at most `capacity`.
        let end = unsafe { self.start.as_ptr().add(self.length) };
        self.length = needed;
        Ok(end)
    }

    /// Makes it `bytes` bytes long; what is new is to be written by the caller.
    pub fn set_length(&mut self, bytes: usize) -> Result<(), OutOfMemory> {
        self.resize(bytes)?;
        self.length = bytes;
        Ok(())
    }

    /// Moves the memory to a block of `bytes` bytes; what was written moves along.
    fn resize(&mut self, bytes: usize) -> Result<(), OutOfMemory> {
        if bytes == self.capacity || bytes == 0 {
            return Ok(());
        }
        let old = (self.start.as_ptr(), self.capacity);
        let kept = self.length.min(bytes);
        // SAFETY: `old` is this region's block, which nobody uses after it has been moved.
        let new = unsafe { system::resize(old, bytes, kept) };
        self.start = new.ok_or(OutOfMemory { bytes })?;
        self.capacity = bytes;
        Ok(())
    }

    /// Gives the memory of some bytes back to the system; they read as zeros afterwards.
    pub fn release(&mut self, from: usize, to: usize) {
        assert!(from <= to && to <= self.length, "only what is there can be given back");
        // SAFETY: the bytes are part of this region, and zeros are bytes too.
        unsafe { system::release(self.start.as_ptr().add(from), to - from) };
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: this is the region's block, and nobody uses it any more.
        unsafe { system::free((self.start.as_ptr(), self.capacity)) };
    }
}

/// Blocks of memory. One of no bytes is no block.
mod system {
    use std::ptr::NonNull;

    type Block = (*mut u8, usize);

    /// From this size on a block is pages of its own.
    #[cfg(target_os = "linux")]
    const BIG: usize = 1024 * 1024;
    #[cfg(not(target_os = "linux"))]
    const BIG: usize = usize::MAX;
    #[cfg(target_os = "linux")]
    const PAGE: usize = 4096;

    /// Moves a block to one of `bytes` bytes and keeps its first `kept` bytes; `None` if there is no
    /// memory, and then the old block stays.
    ///
    /// # Safety
    /// The block is one of this module's and is not used afterwards, if another comes back.
    pub unsafe fn resize(old: Block, bytes: usize, kept: usize) -> Option<NonNull<u8>> {
        // SAFETY: promised by the caller; `kept` bytes lie in both blocks.
        unsafe {
            match (old.1 >= BIG, bytes >= BIG) {
                (false, false) => {
                    let old = if old.1 == 0 { std::ptr::null_mut() } else { old.0 };
                    NonNull::new(libc::realloc(old.cast(), bytes).cast())
                }
                (true, true) => pages::resize(old, bytes),
                (true, false) | (false, true) => {
                    let new = if bytes >= BIG {
                        pages::map(bytes)?
                    } else {
                        NonNull::new(libc::malloc(bytes).cast())?
                    };
                    std::ptr::copy_nonoverlapping(old.0, new.as_ptr(), kept);
                    free(old);
                    Some(new)
                }
            }
        }
    }

    /// # Safety
    /// The block is one of this module's and is not used afterwards.
    pub unsafe fn free(old: Block) {
        // SAFETY: promised by the caller.
        unsafe {
            match old.1 {
                0 => {}
                BIG.. => pages::unmap(old),
                _ => libc::free(old.0.cast()),
            }
        }
    }

    /// Gives the whole pages among some bytes back; they are zeros afterwards.
    ///
    /// # Safety
    /// The bytes are part of a block.
    #[cfg(target_os = "linux")]
    pub unsafe fn release(start: *mut u8, bytes: usize) {
        let first = (start as usize).next_multiple_of(PAGE);
        let end = (start as usize + bytes) & !(PAGE - 1);
        if end > first {
            // SAFETY: the pages hold nothing but bytes of the block.
            unsafe { libc::madvise(first as *mut _, end - first, libc::MADV_DONTNEED) };
        }
    }

    /// Does nothing: the memory is given back with the block.
    ///
    /// # Safety
    /// None is needed.
    #[cfg(not(target_os = "linux"))]
    pub unsafe fn release(_start: *mut u8, _bytes: usize) {}

    #[cfg(target_os = "linux")]
    mod pages {
        use super::{Block, PAGE};
        use std::ptr::{NonNull, null_mut};

        pub unsafe fn map(bytes: usize) -> Option<NonNull<u8>> {
            let (access, kind) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            // SAFETY: new pages, wherever there is room.
            let start = unsafe { libc::mmap(null_mut(), bytes.next_multiple_of(PAGE), access, kind, -1, 0) };
            huge(start, bytes)
        }

        pub unsafe fn resize(old: Block, bytes: usize) -> Option<NonNull<u8>> {
            let (from, to) = (old.1.next_multiple_of(PAGE), bytes.next_multiple_of(PAGE));
            // SAFETY: the caller gives up the old block if this succeeds.
            let start = unsafe { libc::mremap(old.0.cast(), from, to, libc::MREMAP_MAYMOVE) };
            huge(start, bytes)
        }

        pub unsafe fn unmap(old: Block) {
            // SAFETY: these are all pages of the block.
            unsafe { libc::munmap(old.0.cast(), old.1.next_multiple_of(PAGE)) };
        }

        /// Asks for huge pages.
        fn huge(start: *mut libc::c_void, bytes: usize) -> Option<NonNull<u8>> {
            if start == libc::MAP_FAILED {
                return None;
            }
            // SAFETY: the pages are ours; the advice changes no contents, and may be refused.
            unsafe { libc::madvise(start, bytes.next_multiple_of(PAGE), libc::MADV_HUGEPAGE) };
            NonNull::new(start.cast())
        }
    }

    /// Never called: there are no big blocks.
    #[cfg(not(target_os = "linux"))]
    mod pages {
        use super::Block;
        use std::ptr::NonNull;

        pub unsafe fn map(_bytes: usize) -> Option<NonNull<u8>> {
            None
        }

        pub unsafe fn resize(_old: Block, _bytes: usize) -> Option<NonNull<u8>> {
            None
        }

        pub unsafe fn unmap(_old: Block) {}
    }
}
