//! Building a table of packed keys.

use super::bits::KeyBits;
use super::table::{BLOCK, Index, JoinTable, PackKind, PackSpec, home, same_key, slots_for};
use super::visited::Visited;
use crate::group::hash_words;
use crate::group::memory::{Words, prefetch};

impl JoinTable {
    /// Of packed keys, of which row `i` lies at `i * spec.key_words`; only rows with `counts` are looked up.
    /// The strings that pointers name live as long as the table.
    ///
    /// # Panics
    /// If there are more rows than 32-bit numbers.
    pub fn of_packed(
        packed: Vec<u64>,
        rows: usize,
        spec: PackSpec,
        counts: &dyn Fn(usize) -> bool,
    ) -> JoinTable {
        assert!(rows < u32::MAX as usize - 1, "too many rows for a join");
        let count = slots_for(rows);
        let slots = Words::zeroed(count);
        let (at, key_words) = (slots.as_ptr(), spec.key_words);
        // The first row of each row's key, and at it how many there are.
        let mut first_of = vec![u32::MAX; rows];
        let mut lens = vec![0u32; rows];
        let mut unique = true;
        let mut hashes = [0u64; BLOCK];
        for first in (0..rows).step_by(BLOCK) {
            let end = (first + BLOCK).min(rows);
            for i in first..end {
                let key = &packed[i * key_words..i * key_words + spec.words];
                let hash = hash_words(key.iter().copied());
                hashes[i - first] = hash;
                prefetch(at.wrapping_add(home(hash, count as u64)));
            }
            for i in (first..end).filter(|i| counts(*i)) {
                let hash = hashes[i - first];
                let mut slot = home(hash, count as u64);
                loop {
                    // SAFETY: there are `count` slots.
                    let value = unsafe { &mut *at.add(slot) };
                    if *value == 0 {
                        *value = (hash >> 32) << 32 | (i as u64 + 1);
                        first_of[i] = i as u32;
                        lens[i] = 1;
                        break;
                    }
                    let other = *value as u32 as usize - 1;
                    let (a, b) = (packed[other * key_words..].as_ptr(), packed[i * key_words..].as_ptr());
                    // SAFETY: both are packed keys.
                    if *value >> 32 == hash >> 32 && unsafe { same_key(&spec, a, b) } {
                        first_of[i] = other as u32;
                        lens[other] += 1;
                        unique = false;
                        break;
                    }
                    slot = if slot + 1 == count { 0 } else { slot + 1 };
                }
            }
        }
        let mut table = JoinTable {
            index: Index::Dense { map: vec![0], base: 0, len: 0 },
            null: 0,
            bits: None,
            key_bits: vec![],
            rows: vec![],
            counts: vec![],
            build_rows: rows,
            most: 1,
            visited: Visited::default(),
        };
        if !spec.null_equal {
            table.key_bits = selective_keys(&packed, rows, &spec, counts);
        }
        let keys = Words::zeroed(packed.len().max(key_words));
        // SAFETY: as many words; they do not overlap.
        unsafe { keys.as_ptr().copy_from_nonoverlapping(packed.as_ptr(), packed.len()) };
        if !unique {
            let (mut list, mut counts) = (vec![0u32; rows], vec![0u32; rows]);
            let mut entry_of = vec![0u32; rows];
            let mut next = 0u32;
            for i in 0..rows {
                if lens[i] == 0 {
                    continue;
                }
                entry_of[i] = next;
                counts[next as usize] = lens[i];
                // SAFETY: entry and row are below `rows`.
                unsafe {
                    let from = packed.as_ptr().add(i * key_words);
                    keys.as_ptr().add(next as usize * key_words).copy_from_nonoverlapping(from, key_words);
                }
                next += lens[i];
                table.most = table.most.max(lens[i]);
                lens[i] = 0;
            }
            for i in (0..rows).filter(|i| first_of[*i] != u32::MAX) {
                let first = first_of[i] as usize;
                list[(entry_of[first] + lens[first]) as usize] = i as u32;
                lens[first] += 1;
            }
            for slot in 0..count {
                // SAFETY: there are `count` slots.
                let value = unsafe { &mut *at.add(slot) };
                if *value != 0 {
                    let entry = entry_of[*value as u32 as usize - 1];
                    *value = *value >> 32 << 32 | u64::from(entry + 1);
                }
            }
            (table.rows, table.counts) = (list, counts);
        }
        table.index = Index::Packed { slots, count: count as u64, keys, spec };
        table
    }
}

/// Of packed keys, the integers that are worth asking first: fewer than half of the values of their range.
fn selective_keys(
    packed: &[u64],
    rows: usize,
    spec: &PackSpec,
    counts: &dyn Fn(usize) -> bool,
) -> Vec<(usize, KeyBits)> {
    let mut found = vec![];
    for (k, key) in spec.keys.iter().enumerate() {
        let word = |i: usize| packed[i * spec.key_words + key.word];
        // Signed or not, both sides are read alike.
        let bits = match key.kind {
            PackKind::W8 => KeyBits::in_range(&(0..rows).map(word).collect::<Vec<u64>>(), counts),
            PackKind::W4 => {
                let values = (0..rows).map(|i| (word(i) >> key.shift) as u32);
                KeyBits::in_range(&values.collect::<Vec<u32>>(), counts)
            }
            PackKind::Bits
            | PackKind::W1
            | PackKind::W2
            | PackKind::W16
            | PackKind::F32
            | PackKind::F64
            | PackKind::Text => None,
        };
        found.extend(bits.filter(KeyBits::is_selective).map(|b| (k, b)));
    }
    found
}
