"""Functions in worker processes: the same results as in-process, and faults that harm nobody."""

import datetime
import decimal
import gc
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

import fuseline

pytest.importorskip("cloudpickle")
np = pytest.importorskip("numpy")
pa = pytest.importorskip("pyarrow")

ISOLATED = ["process", "socket"]


@pytest.fixture
def con():
    with fuseline.connect(threads=2) as con:
        con.register("t", pa.table({"i": range(100), "x": [k / 2 for k in range(100)]}))
        yield con


def outcome(con, sql):
    """The result of a query, or its error."""
    try:
        return con.sql(sql).to_arrow()
    except fuseline.Error as error:
        return error


# ---- The same as in-process ----------------------------------------------------------------------

UTC = datetime.UTC
D = decimal.Decimal
DAY = datetime.date
TIME = datetime.datetime
SPAN = datetime.timedelta

COLUMNS = {
    "int": (pa.int64(), [1, None, -(2**63), 2**63 - 1, 0]),
    "int8": (pa.int8(), [1, None, -128, 127, 0]),
    "uint64": (pa.uint64(), [1, None, 2**64 - 1, 5, 0]),
    "float": (pa.float64(), [0.5, None, float("inf"), -0.0, float("nan")]),
    "float32": (pa.float32(), [0.5, None, float("inf"), -0.0, 3.0]),
    "bool": (pa.bool_(), [True, None, False, True, True]),
    "str": (pa.string(), ["a", None, "", "Grüße 🎈", "a longer text than any view"]),
    "bytes": (pa.binary(), [b"a", None, b"", b"\x00\xff", b"more"]),
    "date": (pa.date32(), [DAY(1970, 1, 1), None, DAY.min, DAY.max, DAY(2024, 2, 29)]),
    "datetime": (
        pa.timestamp("us"),
        [TIME(1970, 1, 1), None, TIME(1899, 12, 31, 23, 59, 59, 999999), TIME.max, TIME.min],
    ),
    "datetime_s": (
        pa.timestamp("s"),
        [TIME(1970, 1, 1), None, TIME(2024, 2, 29, 1), TIME(1900, 1, 1), None],
    ),
    "datetime_utc": (
        pa.timestamp("us", "UTC"),
        [TIME(1970, 1, 1, tzinfo=UTC), None, TIME(2024, 2, 29, 1, tzinfo=UTC), None, None],
    ),
    "time": (
        pa.time64("us"),
        [datetime.time(1, 2, 3, 4), None, datetime.time.min, datetime.time.max, None],
    ),
    "timedelta": (pa.duration("us"), [SPAN(1), None, SPAN(-1, 5, 7), SPAN(0), SPAN(100, 3)]),
    "decimal": (
        pa.decimal128(12, 3),
        [D("1.500"), None, D("-0.001"), D("999999999.999"), D("0.000")],
    ),
    "list": (pa.list_(pa.int64()), [[1, None], None, [], [3], [4, 5, 6]]),
    "texts": (pa.list_(pa.string()), [["a", None], None, [], ["ü"], ["", "b"]]),
    "pair": (pa.list_(pa.float64(), 2), [[1.0, 2.0], None, [3.0, 4.0], [0.5, -1.0], [7.0, 8.0]]),
}

FUNCTIONS = {
    "same": lambda x: x,
    "nothing": lambda x: None,
    "text": lambda x: "text",
    "fails": lambda x: x[10**9],
    "asks": lambda x: x if x is not None else x.missing,
}


@pytest.mark.parametrize("kind", ["scalar", "numpy", "arrow", "pandas"])
@pytest.mark.parametrize("name", COLUMNS)
def test_results_and_errors_are_those_of_in_process(kind, name):
    if kind == "pandas":
        pytest.importorskip("pandas")
    arrow_type, values = COLUMNS[name]
    with fuseline.connect(threads=1) as con:
        con.register("t", pa.table({"k": range(5), "x": pa.array(values, arrow_type)}))
        for nulls in ("propagate", "call"):
            for on_error in ("raise", "null", "collect"):
                for what, function in FUNCTIONS.items():
                    found = {}
                    for isolation in ("in_process", *ISOLATED):
                        con.udf(
                            name="f",
                            params=[arrow_type],
                            returns=arrow_type,
                            kind=kind,
                            null_handling=nulls,
                            on_error=on_error,
                            isolation=isolation,
                        )(function)
                        con.sql("SELECT 1").to_arrow()
                        result = outcome(con, "SELECT f(x) AS y FROM t ORDER BY k")
                        found[isolation] = describe(result)
                    case = (kind, name, nulls, on_error, what)
                    assert found["process"] == found["in_process"], case
                    assert found["socket"] == found["in_process"], case


