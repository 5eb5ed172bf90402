//! The table of a join, and how it is built from all rows of the build side.
//!
//! Invariants:
//! * an entry that a lookup gives is below `build_rows`, and `rows_of` it are rows of the build side in
//!   their order;
//! * at most half of the slots are taken, so a search ends;
//! * rows with a NULL in their key are in no entry unless NULLs are equal, in which case the NULL of a single
//!   integer key has the entry `null`, and that of packed keys is a bit of them;
//! * once built, nothing changes but the bits of visited rows.

use super::bits::KeyBits;
use super::visited::Visited;
use crate::group::hash_words;
use crate::group::memory::{Words, prefetch};
use crate::group::text::{is_long, long_equal};
use std::sync::atomic::Ordering;

/// How a key column lies in chunk buffers, and what becomes of it in a packed key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackKind {
    Bits,
    W1,
    W2,
    W4,
    W8,
    W16,
    F32,
    F64,
    Text,
}

/// The place of one column in a packed key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPack {
    pub kind: PackKind,
    pub word: usize,
    pub shift: u32,
    /// The word and bit of NULL, where NULLs are equal and the column is no text.
    pub null: Option<(usize, u32)>,
    /// The word of a text's pointer.
    pub pointer: usize,
}

/// How keys are packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackSpec {
    pub keys: Vec<KeyPack>,
    /// Words that are compared, and with pointers.
    pub words: usize,
    pub key_words: usize,
    /// The first word of each text; the pointer of the `k`-th is word `words + k`.
    pub texts: Vec<usize>,
    pub null_equal: bool,
}

/// Arrays by value are used up to this many values, or so many per row.
const DENSE_ALWAYS: u64 = 1 << 16;
const DENSE_PER_ROW: u64 = 8;
/// Index sizes from which on slots are prefetched.
const NEAR_BYTES: usize = 512 << 10;
/// Below this many rows one thread builds.
const PARALLEL_ROWS: usize = 1 << 16;
pub(super) const BLOCK: usize = 1024;

#[derive(Debug)]
pub(super) enum Index {
    /// `entry + 1` by value minus `base`, 0 for none; behind the `len` values one more 0.
    Dense { map: Vec<u32>, base: u64, len: u64 },
    /// Two words a slot: the key, and `entry + 1` in the low half, how many rows in the high one; 0 is
    /// empty.
    Ints { slots: Words, count: u64 },
    /// A word a slot: `entry + 1` low, the high half of the hash high. Keys lie at their entry.
    Packed { slots: Words, count: u64, keys: Words, spec: PackSpec },
}

/// A built table.
#[derive(Debug)]
pub struct JoinTable {
    pub(super) index: Index,
    /// `entry + 1` of NULL, for a single integer key where NULLs are equal.
    pub(super) null: u32,
    /// Which integers are keys, where that is worth asking first.
    pub(super) bits: Option<KeyBits>,
    /// The same of some columns of packed keys, by their number.
    pub(super) key_bits: Vec<(usize, KeyBits)>,
    /// Rows by entry, and at each entry how many; empty while keys are unique.
    pub(super) rows: Vec<u32>,
    pub(super) counts: Vec<u32>,
    pub(super) build_rows: usize,
    pub(super) most: u32,
    /// Bits of build rows that matched, where somebody asks.
    pub(super) visited: Visited,
}

/// Integers that are looked up by value.
pub trait IntKey: Copy + Send + Sync {
    const SIGNED: bool;
    /// Sign- or zero-extended.
    fn word(self) -> u64;
}

macro_rules! int_keys {
    ($($ty:ty),*) => { $(impl IntKey for $ty {
        const SIGNED: bool = <$ty>::MIN != 0;
        #[inline(always)]
        fn word(self) -> u64 {
            self as i64 as u64
        }
    })* };
}
int_keys!(i8, i16, i32, i64, u8, u16, u32, u64);

/// The hash of an integer key.
#[inline(always)]
pub(super) fn hash_int(key: u64) -> u64 {
    hash_words([key].into_iter())
}

/// The slot where a search begins, of `count`.
#[inline(always)]
pub(super) fn home(hash: u64, count: u64) -> usize {
    ((hash >> 32).wrapping_mul(count) >> 32) as usize
}

