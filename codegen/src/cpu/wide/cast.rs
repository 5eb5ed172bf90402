//! Conversions in wide loops: one instruction each, where the 128-bit lanes of
//! [`super::super::lane_cast`] need tricks.

use super::Unsupported;
use super::code::{Bool, Convert, Id, Op as Wide, Test};
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
            match fail {
                OnFail::Err => self.fail(id, outside, valid)?,
                OnFail::Null => {
                    let fits = self.body.not(outside);
                    out.valid = self.body.and_opt(valid, Some(fits));
                }
            }
        }
        Ok(out)
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
