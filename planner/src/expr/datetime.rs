//! `date_part` and `date_trunc` of dates and of instants in UTC, and constant intervals added to them.
//!
//! Instants in another zone, times of day, other intervals, and the rarer parts are calls.

use super::{Ctx, Expr, Native, Scope, StageBuilder, data_type, is_utc};
use arrow::datatypes::{DataType, TimeUnit as ArrowUnit};
use datafusion::common::ScalarValue;
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr::expressions::Literal;
use fuseline_codegen::ir::{DatePart, Lit, OnFail, Op, Overflow, TimeUnit, TruncTo, Ty, ValueId};

impl StageBuilder {
    pub(super) fn date_part(&mut self, e: &ScalarFunctionExpr, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        let [part, instant] = e.args() else { return Err("it takes two arguments".to_owned()) };
        let part = constant_name(part).ok_or("its part is not constant")?;
        let from = data_type(instant, &scope.schema)?;
        let unit = unit_of(&from).ok_or_else(|| format!("loops know no parts of a {from}"))?;
        if part == "epoch" {
            let v = self.value(instant, scope, cx)?;
            return self.epoch(v, unit);
        }
        let part = part_named(&part).ok_or_else(|| format!("loops do not know the part {part}"))?;
        let has_clock = unit != TimeUnit::Day;
        if !has_clock && is_clock_part(part) {
            return Err("a date has no time of day".to_owned());
        }
        let v = self.value(instant, scope, cx)?;
        self.total(Op::DatePart { part, unit }, &[v])
    }

    /// Seconds since 1970 as Float64.
    fn epoch(&mut self, v: ValueId, unit: TimeUnit) -> Native<ValueId> {
        let float = self.total(Op::Cast(Ty::F64, OnFail::Err), &[v])?;
        let (op, by) = match unit {
            TimeUnit::Day => (Op::Mul(Overflow::Wrap), 86_400.0),
            TimeUnit::Second => return Ok(float),
            TimeUnit::Milli => (Op::Div, 1e3),
            TimeUnit::Micro => (Op::Div, 1e6),
            TimeUnit::Nano => (Op::Div, 1e9),
        };
        let by = self.ir.lit(Lit::F64(by));
        self.total(op, &[float, by])
    }

    pub(super) fn date_trunc(&mut self, e: &ScalarFunctionExpr, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        let [to, instant] = e.args() else { return Err("it takes two arguments".to_owned()) };
        let to = constant_name(to).ok_or("its precision is not constant")?;
        let from = data_type(instant, &scope.schema)?;
        let unit = unit_of(&from)
            .filter(|_| matches!(from, DataType::Timestamp(..)))
            .ok_or_else(|| format!("loops do not truncate a {from}"))?;
        let to = match to.as_str() {
            "year" => TruncTo::Year,
            "quarter" => TruncTo::Quarter,
            "month" => TruncTo::Month,
            "week" => TruncTo::Week,
            "day" => TruncTo::Day,
            "hour" => TruncTo::Hour,
            "minute" => TruncTo::Minute,
            "second" => TruncTo::Second,
            "millisecond" => TruncTo::Millisecond,
            "microsecond" => TruncTo::Microsecond,
            other => return Err(format!("loops do not know the precision {other}")),
        };
        let v = self.value(instant, scope, cx)?;
        if ticks(to) >= unit_ticks(unit) {
            return Ok(v);
        }
        self.op(Op::DateTrunc { to, unit }, &[v], cx)
    }
}

