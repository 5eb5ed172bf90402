"""Tables from Python: registered, or named in FROM."""

import datetime
import gc
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

import fuseline

pd = pytest.importorskip("pandas")


def test_register_and_to_arrow(con):
    table = pa.table({"k": [1, 2, 3, None], "s": ["a", "b", None, "d"], "x": [1.5, 2.5, 3.5, 4.5]})
    con.register("t", table)
    result = con.sql("SELECT k + 1 AS k1, s, x * 2 AS y FROM t WHERE x > 2 ORDER BY x")
    assert result.columns == ["k1", "s", "y"]
    assert result.to_arrow().to_pydict() == {
        "k1": [3, 4, None],
        "s": ["b", None, "d"],
        "y": [5.0, 7.0, 9.0],
    }


def test_register_does_not_copy(con):
    column = pa.array(range(1_000_000), pa.int64())
    before = pa.total_allocated_bytes()
    con.register("t", pa.table({"v": column}))
    assert con.sql("SELECT sum(v) AS s FROM t").fetchall() == [(499999500000,)]
    # A few hundred bytes describe the table; the column is 8 MB.
    assert pa.total_allocated_bytes() < before + 10_000
    # An unfiltered column comes back in the memory it was given in.
    back = con.sql("SELECT v FROM t").to_arrow().column("v")
    start = column.buffers()[1].address
    for chunk in back.chunks:
        inside = start <= chunk.buffers()[1].address < start + column.nbytes
        assert inside, "the values were copied"


def test_registered_memory_is_released(con):
    before = pa.total_allocated_bytes()
    table = pa.table({"v": pa.array(range(100_000), pa.int64())})
    con.register("t", table)
    del table
    gc.collect()
    assert pa.total_allocated_bytes() > before, "the connection keeps what it was given"
    con.sql("DROP TABLE t")
    con.sql("SELECT 1").fetchall()
    gc.collect()
    assert pa.total_allocated_bytes() == before


def test_register_again_replaces(con):
    con.register("t", pa.table({"v": [1]}))
    con.register("t", pa.table({"w": [2, 3]}))
    assert con.sql("SELECT w FROM t ORDER BY w").fetchall() == [(2,), (3,)]


def test_register_takes_whatever_offers_arrow(con):
    batch = pa.RecordBatch.from_pydict({"v": [1, 2, 3]})
    con.register("a_batch", batch)
    con.register("a_reader", pa.RecordBatchReader.from_batches(batch.schema, [batch, batch]))
    con.register("a_slice", pa.table({"v": list(range(10))}).slice(5, 3))
    assert con.sql("SELECT sum(v) FROM a_batch").fetchall() == [(6,)]
    assert con.sql("SELECT sum(v) FROM a_reader").fetchall() == [(12,)]
    assert con.sql("SELECT sum(v) FROM a_slice").fetchall() == [(18,)]
    with pytest.raises(TypeError, match="list"):
        con.register("wrong", [1, 2, 3])
    with pytest.raises(TypeError, match="[Ii]nt64"):
        con.register("wrong", pa.array([1, 2, 3]))


def test_a_producer_that_fails_is_an_error(con):
    def batches():
        yield pa.RecordBatch.from_pydict({"v": [1]})
        raise ValueError("the source broke")

    schema = pa.schema([("v", pa.int64())])
    reader = pa.RecordBatchReader.from_batches(schema, batches())
    with pytest.raises(Exception, match="the source broke"):
        con.register("t", reader)


def address(array):
    return array.__array_interface__["data"][0]


