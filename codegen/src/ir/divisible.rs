//! `x % c = k` for constants without the remainder: a multiplication and a comparison.
//!
//! A division has no vector form; a multiplication has. Multiplying by the inverse of an odd `d`
//! modulo 2^w permutes the w-bit numbers and takes exactly the multiples of `d` to their quotients,
//! so `d | y` iff the product lies where quotients lie (Warren, Hacker's Delight, section 10-17). For
//! `c = d * 2^s` the low `s` bits of `y` must be zero as well. SQL's remainder has the sign of the
//! dividend, so for `k != 0` only numbers of k's sign can have it:
//!
//! | | y | quotients |
//! |---|---|---|
//! | k = 0, signed | x | -floor(MAX / d) ..= floor(MAX / d) |
//! | k > 0, or unsigned | x - k | 0 ..= floor((MAX - k) / d) |
//! | k < 0 | k - x | 0 ..= floor((k - MIN) / d) |
//!
//! `y` may wrap where `x` has the other sign, and then lies above the greatest y that counts.

use super::types::Ty;

/// How to decide it, all numbers of the type: with `y` as above, `x % c = k` iff
/// `y * inverse + bias <= limit` and `y & low = 0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Test {
    /// `y` is `k - x` instead of `x - k`.
    pub negated: bool,
    pub inverse: i128,
    pub bias: i128,
    pub limit: i128,
    /// One less than a power of two; zero where the comparison decides alone.
    pub low: i128,
}

/// The test for `x % c = k`; `None` where there is none: c is a power of two (which has shorter
/// ones) or out of reach, or k cannot be a remainder.
pub(super) fn divisibility(ty: Ty, c: i128, k: i128) -> Option<Test> {
    let bits = ty.width()? as u32 * 8;
    let unsigned = ty.is_unsigned_int();
    if !ty.is_int() || bits > 64 {
        return None;
    }
    let c = c.abs();
    let max = if unsigned { (1i128 << bits) - 1 } else { (1i128 << (bits - 1)) - 1 };
    let shift = c.checked_ilog2()?.min(c.trailing_zeros());
    let d = c >> shift;
    if d == 1 || c > max || k.abs() >= c || (unsigned && k < 0) {
        return None;
    }
    // Quotients lie in `least ..= greatest`; shifted, they begin at the type's least number.
    let (least, greatest) = match k.signum() {
        0 if !unsigned => (-(max / d), max / d),
        -1 => (0, (k + max + 1) / d),
        _zero_or_more => (0, (max - k) / d),
    };
    let shifted = if unsigned { -least } else { -least - max - 1 };
    Some(Test {
        negated: k < 0,
        inverse: wrapped(inverse(d), bits, unsigned),
        bias: wrapped(shifted, bits, unsigned),
        limit: wrapped(greatest + shifted, bits, unsigned),
        low: (1i128 << shift) - 1,
    })
}

/// The inverse of an odd number modulo 2^64, and so modulo every smaller power, by Newton's iteration:
/// each step doubles the number of right bits, beginning with 3.
fn inverse(d: i128) -> i128 {
    let d = d as u64;
    let mut x = d;
    for _ in 0..5 {
        x = x.wrapping_mul(2u64.wrapping_sub(d.wrapping_mul(x)));
    }
    i128::from(x)
}

/// The number of the type that has the low bits of `v`.
fn wrapped(v: i128, bits: u32, unsigned: bool) -> i128 {
    let low = v & ((1i128 << bits) - 1);
    if unsigned || low < 1i128 << (bits - 1) { low } else { low - (1i128 << bits) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(ty: Ty, test: Test, x: i128, k: i128) -> bool {
        let own = |v: i128| wrapped(v, ty.width().unwrap() as u32 * 8, ty.is_unsigned_int());
        let y = own(if test.negated { k - x } else { x - k });
        // The product of two 64-bit numbers needs no more than its low bits.
        let product = own(y.wrapping_mul(test.inverse));
        own(product + test.bias) <= test.limit && y & test.low == 0
    }

    #[test]
    fn every_byte_by_every_divisor() {
        for (ty, range) in [(Ty::I8, -128..=127i128), (Ty::U8, 0..=255)] {
            let mut tests = 0;
            for c in range.clone() {
                for k in range.clone() {
                    let Some(test) = divisibility(ty, c, k) else { continue };
                    tests += 1;
                    for x in range.clone() {
                        assert_eq!(holds(ty, test, x, k), x % c == k, "{ty:?}: {x} % {c} = {k}");
                    }
                }
            }
            assert!(tests > 10_000, "{tests}");
        }
    }

    #[test]
    fn long_numbers_near_the_edges() {
        let (min, max) = (i128::from(i64::MIN), i128::from(i64::MAX));
        for (ty, least, greatest) in [(Ty::I64, min, max), (Ty::U64, 0, i128::from(u64::MAX))] {
            for c in [3, 5, 6, 7, 12, 1000, 1_000_003, max / 3, max, greatest] {
                for k in [0, 1, 2, -1, -2, c - 1, 1 - c] {
                    let Some(test) = divisibility(ty, c, k) else { continue };
                    for near in [least, greatest, 0, k, c, -c, c * (greatest / c) + k, c * (least / c) + k] {
                        for x in (near - 8..near + 8).filter(|x| (least..=greatest).contains(x)) {
                            assert_eq!(holds(ty, test, x, k), x % c == k, "{ty:?}: {x} % {c} = {k}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_has_no_test() {
        assert_eq!(divisibility(Ty::I64, 0, 0), None);
        assert_eq!(divisibility(Ty::I64, 8, 1), None);
        assert_eq!(divisibility(Ty::I64, -1, 0), None);
        assert_eq!(divisibility(Ty::I64, i128::from(i64::MIN), 0), None);
        assert_eq!(divisibility(Ty::I64, 3, 3), None);
        assert_eq!(divisibility(Ty::U64, 3, -1), None);
        assert_eq!(divisibility(Ty::I128, 3, 0), None);
        assert_eq!(divisibility(Ty::F64, 3, 0), None);
    }
}
