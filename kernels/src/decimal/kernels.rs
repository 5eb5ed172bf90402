//! The chunk kernels over the scalar functions. Decimals may lie at any address; scales and precisions
//! are `i32` in registers.

use crate::bitmap::{set_word, words};
use crate::isa::plain;

plain! {
    /// `out = a + b`; `ok` is 0 where it overflows 128 bits.
    pub fn rt_dec_add = add(n: usize, a: *const i128, b: *const i128, out: *mut i128, ok: *mut u8);
    /// `out = a - b`
    pub fn rt_dec_sub = sub(n: usize, a: *const i128, b: *const i128, out: *mut i128, ok: *mut u8);
    /// `out = a * b`
    pub fn rt_dec_mul = mul(n: usize, a: *const i128, b: *const i128, out: *mut i128, ok: *mut u8);
    /// [`super::div()`] with the powers `left` and `right`.
    pub fn rt_dec_div = div(
        n: usize, a: *const i128, b: *const i128, left: i32, right: i32, out: *mut i128,
        ok: *mut u8,
    );
    /// [`super::rem()`] with the powers `left` and `right`.
    pub fn rt_dec_rem = rem(
        n: usize, a: *const i128, b: *const i128, left: i32, right: i32, out: *mut i128,
        ok: *mut u8,
    );
    /// [`super::rescale()`] by `delta`.
    pub fn rt_dec_rescale = rescale(
        n: usize, a: *const i128, delta: i32, precision: i32, out: *mut i128, ok: *mut u8,
    );
    /// `ok` = whether `a` has at most `precision` digits.
    pub fn rt_dec_fits = fits(n: usize, a: *const i128, precision: i32, ok: *mut u8);
    /// [`super::from_int()`] of signed integers.
    pub fn rt_dec_from_i64 = from_i64(
        n: usize, a: *const i64, scale: i32, precision: i32, out: *mut i128, ok: *mut u8,
    );
    /// [`super::from_int()`] of unsigned integers.
    pub fn rt_dec_from_u64 = from_u64(
        n: usize, a: *const u64, scale: i32, precision: i32, out: *mut i128, ok: *mut u8,
    );
    /// [`super::to_int()`]; `ok` is 0 outside `low..=high`, the range of the type that is wanted.
    pub fn rt_dec_to_i64 = to_i64(
        n: usize, a: *const i128, scale: i32, low: i64, high: i64, out: *mut i64, ok: *mut u8,
    );
    /// [`super::to_int()`]; `ok` is 0 outside `0..=high`.
    pub fn rt_dec_to_u64 = to_u64(
        n: usize, a: *const i128, scale: i32, high: u64, out: *mut u64, ok: *mut u8,
    );
    /// [`super::from_f64()`]; f32 columns are widened before.
    pub fn rt_dec_from_f64 = from_f64(
        n: usize, a: *const f64, scale: i32, precision: i32, out: *mut i128, ok: *mut u8,
    );
    /// [`super::to_f64()`]; f32 results are narrowed after.
    pub fn rt_dec_to_f64 = to_f64(n: usize, a: *const i128, scale: i32, out: *mut f64);
}

/// Writes `f(row)`, or the default and a 0 bit.
///
/// # Safety
/// `out` has `n` rows, `ok` has room for `n` staged bits.
#[inline(always)]
unsafe fn write<T: Default>(n: usize, out: *mut T, ok: *mut u8, f: impl Fn(usize) -> Option<T>) {
    for at in 0..words(n) {
        let rows = (n - at * 64).min(64);
        let mut bits = 0u64;
        for k in 0..rows {
            let result = f(at * 64 + k);
            bits |= u64::from(result.is_some()) << k;
            // SAFETY: the row lies below n.
            unsafe { out.add(at * 64 + k).write_unaligned(result.unwrap_or_default()) }
        }
        // SAFETY: at < words(n).
        unsafe { set_word(ok, at, bits) }
    }
}

/// # Safety
/// `from` has row `row`.
#[inline(always)]
unsafe fn get<T: Copy>(from: *const T, row: usize) -> T {
    // SAFETY: the caller's promise.
    unsafe { from.add(row).read_unaligned() }
}

