"""TPC-H: 22 queries over tables in memory, and over the same Parquet files.

Hypothesis: probes, filters, projections and aggregates of a query in one loop make up for what DuckDB's own
storage and its optimizer are ahead.

Axes: the 22 queries, form (in memory: fuseline, DataFusion and Polars over Arrow data, DuckDB over tables of
its own; Parquet), engine. The data is that of `tpchgen-cli`, made at first use. Before a query is timed all
engines must give the same answer; what an engine cannot run is named. The text of a query is the same in
every round, so plans may come from a cache; results may not, and no engine here keeps them.
"""

import os
import pathlib
import subprocess
import sys

from ..engines import PEERS, Fuseline, make
from ..measure import Differs, in_turns, same_cells

TABLES = ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"]


def generate(folder, scale):
    """One Parquet file a table; not again where they are."""
    files = {name: folder / f"{name}.parquet" for name in TABLES}
    if not all(file.exists() for file in files.values()):
        folder.mkdir(parents=True, exist_ok=True)
        command = pathlib.Path(sys.executable).with_name("tpchgen-cli")
        arguments = ["parquet", "--scale-factor", str(scale), "--output-dir", str(folder)]
        subprocess.run([str(command), *arguments], check=True, stdout=subprocess.DEVNULL)
    return {name: file.resolve() for name, file in files.items()}


def queries():
    """The texts by number."""
    root = os.environ.get("FUSELINE_SUITES")
    root = pathlib.Path(root) if root else pathlib.Path(__file__).parents[4] / "shared" / "suites"
    texts = {n: (root / "tpch" / "queries" / f"q{n:02}.sql").read_text() for n in range(1, 23)}
    return {n: text.strip().removesuffix(";") for n, text in texts.items()}


def compare(run, form, engines, texts, repeats, share):
    """All queries in one form."""
    for number in run.progress([f"Q{n}" for n in texts]):
        with run.case(f"{number}, {form}"):
            one(run, form, engines, number, texts[int(number[1:])], repeats, share)


def one(run, form, engines, number, sql, repeats, share):
    """A query: answers, then times."""
    able, right = [], None
    for engine in engines:
        try:
            answer = engine.run(sql)
        except Exception as error:
            if engine.name == "fuseline":
                raise
            why = f"{type(error).__name__}: {error}"
            run.results.missing(f"{engine.name} on {number}", why)
            continue
        if right is None:
            right = answer
        elif not same_cells(right, answer):
            if engine.name != "polars":
                raise Differs(f"{number}: {engines[0].name} and {engine.name} disagree")
            # Polars' SQL is young: an answer of its own is no reason to measure nobody.
            run.results.missing(f"polars on {number}", "gives another answer than the others")
            continue
        able.append(engine)
    sides = {e.name: lambda i, e=e, sql=sql: e.run(sql) for e in able}
    for engine, seconds in in_turns(sides, repeats, share).items():
        run.results.add(f"{number}, {form}", {"query": number, "form": form}, engine, seconds)


def run(run):
    """Both forms."""
    import pyarrow.parquet

    options = run.options
    scale = 0.1 if options.quick else 1
    folder = os.environ.get("FUSELINE_TPCH") if not options.quick else None
    files = generate(pathlib.Path(folder) if folder else options.out / f"tpch-{scale}", scale)
    try:
        texts = {n: text for n, text in queries().items() if run.takes(f"Q{n}")}
    except OSError as error:
        run.results.missing("all of TPC-H", f"the queries are not there: {error.strerror}")
        return
    repeats, share = run.repeats(5), 0.3 if options.quick else 1.5
    kinds = (Fuseline, *PEERS)
    tables = {name: pyarrow.parquet.read_table(file) for name, file in files.items()}
    engines = [e.tables(tables) for e in make(run, kinds, duckdb={"own_tables": True})]
    compare(run, "memory", engines, texts, repeats, share)
    del engines, tables
    engines = [e.parquet(files) for e in make(run, kinds)]
    compare(run, "Parquet", engines, texts, repeats, share)
