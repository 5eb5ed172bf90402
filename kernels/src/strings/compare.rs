//! Comparing strings in byte order (which is code point order for UTF-8), to staged bits.
//!
//! Most comparisons end at the header: length and first four bytes for equality, the first four
//! bytes as a big-endian number for order (zero padding sorts a shorter string first, and a real NUL
//! byte ties with the padding, in which case the bytes decide).

use std::cmp::Ordering;

use super::load::Offset;
use super::{StrRef, bytes_equal};
use crate::bitmap::{set_word, words, write_bits};
use crate::isa::{dispatch, plain};

/// Whether two strings are equal.
///
/// # Safety
/// Both refer to living strings.
#[inline(always)]
pub(crate) unsafe fn equal(a: &StrRef, b: &StrRef) -> bool {
    let len = a.len as usize;
    // SAFETY: the headers agree, so both have `len` bytes.
    a.header() == b.header() && (len <= 4 || unsafe { bytes_equal(a.ptr.add(4), b.ptr.add(4), len - 4) })
}

/// # Safety
/// Both refer to living strings.
#[inline(always)]
pub(super) unsafe fn order(a: &StrRef, b: &StrRef) -> Ordering {
    match u32::from_be_bytes(a.prefix).cmp(&u32::from_be_bytes(b.prefix)) {
        // SAFETY: the caller's promise.
        Ordering::Equal => unsafe { a.bytes().cmp(b.bytes()) },
        decided => decided,
    }
}

