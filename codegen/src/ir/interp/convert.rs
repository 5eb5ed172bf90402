//! Conversions between numeric types, and decimals. Messages are arrow's.

use super::super::op::{OnFail, int_range};
use super::super::types::Ty;
use super::column::{Column, Native, with_float, with_int};
use super::rows::{Fault, RowResult, Rows, first_ty, unexpected};
use crate::run::EvalError;
use arrow::datatypes::{Decimal128Type, DecimalType};
use std::fmt::Debug;

type Evaluated<'a> = Result<Column<'a>, EvalError>;

/// Types that [`super::super::Op::Cast`] converts among.
trait Plain: for<'a> Native<'a> + Copy + Debug {
    /// The value as the type that holds it exactly.
    fn wide(self) -> Wide;
    /// The counterpart of a value, if there is one.
    fn from_wide(wide: Wide) -> Option<Self>;
}

#[derive(Clone, Copy)]
enum Wide {
    Int(i128),
    F32(f32),
    F64(f64),
}

macro_rules! plain_ints {
    ($($t:ty),*) => { $(
        impl Plain for $t {
            fn wide(self) -> Wide { Wide::Int(i128::from(self)) }
            fn from_wide(wide: Wide) -> Option<Self> {
                match wide {
                    Wide::Int(v) => <$t>::try_from(v).ok(),
                    Wide::F32(v) => truncated(f64::from(v)).and_then(|v| <$t>::try_from(v).ok()),
                    Wide::F64(v) => truncated(v).and_then(|v| <$t>::try_from(v).ok()),
                }
            }
        }
    )* };
}
plain_ints!(i8, i16, i32, i64, u8, u16, u32, u64);

impl Plain for bool {
    fn wide(self) -> Wide {
        Wide::Int(i128::from(self))
    }
    fn from_wide(wide: Wide) -> Option<Self> {
        Some(match wide {
            Wide::Int(v) => v != 0,
            Wide::F32(v) => v != 0.0,
            Wide::F64(v) => v != 0.0,
        })
    }
}

impl Plain for f32 {
    fn wide(self) -> Wide {
        Wide::F32(self)
    }
    fn from_wide(wide: Wide) -> Option<Self> {
        Some(match wide {
            Wide::Int(v) => v as f32,
            Wide::F32(v) => v,
            Wide::F64(v) => v as f32,
        })
    }
}

impl Plain for f64 {
    fn wide(self) -> Wide {
        Wide::F64(self)
    }
    fn from_wide(wide: Wide) -> Option<Self> {
        Some(match wide {
            Wide::Int(v) => v as f64,
            Wide::F32(v) => f64::from(v),
            Wide::F64(v) => v,
        })
    }
}

/// The float without its fraction, if it is an integer at all; no 64-bit type holds 2^64 or more,
/// so the bound only keeps the conversion exact.
fn truncated(v: f64) -> Option<i128> {
    (v.abs() < 1e30).then(|| v.trunc() as i128)
}

/// What the type is called in arrow's messages.
fn arrow_name(ty: Ty) -> &'static str {
    match ty {
        Ty::Bool => "Boolean",
        Ty::I8 => "Int8",
        Ty::I16 => "Int16",
        Ty::I32 => "Int32",
        Ty::I64 => "Int64",
        Ty::I128 => "Decimal128",
        Ty::U8 => "UInt8",
        Ty::U16 => "UInt16",
        Ty::U32 => "UInt32",
        Ty::U64 => "UInt64",
        Ty::F32 => "Float32",
        Ty::F64 => "Float64",
        Ty::Str => "Utf8",
    }
}

/// What a conversion without result means.
fn settle<T>(fail: OnFail, value: Result<T, Fault>) -> RowResult<T> {
    match (value, fail) {
        (Ok(v), _) => Ok(Some(v)),
        (Err(_), OnFail::Null) => Ok(None),
        (Err(fault), OnFail::Err) => Err(fault),
    }
}

