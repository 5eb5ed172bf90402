"""Runs the same SQL on fuseline, DuckDB, Polars and DataFusion over the same Arrow data in memory.

Hypothesis: a query compiled into one loop beats engines that pass vectors from operator to operator,
most where values are cheap to load and dear to pass on.

Axes: the queries below, filter, projection, aggregates, aggregates by group and joins over one table.
Machine: any; what is printed are ratios of medians taken in one run, the engines interleaved, so that a
machine that gets slower in between does so for all of them.

Before anything is timed all engines must give the same answer. Every repeat changes a constant in the
query, so that no engine can answer from a cache. Every engine hands its result over as an Arrow table:
one that keeps lazy or chunked results pays for no less than the others.

    python benches/peers.py                       # 20 M rows, 2 threads
    python benches/peers.py --rows 2000000 --repeats 5
    python benches/peers.py --spark               # the range queries, against PySpark (needs Java)
"""

import argparse
import gc
import json
import math
import os
import statistics
import sys
import time

# Each query is a function of the repeat; the constant that varies leaves the share of rows that pass
# as it is.
QUERIES = {
    "q6: filter + sum(a*d)": lambda i: (
        "SELECT sum(a * d) AS s FROM t "
        f"WHERE d >= 0.05 AND d <= 0.07 AND q < 24 AND k >= {100 + i} AND k < {60100 + i}"
    ),
    "filter + project 25 %": lambda i: f"SELECT k, a FROM t WHERE k < {62500 + i}",
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
    "count where k % 2 = 1": lambda i: f"SELECT count(*) AS n FROM t WHERE (k + {2 * i}) % 2 = 1",
}

RANGE_ROWS = 1_000_000_000

