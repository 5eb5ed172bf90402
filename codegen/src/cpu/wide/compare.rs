//! Comparisons in wide loops: the order of [`super::super::lane_compare`], with the means of AVX-512.
//!
//! There are unsigned comparisons and all six relations, so ints need one instruction. So do floats
//! against a constant: above a positive one the bits order as signed integers, below a negative one as
//! unsigned integers the other way round, and zeros of both signs are what has no bit but the sign.

use super::Unsupported;
use super::code::{BinOp, Bool, Id, Op as Wide, Pred, ShiftOp, Test};
use super::lower::Lower;
use super::ops::{EQUAL, SIGNED_LESS, sign_bit};
use crate::cpu::classify::{constant, power_of_two};
use crate::cpu::lane_compare::{remainder_bits, swapped};
use crate::cpu::lanes::literal_bits;
use crate::ir::{CmpOp, Lit, Op, Ty, ValueId};

/// Members of a set from which on a table of bits is shorter than comparisons.
const FEWEST_BITS: usize = 4;

fn pred(op: CmpOp) -> Pred {
    match op {
        CmpOp::Eq => Pred::Eq,
        CmpOp::Ne => Pred::Ne,
        CmpOp::Lt => Pred::Lt,
        CmpOp::Le => Pred::Le,
        CmpOp::Gt => Pred::Gt,
        CmpOp::Ge => Pred::Ge,
    }
}

impl Lower<'_, '_> {
    pub(super) fn compare(&mut self, op: CmpOp, x: ValueId, y: ValueId) -> Result<Bool, Unsupported> {
        let lp = self.lp;
        let ty = lp.value(x).ty;
        if ty == Ty::Bool {
            return self.compare_bools(op, x, y);
        }
        match (constant(lp, x), constant(lp, y)) {
            (_, Some(lit)) if !lit.is_null() => {
                if let Some(made) = self.remainder_test(op, x, lit)? {
                    return Ok(made);
                }
                let (a, width) = self.lanes(x)?;
                Ok(self.compare_literal(op, a, width, lit))
            }
            (Some(lit), _) if !lit.is_null() => {
                let (a, width) = self.lanes(y)?;
                Ok(self.compare_literal(swapped(op), a, width, lit))
            }
            (Some(_) | None, Some(_) | None) => {
                let ((a, width), (b, _)) = (self.lanes(x)?, self.lanes(y)?);
                Ok(self.compare_lanes(op, a, b, ty, width))
            }
        }
    }

    fn compare_bools(&mut self, op: CmpOp, x: ValueId, y: ValueId) -> Result<Bool, Unsupported> {
        let (a, b) = (self.boolean(x)?, self.boolean(y)?);
        let body = &mut self.body;
        let (not_a, not_b) = (body.not(a), body.not(b));
        Ok(match op {
            CmpOp::Eq | CmpOp::Ne => {
                let (p, q) = (body.and(a, not_b), body.and(b, not_a));
                let differ = body.or(p, q);
                if op == CmpOp::Ne { differ } else { body.not(differ) }
            }
            CmpOp::Lt => body.and(b, not_a),
            CmpOp::Gt => body.and(a, not_b),
            CmpOp::Le => body.or(b, not_a),
            CmpOp::Ge => body.or(a, not_b),
        })
    }

    fn compare_lanes(&mut self, op: CmpOp, a: Id, b: Id, ty: Ty, width: usize) -> Bool {
        if !ty.is_float() {
            let test = Test::Int { pred: pred(op), signed: ty.is_signed_int() };
            return self.body.test(test, width, a, b);
        }
        match op {
            CmpOp::Eq | CmpOp::Ne => {
                // Other bits, and not both zero.
                let other = self.body.test(EQUAL.negated(), width, a, b);
                let both = self.body.bin(BinOp::Or, width, a, b);
                let rest = self.body.splat(width, !sign_bit(width));
                let some = self.body.test(Test::Bits, width, both, rest);
                let differ = self.body.and(other, some);
                if op == CmpOp::Ne { differ } else { self.body.not(differ) }
            }
            CmpOp::Lt | CmpOp::Le | CmpOp::Gt | CmpOp::Ge => {
                let (a, b) = (self.order_key(a, width), self.order_key(b, width));
                self.body.test(Test::Int { pred: pred(op), signed: true }, width, a, b)
            }
        }
    }

