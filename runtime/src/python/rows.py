"""Loops over rows for functions of kind scalar, and Python's side of other conversions.

The loops are written in Python because the interpreter calls a Python function from Python faster
than from native code. Each returns (results, row, exception): the exception that ended it, and the
row it came from; or (results, failures) where failing rows are kept.
"""

import datetime
import textwrap

_EPOCH = datetime.datetime(1970, 1, 1)
_EPOCH_UTC = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)


def _without_loop(error):
    """The exception without the frames of this file at the top of its traceback."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return error.with_traceback(trace)


_TEMPLATE = """
def until_error({f}rows{columns}):
    first = iter({source})
    try:
        return [f({items}) for {target} in {zipped}], 0, None
    except BaseException as error:
        return None, rows - first.__length_hint__() - 1, _without_loop(error)


def past_errors({f}rows{columns}):
    results = []
    failures = []
    for {target} in {plain}:
        try:
            results.append(f({items}))
        except Exception as error:
            failures.append((len(results), _without_loop(error)))
            results.append(None)
    return results, failures
"""


def loops(arguments):
    """The two loops for functions of so many arguments."""
    columns = [f"c{i}" for i in range(arguments)]
    items = [f"v{i}" for i in range(arguments)]
    if arguments == 0:
        source, zipped, plain, target = "range(rows)", "first", "range(rows)", "_"
    elif arguments == 1:
        source, zipped, plain, target = "c0", "first", "c0", "v0"
    else:
        source = "c0"
        zipped = "zip(first, " + ", ".join(columns[1:]) + ")"
        plain = "zip(" + ", ".join(columns) + ")"
        target = ", ".join(items)
    code = _TEMPLATE.format(
        f="f, ",
        columns="".join(f", {c}" for c in columns),
        source=source,
        zipped=zipped,
        plain=plain,
        target=target,
        items=", ".join(items),
    )
    scope = {"_without_loop": _without_loop}
    exec(compile(code, __file__, "exec"), scope)
    return scope["until_error"], scope["past_errors"]


def instant(micros):
    """Microseconds since 1970 as a datetime without a zone."""
    return _EPOCH + datetime.timedelta(0, 0, micros)


def instant_in(micros, zone):
    """Microseconds since 1970 as a datetime in a zone."""
    return (_EPOCH_UTC + datetime.timedelta(0, 0, micros)).astimezone(zone)


def zone(name):
    """The zone of an Arrow type: a name, or an offset such as "+02:00"."""
    if name.upper() in ("UTC", "Z"):
        return datetime.UTC
    if name[0] in "+-":
        digits = name[1:].replace(":", "")
        offset = datetime.timedelta(hours=int(digits[:2]), minutes=int(digits[2:4] or 0))
        return datetime.timezone(-offset if name[0] == "-" else offset)
    import zoneinfo

    return zoneinfo.ZoneInfo(name)


def micros_of_instant(value):
    """The reverse of `instant`."""
    if not isinstance(value, datetime.datetime):
        raise TypeError(f"expected a datetime, got {type(value).__name__}")
    if value.tzinfo is not None:
        raise TypeError("expected a datetime without a time zone, got one with a zone")
    return (value - _EPOCH) // _MICROSECOND


def micros_of_instant_in(value):
    """The reverse of `instant_in`."""
    if not isinstance(value, datetime.datetime):
        raise TypeError(f"expected a datetime, got {type(value).__name__}")
    if value.tzinfo is None:
        raise TypeError("expected a datetime with a time zone, got one without")
    return (value - _EPOCH_UTC) // _MICROSECOND


def days_of_date(value):
    """Days since 1970."""
    if not isinstance(value, datetime.date) or isinstance(value, datetime.datetime):
        raise TypeError(f"expected a date, got {type(value).__name__}")
    return value.toordinal() - 719163


def clock(micros):
    """Microseconds since midnight as a time."""
    seconds, micro = divmod(micros, 1_000_000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return datetime.time(hour, minute, second, micro)


def micros_of_clock(value):
    """The reverse of `clock`."""
    if not isinstance(value, datetime.time):
        raise TypeError(f"expected a time, got {type(value).__name__}")
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    return seconds * 1_000_000 + value.microsecond


def span(micros):
    """Microseconds as a timedelta."""
    return datetime.timedelta(0, 0, micros)


def micros_of_span(value):
    """The reverse of `span`."""
    if not isinstance(value, datetime.timedelta):
        raise TypeError(f"expected a timedelta, got {type(value).__name__}")
    return value // _MICROSECOND


def digits_of_decimal(value, scale):
    """A number as its digits, with so many of them behind the point (half goes to even)."""
    import decimal

    if isinstance(value, int):
        return int(value) * 10**scale
    if not isinstance(value, decimal.Decimal):
        raise TypeError(f"expected a Decimal, got {type(value).__name__}")
    if not value.is_finite():
        raise ValueError(f"{value} is no number that a column of decimals can hold")
    wide = decimal.Context(prec=200, rounding=decimal.ROUND_HALF_EVEN)
    return int(value.scaleb(scale, wide).to_integral_value(context=wide))


def items_of_list(value):
    """The items of a list, tuple or array."""
    if isinstance(value, (list, tuple)):
        return value
    if hasattr(value, "tolist"):
        items = value.tolist()
        if isinstance(items, list):
            return items
    raise TypeError(f"expected a list, got {type(value).__name__}")


def objects(items):
    """A list as a NumPy array of objects, never of more dimensions."""
    import numpy

    array = numpy.empty(len(items), dtype=object)
    array[:] = items
    return array


def object_items(array):
    """The values of a column of objects, None where a value is missing."""
    import numpy

    items = array.tolist() if hasattr(array, "tolist") else list(array)
    return [None if v is None or v is numpy.ma.masked else v for v in items]


def series_items(series, floats):
    """The values of a pandas Series, None where one is missing; NaN is a value among floats."""
    import pandas

    missing = series.isna()
    items = series.astype(object).tolist()
    if not missing.any():
        return items
    if floats:
        return [None if v is None or v is pandas.NA else v for v in items]
    return [None if gone else v for v, gone in zip(items, missing.tolist())]


def trace_of(error):
    """The traceback as text, without the message."""
    import traceback

    return "".join(traceback.format_tb(error.__traceback__))


def body_of(name, params, body):
    """The function that the body of CREATE FUNCTION stands for.

    It may define it (`def name(...)` or `class name`), be an expression over the parameters, or be
    the statements of a function.
    """
    import ast

    text = textwrap.dedent(body).strip("\n")
    file = f"<function {name}>"
    scope = {"__name__": f"fuseline.functions.{name}"}
    try:
        tree = ast.parse(text.strip(), file)
    except SyntaxError:
        tree = None
    if tree is not None:
        defined = [
            node.name
            for node in tree.body
            if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef))
        ]
        if len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr):
            text = f"return (\n{text.strip()}\n)"
        elif name in defined or name.lower() in [d.lower() for d in defined]:
            scope["__fuseline_source__"] = text.strip()
            exec(compile(tree, file, "exec"), scope)
            return next(scope[d] for d in defined if d.lower() == name.lower())
    text = f"def {name}({', '.join(params)}):\n" + textwrap.indent(text, "    ") + "\n"
    scope["__fuseline_source__"] = text
    exec(compile(text, file, "exec"), scope)
    return scope[name]