# {id} is the column that the engine's range() has.
RANGE_QUERIES = {
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


def make_tables(rows):
    """Columns as an analyst has them: a small int domain, prices, a discount, a quantity; and what
    they are joined with."""
    import numpy as np
    import pyarrow as pa

    random = np.random.default_rng(20240229)
    groups = random.integers(0, 5_000_000, rows, dtype=np.int64)
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
    return {"t": facts, "d500": dimension(500), "d5m": dimension(5_000_000)}


class Fuseline:
    name = "fuseline"

    def __init__(self, tables, threads):
        import fuseline

        self.connection = fuseline.connect(threads=threads)
        for name, table in tables.items():
            self.connection.register(name, table)

    def run(self, sql):
        return self.connection.sql(sql).to_arrow()


class DuckDB:
    name = "duckdb"

    def __init__(self, tables, threads):
        import duckdb

        self.connection = duckdb.connect(config={"threads": threads})
        for name, table in tables.items():
            self.connection.register(name, table)

    def run(self, sql):
        # Its fastest way to a whole Arrow table; a stream would be produced by one thread.
        return self.connection.sql(sql).to_arrow_table()


class Polars:
    name = "polars"

    def __init__(self, tables, threads):
        # The size of its pool is fixed when it is imported; see `main`.
        import polars

        frames = {name: polars.from_arrow(table) for name, table in tables.items()}
        self.context = polars.SQLContext(frames, eager=True)

    def run(self, sql):
        return self.context.execute(sql).to_arrow()


class DataFusion:
    name = "datafusion"

    def __init__(self, tables, threads):
        import datafusion

        config = datafusion.SessionConfig().with_target_partitions(threads)
        self.context = datafusion.SessionContext(config)
        for name, table in tables.items():
            # As many partitions as threads: it reads the batches of one partition one after the other.
            size = math.ceil(table.num_rows / threads)
            parts = [
                table.slice(start, size).combine_chunks().to_batches(max_chunksize=8192)
                for start in range(0, table.num_rows, size)
            ]
            self.context.register_record_batches(name, parts)

    def run(self, sql):
        return self.context.sql(sql).to_arrow_table()


class Spark:
    name = "spark"

    def __init__(self, tables, threads):
        from pyspark.sql import SparkSession

        self.session = (
            SparkSession.builder.master(f"local[{threads}]")
            .config("spark.ui.enabled", "false")
            .config("spark.sql.codegen.wholeStage", "true")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.host", "127.0.0.1")
            .getOrCreate()
        )
        self.session.sparkContext.setLogLevel("ERROR")

    def run(self, sql):
        import pyarrow as pa

        rows = self.session.sql(sql).collect()
        return pa.Table.from_pylist([row.asDict() for row in rows])


def same(left, right):
    """Whether two answers agree: the same rows in any order, floats to a part in 10^9."""
    import numpy as np

    if left.num_rows != right.num_rows or left.num_columns != right.num_columns:
        return False

    def matrix(table):
        columns = []
        for column in table.columns:
            values = column.to_numpy()
            if values.dtype == object:
                # Equal sets of strings have equal numbers in their order.
                values = np.unique(values.astype(str), return_inverse=True)[1]
            columns.append(np.asarray(values, dtype=np.float64))
        # All columns decide the order, so equal multisets of rows come out equal.
        order = np.lexsort(columns[::-1])
        return [column[order] for column in columns]

    return all(
        np.allclose(a, b, rtol=1e-9, atol=1e-9, equal_nan=True)
        for a, b in zip(matrix(left), matrix(right))
    )


def check(name, engines, sqls):
    """Ends the run when two engines disagree on a query."""
    first = engines[0].run(sqls[0])
    for engine, sql in zip(engines[1:], sqls[1:]):
        answer = engine.run(sql)
        if not same(first, answer):
            sys.exit(
                f"{name}: {engines[0].name} and {engine.name} disagree:\n"
                f"{first.slice(0, 5).to_pydict()}\n{answer.slice(0, 5).to_pydict()}"
            )


def measure(engines, sqls_of, repeats):
    """Median seconds of each engine; the engines take turns, and each goes first in its turn."""
    times = {engine.name: [] for engine in engines}
    for repeat in range(1, repeats + 1):
        sqls = dict(zip((engine.name for engine in engines), sqls_of(repeat)))
        start = repeat % len(engines)
        for engine in engines[start:] + engines[:start]:
            gc.collect()
            begin = time.perf_counter()
            result = engine.run(sqls[engine.name])
            times[engine.name].append(time.perf_counter() - begin)
            del result
    return {name: statistics.median(values) for name, values in times.items()}


def report(name, medians, rows):
    """Prints a line: nanoseconds a row for each engine, and the ratio that counts."""
    own = medians["fuseline"]
    peers = {peer: seconds for peer, seconds in medians.items() if peer != "fuseline"}
    best = min(peers, key=peers.get)
    cells = "  ".join(f"{peer} {seconds / rows * 1e9:6.3f}" for peer, seconds in medians.items())
    print(f"{name:24} {cells}   fuseline / best ({best}) = {own / peers[best]:.2f}", flush=True)
    return {
        "query": name,
        "seconds": medians,
        "best_peer": best,
        "ratio": own / peers[best],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", help="run the queries whose name contains this")
    parser.add_argument("--spark", action="store_true", help="the range queries, against Spark")
    parser.add_argument("--json", help="also write the figures to this file")
    options = parser.parse_args()
    # Read when Polars is imported.
    os.environ["POLARS_MAX_THREADS"] = str(options.threads)

    results = []
    if options.spark:
        engines = [kind({}, options.threads) for kind in (Fuseline, Spark)]
        engines[0].connection.sql("SET datafusion.optimizer.enable_dynamic_filter_pushdown = false")
        print(f"{RANGE_ROWS} rows, {options.threads} threads, ns per row", flush=True)
        for name, query in RANGE_QUERIES.items():
            if options.only and options.only not in name:
                continue

            def queries(i, query=query):
                return [query.format(id=id, rows=RANGE_ROWS + i) for id in ("value", "id")]

            check(name, engines, queries(0))
            medians = measure(engines, queries, options.repeats)
            results.append(report(name, medians, RANGE_ROWS))
    else:
        tables = make_tables(options.rows)
        engines = [kind(tables, options.threads) for kind in (Fuseline, DuckDB, Polars, DataFusion)]
        print(f"{options.rows} rows, {options.threads} threads, ns per row", flush=True)
        for name, query in QUERIES.items():
            if options.only and options.only not in name:
                continue

            def queries(i, query=query):
                return [query(i)] * len(engines)

            check(name, engines, queries(0))
            medians = measure(engines, queries, options.repeats)
            results.append(report(name, medians, options.rows))
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
