//! Dates as days since 1970-01-01 and datetimes as microseconds, within Python's years 1 to 9999.

use crate::datetime::civil::{civil_from_days, day_of_year, days_from_civil, iso_week, weekday};

/// 0001-01-01 and 9999-12-31.
pub const FIRST_DAY: i64 = days_from_civil(1, 1, 1);
pub const LAST_DAY: i64 = days_from_civil(9999, 12, 31);
/// Microseconds of a day.
pub const DAY: i64 = 86_400_000_000;

/// Whether Python has this day.
pub fn is_date(days: i64) -> bool {
    (FIRST_DAY..=LAST_DAY).contains(&days)
}

/// Whether Python has this moment.
pub fn is_datetime(micros: i64) -> bool {
    is_date(micros.div_euclid(DAY))
}

/// Fields, by number for machine code.
pub const YEAR: i64 = 0;
pub const MONTH: i64 = 1;
pub const DAY_OF_MONTH: i64 = 2;
pub const WEEKDAY: i64 = 3;
pub const ISO_WEEKDAY: i64 = 4;
pub const ISO_YEAR: i64 = 5;
pub const ISO_WEEK: i64 = 6;
pub const DAY_OF_YEAR: i64 = 7;
pub const TO_ORDINAL: i64 = 8;
pub const HOUR: i64 = 9;
pub const MINUTE: i64 = 10;
pub const SECOND: i64 = 11;
pub const MICROSECOND: i64 = 12;

/// A field of a date.
pub fn field(days: i64, which: i64) -> Option<i64> {
    let civil = civil_from_days(days);
    Some(match which {
        YEAR => i64::from(civil.year),
        MONTH => i64::from(civil.month),
        DAY_OF_MONTH => i64::from(civil.day),
        WEEKDAY => weekday(days),
        ISO_WEEKDAY => weekday(days) + 1,
        ISO_YEAR => i64::from(iso_week(days).0),
        ISO_WEEK => i64::from(iso_week(days).1),
        DAY_OF_YEAR => i64::from(day_of_year(days)),
        TO_ORDINAL => days - FIRST_DAY + 1,
        _ => return None,
    })
}

/// A field of a datetime.
pub fn datetime_field(micros: i64, which: i64) -> Option<i64> {
    let within = micros.rem_euclid(DAY);
    Some(match which {
        HOUR => within / 3_600_000_000,
        MINUTE => within / 60_000_000 % 60,
        SECOND => within / 1_000_000 % 60,
        MICROSECOND => within % 1_000_000,
        _ => return field(micros.div_euclid(DAY), which),
    })
}

/// A date and days.
pub fn add_days(days: i64, n: i64) -> Option<i64> {
    days.checked_add(n).filter(|days| is_date(*days))
}

/// A datetime and microseconds.
pub fn add_micros(micros: i64, n: i64) -> Option<i64> {
    micros.checked_add(n).filter(|micros| is_datetime(*micros))
}

/// `date(year, month, day)`.
pub fn make_date(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || day < 1 {
        return None;
    }
    let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    let first = days_from_civil(year, month as u32, 1);
    let length = days_from_civil(next_year, next_month as u32, 1) - first;
    (day <= length).then(|| first + day - 1)
}