macro_rules! with_plain {
    ($ty:expr, $t:ident => $body:expr) => {
        match $ty {
            Ty::Bool => {
                type $t = bool;
                $body
            }
            Ty::I8 => {
                type $t = i8;
                $body
            }
            Ty::I16 => {
                type $t = i16;
                $body
            }
            Ty::I32 => {
                type $t = i32;
                $body
            }
            Ty::I64 => {
                type $t = i64;
                $body
            }
            Ty::U8 => {
                type $t = u8;
                $body
            }
            Ty::U16 => {
                type $t = u16;
                $body
            }
            Ty::U32 => {
                type $t = u32;
                $body
            }
            Ty::U64 => {
                type $t = u64;
                $body
            }
            Ty::F32 => {
                type $t = f32;
                $body
            }
            Ty::F64 => {
                type $t = f64;
                $body
            }
            Ty::I128 | Ty::Str => Err(unexpected($ty)),
        }
    };
}

pub(super) fn cast<'a>(to: Ty, fail: OnFail, args: &[&Column<'a>], rows: &mut Rows<'_, 'a>) -> Evaluated<'a> {
    let from = first_ty(args)?;
    with_plain!(from, From => with_plain!(to, To => rows.strict1(args, |v: From| {
        settle(fail, To::from_wide(v.wide()).ok_or_else(|| {
            Fault::Cast(format!("Can't cast value {v:?} to type {}", arrow_name(to)))
        }))
    })))
}

fn pow10(n: u8) -> Option<i128> {
    10_i128.checked_pow(u32::from(n))
}

/// Refuses more than `precision` digits, in arrow's words.
fn within_precision(v: i128, precision: u8, scale: i8) -> Result<i128, Fault> {
    match Decimal128Type::validate_decimal_precision(v, precision, scale) {
        Ok(()) => Ok(v),
        Err(e) => Err(Fault::Function(e.to_string())),
    }
}

fn product(a: i128, b: i128) -> Result<i128, Fault> {
    a.checked_mul(b).ok_or_else(|| Fault::Overflow(format!("Overflow happened on: {a:?} * {b:?}")))
}

/// `v` times 10^delta, or over 10^-delta rounded half away from zero.
fn rescale(v: i128, delta: i8, precision: u8, scale: i8) -> Result<i128, Fault> {
    let overflow =
        || Fault::Cast(format!("Cannot cast to Decimal128({precision}, {scale}). Overflowing on {v:?}"));
    let scaled = match (delta >= 0, pow10(delta.unsigned_abs())) {
        (true, Some(factor)) => v.checked_mul(factor).ok_or_else(overflow)?,
        (true, None) if v == 0 => 0,
        (true, None) => return Err(overflow()),
        (false, Some(divisor)) => {
            let (quotient, remainder) = (v / divisor, v % divisor);
            let half = divisor / 2;
            if v >= 0 && remainder >= half && divisor > 1 {
                quotient + 1
            } else if v < 0 && remainder <= -half && divisor > 1 {
                quotient - 1
            } else {
                quotient
            }
        }
        // Dividing by more than any value holds leaves less than a half.
        (false, None) => 0,
    };
    within_precision(scaled, precision, scale)
}

pub(super) fn dec_rescale<'a>(
    delta: i8,
    (precision, scale): (u8, i8),
    fail: OnFail,
    args: &[&Column<'a>],
    rows: &mut Rows<'_, 'a>,
) -> Evaluated<'a> {
    rows.strict1(args, |v: i128| settle(fail, rescale(v, delta, precision, scale)))
}

