//! What generated code calls once per chunk: looking keys up, fetching columns of the build side, making
//! pairs of rows where a key has several, and noting which build rows matched.
//!
//! Rows without a partner get the number 0 and a cleared bit, so that whatever reads the number may load
//! from a column, which has at least one row of padding.

use super::bits::KeyBits;
use super::packed::probe_packed;
use super::table::{Index, IntKey, JoinTable, find_int, hash_int, home};
use crate::bitmap::bit_or_all;
use crate::group::memory::prefetch;
#[cfg(target_arch = "x86_64")]
use crate::isa::V4;
use crate::isa::{dispatch, plain};

macro_rules! probes {
    ($($name:ident: $ty:ty, $body:ident;)*) => {
        dispatch! { $(
            /// Looks up `n` integers: entries to `rows`, and staged bits of those found to `found`. `valid` is
            /// null or staged bits.
            pub fn $name = $body(
                table: *const JoinTable, n: usize, keys: *const $ty, valid: *const u8, rows: *mut u32,
                found: *mut u8,
            ); )*
        }
        $(
            #[inline(always)]
            unsafe fn $body<const ISA: u8>(
                table: *const JoinTable,
                n: usize,
                keys: *const $ty,
                valid: *const u8,
                rows: *mut u32,
                found: *mut u8,
            ) {
                // SAFETY: the caller's promise.
                unsafe { probe::<$ty, ISA>(table, n, keys, valid, rows, found) }
            }
        )*
    };
}
probes! {
    rt_join_probe_i8: i8, probe_i8;
    rt_join_probe_i16: i16, probe_i16;
    rt_join_probe_i32: i32, probe_i32;
    rt_join_probe_i64: i64, probe_i64;
    rt_join_probe_u8: u8, probe_u8;
    rt_join_probe_u16: u16, probe_u16;
    rt_join_probe_u32: u32, probe_u32;
    rt_join_probe_u64: u64, probe_u64;
}

dispatch! {
    /// `out[i] = data[rows[i]]` for values of 1 byte, 0 where `found` (null: all) is not set.
    pub fn rt_join_fetch_1 = fetch_1(n: usize, rows: *const u32, found: *const u8, data: *const u8, out: *mut u8);
    /// The same for 2 bytes.
    pub fn rt_join_fetch_2 = fetch_2(n: usize, rows: *const u32, found: *const u8, data: *const u8, out: *mut u8);
    /// The same for 4 bytes.
    pub fn rt_join_fetch_4 = fetch_4(n: usize, rows: *const u32, found: *const u8, data: *const u8, out: *mut u8);
    /// The same for 8 bytes.
    pub fn rt_join_fetch_8 = fetch_8(n: usize, rows: *const u32, found: *const u8, data: *const u8, out: *mut u8);
    /// The same for 16 bytes.
    pub fn rt_join_fetch_16 = fetch_16(n: usize, rows: *const u32, found: *const u8, data: *const u8, out: *mut u8);
    /// Looks up `n` keys of several columns: `columns` holds for each the address of its chunk buffer, then
    /// that of its validity or null. `packed` is room for the packed keys.
    pub fn rt_join_probe_packed = probe_packed(
        table: *const JoinTable, n: usize, columns: *const *const u8, packed: *mut u64, rows: *mut u32,
        found: *mut u8,
    );
}

plain! {
    /// Staged bits of rows from bits of the build side (null: all set), cleared where `found` is.
    pub fn rt_join_fetch_bits = fetch_bits(
        n: usize, rows: *const u32, found: *const u8, bits: *const u8, out: *mut u8,
    );
    /// The next pairs, at most 1024: for each the row of the chunk, the build row and whether there is one.
    /// `entries` are those of the chunk's `n` rows, `found` staged bits or null; with `outer` a row without
    /// partner makes one pair. `cursor` holds the row and the pair of it to go on with. Returns how many.
    pub fn rt_join_expand = expand(
        table: *const JoinTable, request: *mut Expansion,
    ) -> usize;
    /// Notes that the build rows of `n` pairs matched.
    pub fn rt_join_visit = visit(table: *const JoinTable, n: usize, rows: *const u32, found: *const u8);
}

/// What [`rt_join_expand`] works on.
#[derive(Debug)]
#[repr(C)]
pub struct Expansion {
    pub n: usize,
    pub entries: *const u32,
    pub found: *const u8,
    pub outer: u64,
    pub row: u64,
    pub pair: u64,
    /// Out: positions in the chunk, build rows, and staged bits.
    pub positions: *mut u16,
    pub rows: *mut u32,
    pub paired: *mut u8,
}

/// Pairs that one call of [`rt_join_expand`] makes at most.
pub const PAIRS: usize = 1024;

/// Writes staged bits row by row.
struct Bits {
    at: *mut u64,
    word: u64,
    filled: u32,
}

impl Bits {
    fn new(at: *mut u8) -> Bits {
        Bits { at: at.cast(), word: 0, filled: 0 }
    }

