//! `substr`, `left`, `right`: parts of strings, without a copy. Positions count code points.
//!
//! Semantics are DataFusion's (PostgreSQL's): positions start at 1, a range that sticks out of the
//! string is cut to it. Rows: `substr('Hi🌏', 2, 2) = 'i🌏'`, `substr('abc', 0, 2) = 'a'`,
//! `substr('abc', -1) = 'abc'`, `left('abc', -1) = 'ab'`, `right('abc', -1) = 'bc'`.

use super::{StrRef, half_at, word_at};
use crate::bitmap::bit_or_all;
use crate::isa::plain;

plain! {
    /// `out` = the part of `a` that starts at code point `start[i]` and has `count[i]` code points;
    /// a null `count` means "to the end". An active row fails if its count is negative or its start is
    /// `i64::MIN`; failing and inactive rows give the empty string where they cannot be computed.
    pub fn rt_str_substr = substr(
        n: usize, a: *const StrRef, start: *const i64, count: *const i64, active: *const u8,
        out: *mut StrRef,
    ) -> i64;
    /// `out` = the first `count[i]` code points; a negative count leaves out that many at the end.
    pub fn rt_str_left = left(n: usize, a: *const StrRef, count: *const i64, out: *mut StrRef);
    /// `out` = the last `count[i]` code points; a negative count leaves out that many at the start.
    pub fn rt_str_right = right(n: usize, a: *const StrRef, count: *const i64, out: *mut StrRef);
}

/// Whether the first eight bytes are ASCII (all of them, where there are fewer).
#[inline(always)]
fn starts_ascii(bytes: &[u8]) -> bool {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    match bytes.len() {
        0..4 => bytes.is_ascii(),
        4..8 => (half_at(bytes, 0) | half_at(bytes, bytes.len() - 4)) & HIGH as u32 == 0,
        8.. => word_at(bytes, 0) & HIGH == 0,
    }
}

/// The byte where code point `k` starts, or the length if there are no more than `k`.
#[inline(always)]
fn byte_of_char(bytes: &[u8], k: usize) -> usize {
    // No string has more code points than bytes, and among ASCII bytes positions agree.
    if k >= bytes.len() {
        return bytes.len();
    }
    if k <= 8 && starts_ascii(bytes) {
        return k;
    }
    let (mut at, mut left) = (0, k);
    while left >= 8 && at + 8 <= bytes.len() {
        let word = word_at(bytes, at);
        let continuing = (word & !(word << 1) & 0x8080_8080_8080_8080).count_ones() as usize;
        left -= 8 - continuing;
        at += 8;
    }
    // `at` may lie inside a code point now: its continuation bytes do not count.
    while at < bytes.len() {
        if bytes[at] as i8 >= -64 {
            if left == 0 {
                return at;
            }
            left -= 1;
        }
        at += 1;
    }
    bytes.len()
}

/// The byte where the last `k` code points start, or 0 if there are no more than `k`.
#[inline(always)]
fn byte_of_char_from_end(bytes: &[u8], k: usize) -> usize {
    let mut at = bytes.len();
    let mut left = k;
    while left > 0 && at > 0 {
        at -= 1;
        if bytes[at] as i8 >= -64 {
            left -= 1;
        }
    }
    at
}

unsafe fn substr(
    n: usize,
    a: *const StrRef,
    start: *const i64,
    count: *const i64,
    active: *const u8,
    out: *mut StrRef,
) -> i64 {
    let mut status = 0;
    for i in 0..n {
        // SAFETY: a, start and out have n rows, count too unless it is null, active is null or
        // staged bits of n rows; parts lie within their string.
        unsafe {
            let string = &*a.add(i);
            let bytes = string.bytes();
            let from = *start.add(i);
            let count = if count.is_null() { None } else { Some(*count.add(i)) };
            if count.is_some_and(|c| c < 0) || from == i64::MIN {
                if status == 0 && bit_or_all(active, i) {
                    status = i as i64 + 1;
                }
                *out.add(i) = StrRef::EMPTY;
                continue;
            }
            let from = from - 1;
            // In code points; a string never has more than its bytes.
            let to = count.map_or(i64::MAX, |c| from.saturating_add(c)).clamp(0, bytes.len() as i64) as usize;
            let from = from.clamp(0, bytes.len() as i64) as usize;
            let first = byte_of_char(bytes, from);
            let last = first + byte_of_char(&bytes[first..], to.saturating_sub(from));
            *out.add(i) = string.part(first, last);
        }
    }
    status
}

