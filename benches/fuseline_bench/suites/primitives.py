"""Single operators: filter, sum, arithmetic, grouped sum, hash join, sort, Parquet decode, in ns per row.

Hypothesis: a query compiled into one loop beats engines that pass vectors from operator to operator, most
where values are cheap to load and dear to pass on.

Axes: the queries below over one table in memory (Parquet: over a file), engine, threads (one, and all). Each
number of threads has a process of its own, because Polars' pool is fixed when it is imported. Over `range`
Spark is beside it, with and without whole-stage code generation; its rows per second are counted the same.
Before anything is timed all engines must give the same answer. Every round changes a constant in the query,
so that no engine can answer from a cache.
"""

import subprocess
import sys

from ..engines import PEERS, Fuseline, Spark, make
from ..measure import Differs, in_turns, same

# Each query is a function of the round; the constant that varies leaves the share of rows that pass as it is.
QUERIES = {
    "filter + sum(a*d) (Q6)": lambda i: (
        "SELECT sum(a * d) AS s FROM t "
        f"WHERE d >= 0.05 AND d <= 0.07 AND q < 24 AND k >= {100 + i} AND k < {60100 + i}"
    ),
    "filter + project 25 %": lambda i: f"SELECT k, a FROM t WHERE k < {62500 + i}",
    "count where k % 2 = 1": lambda i: f"SELECT count(*) AS n FROM t WHERE (k + {2 * i}) % 2 = 1",
    "sum": lambda i: f"SELECT sum(a) + {i} AS s FROM t",
    "a*b + a - b/2": lambda i: f"SELECT a * b + a - b / 2 + {i} AS x FROM t",
    "sin(a) * cos(a)": lambda i: f"SELECT sin(a) * cos(a) + {i} AS x FROM t",
    # By group the constant comes after the groups, so that it costs nothing per row.
    "group by 4: sum, avg, count": lambda i: (
        f"SELECT g4, sum(a) AS s, avg(a) AS m, count(*) + {i} AS n FROM t GROUP BY g4"
    ),
    "group by 1,000: sum": lambda i: f"SELECT g1000, sum(a) + {i} AS s FROM t GROUP BY g1000",
    "group by 5 M: sum": lambda i: f"SELECT g5m, sum(a) + {i} AS s FROM t GROUP BY g5m",
    "group by spread 5 M: sum": lambda i: f"SELECT h5m, sum(a) + {i} AS s FROM t GROUP BY h5m",
    "group by 100 strings: sum": lambda i: f"SELECT s100, sum(a) + {i} AS s FROM t GROUP BY s100",
    "group by 100,000 strings": lambda i: f"SELECT s100k, sum(a) + {i} AS s FROM t GROUP BY s100k",
    # Every row of t has one partner; the sum needs a column of each side.
    "join with 500 keys + sum": lambda i: (
        f"SELECT sum(t.a * d500.v) + {i} AS s FROM t JOIN d500 ON t.k500 = d500.k"
    ),
    "join with 5 M rows + sum": lambda i: (
        f"SELECT sum(t.a * d5m.v) + {i} AS s FROM t JOIN d5m ON t.g5m = d5m.k"
    ),
    "sort by a double": lambda i: f"SELECT a, k FROM t WHERE k >= {i} ORDER BY a",
}
PARQUET = {
    "Parquet decode: sums": lambda i: f"SELECT sum(a) AS a, sum(b) AS b, sum(k) + {i} AS k FROM p",
    "Parquet decode: columns": lambda i: f"SELECT a, b, k + {i} AS k FROM p",
}
# {id} is the column that the engine's range() has.
RANGE = {
    "range: sum": "SELECT sum({id}) AS s FROM range(0, {rows})",
    # By 2 is a mask; by 3 a multiplication of 64 bits, which vectors do not have.
    "range: count % 2 = 1": "SELECT count(*) AS n FROM range(0, {rows}) WHERE {id} % 2 = 1",
    "range: count % 3 = 1": "SELECT count(*) AS n FROM range(0, {rows}) WHERE {id} % 3 = 1",
    # Dynamic filters are off for these, so that every row is probed.
    "range: join 1,000 keys": (
        "SELECT count(*) AS n FROM range(0, {rows}) a JOIN range(0, 1000) b ON a.{id} = b.{id}"
    ),
    "range: join id % 1000": (
        "SELECT count(*) AS n FROM range(0, {rows}) a JOIN range(0, 1000) b ON a.{id} % 1000 = b.{id}"
    ),
    "range: group by id % 1024": (
        "SELECT {id} % 1024 AS g, sum({id}) AS s FROM range(0, {rows}) GROUP BY {id} % 1024"
    ),
}


