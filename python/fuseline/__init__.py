"""SQL on Arrow tables and files, each pipeline compiled into one loop of machine code.

    import fuseline

    con = fuseline.connect(threads=2)
    con.register("flights", arrow_table)
    con.sql("SELECT origin, dep_delay FROM flights WHERE dep_delay > $least", least=60).to_pandas()

Neither pyarrow nor NumPy is imported before a result or a table needs it.
"""

from fuseline import _fuseline, _udf
from fuseline._fuseline import (
    Connection,
    Error,
    ExecutionError,
    FileError,
    RecordBatches,
    ResourceError,
    Result,
    SettingError,
    SqlError,
    UdfError,
)
from fuseline._udf import udf

__all__ = [
    "Connection",
    "Error",
    "ExecutionError",
    "FileError",
    "RecordBatches",
    "ResourceError",
    "Result",
    "SettingError",
    "SqlError",
    "UdfError",
    "connect",
    "udf",
]

__version__ = _fuseline.VERSION

# Connection is the engine's class; what concerns functions in Python is written in Python.
Connection.udf = _udf.connection_udf
Connection.register_udf = _udf.register_udf
Connection.create_function = _udf.create_function
Connection.remove_function = _udf.remove_function


def connect(
    *,
    threads=None,
    memory_limit=None,
    temp_dir=None,
    allow_create_function=False,
    **settings,
):
    """Opens a connection: a session with its own tables, settings and threads.

    threads: number of threads; one per core without it.
    memory_limit: what queries may use, in bytes or as a text such as "2GiB".
    temp_dir: the folder for data that does not fit in memory.
    allow_create_function: whether SQL may define functions in Python with CREATE FUNCTION, which
        runs whatever code the SQL holds.
    settings: options of the session. A name without a dot belongs to fuseline, so
        `fusion="force"` sets `fuseline.fusion`; others are given as
        `**{"datafusion.execution.batch_size": 4096}`.

    Raises SettingError for an option that does not exist or a value it does not take.
    """
    pairs = [
        (name if "." in name else f"fuseline.{name}", _text(value))
        for name, value in settings.items()
    ]
    return Connection(
        threads=threads,
        memory_limit=memory_limit,
        temp_dir=temp_dir,
        allow_create_function=allow_create_function,
        settings=pairs,
    )


def _text(value):
    """A setting's value as SQL writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
