"""Date and time logic: ages, quarters, weekends, shifts, leap years, deadlines.

Kinds drawn from the date examples of PySpark and pandas UDF tutorials (fiscal quarters, age from a
birthday, business hours), Tuplex's flights pipeline (times as HHMM integers), and the datetime tests
of Numba and DuckDB. The bodies are our own.
"""

import calendar
import datetime as dt
import time
from datetime import date, datetime, timedelta

from udf_corpus import SMALL, case, lambda_case

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTH_LENGTHS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
MONTH_NAMES = "JanFebMarAprMayJunJulAugSepOctNovDec"
HOLIDAYS = {(1, 1), (7, 4), (12, 25)}
EPOCH = date(1970, 1, 1)
CUTOFF = date(2020, 1, 1)


@case(rows=[2000, 1900, 2024, 2023, 1600])
def is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


@case(rows=[(2024, 2), (2023, 2), (2023, 12), (2023, 13)])
def days_in_month(year: int, month: int) -> int:
    if month < 1 or month > 12:
        return 0
    if month == 2 and is_leap(year):
        return 29
    return MONTH_LENGTHS[month - 1]


@case(rows=[date(2024, 1, 15), date(2024, 12, 31), date(2024, 4, 1)])
def quarter(d: date) -> int:
    return (d.month - 1) // 3 + 1


@case(rows=[date(2024, 1, 15), date(2024, 12, 31), date(2024, 4, 1)])
def fiscal_quarter(d: date) -> str:
    m = d.month
    if m >= 4:
        year = d.year
    else:
        year = d.year - 1
    q = (m - 4) % 12 // 3 + 1
    return f"FY{year % 100:02d}Q{q}"


@case(rows=[date(2024, 6, 1), date(2024, 6, 3)])
def is_weekend(d: date) -> bool:
    return d.weekday() >= 5


@case(rows=[date(2024, 6, 1), date(2024, 6, 3)])
def day_name(d: date) -> str:
    return DAYS[d.weekday()]


@case(rows=[(date(1980, 5, 20), date(2024, 5, 19)), (date(2000, 2, 29), date(2024, 2, 29))])
def age_on(born: date, on: date) -> int:
    age = on.year - born.year
    if (on.month, on.day) < (born.month, born.day):
        age -= 1
    return age


@case(rows=[(date(2024, 1, 1), date(2024, 3, 1)), (date(2024, 3, 1), date(2024, 1, 1))])
def days_between(a: date, b: date) -> int:
    return abs((b - a).days)


@case(rows=[(date(2024, 1, 31), date(2024, 3, 1)), (date(2023, 12, 1), date(2024, 1, 1))])
def months_between(a: date, b: date) -> int:
    return (b.year - a.year) * 12 + b.month - a.month


@case(rows=[date(2024, 7, 4), date(2024, 12, 25), date(2024, 3, 3)])
def is_holiday(d: date) -> bool:
    return (d.month, d.day) in HOLIDAYS


@case(rows=[date(2024, 7, 4), date(2019, 12, 31)])
def before_cutoff(d: date) -> bool:
    return d < CUTOFF


@case(rows=[date(2024, 3, 20), date(2024, 12, 21), date(2024, 7, 1), date(2024, 10, 2)])
def season(d: date) -> str:
    md = d.month * 100 + d.day
    if 320 <= md < 621:
        return "spring"
    if 621 <= md < 922:
        return "summer"
    if 922 <= md < 1221:
        return "autumn"
    return "winter"


@case(rows=[date(1990, 3, 21), date(1990, 12, 25), date(1990, 1, 1)])
def zodiac(d: date) -> str:
    limits = (20, 19, 21, 20, 21, 21, 23, 23, 23, 23, 22, 22)
    signs = "Cap Aqu Pis Ari Tau Gem Can Leo Vir Lib Sco Sag Cap".split(" ")
    i = d.month - 1
    if d.day >= limits[i]:
        i += 1
    return signs[i]


@case(rows=[date(2024, 1, 30), date(2023, 12, 31)])
def next_day(d: date) -> date:
    return d + timedelta(days=1)


@case(rows=[date(2024, 1, 30), date(2023, 2, 5)])
def first_of_month(d: date) -> date:
    return d.replace(day=1)


@case(rows=[date(2024, 1, 30), date(2023, 2, 5), date(2024, 12, 31)])
def end_of_month(d: date) -> date:
    return date(d.year, d.month, days_in_month(d.year, d.month))


@case(rows=[date(2024, 1, 30), date(2023, 2, 5)])
def last_day_by_calendar(d: date) -> int:
    return calendar.monthrange(d.year, d.month)[1]


@case(rows=[date(2024, 1, 30), date(2023, 2, 5)])
def iso_text(d: date) -> str:
    return d.isoformat()


@case(rows=[date(2024, 1, 30), date(2023, 2, 5)])
def us_text(d: date) -> str:
    return "%02d/%02d/%d" % (d.month, d.day, d.year)


