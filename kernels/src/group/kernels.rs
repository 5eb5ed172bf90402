//! What generated code calls once per chunk: strings into words, and all that is not found at first sight.

use super::GroupTable;
use super::text::{NULL_HEADER, is_long, long_equal, text_words};
use crate::isa::plain;
use crate::strings::StrRef;

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
    /// Adds to `rows`, which lists `count`, those rows whose long strings only seem to be the same as
    /// their group's; returns the new count, at most `count + n`.
    pub fn rt_group_check_texts = check_texts(
        table: *const GroupTable, n: usize, keys: *const u64, groups: *const u32, count: usize,
        rows: *mut u16,
    ) -> i64;
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
    let mut long = 0;
    for i in 0..n {
        // SAFETY: all buffers have n rows.
        unsafe {
            let (at, pointer) = (out.add(i * stride), pointers.add(i * stride));
            if crate::bitmap::bit_or_all(valid, i) {
                let text = &*texts.add(i);
                let [header, second] = text_words(text);
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
