//! Days since 1970-01-01 to and from the proleptic Gregorian calendar, scalar and total.
//!
//! `civil_from_days` is C. Neri and L. Schneider's algorithm ("Euclidean affine functions and their
//! application to calendar algorithms", Software: Practice and Experience, 2022): unsigned 32-bit
//! arithmetic without branches, so that loops over it vectorize. The way back is H. Hinnant's
//! `days_from_civil`. Both count years from March, so that the leap day comes last.

/// First day that has a date: -262143-01-01, the calendar's end in chrono and so in DataFusion.
pub const MIN_DAY: i64 = days_from_civil(-262_143, 1, 1);
/// Last day that has a date: 262142-12-31.
pub const MAX_DAY: i64 = days_from_civil(262_142, 12, 31);

/// A date of the proleptic Gregorian calendar; year 0 is 1 BC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// Astronomical year.
    pub year: i32,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
}

/// Whole 400-year eras that make every day in range non-negative.
const ERAS: u32 = 700;
const DAYS_PER_ERA: u32 = 146_097;
/// From 0000-03-01 to 1970-01-01.
const EPOCH: i64 = 719_468;

/// The date of a day between [`MIN_DAY`] and [`MAX_DAY`]; some date elsewhere.
#[inline(always)]
pub fn civil_from_days(day: i64) -> Civil {
    let shifted = (day + EPOCH) as u32;
    let n = shifted.wrapping_add(ERAS * DAYS_PER_ERA);
    let n1 = n.wrapping_mul(4).wrapping_add(3);
    let century = n1 / DAYS_PER_ERA;
    let n2 = (n1 % DAYS_PER_ERA) | 3;
    let product = 2_939_745 * u64::from(n2);
    let year_of_century = (product >> 32) as u32;
    let day_of_year = (product as u32) / 2_939_745 / 4;
    let n3 = 2141 * day_of_year + 197_913;
    let (month, day) = (n3 >> 16, (n3 & 0xFFFF) / 2141 + 1);
    let late = day_of_year >= 306;
    let year = (100 * century + year_of_century + u32::from(late)) as i32 - 400 * ERAS as i32;
    Civil { year, month: if late { month - 12 } else { month }, day }
}

/// The day of a date. Any year of magnitude below 2^40; `month` 1 to 12.
#[inline(always)]
pub const fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = year - (month <= 2) as i64;
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let march_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = ((153 * march_month + 2) / 5 + day - 1) as i64;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * DAYS_PER_ERA as i64 + day_of_era - EPOCH
}

/// Monday is 0.
#[inline(always)]
pub fn weekday(day: i64) -> i64 {
    (day + 3).rem_euclid(7)
}

/// ISO 8601 year and week: a week belongs to the year of its Thursday.
#[inline(always)]
pub fn iso_week(day: i64) -> (i32, u32) {
    let thursday = day - weekday(day) + 3;
    let year = civil_from_days(thursday).year;
    let week = (thursday - days_from_civil(i64::from(year), 1, 1)) / 7 + 1;
    (year, week as u32)
}

/// 1 to 366.
#[inline(always)]
pub fn day_of_year(day: i64) -> u32 {
    let year = civil_from_days(day).year;
    (day - days_from_civil(i64::from(year), 1, 1)) as u32 + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{Datelike, NaiveDate};

    fn check(day: i64) {
        let date = NaiveDate::from_num_days_from_ce_opt((day + 719_163) as i32).unwrap();
        let civil = civil_from_days(day);
        assert_eq!((civil.year, civil.month, civil.day), (date.year(), date.month(), date.day()), "{day}");
        assert_eq!(days_from_civil(i64::from(civil.year), civil.month, civil.day), day);
        assert_eq!(weekday(day), i64::from(date.weekday().num_days_from_monday()));
        assert_eq!(day_of_year(day), date.ordinal());
        // chrono has no ISO year for the very last week that leaves its range.
        if (MIN_DAY + 7..MAX_DAY - 7).contains(&day) {
            assert_eq!(iso_week(day), (date.iso_week().year(), date.iso_week().week()), "{day}");
        }
    }

    #[test]
    fn every_day_of_three_eras_and_both_ends() {
        for day in -500_000..500_000 {
            check(day);
        }
        for k in 0..1000 {
            check(MIN_DAY + k);
            check(MAX_DAY - k);
        }
        let mut day = MIN_DAY;
        while day <= MAX_DAY {
            check(day);
            day += 9_973;
        }
    }

    #[test]
    fn the_range_is_chronos() {
        let days = |date: NaiveDate| i64::from(date.num_days_from_ce()) - 719_163;
        assert_eq!((MIN_DAY, MAX_DAY), (days(NaiveDate::MIN), days(NaiveDate::MAX)));
    }
}