/// `n` as a number of code points; more than any string has if it does not fit.
#[inline(always)]
fn magnitude(n: i64) -> usize {
    usize::try_from(n.unsigned_abs()).unwrap_or(usize::MAX)
}

unsafe fn left(n: usize, a: *const StrRef, count: *const i64, out: *mut StrRef) {
    for i in 0..n {
        // SAFETY: a, count and out have n rows; parts lie within their string.
        unsafe {
            let (string, count) = (&*a.add(i), *count.add(i));
            let end = if count >= 0 {
                byte_of_char(string.bytes(), magnitude(count))
            } else {
                byte_of_char_from_end(string.bytes(), magnitude(count))
            };
            *out.add(i) = string.part(0, end);
        }
    }
}

unsafe fn right(n: usize, a: *const StrRef, count: *const i64, out: *mut StrRef) {
    for i in 0..n {
        // SAFETY: a, count and out have n rows; parts lie within their string.
        unsafe {
            let (string, count) = (&*a.add(i), *count.add(i));
            let start = if count >= 0 {
                byte_of_char_from_end(string.bytes(), magnitude(count))
            } else {
                byte_of_char(string.bytes(), magnitude(count))
            };
            *out.add(i) = string.part(start, string.len as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{refs, staged, string, text};
    use super::*;
    use proptest::prelude::*;

    fn number() -> impl Strategy<Value = i64> {
        prop_oneof![-3i64..20, -80i64..80, prop::sample::select(vec![i64::MIN, i64::MIN + 1, i64::MAX]),]
    }

    fn substr_of(s: &str, start: i64, count: Option<i64>) -> Option<String> {
        // Without a count the string's end is the end, however far before it the start lies.
        let count = count.map_or(i128::MAX / 2, i128::from);
        if count < 0 || start == i64::MIN {
            return None;
        }
        let first = i128::from(start);
        let kept = s.chars().enumerate().filter(|(at, _)| {
            let at = *at as i128 + 1;
            at >= first && at < first + count
        });
        Some(kept.map(|(_, c)| c).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn substrings(
            rows in prop::collection::vec((string(), number(), number(), any::<bool>()), 0..80),
        ) {
            let n = rows.len();
            let strings: Vec<String> = rows.iter().map(|r| r.0.clone()).collect();
            let start: Vec<i64> = rows.iter().map(|r| r.1).collect();
            let count: Vec<i64> = rows.iter().map(|r| r.2).collect();
            let active: Vec<bool> = rows.iter().map(|r| r.3).collect();
            let refs = refs(&strings);
            for with_count in [true, false] {
                let mut out = vec![StrRef::EMPTY; n];
                let counts = if with_count { count.as_ptr() } else { std::ptr::null() };
                let bits = staged(&active);
                let status = unsafe {
                    rt_str_substr(
                        n, refs.as_ptr(), start.as_ptr(), counts, bits.as_ptr(), out.as_mut_ptr(),
                    )
                };
                let want: Vec<Option<String>> = (0..n)
                    .map(|i| substr_of(&strings[i], start[i], with_count.then_some(count[i])))
                    .collect();
                let failing = (0..n).find(|&i| active[i] && want[i].is_none());
                prop_assert_eq!(status, failing.map_or(0, |i| i as i64 + 1));
                for i in 0..n {
                    prop_assert_eq!(text(&out[i]), want[i].as_deref().unwrap_or(""));
                }
            }
        }

        #[test]
        fn ends(rows in prop::collection::vec((string(), number()), 0..80)) {
            let n = rows.len();
            let strings: Vec<String> = rows.iter().map(|r| r.0.clone()).collect();
            let count: Vec<i64> = rows.iter().map(|r| r.1).collect();
            let refs = refs(&strings);
            let mut lefts = vec![StrRef::EMPTY; n];
            let mut rights = vec![StrRef::EMPTY; n];
            unsafe {
                rt_str_left(n, refs.as_ptr(), count.as_ptr(), lefts.as_mut_ptr());
                rt_str_right(n, refs.as_ptr(), count.as_ptr(), rights.as_mut_ptr());
            }
            for i in 0..n {
                let chars: Vec<char> = strings[i].chars().collect();
                let len = chars.len() as i128;
                let count = i128::from(count[i]);
                let keep = if count >= 0 { count.min(len) } else { (len + count).max(0) } as usize;
                let want: String = chars[..keep].iter().collect();
                prop_assert_eq!(text(&lefts[i]), want);
                let want: String = chars[chars.len() - keep..].iter().collect();
                prop_assert_eq!(text(&rights[i]), want);
            }
        }
    }
}
