//! Which way each instruction is lowered: vector lanes, a scalar loop, or a kernel call.

use super::CompileError;
use crate::ir::op::int_range;
use crate::ir::{Lit, Loop, MathFn, Op, Overflow, Ty, ValueId};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Lanes,
    Scalar,
    Call,
}

/// The longest list that a lane loop tests by one compare each, and a wide one.
const SHORT_SET: usize = 24;
const SHORT_WIDE_SET: usize = 128;

/// The constant behind a value, if it is one.
pub(super) fn constant(lp: &Loop, id: ValueId) -> Option<&Lit> {
    match &lp.value(id).op {
        Op::Const(lit) => Some(lit),
        _other => None,
    }
}

/// Division by such a constant needs only shifts and masks: the exponent of a positive power of two
/// that the type holds.
pub(super) fn power_of_two(lp: &Loop, id: ValueId) -> Option<u32> {
    let value = constant(lp, id)?.as_i128()?;
    (value > 0 && value & (value - 1) == 0).then(|| value.trailing_zeros())
}

/// Ints whose products fit in 64 bits.
fn is_small(ty: Ty) -> bool {
    matches!(ty, Ty::I8 | Ty::I16 | Ty::I32 | Ty::U8 | Ty::U16 | Ty::U32)
}

/// How an instruction is lowered; `wide` lanes do some that others leave to scalar loops.
pub(super) fn classify(lp: &Loop, id: ValueId, wide: bool) -> Result<Kind, CompileError> {
    let inst = lp.value(id);
    let arg_ty = |i: usize| inst.args.get(i).map(|v| lp.value(*v).ty);
    // By the type that the operation works on.
    let by_type = |ty: Option<Ty>| match ty {
        Some(Ty::I128) => Kind::Scalar,
        Some(Ty::Str) => Kind::Call,
        Some(_) | None => Kind::Lanes,
    };
    Ok(match &inst.op {
        Op::Input(_) | Op::Const(_) | Op::RowIndex => Kind::Lanes,
        Op::Add(_) | Op::Sub(_) | Op::Neg(_) | Op::Abs(_) => by_type(Some(inst.ty)),
        Op::Mul(o) => match by_type(Some(inst.ty)) {
            Kind::Lanes if *o != Overflow::Wrap && !(wide && is_small(inst.ty)) => Kind::Scalar,
            kind => kind,
        },
        Op::Div | Op::Rem => {
            if inst.ty.is_float() {
                if inst.op == Op::Div { Kind::Lanes } else { Kind::Scalar }
            } else if inst.ty != Ty::I128 && power_of_two(lp, inst.args[1]).is_some() {
                Kind::Lanes
            } else {
                Kind::Scalar
            }
        }
        Op::BitAnd | Op::BitOr | Op::BitXor => Kind::Lanes,
        Op::Shl | Op::Shr => {
            let known = constant(lp, inst.args[1]).is_some_and(|l| l.as_i128().is_some());
            let narrow = matches!(inst.ty, Ty::I8 | Ty::U8);
            if wide || (known && !narrow) { Kind::Lanes } else { Kind::Scalar }
        }
        Op::Cmp(_) | Op::Distinct => by_type(arg_ty(0)),
        Op::InSet(set) => match by_type(arg_ty(0)) {
            Kind::Lanes if set.len() > if wide { SHORT_WIDE_SET } else { SHORT_SET } => Kind::Scalar,
            kind => kind,
        },
        Op::And | Op::Or | Op::Not | Op::IsValid | Op::IsTrue => Kind::Lanes,
        Op::Select | Op::Coalesce | Op::NullIf | Op::Guard(_) => by_type(Some(inst.ty)),
        Op::Cast(..) if wide => Kind::Lanes,
        Op::Cast(to, _) => cast_kind(lp.value(inst.args[0]).ty, *to),
        Op::DecRescale { .. }
        | Op::DecFromInt { .. }
        | Op::DecToInt { .. }
        | Op::DecFromFloat { .. }
        | Op::DecToFloat { .. }
        | Op::DecDiv { .. } => Kind::Scalar,
        Op::Math(f, _) => match f {
            MathFn::Sqrt | MathFn::Floor | MathFn::Ceil | MathFn::Trunc | MathFn::Round | MathFn::Signum => {
                Kind::Lanes
            }
            MathFn::Exp
            | MathFn::Ln
            | MathFn::Log2
            | MathFn::Log10
            | MathFn::Sin
            | MathFn::Cos
            | MathFn::Tan
            | MathFn::Asin
            | MathFn::Acos
            | MathFn::Atan
            | MathFn::Sinh
            | MathFn::Cosh
            | MathFn::Tanh
            | MathFn::Asinh
            | MathFn::Acosh
            | MathFn::Atanh
            | MathFn::Cbrt
            | MathFn::Ln1p
            | MathFn::Expm1 => Kind::Call,
        },
        Op::MathBin(..) | Op::DatePart { .. } | Op::DateTrunc { .. } | Op::AddInterval { .. } => Kind::Call,
        Op::StrTest(_) | Op::StrLen(_) | Op::Substr => Kind::Call,
        Op::Probe { .. } | Op::Expand { .. } | Op::Fetch { .. } => Kind::Call,
    })
}

/// Conversions that 128-bit lanes do: everything but floats to ints, and 64-bit ints to single precision.
fn cast_kind(from: Ty, to: Ty) -> Kind {
    let wide_int = |t: Ty| matches!(t, Ty::I64 | Ty::U64);
    match (from, to) {
        (f, t) if f == t => Kind::Lanes,
        (Ty::Bool, _) | (_, Ty::Bool) => Kind::Lanes,
        (f, t) if f.is_float() && t.is_int() => Kind::Scalar,
        (f, Ty::F32) if wide_int(f) => Kind::Scalar,
        (f, t) if f.is_float() || is_small(f) || wide_int(f) => {
            // Narrowing checks compare in the wider type, so every range fits in 64 bits.
            debug_assert!(t.is_float() || int_range(t).is_some());
            Kind::Lanes
        }
        (_, _) => Kind::Scalar,
    }
}
