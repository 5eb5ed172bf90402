"""Writes operations.txt: what CPython answers for each operation of the function IR, on edge values and random ones.

    python3 operations.py > operations.txt

With a number as argument the random ones are others and nothing is left out; `FUSELINE_OPERATIONS=FILE` has the test
read such a file.

A line is `operation(operands) = result`; `bails` instead of a result where Python raises or the result does not fit 64
bits. `~` instead of `=`: the operation may bail too (its comment in op.rs says when). `=near`: a function of libm, within
one unit in the last place, because libraries differ.
"""

import ctypes
import datetime as dt
import math
import operator
import random

from answers import (
    EPOCH,
    FLOATS,
    INTS,
    MICRO,
    TEXTS,
    Date,
    DateTime,
    bound,
    line,
    quoted,
    random_float,
    texts,
)

# ---- ints -------------------------------------------------------------------------------------------------

MIN = -(2**63)
for name, function in [
    ("add", operator.add),
    ("sub", operator.sub),
    ("mul", operator.mul),
    ("bit_and", operator.and_),
    ("bit_or", operator.or_),
    ("bit_xor", operator.xor),
    ("gcd", math.gcd),
]:
    for a in INTS:
        for b in random.sample(INTS, 9):
            line(name, (a, b), function)
for name, function in [
    ("floor_div", operator.floordiv),
    ("mod", operator.mod),
    ("true_div", operator.truediv),
]:
    for a in INTS:
        for b in random.sample(INTS, 12) + [0, -1, 3]:
            beyond = name == "true_div" and max(abs(a), abs(b)) > 2**53
            line(name, (a, b), function, may_bail=beyond or (a, b) == (MIN, -1))


def power(a, b):
    if b < 0:
        raise ValueError
    if b > 200 and abs(a) > 1:
        raise OverflowError
    return a**b if b < 300 else (a if b % 2 else a * a)


def shift_left(a, n):
    if n > 200 and a:
        raise OverflowError
    return a << n if n < 300 else 0


for a in INTS:
    for b in [0, 1, 2, 3, 5, 10, 31, 40, 62, 63, 64, -1, 2**40, 2**40 + 1]:
        line("pow", (a, b), power)
        line("shl", (a, b), shift_left)
        line("shr", (a, b), lambda a, n: a >> n if n < 2**31 else operator.rshift(a, min(n, 1000)))
for a in INTS:
    line("neg", (a,), operator.neg)
    line("abs", (a,), abs)
    line("invert", (a,), operator.invert)
    line("int_to_float", (a,), float)
    line("int_to_str", (a,), str)
    line("chr", (a,), chr)
    for n in [0, 1, -1, -2, -3, -9, -17, -18, -19, -20, -25, 5]:
        line("round_int", (a, n), round)
for n in [
    15,
    25,
    35,
    -15,
    -25,
    149,
    151,
    -150,
    250,
    5,
    -5,
    2500000000000000000,
    7500000000000000000,
]:
    for d in [-1, -2, -3, -18, -19]:
        line("round_int", (n, d), round)
for c in [65, 0xE9, 0x65E5, 0x1F600, 0xD7FF, 0xD800, 0xDFFF, 0xE000, 0x10FFFF, 0x110000]:
    line("chr", (c,), chr)
for a in INTS:
    for x in random.sample(FLOATS, 12) + [
        float(a),
        math.nextafter(float(a), math.inf),
        math.nextafter(float(a), -math.inf),
    ]:
        for name in ["eq", "ne", "lt", "le", "gt", "ge"]:
            if random.random() < 0.4:
                line(f"cmp_int_float.{name}", (a, x), getattr(operator, name))

# ---- floats -----------------------------------------------------------------------------------------------

pairs = [(x, y) for x in FLOATS for y in random.sample(FLOATS, 9)] + [
    (random_float(), random_float()) for _ in range(400)
]
for name, function in [
    ("add", operator.add),
    ("sub", operator.sub),
    ("mul", operator.mul),
    ("true_div", operator.truediv),
    ("floor_div", operator.floordiv),
    ("mod", operator.mod),
]:
    for x, y in pairs:
        if random.random() < 0.6 and not (math.isnan(x) and math.isnan(y)):
            line(name, (x, y), function)
