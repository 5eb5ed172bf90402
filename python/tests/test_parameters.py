"""Parameters: typed values, by position and by name."""

import datetime
import decimal
import uuid

import numpy as np
import pyarrow as pa
import pytest

import fuseline

BERLIN = datetime.timezone(datetime.timedelta(hours=2))
VALUES = [
    (None, pa.null()),
    (True, pa.bool_()),
    (-5, pa.int64()),
    (2**64 - 1, pa.uint64()),
    (10**30, pa.decimal128(31, 0)),
    (1.5, pa.float64()),
    ("it's; -- $x ?", pa.string()),
    (b"\x00'", pa.binary()),
    (decimal.Decimal("-12.50"), pa.decimal128(4, 2)),
    (decimal.Decimal("0.001"), pa.decimal128(3, 3)),
    (decimal.Decimal("1E+3"), pa.decimal128(4, 0)),
    (datetime.date(1969, 12, 31), pa.date32()),
    (datetime.time(23, 59, 58, 7), pa.time64("us")),
    (datetime.datetime(1960, 1, 1, 12, 30, 0, 5), pa.timestamp("us")),
    (datetime.timedelta(days=-1, microseconds=5), pa.duration("us")),
    ([1, None, 3], pa.list_(pa.int64())),
    (["a", "b"], pa.list_(pa.string())),
    ([[1], [2, 3]], pa.list_(pa.list_(pa.int64()))),
    ([], pa.list_(pa.null())),
]


@pytest.mark.parametrize("value, kind", VALUES, ids=repr)
def test_values_keep_their_types(con, value, kind):
    result = con.sql("SELECT $v AS v", v=value)
    assert result.schema.field("v").type == kind
    assert result.fetchall() == [(value,)]
    assert con.sql("SELECT ?", value).fetchall() == [(value,)]


def test_a_time_with_a_zone_is_that_moment(con):
    moment = datetime.datetime(2024, 7, 1, 12, tzinfo=BERLIN)
    ((got,),) = con.sql("SELECT $1", moment).fetchall()
    assert got == moment and got.utcoffset() == datetime.timedelta(0)


def test_values_of_other_packages(con):
    values = [np.int32(5), np.float32(0.5), np.datetime64("2024-01-01T00:00:01", "us"), np.True_]
    (row,) = con.sql("SELECT ?, ?, ?, ?", *values).fetchall()
    assert row == (5, 0.5, datetime.datetime(2024, 1, 1, 0, 0, 1), True)
    assert con.sql("SELECT $x", x=pa.scalar("text")).fetchall() == [("text",)]
    name = uuid.uuid4()
    assert con.sql("SELECT $x", x=name).fetchall() == [(str(name),)]


def test_positions(con):
    assert con.sql("SELECT ? - ?, '?' -- ?", 5, 3).fetchall() == [(2, "?")]
    assert con.sql("SELECT $2 || $1 || $2", "a", "b").fetchall() == [("bab",)]
    assert con.sql("SELECT trim(? FROM ?)", "x", "xxaxx").fetchall() == [("a",)]
    assert con.sql("SELECT v FROM range(0, 9) AS t(v) LIMIT ? OFFSET ?", 2, 3).fetchall() == [
        (3,),
        (4,),
    ]


def test_names(con):
    con.register("t", pa.table({"k": [1, 2, 3], "s": ["a", "b", "c"]}))
    sql = "SELECT s FROM t WHERE k >= $least AND (k < $most OR k > $least)"
    assert con.sql(sql, least=2, most=3).fetchall() == [("b",), ("c",)]
    assert con.sql(sql, least=9, most=3).fetchall() == [], "not the plan of the call before"
    assert con.sql("SELECT s FROM t WHERE s = $sql", sql="b").fetchall() == [("b",)]


def test_values_are_never_part_of_the_text(con):
    con.register("t", pa.table({"s": ["a", "x' OR 'a'='a"]}))
    evil = "x' OR 'a'='a"
    assert con.sql("SELECT s FROM t WHERE s = ?", evil).fetchall() == [(evil,)]


def test_results_keep_their_values(con):
    result = con.sql("SELECT value AS v FROM range(0, 10) WHERE value >= $least", least=8)
    assert result.fetchall() == result.fetchall() == [(8,), (9,)]
    assert result.to_arrow()["v"].to_pylist() == [8, 9]
    assert "8" in result.explain()
    assert result.profile()["rows"] == 2


def test_commands_take_values(con, tmp_path):
    con.sql("CREATE TABLE t AS SELECT value AS v FROM range(0, $n)", n=5)
    con.sql("INSERT INTO t VALUES (?), (?)", 70, 80)
    assert con.sql("SELECT sum(v) FROM t").fetchall() == [(160,)]
    path = tmp_path / "out.csv"
    con.sql(f"COPY (SELECT v FROM t WHERE v > $least) TO '{path}'", least=50)
    assert path.read_text() == "v\n70\n80\n"


def test_prepared_statements_are_left_alone(con):
    con.sql("PREPARE plus AS SELECT $1 + 1 AS v")
    assert con.sql("EXECUTE plus(41)").fetchall() == [(42,)]


def test_what_does_not_fit_says_so(con):
    def fails(message, *values, **named):
        with pytest.raises(fuseline.SqlError, match=message):
            con.sql("SELECT $a + $b", *values, **named)

    fails(r"\$a has no value: no values were given")
    fails(r"\$b has no value: values were given for \$a", a=1)
    fails(r"a value was given for \$c, and the statement has only \$a, \$b", a=1, b=2, c=3)
    with pytest.raises(fuseline.SqlError, match=r"\$2 has no value: 1 value was given"):
        con.sql("SELECT ?, ?", 1)
    with pytest.raises(fuseline.SqlError, match=r"\$1, and the statement has no parameters"):
        con.sql("SELECT 1", 1)
    with pytest.raises(fuseline.SqlError, match="not both"):
        con.sql("SELECT ?, $1", 1)
    with pytest.raises(TypeError, match="not both"):
        con.sql("SELECT $1, $a", 1, a=2)
    with pytest.raises(TypeError, match=r"\$a: .*object"):
        con.sql("SELECT $a", a=object())
    with pytest.raises(TypeError, match=r"\$1: a list of"):
        con.sql("SELECT ?", [1, "a"])
    with pytest.raises(OverflowError, match="digits"):
        con.sql("SELECT ?", 10**80)
    with pytest.raises(TypeError, match="NaN"):
        con.sql("SELECT ?", decimal.Decimal("NaN"))
