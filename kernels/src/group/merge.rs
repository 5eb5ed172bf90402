//! Merging: the records of a table, or those dealt to a part, into a table.
//!
//! The result of each cell is the state that was there followed by what comes, in the order of the records, so
//! a float sum follows from the order of merging alone.

use super::memory::prefetch;
use super::{Dealt, GroupTable, hash_words};

/// Records whose hashes are computed, and whose slots are asked for, together.
const AHEAD: usize = 32;

impl GroupTable {
    /// Merges the groups of another table, which was folded, into this one.
    ///
    /// # Panics
    /// If the tables have different shapes or there are more groups than numbers.
    pub fn merge(&mut self, other: &GroupTable) {
        assert_eq!(self.shape, other.shape);
        self.fold();
        // SAFETY: the other table has `len` records of this shape, whose strings live in its arena.
        unsafe { self.merge_records(other.record(0).as_ptr(), other.len()) };
    }

    /// Merges a part's records into this table, which is not dense.
    ///
    /// # Panics
    /// If there are more groups than numbers.
    pub fn merge_part(&mut self, dealt: &Dealt, part: usize) {
        self.fold();
        for (at, count) in dealt.runs(part) {
            // SAFETY: a run has so many records; their strings live in the arenas beside it.
            unsafe { self.merge_records(at, count) };
        }
    }

    /// The groups so far as a table that is only read. This one starts anew, and keeps the room of its index.
    pub fn take_part(&mut self) -> GroupTable {
        self.fold();
        self.hand_over()
    }

    unsafe fn merge_records(&mut self, at: *const u64, count: usize) {
        // SAFETY: the caller's promise; the number of words is the shape's.
        unsafe {
            match self.shape.words {
                1 => self.merge_words::<1>(at, count),
                2 => self.merge_words::<2>(at, count),
                3 => self.merge_words::<3>(at, count),
                _more => self.merge_words::<0>(at, count),
            }
        }
    }

    /// With the number of compared words known, or 0.
    unsafe fn merge_words<const WORDS: usize>(&mut self, at: *const u64, count: usize) {
        let words = if WORDS == 0 { self.shape.words } else { WORDS };
        let cells = self.shape.cells.clone();
        let mut hashes = [0u64; AHEAD];
        for first in (0..count).step_by(AHEAD) {
            let some = AHEAD.min(count - first);
            for (i, hash) in hashes[..some].iter_mut().enumerate() {
                // SAFETY: the caller's promise.
                let key = unsafe { std::slice::from_raw_parts(at.add((first + i) * self.stride), words) };
                *hash = hash_words(key.iter().copied());
                prefetch(self.slot_of(*hash));
            }
            for (i, hash) in hashes[..some].iter().enumerate() {
                // SAFETY: the caller's promise: a record starts with a packed key.
                let from = unsafe { at.add((first + i) * self.stride) };
                let into = if self.is_dense() {
                    // SAFETY: as above.
                    unsafe { self.find_or_insert(from) }
                } else {
                    // SAFETY: as above.
                    unsafe { self.find_or_insert_hashed::<WORDS>(from, *hash) }
                };
                let Some(into) = into else { panic!("too many groups") };
                let to = self.cells_for(into, 0).as_mut_ptr();
                for cell in &cells {
                    // SAFETY: records of different memory.
                    unsafe {
                        cell.merge(to, from);
                        if cell.kind.is_text() {
                            self.own_text(*cell, to, from);
                        }
                    }
                }
            }
        }
    }
}