POWERS = [
    0.0,
    1.0,
    2.0,
    3.0,
    0.5,
    -0.5,
    -1.0,
    -2.0,
    1 / 3,
    1e300,
    float("inf"),
    float("-inf"),
    float("nan"),
    5.0,
    1e17,
    -0.0,
]
for x in FLOATS + [random_float() for _ in range(40)]:
    for y in POWERS:
        line("pow", (x, y), operator.pow, near=True)
        line("math_pow.libm", (x, y), math.pow, near=True, may_bail=True)
for x, y in pairs:
    if random.random() < 0.4:
        line("atan2.libm", (x, y), math.atan2, near=True)
        line("hypot.libm", (x, y), math.hypot, near=True, may_bail=True)
        line("fmod.libm", (x, y), math.fmod)
        line("copysign.libm", (x, y), math.copysign)
    for name in ["eq", "ne", "lt", "le", "gt", "ge"]:
        if random.random() < 0.1:
            line(f"cmp.{name}", (x, y), getattr(operator, name))
for x in FLOATS + [random_float() for _ in range(60)]:
    line("neg", (x,), operator.neg)
    line("abs", (x,), abs)
    line("trunc", (x,), int)
    line("floor", (x,), math.floor)
    line("ceil", (x,), math.ceil)
    line("round_even", (x,), round)
    line("is_nan", (x,), math.isnan)
    line("is_inf", (x,), math.isinf)
    line("is_finite", (x,), math.isfinite)
    line("is_integer", (x,), float.is_integer)
    line("degrees.libm", (x,), math.degrees)
    line("radians.libm", (x,), math.radians)
    line("sqrt.libm", (x,), math.sqrt)
    for name in [
        "exp",
        "exp2",
        "expm1",
        "log",
        "log2",
        "log10",
        "log1p",
        "sin",
        "cos",
        "tan",
        "asin",
        "acos",
        "atan",
        "sinh",
        "cosh",
        "tanh",
        "asinh",
        "acosh",
        "atanh",
        "cbrt",
        "erf",
        "erfc",
    ]:
        line(f"{name}.libm", (x,), getattr(math, name), near=True)
for x in [0.5, -0.5, 1.0, -1.0, 0.999, -2.0, 1.0000001, 0.25, 20.0, -30.0, 1e-9, -1e-9]:
    for name in ["exp", "log", "log1p", "asin", "acos", "acosh", "atanh", "sinh", "tan", "cbrt"]:
        line(f"{name}.fast", (x,), getattr(math, name), near=True)
for x in FLOATS + [random_float() for _ in range(400)]:
    line("float_to_str", (x,), repr)
for e in range(-30, 30):
    for m in [1.0, 1.5, 9.999999999999999, 1.2345678901234567]:
        line("float_to_str", (m * 10.0**e,), repr)
TIES = [
    0.125,
    0.375,
    0.5,
    1.5,
    2.5,
    1e15 + 0.5,
    2.675,
    1.005,
    0.045,
    5.015,
    1.115,
    2**52 - 0.5,
    8.5,
    10.5,
    0.285,
    -0.285,
    -2.5,
    112.5,
]
for x in (
    FLOATS
    + TIES
    + [random_float() for _ in range(250)]
    + [random.randint(-(10**6), 10**6) / 2000 for _ in range(150)]
):
    for n in random.sample(
        [
            0,
            1,
            2,
            3,
            4,
            5,
            10,
            15,
            16,
            17,
            20,
            22,
            23,
            100,
            323,
            324,
            -1,
            -2,
            -3,
            -5,
            -15,
            -16,
            -200,
            -307,
            -308,
            -309,
        ],
        8,
    ) + [2]:
        line("round_digits", (x, n), round)
for x in [
    15.0,
    25.0,
    35.0,
    -25.0,
    250.0,
    350.0,
    25.000000000001,
    5.0,
    -5.0,
    15e20,
    25e21,
    9.5,
    99.5,
    995.0,
    1.5e300,
]:
    for n in range(-24, 2):
        line("round_digits", (x, n), round)

