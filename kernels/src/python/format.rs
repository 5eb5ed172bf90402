//! `format(x, spec)` for ints, floats and texts: Python's mini-language without locales (`n`), the alternate form of
//! floats (`#`), `z` and `c`.
//!
//! A number is a sign, a prefix (`0x`), digits that may be grouped, and a rest (point, decimals, exponent, `%`). Padding
//! goes around all of it, or behind the sign (`=`), where zeros take part in the grouping.

use super::arena::Arena;
use super::repr::{self, Digits};
use super::text;
use std::fmt::Write;

/// What is formatted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Int,
    Float,
    Str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Align {
    Left,
    Right,
    Center,
    /// Between sign and digits.
    Inside,
}

/// Widest field and most decimals.
const WIDEST: usize = 1000;
const MOST_DECIMALS: usize = 350;

/// A format specification for one kind of value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    kind: Kind,
    fill: char,
    align: Align,
    /// What stands before numbers that are not negative, if anything.
    plus: Option<char>,
    alternate: bool,
    width: usize,
    /// What separates groups of digits.
    group: Option<char>,
    precision: Option<usize>,
    /// The presentation type; `None` if none is given.
    ty: Option<char>,
}

fn alignment(c: char) -> Option<Align> {
    match c {
        '<' => Some(Align::Left),
        '>' => Some(Align::Right),
        '^' => Some(Align::Center),
        '=' => Some(Align::Inside),
        _ => None,
    }
}

/// Reads a number from the front.
fn number(rest: &mut &str, most: usize) -> Result<Option<usize>, ()> {
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return Ok(None);
    }
    let (number, after) = rest.split_at(digits);
    *rest = after;
    number.parse().ok().filter(|n| *n <= most).map(Some).ok_or(())
}

