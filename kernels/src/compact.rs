//! Compaction: from a mask to a selection vector, and moving fixed-width values along with the rows
//! that stay.
//!
//! Two ways lead from `n` rows and a mask to `k` packed rows: `mask_to_sel` once and a `gather` per
//! column, or one `compress` per column. `compress` wins with AVX-512 and for 4 and 8 byte values
//! with AVX2 when more than a few percent stay; a selection vector is needed anyway where row
//! numbers are (strings, passenger columns).

use crate::bitmap::{low_mask, word, words};
use crate::isa::dispatch;
#[cfg(target_arch = "x86_64")]
use crate::isa::{V3, V4};

#[cfg(target_arch = "x86_64")]
mod x86;

/// `POSITIONS[m]` holds the positions of the ones of `m`, ascending, then zeros.
static POSITIONS: [[u8; 8]; 256] = {
    let mut table = [[0u8; 8]; 256];
    let mut mask = 0;
    while mask < 256 {
        let (mut bit, mut out) = (0, 0);
        while bit < 8 {
            if mask >> bit & 1 == 1 {
                table[mask][out] = bit as u8;
                out += 1;
            }
            bit += 1;
        }
        mask += 1;
    }
    table
};

dispatch! {
    /// Writes the numbers of the rows set in `mask` to `sel` and returns how many there are. `sel`
    /// has room for `n` rows rounded up to a multiple of 8.
    pub fn rt_mask_to_sel = mask_to_sel(mask: *const u8, n: usize, sel: *mut u16) -> usize;
    /// `dst[i] = src[sel[i]]` for values of 1 byte.
    pub fn rt_gather_1 = gather_1(src: *const u8, sel: *const u16, n: usize, dst: *mut u8);
    /// `dst[i] = src[sel[i]]` for values of 2 bytes.
    pub fn rt_gather_2 = gather_2(src: *const u8, sel: *const u16, n: usize, dst: *mut u8);
    /// `dst[i] = src[sel[i]]` for values of 4 bytes.
    pub fn rt_gather_4 = gather_4(src: *const u8, sel: *const u16, n: usize, dst: *mut u8);
    /// `dst[i] = src[sel[i]]` for values of 8 bytes.
    pub fn rt_gather_8 = gather_8(src: *const u8, sel: *const u16, n: usize, dst: *mut u8);
    /// `dst[i] = src[sel[i]]` for values of 16 bytes (decimals, string references and views).
    pub fn rt_gather_16 = gather_16(src: *const u8, sel: *const u16, n: usize, dst: *mut u8);
    /// Packs the 1-byte values whose row is set in `mask`; returns how many there are.
    pub fn rt_compress_1 = compress_1(
        mask: *const u8, n: usize, src: *const u8, dst: *mut u8,
    ) -> usize;
    /// Packs the 2-byte values whose row is set in `mask`; returns how many there are.
    pub fn rt_compress_2 = compress_2(
        mask: *const u8, n: usize, src: *const u8, dst: *mut u8,
    ) -> usize;
    /// Packs the 4-byte values whose row is set in `mask`; returns how many there are.
    pub fn rt_compress_4 = compress_4(
        mask: *const u8, n: usize, src: *const u8, dst: *mut u8,
    ) -> usize;
    /// Packs the 8-byte values whose row is set in `mask`; returns how many there are.
    pub fn rt_compress_8 = compress_8(
        mask: *const u8, n: usize, src: *const u8, dst: *mut u8,
    ) -> usize;
    /// Packs the 16-byte values whose row is set in `mask`; returns how many there are.
    pub fn rt_compress_16 = compress_16(
        mask: *const u8, n: usize, src: *const u8, dst: *mut u8,
    ) -> usize;
    /// `dst[i] = base + sel[i]`: selected rows as row numbers of a batch (wrapping).
    pub fn rt_rowid_sel = rowid_sel(sel: *const u16, n: usize, base: u32, dst: *mut u32);
    /// `dst[i] = a[b[i]]`: the selection `b` of rows that `a` had selected.
    pub fn rt_compose_sel = compose_sel(a: *const u16, b: *const u16, n: usize, dst: *mut u16);
}

