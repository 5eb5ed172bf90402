"""Python functions that are compiled: that they are, what the options do, and that rows that bail are Python's."""

import contextlib
import math
import pathlib

import pyarrow as pa
import pytest

import fuseline

RATE = 2
TABLE = {"a": 1, "b": 2}


def connect(**columns):
    """A connection with a table `t`."""
    con = fuseline.connect(threads=1)
    con.register("t", pa.table(columns or {"x": [1, 2, 3]}))
    return con


def explain(con, sql):
    """The text of the plan."""
    return "\n".join(str(v) for row in con.sql(f"EXPLAIN {sql}").fetchall() for v in row)


def values(con, sql):
    """The first column."""
    return [row[0] for row in con.sql(sql).fetchall()]


def test_explain_says_compiled_or_why_not():
    con = connect()

    def double(x: int) -> int:
        return x * 2

    def opaque(x: int) -> int:
        y = x
        return hash(y)

    con.udf(double, compile="require")
    con.udf(opaque)
    assert ", compiled" in explain(con, "SELECT double(x) FROM t")
    why = explain(con, "SELECT opaque(x) FROM t")
    line = opaque.__code__.co_firstlineno + 2
    assert f"Python: line {line}: " in why and "hash" in why
    assert values(con, "SELECT double(x) FROM t") == [2, 4, 6]
    assert values(con, "SELECT opaque(x) FROM t") == [1, 2, 3]


def test_require_says_the_line_and_never_is_obeyed():
    con = connect()

    def opaque(x: int) -> int:
        return hash(x)

    def double(x: int) -> int:
        return x * 2

    line = opaque.__code__.co_firstlineno + 1
    with pytest.raises(Exception, match=f"line {line}: .*hash"):
        con.udf(opaque, compile="require")
    con.udf(double, compile="never")
    assert "Python: compile = never" in explain(con, "SELECT double(x) FROM t")
    con.udf(double, volatility="volatile")
    assert "Python: it is volatile" in explain(con, "SELECT double(x) FROM t")


def test_rows_that_bail_are_pythons():
    con = connect(x=[1, 0, 2**62, 5])

    def inverse(x: int) -> float:
        return 4 * x % 100 / x

    con.udf(inverse, compile="require", on_error="null")
    big = 4 * 2**62 % 100 / 2**62
    assert values(con, "SELECT inverse(x) FROM t") == [4.0, None, big, 4.0]
    result = con.sql("SELECT inverse(x) FROM t")
    result.fetchall()
    figures = result.profile()["functions"]["inverse"]
    assert (figures["compiled_rows"], figures["bailed_rows"], figures["failed_rows"]) == (2, 2, 1)


def test_exceptions_have_pythons_traceback():
    con = connect(x=[3, 2, 0, 1])

    def inverse(x: int) -> float:
        y = 10
        return y / x

    con.udf(inverse, compile="require")
    with pytest.raises(fuseline.Error) as error:
        con.sql("SELECT inverse(x) FROM t").fetchall()
    cause = error.value.__cause__
    assert isinstance(cause, ZeroDivisionError)
    trace = cause.__traceback__
    while trace.tb_next:
        trace = trace.tb_next
    assert trace.tb_lineno == inverse.__code__.co_firstlineno + 2
    assert "row 2" in str(error.value)


def test_collect_keeps_the_rows():
    con = connect(x=[1, 0, 2])

    def inverse(x: int) -> float:
        return 1 / x

    con.udf(inverse, compile="require", on_error="collect")
    assert values(con, "SELECT inverse(x) FROM t") == [1.0, None, 0.5]
    assert len(con.sql("SELECT * FROM fuseline_errors()").fetchall()) == 1


def test_null_is_none_where_the_function_sees_it():
    con = connect(x=[1, None, 3])

    def seen(x: int) -> int:
        return -1 if x is None else x

    con.udf(seen, compile="require", null_handling="call")
    assert values(con, "SELECT seen(x) FROM t") == [1, -1, 3]
    con.udf(seen, compile="require")
    assert values(con, "SELECT seen(x) FROM t") == [1, None, 3]


def test_workers_run_the_rows_that_bail():
    con = connect(x=[1, 0, 2])

    def inverse(x: int) -> float:
        return 1 / x

    con.udf(inverse, compile="require", isolation="process", on_error="null")
    assert ", compiled" in explain(con, "SELECT inverse(x) FROM t")
    assert values(con, "SELECT inverse(x) FROM t") == [1.0, None, 0.5]


def workers():
    """Worker processes of this process."""
    found = []
    for file in pathlib.Path("/proc/self/task").glob("*/children"):
        for child in file.read_text().split():
            with contextlib.suppress(OSError):
                found += [child] * ("_worker" in pathlib.Path(f"/proc/{child}/cmdline").read_text())
    return found