impl Spec {
    /// Reads a specification; `None` for one that Python refuses for this kind of value, or that is not known here.
    pub fn parse(spec: &str, kind: Kind) -> Option<Spec> {
        let mut rest = spec;
        let mut chars = spec.chars();
        let (first, second) = (chars.next(), chars.next());
        let (mut fill, mut align) = (None, None);
        if let (Some(c), Some(a)) = (first, second.and_then(alignment)) {
            (fill, align) = (Some(c), Some(a));
            rest = chars.as_str();
        } else if let Some(a) = first.and_then(alignment) {
            align = Some(a);
            rest = &rest[1..];
        }
        let take = |wanted: &[char], rest: &mut &str| {
            let found = rest.chars().next().filter(|c| wanted.contains(c));
            if let Some(c) = found {
                *rest = &rest[c.len_utf8()..];
            }
            found
        };
        let sign = take(&['+', '-', ' '], &mut rest);
        let alternate = take(&['#'], &mut rest).is_some();
        let text = kind == Kind::Str;
        if fill.is_none() && take(&['0'], &mut rest).is_some() {
            fill = Some('0');
            if align.is_none() && !text {
                align = Some(Align::Inside);
            }
        }
        let width = number(&mut rest, WIDEST).ok()?.unwrap_or(0);
        let group = take(&[',', '_'], &mut rest);
        let mut precision = None;
        if let Some(after) = rest.strip_prefix('.') {
            rest = after;
            precision = Some(number(&mut rest, MOST_DECIMALS).ok()??);
        }
        let mut left = rest.chars();
        let ty = left.next();
        if left.next().is_some() {
            return None;
        }
        let fits = match kind {
            Kind::Str => {
                matches!(ty, None | Some('s'))
                    && sign.is_none()
                    && !alternate
                    && group.is_none()
                    && align != Some(Align::Inside)
            }
            Kind::Float => matches!(ty, None | Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%')) && !alternate,
            Kind::Int => match ty {
                None | Some('d') => precision.is_none() && !alternate,
                Some('x' | 'X' | 'o' | 'b') => precision.is_none() && group != Some(','),
                Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%') => !alternate,
                Some(_) => false,
            },
        };
        fits.then_some(Spec {
            kind,
            fill: fill.unwrap_or(' '),
            align: align.unwrap_or(if text { Align::Left } else { Align::Right }),
            plus: sign.filter(|c| *c != '-'),
            alternate,
            width,
            group,
            precision,
            ty,
        })
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }
}

/// A number without its padding.
#[derive(Default)]
struct Number {
    negative: bool,
    prefix: &'static str,
    /// The digits that are grouped.
    digits: String,
    rest: String,
}

impl Number {
    fn sign(&self, spec: &Spec) -> Option<char> {
        if self.negative { Some('-') } else { spec.plus }
    }
}

/// The digits in groups, with leading zeros up to `least` characters.
fn grouped(digits: &str, separator: char, size: usize, least: usize) -> String {
    let mut backwards = String::new();
    let mut left = digits.bytes().rev();
    let (mut remaining, mut least) = (digits.len(), least);
    loop {
        let len = size.min(remaining.max(least).max(1));
        for _digit in 0..len {
            backwards.push(left.next().map_or('0', char::from));
        }
        remaining = remaining.saturating_sub(len);
        least = least.saturating_sub(len);
        if remaining == 0 && least == 0 {
            break;
        }
        backwards.push(separator);
        least = least.saturating_sub(1);
    }
    backwards.chars().rev().collect()
}

/// A number with its padding.
fn lay_out(spec: &Spec, number: &Number) -> String {
    let sign = number.sign(spec);
    let around = usize::from(sign.is_some()) + number.prefix.len() + number.rest.len();
    let zeros = spec.fill == '0' && spec.align == Align::Inside;
    let digits = match spec.group {
        Some(separator) if !number.digits.is_empty() => {
            let size = if matches!(spec.ty, Some('x' | 'X' | 'o' | 'b')) { 4 } else { 3 };
            let least = if zeros { spec.width.saturating_sub(around) } else { 0 };
            grouped(&number.digits, separator, size, least)
        }
        Some(_) | None => number.digits.clone(),
    };
    let missing = spec.width.saturating_sub(around + digits.len());
    let (left, inside, right) = match spec.align {
        Align::Left => (0, 0, missing),
        Align::Right => (missing, 0, 0),
        Align::Center => (missing / 2, 0, missing - missing / 2),
        Align::Inside => (0, missing, 0),
    };
    let mut out = String::with_capacity(around + digits.len() + missing * spec.fill.len_utf8());
    let fill = |out: &mut String, n: usize| out.extend(std::iter::repeat_n(spec.fill, n));
    fill(&mut out, left);
    out.extend(sign);
    out.push_str(number.prefix);
    fill(&mut out, inside);
    out.push_str(&digits);
    out.push_str(&number.rest);
    fill(&mut out, right);
    out
}

/// A decimal int, the commonest of formats, without a detour.
fn decimal_int<'a>(arena: &'a Arena, i: i64, spec: &Spec) -> Option<&'a str> {
    let mut buffer = [0_u8; 20];
    let digits = repr::decimal(i.unsigned_abs(), &mut buffer);
    let sign = if i < 0 { Some(b'-') } else { spec.plus.map(|c| c as u8) };
    let len = digits.len() + usize::from(sign.is_some());
    let missing = spec.width.saturating_sub(len);
    let (left, inside) = match spec.align {
        Align::Left => (0, 0),
        Align::Right => (missing, 0),
        Align::Center => (missing / 2, 0),
        Align::Inside => (0, missing),
    };
    let bytes = arena.bytes(len + missing)?;
    bytes.fill(spec.fill as u8);
    let mut at = left;
    if let Some(sign) = sign {
        bytes[at] = sign;
        at += 1;
    }
    at += inside;
    bytes[at..at + digits.len()].copy_from_slice(digits);
    // SAFETY: the caller's fill is ASCII, as all the rest.
    Some(unsafe { std::str::from_utf8_unchecked(bytes) })
}

