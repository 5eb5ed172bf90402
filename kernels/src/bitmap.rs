//! Bitmaps: staging from Arrow's unaligned bitmaps into word-aligned chunk buffers and back, counts,
//! logic, and moving bits along with rows that a filter kept.
//!
//! "Staged" bits start at bit 0 and fill whole 8-byte words, zero behind row `n`. Arrow bitmaps
//! (`src` of [`rt_stage_bits()`], `dst` of [`rt_append_bits()`] and [`rt_fill_ones()`]) start anywhere
//! and are touched only in the bytes that hold their bits.

use crate::isa::{V3, dispatch};

/// Number of 8-byte words that hold `n` staged bits.
#[inline(always)]
pub fn words(n: usize) -> usize {
    n.div_ceil(64)
}

/// Word `at` of staged bits.
///
/// # Safety
/// `bits` has at least `at + 1` words.
#[inline(always)]
pub(crate) unsafe fn word(bits: *const u8, at: usize) -> u64 {
    // SAFETY: the caller's promise.
    u64::from_le(unsafe { bits.cast::<u64>().add(at).read_unaligned() })
}

/// # Safety
/// `bits` has at least `at + 1` words.
#[inline(always)]
pub(crate) unsafe fn set_word(bits: *mut u8, at: usize, word: u64) {
    // SAFETY: the caller's promise.
    unsafe { bits.cast::<u64>().add(at).write_unaligned(word.to_le()) }
}

/// Whether row `row` is set in staged bits; a null pointer means that all rows are.
///
/// # Safety
/// `bits` is null or holds row `row`.
#[inline(always)]
pub(crate) unsafe fn bit_or_all(bits: *const u8, row: usize) -> bool {
    // SAFETY: the caller's promise.
    bits.is_null() || unsafe { *bits.add(row / 8) >> (row % 8) & 1 == 1 }
}

/// The lowest `k` bits set; `k` is at most 64.
#[inline(always)]
pub(crate) fn low_mask(k: usize) -> u64 {
    if k >= 64 { u64::MAX } else { (1u64 << k) - 1 }
}

/// Writes `f(row)` for `n` rows as staged bits.
///
/// # Safety
/// `out` has room for `n` staged bits.
#[inline(always)]
pub(crate) unsafe fn write_bits(n: usize, out: *mut u8, mut f: impl FnMut(usize) -> bool) {
    for at in 0..words(n) {
        let rows = (n - at * 64).min(64);
        let mut bits = 0u64;
        for k in 0..rows {
            bits |= u64::from(f(at * 64 + k)) << k;
        }
        // SAFETY: at < words(n), and the caller gave room for n staged bits.
        unsafe { set_word(out, at, bits) }
    }
}

dispatch! {
    /// Copies `n` bits that start `bit_offset` bits into `src` to staged bits.
    pub fn rt_stage_bits = stage_bits(src: *const u8, bit_offset: usize, n: usize, dst: *mut u8);
    /// Appends `n` staged bits to the bitmap `dst`, which has `dst_bit` bits so far and is zero
    /// behind them.
    pub fn rt_append_bits = append_bits(dst: *mut u8, dst_bit: usize, src: *const u8, n: usize);
    /// Appends `n` ones to the bitmap `dst`, which has `dst_bit` bits so far.
    pub fn rt_fill_ones = fill_ones(dst: *mut u8, dst_bit: usize, n: usize);
    /// Number of ones among the first `n` staged bits.
    pub fn rt_count_bits = count_bits(src: *const u8, n: usize) -> usize;
    /// `out = a & b` on staged bits; may run in place.
    pub fn rt_and_bits = and_bits(a: *const u8, b: *const u8, n: usize, out: *mut u8);
    /// `out = a | b` on staged bits; may run in place.
    pub fn rt_or_bits = or_bits(a: *const u8, b: *const u8, n: usize, out: *mut u8);
    /// `out = a & !b` on staged bits; may run in place.
    pub fn rt_andnot_bits = andnot_bits(a: *const u8, b: *const u8, n: usize, out: *mut u8);
    /// `out = !a` on staged bits; may run in place.
    pub fn rt_not_bits = not_bits(a: *const u8, n: usize, out: *mut u8);
    /// `dst[i] = src[sel[i]]` on staged bits.
    pub fn rt_gather_bits = gather_bits(src: *const u8, sel: *const u16, n: usize, dst: *mut u8);
    /// Keeps the bits of `src` whose row is set in `mask`, packed; returns how many there are. `dst`
    /// is written as staged bits of `n` rows, zero behind the kept ones.
    pub fn rt_compress_bits = compress_bits(
        mask: *const u8, n: usize, src: *const u8, dst: *mut u8,
    ) -> usize;
    /// Staged bits from one byte per row: set where the byte is not zero.
    pub fn rt_bytes_to_bits = bytes_to_bits(n: usize, src: *const u8, dst: *mut u8);
    /// One byte per row from staged bits: 0xFF where set, 0 elsewhere.
    pub fn rt_bits_to_bytes = bits_to_bytes(n: usize, src: *const u8, dst: *mut u8);
}

