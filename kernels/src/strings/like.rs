//! `LIKE` and `ILIKE` with a constant pattern, compiled once per pipeline.
//!
//! Semantics are arrow's: `%` is any string, `_` any code point, `\` makes the next character
//! literal, a trailing `\` is itself literal, there is no other escape; `ILIKE` compares by Unicode
//! simple case folding. The pattern is cut at `%` into segments:
//!
//! | pattern     | matcher                                             |
//! |-------------|-----------------------------------------------------|
//! | `abc`       | equality                                            |
//! | `abc%`      | prefix                                              |
//! | `%abc`      | suffix                                              |
//! | `%abc%`     | substring search                                    |
//! | anything else | first segment as prefix, last as suffix, the others found leftmost between them |
//!
//! Taking every middle segment leftmost is right because a segment matches a fixed number of code
//! points: an earlier match never ends later. `ILIKE` runs the same matcher on lowered ASCII, and a
//! regular expression where the pattern or the row is not ASCII, since folding crosses the border
//! there (the Kelvin sign folds to `k`).

use std::cell::RefCell;

use regex::{Regex, RegexBuilder};

use super::StrRef;
use super::search::Needle;
use crate::bitmap::write_bits;
use crate::isa::plain;

/// A pattern that cannot be compiled.
#[derive(Debug, thiserror::Error)]
#[error("invalid LIKE pattern: {0}")]
pub struct LikeError(String);

/// A compiled `LIKE` or `ILIKE` pattern.
pub struct LikePattern {
    matcher: Matcher,
    folding: Option<Folding>,
}

/// How `ILIKE` treats what is not ASCII.
struct Folding {
    whole: Regex,
    ascii_pattern: bool,
}

enum Matcher {
    Exact(Needle),
    Prefix(Needle),
    Suffix(Needle),
    Contains(Needle),
    General(General),
}

struct General {
    /// Matches at the start; also at the end if `rest` is `None`.
    first: Segment,
    rest: Option<Rest>,
}

struct Rest {
    middle: Vec<Segment>,
    last: Segment,
}

/// What stands between two `%`.
#[derive(Default)]
struct Segment {
    items: Vec<Item>,
}

enum Item {
    Bytes(Box<Needle>),
    /// This many code points, whatever they are.
    Any(usize),
}

#[derive(Clone, Copy, PartialEq)]
enum Token {
    Literal(char),
    AnyChar,
    AnyString,
}

impl LikePattern {
    /// Compiles `pattern`.
    ///
    /// # Errors
    /// Only for `ILIKE` patterns too large for a regular expression.
    pub fn new(pattern: &str, case_insensitive: bool) -> Result<LikePattern, LikeError> {
        if !case_insensitive {
            return Ok(LikePattern { matcher: compile(&tokens(pattern)), folding: None });
        }
        let tokens = tokens(pattern);
        let folding = Folding { whole: regex(&tokens)?, ascii_pattern: pattern.is_ascii() };
        let lowered: Vec<Token> = tokens
            .into_iter()
            .map(|token| match token {
                Token::Literal(c) => Token::Literal(c.to_ascii_lowercase()),
                Token::AnyChar | Token::AnyString => token,
            })
            .collect();
        Ok(LikePattern { matcher: compile(&lowered), folding: Some(folding) })
    }

    /// Whether `text` matches. `scratch` is only written to.
    fn matches(&self, text: &[u8], scratch: &mut Vec<u8>) -> bool {
        let Some(folding) = &self.folding else {
            return self.matcher.matches(text);
        };
        if folding.ascii_pattern && text.is_ascii() {
            scratch.clear();
            scratch.extend(text.iter().map(u8::to_ascii_lowercase));
            return self.matcher.matches(scratch);
        }
        // SAFETY: strings of valid rows are UTF-8, and null rows hold the empty string or the bytes
        // of an Arrow array, which are UTF-8 too at every offset.
        folding.whole.is_match(unsafe { std::str::from_utf8_unchecked(text) })
    }

    /// Whether `text` matches.
    pub fn is_match(&self, text: &str) -> bool {
        self.matches(text.as_bytes(), &mut Vec::new())
    }
}

fn tokens(pattern: &str) -> Vec<Token> {
    let mut out = Vec::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => Token::Literal(chars.next().unwrap_or('\\')),
            '%' => Token::AnyString,
            '_' => Token::AnyChar,
            literal => Token::Literal(literal),
        });
    }
    out
}

fn regex(tokens: &[Token]) -> Result<Regex, LikeError> {
    let mut source = String::from("^");
    for token in tokens {
        match token {
            Token::Literal(c) => source.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
            Token::AnyChar => source.push('.'),
            Token::AnyString => source.push_str(".*"),
        }
    }
    source.push('$');
    RegexBuilder::new(&source)
        .case_insensitive(true)
        .dot_matches_new_line(true)
        .build()
        .map_err(|e| LikeError(e.to_string()))
}