/// `format(i, spec)`.
pub fn int<'a>(arena: &'a Arena, i: i64, spec: &Spec) -> Option<&'a str> {
    if matches!(spec.ty, None | Some('d')) && spec.group.is_none() && spec.fill.is_ascii() {
        return decimal_int(arena, i, spec);
    }
    let size = i.unsigned_abs();
    let (prefix, digits) = match spec.ty {
        None | Some('d') => ("", size.to_string()),
        Some('x') => ("0x", format!("{size:x}")),
        Some('X') => ("0X", format!("{size:X}")),
        Some('o') => ("0o", format!("{size:o}")),
        Some('b') => ("0b", format!("{size:b}")),
        Some(_) => return float(arena, i as f64, spec),
    };
    let prefix = if spec.alternate { prefix } else { "" };
    arena.text(&lay_out(spec, &Number { negative: i < 0, prefix, digits, rest: String::new() }))
}

/// `format(x, spec)`.
pub fn float<'a>(arena: &'a Arena, x: f64, spec: &Spec) -> Option<&'a str> {
    let mut size = x.abs();
    let mut out = String::new();
    let ty = spec.ty.map(|c| c.to_ascii_lowercase());
    if ty == Some('%') {
        size *= 100.0;
    }
    if !size.is_finite() {
        repr::unsigned(size, &mut out)?;
    } else {
        match (ty, spec.precision) {
            (Some('f' | '%'), precision) => {
                let _ = write!(out, "{:.*}", precision.unwrap_or(6), size);
            }
            (Some('e'), precision) => {
                Digits::precise(size, precision.unwrap_or(6) + 1)?.exponential(&mut out)
            }
            (None, None) => repr::unsigned(size, &mut out)?,
            (_, precision) => {
                let count = precision.unwrap_or(6).max(1);
                let digits = Digits::precise(size, count)?.without_trailing_zeros();
                // Without a type a digit follows the point, so one less comes before an exponent.
                let dot_zero = ty.is_none();
                let most = count as i32 - i32::from(dot_zero);
                if digits.point <= -4 || digits.point > most {
                    digits.exponential(&mut out);
                } else {
                    digits.plain(dot_zero, &mut out);
                }
            }
        }
    }
    if spec.ty.is_some_and(|c| c.is_ascii_uppercase()) {
        out.make_ascii_uppercase();
    }
    if ty == Some('%') {
        out.push('%');
    }
    let negative = x.is_sign_negative() && !x.is_nan();
    if spec.width == 0 && spec.group.is_none() {
        return match if negative { Some('-') } else { spec.plus } {
            Some(sign) => arena.join(&[sign.encode_utf8(&mut [0; 4]), &out]),
            None => arena.text(&out),
        };
    }
    let whole = out.bytes().take_while(u8::is_ascii_digit).count();
    let rest = out.split_off(whole);
    arena.text(&lay_out(spec, &Number { negative, prefix: "", digits: out, rest }))
}

/// `format(s, spec)`.
pub fn str<'a>(arena: &'a Arena, s: &'a str, spec: &Spec) -> Option<&'a str> {
    let s = match spec.precision {
        Some(most) => text::slice(s, 0, most as i64),
        None => s,
    };
    let mut encoded = [0; 4];
    let fill = &*spec.fill.encode_utf8(&mut encoded);
    let width = spec.width as i64;
    match spec.align {
        Align::Left | Align::Inside => text::ljust(arena, s, width, fill),
        Align::Right => text::rjust(arena, s, width, fill),
        Align::Center => {
            // Unlike `str.center`, an odd character goes to the right.
            let missing = spec.width.saturating_sub(text::length(s) as usize);
            let half = text::ljust(arena, s, width - (missing / 2) as i64, fill)?;
            text::rjust(arena, half, width, fill)
        }
    }
}
