"""What it costs to call Python from SQL: against bare NumPy, plain loops, DuckDB's functions, and
worker processes against each other.

Hypothesis: at a fused boundary a Python function costs what Python itself needs and nothing beside it.
The loop hands over views and takes results without a copy, so a function over whole batches runs as if
it were called by hand, and a function over rows as if it stood in a list comprehension.

Axes: kind (numpy, scalar), weight of the function (x, x + 1, sin * cos, sqrt(abs(...))), isolation (this
process, workers over shared memory, workers over a socket), and the way out (streamed, to_arrow,
to_pandas). Machine: any with two cores; all limits are ratios within one run, but for the socket, whose
limits are figures of a two-core machine.

How it is measured, the same for all sides:
* The sides of a comparison take turns, and another one goes first in each round; what is compared are
  medians over the rounds, so a machine that gets slower in between does so for all sides.
* The data are 1 M doubles in memory, one Arrow column, which the bare NumPy calls see as slices of the
  same array. Before anything is timed, all sides must give the same values.
* A result is used in the same way on both sides: each batch is dropped when the next one comes, from the
  query ("streamed") as from the bare call. to_arrow, which keeps all of it, is shown beside it, as a list
  of all results is for the bare calls.
* Every round writes each query anew (another column name), so no plan comes from a cache. "Above
  planning" takes off the same query, as new, over a table without rows. The same text over and over,
  whose plan is cached, is shown beside it.
* DuckDB's figure is the better of its two ways out, a stream of batches and a whole Arrow table.
* Peak memory is that of a process of its own, reset after the source is there.

    python benches/python_boundary.py
    python benches/python_boundary.py --only numpy --repeats 31
"""

import argparse
import concurrent.futures
import gc
import json
import math
import os
import statistics
import subprocess
import sys
import textwrap
import time

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import fuseline

ROWS = 1_000_000
BATCH = 65_536

NUMPY = {
    "x": lambda x: x,
    "x + 1": lambda x: x + 1,
    "sin * cos": lambda x: np.sin(x) * np.cos(x),
    "sqrt(abs(...))": lambda x: np.sqrt(np.abs(np.sin(x) * np.cos(x) + np.log1p(np.abs(x)))),
}
SCALAR = {
    "x": lambda x: x,
    "x + 1": lambda x: x + 1,
    "sin * cos": lambda x: math.sin(x) * math.cos(x),
    "sqrt(abs(...))": lambda x: math.sqrt(abs(math.sin(x) * math.cos(x) + math.log1p(abs(x)))),
}
ARROW = {"x": lambda x: x, "x + 1": lambda x: pc.add(x, 1)}
# Milliseconds that a worker behind a socket took elsewhere, on a machine with two cores.
SOCKET = {"x": 77, "x + 1": 79, "sin * cos": 118, "sqrt(abs(...))": 125}


class Report:
    """Figures with their limits, printed as they come."""

    def __init__(self):
        self.figures = []

    def add(self, name, value, unit, limit, at_least=False, beside=""):
        """A figure, and whether it keeps its limit."""
        kept = value >= limit if at_least else value <= limit
        sign = ">=" if at_least else "<="
        figure = f"{value:8.2f} {unit:2} {sign} {limit:5.2f}  {'ok    ' if kept else 'MISSED'}"
        print(f"{name:58} {figure}  {beside}", flush=True)
        self.figures.append(
            {"name": name, "value": value, "unit": unit, "limit": limit, "kept": kept}
        )


