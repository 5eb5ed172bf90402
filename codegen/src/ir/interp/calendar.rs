//! Calendar fields and truncation of dates and timestamps, in the proleptic Gregorian calendar.
//!
//! Days are counted from 1970-01-01. The civil calendar is computed in 128 bits, where no timestamp
//! can overflow; results are reduced to the op's type as its text says. Intervals are added by arrow
//! itself.

use super::super::op::{DatePart, TimeUnit, TruncTo};
use super::column::Column;
use super::rows::{Fault, RowResult, Rows};
use crate::run::EvalError;
use arrow::array::timezone::Tz;
use arrow::datatypes::{
    Date32Type, IntervalMonthDayNano, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use chrono::{Datelike, NaiveDate};

type Evaluated<'a> = Result<Column<'a>, EvalError>;

const SECONDS_PER_DAY: i128 = 86_400;

/// Ticks of a unit per second; a date has none, and this is not asked for it.
fn ticks_per_second(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Day | TimeUnit::Second => 1,
        TimeUnit::Milli => 1_000,
        TimeUnit::Micro => 1_000_000,
        TimeUnit::Nano => 1_000_000_000,
    }
}

/// A point in time, split.
struct Moment {
    days: i128,
    /// Second of the day.
    second: i128,
    /// Nanosecond of the second.
    nano: i128,
}

impl Moment {
    fn new(value: i128, unit: TimeUnit) -> Moment {
        if unit == TimeUnit::Day {
            return Moment { days: value, second: 0, nano: 0 };
        }
        let per_second = ticks_per_second(unit);
        let seconds = value.div_euclid(per_second);
        Moment {
            days: seconds.div_euclid(SECONDS_PER_DAY),
            second: seconds.rem_euclid(SECONDS_PER_DAY),
            nano: value.rem_euclid(per_second) * (1_000_000_000 / per_second),
        }
    }
}

/// Year, month (1 to 12) and day of the month of a day number.
///
/// The calendar repeats every 400 years, which are 146,097 days; counting years from March puts the
/// leap day at a year's end, so that a month's first day is a linear function of the month.
fn civil(days: i128) -> (i128, i128, i128) {
    let shifted = days + 719_468; // days since 0000-03-01
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i128::from(month <= 2);
    (year, month, day)
}

/// The inverse of [`civil`].
fn days_of(year: i128, month: i128, day: i128) -> i128 {
    let year = year - i128::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Monday is 0.
fn weekday(days: i128) -> i128 {
    (days + 3).rem_euclid(7)
}

/// The ISO week: the week of a year that holds its first Thursday is week 1.
fn iso_week(days: i128) -> i128 {
    let thursday = days - weekday(days) + 3;
    let (year, _, _) = civil(thursday);
    (thursday - days_of(year, 1, 1)) / 7 + 1
}

fn part_of(part: DatePart, moment: &Moment) -> i128 {
    let (year, month, day) = civil(moment.days);
    match part {
        DatePart::Year => year,
        DatePart::Quarter => (month + 2) / 3,
        DatePart::Month => month,
        DatePart::Week => iso_week(moment.days),
        DatePart::Day => day,
        DatePart::DayOfWeek => (weekday(moment.days) + 1) % 7,
        DatePart::DayOfYear => moment.days - days_of(year, 1, 1) + 1,
        DatePart::Hour => moment.second / 3_600,
        DatePart::Minute => moment.second / 60 % 60,
        DatePart::Second => moment.second % 60,
        DatePart::Millisecond => moment.second % 60 * 1_000 + moment.nano / 1_000_000,
        DatePart::Microsecond => moment.second % 60 * 1_000_000 + moment.nano / 1_000,
        DatePart::Nanosecond => moment.nano,
    }
}

pub(super) fn date_part<'a>(
    part: DatePart,
    unit: TimeUnit,
    args: &[&Column<'a>],
    rows: &mut Rows<'_, 'a>,
) -> Evaluated<'a> {
    // In days since 1970; chrono counts from the first day of the year 1.
    let epoch = 719_163;
    let calendar = NaiveDate::MIN.num_days_from_ce() - epoch..=NaiveDate::MAX.num_days_from_ce() - epoch;
    let compute = |v: i128| {
        let moment = Moment::new(v, unit);
        let known = i32::try_from(moment.days).is_ok_and(|d| calendar.contains(&d));
        let known = known || (unit == TimeUnit::Day && part.is_clock());
        Ok(known.then(|| part_of(part, &moment) as i32))
    };
    match unit {
        TimeUnit::Day => rows.strict1(args, |v: i32| compute(i128::from(v))),
        TimeUnit::Second | TimeUnit::Milli | TimeUnit::Micro | TimeUnit::Nano => {
            rows.strict1(args, |v: i64| compute(i128::from(v)))
        }
    }
}

/// The first day of the calendar unit that holds a day; `None` for units shorter than a day.
fn first_day(to: TruncTo, days: i128) -> Option<i128> {
    let (year, month, day) = civil(days);
    match to {
        TruncTo::Year => Some(days_of(year, 1, 1)),
        TruncTo::Quarter => Some(days_of(year, 1 + 3 * ((month - 1) / 3), 1)),
        TruncTo::Month => Some(days - (day - 1)),
        TruncTo::Week => Some(days - weekday(days)),
        TruncTo::Day => Some(days),
        TruncTo::Hour | TruncTo::Minute | TruncTo::Second | TruncTo::Millisecond | TruncTo::Microsecond => {
            None
        }
    }
}

