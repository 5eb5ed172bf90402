"""Traps of integers, None, truth and laziness: compiled functions do what CPython does.

A test, or several, for each; `exact` demands that all of them are compiled.
"""

import itertools

import pytest
from udf_exact import INTS, MAX, compare, exact
from udf_oracle import table_of

import fuseline

pytest.importorskip("numpy")


# int overflow in + - * <<, unary -, abs


def test_int_arithmetic_does_not_wrap():
    def plus(a: int, b: int) -> int:
        return a + b

    def minus(a: int, b: int) -> int:
        return a - b

    def times(a: int, b: int) -> int:
        return a * b

    def square_less(a: int) -> int:
        return a * a - a

    exact(plus, minus, times, square_less)


def test_int_overflow_halfway_is_not_an_error():
    def halfway(a: int, b: int) -> int:
        return (a * b) % 1000003

    def back(a: int, b: int) -> int:
        return a + b - b

    def compared(a: int, b: int) -> bool:
        return a * b > a + b

    exact(halfway, back, compared)


def test_shifts():
    def left(a: int, k: int) -> int:
        return a << k

    def right(a: int, k: int) -> int:
        return a >> k

    def left_three(a: int) -> int:
        return a << 3

    counts = [0, 1, 2, 31, 32, 62, 63, 64, 65, 200, -1]
    exact(left, right, rows=list(itertools.product(INTS, counts)))
    exact(left_three)


def test_negation_and_abs_of_the_least_int():
    def negated(a: int) -> int:
        return -a

    def absolute(a: int) -> int:
        return abs(a)

    def absolute_back(a: int) -> int:
        return -abs(a)

    exact(negated, absolute, absolute_back)


def test_loops_overflow_too():
    def doubled(a: int) -> int:
        for _ in range(5):
            a += a
        return a

    def product(a: int) -> int:
        total = 1
        for i in range(1, 25):
            total *= i
            if total > a:
                break
        return total

    exact(doubled, product)


# // and %


def test_floor_division_of_ints():
    def floor(a: int, b: int) -> int:
        return a // b

    def rest(a: int, b: int) -> int:
        return a % b

    def both(a: int, b: int) -> int:
        q, r = divmod(a, b)
        return q ^ r

    def by_constants(a: int) -> int:
        return a // 10 + a % 10 + a // -7 + a % -7

    def by_minus_one(a: int) -> int:
        return a // -1

    exact(floor, rest, both, by_constants, by_minus_one)


def test_floor_division_of_floats():
    def floor(a: float, b: float) -> float:
        return a // b

    def rest(a: float, b: float) -> float:
        return a % b

    def angle(a: float) -> float:
        return a % 360.0

    exact(floor, rest, angle)


def test_floor_division_of_ints_and_floats():
    def floor(a: int, b: float) -> float:
        return a // b

    def rest(a: float, b: int) -> float:
        return a % b

    exact(floor, rest)


# /


def test_true_division():
    def ints(a: int, b: int) -> float:
        return a / b

    def floats(a: float, b: float) -> float:
        return a / b

    def mixed(a: int, b: float) -> float:
        return a / b

    def thirds(a: int) -> float:
        return a / 3

    exact(ints, floats, mixed, thirds)


def test_division_by_zero_names_its_line():
    def late(a: int, b: int) -> float:
        c = a + 1
        d = b - 3
        return c / d

    exact(late, rows=[(1, 2), (1, 3), (MAX, 3), (MAX, 4)])


# **


def test_small_powers():
    def square(a: int) -> int:
        return a**2

    def cube(a: float) -> float:
        return a**3

    def square_float(a: float) -> float:
        return a**2

    def root(a: float) -> float:
        return a**0.5

    def inverse(a: float) -> float:
        return a**-1

    exact(square, cube, square_float, root, inverse)


def test_powers_that_are_negative_complex_or_too_large():
    def ints(a: int, b: int) -> float:
        return a**b

    def floats(a: float, b: float) -> float:
        return a**b

    def int_result(a: int, b: int) -> int:
        return a**b

    small = [0, 1, -1, 2, 3, -2, 5, 10, 62, 63, 64]
    exact(ints, int_result, rows=list(itertools.product(small, small)))
    # -8.0 ** (1/3) is complex, which no column takes.
    exact(floats)


# None