def test_a_dict_of_arrays(con):
    data = {
        "i": np.arange(5, dtype=np.int16),
        "u": np.arange(5, dtype=np.uint64) + 2**63,
        "f": np.array([0.5, np.nan, -0.0, np.inf, 1], dtype=np.float32),
        "h": np.array([0.5, 1, 2, 3, 4], dtype=np.float16),
        "b": np.array([True, False, True, True, False]),
        "d": np.array(["2024-02-29", "NaT", "1969-12-31", "0001-01-01", "9999-12-31"], "M8[D]"),
        "t": np.array(["2024-02-29T01:02:03.5", "NaT"] * 2 + ["1900-01-01"], "M8[ms]"),
        "h_": np.array(["2024-02-29T01", "NaT"] * 2 + ["1900-01-01"], "M8[h]"),
        "td": np.array([1, -1, 5, 0, 7], "m8[us]"),
        "s": np.array(["a", "bé", "", "d", "e"]),
        "y": np.array([b"a", b"b", b"c", b"d", b"e"]),
        "big": np.arange(5, dtype=">i4"),
        "masked": np.ma.masked_array(np.arange(5), mask=[0, 1, 0, 0, 1]),
        "o": np.array([datetime.date(2024, 1, 1), None, None, None, None], dtype=object),
    }
    con.register("t", data)
    got = con.sql("SELECT * FROM t").to_arrow().to_pydict()
    assert got["i"] == [0, 1, 2, 3, 4]
    assert got["u"] == [2**63 + i for i in range(5)]
    assert got["f"][0] == 0.5 and np.isnan(got["f"][1]), "NaN is a value"
    assert got["h"] == [0.5, 1, 2, 3, 4]
    assert got["b"] == [True, False, True, True, False]
    assert got["d"] == [
        datetime.date(2024, 2, 29),
        None,
        datetime.date(1969, 12, 31),
        datetime.date(1, 1, 1),
        datetime.date(9999, 12, 31),
    ]
    assert got["t"][0] == datetime.datetime(2024, 2, 29, 1, 2, 3, 500_000)
    assert got["t"][1] is None, "NaT is NULL"
    assert got["h_"][0] == datetime.datetime(2024, 2, 29, 1)
    assert got["td"][:2] == [datetime.timedelta(microseconds=n) for n in (1, -1)]
    assert got["s"] == ["a", "bé", "", "d", "e"]
    assert got["y"] == [b"a", b"b", b"c", b"d", b"e"]
    assert got["big"] == [0, 1, 2, 3, 4]
    assert got["masked"] == [0, None, 2, 3, None]
    assert got["o"] == [datetime.date(2024, 1, 1), None, None, None, None]


def test_two_dimensions_are_lists_of_a_fixed_size(con):
    matrix = np.arange(12.0).reshape(4, 3)
    con.register("t", {"m": matrix, "strided": matrix[:, ::-1], "wide": np.arange(4)})
    assert con.sql("SELECT strided FROM t LIMIT 1").fetchall() == [([2.0, 1.0, 0.0],)]
    back = con.sql("SELECT m, strided FROM t").to_numpy()
    np.testing.assert_array_equal(back["m"], matrix)
    np.testing.assert_array_equal(back["strided"], matrix[:, ::-1])
    assert con.sql("SELECT sum(m[2]) FROM t").fetchall() == [(1.0 + 4 + 7 + 10,)]


def test_strides_are_copied_chunk_by_chunk_when_scanned(con):
    rows = 300_000
    base = np.random.default_rng(0).random((rows, 4))
    con.register("t", pd.DataFrame(base, columns=list("abcd"), copy=False))
    (total,) = con.sql("SELECT sum(b) FROM t WHERE c > 0.5").fetchall()[0]
    assert total == pytest.approx(base[base[:, 2] > 0.5, 1].sum())
    # Views in every direction.
    con.register("v", {"back": base[::-1, 0], "every": base[:, 1], "one": np.broadcast_to(7, rows)})
    got = con.sql("SELECT back, every, one FROM v").to_numpy()
    np.testing.assert_array_equal(got["back"], base[::-1, 0])
    np.testing.assert_array_equal(got["every"], base[:, 1])
    assert set(got["one"]) == {7}


def test_nothing_is_copied_at_registration(con):
    rows = 2_000_000
    column = np.random.default_rng(0).random((rows, 2))
    frame = pd.DataFrame(column, columns=["a", "b"], copy=False)
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    con.register("t", frame)
    con.register("d", {"a": column[:, 0], "whole": column, "n": np.arange(rows)})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < rows * 8 + 1_000_000, "only the range was made"
    assert pa.total_allocated_bytes() == before
    back = con.sql("SELECT whole FROM d").to_numpy()["whole"]
    assert address(back) == address(column), "a contiguous column is used where it lies"
    # What is registered is what is seen: a view, not a snapshot.
    column[0, 0] = -5
    assert con.sql("SELECT min(a) FROM t").fetchall() == [(-5,)]
    assert con.sql("SELECT min(a) FROM d").fetchall() == [(-5,)]


def test_the_object_is_kept_and_released(con):
    import weakref

    values = np.arange(100_000)
    alive = weakref.ref(values)
    con.register("t", {"v": values})
    del values
    gc.collect()
    assert alive() is not None
    assert con.sql("SELECT sum(v) FROM t").fetchall() == [(4999950000,)]
    con.sql("DROP TABLE t")
    gc.collect()
    con.sql("SELECT 1").fetchall()
    assert alive() is None


