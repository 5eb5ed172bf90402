//! Transcendental functions over chunks, in two flavours of one signature.
//!
//! - `rt_NAME_f64_exact`: libm row by row, that is Rust's `f64::NAME`, which DataFusion calls. The
//!   reference.
//! - `rt_NAME_f64_fast`: branch-free polynomial code that LLVM vectorizes, within 1 ulp of libm, exact
//!   where the result is representable (exp 0, ln 1, log10 of powers of ten, 2^3, ...), with libm's
//!   infinities, zeros and NaN. Rows that the scheme does not cover (huge angles, special powers) are
//!   computed by libm afterwards.
//!
//! | function | fast flavour |
//! |---|---|
//! | sin, cos, tan | [`trig`] |
//! | exp, ln, log2, log10, ln_1p | [`exp_log`] |
//! | pow | [`power`] |
//! | asin, acos, atan, sinh, cosh, tanh, asinh, acosh, atanh, cbrt, exp_m1, atan2 | libm, as exact |
//!
//! The f32 kernels of the first three rows compute in f64 and round once, which is within 0.51 ulp.
//!
//! No instruction set changes a bit: the code never contracts `a * b + c`, and [`dd`] uses FMA only where
//! its result is exact.

mod dd;
mod exp_log;
mod function;
mod libm;
mod power;
#[cfg(test)]
mod tests;
mod trig;

pub use function::{Binary32, Binary64, Flavor, Function, Function2, Unary32, Unary64};
pub use libm::*;

use crate::isa::dispatch;

/// Applies `fast` to every row, then `slow` to the rows where `special` says so.
///
/// # Safety
/// `x` and `out` have `n` rows, rounded up to a multiple of 8, and do not overlap.
#[inline(always)]
unsafe fn map<T: Copy>(
    n: usize,
    x: *const T,
    out: *mut T,
    fast: impl Fn(T) -> T,
    special: impl Fn(T) -> bool,
    slow: impl Fn(T) -> T,
) {
    let padded = n.next_multiple_of(8);
    // SAFETY: the caller's promise.
    let (x, out) =
        unsafe { (std::slice::from_raw_parts(x, padded), std::slice::from_raw_parts_mut(out, padded)) };
    let mut any = 0u64;
    for (x, out) in x.iter().zip(out.iter_mut()) {
        any |= u64::from(special(*x));
        *out = fast(*x);
    }
    if any != 0 {
        for (x, out) in x.iter().zip(out).take(n).filter(|(x, _)| special(**x)) {
            *out = slow(*x);
        }
    }
}

/// As [`map`], two arguments.
///
/// # Safety
/// As [`map`].
#[inline(always)]
unsafe fn map2<T: Copy>(
    n: usize,
    x: *const T,
    y: *const T,
    out: *mut T,
    fast: impl Fn(T, T) -> T,
    special: impl Fn(T, T) -> bool,
    slow: impl Fn(T, T) -> T,
) {
    let padded = n.next_multiple_of(8);
    // SAFETY: the caller's promise.
    let (x, y, out) = unsafe {
        (
            std::slice::from_raw_parts(x, padded),
            std::slice::from_raw_parts(y, padded),
            std::slice::from_raw_parts_mut(out, padded),
        )
    };
    let mut any = 0u64;
    for ((x, y), out) in x.iter().zip(y).zip(out.iter_mut()) {
        any |= u64::from(special(*x, *y));
        *out = fast(*x, *y);
    }
    if any != 0 {
        for ((x, y), out) in x.iter().zip(y).zip(out).take(n) {
            if special(*x, *y) {
                *out = slow(*x, *y);
            }
        }
    }
}

macro_rules! unary {
    ($($wide:ident $narrow:ident $wide_body:ident $narrow_body:ident $name:ident,
        |$x:ident| $fast:expr, |$s:ident| $special:expr;)*) => {
        dispatch! { $(
            #[doc = concat!("`out = ", stringify!($name), "(x)`, vectorized.")]
            pub fn $wide = $wide_body(n: usize, x: *const f64, out: *mut f64);
            #[doc = concat!("`out = ", stringify!($name), "(x)`, vectorized.")]
            pub fn $narrow = $narrow_body(n: usize, x: *const f32, out: *mut f32);
        )* }
        $(
            #[inline(always)]
            unsafe fn $wide_body<const ISA: u8>(n: usize, x: *const f64, out: *mut f64) {
                // SAFETY: the caller's promise is passed on.
                unsafe { map(n, x, out, |$x: f64| $fast, |$s: f64| $special, f64::$name) }
            }

            #[inline(always)]
            unsafe fn $narrow_body<const ISA: u8>(n: usize, x: *const f32, out: *mut f32) {
                // SAFETY: the caller's promise is passed on.
                unsafe {
                    map(
                        n,
                        x,
                        out,
                        |x: f32| { let $x = f64::from(x); $fast as f32 },
                        |x: f32| { let $s = f64::from(x); $special },
                        f32::$name,
                    )
                }
            }
        )*
    };
}

unary! {
    rt_sin_f64_fast rt_sin_f32_fast sin_f64 sin_f32 sin, |x| trig::sin(x), |x| trig::special(x);
    rt_cos_f64_fast rt_cos_f32_fast cos_f64 cos_f32 cos, |x| trig::cos(x), |x| trig::special(x);
    rt_tan_f64_fast rt_tan_f32_fast tan_f64 tan_f32 tan,
        |x| trig::tan::<ISA>(x), |x| trig::special(x);
    rt_exp_f64_fast rt_exp_f32_fast exp_f64 exp_f32 exp, |x| exp_log::exp(x), |_x| false;
    rt_ln_f64_fast rt_ln_f32_fast ln_f64 ln_f32 ln, |x| exp_log::ln(x), |x| exp_log::special(x);
    rt_log2_f64_fast rt_log2_f32_fast log2_f64 log2_f32 log2, |x| exp_log::log2(x), |x| exp_log::special(x);
    rt_log10_f64_fast rt_log10_f32_fast log10_f64 log10_f32 log10,
        |x| exp_log::log10(x), |x| exp_log::special_log10(x);
    rt_ln_1p_f64_fast rt_ln_1p_f32_fast ln_1p_f64 ln_1p_f32 ln_1p,
        |x| exp_log::ln_1p(x), |x| exp_log::special_ln_1p(x);
}

dispatch! {
    /// `out = x ^ y`, vectorized.
    pub fn rt_pow_f64_fast = pow_f64(n: usize, x: *const f64, y: *const f64, out: *mut f64);
    /// `out = x ^ y`, vectorized.
    pub fn rt_pow_f32_fast = pow_f32(n: usize, x: *const f32, y: *const f32, out: *mut f32);
}

#[inline(always)]
unsafe fn pow_f64<const ISA: u8>(n: usize, x: *const f64, y: *const f64, out: *mut f64) {
    // SAFETY: the caller's promise is passed on.
    unsafe { map2(n, x, y, out, power::pow::<ISA>, power::special, f64::powf) }
}

#[inline(always)]
unsafe fn pow_f32<const ISA: u8>(n: usize, x: *const f32, y: *const f32, out: *mut f32) {
    // SAFETY: the caller's promise is passed on.
    unsafe {
        map2(
            n,
            x,
            y,
            out,
            |x, y| power::pow::<ISA>(f64::from(x), f64::from(y)) as f32,
            |x, y| power::special(f64::from(x), f64::from(y)),
            f32::powf,
        )
    }
}
