//! Lengths: code points, bytes, bits. i32 for utf8 and views, i64 for large utf8, as in DataFusion.

use super::StrRef;
use crate::isa::dispatch;

dispatch! {
    /// `out` = number of code points.
    pub fn rt_str_char_length_i32 = char_length_i32(n: usize, a: *const StrRef, out: *mut i32);
    /// `out` = number of code points.
    pub fn rt_str_char_length_i64 = char_length_i64(n: usize, a: *const StrRef, out: *mut i64);
    /// `out` = number of bytes.
    pub fn rt_str_octet_length_i32 = octet_length_i32(n: usize, a: *const StrRef, out: *mut i32);
    /// `out` = number of bytes.
    pub fn rt_str_octet_length_i64 = octet_length_i64(n: usize, a: *const StrRef, out: *mut i64);
    /// `out` = number of bits (wrapping).
    pub fn rt_str_bit_length_i32 = bit_length_i32(n: usize, a: *const StrRef, out: *mut i32);
    /// `out` = number of bits.
    pub fn rt_str_bit_length_i64 = bit_length_i64(n: usize, a: *const StrRef, out: *mut i64);
}

/// Number of code points: the bytes that do not continue one (`0b10xx_xxxx`).
#[inline(always)]
pub(super) fn count_chars(bytes: &[u8]) -> usize {
    const CONTINUES: u64 = 0x8080_8080_8080_8080;
    let mut words = bytes.chunks_exact(8);
    let mut continuing = 0u32;
    for word in &mut words {
        let word =
            u64::from_le_bytes([word[0], word[1], word[2], word[3], word[4], word[5], word[6], word[7]]);
        // Bit 7 set and bit 6 clear.
        continuing += (word & !(word << 1) & CONTINUES).count_ones();
    }
    let rest = words.remainder().iter().filter(|&&b| b as i8 >= -64).count();
    (bytes.len() - words.remainder().len() - continuing as usize) + rest
}

macro_rules! lengths {
    ($($body:ident $ty:ty, |$s:ident| $length:expr;)*) => { $(
        #[inline(always)]
        unsafe fn $body<const ISA: u8>(n: usize, a: *const StrRef, out: *mut $ty) {
            for i in 0..n {
                // SAFETY: a has n rows of living strings, out has n rows.
                unsafe {
                    let $s = &*a.add(i);
                    *out.add(i) = $length;
                }
            }
        }
    )* };
}

lengths! {
    char_length_i32 i32, |s| count_chars(s.bytes()) as i32;
    char_length_i64 i64, |s| count_chars(s.bytes()) as i64;
    octet_length_i32 i32, |s| s.len as i32;
    octet_length_i64 i64, |s| i64::from(s.len);
    bit_length_i32 i32, |s| (s.len as i32).wrapping_mul(8);
    bit_length_i64 i64, |s| i64::from(s.len) * 8;
}

#[cfg(test)]
mod tests {
    use super::super::samples::{refs, strings};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn all_lengths(rows in strings()) {
            let refs = refs(&rows);
            let n = rows.len();
            let mut short = vec![0i32; n];
            let mut long = vec![0i64; n];
            unsafe {
                rt_str_char_length_i32(n, refs.as_ptr(), short.as_mut_ptr());
                rt_str_char_length_i64(n, refs.as_ptr(), long.as_mut_ptr());
            }
            for i in 0..n {
                prop_assert_eq!(short[i] as usize, rows[i].chars().count());
                prop_assert_eq!(long[i] as usize, rows[i].chars().count());
            }
            unsafe {
                rt_str_octet_length_i32(n, refs.as_ptr(), short.as_mut_ptr());
                rt_str_bit_length_i64(n, refs.as_ptr(), long.as_mut_ptr());
            }
            for i in 0..n {
                prop_assert_eq!(short[i] as usize, rows[i].len());
                prop_assert_eq!(long[i] as usize, rows[i].len() * 8);
            }
            unsafe {
                rt_str_bit_length_i32(n, refs.as_ptr(), short.as_mut_ptr());
                rt_str_octet_length_i64(n, refs.as_ptr(), long.as_mut_ptr());
            }
            for i in 0..n {
                prop_assert_eq!(short[i] as usize, rows[i].len() * 8);
                prop_assert_eq!(long[i] as usize, rows[i].len());
            }
        }
    }
}
