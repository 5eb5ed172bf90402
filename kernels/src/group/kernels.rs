//! What generated code calls once per chunk: strings into words, and all that is not found at first sight.

use super::memory::prefetch;
use super::text::{NULL_HEADER, is_long, long_equal, text_words};
use super::{CellKind, GroupTable};
use crate::isa::{dispatch, plain};
use crate::strings::StrRef;
use crate::strings::load::Offset;

plain! {
    /// Finds or makes the groups of some rows: `rows` lists `count` of them, `keys` holds the packed keys
    /// of the chunk, and each row's number goes to `groups`. 0, or 1 when there are too many groups.
    pub fn rt_group_resolve = resolve(
        table: *mut GroupTable, count: usize, rows: *const u16, keys: *const u64, groups: *mut u32,
    ) -> i64;
    /// Gives each of `n` rows a record of its own, in a table that does not look keys up. As
    /// [`rt_group_resolve`].
    pub fn rt_group_append = append(
        table: *mut GroupTable, n: usize, keys: *const u64, groups: *mut u32,
    ) -> i64;
    /// Packs a chunk of strings: row `i` gets its two words at `out + i * stride` and its pointer at
    /// `pointers + i * stride` (counted in words); `valid` is null or staged bits. Returns how many are
    /// long.
    pub fn rt_group_pack_text = pack_text(
        n: usize, texts: *const StrRef, valid: *const u8, stride: usize, out: *mut u64, pointers: *mut u64,
    ) -> i64;
    /// As [`rt_group_pack_text()`], from the `n + 1` offsets and the bytes of a utf8 array.
    pub fn rt_group_pack_utf8 = pack_utf8(
        n: usize, offsets: *const i32, data: *const u8, valid: *const u8, stride: usize, out: *mut u64,
        pointers: *mut u64,
    ) -> i64;
    /// As [`rt_group_pack_text()`], from the offsets and bytes of a large utf8 array.
    pub fn rt_group_pack_large_utf8 = pack_large_utf8(
        n: usize, offsets: *const i64, data: *const u8, valid: *const u8, stride: usize, out: *mut u64,
        pointers: *mut u64,
    ) -> i64;
    /// Adds to `rows`, which lists `count`, those rows whose long strings only seem to be the same as
    /// their group's; returns the new count, at most `count + n`.
    pub fn rt_group_check_texts = check_texts(
        table: *const GroupTable, n: usize, keys: *const u64, groups: *const u32, count: usize,
        rows: *mut u16,
    ) -> i64;
}

plain! {
    /// Offers the texts of `n` rows to the minimum or maximum in their groups' records: `cell` is twice its word,
    /// and 1 more for a minimum. `valid` and `filter` are null or bits, and rows count where both are set.
    pub fn rt_group_offer_text = offer_text(
        table: *mut GroupTable, n: usize, groups: *const u32, texts: *const StrRef, valid: *const u8,
        filter: *const u8, cell: usize,
    ) -> i64;
}

dispatch! {
    /// Whether any of `n` integers is not one of the `len` values from `base` on: not 0 if so.
    pub fn rt_group_outside_i64 = outside(n: usize, keys: *const i64, base: u64, len: u64) -> i64;
    /// As [`rt_group_outside_i64()`], of 32 bits with a sign.
    pub fn rt_group_outside_i32 = outside(n: usize, keys: *const i32, base: u64, len: u64) -> i64;
    /// As [`rt_group_outside_i64()`], of 16 bits with a sign.
    pub fn rt_group_outside_i16 = outside(n: usize, keys: *const i16, base: u64, len: u64) -> i64;
}

unsafe fn offer_text(
    table: *mut GroupTable,
    n: usize,
    groups: *const u32,
    texts: *const StrRef,
    valid: *const u8,
    filter: *const u8,
    cell: usize,
) -> i64 {
    let kind = if cell & 1 != 0 { CellKind::TextMin } else { CellKind::TextMax };
    let word = cell >> 1;
    // SAFETY: the caller's table, which has this cell; all buffers have n rows, and valid texts are alive.
    unsafe {
        let table = &mut *table;
        for row in 0..n {
            if crate::bitmap::bit_or_all(valid, row) && crate::bitmap::bit_or_all(filter, row) {
                table.offer_text(*groups.add(row) as usize, kind, word, (*texts.add(row)).bytes());
            }
        }
    }
    0
}

#[inline(always)]
unsafe fn outside<const ISA: u8>(n: usize, keys: *const (impl Copy + Into<i64>), base: u64, len: u64) -> i64 {
    let mut any = false;
    for i in 0..n {
        // SAFETY: there are n keys.
        let key: i64 = unsafe { *keys.add(i) }.into();
        any |= (key as u64).wrapping_sub(base) >= len;
    }
    i64::from(any)
}