def describe(result):
    """What two runs must agree on: types and values, or the error's words."""
    if isinstance(result, fuseline.Error):
        return [type(result), str(result).splitlines()[0], repr(type(result.__cause__))]
    # As text, for NaN and -0.0.
    return [str(result.schema), repr(result["y"].to_pylist())]


def test_collected_rows_are_those_of_in_process(con):
    def odd(i):
        if i % 10 == 3:
            raise ValueError(f"no {i}")
        return "text" if i % 10 == 4 else i

    rows = {}
    for isolation in ("in_process", "process"):
        name = f"f_{isolation}"
        con.udf(
            name=name, params=["BIGINT"], returns="BIGINT", on_error="collect", isolation=isolation
        )(odd)
        assert con.sql(f"SELECT count({name}(i)) AS n FROM t").fetchall() == [(80,)]
        errors = f"SELECT row, arguments, exception FROM fuseline_errors() WHERE udf = '{name}'"
        rows[isolation] = sorted(con.sql(errors).fetchall())
    assert len(rows["process"]) == 20
    assert rows["process"] == rows["in_process"]


@pytest.mark.parametrize("isolation", ISOLATED)
def test_what_a_function_may_not_return(con, isolation):
    cases = {
        "numpy": [lambda x: x.astype("int64"), lambda x: x[:-1], lambda x: None, lambda x: 1.0],
        "arrow": [lambda x: x.cast(pa.int64()), lambda x: x[:-1], lambda x: None, lambda x: 1.0],
    }
    for kind, functions in cases.items():
        for function in functions:
            said = []
            for where in ("in_process", isolation):
                con.udf(name="f", params=["DOUBLE"], returns="DOUBLE", kind=kind, isolation=where)(
                    function
                )
                error = outcome(con, "SELECT f(x) FROM t")
                assert isinstance(error, fuseline.UdfError)
                assert "'f'" in str(error)
                said.append(describe(error))
            assert said[0] == said[1]


@pytest.mark.parametrize("isolation", ISOLATED)
def test_defaults_several_arguments_and_no_arguments(con, isolation):
    @con.udf(isolation=isolation)
    def scaled(i: int, by: int = 3, *, plus: int = 1) -> int:
        return i * by + plus

    @con.udf(isolation=isolation, volatility="volatile")
    def seven() -> int:
        return 7

    sql = "SELECT scaled(i), scaled(i, 5), seven() FROM t WHERE i = 4"
    assert con.sql(sql).fetchall() == [(13, 21, 7)]


@pytest.mark.parametrize("isolation", ISOLATED)
def test_a_class_is_instantiated_once_per_worker(con, isolation):
    class Counts:
        def __init__(self):
            self.name = f"{os.getpid()}-{time.monotonic_ns()}"

        def __call__(self, i: int) -> str:
            return self.name

    con.udf(
        name="instance", returns="VARCHAR", params=["BIGINT"], isolation=isolation, batch_rows=7
    )(Counts)
    for _ in range(3):
        names = {name for (name,) in con.sql("SELECT DISTINCT instance(i) FROM t").fetchall()}
    pids = {name.partition("-")[0] for name in names}
    assert 1 <= len(names) <= 2
    assert len(pids) == len(names)
    assert str(os.getpid()) not in pids


def test_only_live_rows_cross_and_volatile_functions_run_once_a_row(con, tmp_path):
    log = tmp_path / "log"

    def noted(i: int) -> int:
        with open(log, "a") as file:
            file.write(f"{i}\n")
        return i

    con.udf(noted, isolation="process", volatility="volatile")
    con.sql("SELECT CASE WHEN i % 2 = 0 THEN noted(i) END FROM t WHERE i < 10").to_arrow()
    assert sorted(map(int, log.read_text().split())) == [0, 2, 4, 6, 8]


