//! Arithmetic. Integer errors are worded as arrow's checked arithmetic words them.

use super::super::op::Overflow;
use super::column::{Column, Native, with_float, with_int};
use super::rows::{Fault, RowResult, Rows, first_ty, unexpected};
use crate::run::EvalError;
use std::fmt::Debug;

type Evaluated<'a> = Result<Column<'a>, EvalError>;

/// The integers, with what the operations need of them.
pub(super) trait Int: for<'a> Native<'a> + Copy + Debug + PartialEq {
    const ZERO: Self;
    const MINUS_ONE: Option<Self>;
    fn add_wrap(self, b: Self) -> Self;
    fn sub_wrap(self, b: Self) -> Self;
    fn mul_wrap(self, b: Self) -> Self;
    fn add_exact(self, b: Self) -> Option<Self>;
    fn sub_exact(self, b: Self) -> Option<Self>;
    fn mul_exact(self, b: Self) -> Option<Self>;
    fn div_exact(self, b: Self) -> Option<Self>;
    fn rem_wrap(self, b: Self) -> Self;
    fn neg_wrap(self) -> Self;
    fn neg_exact(self) -> Option<Self>;
    fn and(self, b: Self) -> Self;
    fn or(self, b: Self) -> Self;
    fn xor(self, b: Self) -> Self;
    fn shl(self, b: Self) -> Self;
    fn shr(self, b: Self) -> Self;
    fn is_negative(self) -> bool;
    /// The array type's name in arrow, which DataFusion's `abs` puts into its message.
    const ARRAY: &'static str;
}

macro_rules! ints {
    ($($t:ty, $minus_one:expr, $array:literal;)*) => { $(
        impl Int for $t {
            const ZERO: Self = 0;
            const MINUS_ONE: Option<Self> = $minus_one;
            fn add_wrap(self, b: Self) -> Self { self.wrapping_add(b) }
            fn sub_wrap(self, b: Self) -> Self { self.wrapping_sub(b) }
            fn mul_wrap(self, b: Self) -> Self { self.wrapping_mul(b) }
            fn add_exact(self, b: Self) -> Option<Self> { self.checked_add(b) }
            fn sub_exact(self, b: Self) -> Option<Self> { self.checked_sub(b) }
            fn mul_exact(self, b: Self) -> Option<Self> { self.checked_mul(b) }
            fn div_exact(self, b: Self) -> Option<Self> { self.checked_div(b) }
            fn rem_wrap(self, b: Self) -> Self { self.wrapping_rem(b) }
            fn neg_wrap(self) -> Self { self.wrapping_neg() }
            fn neg_exact(self) -> Option<Self> { self.checked_neg() }
            fn and(self, b: Self) -> Self { self & b }
            fn or(self, b: Self) -> Self { self | b }
            fn xor(self, b: Self) -> Self { self ^ b }
            fn shl(self, b: Self) -> Self { self.wrapping_shl(b as u32) }
            fn shr(self, b: Self) -> Self { self.wrapping_shr(b as u32) }
            #[allow(unused_comparisons)] // one body for signed and unsigned types
            fn is_negative(self) -> bool { self < 0 }
            const ARRAY: &'static str = $array;
        }
    )* };
}
ints! {
    i8, Some(-1), "Int8Array";
    i16, Some(-1), "Int16Array";
    i32, Some(-1), "Int32Array";
    i64, Some(-1), "Int64Array";
    i128, Some(-1), "Decimal128Array";
    u8, None, "UInt8Array";
    u16, None, "UInt16Array";
    u32, None, "UInt32Array";
    u64, None, "UInt64Array";
}

/// The floats. With two NaNs the first operand's is the result, quieted; with one, that one: what
/// SSE instructions do, said here because a compiler may swap the operands of `+` and `*`.
pub(super) trait Float: for<'a> Native<'a> + Copy + Debug {
    fn add(self, b: Self) -> Self;
    fn sub(self, b: Self) -> Self;
    fn mul(self, b: Self) -> Self;
    fn div(self, b: Self) -> Self;
    fn fmod(self, b: Self) -> Self;
    fn neg(self) -> Self;
    fn abs(self) -> Self;
}

macro_rules! nan_or {
    ($a:expr, $b:expr, $quiet:literal, $result:expr) => {
        if $a.is_nan() {
            Self::from_bits($a.to_bits() | $quiet)
        } else if $b.is_nan() {
            Self::from_bits($b.to_bits() | $quiet)
        } else {
            $result
        }
    };
}
macro_rules! floats {
    ($($t:ty, $quiet:literal;)*) => { $(
        impl Float for $t {
            fn add(self, b: Self) -> Self { nan_or!(self, b, $quiet, self + b) }
            fn sub(self, b: Self) -> Self { nan_or!(self, b, $quiet, self - b) }
            fn mul(self, b: Self) -> Self { nan_or!(self, b, $quiet, self * b) }
            fn div(self, b: Self) -> Self { nan_or!(self, b, $quiet, self / b) }
            fn fmod(self, b: Self) -> Self { nan_or!(self, b, $quiet, self % b) }
            fn neg(self) -> Self { -self }
            fn abs(self) -> Self { <$t>::abs(self) }
        }
    )* };
}
floats! {
    f32, 0x0040_0000;
    f64, 0x0008_0000_0000_0000;
}

