//! exp, ln, log2, log10, ln_1p.
//!
//! exp: `x = k ln 2 + r`, a polynomial for `exp(r) - 1 - r`, and the scaling by `2^k` in two factors so
//! that subnormal results round once. Logarithms: `x = 2^k m` with `m` in [sqrt(1/2), sqrt(2)),
//! `f = m - 1`, `s = f / (2 + f)`, `ln(1 + f) = f - f^2/2 + s (f^2/2 + s^2 L(s^2))`; the leading terms are
//! kept apart until the last addition. This is the scheme of fdlibm (Sun Microsystems, 1993) and of its
//! k_log for other bases; polynomials by `coefficients.py`.

use super::dd::{ROUND, bits, fast_two_sum, poly, two_sum};

const LOG2_E: f64 = bits(0x3ff71547652b82fe);
/// ln 2 to 42 bits: exact times any exponent.
pub(super) const LN2_HIGH: f64 = bits(0x3fe62e42fefa3800);
/// The rest of ln 2.
pub(super) const LN2_LOW: f64 = bits(0x3d2ef35793c76730);

/// exp(r) = 1 + r + r^2 E(r); error 2^-61.
const EXP: [f64; 11] = [
    bits(0x3fe0000000000000),
    bits(0x3fc5555555555557),
    bits(0x3fa5555555555556),
    bits(0x3f811111111100be),
    bits(0x3f56c16c16c162f6),
    bits(0x3f2a01a01abf85ab),
    bits(0x3efa01a01a6d2d96),
    bits(0x3ec71de01fdbf9ca),
    bits(0x3e927e4db66099ae),
    bits(0x3e5af4e554377204),
    bits(0x3e21f7311ac9886a),
];

/// ln(1 + f) = 2s + s z L(z), z = s^2; error 2^-57.
const LOG: [f64; 7] = [
    bits(0x3fe5555555555558),
    bits(0x3fd9999999995273),
    bits(0x3fd2492492dfd86c),
    bits(0x3fcc71c62d5e53e0),
    bits(0x3fc7462b91b8df65),
    bits(0x3fc39fdcceb4bb45),
    bits(0x3fc2b5f68a50d903),
];

/// `exp(x + tail)`; `tail` is far below the last place of `x`, and 0 where `x` is beyond +-746.
#[inline(always)]
pub(super) fn exp_of_sum(x: f64, tail: f64) -> f64 {
    // Beyond these the result is infinite or zero; the bounds keep `k` in range. NaN passes.
    let x = if x > 710.0 { 710.0 } else { x };
    let x = if x < -746.0 { -746.0 } else { x };
    let shifted = x * LOG2_E + ROUND;
    let k = shifted - ROUND;
    let high = x - k * LN2_HIGH;
    let low = tail - k * LN2_LOW;
    let (r, c) = fast_two_sum(high, low);
    let square = r * r * poly(r, &EXP);
    let (one, error) = fast_two_sum(1.0, r);
    let value = one + (error + (square + c * (one + square)));
    // 2^k as the product of two powers that are normal numbers. `+ 4096` makes the halving unsigned.
    let biased = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(4096);
    let half = (biased >> 1).wrapping_sub(2048);
    let rest = biased.wrapping_sub(4096).wrapping_sub(half);
    let power = |k: u64| f64::from_bits(k.wrapping_add(1023) << 52);
    value * power(half) * power(rest)
}

#[inline(always)]
pub(super) fn exp(x: f64) -> f64 {
    exp_of_sum(x, 0.0)
}

/// `x = 2^k m` for positive finite `x`, subnormal or not: `k`, and `f = m - 1` (exact).
#[inline(always)]
pub(super) fn split_exponent(x: f64) -> (f64, f64) {
    const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
    let small = x < f64::MIN_POSITIVE;
    let scaled = x * 18_014_398_509_481_984.0; // 2^54
    let x = if small { scaled } else { x };
    let offset = x.to_bits().wrapping_sub(SQRT_HALF);
    // An arithmetic shift by hand: 1 << 11 wraps the exponent, so that the shift can be logical.
    let exponent = (offset.wrapping_add(1 << 62) >> 52).wrapping_sub(1 << 10);
    let mantissa = x.to_bits().wrapping_sub(exponent << 52);
    let k = f64::from_bits(exponent.wrapping_add(ROUND.to_bits())) - ROUND;
    let k = if small { k - 54.0 } else { k };
    (k, f64::from_bits(mantissa) - 1.0)
}

