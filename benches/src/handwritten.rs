//! The loops a careful Rust programmer writes by hand for the pipelines of the suite `loops`: the yard
//! stick, not part of the program. `hand.rs` compiles this file on its own, with
//! `-C opt-level=3 -C target-cpu=native`, and loads it: the workspace itself stays portable.
//!
//! Each pipeline has several formulations (`_a`, `_b`, ...), and the harness takes the fastest of them
//! in each setting. They work on the same buffers as fuseline. Loops that produce rows write them into
//! a buffer of one morsel that is used again for the next (`MORSEL` rows), the cheapest way there is to
//! hand rows to a consumer.
//!
//! Every function takes the columns as an array of addresses, the row range, a scratch buffer of
//! `MORSEL` 16-byte values, and returns the answer, or the number of rows it wrote.
//!
//! # Safety
//! All functions trust the harness: the addresses point to columns of the stated types with at least
//! `end` rows, the scratch buffer holds `MORSEL` 16-byte values that nobody else uses.
#![allow(clippy::missing_safety_doc)]

use std::slice::from_raw_parts;

/// Rows per output buffer: 8,192 doubles are 64 KB, so the buffer stays in the second-level cache.
const MORSEL: usize = 8192;

/// Addresses of the columns.
type Columns = *const *const u8;

/// Rows `start..end` of column `i`.
///
/// # Safety
/// Column `i` holds at least `end` values of type `T`.
unsafe fn column<'a, T>(columns: Columns, i: usize, start: usize, end: usize) -> &'a [T] {
    // SAFETY: by the promise above.
    unsafe { from_raw_parts((*columns.add(i)).cast::<T>().add(start), end - start) }
}

/// Sums an array of partial sums pairwise.
fn fold<const N: usize>(parts: [f64; N]) -> f64 {
    let mut width = N;
    let mut parts = parts;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            parts[i] += parts[i + width];
        }
    }
    parts[0]
}

// --- q6: sum(price * disc) where 8766 <= date < 9131, 0.05 <= disc <= 0.07, qty < 24 ---------------

#[inline(always)]
fn q6_row(date: i32, disc: f64, qty: f64, price: f64) -> f64 {
    let pass = (date >= 8766) & (date < 9131) & (disc >= 0.05) & (disc <= 0.07) & (qty < 24.0);
    // A choice, not a product: the row that fails adds nothing even if it is infinite.
    if pass { price * disc } else { 0.0 }
}

