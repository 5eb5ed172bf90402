//! Regions: memory files that this process and one worker have both mapped.
//!
//! Arguments go into one region, which is written again at each call unless the function kept a view
//! of it. Results come in another one each: the Arrow arrays over it keep it away from the worker,
//! and when the last of them is dropped it goes back to the worker's [`Shelf`] to be used again.
//!
//! Invariant: the worker writes to a result region only between the request that names it and the
//! answer; in that time no array lies over it.

use super::sys::{self, Mapping};
use arrow::buffer::Buffer;
use parking_lot::Mutex;
use std::fs::File;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// Regions grow by doubling from here.
const SMALLEST: usize = 64 << 10;
/// Bytes of free result regions that a worker keeps, at most. The pages of a fresh region cost more
/// than what is written to them.
const MOST_KEPT: usize = 32 << 20;
/// Result regions of one worker that arrays may hold. Results beyond are copied out, so that a result
/// that is collected whole does not pin hundreds of descriptors and mappings in the worker.
const MOST_HELD: usize = 32;

/// Memory shared with a worker.
#[derive(Debug)]
pub struct Region {
    /// Its name in requests; never used twice in a process.
    pub id: u64,
    pub mapping: Mapping,
}

impl Region {
    /// A region of at least `bytes`, and the file that the worker has to get.
    pub fn new(bytes: usize) -> io::Result<(Region, File)> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let len = room_for(bytes);
        let file = sys::memory_file(c"fuseline")?;
        file.set_len(len as u64)?;
        sys::seal_against_shrinking(&file)?;
        let mapping = Mapping::new(&file, len)?;
        Ok((Region { id: NEXT.fetch_add(1, Ordering::Relaxed), mapping }, file))
    }
}

/// The size of a region for so many bytes.
fn room_for(bytes: usize) -> usize {
    bytes.max(SMALLEST).checked_next_power_of_two().unwrap_or(bytes)
}

/// One worker's result regions.
#[derive(Debug, Default)]
pub struct Shelf {
    free: Mutex<Vec<Region>>,
    /// Regions under arrays.
    held: AtomicUsize,
    /// Regions that the worker can forget.
    gone: Mutex<Vec<u64>>,
}

impl Shelf {
    /// A region for a result; with its file if the worker does not know it yet.
    pub fn take(&self, bytes: usize) -> io::Result<(Region, Option<File>)> {
        let found = self.free.lock().pop();
        match found {
            Some(region) => Ok((region, None)),
            None => Region::new(bytes).map(|(region, file)| (region, Some(file))),
        }
    }

    /// Puts a region back that no array lies over.
    pub fn put(&self, region: Region) {
        let mut free = self.free.lock();
        let kept: usize = free.iter().map(|r| r.mapping.len()).sum();
        if kept + region.mapping.len() <= MOST_KEPT {
            free.push(region);
        } else {
            self.gone.lock().push(region.id);
        }
    }

    /// Says that the worker can forget a region.
    pub fn forget(&self, id: u64) {
        self.gone.lock().push(id);
    }

    /// The regions that the worker can forget, each once.
    pub fn take_gone(&self) -> Vec<u64> {
        std::mem::take(&mut *self.gone.lock())
    }

    /// Whether arrays may hold one more region.
    pub fn may_hold(&self) -> bool {
        self.held.load(Ordering::Relaxed) < MOST_HELD
    }

    /// A buffer over the first `len` bytes of a region that the worker has written.
    pub fn hold(self: &Arc<Self>, region: Region, len: usize) -> Buffer {
        let len = len.min(region.mapping.len());
        let start = region.mapping.start();
        self.held.fetch_add(1, Ordering::Relaxed);
        let hold = Hold(AssertUnwindSafe(Held { region: Some(region), shelf: Arc::downgrade(self) }));
        // SAFETY: `start` is the address of `len` mapped bytes (the file cannot shrink), and they stay
        // mapped and unwritten until `hold`, which the buffer owns, is dropped.
        unsafe { Buffer::from_custom_allocation(start, len, Arc::new(hold)) }
    }
}

/// Owns a region for the arrays over it. Arrow asks of an owner that it is unwind safe: this one is
/// only ever dropped.
struct Hold(#[allow(dead_code, reason = "owned for its drop")] AssertUnwindSafe<Held>);

struct Held {
    region: Option<Region>,
    shelf: Weak<Shelf>,
}

impl Drop for Held {
    fn drop(&mut self) {
        // Without a shelf the worker has ended, and the region ends here.
        if let (Some(shelf), Some(region)) = (self.shelf.upgrade(), self.region.take()) {
            shelf.held.fetch_sub(1, Ordering::Relaxed);
            shelf.put(region);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_comes_back_when_the_last_array_is_dropped() {
        let shelf = Arc::new(Shelf::default());
        let (mut region, file) = shelf.take(100).unwrap();
        assert!(file.is_some());
        region.mapping.write(0, b"abcd");
        let id = region.id;
        let buffer = shelf.hold(region, 4);
        let part = buffer.slice(2);
        drop(buffer);
        let (other, _) = shelf.take(1).unwrap();
        assert_ne!(other.id, id, "the region is still held");
        assert_eq!(part.as_slice(), b"cd");
        drop(part);
        let (again, file) = shelf.take(1).unwrap();
        assert_eq!((again.id, file.is_none()), (id, true));
    }

    #[test]
    fn arrays_outlive_the_worker() {
        let shelf = Arc::new(Shelf::default());
        let (mut region, _file) = shelf.take(1 << 20).unwrap();
        region.mapping.write(5, b"x");
        let buffer = shelf.hold(region, 6);
        drop(shelf);
        assert_eq!(buffer.as_slice()[5], b'x');
    }

    #[test]
    fn free_regions_are_kept_up_to_a_size() {
        let shelf = Shelf::default();
        let regions: Vec<Region> = (0..6).map(|_| shelf.take(MOST_KEPT / 4).unwrap().0).collect();
        for region in regions {
            shelf.put(region);
        }
        assert_eq!(shelf.take_gone().len(), 2);
        assert_eq!(shelf.take_gone().len(), 0);
        let large = Region::new(MOST_KEPT + 1).unwrap().0;
        let id = large.id;
        shelf.put(large);
        assert_eq!(shelf.take_gone(), [id]);
    }

    #[test]
    fn a_file_that_grew_is_mapped_again() {
        let (mut region, file) = Region::new(1).unwrap();
        region.mapping.write(0, b"first");
        file.set_len(1 << 22).unwrap();
        region.mapping.grow(1 << 22).unwrap();
        region.mapping.write((1 << 22) - 4, b"last");
        let shelf = Arc::new(Shelf::default());
        let buffer = shelf.hold(region, 1 << 22);
        assert_eq!((&buffer[..5], &buffer[(1 << 22) - 4..]), (&b"first"[..], &b"last"[..]));
        assert!(file.set_len(1).is_err(), "sealed");
    }
}
