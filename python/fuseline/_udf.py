"""Python functions in SQL: what SQL must know about a function, found in its signature."""

import contextlib
import datetime
import decimal
import functools
import inspect
import sys
import types
import typing

from fuseline import _fuseline

_OPTIONS = (
    "kind",
    "null_handling",
    "on_error",
    "volatility",
    "isolation",
    "timeout",
    "memory_limit",
    "batch_rows",
    "compile",
)

_TYPES = {
    bool: "BOOLEAN",
    int: "BIGINT",
    float: "DOUBLE",
    str: "VARCHAR",
    bytes: "BYTEA",
    datetime.date: "DATE",
    datetime.datetime: "Timestamp(Microsecond, None)",
    datetime.time: "Time64(Microsecond)",
    datetime.timedelta: "Duration(Microsecond)",
    decimal.Decimal: "DECIMAL(38, 10)",
}

_DTYPES = {
    "bool": "BOOLEAN",
    "float16": "Float16",
    "float32": "Float32",
    "float64": "Float64",
    **{f"int{bits}": f"Int{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"UInt{bits}" for bits in (8, 16, 32, 64)},
    "datetime64[D]": "Date32",
    "datetime64[s]": "Timestamp(Second, None)",
    "datetime64[ms]": "Timestamp(Millisecond, None)",
    "datetime64[us]": "Timestamp(Microsecond, None)",
    "datetime64[ns]": "Timestamp(Nanosecond, None)",
    "timedelta64[s]": "Duration(Second)",
    "timedelta64[ms]": "Duration(Millisecond)",
    "timedelta64[us]": "Duration(Microsecond)",
    "timedelta64[ns]": "Duration(Nanosecond)",
}

# DuckDB's names that SQL here does not know, or reads otherwise.
_DUCKDB = {
    "BLOB": "BYTEA",
    "INTERVAL": "Duration(Microsecond)",
    "TIMESTAMP": "Timestamp(Microsecond, None)",
    "TIMESTAMP WITH TIME ZONE": 'Timestamp(Microsecond, Some("UTC"))',
    "TIMESTAMP_S": "Timestamp(Second, None)",
    "TIMESTAMP_MS": "Timestamp(Millisecond, None)",
    "TIMESTAMP_NS": "Timestamp(Nanosecond, None)",
    "TIME": "Time64(Microsecond)",
    "UTINYINT": "UInt8",
    "USMALLINT": "UInt16",
    "UINTEGER": "UInt32",
    "UBIGINT": "UInt64",
}


def _type_of(given):
    """A type as the engine reads it; None if it is none."""
    if isinstance(given, str):
        return given
    if given in (None, inspect.Parameter.empty, typing.Any):
        return None
    if isinstance(given, typing.Hashable) and given in _TYPES:
        return _TYPES[given]
    if hasattr(given, "__arrow_c_schema__"):
        return given
    origin, args = typing.get_origin(given), typing.get_args(given)
    if origin is typing.Annotated:
        return _type_of(args[0])
    if origin in (typing.Union, types.UnionType):
        left = [arg for arg in args if arg is not type(None)]
        return _type_of(left[0]) if len(left) == 1 else None
    if origin is list:
        item = _type_of(args[0])
        return None if item is None else ("list", item)
    if type(given).__name__ == "DuckDBPyType":
        return _duckdb_type(str(given))
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        scalar = isinstance(given, type) and issubclass(given, numpy.generic)
        if scalar or isinstance(given, numpy.dtype):
            return _DTYPES.get(str(numpy.dtype(given)))
    return None


def _duckdb_type(name):
    """A type by DuckDB's name."""
    if name.endswith("[]"):
        return ("list", _duckdb_type(name[:-2]))
    return _DUCKDB.get(name.upper(), name)


def _annotations(function):
    """The annotations of a function; a text that is no Python is left as it is."""
    found = {}
    for name, value in getattr(function, "__annotations__", {}).items():
        if isinstance(value, str):
            with contextlib.suppress(Exception):
                value = eval(value, getattr(function, "__globals__", {}))
        found[name] = value
    return found


class Function:
    """A function for SQL. Calling it calls the Python function it was made of.

    It becomes part of a connection with `con.udf(function)`.
    """

    def __init__(self, function, *, name=None, params=None, returns=None, **options):
        """Reads the signature; what is not annotated must be given. Raises TypeError otherwise."""
        if not callable(function):
            raise TypeError(f"a UDF must be callable, not {type(function).__name__}")
        unknown = [option for option in options if option not in _OPTIONS]
        if unknown:
            raise TypeError(
                f"a UDF has no option '{unknown[0]}'; there are: name, params, returns, "
                + ", ".join(_OPTIONS)
            )
        self.function = function
        self.name = name or getattr(function, "__name__", None) or type(function).__name__
        self.options = [(k, _text(v)) for k, v in options.items() if v is not None]
        self._read_signature(params, returns)
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *args, **kwargs):
        """Calls the Python function."""
        return self.function(*args, **kwargs)

    def __repr__(self):
        """Its name and where it is from."""
        return f"<fuseline.udf {self.name} of {self.function!r}>"

    def definition(self):
        """What the engine needs to know."""
        return _Definition(self.name, self._target(), self._params, self._returns, self.options)

    def _target(self):
        """The callable that takes all arguments by position."""
        if not self._keywords:
            return self.function
        return _ByKeyword(self.function, self._positional, self._keywords)

    def _read_signature(self, params, returns):
        called = self.function
        if inspect.isclass(called):
            called = called.__call__
        elif not inspect.isroutine(called) and not hasattr(called, "__code__"):
            called = type(called).__call__
        annotations = _annotations(inspect.unwrap(called))
        try:
            signature = list(inspect.signature(called).parameters.values())
        except (TypeError, ValueError):
            signature = None
        if signature and called is not self.function and signature[0].name == "self":
            signature = signature[1:]
        self._params, self._keywords, self._positional = [], [], 0
        if signature is None or any(p.kind is p.VAR_POSITIONAL for p in signature):
            self._read_open_signature(params)
        else:
            self._read_closed_signature(signature, annotations, params)
        self._returns = _type_of(annotations.get("return") if returns is None else returns)
        if self._returns is None:
            raise TypeError(
                f"UDF '{self.name}' needs a return type: annotate it (-> float), or give returns="
            )

    def _read_open_signature(self, params):
        """The parameters of a function that does not say how many it takes."""
        if params is None:
            raise TypeError(f"UDF '{self.name}' does not say what it takes: give params=[types]")
        named = params.items() if isinstance(params, dict) else enumerate(params)
        for key, given in named:
            name = key if isinstance(key, str) else f"arg{key + 1}"
            self._add(name, given, False)

    def _read_closed_signature(self, signature, annotations, params):
        """The parameters as the function has them; those with a default may go without a type."""
        plain = [p for p in signature if p.kind is not p.VAR_KEYWORD]
        if params is not None and not isinstance(params, dict):
            params = list(params)
            if len(params) > len(plain):
                raise TypeError(
                    f"UDF '{self.name}' takes {len(plain)} arguments, but params has {len(params)}"
                )
            params = {p.name: given for p, given in zip(plain, params)}
        elif params is not None:
            unknown = [name for name in params if name not in {p.name for p in plain}]
            if unknown:
                raise TypeError(f"UDF '{self.name}' has no parameter '{unknown[0]}'")
        for parameter in plain:
            has_default = parameter.default is not parameter.empty
            given = annotations.get(parameter.name)
            if params is not None:
                given = params.get(parameter.name, given if not has_default else None)
            if given is None and has_default:
                # SQL cannot give it, and need not.
                if parameter.kind is parameter.KEYWORD_ONLY:
                    continue
                break
            self._add(parameter.name, given, has_default)
            if parameter.kind is parameter.KEYWORD_ONLY:
                self._keywords.append(parameter.name)
            else:
                self._positional += 1

    def _add(self, name, given, has_default):
        data_type = _type_of(given)
        if data_type is None:
            raise TypeError(
                f"UDF '{self.name}': parameter '{name}' has no type that SQL knows: annotate it "
                f"({name}: float), or give params="
            )
        self._params.append((name, data_type, has_default))


