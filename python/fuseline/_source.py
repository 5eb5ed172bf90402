"""Python functions as their source and what they refer to, for the compiler.

What cannot be told apart from the genuine thing is not claimed to be it: a builtin is known by its identity when this
module was first imported, so a patched one is just another function.
"""

import builtins
import datetime
import functools
import linecache
import math
import operator
import sys
import types
import warnings

_UNKNOWN = "its source is not available"


def _known():
    """Functions and types that the compiler knows, by identity."""
    known = {}
    names = (
        "abs all any bool chr divmod enumerate float format frozenset int isinstance len list map max min next "
        "ord pow range repr reversed round set sorted str sum tuple zip dict object"
    )
    for name in names.split():
        known[id(getattr(builtins, name))] = name
    for name, value in vars(math).items():
        if isinstance(value, types.BuiltinFunctionType):
            known[id(value)] = f"math.{name}"
    for name in ("date", "datetime", "timedelta"):
        known[id(getattr(datetime, name))] = f"datetime.{name}"
    known[id(functools.reduce)] = "functools.reduce"
    for name in ("add", "sub", "mul"):
        known[id(getattr(operator, name))] = f"operator.{name}"
    known[id(type(None))] = "NoneType"
    return known


_KNOWN = _known()
# NumPy's functions and types that the compiler knows.
_ARRAYS = """
    abs absolute acos acosh add all amax amin any arccos arccosh arcsin arcsinh arctan arctan2 arctanh argmax argmin
    argsort around asin asinh atan atan2 atanh average bincount bitwise_and bitwise_invert bitwise_left_shift
    bitwise_not bitwise_or bitwise_right_shift bitwise_xor bool bool_ cbrt ceil clip convolve copysign corrcoef cos
    cosh count_nonzero cumprod cumsum deg2rad degrees diff digitize divide dot equal errstate exp exp2 expm1 fabs fix
    flip float32 float64 floor floor_divide fmax fmin fmod full_like gradient greater greater_equal histogram hypot
    int16 int32 int64 int8 interp invert isfinite isin isinf isnan left_shift less less_equal log log10 log1p log2
    logical_and logical_not logical_or logical_xor max maximum mean median min minimum mod multiply nan_to_num nanmax
    nanmean nanmin nanstd nansum negative nonzero not_equal ones_like percentile positive pow power prod ptp quantile
    rad2deg radians reciprocal remainder right_shift rint roll round searchsorted select sign sin sinh sort sqrt square
    std subtract sum take tan tanh trapezoid true_divide trunc uint16 uint32 uint8 unique var where zeros_like
"""


def _know_arrays():
    """Has NumPy's functions known from now on, and says what it does on errors; raises NotSource."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        import numpy
    if int(numpy.__version__.partition(".")[0]) < 2:
        raise NotSource(
            f"functions over arrays are compiled by the rules of NumPy 2, and this is {numpy.__version__}"
        )
    if "numpy" not in _SEEN:
        _SEEN.add("numpy")
        for name in _ARRAYS.split():
            value = getattr(numpy, name, None)
            # One that was replaced before is no known one.
            if (
                value is not None
                and str(getattr(value, "__module__", "numpy")).partition(".")[0] == "numpy"
            ):
                _KNOWN.setdefault(id(value), f"numpy.{name}")
    for action, _, category, *_ in warnings.filters:
        if action == "error" and issubclass(RuntimeWarning, category):
            raise NotSource("warnings are exceptions, so NumPy's own have to be given")
        if issubclass(RuntimeWarning, category):
            break
    # Whatever np.seterr says to the caller's thread: functions run on threads of the engine's, which start with these.
    return {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}


_SEEN = set()
# By code object: where its source was found, or why it was not.
_FOUND = {}
_EPOCH = datetime.datetime(1970, 1, 1)
_MONTHS = [datetime.date(2001, month, 1) for month in range(1, 13)]
_WEEK = [datetime.date(2001, 1, day) for day in range(1, 8)]


class NotSource(Exception):
    """Why a function has no source that the compiler could read."""


def _codes(code):
    yield code
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _codes(const)


def _span(code):
    """Lines and columns of a lambda's body, as far as its instructions tell."""
    spans = [p for p in code.co_positions() if None not in p and (p[0], p[2]) < (p[1], p[3])]
    inner = [s for c in code.co_consts if isinstance(c, types.CodeType) for s in [_span(c)] if s]
    # (line, end_line, column, end_column)
    starts = [(p[0], p[2]) for p in spans] + [(s[0], s[1]) for s in inner]
    ends = [(p[1], p[3]) for p in spans] + [(s[2], s[3]) for s in inner]
    if not starts:
        return None
    return (*min(starts), *max(ends))


