//! `date_part` and `date_trunc` of dates and of timestamps without a zone, as DataFusion 55 has them.
//!
//! Values are days (`Date32`) or ticks since 1970-01-01 in one of four units; all divisions round down,
//! so times before the epoch work like those after. Two limits come from elsewhere and are kept:
//! `date_part` has no result outside chrono's calendar (about 262,000 years either way, where
//! DataFusion gives null), and `date_trunc` to a week or longer has none where the value does not fit
//! 64-bit nanoseconds (where DataFusion raises). Kernels report both as a 0 in `ok`.
//!
//! Examples, in seconds: `date_part(Second, Minute, -1) = 59`, `date_trunc(Second, Hour, -1) = -3600`.

pub mod civil;
pub mod interval;

use crate::bitmap::{set_word, words};
use crate::isa::dispatch;
use civil::{MAX_DAY, MIN_DAY, civil_from_days, day_of_year, days_from_civil, iso_week, weekday};

/// The unit of a timestamp's ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Unit {
    /// Seconds.
    Second = 0,
    /// Milliseconds.
    Milli = 1,
    /// Microseconds.
    Micro = 2,
    /// Nanoseconds.
    Nano = 3,
}

/// A field of a date or timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Part {
    /// Calendar year.
    Year = 0,
    /// 1 to 4.
    Quarter = 1,
    /// 1 to 12.
    Month = 2,
    /// ISO week, 1 to 53.
    Week = 3,
    /// Day of the month.
    Day = 4,
    /// 0 to 6, Sunday is 0.
    DayOfWeek = 5,
    /// 1 to 366.
    DayOfYear = 6,
    /// 0 to 23.
    Hour = 7,
    /// 0 to 59.
    Minute = 8,
    /// Whole seconds within the minute, 0 to 59.
    Second = 9,
    /// Milliseconds within the minute, 0 to 59,999.
    Millisecond = 10,
    /// Microseconds within the minute, 0 to 59,999,999.
    Microsecond = 11,
    /// Year of the ISO week.
    IsoYear = 12,
    /// 1 to 7, Monday is 1.
    IsoDayOfWeek = 13,
    /// Nanoseconds within the second, 0 to 999,999,999.
    Subsecond = 14,
}

/// What `date_trunc` truncates to; weeks begin on Monday.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Trunc {
    /// 1 January.
    Year = 0,
    /// First day of the quarter.
    Quarter = 1,
    /// First day of the month.
    Month = 2,
    /// Monday.
    Week = 3,
    /// Midnight.
    Day = 4,
    /// The full hour.
    Hour = 5,
    /// The full minute.
    Minute = 6,
    /// The full second.
    Second = 7,
    /// The full millisecond.
    Millisecond = 8,
    /// The full microsecond.
    Microsecond = 9,
}

impl Unit {
    /// All units, by code.
    pub const ALL: [Unit; 4] = [Unit::Second, Unit::Milli, Unit::Micro, Unit::Nano];

    /// Ticks per second.
    #[inline(always)]
    pub const fn per_second(self) -> i64 {
        match self {
            Unit::Second => 1,
            Unit::Milli => 1_000,
            Unit::Micro => 1_000_000,
            Unit::Nano => 1_000_000_000,
        }
    }

    /// Ticks per day.
    #[inline(always)]
    pub const fn per_day(self) -> i64 {
        86_400 * self.per_second()
    }
}

impl Part {
    /// All parts, by code.
    pub const ALL: [Part; 15] = [
        Part::Year,
        Part::Quarter,
        Part::Month,
        Part::Week,
        Part::Day,
        Part::DayOfWeek,
        Part::DayOfYear,
        Part::Hour,
        Part::Minute,
        Part::Second,
        Part::Millisecond,
        Part::Microsecond,
        Part::IsoYear,
        Part::IsoDayOfWeek,
        Part::Subsecond,
    ];
}

impl Trunc {
    /// All granularities, by code.
    pub const ALL: [Trunc; 10] = [
        Trunc::Year,
        Trunc::Quarter,
        Trunc::Month,
        Trunc::Week,
        Trunc::Day,
        Trunc::Hour,
        Trunc::Minute,
        Trunc::Second,
        Trunc::Millisecond,
        Trunc::Microsecond,
    ];
}

/// `part` of a day that has a date; clock parts are 0.
#[inline(always)]
fn part_of_day(part: Part, day: i64) -> i32 {
    match part {
        Part::Year => civil_from_days(day).year,
        Part::Quarter => (civil_from_days(day).month as i32 - 1) / 3 + 1,
        Part::Month => civil_from_days(day).month as i32,
        Part::Week => iso_week(day).1 as i32,
        Part::Day => civil_from_days(day).day as i32,
        Part::DayOfWeek => ((day + 4).rem_euclid(7)) as i32,
        Part::DayOfYear => day_of_year(day) as i32,
        Part::IsoYear => iso_week(day).0,
        Part::IsoDayOfWeek => weekday(day) as i32 + 1,
        Part::Hour
        | Part::Minute
        | Part::Second
        | Part::Millisecond
        | Part::Microsecond
        | Part::Subsecond => 0,
    }
}

