"""Conversion of units: temperatures, lengths, sizes of files, durations, paces.

Kinds drawn from the unit conversion examples of PySpark and pandas UDF tutorials, DuckDB's guides to
Python functions, and the scalar bodies of Numba's vectorize tests. The bodies are our own.
"""

import math

from udf_corpus import case, lambda_case

KM_PER_MILE = 1.609344
FACTORS = {
    "mm": 0.001,
    "cm": 0.01,
    "m": 1.0,
    "km": 1000.0,
    "in": 0.0254,
    "ft": 0.3048,
    "mi": 1609.344,
}
SIZES = ("B", "KB", "MB", "GB", "TB", "PB")
TO_GRAMS = {"g": 1, "kg": 1000, "oz": 28.349523125, "lb": 453.59237}


@case(rows=[32.0, 212.0, -40.0, 98.6])
def fahrenheit_to_celsius(f: float) -> float:
    return (f - 32) * 5 / 9


@case(rows=[0.0, 100.0, 36.6])
def celsius_to_fahrenheit(c: float) -> float:
    return c * 9.0 / 5.0 + 32.0


@case(rows=[(21.0, "C"), (70.0, "F"), (300.0, "K"), (1.0, "X")])
def to_kelvin(value: float, unit: str) -> float | None:
    unit = unit.upper()
    if unit == "C":
        return value + 273.15
    if unit == "F":
        return (value - 32.0) / 1.8 + 273.15
    if unit == "K":
        return value
    return None


@case(rows=[0.0, 26.2, 100.0])
def miles_to_km(miles: float) -> float:
    return round(miles * KM_PER_MILE, 3)


@case(rows=[(5.0, "ft"), (1.0, "mi"), (2.5, "cm")], raises=False)
def to_meters(value: float, unit: str) -> float:
    return value * FACTORS[unit]


@case(rows=[(5.0, "ft"), (1.0, "parsec"), (2.5, "cm")])
def to_meters_or_none(value: float, unit: str) -> float | None:
    factor = FACTORS.get(unit.strip().lower())
    if factor is None:
        return None
    return value * factor


@case(rows=[(2.0, "lb", "kg"), (500.0, "g", "oz")])
def convert_weight(value: float, source: str, target: str) -> float:
    if source == target:
        return value
    if source not in TO_GRAMS or target not in TO_GRAMS:
        return float("nan")
    return value * TO_GRAMS[source] / TO_GRAMS[target]


@case(rows=[0, 1023, 1024, 123456789, 10**15])
def human_size(n: int) -> str:
    size = float(n)
    i = 0
    while size >= 1024.0 and i < len(SIZES) - 1:
        size /= 1024.0
        i += 1
    return f"{size:.1f} {SIZES[i]}"


@case(rows=["10KB", "1.5 MB", "7", "2gb", "3B"])
def parse_size(s: str) -> int:
    s = s.strip().upper()
    factor = 1
    if s.endswith("KB"):
        factor = 1024
        s = s[:-2]
    elif s.endswith("MB"):
        factor = 1024**2
        s = s[:-2]
    elif s.endswith("GB"):
        factor = 1024**3
        s = s[:-2]
    elif s.endswith("B"):
        s = s[:-1]
    return int(float(s) * factor)


@case(rows=[0, 59, 61, 3600, 86399, 100000])
def seconds_to_hms(total: int) -> str:
    hours = total // 3600
    minutes = (total % 3600) // 60
    seconds = total % 60
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}"


@case(rows=["01:02:03", "00:00:00", "12:34", "99:59:59"])
def hms_to_seconds(s: str) -> int:
    total = 0
    for part in s.split(":"):
        total = total * 60 + int(part)
    return total


@case(rows=["1h30m", "45m", "2h", "90s", "1d"])
def parse_duration(s: str) -> int:
    total = 0
    number = 0
    for ch in s:
        if ch.isdigit():
            number = number * 10 + int(ch)
        elif ch == "d":
            total += number * 86400
            number = 0
        elif ch == "h":
            total += number * 3600
            number = 0
        elif ch == "m":
            total += number * 60
            number = 0
        elif ch == "s":
            total += number
            number = 0
        else:
            return -1
    return total


