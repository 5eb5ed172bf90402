//! String output: growable buffers in Arrow's layouts, filled from [`StrRef`]s chunk by chunk.
//!
//! Generated code holds an opaque pointer and calls the append kernel once per chunk; the runtime
//! makes the builder and takes the buffers. Rows that are not valid append the empty string, so the
//! output never leaks what lay under a null. Validity itself is collected elsewhere.

use super::StrRef;
use super::load::INLINE;
use crate::bitmap::bit_or_all;
use crate::isa::plain;

/// Output of a utf8 column.
pub type Utf8Builder = OffsetBuilder<i32>;
/// Output of a large utf8 column.
pub type LargeUtf8Builder = OffsetBuilder<i64>;

/// An offset type of a utf8 column.
pub trait OffsetType: Copy + Sized {
    /// The first offset.
    const ZERO: Self;
    /// `bytes` as an offset, if it fits.
    fn from_bytes(bytes: usize) -> Option<Self>;
}

impl OffsetType for i32 {
    const ZERO: i32 = 0;
    #[inline(always)]
    fn from_bytes(bytes: usize) -> Option<i32> {
        i32::try_from(bytes).ok()
    }
}

impl OffsetType for i64 {
    const ZERO: i64 = 0;
    #[inline(always)]
    fn from_bytes(bytes: usize) -> Option<i64> {
        i64::try_from(bytes).ok()
    }
}

/// Strings as offsets and bytes. `offsets` starts with 0 and has one entry more than there are rows.
pub struct OffsetBuilder<O> {
    offsets: Vec<O>,
    data: Vec<u8>,
}

impl<O: OffsetType> OffsetBuilder<O> {
    /// A builder with room for `rows` rows and `bytes` bytes.
    pub fn with_capacity(rows: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(O::ZERO);
        OffsetBuilder { offsets, data: Vec::with_capacity(bytes) }
    }

    /// Number of rows so far.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there are no rows yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory held, for accounting.
    pub fn memory(&self) -> usize {
        self.offsets.capacity() * size_of::<O>() + self.data.capacity()
    }

    /// Takes offsets and bytes, leaving an empty builder.
    pub fn take(&mut self) -> (Vec<O>, Vec<u8>) {
        let offsets = std::mem::replace(&mut self.offsets, vec![O::ZERO]);
        (offsets, std::mem::take(&mut self.data))
    }

    /// Appends rows. The first row that does not fit the offset type is returned as `Err`; nothing
    /// has been appended then.
    ///
    /// # Safety
    /// `refs` has `n` rows, of which the valid ones refer to living strings; `valid` is null (all
    /// are) or staged bits of `n` rows.
    pub unsafe fn append(&mut self, n: usize, refs: *const StrRef, valid: *const u8) -> Result<(), usize> {
        // SAFETY: the caller's promise; bytes are written inside what was just reserved.
        unsafe {
            let start = self.data.len();
            let mut end = start;
            let rows = self.offsets.len();
            self.offsets.reserve(n);
            let offsets = self.offsets.as_mut_ptr().add(rows);
            for i in 0..n {
                if bit_or_all(valid, i) {
                    end += (*refs.add(i)).len as usize;
                }
                let Some(offset) = O::from_bytes(end) else {
                    return Err(i);
                };
                offsets.add(i).write(offset);
            }
            self.data.reserve(end - start);
            let mut to = self.data.as_mut_ptr().add(start);
            for i in 0..n {
                if bit_or_all(valid, i) {
                    let string = &*refs.add(i);
                    copy(string.ptr, to, string.len as usize);
                    to = to.add(string.len as usize);
                }
            }
            self.data.set_len(end);
            self.offsets.set_len(rows + n);
        }
        Ok(())
    }
}

/// Copies `len` bytes; short strings by overlapping words instead of a call.
///
/// # Safety
/// `from` is readable and `to` writable for `len` bytes, and they do not overlap.
#[inline(always)]
unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: every access lies below len.
    unsafe {
        match len {
            0 => {}
            1..=3 => {
                let (first, middle, last) = (*from, *from.add(len / 2), *from.add(len - 1));
                *to = first;
                *to.add(len / 2) = middle;
                *to.add(len - 1) = last;
            }
            4..=7 => {
                let first = from.cast::<u32>().read_unaligned();
                let last = from.add(len - 4).cast::<u32>().read_unaligned();
                to.cast::<u32>().write_unaligned(first);
                to.add(len - 4).cast::<u32>().write_unaligned(last);
            }
            8..=16 => {
                let first = from.cast::<u64>().read_unaligned();
                let last = from.add(len - 8).cast::<u64>().read_unaligned();
                to.cast::<u64>().write_unaligned(first);
                to.add(len - 8).cast::<u64>().write_unaligned(last);
            }
            17..=32 => {
                let first = from.cast::<u128>().read_unaligned();
                let last = from.add(len - 16).cast::<u128>().read_unaligned();
                to.cast::<u128>().write_unaligned(first);
                to.add(len - 16).cast::<u128>().write_unaligned(last);
            }
            33.. => std::ptr::copy_nonoverlapping(from, to, len),
        }
    }
}

