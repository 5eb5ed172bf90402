"""Runs TPC-H on fuseline, DuckDB and DataFusion: over tables in memory, and over the same Parquet files.

Hypothesis: probes, filters, projections and aggregates of a query in one loop make up for what DuckDB's own
storage and its optimizer are ahead.

Axes: the 22 queries, in memory (fuseline and DataFusion over record batches, DuckDB over tables of its own) and
over Parquet. Machine: any; what counts are ratios of medians taken in one run, the engines interleaved.

Before anything is timed all engines must give the same answer. The data is that of `tpchgen-cli`, made at first
use; the queries are read from $FUSELINE_SUITES/tpch/queries.

    python benches/tpch.py --data tpch-1           # scale 1, 2 threads, in memory and over Parquet
    python benches/tpch.py --data tpch-1 --only 3,18 --form memory
"""

import argparse
import gc
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time

TABLES = ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"]


def generate(folder, scale):
    """One Parquet file a table; not again where they are."""
    if all((folder / f"{name}.parquet").exists() for name in TABLES):
        return
    folder.mkdir(parents=True, exist_ok=True)
    command = pathlib.Path(sys.executable).with_name("tpchgen-cli")
    arguments = ["parquet", "--scale-factor", str(scale), "--output-dir", str(folder)]
    subprocess.run([str(command), *arguments], check=True)


def queries(only):
    root = os.environ.get("FUSELINE_SUITES")
    root = pathlib.Path(root) if root else pathlib.Path(__file__).parents[2] / "shared" / "suites"
    numbers = range(1, 23) if not only else [int(n) for n in only.split(",")]
    texts = {n: (root / "tpch" / "queries" / f"q{n:02}.sql").read_text() for n in numbers}
    return {n: text.strip().removesuffix(";") for n, text in texts.items()}


class Fuseline:
    name = "fuseline"

    def __init__(self, files, threads):
        import fuseline

        self.connection = fuseline.connect(threads=threads)
        self.files = files

    def in_memory(self, tables):
        for name, table in tables.items():
            self.connection.register(name, table)
        return self

    def over_parquet(self):
        for name, file in self.files.items():
            self.connection.sql(f"CREATE EXTERNAL TABLE {name} STORED AS PARQUET LOCATION '{file}'")
        return self

    def run(self, sql):
        return self.connection.sql(sql).to_arrow()


class DuckDB:
    name = "duckdb"

    def __init__(self, files, threads):
        import duckdb

        self.connection = duckdb.connect(config={"threads": threads})
        self.files = files

    def in_memory(self, tables):
        for name, file in self.files.items():
            self.connection.execute(f"CREATE TABLE {name} AS FROM read_parquet('{file}')")
        return self

    def over_parquet(self):
        for name, file in self.files.items():
            self.connection.execute(f"CREATE VIEW {name} AS FROM read_parquet('{file}')")
        return self

    def run(self, sql):
        return self.connection.sql(sql).to_arrow_table()


class DataFusion:
    name = "datafusion"

    def __init__(self, files, threads):
        import datafusion

        config = datafusion.SessionConfig().with_target_partitions(threads)
        self.context = datafusion.SessionContext(config)
        self.threads = threads
        self.files = files

    def in_memory(self, tables):
        for name, table in tables.items():
            size = max(1, math.ceil(table.num_rows / self.threads))
            parts = [
                table.slice(start, size).combine_chunks().to_batches(max_chunksize=8192)
                for start in range(0, table.num_rows, size)
            ]
            self.context.register_record_batches(name, parts)
        return self

    def over_parquet(self):
        for name, file in self.files.items():
            self.context.register_parquet(name, str(file))
        return self

    def run(self, sql):
        return self.context.sql(sql).to_arrow_table()


def cells(table):
    """Rows of texts and of floats, sorted by the texts, then by the floats."""
    import pyarrow as pa

    columns = []
    for column in table.columns:
        kind = column.type
        if pa.types.is_decimal(kind) or pa.types.is_floating(kind) or pa.types.is_integer(kind):
            columns.append([None if v is None else float(v) for v in column.to_pylist()])
        else:
            # A date may come as a timestamp.
            length = 10 if pa.types.is_temporal(kind) else None
            columns.append([None if v is None else str(v)[:length] for v in column.to_pylist()])

    def order(row):
        exact = [str(v) for v in row if not isinstance(v, float)]
        return exact, [v for v in row if isinstance(v, float)]

    return sorted(zip(*columns), key=order)


def close(a, b):
    """Engines give averages of decimals other types, of other scales."""
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-2)
    return a == b


def same(left, right):
    left, right = cells(left), cells(right)
    if len(left) != len(right):
        return False
    return all(all(map(close, a, b)) and len(a) == len(b) for a, b in zip(left, right))


def measure(engines, sql, repeats):
    """Median seconds of each engine; they take turns, and each goes first in its turn."""
    times = {engine.name: [] for engine in engines}
    for repeat in range(repeats):
        start = repeat % len(engines)
        for engine in engines[start:] + engines[:start]:
            gc.collect()
            begin = time.perf_counter()
            result = engine.run(sql)
            times[engine.name].append(time.perf_counter() - begin)
            del result
    return {name: statistics.median(values) for name, values in times.items()}


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def compare(form, engines, texts, repeats):
    """Prints a line a query; gives the medians."""
    names = "  ".join(f"{engine.name:>10}" for engine in engines)
    print(f"\n{form}, ms\nquery  {names}   fuseline / duckdb", flush=True)
    results = {}
    for number, sql in texts.items():
        first = engines[0].run(sql)
        for engine in engines[1:]:
            if not same(first, engine.run(sql)):
                sys.exit(f"Q{number}: {engines[0].name} and {engine.name} disagree")
        medians = measure(engines, sql, repeats)
        results[number] = medians
        figures = "  ".join(f"{medians[engine.name] * 1e3:10.1f}" for engine in engines)
        print(f"Q{number:<5} {figures}   {medians['fuseline'] / medians['duckdb']:.2f}", flush=True)
    means = {e.name: geometric_mean([m[e.name] for m in results.values()]) for e in engines}
    figures = "  ".join(f"{means[engine.name] * 1e3:10.1f}" for engine in engines)
    print(f"mean   {figures}   {means['fuseline'] / means['duckdb']:.2f}", flush=True)
    slowest = sorted(results, key=lambda n: -results[n]["fuseline"] / results[n]["duckdb"])[:5]
    print(f"slowest relative to duckdb: {', '.join(f'Q{n}' for n in slowest)}", flush=True)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=pathlib.Path, required=True, help="the folder of the Parquet files"
    )
    parser.add_argument("--scale", type=float, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", help="numbers of queries, with commas")
    parser.add_argument("--form", choices=["memory", "parquet", "both"], default="both")
    parser.add_argument("--json", help="also write the figures to this file")
    options = parser.parse_args()
    generate(options.data, options.scale)
    files = {name: (options.data / f"{name}.parquet").resolve() for name in TABLES}
    texts = queries(options.only)
    kinds = (Fuseline, DuckDB, DataFusion)
    results = {}
    if options.form != "parquet":
        import pyarrow.parquet

        tables = {name: pyarrow.parquet.read_table(file) for name, file in files.items()}
        engines = [kind(files, options.threads).in_memory(tables) for kind in kinds]
        results["memory"] = compare("in memory", engines, texts, options.repeats)
        del engines, tables
    if options.form != "memory":
        engines = [kind(files, options.threads).over_parquet() for kind in kinds]
        results["parquet"] = compare("over Parquet", engines, texts, options.repeats)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