fn compile(tokens: &[Token]) -> Matcher {
    let mut segments: Vec<Segment> = tokens.split(|t| *t == Token::AnyString).map(Segment::new).collect();
    let anchored = segments.len() == 1;
    let Some(last) = segments.pop() else {
        return Matcher::Exact(Needle::new(b""));
    };
    if anchored {
        return match last.literal() {
            Some(bytes) => Matcher::Exact(Needle::new(bytes)),
            None => Matcher::General(General { first: last, rest: None }),
        };
    }
    let first = segments.remove(0);
    segments.retain(|segment| !segment.items.is_empty());
    match (first.literal(), &segments[..], last.literal()) {
        (Some(prefix), [], Some(b"")) => Matcher::Prefix(Needle::new(prefix)),
        (Some(b""), [], Some(suffix)) => Matcher::Suffix(Needle::new(suffix)),
        (Some(b""), [only], Some(b"")) if only.literal().is_some() => {
            Matcher::Contains(Needle::new(only.literal().unwrap_or_default()))
        }
        _general => {
            let rest = Some(Rest { middle: segments, last });
            Matcher::General(General { first, rest })
        }
    }
}

impl Matcher {
    #[inline]
    fn matches(&self, text: &[u8]) -> bool {
        match self {
            Matcher::Exact(needle) => text.len() == needle.bytes().len() && needle.starts(text),
            Matcher::Prefix(needle) => needle.starts(text),
            Matcher::Suffix(needle) => needle.ends(text),
            Matcher::Contains(needle) => needle.find(text).is_some(),
            Matcher::General(general) => general.matches(text),
        }
    }
}

impl General {
    fn matches(&self, text: &[u8]) -> bool {
        let Some(start) = self.first.match_front(text) else {
            return false;
        };
        let Some(rest) = &self.rest else {
            return start == text.len();
        };
        let Some(end) = rest.last.match_back(text) else {
            return false;
        };
        if end < start {
            return false;
        }
        let mut between = &text[start..end];
        for segment in &rest.middle {
            match segment.find_end(between) {
                Some(end) => between = &between[end..],
                None => return false,
            }
        }
        true
    }
}

/// Bytes of the code point that starts `text`.
#[inline]
fn char_width(text: &[u8]) -> usize {
    let mut width = 1;
    while width < text.len() && (text[width] as i8) < -64 {
        width += 1;
    }
    width
}

impl Segment {
    fn new(tokens: &[Token]) -> Segment {
        let mut items: Vec<Item> = Vec::new();
        let mut literal = String::new();
        for token in tokens {
            match token {
                Token::Literal(c) => literal.push(*c),
                Token::AnyChar => {
                    if !literal.is_empty() {
                        items.push(Item::Bytes(Box::new(Needle::new(literal.as_bytes()))));
                        literal.clear();
                    }
                    match items.last_mut() {
                        Some(Item::Any(count)) => *count += 1,
                        Some(Item::Bytes(_)) | None => items.push(Item::Any(1)),
                    }
                }
                // The caller has cut the pattern here.
                Token::AnyString => {}
            }
        }
        if !literal.is_empty() {
            items.push(Item::Bytes(Box::new(Needle::new(literal.as_bytes()))));
        }
        Segment { items }
    }

    /// The segment's bytes, if it has no `_`.
    fn literal(&self) -> Option<&[u8]> {
        match &self.items[..] {
            [] => Some(b""),
            [Item::Bytes(needle)] => Some(needle.bytes()),
            _mixed => None,
        }
    }

    /// Matches at the start of `text`; returns where the match ends.
    fn match_front(&self, text: &[u8]) -> Option<usize> {
        let mut at = 0;
        for item in &self.items {
            match item {
                Item::Bytes(needle) => {
                    if !needle.starts(&text[at..]) {
                        return None;
                    }
                    at += needle.bytes().len();
                }
                Item::Any(count) => {
                    for _ in 0..*count {
                        if at == text.len() {
                            return None;
                        }
                        at += char_width(&text[at..]);
                    }
                }
            }
        }
        Some(at)
    }

    /// Matches at the end of `text`; returns where the match starts.
    fn match_back(&self, text: &[u8]) -> Option<usize> {
        let mut end = text.len();
        for item in self.items.iter().rev() {
            match item {
                Item::Bytes(needle) => {
                    if !needle.ends(&text[..end]) {
                        return None;
                    }
                    end -= needle.bytes().len();
                }
                Item::Any(count) => {
                    for _ in 0..*count {
                        if end == 0 {
                            return None;
                        }
                        end -= 1;
                        while end > 0 && (text[end] as i8) < -64 {
                            end -= 1;
                        }
                    }
                }
            }
        }
        Some(end)
    }

