//! sin, cos, tan.
//!
//! The argument is reduced by multiples of pi/2 in four parts (W. J. Cody and W. Waite, "Software
//! Manual for the Elementary Functions", 1980): three parts of 33 bits, whose products with the multiple
//! are exact, and one of 53. The reduced argument is a double-double `r + t` good to about 100 bits of
//! itself, so results near a zero or a pole keep their relative accuracy. Then near-minimax
//! polynomials on [-pi/4, pi/4] (made by `coefficients.py`), and the quadrant picks one and its sign.
//! Signs are put back at the end from the argument's own, which keeps -0.
//!
//! Arguments above [`LIMIT`], infinities and NaN go to libm, row by row.

use super::dd::{ROUND, bits, fast_two_sum, poly, two_prod, two_sum};

/// Largest magnitude that the reduction is good for: 20 bits of quadrant.
pub(super) const LIMIT: f64 = 1_048_576.0;

/// Whether `x` needs libm.
#[inline(always)]
pub(super) fn special(x: f64) -> bool {
    x.abs() > LIMIT || x.is_nan()
}

const TWO_OVER_PI: f64 = bits(0x3fe45f306dc9c883);
const HALF_PI_1: f64 = bits(0x3ff921fb54400000);
const HALF_PI_2: f64 = bits(0x3dd0b4611a600000);
const HALF_PI_3: f64 = bits(0x3ba3198a2e000000);
const HALF_PI_4: f64 = bits(0x397b839a252049c1);

/// sin(r) = r + r z S(z), z = r^2; error 2^-57.
const SIN: [f64; 7] = [
    bits(0xbfc5555555555555),
    bits(0x3f81111111111110),
    bits(0xbf2a01a01a01992f),
    bits(0x3ec71de3a545f836),
    bits(0xbe5ae645410e937b),
    bits(0x3de61217d9252c03),
    bits(0xbd6ab16f5caa198a),
];

/// cos(r) = 1 - z/2 + z^2 C(z); error 2^-60.
const COS: [f64; 6] = [
    bits(0x3fa5555555555555),
    bits(0xbf56c16c16c16963),
    bits(0x3efa01a019f4ddfd),
    bits(0xbe927e4fa16cc2d1),
    bits(0x3e21eeb67d026ec6),
    bits(0xbda907cd8ff5ede7),
];

/// `x >= 0` as quadrant (in the low bits) and remainder `r + t`, `|r| <= pi/4`.
#[inline(always)]
fn reduce(x: f64) -> (u64, f64, f64) {
    let shifted = x * TWO_OVER_PI + ROUND;
    let k = shifted - ROUND;
    // Exact, and so are the products with the next two parts.
    let first = x - k * HALF_PI_1;
    let (second, error2) = two_sum(first, -(k * HALF_PI_2));
    let (third, error3) = two_sum(second, -(k * HALF_PI_3));
    let (r, t) = fast_two_sum(third, (error2 + error3) - k * HALF_PI_4);
    (shifted.to_bits(), r, t)
}

/// sin(r + t) as `r` plus a small second part.
#[inline(always)]
fn sin_tail(r: f64, t: f64, z: f64) -> f64 {
    let cubic = (z * r) * poly(z, &SIN);
    (t - 0.5 * z * t) + cubic
}

/// cos(r + t) as a rounded `1 - z/2` and a small second part.
#[inline(always)]
fn cos_parts(r: f64, t: f64, z: f64) -> (f64, f64) {
    let half = 0.5 * z;
    let (one, error) = fast_two_sum(1.0, -half);
    (one, error + (z * z * poly(z, &COS) - r * t))
}

#[inline(always)]
fn with_sign(value: f64, sign: u64) -> f64 {
    f64::from_bits(value.to_bits() ^ sign)
}

#[inline(always)]
pub(super) fn sin(x: f64) -> f64 {
    let (quadrant, r, t) = reduce(x.abs());
    let z = r * r;
    let sine = r + sin_tail(r, t, z);
    let (one, rest) = cos_parts(r, t, z);
    let value = if quadrant & 1 == 0 { sine } else { one + rest };
    with_sign(value, (x.to_bits() & 1 << 63) ^ (quadrant & 2) << 62)
}

#[inline(always)]
pub(super) fn cos(x: f64) -> f64 {
    let (quadrant, r, t) = reduce(x.abs());
    let z = r * r;
    let sine = r + sin_tail(r, t, z);
    let (one, rest) = cos_parts(r, t, z);
    let value = if quadrant & 1 == 0 { one + rest } else { sine };
    with_sign(value, (quadrant.wrapping_add(1) & 2) << 62)
}

/// sin / cos of the remainder as double-doubles; the quotient is corrected by its own remainder.
#[inline(always)]
pub(super) fn tan<const ISA: u8>(x: f64) -> f64 {
    let (quadrant, r, t) = reduce(x.abs());
    let z = r * r;
    let sine = fast_two_sum(r, sin_tail(r, t, z));
    let (one, rest) = cos_parts(r, t, z);
    let cosine = fast_two_sum(one, rest);
    let even = quadrant & 1 == 0;
    let (n, n_low) = if even { sine } else { cosine };
    let (d, d_low) = if even { cosine } else { sine };
    let inverse = 1.0 / d;
    let quotient = n * inverse;
    let (product, error) = two_prod::<ISA>(quotient, d);
    let left = ((n - product) - error) + (n_low - quotient * d_low);
    let value = quotient + left * inverse;
    with_sign(value, (x.to_bits() & 1 << 63) ^ (quadrant & 1) << 63)
}