fn overflow<T: Debug>(a: T, symbol: &str, b: T) -> Fault {
    Fault::Overflow(format!("Overflow happened on: {a:?} {symbol} {b:?}"))
}

/// What `exact` having no result means.
fn settle<T>(
    mode: Overflow,
    exact: Option<T>,
    wrapped: impl FnOnce() -> T,
    fault: impl FnOnce() -> Fault,
) -> RowResult<T> {
    match (exact, mode) {
        (Some(v), _) => Ok(Some(v)),
        (None, Overflow::Wrap) => Ok(Some(wrapped())),
        (None, Overflow::Null) => Ok(None),
        (None, Overflow::Err) => Err(fault()),
    }
}

macro_rules! arithmetic {
    ($name:ident, $exact:ident, $wrap:ident, $float:ident, $symbol:literal) => {
        pub(super) fn $name<'a>(
            mode: Overflow,
            args: &[&Column<'a>],
            rows: &mut Rows<'_, 'a>,
        ) -> Evaluated<'a> {
            let ty = first_ty(args)?;
            with_int!(ty, T => {
                rows.strict2(args, |a: T, b: T| {
                    settle(mode, Int::$exact(a, b), || Int::$wrap(a, b), || overflow(a, $symbol, b))
                })
            }, else with_float!(ty, T => {
                rows.strict2(args, |a: T, b: T| Ok(Some(Float::$float(a, b))))
            }, else Err(unexpected(ty))))
        }
    };
}
arithmetic!(add, add_exact, add_wrap, add, "+");
arithmetic!(sub, sub_exact, sub_wrap, sub, "-");
arithmetic!(mul, mul_exact, mul_wrap, mul, "*");

pub(super) fn div<'a>(args: &[&Column<'a>], rows: &mut Rows<'_, 'a>) -> Evaluated<'a> {
    let ty = first_ty(args)?;
    with_int!(ty, T => rows.strict2(args, |a: T, b: T| {
        if b == T::ZERO {
            return Err(Fault::DivideByZero);
        }
        Int::div_exact(a, b).map(Some).ok_or_else(|| overflow(a, "/", b))
    }), else with_float!(ty, T => {
        rows.strict2(args, |a: T, b: T| Ok(Some(Float::div(a, b))))
    }, else Err(unexpected(ty))))
}

pub(super) fn rem<'a>(args: &[&Column<'a>], rows: &mut Rows<'_, 'a>) -> Evaluated<'a> {
    let ty = first_ty(args)?;
    with_int!(ty, T => rows.strict2(args, |a: T, b: T| {
        if b == T::ZERO {
            return Err(Fault::DivideByZero);
        }
        Ok(Some(if Some(b) == T::MINUS_ONE { T::ZERO } else { a.rem_wrap(b) }))
    }), else with_float!(ty, T => {
        rows.strict2(args, |a: T, b: T| Ok(Some(Float::fmod(a, b))))
    }, else Err(unexpected(ty))))
}

pub(super) fn neg<'a>(mode: Overflow, args: &[&Column<'a>], rows: &mut Rows<'_, 'a>) -> Evaluated<'a> {
    let ty = first_ty(args)?;
    with_int!(ty, T => rows.strict1(args, |a: T| {
        let fault = || Fault::Overflow(format!("Overflow happened on: - {a:?}"));
        settle(mode, a.neg_exact(), || a.neg_wrap(), fault)
    }), else with_float!(ty, T => {
        rows.strict1(args, |a: T| Ok(Some(Float::neg(a))))
    }, else Err(unexpected(ty))))
}

pub(super) fn abs<'a>(mode: Overflow, args: &[&Column<'a>], rows: &mut Rows<'_, 'a>) -> Evaluated<'a> {
    let ty = first_ty(args)?;
    with_int!(ty, T => rows.strict1(args, |a: T| {
        if !Int::is_negative(a) {
            return Ok(Some(a));
        }
        let fault = || Fault::Function(format!("Compute error: {} overflow on abs({a:?})", T::ARRAY));
        settle(mode, a.neg_exact(), || a.neg_wrap(), fault)
    }), else with_float!(ty, T => {
        rows.strict1(args, |a: T| Ok(Some(Float::abs(a))))
    }, else Err(unexpected(ty))))
}

macro_rules! bitwise {
    ($name:ident, $method:ident) => {
        pub(super) fn $name<'a>(args: &[&Column<'a>], rows: &mut Rows<'_, 'a>) -> Evaluated<'a> {
            let ty = first_ty(args)?;
            with_int!(ty, T => {
                rows.strict2(args, |a: T, b: T| Ok(Some(Int::$method(a, b))))
            }, else Err(unexpected(ty)))
        }
    };
}
bitwise!(bit_and, and);
bitwise!(bit_or, or);
bitwise!(bit_xor, xor);
bitwise!(shl, shl);
bitwise!(shr, shr);
