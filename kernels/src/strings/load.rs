//! Loading a chunk of an Arrow string column into [`StrRef`]s.
//!
//! Null slots: offsets are monotone and in range there too (Arrow's rule), so they are read; views
//! under nulls may be garbage in imported data, so `valid` decides; dictionary keys may be anything
//! and are checked against the table instead.

use super::StrRef;
use crate::bitmap::bit_or_all;
use crate::isa::plain;

plain! {
    /// Rows of a utf8 array: `offsets` has `n + 1` entries and is already moved to the first row.
    pub fn rt_load_utf8_i32 = load_utf8(
        n: usize, offsets: *const i32, data: *const u8, out: *mut StrRef,
    );
    /// Rows of a large utf8 array: `offsets` has `n + 1` entries.
    pub fn rt_load_utf8_i64 = load_large_utf8(
        n: usize, offsets: *const i64, data: *const u8, out: *mut StrRef,
    );
    /// Rows of a string view array. `buffers` lists the start of every data buffer; `valid` is null
    /// or staged bits, and rows that are not valid become empty. Short strings point into `views`.
    pub fn rt_load_view = load_view(
        n: usize, views: *const u128, buffers: *const *const u8, valid: *const u8,
        out: *mut StrRef,
    );
    /// Rows of a dictionary array with i8 keys; a key outside the table gives the empty string.
    pub fn rt_load_dict_i8 = load_dict(
        n: usize, keys: *const i8, table: *const StrRef, table_len: usize, out: *mut StrRef,
    );
    /// As [`rt_load_dict_i8()`], i16 keys.
    pub fn rt_load_dict_i16 = load_dict(
        n: usize, keys: *const i16, table: *const StrRef, table_len: usize, out: *mut StrRef,
    );
    /// As [`rt_load_dict_i8()`], i32 keys.
    pub fn rt_load_dict_i32 = load_dict(
        n: usize, keys: *const i32, table: *const StrRef, table_len: usize, out: *mut StrRef,
    );
    /// As [`rt_load_dict_i8()`], i64 keys.
    pub fn rt_load_dict_i64 = load_dict(
        n: usize, keys: *const i64, table: *const StrRef, table_len: usize, out: *mut StrRef,
    );
    /// As [`rt_load_dict_i8()`], u8 keys.
    pub fn rt_load_dict_u8 = load_dict(
        n: usize, keys: *const u8, table: *const StrRef, table_len: usize, out: *mut StrRef,
    );
    /// As [`rt_load_dict_i8()`], u16 keys.
    pub fn rt_load_dict_u16 = load_dict(
        n: usize, keys: *const u16, table: *const StrRef, table_len: usize, out: *mut StrRef,
    );
    /// As [`rt_load_dict_i8()`], u32 keys.
    pub fn rt_load_dict_u32 = load_dict(
        n: usize, keys: *const u32, table: *const StrRef, table_len: usize, out: *mut StrRef,
    );
    /// As [`rt_load_dict_i8()`], u64 keys.
    pub fn rt_load_dict_u64 = load_dict(
        n: usize, keys: *const u64, table: *const StrRef, table_len: usize, out: *mut StrRef,
    );
}

/// An offset of a utf8 array; Arrow keeps them non-negative and ascending.
pub(crate) trait Offset: Copy {
    fn at(self) -> usize;
}
impl Offset for i32 {
    #[inline(always)]
    fn at(self) -> usize {
        self as usize
    }
}
impl Offset for i64 {
    #[inline(always)]
    fn at(self) -> usize {
        self as usize
    }
}

#[inline(always)]
unsafe fn load_offsets<O: Offset>(n: usize, offsets: *const O, data: *const u8, out: *mut StrRef) {
    // SAFETY: offsets has n + 1 entries that bound bytes of `data`. An empty array may come with a
    // null `data`; then every string is empty and gets a pointer that is not null.
    unsafe {
        let data = if data.is_null() { StrRef::EMPTY.ptr } else { data };
        let mut start = if n > 0 { (*offsets).at() } else { 0 };
        for i in 0..n {
            let end = (*offsets.add(i + 1)).at();
            let len = u32::try_from(end - start).unwrap_or(u32::MAX);
            *out.add(i) = StrRef::from_raw(data.add(start), len);
            start = end;
        }
    }
}

unsafe fn load_utf8(n: usize, offsets: *const i32, data: *const u8, out: *mut StrRef) {
    // SAFETY: the caller's promise is passed on.
    unsafe { load_offsets(n, offsets, data, out) }
}

unsafe fn load_large_utf8(n: usize, offsets: *const i64, data: *const u8, out: *mut StrRef) {
    // SAFETY: the caller's promise is passed on.
    unsafe { load_offsets(n, offsets, data, out) }
}

/// Strings of at most this many bytes lie in the view itself.
pub(super) const INLINE: u32 = 12;