def _locate(function):
    """The text that a function stands in, its first line, and the span of a lambda's body."""
    code = function.__code__
    text = function.__globals__.get("__fuseline_source__")
    if text is None or not code.co_filename.startswith("<function "):
        lines = linecache.getlines(code.co_filename, function.__globals__)
        text = "".join(lines)
    if not text:
        raise NotSource(_UNKNOWN)
    # The file may have changed since it was loaded.
    try:
        compiled = compile(text, code.co_filename, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        raise NotSource("its source file has changed or is no Python") from None
    if not any(other == code for other in _codes(compiled)):
        raise NotSource(
            "its source is not what was loaded: the file has changed, or a tool rewrote it"
        )
    span = _span(code) if code.co_name == "<lambda>" else None
    if code.co_name == "<lambda>" and span is None:
        raise NotSource(_UNKNOWN)
    return text, code.co_firstlineno, span


def _located(function):
    code = function.__code__
    if code not in _FOUND:
        try:
            _FOUND[code] = _locate(function)
        except NotSource as why:
            _FOUND[code] = str(why)
    found = _FOUND[code]
    if isinstance(found, str):
        raise NotSource(found)
    return found


_PLAIN = (type(None), bool, int, float, str)


def _remembered(value, memo):
    """What was made of a container of plain values, if it still has the very same ones; else None.

    An int or a text does not change, so a container of the same objects means the same: that is as exact as
    reading it again, and what a large table costs when a query starts.
    """
    known = memo.get(id(value))
    if known is None or known[0] is not value or len(value) != len(known[1]):
        return None
    items = value.values() if type(value) is dict else ()
    same = all(map(operator.is_, value, known[1])) and all(map(operator.is_, items, known[2]))
    return known[3] if same else None


def _remember(value, memo, made):
    # Containers that were replaced are not kept for ever.
    if len(memo) > 64:
        memo.clear()
    items = tuple(value.values()) if type(value) is dict else ()
    if all(type(v) in _PLAIN for v in value) and all(type(v) in _PLAIN for v in items):
        memo[id(value)] = (value, tuple(value), items, made)


def _value(value, names, stack, memo):
    """A value as a tagged tuple."""
    kind = type(value)
    if kind in (tuple, list, set, frozenset, dict) and len(value) > 15:
        made = _remembered(value, memo)
        if made is None:
            made = _fresh(value, names, stack, memo)
            _remember(value, memo, made)
        return made
    return _fresh(value, names, stack, memo)


def _fresh(value, names, stack, memo):
    kind = type(value)
    if value is None:
        return ("none",)
    if id(value) in _KNOWN:
        return ("known", _KNOWN[id(value)])
    if kind is bool or kind is str:
        return (kind.__name__, value)
    if kind is int:
        return ("int", value) if -(2**63) <= value < 2**63 else ("other", "an int beyond 64 bits")
    if kind is float:
        return ("float", value, value.hex())
    if kind is datetime.datetime:
        if value.tzinfo is not None:
            return ("other", "a datetime with a time zone")
        return ("datetime", (value - _EPOCH) // datetime.timedelta(microseconds=1))
    if kind is datetime.date:
        return ("date", value.toordinal() - 719163)
    if kind is datetime.timedelta:
        return ("timedelta", value // datetime.timedelta(microseconds=1))
    if kind in (tuple, list, set, frozenset, dict):
        if len(value) > 10_000:
            return ("other", f"a {kind.__name__} of more than 10,000 items")
        stack = (*stack, None)
        if len(stack) > 50:
            return ("other", f"a {kind.__name__} that is nested too deeply")
    if kind is tuple or kind is list:
        return (kind.__name__, tuple(_value(v, names, stack, memo) for v in value))
    if kind is set or kind is frozenset:
        return ("set", tuple(sorted((_value(v, names, stack, memo) for v in value), key=repr)))
    if kind is dict:
        items = value.items()
        read = [(_value(k, names, stack, memo), _value(v, names, stack, memo)) for k, v in items]
        return ("dict", tuple(read))
    if kind is types.ModuleType:
        of = vars(value)
        plain = [n for n in sorted(names) if n in of and type(of[n]) is not types.ModuleType]
        found = tuple((n, _value(of[n], names, stack, memo)) for n in plain)
        return ("module", value.__name__, found)
    if kind is types.FunctionType:
        if value.__code__ in stack:
            return ("other", f"the function '{value.__name__}', which calls itself")
        try:
            return _function(value, stack, memo)
        except NotSource as why:
            return ("other", f"the function '{value.__name__}' ({why})")
    name = getattr(value, "__name__", None)
    if isinstance(name, str) and (isinstance(value, type) or callable(value)):
        return ("other", f"'{name}'")
    return ("other", f"an object of class {kind.__name__}")


def _function(function, stack, memo):
    code = function.__code__
    text, line, span = _located(function)
    stack = (*stack, code)
    codes = list(_codes(code))
    names = {name for c in codes for name in c.co_names}
    free = dict(zip(code.co_freevars, function.__closure__ or ()))
    found = {}
    for name, cell in free.items():
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue
    scope, builtin = function.__globals__, vars(builtins)
    for name in names:
        if name not in found:
            if name in scope:
                found[name] = scope[name]
            elif name in builtin:
                found[name] = builtin[name]
    for module in (math, datetime):
        if module.__name__ in names:
            found[f"import {module.__name__}"] = module
    if "strftime" in names:
        # Names of months and of weekdays, in the language that is set: 2001 began on a Monday.
        for letter, days in (("B", _MONTHS), ("b", _MONTHS), ("A", _WEEK), ("a", _WEEK)):
            found[f"strftime %{letter}"] = tuple(day.strftime(f"%{letter}") for day in days)
    args = code.co_varnames[: code.co_argcount]
    defaults = dict(
        zip(args[len(args) - len(function.__defaults__ or ()) :], function.__defaults__ or ())
    )
    defaults.update(function.__kwdefaults__ or {})

    def values(of):
        return tuple((name, _value(of[name], names, stack, memo)) for name in sorted(of))

    return ("function", code.co_name, text, line, span, values(found), values(defaults))


def source(function, arrays=False, memo=None):
    """A function as tagged tuples, equal as long as it means the same; raises NotSource.

    arrays: it is of kind numpy. memo: a dict that is handed over each time, for what has not changed since.
    """
    from fuseline._udf import _ByKeyword

    if isinstance(function, _ByKeyword):
        function = function._function
    if type(function) is not types.FunctionType:
        if isinstance(function, type):
            raise NotSource("a class is not compiled")
        raise NotSource("it is not a function written in Python")
    memo = {} if memo is None else memo
    if not arrays:
        return _function(function, (), memo)
    errors = _know_arrays()
    tag, name, text, line, span, names, defaults = _function(function, (), memo)
    names += (("numpy.geterr", _value(errors, (), (), memo)),)
    return (tag, name, text, line, span, names, defaults)