/// `part` of `tick`, a tick within its day.
#[inline(always)]
fn part_of_clock(unit: Unit, part: Part, tick: i64) -> i32 {
    let second = unit.per_second();
    let in_minute = tick % (60 * second);
    (match part {
        Part::Hour => tick / (3600 * second),
        Part::Minute => tick / (60 * second) % 60,
        Part::Second => in_minute / second,
        // Scaled up for the coarse units, down for the fine ones; one factor is always 1.
        Part::Millisecond => in_minute * (1_000 / second).max(1) / (second / 1_000).max(1),
        Part::Microsecond => in_minute * (1_000_000 / second).max(1) / (second / 1_000_000).max(1),
        Part::Subsecond => tick % second * (1_000_000_000 / second),
        Part::Year
        | Part::Quarter
        | Part::Month
        | Part::Week
        | Part::Day
        | Part::DayOfWeek
        | Part::DayOfYear
        | Part::IsoYear
        | Part::IsoDayOfWeek => 0,
    }) as i32
}

impl Part {
    /// Whether the part is about the time of day.
    #[inline(always)]
    const fn is_clock(self) -> bool {
        match self {
            Part::Hour
            | Part::Minute
            | Part::Second
            | Part::Millisecond
            | Part::Microsecond
            | Part::Subsecond => true,
            Part::Year
            | Part::Quarter
            | Part::Month
            | Part::Week
            | Part::Day
            | Part::DayOfWeek
            | Part::DayOfYear
            | Part::IsoYear
            | Part::IsoDayOfWeek => false,
        }
    }
}

/// `part` of a timestamp; `None` outside the calendar.
#[inline]
pub fn date_part(unit: Unit, part: Part, value: i64) -> Option<i32> {
    let day = value.div_euclid(unit.per_day());
    (MIN_DAY..=MAX_DAY).contains(&day).then(|| {
        if part.is_clock() {
            part_of_clock(unit, part, value.rem_euclid(unit.per_day()))
        } else {
            part_of_day(part, day)
        }
    })
}

/// `part` of a date; `None` outside the calendar, except for clock parts, which are always 0.
#[inline]
pub fn date_part_of_day(part: Part, day: i32) -> Option<i32> {
    let day = i64::from(day);
    (part.is_clock() || (MIN_DAY..=MAX_DAY).contains(&day)).then(|| part_of_day(part, day))
}

/// The first day of the week, month, quarter or year of `day`; `day` itself for `Day` and finer.
#[inline(always)]
fn trunc_day(to: Trunc, day: i64) -> i64 {
    let civil = civil_from_days(day);
    match to {
        Trunc::Year => days_from_civil(i64::from(civil.year), 1, 1),
        Trunc::Quarter => days_from_civil(i64::from(civil.year), (civil.month - 1) / 3 * 3 + 1, 1),
        Trunc::Month => day - i64::from(civil.day) + 1,
        Trunc::Week => day - weekday(day),
        Trunc::Day
        | Trunc::Hour
        | Trunc::Minute
        | Trunc::Second
        | Trunc::Millisecond
        | Trunc::Microsecond => day,
    }
}

/// The start of the calendar unit that holds the timestamp; `None` where DataFusion raises "out of
/// range", or where the start would not fit 64 bits.
#[inline]
pub fn date_trunc(unit: Unit, to: Trunc, value: i64) -> Option<i64> {
    let second = unit.per_second();
    let floor = |step: i64| value.checked_sub(value.rem_euclid(step));
    match to {
        Trunc::Year | Trunc::Quarter | Trunc::Month | Trunc::Week => {
            let to_nanos = 1_000_000_000 / second;
            value.checked_mul(to_nanos)?;
            let day = trunc_day(to, value.div_euclid(unit.per_day()));
            day.checked_mul(Unit::Nano.per_day())?;
            Some(day * unit.per_day())
        }
        Trunc::Day => floor(86_400 * second),
        Trunc::Hour => floor(3_600 * second),
        Trunc::Minute => floor(60 * second),
        Trunc::Second => floor(second),
        // A unit coarser than the granularity has nothing to cut.
        Trunc::Millisecond => floor((second / 1_000).max(1)),
        Trunc::Microsecond => floor((second / 1_000_000).max(1)),
    }
}

/// The start of the calendar unit that holds the date; `None` outside the calendar.
#[inline]
pub fn date_trunc_day(to: Trunc, day: i32) -> Option<i32> {
    match to {
        Trunc::Year | Trunc::Quarter | Trunc::Month | Trunc::Week => {
            let day = i64::from(day);
            let known = (MIN_DAY..=MAX_DAY).contains(&day);
            known.then(|| trunc_day(to, day) as i32)
        }
        Trunc::Day
        | Trunc::Hour
        | Trunc::Minute
        | Trunc::Second
        | Trunc::Millisecond
        | Trunc::Microsecond => Some(day),
    }
}

