//! Ints in lanes: wrapped operations with a test of the operands beside them, none where ranges say that nothing wraps.

use super::paths::Path;
use super::{Inliner, Made, refused};
use crate::function::Compare;
use crate::ir::op::{OnFail, Overflow};
use crate::ir::{CmpOp, Lit, Op, Ty, ValueId};

/// Ints up to this size are floats.
const EXACT: i64 = 1 << 53;
/// Products whose float is below this fit an int, whatever the roundings.
const SAFE_PRODUCT: f64 = 9.2e18;

impl Inliner<'_, '_> {
    /// What is known of an int.
    pub(super) fn range(&self, a: ValueId) -> (i64, i64) {
        self.ranges.get(&a).copied().unwrap_or((i64::MIN, i64::MAX))
    }

    /// The int, if it is a constant.
    pub(super) fn int_constant(&self, a: ValueId) -> Option<i64> {
        match &self.b.value(a).op {
            Op::Const(Lit::I64(i)) => Some(*i),
            _other => None,
        }
    }

    pub(super) fn compare_int(&mut self, op: CmpOp, a: ValueId, bound: i64) -> Made<ValueId> {
        let (low, high) = self.range(a);
        let known = match op {
            CmpOp::Gt if high <= bound => Some(false),
            CmpOp::Lt if low >= bound => Some(false),
            CmpOp::Eq if high < bound || low > bound => Some(false),
            CmpOp::Gt | CmpOp::Lt | CmpOp::Eq | CmpOp::Ne | CmpOp::Le | CmpOp::Ge => None,
        };
        match known {
            Some(b) => Ok(self.lit(Lit::Bool(b))),
            None => {
                let bound = self.int(bound);
                self.inst(Op::Cmp(op), &[a, bound])
            }
        }
    }

    /// Rows bail where the int is beyond a bound, on either side.
    pub(super) fn bail_outside(&mut self, a: ValueId, low: i64, high: i64, path: &Path) -> Made<()> {
        if low > i64::MIN {
            let below = self.compare_int(CmpOp::Lt, a, low)?;
            self.bail_if(below, path)?;
        }
        if high < i64::MAX {
            let above = self.compare_int(CmpOp::Gt, a, high)?;
            self.bail_if(above, path)?;
        }
        Ok(())
    }

    /// An instruction with the range of its result, if all possible results fit.
    fn ranged(&mut self, op: Op, args: &[ValueId], results: &[i128]) -> Made<(ValueId, bool)> {
        let made = self.inst(op, args)?;
        let low = results.iter().min().and_then(|r| i64::try_from(*r).ok());
        let high = results.iter().max().and_then(|r| i64::try_from(*r).ok());
        match (low, high) {
            (Some(low), Some(high)) => {
                self.ranges.insert(made, (low, high));
                Ok((made, true))
            }
            (Some(_) | None, Some(_) | None) => Ok((made, false)),
        }
    }

    fn wide(&self, a: ValueId) -> (i128, i128) {
        let (low, high) = self.range(a);
        (low.into(), high.into())
    }

    pub(super) fn add(&mut self, a: ValueId, b: ValueId, path: &Path) -> Made<ValueId> {
        let (x, y) = (self.wide(a), self.wide(b));
        let (sum, fits) = self.ranged(Op::Add(Overflow::Wrap), &[a, b], &[x.0 + y.0, x.1 + y.1])?;
        if fits {
            return Ok(sum);
        }
        for (a, b) in [(a, b), (b, a)] {
            if let Some(c) = self.int_constant(b) {
                let (low, high) = (i64::MIN.saturating_sub(c.min(0)), i64::MAX.saturating_sub(c.max(0)));
                self.bail_outside(a, low, high, path)?;
                return Ok(sum);
            }
        }
        // Both operands' signs differ from the sum's.
        let p = self.inst(Op::BitXor, &[a, sum])?;
        let q = self.inst(Op::BitXor, &[b, sum])?;
        self.bail_if_negative(p, q, path)?;
        Ok(sum)
    }

