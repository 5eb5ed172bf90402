//! Decimals in the scalar loop: conversions and division. Values that fit 64 bits take a short way
//! inline; the others call the row functions of the decimal kernels.

use super::CompileError;
use super::helpers;
use super::scalar::{Scalars, scalar_type};
use super::scalar_ops::Outcome;
use crate::ir::op::int_range;
use crate::ir::{Inst, Op, Ty};
use cranelift::prelude::*;

impl Scalars<'_, '_, '_> {
    pub(super) fn decimal(&mut self, inst: &Inst) -> Result<Outcome, CompileError> {
        let a = self.data(inst.args[0])?;
        match &inst.op {
            Op::DecRescale { delta, precision, .. } => {
                let args = self.halves(&[a]);
                let slow = |s: &mut Self| {
                    let how = i64::from(*delta as u8) | i64::from(*precision) << 8;
                    let how = s.e.b.ins().iconst(types::I64, how);
                    s.help_wide(helpers::helper_rescale(), &[args[0], args[1], how])
                };
                match small_power(*delta) {
                    Some(factor) => {
                        let wide = self.is_wide(inst.args[0], a);
                        let precision = *precision;
                        self.fast_or_slow(wide, |s| Ok(s.scale_up(a, factor, precision)), slow)
                    }
                    None => slow(self),
                }
            }
            Op::DecFromInt { scale, precision, .. } => {
                let wide = self.extend_wide(a, self.e.lp.value(inst.args[0]).ty);
                let unsigned64 = self.e.lp.value(inst.args[0]).ty == Ty::U64;
                match small_power(*scale) {
                    Some(factor) if !unsigned64 => Ok(self.scale_up(wide, factor, *precision)),
                    Some(_) | None => {
                        let how = i64::from(*scale as u8) | i64::from(*precision) << 8;
                        let how = self.e.b.ins().iconst(types::I64, how);
                        let args = self.halves(&[wide]);
                        self.help_wide(helpers::helper_from_int(), &[args[0], args[1], how])
                    }
                }
            }
            Op::DecToInt { scale, to, .. } => {
                let args = self.halves(&[a]);
                let how = self.e.b.ins().iconst(types::I64, i64::from(*scale as u8));
                let whole = self.help_wide(helpers::helper_to_int(), &[args[0], args[1], how])?;
                let (low, high) = int_range(*to).unwrap_or((0, 0));
                let (low, high) = (self.wide_const(low), self.wide_const(high));
                let f = &mut self.e.b;
                let below = f.ins().icmp(IntCC::SignedLessThan, whole.data, low);
                let above = f.ins().icmp(IntCC::SignedGreaterThan, whole.data, high);
                let mut bad = f.ins().bor(below, above);
                if let Some(before) = whole.bad {
                    bad = f.ins().bor(bad, before);
                }
                let data = f.ins().ireduce(scalar_type(*to), whole.data);
                Ok(Outcome { data, bad: Some(bad) })
            }
            Op::DecFromFloat { scale, precision, .. } => {
                let x = if self.e.lp.value(inst.args[0]).ty == Ty::F32 {
                    self.e.b.ins().fpromote(types::F64, a)
                } else {
                    a
                };
                let how = i64::from(*scale as u8) | i64::from(*precision) << 8;
                let how = self.e.b.ins().iconst(types::I64, how);
                self.help_wide(helpers::helper_from_float(), &[x, how])
            }
            Op::DecToFloat { scale, to } => {
                let args = self.halves(&[a]);
                let scale = self.e.b.ins().iconst(types::I32, i64::from(*scale as u8));
                let x = self.help(helpers::helper_to_float(), &[args[0], args[1], scale])?;
                let data = if *to == Ty::F32 { self.e.b.ins().fdemote(types::F32, x) } else { x };
                Ok(Outcome::good(data))
            }
            Op::DecDiv { left_pow, right_pow } => {
                let b = self.data(inst.args[1])?;
                let mut args = self.halves(&[a, b]);
                let powers = i64::from(*left_pow) | i64::from(*right_pow) << 8;
                args.push(self.e.b.ins().iconst(types::I64, powers));
                self.help_wide(helpers::helper_dec_div(), &args)
            }
            other => Err(CompileError::Backend(format!("{other:?} is no decimal operation"))),
        }
    }

    fn extend_wide(&mut self, a: Value, from: Ty) -> Value {
        if from.is_signed_int() {
            self.e.b.ins().sextend(types::I128, a)
        } else {
            self.e.b.ins().uextend(types::I128, a)
        }
    }

    /// A value that fits 64 bits times a factor that does, checked for its number of digits.
    fn scale_up(&mut self, a: Value, factor: i64, precision: u8) -> Outcome {
        let data = if factor == 1 {
            a
        } else {
            let by = self.wide_const(i128::from(factor));
            self.multiply_narrow(a, by)
        };
        let limit = 10i128.checked_pow(u32::from(precision)).unwrap_or(i128::MAX);
        if limit > i128::from(i64::MAX).saturating_mul(i128::from(factor)) {
            // No product can have too many digits (|i64::MIN| is the one above MAX, and 10^k is not it).
            return Outcome::good(data);
        }
        let (high, low) = (self.wide_const(limit), self.wide_const(-limit));
        let f = &mut self.e.b;
        let above = f.ins().icmp(IntCC::SignedGreaterThanOrEqual, data, high);
        let below = f.ins().icmp(IntCC::SignedLessThanOrEqual, data, low);
        let bad = f.ins().bor(above, below);
        Outcome { data, bad: Some(bad) }
    }
}

/// `10^k` if `k` is not negative and the power fits 64 bits.
fn small_power(k: i8) -> Option<i64> {
    10i64.checked_pow(u32::try_from(k).ok()?)
}