unsafe fn load_view(
    n: usize,
    views: *const u128,
    buffers: *const *const u8,
    valid: *const u8,
    out: *mut StrRef,
) {
    for i in 0..n {
        // SAFETY: views has n rows; a valid row's view is well formed; staged bits have n rows.
        unsafe {
            *out.add(i) = if bit_or_all(valid, i) {
                let at = views.add(i);
                let view = at.read_unaligned();
                let len = view as u32;
                let prefix = (view >> 32) as u32;
                if len <= INLINE {
                    // Arrow zeroes the bytes behind a short string, but not everyone else does.
                    let keep = if len >= 4 { u32::MAX } else { (1 << (len * 8)) - 1 };
                    let prefix = (prefix & keep).to_le_bytes();
                    StrRef { len, prefix, ptr: at.cast::<u8>().add(4) }
                } else {
                    let buffer = *buffers.add((view >> 64) as u32 as usize);
                    let ptr = buffer.add((view >> 96) as usize);
                    StrRef { len, prefix: prefix.to_le_bytes(), ptr }
                }
            } else {
                StrRef::EMPTY
            };
        }
    }
}

/// A dictionary key; negative ones become huge and miss the table.
trait Key: Copy {
    fn at(self) -> usize;
}
macro_rules! keys {
    ($($ty:ty)*) => { $(
        impl Key for $ty {
            #[inline(always)]
            fn at(self) -> usize {
                self as usize
            }
        }
    )* };
}
keys!(i8 i16 i32 i64 u8 u16 u32 u64);

#[inline(always)]
unsafe fn load_dict<K: Key>(
    n: usize,
    keys: *const K,
    table: *const StrRef,
    table_len: usize,
    out: *mut StrRef,
) {
    for i in 0..n {
        // SAFETY: keys and out have n rows, and the table is read below its length only.
        unsafe {
            let key = (*keys.add(i)).at();
            *out.add(i) = if key < table_len { *table.add(key) } else { StrRef::EMPTY };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{refs, staged, strings, text};
    use super::*;
    use proptest::prelude::*;

    fn empty(n: usize) -> Vec<StrRef> {
        vec![StrRef::EMPTY; n]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn offsets_of_both_widths(strings in strings(), skip in 0usize..20) {
            let data = strings.concat().into_bytes().into_boxed_slice();
            let mut ends = vec![0i64];
            for s in &strings {
                ends.push(ends.last().unwrap() + s.len() as i64);
            }
            let short: Vec<i32> = ends.iter().map(|&e| e as i32).collect();
            let skip = skip.min(strings.len());
            let n = strings.len() - skip;
            let (mut a, mut b) = (empty(n), empty(n));
            unsafe {
                rt_load_utf8_i32(n, short[skip..].as_ptr(), data.as_ptr(), a.as_mut_ptr());
                rt_load_utf8_i64(n, ends[skip..].as_ptr(), data.as_ptr(), b.as_mut_ptr());
            }
            for (i, want) in strings[skip..].iter().enumerate() {
                prop_assert_eq!(text(&a[i]), want);
                prop_assert_eq!(text(&b[i]), want);
                prop_assert_eq!(a[i].header(), StrRef::new(want.as_bytes()).header());
            }
        }

        #[test]
        fn views(rows in prop::collection::vec((super::super::samples::string(), any::<bool>()), 0..100)) {
            // Two buffers, so that the index matters; null rows get views that would fault.
            let mut buffers = [Vec::new(), Vec::new()];
            let mut views = Vec::new();
            for (i, (s, valid)) in rows.iter().enumerate() {
                let mut view = [0xFFu8; 16];
                if *valid {
                    view[..4].copy_from_slice(&(s.len() as u32).to_le_bytes());
                    if s.len() <= 12 {
                        view[4..4 + s.len()].copy_from_slice(s.as_bytes());
                    } else {
                        let buffer = &mut buffers[i % 2];
                        view[4..8].copy_from_slice(&s.as_bytes()[..4]);
                        view[8..12].copy_from_slice(&(i as u32 % 2).to_le_bytes());
                        view[12..].copy_from_slice(&(buffer.len() as u32).to_le_bytes());
                        buffer.extend_from_slice(s.as_bytes());
                    }
                }
                views.push(u128::from_le_bytes(view));
            }
            let starts = [buffers[0].as_ptr(), buffers[1].as_ptr()];
            let valid: Vec<bool> = rows.iter().map(|r| r.1).collect();
            let mut out = empty(rows.len());
            unsafe {
                rt_load_view(
                    rows.len(), views.as_ptr(), starts.as_ptr(), staged(&valid).as_ptr(),
                    out.as_mut_ptr(),
                )
            };
            for ((s, valid), got) in rows.iter().zip(&out) {
                let want = if *valid { s.as_str() } else { "" };
                prop_assert_eq!(text(got), want);
                prop_assert_eq!(got.header(), StrRef::new(want.as_bytes()).header());
            }
        }

        #[test]
        fn dictionaries(values in strings(), keys in prop::collection::vec(any::<i8>(), 0..200)) {
            let table = refs(&values);
            let n = keys.len();
            let wide: Vec<u64> = keys.iter().map(|&k| k as u64).collect();
            let (mut a, mut b) = (empty(n), empty(n));
            unsafe {
                rt_load_dict_i8(n, keys.as_ptr(), table.as_ptr(), table.len(), a.as_mut_ptr());
                rt_load_dict_u64(n, wide.as_ptr(), table.as_ptr(), table.len(), b.as_mut_ptr());
            }
            for i in 0..n {
                let want = usize::try_from(keys[i]).ok().and_then(|k| values.get(k));
                prop_assert_eq!(text(&a[i]), want.map_or("", |s| s.as_str()));
                prop_assert_eq!(text(&b[i]), text(&a[i]));
            }
        }
    }
}
