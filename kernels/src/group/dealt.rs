//! Records dealt to parts of the hash space.
//!
//! A table of many groups misses the caches at every row, and one table of all groups per thread has to be
//! merged with the others in the end. So a table that has become large, and does not make rows many fewer,
//! hands its records over to a [`Dealt`] now and again and starts anew; in the end each part, of all threads,
//! is merged into a table that fits a near cache, by one thread alone.
//!
//! Invariants:
//! * a record's part is the highest bits of its key's hash, so equal keys meet in a part;
//! * records of a part stay in the order in which they came: what is merged from them in that order is the
//!   same at every run;
//! * a key may have any number of records;
//! * memory that was given back is kept for the next one where its owner allows that, up to a limit: fresh pages,
//!   which the system clears first, cost more than all that is done with the records. Who has a memory limit does
//!   not allow it, since nobody would count those bytes, and gives back what others have left;
//! * long strings that records point at live in the arenas kept here.

use super::memory::Words;
use super::text::TextArena;
use super::{GroupTable, TableShape, hash_words};
use std::sync::Mutex;

/// Bytes of a block of records of one part.
const BLOCK_BYTES: usize = 16 << 10;
/// Blocks are cut from memory of this size, large enough for large pages.
const SLAB_BYTES: usize = 8 << 20;
/// How much of it is kept for later.
const MOST_SPARE: usize = (384 << 20) / SLAB_BYTES;

static SPARE: Mutex<Vec<Words>> = Mutex::new(Vec::new());

fn slab(words: usize) -> Words {
    let spare = SPARE.lock().ok().and_then(|mut spare| spare.pop());
    spare.filter(|s| s.len() == words).unwrap_or_else(|| Words::unwritten(words))
}

impl Drop for Dealt {
    fn drop(&mut self) {
        let Ok(mut spare) = SPARE.lock() else { return };
        if !self.keep {
            spare.clear();
            return;
        }
        for slab in self.slabs.drain(..) {
            // Records of some kilobytes have larger ones.
            if spare.len() < MOST_SPARE && slab.bytes() == SLAB_BYTES {
                spare.push(slab);
            }
        }
    }
}

/// The records of one part: runs of some length.
#[derive(Debug)]
struct Part {
    runs: Vec<(*const u64, usize)>,
    /// Where the next record goes, and how many more there is room for.
    at: *mut u64,
    room: usize,
    records: usize,
}

#[derive(Debug)]
pub struct Dealt {
    words: usize,
    stride: usize,
    parts: Vec<Part>,
    slabs: Vec<Words>,
    /// Words of the last slab that are in use.
    used: usize,
    texts: Vec<TextArena>,
    /// Whether memory is kept for later when this is dropped.
    keep: bool,
}

// SAFETY: the pointers point into slabs and arenas that it owns.
unsafe impl Send for Dealt {}
// SAFETY: shared references only read.
unsafe impl Sync for Dealt {}

impl Dealt {
    /// `parts` is a power of two; `keep` says whether its memory may outlive it.
    pub fn new(shape: &TableShape, parts: usize, keep: bool) -> Dealt {
        debug_assert!(parts.is_power_of_two());
        let part = |_| Part { runs: vec![], at: std::ptr::null_mut(), room: 0, records: 0 };
        Dealt {
            words: shape.words,
            stride: shape.record_words(),
            parts: (0..parts).map(part).collect(),
            slabs: vec![],
            used: 0,
            texts: vec![],
            keep,
        }
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.slabs.iter().map(Words::bytes).sum::<usize>()
            + self.texts.iter().map(TextArena::bytes).sum::<usize>()
    }

    /// Bytes that so many more records may add, texts aside.
    pub fn growth(&self, records: usize) -> usize {
        let bytes = records * self.stride * size_of::<u64>();
        // Every part may begin a block.
        let most = bytes + self.parts.len() * self.block_records() * self.stride * size_of::<u64>();
        let left = self.slabs.last().map_or(0, |s| (s.len() - self.used) * size_of::<u64>());
        if most <= left { 0 } else { (most - left).next_multiple_of(self.slab_words() * size_of::<u64>()) }
    }

    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    pub fn records(&self) -> usize {
        self.parts.iter().map(|p| p.records).sum()
    }

    pub fn part_records(&self, part: usize) -> usize {
        self.parts[part].records
    }

    /// The runs of a part's records: where, and how many.
    pub(super) fn runs(&self, part: usize) -> impl Iterator<Item = (*const u64, usize)> + '_ {
        let part = &self.parts[part];
        let last = part.runs.len().wrapping_sub(1);
        let unused = part.room;
        part.runs.iter().enumerate().map(move |(i, (at, room))| {
            // The last block may not be full.
            (*at, if i == last { room - unused } else { *room })
        })
    }

    fn block_records(&self) -> usize {
        (BLOCK_BYTES / (self.stride.max(1) * size_of::<u64>())).max(1)
    }

    fn slab_words(&self) -> usize {
        (SLAB_BYTES / size_of::<u64>()).max(self.block_records() * self.stride)
    }

    /// Takes over all records of a table, which is empty afterwards and has the room it had.
    pub fn take(&mut self, table: &mut GroupTable) {
        table.fold();
        let shift = 64 - self.parts.len().trailing_zeros();
        for group in 0..table.len() {
            let record = table.record(group);
            let hash = hash_words(record[..self.words].iter().copied());
            let part = hash.checked_shr(shift).unwrap_or(0) as usize;
            if self.parts[part].room == 0 {
                self.begin_block(part);
            }
            let to = &mut self.parts[part];
            // SAFETY: the block has room for another record.
            unsafe {
                for (i, word) in record.iter().enumerate() {
                    *to.at.add(i) = *word;
                }
                to.at = to.at.add(self.stride);
            }
            to.room -= 1;
            to.records += 1;
        }
        if let Some(texts) = table.restart() {
            self.texts.push(texts);
        }
    }

    #[cold]
    fn begin_block(&mut self, part: usize) {
        let records = self.block_records();
        let words = records * self.stride;
        if self.slabs.last().is_none_or(|s| s.len() - self.used < words) {
            self.slabs.push(slab(self.slab_words()));
            self.used = 0;
        }
        if let Some(slab) = self.slabs.last() {
            let part = &mut self.parts[part];
            part.at = slab.as_ptr().wrapping_add(self.used);
            part.room = records;
            part.runs.push((part.at, records));
            self.used += words;
        }
    }
}
