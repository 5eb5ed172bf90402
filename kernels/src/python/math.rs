//! Functions of Python's `math` over floats, computed by the C library as CPython computes them.
//!
//! CPython's rule for errors is the same for nearly all of them: a NaN that no operand was is a domain error, an infinity
//! from finite operands an overflow or a pole. [`checked`] is that rule.

use std::sync::LazyLock;

unsafe extern "C" {
    safe fn sqrt(x: f64) -> f64;
    safe fn exp(x: f64) -> f64;
    safe fn exp2(x: f64) -> f64;
    safe fn expm1(x: f64) -> f64;
    safe fn log(x: f64) -> f64;
    safe fn log2(x: f64) -> f64;
    safe fn log10(x: f64) -> f64;
    safe fn log1p(x: f64) -> f64;
    safe fn sin(x: f64) -> f64;
    safe fn cos(x: f64) -> f64;
    safe fn tan(x: f64) -> f64;
    safe fn asin(x: f64) -> f64;
    safe fn acos(x: f64) -> f64;
    safe fn atan(x: f64) -> f64;
    safe fn sinh(x: f64) -> f64;
    safe fn cosh(x: f64) -> f64;
    safe fn tanh(x: f64) -> f64;
    safe fn asinh(x: f64) -> f64;
    safe fn acosh(x: f64) -> f64;
    safe fn atanh(x: f64) -> f64;
    safe fn cbrt(x: f64) -> f64;
    safe fn erf(x: f64) -> f64;
    safe fn erfc(x: f64) -> f64;
    safe fn pow(x: f64, y: f64) -> f64;
    safe fn atan2(y: f64, x: f64) -> f64;
}

/// A function of one float, as machine code calls it.
pub type Function1 = extern "C" fn(f64) -> f64;

macro_rules! functions {
    ($($name:ident = $libm:ident;)*) => { $(
        #[doc = concat!("`", stringify!($libm), "(x)` of the C library.")]
        pub extern "C" fn $name(x: f64) -> f64 {
            $libm(x)
        }
    )* };
}
functions! {
    rt_py_sqrt = sqrt;
    rt_py_exp = exp;
    rt_py_exp2 = exp2;
    rt_py_expm1 = expm1;
    rt_py_log = log;
    rt_py_log2 = log2;
    rt_py_log10 = log10;
    rt_py_log1p = log1p;
    rt_py_sin = sin;
    rt_py_cos = cos;
    rt_py_tan = tan;
    rt_py_asin = asin;
    rt_py_acos = acos;
    rt_py_atan = atan;
    rt_py_sinh = sinh;
    rt_py_cosh = cosh;
    rt_py_tanh = tanh;
    rt_py_asinh = asinh;
    rt_py_acosh = acosh;
    rt_py_atanh = atanh;
    rt_py_erf = erf;
    rt_py_erfc = erfc;
}

/// The C library's `cbrt`. Rust has one of its own under that name, which rounds correctly and so differs from what
/// CPython calls; the dynamic linker knows the other.
static CBRT: LazyLock<Function1> = LazyLock::new(|| {
    // SAFETY: the name is a C string; a function of that name has this signature.
    unsafe {
        let found = libc::dlsym(libc::RTLD_DEFAULT, c"cbrt".as_ptr());
        if found.is_null() { linked_cbrt } else { std::mem::transmute::<*mut libc::c_void, Function1>(found) }
    }
});

extern "C" fn linked_cbrt(x: f64) -> f64 {
    cbrt(x)
}

/// `cbrt(x)` of the C library.
pub extern "C" fn rt_py_cbrt(x: f64) -> f64 {
    CBRT(x)
}

/// `math.degrees`.
pub extern "C" fn rt_py_degrees(x: f64) -> f64 {
    x * DEGREES
}

/// `math.radians`.
pub extern "C" fn rt_py_radians(x: f64) -> f64 {
    x * RADIANS
}

/// Degrees in a radian, and the other way round.
pub const DEGREES: f64 = 180.0 / std::f64::consts::PI;
pub const RADIANS: f64 = std::f64::consts::PI / 180.0;

/// A result, unless `math` raises for it.
pub fn checked(x: f64, result: f64) -> Option<f64> {
    let raises = (result.is_nan() && !x.is_nan()) || (result.is_infinite() && x.is_finite());
    (!raises).then_some(result)
}

fn checked2(x: f64, y: f64, result: f64) -> Option<f64> {
    let raises = (result.is_nan() && !x.is_nan() && !y.is_nan())
        || (result.is_infinite() && x.is_finite() && y.is_finite());
    (!raises).then_some(result)
}

pub(super) fn pow_libm(x: f64, y: f64) -> f64 {
    pow(x, y)
}

/// `math.pow`.
pub fn math_pow(x: f64, y: f64) -> Option<f64> {
    // Whether this raises depends on the version of Python.
    if x == 0.0 && y == f64::NEG_INFINITY {
        return None;
    }
    checked2(x, y, pow(x, y))
}

/// `math.atan2`.
pub fn math_atan2(y: f64, x: f64) -> Option<f64> {
    Some(atan2(y, x))
}

/// `math.fmod`.
pub fn math_fmod(x: f64, y: f64) -> Option<f64> {
    checked2(x, y, x % y)
}

/// `math.copysign`.
pub fn math_copysign(x: f64, y: f64) -> Option<f64> {
    Some(x.copysign(y))
}

/// `math.hypot(x, y)`: the correctly rounded root in all but a few cases in a million, as CPython's own is.
pub fn math_hypot(x: f64, y: f64) -> Option<f64> {
    if x.is_infinite() || y.is_infinite() {
        return Some(f64::INFINITY);
    }
    if x.is_nan() || y.is_nan() {
        return Some(f64::NAN);
    }
    let (x, y) = (x.abs(), y.abs());
    let (big, small) = if x > y { (x, y) } else { (y, x) };
    if small == 0.0 {
        return Some(big);
    }
    // A power of two brings the larger one near 1, so that no square overflows and none that matters underflows.
    let exponent = ((big.to_bits() >> 52) & 0x7FF) as i64 - 1023;
    if !(-1000..=1000).contains(&exponent) {
        // Scaling itself would need care; Python is asked.
        return None;
    }
    let scale = f64::from_bits(((1023 - exponent) as u64) << 52);
    let back = f64::from_bits(((1023 + exponent) as u64) << 52);
    let (a, b) = (big * scale, small * scale);
    let (aa, bb) = (a * a, b * b);
    let low = a.mul_add(a, -aa) + b.mul_add(b, -bb);
    let sum = aa + bb;
    let rest = (aa - sum + bb) + low;
    let root = sum.sqrt();
    // One step of Newton's with the exact residue.
    let residue = (-root).mul_add(root, sum) + rest;
    let result = (root + residue / (2.0 * root)) * back;
    result.is_finite().then_some(result)
}
