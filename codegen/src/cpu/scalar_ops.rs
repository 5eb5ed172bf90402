//! Instructions in the scalar loop.

use super::CompileError;
use super::classify::constant;
use super::helpers::{self, BitSet, Helper};
use super::lanes::literal_bits;
use super::scalar::{ScalarValue, Scalars, scalar_type};
use crate::ir::op::int_range;
use crate::ir::{CmpOp, Inst, Lit, OnFail, Op, Overflow, Ty, ValueId};
use cranelift::prelude::*;

/// What an operation gave: the result and, where it can go wrong, whether it did (0 or 1).
pub(super) struct Outcome {
    pub data: Value,
    pub bad: Option<Value>,
}

impl Outcome {
    pub(super) fn good(data: Value) -> Outcome {
        Outcome { data, bad: None }
    }
}

fn condition(op: CmpOp, signed: bool) -> IntCC {
    match (op, signed) {
        (CmpOp::Eq, _) => IntCC::Equal,
        (CmpOp::Ne, _) => IntCC::NotEqual,
        (CmpOp::Lt, true) => IntCC::SignedLessThan,
        (CmpOp::Le, true) => IntCC::SignedLessThanOrEqual,
        (CmpOp::Gt, true) => IntCC::SignedGreaterThan,
        (CmpOp::Ge, true) => IntCC::SignedGreaterThanOrEqual,
        (CmpOp::Lt, false) => IntCC::UnsignedLessThan,
        (CmpOp::Le, false) => IntCC::UnsignedLessThanOrEqual,
        (CmpOp::Gt, false) => IntCC::UnsignedGreaterThan,
        (CmpOp::Ge, false) => IntCC::UnsignedGreaterThanOrEqual,
    }
}

