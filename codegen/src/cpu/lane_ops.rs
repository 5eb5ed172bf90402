//! Instructions in lanes: arithmetic, logic, selection, rounding. Comparisons and conversions have
//! files of their own.

use super::CompileError;
use super::bools::{BoolId, Form};
use super::classify::{constant, power_of_two};
use super::lanes::{Data, LaneValue, Lanes, Vecs, int_lanes};
use crate::ir::{Inst, Lit, MathFn, Op, Overflow, Ty, ValueId};
use cranelift::prelude::*;

/// Values in lanes without nulls of their own.
fn vecs(data: Vecs, valid: Option<BoolId>) -> LaneValue {
    LaneValue { data: Data::Vecs(data), valid }
}

fn boolean(data: BoolId, valid: Option<BoolId>) -> LaneValue {
    LaneValue { data: Data::Bool(data), valid }
}

/// The bits of 1/x if that is exact: for powers of two whose reciprocal is a normal number. Multiplying
/// by it then rounds like the division.
pub(super) fn exact_reciprocal(lit: &Lit) -> Option<u64> {
    match lit {
        Lit::F64(x) => {
            let r = 1.0 / x;
            let exact = x.to_bits() << 12 == 0 && x.is_normal() && r.is_normal();
            exact.then(|| r.to_bits())
        }
        Lit::F32(x) => {
            let r = 1.0 / x;
            let exact = x.to_bits() << 9 == 0 && x.is_normal() && r.is_normal();
            exact.then(|| u64::from(r.to_bits()))
        }
        _other => None,
    }
}

/// The bits of the number just below one half. Adding it with the sign of x and truncating rounds halves
/// away from zero and never carries anything else over.
pub(super) fn below_half(width: usize) -> u64 {
    if width == 8 { 0.499_999_999_999_999_94_f64.to_bits() } else { u64::from(0.499_999_97_f32.to_bits()) }
}

