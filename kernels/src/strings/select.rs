//! Choosing between string columns, broadcasting a constant, hashing.
//!
//! A gather by selection vector is `rt_gather_16`, a compaction `rt_compress_16`: references are
//! plain 16-byte values. `coalesce(a, b)` is a select by `a`'s validity bits.

use super::{StrRef, half_at, word_at};
use crate::isa::{dispatch, plain};

dispatch! {
    /// `out = mask ? a : b`, row by row; may run in place.
    pub fn rt_str_select = select(
        n: usize, mask: *const u8, a: *const StrRef, b: *const StrRef, out: *mut StrRef,
    );
    /// `out = value` in every row.
    pub fn rt_str_fill = fill(n: usize, value: *const StrRef, out: *mut StrRef);
}

plain! {
    /// `out` = a 64-bit hash of the bytes; the same on every machine and in every process.
    pub fn rt_str_hash = hash(n: usize, a: *const StrRef, out: *mut u64);
}

#[inline(always)]
unsafe fn select<const ISA: u8>(
    n: usize,
    mask: *const u8,
    a: *const StrRef,
    b: *const StrRef,
    out: *mut StrRef,
) {
    for i in 0..n {
        // SAFETY: all have n rows; a row is read before the same row is written.
        unsafe {
            let chosen = *mask.add(i / 8) >> (i % 8) & 1 == 1;
            *out.add(i) = *if chosen { a.add(i) } else { b.add(i) };
        }
    }
}

#[inline(always)]
unsafe fn fill<const ISA: u8>(n: usize, value: *const StrRef, out: *mut StrRef) {
    for i in 0..n {
        // SAFETY: out has n rows.
        unsafe { *out.add(i) = *value }
    }
}

unsafe fn hash(n: usize, a: *const StrRef, out: *mut u64) {
    for i in 0..n {
        // SAFETY: a has n rows of living strings, out has n rows.
        unsafe { *out.add(i) = hash_bytes((*a.add(i)).bytes()) }
    }
}

const SECRET: [u64; 3] = [0xA076_1D64_78BD_642F, 0xE703_7ED1_A0B4_28DB, 0x8EBC_6AF0_9C88_C6E3];

/// Both halves of the 128-bit product, folded: every input bit reaches every output bit.
#[inline(always)]
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// A 64-bit hash of `bytes` by folded multiplication, sixteen bytes a step. Not meant to resist an
/// adversary.
#[inline]
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let word = |at: usize| word_at(bytes, at);
    let half = |at: usize| u64::from(half_at(bytes, at));
    let len = bytes.len();
    let mut seed = SECRET[0];
    let (a, b) = match len {
        0 => (0, 0),
        1..=3 => {
            let (first, middle, last) = (bytes[0], bytes[len / 2], bytes[len - 1]);
            (u64::from(first) << 16 | u64::from(middle) << 8 | u64::from(last), 0)
        }
        4..=7 => (half(0), half(len - 4)),
        8..=16 => (word(0), word(len - 8)),
        17.. => {
            let mut at = 0;
            while at + 16 < len {
                seed = mix(word(at) ^ SECRET[1], word(at + 8) ^ seed);
                at += 16;
            }
            (word(len - 16), word(len - 8))
        }
    };
    mix(SECRET[2] ^ len as u64, mix(a ^ SECRET[1], b ^ seed))
}

#[cfg(test)]
mod tests {
    use super::super::samples::{refs, staged, string, text};
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        #[test]
        fn selecting(rows in prop::collection::vec((string(), string(), any::<bool>()), 0..100)) {
            let n = rows.len();
            let a: Vec<String> = rows.iter().map(|r| r.0.clone()).collect();
            let b: Vec<String> = rows.iter().map(|r| r.1.clone()).collect();
            let mask: Vec<bool> = rows.iter().map(|r| r.2).collect();
            let mut out = refs(&a);
            let (left, right) = (out.as_mut_ptr(), refs(&b));
            unsafe { rt_str_select(n, staged(&mask).as_ptr(), left, right.as_ptr(), left) };
            for i in 0..n {
                prop_assert_eq!(text(&out[i]), if mask[i] { &a[i] } else { &b[i] });
            }
            let constant = StrRef::new(b"constant");
            unsafe { rt_str_fill(n, &constant, out.as_mut_ptr()) };
            prop_assert!(out.iter().all(|s| text(s) == "constant"));
        }
    }

    #[test]
    fn hashes_spread_and_repeat() {
        // One bit changed anywhere, and every length: no collision in 64 bits nor in the low 20 of a
        // few thousand beyond what chance gives.
        let mut seen = HashSet::new();
        let mut count = 0;
        for len in 0..70usize {
            let base: Vec<u8> = (0..len).map(|i| (i * 37) as u8).collect();
            for bit in 0..len * 8 {
                let mut changed = base.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                count += 1;
                assert!(seen.insert(hash_bytes(&changed)), "collision at {len}, {bit}");
                assert_eq!(hash_bytes(&changed), hash_bytes(&changed.clone()));
            }
        }
        let low: HashSet<u64> = seen.iter().map(|h| h & 0xF_FFFF).collect();
        assert!(low.len() as f64 > f64::from(count) * 0.98, "{} of {count}", low.len());
        let mut out = [0u64; 1];
        unsafe { rt_str_hash(1, &StrRef::new(b"abc"), out.as_mut_ptr()) };
        assert_eq!(out[0], hash_bytes(b"abc"));
    }
}
