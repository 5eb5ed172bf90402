"""Results: every way out, lazily and again, and what it costs in memory."""

import datetime
import decimal
import gc
import subprocess
import sys
import textwrap
import types

import numpy as np
import pyarrow as pa
import pytest

import fuseline

pd = pytest.importorskip("pandas")


def test_result_is_an_arrow_stream(con):
    result = con.sql("SELECT value AS v FROM range(0, 100000) WHERE value % 2 = 0")
    reader = pa.RecordBatchReader.from_stream(result)
    assert reader.schema.names == ["v"]
    assert sum(batch.num_rows for batch in reader) == 50_000
    # And its schema can be asked for alone.
    assert pa.schema(result).names == ["v"]


def test_an_error_in_the_stream_reaches_its_reader(con):
    reader = pa.RecordBatchReader.from_stream(
        con.sql("SELECT 10 / (5 - value) AS q FROM range(0, 100000)")
    )
    with pytest.raises(Exception, match="(?i)divi"):
        reader.read_all()


def test_queries_are_lazy_and_commands_are_not(con):
    # Planned, not run: it would fail.
    late = con.sql("SELECT 1 / (value - value) FROM range(0, 3)")
    with pytest.raises(fuseline.ExecutionError, match="(?i)divi"):
        late.fetchall()
    con.sql("CREATE TABLE t AS SELECT value AS v FROM range(0, 3)")
    rows = con.sql("SELECT v FROM t ORDER BY v")
    assert rows.fetchall() == [(0,), (1,), (2,)]
    assert rows.fetchall() == [(0,), (1,), (2,)], "a result can be asked twice"


def test_copy_runs_once(con, tmp_path):
    path = tmp_path / "out.parquet"
    result = con.sql(f"COPY (SELECT value AS v FROM range(0, 10)) TO '{path}'")
    assert path.exists()
    path.unlink()
    assert result.fetchall() == [(10,)]
    assert not path.exists(), "asking for the count does not run the command again"


def test_fetchall_makes_python_values(con):
    utc = datetime.UTC
    moment = datetime.datetime(2024, 2, 29, 12, 30, 15, 123456)
    values = {
        "b": (pa.bool_(), True),
        "i": (pa.int8(), -5),
        "u": (pa.uint64(), 2**64 - 1),
        "f": (pa.float32(), 0.5),
        "d": (pa.decimal128(10, 2), decimal.Decimal("-12.30")),
        "s": (pa.string(), "é"),
        "ls": (pa.large_string(), "large"),
        "bin": (pa.binary(), b"\x00\xff"),
        "dict": (pa.dictionary(pa.int32(), pa.string()), "word"),
        "date": (pa.date32(), datetime.date(1969, 12, 31)),
        "time": (pa.time64("us"), datetime.time(23, 59, 58, 7)),
        "ts": (pa.timestamp("us"), moment),
        "ts_s": (pa.timestamp("s"), datetime.datetime(1960, 1, 1)),
        "tz": (pa.timestamp("ms", "UTC"), datetime.datetime(2024, 1, 1, 1, tzinfo=utc)),
        "dur": (pa.duration("us"), datetime.timedelta(days=-1, microseconds=5)),
        "list": (pa.list_(pa.int64()), [1, None, 3]),
        "struct": (pa.struct({"a": pa.int64(), "b": pa.string()}), {"a": 1, "b": None}),
    }
    table = pa.table(
        {name: pa.array([value, None], kind) for name, (kind, value) in values.items()}
    )
    con.register("t", table)
    rows = con.sql("SELECT * FROM t").fetchall()
    assert rows == [tuple(value for _, value in values.values()), (None,) * len(values)]
    assert [type(v) for v in rows[0]] == [type(value) for _, value in values.values()]


def test_fetchall_in_a_time_zone(con):
    zone = pa.timestamp("us", "Europe/Berlin")
    summer = datetime.datetime(2024, 7, 1, tzinfo=datetime.UTC)
    con.register("t", pa.table({"t": pa.array([summer], zone)}))
    (value,) = con.sql("SELECT t FROM t").fetchall()[0]
    assert value == summer
    assert value.utcoffset() == datetime.timedelta(hours=2)


