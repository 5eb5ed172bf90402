//! Which build rows of a join were met, while it is probed and afterwards.
//!
//! Loops note either rows, or entries of keys, which is less to note where a key has several rows and no
//! condition tells them apart. Bits are only ever set, by any thread; who reads them knows that all loops
//! are through.

use super::table::JoinTable;
use std::sync::atomic::{AtomicU64, Ordering};

/// A bit per number below the rows of the build side; without any until somebody asks for them.
#[derive(Debug, Default)]
pub(super) struct Visited(Vec<AtomicU64>);

impl Visited {
    pub(super) fn new(rows: usize) -> Visited {
        Visited((0..rows.div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    #[inline(always)]
    pub(super) fn set(&self, number: u32) {
        if let Some(word) = self.0.get(number as usize / 64) {
            let bit = 1u64 << (number % 64);
            if word.load(Ordering::Relaxed) & bit == 0 {
                word.fetch_or(bit, Ordering::Relaxed);
            }
        }
    }

    fn words(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().map(|w| w.load(Ordering::Relaxed))
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.len() * 8
    }
}

impl JoinTable {
    /// The bits of build rows that were met, where loops noted rows, or with `by_entry` entries.
    pub fn visited_rows(&self, by_entry: bool) -> Vec<u64> {
        let noted: Vec<u64> = self.visited.words().collect();
        if !by_entry || self.is_unique() {
            return noted;
        }
        let mut rows = vec![0u64; noted.len()];
        for (at, word) in noted.into_iter().enumerate() {
            let mut rest = word;
            while rest != 0 {
                let entry = at as u32 * 64 + rest.trailing_zeros();
                for row in self.rows_of(entry).iter() {
                    rows[*row as usize / 64] |= 1 << (row % 64);
                }
                rest &= rest - 1;
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(words: &[u64]) -> Vec<usize> {
        (0..words.len() * 64).filter(|i| words[i / 64] >> (i % 64) & 1 == 1).collect()
    }

    #[test]
    fn an_entry_stands_for_all_rows_of_its_key() {
        for spread in [1, 7_919_000_009i64] {
            let keys: Vec<i64> = (0..300).map(|i| i % 100 * spread).collect();
            let mut table = JoinTable::of_ints(&keys, None, false, 1);
            table.track_visits();
            for key in [3, 99] {
                table.visit(table.find_int(Some((key * spread) as u64)).expect("a key"));
            }
            assert_eq!(numbers(&table.visited_rows(true)), [3, 99, 103, 199, 203, 299]);
        }
        let mut table = JoinTable::of_ints(&[5i32, 9, 7], None, false, 1);
        table.track_visits();
        table.visit(table.find_int(Some(9)).expect("a key"));
        assert_eq!(numbers(&table.visited_rows(true)), [1]);
        assert_eq!(numbers(&table.visited_rows(false)), [1]);
    }
}