impl Lanes<'_, '_, '_> {
    pub(super) fn emit_inst(&mut self, id: ValueId) -> Result<LaneValue, CompileError> {
        let lp = self.e.lp;
        let inst = lp.value(id);
        let args = &inst.args;
        let strict = |l: &mut Self| l.all_valid(args);
        Ok(match &inst.op {
            Op::RowIndex => vecs(self.row_index(), None),
            Op::Add(o) | Op::Sub(o) => {
                let valid = strict(self)?;
                self.add_sub(id, inst, *o, valid)?
            }
            Op::Mul(_) => {
                let valid = strict(self)?;
                vecs(self.multiply(inst)?, valid)
            }
            Op::Div if inst.ty.is_float() => {
                let (a, b) = (self.vecs(args[0])?, self.vecs(args[1])?);
                let valid = strict(self)?;
                let made = match constant(lp, args[1]).and_then(exact_reciprocal) {
                    Some(bits) => {
                        let by = self.splat(a.ty, bits);
                        self.map2(a, by, |f, x, y| f.ins().fmul(x, y))
                    }
                    None => self.map2(a, b, |f, x, y| f.ins().fdiv(x, y)),
                };
                vecs(made, valid)
            }
            Op::Div => {
                let valid = strict(self)?;
                vecs(self.divide_by_power(inst)?, valid)
            }
            Op::Rem => {
                let valid = strict(self)?;
                vecs(self.remainder_of_power(inst)?, valid)
            }
            Op::Neg(o) | Op::Abs(o) => {
                let valid = strict(self)?;
                self.negate(id, inst, *o, valid)?
            }
            Op::BitAnd | Op::BitOr | Op::BitXor => {
                let (a, b) = (self.vecs(args[0])?, self.vecs(args[1])?);
                let valid = strict(self)?;
                let made = match &inst.op {
                    Op::BitAnd => self.map2(a, b, |f, x, y| f.ins().band(x, y)),
                    Op::BitOr => self.map2(a, b, |f, x, y| f.ins().bor(x, y)),
                    _xor => self.map2(a, b, |f, x, y| f.ins().bxor(x, y)),
                };
                vecs(made, valid)
            }
            Op::Shl | Op::Shr => {
                let a = self.vecs(args[0])?;
                let valid = strict(self)?;
                let bits = a.ty.lane_bits() as i128;
                let count = constant(lp, args[1]).and_then(|l| l.as_i128()).unwrap_or(0).rem_euclid(bits);
                vecs(self.shift(a, &inst.op, inst.ty, count as i64), valid)
            }
            Op::Cmp(op) => {
                let valid = strict(self)?;
                boolean(self.compare(*op, args[0], args[1])?, valid)
            }
            Op::Distinct => boolean(self.distinct(args[0], args[1])?, None),
            Op::InSet(set) => {
                let valid = strict(self)?;
                boolean(self.in_set(args[0], set)?, valid)
            }
            Op::And | Op::Or => self.and_or(inst)?,
            Op::Not => {
                let a = self.boolean(args[0])?;
                let valid = strict(self)?;
                boolean(self.bools.not(a), valid)
            }
            Op::IsValid => {
                let valid = match self.value(args[0])?.valid {
                    Some(valid) => valid,
                    None => self.bools.constant(true),
                };
                boolean(valid, None)
            }
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
                let keep = self.bools.not(drop);
                LaneValue { data: value.data, valid: self.bools.and_opt(value.valid, Some(keep)) }
            }
            Op::Guard(_) => {
                let value = self.value(args[0])?;
                let valid = strict(self)?;
                let ok = self.boolean(args[1])?;
                let fails = self.bools.not(ok);
                self.fail(id, fails, valid)?;
                LaneValue { data: value.data, valid }
            }
            Op::Cast(to, fail) => self.convert_value(id, args[0], *to, *fail)?,
            Op::Math(f, _) => {
                let a = self.vecs(args[0])?;
                let valid = strict(self)?;
                vecs(self.rounding(*f, a)?, valid)
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
            | Op::Fetch { .. } => {
                return Err(CompileError::Backend(format!("{:?} was scheduled into lanes", inst.op)));
            }
        })
    }

    fn row_index(&mut self) -> Vecs {
        let row = self.e.b.ins().iadd(self.row, self.e.chunk_row);
        let first = self.e.b.ins().iadd(row, self.e.row_base);
        let all = self.e.b.ins().splat(types::I64X2, first);
        let mut list = Vec::with_capacity(4);
        for k in 0..4u64 {
            let mut bytes = [0u8; 16];
            bytes[..8].copy_from_slice(&(2 * k).to_le_bytes());
            bytes[8..].copy_from_slice(&(2 * k + 1).to_le_bytes());
            let offsets = self.vconst(types::I64X2, bytes);
            list.push(self.e.b.ins().iadd(all, offsets));
        }
        Vecs::of(&list, types::I64X2)
    }

    /// Finishes an integer operation that may overflow where `over` holds.
    fn with_overflow(
        &mut self,
        id: ValueId,
        made: Vecs,
        over: BoolId,
        what: Overflow,
        valid: Option<BoolId>,
    ) -> Result<LaneValue, CompileError> {
        Ok(match what {
            Overflow::Wrap => vecs(made, valid),
            Overflow::Err => {
                self.fail(id, over, valid)?;
                vecs(made, valid)
            }
            Overflow::Null => {
                let fits = self.bools.not(over);
                vecs(made, self.bools.and_opt(valid, Some(fits)))
            }
        })
    }

    fn add_sub(
        &mut self,
        id: ValueId,
        inst: &Inst,
        what: Overflow,
        valid: Option<BoolId>,
    ) -> Result<LaneValue, CompileError> {
        let (a, b) = (self.vecs(inst.args[0])?, self.vecs(inst.args[1])?);
        let add = matches!(inst.op, Op::Add(_));
        let made = match (inst.ty.is_float(), add) {
            (true, true) => self.map2(a, b, |f, x, y| f.ins().fadd(x, y)),
            (true, false) => self.map2(a, b, |f, x, y| f.ins().fsub(x, y)),
            (false, true) => self.map2(a, b, |f, x, y| f.ins().iadd(x, y)),
            (false, false) => self.map2(a, b, |f, x, y| f.ins().isub(x, y)),
        };
        if what == Overflow::Wrap {
            return Ok(vecs(made, valid));
        }
        let over = if inst.ty.is_unsigned_int() {
            // The sum is below an addend; the minuend is below the subtrahend.
            let (low, high) = if add { (made, a) } else { (a, b) };
            self.less(low, high, inst.ty)
        } else {
            // The result's sign differs from both addends', or from the minuend's alone.
            let x = self.map2(a, made, |f, x, y| f.ins().bxor(x, y));
            let y = if add { made } else { a };
            let y = self.map2(b, y, |f, x, y| f.ins().bxor(x, y));
            let both = self.map2(x, y, |f, x, y| f.ins().band(x, y));
            self.is_negative(both)
        };
        self.with_overflow(id, made, over, what, valid)
    }

    fn multiply(&mut self, inst: &Inst) -> Result<Vecs, CompileError> {
        let (a, b) = (self.vecs(inst.args[0])?, self.vecs(inst.args[1])?);
        if inst.ty.is_float() {
            return Ok(self.map2(a, b, |f, x, y| f.ins().fmul(x, y)));
        }
        if a.ty != types::I8X16 {
            return Ok(self.map2(a, b, |f, x, y| f.ins().imul(x, y)));
        }
        // No byte product exists: take the low bytes of 16-bit products.
        let (a, b) = (self.widen(a, types::I16X8, false), self.widen(b, types::I16X8, false));
        let wide = self.map2(a, b, |f, x, y| f.ins().imul(x, y));
        Ok(self.narrow_16_to_8(wide))
    }

    /// The low bytes of eight 16-bit lanes.
    pub(super) fn narrow_16_to_8(&mut self, a: Vecs) -> Vecs {
        let mask = self.splat(types::I16X8, 0xFF);
        let low = self.e.b.ins().band(a.v[0], mask.v[0]);
        let packed = self.e.b.ins().unarrow(low, low);
        Vecs::one(packed, types::I8X16)
    }

    /// Lanes that are below zero.
    pub(super) fn is_negative(&mut self, a: Vecs) -> BoolId {
        let zero = self.splat(a.ty, 0);
        self.icmp(IntCC::SignedLessThan, a, zero)
    }

    /// What division toward zero adds to negative numbers before it shifts: 2^power - 1.
    fn rounding_bias(&mut self, a: Vecs, power: u32) -> Vecs {
        let zero = self.splat(a.ty, 0);
        let low = self.splat(a.ty, (1u64 << power) - 1);
        let negative = self.map2(a, zero, |f, x, y| f.ins().icmp(IntCC::SignedLessThan, x, y));
        self.map2(negative, low, |f, x, y| f.ins().band(x, y))
    }

    fn divide_by_power(&mut self, inst: &Inst) -> Result<Vecs, CompileError> {
        let power = power_of_two(self.e.lp, inst.args[1]).unwrap_or(0);
        let a = self.vecs(inst.args[0])?;
        if power == 0 {
            return Ok(a);
        }
        if inst.ty.is_unsigned_int() {
            return Ok(self.shift(a, &Op::Shr, inst.ty, i64::from(power)));
        }
        let bias = self.rounding_bias(a, power);
        let up = self.map2(a, bias, |f, x, y| f.ins().iadd(x, y));
        Ok(self.shift(up, &Op::Shr, inst.ty, i64::from(power)))
    }

    fn remainder_of_power(&mut self, inst: &Inst) -> Result<Vecs, CompileError> {
        let power = power_of_two(self.e.lp, inst.args[1]).unwrap_or(0);
        let a = self.vecs(inst.args[0])?;
        let low = self.splat(a.ty, (1u64 << power) - 1);
        if inst.ty.is_unsigned_int() {
            return Ok(self.map2(a, low, |f, x, y| f.ins().band(x, y)));
        }
        let bias = self.rounding_bias(a, power);
        let up = self.map2(a, bias, |f, x, y| f.ins().iadd(x, y));
        let rest = self.map2(up, low, |f, x, y| f.ins().band(x, y));
        Ok(self.map2(rest, bias, |f, x, y| f.ins().isub(x, y)))
    }

    fn shift(&mut self, a: Vecs, op: &Op, ty: Ty, count: i64) -> Vecs {
        if a.ty == types::I8X16 {
            // Through 16-bit lanes, extended so that the bits shifted in are right.
            let wide = self.widen(a, types::I16X8, ty.is_signed_int());
            let moved = self.shift(wide, op, ty, count);
            return self.narrow_16_to_8(moved);
        }
        match (op, ty.is_signed_int()) {
            (Op::Shl, _) => self.map1(a, a.ty, |f, x| f.ins().ishl_imm_u(x, count)),
            (_, true) => self.map1(a, a.ty, |f, x| f.ins().sshr_imm_u(x, count)),
            (_, false) => self.map1(a, a.ty, |f, x| f.ins().ushr_imm_u(x, count)),
        }
    }

    fn negate(
        &mut self,
        id: ValueId,
        inst: &Inst,
        what: Overflow,
        valid: Option<BoolId>,
    ) -> Result<LaneValue, CompileError> {
        let a = self.vecs(inst.args[0])?;
        let neg = matches!(inst.op, Op::Neg(_));
        let made = match (inst.ty.is_float(), neg) {
            // As integers: Cranelift takes (-x) * (-y) for x * y, which is another NaN.
            (true, true) => {
                let int = int_lanes(a.ty);
                let sign = self.splat(int, 1u64 << (int.lane_bits() - 1));
                let bits = self.cast(a, int);
                let flipped = self.map2(bits, sign, |f, x, y| f.ins().bxor(x, y));
                self.cast(flipped, a.ty)
            }
            (true, false) => self.map1(a, a.ty, |f, x| f.ins().fabs(x)),
            (false, true) => self.map1(a, a.ty, |f, x| f.ins().ineg(x)),
            (false, false) => self.map1(a, a.ty, |f, x| f.ins().iabs(x)),
        };
        if what == Overflow::Wrap {
            return Ok(vecs(made, valid));
        }
        let least = self.splat(a.ty, 1u64 << (a.ty.lane_bits() - 1));
        let over = self.icmp(IntCC::Equal, a, least);
        self.with_overflow(id, made, over, what, valid)
    }

    fn and_or(&mut self, inst: &Inst) -> Result<LaneValue, CompileError> {
        let (a, b) = (self.boolean(inst.args[0])?, self.boolean(inst.args[1])?);
        let (av, bv) = (self.value(inst.args[0])?.valid, self.value(inst.args[1])?.valid);
        let is_and = inst.op == Op::And;
        if av.is_none() && bv.is_none() {
            if is_and && let Some(joined) = self.join_bounds(inst)? {
                return Ok(boolean(joined, None));
            }
            let made = if is_and { self.bools.and(a, b) } else { self.bools.or(a, b) };
            return Ok(boolean(made, None));
        }
        let (a_true, b_true) = (self.holds(inst.args[0])?, self.holds(inst.args[1])?);
        let bools = &mut self.bools;
        let always = bools.constant(true);
        let (av, bv) = (av.unwrap_or(always), bv.unwrap_or(always));
        let both = bools.and(av, bv);
        // A side decides alone when it is false (and) or true (or).
        let made = if is_and { bools.and(a_true, b_true) } else { bools.or(a_true, b_true) };
        let valid = if is_and {
            let (not_a, not_b) = (bools.not(a), bools.not(b));
            let (a_decides, b_decides) = (bools.and(av, not_a), bools.and(bv, not_b));
            let either = bools.or(a_decides, b_decides);
            bools.or(both, either)
        } else {
            bools.or(both, made)
        };
        Ok(boolean(made, Some(valid)))
    }

    /// The first value where the condition holds, else the second.
    fn select(&mut self, condition: BoolId, x: ValueId, y: ValueId) -> Result<LaneValue, CompileError> {
        let (a, b) = (self.value(x)?, self.value(y)?);
        let data = match (a.data, b.data) {
            (Data::Vecs(p), Data::Vecs(q)) => Data::Vecs(self.blend(condition, p, q)),
            (Data::Bool(p), Data::Bool(q)) => Data::Bool(self.choose(condition, p, q)),
            (Data::Vecs(_) | Data::Bool(_) | Data::Absent, _) => Data::Absent,
        };
        let valid = match (a.valid, b.valid) {
            (None, None) => None,
            (p, q) => {
                let always = self.bools.constant(true);
                Some(self.choose(condition, p.unwrap_or(always), q.unwrap_or(always)))
            }
        };
        Ok(LaneValue { data, valid })
    }

    fn choose(&mut self, condition: BoolId, p: BoolId, q: BoolId) -> BoolId {
        let bools = &mut self.bools;
        if bools.known(p) == Some(true) {
            return bools.or(condition, q);
        }
        let not = bools.not(condition);
        let (p, q) = (bools.and(condition, p), bools.and(q, not));
        bools.or(p, q)
    }

    fn rounding(&mut self, f: MathFn, a: Vecs) -> Result<Vecs, CompileError> {
        Ok(match f {
            MathFn::Sqrt => self.map1(a, a.ty, |b, x| b.ins().sqrt(x)),
            MathFn::Floor => self.map1(a, a.ty, |b, x| b.ins().floor(x)),
            MathFn::Ceil => self.map1(a, a.ty, |b, x| b.ins().ceil(x)),
            MathFn::Trunc => self.map1(a, a.ty, |b, x| b.ins().trunc(x)),
            MathFn::Round => {
                let half = self.splat(a.ty, below_half(a.ty.lane_type().bytes() as usize));
                let signed = self.with_sign_of(half, a);
                let sum = self.map2(a, signed, |b, x, y| b.ins().fadd(x, y));
                self.map1(sum, a.ty, |b, x| b.ins().trunc(x))
            }
            MathFn::Signum => self.signum(a),
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
            | MathFn::Expm1 => {
                return Err(CompileError::Backend(format!("{f:?} was scheduled into lanes")));
            }
        })
    }

    /// Non-negative numbers with the signs of others.
    fn with_sign_of(&mut self, magnitude: Vecs, a: Vecs) -> Vecs {
        let int = int_lanes(a.ty);
        let (m, x) = (self.cast(magnitude, int), self.cast(a, int));
        let sign = self.splat(int, 1u64 << (int.lane_bits() - 1));
        let sign = self.map2(x, sign, |b, x, s| b.ins().band(x, s));
        let made = self.map2(m, sign, |b, m, s| b.ins().bor(m, s));
        self.cast(made, a.ty)
    }

    fn signum(&mut self, a: Vecs) -> Vecs {
        let (one, nan) = if a.ty == types::F64X2 {
            (1f64.to_bits(), f64::NAN.to_bits())
        } else {
            (u64::from(1f32.to_bits()), u64::from(f32::NAN.to_bits()))
        };
        let (one, nan, zero) = (self.splat(a.ty, one), self.splat(a.ty, nan), self.splat(a.ty, 0));
        let int = int_lanes(a.ty);
        let signed = self.with_sign_of(one, a);
        let is_zero = self.map2(a, zero, |b, x, z| b.ins().fcmp(FloatCC::Equal, x, z));
        let is_zero = self.bools.masks(Vecs { ty: int, ..is_zero });
        let is_nan = self.map2(a, a, |b, x, y| b.ins().fcmp(FloatCC::Unordered, x, y));
        let is_nan = self.bools.masks(Vecs { ty: int, ..is_nan });
        let made = self.blend(is_zero, zero, signed);
        self.blend(is_nan, nan, made)
    }

    /// A boolean's rows as 0 and 1 in integer lanes.
    pub(super) fn zero_one(&mut self, value: BoolId, ty: Type) -> Vecs {
        let one = self.splat(ty, 1);
        let form = Form::of_width(ty.lane_type().bytes() as usize);
        let masks = super::bools::Bools::make(self, value, form);
        self.map2(masks, one, |b, x, y| b.ins().band(x, y))
    }
}