pub(super) fn slots_for(rows: usize) -> usize {
    rows * 2 + 8
}

/// A pointer that several threads write through, each to its own part.
#[derive(Clone, Copy)]
struct Shared<T>(*mut T);
// SAFETY: whoever makes one keeps the parts apart.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn get(&self) -> *mut T {
        self.0
    }
}

/// Runs `work` for every part, on a thread each.
fn in_parallel<R: Send>(parts: usize, work: impl Fn(usize) -> R + Sync) -> Vec<R> {
    if parts <= 1 {
        return vec![work(0)];
    }
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (1..parts).map(|p| scope.spawn(move || work(p))).collect();
        let mut results = vec![work(0)];
        for thread in threads {
            match thread.join() {
                Ok(result) => results.push(result),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    })
}

fn part_of(rows: usize, part: usize, parts: usize) -> std::ops::Range<usize> {
    let size = rows.div_ceil(parts).next_multiple_of(64);
    (size * part).min(rows)..(size * (part + 1)).min(rows)
}

impl JoinTable {
    /// Of keys that are one integer. `valid` tells which rows are not NULL.
    ///
    /// # Panics
    /// If there are more rows than 32-bit numbers.
    pub fn of_ints<T: IntKey>(
        keys: &[T],
        valid: Option<&(dyn Fn(usize) -> bool + Sync)>,
        null_equal: bool,
        threads: usize,
    ) -> JoinTable {
        assert!(keys.len() < u32::MAX as usize - 1, "too many rows for a join");
        let parts = if keys.len() < PARALLEL_ROWS { 1 } else { threads.max(1) };
        let counts = |i: usize| valid.is_none_or(|v| v(i));
        let bounds = in_parallel(parts, |p| {
            let (mut least, mut most) = (i64::MAX, i64::MIN);
            for i in part_of(keys.len(), p, parts).filter(|i| counts(*i)) {
                let value = keys[i].word() as i64;
                (least, most) = (least.min(value), most.max(value));
            }
            (least, most)
        });
        let (least, most) =
            bounds.into_iter().fold((i64::MAX, i64::MIN), |a, b| (a.0.min(b.0), a.1.max(b.1)));
        let range = if least > most { 0 } else { (most as u64).wrapping_sub(least as u64) };
        let limit = DENSE_ALWAYS.max(keys.len() as u64 * DENSE_PER_ROW);
        let mut table = JoinTable {
            index: Index::Dense { map: vec![0; 1], base: 0, len: 0 },
            null: 0,
            bits: None,
            key_bits: vec![],
            rows: vec![],
            counts: vec![],
            build_rows: keys.len(),
            most: 1,
            visited: Visited::default(),
        };
        let nulls: Vec<u32> = match valid {
            Some(valid) if null_equal => (0..keys.len() as u32).filter(|i| !valid(*i as usize)).collect(),
            Some(_) | None => vec![],
        };
        let unique = if least > most {
            true
        } else if range < limit {
            table.dense(keys, &counts, (least as u64, range + 1), parts)
        } else {
            table.bits = KeyBits::of(keys, counts, (least as u64, range));
            table.ints(keys, &counts, parts)
        };
        if unique && nulls.len() <= 1 {
            table.null = nulls.first().map_or(0, |row| row + 1);
        } else {
            table.list_ints(keys, &counts, &nulls);
        }
        table
    }

    /// Fills the array; whether no key came twice.
    fn dense<T: IntKey>(
        &mut self,
        keys: &[T],
        counts: &(impl Fn(usize) -> bool + Sync),
        (base, len): (u64, u64),
        parts: usize,
    ) -> bool {
        let mut map = vec![0u32; len as usize + 1];
        let at = Shared(map.as_mut_ptr());
        // Several rows of a key write to the same place; the last one wins, and the others notice.
        let place = |i: usize| {
            let index = keys[i].word().wrapping_sub(base) as usize;
            // SAFETY: the value lies in the range; the atomic view of a place is used by all threads.
            unsafe { std::sync::atomic::AtomicU32::from_ptr(at.get().add(index)) }
        };
        in_parallel(parts, |p| {
            for i in part_of(keys.len(), p, parts).filter(|i| counts(*i)) {
                place(i).store(i as u32 + 1, Ordering::Relaxed);
            }
        });
        let unique = in_parallel(parts, |p| {
            part_of(keys.len(), p, parts)
                .filter(|i| counts(*i))
                .fold(true, |all, i| all & (place(i).load(Ordering::Relaxed) == i as u32 + 1))
        });
        self.index = Index::Dense { map, base, len };
        unique.into_iter().all(|u| u)
    }