    pub(super) fn sub(&mut self, a: ValueId, b: ValueId, path: &Path) -> Made<ValueId> {
        let (x, y) = (self.wide(a), self.wide(b));
        let (difference, fits) = self.ranged(Op::Sub(Overflow::Wrap), &[a, b], &[x.0 - y.1, x.1 - y.0])?;
        if fits {
            return Ok(difference);
        }
        if let Some(c) = self.int_constant(b) {
            let (low, high) = (i64::MIN.saturating_add(c.max(0)), i64::MAX.saturating_add(c.min(0)));
            self.bail_outside(a, low, high, path)?;
            return Ok(difference);
        }
        // The operands' signs differ, and the first one's from the difference's.
        let p = self.inst(Op::BitXor, &[a, b])?;
        let q = self.inst(Op::BitXor, &[a, difference])?;
        self.bail_if_negative(p, q, path)?;
        Ok(difference)
    }

    fn bail_if_negative(&mut self, p: ValueId, q: ValueId, path: &Path) -> Made<()> {
        let both = self.inst(Op::BitAnd, &[p, q])?;
        let zero = self.int(0);
        let bad = self.inst(Op::Cmp(CmpOp::Lt), &[both, zero])?;
        self.bail_if(bad, path)
    }

    pub(super) fn mul(&mut self, a: ValueId, b: ValueId, path: &Path) -> Made<ValueId> {
        let (x, y) = (self.wide(a), self.wide(b));
        let corners = [x.0 * y.0, x.0 * y.1, x.1 * y.0, x.1 * y.1];
        let (product, fits) = self.ranged(Op::Mul(Overflow::Wrap), &[a, b], &corners)?;
        if fits {
            return Ok(product);
        }
        for (a, b) in [(a, b), (b, a)] {
            if let Some(c) = self.int_constant(b) {
                // Between these the product fits; 0 and 1 fit always, and -1 but for the least.
                let (low, high) = match c {
                    -1 => (i64::MIN + 1, i64::MAX),
                    c if c < 0 => (i64::MAX / c, i64::MIN / c),
                    c => (i64::MIN / c.max(1), i64::MAX / c.max(1)),
                };
                self.bail_outside(a, low, high, path)?;
                return Ok(product);
            }
        }
        let (p, q) = (self.int_to_float(a)?, self.int_to_float(b)?);
        let about = self.inst(Op::Mul(Overflow::Wrap), &[p, q])?;
        let size = self.inst(Op::Abs(Overflow::Wrap), &[about])?;
        let most = self.float(SAFE_PRODUCT);
        let bad = self.inst(Op::Cmp(CmpOp::Gt), &[size, most])?;
        self.bail_if(bad, path)?;
        Ok(product)
    }

    /// `-a` or `abs(a)`.
    pub(super) fn neg_or_abs(&mut self, abs: bool, a: ValueId, path: &Path) -> Made<ValueId> {
        let least = self.compare_int(CmpOp::Eq, a, i64::MIN)?;
        self.bail_if(least, path)?;
        let (low, high) = self.wide(a);
        let op = if abs { Op::Abs(Overflow::Wrap) } else { Op::Neg(Overflow::Wrap) };
        let results = match abs {
            true if low <= 0 && high >= 0 => vec![0, -low, high],
            true => vec![low.abs(), high.abs()],
            false => vec![-high, -low],
        };
        Ok(self.ranged(op, &[a], &results)?.0)
    }

    pub(super) fn int_to_float(&mut self, a: ValueId) -> Made<ValueId> {
        let made = self.inst(Op::Cast(Ty::F64, OnFail::Err), &[a])?;
        self.numbers.insert(made);
        Ok(made)
    }

    /// `a / b` of ints that floats hold.
    pub(super) fn true_div_ints(&mut self, a: ValueId, b: ValueId, path: &Path) -> Made<ValueId> {
        let by_zero = self.compare_int(CmpOp::Eq, b, 0)?;
        self.bail_if(by_zero, path)?;
        self.bail_outside(a, -EXACT, EXACT, path)?;
        self.bail_outside(b, -EXACT, EXACT, path)?;
        let (a, b) = (self.int_to_float(a)?, self.int_to_float(b)?);
        self.inst(Op::Div, &[a, b])
    }

