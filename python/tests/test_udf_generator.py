"""Random functions over random rows: compiled, in batches of plain calls, in a worker process, and plain
CPython give the same values, types and exceptions, with the same lines in their tracebacks.

A case is a function and a row that ran as machine code: rows that were handed to CPython do not count,
nor does a function that is not compiled. FUSELINE_CASES says how many cases (a few thousand unless
told otherwise), FUSELINE_SEED where to begin. A failure prints a program that shows it, made small.
"""

import itertools
import os
import warnings

import pytest
from udf_generator import make
from udf_oracle import Raised, Value, bailed, call, differences, how, outcome, plain, table_of

import fuseline

pytest.importorskip("numpy")
pytest.importorskip("pyarrow")
pytest.importorskip("cloudpickle")

CASES = int(os.environ.get("FUSELINE_CASES", "6000"))
SEED = int(os.environ.get("FUSELINE_SEED", "1"))
ROWS = 60
# Rows whose traceback is compared: each of them is a query for every mode.
TRACED = 3
TYPES = {"int": "BIGINT", "float": "DOUBLE", "bool": "BOOLEAN", "str": "VARCHAR"}
MODES = {
    "compiled": {"compile": "auto"},
    "batch": {"compile": "never"},
    "worker": {"compile": "never", "isolation": "process"},
    "compiled, worker": {"compile": "auto", "isolation": "process"},
}

REPRODUCER = """\
import math

import pyarrow as pa

import fuseline


{source}

row = {row!r}
con = fuseline.connect(threads=1, exact_libm=True)
types = {types!r}
names = [f"c{{at}}" for at in range(len(row))]
con.register("t", pa.table({{n: pa.array([v], types[at]) for at, (n, v) in enumerate(zip(names, row))}}))
con.udf(f, null_handling="call", {options})
try:
    print("CPython", repr(f(*row)))
except Exception as error:
    print("CPython", repr(error))
print("query", con.sql(f"SELECT f({{', '.join(names)}}) FROM t").fetchall())
"""
# `fuseline_errors()` keeps the rows of all queries of a connection: each comparison has names of its own.
NAMES = (f"f{number}" for number in itertools.count())
# Functions compared on one connection, before what it keeps makes it slow.
CONNECTION = 100
ARROW = {"int": "int64", "float": "float64", "bool": "bool", "str": "string"}


def registered(con, program, function, mode, on_error="raise"):
    """The function as one of the connection; its name."""
    name = next(NAMES)
    con.udf(
        name=name,
        params=[TYPES[t] for _, t, _ in program.params],
        returns=TYPES[program.returns],
        null_handling="call",
        on_error=on_error,
        **MODES[mode],
    )(function)
    return name


def compared(con, program, rows, mode, number):
    """Texts of what differs in a mode, and how many rows ran as machine code."""
    function = program.function(number)
    params = [TYPES[t] for _, t, _ in program.params]
    expected = [plain(function, row, TYPES[program.returns], "call") for row in rows]
    con.register("t", table_of(params, rows))
    name = registered(con, program, function, mode, "collect")
    column = con.sql(f"SELECT {call(name, params)} AS y FROM t").fetchall()
    found = [Value(value) for (value,) in column]
    errors = con.sql(
        f"SELECT row, exception FROM fuseline_errors() WHERE udf = '{name}'"
    ).fetchall()
    failed = dict(errors)
    texts = []
    for at, e in enumerate(expected):
        words = failed.pop(at, None)
        if isinstance(e, Raised):
            if words != (f"{e.type}: {e.text}" if e.text else e.type) or found[at] != Value(None):
                texts.append(f"{rows[at]!r}: CPython {e}, the query {found[at]}, error {words}")
        elif words is not None:
            texts.append(f"{rows[at]!r}: CPython {e}, the query fails with {words}")
        else:
            texts += differences([rows[at]], [e], [found[at]])
    con.remove_function(name)

    name = registered(con, program, function, mode)
    traced = [at for at, e in enumerate(expected) if isinstance(e, Raised)][:TRACED]
    for at in traced:
        texts += differences([rows[at]], [expected[at]], [outcome(con, name, params, at)])
    con.remove_function(name)

    compiled = 0
    if mode == "compiled":
        name = registered(con, program, function, mode, "null")
        sql = f"SELECT {call(name, params)} AS y FROM t"
        if how(con, sql)[0] == "compiled":
            compiled = len(rows) - bailed(con.sql(sql).profile(), name)
        con.remove_function(name)
    return texts, compiled


