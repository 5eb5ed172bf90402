//! Looking up keys of several columns, a chunk of rows at a time.
//!
//! Rows that cannot have a partner are left out first: those with a NULL that counts for nothing, and those of
//! which an integer is no key ([`super::bits`]). Only the others are packed, hashed and searched.

use super::kernels::PAIRS;
use super::table::{Index, JoinTable, KeyPack, PackKind, home};
use crate::bitmap::bit_or_all;
use crate::group::hash_words;
use crate::group::memory::prefetch;
use crate::group::text::{NULL_HEADER, text_words};
#[cfg(target_arch = "x86_64")]
use crate::isa::V4;
use crate::strings::StrRef;

/// Words of staged bits of a chunk.
const WORDS: usize = PAIRS / 64;

/// # Safety
/// Buffers have `n` rows, a chunk at most, and are readable up to the next multiple of 8; `packed` has room for
/// as many keys; columns are those of the table's keys.
#[inline(always)]
pub(super) unsafe fn probe_packed<const ISA: u8>(
    table: *const JoinTable,
    n: usize,
    columns: *const *const u8,
    packed: *mut u64,
    rows: *mut u32,
    found: *mut u8,
) {
    // SAFETY: the caller's promise; bits are staged in words.
    unsafe {
        let table = &*table;
        rows.write_bytes(0, n);
        let mut hits = [0u64; WORDS];
        if let Index::Packed { slots, count, spec, .. } = &table.index {
            let mut usable = [0u64; WORDS];
            for (at, word) in usable.iter_mut().enumerate().take(n.div_ceil(64)) {
                let left = n - at * 64;
                *word = if left < 64 { (1 << left) - 1 } else { u64::MAX };
            }
            if !spec.null_equal {
                for k in 0..spec.keys.len() {
                    let valid = *columns.add(2 * k + 1);
                    for (at, word) in usable.iter_mut().enumerate().take(n.div_ceil(64)) {
                        if !valid.is_null() {
                            *word &= crate::bitmap::word(valid, at);
                        }
                    }
                }
            }
            for (k, keyed) in &table.key_bits {
                let data = *columns.add(2 * k);
                for (at, word) in usable.iter_mut().enumerate().take(n.div_ceil(64)) {
                    let some = (n - at * 64).min(64);
                    if spec.keys[*k].kind == PackKind::W8 {
                        let keys = data.cast::<u64>().add(at * 64);
                        #[cfg(target_arch = "x86_64")]
                        if ISA >= V4 {
                            *word &= keyed.test_wide(keys, some);
                            continue;
                        }
                        *word &= keyed.test(keys, some);
                    } else {
                        let keys = data.cast::<u32>().add(at * 64);
                        #[cfg(target_arch = "x86_64")]
                        if ISA >= V4 {
                            *word &= keyed.test_wide(keys, some);
                            continue;
                        }
                        *word &= keyed.test(keys, some);
                    }
                }
            }
            let (mut positions, mut m) = ([0u16; PAIRS], 0);
            for (at, word) in usable.iter().enumerate() {
                let mut rest = *word;
                while rest != 0 {
                    positions[m] = (at * 64) as u16 + rest.trailing_zeros() as u16;
                    m += 1;
                    rest &= rest - 1;
                }
            }
            let positions = &positions[..m];
            packed.write_bytes(0, m * spec.key_words);
            for (k, key) in spec.keys.iter().enumerate() {
                let (data, valid) = (*columns.add(2 * k), *columns.add(2 * k + 1));
                pack(key, (data, valid), positions, (packed, spec.key_words));
            }
            let mut hashes = [0u64; PAIRS];
            for (j, hash) in hashes.iter_mut().enumerate().take(m) {
                let key = packed.add(j * spec.key_words);
                *hash = hash_words((0..spec.words).map(|w| *key.add(w)));
                prefetch(slots.as_ptr().wrapping_add(home(*hash, *count)));
            }
            for (j, position) in positions.iter().enumerate() {
                if let Some(entry) = table.find_hashed(packed.add(j * spec.key_words), hashes[j]) {
                    *rows.add(*position as usize) = entry;
                    hits[*position as usize / 64] |= 1 << (position % 64);
                }
            }
        }
        // Without slots the build side is empty.
        for (at, word) in hits.iter().enumerate().take(n.div_ceil(64)) {
            found.cast::<u64>().add(at).write_unaligned(*word);
        }
    }
}

/// Packs a column of the rows at these positions.
#[inline(always)]
unsafe fn pack(
    key: &KeyPack,
    (data, valid): (*const u8, *const u8),
    positions: &[u16],
    (packed, key_words): (*mut u64, usize),
) {
    // SAFETY: the caller's promise.
    unsafe {
        let rows = (valid, positions, packed, key_words);
        match key.kind {
            PackKind::Bits => each(key, rows, |i, at, _| *at |= u64::from(bit_or_all(data, i)) << key.shift),
            PackKind::W1 => each(key, rows, |i, at, _| *at |= u64::from(*data.add(i)) << key.shift),
            PackKind::W2 => {
                each(key, rows, |i, at, _| *at |= u64::from(*data.cast::<u16>().add(i)) << key.shift)
            }
            PackKind::W4 => {
                each(key, rows, |i, at, _| *at |= u64::from(*data.cast::<u32>().add(i)) << key.shift)
            }
            PackKind::W8 => each(key, rows, |i, at, _| *at = data.cast::<u64>().add(i).read_unaligned()),
            PackKind::W16 => each(key, rows, |i, at, _| {
                at.cast::<u128>().write_unaligned(data.cast::<u128>().add(i).read_unaligned());
            }),
            PackKind::F32 => each(key, rows, |i, at, _| {
                let value = *data.cast::<u32>().add(i);
                *at |= u64::from(if value == 1 << 31 { 0 } else { value }) << key.shift;
            }),
            PackKind::F64 => each(key, rows, |i, at, _| {
                let value = data.cast::<u64>().add(i).read_unaligned();
                *at = if value == 1 << 63 { 0 } else { value };
            }),
            PackKind::Text => each(key, rows, |i, at, words| {
                let text = &*data.cast::<StrRef>().add(i);
                let [header, second] = text_words(text);
                (*at, *at.add(1)) = (header, second);
                *words.add(key.pointer) = text.ptr as u64;
            }),
        }
    }
}

/// The valid rows that are packed: `set` gets the row, where its word lies, and where all of its words begin.
#[inline(always)]
unsafe fn each(
    key: &KeyPack,
    (valid, positions, packed, key_words): (*const u8, &[u16], *mut u64, usize),
    mut set: impl FnMut(usize, *mut u64, *mut u64),
) {
    for (j, position) in positions.iter().enumerate() {
        let i = *position as usize;
        // SAFETY: there is room for as many keys as positions.
        unsafe {
            let words = packed.add(j * key_words);
            if bit_or_all(valid, i) {
                set(i, words.add(key.word), words);
            } else {
                match key.null {
                    Some((word, bit)) => *words.add(word) |= 1 << bit,
                    None => *words.add(key.word) = NULL_HEADER,
                }
            }
        }
    }
}