unsafe fn q6_lanes<const N: usize>(columns: Columns, start: usize, end: usize) -> f64 {
    // SAFETY: the harness passes columns of these types (see the header).
    let (date, disc, qty, price): (&[i32], &[f64], &[f64], &[f64]) = unsafe {
        (
            column(columns, 0, start, end),
            column(columns, 1, start, end),
            column(columns, 2, start, end),
            column(columns, 3, start, end),
        )
    };
    let mut sums = [0.0; N];
    let groups = date.len() / N;
    for group in 0..groups {
        let at = group * N;
        let (date, disc) = (&date[at..at + N], &disc[at..at + N]);
        let (qty, price) = (&qty[at..at + N], &price[at..at + N]);
        for i in 0..N {
            sums[i] += q6_row(date[i], disc[i], qty[i], price[i]);
        }
    }
    for i in groups * N..date.len() {
        sums[i % N] += q6_row(date[i], disc[i], qty[i], price[i]);
    }
    fold(sums)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn q6_a(columns: Columns, start: usize, end: usize, _: *mut u8) -> f64 {
    // SAFETY: the caller's promise, see the header.
    unsafe { q6_lanes::<16>(columns, start, end) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn q6_b(columns: Columns, start: usize, end: usize, _: *mut u8) -> f64 {
    // SAFETY: the caller's promise, see the header.
    unsafe { q6_lanes::<32>(columns, start, end) }
}

/// A branch per predicate: 2 rows of 100 pass, and most fail at the first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn q6_c(columns: Columns, start: usize, end: usize, _: *mut u8) -> f64 {
    // SAFETY: the caller's promise, see the header.
    let (date, disc, qty, price): (&[i32], &[f64], &[f64], &[f64]) = unsafe {
        (
            column(columns, 0, start, end),
            column(columns, 1, start, end),
            column(columns, 2, start, end),
            column(columns, 3, start, end),
        )
    };
    let mut sum = 0.0;
    for (((&date, &disc), &qty), &price) in date.iter().zip(disc).zip(qty).zip(price) {
        if (8766..9131).contains(&date) && (0.05..=0.07).contains(&disc) && qty < 24.0 {
            sum += price * disc;
        }
    }
    sum
}

// --- filter_project: a * b + 1 where c < 0.25 ------------------------------------------------------

/// Calls `morsel(from, to, out) -> rows written` for every morsel and adds up the rows.
///
/// # Safety
/// `scratch` is the buffer of the header.
unsafe fn emit<T: Copy>(
    start: usize,
    end: usize,
    scratch: *mut u8,
    mut morsel: impl FnMut(usize, usize, &mut [T]) -> usize,
) -> f64 {
    // SAFETY: the scratch buffer holds MORSEL values of up to 16 bytes, written before they are read.
    let out = unsafe { std::slice::from_raw_parts_mut(scratch.cast::<T>(), MORSEL) };
    let mut total = 0.0;
    let mut at = start;
    while at < end {
        let to = end.min(at + MORSEL);
        let written = morsel(at, to, out);
        // The optimizer must believe that somebody reads the whole buffer.
        std::hint::black_box(&mut *out);
        total += written as f64;
        at = to;
    }
    total
}

/// Branch-free: every row is written, and the position moves on where it passed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn filter_project_a(
    columns: Columns,
    start: usize,
    end: usize,
    scratch: *mut u8,
) -> f64 {
    // SAFETY: the caller's promise, see the header.
    unsafe {
        emit::<f64>(start, end, scratch, |from, to, out| {
            let a: &[f64] = column(columns, 0, from, to);
            let b: &[f64] = column(columns, 1, from, to);
            let c: &[f64] = column(columns, 2, from, to);
            let mut at = 0;
            for ((&a, &b), &c) in a.iter().zip(b).zip(c) {
                // `at` is at most the number of rows before this one.
                *out.get_unchecked_mut(at) = a * b + 1.0;
                at += usize::from(c < 0.25);
            }
            at
        })
    }
}

/// Positions first (branch-free), then the arithmetic on the rows that passed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn filter_project_b(
    columns: Columns,
    start: usize,
    end: usize,
    scratch: *mut u8,
) -> f64 {
    let mut selected = [0u32; MORSEL];
    // SAFETY: the caller's promise, see the header.
    unsafe {
        emit::<f64>(start, end, scratch, |from, to, out| {
            let a: &[f64] = column(columns, 0, from, to);
            let b: &[f64] = column(columns, 1, from, to);
            let c: &[f64] = column(columns, 2, from, to);
            let mut count = 0;
            for (i, &c) in c.iter().enumerate() {
                *selected.get_unchecked_mut(count) = i as u32;
                count += usize::from(c < 0.25);
            }
            for (out, &i) in out.iter_mut().zip(&selected[..count]) {
                let i = i as usize;
                *out = a.get_unchecked(i) * b.get_unchecked(i) + 1.0;
            }
            count
        })
    }
}

/// The comparison vectorized into 64-row masks, then the set bits one by one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn filter_project_c(
    columns: Columns,
    start: usize,
    end: usize,
    scratch: *mut u8,
) -> f64 {
    // SAFETY: the caller's promise, see the header.
    unsafe {
        emit::<f64>(start, end, scratch, |from, to, out| {
            let a: &[f64] = column(columns, 0, from, to);
            let b: &[f64] = column(columns, 1, from, to);
            let c: &[f64] = column(columns, 2, from, to);
            let mut count = 0;
            for (group, c) in c.chunks(64).enumerate() {
                let mut mask = 0u64;
                for (i, &c) in c.iter().enumerate() {
                    mask |= u64::from(c < 0.25) << i;
                }
                while mask != 0 {
                    let i = group * 64 + mask.trailing_zeros() as usize;
                    *out.get_unchecked_mut(count) = a.get_unchecked(i) * b.get_unchecked(i) + 1.0;
                    count += 1;
                    mask &= mask - 1;
                }
            }
            count
        })
    }
}

// --- arithmetic: a * b + a - b / 2 -----------------------------------------------------------------

#[unsafe(no_mangle)]
pub unsafe extern "C" fn arithmetic_a(columns: Columns, start: usize, end: usize, scratch: *mut u8) -> f64 {
    // SAFETY: the caller's promise, see the header.
    unsafe {
        emit::<f64>(start, end, scratch, |from, to, out| {
            let a: &[f64] = column(columns, 0, from, to);
            let b: &[f64] = column(columns, 1, from, to);
            for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
                *out = a * b + a - b / 2.0;
            }
            to - from
        })
    }
}

// --- count_odd: count(*) where k % 2 = 1 (64-bit integers of both signs) ---------------------------