/// First block of a view builder, bytes.
const FIRST_BLOCK: usize = 8 << 10;
/// Blocks double up to this size; a longer string gets a block of its own.
const LAST_BLOCK: usize = 2 << 20;

/// Output of a string view column: views, and blocks of bytes that long strings are copied to.
pub struct ViewBuilder {
    views: Vec<u128>,
    full: Vec<Vec<u8>>,
    block: Vec<u8>,
    next_block: usize,
}

impl ViewBuilder {
    /// A builder with room for `rows` rows.
    pub fn with_capacity(rows: usize) -> ViewBuilder {
        ViewBuilder {
            views: Vec::with_capacity(rows),
            full: Vec::new(),
            block: Vec::new(),
            next_block: FIRST_BLOCK,
        }
    }

    /// Number of rows so far.
    pub fn len(&self) -> usize {
        self.views.len()
    }

    /// Whether there are no rows yet.
    pub fn is_empty(&self) -> bool {
        self.views.is_empty()
    }

    /// Bytes of memory held, for accounting.
    pub fn memory(&self) -> usize {
        let blocks: usize = self.full.iter().map(Vec::capacity).sum();
        self.views.capacity() * size_of::<u128>() + blocks + self.block.capacity()
    }

    /// Takes views and the data buffers that they index, leaving an empty builder.
    pub fn take(&mut self) -> (Vec<u128>, Vec<Vec<u8>>) {
        self.finish_block();
        self.next_block = FIRST_BLOCK;
        (std::mem::take(&mut self.views), std::mem::take(&mut self.full))
    }

    fn finish_block(&mut self) {
        if !self.block.is_empty() {
            self.full.push(std::mem::take(&mut self.block));
        }
    }

    /// Appends rows.
    ///
    /// # Safety
    /// As [`OffsetBuilder::append`].
    pub unsafe fn append(&mut self, n: usize, refs: *const StrRef, valid: *const u8) {
        self.views.reserve(n);
        for i in 0..n {
            // SAFETY: the caller's promise.
            let view = unsafe { if bit_or_all(valid, i) { self.view(&*refs.add(i)) } else { 0 } };
            self.views.push(view);
        }
    }

    /// # Safety
    /// `string` is alive.
    #[inline(always)]
    unsafe fn view(&mut self, string: &StrRef) -> u128 {
        let len = string.len as usize;
        let header = u128::from(string.header());
        if string.len <= INLINE {
            if len <= 4 {
                return header;
            }
            // Bytes 4.. of the string, as two overlapping reads of four.
            // SAFETY: they lie in a string of 5 to 12 bytes.
            let rest = unsafe {
                if len >= 8 {
                    let low = string.ptr.add(4).cast::<u32>().read_unaligned();
                    let high = string.ptr.add(len - 4).cast::<u32>().read_unaligned();
                    u64::from(u32::from_le(low)) | u64::from(u32::from_le(high)) << ((len - 8) * 8)
                } else {
                    let last = string.ptr.add(len - 4).cast::<u32>().read_unaligned();
                    u64::from(u32::from_le(last)) >> ((8 - len) * 8)
                }
            };
            return header | u128::from(rest) << 64;
        }
        if self.block.capacity() - self.block.len() < len {
            self.finish_block();
            self.block = Vec::with_capacity(self.next_block.max(len));
            self.next_block = (self.next_block * 2).min(LAST_BLOCK);
        }
        let at = self.block.len();
        // SAFETY: the block has room for len bytes, and the string is readable for them.
        unsafe {
            copy(string.ptr, self.block.as_mut_ptr().add(at), len);
            self.block.set_len(at + len);
        }
        header | (self.full.len() as u128) << 64 | (at as u128) << 96
    }
}

plain! {
    /// Appends `n` rows to a [`Utf8Builder`]; `valid` is null or staged bits. Fails, appending
    /// nothing, where the bytes exceed what 32-bit offsets reach.
    pub fn rt_utf8_append = utf8_append(
        builder: *mut Utf8Builder, n: usize, refs: *const StrRef, valid: *const u8,
    ) -> i64;
    /// Appends `n` rows to a [`LargeUtf8Builder`].
    pub fn rt_large_utf8_append = large_utf8_append(
        builder: *mut LargeUtf8Builder, n: usize, refs: *const StrRef, valid: *const u8,
    ) -> i64;
    /// Appends `n` rows to a [`ViewBuilder`]; never fails.
    pub fn rt_view_append = view_append(
        builder: *mut ViewBuilder, n: usize, refs: *const StrRef, valid: *const u8,
    ) -> i64;
}

fn status(result: Result<(), usize>) -> i64 {
    match result {
        Ok(()) => 0,
        Err(row) => row as i64 + 1,
    }
}

unsafe fn utf8_append(builder: *mut Utf8Builder, n: usize, refs: *const StrRef, valid: *const u8) -> i64 {
    // SAFETY: the builder is alive and nobody else uses it; the rest is the caller's promise.
    status(unsafe { (*builder).append(n, refs, valid) })
}