    #[inline(always)]
    unsafe fn push(&mut self, bit: bool) {
        self.word |= u64::from(bit) << self.filled;
        self.filled += 1;
        if self.filled == 64 {
            // SAFETY: the buffer has a word for every 64 rows.
            unsafe { self.flush() };
        }
    }

    unsafe fn flush(&mut self) {
        if self.filled > 0 {
            // SAFETY: as above.
            unsafe {
                self.at.write_unaligned(self.word);
                self.at = self.at.add(1);
            }
            (self.word, self.filled) = (0, 0);
        }
    }
}

#[inline(always)]
unsafe fn probe<T: IntKey, const ISA: u8>(
    table: *const JoinTable,
    n: usize,
    keys: *const T,
    valid: *const u8,
    rows: *mut u32,
    found: *mut u8,
) {
    // SAFETY: buffers have n rows; entries are those of the table.
    unsafe {
        let table = &*table;
        let null = table.null;
        let mut bits = Bits::new(found);
        match &table.index {
            Index::Dense { map, base, len } => {
                #[cfg(target_arch = "x86_64")]
                if ISA >= V4 && null == 0 && (size_of::<T>() == 8 || size_of::<T>() == 4) {
                    let signed = T::SIGNED;
                    return wide::dense(
                        (map.as_ptr(), *base, *len),
                        n,
                        (keys.cast(), size_of::<T>(), signed),
                        valid,
                        rows,
                        found,
                    );
                }
                for i in 0..n {
                    let at = (*keys.add(i)).word().wrapping_sub(*base).min(*len) as usize;
                    let hit = *map.get_unchecked(at);
                    let entry = if bit_or_all(valid, i) { hit } else { null };
                    *rows.add(i) = entry.saturating_sub(1);
                    bits.push(entry != 0);
                }
            }
            Index::Ints { slots, count } => {
                let at = slots.as_ptr();
                if let (Some(keyed), 0) = (&table.bits, null) {
                    let slots = (at, *count, table.is_far());
                    return probe_bits::<T, ISA>(keyed, slots, n, (keys, valid), (rows, found));
                }
                let far = table.is_far();
                let mut first = 0;
                while first < n {
                    let end = (first + 64).min(n);
                    let mut homes = [0usize; 64];
                    for i in first..end {
                        let slot = home(hash_int((*keys.add(i)).word()), *count);
                        homes[i - first] = slot;
                        if far {
                            prefetch(at.wrapping_add(slot * 2));
                        }
                    }
                    for i in first..end {
                        let entry = if bit_or_all(valid, i) {
                            let key = (*keys.add(i)).word();
                            let slot = homes[i - first];
                            let value = *at.add(slot * 2 + 1) as u32;
                            if value == 0 || *at.add(slot * 2) == key {
                                value
                            } else {
                                *at.add(find_int(at, *count, key) * 2 + 1) as u32
                            }
                        } else {
                            null
                        };
                        *rows.add(i) = entry.saturating_sub(1);
                        bits.push(entry != 0);
                    }
                    first = end;
                }
            }
            Index::Packed { .. } => {
                for i in 0..n {
                    *rows.add(i) = 0;
                    bits.push(false);
                }
            }
        }
        bits.flush();
    }
}

