//! The table: records by number, and an index from keys to numbers.
//!
//! Invariants:
//! * a group's number is its position in the order of insertion, and never changes;
//! * record 0 can always be read, also before there is a group, so that code may look at the record of
//!   an empty slot (whose number is 0) before it knows better;
//! * at most [`MOST_LOAD`] of the slots are taken, so a search ends, and nearly always in the first two of
//!   its slots, which is as far as generated code looks; behind the last slot lies one that stays empty, so
//!   that it may look there too;
//! * while `copies` is set, every copy of a record has started cells, and only copy 0 has keys;
//! * the index is either dense or hashed; once hashed, it stays so;
//! * what [`super::direct`] has accumulated is not in the records, and its groups need not be in the index, until
//!   [`GroupTable::fold`].
//!
//! Order of float additions: rows of a chunk by position modulo [`RECORD_COPIES`] while there are few
//! groups, in order afterwards; [`GroupTable::fold`] adds the copies up. Rows that went by value are added when
//! their places are given up. All of it follows from the rows and their order alone.

use super::dense::Dense;
use super::direct::Direct;
use super::memory::{Words, prefetch};
use super::text::{TextArena, is_long, long_equal};
use super::{Cell, CellKind, Dealt, TableShape, read_text};
use crate::abi::{GroupRef, RECORD_COPIES};

/// Bytes that the copies of all records may take: half of a first-level cache.
const COPIES_BYTES: usize = 16 << 10;
/// Index and records beyond this size are prefetched.
const NEAR_BYTES: usize = 256 << 10;
/// Taken slots, of 8.
const MOST_LOAD: usize = 3;
const FIRST_SLOTS: usize = 1024;
const FACTOR: u64 = 0xD6E8_FEB8_6659_FD93;

/// The hash of a packed key. Generated code computes the same.
#[inline(always)]
pub fn hash_words(words: impl Iterator<Item = u64>) -> u64 {
    words.fold(0, |h, w| {
        let x = h ^ w;
        (x ^ x >> 32).wrapping_mul(FACTOR)
    })
}

/// The lowest bit of a hash that chooses a slot. Below it lie those that the low bits of the last word
/// decide alone; the highest ones choose the part in a merge and, with others, make the tag.
pub const SLOT_SHIFT: u32 = 24;

#[inline(always)]
fn first_slot(hash: u64, mask: usize) -> usize {
    (hash >> SLOT_SHIFT) as usize & mask
}

/// The factor of [`hash_words`].
pub const fn hash_factor() -> u64 {
    FACTOR
}

/// The high half of a slot.
#[inline(always)]
fn tag(hash: u64) -> u64 {
    hash >> 32 | 1
}

/// A table of groups.
#[derive(Debug)]
#[repr(C)]
pub struct GroupTable {
    /// What generated code reads; first, so that a pointer to the table is a pointer to it.
    view: GroupRef,
    pub(super) shape: TableShape,
    pub(super) stride: usize,
    len: usize,
    /// Groups that the records have room for, in each copy.
    room: usize,
    copies: bool,
    /// Keys are not looked up: each gets a record, known or not.
    append: bool,
    records: Words,
    /// One more than there are.
    slots: Words,
    dense: Option<Dense>,
    direct: Option<Direct>,
    texts: TextArena,
    /// A new group's cells.
    start: Vec<u64>,
}

// SAFETY: the pointers in `view` point into memory that the table owns, or copies of long strings in its
// own arena.
unsafe impl Send for GroupTable {}
// SAFETY: shared references only read.
unsafe impl Sync for GroupTable {}