def test_a_pandas_frame(con):
    zone = "Europe/Berlin"
    frame = pd.DataFrame(
        {
            "f": [1.5, np.nan, 3.0],
            "i": [1, 2, 3],
            "b": [True, False, True],
            "s": ["a", None, "c"],
            "o": [{"k": 1}, None, {"k": 3}],
            "c": pd.Categorical(["x", None, "x"]),
            "t": pd.to_datetime(["2024-01-01", None, "2024-03-01"]),
            "z": pd.to_datetime(["2024-01-01", None, "2024-07-01"]).tz_localize(zone),
            "n": pd.array([1, None, 3], dtype="Int64"),
            "m": pd.array([True, None, False], dtype="boolean"),
            "d": pd.to_timedelta([1, None, 3], unit="s"),
            "arrow": pd.array([1, None, 3], dtype=pd.ArrowDtype(pa.int32())),
            "text": pd.array(["a", None, "c"], dtype="string"),
            "mixed": [1.5, None, float("nan")],
        },
        index=[10, 20, 30],
    )
    frame["mixed"] = pd.Series([1.5, None, float("nan")], dtype=object, index=frame.index)
    con.register("t", frame)
    got = con.sql("SELECT * FROM t").to_arrow().to_pydict()
    assert got["f"][0] == 1.5 and np.isnan(got["f"][1]), "NaN stays NaN"
    assert got["i"] == [1, 2, 3]
    assert got["b"] == [True, False, True]
    assert got["s"] == ["a", None, "c"]
    assert got["o"] == [{"k": 1}, None, {"k": 3}]
    assert got["c"] == ["x", None, "x"]
    assert got["t"][0] == datetime.datetime(2024, 1, 1) and got["t"][1] is None
    assert got["z"][2].utcoffset() == datetime.timedelta(hours=2) and got["z"][1] is None
    assert got["n"] == [1, None, 3]
    assert got["m"] == [True, None, False]
    assert got["d"][2] == datetime.timedelta(seconds=3) and got["d"][1] is None
    assert got["arrow"] == [1, None, 3]
    assert got["text"] == ["a", None, "c"]
    assert got["mixed"][1] is None and np.isnan(got["mixed"][2]), "None is NULL, NaN is not"


def test_a_pandas_series_is_a_table_of_one_column(con):
    con.register("s", pd.Series([3, 1, 2], name="v"))
    assert con.sql("SELECT max(v) FROM s").fetchall() == [(3,)]


def test_many_chunks_of_objects(con):
    rows = 200_000
    words = np.array([f"w{i % 7}" for i in range(rows)], dtype=object)
    words[::1000] = None
    con.register("t", {"w": words, "i": np.arange(rows)})
    got = con.sql("SELECT w, i FROM t WHERE i % 2 = 1").to_numpy()
    np.testing.assert_array_equal(got["w"], words[1::2])
    assert con.sql("SELECT count(*), count(w) FROM t").fetchall() == [(rows, rows - 200)]


def test_chunks_of_columns_need_not_agree(con):
    data = {
        "a": pa.chunked_array([[1, 2, 3], [4, 5]]),
        "b": pa.chunked_array([["x"], ["y", "z"], [], ["u", "v"]]),
        "c": np.arange(5) * 1.5,
    }
    con.register("t", data)
    assert con.sql("SELECT a, b, c FROM t").fetchall() == [
        (1, "x", 0.0),
        (2, "y", 1.5),
        (3, "z", 3.0),
        (4, "u", 4.5),
        (5, "v", 6.0),
    ]


def test_polars(con):
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"k": [1, 2, 3], "s": ["a", None, "ccccccccccccccccccc"]})
    con.register("t", frame)
    assert con.sql("SELECT s, k FROM t WHERE k > 1").fetchall() == [
        (None, 2),
        ("ccccccccccccccccccc", 3),
    ]
    con.register("d", {"s": frame["s"], "n": np.arange(3)})
    assert con.sql("SELECT s FROM d WHERE n = 0").fetchall() == [("a",)]


