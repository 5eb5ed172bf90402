"""The corpus: ordinary Python functions as people write them, with rows to run them over.

Every module beside this one holds functions of one theme and registers them with `case` (a function)
or `lambda_case`. Nothing here knows the compiler: the list is older than it, and what it cannot
compile stays in the list. `stays` marks those that must never be compiled, and says why in a word.

A case's rows are the typical ones that it gives, on which the function must not raise (unless it says
`raises=True`), and odd ones by the types of its parameters: None, extremes, empty and foreign texts.
What CPython does with a row, an exception included, is what every other way of running it must do.

Invariants:
* A function gives the same for the same row, whatever ran before. Those that keep a memo, or count
  their calls, still do.
* No row makes a loop run away: parameters that are counts say `odd={"n": SMALL}`.
"""

import dataclasses
import datetime as dt
import importlib
import inspect
import itertools
import math
import pkgutil
import types
import typing

SQL_TYPES = {
    bool: "BOOLEAN",
    int: "BIGINT",
    float: "DOUBLE",
    str: "VARCHAR",
    dt.date: "DATE",
    dt.datetime: "Timestamp(Microsecond, None)",
}

# Odd values by type: None first, then what breaks things.
INTS = [
    *(None, 0, 1, -1, 2, 7, -7, 10, 100, 12345, -40, 2**31, -(2**31) - 1, 10**9 + 7),
    *(2**53 - 1, 2**53 + 1, -(2**53) - 1, 2**62, 2**63 - 1, -(2**63), -(2**63) + 1, 64, 63, 3),
]
SMALL = [None, 0, 1, -1, 2, 3, 4, 5, 7, 8, 10, 12, 16, 25, 31, 60, 64, 100, 128, 200, -5, 6]
FLOATS = [
    *(None, 0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -2.5, 0.1, 1e-5, 100.0, 1e16, 123456.789, 3.0),
    *(float(2**53), float(2**53 + 2), 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308),
    *(-1.7976931348623157e308, math.inf, -math.inf, math.nan, 9.223372036854775807e18, 0.285),
]
BOOLS = [None, True, False]
TEXTS = [
    *(None, "", " ", "\t\n", "a", "A b", "0", "-1", "42", " 7 ", "3.14", "1e5", "nan", "1,234"),
    *("äöü", "ß", "İstanbul", "日本語 テキスト", "😀 ok", "e\u0301", "\u00a0x\u00a0", "٣٤", "½"),
    *(
        "None",
        "x\x00y",
        "a,b,,c",
        "A-B_C.D/E",
        "x" * 300,
        "Ünï-cödé",
        "  lead and trail  ",
        "1_000",
    ),
]
DATES = [
    *(None, dt.date(1970, 1, 1), dt.date(1969, 12, 31), dt.date(2024, 2, 29), dt.date(2023, 2, 28)),
    *(dt.date(1, 1, 1), dt.date(9999, 12, 31), dt.date(2000, 12, 31), dt.date(1900, 3, 1)),
    *(dt.date(2026, 1, 1), dt.date(2021, 1, 3), dt.date(2020, 12, 28), dt.date(1999, 6, 15)),
    *(dt.date(2024, 7, 4), dt.date(2024, 11, 28), dt.date(2010, 5, 31), dt.date(1582, 10, 15)),
    *(dt.date(2016, 2, 29), dt.date(2100, 2, 28), dt.date(2022, 10, 1)),
]
TIMES = [
    *(None, dt.datetime(1970, 1, 1), dt.datetime(1969, 12, 31, 23, 59, 59, 999999)),
    *(dt.datetime(2024, 2, 29, 12, 30), dt.datetime(1, 1, 1), dt.datetime(2024, 3, 10, 2, 30)),
    *(dt.datetime(9999, 12, 31, 23, 59, 59, 999999), dt.datetime(2026, 11, 25, 8, 5, 3, 7)),
    *(dt.datetime(1999, 12, 31, 23), dt.datetime(2024, 7, 4, 0, 0, 1), dt.datetime(2001, 9, 9)),
    *(dt.datetime(2024, 6, 1, 6), dt.datetime(2024, 6, 1, 17, 59, 59), dt.datetime(1900, 1, 1)),
    *(dt.datetime(2024, 6, 2, 9), dt.datetime(2024, 6, 3, 9), dt.datetime(2038, 1, 19, 3, 14, 7)),
    *(dt.datetime(2024, 12, 24, 22), dt.datetime(2024, 12, 31, 12), dt.datetime(2025, 1, 1, 13)),
]
ODD = {bool: BOOLS, int: INTS, float: FLOATS, str: TEXTS, dt.date: DATES, dt.datetime: TIMES}

