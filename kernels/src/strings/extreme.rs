//! The least or greatest string of an aggregate, one call per chunk.
//!
//! The running value is a copy ([`Extreme`]), because the array that a string came from may be gone by
//! the next chunk; within a chunk the winner so far is a mere reference, so that at most one string is
//! copied per chunk. Most rows lose by their first four bytes.

use std::cmp::Ordering;

use super::StrRef;
use super::compare::order;
use crate::bitmap::bit_or_all;
use crate::isa::plain;

/// The running value of `min` or `max` over text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extreme {
    /// The bytes of the best string so far; `None` before the first row that counts.
    pub best: Option<Vec<u8>>,
}

plain! {
    /// Replaces `state` by the least of it and of the rows that count: those whose bits are set in
    /// `valid` and in `filter` (staged bits, or null for all rows).
    pub fn rt_str_min = least(
        n: usize, a: *const StrRef, valid: *const u8, filter: *const u8, state: *mut Extreme,
    );
    /// As [`rt_str_min()`], the greatest.
    pub fn rt_str_max = greatest(
        n: usize, a: *const StrRef, valid: *const u8, filter: *const u8, state: *mut Extreme,
    );
}

unsafe fn least(n: usize, a: *const StrRef, valid: *const u8, filter: *const u8, state: *mut Extreme) {
    // SAFETY: the caller's promise is passed on.
    unsafe { find(n, a, valid, filter, state, Ordering::Less) }
}

unsafe fn greatest(n: usize, a: *const StrRef, valid: *const u8, filter: *const u8, state: *mut Extreme) {
    // SAFETY: the caller's promise is passed on.
    unsafe { find(n, a, valid, filter, state, Ordering::Greater) }
}

#[inline(always)]
unsafe fn find(
    n: usize,
    a: *const StrRef,
    valid: *const u8,
    filter: *const u8,
    state: *mut Extreme,
    wins: Ordering,
) {
    // SAFETY: `state` is a living object that nobody else touches; `a` has n rows of living strings, the
    // bitmaps n staged bits. The reference to the state's own bytes is not used after they change.
    unsafe {
        let state = &mut *state;
        let mut best = state.best.as_ref().map(|bytes| StrRef::new(bytes));
        let mut winner: Option<StrRef> = None;
        for i in 0..n {
            if !(bit_or_all(valid, i) && bit_or_all(filter, i)) {
                continue;
            }
            let row = *a.add(i);
            if best.is_none_or(|best| order(&row, &best) == wins) {
                best = Some(row);
                winner = best;
            }
        }
        if let Some(winner) = winner {
            let bytes = state.best.get_or_insert_default();
            bytes.clear();
            bytes.extend_from_slice(winner.bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{refs, staged, string};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn over_chunks(
            chunks in prop::collection::vec(
                prop::collection::vec((string(), any::<bool>(), any::<bool>()), 0..80), 0..4),
            with_valid in any::<bool>(),
            with_filter in any::<bool>(),
        ) {
            let (mut min, mut max) = (Extreme::default(), Extreme::default());
            let mut counted: Vec<Vec<u8>> = vec![];
            for chunk in &chunks {
                let texts: Vec<String> = chunk.iter().map(|r| r.0.clone()).collect();
                let valid = staged(&chunk.iter().map(|r| r.1).collect::<Vec<_>>());
                let filter = staged(&chunk.iter().map(|r| r.2).collect::<Vec<_>>());
                let bits = |there: bool, bits: &[u8]| if there { bits.as_ptr() } else { std::ptr::null() };
                let (valid, filter) = (bits(with_valid, &valid), bits(with_filter, &filter));
                let a = refs(&texts);
                // SAFETY: all have as many rows as the chunk, and the states are this test's own.
                unsafe {
                    rt_str_min(chunk.len(), a.as_ptr(), valid, filter, &mut min);
                    rt_str_max(chunk.len(), a.as_ptr(), valid, filter, &mut max);
                }
                let counts = |r: &&(String, bool, bool)| (r.1 || !with_valid) && (r.2 || !with_filter);
                counted.extend(chunk.iter().filter(counts).map(|r| r.0.clone().into_bytes()));
            }
            prop_assert_eq!(&min.best, &counted.iter().min().cloned());
            prop_assert_eq!(&max.best, &counted.iter().max().cloned());
        }
    }
}