#[inline(always)]
unsafe fn mask_to_sel<const ISA: u8>(mask: *const u8, n: usize, sel: *mut u16) -> usize {
    #[cfg(target_arch = "x86_64")]
    if ISA >= V4 {
        // SAFETY: this version only runs where AVX-512 VBMI2 was detected.
        return unsafe { x86::mask_to_sel_v4(mask, n, sel) };
    }
    let mut count = 0;
    for at in 0..words(n) {
        // SAFETY: mask has words(n) words. Eight entries are written at `count`, which is at most
        // the number of rows already seen, so the store ends inside the rounded-up buffer.
        unsafe {
            let bits = word(mask, at) & low_mask(n - at * 64);
            let groups = (n - at * 64).min(64).div_ceil(8);
            for group in 0..groups {
                let eight = (bits >> (group * 8)) as u8;
                let base = (at * 64 + group * 8) as u16;
                let positions = &POSITIONS[eight as usize];
                let mut rows = [0u16; 8];
                for k in 0..8 {
                    rows[k] = base + u16::from(positions[k]);
                }
                sel.add(count).cast::<[u16; 8]>().write_unaligned(rows);
                count += eight.count_ones() as usize;
            }
        }
    }
    count
}

#[inline(always)]
unsafe fn gather<T: Copy>(src: *const u8, sel: *const u16, n: usize, dst: *mut u8) {
    let (src, dst) = (src.cast::<T>(), dst.cast::<T>());
    // SAFETY: sel has n rows that lie within src; dst has room for n values.
    unsafe {
        let mut i = 0;
        while i + 4 <= n {
            let rows = sel.add(i).cast::<[u16; 4]>().read_unaligned();
            for (k, row) in rows.into_iter().enumerate() {
                let value = src.add(row as usize).read_unaligned();
                dst.add(i + k).write_unaligned(value);
            }
            i += 4;
        }
        while i < n {
            dst.add(i).write_unaligned(src.add(*sel.add(i) as usize).read_unaligned());
            i += 1;
        }
    }
}

/// Packs values of type `T` one set bit at a time.
#[inline(always)]
unsafe fn compress<T: Copy>(mask: *const u8, n: usize, src: *const u8, dst: *mut u8) -> usize {
    let (src, dst) = (src.cast::<T>(), dst.cast::<T>());
    let mut count = 0;
    for at in 0..words(n) {
        // SAFETY: mask has words(n) words; set rows lie below n; count never passes the row.
        unsafe {
            let mut bits = word(mask, at) & low_mask(n - at * 64);
            if bits == u64::MAX {
                std::ptr::copy_nonoverlapping(src.add(at * 64), dst.add(count), 64);
                count += 64;
                continue;
            }
            while bits != 0 {
                let row = at * 64 + bits.trailing_zeros() as usize;
                dst.add(count).write_unaligned(src.add(row).read_unaligned());
                count += 1;
                bits &= bits - 1;
            }
        }
    }
    count
}

macro_rules! by_width {
    ($($gather:ident $compress:ident $ty:ty, $v3:ident, $v4:ident;)*) => { $(
        #[inline(always)]
        unsafe fn $gather<const ISA: u8>(src: *const u8, sel: *const u16, n: usize, dst: *mut u8) {
            // SAFETY: the caller's promise is passed on.
            unsafe { gather::<$ty>(src, sel, n, dst) }
        }

        #[inline(always)]
        unsafe fn $compress<const ISA: u8>(
            mask: *const u8,
            n: usize,
            src: *const u8,
            dst: *mut u8,
        ) -> usize {
            // SAFETY: the caller's promise is passed on, and a level's version only runs where its
            // features were detected.
            unsafe {
                #[cfg(target_arch = "x86_64")]
                {
                    if ISA >= V4 {
                        return x86::$v4(mask, n, src, dst);
                    }
                    if ISA >= V3 {
                        return x86::$v3(mask, n, src, dst);
                    }
                }
                compress::<$ty>(mask, n, src, dst)
            }
        }
    )* };
}

by_width! {
    gather_1 compress_1 u8, compress_1_v3, compress_1_v4;
    gather_2 compress_2 u16, compress_2_v3, compress_2_v4;
    gather_4 compress_4 u32, compress_4_v3, compress_4_v4;
    gather_8 compress_8 u64, compress_8_v3, compress_8_v4;
    gather_16 compress_16 [u64; 2], compress_16_v3, compress_16_v4;
}

#[inline(always)]
unsafe fn rowid_sel<const ISA: u8>(sel: *const u16, n: usize, base: u32, dst: *mut u32) {
    for i in 0..n {
        // SAFETY: sel and dst have n rows.
        unsafe { *dst.add(i) = base.wrapping_add(u32::from(*sel.add(i))) }
    }
}