def make_tables(rows, many=5_000_000):
    """Columns as an analyst has them: a small int domain, prices, a discount, a quantity; and what they are
    joined with."""
    import numpy as np
    import pyarrow as pa

    random = np.random.default_rng(20240229)
    groups = random.integers(0, many, rows, dtype=np.int64)
    words = random.integers(0, 100_000, rows, dtype=np.int64)

    def texts(names, which):
        # The strings one after the other, as a reader of files would have made them.
        return pa.array(names).take(pa.array(which))

    def dimension(keys):
        # In no order, as in a file.
        return pa.table({"k": random.permutation(keys), "v": random.uniform(0, 1, keys)})

    facts = pa.table(
        {
            "k500": random.integers(0, 500, rows, dtype=np.int64),
            "g4": random.integers(0, 4, rows, dtype=np.int64),
            "g1000": random.integers(0, 1000, rows, dtype=np.int64),
            # All numbers of a range, and as many that lie far apart.
            "g5m": groups,
            "h5m": groups * 7_919_000_009,
            "s100": texts([f"word {i}" for i in range(100)], words % 100),
            "s100k": texts([f"a longer word, number {i}" for i in range(100_000)], words),
            "k": random.integers(0, 250_000, rows, dtype=np.int64),
            "a": random.uniform(-1000, 1000, rows),
            "b": random.uniform(-1000, 1000, rows),
            "d": random.integers(0, 11, rows) / 100.0,
            "q": random.integers(1, 51, rows).astype(np.float64),
        }
    )
    return {"t": facts, "d500": dimension(500), "d5m": dimension(many)}


def answers(engines, sql_of):
    """What each engine answers; raises `Differs` if two disagree."""
    found = {}
    for engine in engines:
        found[engine.name] = engine.run(sql_of(engine))
        first = next(iter(found.values()))
        if not same(first, found[engine.name]):
            names = f"{next(iter(found))} and {engine.name}"
            raise Differs(f"{names} disagree on: {sql_of(engine)}")
    return found


def compare(run, name, engines, rows, query, share):
    """One case: answers, then times."""
    with run.case(name):
        times(run, name, engines, rows, query, share)


def times(run, name, engines, rows, query, share):
    answers(engines, lambda engine: query(0))
    sides = {e.name: lambda i, e=e: e.run(query(i)) for e in engines}
    axes = {"threads": run.options.threads}
    case = f"{name}, {run.options.threads} thread{'s' if run.options.threads > 1 else ''}"
    for engine, seconds in in_turns(sides, run.repeats(7), share).items():
        run.results.add(case, axes, engine, seconds, rows=rows)


def over_tables(run):
    """The queries over tables in memory and over a Parquet file, with one number of threads."""
    import pyarrow.parquet

    rows = run.rows(10_000_000, 1_000_000)
    # Few rows are a test; the names of the queries hold for many.
    tables = make_tables(rows, 5_000_000 if rows >= 1_000_000 else rows)
    engines = [e.tables(tables) for e in make(run, (Fuseline, *PEERS))]
    share = 0.4 if run.options.quick else 2.5
    queries = {n: q for n, q in QUERIES.items() if run.takes(n)}
    for name in run.progress(queries):
        compare(run, name, engines, rows, queries[name], share)
    del engines
    file = run.options.out / "primitives.parquet"
    pyarrow.parquet.write_table(tables["t"].select(["a", "b", "k"]), file)
    engines = [e.parquet({"p": file}) for e in make(run, (Fuseline, *PEERS))]
    for name, query in PARQUET.items():
        if run.takes(name):
            compare(run, name, engines, rows, query, share)
    file.unlink()


def over_ranges(run):
    """The range queries, beside Spark with and without whole-stage code generation."""
    rows = run.options.rows or (10_000_000 if run.options.quick else 50_000_000)
    engines = make(run, (Fuseline, Spark))
    engines[0].connection.sql("SET datafusion.optimizer.enable_dynamic_filter_pushdown = false")
    for name in run.progress([n for n in RANGE if run.takes(n)]):
        with run.case(name):
            over_range(run, name, engines, rows)
    for engine in engines[1:]:
        engine.stop()


def over_range(run, name, engines, rows):
    threads = run.options.threads

    def query(engine, i, text=RANGE[name]):
        return text.format(id=engine.range_column, rows=rows + i)

    answers(engines, lambda engine, query=query: query(engine, 0))
    sides = {"fuseline": lambda i, query=query: engines[0].run(query(engines[0], i))}
    for engine in engines[1:]:
        for label, on in (("spark", True), ("spark, no whole-stage", False)):

            def side(i, engine=engine, on=on, query=query):
                engine.whole_stage(on)
                return engine.run(query(engine, i))

            sides[label] = side
    case = f"{name}, {threads} thread{'s' if threads > 1 else ''}"
    share = 1.0 if run.options.quick else 5.0
    for engine, seconds in in_turns(sides, run.repeats(7), share).items():
        run.results.add(case, {"threads": threads}, engine, seconds, rows=rows)


def run(run):
    """Each number of threads, and the ranges, in a process of its own."""
    options = run.options
    if options.part == "tables":
        over_tables(run)
        return
    if options.part == "ranges":
        over_ranges(run)
        return
    counts = [options.threads] if options.asked_threads or options.quick else [1, options.threads]
    for part, threads in [
        *(("tables", n) for n in dict.fromkeys(counts)),
        ("ranges", options.threads),
    ]:
        again(options, "primitives", part, threads)
    run.results.reload()


def again(options, suite, part, threads):
    """Runs a part of a suite in a process of its own, which adds to the same results."""
    command = [sys.executable, "-P", "-m", "fuseline_bench", suite, "--part", part]
    command += ["--threads", str(threads), "--out", str(options.out)]
    command += ["--quick"] if options.quick else []
    for name in ("rows", "repeat", "peers", "only"):
        if getattr(options, name) is not None:
            command += [f"--{name}", str(getattr(options, name))]
    subprocess.run(command, check=True)
