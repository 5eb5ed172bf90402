//! Dates in lanes: days as 32-bit ints, datetimes as 64-bit microseconds.

use super::paths::Path;
use super::{Inliner, Made, refused};
use crate::function::{Base, DateField};
use crate::ir::op::{DatePart, OnFail, Overflow, TimeUnit};
use crate::ir::{CmpOp, Lit, Op, Ty, ValueId};
use fuseline_kernels::python::date;

/// Python's first and last date or moment, in the loop's unit.
fn bounds(base: Base) -> (i64, i64) {
    match base {
        Base::DateTime => (date::FIRST_DAY * date::DAY, (date::LAST_DAY + 1) * date::DAY - 1),
        Base::Date | Base::Bool | Base::Int | Base::Float | Base::Str => (date::FIRST_DAY, date::LAST_DAY),
    }
}

impl Inliner<'_, '_> {
    /// A column's dates that Python does not have bail.
    pub(super) fn check_date(&mut self, value: ValueId, base: Base, path: &Path) -> Made<()> {
        let (first, last) = bounds(base);
        for (op, bound) in [(CmpOp::Lt, first), (CmpOp::Gt, last)] {
            let lit = Lit::integer(self.b.ty(value), bound.into()).unwrap_or(Lit::I64(bound));
            let bound = self.lit(lit);
            let bad = self.inst(Op::Cmp(op), &[value, bound])?;
            let bad = self.sure(bad)?;
            self.bail_if(bad, path)?;
        }
        Ok(())
    }

    fn days(&mut self, value: ValueId) -> Made<ValueId> {
        let made = self.inst(Op::Cast(Ty::I64, OnFail::Err), &[value])?;
        self.ranges.insert(made, (date::FIRST_DAY, date::LAST_DAY));
        Ok(made)
    }

    fn moment(&mut self, value: ValueId) -> ValueId {
        self.ranges.entry(value).or_insert(bounds(Base::DateTime));
        value
    }

    /// An int of days as a date.
    fn date_of_days(&mut self, days: ValueId) -> Made<ValueId> {
        // What bails may be anything, but must not fail.
        let (low, high) = (self.int(date::FIRST_DAY), self.int(date::LAST_DAY));
        let below = self.inst(Op::Cmp(CmpOp::Lt), &[days, low])?;
        let above = self.inst(Op::Cmp(CmpOp::Gt), &[days, high])?;
        let outside = self.or(below, above)?;
        let days = self.inst(Op::Select, &[outside, low, days])?;
        self.inst(Op::Cast(Ty::I32, OnFail::Err), &[days])
    }

    pub(super) fn date_of(&mut self, micros: ValueId, path: &Path) -> Made<ValueId> {
        let (micros, day) = (self.moment(micros), self.int(date::DAY));
        let days = self.floor_div_ints(micros, day, false, path)?;
        self.date_of_days(days)
    }

    pub(super) fn datetime_of(&mut self, date_value: ValueId, path: &Path) -> Made<ValueId> {
        let (days, day) = (self.days(date_value)?, self.int(date::DAY));
        self.mul(days, day, path)
    }

    pub(super) fn date_diff(&mut self, base: Base, a: ValueId, b: ValueId, path: &Path) -> Made<ValueId> {
        let (a, b) = match base {
            Base::DateTime => (self.moment(a), self.moment(b)),
            Base::Date | Base::Bool | Base::Int | Base::Float | Base::Str => (self.days(a)?, self.days(b)?),
        };
        self.sub(a, b, path)
    }

    pub(super) fn date_add(&mut self, base: Base, a: ValueId, n: ValueId, path: &Path) -> Made<ValueId> {
        let (first, last) = bounds(base);
        let a = match base {
            Base::DateTime => self.moment(a),
            Base::Date | Base::Bool | Base::Int | Base::Float | Base::Str => self.days(a)?,
        };
        let sum = self.add(a, n, path)?;
        self.bail_outside(sum, first, last, path)?;
        if base == Base::DateTime { Ok(sum) } else { self.date_of_days(sum) }
    }

    pub(super) fn field(
        &mut self,
        field: DateField,
        base: Base,
        value: ValueId,
        path: &Path,
    ) -> Made<ValueId> {
        let unit = if base == Base::DateTime { TimeUnit::Micro } else { TimeUnit::Day };
        let (part, low, high) = match field {
            DateField::Year => (DatePart::Year, 1, 9999),
            DateField::Month => (DatePart::Month, 1, 12),
            DateField::Day => (DatePart::Day, 1, 31),
            DateField::Weekday | DateField::IsoWeekday => (DatePart::DayOfWeek, 0, 6),
            DateField::IsoWeek => (DatePart::Week, 1, 53),
            DateField::DayOfYear => (DatePart::DayOfYear, 1, 366),
            DateField::Hour => (DatePart::Hour, 0, 23),
            DateField::Minute => (DatePart::Minute, 0, 59),
            DateField::Second => (DatePart::Second, 0, 59),
            DateField::Microsecond => {
                let (micros, second) = (self.moment(value), self.int(1_000_000));
                return self.floor_div_ints(micros, second, true, path);
            }
            DateField::ToOrdinal => {
                let value = if base == Base::DateTime { self.date_of(value, path)? } else { value };
                let days = self.days(value)?;
                let first = self.int(1 - date::FIRST_DAY);
                return self.add(days, first, path);
            }
            DateField::IsoYear => return refused("the ISO year has no form in lanes"),
        };
        let made = self.inst(Op::DatePart { part, unit }, &[value])?;
        // Within Python's years a part is never null.
        let made = self.or_anything(made)?;
        let mut made = self.inst(Op::Cast(Ty::I64, OnFail::Err), &[made])?;
        let sunday = match field {
            DateField::Weekday => Some(6),
            DateField::IsoWeekday => Some(7),
            _others => None,
        };
        if let Some(sunday) = sunday {
            // The loop's Sunday is 0.
            let is_sunday = self.compare_int(CmpOp::Eq, made, 0)?;
            let less = self.int(sunday - 7);
            let other = self.inst(Op::Add(Overflow::Wrap), &[made, less])?;
            let sunday = self.int(sunday);
            made = self.inst(Op::Select, &[is_sunday, sunday, other])?;
        }
        self.ranges.insert(made, (low, high.max(7)));
        Ok(made)
    }
}