#[inline(always)]
unsafe fn stage_bits<const ISA: u8>(src: *const u8, bit_offset: usize, n: usize, dst: *mut u8) {
    let shift = bit_offset % 8;
    // SAFETY: the byte range touched is exactly the one that holds bits
    // [bit_offset, bit_offset + n); dst has words(n) words.
    unsafe {
        let src = src.add(bit_offset / 8);
        let full = n / 64;
        for at in 0..full {
            let low = word(src, at) >> shift;
            // The ninth byte exists because 64 bits from `shift` on reach into it.
            let high = if shift == 0 { 0 } else { u64::from(*src.add(at * 8 + 8)) << (64 - shift) };
            set_word(dst, at, low | high);
        }
        let rest = n % 64;
        if rest > 0 {
            let from = src.add(full * 8);
            let mut bits = 0u128;
            for at in 0..(shift + rest).div_ceil(8) {
                bits |= u128::from(*from.add(at)) << (at * 8);
            }
            set_word(dst, full, (bits >> shift) as u64 & low_mask(rest));
        }
    }
}

#[inline(always)]
unsafe fn append_bits<const ISA: u8>(dst: *mut u8, dst_bit: usize, src: *const u8, n: usize) {
    let shift = dst_bit % 8;
    // SAFETY: only bytes that hold bits [dst_bit, dst_bit + n) are touched; src has words(n) words.
    unsafe {
        let dst = dst.add(dst_bit / 8);
        let full = n / 64;
        for at in 0..full {
            let bits = word(src, at);
            let first = dst.add(at * 8);
            set_word(first, 0, word(first, 0) | bits << shift);
            if shift != 0 {
                *first.add(8) |= (bits >> (64 - shift)) as u8;
            }
        }
        let rest = n % 64;
        if rest > 0 {
            let first = dst.add(full * 8);
            let bits = u128::from(word(src, full) & low_mask(rest)) << shift;
            for at in 0..(shift + rest).div_ceil(8) {
                *first.add(at) |= (bits >> (at * 8)) as u8;
            }
        }
    }
}

#[inline(always)]
unsafe fn fill_ones<const ISA: u8>(dst: *mut u8, dst_bit: usize, n: usize) {
    if n == 0 {
        return;
    }
    let (first, last) = (dst_bit / 8, (dst_bit + n - 1) / 8);
    let head = 0xFFu8 << (dst_bit % 8);
    let tail = 0xFFu8 >> (7 - (dst_bit + n - 1) % 8);
    // SAFETY: bytes first..=last hold bits [dst_bit, dst_bit + n).
    unsafe {
        if first == last {
            *dst.add(first) |= head & tail;
        } else {
            *dst.add(first) |= head;
            dst.add(first + 1).write_bytes(0xFF, last - first - 1);
            *dst.add(last) |= tail;
        }
    }
}

#[inline(always)]
unsafe fn count_bits<const ISA: u8>(src: *const u8, n: usize) -> usize {
    let full = n / 64;
    let mut count = 0;
    // SAFETY: src has words(n) words.
    unsafe {
        for at in 0..full {
            count += word(src, at).count_ones() as usize;
        }
        if !n.is_multiple_of(64) {
            count += (word(src, full) & low_mask(n % 64)).count_ones() as usize;
        }
    }
    count
}