@case(rows=[(70.0, 1.75), (95.5, 1.8), (50.0, 1.6)])
def bmi(weight: float, height: float) -> float:
    return round(weight / height**2, 1)


@case(rows=["5'11\"", "6'0\"", "5'"])
def feet_inches_to_cm(s: str) -> float:
    feet, _, rest = s.partition("'")
    inches = rest.rstrip('"')
    total = int(feet) * 12
    if inches:
        total += int(inches)
    return total * 2.54


@case(rows=[(10.0, 50.0), (42.195, 180.0)])
def pace(km: float, minutes: float) -> str:
    per_km = minutes / km
    whole = int(per_km)
    seconds = round((per_km - whole) * 60)
    if seconds == 60:
        whole += 1
        seconds = 0
    return "%d:%02d" % (whole, seconds)


@case(rows=[0.0, 5.0, 12.0, 33.0])
def beaufort(speed: float) -> int:
    limits = (0.3, 1.6, 3.4, 5.5, 8.0, 10.8, 13.9, 17.2, 20.8, 24.5, 28.5, 32.7)
    for force, limit in enumerate(limits):
        if speed < limit:
            return force
    return 12


@case(rows=[(30.0, 60.0), (5.0, 20.0)])
def wind_chill(celsius: float, wind: float) -> float:
    if celsius > 10.0 or wind <= 4.8:
        return celsius
    v = wind**0.16
    return 13.12 + 0.6215 * celsius - 11.37 * v + 0.3965 * celsius * v


@case(rows=[(1000.0, 20.0), (0.0, 1.0), (40.0, 50.0)])
def heat_index_level(t: float, humidity: float) -> str:
    e = humidity / 100 * 6.105 * math.exp(17.27 * t / (237.7 + t))
    feels = t + 0.33 * e - 4.0
    return "high" if feels > 40 else "medium" if feels > 27 else "low"


@case(rows=[1, 255, 4095, 0])
def to_hex(n: int) -> str:
    digits = "0123456789abcdef"
    if n == 0:
        return "0"
    sign = ""
    if n < 0:
        sign = "-"
        n = -n
    out = ""
    while n > 0:
        out = digits[n % 16] + out
        n //= 16
    return sign + out


@case(rows=["ff", "0", "1A", "dead"])
def from_hex(s: str) -> int:
    value = 0
    for ch in s.lower():
        if "0" <= ch <= "9":
            digit = ord(ch) - ord("0")
        elif "a" <= ch <= "f":
            digit = ord(ch) - ord("a") + 10
        else:
            return -1
        value = value * 16 + digit
    return value


@case(rows=[1, 4, 9, 14, 1990, 3999])
def to_roman(n: int) -> str:
    if not 0 < n < 4000:
        return ""
    out = ""
    for value, letters in (
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ):
        while n >= value:
            out += letters
            n -= value
    return out


@case(rows=["XIV", "MCMXC", "IIX", "iv"])
def from_roman(s: str) -> int:
    values = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
    total = 0
    last = 0
    for ch in reversed(s.upper()):
        value = values.get(ch, 0)
        if value < last:
            total -= value
        else:
            total += value
            last = value
    return total


@case(rows=[10.0, 7.5, 0.0])
def liters_per_100km(mpg: float) -> float | None:
    return 235.214583 / mpg if mpg else None


lambda_case("inch_to_cm", lambda x: x * 2.54, [float], float, [1.0, 12.0])
lambda_case("cents", lambda x: int(round(x * 100)), [float], int, [1.25, 0.285, 19.99])
lambda_case("db_to_ratio", lambda db: 10 ** (db / 10), [float], float, [3.0, -10.0, 0.0])
lambda_case("ratio_to_db", lambda r: 10 * math.log10(r), [float], float, [2.0, 100.0, 0.5])
