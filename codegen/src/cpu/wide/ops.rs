//! Instructions of a wide loop: arithmetic, logic, selection, rounding. The counterpart of
//! [`super::super::lane_ops`], whose comments say why each form is right.

use super::Unsupported;
use super::code::{BinOp, Bool, CEIL, FLOOR, Id, Op as Wide, Pred, ShiftOp, TRUNC, Test, UnOp};
use super::lower::{Data, LaneValue, Lower, lane_width};
use crate::cpu::classify::{constant, power_of_two};
use crate::cpu::lane_ops::{below_half, exact_reciprocal};
use crate::ir::{Inst, MathFn, Op, Overflow, Ty, ValueId};

fn lanes(data: Id, valid: Option<Bool>) -> LaneValue {
    LaneValue { data: Data::Lanes(data), valid }
}

fn boolean(data: Bool, valid: Option<Bool>) -> LaneValue {
    LaneValue { data: Data::Bool(data), valid }
}

pub(super) const SIGNED_LESS: Test = Test::Int { pred: Pred::Lt, signed: true };
pub(super) const EQUAL: Test = Test::Int { pred: Pred::Eq, signed: true };

/// The sign of a lane.
pub(super) fn sign_bit(width: usize) -> u64 {
    1 << (8 * width - 1)
}

impl Lower<'_, '_> {
    pub(super) fn emit_inst(&mut self, id: ValueId) -> Result<LaneValue, Unsupported> {
        let lp = self.lp;
        let inst = lp.value(id);
        let args = &inst.args;
        Ok(match &inst.op {
            Op::RowIndex => {
                let (first, row) = (self.body.leaf(Wide::FirstRow, 8), self.body.iota());
                lanes(self.body.bin(BinOp::Add, 8, first, row), None)
            }
            Op::Add(o) | Op::Sub(o) => {
                let valid = self.all_valid(args)?;
                self.add_sub(id, inst, *o, valid)?
            }
            Op::Mul(Overflow::Wrap) => {
                let valid = self.all_valid(args)?;
                lanes(self.multiply(inst)?, valid)
            }
            Op::Mul(o) => {
                let valid = self.all_valid(args)?;
                self.checked_multiply(id, inst, *o, valid)?
            }
            Op::Div | Op::Rem => {
                let valid = self.all_valid(args)?;
                lanes(self.divide(inst)?, valid)
            }
            Op::Neg(o) | Op::Abs(o) => {
                let valid = self.all_valid(args)?;
                self.negate(id, inst, *o, valid)?
            }
            Op::BitAnd | Op::BitOr | Op::BitXor => {
                let ((a, width), (b, _)) = (self.lanes(args[0])?, self.lanes(args[1])?);
                let valid = self.all_valid(args)?;
                let op = match &inst.op {
                    Op::BitAnd => BinOp::And,
                    Op::BitOr => BinOp::Or,
                    _xor => BinOp::Xor,
                };
                lanes(self.body.bin(op, width, a, b), valid)
            }
            Op::Shl | Op::Shr => {
                let (a, width) = self.lanes(args[0])?;
                let valid = self.all_valid(args)?;
                let bits = 8 * width as i128;
                let made = match constant(lp, args[1]).and_then(|l| l.as_i128()) {
                    Some(count) => self.shift(a, &inst.op, inst.ty, count.rem_euclid(bits) as u8),
                    None => {
                        let (count, _) = self.lanes(args[1])?;
                        self.shift_by_lanes(a, count, &inst.op, inst.ty)
                    }
                };
                lanes(made, valid)
            }
            Op::Cmp(op) => {
                let valid = self.all_valid(args)?;
                boolean(self.compare(*op, args[0], args[1])?, valid)
            }
            Op::Distinct => boolean(self.distinct(args[0], args[1])?, None),
            Op::InSet(set) => {
                let valid = self.all_valid(args)?;
                boolean(self.in_set(args[0], set)?, valid)
            }
            Op::And | Op::Or => self.and_or(inst)?,
            Op::Not => {
                let a = self.boolean(args[0])?;
                let valid = self.all_valid(args)?;
                boolean(self.body.not(a), valid)
            }
            Op::IsValid => boolean(self.value(args[0])?.valid.unwrap_or(Bool::All(true)), None),
            Op::IsTrue => boolean(self.holds(args[0])?, None),
            Op::Select => {
                let condition = self.holds(args[0])?;
                self.select(condition, args[1], args[2])?
            }
            Op::Coalesce => match self.value(args[0])?.valid {
                Some(valid) => self.select(valid, args[0], args[1])?,
                None => self.value(args[0])?,
            },
            Op::NullIf => {
                let value = self.value(args[0])?;
                let drop = self.holds(args[1])?;
                let keep = self.body.not(drop);
                LaneValue { data: value.data, valid: self.body.and_opt(value.valid, Some(keep)) }
            }
            Op::Guard(_) => {
                let value = self.value(args[0])?;
                let valid = self.all_valid(args)?;
                let ok = self.boolean(args[1])?;
                let fails = self.body.not(ok);
                self.fail(id, fails, valid)?;
                LaneValue { data: value.data, valid }
            }
            Op::Cast(to, fail) => self.convert_value(id, args[0], *to, *fail)?,
            Op::Math(f, _) => {
                let (a, width) = self.lanes(args[0])?;
                let valid = self.all_valid(args)?;
                lanes(self.rounding(*f, a, width)?, valid)
            }
            Op::Input(_)
            | Op::Const(_)
            | Op::DecRescale { .. }
            | Op::DecFromInt { .. }
            | Op::DecToInt { .. }
            | Op::DecFromFloat { .. }
            | Op::DecToFloat { .. }
            | Op::DecDiv { .. }
            | Op::MathBin(..)
            | Op::DatePart { .. }
            | Op::DateTrunc { .. }
            | Op::AddInterval { .. }
            | Op::StrTest(_)
            | Op::StrLen(_)
            | Op::Substr
            | Op::Probe { .. }
            | Op::Expand { .. }
            | Op::Fetch { .. } => return Err(Unsupported(format!("{:?}", inst.op))),
        })
    }