def test_show_prints_a_table(con, capsys):
    con.sql("SELECT value AS v FROM range(0, 5) ORDER BY v").show(max_rows=2)
    out = capsys.readouterr().out
    assert out == " v\n───\n 0\n 1\n… 3 more rows\n(5 rows, 2 shown)\n"


def test_explain_marks_fused_operators():
    with fuseline.connect(threads=2, fusion="force") as con:
        plan = con.sql("SELECT value + 1 AS v FROM range(0, 1000) WHERE value % 3 = 0").explain()
    assert "*(1)" in plan, plan


def test_a_result_outlives_its_connection():
    con = fuseline.connect(threads=1)
    result = con.sql("SELECT value AS v FROM range(0, 3) ORDER BY v")
    reader = pa.RecordBatchReader.from_stream(con.sql("SELECT value AS v FROM range(0, 100000)"))
    con.close()
    del con
    gc.collect()
    assert result.fetchall() == [(0,), (1,), (2,)]
    assert reader.read_all().num_rows == 100_000


def test_rows_come_in_order(con):
    rows = 3_000_000
    con.register("t", {"v": np.arange(rows)})
    queries = {
        "SELECT v FROM t": np.arange(rows),
        "SELECT v * 2 AS v FROM t": np.arange(rows) * 2,
        "SELECT v FROM t WHERE v % 3 = 0": np.arange(0, rows, 3),
        f"SELECT value AS v FROM range(0, {rows}) WHERE value % 7 = 1": np.arange(1, rows, 7),
    }
    for sql, expected in queries.items():
        result = con.sql(sql)
        np.testing.assert_array_equal(result.to_numpy()["v"], expected, sql)
        np.testing.assert_array_equal(result.to_arrow()["v"].to_numpy(), expected, sql)
        batches = [batch.column(0).to_numpy() for batch in result]
        np.testing.assert_array_equal(np.concatenate(batches), expected, sql)
        assert result.to_pandas()["v"].is_monotonic_increasing, sql


def test_a_first_batch_comes_long_before_the_last(con):
    stream = iter(con.sql("SELECT value AS v FROM range(0, 1000000000000)"))
    assert next(stream).column(0)[0].as_py() == 0
    assert next(stream).num_rows > 0


def test_iteration_is_bounded_in_memory():
    code = """
        import resource, fuseline
        con = fuseline.connect(threads=2)
        peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        next(iter(con.sql("SELECT value AS v FROM range(0, 100000)")))
        before = peak()
        # 1.6 GB of numbers.
        sql = "SELECT value AS a, value * 2 AS b FROM range(0, 100000000) WHERE value >= 0"
        rows = sum(batch.num_rows for batch in con.sql(sql))
        assert rows == 100_000_000, rows
        print(peak() - before)
    """
    assert int(run_python(code)) < 400_000_000


def run_python(code):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("sql", ["SELECT * FROM t", "SELECT a, b, c, d, e + 1 AS e FROM t"])
@pytest.mark.parametrize("filtered", [False, True])
def test_to_pandas_holds_the_result_once(sql, filtered):
    """The peak above the source is the result, and not much more."""
    rows = 8_000_000
    code = f"""
        import numpy as np, pandas, pyarrow as pa, fuseline
        rows, size = {rows}, {rows // 30}
        batch = pa.RecordBatch.from_pydict({{c: np.random.rand(size) for c in "abcde"}})
        make = pa.RecordBatch.from_pydict
        copies = [make({{c: np.array(batch[c]) for c in "abcde"}}) for _ in range(30)]
        con = fuseline.connect(threads=2)
        con.register("t", pa.table({{"a": [1.0], "b": [1.0], "c": [1.0], "d": [1.0], "e": [1.0]}}))
        sql = "{sql}" + (" WHERE a >= 0" if {filtered} else "")
        con.sql(sql).to_pandas()
        con.register("t", pa.Table.from_batches(copies))
        def peak():
            return int(next(l for l in open("/proc/self/status") if "VmHWM" in l).split()[1]) * 1024
        def now():
            return int(next(l for l in open("/proc/self/status") if "VmRSS" in l).split()[1]) * 1024
        before = now()
        assert peak() < before * 1.05
        frame = con.sql(sql).to_pandas()
        assert len(frame) == size * 30
        bytes = sum(frame[c].to_numpy().nbytes for c in frame)
        print((peak() - before) / bytes)
    """
    # A small result, 320 MB here, has proportionally more beside it.
    assert float(run_python(code)) < 1.25