@case(rows=[date(2024, 1, 30), date(2023, 2, 5)])
def long_text(d: date) -> str:
    return d.strftime("%d %B %Y")


@case(rows=["2024-02-29", "1999-12-31"])
def year_of_text(s: str) -> int:
    return int(s[:4])


@case(rows=["2024-02-29", "1999-12-31", "2024-13-01", "2023-02-29"])
def valid_date(s: str) -> bool:
    parts = s.split("-")
    if len(parts) != 3:
        return False
    for part in parts:
        if not part.isdigit() or len(part) > 4:
            return False
    year, month, day = int(parts[0]), int(parts[1]), int(parts[2])
    return year > 0 and 1 <= month <= 12 and 1 <= day <= days_in_month(year, month)


@case(rows=["02/29/2024", "12/31/1999"])
def us_to_iso(s: str) -> str:
    month, day, year = s.split("/")
    return f"{int(year):04d}-{int(month):02d}-{int(day):02d}"


@case(rows=["12 Mar 2024", "1 Jan 1999"])
def text_to_month(s: str) -> int:
    name = s.split(" ")[1]
    return MONTH_NAMES.index(name) // 3 + 1


@case(rows=["2024-02-29 12:00", "1999-12-31 23:59"], stays="strptime")
def parse_time(s: str) -> datetime:
    return datetime.strptime(s, "%Y-%m-%d %H:%M")


@case(rows=[1234, 5, 2359, 2400])
def hhmm_to_minutes(t: int) -> int:
    return t // 100 * 60 + t % 100


@case(rows=[(2330, 15), (800, 1230), (0, 0)])
def flight_minutes(dep: int, arr: int) -> int:
    start = dep // 100 * 60 + dep % 100
    end = arr // 100 * 60 + arr % 100
    if end < start:
        end += 24 * 60
    return end - start


@case(rows=[datetime(2024, 6, 1, 6, 0), datetime(2024, 6, 1, 23, 59), datetime(2024, 6, 1, 12)])
def shift(t: datetime) -> str:
    if 6 <= t.hour < 14:
        return "early"
    if 14 <= t.hour < 22:
        return "late"
    return "night"


@case(rows=[datetime(2024, 6, 3, 9, 0), datetime(2024, 6, 1, 12), datetime(2024, 6, 3, 17)])
def business_hours(t: datetime) -> bool:
    return t.weekday() < 5 and 9 <= t.hour < 17


@case(rows=[datetime(2024, 6, 3, 9, 1, 2), datetime(1999, 12, 31, 23, 59, 59)])
def clock_text(t: datetime) -> str:
    hour = t.hour % 12
    if hour == 0:
        hour = 12
    return f"{hour}:{t.minute:02d} {'AM' if t.hour < 12 else 'PM'}"


@case(rows=[datetime(2024, 6, 3, 9, 1, 2), datetime(1999, 12, 31, 23, 59, 59)])
def seconds_of_day(t: datetime) -> float:
    return t.hour * 3600 + t.minute * 60 + t.second + t.microsecond / 1e6


@case(rows=[(datetime(2024, 6, 3, 9), datetime(2024, 6, 4, 10, 30))])
def hours_elapsed(a: datetime, b: datetime) -> float:
    return round((b - a).total_seconds() / 3600, 2)


@case(rows=[datetime(2024, 6, 3, 9, 44), datetime(1999, 12, 31, 23, 59, 59)])
def floor_quarter_hour(t: datetime) -> datetime:
    return t.replace(minute=t.minute // 15 * 15, second=0, microsecond=0)


@case(rows=[datetime(2024, 6, 3, 9, 44)])
def date_part(t: datetime) -> date:
    return t.date()


@case(rows=[datetime(2024, 6, 3), datetime(2000, 1, 1)], stays="now")
def is_past(t: datetime) -> bool:
    return t < datetime.now() or t.year < 2100


@case(rows=[1, 10**9], odd={"ts": SMALL}, stays="time")
def before_now(ts: int) -> bool:
    return ts < time.time()


@case(rows=[0, 19000, -719162])
def from_epoch_days(n: int) -> date:
    return EPOCH + timedelta(days=n)


@case(rows=[2024, 2000, 1999], odd={"year": [*SMALL, 1583, 2100, 4099]})
def easter_march_day(year: int) -> int:
    a, b, c = year % 19, year // 100, year % 100
    d, e = divmod(b, 4)
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    m = (a + 11 * h) // 319
    r = (2 * e + 2 * (c // 4) - c % 4 - h + m + 32) % 7
    return (h - m + r + 90) // 25 * 31 + (h - m + r + (h - m + r + 90) // 25 + 19) % 32


lambda_case("year", lambda d: d.year, [dt.date], int, [date(2024, 1, 1)])
lambda_case("week", lambda d: d.isocalendar()[1], [dt.date], int, [date(2024, 1, 1)])
lambda_case("ordinal_day", lambda d: d.toordinal(), [dt.date], int, [date(2024, 1, 1)])