    // ---- arithmetic ---------------------------------------------------------------------------

    /// Finishes an integer operation that may overflow where `over` holds.
    fn with_overflow(
        &mut self,
        id: ValueId,
        made: Id,
        over: Bool,
        what: Overflow,
        valid: Option<Bool>,
    ) -> Result<LaneValue, Unsupported> {
        Ok(match what {
            Overflow::Wrap => lanes(made, valid),
            Overflow::Err => {
                self.fail(id, over, valid)?;
                lanes(made, valid)
            }
            Overflow::Null => {
                let fits = self.body.not(over);
                lanes(made, self.body.and_opt(valid, Some(fits)))
            }
        })
    }

    fn add_sub(
        &mut self,
        id: ValueId,
        inst: &Inst,
        what: Overflow,
        valid: Option<Bool>,
    ) -> Result<LaneValue, Unsupported> {
        let ((a, width), (b, _)) = (self.lanes(inst.args[0])?, self.lanes(inst.args[1])?);
        let add = matches!(inst.op, Op::Add(_));
        let op = match (inst.ty.is_float(), add) {
            (true, true) => BinOp::FAdd,
            (true, false) => BinOp::FSub,
            (false, true) => BinOp::Add,
            (false, false) => BinOp::Sub,
        };
        let made = self.body.bin(op, width, a, b);
        if what == Overflow::Wrap {
            return Ok(lanes(made, valid));
        }
        let over = if inst.ty.is_unsigned_int() {
            // The sum is below an addend; the minuend is below the subtrahend.
            let (low, high) = if add { (made, a) } else { (a, b) };
            self.body.test(Test::Int { pred: Pred::Lt, signed: false }, width, low, high)
        } else {
            // The result's sign differs from both addends', or from the minuend's alone.
            let x = self.body.bin(BinOp::Xor, width, a, made);
            let y = if add { made } else { a };
            let y = self.body.bin(BinOp::Xor, width, b, y);
            let both = self.body.bin(BinOp::And, width, x, y);
            self.is_negative(both, width)
        };
        self.with_overflow(id, made, over, what, valid)
    }

