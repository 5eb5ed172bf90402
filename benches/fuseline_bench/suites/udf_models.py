"""The execution models of a Python function: what each costs, and where the time goes.

Hypothesis: a Python function costs what moves its data and who calls it, far more than what it computes. A
worker pays for every row that is moved; a call per row pays for objects; a call per batch on views of the
engine's memory pays for next to nothing but the function; and one that is compiled into the loop is SQL.

Axes: function (x, x + 1, sin * cos, sqrt(abs(...))), rows and rows of a batch (100 k in 10 k; 1 M in 10 k,
100 k, 1 M; 5 M in one), model. All have their result as a whole column in memory, but Spark, which writes it
to nowhere (its `noop` sink), in its favour. Models that see single rows are not run over 5 M rows: they do the
same once more for every row; and those of peers, which know no batches, not once more for each size of them.
For the models of fuseline, and for a worker with a clock at every station
(`remote.py`), the time is broken down; GIL wait and conversion are the engine's own counters, over all threads.

A model that a package lacks is named as missing. Before anything is timed a model must give what NumPy gives.
"""

import math

from ..measure import Differs, in_turns
from ..remote import Workers

SHAPES = [(100_000, 10_000), (1_000_000, 10_000), (1_000_000, 100_000), (1_000_000, 1_000_000)]
SHAPES += [(5_000_000, 5_000_000)]
QUICK_SHAPES = [(100_000, 10_000), (500_000, 100_000)]


class Function:
    """One function in all the forms that models take."""

    def __init__(self, name, row, batch, sql):
        self.name, self.row, self.batch, self.sql = name, row, batch, sql


def functions():
    """The functions; NumPy's and Python's names are found where they are called, also in workers."""
    import numpy as np

    def whole(x):
        return np.sqrt(np.abs(np.sin(x) * np.cos(x) + np.log1p(np.abs(x))))

    def single(x):
        return math.sqrt(abs(math.sin(x) * math.cos(x) + math.log1p(abs(x))))

    return [
        Function("x", lambda x: x, lambda x: x, "x"),
        Function("x + 1", lambda x: x + 1, lambda x: x + 1, "x + 1"),
        Function(
            "sin * cos",
            lambda x: math.sin(x) * math.cos(x),
            lambda x: np.sin(x) * np.cos(x),
            "sin(x) * cos(x)",
        ),
        Function(
            "sqrt(abs(...))",
            single,
            whole,
            "sqrt(abs(sin(x) * cos(x) + ln(1 + abs(x))))",
        ),
    ]


class Ours:
    """The models of fuseline over one table, with batches of one size."""

    def __init__(self, run, rows, batch, values):
        import pyarrow as pa

        import fuseline

        self.run, self.rows = run, rows
        self.con = fuseline.connect(threads=run.options.threads)
        self.con.sql(f"SET fuseline.morsel_rows = {max(1024, batch)}")
        table = pa.Table.from_batches(pa.table({"x": values}).to_batches(max_chunksize=batch))
        self.con.register("t", table)
        self.batch = batch
        self.remote = {}

    def models(self, function):
        """The model's name, whether it sees single rows, and how it runs."""
        import pyarrow as pa

        batch = function.batch
        options = {"params": ["DOUBLE"], "returns": "DOUBLE", "batch_rows": self.batch}
        slow = {**options, "compile": "never"}

        def add(name, kind, function, **more):
            self.con.udf(name=name, kind=kind, **{**slow, **more})(function)
            return self.query(f"{name}(x)")

        for codec, label, single in (
            ("pickle", "worker, socket, pickled rows", True),
            ("arrow", "worker, socket, Arrow by hand", False),
        ):
            workers = Workers(function.row if single else batch, codec, self.run.options.threads)
            self.remote[label] = workers
            yield label, single, add(f"remote_{codec}", "arrow", workers)
        yield (
            "worker, socket, Arrow stream",
            False,
            add("socket", "numpy", batch, isolation="socket"),
        )
        yield "worker, shared memory", False, add("shared", "numpy", batch, isolation="process")
        yield "in process, row", True, add("row", "scalar", function.row)
        yield "in process, numpy", False, add("np", "numpy", batch)
        on_arrow = lambda x: pa.array(batch(x.to_numpy(zero_copy_only=False)))
        yield "in process, arrow", False, add("arrow", "arrow", on_arrow)
        yield "in process, pandas", False, add("pandas", "pandas", batch)
        if compiled := self.compiled(function, options):
            yield "compiled into the loop", False, compiled
        yield "the same as SQL", False, self.query(function.sql)

    def compiled(self, function, options):
        """The model of a function that is part of the loop, where this fuseline has it."""
        what = "compiled into the loop"
        try:
            self.con.udf(name="made", compile="require", **options)(function.row)
            counts = self.con.sql("SELECT made(x) AS y FROM t").profile()["functions"].get("made")
        except Exception as error:
            self.run.results.missing(f"{what}: {function.name}", error)
            return None
        if counts is not None and counts.get("compiled_rows", 0) < self.rows:
            self.run.results.missing(f"{what}: {function.name}", "this fuseline calls it")
            return None
        return self.query("made(x)")

    def query(self, expression):
        return lambda i: self.con.sql(f"SELECT {expression} AS y{i} FROM t").to_arrow().column(0)

    def parts(self, name, label):
        """Seconds of a model by station, over all threads, of one more run."""
        if label in self.remote:
            self.remote[label].stations()
        profile = self.con.sql(f"SELECT {name}(x) AS parts FROM t").profile()
        counts = profile["functions"].get(name, {})
        parts = {
            "call": counts.get("function_time", 0.0),
            "convert": counts.get("conversion_time", 0.0),
            "GIL wait": counts.get("wait_time", 0.0),
        }
        if label in self.remote:
            parts = {**self.remote[label].stations(), "GIL wait": parts["GIL wait"]}
        elif label.startswith("worker"):
            parts["move"] = parts.pop("convert")
        return parts, counts.get("calls", 0)

    def close(self):
        for workers in self.remote.values():
            workers.close()