def test_views_that_a_function_keeps_stay_what_they_were(con):
    def keeps(x):
        import builtins

        kept = builtins.__dict__.setdefault("kept_by_a_test", [])
        kept.append((x, x.copy()))
        assert not x.flags.writeable
        return np.array([all((a == b).all() for a, b in kept)] * len(x))

    options = {"kind": "numpy", "isolation": "process", "batch_rows": 10}
    con.udf(name="keeps", params=["DOUBLE"], returns="BOOLEAN", **options)(keeps)
    for k in range(3):
        # Booleans as ints: min is false where one was.
        sql = f"SELECT min(CASE WHEN keeps(x + {k}) THEN 1 ELSE 0 END) FROM t"
        assert con.sql(sql).fetchall() == [(1,)]


def test_a_result_outlives_calls_and_connection():
    con = fuseline.connect(threads=2)
    con.register("t", pa.table({"x": np.arange(300_000.0)}))

    @con.udf(isolation="process", kind="numpy")
    def half(x: float) -> float:
        return x / 2

    first = con.sql("SELECT half(x) AS y FROM t").to_arrow()
    con.sql("SELECT half(x + 1) AS y FROM t").to_arrow()
    con.close()
    del con
    gc.collect()
    # Partitions come in any order.
    assert (np.sort(first["y"].to_numpy()) == np.arange(300_000.0) / 2).all()


def test_functions_of_modules_and_closures_travel(con, tmp_path, monkeypatch):
    (tmp_path / "a_module_of_a_test.py").write_text("def twice(i: int) -> int:\n    return 2 * i\n")
    monkeypatch.syspath_prepend(tmp_path)
    import a_module_of_a_test

    con.udf(a_module_of_a_test.twice, isolation="process")
    by = 5

    @con.udf(isolation="process")
    def times(i: int) -> int:
        return a_module_of_a_test.twice(i) * by

    assert con.sql("SELECT twice(i), times(i) FROM t WHERE i = 3").fetchall() == [(6, 30)]


def test_functions_of_sql_travel():
    with fuseline.connect(threads=2, allow_create_function=True) as con:
        con.sql(f"""
            CREATE FUNCTION plus(x DOUBLE, n BIGINT DEFAULT 2) RETURNS DOUBLE LANGUAGE python
            WITH (isolation = process, timeout = 60) AS $$
                import os
                return x + n if os.getpid() != {os.getpid()} else None
            $$""")
        assert con.sql("SELECT plus(1.5), plus(1.5, 10)").fetchall() == [(3.5, 11.5)]


def test_a_function_that_cannot_travel_is_refused_at_registration(con):
    def asks(i: int) -> int:
        return con.sql("SELECT 1").fetchall()[0][0]

    with pytest.raises(fuseline.SettingError, match="'asks' cannot be sent to a worker process"):
        con.udf(asks, isolation="process")


# ---- Faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize("isolation", ISOLATED)
def test_an_exception_arrives_whole(con, isolation):
    class TooBad(ValueError):
        pass

    @con.udf(isolation=isolation)
    def checked(i: int) -> int:
        if i == 42:
            raise TooBad("not", i)
        return i

    with pytest.raises(fuseline.UdfError) as caught:
        con.sql("SELECT checked(i) FROM t").to_arrow()
    error = caught.value
    assert (error.udf, error.row, error.arguments) == ("checked", 42, "i = 42")
    assert "UDF 'checked' failed on row 42 (i = 42): " in str(error)
    assert "TooBad: ('not', 42)" in str(error)
    assert 'raise TooBad("not", i)' in str(error)
    assert isinstance(error.__cause__, ValueError)
    assert error.__cause__.args == ("not", 42)
    assert type(error.__cause__).__name__ == "TooBad"
    assert con.sql("SELECT checked(i) FROM t WHERE i = 1").fetchall() == [(1,)]


def test_an_exception_that_does_not_pickle_is_told(con):
    @con.udf(isolation="process")
    def odd(i: int) -> int:
        import threading

        class Odd(Exception):
            def __init__(self, what, lock):
                super().__init__(what)
                self.lock = lock

        raise Odd("this one", threading.Lock())

    with pytest.raises(fuseline.UdfError, match="Odd: this one") as caught:
        con.sql("SELECT odd(i) FROM t").to_arrow()
    assert caught.value.__cause__ is None
    assert "in odd" in str(caught.value)


@pytest.mark.parametrize("isolation", ISOLATED)
def test_exits_and_interrupts_are_raised_again(con, isolation):
    @con.udf(isolation=isolation)
    def leaves(i: int) -> int:
        raise SystemExit(5)

    @con.udf(isolation=isolation)
    def stops(i: int) -> int:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught:
        con.sql("SELECT leaves(i) FROM t").to_arrow()
    assert caught.value.code == 5
    with pytest.raises(KeyboardInterrupt):
        con.sql("SELECT stops(i) FROM t").to_arrow()


