"""What a function takes from outside, what it does to the outside, and how it fails: captured values
are checked again at each query, effects are never compiled, and tracebacks are Python's own.
"""

import builtins
import random
import time

import pytest
from udf_exact import checked, exact, stays
from udf_oracle import table_of

import fuseline

pytest.importorskip("numpy")
pa = pytest.importorskip("pyarrow")


# Globals, closures, defaults

RATE = 3
TABLE = {"a": 1, "b": 2}


def test_globals_are_looked_at_again_when_a_query_starts(monkeypatch):
    def scaled(a: int) -> int:
        return a * RATE

    def looked_up(s: str) -> int:
        return TABLE.get(s, 0)

    with fuseline.connect(threads=1) as con:
        con.register("t", pa.table({"a": [1, 2], "s": ["a", "b"]}))
        con.udf(compile="require")(scaled)
        con.udf(compile="require")(looked_up)
        sql = "SELECT scaled(a), looked_up(s) FROM t"
        assert con.sql(sql).fetchall() == [(3, 1), (6, 2)]
        monkeypatch.setitem(globals(), "RATE", 5)
        monkeypatch.setitem(TABLE, "b", 9)
        assert con.sql(sql).fetchall() == [(5, 1), (10, 9)]
        monkeypatch.setitem(globals(), "RATE", 0.5)
        with pytest.raises(fuseline.UdfError):
            con.sql(sql).fetchall()
        monkeypatch.delitem(globals(), "RATE")
        with pytest.raises(fuseline.UdfError, match="NameError"):
            con.sql(sql).fetchall()


def test_closures_and_defaults():
    factor = 4

    def closed(a: int) -> int:
        return a + factor

    def default(a: int, k=10) -> int:
        return a % k

    with fuseline.connect(threads=1) as con:
        con.register("t", pa.table({"a": [1, 23]}))
        con.udf(compile="require")(closed)
        con.udf(compile="require")(default)
        sql = "SELECT closed(a), default(a) FROM t"
        assert con.sql(sql.replace("default", '"default"')).fetchall() == [(5, 1), (27, 3)]
        factor = 100
        assert con.sql("SELECT closed(a) FROM t").fetchall() == [(101,), (123,)]


def test_patched_builtins(monkeypatch):
    def longer(s: str) -> int:
        return len(s) + 1

    genuine = len
    with fuseline.connect(threads=1) as con:
        con.register("t", pa.table({"s": ["abc"]}))
        con.udf(longer)
        assert con.sql("SELECT longer(s) FROM t").fetchall() == [(4,)]
        monkeypatch.setitem(globals(), "len", lambda s: 10 * genuine(s))
        assert con.sql("SELECT longer(s) FROM t").fetchall() == [(31,)]
        monkeypatch.delitem(globals(), "len")
        assert con.sql("SELECT longer(s) FROM t").fetchall() == [(4,)]
        monkeypatch.setattr(builtins, "len", lambda s: 7)
        assert con.sql("SELECT longer(s) AS y FROM t").fetchall() == [(8,)]


def test_two_lambdas_on_one_line():
    f, g = lambda a: a + 1, lambda a: a - 1
    with fuseline.connect(threads=1) as con:
        con.register("t", pa.table({"a": [5]}))
        for name, function in (("f", f), ("g", g)):
            con.udf(name=name, params=[int], returns=int, compile="require")(function)
        assert con.sql("SELECT f(a), g(a) FROM t").fetchall() == [(6, 4)]


# Unbound locals


def test_unbound_locals_are_not_compiled():
    def sometimes(a: int) -> int:
        if a > 0:
            b = a
        return b

    def after_loop(a: int) -> int:
        for i in range(a):
            pass
        return i

    def deleted(a: int) -> int:
        b = a
        if a > 2:
            del b
        return b

    stays(sometimes, after_loop, deleted, rows=[1, 5, 0, -3])


def test_bound_on_every_path():
    def bound(a: int) -> int:
        if a > 0:
            b = 1
        elif a < 0:
            b = 2
        else:
            return 0
        return b

    def loop(a: int) -> int:
        while True:
            b = a
            break
        return b

    exact(bound, loop)


# Effects, randomness, time, I/O, attribute and global writes

CALLS = []
STATE = {"n": 0}


class Holder:
    """What a function writes to."""

    value = 0


def test_effects_are_not_compiled_and_happen_once_per_row():
    def appends(a: int) -> int:
        CALLS.append(a)
        return a

    rows = [(i,) for i in range(50)]
    with fuseline.connect(threads=1) as con:
        con.register("t", table_of(["BIGINT"], rows))
        with pytest.raises(fuseline.Error, match=r"\bline \d+"):
            con.udf(name="f", compile="require")(appends)
        con.udf(name="f", volatility="volatile")(appends)
        CALLS.clear()
        assert con.sql("SELECT f(c0) AS y FROM t WHERE c0 % 2 = 0").fetchall() == rows[::2]
        assert CALLS == list(range(0, 50, 2))
        CALLS.clear()
        sql = "SELECT y, y + 1 FROM (SELECT f(c0) AS y FROM t WHERE c0 < 9) WHERE y > 3"
        assert len(con.sql(sql).fetchall()) == 5
        assert CALLS == list(range(9))


def test_writes_are_not_compiled():
    def attribute(a: int) -> int:
        Holder.value = a
        return Holder.value

    def item(a: int) -> int:
        STATE["n"] = a
        return STATE["n"]

    def written_global(a: int) -> int:
        global _written
        _written = a
        return a

    stays(attribute, item, written_global, rows=[1, 2])


def test_randomness_and_time_are_not_compiled():
    def chance(a: int) -> bool:
        return random.random() < 2 + a

    def now(a: int) -> bool:
        return time.time() > a

    stays(chance, now, rows=[1, 2])


def test_reading_and_printing_are_not_compiled():
    def reads(a: int) -> str:
        with open("/dev/null") as file:
            return file.read() + str(a)

    def prints(a: int) -> int:
        print(a, end="")
        return a

    stays(reads, prints, rows=[1, 2])


def test_exceptions_that_are_caught():
    """Compiled code reads the body alone: rows that raise are Python's, whatever catches them."""

    def caught(s: str) -> int:
        try:
            return int(s)
        except ValueError:
            return -1

    def ends_after(s: str) -> int:
        n = 0
        try:
            n = int(s)
        except ValueError as e:
            n = len(str(e))
        else:
            n += 1
        finally:
            n *= 2
        return n

    def in_a_loop(s: str) -> int:
        total = 0
        for part in s.split(","):
            try:
                total += int(part)
            except ValueError:
                continue
        return total

    exact(caught, ends_after, in_a_loop, rows=["5", "x", "1,2", "3,q,4", "", None])


def test_finally_that_replaces_a_return_is_not_compiled():
    def replaced(n: int) -> int:
        try:
            if n > 1:
                return 1
        finally:
            return 2  # noqa: B012

    def left(n: int) -> int:
        y = 0
        for i in range(n):
            try:
                if i == 2:
                    break
            finally:
                y += 1
        return y

    stays(replaced, left, rows=[1, 2, 5])


# Exceptions of the function's own


def test_raise_and_assert():
    exact(checked)


def helper(a):
    """Called by the next one, and in its traceback."""
    return 10 // a


def test_tracebacks_show_inlined_functions():
    def outer(a: int) -> int:
        b = helper(a - 1)
        return b + 1

    exact(outer, rows=[1, 2, 3, -9])
