from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from fuseline._fuseline import (
    Connection as Connection,
    Error as Error,
    ExecutionError as ExecutionError,
    FileError as FileError,
    RecordBatches as RecordBatches,
    ResourceError as ResourceError,
    Result as Result,
    SettingError as SettingError,
    SqlError as SqlError,
    UdfError as UdfError,
)

__version__: str

def connect(
    *,
    threads: int | None = None,
    memory_limit: int | str | None = None,
    temp_dir: str | PathLike[str] | None = None,
    allow_create_function: bool = False,
    **settings: Any,
) -> Connection: ...
def udf(
    function: Any = None,
    /,
    *,
    name: str | None = None,
    params: Sequence[Any] | Mapping[str, Any] | None = None,
    returns: Any = None,
    **options: Any,
) -> Any: ...