NAMES = {
    "worker, socket, pickled rows": "remote_pickle",
    "worker, socket, Arrow by hand": "remote_arrow",
    "worker, socket, Arrow stream": "socket",
    "worker, shared memory": "shared",
    "in process, row": "row",
    "in process, numpy": "np",
    "in process, arrow": "arrow",
    "in process, pandas": "pandas",
}


def bare_numpy(run, rows, batch, values, function):
    def call(_):
        import numpy as np

        done = [function.batch(values[at : at + batch]) for at in range(0, rows, batch)]
        return np.concatenate(done) if len(done) > 1 else done[0]

    yield "bare numpy", False, call


def numba(run, rows, batch, values, function):
    import numba as nb
    import numpy as np

    inner = nb.njit(function.row)

    @nb.njit
    def loop(x, out):
        for i in range(len(x)):
            out[i] = inner(x[i])

    def call(_):
        out = np.empty(rows)
        for at in range(0, rows, batch):
            loop(values[at : at + batch], out[at : at + batch])
        return out

    yield "numba", False, call


def duckdb(run, rows, batch, values, function):
    import duckdb as db
    import pyarrow as pa

    con = db.connect(config={"threads": run.options.threads})
    con.register("t", pa.table({"x": values}))
    con.create_function("row_f", function.row, ["DOUBLE"], "DOUBLE", type="native")
    on_arrow = lambda x: pa.array(function.batch(x.to_numpy()))
    con.create_function("arrow_f", on_arrow, ["DOUBLE"], "DOUBLE", type="arrow")

    def query(expression):
        sql = f"SELECT {expression} AS y{{}} FROM t"
        return lambda i: con.sql(sql.format(i)).to_arrow_table().column(0)

    yield "DuckDB native UDF", True, query("row_f(x)")
    yield "DuckDB Arrow UDF", False, query("arrow_f(x)")
    yield "DuckDB, the same as SQL", False, query(function.sql)


def polars(run, rows, batch, values, function):
    import polars as pl

    frame = pl.DataFrame({"x": values})

    def mapped(how):
        def call(i):
            return frame.select(how().alias(f"y{i}")).to_series()

        return call

    x = pl.col("x")
    yield (
        "Polars map_batches",
        False,
        mapped(
            lambda: x.map_batches(lambda s: pl.Series(function.batch(s.to_numpy())), pl.Float64)
        ),
    )
    import warnings

    # It warns that an expression would be faster, which is what is measured here.
    warnings.filterwarnings("ignore", category=pl.exceptions.PolarsInefficientMapWarning)
    yield "Polars map_elements", True, mapped(lambda: x.map_elements(function.row, pl.Float64))


def datafusion(run, rows, batch, values, function):
    import datafusion as df
    import pyarrow as pa

    config = df.SessionConfig().with_target_partitions(run.options.threads).with_batch_size(batch)
    context = df.SessionContext(config)
    batches = pa.table({"x": values}).to_batches(max_chunksize=batch)
    threads = run.options.threads
    context.register_record_batches("t", [batches[n::threads] for n in range(threads)])

    def on_arrow(x):
        return pa.array(function.batch(x.to_numpy(zero_copy_only=False)))

    context.register_udf(df.udf(on_arrow, [pa.float64()], pa.float64(), "immutable", "f"))

    def call(i):
        return context.sql(f"SELECT x, f(x) AS y{i} FROM t").to_arrow_table()

    yield "DataFusion UDF", False, call


