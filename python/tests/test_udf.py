"""Python functions in SQL: how they are declared, what they see, what happens when they fail."""

import datetime as dt
import decimal
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

import fuseline

np = pytest.importorskip("numpy")
pa = pytest.importorskip("pyarrow")


@pytest.fixture
def con():
    with fuseline.connect(threads=2, allow_create_function=True) as con:
        rows = range(3000)
        con.register("t", pa.table({"x": [float(i) for i in rows], "k": [i % 4 for i in rows]}))
        con.register("s", pa.table({"x": [1.0, 2.0, None, 4.0], "name": ["a", None, "ccc", "dd"]}))
        yield con


def column(con, sql):
    return [row[0] for row in con.sql(sql).fetchall()]


# Declaring


def test_types_come_from_annotations(con):
    @con.udf
    def many(
        a: int,
        b: float,
        c: bool,
        d: str,
        e: bytes,
        f: dt.date,
        g: dt.datetime,
        h: dt.timedelta,
        i: decimal.Decimal,
        j: list[int],
        k: float | None = None,
    ) -> str:
        return "|".join(str(v) for v in (a, b, c, d, e, f, g, h, i, j, k))

    sql = """SELECT many(1, 2.5, true, 'text', arrow_cast('bytes', 'Binary'), DATE '2020-02-29',
        TIMESTAMP '2020-02-29 12:30:00', arrow_cast(90000000, 'Duration(Microsecond)'), 1.25,
        [1, 2])"""
    assert column(con, sql) == [
        "1|2.5|True|text|b'bytes'|2020-02-29|2020-02-29 12:30:00|0:01:30|1.2500000000|[1, 2]|None"
    ]


def test_defaults_and_arguments_by_name(con):
    @con.udf
    def f(x: float, n: float = 10.0, *, plus: float = 0.0) -> float:
        return x * n + plus

    assert column(con, "SELECT f(2)") == [20.0]
    assert column(con, "SELECT f(2, 3)") == [6.0]
    assert column(con, "SELECT f(n => 3, x => 4)") == [12.0]
    assert column(con, "SELECT f(2, 3, 1)") == [7.0]
    assert f(2.0, plus=1.0) == 21.0


def test_what_has_no_type_is_refused(con):
    with pytest.raises(TypeError, match="parameter 'x' has no type"):
        con.udf(lambda x: x, name="f", returns=float)
    with pytest.raises(TypeError, match="needs a return type"):
        con.udf(lambda x: x, name="f", params=[float])
    with pytest.raises(TypeError, match="no option 'on_eror'"):
        con.udf(len, params=[str], returns=int, on_eror="null")
    with pytest.raises(fuseline.SettingError, match="raise, null, collect"):
        con.udf(len, params=[str], returns=int, on_error="ignore")
    with pytest.raises(fuseline.SettingError, match="isolation = 'process'"):
        con.udf(len, params=[str], returns=int, timeout=1)
    with pytest.raises(fuseline.SettingError, match="not a function written in Python"):
        con.udf(len, params=[str], returns=int, compile="require")
    with pytest.raises(fuseline.SqlError, match="NOSUCH"):
        con.udf(len, params=["NOSUCH"], returns=int)


def test_functions_of_modules_and_builtins(con):
    @fuseline.udf(returns=float, params={"x": "DOUBLE"}, kind="numpy")
    def half(x):
        return x / 2

    con.udf(half)
    con.register_udf(half)
    con.udf(len, params=["VARCHAR"], returns=pa.int64())
    assert half(3) == 1.5
    assert column(con, "SELECT half(x) FROM s WHERE x > 1") == [1.0, 2.0]
    assert column(con, "SELECT len(name) FROM s") == [1, None, 3, 2]
    con.remove_function("half")
    with pytest.raises(fuseline.SqlError):
        con.sql("SELECT half(1)")


def test_a_class_is_made_once(con):
    made = []

    @con.udf(kind="numpy")
    class Model:
        def __init__(self):
            made.append(threading.get_ident())
            self.weight = 2.0

        def __call__(self, x: float) -> float:
            return x * self.weight

    for _ in range(3):
        assert column(con, "SELECT sum(Model(x)) FROM t") == [2.0 * sum(range(3000))]
    assert len(made) == 1

    @con.udf
    class Broken:
        def __init__(self):
            raise RuntimeError("no model")

        def __call__(self, x: float) -> float:
            return x

    with pytest.raises(fuseline.UdfError, match="not be instantiated: RuntimeError: no model"):
        con.sql("SELECT Broken(x) FROM t").fetchall()