class _Definition(typing.NamedTuple):
    name: str
    function: object
    params: list
    returns: object
    options: list


class _ByKeyword:
    """A function some of whose parameters can only be given by name."""

    def __init__(self, function, positional, keywords):
        self._function = function() if inspect.isclass(function) else function
        self._positional = positional
        self._keywords = keywords

    def __call__(self, *args):
        keywords = dict(zip(self._keywords, args[self._positional :]))
        return self._function(*args[: self._positional], **keywords)


def _text(value):
    """An option's value as a word."""
    if isinstance(value, datetime.timedelta):
        return str(value.total_seconds())
    return str(value)


def udf(function=None, /, *, name=None, params=None, returns=None, **options):
    """Makes a Python function one that connections can use: `con.udf(f)` or `con.register_udf(f)`.

    name: what SQL calls it; the function's own name without it.
    params, returns: types, where the function is not annotated: Python types, pyarrow types, or the
        names of SQL types. params is a list, or a dict by parameter.
    kind: "scalar" (a call a row), "numpy", "arrow" or "pandas" (a call a batch).
    null_handling: "propagate" (NULL gives NULL without a call) or "call".
    on_error: "raise", "null" or "collect" (`SELECT * FROM fuseline_errors()`).
    volatility: "immutable", "stable" or "volatile".
    isolation: "in_process" or "process", with timeout= in seconds and memory_limit= in bytes.
    batch_rows: rows in a batch, at most.
    compile: "auto" (where the compiled code is certain to give what Python gives), "never" or "require".
    """

    def decorate(function):
        return Function(function, name=name, params=params, returns=returns, **options)

    return decorate if function is None else decorate(function)