# Rows in which all values are odd, and how many rows a case has at least: few values are given again.
ODD_ROWS = 26
LEAST_ROWS = 20


@dataclasses.dataclass(frozen=True)
class Case:
    """A function, what SQL must know of it, and the rows to run it over."""

    name: str
    function: typing.Callable
    theme: str
    kind: str
    params: list
    returns: str
    null_handling: str
    typical: list
    odd: list
    stays: str | None
    raises: bool

    @property
    def rows(self):
        """All rows, as tuples of arguments."""
        rows = self.typical + self.odd
        return rows + list(itertools.islice(itertools.cycle(rows), max(0, LEAST_ROWS - len(rows))))

    def __str__(self):
        return f"{self.theme}.{self.name}"


_CASES = []


def bare_type(annotation):
    """The type without None, and whether None may be given."""
    if isinstance(annotation, types.UnionType):
        left = [arg for arg in typing.get_args(annotation) if arg is not types.NoneType]
        return left[0], True
    return annotation, False


def case(
    *,
    rows,
    odd=None,
    kind="scalar",
    name=None,
    params=None,
    returns=None,
    stays=None,
    raises=False,
):
    """Registers the function below it.

    rows: typical arguments; tuples, or bare values of a function of one parameter.
    odd: other odd values by parameter name, where the type's own would run away or say nothing.
    params, returns: Python types, for what is not annotated.
    stays: why it can never be compiled, in a word.
    raises: typical rows may raise.

    A parameter that may be None in its annotation makes the function one that sees NULL.
    """

    def register(function):
        made = _case(function, rows, odd or {}, kind, name, params, returns, stays, raises)
        _CASES.append(made)
        return function

    return register


def lambda_case(name, function, params, returns, rows, **options):
    """Registers a lambda, or another function without annotations."""
    case(rows=rows, name=name, params=params, returns=returns, **options)(function)


def _case(function, rows, odd, kind, name, params, returns, stays, raises):
    names = list(inspect.signature(function).parameters)
    if params is None:
        params = [function.__annotations__[n] for n in names]
    names = names[: len(params)]
    plain = [bare_type(p) for p in params]
    typical = [row if isinstance(row, tuple) else (row,) for row in rows]
    pools = [odd.get(n, ODD[t]) for n, (t, _) in zip(names, plain)]
    result = returns if returns is not None else function.__annotations__["return"]
    return Case(
        name=name or function.__name__,
        function=function,
        theme=function.__module__.rpartition(".")[2],
        kind=kind,
        params=[SQL_TYPES[t] for t, _ in plain],
        returns=SQL_TYPES[bare_type(result)[0]],
        null_handling="call" if any(optional for _, optional in plain) else "propagate",
        typical=typical,
        odd=_odd_rows(pools, typical[0]),
        stays=stays,
        raises=raises,
    )


def _odd_rows(pools, first):
    """Rows of odd values: each value of each parameter beside usual ones, then odd beside odd."""
    if len(pools) == 1:
        return [(value,) for value in pools[0]]
    rows = []
    for at, pool in enumerate(pools):
        step = 1 + len(pools) // 3
        rows += [(*first[:at], value, *first[at + 1 :]) for value in pool[::step]]
    # Steps without a common factor, so that the same values do not meet again.
    steps = (1, 5, 7, 11, 13, 17, 19)
    for number in range(ODD_ROWS):
        rows.append(
            tuple(
                pool[(number * step + at) % len(pool)]
                for at, (pool, step) in enumerate(zip(pools, steps))
            )
        )
    return rows


def all_cases():
    """Every case of the corpus, in the order of the modules."""
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
        importlib.import_module(f"{__name__}.{module}")
    return list(_CASES)