def in_turns(sides, rounds):
    """Median milliseconds of each side; a side is a function of the round's number."""
    for run in sides.values():
        run(0)
    times = {name: [] for name in sides}
    names = list(sides)
    for number in range(1, rounds + 1):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            gc.collect()
            begin = time.perf_counter()
            sides[name](number)
            times[name].append((time.perf_counter() - begin) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def connect(values):
    """A connection with the data, the same table without rows, and all functions of this file."""
    con = fuseline.connect(threads=2)
    con.register("t", pa.table({"x": values}))
    con.register("nothing", pa.table({"x": values[:0]}))
    options = {"params": ["DOUBLE"], "returns": "DOUBLE", "compile": "never"}
    for kind, functions in (("numpy", NUMPY), ("scalar", SCALAR)):
        for number, function in enumerate(functions.values()):
            con.udf(name=f"{kind}_{number}", kind=kind, **options)(function)
    for name, isolation in (("shared", "process"), ("socket", "socket")):
        for number, function in enumerate(NUMPY.values()):
            con.udf(name=f"{name}_{number}", kind="numpy", isolation=isolation, **options)(function)
    return con


def streamed(con, expression, table="t", fresh=True):
    """A query whose batches are dropped as they come."""

    def run(number):
        name = f"y{number}" if fresh else "y"
        for batch in con.sql(f"SELECT {expression} AS {name} FROM {table}"):
            del batch

    return run


def kept(con, expression):
    """A query whose result is one Arrow table."""
    return lambda number: con.sql(f"SELECT {expression} AS y{number} FROM t").to_arrow()


def bare(function, values, keep=False):
    """The function called by hand on batch after batch."""

    def run(_):
        results = []
        for start in range(0, len(values), BATCH):
            result = function(values[start : start + BATCH])
            if keep:
                results.append(result)
        return results

    return run


def from_duckdb(connection, name):
    """DuckDB's two ways out: a stream of batches that are dropped, and a whole table."""

    def query(number):
        return connection.sql(f"SELECT {name}(x) AS y{number} FROM t")

    def stream(number):
        for batch in query(number).to_arrow_reader(BATCH):
            del batch

    return {"duckdb": stream, "duckdb whole": lambda number: query(number).to_arrow_table()}


def in_duckdb(functions, kind, values):
    """A connection of DuckDB with the data and some functions."""
    connection = duckdb.connect(config={"threads": 2})
    connection.register("t", pa.table({"x": values}))
    for number, function in enumerate(functions.values()):
        connection.create_function(f"f_{number}", function, ["DOUBLE"], "DOUBLE", type=kind)
    return connection


def check(name, table, expected):
    """Ends the run if a result is not what plain Python gives."""
    got = table.column(0).to_numpy()
    if not np.array_equal(got, expected):
        sys.exit(f"{name}: {got[:3]}, not {expected[:3]}")


def numpy_kind(report, con, values, rounds):
    """Functions over batches: against the bare function, selecting the column, DuckDB's Arrow UDF."""
    peer = in_duckdb(ARROW, "arrow", values)
    for number, (name, function) in enumerate(NUMPY.items()):
        call = f"numpy_{number}(x)"
        check(name, kept(con, call)(0), function(values))
        sides = {
            "query": streamed(con, call),
            "planning": streamed(con, call, "nothing"),
            "column": streamed(con, "x"),
            "cached": streamed(con, call, fresh=False),
            "cached planning": streamed(con, call, "nothing", fresh=False),
            "cached column": streamed(con, "x", fresh=False),
            "bare": bare(function, values),
            "to_arrow": kept(con, call),
            "bare kept": bare(function, values, keep=True),
        }
        if name in ARROW:
            check(name, from_duckdb(peer, f"f_{number}")["duckdb whole"](0), function(values))
            sides |= from_duckdb(peer, f"f_{number}")
        t = in_turns(sides, rounds)
        beside = "  ".join(f"{side} {ms:.2f}" for side, ms in t.items())
        if name == "x":
            above = t["query"] - t["column"]
            report.add("numpy x, above selecting the column", above, "ms", 0.3, beside=beside)
            above = t["cached"] - t["cached column"]
            report.add("numpy x, above selecting the column, plans cached", above, "ms", 0.3)
        elif name == "x + 1":
            ratio = (t["query"] - t["planning"]) / t["bare"]
            report.add("numpy x + 1, above planning / bare", ratio, "", 1.6, beside=beside)
            ratio = (t["cached"] - t["cached planning"]) / t["bare"]
            report.add("numpy x + 1, above planning / bare, plans cached", ratio, "", 1.6)
        else:
            ratio = t["query"] / t["bare"]
            report.add(f"numpy {name} / bare", ratio, "", 1.1, beside=beside)
        if name in ARROW:
            theirs = min(t["duckdb"], t["duckdb whole"])
            ratio = theirs / t["query"]
            report.add(f"DuckDB's Arrow UDF / numpy {name}", ratio, "", 30, at_least=True)


def scalar_kind(report, con, values, rounds):
    """Functions over rows: against the list comprehension and DuckDB's row UDF."""
    peer = in_duckdb(SCALAR, "native", values)
    for number, (name, function) in enumerate(SCALAR.items()):
        call = f"scalar_{number}(x)"
        expected = np.array([function(v) for v in values.tolist()])
        check(name, kept(con, call)(0), expected)
        check(name, from_duckdb(peer, f"f_{number}")["duckdb whole"](0), expected)
        sides = {
            "query": streamed(con, call),
            "loop": lambda _, f=function: [f(v) for v in values.tolist()],
            **from_duckdb(peer, f"f_{number}"),
        }
        t = in_turns(sides, rounds)
        beside = "  ".join(f"{side} {ms:.1f}" for side, ms in t.items())
        report.add(f"scalar {name} / list", t["query"] / t["loop"], "", 1.5, beside=beside)
        ratio = min(t["duckdb"], t["duckdb whole"]) / t["query"]
        report.add(f"DuckDB's row UDF / scalar {name}", ratio, "", 2, at_least=True)


def moving(report, con, values, rounds):
    """Workers: what moving the data costs over shared memory and over a socket."""
    for number, (name, function) in enumerate(NUMPY.items()):
        for transport in ("shared", "socket"):
            check(name, kept(con, f"{transport}_{number}(x)")(0), function(values))
        sides = {
            "column": kept(con, "x"),
            "here": kept(con, f"numpy_{number}(x)"),
            "shared": kept(con, f"shared_{number}(x)"),
            "socket": kept(con, f"socket_{number}(x)"),
        }
        t = in_turns(sides, rounds)
        beside = "  ".join(f"{side} {ms:.1f}" for side, ms in t.items())
        if name == "x":
            share = (t["shared"] - t["column"]) / (t["socket"] - t["column"])
            report.add("moving x: shared memory / socket", share, "", 0.15, beside=beside)
        report.add(f"socket {name}", t["socket"], "ms", SOCKET[name], beside=beside)


def busy(i):
    """Pure Python that keeps a core busy."""
    total = 0
    for k in range(400):
        total += (i * k) % 7
    return total


def two_cores(report, rounds):
    """Two queries at once whose functions keep a core busy: in this process, and in workers."""
    rows = 16_384
    code = textwrap.dedent(f"""
        import sys
        def busy(i):
            total = 0
            for k in range(400):
                total += (i * k) % 7
            return total
        for _ in sys.stdin:
            sum(map(busy, range({rows})))
            print(flush=True)
    """)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    bare_two = [subprocess.Popen([sys.executable, "-c", code], **pipes) for _ in range(2)]
    con = fuseline.connect(threads=2)
    con.register("t", pa.table({"i": range(rows)}))
    options = {"params": ["BIGINT"], "returns": "BIGINT", "compile": "never"}
    con.udf(name="here", **options)(busy)
    con.udf(name="there", isolation="process", **options)(busy)

    def two(name):
        def run(_):
            with concurrent.futures.ThreadPoolExecutor(2) as threads:
                sql = f"SELECT sum({name}(i)) FROM t"
                runs = [threads.submit(lambda: con.sql(sql).fetchall()) for _ in range(2)]
                return [run.result() for run in runs]

        return run

    def at_once(_):
        for process in bare_two:
            process.stdin.write("\n")
        for process in bare_two:
            process.stdout.readline()

    def in_a_row(_):
        for process in bare_two:
            process.stdin.write("\n")
            process.stdout.readline()

    if two("here")(0) != two("there")(0):
        sys.exit("workers and this process disagree")
    sides = {"here": two("here"), "workers": two("there"), "at once": at_once, "row": in_a_row}
    t = in_turns(sides, rounds)
    for process in bare_two:
        process.stdin.close()
        process.wait()
    machine = f"bare processes at once / one after the other {t['at once'] / t['row']:.2f}"
    ratio = t["workers"] / t["here"]
    report.add("two CPU-bound queries: workers / in-process", ratio, "", 0.6, beside=machine)


TO_PANDAS = """
import gc, json, statistics, time
import numpy as np, pyarrow as pa, fuseline

def status(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field)) * 1024

rows = {rows}
size = rows // 32
one = [np.random.default_rng(7).random(size) for _ in "abcde"]
batches = [pa.record_batch([np.array(c) for c in one], names=list("abcde")) for _ in range(32)]
table = pa.Table.from_batches(batches)
small = pa.table({{c: [1.0] for c in "abcde"}})
con = fuseline.connect(threads=2)
con.register("t", small)
con.sql("SELECT * FROM t").to_pandas()
small.to_pandas()
con.register("t", table)
gc.collect()
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
before = status("VmRSS")
frame = con.sql("SELECT * FROM t").to_pandas()
peak = status("VmHWM") - before
size_of_result = sum(frame[c].to_numpy().nbytes for c in frame)
assert all((frame[c].to_numpy() == table[c].to_numpy()).all() for c in frame)
del frame
times = {{"fuseline": [], "pyarrow": []}}
ways = {{"fuseline": lambda: con.sql("SELECT * FROM t").to_pandas(), "pyarrow": table.to_pandas}}
for _ in range({rounds}):
    for name, way in ways.items():
        gc.collect()
        begin = time.perf_counter()
        frame = way()
        times[name].append((time.perf_counter() - begin) * 1e3)
        del frame
medians = {{name: statistics.median(values) for name, values in times.items()}}
print(json.dumps([peak / size_of_result, medians]))
"""


def to_pandas(report, rounds, rows=33_554_432):
    """The way out to pandas: memory and time."""
    code = TO_PANDAS.format(rows=rows, rounds=rounds)
    done = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True)
    peak, t = json.loads(done.stdout)
    report.add("to_pandas, 33.5 M x 5: peak above the source / result", peak, "", 1.15)
    beside = "  ".join(f"{side} {ms:.0f}" for side, ms in t.items())
    report.add("to_pandas / pyarrow's", t["fuseline"] / t["pyarrow"], "", 1, beside=beside)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--only", help="numpy, scalar, moving, two_cores or to_pandas")
    parser.add_argument("--json", help="also write the figures to this file")
    options = parser.parse_args()

    values = np.random.default_rng(20240229).uniform(-1000, 1000, ROWS)
    con = connect(values)
    report = Report()
    parts = {
        "numpy": lambda: numpy_kind(report, con, values, options.repeats),
        "scalar": lambda: scalar_kind(report, con, values, max(3, options.repeats // 2)),
        "moving": lambda: moving(report, con, values, options.repeats),
        "two_cores": lambda: two_cores(report, max(3, options.repeats // 3)),
        "to_pandas": lambda: to_pandas(report, max(3, options.repeats // 3)),
    }
    if options.only and options.only not in parts:
        parser.error(f"there is no part {options.only!r}")
    print(f"{ROWS} doubles, 2 threads, load {os.getloadavg()[0]:.1f}; beside: medians in ms")
    for name, part in parts.items():
        if options.only in (None, name):
            part()
    if options.json:
        with open(options.json, "w") as file:
            json.dump(report.figures, file, indent=1)


if __name__ == "__main__":
    main()
