"""To pandas, Polars and NumPy and back: time and peak memory.

Hypothesis: a result that its consumer can view where it lies costs no copy, and one that must be rearranged is
written once into its final place, so it is never in memory twice.

Axes: shape (33.5 M rows of 5 doubles in 32 batches, 10 M of 10), way (out to pandas, Polars, NumPy, Arrow; in
from them: a sum over all columns of a registered frame), engine. Each combination has a process of its own:
peak memory is what it grew by in its first run, against the size of the data. Values must be the source's.
"""

import json
import subprocess
import sys

from ..measure import Differs, peak, reset_peak

SHAPES = [(33_554_432, 5), (10_000_000, 10)]
QUICK_SHAPES = [(2_097_152, 5)]
# In a quick run.
QUICK_WAYS = ("to pandas", "to numpy", "from pandas")
WAYS = {
    "to pandas": ["fuseline", "pyarrow", "duckdb", "polars"],
    "to polars": ["fuseline", "pyarrow", "duckdb"],
    "to numpy": ["fuseline", "pyarrow", "duckdb", "polars"],
    "to arrow": ["fuseline", "duckdb", "polars"],
    "from pandas": ["fuseline", "duckdb", "polars"],
    "from polars": ["fuseline", "duckdb", "polars"],
    "from numpy": ["fuseline", "duckdb", "polars"],
}


def make(rows, columns):
    """A table in 32 batches, each with memory of its own."""
    import numpy as np
    import pyarrow as pa

    size = -(-rows // 32)
    names = [f"c{i}" for i in range(columns)]
    one = [np.random.default_rng(i).random(size) for i in range(columns)]
    batches = []
    for start in range(0, rows, size):
        batches.append(pa.record_batch([c[: min(size, rows - start)].copy() for c in one], names))
    return pa.Table.from_batches(batches)


def out_of(engine, table, target, threads):
    """A function that makes the target of the table."""
    if engine == "fuseline":
        import fuseline

        con = fuseline.connect(threads=threads)
        con.register("t", table)
        return lambda: getattr(con.sql("SELECT * FROM t"), f"to_{target}")()
    if engine == "duckdb":
        import duckdb

        con = duckdb.connect(config={"threads": threads})
        con.register("t", table)
        way = {"pandas": "df", "polars": "pl", "numpy": "fetchnumpy", "arrow": "to_arrow_table"}
        return lambda: getattr(con.sql("SELECT * FROM t"), way[target])()
    if engine == "polars":
        import polars

        frame = polars.from_arrow(table)
        if target == "numpy":
            return lambda: {c: frame[c].to_numpy() for c in frame.columns}
        return lambda: getattr(frame, f"to_{target}")()
    if target == "pandas":
        return table.to_pandas
    if target == "polars":
        import polars

        return lambda: polars.from_arrow(table)
    return lambda: {c: table[c].to_numpy() for c in table.column_names}


def into(engine, table, source, threads):
    """A function that sums all columns of a frame of some kind."""
    names = table.column_names
    if source == "pandas":
        frame = table.to_pandas()
    elif source == "polars":
        import polars

        frame = polars.from_arrow(table)
    else:
        frame = {c: table[c].to_numpy() for c in names}
    sums = ", ".join(f"sum({c}) AS {c}" for c in names)
    if engine == "polars":
        import polars

        convert = {"pandas": polars.from_pandas, "polars": lambda f: f, "numpy": polars.DataFrame}
        return lambda: convert[source](frame).select(polars.all().sum()).row(0)
    if engine == "fuseline":
        import fuseline

        def call():
            con = fuseline.connect(threads=threads)
            con.register("t", frame)
            return con.sql(f"SELECT {sums} FROM t").fetchall()[0]

        return call
    import duckdb

    def call():
        con = duckdb.connect(config={"threads": threads})
        if source == "numpy":
            t = frame  # noqa: F841 (found by its name)
            return con.sql(f"SELECT {sums} FROM t").fetchall()[0]
        if source == "polars":
            con.register("t", frame.to_arrow())
        else:
            con.register("t", frame)
        return con.sql(f"SELECT {sums} FROM t").fetchall()[0]

    return call


def column(result, name):
    """A column of any of the targets as an array."""
    import numpy as np

    values = result[name]
    return np.asarray(values.to_numpy() if hasattr(values, "to_numpy") else values)


def one(options):
    """One combination, in this process: prints seconds, growth and size as JSON."""
    import time

    import numpy as np

    engine, way, rows, columns = options.part.split("|")
    rows, columns = int(rows), int(columns)
    direction, kind = way.split()
    small = make(1000, columns)
    table = make(rows, columns)
    build = out_of if direction == "to" else into
    # Imports and first-time work are no part of it.
    build(engine, small, kind, options.threads)()
    call = build(engine, table, kind, options.threads)
    before = reset_peak()
    result = call()
    grew = peak() - before
    for i, name in enumerate(table.column_names):
        expected = table[name].to_numpy()
        if direction == "to":
            good = np.array_equal(column(result, name), expected)
        else:
            good = np.isclose(result[i], expected.sum(), rtol=1e-9)
        if not good:
            raise Differs(f"{engine} {way}: column {name} is not the source's")
    del result
    seconds = []
    for _ in range(options.repeat or 3):
        begin = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - begin)
        del result
    print(json.dumps({"seconds": seconds, "peak_bytes": grew, "bytes": table.nbytes}))


def run(run):
    """All combinations, each in a process of its own."""
    options = run.options
    if options.part:
        one(options)
        return
    shapes = QUICK_SHAPES if options.quick else SHAPES
    if options.rows:
        shapes = [(options.rows, 5)]
    combinations = [
        (f"{way}, {rows / 1e6:.3g} M x {columns}", way, engine, rows, columns)
        for rows, columns in shapes
        for way, engines in WAYS.items()
        if not options.quick or way in QUICK_WAYS
        for engine in engines
        if engine in ("fuseline", "pyarrow") or run.wants(engine)
    ]
    for case, way, engine, rows, columns in run.progress(
        [c for c in combinations if run.takes(c[0])]
    ):
        command = [
            sys.executable,
            "-P",
            "-m",
            "fuseline_bench",
            "frames",
            "--threads",
            str(options.threads),
        ]
        command += ["--part", f"{engine}|{way}|{rows}|{columns}", "--out", str(options.out)]
        if options.repeat:
            command += ["--repeat", str(options.repeat)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
            if "Differs" in last or engine == "fuseline":
                run.results.differs(case, f"{engine}: {last}")
                continue
            run.results.missing(f"{engine} {way}", last)
            continue
        found = json.loads(done.stdout)
        axes = {"way": way, "rows": rows, "columns": columns}
        run.results.add(
            case,
            axes,
            engine,
            found["seconds"],
            peak_bytes=found["peak_bytes"],
            bytes=found["bytes"],
        )
