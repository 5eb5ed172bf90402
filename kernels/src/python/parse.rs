//! `int(s)` and `float(s)`. Texts beyond ASCII may hold other digits and spaces; they go to Python.

/// Longest text that is read: CPython limits the digits of ints, and nobody writes floats so long.
const LONGEST: usize = 1000;

/// Removes what these functions take for white space, which is less than what `strip` does.
fn trimmed(s: &str) -> &str {
    s.trim_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r'])
}

/// `int(s)`.
pub fn int(s: &str) -> Option<i64> {
    // Nearly all are a few digits.
    let bytes = s.as_bytes();
    let (negative, digits) = match bytes.split_first() {
        Some((b'-', rest)) => (true, rest),
        _unsigned => (false, bytes),
    };
    if (1..=18).contains(&digits.len()) {
        let mut value = 0_i64;
        for b in digits {
            let digit = b.wrapping_sub(b'0');
            if digit > 9 {
                return int_base(s, 10);
            }
            value = value * 10 + i64::from(digit);
        }
        return Some(if negative { -value } else { value });
    }
    int_base(s, 10)
}

/// `int(s, base)`.
pub fn int_base(s: &str, base: i64) -> Option<i64> {
    if !s.is_ascii() || s.len() > LONGEST {
        return None;
    }
    let s = trimmed(s);
    let (negative, mut digits) = match s.as_bytes().first()? {
        b'-' => (true, &s[1..]),
        b'+' => (false, &s[1..]),
        _ => (false, s),
    };
    let prefixed = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => Some(16),
        [b'0', b'o' | b'O', ..] => Some(8),
        [b'0', b'b' | b'B', ..] => Some(2),
        _ => None,
    };
    let radix = match (base, prefixed) {
        (0, Some(radix)) => radix,
        // A decimal with a leading zero is refused, unless it is zero.
        (0, None) if digits.starts_with('0') && digits.bytes().any(|b| b != b'0' && b != b'_') => {
            return None;
        }
        (0, None) => 10,
        (2..=36, _) => base as u32,
        _ => return None,
    };
    if prefixed == Some(radix) {
        digits = &digits[2..];
        // One underscore may stand behind the prefix.
        digits = digits.strip_prefix('_').unwrap_or(digits);
    }
    let (mut value, mut after_digit) = (0_i64, false);
    for b in digits.bytes() {
        if b == b'_' {
            if !std::mem::replace(&mut after_digit, false) {
                return None;
            }
            continue;
        }
        let digit = i64::from(char::from(b).to_digit(radix)?);
        // Negative, so that the least int is read too.
        value = value.checked_mul(i64::from(radix))?.checked_sub(digit)?;
        after_digit = true;
    }
    if !after_digit {
        return None;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

/// A decimal of at most 15 digits, without exponent: digits and power of ten are floats, so their quotient is the
/// correctly rounded decimal. `None` for everything else.
fn short_decimal(s: &[u8]) -> Option<f64> {
    const TENS: [f64; 16] =
        [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    let (negative, s) = match s.split_first() {
        Some((b'-', rest)) => (true, rest),
        _unsigned => (false, s),
    };
    if s.is_empty() || s.len() > 16 {
        return None;
    }
    let (mut value, mut digits, mut decimals) = (0_u64, 0, None);
    for b in s {
        let digit = b.wrapping_sub(b'0');
        if digit <= 9 {
            value = value * 10 + u64::from(digit);
            digits += 1;
        } else if *b == b'.' && decimals.is_none() {
            decimals = Some(digits);
        } else {
            return None;
        }
    }
    if !(1..=15).contains(&digits) {
        return None;
    }
    let x = value as f64 / TENS[digits - decimals.unwrap_or(digits)];
    Some(if negative { -x } else { x })
}

/// `float(s)`.
pub fn float(s: &str) -> Option<f64> {
    if let Some(x) = short_decimal(s.as_bytes()) {
        return Some(x);
    }
    if !s.is_ascii() || s.len() > LONGEST {
        return None;
    }
    let s = trimmed(s);
    // What is left to Rust's reader, which reads the same decimals and rounds correctly as well.
    let plain = |s: &str| s.parse::<f64>().ok();
    if !s.contains('_') {
        return plain(s);
    }
    // Underscores stand between digits.
    let bytes = s.as_bytes();
    let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let allowed = bytes
        .iter()
        .enumerate()
        .all(|(at, b)| *b != b'_' || (digit(at.checked_sub(1)) && digit(at.checked_add(1))));
    if !allowed {
        return None;
    }
    plain(&s.replace('_', ""))
}
