//! Strings in chunk buffers. Whatever the Arrow layout (offsets, views, dictionary), a string column
//! that generated code works on is first turned into 16-byte [`StrRef`]s, which point into the array's
//! own bytes; every string kernel reads and writes those, and builders copy bytes only at the end.
//!
//! Strings are UTF-8, as Arrow guarantees for valid rows. Rows that are null hold the empty string or
//! anything readable: kernels may compute on them, never fault on them.

pub mod builder;
pub mod compare;
pub mod extreme;
pub mod length;
pub mod like;
pub mod load;
pub mod search;
pub mod select;
pub mod set;
pub mod slice;

/// A string in memory that somebody else owns.
///
/// Example: `"hello"` is `{ len: 5, prefix: "hell", ptr -> "hello" }`, `"hi"` is
/// `{ len: 2, prefix: "hi\0\0", ptr -> "hi" }`. Two strings of different header (`len` and `prefix`,
/// compared as one word) differ, without a look at the bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct StrRef {
    /// Length in bytes.
    pub len: u32,
    /// The first four bytes, zero-padded.
    pub prefix: [u8; 4],
    /// The whole string, prefix included; not null, also when the string is empty.
    pub ptr: *const u8,
}

// SAFETY: a StrRef is a shared reference to bytes; who reads through it answers for their lifetime.
unsafe impl Send for StrRef {}
// SAFETY: as above.
unsafe impl Sync for StrRef {}

static NOTHING: [u8; 8] = [0; 8];

impl StrRef {
    /// The empty string.
    pub const EMPTY: StrRef = StrRef { len: 0, prefix: [0; 4], ptr: NOTHING.as_ptr() };

    /// A reference to `bytes`, which the caller keeps alive. Arrow strings are at most `u32::MAX`
    /// bytes long; a longer one is cut.
    #[inline]
    pub fn new(bytes: &[u8]) -> StrRef {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        // SAFETY: a slice is readable for its length.
        unsafe { StrRef::from_raw(bytes.as_ptr(), len) }
    }

    /// # Safety
    /// `ptr` is readable for `len` bytes.
    #[inline(always)]
    pub(crate) unsafe fn from_raw(ptr: *const u8, len: u32) -> StrRef {
        // SAFETY: the caller's promise.
        let prefix = unsafe { load_prefix(ptr, len) };
        StrRef { len, prefix, ptr }
    }

    /// The bytes.
    ///
    /// # Safety
    /// The string that this refers to is still alive, and stays so for `'a`.
    #[inline(always)]
    pub unsafe fn bytes<'a>(&self) -> &'a [u8] {
        // SAFETY: the type's invariant and the caller's promise.
        unsafe { std::slice::from_raw_parts(self.ptr, self.len as usize) }
    }

    /// `len` and `prefix` as one word.
    #[inline(always)]
    pub fn header(&self) -> u64 {
        u64::from(self.len) | u64::from(u32::from_le_bytes(self.prefix)) << 32
    }

    /// The part `start..end` in bytes; the caller passes `start <= end <= len`.
    #[inline(always)]
    pub(crate) unsafe fn part(&self, start: usize, end: usize) -> StrRef {
        debug_assert!(start <= end && end <= self.len as usize);
        // SAFETY: a part of a readable string is readable.
        unsafe { StrRef::from_raw(self.ptr.add(start), (end - start) as u32) }
    }
}

/// # Safety
/// `ptr` is readable for `len` bytes; nothing behind them is read.
#[inline(always)]
unsafe fn load_prefix(ptr: *const u8, len: u32) -> [u8; 4] {
    // SAFETY: every read lies below len.
    unsafe {
        match len {
            0 => [0; 4],
            1 => [*ptr, 0, 0, 0],
            2 => [*ptr, *ptr.add(1), 0, 0],
            3 => [*ptr, *ptr.add(1), *ptr.add(2), 0],
            4.. => ptr.cast::<[u8; 4]>().read(),
        }
    }
}

/// Eight bytes from `at` on, little-endian; the caller has checked that they exist.
#[inline(always)]
fn word_at(bytes: &[u8], at: usize) -> u64 {
    debug_assert!(at + 8 <= bytes.len());
    // SAFETY: every caller compares `at + 8` with the length first.
    u64::from_le(unsafe { bytes.as_ptr().add(at).cast::<u64>().read_unaligned() })
}