impl Scalars<'_, '_, '_> {
    pub(super) fn emit_row(&mut self, id: ValueId) -> Result<ScalarValue, CompileError> {
        let lp = self.e.lp;
        let inst = lp.value(id);
        let args = &inst.args;
        match &inst.op {
            Op::Add(o) | Op::Sub(o) | Op::Mul(o) | Op::Neg(o) | Op::Abs(o) => {
                let valid = self.all_valid(args)?;
                let outcome = self.arithmetic(inst)?;
                let on_bad = match o {
                    Overflow::Wrap => None,
                    Overflow::Err => Some(OnFail::Err),
                    Overflow::Null => Some(OnFail::Null),
                };
                self.settle(id, outcome, valid, on_bad)
            }
            Op::Div | Op::Rem => {
                let valid = self.all_valid(args)?;
                let outcome = self.divide(inst)?;
                self.settle(id, outcome, valid, Some(OnFail::Err))
            }
            Op::Shl | Op::Shr => {
                let valid = self.all_valid(args)?;
                let (a, b) = (self.data(args[0])?, self.data(args[1])?);
                let f = &mut self.e.b;
                let count = f.ins().band_imm_u(b, i64::from(scalar_type(inst.ty).bits()) - 1);
                let data = match (&inst.op, inst.ty.is_signed_int()) {
                    (Op::Shl, _) => f.ins().ishl(a, count),
                    (_, true) => f.ins().sshr(a, count),
                    (_, false) => f.ins().ushr(a, count),
                };
                Ok(ScalarValue { data: Some(data), valid })
            }
            Op::Cmp(op) => {
                let valid = self.all_valid(args)?;
                let (a, b) = (self.data(args[0])?, self.data(args[1])?);
                let cc = condition(*op, lp.value(args[0]).ty.is_signed_int());
                let data = self.e.b.ins().icmp(cc, a, b);
                Ok(ScalarValue { data: Some(data), valid })
            }
            Op::Distinct => self.distinct(inst),
            Op::InSet(set) => {
                let valid = self.all_valid(args)?;
                let data = self.in_set(args[0], set)?;
                Ok(ScalarValue { data: Some(data), valid })
            }
            Op::Select => {
                let condition = self.holds(args[0])?;
                self.select(condition, args[1], args[2])
            }
            Op::Coalesce => match self.value(args[0])?.valid {
                Some(valid) => self.select(valid, args[0], args[1]),
                None => self.value(args[0]),
            },
            Op::NullIf => {
                let value = self.value(args[0])?;
                let data = self.data(args[0])?;
                let drop = self.holds(args[1])?;
                let keep = self.e.b.ins().bxor_imm_u(drop, 1);
                let valid = self.and_opt(value.valid, Some(keep));
                Ok(ScalarValue { data: Some(data), valid })
            }
            Op::Guard(_) => {
                let valid = self.all_valid(args)?;
                let data = self.data(args[0])?;
                let ok = self.data(args[1])?;
                let fails = self.e.b.ins().bxor_imm_u(ok, 1);
                self.fail(id, fails, valid)?;
                Ok(ScalarValue { data: Some(data), valid })
            }
            Op::Cast(to, fail) => {
                let valid = self.all_valid(args)?;
                let outcome = self.cast(args[0], *to)?;
                self.settle(id, outcome, valid, Some(*fail))
            }
            Op::DecRescale { fail, .. }
            | Op::DecFromInt { fail, .. }
            | Op::DecToInt { fail, .. }
            | Op::DecFromFloat { fail, .. } => {
                let valid = self.all_valid(args)?;
                let outcome = self.decimal(inst)?;
                self.settle(id, outcome, valid, Some(*fail))
            }
            Op::DecToFloat { .. } | Op::DecDiv { .. } => {
                let valid = self.all_valid(args)?;
                let outcome = self.decimal(inst)?;
                self.settle(id, outcome, valid, Some(OnFail::Err))
            }
            Op::Input(_)
            | Op::Const(_)
            | Op::RowIndex
            | Op::BitAnd
            | Op::BitOr
            | Op::BitXor
            | Op::And
            | Op::Or
            | Op::Not
            | Op::IsValid
            | Op::IsTrue
            | Op::Math(..)
            | Op::MathBin(..)
            | Op::DatePart { .. }
            | Op::DateTrunc { .. }
            | Op::AddInterval { .. }
            | Op::StrTest(_)
            | Op::StrLen(_)
            | Op::Substr
            | Op::Probe { .. }
            | Op::Expand { .. }
            | Op::Fetch { .. } => {
                Err(CompileError::Backend(format!("{:?} was scheduled into a scalar loop", inst.op)))
            }
        }
    }

    /// Turns an outcome into a value: a bad row fails, or becomes null, or does not matter.
    fn settle(
        &mut self,
        id: ValueId,
        outcome: Outcome,
        valid: Option<Value>,
        on_bad: Option<OnFail>,
    ) -> Result<ScalarValue, CompileError> {
        let mut valid = valid;
        match (outcome.bad, on_bad) {
            (Some(bad), Some(OnFail::Err)) => self.fail(id, bad, valid)?,
            (Some(bad), Some(OnFail::Null)) => {
                let good = self.e.b.ins().bxor_imm_u(bad, 1);
                valid = self.and_opt(valid, Some(good));
            }
            (Some(_), None) | (None, _) => {}
        }
        Ok(ScalarValue { data: Some(outcome.data), valid })
    }

    /// `condition ? x : y`. 128-bit values go by halves, because Cranelift makes minima of selects
    /// behind compares and has none of that width.
    pub(super) fn choose(&mut self, condition: Value, x: Value, y: Value) -> Value {
        let f = &mut self.e.b;
        if f.func.dfg.value_type(x) != types::I128 {
            return f.ins().select(condition, x, y);
        }
        let ((xl, xh), (yl, yh)) = (f.ins().isplit(x), f.ins().isplit(y));
        let (low, high) = (f.ins().select(condition, xl, yl), f.ins().select(condition, xh, yh));
        f.ins().iconcat(low, high)
    }

    fn select(&mut self, condition: Value, x: ValueId, y: ValueId) -> Result<ScalarValue, CompileError> {
        let (p, q) = (self.data(x)?, self.data(y)?);
        let data = self.choose(condition, p, q);
        let valid = match (self.value(x)?.valid, self.value(y)?.valid) {
            (None, None) => None,
            (p, q) => {
                let one = self.e.b.ins().iconst(types::I8, 1);
                Some(self.e.b.ins().select(condition, p.unwrap_or(one), q.unwrap_or(one)))
            }
        };
        Ok(ScalarValue { data: Some(data), valid })
    }

    fn distinct(&mut self, inst: &Inst) -> Result<ScalarValue, CompileError> {
        let (x, y) = (inst.args[0], inst.args[1]);
        let (a, b) = (self.data(x)?, self.data(y)?);
        let (av, bv) = (self.value(x)?.valid, self.value(y)?.valid);
        let one = self.e.b.ins().iconst(types::I8, 1);
        let (av, bv) = (av.unwrap_or(one), bv.unwrap_or(one));
        let f = &mut self.e.b;
        let differ = f.ins().icmp(IntCC::NotEqual, a, b);
        let both = f.ins().band(av, bv);
        let differ = f.ins().band(differ, both);
        let one_null = f.ins().bxor(av, bv);
        let data = f.ins().bor(differ, one_null);
        Ok(ScalarValue { data: Some(data), valid: None })
    }

    fn in_set(&mut self, x: ValueId, set: &[Lit]) -> Result<Value, CompileError> {
        let ty = self.e.lp.value(x).ty;
        let a = self.data(x)?;
        if ty == Ty::I128 {
            let mut found = self.e.b.ins().iconst(types::I8, 0);
            for lit in set {
                let b = self.literal(lit);
                let same = self.e.b.ins().icmp(IntCC::Equal, a, b);
                found = self.e.b.ins().bor(found, same);
            }
            return Ok(found);
        }
        let negative_zero = |lit: &Lit| match lit {
            Lit::F64(v) => *v == 0.0,
            Lit::F32(v) => *v == 0.0,
            _int => false,
        };
        let mut sorted: Vec<u64> =
            set.iter().map(|l| if negative_zero(l) { 0 } else { literal_bits(l) }).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let set = self.e.constants.keep(BitSet { sorted });
        let f = &mut self.e.b;
        let bits = match ty {
            Ty::F64 | Ty::F32 => {
                let int = if ty == Ty::F64 { types::I64 } else { types::I32 };
                let bits = f.ins().bitcast(int, MemFlagsData::new(), a);
                let twice = f.ins().iadd(bits, bits);
                let zero = f.ins().iconst(int, 0);
                let is_zero = f.ins().icmp(IntCC::Equal, twice, zero);
                let bits = f.ins().select(is_zero, zero, bits);
                if ty == Ty::F64 { bits } else { f.ins().uextend(types::I64, bits) }
            }
            Ty::I64 | Ty::U64 => a,
            ty if ty.is_signed_int() => f.ins().sextend(types::I64, a),
            _unsigned => f.ins().uextend(types::I64, a),
        };
        let set = f.ins().iconst(types::I64, set as i64);
        let found = self.help(helpers::helper_in_set(), &[bits, set])?;
        Ok(self.e.b.ins().ireduce(types::I8, found))
    }

    pub(super) fn help(&mut self, helper: Helper, args: &[Value]) -> Result<Value, CompileError> {
        self.e
            .call_at(helper.address as *const u8, helper.params, helper.ret, args)
            .ok_or_else(|| CompileError::Backend("a helper gave nothing".to_owned()))
    }

    /// Calls a helper that writes a 128-bit result.
    pub(super) fn help_wide(&mut self, helper: Helper, args: &[Value]) -> Result<Outcome, CompileError> {
        let mut args = args.to_vec();
        args.push(self.result_slot);
        let good = self.help(helper, &args)?;
        let f = &mut self.e.b;
        let bad = f.ins().icmp_imm_u(IntCC::Equal, good, 0);
        let data = f.ins().load(types::I128, super::emitter::FLAGS, self.result_slot, 0);
        Ok(Outcome { data, bad: Some(bad) })
    }

    fn arithmetic(&mut self, inst: &Inst) -> Result<Outcome, CompileError> {
        let a = self.data(inst.args[0])?;
        let ty = scalar_type(inst.ty);
        let sign = i64::from(ty.bits()) - 1;
        let checked = matches!(
            &inst.op,
            Op::Add(o) | Op::Sub(o) | Op::Mul(o) | Op::Neg(o) | Op::Abs(o) if *o != Overflow::Wrap
        );
        match &inst.op {
            Op::Add(_) | Op::Sub(_) => {
                let b = self.data(inst.args[1])?;
                let add = matches!(inst.op, Op::Add(_));
                let f = &mut self.e.b;
                let data = if add { f.ins().iadd(a, b) } else { f.ins().isub(a, b) };
                if !checked {
                    return Ok(Outcome::good(data));
                }
                // As in lanes; of 128 bits only the upper half matters.
                let (ah, bh, rh) = (self.upper(a), self.upper(b), self.upper(data));
                let f = &mut self.e.b;
                let x = f.ins().bxor(ah, rh);
                let y = if add { f.ins().bxor(bh, rh) } else { f.ins().bxor(ah, bh) };
                let both = f.ins().band(x, y);
                let bad = f.ins().icmp_imm_s(IntCC::SignedLessThan, both, 0);
                Ok(Outcome { data, bad: Some(bad) })
            }
            Op::Mul(_) if inst.ty == Ty::I128 => self.multiply_wide(inst.args[0], inst.args[1], checked),
            Op::Mul(_) => {
                let b = self.data(inst.args[1])?;
                Ok(self.multiply_checked(a, b, inst.ty))
            }
            _neg_or_abs => {
                let f = &mut self.e.b;
                let negated = f.ins().ineg(a);
                let data = if matches!(inst.op, Op::Neg(_)) {
                    negated
                } else if ty == types::I128 {
                    let high = {
                        let (_, high) = f.ins().isplit(a);
                        high
                    };
                    let below = f.ins().icmp_imm_s(IntCC::SignedLessThan, high, 0);
                    self.choose(below, negated, a)
                } else {
                    let below = f.ins().icmp_imm_s(IntCC::SignedLessThan, a, 0);
                    f.ins().select(below, negated, a)
                };
                // Only the least value equals its own negation and is below zero.
                let least = if ty == types::I128 { i128::MIN } else { i128::MIN >> (127 - sign) };
                let least = if ty == types::I128 {
                    self.wide_const(least)
                } else {
                    self.e.b.ins().iconst(ty, (least as u64 & (u64::MAX >> (63 - sign))) as i64)
                };
                let bad = self.e.b.ins().icmp(IntCC::Equal, a, least);
                Ok(Outcome { data, bad: Some(bad) })
            }
        }
    }

    /// The half of a value that holds its sign.
    fn upper(&mut self, a: Value) -> Value {
        if self.e.b.func.dfg.value_type(a) != types::I128 {
            return a;
        }
        self.e.b.ins().isplit(a).1
    }

    fn multiply_checked(&mut self, a: Value, b: Value, ty: Ty) -> Outcome {
        let machine = scalar_type(ty);
        let signed = ty.is_signed_int();
        let f = &mut self.e.b;
        if machine == types::I64 {
            let data = f.ins().imul(a, b);
            let bad = if signed {
                let high = f.ins().smulhi(a, b);
                let sign = f.ins().sshr_imm_u(data, 63);
                f.ins().icmp(IntCC::NotEqual, high, sign)
            } else {
                let high = f.ins().umulhi(a, b);
                f.ins().icmp_imm_u(IntCC::NotEqual, high, 0)
            };
            return Outcome { data, bad: Some(bad) };
        }
        let mut extend = |x: Value| {
            if signed { f.ins().sextend(types::I64, x) } else { f.ins().uextend(types::I64, x) }
        };
        let (a, b) = (extend(a), extend(b));
        let wide = f.ins().imul(a, b);
        let data = f.ins().ireduce(machine, wide);
        let back = if signed { f.ins().sextend(types::I64, data) } else { f.ins().uextend(types::I64, data) };
        let bad = f.ins().icmp(IntCC::NotEqual, wide, back);
        Outcome { data, bad: Some(bad) }
    }

    /// 1 if a 128-bit value does not fit 64 bits; `None` if it is known to.
    pub(super) fn is_wide(&mut self, id: ValueId, value: Value) -> Option<Value> {
        if let Some(lit) = constant(self.e.lp, id)
            && lit.as_i128().is_some_and(|v| i64::try_from(v).is_ok())
        {
            return None;
        }
        let f = &mut self.e.b;
        let (low, high) = f.ins().isplit(value);
        let sign = f.ins().sshr_imm_u(low, 63);
        Some(f.ins().bxor(high, sign))
    }

    /// The product of two values that fit 64 bits: it fits 128.
    pub(super) fn multiply_narrow(&mut self, a: Value, b: Value) -> Value {
        let f = &mut self.e.b;
        let ((a, _), (b, _)) = (f.ins().isplit(a), f.ins().isplit(b));
        let low = f.ins().imul(a, b);
        let high = f.ins().smulhi(a, b);
        f.ins().iconcat(low, high)
    }

    fn multiply_wide(&mut self, x: ValueId, y: ValueId, checked: bool) -> Result<Outcome, CompileError> {
        let (a, b) = (self.data(x)?, self.data(y)?);
        if !checked {
            return Ok(Outcome::good(self.e.b.ins().imul(a, b)));
        }
        let wide = match (self.is_wide(x, a), self.is_wide(y, b)) {
            (Some(p), Some(q)) => Some(self.e.b.ins().bor(p, q)),
            (p, q) => p.or(q),
        };
        self.fast_or_slow(
            wide,
            |s| Ok(Outcome::good(s.multiply_narrow(a, b))),
            |s| {
                let args = s.halves(&[a, b]);
                s.help_wide(helpers::helper_mul(), &args)
            },
        )
    }

    pub(super) fn halves(&mut self, values: &[Value]) -> Vec<Value> {
        let mut out = Vec::new();
        for v in values {
            let (low, high) = self.e.b.ins().isplit(*v);
            out.extend([low, high]);
        }
        out
    }

    /// Emits `fast`, and `slow` out of line for rows on which `test` is not zero.
    pub(super) fn fast_or_slow(
        &mut self,
        test: Option<Value>,
        fast: impl FnOnce(&mut Self) -> Result<Outcome, CompileError>,
        slow: impl FnOnce(&mut Self) -> Result<Outcome, CompileError>,
    ) -> Result<Outcome, CompileError> {
        let Some(test) = test else { return fast(self) };
        let f = &mut self.e.b;
        let (quick, rare, join) = (f.create_block(), f.create_block(), f.create_block());
        f.append_block_param(join, types::I128);
        f.append_block_param(join, types::I8);
        f.set_cold_block(rare);
        f.ins().brif(test, rare, &[], quick, &[]);
        f.seal_block(quick);
        f.seal_block(rare);
        self.e.b.switch_to_block(quick);
        let outcome = fast(self)?;
        let none = self.e.b.ins().iconst(types::I8, 0);
        let bad = outcome.bad.unwrap_or(none);
        self.e.b.ins().jump(join, &[outcome.data.into(), bad.into()]);
        self.e.b.switch_to_block(rare);
        let outcome = slow(self)?;
        let none = self.e.b.ins().iconst(types::I8, 0);
        let bad = outcome.bad.unwrap_or(none);
        self.e.b.ins().jump(join, &[outcome.data.into(), bad.into()]);
        let f = &mut self.e.b;
        f.seal_block(join);
        f.switch_to_block(join);
        let params = f.block_params(join);
        Ok(Outcome { data: params[0], bad: Some(params[1]) })
    }

    fn divide(&mut self, inst: &Inst) -> Result<Outcome, CompileError> {
        let (a, b) = (self.data(inst.args[0])?, self.data(inst.args[1])?);
        let is_div = inst.op == Op::Div;
        if inst.ty.is_float() {
            return Ok(Outcome::good(self.fmod(a, b, inst.ty)?));
        }
        if inst.ty == Ty::I128 {
            let args = self.halves(&[a, b]);
            let helper = if is_div { helpers::helper_div() } else { helpers::helper_rem() };
            return self.help_wide(helper, &args);
        }
        let machine = scalar_type(inst.ty);
        let signed = inst.ty.is_signed_int();
        let known = constant(self.e.lp, inst.args[1]).and_then(Lit::as_i128);
        let f = &mut self.e.b;
        // Narrow types divide in 32 bits.
        let (mut a, mut b) = (a, b);
        let work = if machine.bits() < 32 { types::I32 } else { machine };
        if work != machine {
            let mut extend =
                |x: Value| if signed { f.ins().sextend(work, x) } else { f.ins().uextend(work, x) };
            (a, b) = (extend(a), extend(b));
        }
        let mut bad = None;
        let mut safe = b;
        if !known.is_some_and(|d| d != 0 && d != -1) {
            let zero = f.ins().icmp_imm_u(IntCC::Equal, b, 0);
            let mut avoid = zero;
            let mut failed = zero;
            if signed {
                // MIN / -1 does not fit; MIN % -1 is 0, which is what % 1 gives.
                let (low, _) = int_range(inst.ty).unwrap_or((0, 0));
                let least = f.ins().icmp_imm_s(IntCC::Equal, a, low as i64);
                let minus_one = f.ins().icmp_imm_s(IntCC::Equal, b, -1);
                let over = f.ins().band(least, minus_one);
                avoid = f.ins().bor(zero, over);
                if is_div {
                    failed = avoid;
                }
            }
            let one = f.ins().iconst(work, 1);
            safe = f.ins().select(avoid, one, b);
            bad = Some(failed);
        }
        let data = match (is_div, signed) {
            (true, true) => f.ins().sdiv(a, safe),
            (true, false) => f.ins().udiv(a, safe),
            (false, true) => f.ins().srem(a, safe),
            (false, false) => f.ins().urem(a, safe),
        };
        let data = if work == machine { data } else { f.ins().ireduce(machine, data) };
        Ok(Outcome { data, bad })
    }

    fn fmod(&mut self, a: Value, b: Value, ty: Ty) -> Result<Value, CompileError> {
        if ty == Ty::F64 {
            return self.help(helpers::helper_fmod(), &[a, b]);
        }
        // The remainder is exact, so computing it in double precision changes nothing.
        let (a, b) = (self.e.b.ins().fpromote(types::F64, a), self.e.b.ins().fpromote(types::F64, b));
        let r = self.help(helpers::helper_fmod(), &[a, b])?;
        Ok(self.e.b.ins().fdemote(types::F32, r))
    }

    /// Floats to ints, and 64-bit ints to single precision.
    fn cast(&mut self, arg: ValueId, to: Ty) -> Result<Outcome, CompileError> {
        let from = self.e.lp.value(arg).ty;
        let a = self.data(arg)?;
        let f = &mut self.e.b;
        if from.is_int() {
            return Ok(Outcome::good(if from.is_signed_int() {
                f.ins().fcvt_from_sint(types::F32, a)
            } else {
                f.ins().fcvt_from_uint(types::F32, a)
            }));
        }
        let (low, high) = int_range(to).unwrap_or((0, 0));
        let x = if from == Ty::F32 { f.ins().fpromote(types::F64, a) } else { a };
        let x = f.ins().trunc(x);
        // Both bounds are exact in double precision: the lowest value and one more than the highest.
        let least = f.ins().f64const(low as f64);
        let beyond = f.ins().f64const((high + 1) as f64);
        let above = f.ins().fcmp(FloatCC::GreaterThanOrEqual, x, least);
        let below = f.ins().fcmp(FloatCC::LessThan, x, beyond);
        let good = f.ins().band(above, below);
        let bad = f.ins().bxor_imm_u(good, 1);
        let wide = if to == Ty::U64 {
            f.ins().fcvt_to_uint_sat(types::I64, x)
        } else {
            f.ins().fcvt_to_sint_sat(types::I64, x)
        };
        let machine = scalar_type(to);
        let data = if machine == types::I64 { wide } else { f.ins().ireduce(machine, wide) };
        Ok(Outcome { data, bad: Some(bad) })
    }
}
