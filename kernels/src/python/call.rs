//! Operations as machine code calls them.
//!
//! One signature for all: an arena, and an array of words that holds the operands and takes the result. A number or bool is
//! a word, a text is two (address, length), a value that may be None is three (two words of value, and whether it is
//! there). Behind the operands stand words that belong to the operation: a choice, or the address of a table or
//! format specification. The result is 1, or 0 if the row bails. The words cost a few stores that never leave the
//! cache; in exchange no operation needs a signature of its own in the code generator.

use super::arena::Arena;
use super::format::Spec;
use super::output::TextOutput;
use super::table::{Cell, Table};
use super::{case, date, float, format, int, math, parse, repr, round, split, text};

/// Most words of a call.
pub const MOST_WORDS: usize = 12;

/// An operation.
///
/// # Safety
/// The words are those of the operation's operands, in order: texts are valid UTF-8 and live as long as the
/// arena is not reset, addresses are of what the operation says. There is room for [`MOST_WORDS`].
pub type Kernel = unsafe extern "C" fn(arena: *mut Arena, words: *mut u64) -> u32;

/// Something that travels in words.
trait Words {
    /// # Safety
    /// The words hold such a value. It must not outlive what they point to.
    unsafe fn take(words: &mut *const u64) -> Self;
}

/// A result.
trait Give {
    /// # Safety
    /// There is room for the value.
    unsafe fn give(self, words: *mut u64);
}

/// The next word.
///
/// # Safety
/// There is one.
unsafe fn next(words: &mut *const u64) -> u64 {
    // SAFETY: the caller's promise.
    unsafe {
        let word = **words;
        *words = words.add(1);
        word
    }
}

impl Words for i64 {
    unsafe fn take(words: &mut *const u64) -> i64 {
        // SAFETY: the caller's promise.
        unsafe { next(words) as i64 }
    }
}

impl Words for f64 {
    unsafe fn take(words: &mut *const u64) -> f64 {
        // SAFETY: the caller's promise.
        unsafe { f64::from_bits(next(words)) }
    }
}

impl Words for bool {
    unsafe fn take(words: &mut *const u64) -> bool {
        // SAFETY: the caller's promise.
        unsafe { next(words) & 1 == 1 }
    }
}

impl Words for &str {
    unsafe fn take(words: &mut *const u64) -> Self {
        // SAFETY: the caller's promise: address and length of a text.
        unsafe {
            let (start, len) = (next(words), next(words));
            std::str::from_utf8_unchecked(std::slice::from_raw_parts(start as *const u8, len as usize))
        }
    }
}

macro_rules! addresses {
    ($($ty:ty),*) => { $(
        impl Words for &$ty {
            unsafe fn take(words: &mut *const u64) -> Self {
                // SAFETY: the caller's promise: the address of one that lives.
                unsafe { &*(next(words) as *const $ty) }
            }
        }
    )* };
}
addresses!(Spec, Table);

impl Words for &mut TextOutput {
    unsafe fn take(words: &mut *const u64) -> Self {
        // SAFETY: the caller's promise: the address of one that lives and that nobody else uses now.
        unsafe { &mut *(next(words) as *mut TextOutput) }
    }
}

macro_rules! one_word {
    ($($ty:ty: $v:ident => $bits:expr;)*) => { $(
        impl Give for $ty {
            unsafe fn give(self, words: *mut u64) {
                let $v = self;
                // SAFETY: the caller's promise.
                unsafe { *words = $bits }
            }
        }
    )* };
}
one_word! {
    i64: v => v as u64;
    f64: v => v.to_bits();
    bool: v => u64::from(v);
}

impl Give for () {
    unsafe fn give(self, _words: *mut u64) {}
}

impl Give for &str {
    unsafe fn give(self, words: *mut u64) {
        // SAFETY: the caller's promise.
        unsafe {
            *words = self.as_ptr() as u64;
            *words.add(1) = self.len() as u64;
        }
    }
}

