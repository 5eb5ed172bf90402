"""What CPython does with a function and a row, and what a query does with them: for tests that compare
the two, values with their types and bits, exceptions with type, text and the lines they came from.

The oracle is the function itself, called here, and then what a column of the declared type makes of
its result: like Python, a column of floats takes ints, a column of ints takes bools, and what does
not fit is a failure of its row.

One NaN is as good as another: which bits a NaN has is up to the order in which CPython's compiler put
two operands, so neither Python nor SQL says.
"""

import dataclasses
import datetime as dt
import inspect
import math
import operator
import re
import struct
import traceback

import pyarrow as pa

import fuseline

ARROW = {
    "BOOLEAN": pa.bool_(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "VARCHAR": pa.string(),
    "DATE": pa.date32(),
    "Timestamp(Microsecond, None)": pa.timestamp("us"),
}
FRAME = re.compile(r'^  File "([^"]*)", line (\d+), in (.*)$', re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Value:
    """A row's result, as its column has it."""

    value: object

    @property
    def key(self):
        """What two results must agree on."""
        return bits(self.value)


@dataclasses.dataclass(frozen=True)
class Raised:
    """A row's exception. `frames` are the function's own: lines and names, outermost first."""

    type: str
    text: str
    frames: tuple

    @property
    def key(self):
        """What two exceptions must agree on."""
        return (self.type, self.text, self.frames)


def bits(value):
    """The type and all bits of a value."""
    if isinstance(value, float):
        return ("float", "nan" if math.isnan(value) else struct.pack("<d", value))
    return (type(value).__name__, value)


def ulps(a, b):
    """How many floats lie between two of them."""
    if math.isnan(a) or math.isnan(b):
        return 0 if math.isnan(a) and math.isnan(b) else 2**63

    def place(x):
        (number,) = struct.unpack("<q", struct.pack("<d", x))
        return number if number >= 0 else -(number & (2**63 - 1))

    return abs(place(a) - place(b))


def as_column(value, returns):
    """What a column of the type holds for a result; raises what the row fails with."""
    if value is None:
        return None
    if returns == "BIGINT":
        number = operator.index(value)
        number.to_bytes(8, "little", signed=True)
        return number
    if returns == "DOUBLE":
        if not isinstance(value, (int, float)):
            raise TypeError(f"must be real number, not {type(value).__name__}")
        return float(value)
    if returns == "BOOLEAN":
        if not isinstance(value, bool):
            raise TypeError(f"expected a bool, got {type(value).__name__}")
        return value
    if returns == "VARCHAR":
        if not isinstance(value, str):
            raise TypeError(f"expected a str, got {type(value).__name__}")
        value.encode()
        return str(value)
    if returns == "DATE":
        if not isinstance(value, dt.date) or isinstance(value, dt.datetime):
            raise TypeError(f"expected a date, got {type(value).__name__}")
        return value
    if not isinstance(value, dt.datetime):
        raise TypeError(f"expected a datetime, got {type(value).__name__}")
    return value


def plain(function, row, returns, null_handling="propagate"):
    """What CPython does with a row."""
    if null_handling == "propagate" and any(v is None for v in row):
        return Value(None)
    try:
        value = function(*row)
    except Exception as error:
        trace = traceback.extract_tb(error.__traceback__)[1:]
        return Raised(type(error).__name__, str(error), tuple((f.lineno, f.name) for f in trace))
    try:
        return Value(as_column(value, returns))
    except Exception as error:
        return Raised(type(error).__name__, str(error), ())


def raised_by(error):
    """The exception of a query, as `plain` would have it."""
    cause = error.__cause__
    if cause is None:
        return Raised(type(error).__name__, str(error), ())
    # A worker's exception comes with its traceback as a note.
    notes = [n for n in getattr(cause, "__notes__", ()) if "Traceback" in n]
    if cause.__traceback__ is None and notes:
        frames = tuple((int(line), name) for _, line, name in FRAME.findall(notes[0]))
    else:
        frames = tuple((f.lineno, f.name) for f in traceback.extract_tb(cause.__traceback__))
    return Raised(type(cause).__name__, str(cause), frames)


def table_of(params, rows):
    """Rows as a table: a number `k`, and a column for each parameter."""
    columns = {"k": pa.array(range(len(rows)), pa.int64())}
    for at, param in enumerate(params):
        columns[f"c{at}"] = pa.array([row[at] for row in rows], ARROW[param])
    return pa.table(columns)


def call(name, params):
    """The call of a function over the columns of `table_of`."""
    return f"{name}({', '.join(f'c{at}' for at in range(len(params)))})"


def outcome(con, name, params, number):
    """What a query does with one row."""
    try:
        found = con.sql(f"SELECT {call(name, params)} AS y FROM t WHERE k = {number}").fetchall()
    except fuseline.UdfError as error:
        return raised_by(error)
    assert len(found) == 1, found
    return Value(found[0][0])


def outcomes(con, name, params, expected):
    """What queries do with all rows: those that should not raise in one, the others in one each."""
    good = [at for at, e in enumerate(expected) if isinstance(e, Value)]
    found = {at: None for at in range(len(expected))}
    try:
        where = "" if len(good) == len(expected) else f" WHERE {_within(good)}"
        column = (
            con.sql(f"SELECT {call(name, params)} AS y FROM t{where}").fetchall() if good else []
        )
        assert len(column) == len(good), (len(column), len(good))
        for at, (value,) in zip(good, column):
            found[at] = Value(value)
    except fuseline.UdfError:
        # Some row raises that should not: which, and what the others do.
        for at in good:
            found[at] = outcome(con, name, params, at)
    for at, e in enumerate(expected):
        if isinstance(e, Raised):
            found[at] = outcome(con, name, params, at)
    return [found[at] for at in range(len(expected))]


def _within(numbers):
    return f"k IN ({', '.join(map(str, numbers))})" if numbers else "false"


def differences(rows, expected, found, tolerance=0):
    """Texts of the rows that differ; floats may be `tolerance` floats apart."""
    texts = []
    for row, e, f in zip(rows, expected, found, strict=True):
        same = type(e) is type(f) and e.key == f.key
        if not same and tolerance and isinstance(e, Value) and isinstance(f, Value):
            floats = isinstance(e.value, float) and isinstance(f.value, float)
            same = floats and ulps(e.value, f.value) <= tolerance
        if not same:
            texts.append(f"{row!r}: CPython {e}, the query {f}")
    return texts


def how(con, sql):
    """How EXPLAIN says that a query with one function runs it: ("compiled", "") or
    ("Python", the reason with its line)."""
    plan = con.sql(sql).explain()
    python = re.search(r"\bPython: ([^\n]+)", plan)
    if python:
        return "Python", python[1]
    assert re.search(r"\bcompiled\b", plan), f"EXPLAIN does not say how the function runs:\n{plan}"
    return "compiled", ""


def bailed(profile, name):
    """Rows that compiled code handed to CPython in a run, by `profile()`."""
    figures = profile.get("functions", {}).get(name, {})
    return sum(v for k, v in figures.items() if "bail" in k and isinstance(v, int))


def transcendental(function):
    """Whether a function calls something whose last bit may differ unless exact_libm is set."""
    names = set()
    codes = [inspect.unwrap(function).__code__]
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [c for c in code.co_consts if inspect.iscode(c)]
        codes += [
            function.__globals__[n].__code__
            for n in code.co_names
            if inspect.isfunction(function.__globals__.get(n)) and n not in names
        ]
    return bool(names & TRANSCENDENTAL)


TRANSCENDENTAL = {
    *("sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh", "exp", "log"),
    *("log10", "log2", "log1p", "expm1", "erf", "erfc", "gamma", "lgamma", "pow", "hypot"),
    *("arcsin", "arccos", "arctan", "arctan2", "radians", "degrees", "deg2rad", "power"),
}
