//! Compaction with AVX2 (table-driven permutes) and AVX-512 (`vpcompress*`).
//!
//! Compressed registers are stored whole: `vpcompress` to memory is microcoded on Zen 4. A whole
//! store at `count` is safe because `count` never exceeds the rows already read, and the last,
//! partial block is stored under a mask.

use std::arch::x86_64::*;

use super::{POSITIONS, compress};
use crate::bitmap::{low_mask, word, words};

/// `PAIRS[m]` is the 32-bit lane permutation that packs the 64-bit lanes set in `m` (4 bits).
static PAIRS: [[u32; 8]; 16] = {
    let mut table = [[0u32; 8]; 16];
    let mut mask = 0;
    while mask < 16 {
        let (mut lane, mut out) = (0, 0);
        while lane < 4 {
            if mask >> lane & 1 == 1 {
                table[mask][out] = lane * 2;
                table[mask][out + 1] = lane * 2 + 1;
                out += 2;
            }
            lane += 1;
        }
        mask += 1;
    }
    table
};

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2,popcnt")]
pub(super) unsafe fn mask_to_sel_v4(mask: *const u8, n: usize, sel: *mut u16) -> usize {
    const FIRST: [u16; 32] = {
        let mut rows = [0u16; 32];
        let mut i = 0;
        while i < 32 {
            rows[i] = i as u16;
            i += 1;
        }
        rows
    };
    let mut count = 0;
    // SAFETY: mask has words(n) words; see the file header for the stores.
    unsafe {
        let mut rows = _mm512_loadu_si512(FIRST.as_ptr().cast());
        let step = _mm512_set1_epi16(32);
        let mut at = 0;
        while at * 32 < n {
            let both = word(mask, at / 2);
            let bits = (both >> (at % 2 * 32)) as u32 & low_mask((n - at * 32).min(32)) as u32;
            let packed = _mm512_maskz_compress_epi16(bits, rows);
            let kept = bits.count_ones() as usize;
            if at * 32 + 32 <= n {
                _mm512_storeu_si512(sel.add(count).cast(), packed);
            } else {
                let lanes = low_mask(kept) as u32;
                _mm512_mask_storeu_epi16(sel.add(count).cast(), lanes, packed);
            }
            count += kept;
            rows = _mm512_add_epi16(rows, step);
            at += 1;
        }
    }
    count
}

macro_rules! compress_v4 {
    ($name:ident, $lanes:literal, $bits:ty, $elem:ty, $loadz:ident, $pack:ident, $store:ident) => {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2,popcnt")]
        pub(super) unsafe fn $name(mask: *const u8, n: usize, src: *const u8, dst: *mut u8) -> usize {
            let (src, dst) = (src.cast::<$elem>(), dst.cast::<$elem>());
            let mut count = 0;
            let mut row = 0;
            // SAFETY: mask has words(n) words, loads are masked to rows below n, and see the file
            // header for the stores.
            unsafe {
                while row + $lanes <= n {
                    let bits = (word(mask, row / 64) >> (row % 64)) as $bits;
                    let values = _mm512_loadu_si512(src.add(row).cast());
                    _mm512_storeu_si512(dst.add(count).cast(), $pack(bits, values));
                    count += bits.count_ones() as usize;
                    row += $lanes;
                }
                if row < n {
                    let rest = low_mask(n - row) as $bits;
                    let bits = (word(mask, row / 64) >> (row % 64)) as $bits & rest;
                    let values = $loadz(rest, src.add(row).cast());
                    let kept = bits.count_ones() as usize;
                    $store(dst.add(count).cast(), low_mask(kept) as $bits, $pack(bits, values));
                    count += kept;
                }
            }
            count
        }
    };
}

compress_v4!(
    compress_1_v4,
    64,
    u64,
    u8,
    _mm512_maskz_loadu_epi8,
    _mm512_maskz_compress_epi8,
    _mm512_mask_storeu_epi8
);
compress_v4!(
    compress_2_v4,
    32,
    u32,
    u16,
    _mm512_maskz_loadu_epi16,
    _mm512_maskz_compress_epi16,
    _mm512_mask_storeu_epi16
);
compress_v4!(
    compress_4_v4,
    16,
    u16,
    u32,
    _mm512_maskz_loadu_epi32,
    _mm512_maskz_compress_epi32,
    _mm512_mask_storeu_epi32
);
compress_v4!(
    compress_8_v4,
    8,
    u8,
    u64,
    _mm512_maskz_loadu_epi64,
    _mm512_maskz_compress_epi64,
    _mm512_mask_storeu_epi64
);

#[target_feature(enable = "avx2,bmi1,popcnt")]
pub(super) unsafe fn compress_4_v3(mask: *const u8, n: usize, src: *const u8, dst: *mut u8) -> usize {
    let (src, dst) = (src.cast::<u32>(), dst.cast::<u32>());
    let mut count = 0;
    // SAFETY: src and dst may be touched to the next multiple of 8 rows; stores at `count` end
    // there because count never exceeds the rows already read.
    unsafe {
        for at in 0..words(n) {
            let bits = word(mask, at) & low_mask(n - at * 64);
            for group in 0..(n - at * 64).min(64).div_ceil(8) {
                let eight = (bits >> (group * 8)) as u8;
                let values = _mm256_loadu_si256(src.add(at * 64 + group * 8).cast());
                let positions = _mm_loadl_epi64(POSITIONS[eight as usize].as_ptr().cast());
                let packed = _mm256_permutevar8x32_epi32(values, _mm256_cvtepu8_epi32(positions));
                _mm256_storeu_si256(dst.add(count).cast(), packed);
                count += eight.count_ones() as usize;
            }
        }
    }
    count
}

#[target_feature(enable = "avx2,bmi1,popcnt")]
pub(super) unsafe fn compress_8_v3(mask: *const u8, n: usize, src: *const u8, dst: *mut u8) -> usize {
    let (src, dst) = (src.cast::<u64>(), dst.cast::<u64>());
    let mut count = 0;
    // SAFETY: as in compress_4_v3, four rows at a time.
    unsafe {
        for at in 0..words(n) {
            let bits = word(mask, at) & low_mask(n - at * 64);
            for group in 0..(n - at * 64).min(64).div_ceil(4) {
                let four = (bits >> (group * 4)) as usize & 15;
                let values = _mm256_loadu_si256(src.add(at * 64 + group * 4).cast());
                let lanes = _mm256_loadu_si256(PAIRS[four].as_ptr().cast());
                let packed = _mm256_permutevar8x32_epi32(values, lanes);
                _mm256_storeu_si256(dst.add(count).cast(), packed);
                count += four.count_ones() as usize;
            }
        }
    }
    count
}

// Sixteen-byte rows gain nothing from permutes of two or four lanes.
macro_rules! compress_bit_by_bit {
    ($($name:ident $ty:ty;)*) => { $(
        #[target_feature(enable = "avx2,bmi1,popcnt")]
        pub(super) unsafe fn $name(
            mask: *const u8,
            n: usize,
            src: *const u8,
            dst: *mut u8,
        ) -> usize {
            // SAFETY: the caller's promise is passed on.
            unsafe { compress::<$ty>(mask, n, src, dst) }
        }
    )* };
}

compress_bit_by_bit! {
    compress_1_v3 u8;
    compress_2_v3 u16;
    compress_16_v3 [u64; 2];
    compress_16_v4 [u64; 2];
}