/// The length of a unit of fixed length in nanoseconds.
fn fixed_length(to: TruncTo) -> Option<i128> {
    match to {
        TruncTo::Year | TruncTo::Quarter | TruncTo::Month | TruncTo::Week => None,
        TruncTo::Day => Some(SECONDS_PER_DAY * 1_000_000_000),
        TruncTo::Hour => Some(3_600_000_000_000),
        TruncTo::Minute => Some(60_000_000_000),
        TruncTo::Second => Some(1_000_000_000),
        TruncTo::Millisecond => Some(1_000_000),
        TruncTo::Microsecond => Some(1_000),
    }
}

fn name(to: TruncTo) -> &'static str {
    match to {
        TruncTo::Year => "year",
        TruncTo::Quarter => "quarter",
        TruncTo::Month => "month",
        TruncTo::Week => "week",
        TruncTo::Day => "day",
        TruncTo::Hour => "hour",
        TruncTo::Minute => "minute",
        TruncTo::Second => "second",
        TruncTo::Millisecond => "millisecond",
        TruncTo::Microsecond => "microsecond",
    }
}

fn truncate_ticks(to: TruncTo, unit: TimeUnit, v: i64) -> RowResult<i64> {
    let nanos_per_tick = 1_000_000_000 / ticks_per_second(unit);
    if let Some(length) = fixed_length(to) {
        // Ticks no shorter than the unit are left alone. Less than one unit above i64::MIN the
        // subtraction wraps, as DataFusion's does.
        let ticks = length / nanos_per_tick;
        return Ok(Some(if ticks <= 1 { v } else { v.wrapping_sub(v.rem_euclid(ticks as i64)) }));
    }
    let out_of_range = || Fault::Function(format!("Execution error: Timestamp {v} out of range"));
    let nanos = i64::try_from(i128::from(v) * nanos_per_tick).map_err(|_| out_of_range())?;
    let moment = Moment::new(i128::from(v), unit);
    let days = first_day(to, moment.days).unwrap_or(moment.days);
    let start = i64::try_from(days * SECONDS_PER_DAY * 1_000_000_000).map_err(|_| {
        Fault::Function(format!(
            "Execution error: Timestamp {nanos} out of range after truncating to {}",
            name(to)
        ))
    })?;
    Ok(Some((i128::from(start) / nanos_per_tick) as i64))
}

fn truncate_days(to: TruncTo, v: i32) -> RowResult<i32> {
    let days = first_day(to, i128::from(v)).unwrap_or(i128::from(v));
    let days = i32::try_from(days).map_err(|_| {
        Fault::Function(format!("Execution error: Date {v} out of range after truncating to {}", name(to)))
    })?;
    Ok(Some(days))
}

pub(super) fn date_trunc<'a>(
    to: TruncTo,
    unit: TimeUnit,
    args: &[&Column<'a>],
    rows: &mut Rows<'_, 'a>,
) -> Evaluated<'a> {
    match unit {
        TimeUnit::Day => rows.strict1(args, |v: i32| truncate_days(to, v)),
        TimeUnit::Second | TimeUnit::Milli | TimeUnit::Micro | TimeUnit::Nano => {
            rows.strict1(args, |v: i64| truncate_ticks(to, unit, v))
        }
    }
}

pub(super) fn add_interval<'a>(
    unit: TimeUnit,
    interval: IntervalMonthDayNano,
    subtract: bool,
    args: &[&Column<'a>],
    rows: &mut Rows<'_, 'a>,
) -> Evaluated<'a> {
    type Instant = fn(i64, IntervalMonthDayNano, Tz) -> Option<i64>;
    let instants = |add: Instant, sub: Instant| if subtract { sub } else { add };
    let compute: Instant = match unit {
        TimeUnit::Day => {
            return rows.strict1(args, |v: i32| {
                let (sum, sign) = if subtract {
                    (Date32Type::subtract_month_day_nano_opt(v, interval), '-')
                } else {
                    (Date32Type::add_month_day_nano_opt(v, interval), '+')
                };
                sum.map(Some).ok_or_else(|| {
                    let why = format!("Compute error: Date arithmetic overflow: {v} {sign} {interval:?}");
                    Fault::Function(why)
                })
            });
        }
        TimeUnit::Second => {
            instants(TimestampSecondType::add_month_day_nano, TimestampSecondType::subtract_month_day_nano)
        }
        TimeUnit::Milli => instants(
            TimestampMillisecondType::add_month_day_nano,
            TimestampMillisecondType::subtract_month_day_nano,
        ),
        TimeUnit::Micro => instants(
            TimestampMicrosecondType::add_month_day_nano,
            TimestampMicrosecondType::subtract_month_day_nano,
        ),
        TimeUnit::Nano => instants(
            TimestampNanosecondType::add_month_day_nano,
            TimestampNanosecondType::subtract_month_day_nano,
        ),
    };
    let utc: Tz = "+00:00".parse().map_err(|e| EvalError::Binding(format!("{e}")))?;
    rows.strict1(args, |v: i64| {
        let out_of_range = || Fault::Function("Compute error: Timestamp out of range".to_owned());
        compute(v, interval, utc).map(Some).ok_or_else(out_of_range)
    })
}
