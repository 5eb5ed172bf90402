//! A lower and an upper bound of one value, joined by AND, as one comparison.
//!
//! Signed 64-bit compares run on one port of current processors, once per cycle and two rows, and are
//! what loops over filters wait for. `lo <= x AND x <= hi` needs one of them instead of two: less `lo`,
//! the numbers of the range are those not above `hi - lo` as unsigned numbers, and these compare as
//! signed ones after the sign is flipped (which the same subtraction does).
//!
//! Ints of any width, and floats against bounds above zero: there the bits are ordered as unsigned
//! integers, and whatever has its sign bit set (numbers below zero, -0.0, negative NaNs) lies above all
//! bounds, as do positive NaNs, so none of them is in the range.

use super::CompileError;
use super::bools::BoolId;
use super::classify::constant;
use super::lanes::{Lanes, literal_bits};
use crate::ir::{CmpOp, Inst, Lit, Loop, Op, Ty, ValueId};
use cranelift::prelude::*;

/// Conjuncts looked at; longer conditions are not worth a search that is quadratic.
const MOST: usize = 16;

/// A bound that belongs to the range, as the number that the value's bits are.
struct Bound {
    of: ValueId,
    lower: bool,
    at: i128,
}

/// `of op constant` as a bound.
fn bound(lp: &Loop, id: ValueId) -> Option<Bound> {
    let inst = lp.value(id);
    let Op::Cmp(op) = inst.op else { return None };
    let (of, lit) = (inst.args[0], constant(lp, inst.args[1])?);
    let at = match lit.ty() {
        Ty::F32 | Ty::F64 => above_zero(lit)?,
        Ty::I128 => return None,
        _other => lit.as_i128()?,
    };
    let (lower, at) = match op {
        CmpOp::Ge => (true, at),
        CmpOp::Gt => (true, at + 1),
        CmpOp::Le => (false, at),
        CmpOp::Lt => (false, at - 1),
        CmpOp::Eq | CmpOp::Ne => return None,
    };
    Some(Bound { of, lower, at })
}

/// The bits of a float above zero that is a number.
fn above_zero(lit: &Lit) -> Option<i128> {
    let above = match lit {
        Lit::F32(v) => *v > 0.0,
        Lit::F64(v) => *v > 0.0,
        _other => false,
    };
    above.then(|| i128::from(literal_bits(lit)))
}

impl Lanes<'_, '_, '_> {
    /// What is joined by AND below these values, as far as nothing in it can be null. One that an earlier lane loop
    /// computed is taken as it is: its operands need not be in memory here.
    fn conjuncts(&self, args: &[ValueId], out: &mut Vec<ValueId>) {
        for id in args {
            let inst = self.e.lp.value(*id);
            let here = inst.args.iter().all(|a| self.is_known(*a));
            if inst.op == Op::And && !inst.nullable && here && out.len() < MOST {
                self.conjuncts(&inst.args, out);
            } else {
                out.push(*id);
            }
        }
    }

    /// The value of an AND in which nothing can be null, if some of its conjuncts can be joined.
    pub(super) fn join_bounds(&mut self, inst: &Inst) -> Result<Option<BoolId>, CompileError> {
        let lp = self.e.lp;
        let mut parts = Vec::new();
        self.conjuncts(&inst.args, &mut parts);
        if parts.len() > MOST {
            return Ok(None);
        }
        let bounds: Vec<Option<Bound>> = parts.iter().map(|p| bound(lp, *p)).collect();
        let mut partner: Vec<Option<usize>> = vec![None; parts.len()];
        for (i, low) in bounds.iter().enumerate() {
            let Some(low) = low.as_ref().filter(|b| b.lower && self.is_known(b.of)) else { continue };
            let fits = |j: &usize| {
                let high = bounds[*j].as_ref().filter(|b| !b.lower && b.of == low.of);
                partner[*j].is_none() && high.is_some()
            };
            if let Some(j) = (0..parts.len()).find(fits) {
                partner[i] = Some(j);
                partner[j] = Some(i);
            }
        }
        if partner.iter().all(Option::is_none) {
            return Ok(None);
        }
        let mut all = self.bools.constant(true);
        for (i, part) in parts.iter().enumerate() {
            let holds = match (partner[i], &bounds[i]) {
                (Some(j), Some(low)) if low.lower => {
                    let high = bounds[j].as_ref().map_or(low.at, |b| b.at);
                    self.range(low.of, low.at, high)?
                }
                // Its lower bound has said it.
                (Some(_), _) => continue,
                (None, _) => self.boolean(*part)?,
            };
            all = self.bools.and(all, holds);
        }
        Ok(Some(all))
    }

    /// Where `low <= x <= high`.
    fn range(&mut self, x: ValueId, low: i128, high: i128) -> Result<BoolId, CompileError> {
        if let Some(made) = self.ranges.get(&(x, low, high)) {
            return Ok(*made);
        }
        let a = self.int_vecs(x)?;
        let least = -(1i128 << (a.ty.lane_bits() - 1));
        let width = high - low;
        let made = if width < 0 {
            self.bools.constant(false)
        } else if width >= -2 * least - 1 {
            self.bools.constant(true)
        } else {
            let start = self.splat(a.ty, (low - least) as u64);
            let y = self.map2(a, start, |f, x, y| f.ins().isub(x, y));
            let end = self.splat(a.ty, (width + least + 1) as u64);
            self.icmp(IntCC::SignedGreaterThan, end, y)
        };
        self.ranges.insert((x, low, high), made);
        Ok(made)
    }
}
