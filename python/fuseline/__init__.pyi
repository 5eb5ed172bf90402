from os import PathLike
from typing import Any

from fuseline._fuseline import (
    Connection as Connection,
    Error as Error,
    ExecutionError as ExecutionError,
    FileError as FileError,
    ResourceError as ResourceError,
    Result as Result,
    SettingError as SettingError,
    SqlError as SqlError,
)

__version__: str

def connect(
    *,
    threads: int | None = None,
    memory_limit: int | str | None = None,
    temp_dir: str | PathLike[str] | None = None,
    **settings: Any,
) -> Connection: ...
