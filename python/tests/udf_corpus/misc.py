"""What else is found in people's UDFs: hashes by hand, hashing into buckets, codes, games, sensors,
and functions that reach outside (classes, files, locks, libraries, dynamic Python).

Kinds drawn from Snowflake's, BigQuery's and DuckDB's documentation of Python functions, Kaggle
notebooks, and questions about slow PySpark UDFs. The bodies are our own.
"""

import datetime
import functools
import itertools
import math
import threading
import uuid
from decimal import Decimal
from enum import Enum
from fractions import Fraction

from udf_corpus import SMALL, case, lambda_case

LOOKUP = {"red": 1, "green": 2, "blue": 3}
PERMISSIONS = {1: "read", 2: "write", 4: "run"}
MATRIX = ((1, 2, 3), (4, 5, 6), (7, 8, 9))
WORD_BITS = 0xFFFFFFFF


@case(rows=["hello", "", "abc"])
def djb2(s: str) -> int:
    h = 5381
    for ch in s:
        h = (h * 33 + ord(ch)) & WORD_BITS
    return h


@case(rows=["hello", "", "abc"])
def fnv1a(s: str) -> int:
    h = 2166136261
    for ch in s:
        h ^= ord(ch) & 0xFF
        h = h * 16777619 % 2**32
    return h


@case(rows=["hello", ""])
def adler(s: str) -> int:
    a, b = 1, 0
    for ch in s:
        a = (a + ord(ch)) % 65521
        b = (b + a) % 65521
    return (b << 16) | a


@case(rows=[(17, 8), (123456, 100)], odd={"buckets": SMALL})
def bucket(key: int, buckets: int) -> int:
    key = (key ^ (key >> 16)) * 0x45D9F3B & WORD_BITS
    return key % buckets


@case(rows=[1, 2, 3, 12345])
def xorshift(seed: int) -> int:
    x = seed & WORD_BITS
    x ^= (x << 13) & WORD_BITS
    x ^= x >> 17
    x ^= (x << 5) & WORD_BITS
    return x


@case(rows=["red", "pink", "blue"])
def color_code(name: str) -> int | None:
    return LOOKUP.get(name)


@case(rows=[(255, 0, 128), (0, 0, 0), (1, 2, 3)])
def rgb_to_hex(r: int, g: int, b: int) -> str:
    return f"#{r:02x}{g:02x}{b:02x}"


@case(rows=["#ff0080", "#000000"])
def hex_to_gray(color: str) -> int:
    r, g, b = int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
    return (r * 299 + g * 587 + b * 114) // 1000


@case(rows=[(0.1, 0.5, 0.9), (1.0, 0.0, 0.0)])
def luminance(r: float, g: float, b: float) -> float:
    def linear(c):
        return c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4

    return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)


@case(rows=[0, 1, 6, 7])
def permissions(mask: int) -> str:
    names = []
    for bit, name in PERMISSIONS.items():
        if mask & bit:
            names.append(name)
    return ",".join(names)


@case(rows=["rwxr-xr--", "---------", "rw"])
def mode_bits(s: str) -> int:
    mode = 0
    for i, ch in enumerate(s):
        if i >= 9:
            break
        mode = mode << 1 | (ch != "-")
    return mode


@case(rows=[("rock", "paper"), ("rock", "rock"), ("x", "paper")])
def rock_paper_scissors(a: str, b: str) -> int:
    moves = ("rock", "paper", "scissors")
    if a not in moves or b not in moves:
        return -99
    return (moves.index(a) - moves.index(b) + 1) % 3 - 1


@case(rows=["e4", "a1", "h8", "z9"])
def dark_square(square: str) -> bool | None:
    if len(square) != 2:
        return None
    column, row = ord(square[0]) - ord("a"), ord(square[1]) - ord("1")
    if not (0 <= column < 8 and 0 <= row < 8):
        return None
    return (column + row) % 2 == 0


@case(rows=["AAAAK", "23456", ""])
def hand_value(cards: str) -> int:
    total = 0
    aces = 0
    for c in cards:
        if c == "A":
            total += 11
            aces += 1
        elif c in "KQJT":
            total += 10
        elif c.isdigit():
            total += int(c)
    while total > 21 and aces:
        total -= 10
        aces -= 1
    return total


@case(rows=[(1, 1), (0, 2), (2, 0)], odd={"r": [None, 0, 1, 2, 3, -1, -4], "c": [0, 1, 2, 3, None]})
def matrix_cell(r: int, c: int) -> int:
    return MATRIX[r][c]


@case(rows=["ACGT", "AAXT", ""])
def complement(dna: str) -> str:
    pairs = {"A": "T", "T": "A", "C": "G", "G": "C"}
    out = ""
    for base in dna:
        out = pairs.get(base, "N") + out
    return out


@case(rows=["ACGT", "GGGC", ""])
def gc_content(dna: str) -> float:
    if not dna:
        return 0.0
    return (dna.count("G") + dna.count("C")) / len(dna)


@case(rows=[(21.5, 45.0), (30.0, 90.0)])
def dew_point(t: float, humidity: float) -> float:
    g = math.log(humidity / 100) + 17.62 * t / (243.12 + t)
    return 243.12 * g / (17.62 - g)