    /// Fills the slots, every thread those of its own part; whether no key came twice.
    fn ints<T: IntKey>(
        &mut self,
        keys: &[T],
        counts: &(impl Fn(usize) -> bool + Sync),
        parts: usize,
    ) -> bool {
        let count = slots_for(keys.len());
        let slots = Words::zeroed(count * 2);
        let at = Shared(slots.as_ptr());
        let bounds: Vec<usize> = (0..=parts).map(|p| count * p / parts).collect();
        let done = in_parallel(parts, |p| {
            let (from, to) = (bounds[p], bounds[p + 1]);
            let (mut unique, mut late) = (true, Vec::new());
            let mut mine = [(0u32, 0u32); BLOCK];
            for first in (0..keys.len()).step_by(BLOCK) {
                let mut n = 0;
                let block = &keys[first..(first + BLOCK).min(keys.len())];
                for (i, key) in (first..).zip(block) {
                    let slot = home(hash_int(key.word()), count as u64);
                    mine[n] = (i as u32, slot as u32);
                    n += usize::from(slot >= from && slot < to && counts(i));
                }
                for (_, slot) in &mine[..n] {
                    prefetch(at.get().wrapping_add(*slot as usize * 2));
                }
                for (row, slot) in &mine[..n] {
                    let key = keys[*row as usize].word();
                    // SAFETY: the slots of this part are this thread's alone.
                    match unsafe { insert_int(at.get(), *slot as usize, to, key, *row) } {
                        Some(new) => unique &= new,
                        None => late.push(*row),
                    }
                }
            }
            (unique, late)
        });
        let mut unique = true;
        for (all_new, late) in done {
            unique &= all_new;
            for row in late {
                let key = keys[row as usize].word();
                let slot = home(hash_int(key), count as u64);
                // SAFETY: no other thread is left; half of the slots are empty.
                let new = unsafe {
                    insert_int(at.get(), slot, count, key, row)
                        .or_else(|| insert_int(at.get(), 0, count, key, row))
                };
                unique &= new.unwrap_or(false);
            }
        }
        self.index = Index::Ints { slots, count: count as u64 };
        unique
    }

    /// Lists the rows of each key, whose index holds any of them so far.
    fn list_ints<T: IntKey>(&mut self, keys: &[T], counts: &impl Fn(usize) -> bool, nulls: &[u32]) {
        let (mut rows, mut lens) = (vec![0u32; keys.len()], vec![0u32; keys.len()]);
        let (mut next, mut most) = (0u32, 0u32);
        let listed = || (0..keys.len()).filter(|i| counts(*i));
        match &mut self.index {
            Index::Dense { map, base, .. } => {
                let place = |i: usize| keys[i].word().wrapping_sub(*base) as usize;
                map.fill(0);
                listed().for_each(|i| map[place(i)] += 1);
                for cell in map.iter_mut().filter(|c| **c > 0) {
                    let len = *cell;
                    lens[next as usize] = len;
                    most = most.max(len);
                    // For now where the next row goes; one too far at the end.
                    *cell = next + 1;
                    next += len;
                }
                for i in listed() {
                    let cell = &mut map[place(i)];
                    rows[*cell as usize - 1] = i as u32;
                    *cell += 1;
                }
                let mut entry = 0u32;
                for cell in map.iter_mut().filter(|c| **c > 0) {
                    let len = *cell - 1 - entry;
                    *cell = entry + 1;
                    entry += len;
                }
            }
            Index::Ints { slots, count } => {
                let at = slots.as_ptr();
                for slot in 0..*count as usize {
                    // SAFETY: there are `count` slots of two words.
                    let value = unsafe { &mut *at.add(slot * 2 + 1) };
                    if *value != 0 {
                        let len = (*value >> 32) as u32;
                        lens[next as usize] = len;
                        most = most.max(len);
                        *value = u64::from(next + 1);
                        next += len;
                    }
                }
                for i in listed() {
                    // SAFETY: as above; every listed key is there.
                    unsafe {
                        let slot = find_int(at, *count, keys[i].word());
                        let value = &mut *at.add(slot * 2 + 1);
                        let (entry, done) = (*value as u32 - 1, (*value >> 32) as u32);
                        rows[(entry + done) as usize] = i as u32;
                        *value += 1 << 32;
                    }
                }
            }
            Index::Packed { .. } => {}
        }
        if let Some(len) = std::num::NonZeroU32::new(nulls.len() as u32) {
            self.null = next + 1;
            lens[next as usize] = len.get();
            most = most.max(len.get());
            rows[next as usize..next as usize + nulls.len()].copy_from_slice(nulls);
        }
        (self.rows, self.counts, self.most) = (rows, lens, most.max(1));
    }

