"""What worker processes cost and gain, against limits that hold wherever the machine allows it.

How it is timed, and what a machine must be able to do, is in `speed.py`.
"""

import concurrent.futures
import inspect
import io
import mmap
import os
import textwrap

import pytest
from speed import BareProcess, in_turns

import fuseline

pytest.importorskip("cloudpickle")
np = pytest.importorskip("numpy")
pa = pytest.importorskip("pyarrow")

ROWS = 1_000_000
# Rows that a function in a worker gets at once, and that the socket transport sends at once.
SHARED_BATCH, SENT_BATCH = 65_536, 10_000


@pytest.fixture
def con():
    with fuseline.connect(threads=2) as con:
        con.register("t", pa.table({"x": np.arange(float(ROWS))}))
        for name, isolation in (("shared", "process"), ("sent", "socket")):
            con.udf(
                name=name,
                params=["DOUBLE"],
                returns="DOUBLE",
                kind="numpy",
                isolation=isolation,
                compile="never",
            )(lambda x: x)
        yield con


def query(con, sql):
    con.sql(sql).to_arrow()
    return lambda: con.sql(sql).to_arrow()


# Copies every batch out of the one region and into the other, as a worker does.
COPIER = """
    import mmap
    given, taken = (mmap.mmap(int(fd), 0) for fd in sys.argv[1:])
    while peer.recv(1):
        taken[:] = given[:]
        peer.sendall(b"!")
"""


@pytest.fixture
def bare_copies():
    """Moves the column through memory that a bare process shares, batch by batch."""
    bytes_ = SHARED_BATCH * 8
    descriptors = [os.memfd_create("speed") for _ in range(2)]
    for descriptor in descriptors:
        os.ftruncate(descriptor, bytes_)
    given, taken = (mmap.mmap(descriptor, 0) for descriptor in descriptors)
    column = memoryview(np.arange(float(ROWS))).cast("B")

    def move():
        for at in range(0, len(column), bytes_):
            batch = column[at : at + bytes_]
            given[: len(batch)] = batch
            process.ask()
            process.answer()
            taken.read(len(batch))
            taken.seek(0)

    with BareProcess(COPIER, *descriptors) as process:
        move()
        yield move
    for descriptor in descriptors:
        os.close(descriptor)


def test_shared_memory_moves_data_at_a_fraction_of_the_sockets_cost(con, bare_copies):
    sides = {
        "x": query(con, "SELECT x AS y FROM t"),
        "shared": query(con, "SELECT shared(x) AS y FROM t"),
        "sent": query(con, "SELECT sent(x) AS y FROM t"),
        "bare copies": bare_copies,
    }

    def share(times):
        return (times["shared"] - times["x"]) / (times["sent"] - times["x"])

    times = in_turns(sides, lambda times: share(times) <= 0.15, rounds=60)
    possible = times["bare copies"] / (times["sent"] - times["x"])
    if share(times) > 0.15 and possible > 0.15:
        pytest.skip(f"bare processes need {possible:.2f} of what the socket transport costs")
    assert share(times) <= 0.15, f"bare processes need {possible:.2f}"


# Sends every stream back that it gets: eight bytes with its length, then the stream.
SENDER = """
    import io, pyarrow as pa
    file = peer.makefile("rwb")
    while size := file.read(8):
        given = pa.ipc.open_stream(pa.BufferReader(file.read(int.from_bytes(size, "little"))))
        taken = io.BytesIO()
        with pa.ipc.new_stream(taken, given.schema) as stream:
            for batch in given:
                stream.write_batch(batch)
        file.write(taken.getbuffer().nbytes.to_bytes(8, "little"))
        file.write(taken.getbuffer())
        file.flush()
"""


@pytest.fixture
def bare_socket():
    """Moves the column to a bare process and back as Arrow streams, batch by batch."""
    column = pa.table({"x": np.arange(float(ROWS))})

    def move():
        for batch in column.to_batches(max_chunksize=SENT_BATCH):
            given = io.BytesIO()
            with pa.ipc.new_stream(given, column.schema) as stream:
                stream.write_batch(batch)
            file.write(given.getbuffer().nbytes.to_bytes(8, "little"))
            file.write(given.getbuffer())
            file.flush()
            taken = file.read(int.from_bytes(file.read(8), "little"))
            pa.ipc.open_stream(taken).read_all()

    with BareProcess(SENDER) as process, process.peer.makefile("rwb") as file:
        move()
        yield move


def test_the_socket_transport_is_as_quick_as_that_of_others(con, bare_socket):
    limit = 0.077
    sides = {"sent": query(con, "SELECT sent(x) AS y FROM t"), "bare socket": bare_socket}
    times = in_turns(sides, lambda times: times["sent"] < limit, rounds=40)
    if times["sent"] >= limit and times["bare socket"] >= limit:
        pytest.skip(f"bare processes need {times['bare socket'] * 1e3:.0f} ms")
    assert times["sent"] < limit


def busy(i: int) -> int:
    total = 0
    for k in range(400):
        total += (i * k) % 7
    return total


BUSY_ROWS = 16_384


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_python_runs_on_as_many_cores_as_there_are_threads():
    code = inspect.getsource(busy) + textwrap.dedent(f"""
        while peer.recv(1):
            sum(busy(i) for i in range({BUSY_ROWS}))
            peer.sendall(b"!")
    """)
    with (
        fuseline.connect(threads=2) as con,
        BareProcess(code) as first,
        BareProcess(code) as second,
    ):
        con.register("t", pa.table({"i": range(BUSY_ROWS)}))
        # Compiled it would be Python nowhere.
        con.udf(busy, name="here", compile="never")
        con.udf(busy, name="there", compile="never", isolation="process")

        def two(name):
            with concurrent.futures.ThreadPoolExecutor(2) as threads:
                sql = f"SELECT sum({name}(i)) FROM t"
                runs = [threads.submit(lambda: con.sql(sql).fetchall()) for _ in range(2)]
                return [run.result() for run in runs]

        def at_once():
            first.ask()
            second.ask()
            first.answer()
            second.answer()

        def in_a_row():
            for process in (first, second):
                process.ask()
                process.answer()

        assert two("there") == two("here")
        in_a_row()
        sides = {
            "in-process": lambda: two("here"),
            "workers": lambda: two("there"),
            "bare at once": at_once,
            "bare in a row": in_a_row,
        }
        times = in_turns(sides, lambda t: t["workers"] <= 0.6 * t["in-process"], rounds=12)
        machine = times["bare at once"] / times["bare in a row"]
        missed = times["workers"] > 0.6 * times["in-process"]
        if missed and machine > 0.55:
            pytest.skip(f"two bare processes at once take {machine:.2f} of one after the other")
        assert not missed, f"two bare processes at once take {machine:.2f} of one after the other"