    fn multiply(&mut self, inst: &Inst) -> Result<Id, Unsupported> {
        let ((a, width), (b, _)) = (self.lanes(inst.args[0])?, self.lanes(inst.args[1])?);
        if inst.ty.is_float() {
            return Ok(self.body.bin(BinOp::FMul, width, a, b));
        }
        if width > 1 {
            return Ok(self.body.bin(BinOp::Mul, width, a, b));
        }
        // No byte product exists: take the low bytes of 16-bit products.
        let wide = Wide::Widen { from: 1, signed: false };
        let (a, b) = (self.body.unary(wide, 2, a), self.body.unary(wide, 2, b));
        let product = self.body.bin(BinOp::Mul, 2, a, b);
        Ok(self.body.unary(Wide::Narrow { from: 2 }, 1, product))
    }

    /// Of ints of at most 32 bits, in lanes of twice the width.
    fn checked_multiply(
        &mut self,
        id: ValueId,
        inst: &Inst,
        what: Overflow,
        valid: Option<Bool>,
    ) -> Result<LaneValue, Unsupported> {
        let ((a, width), (b, _)) = (self.lanes(inst.args[0])?, self.lanes(inst.args[1])?);
        if width == 8 {
            return Err(Unsupported("checked products of 64 bits".to_owned()));
        }
        let signed = inst.ty.is_signed_int();
        let (wide, from) = (2 * width, width as u8);
        let a = self.body.unary(Wide::Widen { from, signed }, wide, a);
        let b = self.body.unary(Wide::Widen { from, signed }, wide, b);
        let product = self.body.bin(BinOp::Mul, wide, a, b);
        let made = self.body.unary(Wide::Narrow { from: wide as u8 }, width, product);
        let back = self.body.unary(Wide::Widen { from, signed }, wide, made);
        let over = self.body.test(EQUAL.negated(), wide, product, back);
        self.with_overflow(id, made, over, what, valid)
    }

    /// Lanes that are below zero.
    fn is_negative(&mut self, a: Id, width: usize) -> Bool {
        let zero = self.body.splat(8, 0);
        self.body.test(SIGNED_LESS, width, a, zero)
    }

    /// Division of floats, and what divides ints by powers of two.
    fn divide(&mut self, inst: &Inst) -> Result<Id, Unsupported> {
        let ((a, width), (b, _)) = (self.lanes(inst.args[0])?, self.lanes(inst.args[1])?);
        if inst.ty.is_float() && inst.op == Op::Div {
            return Ok(match constant(self.lp, inst.args[1]).and_then(exact_reciprocal) {
                Some(bits) => {
                    let by = self.body.splat(width, bits);
                    self.body.bin(BinOp::FMul, width, a, by)
                }
                None => self.body.bin(BinOp::FDiv, width, a, b),
            });
        }
        let Some(power) = power_of_two(self.lp, inst.args[1]).filter(|_| inst.ty.is_int()) else {
            return Err(Unsupported("division by what is no power of two".to_owned()));
        };
        let low = self.body.splat(width, (1u64 << power) - 1);
        let unsigned = inst.ty.is_unsigned_int();
        if inst.op == Op::Rem && unsigned {
            return Ok(self.body.bin(BinOp::And, width, a, low));
        }
        if unsigned || (inst.op == Op::Div && power == 0) {
            return Ok(self.shift(a, &Op::Shr, inst.ty, power as u8));
        }
        // Division rounds toward zero: negative numbers get 2^power - 1 more.
        let negative = self.is_negative(a, width);
        let bias = self.body.keep(negative, width, low);
        let up = self.body.bin(BinOp::Add, width, a, bias);
        if inst.op == Op::Div {
            return Ok(self.shift(up, &Op::Shr, inst.ty, power as u8));
        }
        let rest = self.body.bin(BinOp::And, width, up, low);
        Ok(self.body.bin(BinOp::Sub, width, rest, bias))
    }