# ---- formats ----------------------------------------------------------------------------------------------

INT_SPECS = [
    "",
    "d",
    "5",
    "<6",
    "^7d",
    "+d",
    " d",
    "08",
    "+08d",
    "x",
    "X",
    "o",
    "b",
    "#x",
    "#010x",
    "#b",
    ",",
    "_",
    "_x",
    "_b",
    "012,",
    "08,d",
    "013_d",
]
INT_SPECS += [
    ".2f",
    "e",
    "g",
    "%",
    ",.1f",
    "*^12",
    "é>8",
    "=+9d",
    "0<6",
    "010,.2f",
    ".0f",
    "15,d",
    "^+9,",
]
FLOAT_SPECS = [
    "",
    ".2f",
    "f",
    ".0f",
    "e",
    ".3e",
    "E",
    "g",
    ".3g",
    "G",
    ".10g",
    "%",
    ".1%",
    ",",
    ",.2f",
    "_.3f",
    "10.2f",
    "<10.1f",
    "^11.3f",
    "+.2f",
    " .1f",
]
FLOAT_SPECS += [
    "010.2f",
    "+010.1f",
    ".3",
    ".1",
    "12",
    "*>15.4g",
    "015,.2f",
    "=+12.2f",
    ".0e",
    ".0%",
    "F",
    ".17g",
    ".0g",
    "020,",
    "08",
    ".15",
    ".16",
    ".350f",
]
STR_SPECS = ["", "s", "5", "<8", ">8", "^9", "*^9", "é<7", ".2", "6.3", ">6.1s", "08", "-<4", "^4"]
for spec in INT_SPECS:
    for i in random.sample(INTS, 7) + [0, -1, 999, 1000, -1234567]:
        line(f"format {quoted(spec)}", (i,), lambda i, spec=spec: format(i, spec))
for spec in FLOAT_SPECS:
    for x in FLOATS[:-5] + [random_float() for _ in range(12)]:
        line(f"format {quoted(spec)}", (x,), lambda x, spec=spec: format(x, spec))
for spec in STR_SPECS:
    for s in TEXTS[:22]:
        line(f"format {quoted(spec)}", (s,), lambda s, spec=spec: format(s, spec))

# ---- texts ------------------------------------------------------------------------------------------------

ascii_only = lambda *args: not all(a.isascii() for a in args if isinstance(a, str))
for s in TEXTS:
    line("len", (s,), len)
    line("reverse", (s,), lambda s: s[::-1])
    line("word_count", (s,), lambda s: len(s.split()))
    line("ord", (s,), ord)
    for name, function in [
        ("lower", str.lower),
        ("upper", str.upper),
        ("title", str.title),
        ("capitalize", str.capitalize),
        ("swap_case", str.swapcase),
        ("is.digit", str.isdigit),
        ("is.alpha", str.isalpha),
        ("is.alnum", str.isalnum),
        ("is.upper", str.isupper),
        ("is.lower", str.islower),
    ]:
        line(name, (s,), function, may_bail=ascii_only(s))
    line("is.space", (s,), str.isspace)
    line("is.ascii", (s,), str.isascii)
    line("strip_space.both", (s,), str.strip)
    line("strip_space.left", (s,), str.lstrip)
    line("strip_space.right", (s,), str.rstrip)
    for i in [0, 1, 2, -1, -2, 50, -50, 4]:
        line("char_at", (s, i), lambda s, i: s[i])
        line("word_at", (s, i), lambda s, i: s.split()[i])
    for n in [0, 1, 3, -2]:
        line("repeat", (s, n), operator.mul)
for code in (
    list(range(0x250))
    + list(range(0x1670, 0x1690))
    + list(range(0x180B, 0x1811))
    + list(range(0x1FF8, 0x2070))
    + [0x3000, 0xFEFF, 0x2800, 0x3164]
):
    c = chr(code)
    line("strip_space.both", (f"{c}x{c}",), str.strip)
    line("is.space", (c,), str.isspace)
    line("word_count", (f"a{c}b",), lambda s: len(s.split()))