def test_numbers_are_not_copied_where_they_lie_in_one_piece(con):
    values = np.arange(1_000_000) * 0.5
    con.register("t", {"v": values, "k": np.arange(1_000_000)})
    result = con.sql("SELECT k, v FROM t")
    start = values.__array_interface__["data"][0]
    frame = result.to_pandas()
    for got in (result.to_numpy()["v"], frame["v"].to_numpy()):
        assert got.__array_interface__["data"][0] == start
        assert not got.flags.writeable, "it is the registered memory"
    # What a query computes is the caller's own.
    computed = con.sql("SELECT v + 1 AS v FROM t").to_pandas()
    assert computed["v"].to_numpy(copy=False)[3] == 2.5
    single = con.sql("SELECT v FROM t LIMIT 10").to_numpy()["v"]
    single[0] = 7
    assert values[0] == 0


def test_the_memory_of_a_result_lives_as_long_as_its_arrays():
    con = fuseline.connect(threads=2)
    array = con.sql("SELECT value * 1.5 AS v FROM range(0, 500000)").to_numpy()["v"]
    frame = con.sql("SELECT value AS v FROM range(0, 500000)").to_pandas()
    con.close()
    del con
    gc.collect()
    assert array[-1] == 499_999 * 1.5 and frame["v"].iloc[-1] == 499_999


NULLS = """
    SELECT value AS i, CASE WHEN value % 10 = {null} THEN NULL ELSE {value} END AS v
    FROM range(0, 300000)
"""


@pytest.mark.parametrize("kind", ["TINYINT", "INT", "BIGINT", "INT UNSIGNED", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("null", [-1, 3])
def test_numbers_and_nulls(con, kind, null):
    sql = NULLS.format(null=null, value=f"CAST(value % 100 AS {kind})")
    got = con.sql(sql).to_numpy()["v"]
    expected = con.sql(sql).to_arrow()["v"].to_numpy()
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)
    frame = con.sql(sql).to_pandas()
    pd.testing.assert_series_equal(frame["v"], con.sql(sql).to_arrow().to_pandas()["v"])


def test_other_types_and_nulls(con):
    sql = """
        SELECT value % 2 = 0 AS b,
               CASE WHEN value % 3 > 0 THEN value % 2 = 0 END AS bn,
               CASE WHEN value % 3 > 0 THEN to_timestamp_micros(value) END AS t,
               CASE WHEN value % 3 > 0 THEN CAST(value AS DATE) END AS d,
               CASE WHEN value % 3 > 0 THEN 'text ' || value END AS s,
               CAST(value AS DECIMAL(10, 2)) AS dec,
               make_array(value, value + 1) AS l
        FROM (SELECT CAST(value AS INT) AS value FROM range(0, 100000))
    """
    got = con.sql(sql).to_numpy()
    i = np.arange(100_000)
    has = i % 3 > 0
    np.testing.assert_array_equal(got["b"], i % 2 == 0)
    assert got["b"].dtype == bool
    expected = (i % 2 == 0).astype(object)
    expected[~has] = None
    np.testing.assert_array_equal(got["bn"], expected)
    for name, unit in (("t", "M8[us]"), ("d", "M8[D]")):
        times = i.astype(unit)
        times[~has] = "NaT"
        np.testing.assert_array_equal(got[name], times)
    assert got["d"].dtype == "M8[D]"
    assert got["s"][:3].tolist() == [None, "text 1", "text 2"]
    assert got["dec"][7] == decimal.Decimal("7.00")
    assert list(got["l"][5]) == [5, 6]
    frame = con.sql(sql).to_pandas()
    assert frame["b"].dtype == bool
    assert frame["t"].dtype == "datetime64[us]" and frame["t"].isna().sum() == 33_334
    assert frame["s"][1] == "text 1" and frame["s"].isna()[0]
    assert frame["d"][1] == datetime.date(1970, 1, 2)


def test_lists_of_a_fixed_size_with_nulls(con):
    lists = pa.array([[1.0, 2.0], None, [3.0, None]], pa.list_(pa.float64(), 2))
    whole = pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int32(), 2))
    con.register("t", pa.table({"f": lists, "i": whole}).slice(0, 3))
    got = con.sql("SELECT f, i FROM t").to_numpy()
    nan = np.nan
    np.testing.assert_array_equal(got["f"], [[1, 2], [nan, nan], [3, nan]])
    np.testing.assert_array_equal(got["i"], [[1, 2], [nan, nan], [3, 4]])
    sliced = con.sql("SELECT i FROM t OFFSET 2").to_numpy()["i"]
    assert sliced.tolist() == [[3, 4]] and sliced.dtype == np.int32


