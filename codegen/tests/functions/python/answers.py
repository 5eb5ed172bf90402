"""The operands of operations.py, and how it writes a line: what CPython answers, or that it raises."""

import datetime as dt
import math
import random
import struct
import sys

OTHERS = int(sys.argv[1]) if len(sys.argv) > 1 else None
random.seed(20261125 if OTHERS is None else OTHERS)
EPOCH = dt.date(1970, 1, 1).toordinal()
MOMENT = dt.datetime(1970, 1, 1)
MICRO = dt.timedelta(microseconds=1)


class Date(int):
    """Days since 1970."""

    def real(self):
        return dt.date.fromordinal(int(self) + EPOCH)


class DateTime(int):
    """Microseconds since 1970."""

    def real(self):
        return MOMENT + int(self) * MICRO


def of(value):
    """A result of Python's as one of ours."""
    if isinstance(value, dt.datetime):
        return DateTime((value - MOMENT) // MICRO)
    if isinstance(value, dt.date):
        return Date(value.toordinal() - EPOCH)
    return value


def quoted(text):
    out = []
    for c in text:
        if c in '"\\':
            out.append("\\" + c)
        elif ord(c) < 32 or 127 <= ord(c) < 160:
            out.append(f"\\u{{{ord(c):x}}}")
        else:
            out.append(c)
    return '"' + "".join(out) + '"'


def shown(value):
    if isinstance(value, Date):
        return f"date {int(value)}"
    if isinstance(value, DateTime):
        return f"datetime {int(value)}"
    if isinstance(value, bool):
        return f"bool {str(value).lower()}"
    if isinstance(value, int):
        return f"int {value}"
    if isinstance(value, float):
        if math.isnan(value):
            return f"float nan:{struct.unpack('<Q', struct.pack('<d', value))[0]:x}"
        return f"float {value!r}"
    return f"str {quoted(value)}"


seen = set()
kept = {}


def line(op, args, function, may_bail=False, near=False):
    try:
        result = of(function(*[a.real() if isinstance(a, (Date, DateTime)) else a for a in args]))
        if isinstance(result, complex) or result is None:
            raise ValueError
        if type(result) is int and not -(2**63) <= result < 2**63:
            raise OverflowError
        if isinstance(result, str) and any(0xD800 <= ord(c) < 0xE000 for c in result):
            raise ValueError
        answer = f"{'~' if may_bail else '='}{'near' if near else ''} {shown(result)}"
    except (ArithmeticError, ValueError, IndexError, TypeError):
        answer = "bails"
    text = f"{op}({', '.join(shown(a) for a in args)}) {answer}"
    # The file need not be long: each operation keeps its first lines, and then a share.
    kept[op] = kept.get(op, 0) + 1
    wanted = OTHERS is not None or kept[op] <= 60 or random.random() < 0.4
    if text not in seen and wanted and (len(text) < 250 or random.random() < 0.2):
        seen.add(text)
        print(text)


INTS = [
    0,
    1,
    -1,
    2,
    -2,
    3,
    7,
    -7,
    10,
    -10,
    62,
    63,
    64,
    100,
    12345,
    -98765,
    2**31,
    -(2**31) - 1,
    2**32 - 1,
]
INTS += [
    2**53,
    2**53 + 1,
    -(2**53) - 1,
    2**62,
    2**63 - 1,
    -(2**63),
    -(2**63) + 1,
    5 * 10**18,
    -5 * 10**18,
]
FLOATS = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    1.5,
    2.5,
    -2.5,
    3.0,
    0.1,
    0.30000000000000004,
    2.675,
    1e15,
    1e16,
    1e17,
]
FLOATS += [
    123456789012345.6,
    9007199254740993.0,
    1e22,
    1e23,
    5e-324,
    2.2250738585072014e-308,
    1.7976931348623157e308,
]
FLOATS += [
    float("inf"),
    float("-inf"),
    float("nan"),
    0.0001,
    0.00001,
    -0.00012345,
    9.223372036854775e18,
    2.0**63,
]
FLOATS += [
    -(2.0**63),
    0.045,
    1.005,
    1234.5,
    99.995,
    710.5,
    -745.5,
    4.5,
    25.0,
    35.0,
    1e300,
    -1e-300,
    0.9999999999999999,
]
TEXTS = [
    "",
    "a",
    "A",
    "abc",
    "ABC",
    "aaaa",
    "abab",
    "a,b,,c",
    "hello world",
    " padded\t\n",
    "they're bill's",
    "12",
    "x=1=2",
]
TEXTS += [
    "Ünïcode",
    "日本語",
    "😀a😀",
    "\u00a0nbsp\u3000",
    "mixed CASE 12",
    "é",
    "ß",
    "tab\tin",
    "-42",
    "+7",
    "  ",
    "\x1c1",
]
TEXTS += ["a" * 70 + "needle" + "b" * 200 + "needle" + "c" * 9, "naïve café, déjà vu"]


def ints(n=14):
    return random.sample(INTS, 4) + [
        random.choice(INTS) if random.random() < 0.3 else random.randint(-50, 50)
        for _ in range(n - 4)
    ]


def random_float():
    kind = random.random()
    if kind < 0.3:
        return random.choice(FLOATS)
    if kind < 0.5:
        return struct.unpack("<d", struct.pack("<Q", random.getrandbits(64)))[0]
    if kind < 0.75:
        return random.randint(-100000, 100000) / 100
    return random.uniform(-100, 100)


def texts(n):
    return [
        random.choice(TEXTS)
        if random.random() < 0.8
        else "".join(random.choices("ab ,é1", k=random.randint(0, 9)))
        for _ in range(n)
    ]


def bound():
    return random.choice([0, 1, 2, 3, 5, -1, -2, -4, 100, -100, 2**63 - 1, -(2**63), 9, 70])