def test_duckdbs_arguments(con):
    def f(x):
        return -1 if x is None else 10 // int(x - 2)

    con.create_function("f", f, ["DOUBLE"], "BIGINT")
    with pytest.raises(fuseline.UdfError):
        column(con, "SELECT f(x) FROM s")
    con.create_function(
        "f",
        f,
        [float],
        int,
        null_handling="special",
        exception_handling="return_null",
        side_effects=True,
    )
    assert column(con, "SELECT f(x) FROM s") == [-10, None, -1, 5]
    import pyarrow.compute as pc

    con.create_function("g", lambda x: pc.add(x, 1), ["DOUBLE"], "DOUBLE", type="arrow")
    assert column(con, "SELECT g(x) FROM s") == [2.0, 3.0, None, 5.0]
    with pytest.raises(ValueError, match="'native' or 'arrow'"):
        con.create_function("h", f, [float], int, type="row")


def test_create_function(con):
    con.sql(
        """CREATE FUNCTION f(x DOUBLE, n INT DEFAULT 2) RETURNS DOUBLE LANGUAGE python
           AS $$ x * n $$"""
    )
    assert column(con, "SELECT f(x) FROM s") == [2.0, 4.0, None, 8.0]
    assert column(con, "SELECT f(x, 3) FROM s") == [3.0, 6.0, None, 12.0]
    with pytest.raises(fuseline.SqlError, match="exists already"):
        con.sql("CREATE FUNCTION f(x DOUBLE) RETURNS DOUBLE LANGUAGE python AS $$ x $$")
    con.sql(
        """CREATE OR REPLACE FUNCTION f(name VARCHAR) RETURNS BIGINT LANGUAGE python
           WITH (null_handling = call, on_error = 'null') AS $$
               if name is None:
                   return 0
               return 12 // (3 - len(name))
           $$"""
    )
    assert column(con, "SELECT f(name) FROM s") == [6, 0, None, 12]
    con.sql(
        """CREATE OR REPLACE FUNCTION f(x DOUBLE) RETURNS DOUBLE
           LANGUAGE python WITH (kind = numpy) AS $$
import numpy as np

def f(x):
    return np.sqrt(x)
$$"""
    )
    assert column(con, "SELECT f(x) FROM s WHERE x = 4") == [2.0]
    con.sql("DROP FUNCTION f")
    with pytest.raises(fuseline.SqlError):
        con.sql("SELECT f(1)")
    with pytest.raises(fuseline.SqlError, match="SyntaxError"):
        con.sql("CREATE FUNCTION f(x INT) RETURNS INT LANGUAGE python AS $$ x + $$")
    refused = pytest.raises(fuseline.SqlError, match="allow_create_function")
    with fuseline.connect() as closed, refused:
        closed.sql("CREATE FUNCTION f(x INT) RETURNS INT LANGUAGE python AS $$ x $$")


# What a function sees


@pytest.mark.parametrize("fusion", ["on", "off", "force"])
def test_excluded_rows_are_not_seen(fusion):
    con = fuseline.connect(threads=1, fusion=fusion)
    con.register("t", pa.table({"x": [float(i) for i in range(3000)]}))
    seen = []

    @con.udf
    def f(x: float) -> float:
        seen.append(x)
        return x

    for sql in [
        "SELECT f(x) FROM t WHERE x < 3",
        "SELECT count(*) FROM t WHERE x < 3 AND f(x) >= 0",
        "SELECT count(*) FROM t WHERE x >= 3 OR f(x) >= 0",
        "SELECT CASE WHEN x < 3 THEN f(x) ELSE 0 END FROM t",
        "SELECT CASE WHEN x >= 3 THEN false ELSE f(x) > 0 END FROM t",
        "SELECT y FROM (SELECT f(x) AS y, x FROM t) WHERE x < 3",
    ]:
        seen.clear()
        con.sql(sql).fetchall()
        assert sorted(seen) == [0.0, 1.0, 2.0], sql


def test_volatile_once_per_row_immutable_once_per_query(con):
    count = 0

    def f(x: float) -> float:
        nonlocal count
        count += 1
        return x

    con.udf(f, volatility="volatile")
    for sql, calls in [
        ("SELECT f(x) AS a, f(x) AS b FROM t", 6000),
        ("SELECT y, y + 1, y * y FROM (SELECT f(x) AS y FROM t)", 3000),
        ("SELECT f(x) FROM t WHERE k = 1", 750),
        ("SELECT f(1) FROM t", 3000),
    ]:
        count = 0
        con.sql(sql).fetchall()
        assert count == calls, sql
    con.udf(f)
    for sql in [
        "SELECT f(x), f(x) + 1 FROM t",
        "SELECT f(x) FROM t WHERE f(x) >= 0",
        "SELECT y FROM (SELECT f(x) AS y FROM t) WHERE y >= 0 ORDER BY y",
    ]:
        count = 0
        con.sql(sql).fetchall()
        assert count == 3000, sql


