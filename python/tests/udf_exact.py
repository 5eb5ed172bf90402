"""What the tests of exactness share: edge values, and `exact`, `stays` and `vector`.

The oracle is CPython: values with their types and all bits, exceptions with their type, text and the
lines of their traceback. `exact` demands that a function is compiled; `stays` that it is not, says
where and why not, and gives CPython's answer all the same; `vector` is `exact` for functions over
arrays.
"""

import inspect
import itertools
import math
import random
import re
import warnings

import numpy as np
import pytest
from udf_corpus import SQL_TYPES, bare_type
from udf_oracle import ARROW, Value, call, differences, how, outcomes, plain, table_of

import fuseline

MAX, MIN = 2**63 - 1, -(2**63)
INTS = [0, 1, -1, 2, 3, -3, 7, -7, 10, 2**31, 2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1]
INTS += [2**62, -(2**62), 3037000500, MAX - 1, MAX, MIN + 1, MIN]
TINY = 5e-324
FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, 0.1, 0.3, 3.0, -7.25, 1e15 + 0.5, 1e16, 1e22]
FLOATS += [
    float(2**53 - 1),
    float(2**53),
    float(2**53 + 2),
    9.223372036854775e18,
    2.0**63,
    -(2.0**63),
]
FLOATS += [TINY, -TINY, 2.2250738585072014e-308, 1.7976931348623157e308, -1.7976931348623157e308]
FLOATS += [math.inf, -math.inf, math.nan]
TEXTS = [
    "",
    " ",
    "a",
    "abc",
    "  x ",
    "A,b,,C",
    "0",
    "-12",
    "ä",
    "naïve café",
    "日本語",
    "😀b😀",
    "ß",
]
TEXTS += ["İx", "e\u0301", "\u00a0x\u2003", "a\x00b", "٣٤", "²", "\t\n\x1c", "x" * 200, "ǅ", "ﬁ"]
BOOLS = [True, False]
POOLS = {int: INTS, float: FLOATS, str: TEXTS, bool: BOOLS}


def signature(function):
    """Parameter types, whether each may be None, and the result's type."""
    marks = dict(function.__annotations__)
    returns = bare_type(marks.pop("return"))[0]
    return [bare_type(m) for m in marks.values()], returns


def rows_of(function):
    """All combinations of edge values, thinned where there are more than a few hundred."""
    params, _ = signature(function)
    pools = [POOLS[t] + ([None] if optional else []) for t, optional in params]
    rows = list(itertools.product(*pools))
    if len(rows) > 700:
        rows = random.Random(len(rows)).sample(rows, 700)
    return rows


def compare(function, rows, compile, **settings):
    """How EXPLAIN says that the function runs, and which rows differ from CPython."""
    params, returns = signature(function)
    names = [SQL_TYPES[t] for t, _ in params]
    null_handling = "call" if any(optional for _, optional in params) else "propagate"
    expected = [plain(function, row, SQL_TYPES[returns], null_handling) for row in rows]
    with fuseline.connect(threads=1, exact_libm=True, **settings) as con:
        con.register("t", table_of(names, rows))
        con.udf(name="f", null_handling=null_handling, compile=compile)(function)
        way = how(con, f"SELECT {call('f', names)} AS y FROM t")
        found = outcomes(con, "f", names, expected)
        # All in one query, so that rows that bail stand between rows that do not.
        con.udf(name="g", null_handling=null_handling, on_error="null", compile=compile)(function)
        column = con.sql(f"SELECT {call('g', names)} AS y FROM t").fetchall()
    kept = [e if isinstance(e, Value) else Value(None) for e in expected]
    texts = differences(rows, expected, found)
    texts += differences(rows, kept, [Value(v) for (v,) in column])
    return way, texts


def exact(*functions, rows=None):
    """The functions are compiled and do what CPython does."""
    for function in functions:
        given = rows_of(function) if rows is None else rows
        given = [row if isinstance(row, tuple) else (row,) for row in given]
        way, texts = compare(function, given, "require")
        source = inspect.getsource(function)
        assert way == ("compiled", ""), f"{way}\n{source}"
        assert not texts, (
            f"{len(texts)} of {len(given)} rows\n" + "\n".join(texts[:8]) + f"\n{source}"
        )


def stays(*functions, rows):
    """The functions are refused with line and reason, and run in CPython all the same."""
    for function in functions:
        given = [row if isinstance(row, tuple) else (row,) for row in rows]
        params, _ = signature(function)
        with fuseline.connect(threads=1) as con:
            con.register("t", table_of([SQL_TYPES[t] for t, _ in params], given))
            with pytest.raises(fuseline.Error, match=r"\bline \d+") as caught:
                con.udf(name="f", compile="require")(function)
            assert re.search(r"\bline \d+\W+\w+", str(caught.value)), "a line, but no reason"
        way, texts = compare(function, given, "auto")
        assert way[0] == "Python", way
        assert not texts, "\n".join(texts[:8])


def vector(function, params, returns, rows, ulp=0, compiled=True):
    """A function over arrays, compiled, gives what NumPy gives for the whole column."""
    dtypes = {"BIGINT": np.int64, "DOUBLE": np.float64, "BOOLEAN": np.bool_}
    arrays = [np.array([row[i] for row in rows], dtypes[p]) for i, p in enumerate(params)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        want = function(*arrays)
        with fuseline.connect(threads=1) as con:
            con.register("t", table_of(params, rows))
            option = "require" if compiled else "auto"
            con.udf(name="f", params=params, returns=returns, kind="numpy", compile=option)(
                function
            )
            way, _ = how(con, f"SELECT {call('f', params)} AS y FROM t")
            assert (way == "compiled") is compiled, way
            got = con.sql(f"SELECT {call('f', params)} AS y FROM t").to_arrow()["y"]
    assert got.type == ARROW[returns]
    expected = [Value(v) for v in want.astype(dtypes[returns]).tolist()]
    texts = differences(rows, expected, [Value(v) for v in got.to_pylist()], ulp)
    assert not texts, "\n".join(texts[:8])
