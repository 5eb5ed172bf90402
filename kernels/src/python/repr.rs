//! Floats as Python writes them.
//!
//! A finite float is first its decimal digits and where their point stands ([`Digits`]), then laid out with or
//! without an exponent.

use super::arena::Arena;
use std::fmt::Write;

/// Significant digits `d` without leading zeros (one `0` for zero) and the place of the point: 0.ddd * 10 ** point.
pub(super) struct Digits {
    pub digits: String,
    pub point: i32,
}

impl Digits {
    /// From Rust's `d.ddde-7`.
    fn of_scientific(text: &str) -> Option<Digits> {
        let (mantissa, exponent) = text.split_once('e')?;
        let digits: String = mantissa.bytes().filter(u8::is_ascii_digit).map(char::from).collect();
        Some(Digits { digits, point: exponent.parse::<i32>().ok()? + 1 })
    }

    /// The fewest digits that read back as this float (`x >= 0`, finite), and of those the nearest; of two that are
    /// equally near the even one.
    pub fn shortest(x: f64) -> Option<Digits> {
        let found = Digits::of_scientific(&format!("{x:e}"))?;
        // Rust takes the upper one of two. There are two only where as many digits as a float has end just before a
        // last 5, so before few bits of a fraction.
        const BITS: f64 = 1_048_576.0;
        if found.digits.len() < 15 || (x * BITS).fract() != 0.0 {
            return Some(found);
        }
        let nearest = Digits::precise(x, found.digits.len())?;
        if nearest.digits == found.digits {
            return Some(found);
        }
        let mut text = String::new();
        nearest.exponential(&mut text);
        Some(if text.parse() == Ok(x) { nearest } else { found })
    }

    /// That many digits, correctly rounded.
    pub fn precise(x: f64, count: usize) -> Option<Digits> {
        Digits::of_scientific(&format!("{:.*e}", count.max(1) - 1, x))
    }

    pub fn without_trailing_zeros(mut self) -> Digits {
        let kept = self.digits.trim_end_matches('0').len().max(1);
        self.digits.truncate(kept);
        self
    }

    /// `d.ddde+XX`, at least two digits of exponent.
    pub fn exponential(&self, out: &mut String) {
        out.push_str(&self.digits[..1]);
        if self.digits.len() > 1 {
            out.push('.');
            out.push_str(&self.digits[1..]);
        }
        let exponent = self.point - 1;
        let sign = if exponent < 0 { '-' } else { '+' };
        // Writing to a String does not fail.
        let _ = write!(out, "e{sign}{:02}", exponent.unsigned_abs());
    }

    /// Without an exponent; `dot_zero` puts `.0` behind whole numbers.
    pub fn plain(&self, dot_zero: bool, out: &mut String) {
        let zeros = |out: &mut String, n: usize| out.extend(std::iter::repeat_n('0', n));
        let count = self.digits.len() as i32;
        if self.point <= 0 {
            out.push_str("0.");
            zeros(out, self.point.unsigned_abs() as usize);
            out.push_str(&self.digits);
        } else if self.point >= count {
            out.push_str(&self.digits);
            zeros(out, (self.point - count) as usize);
            if dot_zero {
                out.push_str(".0");
            }
        } else {
            let (whole, fraction) = self.digits.split_at(self.point as usize);
            out.push_str(whole);
            out.push('.');
            out.push_str(fraction);
        }
    }
}

/// `repr(x)` without sign, for `x >= 0` or NaN.
pub(super) fn unsigned(x: f64, out: &mut String) -> Option<()> {
    if x.is_nan() {
        out.push_str("nan");
    } else if x.is_infinite() {
        out.push_str("inf");
    } else if x == 0.0 {
        out.push_str("0.0");
    } else {
        let digits = Digits::shortest(x)?;
        if digits.point <= -4 || digits.point > 16 {
            digits.exponential(out);
        } else {
            digits.plain(true, out);
        }
    }
    Some(())
}

/// `repr(x)`.
pub fn float(arena: &Arena, x: f64) -> Option<&str> {
    // All digits of a whole number of up to 15 are needed, so they are the shortest.
    if x.abs() < 1e15 && x.trunc() == x && (x != 0.0 || x.is_sign_positive()) {
        let mut digits = [0_u8; 20];
        let digits = decimal(x.abs() as u64, &mut digits);
        let bytes = arena.bytes(usize::from(x < 0.0) + digits.len() + 2)?;
        let end = bytes.len();
        bytes[0] = b'-';
        bytes[end - 2 - digits.len()..end - 2].copy_from_slice(digits);
        bytes[end - 2..].copy_from_slice(b".0");
        // SAFETY: ASCII.
        return Some(unsafe { std::str::from_utf8_unchecked(bytes) });
    }
    let mut out = String::with_capacity(24);
    if x.is_sign_negative() && !x.is_nan() {
        out.push('-');
    }
    unsigned(x.abs(), &mut out)?;
    arena.text(&out)
}

/// The digits of a number, at the end of a buffer.
pub(super) fn decimal(mut number: u64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &buffer[at..];
        }
    }
}

/// `str(i)`.
pub fn int(arena: &Arena, i: i64) -> Option<&str> {
    let mut buffer = [0_u8; 20];
    let digits = decimal(i.unsigned_abs(), &mut buffer);
    let bytes = arena.bytes(digits.len() + usize::from(i < 0))?;
    let start = bytes.len() - digits.len();
    bytes[..start].fill(b'-');
    bytes[start..].copy_from_slice(digits);
    // SAFETY: ASCII.
    Some(unsafe { std::str::from_utf8_unchecked(bytes) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::excessive_precision, reason = "what a float holds exactly, between two texts")]
    fn of_two_equally_near_the_even_one() {
        // As CPython writes them.
        for (x, text) in [
            (1_592_262_918_131_450.25, "1592262918131450.2"),
            (1_767_766_952_966_368.25, "1767766952966368.2"),
            (1_592_262_918_131_450.75, "1592262918131450.8"),
            (9_007_199_254_740_993.0, "9007199254740992.0"),
            (5e-324, "5e-324"),
            (0.1, "0.1"),
            (123_456_789.125, "123456789.125"),
            (9.5e22, "9.5e+22"),
        ] {
            let mut out = String::new();
            unsigned(x, &mut out).expect("a text");
            assert_eq!(out, text);
        }
    }
}