def test_numpy_sees_memory_that_it_cannot_change(con):
    seen = []

    @con.udf(kind="numpy", params=[float], returns=float)
    def f(x):
        seen.append((x.flags.writeable, x.flags.owndata, len(x)))
        return x

    source = pa.table({"x": np.arange(100_000.0)})
    con.register("big", source)
    result = con.sql("SELECT f(x) AS x FROM big").to_arrow()
    assert sorted(result.column("x").to_pylist()) == list(range(100_000))
    assert all(not writeable and not owned for writeable, owned, _ in seen)
    assert max(n for _, _, n in seen) <= 65_536
    # A view given back is the source's own memory.
    ours = {chunk.buffers()[1].address for chunk in result.column("x").chunks}
    start = source.column("x").chunk(0).buffers()[1].address
    assert all(start <= address < start + 800_000 for address in ours)


def test_a_result_that_the_function_keeps_is_copied():
    class Reuses:
        def __init__(self):
            self.out = np.empty(1000)

        def __call__(self, x: float) -> float:
            np.add(x, 1, out=self.out[: len(x)])
            return self.out[: len(x)]

    one = fuseline.connect(threads=1)
    one.register("t", pa.table({"x": np.arange(3000.0)}))
    one.udf(Reuses, kind="numpy", batch_rows=1000)
    assert column(one, "SELECT Reuses(x) FROM t") == [i + 1.0 for i in range(3000)]


def test_sql_inside_a_function():
    con = fuseline.connect(threads=1)
    con.register("t", pa.table({"x": [1.0, 2.0, 3.0]}))

    @con.udf
    def f(x: float) -> float:
        return con.sql(f"SELECT sum(value) FROM range(0, {int(x) * 1000})").fetchall()[0][0]

    assert column(con, "SELECT f(x) FROM t") == [sum(range(n * 1000)) for n in (1, 2, 3)]


def test_eight_threads_on_one_connection(con):
    @con.udf
    def f(x: float) -> float:
        return x + 1

    @con.udf(kind="numpy", params=[float], returns=float)
    def g(x):
        return x * 2

    want = sum(x + 1 + x * 2 for x in range(3000))
    failures = []

    def work():
        for _ in range(20):
            got = column(con, "SELECT sum(f(x) + g(x)) FROM t")
            if got != [want]:
                failures.append(got)

    threads = [threading.Thread(target=work) for _ in range(8)]
    [t.start() for t in threads]
    [t.join(60) for t in threads]
    assert not any(t.is_alive() for t in threads)
    assert failures == []


def test_explain_and_metrics(con):
    con.udf(lambda x: x, name="f", params=[float], returns=float, kind="numpy")
    assert "f: numpy, in_process, columns [x]" in con.sql("SELECT f(x) FROM t").explain()
    analyzed = "\n".join(row[1] for row in con.sql("EXPLAIN ANALYZE SELECT f(x) FROM t").fetchall())
    for metric in ["calls", "rows", "function_time", "conversion_time", "wait_time"]:
        assert f"udf_f_{metric}=" in analyzed


# Faults


def test_the_exception_is_the_cause(con):
    @con.udf
    def f(x: float, name: str) -> float:
        return 1 / (x - 4)

    with pytest.raises(fuseline.UdfError) as caught:
        con.sql("SELECT f(x, name) FROM s").to_arrow()
    error = caught.value
    assert isinstance(error.__cause__, ZeroDivisionError)
    words = "UDF 'f' failed on row 3 (x = 4.0, name = 'dd'): ZeroDivisionError: "
    assert str(error).startswith(words)
    assert (error.udf, error.row, error.arguments) == ("f", 3, "x = 4.0, name = 'dd'")
    names = []
    trace = error.__cause__.__traceback__
    while trace:
        names.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    assert names == ["f"]
    assert column(con, "SELECT 1") == [1]


@pytest.mark.parametrize("kind", ["numpy", "pandas", "arrow"])
def test_a_batch_that_fails_names_its_row(con, kind):
    def f(column):
        if 2500.0 in [float(str(v)) for v in column]:
            raise KeyError("no")
        return column

    con.udf(f, params=[float], returns=float, kind=kind)
    with pytest.raises(fuseline.UdfError, match=r"column = 2500\.0") as caught:
        con.sql("SELECT f(x) FROM t").to_arrow()
    assert isinstance(caught.value.__cause__, KeyError)
    assert caught.value.arguments == "column = 2500.0"


