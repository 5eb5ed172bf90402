//! `int(s)` and `float(s)`. Texts beyond ASCII may hold other digits and spaces; they go to Python.

/// Longest text that is read: CPython limits the digits of ints, and nobody writes floats so long.
const LONGEST: usize = 1000;

/// Removes what these functions take for white space, which is less than what `strip` does.
fn trimmed(s: &str) -> &str {
    s.trim_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r'])
}

/// `int(s)`.
pub fn int(s: &str) -> Option<i64> {
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
    let prefix = digits.get(..2).map(str::to_ascii_lowercase);
    let prefixed = match prefix.as_deref() {
        Some("0x") => Some(16),
        Some("0o") => Some(8),
        Some("0b") => Some(2),
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

/// `float(s)`.
pub fn float(s: &str) -> Option<f64> {
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