for s in texts(500):
    t = random.choice(TEXTS[:12] + ["l", "o w", "é", "本", "b", ",", "=", "needle", "aa", " ", "a"])
    u = random.choice(["", "-", "XY", "é", "a"])
    a, b = bound(), bound()
    line("slice", (s, a, b), lambda s, a, b: s[a:b])
    line("concat", (s, t), operator.add)
    line("find", (s, t, a, b), str.find)
    line("rfind", (s, t, a, b), str.rfind)
    line("find", (s, t, 0, 2**63 - 1), str.find)
    line("rfind", (s, t, 0, 2**63 - 1), str.rfind)
    line("starts_with", (s, t), str.startswith)
    line("ends_with", (s, t), str.endswith)
    line("contains", (s, t), operator.contains)
    line("count", (s, t), str.count)
    line("remove_prefix", (s, s[:2] or t), str.removeprefix)
    line("remove_suffix", (s, s[-2:] or t), str.removesuffix)
    line("remove_suffix", (s, t), str.removesuffix)
    for name, function in [("both", str.strip), ("left", str.lstrip), ("right", str.rstrip)]:
        line(
            f"strip_chars.{name}",
            (s, random.choice(["a", "abc ", "é日", "", s[-2:], "A\t\n "])),
            function,
        )
    n = random.choice([-1, -1, 0, 1, 2, 7])
    line("replace", (s, t, u, n), str.replace)
    line("split_count", (s, t, n), lambda s, t, n: len(s.split(t, n)))
    for i in random.sample([0, 1, 2, -1, -2, 5], 3):
        line("split_at", (s, t, n, i), lambda s, t, n, i: s.split(t, n)[i])
    for i in [0, 1, 2]:
        line("partition_at", (s, t, i), lambda s, t, i: s.partition(t)[i])
        line("rpartition_at", (s, t, i), lambda s, t, i: s.rpartition(t)[i])
    w = random.choice([0, 3, 5, 6, 8, 11, 12, -4])
    line("zfill", (s, w), str.zfill)
    fill = random.choice(["*", " ", "é", "ab", ""])
    line("ljust", (s, w, fill), str.ljust)
    line("rjust", (s, w, fill), str.rjust)
    line("center", (s, w, fill), str.center)
    for name in ["eq", "ne", "lt", "le", "gt", "ge"]:
        if random.random() < 0.3:
            line(f"cmp.{name}", (s, random.choice([t, s, s + "x"])), getattr(operator, name))

NUMBERS = [
    "0",
    "7",
    "-7",
    "+7",
    " 42 ",
    "\t42\n",
    "\x0b1\x0c",
    "\x1c1",
    "1_000",
    "1__0",
    "_1",
    "1_",
    "-_1",
    "007",
    "0_0",
    "",
    " ",
    "+",
    "-",
    "- 1",
    "1 2",
]
NUMBERS += [
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "1e5",
    "1.5",
    "0x1F",
    "0b11",
    "0o17",
    "0X1f",
]
NUMBERS += [
    "１２",
    "1\u00a0",
    "٣",
    "0x",
    "0x_1",
    "0_x1",
    "zz",
    "ff",
    "FF",
    "1" * 30,
    "00",
    "0b2",
    "--1",
    "1\0",
    "10.",
    "true",
]
REALS = [
    "1.5",
    ".5",
    "5.",
    ".",
    "1e5",
    "1E5",
    "1e+5",
    "1e-400",
    "1e400",
    "-1e400",
    "e5",
    "1e",
    "inf",
    "-inf",
    "+Infinity",
    "nan",
    "-nan",
    "NaN",
    "infin",
]
REALS += [
    "1_0.5",
    "1_.5",
    "1._5",
    "1e1_0",
    "1e_1",
    "_1.5",
    "1.5_",
    "0x1p3",
    " 2.5 ",
    "\n2.5\t",
    "\x1c2.5",
    "2.5\u00a0",
    "1,5",
    "1 .5",
    "--1.5",
    "+-1",
    "0.1",
    "123456789.123456789",
]
REALS += [
    "2.2250738585072011e-308",
    "9007199254740993",
    "9007199254740992.999",
    "179769313486231580793e289",
    "4.9e-324",
    "2.4e-324",
    "-0",
    "-0.0",
    "1e0000001",
    "infinity",
    "INF",
    "i",
    "nan(1)",
    "1.5f",
    "1d5",
]
for s in NUMBERS + REALS:
    line("parse_int", (s,), int, may_bail=not s.isascii())
    line("parse_float", (s,), float, may_bail=not s.isascii())
    for base in [0, 2, 8, 10, 16, 36, 1, 37, -1]:
        line("parse_int_base", (s, base), int, may_bail=not s.isascii())