pub(super) fn dec_from_int<'a>(
    scale: i8,
    precision: u8,
    fail: OnFail,
    args: &[&Column<'a>],
    rows: &mut Rows<'_, 'a>,
) -> Evaluated<'a> {
    let factor = pow10(scale.unsigned_abs())
        .ok_or_else(|| EvalError::Binding(format!("decimal scale {scale} is out of range")))?;
    let convert = move |v: i128| -> Result<i128, Fault> {
        let scaled = if scale < 0 { v / factor } else { product(v, factor)? };
        within_precision(scaled, precision, scale)
    };
    let ty = first_ty(args)?;
    with_int!(ty, T => {
        #[allow(clippy::useless_conversion, reason = "only for one of the types")]
        rows.strict1(args, |v: T| settle(fail, convert(i128::from(v))))
    }, else Err(unexpected(ty)))
}

pub(super) fn dec_to_int<'a>(
    scale: i8,
    to: Ty,
    fail: OnFail,
    args: &[&Column<'a>],
    rows: &mut Rows<'_, 'a>,
) -> Evaluated<'a> {
    let factor = pow10(scale.unsigned_abs())
        .ok_or_else(|| EvalError::Binding(format!("decimal scale {scale} is out of range")))?;
    let Some((low, high)) = int_range(to) else { return Err(unexpected(to)) };
    let convert = move |v: i128| -> Result<i128, Fault> {
        let whole = if scale < 0 { product(v, factor)? } else { v / factor };
        if (low..=high).contains(&whole) {
            return Ok(whole);
        }
        Err(Fault::Cast(format!("value of {whole:?} is out of range {}", arrow_name(to))))
    };
    with_int!(to, To => {
        rows.strict1(args, |v: i128| {
            // In range by the test above.
            settle(fail, convert(v)).map(|v| v.and_then(|v| To::try_from(v).ok()))
        })
    }, else Err(unexpected(to)))
}

pub(super) fn dec_from_float<'a>(
    scale: i8,
    precision: u8,
    fail: OnFail,
    args: &[&Column<'a>],
    rows: &mut Rows<'_, 'a>,
) -> Evaluated<'a> {
    let factor = 10_f64.powi(i32::from(scale));
    let ty = first_ty(args)?;
    with_float!(ty, T => rows.strict1(args, |v: T| {
        #[allow(clippy::useless_conversion, reason = "only for one of the types")]
        let scaled = (factor * f64::from(v)).round();
        // 2^127 is a float, and so is -2^127, which i128 holds.
        let whole = if (-1.7014118346046923e38..1.7014118346046923e38).contains(&scaled) {
            within_precision(scaled as i128, precision, scale)
        } else {
            Err(Fault::Cast(format!("Cannot cast to Decimal128({precision}, {scale}). Overflowing on {v:?}")))
        };
        settle(fail, whole)
    }), else Err(unexpected(ty)))
}

pub(super) fn dec_to_float<'a>(
    scale: i8,
    to: Ty,
    args: &[&Column<'a>],
    rows: &mut Rows<'_, 'a>,
) -> Evaluated<'a> {
    let divisor = 10_f64.powi(i32::from(scale));
    with_float!(to, To => rows.strict1(args, |v: i128| {
        To::from_wide(Wide::F64(v as f64 / divisor)).map(Some).ok_or(Fault::DivideByZero)
    }), else Err(unexpected(to)))
}

pub(super) fn dec_div<'a>(
    left_pow: u8,
    right_pow: u8,
    args: &[&Column<'a>],
    rows: &mut Rows<'_, 'a>,
) -> Evaluated<'a> {
    let (Some(left), Some(right)) = (pow10(left_pow), pow10(right_pow)) else {
        return Err(EvalError::Binding("the powers of a decimal division are out of range".to_owned()));
    };
    rows.strict2(args, |a: i128, b: i128| {
        let (a, b) = (product(a, left)?, product(b, right)?);
        if b == 0 {
            return Err(Fault::DivideByZero);
        }
        a.checked_div(b)
            .map(Some)
            .ok_or_else(|| Fault::Overflow(format!("Overflow happened on: {a:?} / {b:?}")))
    })
}