def test_two_columns_of_one_name(con):
    sql = "SELECT 1 AS a, 2 AS b, 3 AS c"
    assert list(con.sql(sql).to_pandas().columns) == ["a", "b", "c"]
    joined = "SELECT * FROM (SELECT 1 AS k) AS x JOIN (SELECT 1 AS k) AS y ON x.k = y.k"
    assert list(con.sql(joined).to_pandas().columns) == ["k", "k"]
    with pytest.raises(ValueError, match="'k' appears twice"):
        con.sql(joined).to_numpy()


def test_a_result_without_columns_or_rows(con):
    assert con.sql("SELECT 1 AS a WHERE false").to_numpy()["a"].dtype == np.int64
    assert con.sql("SELECT 'x' AS a WHERE false").to_pandas().shape == (0, 1)
    assert con.sql("CREATE TABLE empty (a INT, b VARCHAR)").fetchall() == []
    frame = con.sql("SELECT * FROM empty").to_pandas()
    assert list(frame.columns) == ["a", "b"] and len(frame) == 0
    assert sum(batch.num_rows for batch in con.sql("SELECT * FROM empty")) == 0
    assert con.sql("SELECT * FROM empty").fetchone() is None


def test_to_polars(con):
    pl = pytest.importorskip("polars")
    con.register("t", pa.table({"k": [1, 2, None], "s": ["a", None, "c"]}))
    frame = con.sql("SELECT k, s FROM t").to_polars()
    assert frame.to_dict(as_series=False) == {"k": [1, 2, None], "s": ["a", None, "c"]}
    assert con.sql("SELECT k FROM t WHERE k > 9").to_polars().schema == {"k": pl.Int64}


def test_to_torch(con):
    torch = pytest.importorskip("torch")
    tensors = con.sql("SELECT value AS i, value * 0.5 AS f FROM range(0, 100000)").to_torch()
    assert tensors["i"].dtype == torch.int64 and tensors["f"][3].item() == 1.5


def test_to_torch_hands_arrays_over(con, monkeypatch):
    torch = types.ModuleType("torch")
    torch.from_numpy = lambda array: ("tensor", array)
    monkeypatch.setitem(sys.modules, "torch", torch)
    values = np.arange(100_000.0)
    con.register("t", {"v": values})
    kind, array = con.sql("SELECT v FROM t").to_torch()["v"]
    assert kind == "tensor" and np.shares_memory(array, values)
    with pytest.raises(TypeError, match="'s'"):
        con.sql("SELECT v, 'text' AS s FROM t").to_torch()


def test_fetchone_is_a_cursor(con):
    result = con.sql("SELECT value AS v FROM range(0, 1000)")
    assert result.fetchone() == (0,)
    assert result.fetchone() == (1,)
    rest = result.fetchall()
    assert rest[0] == (2,) and len(rest) == 998
    assert len(result.fetchall()) == 1000
    rows = []
    while (row := result.fetchone()) is not None:
        rows.append(row)
    assert rows == [(i,) for i in range(1000)]
    assert result.fetchone() is None