/// Four bytes from `at` on, little-endian; the caller has checked that they exist.
#[inline(always)]
fn half_at(bytes: &[u8], at: usize) -> u32 {
    debug_assert!(at + 4 <= bytes.len());
    // SAFETY: every caller compares `at + 4` with the length first.
    u32::from_le(unsafe { bytes.as_ptr().add(at).cast::<u32>().read_unaligned() })
}

/// Whether `len` bytes at `a` and `b` agree. Short strings are compared inline by overlapping words.
///
/// # Safety
/// Both are readable for `len` bytes.
#[inline(always)]
pub(crate) unsafe fn bytes_equal(a: *const u8, b: *const u8, len: usize) -> bool {
    // SAFETY: every read lies below len.
    unsafe {
        let at64 =
            |at: usize| a.add(at).cast::<u64>().read_unaligned() ^ b.add(at).cast::<u64>().read_unaligned();
        let at32 =
            |at: usize| a.add(at).cast::<u32>().read_unaligned() ^ b.add(at).cast::<u32>().read_unaligned();
        match len {
            0 => true,
            1 => *a == *b,
            2 | 3 => {
                let last = len - 2;
                a.cast::<u16>().read_unaligned() == b.cast::<u16>().read_unaligned()
                    && a.add(last).cast::<u16>().read_unaligned()
                        == b.add(last).cast::<u16>().read_unaligned()
            }
            4..=7 => at32(0) | at32(len - 4) == 0,
            8..=16 => at64(0) | at64(len - 8) == 0,
            17..=32 => at64(0) | at64(8) | at64(len - 16) | at64(len - 8) == 0,
            33.. => std::slice::from_raw_parts(a, len) == std::slice::from_raw_parts(b, len),
        }
    }
}

/// Strings for tests: short and long, shared prefixes, NUL bytes, all UTF-8 widths.
#[cfg(test)]
pub(crate) mod samples {
    use super::StrRef;
    use proptest::prelude::*;

    pub(crate) fn string() -> impl Strategy<Value = String> {
        prop_oneof![
            "[ab]{0,6}",
            "[ab%_\\\\]{0,8}",
            "abcd[ab]{0,20}",
            "[a-cé\u{0}ß€😀Kk]{0,12}",
            "[a-z]{0,70}",
        ]
    }

    pub(crate) fn strings() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec(string(), 0..150)
    }

    pub(crate) fn refs(strings: &[String]) -> Vec<StrRef> {
        strings.iter().map(|s| StrRef::new(s.as_bytes())).collect()
    }

    pub(crate) fn text(string: &StrRef) -> &str {
        std::str::from_utf8(unsafe { string.bytes() }).unwrap()
    }

    pub(crate) fn staged(bits: &[bool]) -> Vec<u8> {
        let mut out = vec![0u8; bits.len().div_ceil(64) * 8];
        for (i, &bit) in bits.iter().enumerate() {
            out[i / 8] |= u8::from(bit) << (i % 8);
        }
        out
    }

    pub(crate) fn bit_buffer(n: usize) -> Vec<u8> {
        vec![0xEE; n.div_ceil(64) * 8]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_what_generated_code_assumes() {
        assert_eq!(size_of::<StrRef>(), 16);
        assert_eq!(std::mem::offset_of!(StrRef, prefix), 4);
        assert_eq!(std::mem::offset_of!(StrRef, ptr), 8);
        assert_eq!(StrRef::new(b"hi").prefix, *b"hi\0\0");
        assert_eq!(StrRef::new(b"hello").header(), 5 | 0x6c6c_6568 << 32);
        assert_eq!(unsafe { StrRef::EMPTY.bytes() }, b"");
    }

    #[test]
    fn equality_at_every_length() {
        for len in 0..80 {
            let a: Vec<u8> = (0..len).map(|i| i as u8).collect();
            assert!(unsafe { bytes_equal(a.as_ptr(), a.clone().as_ptr(), len) });
            for at in 0..len {
                let mut b = a.clone();
                b[at] ^= 0x80;
                assert!(!unsafe { bytes_equal(a.as_ptr(), b.as_ptr(), len) }, "{len} {at}");
            }
        }
    }
}