unsafe fn resolve(
    table: *mut GroupTable,
    count: usize,
    rows: *const u16,
    keys: *const u64,
    groups: *mut u32,
) -> i64 {
    // SAFETY: the caller's table; lists and buffers are as long as the chunk.
    unsafe {
        let table = &mut *table;
        let key_words = table.shape().key_words();
        table.reach(count, rows, keys);
        for i in 0..count {
            let row = usize::from(*rows.add(i));
            match table.find_or_insert(keys.add(row * key_words)) {
                Some(group) => *groups.add(row) = group as u32,
                None => return 1,
            }
        }
        table.refresh();
    }
    0
}

unsafe fn append(table: *mut GroupTable, n: usize, keys: *const u64, groups: *mut u32) -> i64 {
    // SAFETY: the caller's table; buffers are as long as the chunk.
    unsafe {
        let table = &mut *table;
        let Some(first) = table.push_all(keys, n) else { return 1 };
        for row in 0..n {
            *groups.add(row) = (first + row) as u32;
        }
        table.refresh();
    }
    0
}

unsafe fn pack_text(
    n: usize,
    texts: *const StrRef,
    valid: *const u8,
    stride: usize,
    out: *mut u64,
    pointers: *mut u64,
) -> i64 {
    // SAFETY: all buffers have n rows.
    unsafe { pack(n, valid, stride, out, pointers, |i| *texts.add(i)) }
}

unsafe fn pack_utf8(
    n: usize,
    offsets: *const i32,
    data: *const u8,
    valid: *const u8,
    stride: usize,
    out: *mut u64,
    pointers: *mut u64,
) -> i64 {
    // SAFETY: all buffers have n rows, and there is an offset more.
    unsafe { pack(n, valid, stride, out, pointers, |i| from_offsets(offsets.add(i), data)) }
}

unsafe fn pack_large_utf8(
    n: usize,
    offsets: *const i64,
    data: *const u8,
    valid: *const u8,
    stride: usize,
    out: *mut u64,
    pointers: *mut u64,
) -> i64 {
    // SAFETY: all buffers have n rows, and there is an offset more.
    unsafe { pack(n, valid, stride, out, pointers, |i| from_offsets(offsets.add(i), data)) }
}

/// The string between two offsets.
#[inline(always)]
unsafe fn from_offsets<O: Offset>(offsets: *const O, data: *const u8) -> StrRef {
    // SAFETY: two offsets, which bound bytes of `data`; of an empty array it may be null.
    unsafe {
        let data = if data.is_null() { StrRef::EMPTY.ptr } else { data };
        let (start, end) = ((*offsets).at(), (*offsets.add(1)).at());
        StrRef::from_raw(data.add(start), u32::try_from(end - start).unwrap_or(u32::MAX))
    }
}

#[inline(always)]
unsafe fn pack(
    n: usize,
    valid: *const u8,
    stride: usize,
    out: *mut u64,
    pointers: *mut u64,
    text: impl Fn(usize) -> StrRef,
) -> i64 {
    let mut long = 0;
    for i in 0..n {
        // SAFETY: all buffers have n rows.
        unsafe {
            let (at, pointer) = (out.add(i * stride), pointers.add(i * stride));
            if crate::bitmap::bit_or_all(valid, i) {
                let text = text(i);
                let [header, second] = text_words(&text);
                *at = header;
                *at.add(1) = second;
                *pointer = text.ptr as u64;
                long += i64::from(is_long(header));
            } else {
                *at = NULL_HEADER;
                *at.add(1) = 0;
                *pointer = 0;
            }
        }
    }
    long
}

/// So many rows ahead of its comparison a long string of the table is asked for: tables of many strings lie
/// outside of the near caches, and nothing before has touched them.
const TEXTS_AHEAD: usize = 16;

unsafe fn check_texts(
    table: *const GroupTable,
    n: usize,
    keys: *const u64,
    groups: *const u32,
    count: usize,
    rows: *mut u16,
) -> i64 {
    let mut count = count;
    // SAFETY: the caller's table; buffers have n rows; numbers that were found by their words, or stand
    // for none, are those of records that can be read.
    unsafe {
        let table = &*table;
        let shape = table.shape();
        let key_words = shape.key_words();
        for row in 0..n {
            if row + TEXTS_AHEAD < n {
                let record = table.record(*groups.add(row + TEXTS_AHEAD) as usize);
                for (k, word) in shape.texts.iter().enumerate() {
                    if is_long(record[*word]) {
                        prefetch(record[shape.words + k] as *const u8);
                    }
                }
            }
            let key = keys.add(row * key_words);
            let record = table.record(*groups.add(row) as usize);
            for (k, word) in shape.texts.iter().enumerate() {
                let header = *key.add(*word);
                let pointer = shape.words + k;
                // Another header or digest: the row is listed already.
                if is_long(header)
                    && record[*word] == header
                    && record[*word + 1] == *key.add(*word + 1)
                    && !long_equal(header, *key.add(pointer), record[pointer])
                {
                    *rows.add(count) = row as u16;
                    count += 1;
                    break;
                }
            }
        }
    }
    count as i64
}
