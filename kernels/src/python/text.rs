//! Texts counted in code points: index, slice, search, padding.
//!
//! A text of ASCII is indexed by its bytes; any other is walked. Positions inside an operation are bytes; they are made
//! of code points on entry and become code points again in results.

use super::arena::Arena;
use memchr::{memchr, memmem, memrchr};

/// `len(s)`.
pub fn length(s: &str) -> i64 {
    s.chars().count() as i64
}

/// The byte at which code point `index` begins; the end for any behind it.
fn byte_at(s: &str, index: usize) -> usize {
    s.char_indices().nth(index).map_or(s.len(), |(at, _)| at)
}

/// Python's way to count from the end.
fn from_end(index: i64, len: i64) -> i64 {
    if index < 0 { index.saturating_add(len) } else { index }
}

/// `s[i]`.
pub fn char_at(s: &str, index: i64) -> Option<&str> {
    if s.is_ascii() {
        let at = usize::try_from(from_end(index, s.len() as i64)).ok()?;
        return s.get(at..at + 1);
    }
    let at = usize::try_from(from_end(index, length(s))).ok()?;
    let (start, c) = s.char_indices().nth(at)?;
    Some(&s[start..start + c.len_utf8()])
}

/// `s[a:b]`.
pub fn slice(s: &str, a: i64, b: i64) -> &str {
    let ascii = s.is_ascii();
    // Where nothing counts from the end, the length matters to the clamping only, which walking does.
    let len = if ascii { s.len() as i64 } else { length(s) };
    let clamp = |index: i64| from_end(index, len).clamp(0, len) as usize;
    let (a, b) = (clamp(a), clamp(b));
    if a >= b {
        return "";
    }
    if ascii {
        return &s[a..b];
    }
    let start = byte_at(s, a);
    let rest = &s[start..];
    &rest[..byte_at(rest, b - a)]
}

/// The bytes of `s` that a search between `a` and `b` looks at, and the code points before them; `None` if the bounds
/// exclude even an empty text.
fn window(s: &str, a: i64, b: i64) -> Option<(usize, usize)> {
    if a == 0 && b == i64::MAX {
        return Some((0, s.len()));
    }
    let ascii = s.is_ascii();
    let len = if ascii { s.len() as i64 } else { length(s) };
    let b = from_end(b.min(len), len).max(0);
    let a = from_end(a, len).max(0);
    if a > b {
        return None;
    }
    let (a, b) = (a as usize, b as usize);
    Some(if ascii { (a, b) } else { (byte_at(s, a), byte_at(s, b)) })
}

/// The first byte of `t` in `s`.
pub(super) fn find_bytes(s: &[u8], t: &[u8]) -> Option<usize> {
    let Some((first, others)) = t.split_first() else { return Some(0) };
    let last = s.len().checked_sub(t.len())?;
    // A searcher takes longer to make than a short text to walk.
    if last > 128 {
        return if others.is_empty() { memchr(*first, s) } else { memmem::find(s, t) };
    }
    let second = others.first();
    let mut at = 0;
    while at <= last {
        if last - at >= 8 {
            let lanes = matches8(&s[at..], *first);
            if lanes == 0 {
                at += 8;
                continue;
            }
            at += (lanes.trailing_zeros() / 8) as usize;
        } else if s[at] != *first {
            at += 1;
            continue;
        }
        if second.is_none_or(|b| s[at + 1] == *b) && s[at + 1..at + t.len()] == *others {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// Marks the first of 8 bytes that is `b` (and perhaps later ones that are not): the classic test for a zero byte, exact
/// up to the first.
fn matches8(s: &[u8], b: u8) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&s[..8]);
    let x = u64::from_le_bytes(bytes) ^ (ONES * u64::from(b));
    x.wrapping_sub(ONES) & !x & (ONES << 7)
}

/// The last byte at which `t` begins in `s`.
pub(super) fn rfind_bytes(s: &[u8], t: &[u8]) -> Option<usize> {
    let Some((first, others)) = t.split_first() else { return Some(s.len()) };
    let last = s.len().checked_sub(t.len())?;
    if last > 64 {
        return if others.is_empty() { memrchr(*first, s) } else { memmem::rfind(s, t) };
    }
    (0..=last).rev().find(|at| s[*at] == *first && s[at + 1..at + t.len()] == *others)
}

/// A byte position as code points.
fn points(s: &str, at: usize) -> i64 {
    length(&s[..at])
}

/// `s.find(t, a, b)`.
pub fn find(s: &str, t: &str, a: i64, b: i64) -> i64 {
    let Some((from, to)) = window(s, a, b) else { return -1 };
    match find_bytes(&s.as_bytes()[from..to], t.as_bytes()) {
        Some(at) => points(s, from + at),
        None => -1,
    }
}

/// `s.rfind(t, a, b)`.
pub fn rfind(s: &str, t: &str, a: i64, b: i64) -> i64 {
    let Some((from, to)) = window(s, a, b) else { return -1 };
    match rfind_bytes(&s.as_bytes()[from..to], t.as_bytes()) {
        Some(at) => points(s, from + at),
        None => -1,
    }
}

/// `t in s`.
pub fn contains(s: &str, t: &str) -> bool {
    find_bytes(s.as_bytes(), t.as_bytes()).is_some()
}

/// `s.count(t)`: those that do not overlap; an empty text is before each code point and at the end.
pub fn count(s: &str, t: &str) -> i64 {
    if t.is_empty() {
        return length(s) + 1;
    }
    let mut rest = s.as_bytes();
    let mut found = 0;
    while let Some(at) = find_bytes(rest, t.as_bytes()) {
        found += 1;
        rest = &rest[at + t.len()..];
    }
    found
}

/// `s[::-1]`.
pub fn reverse<'a>(arena: &'a Arena, s: &str) -> Option<&'a str> {
    let bytes = arena.bytes(s.len())?;
    let mut at = s.len();
    for c in s.chars() {
        at -= c.len_utf8();
        c.encode_utf8(&mut bytes[at..]);
    }
    // SAFETY: every character of `s` was written once, whole, and they fill the bytes.
    Some(unsafe { std::str::from_utf8_unchecked(bytes) })
}

