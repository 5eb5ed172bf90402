//! CAST and TRY_CAST among numbers, decimals, times and text encodings.
//!
//! All other casts (text to number and back, intervals, nested types) are calls.

use super::{Ctx, Expr, Native, Scope, StageBuilder, data_type, is_string, is_utc, literal};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::physical_expr::expressions::Literal;
use fuseline_codegen::ir::{CmpOp, Input, Lit, OnFail, Op, Overflow, Ty, ValueId};

const DAY_MS: i64 = 86_400_000;

impl StageBuilder {
    pub(super) fn cast_expr(
        &mut self,
        from: &Expr,
        to: &DataType,
        fail: OnFail,
        scope: &Scope,
        cx: Ctx,
    ) -> Native<ValueId> {
        if from.downcast_ref::<Literal>().is_some_and(|l| l.value().is_null())
            && let Some(ty) = Input::physical(to)
        {
            return Ok(self.ir.lit(Lit::Null(ty)));
        }
        let from_type = data_type(from, &scope.schema)?;
        // Asked before the operand is translated: a call of the whole cast needs no loop for it.
        if !can_cast(&from_type, to) {
            return Err(format!("no loop casts {from_type} to {to}"));
        }
        let v = self.value(from, scope, cx)?;
        self.cast(v, &from_type, to, fail, cx)
    }

    pub(super) fn cast(
        &mut self,
        v: ValueId,
        from: &DataType,
        to: &DataType,
        fail: OnFail,
        cx: Ctx,
    ) -> Native<ValueId> {
        use DataType as D;
        if from == to || (is_string(from) && is_string(to)) {
            return Ok(v);
        }
        let checked = match fail {
            OnFail::Err => Overflow::Err,
            OnFail::Null => Overflow::Null,
        };
        let unsupported = || Err(format!("no loop casts {from} to {to}"));
        match (from, to) {
            // Times that are their integers.
            (D::Int32, D::Date32 | D::Time32(_)) | (D::Date32 | D::Time32(_), D::Int32) => Ok(v),
            (D::Int64, D::Date64 | D::Time64(_)) | (D::Date64 | D::Time64(_), D::Int64) => Ok(v),
            (D::Date32 | D::Time32(_), D::Int64) => self.widen(v),
            (D::Int64, D::Date32) | (D::Date64, D::Int32) => self.op(Op::Cast(Ty::I32, fail), &[v], cx),
            (D::Timestamp(..) | D::Duration(_), to) if to.is_numeric() => {
                self.cast(v, &D::Int64, to, fail, cx)
            }
            (from, D::Timestamp(..) | D::Duration(_)) if from.is_numeric() => {
                self.cast(v, from, &D::Int64, fail, cx)
            }
            // Dates and instants.
            (D::Date32, D::Date64) => {
                let days = self.widen(v)?;
                self.times(days, DAY_MS, Overflow::Wrap, cx)
            }
            (D::Date64, D::Date32) => {
                let days = self.div_const(v, DAY_MS, cx)?;
                self.op(Op::Cast(Ty::I32, fail), &[days], cx)
            }
            (D::Date32, D::Timestamp(unit, zone)) if is_utc(zone) => {
                let days = self.widen(v)?;
                self.times(days, 86_400 * per_second(unit), checked, cx)
            }
            (D::Date64, D::Timestamp(unit, zone)) if is_utc(zone) => match unit {
                TimeUnit::Second => self.div_const(v, 1_000, cx),
                TimeUnit::Millisecond => Ok(v),
                // TRY_CAST wraps here in arrow, CAST errs.
                TimeUnit::Microsecond | TimeUnit::Nanosecond if fail == OnFail::Err => {
                    self.times(v, per_second(unit) / 1_000, checked, cx)
                }
                TimeUnit::Microsecond | TimeUnit::Nanosecond => unsupported(),
            },
            (D::Timestamp(a, from_zone), D::Timestamp(b, to_zone))
                if from_zone.is_some() || is_utc(to_zone) =>
            {
                self.change_unit(v, a, b, checked, cx)
            }
            (D::Duration(a), D::Duration(b)) => self.change_unit(v, a, b, checked, cx),
            (D::Timestamp(unit, zone), D::Date32) if is_utc(zone) => {
                let days = self.floor_div(v, 86_400 * per_second(unit), cx)?;
                // Out of range is an error for TRY_CAST too.
                self.op(Op::Cast(Ty::I32, OnFail::Err), &[days], cx)
            }
            (D::Timestamp(unit, _), D::Date64) => {
                self.change_unit(v, unit, &TimeUnit::Millisecond, checked, cx)
            }
            // Decimals.
            (D::Decimal128(p1, s1), D::Decimal128(p2, s2)) if *s1 >= 0 && *s2 >= 0 => {
                if s1 == s2 && p1 <= p2 {
                    return Ok(v);
                }
                self.op(Op::DecRescale { delta: s2 - s1, precision: *p2, scale: *s2, fail }, &[v], cx)
            }
            (from, D::Decimal128(p, s)) if from.is_integer() && *s >= 0 => {
                self.op(Op::DecFromInt { scale: *s, precision: *p, fail }, &[v], cx)
            }
            (D::Float32 | D::Float64, D::Decimal128(p, s)) if *s >= 0 => {
                self.op(Op::DecFromFloat { scale: *s, precision: *p, fail }, &[v], cx)
            }
            (D::Decimal128(_, s), to) if to.is_integer() && *s >= 0 => {
                self.op(Op::DecToInt { scale: *s, to: number(to)?, fail }, &[v], cx)
            }
            (D::Decimal128(_, s), D::Float32 | D::Float64) if *s >= 0 => {
                self.op(Op::DecToFloat { scale: *s, to: number(to)? }, &[v], cx)
            }
            (from, to) if plain(from) && plain(to) => self.op(Op::Cast(number(to)?, fail), &[v], cx),
            _ => unsupported(),
        }
    }

