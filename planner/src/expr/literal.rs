//! Scalars as IR constants.

use super::Native;
use datafusion::common::ScalarValue;
use fuseline_codegen::ir::{Input, Lit, Ty};

/// The constant; errs for types that have no representation in a loop, untyped NULL among them.
pub(super) fn lit(value: &ScalarValue) -> Native<Lit> {
    use ScalarValue as S;
    let data_type = value.data_type();
    let ty: Ty = Input::physical(&data_type)
        .ok_or_else(|| format!("a constant of type {data_type} has no representation in a loop"))?;
    if value.is_null() {
        return Ok(Lit::Null(ty));
    }
    Ok(match value {
        S::Boolean(Some(v)) => Lit::Bool(*v),
        S::Int8(Some(v)) => Lit::I8(*v),
        S::Int16(Some(v)) => Lit::I16(*v),
        S::Int32(Some(v)) | S::Date32(Some(v)) | S::Time32Second(Some(v)) | S::Time32Millisecond(Some(v)) => {
            Lit::I32(*v)
        }
        S::Int64(Some(v))
        | S::Date64(Some(v))
        | S::Time64Microsecond(Some(v))
        | S::Time64Nanosecond(Some(v))
        | S::TimestampSecond(Some(v), _)
        | S::TimestampMillisecond(Some(v), _)
        | S::TimestampMicrosecond(Some(v), _)
        | S::TimestampNanosecond(Some(v), _)
        | S::DurationSecond(Some(v))
        | S::DurationMillisecond(Some(v))
        | S::DurationMicrosecond(Some(v))
        | S::DurationNanosecond(Some(v)) => Lit::I64(*v),
        S::UInt8(Some(v)) => Lit::U8(*v),
        S::UInt16(Some(v)) => Lit::U16(*v),
        S::UInt32(Some(v)) => Lit::U32(*v),
        S::UInt64(Some(v)) => Lit::U64(*v),
        S::Float32(Some(v)) => Lit::F32(*v),
        S::Float64(Some(v)) => Lit::F64(*v),
        S::Decimal128(Some(v), _, _) => Lit::I128(*v),
        S::Utf8(Some(v)) | S::LargeUtf8(Some(v)) | S::Utf8View(Some(v)) => Lit::Str(v.clone()),
        S::Dictionary(_, inner) => lit(inner)?,
        other => return Err(format!("a constant of type {} is not known to loops", other.data_type())),
    })
}

/// A constant of a float type; `None` for other types.
pub(super) fn float_lit(ty: Ty, v: f64) -> Option<Lit> {
    match ty {
        Ty::F32 => Some(Lit::F32(v as f32)),
        Ty::F64 => Some(Lit::F64(v)),
        Ty::Bool
        | Ty::I8
        | Ty::I16
        | Ty::I32
        | Ty::I64
        | Ty::I128
        | Ty::U8
        | Ty::U16
        | Ty::U32
        | Ty::U64
        | Ty::Str => None,
    }
}
