"""Every model and every engine of the suites with peers gives the same rows, at a small size.

The suites themselves compare answers before they time anything; here they run over few rows, and an engine
that is installed and differs fails the test. What is not installed is named and not tested.
"""

import importlib.util
import json
import shutil

import pytest
from fuseline_bench import __main__ as driver, engines

HAS = {
    "duckdb": importlib.util.find_spec("duckdb"),
    "polars": importlib.util.find_spec("polars"),
    "datafusion": importlib.util.find_spec("datafusion"),
    "numba": importlib.util.find_spec("numba"),
    "spark": importlib.util.find_spec("pyspark") and shutil.which("java"),
}


def run(suite, out, *options):
    """A suite's results."""
    driver.main([suite, "--quick", "--repeat", "1", "--threads", "2", "--out", str(out), *options])
    found = json.loads((out / f"{suite}.json").read_text())
    assert found["complete"]
    assert found["differs"] == []
    assert found["cells"]
    return found


def of(found, case):
    return {c["engine"] for c in found["cells"] if case in c["case"]}


def there(**names):
    """The names whose peer is installed."""
    return {name for peer, some in names.items() if HAS[peer] for name in some}


def test_udf_models(tmp_path):
    found = run("udf-models", tmp_path, "--rows", "20000")
    ours = {
        "worker, socket, pickled rows",
        "worker, socket, Arrow by hand",
        "worker, socket, Arrow stream",
        "worker, shared memory",
        "in process, row",
        "in process, numpy",
        "in process, arrow",
        "in process, pandas",
        "the same as SQL",
        "bare numpy",
    }
    peers = there(
        duckdb=["DuckDB native UDF", "DuckDB Arrow UDF"],
        polars=["Polars map_batches", "Polars map_elements"],
        datafusion=["DataFusion UDF"],
        numba=["numba"],
        spark=["PySpark udf", "PySpark pandas_udf"],
    )
    for function in ("x,", "x + 1,", "sin * cos,", "sqrt(abs(...)),"):
        missing = (ours | peers) - of(found, function)
        assert not missing, function
    # Compiled functions are measured, or it is said why not.
    named = [m["what"] for m in found["missing"]]
    for function in ("x", "x + 1", "sin * cos", "sqrt(abs(...))"):
        compiled = "compiled into the loop" in of(found, f"{function}, ")
        assert compiled or f"compiled into the loop: {function}" in named
    parts = {c["engine"]: c["parts"] for c in found["cells"] if "parts" in c}
    assert set(parts["worker, socket, pickled rows"]) >= {"serialize", "send", "receive", "call"}
    assert all(sum(p.values()) > 0 for p in parts.values())


def test_plus_one(tmp_path):
    found = run("plus-one", tmp_path, "--rows", "300000")
    expected = {f"fuseline, {kind}" for kind in ("SQL", "scalar function", "pandas function")}
    expected |= there(
        duckdb=["DuckDB, SQL", "DuckDB, native function", "DuckDB, Arrow function"],
        spark=["Spark, SQL", "PySpark, udf", "PySpark, pandas_udf"],
    )
    assert expected <= of(found, "count + 1")


def test_primitives(tmp_path):
    found = run("primitives", tmp_path, "--rows", "30000")
    expected = {"fuseline"} | there(duckdb=["duckdb"], polars=["polars"], datafusion=["datafusion"])
    for case in (
        "Q6",
        "sort",
        "group by 5 M",
        "100,000 strings",
        "join with 500",
        "Parquet decode",
    ):
        assert expected <= of(found, case), case
    assert {"fuseline"} | there(spark=["spark", "spark, no whole-stage"]) <= of(found, "range: sum")


def test_frames(tmp_path):
    # Each combination is a process of its own; those of pandas stand for all, and the run itself checks the others.
    found = run("frames", tmp_path, "--rows", "20000", "--only", "pandas")
    expected = {"fuseline"} | there(duckdb=["duckdb"], polars=["polars"])
    for way in ("to pandas", "from pandas"):
        assert expected <= of(found, way), way


def tpch(out, only):
    found = run("tpch", out, "--only", only)
    if found["missing"] and "all of TPC-H" in found["missing"][0]["what"]:
        pytest.skip("the queries are not there")
    return found


@pytest.mark.parametrize("query", ["Q3", "Q9", "Q14", "Q17", "Q20", "Q21"])
def test_tpch(tmp_path, query):
    # Joins, groups and subqueries; tests/tpch.rs runs all 22.
    expected = {"fuseline"} | there(duckdb=["duckdb"], datafusion=["datafusion"])
    assert expected <= of(tpch(tmp_path, query), f"{query},")


def test_an_engine_that_differs_fails_the_run(tmp_path, monkeypatch):
    right = engines.Fuseline.run
    monkeypatch.setattr(engines.Fuseline, "run", lambda self, sql: right(self, sql).slice(1))
    with pytest.raises(SystemExit, match="answers differ"):
        run("tpch", tmp_path, "--only", "Q1", "--peers", "duckdb")
    found = json.loads((tmp_path / "tpch.json").read_text())
    assert found["differs"]
    assert found["cells"] == []


def test_peers_that_are_not_asked_for_are_named(tmp_path):
    found = run("plus-one", tmp_path, "--rows", "50000", "--peers", "none")
    assert {"duckdb", "polars", "pyspark"} <= {m["what"] for m in found["missing"]}
    assert all(c["engine"].startswith("fuseline") for c in found["cells"])


def test_interrupted_runs_keep_what_they_had(tmp_path, monkeypatch):
    from fuseline_bench.suites import tpch

    right = tpch.one

    def one(run, form, engines, number, *rest):
        if number == "Q11":
            raise KeyboardInterrupt
        right(run, form, engines, number, *rest)

    monkeypatch.setattr(tpch, "one", one)
    with pytest.raises(KeyboardInterrupt):
        run("tpch", tmp_path, "--only", "Q1", "--peers", "none")
    found = json.loads((tmp_path / "tpch.json").read_text())
    assert not found["complete"]
    assert of(found, "Q1,") == of(found, "Q10,") == {"fuseline"}