    /// Signed integers that compare like floats: those below zero as their magnitude's negative, which
    /// takes -0.0 to 0.
    fn order_key(&mut self, a: Id, width: usize) -> Id {
        let (zero, sign) = (self.body.splat(8, 0), self.body.splat(width, sign_bit(width)));
        let negative = self.body.test(SIGNED_LESS, width, a, zero);
        let magnitude = self.body.bin(BinOp::Sub, width, sign, a);
        self.body.blend(negative, width, magnitude, a)
    }

    /// The keys that minima and maxima are kept in, as in [`crate::cpu::sink`]: these tell zeros apart.
    pub(super) fn extreme_key(&mut self, a: Id, ty: Ty, width: usize) -> Id {
        if ty.is_unsigned_int() {
            let sign = self.body.splat(width, sign_bit(width));
            return self.body.bin(BinOp::Xor, width, a, sign);
        }
        if !ty.is_float() {
            return a;
        }
        let last = (8 * width - 1) as u8;
        let signs = self.body.unary(Wide::Shift(ShiftOp::Arithmetic, last), width, a);
        let flip = self.body.unary(Wide::Shift(ShiftOp::Right, 1), width, signs);
        self.body.bin(BinOp::Xor, width, a, flip)
    }

    /// Lanes against a literal of their type that is not null.
    pub(super) fn compare_literal(&mut self, op: CmpOp, a: Id, width: usize, lit: &Lit) -> Bool {
        let bits = literal_bits(lit);
        if !lit.ty().is_float() {
            let value = self.body.splat(width, bits);
            let test = Test::Int { pred: pred(op), signed: lit.ty().is_signed_int() };
            return self.body.test(test, width, a, value);
        }
        let sign = sign_bit(width);
        let rest = self.body.splat(width, !sign);
        let (op, bits, signed) = match (op, bits & !sign == 0, bits & sign == 0) {
            (CmpOp::Eq, true, _) => return self.body.test(Test::NoBits, width, a, rest),
            (CmpOp::Ne, true, _) => return self.body.test(Test::Bits, width, a, rest),
            (CmpOp::Gt | CmpOp::Le, true, _) => (op, 0, true),
            (CmpOp::Lt | CmpOp::Ge, true, _) => (swapped(op), sign, false),
            (CmpOp::Eq | CmpOp::Ne, false, _) | (_, false, true) => (op, bits, true),
            (_, false, false) => (swapped(op), bits, false),
        };
        let value = self.body.splat(width, bits);
        self.body.test(Test::Int { pred: pred(op), signed }, width, a, value)
    }

    /// `x % 2^p == c` in two instructions: the remainder is decided by the sign and the low bits.
    fn remainder_test(&mut self, op: CmpOp, x: ValueId, lit: &Lit) -> Result<Option<Bool>, Unsupported> {
        let inst = self.lp.value(x);
        if inst.op != Op::Rem || !matches!(op, CmpOp::Eq | CmpOp::Ne) || !inst.ty.is_int() {
            return Ok(None);
        }
        let (Some(power), Some(c)) = (power_of_two(self.lp, inst.args[1]), lit.as_i128()) else {
            return Ok(None);
        };
        // The dividend is at hand only where the remainder was computed in this very loop.
        if c.abs() >= 1i128 << power || !self.is_known(inst.args[0]) {
            return Ok(None);
        }
        let (a, width) = self.lanes(inst.args[0])?;
        let (mask, wanted) = remainder_bits(inst.ty, power, c);
        let mask = self.body.splat(width, mask);
        let same = if wanted == 0 {
            self.body.test(Test::NoBits, width, a, mask)
        } else {
            let rest = self.body.bin(BinOp::And, width, a, mask);
            let wanted = self.body.splat(width, wanted);
            self.body.test(EQUAL, width, rest, wanted)
        };
        Ok(Some(if op == CmpOp::Eq { same } else { self.body.not(same) }))
    }

