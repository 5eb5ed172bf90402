//! Conversions in wide loops: one instruction each, where the 128-bit lanes of
//! [`super::super::lane_cast`] need tricks, or scalar loops.

use super::Unsupported;
use super::code::{Bool, Convert, Id, Op as Wide, TRUNC, Test, UnOp};
use super::lower::{Data, LaneValue, Lower, lane_width};
use super::ops::sign_bit;
use crate::ir::op::int_range;
use crate::ir::{CmpOp, Lit, OnFail, Ty, ValueId};

impl Lower<'_, '_> {
    pub(super) fn convert_value(
        &mut self,
        id: ValueId,
        arg: ValueId,
        to: Ty,
        fail: OnFail,
    ) -> Result<LaneValue, Unsupported> {
        let from = self.lp.value(arg).ty;
        let value = self.value(arg)?;
        if from == to {
            return Ok(value);
        }
        let valid = value.valid;
        let unsupported = || Unsupported(format!("{from} as {to}"));
        if from == Ty::Bool {
            let condition = self.boolean(arg)?;
            let width = lane_width(to).ok_or_else(unsupported)?;
            let one = match to {
                Ty::F64 => 1f64.to_bits(),
                Ty::F32 => u64::from(1f32.to_bits()),
                _int => 1,
            };
            let one = self.body.splat(width, one);
            return Ok(LaneValue { data: Data::Lanes(self.body.keep(condition, width, one)), valid });
        }
        let (a, width) = self.lanes(arg)?;
        if to == Ty::Bool {
            let bits = if from.is_float() { !sign_bit(width) } else { u64::MAX };
            let bits = self.body.splat(width, bits);
            return Ok(LaneValue { data: Data::Bool(self.body.test(Test::Bits, width, a, bits)), valid });
        }
        let data = match (from, to) {
            (f, t) if f.is_int() && t.is_int() => return self.int_to_int(id, a, from, to, fail, valid),
            (Ty::F32, Ty::F64) => self.body.unary(Wide::Convert(Convert::F32ToF64), 8, a),
            (Ty::F64, Ty::F32) => self.body.unary(Wide::Convert(Convert::F64ToF32), 4, a),
            (Ty::I64, Ty::F64) => self.body.unary(Wide::Convert(Convert::I64ToF64), 8, a),
            (Ty::U64, Ty::F64) => self.body.unary(Wide::Convert(Convert::U64ToF64), 8, a),
            (Ty::U32, Ty::F64) => self.body.unary(Wide::Convert(Convert::U32ToF64), 8, a),
            (Ty::U32, Ty::F32) => self.body.unary(Wide::Convert(Convert::U32ToF32), 4, a),
            (Ty::I64, Ty::F32) => self.body.unary(Wide::Convert(Convert::I64ToF32), 4, a),
            (Ty::U64, Ty::F32) => self.body.unary(Wide::Convert(Convert::U64ToF32), 4, a),
            (f, t) if f.is_float() && t.is_int() => return self.float_to_int(id, a, from, to, fail, valid),
            (f, t) if f.is_int() && t.is_float() && width <= 4 => {
                let a = self.resize(a, from, Ty::I32);
                let (how, width) = if t == Ty::F64 { (Convert::I32ToF64, 8) } else { (Convert::I32ToF32, 4) };
                self.body.unary(Wide::Convert(how), width, a)
            }
            (_, _) => return Err(unsupported()),
        };
        Ok(LaneValue { data: Data::Lanes(data), valid })
    }

