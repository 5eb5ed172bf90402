//! Comparisons in lanes.
//!
//! Everything becomes signed integer compares. Floats compare by total order after -0.0 became 0.0:
//! with bits read as a signed integer, that order is the integers' own for non-negative numbers and the
//! reverse for negative ones, so `k ^ ((k >> 63) >>> 1)` makes keys that compare as signed integers.
//! Against a constant other than zero the reversal is known beforehand and the bits themselves do.

use super::CompileError;
use super::bools::BoolId;
use super::classify::{constant, power_of_two};
use super::lanes::{Lanes, Vecs, int_lanes, literal_bits};
use crate::ir::{CmpOp, Lit, Op, Ty, ValueId};
use cranelift::prelude::*;

pub(super) fn swapped(op: CmpOp) -> CmpOp {
    match op {
        CmpOp::Eq => CmpOp::Eq,
        CmpOp::Ne => CmpOp::Ne,
        CmpOp::Lt => CmpOp::Gt,
        CmpOp::Le => CmpOp::Ge,
        CmpOp::Gt => CmpOp::Lt,
        CmpOp::Ge => CmpOp::Le,
    }
}

/// Which bits of x decide whether `x % 2^power == c`, and what they must be: a remainder of zero may have
/// either sign; others have the dividend's. `c` is one that a remainder can be.
pub(super) fn remainder_bits(ty: Ty, power: u32, c: i128) -> (u64, u64) {
    let low = ((1i128 << power) - 1) as u64;
    let sign = 1u64 << (8 * ty.width().unwrap_or(8) - 1);
    if ty.is_unsigned_int() || c == 0 {
        (low, c as u64 & low)
    } else if c > 0 {
        (low | sign, c as u64)
    } else {
        (low | sign, sign | (c as u64 & low))
    }
}

