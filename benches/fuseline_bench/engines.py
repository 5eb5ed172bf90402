"""fuseline and its peers behind one interface: tables in, SQL in, an Arrow table out.

Every engine hands its result over as a whole Arrow table, by its fastest way to one, so one that keeps lazy or
chunked results pays for no less than the others. An engine that is not installed raises `ImportError` when it
is made; who measures notes it as missing.
"""

import math
import os
import shutil
import sys


class Fuseline:
    """This project."""

    name = "fuseline"
    range_column = "value"

    def __init__(self, threads, **options):
        import fuseline

        self.connection = fuseline.connect(threads=threads, **options)

    def tables(self, tables):
        for name, table in tables.items():
            self.connection.register(name, table)
        return self

    def parquet(self, files):
        for name, file in files.items():
            self.connection.sql(f"CREATE EXTERNAL TABLE {name} STORED AS PARQUET LOCATION '{file}'")
        return self

    def run(self, sql):
        return self.connection.sql(sql).to_arrow()


class DuckDB:
    """DuckDB over Arrow tables, or over tables of its own."""

    name = "duckdb"

    def __init__(self, threads, own_tables=False, **config):
        import duckdb

        self.connection = duckdb.connect(config={"threads": threads, **config})
        self._own = own_tables

    def tables(self, tables):
        for name, table in tables.items():
            self.connection.register(f"{name}_" if self._own else name, table)
            if self._own:
                self.connection.execute(f"CREATE TABLE {name} AS FROM {name}_")
                self.connection.unregister(f"{name}_")
        return self

    def parquet(self, files):
        for name, file in files.items():
            self.connection.execute(f"CREATE VIEW {name} AS FROM read_parquet('{file}')")
        return self

    def run(self, sql):
        return self.connection.sql(sql).to_arrow_table()


class Polars:
    """Polars' SQL; the size of its pool is fixed when it is imported."""

    name = "polars"

    def __init__(self, threads):
        os.environ.setdefault("POLARS_MAX_THREADS", str(threads))
        import polars

        if polars.thread_pool_size() != threads:
            raise ImportError(f"polars runs with {polars.thread_pool_size()} threads already")
        self.context = None

    def tables(self, tables):
        import polars

        frames = {name: polars.from_arrow(table) for name, table in tables.items()}
        self.context = polars.SQLContext(frames, eager=True)
        return self

    def parquet(self, files):
        import polars

        frames = {name: polars.scan_parquet(str(file)) for name, file in files.items()}
        self.context = polars.SQLContext(frames, eager=True)
        return self

    def run(self, sql):
        return self.context.execute(sql).to_arrow()


class DataFusion:
    """The engine that fuseline is built on, as its own package."""

    name = "datafusion"

    def __init__(self, threads):
        import datafusion

        config = datafusion.SessionConfig().with_target_partitions(threads)
        self.context = datafusion.SessionContext(config)
        self._threads = threads

    def tables(self, tables):
        for name, table in tables.items():
            # As many partitions as threads: it reads the batches of one partition one after the other.
            size = max(1, math.ceil(table.num_rows / self._threads))
            parts = [
                table.slice(start, size).combine_chunks().to_batches(max_chunksize=8192)
                for start in range(0, table.num_rows, size)
            ]
            self.context.register_record_batches(name, parts)
        return self

    def parquet(self, files):
        for name, file in files.items():
            self.context.register_parquet(name, str(file))
        return self

    def run(self, sql):
        return self.context.sql(sql).to_arrow_table()


class Spark:
    """Spark in local mode, with or without whole-stage code generation."""

    name = "spark"
    range_column = "id"

    def __init__(self, threads, memory="3g"):
        if not shutil.which("java") and "JAVA_HOME" not in os.environ:
            raise ImportError("there is no Java")
        from pyspark.sql import SparkSession

        # Its workers are the Python that this is.
        os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable

        self.session = (
            SparkSession.builder.master(f"local[{threads}]")
            .config("spark.ui.enabled", "false")
            .config("spark.ui.showConsoleProgress", "false")
            .config("spark.driver.memory", memory)
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.sql.shuffle.partitions", str(threads))
            .config("spark.sql.execution.arrow.pyspark.enabled", "true")
            .getOrCreate()
        )
        self.session.sparkContext.setLogLevel("ERROR")

    def whole_stage(self, on):
        self.session.conf.set("spark.sql.codegen.wholeStage", "true" if on else "false")

    def run(self, sql):
        import pyarrow as pa

        rows = self.session.sql(sql).collect()
        return pa.Table.from_pylist([row.asDict() for row in rows])

    def stop(self):
        self.session.stop()


PEERS = (DuckDB, Polars, DataFusion)


def make(run, kinds, *, required=(Fuseline,), **options):
    """The engines of these kinds that are asked for and installed; the others are noted as missing."""
    made = []
    for kind in kinds:
        if kind not in required and not run.wants(kind.name):
            continue
        try:
            made.append(kind(run.options.threads, **options.get(kind.name, {})))
        except ImportError as error:
            if kind in required:
                raise
            run.results.missing(kind.name, error)
    return made