    /// By counts of which the low bits decide.
    fn shift_by_lanes(&mut self, a: Id, count: Id, op: &Op, ty: Ty) -> Id {
        let width = lane_width(ty).unwrap_or(8);
        let signed = ty.is_signed_int();
        let low = self.body.splat(width, 8 * width as u64 - 1);
        let count = self.body.bin(BinOp::And, width, count, low);
        let by = match (op, signed) {
            (Op::Shl, _) => BinOp::ShiftLeft,
            (_, true) => BinOp::ShiftArithmetic,
            (_, false) => BinOp::ShiftRight,
        };
        if width > 1 {
            return self.body.bin(by, width, a, count);
        }
        let wide = self.body.unary(Wide::Widen { from: 1, signed }, 2, a);
        let count = self.body.unary(Wide::Widen { from: 1, signed: false }, 2, count);
        let moved = self.body.bin(by, 2, wide, count);
        self.body.unary(Wide::Narrow { from: 2 }, 1, moved)
    }

    fn shift(&mut self, a: Id, op: &Op, ty: Ty, count: u8) -> Id {
        let width = lane_width(ty).unwrap_or(8);
        if count == 0 {
            return a;
        }
        if width == 1 {
            // Through 16-bit lanes, extended so that the bits shifted in are right.
            let signed = ty.is_signed_int();
            let wide = self.body.unary(Wide::Widen { from: 1, signed }, 2, a);
            let by = if *op == Op::Shl { ShiftOp::Left } else { right(signed) };
            let moved = self.body.unary(Wide::Shift(by, count), 2, wide);
            return self.body.unary(Wide::Narrow { from: 2 }, 1, moved);
        }
        let by = if *op == Op::Shl { ShiftOp::Left } else { right(ty.is_signed_int()) };
        self.body.unary(Wide::Shift(by, count), width, a)
    }

    fn negate(
        &mut self,
        id: ValueId,
        inst: &Inst,
        what: Overflow,
        valid: Option<Bool>,
    ) -> Result<LaneValue, Unsupported> {
        let (a, width) = self.lanes(inst.args[0])?;
        let sign = self.body.splat(width, sign_bit(width));
        let made = match (inst.ty.is_float(), matches!(inst.op, Op::Neg(_))) {
            (true, true) => self.body.bin(BinOp::Xor, width, a, sign),
            (true, false) => {
                let rest = self.body.splat(width, !sign_bit(width));
                self.body.bin(BinOp::And, width, a, rest)
            }
            (false, true) => {
                let zero = self.body.splat(8, 0);
                self.body.bin(BinOp::Sub, width, zero, a)
            }
            (false, false) => self.body.unary(Wide::Un(UnOp::Abs), width, a),
        };
        if what == Overflow::Wrap {
            return Ok(lanes(made, valid));
        }
        let over = self.body.test(EQUAL, width, a, sign);
        self.with_overflow(id, made, over, what, valid)
    }

    // ---- logic --------------------------------------------------------------------------------

    fn and_or(&mut self, inst: &Inst) -> Result<LaneValue, Unsupported> {
        let (a, b) = (self.boolean(inst.args[0])?, self.boolean(inst.args[1])?);
        let (av, bv) = (self.value(inst.args[0])?.valid, self.value(inst.args[1])?.valid);
        let is_and = inst.op == Op::And;
        if av.is_none() && bv.is_none() {
            let made = if is_and { self.body.and(a, b) } else { self.body.or(a, b) };
            return Ok(boolean(made, None));
        }
        let (a_true, b_true) = (self.holds(inst.args[0])?, self.holds(inst.args[1])?);
        let body = &mut self.body;
        let (av, bv) = (av.unwrap_or(Bool::All(true)), bv.unwrap_or(Bool::All(true)));
        let both = body.and(av, bv);
        // A side decides alone when it is false (and) or true (or).
        let made = if is_and { body.and(a_true, b_true) } else { body.or(a_true, b_true) };
        let valid = if is_and {
            let (not_a, not_b) = (body.not(a), body.not(b));
            let (a_decides, b_decides) = (body.and(av, not_a), body.and(bv, not_b));
            let either = body.or(a_decides, b_decides);
            body.or(both, either)
        } else {
            body.or(both, made)
        };
        Ok(boolean(made, Some(valid)))
    }