dispatch! {
    /// [`date_part()`] of `n` timestamps; `unit` and `part` are the codes of [`Unit`] and [`Part`]. `ok` gets
    /// staged bits of the rows that have a result; the others get 0.
    pub fn rt_date_part = part_kernel(
        n: usize, values: *const i64, unit: i32, part: i32, out: *mut i32, ok: *mut u8,
    );
    /// [`date_part_of_day()`] of `n` dates.
    pub fn rt_date_part_day = part_day_kernel(
        n: usize, days: *const i32, part: i32, out: *mut i32, ok: *mut u8,
    );
    /// [`date_trunc()`] of `n` timestamps; `to` is the code of a [`Trunc`].
    pub fn rt_date_trunc = trunc_kernel(
        n: usize, values: *const i64, unit: i32, to: i32, out: *mut i64, ok: *mut u8,
    );
    /// [`date_trunc_day()`] of `n` dates.
    pub fn rt_date_trunc_day = trunc_day_kernel(
        n: usize, days: *const i32, to: i32, out: *mut i32, ok: *mut u8,
    );
}

/// Writes `f(row)`, or the default and a 0 bit.
///
/// # Safety
/// `values` and `out` have `n` rows, `ok` has room for `n` staged bits.
#[inline(always)]
unsafe fn map<A: Copy, B: Copy + Default>(
    n: usize,
    values: *const A,
    out: *mut B,
    ok: *mut u8,
    f: impl Fn(A) -> Option<B>,
) {
    for at in 0..words(n) {
        let rows = (n - at * 64).min(64);
        let mut bits = 0u64;
        for k in 0..rows {
            // SAFETY: the row lies below n.
            unsafe {
                let result = f(*values.add(at * 64 + k));
                bits |= u64::from(result.is_some()) << k;
                *out.add(at * 64 + k) = result.unwrap_or_default();
            }
        }
        // SAFETY: at < words(n).
        unsafe { set_word(ok, at, bits) }
    }
}

/// Runs `$body` with a constant in place of a code, so that each loop has its divisions by constants;
/// an unknown code runs nothing.
macro_rules! for_code {
    ($code:expr, $enum:ident, [$($variant:ident),*], |$name:ident| $body:expr) => {
        match $code {
            $(c if c == $enum::$variant as i32 => {
                const $name: $enum = $enum::$variant;
                $body
            })*
            _unknown => {}
        }
    };
}

macro_rules! for_unit {
    ($code:expr, |$name:ident| $body:expr) => {
        for_code!($code, Unit, [Second, Milli, Micro, Nano], |$name| $body)
    };
}

macro_rules! for_part {
    ($code:expr, |$name:ident| $body:expr) => {
        for_code!(
            $code,
            Part,
            [
                Year,
                Quarter,
                Month,
                Week,
                Day,
                DayOfWeek,
                DayOfYear,
                Hour,
                Minute,
                Second,
                Millisecond,
                Microsecond,
                IsoYear,
                IsoDayOfWeek,
                Subsecond
            ],
            |$name| $body
        )
    };
}

macro_rules! for_trunc {
    ($code:expr, |$name:ident| $body:expr) => {
        for_code!(
            $code,
            Trunc,
            [Year, Quarter, Month, Week, Day, Hour, Minute, Second, Millisecond, Microsecond],
            |$name| $body
        )
    };
}

#[inline(always)]
unsafe fn part_kernel<const ISA: u8>(
    n: usize,
    values: *const i64,
    unit: i32,
    part: i32,
    out: *mut i32,
    ok: *mut u8,
) {
    // SAFETY: the caller's promise is passed on.
    unsafe {
        for_unit!(unit, |UNIT| for_part!(part, |PART| map(n, values, out, ok, |v| date_part(UNIT, PART, v))))
    }
}

#[inline(always)]
unsafe fn part_day_kernel<const ISA: u8>(n: usize, days: *const i32, part: i32, out: *mut i32, ok: *mut u8) {
    // SAFETY: the caller's promise is passed on.
    unsafe { for_part!(part, |PART| map(n, days, out, ok, |v| date_part_of_day(PART, v))) }
}

#[inline(always)]
unsafe fn trunc_kernel<const ISA: u8>(
    n: usize,
    values: *const i64,
    unit: i32,
    to: i32,
    out: *mut i64,
    ok: *mut u8,
) {
    // SAFETY: the caller's promise is passed on.
    unsafe {
        for_unit!(unit, |UNIT| for_trunc!(to, |TO| map(n, values, out, ok, |v| date_trunc(UNIT, TO, v))))
    }
}

#[inline(always)]
unsafe fn trunc_day_kernel<const ISA: u8>(n: usize, days: *const i32, to: i32, out: *mut i32, ok: *mut u8) {
    // SAFETY: the caller's promise is passed on.
    unsafe { for_trunc!(to, |TO| map(n, days, out, ok, |v| date_trunc_day(TO, v))) }
}

#[cfg(test)]
mod tests;
