"""Every kind, type, NULL handling and error handling, against a plain loop over the same rows.

The function under test is the same for each kind: it gives its argument back, except that it raises
for one marked value, and with null_handling = "call" replaces None by a given value. So the loop in
`expected` says what every combination must give.
"""

import datetime as dt
import decimal
import math

import pytest

import fuseline

np = pytest.importorskip("numpy")
pa = pytest.importorskip("pyarrow")
pytest.importorskip("pandas")

UTC = dt.UTC

# Type: pyarrow's, values of which the third is the one that raises.
TYPES = {
    "bool": (pa.bool_(), [True, True, False, True]),
    "int8": (pa.int8(), [1, -128, 7, 127]),
    "int16": (pa.int16(), [1, -(2**15), 7, 2**15 - 1]),
    "int32": (pa.int32(), [1, -(2**31), 7, 2**31 - 1]),
    "int64": (pa.int64(), [1, -(2**63), 7, 2**63 - 1]),
    "uint8": (pa.uint8(), [1, 0, 7, 255]),
    "uint16": (pa.uint16(), [1, 0, 7, 2**16 - 1]),
    "uint32": (pa.uint32(), [1, 0, 7, 2**32 - 1]),
    "uint64": (pa.uint64(), [1, 0, 7, 2**64 - 1]),
    "float32": (pa.float32(), [1.5, -0.0, 7.25, math.inf]),
    "float64": (pa.float64(), [1.5, math.nan, 7.25, -math.inf]),
    "str": (pa.string(), ["a", "", "stop", "äöü€😀"]),
    "bytes": (pa.binary(), [b"a", b"", b"stop", b"\x00\xff"]),
    "date": (
        pa.date32(),
        [dt.date(1970, 1, 1), dt.date(1, 1, 1), dt.date(7, 7, 7), dt.date(9999, 12, 31)],
    ),
    "datetime": (
        pa.timestamp("us"),
        [
            dt.datetime(1970, 1, 1),
            dt.datetime(1677, 9, 22),
            dt.datetime(2007, 7, 7),
            dt.datetime(2200, 1, 1, 1, 2, 3, 4),
        ],
    ),
    "zoned": (
        pa.timestamp("us", "UTC"),
        [dt.datetime(y, 1, 2, 3, 4, 5, 6, UTC) for y in (1970, 1900, 2007, 2100)],
    ),
    "time": (
        pa.time64("us"),
        [dt.time(0), dt.time(23, 59, 59, 999999), dt.time(7, 7), dt.time(12)],
    ),
    "timedelta": (
        pa.duration("us"),
        [dt.timedelta(0), dt.timedelta(-1), dt.timedelta(7), dt.timedelta(1, 2, 3)],
    ),
    "decimal": (
        pa.decimal128(20, 4),
        [decimal.Decimal(t) for t in ("1.5000", "-0.0001", "7.0000", "9999999999999999.9999")],
    ),
    "list": (pa.list_(pa.int64()), [[1, 2], [], [7], [3, 4, 5]]),
    "texts": (pa.list_(pa.string()), [["a"], [], ["stop"], ["b", "c"]]),
    "fixed": (pa.list_(pa.float64(), 2), [[1.0, 2.0], [0.0, -1.0], [7.0, 7.0], [3.0, 4.0]]),
}
KINDS = ["scalar", "numpy", "arrow", "pandas"]


def rows_of(name):
    """Rows with NULL between them, enough for several batches of 5."""
    arrow, values = TYPES[name]
    first, second, stop, last = values
    return arrow, [first, None, second, stop, None, last, first, stop, second]


def same(a, b):
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a):
        return math.isnan(b)
    return a == b and (a is None) == (b is None)


def expected(rows, stop, replacement, null_handling, on_error):
    """What a plain loop gives; None for a query that fails."""
    results = []
    for value in rows:
        if value is None and null_handling == "propagate":
            results.append(None)
        elif value is None:
            results.append(replacement)
        elif same(value, stop):
            if on_error == "raise":
                return None
            results.append(None)
        else:
            results.append(value)
    return results


def function(kind, stop, replacement, arrow):
    """The function under test for a kind."""

    def row(value):
        if value is None:
            return replacement
        if same(value, stop):
            raise ValueError("stop")
        return value

    if kind == "scalar":
        return row
    if kind == "arrow":
        return lambda column: pa.array([row(v) for v in column.to_pylist()], arrow)

    def items(column):
        """The values as Python's own."""
        return pa.array(column, arrow, from_pandas=False).to_pylist()

    def numpy_kind(column):
        if isinstance(column, np.ma.MaskedArray):
            mask = np.ma.getmaskarray(column)
            data = column.data
            assert mask.any()
            good = data[~mask]
            [row(v) for v in items(good)]
            result = data.copy()
            result[mask] = np.array([replacement], arrow.to_pandas_dtype()).astype(data.dtype)
            return result
        if column.dtype == object:
            result = np.empty(len(column), object)
            result[:] = [row(v.tolist() if isinstance(v, np.ndarray) else v) for v in column]
            return result
        assert not column.flags.writeable or column.dtype == bool or column.dtype.kind == "M"
        [row(v) for v in column.tolist()] if column.ndim == 2 else [row(v) for v in items(column)]
        return column.copy() if len(column) % 2 else column

    if kind == "numpy":
        return numpy_kind

    import pandas as pd

    def pandas_kind(series):
        assert isinstance(series, pd.Series)
        if series.dtype == object:
            return pd.Series([row(v) for v in series], dtype=object)
        [row(v) for v in items(series.to_numpy())]
        return series

    return pandas_kind


@pytest.mark.parametrize("on_error", ["raise", "null", "collect"])
@pytest.mark.parametrize("null_handling", ["propagate", "call"])
@pytest.mark.parametrize("name", list(TYPES))
@pytest.mark.parametrize("kind", KINDS)
def test_as_a_plain_loop(kind, name, null_handling, on_error):
    arrow, rows = rows_of(name)
    stop, replacement = TYPES[name][1][2], TYPES[name][1][0]
    con = fuseline.connect(threads=1)
    con.register("t", pa.table({"x": pa.array(rows, arrow)}))
    con.udf(
        name="f",
        params=[arrow],
        returns=arrow,
        kind=kind,
        null_handling=null_handling,
        on_error=on_error,
        batch_rows=5,
    )(function(kind, stop, replacement, arrow))
    want = expected(rows, stop, replacement, null_handling, on_error)
    if want is None:
        with pytest.raises(fuseline.UdfError) as caught:
            con.sql("SELECT f(x) AS y FROM t").to_arrow()
        assert caught.value.udf == "f"
        assert caught.value.row == 3
        assert isinstance(caught.value.__cause__, ValueError)
        return
    got = con.sql("SELECT f(x) AS y FROM t").to_arrow().column("y")
    assert got.type == arrow
    got = got.to_pylist()
    assert len(got) == len(want)
    assert all(same(a, b) for a, b in zip(got, want)), (got, want)
    kept = con.sql("SELECT udf, row, exception FROM fuseline_errors() ORDER BY row").fetchall()
    failed = [i for i, v in enumerate(rows) if v is not None and same(v, stop)]
    if on_error == "collect":
        assert kept == [("f", i, "ValueError: stop") for i in failed]
    else:
        assert kept == []
