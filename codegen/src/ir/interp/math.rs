//! Functions of floats: the standard library's, and for [`Precision::Fast`] the very kernels that
//! compiled code calls, since their last bit is defined by nothing else.

use super::super::op::{MathBin, MathFn, Precision};
use super::column::{Column, Native, with_float};
use super::rows::{Rows, argument, first_ty, unexpected};
use crate::run::EvalError;
use fuseline_kernels::vecmath as k;

type Evaluated<'a> = Result<Column<'a>, EvalError>;
type Kernel1<T> = unsafe extern "C" fn(usize, *const T, *mut T);
type Kernel2<T> = unsafe extern "C" fn(usize, *const T, *const T, *mut T);

trait Functions: for<'a> Native<'a> {
    fn exact1(self, function: MathFn) -> Self;
    fn exact2(self, function: MathBin, other: Self) -> Self;
    /// The kernel, if there is one for the function.
    fn fast1(function: MathFn) -> Option<Kernel1<Self>>;
    fn fast2(function: MathBin) -> Kernel2<Self>;
}

macro_rules! functions {
    ($($t:ty { $($function:ident = $exact:ident $fast:ident;)* | $pow:ident $atan2:ident })*) => { $(
        impl Functions for $t {
            fn exact1(self, function: MathFn) -> Self {
                match function {
                    MathFn::Sqrt => self.sqrt(),
                    MathFn::Floor => self.floor(),
                    MathFn::Ceil => self.ceil(),
                    MathFn::Trunc => self.trunc(),
                    MathFn::Round => self.round(),
                    MathFn::Signum if self == 0.0 => 0.0,
                    MathFn::Signum => self.signum(),
                    $(MathFn::$function => self.$exact(),)*
                }
            }
            fn exact2(self, function: MathBin, other: Self) -> Self {
                match function {
                    MathBin::Pow => self.powf(other),
                    MathBin::Atan2 => self.atan2(other),
                }
            }
            fn fast1(function: MathFn) -> Option<Kernel1<Self>> {
                match function {
                    MathFn::Sqrt
                    | MathFn::Floor
                    | MathFn::Ceil
                    | MathFn::Trunc
                    | MathFn::Round
                    | MathFn::Signum => None,
                    $(MathFn::$function => Some(k::$fast::best()),)*
                }
            }
            fn fast2(function: MathBin) -> Kernel2<Self> {
                match function {
                    MathBin::Pow => k::$pow::best(),
                    MathBin::Atan2 => k::$atan2::best(),
                }
            }
        }
    )* };
}
functions! {
    f32 {
        Exp = exp rt_exp_f32_fast;
        Ln = ln rt_ln_f32_fast;
        Log2 = log2 rt_log2_f32_fast;
        Log10 = log10 rt_log10_f32_fast;
        Sin = sin rt_sin_f32_fast;
        Cos = cos rt_cos_f32_fast;
        Tan = tan rt_tan_f32_fast;
        Asin = asin rt_asin_f32_fast;
        Acos = acos rt_acos_f32_fast;
        Atan = atan rt_atan_f32_fast;
        Sinh = sinh rt_sinh_f32_fast;
        Cosh = cosh rt_cosh_f32_fast;
        Tanh = tanh rt_tanh_f32_fast;
        Asinh = asinh rt_asinh_f32_fast;
        Acosh = acosh rt_acosh_f32_fast;
        Atanh = atanh rt_atanh_f32_fast;
        Cbrt = cbrt rt_cbrt_f32_fast;
        Ln1p = ln_1p rt_ln_1p_f32_fast;
        Expm1 = exp_m1 rt_exp_m1_f32_fast;
        | rt_pow_f32_fast rt_atan2_f32_fast
    }
    f64 {
        Exp = exp rt_exp_f64_fast;
        Ln = ln rt_ln_f64_fast;
        Log2 = log2 rt_log2_f64_fast;
        Log10 = log10 rt_log10_f64_fast;
        Sin = sin rt_sin_f64_fast;
        Cos = cos rt_cos_f64_fast;
        Tan = tan rt_tan_f64_fast;
        Asin = asin rt_asin_f64_fast;
        Acos = acos rt_acos_f64_fast;
        Atan = atan rt_atan_f64_fast;
        Sinh = sinh rt_sinh_f64_fast;
        Cosh = cosh rt_cosh_f64_fast;
        Tanh = tanh rt_tanh_f64_fast;
        Asinh = asinh rt_asinh_f64_fast;
        Acosh = acosh rt_acosh_f64_fast;
        Atanh = atanh rt_atanh_f64_fast;
        Cbrt = cbrt rt_cbrt_f64_fast;
        Ln1p = ln_1p rt_ln_1p_f64_fast;
        Expm1 = exp_m1 rt_exp_m1_f64_fast;
        | rt_pow_f64_fast rt_atan2_f64_fast
    }
}

/// Values with zeros behind them up to a multiple of 8, as the kernels want them.
fn padded<T: Copy + Default>(values: &[T]) -> Vec<T> {
    let mut padded = values.to_vec();
    padded.resize(values.len().next_multiple_of(8), T::default());
    padded
}

fn kernel1<T: Functions>(kernel: Kernel1<T>, x: &[T]) -> Vec<T> {
    let x_padded = padded(x);
    let mut out = vec![T::default(); x_padded.len()];
    // SAFETY: both buffers are as long as the row count rounded up to a multiple of 8, and distinct.
    unsafe { kernel(x.len(), x_padded.as_ptr(), out.as_mut_ptr()) };
    out
}

fn kernel2<T: Functions>(kernel: Kernel2<T>, x: &[T], y: &[T]) -> Vec<T> {
    let (x_padded, y_padded) = (padded(x), padded(y));
    let mut out = vec![T::default(); x_padded.len()];
    // SAFETY: all buffers are as long as the row count rounded up to a multiple of 8, and distinct;
    // the two arguments have one length, that of the chunk.
    unsafe { kernel(x.len().min(y.len()), x_padded.as_ptr(), y_padded.as_ptr(), out.as_mut_ptr()) };
    out
}

pub(super) fn unary<'a>(
    function: MathFn,
    precision: Precision,
    args: &[&Column<'a>],
    rows: &mut Rows<'_, 'a>,
) -> Evaluated<'a> {
    let ty = first_ty(args)?;
    with_float!(ty, T => match (precision, T::fast1(function)) {
        (Precision::Fast, Some(kernel)) => {
            let (x, valid) = argument::<T>(args, 0)?;
            let out = kernel1(kernel, x);
            Ok(Column::from_options((0..rows.n).map(|i| valid[i].then(|| out[i]))))
        }
        (Precision::Fast, None) | (Precision::Libm, _) => {
            rows.strict1(args, |v: T| Ok(Some(v.exact1(function))))
        }
    }, else Err(unexpected(ty)))
}

pub(super) fn binary<'a>(
    function: MathBin,
    precision: Precision,
    args: &[&Column<'a>],
    rows: &mut Rows<'_, 'a>,
) -> Evaluated<'a> {
    let ty = first_ty(args)?;
    with_float!(ty, T => match precision {
        Precision::Fast => {
            let (x, xv) = argument::<T>(args, 0)?;
            let (y, yv) = argument::<T>(args, 1)?;
            let out = kernel2(T::fast2(function), x, y);
            Ok(Column::from_options((0..rows.n).map(|i| (xv[i] && yv[i]).then(|| out[i]))))
        }
        Precision::Libm => rows.strict2(args, |a: T, b: T| Ok(Some(a.exact2(function, b)))),
    }, else Err(unexpected(ty)))
}
