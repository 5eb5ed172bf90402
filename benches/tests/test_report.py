"""The report: verdicts say who has won, losses are there, plots read in both schemes, nothing is loaded."""

import json
import xml.dom.minidom

import pytest
from fuseline_bench import report, verdicts


def suite(name, cells, **more):
    return {
        "suite": name,
        "complete": True,
        "options": "--quick",
        "machine": {"processor": "a processor", "cores": 2},
        "versions": {"fuseline": "0.1.0"},
        "missing": [{"what": "spark", "why": "there is no Java"}],
        "differs": [],
        "cells": cells,
        **more,
    }


def cell(case, engine, seconds, **axes):
    return {"case": case, "engine": engine, "seconds": seconds, "axes": axes, "rows": 1000}


STEADY = [1.0, 1.01, 0.99, 1.0, 1.02]


def test_verdicts():
    cells = []
    for case, factor in (("lost", 2.0), ("even", 1.0), ("won", 0.5)):
        cells.append(cell(case, "fuseline", [factor * s for s in STEADY], threads=1))
        cells.append(cell(case, "duckdb", STEADY, threads=1))
        cells.append(cell(case, "polars", [9.0] * 5, threads=1))
    found = verdicts.of(suite("primitives", cells))
    assert [(v.case, v.word, v.peer) for v in found] == [
        ("lost", "lost", "duckdb"),
        ("even", "even", "duckdb"),
        ("won", "won", "duckdb"),
    ]
    assert found[0].ratio == pytest.approx(2.0)


def test_few_rounds_decide_nothing_close():
    cells = [cell("c", "fuseline", [1.2], threads=1), cell("c", "duckdb", [1.0], threads=1)]
    assert verdicts.of(suite("primitives", cells))[0].word == "even"


def test_like_is_compared_with_like():
    cells = [
        cell("c", "in process, row", STEADY),
        cell("c", "DuckDB Arrow UDF", [0.1] * 5),
        cell("c", "DuckDB native UDF", [2.0] * 5),
    ]
    (found,) = verdicts.of(suite("udf-models", cells))
    assert (found.peer, found.word) == ("DuckDB native UDF", "won")


def test_the_report(tmp_path):
    cells = []
    for query, ours in (("Q1", 2.0), ("Q2", 0.5)):
        for engine, factor in (("fuseline", ours), ("duckdb", 1.0)):
            times = [factor * s for s in STEADY]
            cells.append(cell(f"{query}, memory", engine, times, query=query, form="memory"))
    wrong = [{"case": "Q3, memory", "what": "fuseline and duckdb disagree"}]
    (tmp_path / "tpch.json").write_text(json.dumps(suite("tpch", cells, differs=wrong)))
    report.write(tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "Where fuseline loses (1)" in text
    assert "Where fuseline wins (1)" in text
    assert text.index("Where fuseline loses") < text.index("Where fuseline wins")
    assert "Wrong answers (1)" in text
    assert "there is no Java" in text
    assert 'make bench SUITE=tpch ARGS="--quick"' in text
    assert "Not measured: fusion" in text
    page = (tmp_path / "report.html").read_text()
    # It stands alone.
    assert "<svg" in page
    for outside in ("src=", 'href="http', "@import", "<script"):
        assert outside not in page
    for name in ("verdicts", "tpch-memory"):
        svg = (tmp_path / "plots" / f"{name}.svg").read_text()
        xml.dom.minidom.parseString(svg)
        assert "prefers-color-scheme:dark" in svg
        assert "@media print" in svg
        assert f"plots/{name}.svg" in text


def test_without_results_there_is_no_report(tmp_path):
    with pytest.raises(SystemExit, match="no results"):
        report.write(tmp_path)