/// As [`probe`], asking bits first: only rows whose key is one are looked up.
#[inline(always)]
unsafe fn probe_bits<T: IntKey, const ISA: u8>(
    keyed: &KeyBits,
    (at, count, far): (*mut u64, u64, bool),
    n: usize,
    (keys, valid): (*const T, *const u8),
    (rows, found): (*mut u32, *mut u8),
) {
    // SAFETY: buffers have n rows and are readable up to the next multiple of 8; bits are staged in words.
    unsafe {
        rows.write_bytes(0, n);
        let mut first = 0;
        while first < n {
            let some = (n - first).min(64);
            let keys = keys.add(first);
            #[cfg(target_arch = "x86_64")]
            let mut bits = if ISA >= V4 && (size_of::<T>() == 8 || size_of::<T>() == 4) {
                keyed.test_wide(keys, some)
            } else {
                keyed.test(keys, some)
            };
            #[cfg(not(target_arch = "x86_64"))]
            let mut bits = keyed.test(keys, some);
            if !valid.is_null() {
                bits &= crate::bitmap::word(valid, first / 64);
            }
            found.add(first / 8).cast::<u64>().write_unaligned(bits);
            if far && bits.count_ones() > 1 {
                let mut ahead = bits;
                while ahead != 0 {
                    let key = (*keys.add(ahead.trailing_zeros() as usize)).word();
                    prefetch(at.wrapping_add(home(hash_int(key), count) * 2));
                    ahead &= ahead - 1;
                }
            }
            while bits != 0 {
                let i = bits.trailing_zeros() as usize;
                let slot = find_int(at, count, (*keys.add(i)).word());
                *rows.add(first + i) = *at.add(slot * 2 + 1) as u32 - 1;
                bits &= bits - 1;
            }
            first += 64;
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::*;

    /// Eight at a time; where none of them lies in the range nothing is looked up.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    pub(super) unsafe fn dense(
        (map, base, len): (*const u32, u64, u64),
        n: usize,
        (keys, width, signed): (*const u8, usize, bool),
        valid: *const u8,
        rows: *mut u32,
        found: *mut u8,
    ) {
        // SAFETY: buffers of n rows are readable and writable up to the next multiple of 8; lanes that are
        // looked up lie in the array.
        unsafe {
            let (base, len) = (_mm512_set1_epi64(base as i64), _mm512_set1_epi64(len as i64));
            let one = _mm256_set1_epi32(1);
            for group in 0..n.div_ceil(8) {
                let at = keys.add(group * 8 * width);
                let words = if width == 8 {
                    _mm512_loadu_si512(at.cast())
                } else if signed {
                    _mm512_cvtepi32_epi64(_mm256_loadu_si256(at.cast()))
                } else {
                    _mm512_cvtepu32_epi64(_mm256_loadu_si256(at.cast()))
                };
                let index = _mm512_sub_epi64(words, base);
                let mut lanes = _mm512_cmplt_epu64_mask(index, len);
                if !valid.is_null() {
                    lanes &= *valid.add(group);
                }
                if n - group * 8 < 8 {
                    lanes &= (1u8 << (n - group * 8)) - 1;
                }
                let to = rows.add(group * 8);
                if lanes == 0 {
                    _mm256_storeu_si256(to.cast(), _mm256_setzero_si256());
                    *found.add(group) = 0;
                    continue;
                }
                let hits = _mm512_mask_i64gather_epi32::<4>(_mm256_setzero_si256(), lanes, index, map.cast());
                let hit = _mm256_test_epi32_mask(hits, hits);
                _mm256_storeu_si256(to.cast(), _mm256_maskz_sub_epi32(hit, hits, one));
                *found.add(group) = hit;
            }
            // Whole words of bits.
            for byte in n.div_ceil(8)..n.div_ceil(64) * 8 {
                *found.add(byte) = 0;
            }
        }
    }
}

macro_rules! fetches {
    ($($name:ident: $ty:ty),*) => { $(
        #[inline(always)]
        unsafe fn $name<const ISA: u8>(
            n: usize,
            rows: *const u32,
            found: *const u8,
            data: *const u8,
            out: *mut u8,
        ) {
            let (data, out) = (data.cast::<$ty>(), out.cast::<$ty>());
            // SAFETY: buffers have n rows; found rows lie in the column, others are not looked at.
            unsafe {
                if found.is_null() {
                    for i in 0..n {
                        out.add(i).write_unaligned(data.add(*rows.add(i) as usize).read_unaligned());
                    }
                } else {
                    for i in 0..n {
                        let there = bit_or_all(found, i);
                        let row = if there { *rows.add(i) as usize } else { 0 };
                        out.add(i).write_unaligned(data.add(row).read_unaligned());
                    }
                }
            }
        }
    )* };
}
fetches!(fetch_1: u8, fetch_2: u16, fetch_4: u32, fetch_8: u64, fetch_16: u128);

unsafe fn fetch_bits(n: usize, rows: *const u32, found: *const u8, bits: *const u8, out: *mut u8) {
    let mut to = Bits::new(out);
    for i in 0..n {
        // SAFETY: buffers have n rows; found rows lie in the bitmap.
        unsafe {
            let bit = bit_or_all(found, i) && bit_or_all(bits, *rows.add(i) as usize);
            to.push(bit);
        }
    }
    // SAFETY: as above.
    unsafe { to.flush() };
}

unsafe fn expand(table: *const JoinTable, request: *mut Expansion) -> usize {
    // SAFETY: the caller's request; outputs have room for `PAIRS`.
    unsafe {
        let (table, request) = (&*table, &mut *request);
        let mut bits = Bits::new(request.paired);
        let mut made = 0;
        while (request.row as usize) < request.n && made < PAIRS {
            let row = request.row as usize;
            if !bit_or_all(request.found, row) {
                if request.outer != 0 {
                    *request.positions.add(made) = row as u16;
                    *request.rows.add(made) = 0;
                    bits.push(false);
                    made += 1;
                }
                request.row += 1;
                continue;
            }
            let entry = *request.entries.add(row) as usize;
            let count = if table.is_unique() { 1 } else { table.counts[entry] as usize };
            let from = request.pair as usize;
            let take = (count - from).min(PAIRS - made);
            for k in from..from + take {
                *request.positions.add(made) = row as u16;
                *request.rows.add(made) =
                    if table.is_unique() { entry as u32 } else { table.rows[entry + k] };
                bits.push(true);
                made += 1;
            }
            request.pair += take as u64;
            if request.pair as usize == count {
                (request.row, request.pair) = (request.row + 1, 0);
            }
        }
        bits.flush();
        made
    }
}

unsafe fn visit(table: *const JoinTable, n: usize, rows: *const u32, found: *const u8) {
    for i in 0..n {
        // SAFETY: buffers have n rows.
        unsafe {
            if bit_or_all(found, i) {
                (*table).visit(*rows.add(i));
            }
        }
    }
}
