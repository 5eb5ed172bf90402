//! `starts_with`, `ends_with`, `contains` with a constant needle.

use memchr::memmem::Finder;

use super::{StrRef, bytes_equal};
use crate::bitmap::write_bits;
use crate::isa::plain;

/// A needle prepared once per compiled pipeline, for all three searches.
pub struct Needle {
    finder: Finder<'static>,
}

impl Needle {
    /// Prepares `needle`.
    pub fn new(needle: &[u8]) -> Needle {
        Needle { finder: Finder::new(needle).into_owned() }
    }

    /// The needle's bytes.
    pub fn bytes(&self) -> &[u8] {
        self.finder.needle()
    }

    /// Whether `haystack` starts with the needle.
    #[inline]
    pub fn starts(&self, haystack: &[u8]) -> bool {
        let needle = self.bytes();
        // SAFETY: both are readable for the needle's length.
        needle.len() <= haystack.len()
            && unsafe { bytes_equal(haystack.as_ptr(), needle.as_ptr(), needle.len()) }
    }

    /// Whether `haystack` ends with the needle.
    #[inline]
    pub fn ends(&self, haystack: &[u8]) -> bool {
        let needle = self.bytes();
        needle.len() <= haystack.len() && {
            let tail = &haystack[haystack.len() - needle.len()..];
            // SAFETY: both are readable for the needle's length.
            unsafe { bytes_equal(tail.as_ptr(), needle.as_ptr(), needle.len()) }
        }
    }

    /// Where the needle first occurs in `haystack`.
    #[inline]
    pub fn find(&self, haystack: &[u8]) -> Option<usize> {
        if self.bytes().len() > haystack.len() { None } else { self.finder.find(haystack) }
    }
}

plain! {
    /// `out = a starts with needle`; `needle` is a [`Needle`].
    pub fn rt_str_starts_with = starts_with(
        n: usize, a: *const StrRef, needle: *const Needle, out: *mut u8,
    );
    /// `out = a ends with needle`
    pub fn rt_str_ends_with = ends_with(
        n: usize, a: *const StrRef, needle: *const Needle, out: *mut u8,
    );
    /// `out = a contains needle`
    pub fn rt_str_contains = contains(
        n: usize, a: *const StrRef, needle: *const Needle, out: *mut u8,
    );
}

unsafe fn starts_with(n: usize, a: *const StrRef, needle: *const Needle, out: *mut u8) {
    // SAFETY: a has n rows of living strings, needle is alive, out has room for n staged bits.
    unsafe {
        let needle = &*needle;
        write_bits(n, out, |i| needle.starts((*a.add(i)).bytes()))
    }
}

unsafe fn ends_with(n: usize, a: *const StrRef, needle: *const Needle, out: *mut u8) {
    // SAFETY: as in starts_with.
    unsafe {
        let needle = &*needle;
        write_bits(n, out, |i| needle.ends((*a.add(i)).bytes()))
    }
}

unsafe fn contains(n: usize, a: *const StrRef, needle: *const Needle, out: *mut u8) {
    // SAFETY: as in starts_with.
    unsafe {
        let needle = &*needle;
        write_bits(n, out, |i| needle.find((*a.add(i)).bytes()).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{bit_buffer, refs, staged, strings};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn all_searches(rows in strings(), needle in "[abcé]{0,3}|abcd[ab]{0,2}") {
            let prepared = Needle::new(needle.as_bytes());
            let refs = refs(&rows);
            type Kernel = unsafe extern "C" fn(usize, *const StrRef, *const Needle, *mut u8);
            type Case = (Kernel, fn(&str, &str) -> bool);
            let cases: [Case; 3] = [
                (rt_str_starts_with, |s, n| s.starts_with(n)),
                (rt_str_ends_with, |s, n| s.ends_with(n)),
                (rt_str_contains, |s, n| s.contains(n)),
            ];
            for (kernel, reference) in cases {
                let mut out = bit_buffer(rows.len());
                unsafe { kernel(rows.len(), refs.as_ptr(), &prepared, out.as_mut_ptr()) };
                let want: Vec<bool> = rows.iter().map(|r| reference(r, &needle)).collect();
                prop_assert_eq!(out, staged(&want));
            }
        }
    }
}