unsafe fn large_utf8_append(
    builder: *mut LargeUtf8Builder,
    n: usize,
    refs: *const StrRef,
    valid: *const u8,
) -> i64 {
    // SAFETY: as in utf8_append.
    status(unsafe { (*builder).append(n, refs, valid) })
}

unsafe fn view_append(builder: *mut ViewBuilder, n: usize, refs: *const StrRef, valid: *const u8) -> i64 {
    // SAFETY: as in utf8_append.
    unsafe { (*builder).append(n, refs, valid) };
    0
}

#[cfg(test)]
mod tests {
    use super::super::load::{rt_load_utf8_i32, rt_load_view};
    use super::super::samples::{refs, staged, string, text};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn what_goes_in_comes_out(
            chunks in prop::collection::vec(
                prop::collection::vec((string(), prop::bool::weighted(0.8)), 0..60), 0..6,
            ),
            use_valid in any::<bool>(),
        ) {
            let mut utf8 = Utf8Builder::with_capacity(0, 0);
            let mut large = LargeUtf8Builder::with_capacity(10, 100);
            let mut views = ViewBuilder::with_capacity(0);
            let mut want = Vec::new();
            for chunk in &chunks {
                let strings: Vec<String> = chunk.iter().map(|r| r.0.clone()).collect();
                let bits = staged(&chunk.iter().map(|r| r.1).collect::<Vec<_>>());
                let valid = if use_valid { bits.as_ptr() } else { std::ptr::null() };
                let (n, refs) = (strings.len(), refs(&strings));
                unsafe {
                    prop_assert_eq!(rt_utf8_append(&mut utf8, n, refs.as_ptr(), valid), 0);
                    prop_assert_eq!(rt_large_utf8_append(&mut large, n, refs.as_ptr(), valid), 0);
                    prop_assert_eq!(rt_view_append(&mut views, n, refs.as_ptr(), valid), 0);
                }
                want.extend(chunk.iter().map(|(s, ok)| {
                    if *ok || !use_valid { s.clone() } else { String::new() }
                }));
            }
            prop_assert_eq!((utf8.len(), large.len(), views.len()), (want.len(), want.len(), want.len()));
            let (offsets, data) = utf8.take();
            let (long_offsets, long_data) = large.take();
            prop_assert_eq!(&data, &want.concat().into_bytes());
            prop_assert_eq!(&data, &long_data);
            prop_assert!(offsets.iter().map(|&o| i64::from(o)).eq(long_offsets));
            let mut back = vec![StrRef::EMPTY; want.len()];
            unsafe {
                rt_load_utf8_i32(want.len(), offsets.as_ptr(), data.as_ptr(), back.as_mut_ptr())
            };
            prop_assert!(back.iter().map(text).eq(want.iter().map(|s| s.as_str())));

            let (views, blocks) = views.take();
            let starts: Vec<*const u8> = blocks.iter().map(|b| b.as_ptr()).collect();
            unsafe {
                rt_load_view(
                    want.len(), views.as_ptr(), starts.as_ptr(), std::ptr::null(),
                    back.as_mut_ptr(),
                )
            };
            prop_assert!(back.iter().map(text).eq(want.iter().map(|s| s.as_str())));
            // Arrow's rule for short strings: zero behind the bytes.
            for (view, string) in views.iter().zip(&want) {
                if string.len() <= 12 {
                    let bytes = view.to_le_bytes();
                    prop_assert!(bytes[4 + string.len()..].iter().all(|&b| b == 0));
                }
            }
        }
    }

    #[test]
    fn blocks_grow_and_long_strings_fit() {
        let long = "x".repeat(3 << 20);
        let medium = "y".repeat(100);
        let mut builder = ViewBuilder::with_capacity(0);
        let rows: Vec<String> =
            (0..2000).map(|i| if i == 700 { long.clone() } else { format!("{medium}{i}") }).collect();
        unsafe { builder.append(rows.len(), refs(&rows).as_ptr(), std::ptr::null()) };
        let (views, blocks) = builder.take();
        assert!(blocks.len() > 3 && blocks.len() < 20);
        for (view, row) in views.iter().zip(&rows) {
            let (buffer, at) = ((view >> 64) as u32 as usize, (view >> 96) as usize);
            assert_eq!(&blocks[buffer][at..at + row.len()], row.as_bytes());
        }
        assert!(builder.is_empty());
    }

    #[test]
    fn offsets_that_do_not_fit_are_reported() {
        // The length is claimed, not backed: the check runs before any byte is read.
        let mut claim = StrRef::new(b"abcd");
        claim.len = u32::MAX / 4;
        let rows = [claim; 4];
        let mut builder = Utf8Builder::with_capacity(0, 0);
        let status = unsafe { rt_utf8_append(&mut builder, 4, rows.as_ptr(), std::ptr::null()) };
        assert_eq!((status, builder.len()), (3, 0));
    }
}
