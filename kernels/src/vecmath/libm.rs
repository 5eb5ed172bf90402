//! The exact flavour: Rust's own `f64` and `f32` methods (libm), row by row; and the fast names of those
//! functions that have no vector code.

use crate::isa::plain;

macro_rules! unary {
    ($($wide:ident $narrow:ident $wide_body:ident $narrow_body:ident $name:ident;)*) => {
        plain! { $(
            #[doc = concat!("`out = ", stringify!($name), "(x)` by libm.")]
            pub fn $wide = $wide_body(n: usize, x: *const f64, out: *mut f64);
            #[doc = concat!("`out = ", stringify!($name), "(x)` by libm.")]
            pub fn $narrow = $narrow_body(n: usize, x: *const f32, out: *mut f32);
        )* }
        $(
            unsafe fn $wide_body(n: usize, x: *const f64, out: *mut f64) {
                for i in 0..n {
                    // SAFETY: x and out have n rows.
                    unsafe { *out.add(i) = (*x.add(i)).$name() }
                }
            }

            unsafe fn $narrow_body(n: usize, x: *const f32, out: *mut f32) {
                for i in 0..n {
                    // SAFETY: x and out have n rows.
                    unsafe { *out.add(i) = (*x.add(i)).$name() }
                }
            }
        )*
    };
}

unary! {
    rt_sin_f64_exact rt_sin_f32_exact sin_f64 sin_f32 sin;
    rt_cos_f64_exact rt_cos_f32_exact cos_f64 cos_f32 cos;
    rt_tan_f64_exact rt_tan_f32_exact tan_f64 tan_f32 tan;
    rt_asin_f64_exact rt_asin_f32_exact asin_f64 asin_f32 asin;
    rt_acos_f64_exact rt_acos_f32_exact acos_f64 acos_f32 acos;
    rt_atan_f64_exact rt_atan_f32_exact atan_f64 atan_f32 atan;
    rt_sinh_f64_exact rt_sinh_f32_exact sinh_f64 sinh_f32 sinh;
    rt_cosh_f64_exact rt_cosh_f32_exact cosh_f64 cosh_f32 cosh;
    rt_tanh_f64_exact rt_tanh_f32_exact tanh_f64 tanh_f32 tanh;
    rt_asinh_f64_exact rt_asinh_f32_exact asinh_f64 asinh_f32 asinh;
    rt_acosh_f64_exact rt_acosh_f32_exact acosh_f64 acosh_f32 acosh;
    rt_atanh_f64_exact rt_atanh_f32_exact atanh_f64 atanh_f32 atanh;
    rt_exp_f64_exact rt_exp_f32_exact exp_f64 exp_f32 exp;
    rt_exp_m1_f64_exact rt_exp_m1_f32_exact exp_m1_f64 exp_m1_f32 exp_m1;
    rt_ln_f64_exact rt_ln_f32_exact ln_f64 ln_f32 ln;
    rt_ln_1p_f64_exact rt_ln_1p_f32_exact ln_1p_f64 ln_1p_f32 ln_1p;
    rt_log2_f64_exact rt_log2_f32_exact log2_f64 log2_f32 log2;
    rt_log10_f64_exact rt_log10_f32_exact log10_f64 log10_f32 log10;
    rt_cbrt_f64_exact rt_cbrt_f32_exact cbrt_f64 cbrt_f32 cbrt;
    rt_asin_f64_fast rt_asin_f32_fast asin_fast_f64 asin_fast_f32 asin;
    rt_acos_f64_fast rt_acos_f32_fast acos_fast_f64 acos_fast_f32 acos;
    rt_atan_f64_fast rt_atan_f32_fast atan_fast_f64 atan_fast_f32 atan;
    rt_sinh_f64_fast rt_sinh_f32_fast sinh_fast_f64 sinh_fast_f32 sinh;
    rt_cosh_f64_fast rt_cosh_f32_fast cosh_fast_f64 cosh_fast_f32 cosh;
    rt_tanh_f64_fast rt_tanh_f32_fast tanh_fast_f64 tanh_fast_f32 tanh;
    rt_asinh_f64_fast rt_asinh_f32_fast asinh_fast_f64 asinh_fast_f32 asinh;
    rt_acosh_f64_fast rt_acosh_f32_fast acosh_fast_f64 acosh_fast_f32 acosh;
    rt_atanh_f64_fast rt_atanh_f32_fast atanh_fast_f64 atanh_fast_f32 atanh;
    rt_exp_m1_f64_fast rt_exp_m1_f32_fast exp_m1_fast_f64 exp_m1_fast_f32 exp_m1;
    rt_cbrt_f64_fast rt_cbrt_f32_fast cbrt_fast_f64 cbrt_fast_f32 cbrt;
}

macro_rules! binary {
    ($($wide:ident $narrow:ident $wide_body:ident $narrow_body:ident $name:ident;)*) => {
        plain! { $(
            #[doc = concat!("`out = ", stringify!($name), "(x, y)` by libm.")]
            pub fn $wide = $wide_body(n: usize, x: *const f64, y: *const f64, out: *mut f64);
            #[doc = concat!("`out = ", stringify!($name), "(x, y)` by libm.")]
            pub fn $narrow = $narrow_body(n: usize, x: *const f32, y: *const f32, out: *mut f32);
        )* }
        $(
            unsafe fn $wide_body(n: usize, x: *const f64, y: *const f64, out: *mut f64) {
                for i in 0..n {
                    // SAFETY: x, y and out have n rows.
                    unsafe { *out.add(i) = (*x.add(i)).$name(*y.add(i)) }
                }
            }

            unsafe fn $narrow_body(n: usize, x: *const f32, y: *const f32, out: *mut f32) {
                for i in 0..n {
                    // SAFETY: x, y and out have n rows.
                    unsafe { *out.add(i) = (*x.add(i)).$name(*y.add(i)) }
                }
            }
        )*
    };
}

binary! {
    rt_pow_f64_exact rt_pow_f32_exact pow_f64 pow_f32 powf;
    rt_atan2_f64_exact rt_atan2_f32_exact atan2_f64 atan2_f32 atan2;
    rt_atan2_f64_fast rt_atan2_f32_fast atan2_fast_f64 atan2_fast_f32 atan2;
}