unsafe fn add(n: usize, a: *const i128, b: *const i128, out: *mut i128, ok: *mut u8) {
    // SAFETY: the caller's promise is passed on.
    unsafe { write(n, out, ok, |i| super::add(get(a, i), get(b, i))) }
}

unsafe fn sub(n: usize, a: *const i128, b: *const i128, out: *mut i128, ok: *mut u8) {
    // SAFETY: the caller's promise is passed on.
    unsafe { write(n, out, ok, |i| super::sub(get(a, i), get(b, i))) }
}

unsafe fn mul(n: usize, a: *const i128, b: *const i128, out: *mut i128, ok: *mut u8) {
    // SAFETY: the caller's promise is passed on.
    unsafe { write(n, out, ok, |i| super::mul(get(a, i), get(b, i))) }
}

unsafe fn div(n: usize, a: *const i128, b: *const i128, left: i32, right: i32, out: *mut i128, ok: *mut u8) {
    // SAFETY: the caller's promise is passed on.
    unsafe { write(n, out, ok, |i| super::div(get(a, i), get(b, i), left as u8, right as u8)) }
}

unsafe fn rem(n: usize, a: *const i128, b: *const i128, left: i32, right: i32, out: *mut i128, ok: *mut u8) {
    // SAFETY: the caller's promise is passed on.
    unsafe { write(n, out, ok, |i| super::rem(get(a, i), get(b, i), left as u8, right as u8)) }
}

unsafe fn rescale(n: usize, a: *const i128, delta: i32, precision: i32, out: *mut i128, ok: *mut u8) {
    // SAFETY: the caller's promise is passed on.
    unsafe { write(n, out, ok, |i| super::rescale(get(a, i), delta as i8, precision as u8)) }
}

unsafe fn fits(n: usize, a: *const i128, precision: i32, ok: *mut u8) {
    // SAFETY: the caller's promise is passed on.
    unsafe { crate::bitmap::write_bits(n, ok, |i| super::fits(get(a, i), precision as u8)) }
}

unsafe fn from_i64(n: usize, a: *const i64, scale: i32, precision: i32, out: *mut i128, ok: *mut u8) {
    // SAFETY: the caller's promise is passed on.
    unsafe { write(n, out, ok, |i| super::from_int(i128::from(get(a, i)), scale as i8, precision as u8)) }
}

unsafe fn from_u64(n: usize, a: *const u64, scale: i32, precision: i32, out: *mut i128, ok: *mut u8) {
    // SAFETY: the caller's promise is passed on.
    unsafe { write(n, out, ok, |i| super::from_int(i128::from(get(a, i)), scale as i8, precision as u8)) }
}

unsafe fn to_i64(n: usize, a: *const i128, scale: i32, low: i64, high: i64, out: *mut i64, ok: *mut u8) {
    // SAFETY: the caller's promise is passed on.
    unsafe {
        write(n, out, ok, |i| {
            let value = i64::try_from(super::to_int(get(a, i), scale as i8)?).ok()?;
            (low <= value && value <= high).then_some(value)
        })
    }
}

unsafe fn to_u64(n: usize, a: *const i128, scale: i32, high: u64, out: *mut u64, ok: *mut u8) {
    // SAFETY: the caller's promise is passed on.
    unsafe {
        write(n, out, ok, |i| {
            let value = u64::try_from(super::to_int(get(a, i), scale as i8)?).ok()?;
            (value <= high).then_some(value)
        })
    }
}

unsafe fn from_f64(n: usize, a: *const f64, scale: i32, precision: i32, out: *mut i128, ok: *mut u8) {
    // The power is the same in every row; computing it is dearer than the rest.
    let power = 10f64.powi(scale);
    // SAFETY: the caller's promise is passed on.
    unsafe { write(n, out, ok, |i| super::from_scaled_f64(power * get(a, i), precision as u8)) }
}

unsafe fn to_f64(n: usize, a: *const i128, scale: i32, out: *mut f64) {
    let power = 10f64.powi(scale);
    for i in 0..n {
        // SAFETY: a and out have n rows.
        unsafe {
            let value = get(a, i);
            // The usual case converts in one instruction, to the same double.
            let float = i64::try_from(value).map_or(value as f64, |small| small as f64);
            *out.add(i) = float / power;
        }
    }
}