macro_rules! comparisons {
    ($($(#[$doc:meta])* $kernel:ident $body:ident $kernel_const:ident $body_const:ident
        |$a:ident, $b:ident| $test:expr;)*) => {
        plain! { $(
            $(#[$doc])*
            pub fn $kernel = $body(n: usize, a: *const StrRef, b: *const StrRef, out: *mut u8);
            $(#[$doc])*
            /// Here `b` is one string.
            pub fn $kernel_const = $body_const(
                n: usize, a: *const StrRef, b: *const StrRef, out: *mut u8,
            );
        )* }
        $(
            unsafe fn $body(n: usize, a: *const StrRef, b: *const StrRef, out: *mut u8) {
                // SAFETY: a and b have n rows of living strings; out has room for n staged bits.
                unsafe {
                    write_bits(n, out, |i| {
                        let ($a, $b) = (&*a.add(i), &*b.add(i));
                        $test
                    })
                }
            }

            unsafe fn $body_const(n: usize, a: *const StrRef, b: *const StrRef, out: *mut u8) {
                // SAFETY: as above, with a single string behind b.
                unsafe {
                    let $b = &*b;
                    write_bits(n, out, |i| {
                        let $a = &*a.add(i);
                        $test
                    })
                }
            }
        )*
    };
}

comparisons! {
    /// `out = a == b`
    rt_str_eq str_eq rt_str_eq_const str_eq_const |a, b| equal(a, b);
    /// `out = a != b`
    rt_str_ne str_ne rt_str_ne_const str_ne_const |a, b| !equal(a, b);
    /// `out = a < b`
    rt_str_lt str_lt rt_str_lt_const str_lt_const |a, b| order(a, b) == Ordering::Less;
    /// `out = a <= b`
    rt_str_le str_le rt_str_le_const str_le_const |a, b| order(a, b) != Ordering::Greater;
    /// `out = a > b`
    rt_str_gt str_gt rt_str_gt_const str_gt_const |a, b| order(a, b) == Ordering::Greater;
    /// `out = a >= b`
    rt_str_ge str_ge rt_str_ge_const str_ge_const |a, b| order(a, b) != Ordering::Less;
}

dispatch! {
    /// `out = row == constant` straight from a utf8 array's offsets, without loading references.
    pub fn rt_utf8_eq_const_i32 = utf8_eq_const_i32(
        n: usize, offsets: *const i32, data: *const u8, constant: *const u8, len: usize,
        out: *mut u8,
    );
    /// `out = row == constant` straight from a large utf8 array's offsets.
    pub fn rt_utf8_eq_const_i64 = utf8_eq_const_i64(
        n: usize, offsets: *const i64, data: *const u8, constant: *const u8, len: usize,
        out: *mut u8,
    );
}

#[inline(always)]
unsafe fn utf8_eq_const_i32<const ISA: u8>(
    n: usize,
    offsets: *const i32,
    data: *const u8,
    constant: *const u8,
    len: usize,
    out: *mut u8,
) {
    // SAFETY: the caller's promise is passed on.
    unsafe { eq_const(n, offsets, data, constant, len, out) }
}

#[inline(always)]
unsafe fn utf8_eq_const_i64<const ISA: u8>(
    n: usize,
    offsets: *const i64,
    data: *const u8,
    constant: *const u8,
    len: usize,
    out: *mut u8,
) {
    // SAFETY: the caller's promise is passed on.
    unsafe { eq_const(n, offsets, data, constant, len, out) }
}

/// Lengths first, as a vector loop without branches; then bytes, only where the length fits.
#[inline(always)]
unsafe fn eq_const<O: Offset>(
    n: usize,
    offsets: *const O,
    data: *const u8,
    constant: *const u8,
    len: usize,
    out: *mut u8,
) {
    // SAFETY: offsets has n + 1 entries that bound bytes of `data`; out has words(n) words.
    unsafe {
        for at in 0..words(n) {
            let rows = (n - at * 64).min(64);
            let first = offsets.add(at * 64);
            let mut fits = 0u64;
            for k in 0..rows {
                let length = (*first.add(k + 1)).at() - (*first.add(k)).at();
                fits |= u64::from(length == len) << k;
            }
            let mut equal = fits;
            if len > 0 {
                let mut left = fits;
                while left != 0 {
                    let k = left.trailing_zeros() as usize;
                    let row = data.add((*first.add(k)).at());
                    if !bytes_equal(row, constant, len) {
                        equal &= !(1 << k);
                    }
                    left &= left - 1;
                }
            }
            set_word(out, at, equal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{bit_buffer, refs, staged, string};
    use super::*;
    use proptest::prelude::*;

    type Kernel = unsafe extern "C" fn(usize, *const StrRef, *const StrRef, *mut u8);
    type Case = (Kernel, Kernel, fn(Ordering) -> bool);

    fn cases() -> [Case; 6] {
        [
            (rt_str_eq, rt_str_eq_const, |o| o.is_eq()),
            (rt_str_ne, rt_str_ne_const, |o| o.is_ne()),
            (rt_str_lt, rt_str_lt_const, |o| o.is_lt()),
            (rt_str_le, rt_str_le_const, |o| o.is_le()),
            (rt_str_gt, rt_str_gt_const, |o| o.is_gt()),
            (rt_str_ge, rt_str_ge_const, |o| o.is_ge()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn all_comparisons(
            pairs in prop::collection::vec((string(), string()), 0..150),
            constant in string(),
        ) {
            let (a, b): (Vec<String>, Vec<String>) = pairs.into_iter().unzip();
            let n = a.len();
            let (ra, rb, rc) = (refs(&a), refs(&b), StrRef::new(constant.as_bytes()));
            for (kernel, kernel_const, test) in cases() {
                let mut out = bit_buffer(n);
                unsafe { kernel(n, ra.as_ptr(), rb.as_ptr(), out.as_mut_ptr()) };
                let want: Vec<bool> = a.iter().zip(&b).map(|(a, b)| test(a.cmp(b))).collect();
                prop_assert_eq!(&out, &staged(&want));
                unsafe { kernel_const(n, ra.as_ptr(), &rc, out.as_mut_ptr()) };
                let want: Vec<bool> = a.iter().map(|a| test(a.cmp(&constant))).collect();
                prop_assert_eq!(&out, &staged(&want));
            }
        }

        #[test]
        fn equality_from_offsets(
            strings in prop::collection::vec(string(), 0..200),
            pick in any::<prop::sample::Index>(),
            other in string(),
        ) {
            let n = strings.len();
            let constant = if n > 0 { strings[pick.index(n)].clone() } else { other };
            let data = strings.concat().into_bytes().into_boxed_slice();
            let mut ends = vec![0i64];
            for s in &strings {
                ends.push(ends.last().unwrap() + s.len() as i64);
            }
            let short: Vec<i32> = ends.iter().map(|&e| e as i32).collect();
            let want: Vec<bool> = strings.iter().map(|s| *s == constant).collect();
            let mut out = bit_buffer(n);
            unsafe {
                rt_utf8_eq_const_i32(
                    n, short.as_ptr(), data.as_ptr(), constant.as_ptr(), constant.len(),
                    out.as_mut_ptr(),
                )
            };
            prop_assert_eq!(&out, &staged(&want));
            out.fill(0xEE);
            unsafe {
                rt_utf8_eq_const_i64(
                    n, ends.as_ptr(), data.as_ptr(), constant.as_ptr(), constant.len(),
                    out.as_mut_ptr(),
                )
            };
            prop_assert_eq!(&out, &staged(&want));
        }
    }
}
