"""Traps of comparison, conversion, formatting, bools and floats, where CPython is the oracle."""

import itertools
import math
import random
import warnings

import pytest
from udf_corpus import SQL_TYPES
from udf_exact import FLOATS, INTS, MAX, TEXTS, compare, exact, signature, stays
from udf_oracle import differences, outcomes, plain, table_of, ulps

import fuseline

pytest.importorskip("numpy")


# NaN, in, is


def test_nan_in_comparisons():
    def less(a: float, b: float) -> bool:
        return a < b

    def not_less(a: float, b: float) -> bool:
        return not a < b

    def equal(a: float, b: float) -> bool:
        return a == b

    def unequal(a: float) -> bool:
        return a != a

    def order(a: float, b: float) -> int:
        return (a > b) - (a < b)

    exact(less, not_less, equal, unequal, order)


def test_min_and_max_keep_the_first_of_equals_and_of_nan():
    def least(a: float, b: float) -> float:
        return min(a, b)

    def greatest(a: float, b: float) -> float:
        return max(a, b, 0.0)

    def mixed(a: int, b: float) -> float:
        return max(a, b)

    exact(least, greatest, mixed)


def test_in_is_identity_or_equality():
    def in_itself(a: float) -> bool:
        return a in (a, 1.0)

    def in_constants(a: float) -> bool:
        return a in (1.0, 2.5, math.inf)

    def ints(a: int) -> bool:
        return a in {1, 7, MAX}

    def texts(a: str) -> bool:
        return a not in ("a", "ß", "")

    def optional(a: int | None) -> bool:
        return a in (None, 3)

    def float_in_ints(a: float) -> bool:
        return a in (1, 3, 9007199254740993)

    exact(in_itself, in_constants, ints, texts, optional, float_in_ints)


def test_is_with_constants():
    def none(a: float | None) -> bool:
        return a is not None

    def true(a: bool) -> bool:
        return a is True

    def number_is_true(a: int) -> bool:
        return a is True

    exact(none, true, number_is_true)


def test_is_between_numbers_is_not_compiled():
    def same(a: int, b: int) -> bool:
        return a is b

    stays(same, rows=[(1, 1), (5, 7)])


# int compared with float


def test_int_compared_with_float():
    def less(a: int, b: float) -> bool:
        return a < b

    def equal(a: int, b: float) -> bool:
        return a == b

    def at_least(a: float, b: int) -> bool:
        return a >= b

    def constant(a: int) -> bool:
        return a == 9007199254740992.0

    exact(less, equal, at_least, constant)


# int(), round(), str(float)


def test_int_of_float():
    def to_int(a: float) -> int:
        return int(a)

    def floors(a: float) -> int:
        return math.floor(a) - math.ceil(a) + math.trunc(a)

    exact(to_int, floors)


def test_int_and_float_of_text():
    def to_int(s: str) -> int:
        return int(s)

    def to_float(s: str) -> float:
        return float(s)

    numbers = ["0", "-0", "+7", " 42 ", "1_000", "1__0", "007", "9223372036854775807"]
    numbers += ["9223372036854775808", "-9223372036854775808", "-9223372036854775809", "1.5", "1e3"]
    numbers += [
        "1e400",
        "-1e400",
        "4.9e-324",
        "nan",
        "-inf",
        "Infinity",
        "0x10",
        ".5",
        "5.",
        ".",
        "1e",
    ]
    numbers += [
        "٣٤",
        "１２",
        "1 2",
        "--1",
        "9007199254740993",
        "0.1",
        "179769313486231580793e289",
        "",
    ]
    exact(to_int, to_float, rows=numbers + TEXTS)


def test_round():
    def to_int(a: float) -> int:
        return round(a)

    def two(a: float) -> float:
        return round(a, 2)

    def hundreds(a: float) -> float:
        return round(a, -2)

    def of_int(a: int) -> int:
        return round(a)

    def int_hundreds(a: int) -> int:
        return round(a, -2)

    halves = [0.5, 1.5, 2.5, -0.5, -1.5, 2.675, 1.005, 0.285, 1e15 + 0.5, 50.0, 150.0, 250.0, -50.0]
    exact(to_int, two, hundreds, rows=halves + FLOATS)
    exact(of_int, int_hundreds, rows=[*INTS, 50, 150, 250, -50, -150, 149, 151])


def test_str_of_numbers():
    def of_float(a: float) -> str:
        return str(a)

    def of_int(a: int) -> str:
        return str(a)

    def of_bool(a: bool) -> str:
        return str(a)

    def of_none(a: int | None) -> str:
        return str(a)

    more = [1e-5, 0.0001, 123456789012345680.0, 1e15, 1e17, 1.1, 2 / 3, 5e-5, 1e100, 12345678.9]
    exact(of_float, rows=more + FLOATS)
    exact(of_int, of_bool, of_none)


