"""Adding one to a column of a Parquet file that is larger than the memory limit.

Hypothesis: where a Python function is called over a file that does not fit into memory, streaming it batch by
batch costs little beside the function itself, and a compiled function nothing beside the SQL expression.

Axes: how `count + 1` is said (SQL, a scalar function, one over pandas series, one over NumPy arrays, a compiled
one), engine. The table has a word and a count per row; fuseline and DuckDB have a memory limit below the size
of the file. Rows are streamed and dropped; Spark writes them to nowhere. Before anything is timed the sum of
what comes out must be right. Peak memory is what this process grew by in a model's first run; Spark's is in
other processes and is not shown.
"""

from ..measure import in_turns, peak, reset_peak

LIMIT = 64 << 20


def write(file, rows):
    """The table: words of 6 to 12 letters, and counts; gives the sum of counts."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(7)
    total = 0
    schema = pa.schema([("word", pa.string()), ("count", pa.int64())])
    with pq.ParquetWriter(file, schema, compression="none", use_dictionary=False) as writer:
        for start in range(0, rows, 1 << 18):
            size = min(1 << 18, rows - start)
            lengths = random.integers(6, 13, size)
            offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
            letters = random.integers(ord("a"), ord("z") + 1, offsets[-1], dtype=np.uint8)
            words = pa.StringArray.from_buffers(size, pa.py_buffer(offsets), pa.py_buffer(letters))
            counts = random.integers(0, 1000, size)
            total += int(counts.sum())
            writer.write_table(pa.table([words, counts], schema=schema))
    return total


def add_one(count):
    """The function, for values and for arrays."""
    return count + 1


def fuseline_models(run, file, limit):
    """Our own."""
    import fuseline

    con = fuseline.connect(threads=run.options.threads, memory_limit=limit)
    con.sql(f"CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{file}'")
    options = {"params": ["BIGINT"], "returns": "BIGINT"}

    def side(expression):
        def call(i, drop=True):
            total = 0
            for batch in con.sql(
                f"SELECT word, {expression.replace('count', chr(34) + 'count' + chr(34))} AS n{i} FROM t"
            ):
                if not drop:
                    total += sum_of(batch.column(1))
            return total

        return call

    yield "fuseline, SQL", side("count + 1")
    for kind in ("scalar", "numpy", "pandas"):
        con.udf(name=f"f_{kind}", kind=kind, compile="never", **options)(add_one)
        yield f"fuseline, {kind} function", side(f"f_{kind}(count)")
    try:
        con.udf(name="made", compile="require", **options)(add_one)
        call = side("made(count)")
        call(1_000_001)
    except Exception as error:
        run.results.missing("fuseline, compiled function", error)
        return
    profile = con.sql('SELECT made("count") AS y FROM t LIMIT 100000').profile()
    counts = profile["functions"].get("made")
    if counts is not None and counts.get("compiled_rows", 0) < counts.get("rows", 0):
        run.results.missing("fuseline, compiled function", "this fuseline calls it")
        return
    yield "fuseline, compiled function", call


def sum_of(column):
    import pyarrow.compute as pc

    return pc.sum(column).as_py() or 0


def duckdb_models(run, file, limit):
    """DuckDB's SQL and both kinds of its functions."""
    import duckdb
    import pyarrow.compute as pc

    con = duckdb.connect(
        config={
            "threads": run.options.threads,
            "memory_limit": f"{limit}B",
            "preserve_insertion_order": False,
        }
    )
    con.execute(f"CREATE VIEW t AS FROM read_parquet('{file}')")
    con.create_function("f_native", add_one, ["BIGINT"], "BIGINT", type="native")
    con.create_function("f_arrow", lambda x: pc.add(x, 1), ["BIGINT"], "BIGINT", type="arrow")

    def side(expression):
        def call(i, drop=True):
            total = 0
            for batch in con.sql(f"SELECT word, {expression} AS n{i} FROM t").to_arrow_reader(
                65_536
            ):
                if not drop:
                    total += sum_of(batch.column(1))
            return total

        return call

    yield "DuckDB, SQL", side('"count" + 1')
    yield "DuckDB, native function", side('f_native("count")')
    yield "DuckDB, Arrow function", side('f_arrow("count")')


def polars_models(run, file, limit):
    """Polars' streaming engine, which has no limit."""
    import polars as pl

    def call(i, drop=True):
        frame = pl.scan_parquet(file).select("word", (pl.col("count") + 1).alias(f"n{i}"))
        if not drop:
            return frame.select(pl.col(f"n{i}").sum()).collect(engine="streaming").item()
        frame.sink_parquet("/dev/null", compression="uncompressed")

    if not hasattr(pl.LazyFrame, "collect_batches"):
        run.results.missing("Polars", "this version streams no batches")
        return

    def stream(i, drop=True):
        if not drop:
            return call(i, drop)
        frame = pl.scan_parquet(file).select("word", (pl.col("count") + 1).alias(f"n{i}"))
        for batch in frame.collect_batches():
            del batch

    yield "Polars, expression", stream


def spark_models(run, file, limit):
    """PySpark's SQL and both kinds of its functions; the JVM's heap is 3 GB."""
    import pandas as pd
    from pyspark.sql import functions as F

    from ..engines import Spark

    engine = Spark(run.options.threads)
    frame = engine.session.read.parquet(str(file))

    def series(count: pd.Series) -> pd.Series:
        return count + 1

    def side(column):
        def call(i, drop=True):
            made = frame.select("word", column.alias(f"n{i}"))
            if not drop:
                return made.agg(F.sum(f"n{i}")).collect()[0][0]
            made.write.format("noop").mode("overwrite").save()

        return call

    yield "Spark, SQL", side(F.col("count") + 1)
    yield "PySpark, udf", side(F.udf(add_one, "long")("count"))
    yield "PySpark, pandas_udf", side(F.pandas_udf(series, "long")("count"))


PEERS = {"duckdb": duckdb_models, "polars": polars_models, "pyspark": spark_models}


def run(run):
    """The whole suite is one case."""
    rows = run.rows(8_000_000, 1_000_000)
    file = run.options.out.resolve() / "plus-one.parquet"
    try:
        over_file(run, rows, file)
    finally:
        file.unlink(missing_ok=True)


def over_file(run, rows, file):
    """All models over one file."""
    total = write(file, rows) + rows
    size = file.stat().st_size
    # Below some size no engine can hold its buffers.
    limit = max(32 << 20, min(LIMIT, size // 2))
    run.results.note(file_bytes=size, limit_bytes=limit)
    sides, grew = {}, {}
    models = list(fuseline_models(run, file, limit))
    for peer, make in PEERS.items():
        if not run.wants(peer):
            continue
        try:
            models += make(run, file, limit)
        except ImportError as error:
            run.results.missing(peer, error)
    case = f"count + 1, {rows:,} rows, {size >> 20} MB under {limit >> 20} MB"
    for label, side in run.progress([m for m in models if run.takes(m[0])]):
        got = side(1_000_002, drop=False)
        if got != total:
            run.results.differs(label, f"the sum is {got}, not {total}")
            continue
        before = reset_peak()
        side(1_000_003)
        grew[label] = peak() - before
        sides[label] = side
    for label, seconds in in_turns(
        sides, run.repeats(5), 4.0 if run.options.quick else 25.0
    ).items():
        spark = "park" in label
        run.results.add(
            case, {}, label, seconds, rows=rows, peak_bytes=None if spark else grew[label]
        )