@case(rows=[(5, 0.2), (1, 0.0)], odd={"n": SMALL})
def exponential_smoothing(n: int, alpha: float) -> float:
    level = 0.0
    for i in range(n):
        level = alpha * (i % 7) + (1 - alpha) * level
    return level


@case(rows=[0.5, 3.7, -1.0])
def taylor_exp(x: float) -> float:
    term = total = 1.0
    for i in range(1, 20):
        term *= x / i
        total += term
    return total


@case(rows=[(-0.5, 0.5), (1.0, 1.0), (0.0, 0.0)])
def mandelbrot(cr: float, ci: float) -> int:
    zr = zi = 0.0
    for i in range(50):
        zr, zi = zr * zr - zi * zi + cr, 2 * zr * zi + ci
        if zr * zr + zi * zi > 4.0:
            return i
    return 50


@case(rows=[(1.0, -3.0, 2.0), (1.0, 0.0, 1.0), (0.0, 2.0, -4.0)])
def larger_root(a: float, b: float, c: float) -> float | None:
    if a == 0:
        return -c / b if b else None
    d = b * b - 4 * a * c
    if d < 0:
        return None
    return (-b + math.sqrt(d)) / (2 * a)


@case(rows=[(3.0, 4.0, 5.0), (1.0, 1.0, 5.0)])
def triangle_area(a: float, b: float, c: float) -> float:
    s = (a + b + c) / 2
    under = s * (s - a) * (s - b) * (s - c)
    return math.sqrt(under) if under > 0 else 0.0


@case(rows=[1.0, math.nan, math.inf])
def number_kind(x: float) -> str:
    if math.isnan(x):
        return "nan"
    if math.isinf(x):
        return "inf" if x > 0 else "-inf"
    if x == int(x):
        return "whole"
    return "fraction"


@case(rows=[1.5, 2.0, 1e22])
def float_text(x: float) -> str:
    return str(x)


@case(rows=[1.5, 3.25])
def type_name(x: float) -> str:
    if isinstance(x, int):
        return "int"
    elif isinstance(x, float):
        return "float"
    return type(x).__name__


class Color(Enum):
    """An enumeration."""

    RED = 1
    BLUE = 2


@case(rows=[1, 2], odd={"n": [1, 2, None]})
def enum_name(n: int) -> str:
    return Color(n).name


class Point:
    """A class with attributes."""

    def __init__(self, x, y):
        self.x = x
        self.y = y

    def norm(self):
        return math.hypot(self.x, self.y)


@case(rows=[(3.0, 4.0), (0.0, 1.0)], stays="class")
def point_norm(x: float, y: float) -> float:
    return Point(x, y).norm()


@case(rows=["1.10", "2"], odd={"s": ["3", "0.1", None]}, stays="Decimal")
def decimal_sum(s: str) -> str:
    return str(Decimal(s) + Decimal("0.20"))


@case(rows=[0.5, 0.75], odd={"x": [0.1, 2.0, None]}, stays="Fraction")
def as_fraction(x: float) -> str:
    return str(Fraction(x).limit_denominator(100))


@case(rows=["a", "b"], stays="uuid")
def uuid_of(s: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, s))


_lock = threading.Lock()


@case(rows=[1, 2], stays="with")
def locked(n: int) -> int:
    with _lock:
        return n + 1


@functools.lru_cache(maxsize=None)
def slow_square(n):
    """Memoized by a decorator."""
    return n * n


@case(rows=[1, 2], odd={"n": SMALL}, stays="lru_cache")
def cached(n: int) -> int:
    return slow_square(n) + 1


@case(rows=[3, 5], odd={"n": SMALL}, stays="itertools")
def accumulated(n: int) -> int:
    return max(itertools.accumulate(range(n), lambda a, b: a * 2 + b, initial=0)) if n < 60 else 0


@case(rows=["abc", "ABC"], stays="getattr")
def method_by_name(s: str) -> str:
    name = "upper" if s.islower() else "lower"
    return getattr(s, name)()


@case(rows=[1, 2], odd={"n": SMALL}, stays="yield")
def generated(n: int) -> int:
    def numbers():
        i = n
        while i > 0:
            yield i
            i //= 2

    return len(list(numbers()))


@case(rows=["12:30", "x"], odd={"s": ["1:02", "", None]})
def minutes_or_none(s: str) -> int | None:
    try:
        h, m = s.split(":")
    except ValueError:
        return None
    else:
        return int(h) * 60 + int(m)


@case(rows=["2024-01-31", "x"], odd={"s": ["2023-02-29", "", None]})
def month_of(s: str) -> int | None:
    try:
        return datetime.date.fromisoformat(s).month
    except ValueError:
        return None


@case(rows=["a,b", ""], stays="module")
def csv_width(s: str) -> int:
    import csv

    return len(next(csv.reader([s.replace("\n", " ").replace("\r", " ").replace("\x00", "")]), []))


lambda_case("lookup", lambda s: LOOKUP[s], [str], int, ["red", "blue"])
lambda_case("in_list", lambda n: n in [1, 2, 3, 5, 8], [int], bool, [3, 4])
lambda_case("tanh", lambda x: math.tanh(x), [float], float, [0.5, -3.0])
lambda_case("clamp_unit", lambda x: max(0.0, min(1.0, x)), [float], float, [0.5, 3.0])