impl GroupTable {
    /// An empty table. Keys that are one integer are indexed by value while their range has at most
    /// `dense_limit` values.
    pub fn new(shape: TableShape, dense_limit: usize) -> GroupTable {
        let stride = shape.record_words();
        let few = COPIES_BYTES / (RECORD_COPIES * stride * size_of::<u64>());
        let dense = (shape.integer && dense_limit > 0).then(|| Dense::new(dense_limit));
        let start =
            shape.cells.iter().flat_map(|c| c.kind.start().into_iter().take(c.kind.words())).collect();
        GroupTable {
            view: GroupRef {
                slots: std::ptr::null(),
                mask: 0,
                dense: std::ptr::null(),
                dense_base: 0,
                dense_len: 0,
                records: [std::ptr::null_mut(); RECORD_COPIES],
                far: 0,
                append: 0,
                direct: [std::ptr::null_mut(); RECORD_COPIES],
                present: std::ptr::null_mut(),
            },
            stride,
            len: 0,
            room: few.max(1),
            copies: few > 0,
            append: false,
            records: Words::zeroed(RECORD_COPIES * few.max(1) * stride),
            slots: Words::zeroed(1 + if dense.is_some() { 1 } else { FIRST_SLOTS }),
            dense,
            direct: None,
            texts: TextArena::default(),
            shape,
            start,
        }
    }

    pub fn shape(&self) -> &TableShape {
        &self.shape
    }