#[inline(always)]
unsafe fn compose_sel<const ISA: u8>(a: *const u16, b: *const u16, n: usize, dst: *mut u16) {
    // SAFETY: b and dst have n rows; b's rows lie within a.
    unsafe { gather::<u16>(a.cast(), b, n, dst.cast()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Level;
    use proptest::prelude::*;

    fn staged(bits: &[bool]) -> Vec<u8> {
        let mut out = vec![0xFFu8; words(bits.len()) * 8];
        for (i, &bit) in bits.iter().enumerate() {
            out[i / 8] = out[i / 8] & !(1 << (i % 8)) | u8::from(bit) << (i % 8);
        }
        out
    }

    /// `n` values of `width` bytes, row `i` made of bytes that name it.
    fn values(n: usize, width: usize) -> Vec<u8> {
        (0..n).flat_map(|i| (0..width).map(move |k| (i * 31 + k * 7 + i / 256) as u8)).collect()
    }

    fn masks() -> impl Strategy<Value = Vec<bool>> {
        (0usize..300, 0.0f64..=1.0).prop_flat_map(|(n, p)| prop::collection::vec(prop::bool::weighted(p), n))
    }

    fn levels() -> impl Iterator<Item = Level> {
        Level::ALL.into_iter().filter(|l| l.is_available())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]

        #[test]
        fn selections(mask in masks()) {
            let n = mask.len();
            let want: Vec<u16> = (0..n).filter(|&i| mask[i]).map(|i| i as u16).collect();
            for level in levels() {
                // Exactly the promised room, with a canary behind it.
                let room = n.next_multiple_of(8);
                let mut sel = vec![0xABCDu16; room + 1];
                // SAFETY: a staged mask has whole words, `sel` the rows rounded up.
                let count = unsafe {
                    rt_mask_to_sel::at(level)(staged(&mask).as_ptr(), n, sel.as_mut_ptr())
                };
                prop_assert_eq!(count, want.len());
                prop_assert_eq!(&sel[..count], &want[..]);
                prop_assert_eq!(sel[room], 0xABCD);
            }
            let half: Vec<u16> = (0..want.len() as u16).step_by(2).collect();
            let mut composed = vec![0u16; half.len()];
            // SAFETY: `half` counts rows of `want`, and `composed` is as long.
            unsafe {
                rt_compose_sel(want.as_ptr(), half.as_ptr(), half.len(), composed.as_mut_ptr())
            };
            prop_assert_eq!(composed, want.iter().copied().step_by(2).collect::<Vec<_>>());
            let mut ids = vec![0u32; want.len()];
            // SAFETY: both have as many entries.
            unsafe { rt_rowid_sel(want.as_ptr(), want.len(), 70_000, ids.as_mut_ptr()) };
            prop_assert!(ids.iter().zip(&want).all(|(&id, &w)| id == 70_000 + u32::from(w)));
        }

        #[test]
        fn moving_values(mask in masks()) {
            let n = mask.len();
            let sel: Vec<u16> = (0..n).filter(|&i| mask[i]).map(|i| i as u16).collect();
            type Gather = unsafe extern "C" fn(*const u8, *const u16, usize, *mut u8);
            type Compress = unsafe extern "C" fn(*const u8, usize, *const u8, *mut u8) -> usize;
            for level in levels() {
                let kernels: [(usize, Gather, Compress); 5] = [
                    (1, rt_gather_1::at(level), rt_compress_1::at(level)),
                    (2, rt_gather_2::at(level), rt_compress_2::at(level)),
                    (4, rt_gather_4::at(level), rt_compress_4::at(level)),
                    (8, rt_gather_8::at(level), rt_compress_8::at(level)),
                    (16, rt_gather_16::at(level), rt_compress_16::at(level)),
                ];
                for (width, gather, compress) in kernels {
                    let src = values(n.next_multiple_of(8), width);
                    let want: Vec<u8> = sel
                        .iter()
                        .flat_map(|&r| src[r as usize * width..][..width].to_vec())
                        .collect();
                    let mut out = vec![0u8; want.len()];
                    // SAFETY: `sel` names rows of `src`, and `out` has room for one value each.
                    unsafe { gather(src.as_ptr(), sel.as_ptr(), sel.len(), out.as_mut_ptr()) };
                    prop_assert_eq!(&out, &want);
                    let room = n.next_multiple_of(8) * width;
                    let mut out = vec![0x77u8; room + 1];
                    // SAFETY: mask, source and room are those of the rows rounded up.
                    let count =
                        unsafe { compress(staged(&mask).as_ptr(), n, src.as_ptr(), out.as_mut_ptr()) };
                    prop_assert_eq!(count, sel.len());
                    prop_assert_eq!(&out[..want.len()], &want[..]);
                    prop_assert_eq!(out[room], 0x77);
                }
            }
        }
    }
}