/// `s (f^2/2 + s^2 L(s^2))` and `f^2/2`.
#[inline(always)]
fn log_parts(f: f64) -> (f64, f64) {
    let s = f / (2.0 + f);
    let z = s * s;
    let half_square = 0.5 * f * f;
    (s * (half_square + z * poly(z, &LOG)), half_square)
}

/// Whether `x` needs libm: what a logarithm of a negative number is called (which NaN), it decides.
#[inline(always)]
pub(super) fn special(x: f64) -> bool {
    x < 0.0
}

/// As [`special`], and where libm's log10 may be the less exact one: glibc up to 2.41 multiplies a
/// rounded logarithm, which without an exponent to add is off by up to 1.5 units in the last place.
#[inline(always)]
pub(super) fn special_log10(x: f64) -> bool {
    x < 0.0 || (0.5..2.0).contains(&x)
}

/// As [`special`], for ln(1 + x).
#[inline(always)]
pub(super) fn special_ln_1p(x: f64) -> bool {
    x < -1.0
}

/// The logarithm's values where the scheme has none: 0, infinity, NaN.
#[inline(always)]
fn patch(x: f64, value: f64) -> f64 {
    let edge = if x == 0.0 { f64::NEG_INFINITY } else { x + x };
    if x > 0.0 && x < f64::INFINITY { value } else { edge }
}

#[inline(always)]
pub(super) fn ln(x: f64) -> f64 {
    let (k, f) = split_exponent(x);
    let (correction, half_square) = log_parts(f);
    let (sum, error) = fast_two_sum(k * LN2_HIGH, f);
    let value = sum + (error - half_square + (correction + k * LN2_LOW));
    patch(x, value)
}

/// ln(1 + f) as a high part of at most 21 bits and a low part.
#[inline(always)]
fn log_high_low(f: f64) -> (f64, f64) {
    let (correction, half_square) = log_parts(f);
    let high = f64::from_bits((f - half_square).to_bits() & !0xFFFF_FFFF);
    (high, (f - high) - half_square + correction)
}

/// `(high + low) (scale_high + scale_low) + whole + part`, `|whole|` above the rest or 0.
#[inline(always)]
fn scaled((high, low): (f64, f64), scale: (f64, f64), whole: f64, part: f64) -> f64 {
    let main = high * scale.0;
    let rest = part + (low + high) * scale.1 + low * scale.0;
    let (sum, error) = fast_two_sum(whole, main);
    sum + (error + rest)
}

#[inline(always)]
pub(super) fn log2(x: f64) -> f64 {
    const SCALE: (f64, f64) = (bits(0x3ff7154700000000), bits(0x3e994ae0bf85ddf4));
    let (k, f) = split_exponent(x);
    patch(x, scaled(log_high_low(f), SCALE, k, 0.0))
}

#[inline(always)]
pub(super) fn log10(x: f64) -> f64 {
    const SCALE: (f64, f64) = (bits(0x3fdbcb7b00000000), bits(0x3e5526e50e32a6ab));
    const LOG10_2: (f64, f64) = (bits(0x3fd34413509f7800), bits(0x3d1fef311f12b358));
    let (k, f) = split_exponent(x);
    patch(x, scaled(log_high_low(f), SCALE, k * LOG10_2.0, k * LOG10_2.1))
}

/// ln(1 + x): the rounding error of `1 + x` is carried along as a correction of `f`.
#[inline(always)]
pub(super) fn ln_1p(x: f64) -> f64 {
    let (sum, lost) = two_sum(1.0, x);
    let (k, f) = split_exponent(sum);
    // Without an exponent to take off, x itself is f, exactly.
    let near = k == 0.0;
    let scale = f64::from_bits((1023 << 52) - ((k + ROUND).to_bits().wrapping_sub(ROUND.to_bits()) << 52));
    // For large x what was lost vanishes, and its scale is no normal number any more.
    let f_low = if near || k > 100.0 { 0.0 } else { lost * scale };
    let f = if near { x } else { f };
    let (correction, half_square) = log_parts(f);
    let (whole, error) = fast_two_sum(k * LN2_HIGH, f);
    let low = f_low / (1.0 + f) + k * LN2_LOW;
    let value = whole + (error - half_square + (correction + low));
    // The sum above loses the sign of -0 and nothing else of tiny arguments.
    let value = if x.abs() < 1e-300 { x } else { value };
    let edge = if x == -1.0 { f64::NEG_INFINITY } else { x + x };
    if x > -1.0 && x < f64::INFINITY { value } else { edge }
}