def test_none_is_a_value():
    def is_none(a: int | None) -> bool:
        return a is None

    def equals_zero(a: int | None) -> bool:
        return a == 0

    def equals_none(a: int | None) -> bool:
        return a == None

    def differs(a: int | None, b: int | None) -> bool:
        return a != b

    def text(a: str | None) -> bool:
        return a == "None"

    def gives_none(a: int) -> int | None:
        if a > 0:
            return None
        return a

    exact(is_none, equals_zero, equals_none, differs, text, gives_none)


def test_none_in_arithmetic_and_order_is_a_type_error():
    def plus(a: int | None) -> int:
        return a + 1

    def less(a: float | None) -> bool:
        return a < 1.5

    def concat(a: str | None) -> str:
        return "x" + a

    def length(a: str | None) -> int:
        return len(a)

    def guarded(a: int | None) -> int:
        return a * 2 if a is not None else -1

    exact(plus, less, concat, length, guarded)


def test_falling_off_the_end_gives_none():
    def falls(a: int) -> int | None:
        if a > 3:
            return a

    def bare(a: int) -> int | None:
        if a < 0:
            return
        return a

    exact(falls, bare)


# Truthiness


def test_truthiness():
    def of_int(a: int) -> str:
        return "yes" if a else "no"

    def of_float(a: float) -> str:
        return "yes" if a else "no"

    def of_text(a: str) -> bool:
        return not a

    def of_optional(a: float | None) -> int:
        if a:
            return 1
        return 0

    def of_optional_text(a: str | None) -> bool:
        return bool(a)

    def loop(a: int) -> int:
        steps = 0
        while a and steps < 70:
            a >>= 1
            steps += 1
        return steps

    exact(of_int, of_float, of_text, of_optional, of_optional_text, loop)


# and / or


def test_and_or_return_operands():
    def both(a: int, b: int) -> int:
        return a and b

    def either(a: float, b: float) -> float:
        return a or b

    def texts(a: str, b: str) -> str:
        return a and b or "neither"

    def optional(a: int | None, b: int) -> int:
        return a or b

    def truth(a: int, b: int) -> bool:
        return bool(a and b)

    def negated(a: int, b: float) -> bool:
        return not (a and b)

    def bounded(a: int) -> int:
        return 0 < a < 10 and a or 5

    def three(a: int, b: int | None) -> int:
        return a > 0 and b is not None and a + b or -1

    exact(both, either, texts, optional, truth, negated, bounded, three)


def test_operands_that_do_not_unify():
    def mixed(a: int, s: str) -> str:
        return str(a or s)

    params = [(0, "x"), (5, "x"), (0, "")]
    with fuseline.connect(threads=1) as con:
        con.register("t", table_of(["BIGINT", "VARCHAR"], params))
        # Either it is not compiled, or it is and right.
        con.udf(name="f")(mixed)
        assert con.sql("SELECT f(c0, c1) AS y FROM t").fetchall() == [("x",), ("5",), ("",)]

    def sums(a: int, s: str) -> int:
        return len((a or s) * 2) if not a else a

    _, texts = compare(sums, params, "auto")
    assert not texts


# Chained comparison


def test_chained_comparison():
    def between(a: int, b: int) -> bool:
        return 0 < a <= b

    def four(a: float, b: float) -> bool:
        return a < b < 3.0 > a

    def texts(a: str) -> bool:
        return "a" <= a < "b"

    exact(between, four, texts)


def test_the_middle_of_a_chain_is_evaluated_once_and_the_rest_lazily():
    def lazy(a: int, b: int) -> bool:
        return a < 5 < 10 // b

    def middle(a: int, b: int) -> bool:
        return 0 <= 100 // b <= a

    exact(lazy, middle)


# Short circuit


def test_nothing_that_traps_leaves_its_branch():
    def guarded(a: int, b: int) -> bool:
        return b != 0 and a // b > 2

    def conditional(a: float, b: float) -> float:
        return a / b if b else 0.0

    def branch(a: int, b: int) -> int:
        if b == 0:
            result = 0
        else:
            result = a % b
        return result

    def early(s: str) -> str:
        if not s:
            return "empty"
        return s[0]

    def loop(a: int) -> int:
        total = 0
        for i in range(3):
            if a == i:
                continue
            total += 6 // (a - i)
        return total

    exact(guarded, conditional, branch, early, loop)