impl StageBuilder {
    /// A date or instant plus or minus a constant interval.
    pub(super) fn add_interval(
        &mut self,
        instant: &Expr,
        interval: &Expr,
        subtract: bool,
        scope: &Scope,
        cx: Ctx,
    ) -> Native<ValueId> {
        let from = data_type(instant, &scope.schema)?;
        let interval = interval.downcast_ref::<Literal>().map(|l| l.value());
        let Some(ScalarValue::IntervalMonthDayNano(interval)) = interval else {
            return Err("its interval is not a constant of months, days and nanoseconds".to_owned());
        };
        // A Date64 has a time of day, and what becomes of it is arrow's own.
        let unit = unit_of(&from)
            .filter(|_| from != DataType::Date64)
            .ok_or_else(|| format!("loops add no interval to a {from}"))?;
        let v = self.value(instant, scope, cx)?;
        let Some(interval) = interval else { return Ok(self.ir.lit(Lit::Null(unit.ty()))) };
        let (months, days, nanos) = (interval.months, interval.days, interval.nanoseconds);
        if months == i32::MIN || days == i32::MIN || nanos == i64::MIN {
            return Err("its interval is too long".to_owned());
        }
        self.op(Op::AddInterval { unit, months, days, nanos, subtract }, &[v], cx)
    }
}

/// Ticks per second of a precision; 0 for those of whole seconds and more.
fn ticks(to: TruncTo) -> i64 {
    match to {
        TruncTo::Year
        | TruncTo::Quarter
        | TruncTo::Month
        | TruncTo::Week
        | TruncTo::Day
        | TruncTo::Hour
        | TruncTo::Minute => 0,
        TruncTo::Second => 1,
        TruncTo::Millisecond => 1_000,
        TruncTo::Microsecond => 1_000_000,
    }
}

fn unit_ticks(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Day | TimeUnit::Second => 1,
        TimeUnit::Milli => 1_000,
        TimeUnit::Micro => 1_000_000,
        TimeUnit::Nano => 1_000_000_000,
    }
}

fn unit_of(data_type: &DataType) -> Option<TimeUnit> {
    match data_type {
        DataType::Date32 => Some(TimeUnit::Day),
        DataType::Date64 => Some(TimeUnit::Milli),
        DataType::Timestamp(unit, zone) if is_utc(zone) => Some(match unit {
            ArrowUnit::Second => TimeUnit::Second,
            ArrowUnit::Millisecond => TimeUnit::Milli,
            ArrowUnit::Microsecond => TimeUnit::Micro,
            ArrowUnit::Nanosecond => TimeUnit::Nano,
        }),
        _ => None,
    }
}

/// Nanoseconds are a call: they are Int64 and their sum with seconds does not fit the op's Int32.
fn part_named(name: &str) -> Option<DatePart> {
    Some(match name {
        "year" | "years" => DatePart::Year,
        "quarter" | "qtr" => DatePart::Quarter,
        "month" | "months" => DatePart::Month,
        "week" | "weeks" => DatePart::Week,
        "day" | "days" => DatePart::Day,
        "dow" => DatePart::DayOfWeek,
        "doy" => DatePart::DayOfYear,
        "hour" | "hours" => DatePart::Hour,
        "minute" | "minutes" => DatePart::Minute,
        "second" | "seconds" => DatePart::Second,
        "millisecond" | "milliseconds" => DatePart::Millisecond,
        "microsecond" | "microseconds" => DatePart::Microsecond,
        _ => return None,
    })
}

fn is_clock_part(part: DatePart) -> bool {
    match part {
        DatePart::Year
        | DatePart::Quarter
        | DatePart::Month
        | DatePart::Week
        | DatePart::Day
        | DatePart::DayOfWeek
        | DatePart::DayOfYear => false,
        DatePart::Hour
        | DatePart::Minute
        | DatePart::Second
        | DatePart::Millisecond
        | DatePart::Microsecond
        | DatePart::Nanosecond => true,
    }
}

/// A constant name without quotes, in lower case.
fn constant_name(expr: &Expr) -> Option<String> {
    let value = expr.downcast_ref::<Literal>()?.value();
    let text = value.try_as_str().flatten()?;
    Some(text.trim_matches(|c| c == '\'' || c == '"').to_lowercase())
}