def test_fetchone_reads_no_more_than_it_needs(con):
    assert con.sql("SELECT value AS v FROM range(0, 1000000000000)").fetchone() == (0,)


def test_schema_and_columns_run_nothing(con):
    result = con.sql("SELECT 1 / (value - value) AS q, 'x' AS s FROM range(0, 3)")
    assert result.columns == ["q", "s"]
    assert result.schema.names == ["q", "s"]
    assert result.schema.field("q").type == pa.int64()


def test_html(con):
    html = con.sql("SELECT '<b>&' AS \"a<\", value AS v FROM range(0, 100)")._repr_html_()
    assert html.count("<tr>") == 21
    assert "&lt;b&gt;&amp;" in html and "a&lt;" in html and "<b>" not in html
    assert "more" in html
    assert "<p>1 row</p>" in con.sql("SELECT 1")._repr_html_()


def test_profile():
    with fuseline.connect(threads=2, fusion="force") as con:
        con.register("t", {"v": np.arange(1_000_000)})
        figures = con.sql("SELECT v + 1 AS w FROM t WHERE v % 2 = $rest", rest=0).profile()
    assert figures["rows"] == 500_000
    (stage,) = figures["stages"]
    assert stage["id"] == 1
    assert (stage["rows_in"], stage["rows_out"]) == (1_000_000, 500_000)
    assert stage["seconds"] > 0 and stage["morsels"] > 1
    assert any("FilterExec" in operator for operator in stage["operators"])
    assert figures["run_seconds"] > 0 and figures["planning_seconds"] > 0
    assert figures["plan"]["operator"] == "FusedExec"
    assert figures["plan"]["metrics"]["output_rows"] == 500_000
    assert figures["plan"]["inputs"][0]["inputs"] == []
    assert figures["functions"] == {}


def test_profile_is_of_one_run(con):
    result = con.sql("SELECT value AS v FROM range(0, 1000) WHERE value > 10")
    assert [result.profile()["rows"] for _ in range(3)] == [989] * 3
    with pytest.raises(fuseline.SqlError, match="query"):
        con.sql("CREATE TABLE t AS SELECT 1 AS a").profile()


def test_write_parquet(con, tmp_path):
    from pyarrow import parquet

    path = tmp_path / "it's.parquet"
    result = con.sql("SELECT value AS v, 'x' AS s FROM range(0, $n); -- all of them", n=1000)
    assert result.write_parquet(path) == 1000
    assert parquet.read_table(path)["v"].to_pylist() == list(range(1000))
    assert result.write_parquet(str(path), compression="zstd(9)") == 1000
    assert parquet.ParquetFile(path).metadata.row_group(0).column(0).compression == "ZSTD"
    with pytest.raises(fuseline.Error, match="(?i)compression|nosuch"):
        result.write_parquet(path, compression="nosuch")
    assert parquet.read_table(path).num_rows == 1000, "the old file stays"
    failing = con.sql("SELECT 1 / (value - 500) AS q FROM range(0, 1000)")
    with pytest.raises(fuseline.ExecutionError):
        failing.write_parquet(tmp_path / "no.parquet")
    assert not (tmp_path / "no.parquet").exists()


def test_to_pandas_without_pyarrow():
    code = """
        import sys
        sys.modules["pyarrow"] = None
        import numpy as np, fuseline
        con = fuseline.connect(threads=1)
        con.register("t", {"v": np.arange(3), "b": np.array([True, False, True])})
        frame = con.sql("SELECT v * 2 AS w, b FROM t").to_pandas()
        assert frame["w"].tolist() == [0, 2, 4] and frame["b"].tolist() == [True, False, True]
        assert con.sql("SELECT v FROM t").fetchall() == [(0,), (1,), (2,)]
        for method in ("to_arrow", "to_pandas"):
            try:
                getattr(con.sql("SELECT 'x' AS s"), method)()
            except ImportError as error:
                assert "pip install pyarrow" in str(error), error
            else:
                raise AssertionError(method)
        print("fine")
    """
    assert run_python(code) == "fine\n"
