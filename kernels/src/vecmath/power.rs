//! pow.
//!
//! `x^y = exp(y ln x)` with the logarithm as a double-double good to about 2^-64 of itself:
//! `ln m = 2s + 2/3 s^3 + s^5 Q(s^2)`, `s = (m - 1)/(m + 1)`, the first two terms in double-double
//! arithmetic (after P. Markstein, "IA-64 and Elementary Functions", 2000; polynomial by
//! `coefficients.py`). The product with `y` is error-free, and its tail goes into the exponential. The error
//! is largest, a third of a unit in the last place before rounding, where the result is near the ends of
//! the double range.
//!
//! Negative `x` with an integral `y` and `x = 0` with positive `y` are handled here, since data has them;
//! libm takes the other special cases, row by row.

use super::dd::{ROUND, bits, fast_two_sum, poly, two_prod};
use super::exp_log::{LN2_HIGH, LN2_LOW, exp_of_sum, split_exponent};

const TWO_THIRDS: (f64, f64) = (bits(0x3fe5555555555555), bits(0x3c85555555555555));

/// 2 atanh(s) = 2s + 2/3 s^3 + s^5 Q(z), z = s^2; error 2^-66.
const LOG5: [f64; 8] = [
    bits(0x3fd999999999999a),
    bits(0x3fd2492492492522),
    bits(0x3fcc71c71c6ea5ac),
    bits(0x3fc745d177ad436a),
    bits(0x3fc3b1395b82701e),
    bits(0x3fc1118cd67251c5),
    bits(0x3fbdf7ba1f4809c3),
    bits(0x3fbe03a7acf07f85),
];

/// From here on every double is an even integer, and below its unit place is exact.
const INTEGERS: f64 = 2_251_799_813_685_248.0; // 2^51

/// Whether `x^y` needs libm.
#[inline(always)]
pub(super) fn special(x: f64, y: f64) -> bool {
    let exact_integer = y.abs() < INTEGERS && (y + ROUND) - ROUND == y;
    let base = if x > 0.0 { x < f64::INFINITY } else { x > f64::NEG_INFINITY && exact_integer };
    let base = if x == 0.0 { y > 0.0 && y.abs() < INTEGERS } else { base };
    // NaN fails one of the comparisons.
    !(base && y.abs() <= 1e18)
}

#[inline(always)]
pub(super) fn pow<const ISA: u8>(x: f64, y: f64) -> f64 {
    let (high, low) = ln_double::<ISA>(x.abs());
    let (product, error) = two_prod::<ISA>(y, high);
    let tail = error + y * low;
    // Where exp overflows or underflows anyway, the tail may be huge.
    let tail = if product.abs() > 746.0 { 0.0 } else { tail };
    let value = exp_of_sum(product, tail);
    let value = if x == 0.0 { 0.0 } else { value };
    // The lowest bit of an integral y, at the top; the sign is x's where y is odd.
    let integral = (y + ROUND) - ROUND == y && y.abs() < INTEGERS;
    let odd = (y + ROUND).to_bits() << 63;
    let sign = if integral { odd & x.to_bits() } else { 0 };
    f64::from_bits(value.to_bits() ^ sign)
}

/// ln of a positive finite number as a double-double.
#[inline(always)]
fn ln_double<const ISA: u8>(x: f64) -> (f64, f64) {
    let (k, f) = split_exponent(x);
    // d + d_low = 2 + f, s + s_low = f / (2 + f)
    let (d, d_low) = fast_two_sum(2.0, f);
    let inverse = 1.0 / d;
    let s = f * inverse;
    let (product, error) = two_prod::<ISA>(s, d);
    let s_low = (((f - product) - error) - s * d_low) * inverse;
    // z + z_low = s^2, c + c_low = s^3, t + t_low = 2/3 s^3
    let (z, z_error) = two_prod::<ISA>(s, s);
    let z_low = z_error + 2.0 * s * s_low;
    let (c, c_error) = two_prod::<ISA>(z, s);
    let c_low = c_error + (z * s_low + z_low * s);
    let (t, t_error) = two_prod::<ISA>(c, TWO_THIRDS.0);
    let t_low = t_error + (c * TWO_THIRDS.1 + c_low * TWO_THIRDS.0);
    let fifth = (c * z) * poly(z, &LOG5);
    let (sum, e1) = fast_two_sum(k * LN2_HIGH, 2.0 * s);
    let (sum, e2) = fast_two_sum(sum, t);
    let rest = ((e1 + e2) + (2.0 * s_low + t_low)) + (fifth + k * LN2_LOW);
    fast_two_sum(sum, rest)
}
