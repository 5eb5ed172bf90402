//! Conversions in lanes: among ints, from ints to floats, between floats, from and to booleans.

use super::CompileError;
use super::bools::BoolId;
use super::lanes::{Data, LaneValue, Lanes, Vecs, lane_type};
use crate::ir::op::int_range;
use crate::ir::{CmpOp, Lit, OnFail, Ty, ValueId};
use cranelift::prelude::*;

impl Lanes<'_, '_, '_> {
    pub(super) fn convert_value(
        &mut self,
        id: ValueId,
        arg: ValueId,
        to: Ty,
        fail: OnFail,
    ) -> Result<LaneValue, CompileError> {
        let from = self.e.lp.value(arg).ty;
        let value = self.value(arg)?;
        if from == to {
            return Ok(value);
        }
        let valid = value.valid;
        let data = if from == Ty::Bool {
            let condition = self.boolean(arg)?;
            Data::Vecs(self.numbers_of(condition, to)?)
        } else if to == Ty::Bool {
            Data::Bool(self.is_not_zero(arg, from)?)
        } else if from.is_int() && to.is_int() {
            return self.int_to_int(id, arg, from, to, fail, valid);
        } else {
            let a = self.vecs(arg)?;
            Data::Vecs(match (from, to) {
                (Ty::F32, _) => self.promote(a),
                (Ty::F64, _) => self.demote(a),
                (_, Ty::F64) => self.int_to_f64(a, from),
                (_, _) => self.int_to_f32(a, from),
            })
        };
        Ok(LaneValue { data, valid })
    }

    fn numbers_of(&mut self, value: BoolId, to: Ty) -> Result<Vecs, CompileError> {
        let ty = lane_type(to).ok_or_else(|| CompileError::Backend(format!("no lanes of {to}")))?;
        Ok(match to {
            Ty::F64 | Ty::F32 => {
                let one = if to == Ty::F64 { 1f64.to_bits() } else { u64::from(1f32.to_bits()) };
                let one = self.splat(ty, one);
                self.keep(value, one)
            }
            _int => self.zero_one(value, ty),
        })
    }

    fn is_not_zero(&mut self, arg: ValueId, from: Ty) -> Result<BoolId, CompileError> {
        let a = self.int_vecs(arg)?;
        let a = if from.is_float() { self.map2(a, a, |f, x, y| f.ins().iadd(x, y)) } else { a };
        let zero = self.splat(a.ty, 0);
        let is_zero = self.icmp(IntCC::Equal, a, zero);
        Ok(self.bools.not(is_zero))
    }

    fn int_to_int(
        &mut self,
        id: ValueId,
        arg: ValueId,
        from: Ty,
        to: Ty,
        fail: OnFail,
        valid: Option<BoolId>,
    ) -> Result<LaneValue, CompileError> {
        let a = self.vecs(arg)?;
        let made = self.resize(a, from, to);
        let mut out = LaneValue { data: Data::Vecs(made), valid };
        if let (Some((from_low, from_high)), Some((low, high))) = (int_range(from), int_range(to)) {
            let mut outside = self.bools.constant(false);
            for (needed, op, bound) in [(from_low < low, CmpOp::Lt, low), (from_high > high, CmpOp::Gt, high)]
            {
                if needed {
                    let Some(bound) = Lit::integer(from, bound) else { continue };
                    let beyond = self.compare_literal(op, a, &bound);
                    outside = self.bools.or(outside, beyond);
                }
            }
            if self.bools.known(outside) != Some(false) {
                match fail {
                    OnFail::Err => self.fail(id, outside, valid)?,
                    OnFail::Null => {
                        let fits = self.bools.not(outside);
                        out.valid = self.bools.and_opt(valid, Some(fits));
                    }
                }
            }
        }
        Ok(out)
    }

    /// Integer lanes of another width; the value is kept where it fits.
    fn resize(&mut self, a: Vecs, from: Ty, to: Ty) -> Vecs {
        let target = to.width().unwrap_or(8) as u32;
        let mut a = a;
        while a.ty.lane_type().bytes() < target {
            let wider = match a.ty.lane_type().bytes() {
                1 => types::I16X8,
                2 => types::I32X4,
                _four => types::I64X2,
            };
            a = self.widen(a, wider, from.is_signed_int());
        }
        while a.ty.lane_type().bytes() > target {
            a = match a.ty.lane_type().bytes() {
                8 => self.low_halves(a),
                4 => self.narrow_32_to_16(a),
                _two => self.narrow_16_to_8(a),
            };
        }
        a
    }

    fn narrow_32_to_16(&mut self, a: Vecs) -> Vecs {
        let mask = self.splat(types::I32X4, 0xFFFF);
        let low = self.map2(a, mask, |f, x, y| f.ins().band(x, y));
        let packed = self.e.b.ins().unarrow(low.v[0], low.v[1]);
        Vecs::one(packed, types::I16X8)
    }

    /// The upper half of a vector's bytes, moved to the lower.
    fn upper_half(&mut self, v: Value, ty: Type) -> Value {
        const UPPER: [u8; 16] = [8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15];
        let bytes = self.cast(Vecs::one(v, ty), types::I8X16);
        let moved = self.shuffle(bytes.v[0], bytes.v[0], UPPER);
        self.cast(Vecs::one(moved, types::I8X16), ty).v[0]
    }

    fn int_to_f64(&mut self, a: Vecs, from: Ty) -> Vecs {
        match from {
            Ty::I64 => return self.i64_to_f64(a),
            Ty::U64 => return self.u64_to_f64(a),
            _narrow => {}
        }
        let signed = from != Ty::U32;
        let a = if from == Ty::U32 { a } else { self.resize(a, from, Ty::I32) };
        let mut list = Vec::with_capacity(4);
        for v in a.list() {
            let upper = self.upper_half(*v, types::I32X4);
            for half in [*v, upper] {
                let b = &mut self.e.b;
                list.push(if signed {
                    let wide = b.ins().swiden_low(half);
                    b.ins().fcvt_from_sint(types::F64X2, wide)
                } else {
                    let wide = b.ins().uwiden_low(half);
                    b.ins().fcvt_from_uint(types::F64X2, wide)
                });
            }
        }
        Vecs::of(&list, types::F64X2)
    }

    fn int_to_f32(&mut self, a: Vecs, from: Ty) -> Vecs {
        if from == Ty::U32 {
            return self.map1(a, types::F32X4, |b, x| b.ins().fcvt_from_uint(types::F32X4, x));
        }
        let a = self.resize(a, from, Ty::I32);
        self.map1(a, types::F32X4, |b, x| b.ins().fcvt_from_sint(types::F32X4, x))
    }

    /// Signed 64-bit ints, rounded once: the upper 16 bits and the lower 48 become mantissas of two
    /// doubles of fixed exponents, whose difference to those exponents is exact; the last addition
    /// rounds.
    fn i64_to_f64(&mut self, a: Vecs) -> Vecs {
        // High part: bits 48.. sign-extended into the upper 32-bit lane, over 3 * 2^67.
        let words = self.cast(a, types::I32X4);
        let high = self.map1(words, types::I32X4, |f, x| f.ins().sshr_imm_u(x, 16));
        let high = self.cast(high, types::I64X2);
        let upper = self.splat(types::I64X2, 0xFFFF_FFFF_0000_0000);
        let high = self.map2(high, upper, |f, x, y| f.ins().band(x, y));
        let base = self.splat(types::I64X2, 442_721_857_769_029_238_784.0_f64.to_bits());
        let high = self.map2(high, base, |f, x, y| f.ins().iadd(x, y));
        // Low part: 48 bits over 2^52.
        let mask = self.splat(types::I64X2, 0x0000_FFFF_FFFF_FFFF);
        let low = self.map2(a, mask, |f, x, y| f.ins().band(x, y));
        let exponent = self.splat(types::I64X2, 4_503_599_627_370_496.0_f64.to_bits());
        let low = self.map2(low, exponent, |f, x, y| f.ins().bor(x, y));
        let both = self.splat(types::F64X2, 442_726_361_368_656_609_280.0_f64.to_bits());
        let (high, low) = (self.cast(high, types::F64X2), self.cast(low, types::F64X2));
        let high = self.map2(high, both, |f, x, y| f.ins().fsub(x, y));
        self.map2(high, low, |f, x, y| f.ins().fadd(x, y))
    }

    /// Unsigned 64-bit ints, likewise: the upper 32 bits over 2^84, the lower 32 over 2^52.
    fn u64_to_f64(&mut self, a: Vecs) -> Vecs {
        let high = self.map1(a, types::I64X2, |f, x| f.ins().ushr_imm_u(x, 32));
        let base = self.splat(types::I64X2, 19_342_813_113_834_066_795_298_816.0_f64.to_bits());
        let high = self.map2(high, base, |f, x, y| f.ins().bor(x, y));
        let mask = self.splat(types::I64X2, 0xFFFF_FFFF);
        let low = self.map2(a, mask, |f, x, y| f.ins().band(x, y));
        let exponent = self.splat(types::I64X2, 4_503_599_627_370_496.0_f64.to_bits());
        let low = self.map2(low, exponent, |f, x, y| f.ins().bor(x, y));
        let both = self.splat(types::F64X2, 19_342_813_118_337_666_422_669_312.0_f64.to_bits());
        let (high, low) = (self.cast(high, types::F64X2), self.cast(low, types::F64X2));
        let high = self.map2(high, both, |f, x, y| f.ins().fsub(x, y));
        self.map2(high, low, |f, x, y| f.ins().fadd(x, y))
    }

    fn promote(&mut self, a: Vecs) -> Vecs {
        let mut list = Vec::with_capacity(4);
        for v in a.list() {
            let upper = self.upper_half(*v, types::F32X4);
            list.push(self.e.b.ins().fvpromote_low(*v));
            list.push(self.e.b.ins().fvpromote_low(upper));
        }
        Vecs::of(&list, types::F64X2)
    }

    fn demote(&mut self, a: Vecs) -> Vecs {
        const BOTH: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23];
        let mut list = Vec::with_capacity(2);
        for pair in a.list().chunks_exact(2) {
            let (low, high) = (self.e.b.ins().fvdemote(pair[0]), self.e.b.ins().fvdemote(pair[1]));
            let bytes = self.cast(Vecs::of(&[low, high], types::F32X4), types::I8X16);
            let both = self.shuffle(bytes.v[0], bytes.v[1], BOTH);
            list.push(both);
        }
        self.cast(Vecs::of(&list, types::I8X16), types::F32X4)
    }
}
