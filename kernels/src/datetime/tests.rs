//! Against chrono, which DataFusion's own `date_part` calls, and against DataFusion's rules for
//! `date_trunc`, written out with chrono.

use super::*;
use crate::isa::Level;
use chrono::{DateTime, Datelike, NaiveDateTime, TimeDelta, Timelike};
use proptest::prelude::*;

pub(super) fn datetime(unit: Unit, value: i64) -> Option<NaiveDateTime> {
    let second = unit.per_second();
    let nanos = value.rem_euclid(second) * (1_000_000_000 / second);
    Some(DateTime::from_timestamp(value.div_euclid(second), nanos as u32)?.naive_utc())
}

fn part_by_chrono(part: Part, at: NaiveDateTime) -> i32 {
    let second = at.second() as i32;
    match part {
        Part::Year => at.year(),
        Part::Quarter => at.month0() as i32 / 3 + 1,
        Part::Month => at.month() as i32,
        Part::Week => at.iso_week().week() as i32,
        Part::Day => at.day() as i32,
        Part::DayOfWeek => at.weekday().num_days_from_sunday() as i32,
        Part::DayOfYear => at.ordinal() as i32,
        Part::Hour => at.hour() as i32,
        Part::Minute => at.minute() as i32,
        Part::Second => second,
        Part::Millisecond => second * 1_000 + at.nanosecond() as i32 / 1_000_000,
        Part::Microsecond => second * 1_000_000 + at.nanosecond() as i32 / 1_000,
        Part::IsoYear => at.iso_week().year(),
        Part::IsoDayOfWeek => at.weekday().number_from_monday() as i32,
        Part::Subsecond => at.nanosecond() as i32,
    }
}

fn trunc_by_chrono(to: Trunc, at: NaiveDateTime) -> Option<NaiveDateTime> {
    let midnight = at.with_nanosecond(0)?.with_second(0)?.with_minute(0)?.with_hour(0)?;
    match to {
        Trunc::Year => midnight.with_day(1)?.with_month(1),
        Trunc::Quarter => midnight.with_day(1)?.with_month0(at.month0() / 3 * 3),
        Trunc::Month => midnight.with_day(1),
        Trunc::Week => Some(midnight - TimeDelta::days(at.weekday().num_days_from_monday().into())),
        Trunc::Day => Some(midnight),
        Trunc::Hour => at.with_nanosecond(0)?.with_second(0)?.with_minute(0),
        Trunc::Minute => at.with_nanosecond(0)?.with_second(0),
        Trunc::Second => at.with_nanosecond(0),
        Trunc::Millisecond => at.with_nanosecond(at.nanosecond() / 1_000_000 * 1_000_000),
        Trunc::Microsecond => at.with_nanosecond(at.nanosecond() / 1_000 * 1_000),
    }
}

