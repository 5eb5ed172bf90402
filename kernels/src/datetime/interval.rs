//! Dates and timestamps plus a constant interval of months, days and nanoseconds, as arrow 59 has it.
//!
//! The three parts are added in that order, and after each step the day must lie in chrono's calendar, or
//! there is no result. Months keep the day of the month where they can: 31 January plus a month is the last
//! of February. A timestamp takes nanoseconds exactly and rounds down to its unit at the end; a date takes
//! the whole days among them, truncating.

use super::civil::{MAX_DAY, MIN_DAY, civil_from_days, days_from_civil};
use super::{Unit, map};
use crate::isa::dispatch;

/// What is added. No part is its type's minimum, so that there is a negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Interval {
    /// Calendar months.
    pub months: i32,
    /// Calendar days.
    pub days: i32,
    /// Nanoseconds.
    pub nanos: i64,
}

impl Interval {
    /// What has to be added to subtract this one.
    #[must_use]
    pub fn negated(self) -> Interval {
        Interval { months: -self.months, days: -self.days, nanos: -self.nanos }
    }
}

const NANOS_PER_DAY: i64 = Unit::Nano.per_day();

/// The day, if it has a date.
#[inline(always)]
fn known(day: i64) -> Option<i64> {
    (MIN_DAY..=MAX_DAY).contains(&day).then_some(day)
}

#[inline(always)]
fn days_in_month(year: i64, month: u32) -> u32 {
    let (next_year, next) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    (days_from_civil(next_year, next, 1) - days_from_civil(year, month, 1)) as u32
}

/// `day` must have a date.
#[inline(always)]
fn add_months(day: i64, months: i32) -> Option<i64> {
    if months == 0 {
        return Some(day);
    }
    let civil = civil_from_days(day);
    let sum = i64::from(civil.year) * 12 + i64::from(civil.month) - 1 + i64::from(months);
    let (year, month) = (sum.div_euclid(12), sum.rem_euclid(12) as u32 + 1);
    known(days_from_civil(year, month, civil.day.min(days_in_month(year, month))))
}

/// The date plus the interval.
#[inline]
pub fn add_to_day(day: i32, interval: Interval) -> Option<i32> {
    let day = add_months(known(i64::from(day))?, interval.months)?;
    let day = known(day + i64::from(interval.days))?;
    // The calendar fits 32 bits.
    known(day + interval.nanos / NANOS_PER_DAY).map(|day| day as i32)
}

/// The timestamp plus the interval.
#[inline]
pub fn add_to_tick(unit: Unit, value: i64, interval: Interval) -> Option<i64> {
    let day = known(value.div_euclid(unit.per_day()))?;
    let day = add_months(day, interval.months)?;
    let day = known(day + i64::from(interval.days))?;
    let nanos_per_tick = 1_000_000_000 / unit.per_second();
    let nanos = value.rem_euclid(unit.per_day()) * nanos_per_tick + interval.nanos.rem_euclid(NANOS_PER_DAY);
    let day = known(day + interval.nanos.div_euclid(NANOS_PER_DAY) + nanos / NANOS_PER_DAY)?;
    let ticks = nanos % NANOS_PER_DAY / nanos_per_tick;
    if day < 0 {
        // Counted back from the day's end, or the first day of 64 bits would overflow on the way.
        (day + 1).checked_mul(unit.per_day())?.checked_add(ticks - unit.per_day())
    } else {
        day.checked_mul(unit.per_day())?.checked_add(ticks)
    }
}

dispatch! {
    /// [`add_to_tick()`] of `n` timestamps. `ok` gets staged bits of the rows that have a result; the others
    /// get 0.
    pub fn rt_add_interval = tick_kernel(
        n: usize, values: *const i64, unit: i32, interval: *const Interval, out: *mut i64, ok: *mut u8,
    );
    /// [`add_to_day()`] of `n` dates.
    pub fn rt_add_interval_day = day_kernel(
        n: usize, days: *const i32, interval: *const Interval, out: *mut i32, ok: *mut u8,
    );
}

#[inline(always)]
unsafe fn tick_kernel<const ISA: u8>(
    n: usize,
    values: *const i64,
    unit: i32,
    interval: *const Interval,
    out: *mut i64,
    ok: *mut u8,
) {
    // SAFETY: the interval is a constant of the code that calls; the rest is passed on.
    unsafe {
        let interval = *interval;
        // A unit each, so that all divisions are by constants.
        match unit {
            0 => map(n, values, out, ok, |v| add_to_tick(Unit::Second, v, interval)),
            1 => map(n, values, out, ok, |v| add_to_tick(Unit::Milli, v, interval)),
            2 => map(n, values, out, ok, |v| add_to_tick(Unit::Micro, v, interval)),
            _nano => map(n, values, out, ok, |v| add_to_tick(Unit::Nano, v, interval)),
        }
    }
}