/// `out = f(a, b)` word by word, zero behind row `n`.
#[inline(always)]
unsafe fn map_words(a: *const u8, b: *const u8, n: usize, out: *mut u8, f: impl Fn(u64, u64) -> u64) {
    let full = n / 64;
    // SAFETY: all three have words(n) words; a word is read before the same word is written.
    unsafe {
        for at in 0..full {
            set_word(out, at, f(word(a, at), word(b, at)));
        }
        if !n.is_multiple_of(64) {
            set_word(out, full, f(word(a, full), word(b, full)) & low_mask(n % 64));
        }
    }
}

#[inline(always)]
unsafe fn and_bits<const ISA: u8>(a: *const u8, b: *const u8, n: usize, out: *mut u8) {
    // SAFETY: the caller's promise is passed on.
    unsafe { map_words(a, b, n, out, |a, b| a & b) }
}

#[inline(always)]
unsafe fn or_bits<const ISA: u8>(a: *const u8, b: *const u8, n: usize, out: *mut u8) {
    // SAFETY: the caller's promise is passed on.
    unsafe { map_words(a, b, n, out, |a, b| a | b) }
}

#[inline(always)]
unsafe fn andnot_bits<const ISA: u8>(a: *const u8, b: *const u8, n: usize, out: *mut u8) {
    // SAFETY: the caller's promise is passed on.
    unsafe { map_words(a, b, n, out, |a, b| a & !b) }
}

#[inline(always)]
unsafe fn not_bits<const ISA: u8>(a: *const u8, n: usize, out: *mut u8) {
    // SAFETY: the caller's promise is passed on.
    unsafe { map_words(a, a, n, out, |a, _| !a) }
}

#[inline(always)]
unsafe fn gather_bits<const ISA: u8>(src: *const u8, sel: *const u16, n: usize, dst: *mut u8) {
    // SAFETY: sel has n rows that lie within src; dst has words(n) words.
    unsafe {
        write_bits(n, dst, |i| {
            let row = *sel.add(i) as usize;
            *src.add(row / 8) >> (row % 8) & 1 == 1
        })
    }
}

/// The bits of `value` at the set positions of `mask`, packed to the low end.
#[inline(always)]
fn extract_bits<const ISA: u8>(value: u64, mask: u64) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if ISA >= V3 {
        // SAFETY: versions from V3 on only run where BMI2 was detected.
        return unsafe { std::arch::x86_64::_pext_u64(value, mask) };
    }
    let (mut left, mut packed, mut at) = (mask, 0u64, 0);
    while left != 0 {
        packed |= (value >> left.trailing_zeros() & 1) << at;
        at += 1;
        left &= left - 1;
    }
    packed
}

#[inline(always)]
unsafe fn compress_bits<const ISA: u8>(mask: *const u8, n: usize, src: *const u8, dst: *mut u8) -> usize {
    let mut pending = 0u64;
    let (mut filled, mut out) = (0usize, 0usize);
    // SAFETY: mask, src and dst have words(n) words, and no more words are written than read.
    unsafe {
        for at in 0..words(n) {
            let keep = word(mask, at) & low_mask(n - at * 64);
            let bits = extract_bits::<ISA>(word(src, at), keep);
            let count = keep.count_ones() as usize;
            pending |= bits << filled;
            if filled + count >= 64 {
                set_word(dst, out, pending);
                out += 1;
                pending = if filled == 0 { 0 } else { bits >> (64 - filled) };
                filled = filled + count - 64;
            } else {
                filled += count;
            }
        }
        let kept = out * 64 + filled;
        while out < words(n) {
            set_word(dst, out, pending);
            pending = 0;
            out += 1;
        }
        kept
    }
}