    /// Groups that have records.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        let dense = self.dense.as_ref().map_or(0, Dense::bytes);
        let direct = self.direct.as_ref().map_or(0, Direct::bytes);
        self.records.bytes() + self.slots.bytes() + dense + direct + self.texts.bytes()
    }

    /// Bytes that `more` new groups may add at most, texts aside.
    pub fn growth(&self, more: usize) -> usize {
        let direct = if self.dense.is_some() { Direct::most_bytes() } else { 0 };
        let len = self.len + more + self.direct.as_ref().map_or(0, Direct::places);
        let records = if len <= self.room { 0 } else { 2 * len * self.stride * size_of::<u64>() };
        let slots = if self.dense.is_none() && len * 8 <= (self.slots.len() - 1) * MOST_LOAD {
            0
        } else {
            slots_for(len) * size_of::<u64>()
        };
        records + slots + direct
    }

    /// What compiled code is given. It stays true until something is inserted.
    pub fn view(&mut self) -> *mut GroupRef {
        self.refresh();
        (&raw mut *self).cast()
    }

    /// The record of a group; its cells are final after [`GroupTable::fold`].
    #[inline(always)]
    pub fn record(&self, group: usize) -> &[u64] {
        debug_assert!(group < self.len.max(1));
        // SAFETY: copy 0 has `room` records of `stride` words, of which `len` are in use.
        unsafe { std::slice::from_raw_parts(self.records.as_ptr().add(group * self.stride), self.stride) }
    }

    /// The words of a group's record that a row of this position in its chunk updates.
    pub fn cells_for(&mut self, group: usize, row: usize) -> &mut [u64] {
        debug_assert!(group < self.len);
        let copy = if self.copies { (row % RECORD_COPIES) * self.room } else { 0 };
        // SAFETY: every copy has `room` records of `stride` words.
        unsafe {
            let at = self.records.as_ptr().add((copy + group) * self.stride);
            std::slice::from_raw_parts_mut(at, self.stride)
        }
    }

    /// The hash of a group's key.
    #[inline(always)]
    pub fn hash_of(&self, group: usize) -> u64 {
        hash_words(self.record(group)[..self.shape.words].iter().copied())
    }

    /// Offers a text to the cell of a minimum or maximum at a word of a group's record: the table keeps a copy of
    /// the one that comes first.
    pub fn offer_text(&mut self, group: usize, kind: CellKind, word: usize, text: &[u8]) {
        debug_assert!(group < self.len);
        // SAFETY: copy 0 has this record, the shape says that the cell has two words, and what it points at is in
        // this table's arena.
        unsafe {
            let at = self.records.as_ptr().add(group * self.stride + word);
            match read_text(at) {
                Some(kept) if !kind.prefers(text, kept) => return,
                // Nobody else points there, and it is long enough.
                Some(kept) if kept.len() >= text.len() => {
                    (*at.add(1) as *mut u8).copy_from_nonoverlapping(text.as_ptr(), text.len());
                }
                Some(_) | None => *at.add(1) = self.texts.keep(text) as u64,
            }
            *at = text.len() as u64 + 1;
        }
    }

    /// Makes a cell's text, which a record of another table has lent it, this table's own.
    ///
    /// # Safety
    /// The record is this table's; the text is alive.
    #[inline(always)]
    pub(super) unsafe fn own_text(&mut self, cell: Cell, record: *mut u64, lent: *const u64) {
        // SAFETY: the caller's promise.
        unsafe {
            let (at, lent) = (record.add(cell.word), lent.add(cell.word));
            if *at.add(1) == *lent.add(1)
                && let Some(text) = read_text(at)
            {
                *at.add(1) = self.texts.keep(text) as u64;
            }
        }
    }

    /// The group that the index by value has for a key.
    pub fn known_value(&self, value: u64, null: bool) -> Option<usize> {
        self.dense.as_ref()?.get(value, null)
    }

    /// The place of a row's key in the cells by value, if there are such and it has one.
    pub fn direct_place(&self, value: u64, null: bool) -> Option<usize> {
        self.direct.as_ref()?.place(value, null)
    }

    /// The cells by value that a row of this position in its chunk updates, without the words of a key before
    /// them.
    pub fn direct_cells(&mut self, place: usize, row: usize) -> Option<&mut [u64]> {
        Some(self.direct.as_mut()?.cells_for(place, row))
    }

    /// Gives the cells by value up: their groups get records, if they have none, and what they hold.
    fn leave_direct(&mut self) {
        let Some(direct) = self.direct.take() else { return };
        let key_words = self.shape.key_words();
        let cells = self.shape.cells.clone();
        for (place, value, null) in direct.keys() {
            let key = [value, u64::from(null)];
            // SAFETY: the key of an integer has one word, or two.
            let Some(group) = (unsafe { self.find_or_insert(key.as_ptr()) }) else {
                // There are fewer places than numbers, and the range is one that the index holds.
                unreachable!("a small range has too many groups");
            };
            // SAFETY: a group's record has these cells; places are memory of their own.
            unsafe {
                let record = self.records.as_ptr().add(group * self.stride);
                direct.merge_into(record, &cells, key_words, place);
            }
        }
    }

    /// Adds up into the records all that was accumulated elsewhere; the table can go on.
    pub fn fold(&mut self) {
        self.leave_direct();
        self.fold_copies();
    }

    fn fold_copies(&mut self) {
        if !self.copies {
            return;
        }
        let (room, stride, key) = (self.room, self.stride, self.shape.key_words());
        let records = self.records.as_ptr();
        let merge = |cells: &[Cell], group: usize, into: usize, from: usize| {
            for cell in cells {
                // SAFETY: these are records of two copies.
                unsafe {
                    cell.merge(
                        records.add((into * room + group) * stride),
                        records.add((from * room + group) * stride),
                    );
                }
            }
        };
        for group in 0..self.len {
            merge(&self.shape.cells, group, 0, 1);
            merge(&self.shape.cells, group, 2, 3);
            merge(&self.shape.cells, group, 0, 2);
            for copy in 1..RECORD_COPIES {
                // SAFETY: the cells of a record of that copy.
                unsafe {
                    let cells = records.add((copy * room + group) * stride + key);
                    cells.copy_from_nonoverlapping(self.start.as_ptr(), self.start.len());
                }
            }
        }
    }

    /// The group of a packed key, made if there is none. `None`: there are as many as numbers.
    ///
    /// # Safety
    /// `key` has the shape's `key_words`, and its pointers point at living strings.
    pub unsafe fn find_or_insert(&mut self, key: *const u64) -> Option<usize> {
        // SAFETY: the caller's promise.
        let words = unsafe { std::slice::from_raw_parts(key, self.shape.words) };
        if self.dense.is_some() {
            let (value, null) = (words[0], words.get(1).is_some_and(|n| *n != 0));
            if let Some(dense) = &mut self.dense
                && (null || dense.reach(value, value, self.len))
            {
                if let Some(group) = dense.get(value, null) {
                    return Some(group);
                }
                // SAFETY: the caller's promise.
                let group = unsafe { self.push(key)? };
                if let Some(dense) = &mut self.dense {
                    dense.set(value, null, group);
                }
                return Some(group);
            }
            self.leave_dense();
        }
        if self.append {
            // SAFETY: the caller's promise.
            return unsafe { self.push(key) };
        }
        let hash = hash_words(words.iter().copied());
        // SAFETY: the caller's promise.
        unsafe { self.find_or_insert_hashed::<0>(key, hash) }
    }

    /// As [`GroupTable::find_or_insert`] in a table that hashes, for a key of `WORDS` compared words (0: any
    /// number) whose hash is known.
    #[inline(always)]
    pub(super) unsafe fn find_or_insert_hashed<const WORDS: usize>(
        &mut self,
        key: *const u64,
        hash: u64,
    ) -> Option<usize> {
        // SAFETY: the caller's promise.
        match unsafe { self.search::<WORDS>(key, hash) } {
            Ok(group) => Some(group),
            Err(slot) => {
                // SAFETY: the caller's promise.
                let group = unsafe { self.push(key)? };
                if self.len * 8 > (self.slots.len() - 1) * MOST_LOAD {
                    self.index(slots_for(self.len + 1));
                } else {
                    // SAFETY: the search ended inside the slots.
                    unsafe { *self.slots.as_ptr().add(slot) = tag(hash) << 32 | group as u64 };
                }
                Some(group)
            }
        }
    }

    /// Whether integers are found by value.
    pub fn is_dense(&self) -> bool {
        self.dense.is_some()
    }

    /// Where the search for a hash begins.
    #[inline(always)]
    pub(super) fn slot_of(&self, hash: u64) -> *const u64 {
        self.slots.as_ptr().wrapping_add(first_slot(hash, self.slots.len() - 2))
    }

    /// Empties the table, which keeps its room; what its records pointed at comes back if there was
    /// something.
    pub(super) fn restart(&mut self) -> Option<TextArena> {
        self.len = 0;
        if !self.append {
            self.slots.clear();
        }
        self.dense = None;
        let texts = std::mem::take(&mut self.texts);
        (texts.bytes() > 0).then_some(texts)
    }

    /// From now on, until it is told otherwise, keys are not looked up: each gets a record of its own.
    /// The table is empty and hashes.
    pub fn append(&mut self, on: bool) {
        debug_assert!(self.len == 0 && self.dense.is_none());
        self.append = on;
    }

    /// The groups as a table that is only read; this one is empty and keeps its index's room.
    pub(super) fn hand_over(&mut self) -> GroupTable {
        let mut done = GroupTable::new(self.shape.clone(), 0);
        done.dense = None;
        done.copies = false;
        done.len = self.len;
        done.room = self.room;
        // As many records as the last part had are as many as the next may have.
        let records = Words::unwritten(self.records.len());
        done.records = std::mem::replace(&mut self.records, records);
        done.texts = std::mem::take(&mut self.texts);
        self.len = 0;
        self.slots.clear();
        done
    }

    /// A table of the records of a part, which is only read: it has no index, and keys may be in it several
    /// times. Its strings are those of `dealt`.
    pub fn of_part(shape: TableShape, dealt: &Dealt, part: usize) -> GroupTable {
        let mut table = GroupTable::new(shape, 0);
        (table.dense, table.copies) = (None, false);
        table.room = dealt.part_records(part).max(1);
        table.records = Words::unwritten(table.room * table.stride);
        for (at, count) in dealt.runs(part) {
            // SAFETY: the runs have as many records as the part, each of `stride` words.
            unsafe {
                let to = table.records.as_ptr().add(table.len * table.stride);
                to.copy_from_nonoverlapping(at, count * table.stride);
            }
            table.len += count;
        }
        table
    }

    /// Gives each of some keys, which lie one after the other, a record; their numbers are consecutive, and
    /// the first one comes back.
    ///
    /// # Safety
    /// As [`GroupTable::find_or_insert`].
    pub(super) unsafe fn push_all(&mut self, keys: *const u64, count: usize) -> Option<usize> {
        let first = self.len;
        for i in 0..count {
            // SAFETY: the caller's promise.
            unsafe { self.push(keys.add(i * self.shape.key_words()))? };
        }
        Some(first)
    }

    /// Makes room in the dense index for the values of some rows, or gives it up.
    ///
    /// # Safety
    /// `rows` has `count` entries, and at each there is a key in `keys`.
    pub(super) unsafe fn reach(&mut self, count: usize, rows: *const u16, keys: *const u64) {
        let key_words = self.shape.key_words();
        let Some(dense) = &mut self.dense else { return };
        let (mut least, mut most) = (i64::MAX, i64::MIN);
        for i in 0..count {
            // SAFETY: the caller's promise.
            unsafe {
                let key = keys.add(usize::from(*rows.add(i)) * key_words);
                if key_words == 1 || *key.add(1) == 0 {
                    least = least.min(*key as i64);
                    most = most.max(*key as i64);
                }
            }
        }
        if least <= most && !dense.reach(least as u64, most as u64, self.len) {
            self.leave_dense();
        }
    }

    /// Makes room for so many groups, which will be hashed.
    pub fn reserve(&mut self, groups: usize) {
        self.leave_dense();
        if groups > self.room {
            self.leave_copies();
            if groups > self.room {
                self.room = groups;
                self.records = self.records.grown(self.room * self.stride);
            }
        }
        if slots_for(groups) > self.slots.len() - 1 {
            self.index(slots_for(groups));
        }
    }

    /// Where a key is, or the empty slot where it belongs.
    #[inline(always)]
    unsafe fn search<const WORDS: usize>(&self, key: *const u64, hash: u64) -> Result<usize, usize> {
        let mask = self.slots.len() - 2;
        let mut at = first_slot(hash, mask);
        loop {
            // SAFETY: masked; and one slot is always empty.
            let slot = unsafe { *self.slots.as_ptr().add(at) };
            if slot == 0 {
                return Err(at);
            }
            let group = slot as u32 as usize;
            // SAFETY: the caller's promise; a slot's group exists.
            if slot >> 32 == tag(hash) & 0xFFFF_FFFF && unsafe { self.is_key::<WORDS>(group, key) } {
                return Ok(group);
            }
            at = (at + 1) & mask;
        }
    }

    /// Whether a group has this key.
    #[inline(always)]
    unsafe fn is_key<const WORDS: usize>(&self, group: usize, key: *const u64) -> bool {
        let words = if WORDS == 0 { self.shape.words } else { WORDS };
        // SAFETY: a record starts with a packed key.
        unsafe {
            let record = self.records.as_ptr().add(group * self.stride);
            for i in 0..words {
                if *record.add(i) != *key.add(i) {
                    return false;
                }
            }
            for (k, word) in self.shape.texts.iter().enumerate() {
                let (header, pointer) = (*key.add(*word), self.shape.words + k);
                if is_long(header) && !long_equal(header, *key.add(pointer), *record.add(pointer)) {
                    return false;
                }
            }
            true
        }
    }

    /// Appends a record for a key.
    unsafe fn push(&mut self, key: *const u64) -> Option<usize> {
        let group = self.len;
        if group >= u32::MAX as usize - 1 {
            return None;
        }
        if group == self.room {
            self.grow_records();
        }
        let key_words = self.shape.key_words();
        // SAFETY: every copy has room for the group; the key has `key_words`, its strings are alive.
        unsafe {
            let record = self.records.as_ptr().add(group * self.stride);
            copy_words(record, key, key_words);
            for (k, word) in self.shape.texts.iter().enumerate() {
                let header = *key.add(*word);
                let pointer = record.add(self.shape.words + k);
                *pointer = 0;
                if is_long(header) {
                    let from = *key.add(self.shape.words + k) as *const u8;
                    let bytes = std::slice::from_raw_parts(from, header as u32 as usize);
                    *pointer = self.texts.keep(bytes) as u64;
                }
            }
            for copy in 0..if self.copies { RECORD_COPIES } else { 1 } {
                let cells = record.add(copy * self.room * self.stride + key_words);
                copy_words(cells, self.start.as_ptr(), self.start.len());
            }
        }
        self.len += 1;
        Some(group)
    }

    fn grow_records(&mut self) {
        if self.copies {
            self.leave_copies();
        } else {
            self.room *= 2;
            self.records = self.records.grown(self.room * self.stride);
        }
    }

    /// Goes on without copies.
    fn leave_copies(&mut self) {
        if self.copies {
            self.fold_copies();
            self.copies = false;
            // The room of all copies is now that of one.
            self.room *= RECORD_COPIES;
        }
    }

    /// Makes the hash index anew.
    fn index(&mut self, slots: usize) {
        let new = Words::zeroed(slots + 1);
        let mask = slots - 1;
        let mut hashes = [0u64; 64];
        let mut first = 0;
        while first < self.len {
            let count = (self.len - first).min(hashes.len());
            for (i, hash) in hashes[..count].iter_mut().enumerate() {
                *hash = self.hash_of(first + i);
                prefetch(new.as_ptr().wrapping_add(first_slot(*hash, mask)));
            }
            for (i, hash) in hashes[..count].iter().enumerate() {
                let mut at = first_slot(*hash, mask);
                // SAFETY: masked, and fewer groups than slots.
                unsafe {
                    while *new.as_ptr().add(at) != 0 {
                        at = (at + 1) & mask;
                    }
                    *new.as_ptr().add(at) = tag(*hash) << 32 | (first + i) as u64;
                }
            }
            first += count;
        }
        self.slots = new;
    }

    fn leave_dense(&mut self) {
        self.leave_direct();
        if self.dense.take().is_some() {
            self.index(slots_for(self.len * 2).max(FIRST_SLOTS));
        }
    }

    /// Has cells by value for the range that the index has now, if it is small enough.
    fn follow_range(&mut self) {
        let range = self.dense.as_ref().map(Dense::view);
        let (base, len) = range.map_or((0, 0), |(_, base, len)| (base, len as usize));
        if self.direct.as_ref().is_some_and(|d| d.spans(base, len)) {
            return;
        }
        self.leave_direct();
        if range.is_some() {
            self.direct = Direct::new(&self.shape, &self.start, base, len);
        }
    }

    /// Brings what generated code reads up to date.
    pub(super) fn refresh(&mut self) {
        self.follow_range();
        let view = &mut self.view;
        view.slots = self.slots.as_ptr();
        view.mask = self.slots.len() as u64 - 2;
        let (dense, base, len) = match &self.dense {
            Some(dense) => dense.view(),
            None => (std::ptr::null(), 0, 0),
        };
        (view.dense, view.dense_base, view.dense_len) = (dense, base, len);
        for (copy, at) in view.records.iter_mut().enumerate() {
            let skip = if self.copies { copy * self.room * self.stride } else { 0 };
            *at = self.records.as_ptr().wrapping_add(skip).cast();
        }
        let index = self.slots.bytes().max(self.dense.as_ref().map_or(0, Dense::bytes));
        let near = index <= NEAR_BYTES && self.len * self.stride * size_of::<u64>() <= NEAR_BYTES;
        view.far = u64::from(!near);
        view.append = u64::from(self.append);
        for (copy, at) in view.direct.iter_mut().enumerate() {
            let cells = self.direct.as_ref().map(|d| d.view(copy));
            (*at, view.present) = cells.unwrap_or((std::ptr::null_mut(), std::ptr::null_mut()));
        }
    }
}

/// Copies a few words, nearly always fewer than a call of memcpy pays for.
///
/// # Safety
/// As `copy_nonoverlapping`.
#[inline(always)]
unsafe fn copy_words(to: *mut u64, from: *const u64, count: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        match count {
            1 => *to = *from,
            2 => to.cast::<[u64; 2]>().write(from.cast::<[u64; 2]>().read()),
            3 => to.cast::<[u64; 3]>().write(from.cast::<[u64; 3]>().read()),
            _more => to.copy_from_nonoverlapping(from, count),
        }
    }
}

/// Slots for so many groups, with room to spare.
fn slots_for(groups: usize) -> usize {
    (groups * 8 / MOST_LOAD + 1).next_power_of_two().max(FIRST_SLOTS)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
