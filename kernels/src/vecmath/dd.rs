//! Error-free sums and products, the bricks of double-double arithmetic (T. J. Dekker, "A
//! floating-point technique for extending the available precision", 1971; D. E. Knuth, TAOCP 2, 4.2.2).
//!
//! Every function here is exact: its two results add up to the true value. That is what lets
//! [`two_prod`] use FMA where the hardware has it and splitting elsewhere, and still give the same
//! bits. (It holds as long as nothing overflows or underflows, which callers see to.)

use crate::isa::V3;

/// `a + b` as rounded sum and error.
#[inline(always)]
pub(super) fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}

/// `a + b` as rounded sum and error, where `|a| >= |b|` or `a == 0`.
#[inline(always)]
pub(super) fn fast_two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    (sum, (a - sum) + b)
}

/// `a` as two halves of at most 26 significant bits.
#[inline(always)]
fn split(a: f64) -> (f64, f64) {
    let scaled = a * 134_217_729.0; // 2^27 + 1
    let high = scaled - (scaled - a);
    (high, a - high)
}

/// `a * b` as rounded product and error.
#[inline(always)]
pub(super) fn two_prod<const ISA: u8>(a: f64, b: f64) -> (f64, f64) {
    let product = a * b;
    if ISA >= V3 {
        return (product, a.mul_add(b, -product));
    }
    let ((a1, a0), (b1, b0)) = (split(a), split(b));
    (product, ((a1 * b1 - product) + a1 * b0 + a0 * b1) + a0 * b0)
}

/// `c[0] + c[1] z + c[2] z^2 + ...`
#[inline(always)]
pub(super) fn poly<const N: usize>(z: f64, c: &[f64; N]) -> f64 {
    let mut sum = c[N - 1];
    let mut k = N - 1;
    while k > 0 {
        k -= 1;
        sum = sum * z + c[k];
    }
    sum
}

/// Adding this to a double of magnitude below 2^51 leaves the nearest integer in the low bits.
pub(super) const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52

/// A double from its bits, for the constants that `coefficients.py` prints.
pub(super) const fn bits(bits: u64) -> f64 {
    f64::from_bits(bits)
}