#[inline(always)]
unsafe fn day_kernel<const ISA: u8>(
    n: usize,
    days: *const i32,
    interval: *const Interval,
    out: *mut i32,
    ok: *mut u8,
) {
    // SAFETY: the interval is a constant of the code that calls; the rest is passed on.
    unsafe {
        let interval = *interval;
        map(n, days, out, ok, |day| add_to_day(day, interval))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{datetime, tick};
    use super::*;
    use crate::isa::Level;
    use chrono::{Months, NaiveDate, NaiveDateTime, TimeDelta};
    use proptest::prelude::*;

    fn interval() -> impl Strategy<Value = Interval> {
        let months = prop_oneof![Just(0), -30..30i32, -4_000_000..4_000_000i32, -i32::MAX..i32::MAX];
        let days = prop_oneof![Just(0), -70..70i32, -i32::MAX..i32::MAX];
        let nanos = prop_oneof![Just(0), -(1i64 << 48)..(1 << 48), -i64::MAX..i64::MAX];
        (months, days, nanos).prop_map(|(months, days, nanos)| Interval { months, days, nanos })
    }

    fn months(at: NaiveDateTime, months: i32) -> Option<NaiveDateTime> {
        let by = Months::new(months.unsigned_abs());
        if months < 0 { at.checked_sub_months(by) } else { at.checked_add_months(by) }
    }

    fn ticks_of(unit: Unit, at: NaiveDateTime) -> Option<i64> {
        let at = at.and_utc();
        let ticks = i128::from(at.timestamp()) * i128::from(unit.per_second());
        let part = i128::from(at.timestamp_subsec_nanos()) * i128::from(unit.per_second()) / 1_000_000_000;
        i64::try_from(ticks + part).ok()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(6000))]

        #[test]
        fn ticks_are_chronos((unit, value) in tick(), interval in interval()) {
            let unit = Unit::ALL[unit];
            let want = datetime(unit, value)
                .and_then(|at| months(at, interval.months))
                .and_then(|at| at.checked_add_signed(TimeDelta::days(interval.days.into())))
                .and_then(|at| at.checked_add_signed(TimeDelta::nanoseconds(interval.nanos)))
                .and_then(|at| ticks_of(unit, at));
            prop_assert_eq!(add_to_tick(unit, value, interval), want);
        }

        #[test]
        fn days_are_chronos(day in prop_oneof![-100_000..100_000i32, any::<i32>()], interval in interval()) {
            let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
            let want = epoch.checked_add_signed(TimeDelta::days(day.into()))
                .and_then(|date| months(date.into(), interval.months))
                .and_then(|at| at.date().checked_add_signed(TimeDelta::days(interval.days.into())))
                .and_then(|date| date.checked_add_signed(TimeDelta::nanoseconds(interval.nanos)))
                .map(|date| (date - epoch).num_days() as i32);
            prop_assert_eq!(add_to_day(day, interval), want);
        }

        #[test]
        fn kernels_are_the_functions(
            (unit, _) in tick(),
            values in prop::collection::vec(any::<i64>(), 0..150),
            interval in interval(),
        ) {
            let days: Vec<i32> = values.iter().map(|v| (*v >> 40) as i32).collect();
            let n = values.len();
            for level in Level::ALL.into_iter().filter(|l| l.is_available()) {
                let mut ok = vec![0xEEu8; n.div_ceil(64) * 8];
                let (mut ticks, mut dates) = (vec![0i64; n], vec![0i32; n]);
                let bit = |ok: &[u8], i: usize| ok[i / 8] >> (i % 8) & 1 == 1;
                // SAFETY: all have n rows, and `ok` a word for each 64 of them.
                unsafe {
                    rt_add_interval::at(level)(
                        n, values.as_ptr(), unit as i32, &interval, ticks.as_mut_ptr(), ok.as_mut_ptr());
                }
                for i in 0..n {
                    let want = add_to_tick(Unit::ALL[unit], values[i], interval);
                    prop_assert_eq!(bit(&ok, i).then_some(ticks[i]), want);
                }
                // SAFETY: as above.
                unsafe {
                    rt_add_interval_day::at(level)(
                        n, days.as_ptr(), &interval, dates.as_mut_ptr(), ok.as_mut_ptr());
                }
                for i in 0..n {
                    prop_assert_eq!(bit(&ok, i).then_some(dates[i]), add_to_day(days[i], interval));
                }
            }
        }
    }

    #[test]
    fn months_end_on_the_last_day() {
        let day = |y, m, d| days_from_civil(y, m, d) as i32;
        let months = |months| Interval { months, days: 0, nanos: 0 };
        assert_eq!(add_to_day(day(2023, 1, 31), months(1)), Some(day(2023, 2, 28)));
        assert_eq!(add_to_day(day(2024, 3, 31), months(-1)), Some(day(2024, 2, 29)));
        assert_eq!(add_to_day(day(1970, 1, 1), months(-1)), Some(day(1969, 12, 1)));
        assert_eq!(add_to_day(MAX_DAY as i32, months(1)), None);
        let first = Interval { months: 0, days: 0, nanos: 1 };
        assert_eq!(add_to_tick(Unit::Nano, i64::MIN, first), Some(i64::MIN + 1));
        assert_eq!(add_to_tick(Unit::Nano, i64::MAX, first), None);
        assert_eq!(add_to_tick(Unit::Nano, i64::MIN + 1, first.negated()), Some(i64::MIN));
    }
}