impl Give for &Cell {
    unsafe fn give(self, words: *mut u64) {
        // SAFETY: the caller's promise.
        unsafe { words.cast::<Cell>().write(*self) }
    }
}

macro_rules! kernels {
    ($($name:ident($arena:ident $(, $arg:ident: $ty:ty)*) -> $result:ty = $body:expr;)*) => { $(
        #[doc = concat!("`", stringify!($body), "`")]
        ///
        /// # Safety
        /// As [`Kernel`].
        pub unsafe extern "C" fn $name(arena: *mut Arena, words: *mut u64) -> u32 {
            // SAFETY: the caller's promise; machine code uses the arena only by resetting it between rows.
            let $arena = unsafe { &*arena };
            let _ = $arena;
            #[allow(unused_mut, unused_variables, reason = "some take nothing")]
            let mut at = words.cast_const();
            // SAFETY: the caller's promise.
            $(let $arg = unsafe { <$ty>::take(&mut at) };)*
            let result: Option<$result> = $body;
            match result {
                Some(result) => {
                    // SAFETY: the caller's promise.
                    unsafe { result.give(words) };
                    1
                }
                None => 0,
            }
        }
    )* };
}

kernels! {
    rt_py_int_pow(_arena, a: i64, b: i64) -> i64 = int::pow(a, b);
    rt_py_gcd(_arena, a: i64, b: i64) -> i64 = int::gcd(a, b);
    rt_py_round_int(_arena, i: i64, n: i64) -> i64 = round::round_int(i, n);
    rt_py_compare_int_float(_arena, a: i64, b: f64) -> i64
        = Some(int::compare_float(a, b).map_or(2, |order| order as i64));
    rt_py_float_floor_div(_arena, x: f64, y: f64) -> f64 = float::floor_div(x, y);
    rt_py_float_mod(_arena, x: f64, y: f64) -> f64 = float::modulo(x, y);
    rt_py_float_pow(_arena, x: f64, y: f64) -> f64 = float::pow(x, y);
    rt_py_round_digits(_arena, x: f64, n: i64) -> f64 = round::round_digits(x, n);
    rt_py_math_pow(_arena, x: f64, y: f64) -> f64 = math::math_pow(x, y);
    rt_py_atan2(_arena, x: f64, y: f64) -> f64 = math::math_atan2(x, y);
    rt_py_hypot(_arena, x: f64, y: f64) -> f64 = math::math_hypot(x, y);
    rt_py_fmod(_arena, x: f64, y: f64) -> f64 = math::math_fmod(x, y);
    rt_py_copysign(_arena, x: f64, y: f64) -> f64 = math::math_copysign(x, y);

    rt_py_len(_arena, s: &str) -> i64 = Some(text::length(s));
    rt_py_char_at(_arena, s: &str, i: i64) -> &str = text::char_at(s, i);
    rt_py_slice(_arena, s: &str, a: i64, b: i64) -> &str = Some(text::slice(s, a, b));
    rt_py_reverse(arena, s: &str) -> &str = text::reverse(arena, s);
    rt_py_concat(arena, s: &str, t: &str) -> &str = arena.join(&[s, t]);
    rt_py_repeat(arena, s: &str, n: i64) -> &str = text::repeat(arena, s, n);
    rt_py_find(_arena, s: &str, t: &str, a: i64, b: i64) -> i64 = Some(text::find(s, t, a, b));
    rt_py_rfind(_arena, s: &str, t: &str, a: i64, b: i64) -> i64 = Some(text::rfind(s, t, a, b));
    rt_py_starts_with(_arena, s: &str, t: &str) -> bool = Some(s.as_bytes().starts_with(t.as_bytes()));
    rt_py_ends_with(_arena, s: &str, t: &str) -> bool = Some(s.as_bytes().ends_with(t.as_bytes()));
    rt_py_contains(_arena, s: &str, t: &str) -> bool = Some(text::contains(s, t));
    rt_py_compare_text(_arena, s: &str, t: &str) -> i64 = Some(s.cmp(t) as i64);
    rt_py_equal_text(_arena, s: &str, t: &str) -> bool = Some(s == t);
    rt_py_count(_arena, s: &str, t: &str) -> i64 = Some(text::count(s, t));
    rt_py_lower(arena, s: &str) -> &str = case::lower(arena, s);
    rt_py_upper(arena, s: &str) -> &str = case::upper(arena, s);
    rt_py_title(arena, s: &str) -> &str = case::title(arena, s);
    rt_py_capitalize(arena, s: &str) -> &str = case::capitalize(arena, s);
    rt_py_swap_case(arena, s: &str) -> &str = case::swap_case(arena, s);
    rt_py_strip_space(_arena, s: &str, ends: i64) -> &str = Some(case::strip_space(s, ends));
    rt_py_strip_chars(_arena, s: &str, chars: &str, ends: i64) -> &str = Some(case::strip_chars(s, chars, ends));
    rt_py_remove_prefix(_arena, s: &str, t: &str) -> &str = Some(text::remove_prefix(s, t));
    rt_py_remove_suffix(_arena, s: &str, t: &str) -> &str = Some(text::remove_suffix(s, t));
    rt_py_replace(arena, s: &str, old: &str, new: &str, most: i64) -> &str = split::replace(arena, s, old, new, most);
    rt_py_split_count(_arena, s: &str, t: &str, most: i64) -> i64 = split::split_count(s, t, most);
    rt_py_split_at(_arena, s: &str, t: &str, most: i64, i: i64) -> &str = split::split_at(s, t, most, i);
    rt_py_word_count(_arena, s: &str) -> i64 = Some(split::word_count(s));
    rt_py_word_at(_arena, s: &str, i: i64) -> &str = split::word_at(s, i);
    rt_py_partition_at(_arena, s: &str, t: &str, i: i64) -> &str = split::partition_at(s, t, i);
    rt_py_rpartition_at(_arena, s: &str, t: &str, i: i64) -> &str = split::rpartition_at(s, t, i);
    rt_py_is_digit(_arena, s: &str) -> bool = case::is_digit(s);
    rt_py_is_alpha(_arena, s: &str) -> bool = case::is_alpha(s);
    rt_py_is_alnum(_arena, s: &str) -> bool = case::is_alnum(s);
    rt_py_is_space(_arena, s: &str) -> bool = Some(case::is_all_space(s));
    rt_py_is_upper(_arena, s: &str) -> bool = case::is_upper(s);
    rt_py_is_lower(_arena, s: &str) -> bool = case::is_lower(s);
    rt_py_is_ascii(_arena, s: &str) -> bool = Some(s.is_ascii());
    rt_py_zfill(arena, s: &str, width: i64) -> &str = text::zfill(arena, s, width);
    rt_py_ljust(arena, s: &str, width: i64, fill: &str) -> &str = text::ljust(arena, s, width, fill);
    rt_py_rjust(arena, s: &str, width: i64, fill: &str) -> &str = text::rjust(arena, s, width, fill);
    rt_py_center(arena, s: &str, width: i64, fill: &str) -> &str = text::center(arena, s, width, fill);
    rt_py_parse_int(_arena, s: &str) -> i64 = parse::int(s);
    rt_py_parse_int_base(_arena, s: &str, base: i64) -> i64 = parse::int_base(s, base);
    rt_py_parse_float(_arena, s: &str) -> f64 = parse::float(s);
    rt_py_int_to_str(arena, i: i64) -> &str = repr::int(arena, i);
    rt_py_float_to_str(arena, x: f64) -> &str = repr::float(arena, x);
    rt_py_bool_to_str(_arena, b: bool) -> &str = Some(if b { "True" } else { "False" });
    rt_py_format_int(arena, i: i64, spec: &Spec) -> &str = format::int(arena, i, spec);
    rt_py_format_float(arena, x: f64, spec: &Spec) -> &str = format::float(arena, x, spec);
    rt_py_format_str(arena, s: &str, spec: &Spec) -> &str = format::str(arena, s, spec);
    rt_py_ord(_arena, s: &str) -> i64 = text::ord(s);
    rt_py_chr(arena, i: i64) -> &str = text::chr(arena, i);

    rt_py_has_int(_arena, key: i64, table: &Table) -> bool = Some(table.get_int(key).is_some());
    rt_py_has_str(_arena, key: &str, table: &Table) -> bool = Some(table.get_text(key).is_some());
    rt_py_lookup_int(_arena, key: i64, table: &Table) -> &Cell = table.get_int(key);
    rt_py_lookup_str(_arena, key: &str, table: &Table) -> &Cell = table.get_text(key);

    rt_py_date_field(_arena, days: i64, which: i64) -> i64 = date::field(days, which);
    rt_py_datetime_field(_arena, micros: i64, which: i64) -> i64 = date::datetime_field(micros, which);
    rt_py_add_days(_arena, days: i64, n: i64) -> i64 = date::add_days(days, n);
    rt_py_add_micros(_arena, micros: i64, n: i64) -> i64 = date::add_micros(micros, n);
    rt_py_make_date(_arena, year: i64, month: i64, day: i64) -> i64 = date::make_date(year, month, day);

    rt_py_emit(_arena, s: &str, output: &mut TextOutput) -> () = output.push(s);
}

