// The chains of the suite `fusion` by hand: a part of `handwritten.rs`, whose conventions hold here too.
//
// Columns are `f1 ... fk`, `a`, if there are nulls the validity bitmap of `a`, `b` where it is read, and the
// bound of all filters. `_a` has no branch: all rows are computed and the ones that fail add nothing. `_b` has
// a branch per filter. The sum of the rows that pass is the answer.

/// One row: whether it passes, and what it adds.
#[inline(always)]
fn chain_row<const N: usize>(filters: &[&[f64]; 6], a: f64, b: f64, bound: f64, i: usize) -> (bool, f64) {
    let (mut x, mut keep) = (a, true);
    for operator in 0..N {
        if operator % 2 == 0 {
            keep &= filters[operator / 2][i] < bound;
        } else {
            x = x * b + a;
        }
    }
    (keep, x)
}

unsafe fn chain<const N: usize, const NULLS: bool, const BRANCHES: bool>(
    columns: Columns,
    start: usize,
    end: usize,
) -> f64 {
    let filters_read = N.div_ceil(2);
    // SAFETY: the caller's promise, see the header; ranges start at multiples of 64 rows.
    let (filters, a, valid, b, bound): ([&[f64]; 6], &[f64], &[u8], &[f64], f64) = unsafe {
        let mut filters: [&[f64]; 6] = [&[]; 6];
        for (i, filter) in filters.iter_mut().enumerate().take(filters_read) {
            *filter = column(columns, i, start, end);
        }
        let a = column(columns, filters_read, start, end);
        let mut next = filters_read + 1;
        let mut valid: &[u8] = &[];
        if NULLS {
            valid = column(columns, next, start / 8, end.div_ceil(8));
            next += 1;
        }
        let mut b: &[f64] = a;
        if N >= 2 {
            b = column(columns, next, start, end);
            next += 1;
        }
        let bound: &[f64] = column(columns, next, 0, 1);
        (filters, a, valid, b, bound[0])
    };
    let rows = a.len();
    let is_valid = |i: usize| !NULLS || valid[i / 8] >> (i % 8) & 1 == 1;
    if BRANCHES {
        let mut sum = 0.0;
        'rows: for i in 0..rows {
            let mut x = a[i];
            for operator in 0..N {
                if operator % 2 == 0 {
                    if filters[operator / 2][i] >= bound {
                        continue 'rows;
                    }
                } else {
                    x = x * b[i] + a[i];
                }
            }
            if is_valid(i) {
                sum += x;
            }
        }
        return sum;
    }
    const GROUP: usize = 32;
    let mut sums = [0.0; GROUP];
    let groups = rows / GROUP;
    for group in 0..groups {
        let at = group * GROUP;
        // Slices of a known length, so that nothing is checked in the loop.
        let mut part: [&[f64]; 6] = [&[]; 6];
        for (part, filter) in part.iter_mut().zip(&filters).take(filters_read) {
            *part = &filter[at..at + GROUP];
        }
        let (a, b) = (&a[at..at + GROUP], &b[at..at + GROUP]);
        let mut bits = u32::MAX;
        if NULLS {
            let bytes = &valid[at / 8..at / 8 + GROUP / 8];
            bits = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        for i in 0..GROUP {
            let (keep, x) = chain_row::<N>(&part, a[i], b[i], bound, i);
            sums[i] += if keep & (bits >> i & 1 != 0) { x } else { 0.0 };
        }
    }
    for i in groups * GROUP..rows {
        let (keep, x) = chain_row::<N>(&filters, a[i], b[i], bound, i);
        if keep && is_valid(i) {
            sums[i % GROUP] += x;
        }
    }
    fold(sums)
}

macro_rules! chains {
    ($($n:literal: $a:ident $b:ident $nulls_a:ident $nulls_b:ident),*) => { $(
        chains!(@ $a, $n, false, false);
        chains!(@ $b, $n, false, true);
        chains!(@ $nulls_a, $n, true, false);
        chains!(@ $nulls_b, $n, true, true);
    )* };
    (@ $name:ident, $n:literal, $nulls:literal, $branches:literal) => {
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(columns: Columns, start: usize, end: usize, _: *mut u8) -> f64 {
            // SAFETY: the caller's promise, see the header.
            unsafe { chain::<$n, $nulls, $branches>(columns, start, end) }
        }
    };
}

chains!(
    1: chain_1_a chain_1_b chain_1_nulls_a chain_1_nulls_b,
    2: chain_2_a chain_2_b chain_2_nulls_a chain_2_nulls_b,
    3: chain_3_a chain_3_b chain_3_nulls_a chain_3_nulls_b,
    4: chain_4_a chain_4_b chain_4_nulls_a chain_4_nulls_b,
    6: chain_6_a chain_6_b chain_6_nulls_a chain_6_nulls_b,
    8: chain_8_a chain_8_b chain_8_nulls_a chain_8_nulls_b,
    10: chain_10_a chain_10_b chain_10_nulls_a chain_10_nulls_b,
    12: chain_12_a chain_12_b chain_12_nulls_a chain_12_nulls_b
);