def test_formatting():
    def fixed(a: float) -> str:
        return f"{a:.2f}|{a:8.1f}|{a:,.0f}"

    def percent(a: int, s: str) -> str:
        return "%d items of %s (%5d)" % (a, s, a)

    def pieces(a: int, s: str) -> str:
        return f"{s}-{a}-{a:05d}-{s:>6}-{s!r:.0}"

    def plain_pieces(a: float, b: bool, s: str) -> str:
        return f"{a} {b} {s}"

    exact(fixed, percent, plain_pieces)
    params = list(itertools.product([0, -5, 123456, MAX], ["", "ab", "äöü日", "longer text"]))
    _, texts = compare(pieces, params, "auto")
    assert not texts


# bool arithmetic


def test_bool_arithmetic():
    def plus(a: bool, b: bool) -> int:
        return a + b

    def inverted(a: bool) -> int:
        return ~int(a)

    def times(a: bool, x: float) -> float:
        return a * x

    def bits(a: bool, b: bool) -> bool:
        return a & b | a ^ b

    def index(a: bool) -> str:
        return "ny"[a]

    def compared(a: bool, n: int) -> bool:
        return a == n

    def negative(a: bool) -> int:
        return -a

    exact(plus, inverted, times, bits, index, compared, negative)


def test_a_bool_is_an_int_in_a_column_of_ints():
    def as_int(a: int) -> int:
        return a > 3

    def as_float(a: int) -> float:
        return a > 3

    exact(as_int, as_float)


def test_inverting_a_bool_warns_in_python():
    def inverted(a: bool) -> int:
        return ~a

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        _, texts = compare(inverted, [(True,), (False,)], "auto")
    assert not texts


# floats


def test_floats_are_not_fused_or_reassociated():
    def multiply_add(a: float, b: float) -> float:
        return a * b + 0.1

    def sums(a: float, b: float) -> float:
        return a + b + 1e16 - 1e16

    def cancels(a: float, b: float) -> float:
        return (a + b) - a

    def constants(a: float) -> float:
        return a * 0.1 * 10

    def zeros(a: float) -> float:
        return a + 0.0 - 0.0 * a

    rng = random.Random(5)
    near = [(rng.uniform(-9, 9), rng.uniform(-9, 9)) for _ in range(300)]
    exact(multiply_add, sums, cancels)
    exact(multiply_add, sums, cancels, rows=near)
    exact(constants, zeros)


# Transcendental functions


def test_math_functions_raise_as_python_does():
    def trigonometry(a: float) -> float:
        return math.sin(a) * math.cos(a)

    def roots(a: float) -> float:
        return math.sqrt(a)

    def exponent(a: float) -> float:
        return math.exp(a)

    def logs(a: float) -> float:
        return math.log1p(a) + math.log10(abs(a))

    exact(trigonometry, roots, exponent, logs)


def test_a_value_that_feeds_a_decision_comes_from_libm():
    """Also without exact_libm: the last bit decides."""

    def digits(a: float) -> int:
        return int(math.log10(a))

    def floors(a: float) -> int:
        return math.floor(math.log(a, 10))

    def compared(a: float) -> bool:
        return math.exp(math.log(a)) == a

    def text(a: float) -> str:
        return str(math.sin(a))

    def rest(a: float) -> float:
        return math.exp(a / 1e6) % 0.001

    rng = random.Random(7)
    rows = [(10.0**e,) for e in range(-20, 23)] + [(rng.uniform(1e-3, 1e6),) for _ in range(300)]
    for function in (digits, floors, compared, text, rest):
        _, returns = signature(function)
        expected = [plain(function, row, SQL_TYPES[returns]) for row in rows]
        with fuseline.connect(threads=1) as con:
            con.register("t", table_of(["DOUBLE"], rows))
            con.udf(name="f", compile="require")(function)
            found = outcomes(con, "f", ["DOUBLE"], expected)
        texts = differences(rows, expected, found)
        assert not texts, f"{function.__name__}: " + "\n".join(texts[:5])


def test_a_value_that_flows_to_the_output_is_within_one_ulp():
    rng = random.Random(9)
    rows = [(rng.uniform(-50, 50),) for _ in range(2000)]
    for function in (math.sin, math.cos, math.exp, math.tanh, math.atan, math.log1p, math.erf):
        source = f"lambda a: math.{function.__name__}(abs(a))"
        made = eval(source, {"math": math, "abs": abs})
        with fuseline.connect(threads=1) as con:
            con.register("t", table_of(["DOUBLE"], rows))
            con.udf(name="f", params=[float], returns=float)(made)
            column = con.sql("SELECT f(c0) AS y FROM t").fetchall()
        for (a,), (y,) in zip(rows, column):
            assert ulps(y, function(abs(a))) <= 1, (function.__name__, a)
