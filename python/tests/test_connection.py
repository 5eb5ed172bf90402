"""Connections: opening, settings, errors, closing."""

from importlib.metadata import version

import pyarrow as pa
import pytest

import fuseline


def test_version_is_that_of_the_distribution():
    assert fuseline.__version__ == version("fuseline")


def test_errors_are_classes_of_one_family(con, tmp_path):
    with pytest.raises(fuseline.SqlError, match="nosuch"):
        con.sql("SELECT nosuch FROM range(0, 3)")
    with pytest.raises(fuseline.SqlError, match="(?i)line 1"):
        con.sql("SELEC 1")
    with pytest.raises(fuseline.Error, match="nosuch.parquet"):
        con.sql("SELECT * FROM 'nosuch.parquet'").fetchall()
    with pytest.raises(fuseline.SettingError, match="nosuch"):
        fuseline.connect(nosuch=1)
    with pytest.raises(fuseline.SettingError):
        fuseline.connect(memory_limit="much")
    with pytest.raises(fuseline.SettingError):
        fuseline.connect(threads=0)
    for name in ["SqlError", "SettingError", "FileError", "ExecutionError", "ResourceError"]:
        assert issubclass(getattr(fuseline, name), fuseline.Error)


def test_settings(con):
    def setting(con, name):
        sql = f"SELECT value FROM information_schema.df_settings WHERE name = '{name}'"
        return con.sql(sql).fetchall()

    name = "datafusion.execution.target_partitions"
    with fuseline.connect(threads=3, fusion="off", memory_limit="1GiB") as other:
        assert setting(other, name) == [("3",)]
        assert setting(other, "fuseline.fusion") == [("off",)]
    with fuseline.connect(**{"datafusion.execution.batch_size": 1234}) as other:
        assert setting(other, "datafusion.execution.batch_size") == [("1234",)]


def test_a_closed_connection_says_so():
    con = fuseline.connect()
    con.close()
    con.close()
    with pytest.raises(fuseline.Error, match="closed"):
        con.sql("SELECT 1")
    with pytest.raises(fuseline.Error, match="closed"):
        con.register("t", pa.table({"v": [1]}))