def exits(i):
    os._exit(7)


def crashes(i):
    import ctypes

    return ctypes.string_at(8)


def is_killed(i):
    os.kill(os.getpid(), signal.SIGKILL)


DEATHS = {
    "exits": (exits, "its worker process exited with code 7", None),
    "crashes": (crashes, "its worker process was killed by SIGSEGV", "in crashes"),
    "is_killed": (is_killed, "its worker process was killed by SIGKILL", None),
}


@pytest.mark.parametrize("isolation", ISOLATED)
@pytest.mark.parametrize("name", DEATHS)
def test_a_dying_worker_is_a_typed_error_and_harms_nobody(con, isolation, name):
    function, words, trace = DEATHS[name]
    con.udf(name=name, params=["BIGINT"], returns="BIGINT", isolation=isolation)(function)

    @con.udf(isolation=isolation)
    def well(i: int) -> int:
        return i + 1

    for _ in range(2):
        with pytest.raises(fuseline.UdfError, match=f"UDF '{name}': {words}") as caught:
            con.sql(f"SELECT {name}(i) FROM t").to_arrow()
        assert caught.value.udf == name
        if trace:
            assert trace in str(caught.value) and "Segmentation fault" in str(caught.value)
        assert con.sql("SELECT sum(well(i)) FROM t").fetchall() == [(5050,)]


@pytest.mark.parametrize("isolation", ISOLATED)
def test_a_hung_worker_is_killed_at_its_timeout(con, isolation):
    @con.udf(isolation=isolation, timeout=0.4)
    def hangs(i: int) -> int:
        while i == 50:
            pass
        return i

    assert con.sql("SELECT hangs(i) FROM t WHERE i < 5").to_arrow().num_rows == 5
    started = time.monotonic()
    words = "UDF 'hangs': it took longer than its timeout of 0.4 s"
    with pytest.raises(fuseline.UdfError, match=words) as caught:
        con.sql("SELECT hangs(i) FROM t").to_arrow()
    assert time.monotonic() - started < 5
    # Where it hung.
    assert "in hangs" in str(caught.value)
    assert con.sql("SELECT hangs(i) FROM t WHERE i < 5").to_arrow().num_rows == 5


def test_a_worker_that_passes_its_memory_limit_is_killed(con):
    @con.udf(isolation="process", memory_limit="300MiB")
    def hoards(i: int) -> int:
        hoard = [bytearray(b"x" * 1_000_000) for _ in range(100 if i < 50 else 10_000)]
        return len(hoard)

    assert con.sql("SELECT hoards(i) FROM t WHERE i = 1").fetchall() == [(100,)]
    words = "UDF 'hoards': .* more than its memory_limit of 300.0 MiB"
    with pytest.raises(fuseline.UdfError, match=words):
        con.sql("SELECT hoards(i) FROM t").to_arrow()
    assert con.sql("SELECT hoards(i) FROM t WHERE i = 1").fetchall() == [(100,)]


