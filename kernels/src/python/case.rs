//! Case, classes of characters, and white space.
//!
//! Case and classes depend on the version of Unicode that a Python has, so only ASCII is answered. White space is the
//! same in all versions that Python 3 had.

use super::arena::Arena;

/// `c.isspace()`, also what `strip()` and `split()` take for white space.
pub fn is_space(c: char) -> bool {
    matches!(
        c,
        '\t'..='\r'
            | '\u{1c}'..=' '
            | '\u{85}'
            | '\u{a0}'
            | '\u{1680}'
            | '\u{2000}'..='\u{200a}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{202f}'
            | '\u{205f}'
            | '\u{3000}'
    )
}

/// `s.lower()`.
pub fn lower<'a>(arena: &'a Arena, s: &str) -> Option<&'a str> {
    arena.map_ascii(s, |b| b.to_ascii_lowercase())
}

/// `s.upper()`.
pub fn upper<'a>(arena: &'a Arena, s: &str) -> Option<&'a str> {
    arena.map_ascii(s, |b| b.to_ascii_uppercase())
}

/// `s.title()`: a letter is upper case unless it follows a letter.
pub fn title<'a>(arena: &'a Arena, s: &str) -> Option<&'a str> {
    let mut inside = false;
    arena.map_ascii(s, |b| {
        let follows = std::mem::replace(&mut inside, b.is_ascii_alphabetic());
        if follows { b.to_ascii_lowercase() } else { b.to_ascii_uppercase() }
    })
}

/// `s.capitalize()`.
pub fn capitalize<'a>(arena: &'a Arena, s: &str) -> Option<&'a str> {
    let mut first = true;
    arena.map_ascii(s, |b| {
        if std::mem::take(&mut first) { b.to_ascii_uppercase() } else { b.to_ascii_lowercase() }
    })
}

/// `s.swapcase()`.
pub fn swap_case<'a>(arena: &'a Arena, s: &str) -> Option<&'a str> {
    arena.map_ascii(
        s,
        |b| if b.is_ascii_lowercase() { b.to_ascii_uppercase() } else { b.to_ascii_lowercase() },
    )
}

/// Which end `strip` works on, as a number for machine code: bit 0 the left, bit 1 the right.
pub const LEFT: i64 = 1;
pub const RIGHT: i64 = 2;

/// `s.strip()`, `lstrip()`, `rstrip()`.
pub fn strip_space(s: &str, ends: i64) -> &str {
    let plain = |b: Option<&u8>| b.is_none_or(|b| b.is_ascii_graphic());
    let bytes = s.as_bytes();
    let (left, right) = (ends & LEFT != 0, ends & RIGHT != 0);
    if (!left || plain(bytes.first())) && (!right || plain(bytes.last())) {
        return s;
    }
    let s = if left { s.trim_start_matches(is_space) } else { s };
    if right { s.trim_end_matches(is_space) } else { s }
}

/// `s.strip(chars)` and so on.
pub fn strip_chars<'a>(s: &'a str, chars: &str, ends: i64) -> &'a str {
    if chars.is_ascii() {
        let set = chars.bytes().fold(0_u128, |set, b| set | 1 << b);
        let among = |b: &u8| *b < 128 && set >> *b & 1 == 1;
        let bytes = s.as_bytes();
        let from = if ends & LEFT != 0 { bytes.iter().take_while(|b| among(b)).count() } else { 0 };
        let rest = &bytes[from..];
        let off = if ends & RIGHT != 0 { rest.iter().rev().take_while(|b| among(b)).count() } else { 0 };
        return &s[from..s.len() - off];
    }
    let among = |c: char| chars.contains(c);
    let s = if ends & LEFT != 0 { s.trim_start_matches(among) } else { s };
    if ends & RIGHT != 0 { s.trim_end_matches(among) } else { s }
}

/// Whether all characters are of a class; unknown if all of ASCII are, and there are others.
fn all_ascii(s: &str, class: impl Fn(u8) -> bool) -> Option<bool> {
    if s.bytes().any(|b| b.is_ascii() && !class(b)) {
        return Some(false);
    }
    s.is_ascii().then_some(!s.is_empty())
}

/// `s.isdigit()`.
pub fn is_digit(s: &str) -> Option<bool> {
    all_ascii(s, |b| b.is_ascii_digit())
}

/// `s.isalpha()`.
pub fn is_alpha(s: &str) -> Option<bool> {
    all_ascii(s, |b| b.is_ascii_alphabetic())
}

/// `s.isalnum()`.
pub fn is_alnum(s: &str) -> Option<bool> {
    all_ascii(s, |b| b.is_ascii_alphanumeric())
}

/// `s.isspace()`.
pub fn is_all_space(s: &str) -> bool {
    !s.is_empty() && s.chars().all(is_space)
}

/// Whether there is a letter and no letter of the other case.
fn cased(s: &str, wanted: impl Fn(u8) -> bool, other: impl Fn(u8) -> bool) -> Option<bool> {
    if s.bytes().any(other) {
        return Some(false);
    }
    s.is_ascii().then(|| s.bytes().any(wanted))
}

/// `s.isupper()`.
pub fn is_upper(s: &str) -> Option<bool> {
    cased(s, |b| b.is_ascii_uppercase(), |b| b.is_ascii_lowercase())
}

/// `s.islower()`.
pub fn is_lower(s: &str) -> Option<bool> {
    cased(s, |b| b.is_ascii_lowercase(), |b| b.is_ascii_uppercase())
}