@pytest.mark.parametrize(
    "kind, wrong, words",
    [
        ("numpy", lambda x: None, "returned None"),
        ("numpy", lambda x: 3.0, "returned float"),
        ("numpy", lambda x: [1.0], "returned list"),
        ("numpy", lambda x: x[:1], "returned 1 values for 3 rows"),
        ("numpy", lambda x: x.astype("int32"), "int32"),
        ("numpy", lambda x: x.reshape(-1, 1), "shape"),
        ("arrow", lambda x: None, "returned NoneType"),
        ("arrow", lambda x: x.slice(1), "returned 2 values for 3 rows"),
        ("arrow", lambda x: x.cast("int64"), "values of type Int64"),
        ("pandas", lambda x: None, "returned None"),
        ("pandas", lambda x: x.head(2), "returned 2 values for 3 rows"),
        ("pandas", lambda x: x.astype("int64"), "int64"),
        ("pandas", lambda x: x.sum(), "returned float"),
        ("scalar", lambda x: "text", "does not fit Float64"),
    ],
)
def test_wrong_results(con, kind, wrong, words):
    if kind == "pandas":
        pytest.importorskip("pandas")
    con.udf(wrong, name="f", params=[float], returns=float, kind=kind)
    with pytest.raises(fuseline.UdfError) as caught:
        con.sql("SELECT f(x) FROM s").fetchall()
    assert words in str(caught.value) and "'f'" in str(caught.value)
    assert column(con, "SELECT 1") == [1]


@pytest.mark.parametrize("ends", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("on_error", ["raise", "null"])
def test_what_ends_the_program_is_raised_again(con, ends, on_error):
    raised = ends("bye")

    def f(x: float) -> float:
        raise raised

    con.udf(f, on_error=on_error)
    with pytest.raises(ends) as caught:
        con.sql("SELECT f(x) FROM s").fetchall()
    assert caught.value is raised


def test_ctrl_c_stops_a_function(con):
    running = threading.Event()
    ended = threading.Event()

    @con.udf
    def spin(x: float) -> float:
        running.set()
        try:
            while True:
                pass
        finally:
            ended.set()

    def interrupt():
        running.wait(10)
        time.sleep(0.2)
        started.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    started = []
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        con.sql("SELECT spin(x) FROM s").fetchall()
    assert time.monotonic() - started[0] < 0.5
    thread.join()
    # The function itself is stopped too, and the connection works.
    assert ended.wait(5)
    assert column(con, "SELECT 1") == [1]


def test_the_program_ends_while_a_function_runs():
    code = """
        import threading, time, fuseline
        con = fuseline.connect()
        running = threading.Event()

        @con.udf
        def spin(x: int) -> int:
            running.set()
            while True:
                pass

        query = lambda: con.sql("SELECT spin(value) FROM range(0, 5000)").fetchall()
        threading.Thread(target=query, daemon=True).start()
        running.wait(10)
        print("ends")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout) == (0, "ends\n"), done.stderr


def test_nothing_leaks(con):
    @con.udf
    def f(x: float) -> float:
        return x + 1.5

    @con.udf(kind="numpy", params=[float], returns=float)
    def g(x):
        return x + 1

    token = object()

    @con.udf
    def fails(x: float) -> float:
        assert token is not None
        raise ValueError("no")

    def run(times):
        for _ in range(times):
            con.sql("SELECT f(x), g(x) FROM t").to_arrow()
            try:
                con.sql("SELECT fails(x) FROM s").to_arrow()
            except fuseline.UdfError:
                pass
        gc.collect()

    def resident():
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    run(200)
    before, references = resident(), [sys.getrefcount(o) for o in (f, g, fails, token)]
    run(1000)
    assert [sys.getrefcount(o) for o in (f, g, fails, token)] == references
    assert resident() - before < 8 << 20


def test_the_command_takes_a_file_of_functions(tmp_path):
    file = tmp_path / "functions.py"
    file.write_text(
        "import fuseline\n\n@fuseline.udf\ndef triple(n: int) -> int:\n    return n * 3\n"
    )
    command = [sys.executable, "-m", "fuseline", "--format", "csv"]
    done = subprocess.run(
        [*command, "--udf", str(file), "SELECT triple(14) AS n"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "n\n42\n"), done.stderr
    sql = "CREATE FUNCTION f(n INT) RETURNS INT LANGUAGE python AS $$ n + 1 $$; SELECT f(1) AS n"
    done = subprocess.run([*command, sql], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "n\n2\n"), done.stderr
    sql = "CREATE FUNCTION f(n INT) RETURNS INT LANGUAGE python AS $$ n // 0 $$; SELECT f(1) AS n"
    done = subprocess.run([*command, sql], capture_output=True, text=True)
    assert done.returncode == 1
    assert "UDF 'f' failed on row 0 (n = 1): ZeroDivisionError" in done.stderr
    assert "Traceback" in done.stderr


def test_the_command_imports_nothing_heavy():
    code = (
        "import sys, fuseline; fuseline._fuseline.command_line(['fuseline', 'SELECT 1']); "
        "sys.exit(any(m in sys.modules for m in ('numpy', 'pyarrow', 'pandas')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