    /// `a // b` or `a % b`.
    pub(super) fn floor_div_ints(
        &mut self,
        a: ValueId,
        b: ValueId,
        modulo: bool,
        path: &Path,
    ) -> Made<ValueId> {
        let constant = self.int_constant(b);
        if let Some(c) = constant
            && c > 0
            && c & (c - 1) == 0
        {
            // Shifts and masks round down.
            let (low, high) = self.wide(a);
            let k = c.trailing_zeros();
            return Ok(if modulo {
                let mask = self.int(c - 1);
                self.ranged(Op::BitAnd, &[a, mask], &[0, i128::from(c) - 1])?.0
            } else {
                let k_value = self.int(i64::from(k));
                self.ranged(Op::Shr, &[a, k_value], &[low >> k, high >> k])?.0
            });
        }
        let one = self.int(1);
        let divisor = match constant {
            Some(0) => {
                self.bail_on(path)?;
                one
            }
            Some(-1) => {
                self.bail_outside(a, i64::MIN + 1, i64::MAX, path)?;
                return if modulo { Ok(self.int(0)) } else { self.neg_or_abs(false, a, path) };
            }
            Some(_) => b,
            None => {
                // Compared whatever the ranges say: a row that bails has any value, and must not fail.
                let [zero, minus_one, least] = [0, -1, i64::MIN].map(|c| self.int(c));
                let by_zero = self.inst(Op::Cmp(CmpOp::Eq), &[b, zero])?;
                let by_minus_one = self.inst(Op::Cmp(CmpOp::Eq), &[b, minus_one])?;
                let of_least = self.inst(Op::Cmp(CmpOp::Eq), &[a, least])?;
                let overflow = self.and(by_minus_one, of_least)?;
                let harmful = self.or(by_zero, overflow)?;
                self.bail_if(by_zero, path)?;
                self.bail_if(overflow, path)?;
                self.inst(Op::Select, &[harmful, one, b])?
            }
        };
        let quotient = self.inst(Op::Div, &[a, divisor])?;
        let product = self.inst(Op::Mul(Overflow::Wrap), &[quotient, divisor])?;
        let rest = self.inst(Op::Sub(Overflow::Wrap), &[a, product])?;
        let differ = self.inst(Op::BitXor, &[rest, divisor])?;
        let zero = self.int(0);
        let other_sign = self.inst(Op::Cmp(CmpOp::Lt), &[differ, zero])?;
        let some = self.inst(Op::Cmp(CmpOp::Ne), &[rest, zero])?;
        let adjust = self.and(other_sign, some)?;
        let adjusted = if modulo {
            self.inst(Op::Add(Overflow::Wrap), &[rest, divisor])?
        } else {
            self.inst(Op::Sub(Overflow::Wrap), &[quotient, one])?
        };
        let made = self.inst(Op::Select, &[adjust, adjusted, if modulo { rest } else { quotient }])?;
        if let Some(c) = constant
            && c != 0
        {
            let (low, high) = self.range(a);
            let range = match (modulo, c > 0) {
                (true, true) => (0, c - 1),
                (true, false) => (c + 1, 0),
                (false, true) => (low.div_euclid(c), high.div_euclid(c)),
                (false, false) => (i64::MIN, i64::MAX),
            };
            self.ranges.insert(made, range);
        }
        Ok(made)
    }

    /// `a ** n` for a small constant.
    pub(super) fn pow_ints(&mut self, a: ValueId, n: ValueId, path: &Path) -> Made<ValueId> {
        match self.int_constant(n) {
            Some(0) => Ok(self.int(1)),
            Some(n @ 1..=8) => {
                let mut power = a;
                for _more in 1..n {
                    power = self.mul(power, a, path)?;
                }
                Ok(power)
            }
            Some(_) | None => refused("a power whose exponent is no small constant"),
        }
    }

    pub(super) fn shift(&mut self, left: bool, a: ValueId, n: ValueId, path: &Path) -> Made<ValueId> {
        let Some(count) = self.int_constant(n) else { return refused("a shift by a variable") };
        if count < 0 {
            self.bail_on(path)?;
            return Ok(a);
        }
        if !left {
            let count = count.min(63);
            let (low, high) = self.wide(a);
            let count_value = self.int(count);
            return Ok(self.ranged(Op::Shr, &[a, count_value], &[low >> count, high >> count])?.0);
        }
        if count > 62 {
            return refused("a shift by very much");
        }
        self.bail_outside(a, i64::MIN >> count, i64::MAX >> count, path)?;
        self.inst(Op::Shl, &[a, n])
    }

    /// An int compared with a float.
    pub(super) fn compare_int_float(
        &mut self,
        compare: Compare,
        a: ValueId,
        b: ValueId,
        path: &Path,
    ) -> Made<ValueId> {
        self.bail_outside(a, -EXACT, EXACT, path)?;
        let a = self.int_to_float(a)?;
        self.compare_floats(compare, a, b)
    }
}