def test_workers_are_not_needed_for_rows_that_do_not_bail():
    """The code is pure and cannot crash, so it runs here; only what Python must see is isolated."""
    con = connect(x=[1, 5, 2])
    before = set(workers())

    def half(x: int) -> float:
        return x / 2

    con.udf(half, compile="require", isolation="process")
    assert values(con, "SELECT half(x) FROM t") == [0.5, 2.5, 1.0]
    assert not set(workers()) - before
    con.udf(half, compile="never", isolation="process")
    assert values(con, "SELECT half(x) FROM t") == [0.5, 2.5, 1.0]
    assert set(workers()) - before


def test_a_loop_without_end_is_given_to_a_worker_and_its_timeout():
    con = connect(x=[1])

    def endless(x: int) -> int:
        while x > 0:
            x = x | 1
        return x

    con.udf(endless, compile="require", isolation="process", timeout=0.5)
    with pytest.raises(fuseline.UdfError, match="0.5"):
        values(con, "SELECT endless(x) FROM t")


def test_a_large_captured_table_is_read_once_and_its_changes_are_seen():
    con = connect(x=list(range(2000)))
    table = {i: i * 2 for i in range(2000)}

    def looked_up(x: int) -> int:
        return table.get(x, -1)

    con.udf(looked_up, compile="require")
    sql = "SELECT sum(looked_up(x)) FROM t"
    assert values(con, sql) == [1999 * 2000]
    # Equal, but other values; then one value of the same size; then one key less.
    table[3] = True
    assert values(con, sql) == [1999 * 2000 - 5]
    table[3] = 7
    assert values(con, sql) == [1999 * 2000 + 1]
    del table[3]
    assert values(con, sql) == [1999 * 2000 - 7]


def test_reasons_begin_with_the_functions_own_line():
    con = connect(x=[1])

    def prints(x):
        print(x)
        return x

    def outer(x: int) -> int:
        return prints(x)

    con.udf(outer)
    line = outer.__code__.co_firstlineno + 1
    inner = prints.__code__.co_firstlineno + 1
    assert f"Python: line {line}: in 'prints', line {inner}: " in explain(
        con, "SELECT outer(x) FROM t"
    )


def test_what_is_captured_may_change_between_queries():
    global RATE
    con = connect()

    def scaled(x: int) -> int:
        return x * RATE

    def looked(x: int) -> int:
        return TABLE.get("abc"[x - 1], 0)

    con.udf(scaled, compile="require")
    con.udf(looked, compile="require")
    try:
        assert values(con, "SELECT scaled(x) FROM t") == [2, 4, 6]
        RATE = 10
        TABLE["c"] = 7
        assert values(con, "SELECT scaled(x) FROM t") == [10, 20, 30]
        assert values(con, "SELECT looked(x) FROM t") == [1, 2, 7]
        RATE = object()
        assert "Python: " in explain(con, "SELECT scaled(x) FROM t")
    finally:
        RATE = 2
        del TABLE["c"]


def test_two_lambdas_on_one_line():
    con = connect()
    one, two = lambda x: x + 1, lambda x: x * 10  # fmt: skip
    for name, function in (("one", one), ("two", two)):
        con.udf(function, name=name, params=[int], returns=int, compile="require")
    assert con.sql("SELECT one(x), two(x) FROM t").fetchall() == [(2, 10), (3, 20), (4, 30)]


def test_patched_builtins_are_not_what_their_names_say(monkeypatch):
    con = connect()

    def size(x: int) -> int:
        return abs(-x)

    con.udf(size, compile="require")
    assert values(con, "SELECT size(x) FROM t") == [1, 2, 3]
    monkeypatch.setitem(size.__globals__, "abs", lambda x: 42)
    assert values(con, "SELECT size(x) FROM t") == [42, 42, 42]


def test_functions_call_functions():
    con = connect(x=[0.0, 1.0, 4.0])

    def half(x, by=2):
        if x > 3:
            return x
        return x / by

    def root(x: float) -> float:
        return math.sqrt(half(x) + half(x, by=4))

    con.udf(root, compile="require")
    assert values(con, "SELECT root(x) FROM t") == [root(x) for x in (0.0, 1.0, 4.0)]


def test_a_function_that_mostly_bails_goes_to_python():
    rows = 4096
    con = connect(x=list(range(rows)))

    def odd(x: int) -> int:
        if x >= 0:
            raise ValueError(x)
        return x

    con.udf(odd, compile="require", on_error="null", batch_rows=1024)
    result = con.sql("SELECT odd(x) FROM t")
    assert result.fetchall() == [(None,)] * rows
    figures = result.profile()["functions"]["odd"]
    assert (figures["compiled_rows"], figures["bailed_rows"]) == (0, rows)


def test_bodies_of_create_function_are_compiled():
    con = fuseline.connect(threads=1, allow_create_function=True)
    con.register("t", pa.table({"x": [1, 2, 3]}))
    con.sql(
        "CREATE FUNCTION f(x BIGINT) RETURNS BIGINT LANGUAGE python WITH (compile = require) AS $$ x + 1 $$"
    )
    assert values(con, "SELECT f(x) FROM t") == [2, 3, 4]
    assert ", compiled" in explain(con, "SELECT f(x) FROM t")