/// Appends an empty text, for a row that has none, to the output whose address is the first word.
///
/// # Safety
/// As [`Kernel`].
pub unsafe extern "C" fn rt_py_emit_nothing(_arena: *mut Arena, words: *mut u64) -> u32 {
    // SAFETY: the caller's promise.
    let output = unsafe { &mut *(*words as *mut TextOutput) };
    // What is there fits, so nothing more fits too.
    u32::from(output.push("").is_some())
}

/// Takes the arena's memory back.
///
/// # Safety
/// `arena` is one that nobody else uses; no text in it is used any more.
pub unsafe extern "C" fn rt_py_reset(arena: *mut Arena, _words: *mut u64) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { (*arena).reset() };
    1
}

/// Whether `n` bytes are the same.
///
/// # Safety
/// There are `n` bytes at `a` and `b`.
pub unsafe extern "C" fn rt_py_same_bytes(a: *const u8, b: *const u8, n: usize) -> u64 {
    // SAFETY: the caller's promise.
    let (a, b) = unsafe { (std::slice::from_raw_parts(a, n), std::slice::from_raw_parts(b, n)) };
    u64::from(a == b)
}

/// `s.find(t, from)` by bytes.
///
/// # Safety
/// Both are texts with their lengths.
pub unsafe extern "C" fn rt_py_find_bytes(s: *const u8, n: usize, t: *const u8, m: usize, from: i64) -> i64 {
    // SAFETY: the caller's promise.
    let (s, t) = unsafe { (std::slice::from_raw_parts(s, n), std::slice::from_raw_parts(t, m)) };
    let from = if from < 0 { from.saturating_add(n as i64).max(0) } else { from } as usize;
    let Some(rest) = s.get(from..) else { return -1 };
    text::find_bytes(rest, t).map_or(-1, |at| (from + at) as i64)
}

/// `s.rfind(t, from)` by bytes.
///
/// # Safety
/// As [`rt_py_find_bytes`].
pub unsafe extern "C" fn rt_py_rfind_bytes(s: *const u8, n: usize, t: *const u8, m: usize, from: i64) -> i64 {
    // SAFETY: the caller's promise.
    let (s, t) = unsafe { (std::slice::from_raw_parts(s, n), std::slice::from_raw_parts(t, m)) };
    let from = if from < 0 { from.saturating_add(n as i64).max(0) } else { from } as usize;
    let Some(rest) = s.get(from..) else { return -1 };
    text::rfind_bytes(rest, t).map_or(-1, |at| (from + at) as i64)
}