/// Ticks near now, near the epoch, anywhere in the calendar, anywhere at all.
pub(super) fn tick() -> impl Strategy<Value = (usize, i64)> {
    (0usize..4).prop_flat_map(|unit| {
        let second = Unit::ALL[unit].per_second();
        let calendar = MAX_DAY.saturating_mul(Unit::ALL[unit].per_day());
        let value = prop_oneof![
            (-3_000_000_000i64..5_000_000_000).prop_map(move |s| s.saturating_mul(second)),
            (-3_000_000_000i64..5_000_000_000, any::<u32>())
                .prop_map(move |(s, t)| s.saturating_mul(second).saturating_add(i64::from(t) % second)),
            -200_000i64..200_000,
            -calendar..calendar,
            any::<i64>(),
            prop::sample::select(vec![i64::MIN, i64::MIN + 1, i64::MAX, 0, -1]),
        ];
        (Just(unit), value)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn parts_are_chronos((unit, value) in tick()) {
        let unit = Unit::ALL[unit];
        for part in Part::ALL {
            let want = datetime(unit, value).map(|at| part_by_chrono(part, at));
            prop_assert_eq!(date_part(unit, part, value), want, "{:?} {:?}", unit, part);
        }
    }

    #[test]
    fn parts_of_days_are_chronos(
        day in prop_oneof![any::<i32>(), -300_000i32..300_000, -96_000_000i32..96_000_000],
    ) {
        let at = datetime(Unit::Second, i64::from(day) * 86_400);
        for part in Part::ALL {
            let want = if part.is_clock() { Some(0) } else { at.map(|at| part_by_chrono(part, at)) };
            prop_assert_eq!(date_part_of_day(part, day), want, "{:?}", part);
        }
        for to in Trunc::ALL {
            let got = date_trunc_day(to, day);
            if let Some(at) = at && at.year() > -262_000 {
                let want = trunc_by_chrono(to, at).unwrap().and_utc().timestamp() / 86_400;
                let want = if to as i32 > Trunc::Day as i32 { day } else { want as i32 };
                prop_assert_eq!(got, Some(want), "{:?}", to);
            }
        }
    }

    #[test]
    fn truncation_is_datafusions((unit, value) in tick()) {
        let unit = Unit::ALL[unit];
        for to in Trunc::ALL {
            let got = date_trunc(unit, to, value);
            // By the calendar, wherever chrono and nanoseconds reach.
            let scale = 1_000_000_000 / unit.per_second();
            let nanos = value.checked_mul(scale);
            if let (Some(_), Some(at)) = (nanos, datetime(unit, value)) {
                let want = trunc_by_chrono(to, at)
                    .and_then(|t| t.and_utc().timestamp_nanos_opt())
                    .map(|t| t / scale);
                prop_assert_eq!(got, want, "{:?} {:?}", unit, to);
            }
            let long = matches!(to, Trunc::Year | Trunc::Quarter | Trunc::Month | Trunc::Week);
            if nanos.is_none() && long {
                prop_assert_eq!(got, None);
            }
            if let Some(got) = got {
                prop_assert!(got <= value && date_trunc(unit, to, got) == Some(got));
            }
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn kernels_are_the_scalar_functions(rows in prop::collection::vec((tick(), any::<i32>()), 0..200)) {
        let ticks: Vec<i64> = rows.iter().map(|r| r.0.1).collect();
        let days: Vec<i32> = rows.iter().map(|r| r.1 % 100_000_000).collect();
        let n = rows.len();
        let mut narrow = vec![7i32; n];
        let mut wide = vec![7i64; n];
        let mut ok = vec![0xEEu8; n.div_ceil(64) * 8];
        let bit = |ok: &[u8], i: usize| ok[i / 8] >> (i % 8) & 1 == 1;
        for level in Level::ALL.into_iter().filter(|l| l.is_available()) {
            for unit in Unit::ALL {
                for part in Part::ALL {
                    let kernel = rt_date_part::at(level);
                    let codes = (unit as i32, part as i32);
                    unsafe {
                        kernel(n, ticks.as_ptr(), codes.0, codes.1, narrow.as_mut_ptr(), ok.as_mut_ptr())
                    };
                    for i in 0..n {
                        let want = date_part(unit, part, ticks[i]);
                        prop_assert_eq!((bit(&ok, i), narrow[i]), (want.is_some(), want.unwrap_or(0)));
                    }
                }
                for to in Trunc::ALL {
                    let kernel = rt_date_trunc::at(level);
                    let codes = (unit as i32, to as i32);
                    unsafe {
                        kernel(n, ticks.as_ptr(), codes.0, codes.1, wide.as_mut_ptr(), ok.as_mut_ptr())
                    };
                    for i in 0..n {
                        let want = date_trunc(unit, to, ticks[i]);
                        prop_assert_eq!((bit(&ok, i), wide[i]), (want.is_some(), want.unwrap_or(0)));
                    }
                }
            }
            for part in Part::ALL {
                let kernel = rt_date_part_day::at(level);
                unsafe { kernel(n, days.as_ptr(), part as i32, narrow.as_mut_ptr(), ok.as_mut_ptr()) };
                for i in 0..n {
                    let want = date_part_of_day(part, days[i]);
                    prop_assert_eq!((bit(&ok, i), narrow[i]), (want.is_some(), want.unwrap_or(0)));
                }
            }
            for to in Trunc::ALL {
                let kernel = rt_date_trunc_day::at(level);
                unsafe { kernel(n, days.as_ptr(), to as i32, narrow.as_mut_ptr(), ok.as_mut_ptr()) };
                for i in 0..n {
                    let want = date_trunc_day(to, days[i]);
                    prop_assert_eq!((bit(&ok, i), narrow[i]), (want.is_some(), want.unwrap_or(0)));
                }
            }
        }
    }
}