    /// IS DISTINCT FROM.
    pub(super) fn distinct(&mut self, x: ValueId, y: ValueId) -> Result<Bool, Unsupported> {
        let (a, b) = (self.value(x)?, self.value(y)?);
        let null = |v| constant(self.lp, v).is_some_and(Lit::is_null);
        let differ = if null(x) || null(y) {
            // Validity alone decides.
            Bool::All(false)
        } else {
            self.compare(CmpOp::Ne, x, y)?
        };
        let body = &mut self.body;
        let (av, bv) = (a.valid.unwrap_or(Bool::All(true)), b.valid.unwrap_or(Bool::All(true)));
        let (not_a, not_b) = (body.not(av), body.not(bv));
        let both = body.and(av, bv);
        let differ = body.and(both, differ);
        let (p, q) = (body.and(av, not_b), body.and(bv, not_a));
        let one_null = body.or(p, q);
        Ok(body.or(differ, one_null))
    }

    pub(super) fn in_set(&mut self, x: ValueId, set: &[Lit]) -> Result<Bool, Unsupported> {
        if self.lp.value(x).ty == Ty::Bool {
            let value = self.boolean(x)?;
            let not = self.body.not(value);
            let mut found = Bool::All(false);
            for lit in set {
                let this = if *lit == Lit::Bool(true) { value } else { not };
                found = self.body.or(found, this);
            }
            return Ok(found);
        }
        let (a, width) = self.lanes(x)?;
        if let Some(found) = self.in_bit_set(a, width, set) {
            return Ok(found);
        }
        if width < 8 && set.len() > 2 {
            return Ok(self.in_long_set(a, width, set));
        }
        // What differs from all of them is not in the set: joined by AND, each comparison masks the next.
        let mut outside = Bool::All(true);
        for lit in set {
            let differs = self.compare_literal(CmpOp::Ne, a, width, lit);
            outside = self.body.and(outside, differs);
        }
        Ok(self.body.not(outside))
    }

    /// A set of integers that lie close together is a table of bits in one register: a bit for each value
    /// from the least on, `64 * width` of them.
    fn in_bit_set(&mut self, a: Id, width: usize, set: &[Lit]) -> Option<Bool> {
        if width == 1 || set.len() < FEWEST_BITS || set.iter().any(|lit| lit.ty().is_float()) {
            return None;
        }
        let values: Option<Vec<i128>> = set.iter().map(Lit::as_i128).collect();
        let values = values?;
        let (least, most) = (*values.iter().min()?, *values.iter().max()?);
        let size = 64 * width as i128;
        // From 0 on nothing need be subtracted.
        let first = if least >= 0 && most < size { 0 } else { least };
        if most - first >= size {
            return None;
        }
        let mut words = [0u64; 8];
        for value in values {
            let bit = (value - first) as usize;
            words[bit / 64] |= 1 << (bit % 64);
        }
        let bits = 8 * width as u64;
        let body = &mut self.body;
        let place = if first == 0 {
            a
        } else {
            let first = body.splat(width, first as u64);
            body.bin(BinOp::Sub, width, a, first)
        };
        let limit = body.splat(width, size as u64);
        let near = body.test(Test::Int { pred: Pred::Lt, signed: false }, width, place, limit);
        let word = body.unary(Wide::Shift(ShiftOp::Right, bits.ilog2() as u8), width, place);
        let table = body.table(words);
        let word = body.bin(BinOp::Permute, width, word, table);
        let within = body.splat(width, bits - 1);
        let bit = body.bin(BinOp::And, width, place, within);
        let shifted = body.bin(BinOp::ShiftRight, width, word, bit);
        let one = body.splat(width, 1);
        let found = body.test(Test::Bits, width, shifted, one);
        Some(body.and(near, found))
    }

    /// Whether the least of what differs is nothing: fewer comparisons, which go to one port or two, for
    /// more arithmetic, which goes to all. Not for 64-bit lanes, whose minima are dear on some processors.
    fn in_long_set(&mut self, a: Id, width: usize, set: &[Lit]) -> Bool {
        let rest = self.body.splat(width, !sign_bit(width));
        let mut least: Option<Id> = None;
        for lit in set {
            let bits = literal_bits(lit);
            let differs = if lit.ty().is_float() && bits & !sign_bit(width) == 0 {
                self.body.bin(BinOp::And, width, a, rest)
            } else {
                let value = self.body.splat(width, bits);
                self.body.bin(BinOp::Xor, width, a, value)
            };
            least = Some(match least {
                Some(before) => self.body.bin(BinOp::MinUnsigned, width, before, differs),
                None => differs,
            });
        }
        match least {
            Some(least) => self.body.test(Test::NoBits, width, least, least),
            None => Bool::All(false),
        }
    }
}
