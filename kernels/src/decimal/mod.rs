//! Decimals: 128-bit integers that mean `value * 10^-scale`, with arrow 59's arithmetic and casts.
//!
//! The scalar functions are the definition, and the interpreter calls them; `None` is "no result" (arrow
//! raises there, or gives null in a TRY_CAST). The kernels are loops over them that report `None` as a 0
//! in `ok`. Both have a fast path for operands that fit 64 bits, since 128-bit division costs ten times a
//! 64-bit one and almost all decimals in data are small.
//!
//! | function | arrow |
//! |---|---|
//! | [`add`], [`sub`], [`mul`] | `add_checked`, ... |
//! | [`div`], [`rem`] | scale both sides, `div_checked` / `mod_checked`: truncates; 0 and MIN / -1 have none |
//! | [`rescale`] | decimal to decimal: down rounds half away from zero |
//! | [`from_int`], [`to_int`] | negative scales divide or multiply; both truncate |
//! | [`from_f64`], [`to_f64`] | `(10^scale x).round()`, and `x as f64 / 10^scale` |

mod kernels;
#[cfg(test)]
mod tests;

pub use kernels::*;

/// Digits of the largest decimal.
pub const MAX_PRECISION: u8 = 38;

/// `POWERS[k] = 10^k`.
pub const POWERS: [i128; 39] = {
    let mut powers = [1i128; 39];
    let mut k = 1;
    while k < 39 {
        powers[k] = powers[k - 1] * 10;
        k += 1;
    }
    powers
};

/// `10^k`, if a decimal can hold it.
#[inline(always)]
pub fn power(k: u32) -> Option<i128> {
    POWERS.get(k as usize).copied()
}

/// Whether `value` has at most `precision` digits.
#[inline(always)]
pub fn fits(value: i128, precision: u8) -> bool {
    match power(u32::from(precision)) {
        Some(limit) => value < limit && value > -limit,
        None => true,
    }
}

/// `a + b`
#[inline(always)]
pub fn add(a: i128, b: i128) -> Option<i128> {
    a.checked_add(b)
}

/// `a - b`
#[inline(always)]
pub fn sub(a: i128, b: i128) -> Option<i128> {
    a.checked_sub(b)
}

/// `a * b`
#[inline(always)]
pub fn mul(a: i128, b: i128) -> Option<i128> {
    match (i64::try_from(a), i64::try_from(b)) {
        (Ok(a), Ok(b)) => Some(i128::from(a) * i128::from(b)),
        _wide => a.checked_mul(b),
    }
}

/// Quotient, truncated, and remainder of `a / b`; `b` is not 0 and the quotient fits.
#[inline(always)]
fn divide(a: i128, b: i128) -> (i128, i128) {
    match (i64::try_from(a), i64::try_from(b)) {
        (Ok(a), Ok(b)) if b != -1 => (i128::from(a / b), i128::from(a % b)),
        _wide => (a.wrapping_div(b), a.wrapping_rem(b)),
    }
}

/// `(a 10^left) / (b 10^right)`, truncated; `None` on overflow and for a zero divisor.
#[inline(always)]
pub fn div(a: i128, b: i128, left: u8, right: u8) -> Option<i128> {
    let a = mul(a, power(u32::from(left))?)?;
    let b = mul(b, power(u32::from(right))?)?;
    let defined = b != 0 && !(a == i128::MIN && b == -1);
    defined.then(|| divide(a, b).0)
}

/// `(a 10^left) % (b 10^right)` with the sign of `a`; `None` on overflow, for a zero divisor, and for
/// MIN % -1, as in arrow.
#[inline(always)]
pub fn rem(a: i128, b: i128, left: u8, right: u8) -> Option<i128> {
    let a = mul(a, power(u32::from(left))?)?;
    let b = mul(b, power(u32::from(right))?)?;
    let defined = b != 0 && !(a == i128::MIN && b == -1);
    defined.then(|| divide(a, b).1)
}

/// `value 10^delta`; a negative `delta` divides and rounds half away from zero. `None` when more than
/// `precision` digits result.
#[inline(always)]
pub fn rescale(value: i128, delta: i8, precision: u8) -> Option<i128> {
    if delta >= 0 {
        let scaled = mul(value, power(u32::from(delta.unsigned_abs()))?)?;
        return fits(scaled, precision).then_some(scaled);
    }
    // Dividing by more than any decimal holds leaves nothing.
    let Some(by) = power(u32::from(delta.unsigned_abs())) else { return Some(0) };
    let (quotient, remainder) = divide(value, by);
    let half = by / 2;
    let rounded = if value >= 0 {
        quotient + i128::from(remainder >= half)
    } else {
        quotient - i128::from(remainder <= -half)
    };
    fits(rounded, precision).then_some(rounded)
}

/// An integer as a decimal of `scale`; `None` when more than `precision` digits result.
#[inline(always)]
pub fn from_int(value: i128, scale: i8, precision: u8) -> Option<i128> {
    let by = power(u32::from(scale.unsigned_abs()))?;
    let scaled = if scale >= 0 { mul(value, by)? } else { divide(value, by).0 };
    fits(scaled, precision).then_some(scaled)
}

/// A decimal of `scale` as an integer, truncated; `None` on overflow. Whether it fits a narrower type is
/// for the caller to see.
#[inline(always)]
pub fn to_int(value: i128, scale: i8) -> Option<i128> {
    let by = power(u32::from(scale.unsigned_abs()))?;
    if scale >= 0 { Some(divide(value, by).0) } else { mul(value, by) }
}

/// A float as a decimal of `scale`, rounded half away from zero; `None` for NaN, infinities and more than
/// `precision` digits.
#[inline(always)]
pub fn from_f64(value: f64, scale: i8, precision: u8) -> Option<i128> {
    from_scaled_f64(10f64.powi(i32::from(scale)) * value, precision)
}

#[inline(always)]
fn from_scaled_f64(scaled: f64, precision: u8) -> Option<i128> {
    const LIMIT: f64 = 1.701_411_834_604_692_3e38; // 2^127
    let rounded = scaled.round();
    // NaN is in no range.
    let whole = (-LIMIT..LIMIT).contains(&rounded).then_some(rounded as i128)?;
    fits(whole, precision).then_some(whole)
}

/// A decimal of `scale` as a float.
#[inline(always)]
pub fn to_f64(value: i128, scale: i8) -> f64 {
    value as f64 / 10f64.powi(i32::from(scale))
}
