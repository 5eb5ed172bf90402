//! Ints of 64 bits; `None` where the result has more, or Python raises.

/// `a ** b`.
pub fn pow(a: i64, b: i64) -> Option<i64> {
    match a {
        _ if b < 0 => None,
        // Their powers fit whatever the exponent.
        0 => Some(i64::from(b == 0)),
        1 => Some(1),
        -1 => Some(1 - 2 * (b & 1)),
        _ => a.checked_pow(u32::try_from(b).ok()?),
    }
}

/// `a // b`.
pub fn floor_div(a: i64, b: i64) -> Option<i64> {
    let quotient = a.checked_div(b)?;
    Some(quotient - i64::from(a % b != 0 && (a ^ b) < 0))
}

/// `a % b`.
pub fn modulo(a: i64, b: i64) -> Option<i64> {
    // MIN % -1 is 0 in Python, but rare enough to ask.
    let remainder = a.checked_rem(b)?;
    Some(if remainder != 0 && (remainder ^ b) < 0 { remainder + b } else { remainder })
}

/// `a << n`.
pub fn shl(a: i64, n: i64) -> Option<i64> {
    match n {
        _ if n < 0 => None,
        _ if a == 0 => Some(0),
        0..=63 => {
            let shifted = a << n;
            (shifted >> n == a).then_some(shifted)
        }
        _ => None,
    }
}

/// `a >> n`.
pub fn shr(a: i64, n: i64) -> Option<i64> {
    (n >= 0).then(|| a >> n.min(63))
}

/// `math.gcd(a, b)`.
pub fn gcd(a: i64, b: i64) -> Option<i64> {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    i64::try_from(a).ok()
}

/// `a / b`: ints that floats hold exactly.
pub fn true_div(a: i64, b: i64) -> Option<f64> {
    const EXACT: u64 = 1 << 53;
    (b != 0 && a.unsigned_abs() <= EXACT && b.unsigned_abs() <= EXACT).then(|| a as f64 / b as f64)
}

/// How an int compares with a float, exactly; `None` for a NaN, which compares with nothing.
pub fn compare_float(a: i64, b: f64) -> Option<std::cmp::Ordering> {
    use std::cmp::Ordering::{Greater, Less};
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if b.is_nan() {
        return None;
    }
    if b >= BEYOND {
        return Some(Less);
    }
    if b < -BEYOND {
        return Some(Greater);
    }
    let whole = b.floor();
    // In the range of an i64, so exact; what is left of `b` makes equal ints smaller.
    Some(a.cmp(&(whole as i64)).then(if b > whole { Less } else { std::cmp::Ordering::Equal }))
}
