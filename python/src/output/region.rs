//! Memory for one column of a result, which grows without being copied.
//!
//! On Linux a big region is pages of its own, which move to another address without their bytes being
//! copied. It is memory only where rows have been written, so a region may be made for more rows than
//! will come, and growing one does not need old and new memory at once. The pages asked for are huge
//! ones: touching a gigabyte for the first time is what most of a copy's time would go to.
//!
//! A region whose length is known and moderate comes from the heap instead, which has pages that were
//! touched before.
//!
//! Invariant: `start` is valid for `capacity` bytes, of which the first `length` are the region's.

use std::alloc::Layout;
use std::ptr::NonNull;

use crate::error::ResourceError;
use pyo3::PyErr;

/// What a growing region is at least.
const LEAST: usize = 64 * 1024;
/// Where a growing region leaves the heap.
const GROWN: usize = 1024 * 1024;
/// From this size on a region is never on the heap.
const BIG: usize = 32 * 1024 * 1024;

/// Growing memory.
#[derive(Debug)]
pub struct Region {
    start: NonNull<u8>,
    length: usize,
    capacity: usize,
    /// Whether it is pages of its own; else it is on the heap.
    pages: bool,
}

// SAFETY: a region owns its memory, as a Vec does.
unsafe impl Send for Region {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Region {}

/// There is no memory left.
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
        Region { start: NonNull::dangling(), length: 0, capacity: 0, pages: false }
    }

    /// A region of `bytes` bytes, to be written through [`Region::start`].
    pub fn with_length(bytes: usize) -> Result<Region, OutOfMemory> {
        let mut region = Region::new();
        region.resize(bytes, BIG)?;
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
            self.resize(needed.max(self.capacity + self.capacity / 2).max(LEAST), GROWN)?;
        }
        // SAFETY: `length` is at most `capacity`.
        let end = unsafe { self.start.as_ptr().add(self.length) };
        self.length = needed;
        Ok(end)
    }

    /// Makes it `bytes` bytes long; what is new is to be written by the caller.
    pub fn set_length(&mut self, bytes: usize) -> Result<(), OutOfMemory> {
        self.resize(bytes, GROWN)?;
        self.length = bytes;
        Ok(())
    }

    /// Moves the memory to a block of `bytes` bytes, pages from `big` bytes on; what was written moves
    /// along.
    fn resize(&mut self, bytes: usize, big: usize) -> Result<(), OutOfMemory> {
        if bytes == self.capacity || bytes == 0 {
            return Ok(());
        }
        let old = (self.start.as_ptr(), self.capacity);
        let pages = self.pages || (pages::THERE_ARE && bytes >= big);
        // SAFETY: `old` is this region's block, of the kind that `self.pages` says; nobody uses it after
        // it has been moved or freed. What is copied lies in both blocks.
        let new = unsafe {
            match (self.pages, pages) {
                (true, _) => pages::resize(old, bytes),
                (false, false) => heap::resize(old, bytes),
                (false, true) => pages::map(bytes).inspect(|new| {
                    std::ptr::copy_nonoverlapping(old.0, new.as_ptr(), self.length.min(bytes));
                    heap::free(old);
                }),
            }
        };
        self.start = new.ok_or(OutOfMemory { bytes })?;
        self.capacity = bytes;
        self.pages = pages;
        Ok(())
    }

    /// Gives the memory of some bytes back to the system; they read as zeros afterwards.
    pub fn release(&mut self, from: usize, to: usize) {
        assert!(from <= to && to <= self.length, "only what is there can be given back");
        if self.pages {
            // SAFETY: the bytes are part of this region's pages, and zeros are bytes too.
            unsafe { pages::release(self.start.as_ptr().add(from), to - from) };
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let block = (self.start.as_ptr(), self.capacity);
        // SAFETY: this is the region's block, of that kind, and nobody uses it any more.
        unsafe { if self.pages { pages::unmap(block) } else { heap::free(block) } };
    }
}

/// An address and a number of bytes; no bytes are no block.
type Block = (*mut u8, usize);

/// Blocks of the global allocator, aligned for every type.
mod heap {
    use super::{Block, Layout, NonNull};

    fn layout(bytes: usize) -> Option<Layout> {
        Layout::from_size_align(bytes, 64).ok()
    }

    /// # Safety
    /// The block is one of this module's, and is not used afterwards if another comes back.
    pub unsafe fn resize(old: Block, bytes: usize) -> Option<NonNull<u8>> {
        // SAFETY: promised by the caller; `bytes` is not 0.
        NonNull::new(unsafe {
            match old.1 {
                0 => std::alloc::alloc(layout(bytes)?),
                _ => std::alloc::realloc(old.0, layout(old.1)?, layout(bytes)?.size()),
            }
        })
    }

    /// # Safety
    /// The block is one of this module's, and is not used afterwards.
    pub unsafe fn free(old: Block) {
        if let (1.., Some(layout)) = (old.1, layout(old.1)) {
            // SAFETY: promised by the caller.
            unsafe { std::alloc::dealloc(old.0, layout) };
        }
    }
}

/// Blocks that are pages of the system.
#[cfg(target_os = "linux")]
mod pages {
    use super::{Block, NonNull};
    use std::ptr::null_mut;

    pub const THERE_ARE: bool = true;
    const PAGE: usize = 4096;

    /// # Safety
    /// None is needed.
    pub unsafe fn map(bytes: usize) -> Option<NonNull<u8>> {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: new pages, wherever there is room.
        let start = unsafe { libc::mmap(null_mut(), bytes.next_multiple_of(PAGE), access, kind, -1, 0) };
        huge(start, bytes)
    }

    /// # Safety
    /// The block is one of this module's, and is not used afterwards if another comes back.
    pub unsafe fn resize(old: Block, bytes: usize) -> Option<NonNull<u8>> {
        let (from, to) = (old.1.next_multiple_of(PAGE), bytes.next_multiple_of(PAGE));
        // SAFETY: promised by the caller.
        let start = unsafe { libc::mremap(old.0.cast(), from, to, libc::MREMAP_MAYMOVE) };
        huge(start, bytes)
    }

    /// # Safety
    /// The block is one of this module's, and is not used afterwards.
    pub unsafe fn unmap(old: Block) {
        // SAFETY: these are all pages of the block.
        unsafe { libc::munmap(old.0.cast(), old.1.next_multiple_of(PAGE)) };
    }

    /// Gives the whole pages among some bytes back; they are zeros afterwards.
    ///
    /// # Safety
    /// The bytes are part of a block.
    pub unsafe fn release(start: *mut u8, bytes: usize) {
        let first = (start as usize).next_multiple_of(PAGE);
        let end = (start as usize + bytes) & !(PAGE - 1);
        if end > first {
            // SAFETY: the pages hold nothing but bytes of the block.
            unsafe { libc::madvise(first as *mut _, end - first, libc::MADV_DONTNEED) };
        }
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

/// No pages: everything is on the heap, and none of these is called.
#[cfg(not(target_os = "linux"))]
mod pages {
    use super::{Block, NonNull};

    pub const THERE_ARE: bool = false;

    pub unsafe fn map(_bytes: usize) -> Option<NonNull<u8>> {
        None
    }

    pub unsafe fn resize(_old: Block, _bytes: usize) -> Option<NonNull<u8>> {
        None
    }

    pub unsafe fn unmap(_old: Block) {}

    pub unsafe fn release(_start: *mut u8, _bytes: usize) {}
}