    /// I32 as I64.
    pub(super) fn widen(&mut self, v: ValueId) -> Native<ValueId> {
        self.total(Op::Cast(Ty::I64, OnFail::Err), &[v])
    }

    fn times(&mut self, v: ValueId, factor: i64, overflow: Overflow, cx: Ctx) -> Native<ValueId> {
        if factor == 1 {
            return Ok(v);
        }
        let factor = self.ir.lit(Lit::I64(factor));
        self.op(Op::Mul(overflow), &[v, factor], cx)
    }

    /// I64 over a constant other than 0 and -1, truncating.
    pub(super) fn div_const(&mut self, v: ValueId, by: i64, cx: Ctx) -> Native<ValueId> {
        if by == 1 {
            return Ok(v);
        }
        let by = self.ir.lit(Lit::I64(by));
        self.op(Op::Div, &[v, by], cx)
    }

    /// I64 over a positive constant, rounding down.
    fn floor_div(&mut self, v: ValueId, by: i64, cx: Ctx) -> Native<ValueId> {
        let quotient = self.div_const(v, by, cx)?;
        let divisor = self.ir.lit(Lit::I64(by));
        let rest = self.op(Op::Rem, &[v, divisor], cx)?;
        let zero = self.ir.lit(Lit::I64(0));
        let below = self.total(Op::Cmp(CmpOp::Lt), &[rest, zero])?;
        let one_less = self.total(Op::Cast(Ty::I64, OnFail::Err), &[below])?;
        self.total(Op::Sub(Overflow::Wrap), &[quotient, one_less])
    }

    fn change_unit(
        &mut self,
        v: ValueId,
        from: &TimeUnit,
        to: &TimeUnit,
        overflow: Overflow,
        cx: Ctx,
    ) -> Native<ValueId> {
        let (from, to) = (per_second(from), per_second(to));
        if from >= to { self.div_const(v, from / to, cx) } else { self.times(v, to / from, overflow, cx) }
    }
}

pub(super) fn per_second(unit: &TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// Whether `cast` has a chance; it has the last word.
fn can_cast(from: &DataType, to: &DataType) -> bool {
    Input::physical(from).is_some()
        && Input::physical(to).is_some()
        && (is_string(from) == is_string(to) || from == to)
}

/// Numbers and booleans, which convert by `Op::Cast`.
fn plain(t: &DataType) -> bool {
    t.is_integer() || matches!(t, DataType::Float32 | DataType::Float64 | DataType::Boolean)
}

fn number(t: &DataType) -> Native<Ty> {
    Input::physical(t).ok_or_else(|| format!("{t} has no representation in a loop"))
}

/// The constant as an I64 expression's value would be; used by functions with an int argument.
pub(super) fn constant_int(expr: &Expr) -> Option<i64> {
    let literal = expr.downcast_ref::<Literal>()?;
    i64::try_from(literal::lit(literal.value()).ok()?.as_i128()?).ok()
}