    /// Matches leftmost anywhere in `text`; returns where that match ends.
    fn find_end(&self, text: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            if let Some(Item::Bytes(needle)) = self.items.first() {
                at += needle.find(&text[at..])?;
            }
            if let Some(end) = self.match_front(&text[at..]) {
                return Some(at + end);
            }
            if at == text.len() {
                return None;
            }
            at += char_width(&text[at..]);
        }
    }
}

plain! {
    /// `out = a LIKE pattern`; `pattern` is a [`LikePattern`].
    pub fn rt_str_like = like(
        n: usize, a: *const StrRef, pattern: *const LikePattern, out: *mut u8,
    );
}

thread_local! {
    /// Where ILIKE lowers a row; kept so that a chunk costs no allocation.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

unsafe fn like(n: usize, a: *const StrRef, pattern: *const LikePattern, out: *mut u8) {
    // SAFETY: a has n rows of living strings, pattern is alive, out has room for n staged bits.
    unsafe {
        let pattern = &*pattern;
        if pattern.folding.is_none() {
            let matcher = &pattern.matcher;
            return write_bits(n, out, |i| matcher.matches((*a.add(i)).bytes()));
        }
        SCRATCH
            .with_borrow_mut(|scratch| write_bits(n, out, |i| pattern.matches((*a.add(i)).bytes(), scratch)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{bit_buffer, refs, staged, strings};
    use super::*;
    use proptest::prelude::*;

    /// The definition, by recursion over code points.
    fn naive(tokens: &[Token], text: &[char]) -> bool {
        match tokens {
            [] => text.is_empty(),
            [Token::AnyString, rest @ ..] => (0..=text.len()).any(|k| naive(rest, &text[k..])),
            [Token::AnyChar, rest @ ..] => !text.is_empty() && naive(rest, &text[1..]),
            [Token::Literal(c), rest @ ..] => text.first() == Some(c) && naive(rest, &text[1..]),
        }
    }

    #[test]
    fn escapes_and_corners() {
        let like = |text: &str, pattern: &str| LikePattern::new(pattern, false).unwrap().is_match(text);
        assert!(like("", "") && like("", "%") && like("", "%%") && !like("", "_"));
        assert!(like("a%b", r"a\%b") && !like("axb", r"a\%b"));
        assert!(like("a_", r"a\_") && !like("ab", r"a\_"));
        assert!(like(r"\x", r"\\%") && like(r"a\", r"a\") && like("ab", r"a\b"));
        assert!(like("line\nbreak", "line%break") && like("a\nb", "a_b"));
        assert!(like("é", "_") && like("€😀", "__") && !like("€", "__"));
        assert!(like("a", "a%") && !like("a", "a%a") && like("aa", "a%a"));
        assert!(like("xabcabd", "%ab_%d") && like("aXbXc", "a_b_c"));
        assert!(like("PROMO BURNISHED", "PROMO%") && like("x special y requests", "%special%requests%"));
        assert!(!like("x requests y special", "%special%requests%"));
    }

    #[test]
    fn folding() {
        let ilike = |text: &str, pattern: &str| LikePattern::new(pattern, true).unwrap().is_match(text);
        assert!(ilike("ABC", "a_c") && ilike("abc", "A%") && !ilike("abd", "A_C"));
        assert!(ilike("\u{212A}elvin", "kel%") && ilike("K", "\u{212A}"));
        assert!(ilike("straße", "STRAßE") && !ilike("STRASSE", "straße"));
        assert!(
            ilike("É", "é") && ilike("Ünïcode X", "ÜNÏ%x") && ilike("a.c", "A.C") && !ilike("abc", "A.C")
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]

        #[test]
        fn like_is_its_definition(
            rows in strings(),
            pattern in "[ab%_]{0,7}|%[a-dé]{0,3}%|[ab_\\\\%é😀]{0,8}",
        ) {
            let compiled = LikePattern::new(&pattern, false).unwrap();
            let tokens = tokens(&pattern);
            let mut out = bit_buffer(rows.len());
            unsafe { rt_str_like(rows.len(), refs(&rows).as_ptr(), &compiled, out.as_mut_ptr()) };
            let want: Vec<bool> = rows
                .iter()
                .map(|r| naive(&tokens, &r.chars().collect::<Vec<_>>()))
                .collect();
            prop_assert_eq!(out, staged(&want));
        }

        #[test]
        fn ilike_is_the_regular_expression(
            rows in strings(),
            pattern in "[abAB%_]{0,7}|%[a-dÉK]{0,3}%",
        ) {
            let compiled = LikePattern::new(&pattern, true).unwrap();
            let whole = regex(&tokens(&pattern)).unwrap();
            let mut out = bit_buffer(rows.len());
            unsafe { rt_str_like(rows.len(), refs(&rows).as_ptr(), &compiled, out.as_mut_ptr()) };
            let want: Vec<bool> = rows.iter().map(|r| whole.is_match(r)).collect();
            prop_assert_eq!(out, staged(&want));
        }
    }
}