    /// Prepares for [`JoinTable::visit`].
    pub fn track_visits(&mut self) {
        self.visited = Visited::new(self.build_rows);
    }

    /// Notes a build row, or an entry.
    #[inline(always)]
    pub fn visit(&self, number: u32) {
        self.visited.set(number);
    }

    /// Whether no key has two rows, so that an entry is a row.
    pub fn is_unique(&self) -> bool {
        self.rows.is_empty()
    }

    /// The most rows of a key.
    pub fn most_rows(&self) -> u32 {
        self.most
    }

    pub fn build_rows(&self) -> usize {
        self.build_rows
    }

    /// The rows of an entry.
    pub fn rows_of(&self, entry: u32) -> std::borrow::Cow<'_, [u32]> {
        if self.is_unique() {
            return vec![entry].into();
        }
        let from = entry as usize;
        self.rows[from..from + self.counts[from] as usize].into()
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        let index = match &self.index {
            Index::Dense { map, .. } => map.len() * 4,
            Index::Ints { slots, .. } => slots.bytes(),
            Index::Packed { slots, keys, .. } => slots.bytes() + keys.bytes(),
        };
        let bits = self.bits.iter().chain(self.key_bits.iter().map(|(_, bits)| bits));
        let index = index + bits.map(KeyBits::bytes).sum::<usize>();
        index + (self.rows.len() + self.counts.len()) * 4 + self.visited.bytes()
    }

    /// Bytes that a table of so many rows takes at most.
    pub fn memory_for(rows: usize, key_words: usize) -> usize {
        // Slots of two words and a half, or the array; bits; lists; packed keys twice while it is built.
        rows.saturating_mul(80 + 16 * key_words)
    }

    pub(super) fn is_far(&self) -> bool {
        match &self.index {
            Index::Dense { map, .. } => map.len() * 4 > NEAR_BYTES,
            Index::Ints { slots, .. } => slots.bytes() > NEAR_BYTES,
            Index::Packed { slots, keys, .. } => slots.bytes() + keys.bytes() > NEAR_BYTES,
        }
    }

    /// The entry of an integer key.
    pub fn find_int(&self, key: Option<u64>) -> Option<u32> {
        let Some(key) = key else { return self.null.checked_sub(1) };
        match &self.index {
            Index::Dense { map, base, len } => {
                let at = key.wrapping_sub(*base).min(*len) as usize;
                map[at].checked_sub(1)
            }
            Index::Ints { slots, count } => {
                // SAFETY: the search ends within the slots.
                unsafe {
                    let slot = find_int(slots.as_ptr(), *count, key);
                    (*slots.as_ptr().add(slot * 2 + 1) as u32).checked_sub(1)
                }
            }
            Index::Packed { .. } => None,
        }
    }

    /// The entry of a packed key.
    ///
    /// # Safety
    /// `key` has the words of the table's keys, and its pointers point at living strings.
    #[inline(always)]
    pub unsafe fn find_packed(&self, key: *const u64) -> Option<u32> {
        let Index::Packed { spec, .. } = &self.index else { return None };
        // SAFETY: the caller's promise.
        unsafe { self.find_hashed(key, hash_words((0..spec.words).map(|i| *key.add(i)))) }
    }

    /// The same with the hash of the key's words.
    ///
    /// # Safety
    /// As of [`JoinTable::find_packed`].
    #[inline(always)]
    pub(super) unsafe fn find_hashed(&self, key: *const u64, hash: u64) -> Option<u32> {
        let Index::Packed { slots, count, keys, spec } = &self.index else { return None };
        // SAFETY: the caller's promise; the search ends because half of the slots are empty.
        unsafe {
            let mut slot = home(hash, *count);
            loop {
                let value = *slots.as_ptr().add(slot);
                if value == 0 {
                    return None;
                }
                let entry = value as u32 - 1;
                let other = keys.as_ptr().add(entry as usize * spec.key_words);
                if value >> 32 == hash >> 32 && same_key(spec, other, key) {
                    return Some(entry);
                }
                slot = if slot as u64 + 1 == *count { 0 } else { slot + 1 };
            }
        }
    }
}