def connection_udf(self, function=None, /, *, name=None, params=None, returns=None, **options):
    """Makes a Python function a function of this connection; it may be used as a decorator.

    It replaces a function of that name. The options are those of `fuseline.udf`; a function made by
    `fuseline.udf` has its own, and is given alone. Returns the function as it was.
    """

    def decorate(function):
        made = function
        if not isinstance(function, Function):
            made = Function(function, name=name, params=params, returns=returns, **options)
        elif name is not None or params is not None or returns is not None or options:
            raise TypeError("a function made by fuseline.udf has its options already")
        _fuseline.register_function(self, made)
        return function

    return decorate if function is None else decorate(function)


def register_udf(self, function, /):
    """Makes a function that `fuseline.udf` has made a function of this connection."""
    if not isinstance(function, Function):
        raise TypeError(f"register_udf takes a function made by fuseline.udf, not {function!r}")
    _fuseline.register_function(self, function)
    return function


def create_function(
    self,
    name,
    function,
    parameters=None,
    return_type=None,
    *,
    type="native",
    null_handling="default",
    exception_handling="default",
    side_effects=False,
):
    """Makes a Python function a function of this connection, with the arguments that DuckDB has.

    type: "native" (a call a row) or "arrow" (a call a batch).
    null_handling: "default" (NULL gives NULL) or "special" (the function sees NULL as None).
    exception_handling: "default" (the query fails) or "return_null".
    side_effects: True for a function that must run once for each row.
    """
    words = {
        "kind": ("type", type, {"native": "scalar", "arrow": "arrow"}),
        "null_handling": (
            "null_handling",
            null_handling,
            {"default": "propagate", "special": "call"},
        ),
        "on_error": (
            "exception_handling",
            exception_handling,
            {"default": "raise", "return_null": "null"},
        ),
    }
    options = {}
    for option, (argument, given, meanings) in words.items():
        word = str(getattr(given, "name", given)).rpartition(".")[2].lower()
        if word not in meanings:
            expected = " or ".join(repr(m) for m in meanings)
            raise ValueError(f"{argument} is {expected}, not {given!r}")
        options[option] = meanings[word]
    if parameters is not None:
        parameters = [_duckdb_type(p) if isinstance(p, str) else p for p in parameters]
    if isinstance(return_type, str):
        return_type = _duckdb_type(return_type)
    volatility = "volatile" if side_effects else "immutable"
    made = Function(
        function,
        name=name,
        params=parameters,
        returns=return_type,
        volatility=volatility,
        **options,
    )
    _fuseline.register_function(self, made)
    return self


def remove_function(self, name):
    """Removes a function of this connection."""
    _fuseline.drop_function(self, name)
    return self


def load_file(path):
    """The functions that a file of Python makes with `fuseline.udf`, for `--udf FILE.py`."""
    import importlib.util
    import os

    name = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or not os.path.exists(path):
        raise FileNotFoundError(f"there is no file of Python {str(path)!r}")
    module = importlib.util.module_from_spec(spec)
    # Workers import it by its name, and its own folder holds what it imports.
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return [value for value in vars(module).values() if isinstance(value, Function)]