unsafe fn count_odd_lanes<const N: usize>(columns: Columns, start: usize, end: usize) -> f64 {
    // SAFETY: the caller's promise, see the header.
    let k: &[i64] = unsafe { column(columns, 0, start, end) };
    let mut counts = [0u64; N];
    let groups = k.chunks_exact(N);
    let rest = groups.remainder();
    for group in groups {
        for i in 0..N {
            counts[i] += u64::from(group[i] % 2 == 1);
        }
    }
    let rest = rest.iter().filter(|&&k| k % 2 == 1).count() as u64;
    (counts.iter().sum::<u64>() + rest) as f64
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn count_odd_a(columns: Columns, start: usize, end: usize, _: *mut u8) -> f64 {
    // SAFETY: the caller's promise, see the header.
    let k: &[i64] = unsafe { column(columns, 0, start, end) };
    k.iter().filter(|&&k| k % 2 == 1).count() as f64
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn count_odd_b(columns: Columns, start: usize, end: usize, _: *mut u8) -> f64 {
    // SAFETY: the caller's promise, see the header.
    unsafe { count_odd_lanes::<32>(columns, start, end) }
}

/// `k % 2 = 1` written as bits: the lowest set, the sign not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn count_odd_c(columns: Columns, start: usize, end: usize, _: *mut u8) -> f64 {
    // SAFETY: the caller's promise, see the header.
    let k: &[i64] = unsafe { column(columns, 0, start, end) };
    let mut counts = [0u64; 32];
    let groups = k.chunks_exact(32);
    let rest = groups.remainder();
    for group in groups {
        for i in 0..32 {
            counts[i] += (group[i] & !(group[i] >> 63) & 1) as u64;
        }
    }
    let rest = rest.iter().filter(|&&k| k % 2 == 1).count() as u64;
    (counts.iter().sum::<u64>() + rest) as f64
}

// --- case: sum(case when k < 30 then a when k < 60 then b else a * b end) ---------------------------

#[inline(always)]
fn case_row(k: i32, a: f64, b: f64) -> f64 {
    let product = a * b;
    let second = if k < 60 { b } else { product };
    if k < 30 { a } else { second }
}

unsafe fn case_lanes<const N: usize>(columns: Columns, start: usize, end: usize) -> f64 {
    // SAFETY: the caller's promise, see the header.
    let (k, a, b): (&[i32], &[f64], &[f64]) = unsafe {
        (column(columns, 0, start, end), column(columns, 1, start, end), column(columns, 2, start, end))
    };
    let mut sums = [0.0; N];
    let groups = k.len() / N;
    for group in 0..groups {
        let at = group * N;
        let (k, a, b) = (&k[at..at + N], &a[at..at + N], &b[at..at + N]);
        for i in 0..N {
            sums[i] += case_row(k[i], a[i], b[i]);
        }
    }
    for i in groups * N..k.len() {
        sums[i % N] += case_row(k[i], a[i], b[i]);
    }
    fold(sums)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn case_a(columns: Columns, start: usize, end: usize, _: *mut u8) -> f64 {
    // SAFETY: the caller's promise, see the header.
    unsafe { case_lanes::<8>(columns, start, end) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn case_b(columns: Columns, start: usize, end: usize, _: *mut u8) -> f64 {
    // SAFETY: the caller's promise, see the header.
    unsafe { case_lanes::<32>(columns, start, end) }
}

// --- in_list: count(*) where k in (3, 17, 29, 41, 58, 66, 83, 97) (32-bit integers) ----------------

const WANTED: [i32; 8] = [3, 17, 29, 41, 58, 66, 83, 97];

unsafe fn in_list_lanes<const N: usize>(columns: Columns, start: usize, end: usize) -> f64 {
    // SAFETY: the caller's promise, see the header.
    let k: &[i32] = unsafe { column(columns, 0, start, end) };
    let mut total = 0u64;
    // 32-bit counters, emptied before they can overflow.
    for block in k.chunks(1 << 20) {
        let mut counts = [0u32; N];
        let groups = block.chunks_exact(N);
        let rest = groups.remainder();
        for group in groups {
            for i in 0..N {
                let mut found = false;
                for wanted in WANTED {
                    found |= group[i] == wanted;
                }
                counts[i] += u32::from(found);
            }
        }
        total += counts.iter().map(|&c| u64::from(c)).sum::<u64>();
        total += rest.iter().filter(|k| WANTED.contains(k)).count() as u64;
    }
    total as f64
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn in_list_a(columns: Columns, start: usize, end: usize, _: *mut u8) -> f64 {
    // SAFETY: the caller's promise, see the header.
    unsafe { in_list_lanes::<16>(columns, start, end) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn in_list_b(columns: Columns, start: usize, end: usize, _: *mut u8) -> f64 {
    // SAFETY: the caller's promise, see the header.
    unsafe { in_list_lanes::<64>(columns, start, end) }
}

/// The list as a bit set, since all its members are below 128.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn in_list_c(columns: Columns, start: usize, end: usize, _: *mut u8) -> f64 {
    // SAFETY: the caller's promise, see the header.
    let k: &[i32] = unsafe { column(columns, 0, start, end) };
    let set = WANTED.iter().fold([0u64; 2], |mut set, &k| {
        set[(k >> 6) as usize] |= 1 << (k & 63);
        set
    });
    let mut counts = [0u64; 8];
    let groups = k.chunks_exact(8);
    let rest = groups.remainder();
    for group in groups {
        for i in 0..8 {
            let k = group[i];
            let word = if k & 64 == 0 { set[0] } else { set[1] };
            counts[i] += (word >> (k & 63)) & u64::from((k as u32) < 128);
        }
    }
    let rest = rest.iter().filter(|k| WANTED.contains(k)).count() as u64;
    (counts.iter().sum::<u64>() + rest) as f64
}

// --- decimal: price * (1 - disc) * (1 + tax), decimal(15, 2) -> decimal(38, 6), overflow errs -------

/// Whether `x * factor` with |factor| <= 10^15 + 100 may leave 128 bits; then a slow loop would decide.
const SAFE: u128 = (i128::MAX as u128) / (1_000_000_000_000_000 + 100);

/// Low halves only: 15 digits fit 64 bits. One widening product, one 128 x 64 product, one check.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn decimal_a(columns: Columns, start: usize, end: usize, scratch: *mut u8) -> f64 {
    let mut unsafe_rows = false;
    // SAFETY: the caller's promise, see the header.
    let total = unsafe {
        emit::<i128>(start, end, scratch, |from, to, out| {
            let price: &[i128] = column(columns, 0, from, to);
            let disc: &[i128] = column(columns, 1, from, to);
            let tax: &[i128] = column(columns, 2, from, to);
            for (((out, &price), &disc), &tax) in out.iter_mut().zip(price).zip(disc).zip(tax) {
                let (price, disc, tax) = (price as i64, disc as i64, tax as i64);
                let net = i128::from(price) * i128::from(100 - disc);
                unsafe_rows |= net.unsigned_abs() > SAFE;
                *out = net.wrapping_mul(i128::from(100 + tax));
            }
            to - from
        })
    };
    if unsafe_rows { f64::NAN } else { total }
}

/// Full 128-bit arithmetic, no check but the one above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn decimal_b(columns: Columns, start: usize, end: usize, scratch: *mut u8) -> f64 {
    let mut unsafe_rows = false;
    // SAFETY: the caller's promise, see the header.
    let total = unsafe {
        emit::<i128>(start, end, scratch, |from, to, out| {
            let price: &[i128] = column(columns, 0, from, to);
            let disc: &[i128] = column(columns, 1, from, to);
            let tax: &[i128] = column(columns, 2, from, to);
            for (((out, &price), &disc), &tax) in out.iter_mut().zip(price).zip(disc).zip(tax) {
                let net = price.wrapping_mul(100 - disc);
                unsafe_rows |= net.unsigned_abs() > SAFE;
                *out = net.wrapping_mul(100 + tax);
            }
            to - from
        })
    };
    if unsafe_rows { f64::NAN } else { total }
}

// --- nullable_sum: sum(a), one value in ten NULL; column 1 is the validity bitmap ------------------

/// `N` rows at a time, `N` sums; their part of the bitmap is one word.
unsafe fn nullable_sum_lanes<const N: usize>(columns: Columns, start: usize, end: usize) -> f64 {
    // SAFETY: the caller's promise, see the header; ranges start at multiples of 64 rows.
    let (a, valid): (&[f64], &[u8]) =
        unsafe { (column(columns, 0, start, end), column(columns, 1, start / 8, end.div_ceil(8))) };
    let mut sums = [0.0; N];
    let groups = a.chunks_exact(N);
    let rest = groups.remainder();
    let done = a.len() - rest.len();
    for (group, bytes) in groups.zip(valid.chunks_exact(N / 8)) {
        let mut bits = 0u64;
        for (i, &byte) in bytes.iter().enumerate() {
            bits |= u64::from(byte) << (8 * i);
        }
        for i in 0..N {
            sums[i] += if bits >> i & 1 != 0 { group[i] } else { 0.0 };
        }
    }
    for (i, &a) in rest.iter().enumerate() {
        if valid[(done + i) / 8] >> ((done + i) % 8) & 1 == 1 {
            sums[i] += a;
        }
    }
    fold(sums)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nullable_sum_a(columns: Columns, start: usize, end: usize, _: *mut u8) -> f64 {
    // SAFETY: the caller's promise, see the header.
    unsafe { nullable_sum_lanes::<32>(columns, start, end) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nullable_sum_b(columns: Columns, start: usize, end: usize, _: *mut u8) -> f64 {
    // SAFETY: the caller's promise, see the header.
    unsafe { nullable_sum_lanes::<64>(columns, start, end) }
}