def differs(con, program, rows, mode, number):
    """Whether a program still shows a difference; one that is no Python any more does not."""
    try:
        return bool(compared(con, program, rows, mode, number)[0])
    except SyntaxError:
        return False


def shrunk(con, program, rows, mode, number):
    """A smaller program and one row that differ still."""
    rows = next(([row] for row in rows if differs(con, program, [row], mode, number)), rows)
    smaller = True
    while smaller:
        smaller = False
        for candidate in program.smaller():
            number += 1
            if differs(con, candidate, rows, mode, number):
                program, smaller = candidate, True
                break
    return program, rows


def reproducer(program, row, mode):
    """A program of its own that shows the difference."""
    options = ", ".join(f"{k}={v!r}" for k, v in MODES[mode].items())
    types = [ARROW[t] for _, t, _ in program.params]
    return REPRODUCER.format(source=program.source, row=row, types=types, options=options)


def agree(con, seed, number):
    """Compares a function in all modes, and fails with a small one; its cases."""
    program, rows = make(seed, ROWS)
    counted = 0
    for mode in MODES:
        texts, compiled = compared(con, program, rows, mode, number)
        counted += compiled
        if texts:
            small, few = shrunk(con, program, rows, mode, number)
            pytest.fail(
                f"seed {seed}, {mode}: {len(texts)} differences\n"
                + "\n".join(texts[:3])
                + "\n\nmade small:\n"
                + reproducer(small, few[0], mode)
            )
    return counted


def test_modes_agree_on_random_functions():
    counted = functions = compiled = 0
    limit = 4 * CASES // ROWS + 20
    with warnings.catch_warnings():
        # `(1, 2) is x` and the like, when a generated function is read.
        warnings.simplefilter("ignore", SyntaxWarning)
        while counted < CASES and functions < limit:
            with fuseline.connect(threads=1, exact_libm=True) as con:
                for _ in range(CONNECTION):
                    found = agree(con, SEED * 1_000_003 + functions, functions * 1000)
                    functions += 1
                    counted += found
                    compiled += found > 0
                    if counted >= CASES or functions >= limit:
                        break
    print(f"{counted} cases, {compiled} of {functions} functions compiled")
    assert counted >= CASES, f"{counted} cases only: {compiled} of {functions} functions compiled"
    assert compiled >= 0.8 * functions


def test_the_generator_makes_what_it_should():
    """Most rows run, some raise, and the same seed gives the same program."""
    raised = values = 0
    for seed in range(300):
        program, rows = make(seed, 20)
        assert make(seed, 20)[0].source == program.source
        function = program.function(seed)
        for row in rows:
            found = plain(function, row, TYPES[program.returns], "call")
            raised += isinstance(found, Raised)
            values += isinstance(found, Value)
    assert 0.05 < raised / (raised + values) < 0.4


def test_a_difference_is_found_and_made_small():
    """The comparison can fail: here the query is given another function than the oracle."""
    program, rows = make(3, ROWS)
    with fuseline.connect(threads=1, exact_libm=True) as con:
        genuine = program.function(1)
        params = [TYPES[t] for _, t, _ in program.params]
        expected = [plain(genuine, row, TYPES[program.returns], "call") for row in rows]
        con.register("t", table_of(params, rows))
        con.udf(
            name="f",
            params=params,
            returns=TYPES[program.returns],
            null_handling="call",
            compile="never",
        )(lambda *_: None)
        found = [Value(v) for (v,) in con.sql(f"SELECT {call('f', params)} FROM t").fetchall()]
    assert differences(rows, expected, found)
    assert len(list(program.smaller())) >= len(program.body)
    assert "CPython" in reproducer(program, rows[0], "compiled")