/// Inserts into the slots from `slot` to `end`: whether the key is new, or `None` if there is no room.
///
/// # Safety
/// `at` has `end` slots, and nobody else writes to those.
#[inline(always)]
unsafe fn insert_int(at: *mut u64, slot: usize, end: usize, key: u64, row: u32) -> Option<bool> {
    for slot in slot..end {
        // SAFETY: the caller's promise.
        unsafe {
            let value = at.add(slot * 2 + 1);
            if *value == 0 {
                *at.add(slot * 2) = key;
                *value = 1 << 32 | (u64::from(row) + 1);
                return Some(true);
            }
            if *at.add(slot * 2) == key {
                *value += 1 << 32;
                return Some(false);
            }
        }
    }
    None
}

/// The slot of a key, or the empty one where the search for it ends.
///
/// # Safety
/// `at` has `count` slots, some of them empty.
#[inline(always)]
pub(super) unsafe fn find_int(at: *const u64, count: u64, key: u64) -> usize {
    let mut slot = home(hash_int(key), count);
    loop {
        // SAFETY: the caller's promise.
        unsafe {
            if *at.add(slot * 2 + 1) as u32 == 0 || *at.add(slot * 2) == key {
                return slot;
            }
        }
        slot = if slot as u64 + 1 == count { 0 } else { slot + 1 };
    }
}

/// # Safety
/// Both are packed keys of this form, their strings alive.
#[inline(always)]
pub(super) unsafe fn same_key(spec: &PackSpec, a: *const u64, b: *const u64) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        for i in 0..spec.words {
            if *a.add(i) != *b.add(i) {
                return false;
            }
        }
        for (k, word) in spec.texts.iter().enumerate() {
            let (header, pointer) = (*a.add(*word), spec.words + k);
            if is_long(header) && !long_equal(header, *a.add(pointer), *b.add(pointer)) {
                return false;
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn check(keys: &[i64], threads: usize) {
        let table = JoinTable::of_ints(keys, None, false, threads);
        let mut expected: HashMap<i64, Vec<u32>> = HashMap::new();
        for (i, k) in keys.iter().enumerate() {
            expected.entry(*k).or_default().push(i as u32);
        }
        assert_eq!(table.is_unique(), expected.values().all(|r| r.len() == 1));
        for (key, rows) in &expected {
            let entry = table.find_int(Some(*key as u64)).expect("the key is there");
            assert_eq!(*table.rows_of(entry), **rows);
        }
        for absent in [i64::MIN, -12345, 1 << 40, i64::MAX] {
            assert_eq!(table.find_int(Some(absent as u64)).is_some(), expected.contains_key(&absent));
        }
    }

    #[test]
    fn every_row_is_found_in_every_form() {
        for threads in [1, 3] {
            check(&[], threads);
            check(&[7], threads);
            check(&[i64::MIN, i64::MAX, 0], threads);
            check(&[5; 100], threads);
            let many = PARALLEL_ROWS as i64 + 1000;
            check(&(0..many).collect::<Vec<_>>(), threads);
            check(&(0..many).map(|i| i / 3).collect::<Vec<_>>(), threads);
            check(&(0..many).map(|i| i * 7_919_000_009).collect::<Vec<_>>(), threads);
            check(&(0..many).map(|i| i % 5000 * 7_919_000_009).collect::<Vec<_>>(), threads);
        }
    }
}
