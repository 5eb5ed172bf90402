//! Parts of texts: split, partition, replace.

use super::arena::Arena;
use super::case::is_space;
use super::text::{count, find_bytes, length, rfind_bytes};

/// Splits at the first separator.
fn split_once<'a>(s: &'a str, separator: &str) -> Option<(&'a str, &'a str)> {
    let at = find_bytes(s.as_bytes(), separator.as_bytes())?;
    Some((&s[..at], &s[at + separator.len()..]))
}

/// `len(s.split(separator, most))`.
pub fn split_count(s: &str, separator: &str, most: i64) -> Option<i64> {
    if separator.is_empty() {
        return None;
    }
    let found = count(s, separator);
    Some(1 + if most < 0 { found } else { found.min(most) })
}

/// `s.split(separator, most)[index]`.
pub fn split_at<'a>(s: &'a str, separator: &str, most: i64, index: i64) -> Option<&'a str> {
    if separator.is_empty() {
        return None;
    }
    if index == -1 && most < 0 && separator.len() == 1 {
        return Some(rfind_bytes(s.as_bytes(), separator.as_bytes()).map_or(s, |at| &s[at + 1..]));
    }
    let index = if index < 0 { index.checked_add(split_count(s, separator, most)?)? } else { index };
    if index < 0 || (most >= 0 && index > most) {
        return None;
    }
    let mut rest = s;
    for _before in 0..index {
        rest = split_once(rest, separator)?.1;
    }
    if index == most {
        return Some(rest);
    }
    Some(split_once(rest, separator).map_or(rest, |(part, _)| part))
}

fn words(s: &str) -> impl Iterator<Item = &str> {
    s.split(is_space).filter(|word| !word.is_empty())
}

/// `len(s.split())`.
pub fn word_count(s: &str) -> i64 {
    words(s).count() as i64
}

/// `s.split()[index]`.
pub fn word_at(s: &str, index: i64) -> Option<&str> {
    let index = if index < 0 { index.checked_add(word_count(s))? } else { index };
    words(s).nth(usize::try_from(index).ok()?)
}

/// A part of three.
fn part(parts: [&str; 3], index: i64) -> Option<&str> {
    parts.get(usize::try_from(index).ok()?).copied()
}

/// `s.partition(separator)[index]`.
pub fn partition_at<'a>(s: &'a str, separator: &'a str, index: i64) -> Option<&'a str> {
    if separator.is_empty() {
        return None;
    }
    match split_once(s, separator) {
        Some((before, after)) => part([before, separator, after], index),
        None => part([s, "", ""], index),
    }
}

/// `s.rpartition(separator)[index]`.
pub fn rpartition_at<'a>(s: &'a str, separator: &'a str, index: i64) -> Option<&'a str> {
    if separator.is_empty() {
        return None;
    }
    match rfind_bytes(s.as_bytes(), separator.as_bytes()) {
        Some(at) => part([&s[..at], separator, &s[at + separator.len()..]], index),
        None => part(["", "", s], index),
    }
}

/// Replaces all bytes that are an ASCII character by another one, or by nothing: one pass.
fn replace_byte<'a>(arena: &'a Arena, s: &str, old: u8, new: Option<u8>) -> Option<&'a str> {
    let bytes = arena.bytes(s.len())?;
    let mut at = 0;
    for b in s.bytes() {
        let found = b == old;
        bytes[at] = if found { new.unwrap_or(b) } else { b };
        at += usize::from(!found || new.is_some());
    }
    // SAFETY: ASCII characters of a text were replaced by others or left out.
    Some(unsafe { std::str::from_utf8_unchecked(&bytes[..at]) })
}

/// `s.replace(old, new, most)`.
pub fn replace<'a>(arena: &'a Arena, s: &'a str, old: &str, new: &str, most: i64) -> Option<&'a str> {
    if let ([old], [] | [_], true) = (old.as_bytes(), new.as_bytes(), most < 0) {
        return replace_byte(arena, s, *old, new.as_bytes().first().copied());
    }
    let places = if old.is_empty() { length(s) + 1 } else { count(s, old) };
    let places = if most < 0 { places } else { places.min(most) } as usize;
    if places == 0 {
        return Some(s);
    }
    let added = places.checked_mul(new.len())?;
    let bytes = arena.bytes((s.len() - places * old.len()).checked_add(added)?)?;
    let mut at = 0;
    let mut put = |piece: &str| {
        bytes[at..at + piece.len()].copy_from_slice(piece.as_bytes());
        at += piece.len();
    };
    let mut rest = s;
    for place in 0..places {
        if old.is_empty() {
            // Before every character.
            if place > 0 {
                let next = rest.chars().next().map_or(0, char::len_utf8);
                put(&rest[..next]);
                rest = &rest[next..];
            }
        } else {
            let (before, after) = split_once(rest, old)?;
            put(before);
            rest = after;
        }
        put(new);
    }
    put(rest);
    // SAFETY: parts of texts, cut between characters, and whole texts fill the bytes.
    Some(unsafe { std::str::from_utf8_unchecked(bytes) })
}