    /// The first value where the condition holds, else the second.
    fn select(&mut self, condition: Bool, x: ValueId, y: ValueId) -> Result<LaneValue, Unsupported> {
        let (a, b) = (self.value(x)?, self.value(y)?);
        let width = lane_width(self.lp.value(x).ty).unwrap_or(8);
        let data = match (a.data, b.data) {
            (Data::Lanes(p), Data::Lanes(q)) => Data::Lanes(self.body.blend(condition, width, p, q)),
            (Data::Bool(p), Data::Bool(q)) => Data::Bool(self.choose(condition, p, q)),
            (Data::Lanes(_) | Data::Bool(_) | Data::Absent, _) => Data::Absent,
        };
        let valid = match (a.valid, b.valid) {
            (None, None) => None,
            (p, q) => {
                let always = Bool::All(true);
                Some(self.choose(condition, p.unwrap_or(always), q.unwrap_or(always)))
            }
        };
        Ok(LaneValue { data, valid })
    }

    fn choose(&mut self, condition: Bool, p: Bool, q: Bool) -> Bool {
        let body = &mut self.body;
        if p.known() == Some(true) {
            return body.or(condition, q);
        }
        let not = body.not(condition);
        let (p, q) = (body.and(condition, p), body.and(q, not));
        body.or(p, q)
    }

    // ---- functions ----------------------------------------------------------------------------

    fn rounding(&mut self, f: MathFn, a: Id, width: usize) -> Result<Id, Unsupported> {
        let round = |l: &mut Self, mode, a| l.body.unary(Wide::Un(UnOp::Round(mode)), width, a);
        Ok(match f {
            MathFn::Sqrt => self.body.unary(Wide::Un(UnOp::Sqrt), width, a),
            MathFn::Floor => round(self, FLOOR, a),
            MathFn::Ceil => round(self, CEIL, a),
            MathFn::Trunc => round(self, TRUNC, a),
            MathFn::Round => {
                let half = self.body.splat(width, below_half(width));
                let signed = self.with_sign_of(half, a, width);
                let sum = self.body.bin(BinOp::FAdd, width, a, signed);
                round(self, TRUNC, sum)
            }
            MathFn::Signum => self.signum(a, width),
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
            | MathFn::Expm1 => return Err(Unsupported(format!("{f:?}"))),
        })
    }

    /// Non-negative numbers with the signs of others.
    fn with_sign_of(&mut self, magnitude: Id, a: Id, width: usize) -> Id {
        let sign = self.body.splat(width, sign_bit(width));
        let sign = self.body.bin(BinOp::And, width, a, sign);
        self.body.bin(BinOp::Or, width, magnitude, sign)
    }

    fn signum(&mut self, a: Id, width: usize) -> Id {
        let (one, nan) = if width == 8 {
            (1f64.to_bits(), f64::NAN.to_bits())
        } else {
            (u64::from(1f32.to_bits()), u64::from(f32::NAN.to_bits()))
        };
        let (one, nan) = (self.body.splat(width, one), self.body.splat(width, nan));
        let zero = self.body.splat(8, 0);
        let signed = self.with_sign_of(one, a, width);
        let is_zero = self.body.test(Test::FloatEq, width, a, zero);
        let is_nan = self.body.test(Test::Unordered, width, a, a);
        let made = self.body.blend(is_zero, width, zero, signed);
        self.body.blend(is_nan, width, nan, made)
    }
}

fn right(signed: bool) -> ShiftOp {
    if signed { ShiftOp::Arithmetic } else { ShiftOp::Right }
}