class Spark:
    """PySpark's two kinds; one session for all cells."""

    def __init__(self, run):
        self._engine = None
        if not run.wants("pyspark"):
            return
        try:
            from ..engines import Spark as Engine

            self._engine = Engine(run.options.threads)
        except ImportError as error:
            run.results.missing("PySpark", error)

    def models(self, run, rows, batch, values, function):
        if self._engine is None:
            return
        import pandas as pd
        from pyspark.sql import functions as F

        session = self._engine.session
        session.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", str(batch))
        frame = session.createDataFrame(pd.DataFrame({"x": values}))
        frame = frame.coalesce(run.options.threads).cache()
        frame.count()

        def series(x: pd.Series) -> pd.Series:
            return function.batch(x)

        def side(made):
            column = made("x")

            def call(i):
                frame.select(column.alias(f"y{i}")).write.format("noop").mode("overwrite").save()

            def answer():
                total = frame.select("x", column.alias("y")).toPandas()
                return total

            call.answer = answer
            return call

        yield "PySpark udf", True, side(F.udf(function.row, "double"))
        yield "PySpark pandas_udf", False, side(F.pandas_udf(series, "double"))
        yield "Spark, the same as SQL", False, side(lambda _: F.expr(function.sql))
        frame.unpersist()

    def stop(self):
        if self._engine is not None:
            self._engine.stop()


PEERS = {
    "numpy": bare_numpy,
    "numba": numba,
    "duckdb": duckdb,
    "polars": polars,
    "datafusion": datafusion,
}


def check(label, side, values, expected):
    """Raises `Differs` if a model does not give what NumPy gives."""
    import numpy as np

    if hasattr(side, "answer"):
        frame = side.answer()
        given, got = frame["x"].to_numpy(), frame["y"].to_numpy()
        order, right = np.argsort(given, kind="stable"), np.argsort(values, kind="stable")
        got, expected = got[order], expected[right]
    else:
        got = side(1_000_000)
        if hasattr(got, "num_columns"):
            # Partitions come in any order.
            given, got = (got.column(c).to_numpy() for c in range(2))
            order, right = np.argsort(given, kind="stable"), np.argsort(values, kind="stable")
            got, expected = got[order], expected[right]
        got = np.asarray(got)
    if got.shape != expected.shape or not np.allclose(got, expected, rtol=1e-12, atol=1e-15):
        raise Differs(f"{label}: {got[:3]}, not {expected[:3]}")


def sides_of(run, rows, batch, values, function, ours, with_rows):
    """All models of one cell that are there, each checked."""
    sides = {}
    expected = function.batch(values)

    def take(models, with_rows):
        for label, single, side in models:
            if single and not with_rows:
                continue
            check(f"{label}, {function.name}", side, values, expected)
            sides[label] = side

    take(ours.models(function), rows <= 1_000_000)
    for peer, models in PEERS.items():
        if not run.wants(peer):
            continue
        try:
            take(models(run, rows, batch, values, function), with_rows)
        except ImportError as error:
            run.results.missing(peer, error)
    return sides, expected


def run(run):
    """All cells."""
    import numpy as np

    quick = run.options.quick
    shapes = QUICK_SHAPES if quick else SHAPES
    if run.options.rows:
        shapes = [(run.options.rows, min(run.options.rows, 100_000))]
    random = np.random.default_rng(20240229)
    column = random.uniform(-1000, 1000, max(rows for rows, _ in shapes))
    spark = Spark(run)
    made = functions()
    cases = [
        (f"{function.name}, {rows:,} rows in {batch:,}", function, rows, batch)
        for function in ([made[1], made[3]] if quick and not run.options.rows else made)
        for rows, batch in shapes
    ]
    for case, function, rows, batch in run.progress([c for c in cases if run.takes(c[0])]):
        with run.case(case):
            smallest = rows == min(r for r, _ in shapes)
            cell(run, case, function, rows, batch, column[:rows], spark, smallest)
    spark.stop()


def cell(run, case, function, rows, batch, values, spark, smallest):
    """All models of a function over one table."""
    share = 1.0 if run.options.quick else 2.5
    # Peers that see single rows know no batches, and do the same once more for every row.
    with_rows = rows <= 1_000_000 and batch <= 100_000 and (smallest or batch > 10_000)
    ours = Ours(run, rows, batch, values)
    try:
        sides, expected = sides_of(run, rows, batch, values, function, ours, with_rows)
        for label, single, side in spark.models(run, rows, batch, values, function):
            if with_rows or not single:
                # Moving rows back to be checked is slow: once, at the smallest size.
                if smallest:
                    check(f"{label}, {function.name}", side, values, expected)
                # Its frame lives until the next model is asked for, so it is measured by itself.
                times = in_turns({label: side}, run.repeats(5), share / 10)
                add(run, case, function, rows, batch, label, times[label])
        for label, seconds in in_turns(sides, run.repeats(7), share).items():
            more = {}
            if label in NAMES:
                parts, calls = ours.parts(NAMES[label], label)
                more = {"parts": parts, "calls": calls}
            add(run, case, function, rows, batch, label, seconds, **more)
    finally:
        ours.close()


def add(run, case, function, rows, batch, label, seconds, **more):
    """One figure."""
    axes = {"function": function.name, "rows": rows, "batch": batch}
    run.results.add(case, axes, label, seconds, rows=rows, **more)