impl Lanes<'_, '_, '_> {
    pub(super) fn compare(&mut self, op: CmpOp, x: ValueId, y: ValueId) -> Result<BoolId, CompileError> {
        let lp = self.e.lp;
        let ty = lp.value(x).ty;
        if ty == Ty::Bool {
            return self.compare_bools(op, x, y);
        }
        match (constant(lp, x), constant(lp, y)) {
            (_, Some(lit)) if !lit.is_null() => {
                let lit = lit.clone();
                if let Some(made) = self.remainder_test(op, x, &lit)? {
                    return Ok(made);
                }
                self.compare_const(op, x, &lit)
            }
            (Some(lit), _) if !lit.is_null() => {
                let lit = lit.clone();
                self.compare_const(swapped(op), y, &lit)
            }
            (Some(_) | None, Some(_) | None) => {
                let (a, b) = (self.int_vecs(x)?, self.int_vecs(y)?);
                Ok(self.compare_vecs(op, a, b, ty))
            }
        }
    }

    fn compare_bools(&mut self, op: CmpOp, x: ValueId, y: ValueId) -> Result<BoolId, CompileError> {
        let (a, b) = (self.boolean(x)?, self.boolean(y)?);
        let bools = &mut self.bools;
        let (not_a, not_b) = (bools.not(a), bools.not(b));
        Ok(match op {
            CmpOp::Eq | CmpOp::Ne => {
                let (p, q) = (bools.and(a, not_b), bools.and(b, not_a));
                let differ = bools.or(p, q);
                if op == CmpOp::Ne { differ } else { bools.not(differ) }
            }
            CmpOp::Lt => bools.and(b, not_a),
            CmpOp::Gt => bools.and(a, not_b),
            CmpOp::Le => bools.or(b, not_a),
            CmpOp::Ge => bools.or(a, not_b),
        })
    }

    /// Two integer vectors of a value's bits.
    fn compare_vecs(&mut self, op: CmpOp, a: Vecs, b: Vecs, ty: Ty) -> BoolId {
        match op {
            CmpOp::Eq | CmpOp::Ne => {
                let (a, b) = if ty.is_float() {
                    (self.without_negative_zero(a), self.without_negative_zero(b))
                } else {
                    (a, b)
                };
                let same = self.icmp(IntCC::Equal, a, b);
                if op == CmpOp::Eq { same } else { self.bools.not(same) }
            }
            CmpOp::Lt | CmpOp::Ge => {
                let less = self.less(a, b, ty);
                if op == CmpOp::Lt { less } else { self.bools.not(less) }
            }
            CmpOp::Gt | CmpOp::Le => {
                let more = self.less(b, a, ty);
                if op == CmpOp::Gt { more } else { self.bools.not(more) }
            }
        }
    }

    /// `a < b` by the order of the type.
    pub(super) fn less(&mut self, a: Vecs, b: Vecs, ty: Ty) -> BoolId {
        let (a, b) = (self.order_keys(a, ty, true), self.order_keys(b, ty, true));
        self.icmp(IntCC::SignedLessThan, a, b)
    }

    /// Integers that compare, as signed ones, like the values; with `equal_zeros` both zeros get one.
    pub(super) fn order_keys(&mut self, a: Vecs, ty: Ty, equal_zeros: bool) -> Vecs {
        let width = i64::from(a.ty.lane_bits());
        let sign = self.splat(a.ty, 1u64 << (width - 1));
        if ty.is_unsigned_int() {
            return self.map2(a, sign, |f, x, y| f.ins().bxor(x, y));
        }
        if !ty.is_float() {
            return a;
        }
        let a = if equal_zeros { self.without_negative_zero(a) } else { a };
        let zero = self.splat(a.ty, 0);
        let negative = self.map2(a, zero, |f, x, y| f.ins().icmp(IntCC::SignedLessThan, x, y));
        let flip = self.map1(negative, a.ty, |f, x| f.ins().ushr_imm_u(x, 1));
        self.map2(a, flip, |f, x, y| f.ins().bxor(x, y))
    }

    /// The bits of floats, with -0.0 replaced by 0.0 (an addition would do, but would also quiet NaNs).
    fn without_negative_zero(&mut self, a: Vecs) -> Vecs {
        let negative_zero = self.splat(a.ty, 1u64 << (a.ty.lane_bits() - 1));
        let found = self.map2(a, negative_zero, |f, x, y| f.ins().icmp(IntCC::Equal, x, y));
        self.map2(a, found, |f, x, y| f.ins().band_not(x, y))
    }

    fn compare_const(&mut self, op: CmpOp, x: ValueId, lit: &Lit) -> Result<BoolId, CompileError> {
        let a = self.int_vecs(x)?;
        Ok(self.compare_literal(op, a, lit))
    }

    /// A value's bits in integer lanes against a literal of its type.
    pub(super) fn compare_literal(&mut self, op: CmpOp, a: Vecs, lit: &Lit) -> BoolId {
        let ty = lit.ty();
        if ty.is_float() {
            return self.compare_float_const(op, a, literal_bits(lit));
        }
        let value = lit.as_i128().unwrap_or(0);
        let (low, high) = crate::ir::op::int_range(ty).unwrap_or((0, 0));
        // Only < and > are single instructions; the neighbours of the constant turn the others into
        // them, except at the ends of the range, where the answer is known.
        let (op, value) = match op {
            CmpOp::Le if value == high => return self.bools.constant(true),
            CmpOp::Ge if value == low => return self.bools.constant(true),
            CmpOp::Le => (CmpOp::Lt, value + 1),
            CmpOp::Ge => (CmpOp::Gt, value - 1),
            CmpOp::Eq | CmpOp::Ne | CmpOp::Lt | CmpOp::Gt => (op, value),
        };
        let flip = 1u64 << (a.ty.lane_bits() - 1);
        let ordered = !matches!(op, CmpOp::Eq | CmpOp::Ne);
        let (a, bits) = if ordered && ty.is_unsigned_int() {
            (self.order_keys(a, ty, true), value as u64 ^ flip)
        } else {
            (a, value as u64)
        };
        let b = self.splat(a.ty, bits);
        self.signed(op, a, b)
    }

    fn signed(&mut self, op: CmpOp, a: Vecs, b: Vecs) -> BoolId {
        match op {
            CmpOp::Eq => self.icmp(IntCC::Equal, a, b),
            CmpOp::Ne => {
                let same = self.icmp(IntCC::Equal, a, b);
                self.bools.not(same)
            }
            CmpOp::Lt => self.icmp(IntCC::SignedLessThan, a, b),
            CmpOp::Gt => self.icmp(IntCC::SignedGreaterThan, a, b),
            CmpOp::Le => {
                let more = self.icmp(IntCC::SignedGreaterThan, a, b);
                self.bools.not(more)
            }
            CmpOp::Ge => {
                let less = self.icmp(IntCC::SignedLessThan, a, b);
                self.bools.not(less)
            }
        }
    }

    /// Bits of floats against a constant's bits.
    fn compare_float_const(&mut self, op: CmpOp, a: Vecs, bits: u64) -> BoolId {
        let sign = 1u64 << (a.ty.lane_bits() - 1);
        if bits & !sign == 0 {
            return self.compare_with_zero(op, a);
        }
        if bits & sign == 0 || matches!(op, CmpOp::Eq | CmpOp::Ne) {
            // Negative numbers, whatever their order, are below a positive one.
            let b = self.splat(a.ty, bits);
            return self.signed(op, a, b);
        }
        // Below a negative constant lie the negative numbers with greater bits, as unsigned ones.
        let flip = self.splat(a.ty, sign);
        let flipped = self.map2(a, flip, |f, x, y| f.ins().bxor(x, y));
        let b = self.splat(a.ty, bits ^ sign);
        self.signed(swapped(op), flipped, b)
    }

    /// Bits of floats against zero of either sign.
    fn compare_with_zero(&mut self, op: CmpOp, a: Vecs) -> BoolId {
        let zero = self.splat(a.ty, 0);
        match op {
            CmpOp::Gt => self.icmp(IntCC::SignedGreaterThan, a, zero),
            CmpOp::Le => {
                let more = self.icmp(IntCC::SignedGreaterThan, a, zero);
                self.bools.not(more)
            }
            CmpOp::Eq | CmpOp::Ne => {
                // Doubling shifts the sign out.
                let twice = self.map2(a, a, |f, x, y| f.ins().iadd(x, y));
                self.signed(op, twice, zero)
            }
            CmpOp::Lt | CmpOp::Ge => {
                // Flipped, negative numbers are positive and -0.0 is zero.
                let sign = self.splat(a.ty, 1u64 << (a.ty.lane_bits() - 1));
                let flipped = self.map2(a, sign, |f, x, y| f.ins().bxor(x, y));
                let less = self.icmp(IntCC::SignedGreaterThan, flipped, zero);
                if op == CmpOp::Lt { less } else { self.bools.not(less) }
            }
        }
    }

    /// `x % 2^p == c` in two instructions: the remainder is decided by the sign and the low bits.
    fn remainder_test(&mut self, op: CmpOp, x: ValueId, lit: &Lit) -> Result<Option<BoolId>, CompileError> {
        let lp = self.e.lp;
        let inst = lp.value(x);
        if inst.op != Op::Rem || !matches!(op, CmpOp::Eq | CmpOp::Ne) || !inst.ty.is_int() {
            return Ok(None);
        }
        let (Some(power), Some(c)) = (power_of_two(lp, inst.args[1]), lit.as_i128()) else {
            return Ok(None);
        };
        let modulus = 1i128 << power;
        // The dividend is at hand only where the remainder was computed in this very loop.
        if c.abs() >= modulus || !self.is_known(inst.args[0]) {
            return Ok(None);
        }
        let a = self.int_vecs(inst.args[0])?;
        let (mask, wanted) = remainder_bits(inst.ty, power, c);
        let narrow = a.ty == types::I64X2 && power < 16;
        let mask = self.splat(a.ty, mask);
        let rest = self.map2(a, mask, |f, x, y| f.ins().band(x, y));
        let same = if narrow {
            self.bools.equal(rest, wanted)
        } else {
            let wanted = self.splat(a.ty, wanted);
            self.icmp(IntCC::Equal, rest, wanted)
        };
        Ok(Some(if op == CmpOp::Eq { same } else { self.bools.not(same) }))
    }

    /// IS DISTINCT FROM.
    pub(super) fn distinct(&mut self, x: ValueId, y: ValueId) -> Result<BoolId, CompileError> {
        let (a, b) = (self.value(x)?, self.value(y)?);
        let null = |lp: &crate::ir::Loop, v| constant(lp, v).is_some_and(Lit::is_null);
        let differ = if null(self.e.lp, x) || null(self.e.lp, y) {
            // Validity alone decides.
            self.bools.constant(false)
        } else {
            self.compare(CmpOp::Ne, x, y)?
        };
        let (Some(av), Some(bv)) = (a.valid, b.valid) else {
            return Ok(match a.valid.or(b.valid) {
                None => differ,
                Some(valid) => {
                    let null = self.bools.not(valid);
                    self.bools.or(null, differ)
                }
            });
        };
        let bools = &mut self.bools;
        let (not_a, not_b) = (bools.not(av), bools.not(bv));
        let both = bools.and(av, bv);
        let differ = bools.and(both, differ);
        let (p, q) = (bools.and(av, not_b), bools.and(bv, not_a));
        let one_null = bools.or(p, q);
        Ok(bools.or(differ, one_null))
    }

    pub(super) fn in_set(&mut self, x: ValueId, set: &[Lit]) -> Result<BoolId, CompileError> {
        let mut found = self.bools.constant(false);
        if self.e.lp.value(x).ty == Ty::Bool {
            let value = self.boolean(x)?;
            let not = self.bools.not(value);
            for lit in set {
                let this = if *lit == Lit::Bool(true) { value } else { not };
                found = self.bools.or(found, this);
            }
            return Ok(found);
        }
        let a = self.int_vecs(x)?;
        let float = self.e.lp.value(x).ty.is_float();
        let sign = 1u64 << (a.ty.lane_bits() - 1);
        // Masks are combined at once rather than as a chain of nodes.
        let mut masks: Option<Vecs> = None;
        for lit in set {
            let bits = literal_bits(lit);
            let (a, wanted) = if float && bits & !sign == 0 {
                (self.map2(a, a, |f, x, y| f.ins().iadd(x, y)), 0)
            } else {
                (a, bits)
            };
            let wanted = self.splat(a.ty, wanted);
            let same = self.map2(a, wanted, |f, x, y| f.ins().icmp(IntCC::Equal, x, y));
            masks = Some(match masks {
                None => same,
                Some(before) => self.map2(before, same, |f, x, y| f.ins().bor(x, y)),
            });
        }
        debug_assert_eq!(a.ty, int_lanes(a.ty));
        if let Some(masks) = masks {
            found = self.bools.masks(masks);
        }
        Ok(found)
    }
}