for _ in range(200):
    x = random_float()
    line("parse_float", (repr(x),), float)
    line(
        "parse_float",
        (f"{random.getrandbits(80)}.{random.getrandbits(70)}e{random.randint(-340, 300)}",),
        float,
    )

# ---- dates ------------------------------------------------------------------------------------------------

DAYS = [
    dt.date(*d).toordinal() - EPOCH
    for d in [
        (1, 1, 1),
        (9999, 12, 31),
        (1970, 1, 1),
        (2000, 2, 29),
        (1900, 3, 1),
        (2024, 12, 30),
        (2021, 1, 3),
        (2020, 12, 31),
        (1969, 12, 31),
    ]
]
DAYS += [random.randint(-719162, 2932896) for _ in range(60)]
MOMENTS = [
    d * 86_400_000_000 + t for d in DAYS[:40] for t in (0, 1, 86_399_999_999, 45_296_123_456)
]
FIELDS = {
    "year": lambda d: d.year,
    "month": lambda d: d.month,
    "day": lambda d: d.day,
    "weekday": lambda d: d.weekday(),
    "iso_weekday": lambda d: d.isoweekday(),
    "iso_year": lambda d: d.isocalendar()[0],
    "iso_week": lambda d: d.isocalendar()[1],
    "day_of_year": lambda d: d.timetuple().tm_yday,
    "to_ordinal": lambda d: d.toordinal(),
}
CLOCK = {
    "hour": lambda d: d.hour,
    "minute": lambda d: d.minute,
    "second": lambda d: d.second,
    "microsecond": lambda d: d.microsecond,
}
for d in DAYS:
    line("datetime_of", (Date(d),), lambda d: dt.datetime.combine(d, dt.time()))
    for name, function in FIELDS.items():
        line(f"field.{name}", (Date(d),), function)
    for n in [0, 1, -1, 365, -40000, 3_000_000, 10**9, 2**62]:
        line("date_add", (Date(d), n), lambda d, n: d + dt.timedelta(days=n))
    other = random.choice(DAYS)
    line("date_diff", (Date(d), Date(other)), lambda a, b: (a - b).days)
    line("cmp.lt", (Date(d), Date(other)), operator.lt)
for m in MOMENTS:
    for name, function in {**FIELDS, **CLOCK}.items():
        if random.random() < 0.5:
            line(f"field.{name}", (DateTime(m),), function)
    line("date_of", (DateTime(m),), lambda d: d.date())
    other = random.choice(MOMENTS)
    line("date_diff", (DateTime(m), DateTime(other)), lambda a, b: (a - b) // MICRO)
    line(
        "date_add",
        (DateTime(m), random.choice([0, -1, 10**15, -(10**15), 2**62])),
        lambda d, n: d + dt.timedelta(microseconds=n),
    )
for y in [1, 4, 1900, 2000, 2023, 2024, 9999, 0, 10000, -1]:
    for m in [1, 2, 4, 12, 0, 13]:
        for d in [1, 28, 29, 30, 31, 32, 0]:
            line("make_date", (y, m, d), dt.date)

# ---- single precision: what NumPy's float32 rounds to, as C does ------------------------------------------

for x in FLOATS + [1 + 2**-24, 1 + 3 * 2**-24, 3.4028235677973366e38, 1e-45, 7e-46, 0.1, -0.1]:
    line("to_single", (x,), lambda x: ctypes.c_float(x).value)