#[inline(always)]
unsafe fn bytes_to_bits<const ISA: u8>(n: usize, src: *const u8, dst: *mut u8) {
    // Eight bytes to eight bits: a byte is made 0x01 or 0x00, and the multiplication gathers bit 0
    // of byte k at bit 56 + k.
    const ONES: u64 = 0x0101_0101_0101_0101;
    const GATHER: u64 = 0x0102_0408_1020_4080;
    // SAFETY: src may be read to the next multiple of 8 rows; dst has words(n) words.
    unsafe {
        for at in 0..words(n) {
            let rows = (n - at * 64).min(64);
            let mut bits = 0u64;
            for group in 0..rows.div_ceil(8) {
                let v = word(src, at * 8 + group);
                let any = v | (v >> 4 & 0x0F0F_0F0F_0F0F_0F0F);
                let any = any | (any >> 2 & 0x3333_3333_3333_3333);
                let any = (any | (any >> 1 & 0x5555_5555_5555_5555)) & ONES;
                bits |= (any.wrapping_mul(GATHER) >> 56) << (group * 8);
            }
            set_word(dst, at, bits & low_mask(rows));
        }
    }
}

#[inline(always)]
unsafe fn bits_to_bytes<const ISA: u8>(n: usize, src: *const u8, dst: *mut u8) {
    for group in 0..n.div_ceil(8) {
        // SAFETY: dst may be written to the next multiple of 8 rows; src has n bits.
        unsafe {
            let bits = *src.add(group);
            for k in 0..8 {
                *dst.add(group * 8 + k) = if bits >> k & 1 == 1 { 0xFF } else { 0 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Level;
    use proptest::prelude::*;

    fn staged(bits: &[bool]) -> Vec<u8> {
        let mut out = vec![0u8; words(bits.len()) * 8];
        for (i, &bit) in bits.iter().enumerate() {
            out[i / 8] |= u8::from(bit) << (i % 8);
        }
        out
    }

    /// Staged bits with garbage behind row n, as a kernel may meet them.
    fn dirty(bits: &[bool]) -> Vec<u8> {
        let mut out = staged(bits);
        for i in bits.len()..out.len() * 8 {
            out[i / 8] |= 1 << (i % 8);
        }
        out
    }

    fn get(bits: &[u8], i: usize) -> bool {
        bits[i / 8] >> (i % 8) & 1 == 1
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn staging_and_appending(
            bits in prop::collection::vec(any::<bool>(), 0..400),
            from in 0usize..70,
            to in 0usize..70,
        ) {
            let n = bits.len();
            let mut packed = vec![0xA5u8; (from + n).div_ceil(8)];
            for (i, &bit) in bits.iter().enumerate() {
                let at = from + i;
                packed[at / 8] = packed[at / 8] & !(1 << (at % 8)) | u8::from(bit) << (at % 8);
            }
            let mut out = vec![0xEEu8; words(n) * 8];
            // SAFETY: every bitmap has room for the bits that the offsets and lengths name.
            unsafe { rt_stage_bits(packed.as_ptr(), from, n, out.as_mut_ptr()) };
            prop_assert_eq!(&out, &staged(&bits));

            let mut bitmap = vec![0u8; (to + n).div_ceil(8)];
            // SAFETY: every bitmap has room for the bits that the offsets and lengths name.
            unsafe { rt_fill_ones(bitmap.as_mut_ptr(), 0, to) };
            // SAFETY: as above.
            unsafe { rt_append_bits(bitmap.as_mut_ptr(), to, dirty(&bits).as_ptr(), n) };
            for i in 0..bitmap.len() * 8 {
                let want = if i < to { true } else { i - to < n && bits[i - to] };
                prop_assert_eq!(get(&bitmap, i), want);
            }
        }

        #[test]
        fn filling(from in 0usize..200, n in 0usize..200) {
            let mut bitmap = vec![0u8; (from + n).div_ceil(8)];
            // SAFETY: every bitmap has room for the bits that the offsets and lengths name.
            unsafe { rt_fill_ones(bitmap.as_mut_ptr(), from, n) };
            for i in 0..bitmap.len() * 8 {
                prop_assert_eq!(get(&bitmap, i), i >= from && i < from + n);
            }
        }

        #[test]
        fn logic_and_counts(pairs in prop::collection::vec(any::<(bool, bool)>(), 0..400)) {
            let (a, b): (Vec<bool>, Vec<bool>) = pairs.iter().copied().unzip();
            let n = a.len();
            let (da, db) = (dirty(&a), dirty(&b));
            prop_assert_eq!(
                // SAFETY: every bitmap has room for the bits that the offsets and lengths name.
                unsafe { rt_count_bits(da.as_ptr(), n) },
                a.iter().filter(|&&x| x).count()
            );
            type Kernel = unsafe extern "C" fn(*const u8, *const u8, usize, *mut u8);
            type Case = (Kernel, fn(bool, bool) -> bool);
            let cases: [Case; 3] = [
                (rt_and_bits, |a, b| a & b),
                (rt_or_bits, |a, b| a | b),
                (rt_andnot_bits, |a, b| a & !b),
            ];
            for (kernel, reference) in cases {
                let mut out = vec![0xEEu8; words(n) * 8];
                // SAFETY: every bitmap has room for the bits that the offsets and lengths name.
                unsafe { kernel(da.as_ptr(), db.as_ptr(), n, out.as_mut_ptr()) };
                let want: Vec<bool> = pairs.iter().map(|&(a, b)| reference(a, b)).collect();
                prop_assert_eq!(out, staged(&want));
            }
            let mut out = vec![0xEEu8; words(n) * 8];
            // SAFETY: every bitmap has room for the bits that the offsets and lengths name.
            unsafe { rt_not_bits(da.as_ptr(), n, out.as_mut_ptr()) };
            let want: Vec<bool> = a.iter().map(|x| !x).collect();
            prop_assert_eq!(out, staged(&want));
        }

        #[test]
        fn moving_bits(
            pairs in prop::collection::vec(any::<(bool, bool)>(), 0..400),
        ) {
            let (mask, src): (Vec<bool>, Vec<bool>) = pairs.iter().copied().unzip();
            let n = mask.len();
            let sel: Vec<u16> = (0..n).filter(|&i| mask[i]).map(|i| i as u16).collect();
            let kept: Vec<bool> = sel.iter().map(|&i| src[i as usize]).collect();
            let mut gathered = vec![0xEEu8; words(kept.len()) * 8];
            // SAFETY: every bitmap has room for the bits that the offsets and lengths name.
            unsafe {
                rt_gather_bits(dirty(&src).as_ptr(), sel.as_ptr(), sel.len(), gathered.as_mut_ptr())
            };
            prop_assert_eq!(&gathered, &staged(&kept));
            for level in Level::ALL.into_iter().filter(|l| l.is_available()) {
                let mut packed = vec![0xEEu8; words(n) * 8];
                // SAFETY: every bitmap has room for the bits that the offsets and lengths name.
                let count = unsafe {
                    rt_compress_bits::at(level)(
                        dirty(&mask).as_ptr(), n, dirty(&src).as_ptr(), packed.as_mut_ptr(),
                    )
                };
                let mut want = staged(&kept);
                want.resize(words(n) * 8, 0);
                prop_assert_eq!(count, kept.len());
                prop_assert_eq!(packed, want);
            }
        }

        #[test]
        fn bytes(values in prop::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..300)) {
            let n = values.len();
            let mut padded = values.clone();
            padded.resize(n.next_multiple_of(8), 0xFF);
            for level in Level::ALL.into_iter().filter(|l| l.is_available()) {
                let mut bits = vec![0xEEu8; words(n) * 8];
                // SAFETY: every bitmap has room for the bits that the offsets and lengths name.
                unsafe { rt_bytes_to_bits::at(level)(n, padded.as_ptr(), bits.as_mut_ptr()) };
                let want: Vec<bool> = values.iter().map(|&v| v != 0).collect();
                prop_assert_eq!(&bits, &staged(&want));
                let mut back = vec![0x11u8; n.next_multiple_of(8)];
                // SAFETY: every bitmap has room for the bits that the offsets and lengths name.
                unsafe { rt_bits_to_bytes::at(level)(n, bits.as_ptr(), back.as_mut_ptr()) };
                for i in 0..n {
                    prop_assert_eq!(back[i], if values[i] != 0 { 0xFF } else { 0 });
                }
            }
        }
    }
}
