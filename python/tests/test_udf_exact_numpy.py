"""Functions over arrays are compiled by NumPy's rules, which are not those of Python's numbers."""

import itertools
import linecache
import math
import os
import random
import re
import warnings

import pytest
from udf_exact import FLOATS, INTS, exact, vector
from udf_oracle import Value, bailed, call, differences, how, table_of

import fuseline

np = pytest.importorskip("numpy")

# Its rules of promotion are those that are compiled.
pytestmark = pytest.mark.skipif(int(np.__version__.partition(".")[0]) < 2, reason="before NumPy 2")


# numpy kind


PAIRS = list(itertools.product(INTS, INTS))
FLOAT_PAIRS = list(itertools.product(FLOATS, FLOATS))


def test_numpy_ints_wrap():
    two = ["BIGINT", "BIGINT"]
    vector(lambda a, b: a + b, two, "BIGINT", PAIRS)
    vector(lambda a, b: a * b - a, two, "BIGINT", PAIRS)
    vector(lambda a: -(np.abs(a) ** 2), two[:1], "BIGINT", [(v,) for v in INTS])


def test_numpy_division_by_zero():
    vector(lambda a, b: a / b, ["DOUBLE", "DOUBLE"], "DOUBLE", FLOAT_PAIRS)
    vector(lambda a, b: a / b, ["BIGINT", "BIGINT"], "DOUBLE", PAIRS)
    vector(lambda a, b: a // b, ["BIGINT", "BIGINT"], "BIGINT", PAIRS)
    vector(lambda a, b: a % b, ["BIGINT", "BIGINT"], "BIGINT", PAIRS)


def test_numpy_log_of_negative_is_nan_and_math_log_raises():
    def scalar(a: float) -> float:
        return math.log(a)

    vector(lambda x: np.log(x), ["DOUBLE"], "DOUBLE", [(v,) for v in FLOATS], ulp=1)
    vector(lambda x: np.sqrt(x), ["DOUBLE"], "DOUBLE", [(v,) for v in FLOATS])
    exact(scalar)


def test_numpy_promotion():
    floats = [(v,) for v in FLOATS]
    vector(lambda x: (x.astype(np.float32) * 3).astype(np.float64), ["DOUBLE"], "DOUBLE", floats)
    vector(
        lambda a: (a.astype(np.int8) + 1).astype(np.int64),
        ["BIGINT"],
        "BIGINT",
        [(v,) for v in INTS],
    )
    vector(lambda a, x: a + x, ["BIGINT", "DOUBLE"], "DOUBLE", list(zip(INTS * 2, FLOATS)))
    vector(lambda x: (x > 0) + np.int64(1), ["DOUBLE"], "BIGINT", floats)


def test_numpy_selection():
    floats = [(v,) for v in FLOATS]
    vector(lambda x: np.where(x > 0, x, 0), ["DOUBLE"], "DOUBLE", floats)
    vector(lambda x: np.clip(x, -1, 2.5), ["DOUBLE"], "DOUBLE", floats)
    vector(lambda x: np.isnan(x) | (x < 0), ["DOUBLE"], "BOOLEAN", floats)
    vector(lambda x: np.maximum(x, -0.0), ["DOUBLE"], "DOUBLE", floats)
    vector(lambda x: np.select([x > 5, x > 0], [x, -x], 1.5), ["DOUBLE"], "DOUBLE", floats)


def test_numpy_reductions_are_not_compiled():
    rows = [(1.0,), (2.5,), (-4.0,)]
    vector(lambda x: x - np.mean(x), ["DOUBLE"], "DOUBLE", rows, compiled=False)
    vector(lambda x: np.cumsum(x), ["DOUBLE"], "DOUBLE", rows, compiled=False)
    vector(lambda x: x[::-1].copy(), ["DOUBLE"], "DOUBLE", rows, compiled=False)


# What else has rules of its own

SMALL_INTS = [
    (v,) for v in (0, 1, -1, 5, 100, 127, -128, 128, 255, 256, 65535, 2**31, -(2**31), 2**40 + 3)
]
SIZES = [(v,) for v in FLOATS]


def test_numpy_extremes_and_nan():
    two = ["DOUBLE", "DOUBLE"]
    # Which of 0.0 and -0.0 comes out is up to the processor, so only their values are compared.
    pairs = [(a, b) for a, b in FLOAT_PAIRS if not (a == 0 and b == 0)]
    vector(lambda a, b: np.minimum(a, b), two, "DOUBLE", pairs)
    vector(lambda a, b: np.maximum(a, b), two, "DOUBLE", pairs)
    vector(lambda a, b: np.fmin(a, b), two, "DOUBLE", pairs)
    vector(lambda a, b: np.fmax(a, b), two, "DOUBLE", pairs)
    vector(lambda a, b: np.minimum(a, b), ["BIGINT"] * 2, "BIGINT", PAIRS)
    vector(lambda a: np.clip(a, -5, 100), ["BIGINT"], "BIGINT", [(v,) for v in INTS])
    vector(lambda x: x.clip(min=1.5), two[:1], "DOUBLE", SIZES)
    vector(lambda x: np.sign(x), two[:1], "DOUBLE", SIZES)
    vector(lambda a: np.sign(a), ["BIGINT"], "BIGINT", [(v,) for v in INTS])


def test_numpy_remainders_of_floats():
    two = ["DOUBLE", "DOUBLE"]
    vector(lambda a, b: a // b, two, "DOUBLE", FLOAT_PAIRS)
    vector(lambda a, b: a % b, two, "DOUBLE", FLOAT_PAIRS)
    vector(lambda a, b: np.fmod(a, b), two, "DOUBLE", FLOAT_PAIRS)
    vector(lambda a, b: np.copysign(a, b), two, "DOUBLE", FLOAT_PAIRS)


def test_numpy_powers():
    vector(lambda x: x**2 + x**1, ["DOUBLE"], "DOUBLE", SIZES)
    vector(lambda x: x**0.5, ["DOUBLE"], "DOUBLE", SIZES)
    vector(lambda x: x**-1, ["DOUBLE"], "DOUBLE", SIZES)
    vector(lambda x: x**3, ["DOUBLE"], "DOUBLE", SIZES, ulp=1)
    vector(lambda a: a**3, ["BIGINT"], "BIGINT", [(v,) for v in INTS])
    vector(lambda x: np.square(x), ["DOUBLE"], "DOUBLE", SIZES)


def test_numpy_casts():
    ints = [(v,) for v in INTS]
    for to in (np.int8, np.int16, np.int32, np.uint8, np.uint16, np.uint32):
        vector(
            lambda a, to=to: a.astype(to).astype(np.int64), ["BIGINT"], "BIGINT", SMALL_INTS + ints
        )
    vector(lambda a: a.astype(np.float32).astype(np.float64), ["BIGINT"], "DOUBLE", ints)
    vector(lambda a: a.astype(bool), ["BIGINT"], "BOOLEAN", ints)
    vector(lambda x: x.astype("bool"), ["DOUBLE"], "BOOLEAN", SIZES)
    vector(lambda x: (x > 0).astype(float), ["DOUBLE"], "DOUBLE", SIZES)
    whole = [(v,) for v in (0.0, -0.0, 1.9, -1.9, 1e15, -127.5, 300.2)]
    vector(lambda x: x.astype(np.int64), ["DOUBLE"], "BIGINT", whole)
    vector(
        lambda x: x.astype(np.int16).astype(np.int64), ["DOUBLE"], "BIGINT", whole[:4] + whole[5:]
    )


def test_numpy_small_types_wrap_and_round_at_every_step():
    ints = SMALL_INTS
    vector(
        lambda a: ((a.astype(np.uint8) * 3) // 7 - 1).astype(np.int64), ["BIGINT"], "BIGINT", ints
    )
    vector(
        lambda a: (a.astype(np.int16) * a.astype(np.int8)).astype(np.int64),
        ["BIGINT"],
        "BIGINT",
        ints,
    )
    vector(lambda a: (-a.astype(np.uint16)).astype(np.int64), ["BIGINT"], "BIGINT", ints)
    vector(lambda a: (~a.astype(np.uint8)).astype(np.int64), ["BIGINT"], "BIGINT", ints)
    vector(
        lambda x: np.sqrt(np.abs(x.astype(np.float32)) / 3 + 0.1).astype(np.float64),
        ["DOUBLE"],
        "DOUBLE",
        SIZES,
    )


def test_numpy_bools_are_not_ints():
    bools = [(a, b) for a in (True, False) for b in (True, False)]
    two = ["BOOLEAN", "BOOLEAN"]
    vector(lambda a, b: a + b, two, "BOOLEAN", bools)
    vector(lambda a, b: a * b, two, "BOOLEAN", bools)
    vector(lambda a, b: a ^ ~b, two, "BOOLEAN", bools)
    vector(lambda a, b: a + 1 + b, two, "BIGINT", bools)
    vector(lambda a, b: np.logical_xor(a, b) | (a == b), two, "BOOLEAN", bools)


def test_numpy_integers_and_floats_are_compared_as_floats():
    rows = [(a, x) for a in INTS for x in (0.0, 1.0, 9007199254740992.0, 2.0**63, math.nan)]
    two = ["BIGINT", "DOUBLE"]
    vector(lambda a, x: a == x, two, "BOOLEAN", rows)
    vector(lambda a, x: a < x, two, "BOOLEAN", rows)
    vector(lambda a, x: (a > 2**53) & (x >= 0), two, "BOOLEAN", rows)


def warned(function, rows, params=("DOUBLE",)):
    """The warnings of a query with the function, and whether it is compiled."""
    with fuseline.connect(threads=1) as con:
        con.register("t", table_of(list(params), rows))
        con.udf(name="f", params=list(params), returns="DOUBLE", kind="numpy", compile="require")(
            function
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            con.sql(f"SELECT {call('f', params)} AS y FROM t").fetchall()
        return sorted({str(w.message) for w in caught if w.category is RuntimeWarning})


def test_numpy_warns_where_it_divides_by_zero():
    assert warned(lambda x: 1 / x, [(0.0,), (2.0,)]) == ["divide by zero encountered in divide"]
    assert warned(lambda x: np.log(x), [(-1.0,), (2.0,)]) == ["invalid value encountered in log"]
    assert warned(lambda x: np.exp(x), [(1e4,), (2.0,)]) == ["overflow encountered in exp"]
    assert warned(lambda x: 1 / x, [(1.0,), (2.0,)]) == []

    def silent(x):
        with np.errstate(divide="ignore", invalid="ignore"):
            y = 1 / x + np.log(x)
        return np.where(np.isfinite(y), y, 0.0)

    rows = [(0.0,), (-1.0,), (2.0,)]
    assert warned(silent, rows) == []
    vector(silent, ["DOUBLE"], "DOUBLE", rows, ulp=1)


def test_numpy_settings_of_the_caller_do_not_reach_functions():
    """They are the thread's, and functions run on threads of the engine's, compiled or not."""

    def inverse(x):
        return 1 / x

    rows = [(1.0,), (0.0,)]
    with np.errstate(divide="raise"):
        for compile in ("require", "never"):
            with fuseline.connect(threads=1) as con:
                con.register("t", table_of(["DOUBLE"], rows))
                options = {"params": ["DOUBLE"], "returns": "DOUBLE", "kind": "numpy"}
                con.udf(name="f", compile=compile, **options)(inverse)
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    assert con.sql("SELECT f(c0) FROM t").fetchall() == [(1.0,), (math.inf,)]
                assert "divide by zero" in str(caught[0].message)


def test_numpy_warnings_that_are_exceptions_are_not_missed():
    def product(x):
        return x * 1e300

    with fuseline.connect(threads=1) as con:
        con.register("t", table_of(["DOUBLE"], [(1.0,), (1e300,)]))
        con.udf(params=["DOUBLE"], returns="DOUBLE", kind="numpy")(product)
        sql = "SELECT product(c0) FROM t"
        assert how(con, sql)[0] == "compiled"
        assert con.sql(sql).fetchall() == [(1e300,), (math.inf,)]
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            with pytest.raises(fuseline.UdfError) as caught:
                con.sql(sql).fetchall()
            assert isinstance(caught.value.__cause__, RuntimeWarning)
            way, reason = how(con, sql)
            assert way == "Python"
            assert "warnings are exceptions" in reason


def test_numpy_nulls_are_left_out():
    rows = [(1.0,), (None,), (0.5,), (None,)]
    with fuseline.connect(threads=1) as con:
        con.register("t", table_of(["DOUBLE"], rows))
        options = {"params": ["DOUBLE"], "returns": "DOUBLE", "kind": "numpy"}
        con.udf(name="f", compile="require", **options)(lambda x: x * 2)
        assert con.sql("SELECT f(c0) FROM t").fetchall() == [(2.0,), (None,), (1.0,), (None,)]
        with pytest.raises(fuseline.Error, match="null_handling = call"):
            con.udf(name="g", compile="require", null_handling="call", **options)(lambda x: x * 2)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: x - x.mean(), "'.mean' of an array looks at more than one row"),
        (lambda x: np.where(x > 0, x, x[0]), "an item of an array is of another row"),
        (lambda x: x if x > 0 else -x, "an array has no one truth value"),
        (lambda x: max(x, 0), "'max' of an array is not compiled"),
        (lambda x: x > 0, "it returns an array of bool, but is declared to return float64"),
        (lambda x: np.float64(1.0), "it returns one value, not an array"),
        (lambda x: math.sin(x), "'math.sin' of an array is not compiled"),
        (lambda x: x.astype(np.float32), "it returns an array of float32"),
    ],
)
def test_numpy_reasons(function, reason):
    with fuseline.connect(threads=1) as con, pytest.raises(fuseline.Error) as caught:
        con.udf(name="f", params=["DOUBLE"], returns="DOUBLE", kind="numpy", compile="require")(
            function
        )
    assert re.search(r"\bline \d+: ", str(caught.value)), caught.value
    assert reason in str(caught.value)


# Random expressions


def random_array(rng, dtype, depth):
    """An expression over `a` (ints), `x`, `y` (floats) and `b` (bools)."""
    leaf = {"int": ("a", "3", "a"), "float": ("x", "y", "1.5"), "bool": ("b", "(x > 0)", "b")}
    if depth == 0 or rng.random() < 0.1:
        return rng.choice(leaf[dtype])

    def sub(kind):
        return random_array(rng, kind, depth - 1)

    if rng.random() < 0.15:
        return f"np.where({sub('bool')}, {sub(dtype)}, {sub(dtype)})"
    if dtype == "int":
        made = (
            f"({sub('int')} {rng.choice('+-*&|^')} {sub('int')})",
            f"({sub('int')} {rng.choice(('//', '%'))} {rng.choice((2, 3, -7, 10))})",
            f"({sub('int')} // {sub('int')})",
            f"np.abs({sub('int')} + a)",
            f"(-(a + {sub('int')}))",
            f"(a | {sub('int')}).astype(np.{rng.choice(('int8', 'int16', 'uint8', 'uint32'))}).astype(np.int64)",
            f"(b & {sub('bool')}).astype(np.int64)",
            f"np.clip({sub('int')} + a, -50, 1000)",
            f"np.{rng.choice(('minimum', 'maximum'))}(a, {sub('int')})",
            f"np.floor(np.clip({sub('float')} + x, -1e9, 1e9)).astype(np.int64)",
        )
    elif dtype == "float":
        made = (
            f"({sub('float')} {rng.choice('+-*')} {sub('float')})",
            f"({sub('float')} / {sub('float')})",
            f"({sub('int')} / (a * a + 1))",
            f"({sub('float')} {rng.choice(('//', '%'))} 2.5)",
            f"({sub('int')} * x)",
            f"np.sqrt({sub('float')})",
            f"np.abs({sub('float')})",
            f"np.{rng.choice(('floor', 'ceil', 'rint', 'trunc', 'sign'))}(x + {sub('float')})",
            f"np.{rng.choice(('fmin', 'fmax', 'minimum', 'maximum'))}({sub('float')}, 0.75)",
            f"(x + {sub('float')}).astype(np.float32).astype(np.float64)",
            f"np.round({sub('float')} + x, 2)",
            f"((y + {sub('float')}) ** 2)",
            f"np.nan_to_num(x - {sub('float')})",
            f"np.select([b, {sub('bool')} & b], [x, {sub('float')}], {sub('float')})",
        )
    else:
        sign = rng.choice(("<", "<=", ">", ">=", "==", "!="))
        made = (
            f"(a {sign} {sub('int')})",
            f"(x {sign} {sub('float')})",
            f"(a {sign} {sub('float')})",
            f"({sub('bool')} {rng.choice('&|^')} b)",
            f"(~(b | {sub('bool')}))",
            f"np.{rng.choice(('isnan', 'isfinite', 'isinf'))}(x * {sub('float')})",
            f"np.logical_{rng.choice(('and', 'or', 'xor'))}(b, {sub('bool')})",
        )
    return rng.choice(made)


def test_numpy_random_expressions():
    """FUSELINE_CASES counts rows that ran as machine code."""
    wanted = int(os.environ.get("FUSELINE_CASES", "6000"))
    seed = int(os.environ.get("FUSELINE_SEED", "1"))
    types = {"int": "BIGINT", "float": "DOUBLE", "bool": "BOOLEAN"}
    cases = functions = compiled = 0
    while cases < wanted and functions < wanted:
        rng = random.Random(seed * 1_000_003 + functions)
        functions += 1
        dtype = rng.choice(("int", "float", "bool"))
        # Every operand is an array of its type whatever is drawn.
        wrap = {"int": "(a * 0 + {})", "float": "(x * 0 + {})", "bool": "(b & ~b | {})"}[dtype]
        body = (
            wrap.format(random_array(rng, dtype, 4))
            if rng.random() < 0.2
            else random_array(rng, dtype, 4)
        )
        text = f"import numpy as np\ndef f(a, x, y, b):\n    return {body}\n"
        file = f"<numpy {functions}>"
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        scope = {"__name__": "random_arrays"}
        exec(compile(text, file, "exec"), scope)
        ints = [*INTS, *(rng.randint(-50, 50) for _ in range(60))]
        floats = [*FLOATS, *(rng.randint(-80, 80) / 8 for _ in range(60))]
        rows = [
            (rng.choice(ints), rng.choice(floats), rng.choice(floats), rng.random() < 0.5)
            for _ in range(100)
        ]
        params = ["BIGINT", "DOUBLE", "DOUBLE", "BOOLEAN"]
        arrays = [
            np.array(column, dtype) for column, dtype in zip(zip(*rows), (int, float, float, bool))
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            want = scope["f"](*arrays)
            if (
                not isinstance(want, np.ndarray)
                or want.dtype != {"int": np.int64, "float": float, "bool": bool}[dtype]
            ):
                continue
            with fuseline.connect(threads=1) as con:
                con.register("t", table_of(params, rows))
                con.udf(name="f", params=params, returns=types[dtype], kind="numpy")(scope["f"])
                sql = f"SELECT {call('f', params)} AS y FROM t"
                way, reason = how(con, sql)
                query = con.sql(sql)
                got = query.to_arrow()["y"].to_pylist()
                if way == "compiled":
                    compiled += 1
                    cases += len(rows) - bailed(query.profile(), "f")
        texts = differences(rows, [Value(v) for v in want.tolist()], [Value(v) for v in got])
        assert not texts, f"{way} {reason}\n{text}\n" + "\n".join(texts[:5])
    print(f"{cases} cases, {compiled} of {functions} functions compiled")
    assert cases >= wanted