def run_script(text, **options):
    """A Python program of its own, which has `con` and a table `t`."""
    start = """
        import os, signal, sys, threading, time
        import fuseline, pyarrow as pa
        con = fuseline.connect(threads=2)
        con.register("t", pa.table({"i": range(200_000)}))
    """
    program = textwrap.dedent(start) + textwrap.dedent(text)
    return subprocess.Popen(
        [sys.executable, "-P", "-u", "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.parametrize("isolation", ISOLATED)
def test_ctrl_c_stops_a_hung_function_within_half_a_second(isolation):
    program = run_script(f"""
        @con.udf(isolation="{isolation}")
        def hangs(i: int) -> int:
            while i == 150_000:
                pass
            return i

        @con.udf(isolation="{isolation}")
        def pid(i: int) -> int:
            return os.getpid()

        con.sql("SELECT sum(pid(i)) FROM t").to_arrow()
        pids = [p for (p,) in con.sql("SELECT DISTINCT pid(i) FROM t").fetchall()]
        threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
        started = time.monotonic()
        try:
            con.sql("SELECT hangs(i) FROM t").to_arrow()
        except KeyboardInterrupt:
            print("interrupted", time.monotonic() - started - 1.0)
        time.sleep(0.5)
        busy = 0
        for p in pids:
            try:
                with open(f"/proc/{{p}}/stat") as file:
                    busy += file.read().rpartition(")")[2].split()[0] == "R"
            except FileNotFoundError:
                pass
        print("busy", busy)
        print("answer", con.sql("SELECT count(pid(i)) FROM t").fetchall())
    """)
    out, err = program.communicate(timeout=60)
    lines = out.splitlines()
    assert lines[0].startswith("interrupted "), (out, err)
    assert float(lines[0].split()[1]) < 0.5
    assert lines[1] == "busy 0"
    assert lines[2] == "answer [(200000,)]"


def is_gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


@pytest.mark.parametrize("busy", [False, True])
def test_no_worker_outlives_a_parent_that_is_killed(busy, tmp_path):
    before = set(os.listdir("/dev/shm"))
    pids = tmp_path / "pids"
    program = run_script(f"""
        @con.udf(isolation="process", volatility="volatile")
        def pid(i: int) -> int:
            with open({str(pids)!r}, "a") as file:
                file.write(f"{{os.getpid()}}\\n")
            while {busy}:
                pass
            return os.getpid()

        con.sql("SELECT count(pid(i)) FROM t WHERE i % 10000 = 0").fetchall()
        print("idle")
        time.sleep(60)
    """)
    if busy:
        assert wait_until(lambda: pids.exists() and pids.read_text(), 20)
    else:
        assert program.stdout.readline() == "idle\n", program.stderr.read()
    program.send_signal(signal.SIGKILL)
    program.wait()
    workers = set(map(int, pids.read_text().split()))
    assert workers
    assert wait_until(lambda: all(map(is_gone, workers)))
    assert set(os.listdir("/dev/shm")) <= before


def test_workers_end_with_the_connection_and_leave_no_memory():
    def regions():
        with open("/proc/self/maps") as file:
            return sum("memfd:fuseline" in line for line in file)

    gc.collect()
    others = regions()
    con = fuseline.connect(threads=2)
    con.register("t", pa.table({"x": np.arange(400_000.0)}))

    @con.udf(isolation="process", kind="numpy")
    def same(x: float) -> float:
        return x

    @con.udf(isolation="process", kind="numpy")
    def pid(x: float) -> int:
        return np.full(len(x), os.getpid())

    pids = {p for (p,) in con.sql("SELECT DISTINCT pid(x) FROM t").fetchall()}
    descriptors = len(os.listdir("/proc/self/fd"))
    results = [con.sql("SELECT same(x) FROM t").to_arrow() for _ in range(30)]
    # However many results are kept, few regions are under them.
    assert regions() - others < 150
    del results
    gc.collect()
    for _ in range(30):
        con.sql("SELECT same(x) FROM t").to_arrow()
    assert regions() - others < 150
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 4
    con.close()
    del con
    gc.collect()
    assert wait_until(lambda: all(map(is_gone, pids)))
    assert wait_until(lambda: regions() <= others)


def test_a_fork_has_workers_of_its_own():
    program = run_script("""
        def pid(i: int) -> int:
            return os.getpid()

        con.udf(pid, isolation="process")
        mine = {p for (p,) in con.sql("SELECT DISTINCT pid(i) FROM t").fetchall()}
        child = os.fork()
        if child == 0:
            try:
                own = fuseline.connect(threads=2)
                own.register("t", pa.table({"i": range(10)}))
                own.udf(pid, isolation="process")
                theirs = {p for (p,) in own.sql("SELECT DISTINCT pid(i) FROM t").fetchall()}
                print("child", len(theirs) >= 1 and not theirs & mine)
                del own
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        again = {p for (p,) in con.sql("SELECT DISTINCT pid(i) FROM t").fetchall()}
        print("parent", bool(again & mine))
    """)
    out, err = program.communicate(timeout=60)
    assert out.splitlines() == ["child True", "parent True"], (out, err)


def test_what_functions_print_is_shown_before_the_query_ends():
    program = run_script("""
        @con.udf(isolation="process", volatility="volatile")
        def says(i: int) -> int:
            print("said", i)
            return i

        con.sql("SELECT says(i) FROM t WHERE i = 3").to_arrow()
        print("after")
    """)
    out, err = program.communicate(timeout=60)
    assert out.splitlines() == ["said 3", "after"], (out, err)
