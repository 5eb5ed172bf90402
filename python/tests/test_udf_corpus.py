"""Every function of the corpus (udf_corpus/) does in a query what it does in CPython, compiled or not,
and at least nine in ten are compiled."""

import re
import warnings

import pytest
import udf_corpus
from udf_oracle import (
    Raised,
    Value,
    call,
    differences,
    how,
    outcomes,
    plain,
    table_of,
    transcendental,
)

import fuseline

np = pytest.importorskip("numpy")

CASES = udf_corpus.all_cases()
SCALAR = [c for c in CASES if c.kind == "scalar"]
NUMPY = [c for c in CASES if c.kind == "numpy"]
MATH = [c for c in SCALAR if c.stays is None and transcendental(c.function)]
# Steps between floats that a few chained transcendental functions may be apart, each 1 ulp from libm;
# a difference of nearly equal numbers makes more of them.
CHAINED = 64


def connect(case, on_error="raise", compile="auto", **settings):
    """A connection with the case's function as `f` and its rows as `t`."""
    con = fuseline.connect(threads=1, **settings)
    con.register("t", table_of(case.params, case.rows))
    con.udf(
        name="f",
        params=case.params,
        returns=case.returns,
        kind=case.kind,
        null_handling=case.null_handling,
        on_error=on_error,
        compile=compile,
    )(case.function)
    return con


def expected_of(case):
    """What CPython does with each row."""
    return [plain(case.function, row, case.returns, case.null_handling) for row in case.rows]


def report(case, texts):
    """The message of a failed comparison."""
    return f"{case}: {len(texts)} rows differ\n" + "\n".join(texts[:10])


# The corpus itself


def test_the_corpus_is_what_it_says():
    assert len(CASES) >= 320
    assert len({str(c) for c in CASES}) == len(CASES)
    for case in CASES:
        assert len(case.rows) >= 20, case
        assert case.kind == "numpy" or any(None in row for row in case.rows), case
    staying = [c for c in CASES if c.stays is not None]
    assert 0.07 <= len(staying) / len(CASES) <= 0.11


@pytest.mark.parametrize("case", SCALAR, ids=str)
def test_typical_rows_do_not_raise(case):
    for row in case.typical:
        found = plain(case.function, row, case.returns, case.null_handling)
        assert case.raises or isinstance(found, Value), (row, found)
        # The same again, whatever the call before has left behind.
        assert plain(case.function, row, case.returns, case.null_handling).key == found.key


# Queries against CPython


@pytest.mark.parametrize("case", SCALAR, ids=str)
def test_as_cpython(case):
    expected = expected_of(case)
    with connect(case, exact_libm=True) as con:
        found = outcomes(con, "f", case.params, expected)
    texts = differences(case.rows, expected, found)
    assert not texts, report(case, texts)


@pytest.mark.parametrize("case", SCALAR, ids=str)
def test_rows_that_raise_leave_the_others_alone(case):
    """All rows in one query: values stay in their order around rows that Python was asked for."""
    expected = [Value(None) if isinstance(e, Raised) else e for e in expected_of(case)]
    with connect(case, on_error="null", exact_libm=True) as con:
        column = con.sql(f"SELECT {call('f', case.params)} AS y FROM t").fetchall()
    texts = differences(case.rows, expected, [Value(v) for (v,) in column])
    assert not texts, report(case, texts)


@pytest.mark.parametrize("case", MATH, ids=str)
def test_as_cpython_without_exact_libm(case):
    """Values that flow to the output by arithmetic may be a little off, all others may not."""
    expected = expected_of(case)
    with connect(case) as con:
        found = outcomes(con, "f", case.params, expected)
    texts = differences(case.rows, expected, found, CHAINED)
    assert not texts, report(case, texts)


@pytest.mark.parametrize("case", NUMPY, ids=str)
def test_as_numpy(case):
    """The whole column at once, without the rows that have NULL."""
    valid = [row for row in case.rows if None not in row]
    dtypes = {"BIGINT": np.int64, "DOUBLE": np.float64, "BOOLEAN": np.bool_}
    arrays = [
        np.array([row[at] for row in valid], dtypes[param]) for at, param in enumerate(case.params)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        values = iter(case.function(*arrays).astype(dtypes[case.returns]).tolist())
        expected = [Value(None if None in row else next(values)) for row in case.rows]
        with connect(case) as con:
            column = con.sql(f"SELECT {call('f', case.params)} AS y FROM t").fetchall()
    tolerance = CHAINED if transcendental(case.function) else 0
    texts = differences(case.rows, expected, [Value(v) for (v,) in column], tolerance)
    assert not texts, report(case, texts)


# What is compiled


def test_nine_in_ten_are_compiled():
    python = {}
    # Before NumPy 2, functions over arrays stay as they are.
    cases = CASES if int(np.__version__.partition(".")[0]) >= 2 else SCALAR
    for case in cases:
        with connect(case) as con:
            way, reason = how(con, f"SELECT {call('f', case.params)} AS y FROM t")
        if way == "Python":
            python[str(case)] = reason
    share = 1 - len(python) / len(cases)
    print(f"{share:.1%} of {len(cases)} functions are compiled; the others:")
    for name, reason in python.items():
        print(f"  {name}: {reason}")
    silent = [name for name, reason in python.items() if not re.search(r"\bline \d+", reason)]
    assert not silent, f"no line in the reasons of {silent}"
    wrongly = [str(c) for c in cases if c.stays is not None and str(c) not in python]
    assert not wrongly, f"compiled, and must not be: {wrongly}"
    assert share >= 0.9


@pytest.mark.parametrize("case", [c for c in CASES if c.stays is not None], ids=str)
def test_what_stays_python_is_refused_when_required(case):
    with pytest.raises(fuseline.Error) as caught:
        connect(case, compile="require")
    if case.kind == "numpy" and int(np.__version__.split(".")[0]) < 2:
        assert f"NumPy 2, and this is {np.__version__}" in str(caught.value)
    else:
        assert re.search(r"\bline \d+", str(caught.value)), caught.value
