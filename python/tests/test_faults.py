"""What must happen when things break: signals, forks, threads, exits, panics, memory."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pyarrow as pa
import pytest

import fuseline

LONG = "SELECT sum(sin(value) * cos(value)) FROM range(0, 1000000000000)"


def press_ctrl_c(work):
    """Seconds between Ctrl-C, pressed half a second after the start, and the exception."""
    pressed = []

    def press():
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.5, press)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        work()
        # Python may see the signal only here.
        time.sleep(0.1)
    return time.monotonic() - pressed[0]


ROWS = "SELECT value AS v, sin(value) AS w FROM range(0, 1000000000000) WHERE sin(value) > 2"
WAYS = {
    "fetchall": lambda con: con.sql(LONG).fetchall(),
    "fetchone": lambda con: con.sql(ROWS).fetchone(),
    "to_arrow": lambda con: con.sql(ROWS).to_arrow(),
    "to_pandas": lambda con: con.sql(ROWS).to_pandas(),
    "to_numpy": lambda con: con.sql(ROWS).to_numpy(),
    "iteration": lambda con: list(con.sql(ROWS)),
    "show": lambda con: con.sql(ROWS).show(),
    "html": lambda con: con.sql(ROWS)._repr_html_(),
    "profile": lambda con: con.sql(ROWS).profile(),
    "write_parquet": lambda con: con.sql(ROWS).write_parquet("/dev/null.parquet"),
    "command": lambda con: con.sql(f"CREATE TABLE t AS {LONG}"),
    "many batches": lambda con: con.sql(
        "SELECT value AS v FROM range(0, 1000000000000)"
    ).fetchall(),
}


@pytest.mark.parametrize("way", WAYS)
def test_ctrl_c_stops_every_way_out(con, way, tmp_path, monkeypatch):
    pytest.importorskip("pandas")
    if way == "write_parquet":
        path = tmp_path / "out.parquet"
        late = press_ctrl_c(lambda: con.sql(ROWS).write_parquet(path))
        assert list(tmp_path.iterdir()) == [] or not path.exists()
    else:
        late = press_ctrl_c(lambda: WAYS[way](con))
    assert late < 0.5
    # The session goes on.
    assert con.sql("SELECT 1").fetchall() == [(1,)]


def test_ctrl_c_stops_a_stream_that_another_package_reads(con):
    reader = pa.RecordBatchReader.from_stream(con.sql(ROWS))
    pressed = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    pressed.start()
    begin = time.monotonic()
    # What the reader's package makes of the error is its own business.
    with pytest.raises((KeyboardInterrupt, pa.ArrowException), match="KeyboardInterrupt|^$"):
        reader.read_all()
    assert time.monotonic() - begin < 1.0
    assert con.sql("SELECT 1").fetchall() == [(1,)]


def test_other_threads_run_while_a_query_does(con):
    """The GIL is released: a Python thread counts on while the query holds this one."""
    counted = 0
    stop = threading.Event()

    def count():
        nonlocal counted
        while not stop.is_set():
            counted += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        sql = "SELECT sum(sin(value) * cos(value)) FROM range(0, 40000000)"
        started = time.monotonic()
        con.sql(sql).fetchall()
        elapsed = time.monotonic() - started
    finally:
        stop.set()
        thread.join()
    # Two busy cores leave it less than its share; with the GIL held it would be about 1.
    assert counted > elapsed * 50, (counted, elapsed)


def test_threads_share_a_connection(con):
    con.register("t", pa.table({"v": list(range(1000))}))
    answers = []

    def work(n):
        answers.append(con.sql(f"SELECT sum(v) + {n} FROM t").fetchall()[0][0])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [499500 + n for n in range(8)]


def test_memory_limit():
    too_much = pytest.raises(fuseline.ResourceError, match="(?i)memory")
    with fuseline.connect(threads=2, memory_limit=1_000_000) as con, too_much:
        con.sql("SELECT count(DISTINCT value) FROM range(0, 5000000)").fetchall()


def test_a_panic_is_an_ordinary_exception(con):
    with pytest.raises(fuseline.ExecutionError, match="internal error"):
        con.sql("PREPARE v1 AS select distinct on (?) 42")
    assert con.sql("SELECT 1").fetchall() == [(1,)]


def in_child(queue, work):
    try:
        queue.put(work())
    except BaseException as error:
        queue.put(f"{type(error).__name__}: {error}")


def run_in_fork(work, seconds=20):
    fork = multiprocessing.get_context("fork")
    queue = fork.Queue()
    child = fork.Process(target=in_child, args=(queue, work))
    child.start()
    try:
        return queue.get(timeout=seconds)
    finally:
        child.kill()
        child.join()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_can_query(con):
    con.register("t", {"v": np.arange(100_000), "w": np.arange(200_000)[::2]})
    sql = "SELECT sum(v) + sum(w) FROM t WHERE v % 2 = 0"
    expected = con.sql(sql).fetchall()
    assert run_in_fork(lambda: con.sql(sql).fetchall()) == expected
    # The child's end leaves the parent's connection as it was.
    assert con.sql(sql).fetchall() == expected

    def fresh():
        with fuseline.connect(threads=2) as other:
            return other.sql("SELECT sum(value) FROM range(0, 1000000)").fetchall()

    assert run_in_fork(fresh) == [(499999500000,)]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_fork_while_a_query_runs_is_a_clear_error(con):
    sql = "SELECT sum(sin(value)) FROM range(0, 100000000)"
    running = threading.Thread(target=lambda: con.sql(sql).fetchall())
    running.start()
    time.sleep(0.2)
    got = run_in_fork(lambda: con.sql("SELECT 1").fetchall())
    assert running.is_alive(), "the fork came too late"
    running.join()
    assert "after the fork" in got
    assert con.sql("SELECT 1").fetchall() == [(1,)]


def test_the_interpreter_ends_while_a_daemon_thread_queries():
    code = f"""
        import threading, time, fuseline
        con = fuseline.connect(threads=2)
        def work(result):
            try:
                result(con.sql({LONG!r}))
            except fuseline.Error:
                pass
        for result in (lambda r: r.fetchall(), lambda r: r.to_numpy(), lambda r: list(r)):
            threading.Thread(target=work, args=(result,), daemon=True).start()
        # Objects are converted under the GIL, from threads that are not Python's.
        import numpy as np
        con.register("t", {{"o": np.array(["x"] * 3_000_000, dtype=object)}})
        threading.Thread(
            target=work,
            args=(lambda r: [con.sql("SELECT count(o) FROM t").fetchall() for _ in range(9999)],),
            daemon=True,
        ).start()
        time.sleep(1.0)
        print("over")
    """
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "over\n", "")


def test_many_threads_on_one_session(con):
    con.register("t", {"v": np.arange(300_000), "s": np.arange(600_000)[::2]})
    failures = []

    def work(n):
        try:
            for _ in range(5):
                frame = con.sql("SELECT v, s FROM t WHERE v % $n = 0", n=n + 1).to_numpy()
                np.testing.assert_array_equal(frame["v"], np.arange(0, 300_000, n + 1))
                np.testing.assert_array_equal(frame["s"], frame["v"] * 2)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert failures == [] and not any(thread.is_alive() for thread in threads)


def test_an_error_in_any_partition_reaches_every_way_out(con):
    rows = 1_000_000
    divisor = np.ones(rows, dtype=np.int64)
    divisor[-5] = 0
    con.register("t", {"d": divisor})
    result = con.sql("SELECT 1 / d AS q FROM t")
    for work in (result.to_arrow, result.to_numpy, result.fetchall, result.show, result.profile):
        with pytest.raises(fuseline.ExecutionError, match="(?i)divi"):
            work()
    with pytest.raises(fuseline.ExecutionError, match="(?i)divi"):
        list(result)


def test_a_table_whose_objects_changed_says_so(con):
    words = np.array(["a"] * 10, dtype=object)
    con.register("t", {"w": words})
    words[3] = 5
    with pytest.raises(fuseline.Error, match="'w' cannot be converted"):
        con.sql("SELECT w FROM t").fetchall()


def test_dropping_a_stream_stops_its_query(con):
    def cpu():
        times = os.times()
        return times.user + times.system

    stream = iter(con.sql("SELECT value AS v FROM range(0, 1000000000000)"))
    next(stream)
    del stream
    time.sleep(0.3)
    before = cpu()
    time.sleep(0.5)
    assert cpu() - before < 0.25