/// Longest text that `s * n` makes here.
const LONGEST_REPEAT: usize = 1 << 20;

/// `s * n`.
pub fn repeat<'a>(arena: &'a Arena, s: &'a str, n: i64) -> Option<&'a str> {
    let times = usize::try_from(n.max(0)).ok()?;
    if s.is_empty() || times == 0 {
        return Some("");
    }
    let len = s.len().checked_mul(times).filter(|len| *len <= LONGEST_REPEAT)?;
    let bytes = arena.bytes(len)?;
    for piece in bytes.chunks_exact_mut(s.len()) {
        piece.copy_from_slice(s.as_bytes());
    }
    // SAFETY: whole texts after one another are a text.
    Some(unsafe { std::str::from_utf8_unchecked(bytes) })
}

/// `s.removeprefix(t)`.
pub fn remove_prefix<'a>(s: &'a str, t: &str) -> &'a str {
    s.strip_prefix(t).unwrap_or(s)
}

/// `s.removesuffix(t)`.
pub fn remove_suffix<'a>(s: &'a str, t: &str) -> &'a str {
    s.strip_suffix(t).unwrap_or(s)
}

/// `left` and `right` fill characters around `s`.
fn padded<'a>(arena: &'a Arena, s: &str, left: usize, right: usize, fill: char) -> Option<&'a str> {
    let (before, after) = (left.checked_mul(fill.len_utf8())?, right.checked_mul(fill.len_utf8())?);
    let bytes = arena.bytes(before.checked_add(s.len())?.checked_add(after)?)?;
    let (head, rest) = bytes.split_at_mut(before);
    let (body, tail) = rest.split_at_mut(s.len());
    body.copy_from_slice(s.as_bytes());
    for side in [head, tail] {
        for piece in side.chunks_exact_mut(fill.len_utf8()) {
            fill.encode_utf8(piece);
        }
    }
    // SAFETY: whole characters, a text, whole characters.
    Some(unsafe { std::str::from_utf8_unchecked(bytes) })
}

/// The one character of a text.
pub fn only_char(s: &str) -> Option<char> {
    let mut chars = s.chars();
    chars.next().filter(|_| chars.next().is_none())
}

/// How much is missing to `width`; `None` for widths that no row needs.
fn missing(s: &str, width: i64) -> Option<usize> {
    let missing = width.saturating_sub(length(s)).max(0) as usize;
    (missing <= LONGEST_REPEAT).then_some(missing)
}

/// `s.ljust(width, fill)`.
pub fn ljust<'a>(arena: &'a Arena, s: &'a str, width: i64, fill: &str) -> Option<&'a str> {
    let fill = only_char(fill)?;
    match missing(s, width)? {
        0 => Some(s),
        n => padded(arena, s, 0, n, fill),
    }
}

/// `s.rjust(width, fill)`.
pub fn rjust<'a>(arena: &'a Arena, s: &'a str, width: i64, fill: &str) -> Option<&'a str> {
    let fill = only_char(fill)?;
    match missing(s, width)? {
        0 => Some(s),
        n => padded(arena, s, n, 0, fill),
    }
}

/// `s.center(width, fill)`: an odd character goes to the left if the width is odd.
pub fn center<'a>(arena: &'a Arena, s: &'a str, width: i64, fill: &str) -> Option<&'a str> {
    let fill = only_char(fill)?;
    match missing(s, width)? {
        0 => Some(s),
        n => {
            let left = n / 2 + (n & width as usize & 1);
            padded(arena, s, left, n - left, fill)
        }
    }
}

/// `s.zfill(width)`: zeros go behind a sign.
pub fn zfill<'a>(arena: &'a Arena, s: &'a str, width: i64) -> Option<&'a str> {
    let n = missing(s, width)?;
    if n == 0 {
        return Some(s);
    }
    let sign = usize::from(s.starts_with(['+', '-']));
    let bytes = arena.bytes(s.len() + n)?;
    bytes[..sign].copy_from_slice(&s.as_bytes()[..sign]);
    bytes[sign..sign + n].fill(b'0');
    bytes[sign + n..].copy_from_slice(&s.as_bytes()[sign..]);
    // SAFETY: zeros stand between characters of a text.
    Some(unsafe { std::str::from_utf8_unchecked(bytes) })
}

/// `ord(s)`.
pub fn ord(s: &str) -> Option<i64> {
    only_char(s).map(|c| i64::from(u32::from(c)))
}

/// `chr(i)`.
pub fn chr(arena: &Arena, i: i64) -> Option<&str> {
    let c = char::from_u32(u32::try_from(i).ok()?)?;
    arena.text(c.encode_utf8(&mut [0; 4]))
}