def test_what_is_no_table_says_so(con):
    with pytest.raises(TypeError, match="list"):
        con.register("t", [1, 2])
    with pytest.raises(TypeError, match="'v'.*list.*numpy.asarray"):
        con.register("t", {"v": [1, 2]})
    with pytest.raises(ValueError, match="'a' 3.*'b' 2"):
        con.register("t", {"a": np.arange(3), "b": np.arange(2)})
    with pytest.raises(TypeError, match="'c'.*complex128"):
        con.register("t", {"c": np.zeros(3, complex)})
    with pytest.raises(TypeError, match="3 dimensions"):
        con.register("t", {"c": np.zeros((3, 2, 1))})
    with pytest.raises(TypeError, match="'o'.*no column"):
        con.register("t", {"o": np.array([1, object()], dtype=object)})
    with pytest.raises(ValueError, match="'a' appears twice"):
        con.register("t", pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_empty_tables(con):
    con.register("t", {"a": np.array([], dtype="f8"), "s": np.array([], dtype="M8[us]")})
    assert con.sql("SELECT * FROM t").fetchall() == []
    assert con.sql("SELECT count(*) FROM t").fetchall() == [(0,)]
    frame = con.sql("SELECT * FROM t").to_pandas()
    assert list(frame.columns) == ["a", "s"] and len(frame) == 0
    con.register("e", {})
    assert con.sql("SELECT count(*) FROM e").fetchall() == [(0,)]


SCORES = {"k": np.array([1, 2]), "v": np.array([0.5, 1.5])}


def test_variables_are_tables(con):
    assert con.sql("SELECT sum(v) FROM SCORES").fetchall() == [(2.0,)], "a global"
    scores = pd.DataFrame({"k": [1, 2], "name": ["a", "b"]})
    assert con.sql("SELECT name FROM scores WHERE k = 2").fetchall() == [("b",)], "a local first"
    mine = {"k": np.array([2])}
    result = con.sql("SELECT s.name FROM scores s JOIN mine USING (k)")
    del mine
    assert result.fetchall() == [("b",)]
    assert result.fetchall() == [("b",)], "the result keeps its tables"
    assert len(scores) == 2


def test_a_table_comes_before_a_variable(con):
    con.register("t", pa.table({"v": [1]}))
    t = {"v": np.array([2])}
    assert con.sql("SELECT v FROM t").fetchall() == [(1,)]
    with_name = {"v": np.array([3])}
    assert con.sql("WITH t AS (SELECT 9 AS v) SELECT v FROM t").fetchall() == [(9,)]
    assert con.sql("SELECT t.v FROM with_name AS t").fetchall() == [(3,)]
    assert t is not with_name


def test_variables_everywhere_in_sql(con, tmp_path):
    mine = pa.table({"v": [1, 2, 3]})
    con.sql("CREATE TABLE kept AS SELECT v * 2 AS w FROM mine")
    assert "mine" not in [row[0] for row in con.sql("SHOW TABLES").fetchall()]
    assert "DataSourceExec" in con.sql("EXPLAIN SELECT v FROM mine").fetchall()[0][1]
    path = tmp_path / "out.parquet"
    con.sql(f"COPY (SELECT v FROM mine) TO '{path}'")
    assert len(mine) == 3
    assert con.sql("SELECT sum(w) FROM kept").fetchall() == [(12,)]
    assert con.sql(f"SELECT count(*) FROM '{path}'").fetchall() == [(3,)]
    assert con.sql("SELECT v FROM mine").write_parquet(tmp_path / "again.parquet") == 3
    assert "DataSourceExec" in con.sql("SELECT v FROM mine").explain()


def test_a_result_is_a_table(con):
    numbers = con.sql("SELECT value AS v FROM range(0, 10)")
    assert con.sql("SELECT sum(v) FROM numbers").fetchall() == [(45,)]
    assert numbers.columns == ["v"]


def test_a_variable_that_is_no_table_says_so(con):
    number = 5
    with pytest.raises(fuseline.SqlError, match="variable 'number'.*int.*no table"):
        con.sql("SELECT * FROM number")
    assert number == 5
    with pytest.raises(fuseline.SqlError, match="nosuch"):
        con.sql("SELECT * FROM nosuch")
    with pytest.raises(fuseline.SqlError, match="missing"):
        con.sql("SELECT * FROM SCORES, missing")


def test_threads_may_use_one_name_for_different_tables(con):
    import threading

    answers = {}

    def work(n):
        local = {"v": np.array([n])}
        for _ in range(20):
            answers.setdefault(n, set()).add(con.sql("SELECT v FROM local").fetchall()[0][0])
        assert len(local) == 1

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {n: {n} for n in range(4)}