    fn int_to_int(
        &mut self,
        id: ValueId,
        a: Id,
        from: Ty,
        to: Ty,
        fail: OnFail,
        valid: Option<Bool>,
    ) -> Result<LaneValue, Unsupported> {
        let width = lane_width(from).unwrap_or(8);
        let made = self.resize(a, from, to);
        let mut out = LaneValue { data: Data::Lanes(made), valid };
        let (Some((from_low, from_high)), Some((low, high))) = (int_range(from), int_range(to)) else {
            return Ok(out);
        };
        let mut outside = Bool::All(false);
        for (needed, op, bound) in [(from_low < low, CmpOp::Lt, low), (from_high > high, CmpOp::Gt, high)] {
            if needed {
                let Some(bound) = Lit::integer(from, bound) else { continue };
                let beyond = self.compare_literal(op, a, width, &bound);
                outside = self.body.or(outside, beyond);
            }
        }
        if outside.known() != Some(false) {
            let fits = self.body.not(outside);
            out.valid = self.with_fits(id, fits, fail, valid)?;
        }
        Ok(out)
    }

    /// The validity of a conversion that has a result only where `fits` holds.
    fn with_fits(
        &mut self,
        id: ValueId,
        fits: Bool,
        fail: OnFail,
        valid: Option<Bool>,
    ) -> Result<Option<Bool>, Unsupported> {
        match fail {
            OnFail::Err => {
                let outside = self.body.not(fits);
                self.fail(id, outside, valid)?;
                Ok(valid)
            }
            OnFail::Null => Ok(self.body.and_opt(valid, Some(fits))),
        }
    }

    fn float_to_int(
        &mut self,
        id: ValueId,
        a: Id,
        from: Ty,
        to: Ty,
        fail: OnFail,
        valid: Option<Bool>,
    ) -> Result<LaneValue, Unsupported> {
        let unsupported = || Unsupported(format!("{from} as {to}"));
        let (low, high) = int_range(to).ok_or_else(unsupported)?;
        let (old, new) = (lane_width(from).unwrap_or(8), lane_width(to).ok_or_else(unsupported)?);
        let whole = self.body.unary(Wide::Un(UnOp::Round(TRUNC)), old, a);
        // Both bounds are exact: the lowest value and one more than the highest. By the order of `Cmp`,
        // NaNs lie outside, and -0.0 is 0.
        let bound = |v: i128| if from == Ty::F64 { Lit::F64(v as f64) } else { Lit::F32(v as f32) };
        let above = self.compare_literal(CmpOp::Ge, whole, old, &bound(low));
        let below = self.compare_literal(CmpOp::Lt, whole, old, &bound(high + 1));
        let fits = self.body.and(above, below);
        let (how, width) = match (from, to) {
            (Ty::F64, Ty::I64) => (Convert::F64ToI64, 8),
            (Ty::F64, Ty::U64) => (Convert::F64ToU64, 8),
            (Ty::F64, Ty::U32) => (Convert::F64ToU32, 4),
            (Ty::F64, _) => (Convert::F64ToI32, 4),
            (_, Ty::I64) => (Convert::F32ToI64, 8),
            (_, Ty::U64) => (Convert::F32ToU64, 8),
            (_, Ty::U32) => (Convert::F32ToU32, 4),
            (_, _) => (Convert::F32ToI32, 4),
        };
        let mut made = self.body.unary(Wide::Convert(how), width, whole);
        if new < width {
            made = self.body.unary(Wide::Narrow { from: width as u8 }, new, made);
        }
        let valid = self.with_fits(id, fits, fail, valid)?;
        Ok(LaneValue { data: Data::Lanes(made), valid })
    }

    /// Integer lanes of another width; the value is kept where it fits.
    fn resize(&mut self, a: Id, from: Ty, to: Ty) -> Id {
        let (old, new) = (lane_width(from).unwrap_or(8), lane_width(to).unwrap_or(8));
        match new.cmp(&old) {
            std::cmp::Ordering::Equal => a,
            std::cmp::Ordering::Greater => {
                let signed = from.is_signed_int();
                self.body.unary(Wide::Widen { from: old as u8, signed }, new, a)
            }
            std::cmp::Ordering::Less => self.body.unary(Wide::Narrow { from: old as u8 }, new, a),
        }
    }
}
