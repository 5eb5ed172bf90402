"""Python functions as their source and what they refer to, for the compiler.

What cannot be told apart from the genuine thing is not claimed to be it: a builtin is known by its identity when this
module was first imported, so a patched one is just another function.
"""

import builtins
import datetime
import linecache
import math
import types

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
    known[id(type(None))] = "NoneType"
    return known


_KNOWN = _known()
# By code object: where its source was found, or why it was not.
_FOUND = {}
_EPOCH = datetime.datetime(1970, 1, 1)


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


def _value(value, names, stack):
    """A value as a tagged tuple."""
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
        return (kind.__name__, tuple(_value(v, names, stack) for v in value))
    if kind is set or kind is frozenset:
        return ("set", tuple(sorted((_value(v, names, stack) for v in value), key=repr)))
    if kind is dict:
        items = value.items()
        return ("dict", tuple((_value(k, names, stack), _value(v, names, stack)) for k, v in items))
    if kind is types.ModuleType:
        of = vars(value)
        plain = [n for n in sorted(names) if n in of and type(of[n]) is not types.ModuleType]
        found = tuple((n, _value(of[n], names, stack)) for n in plain)
        return ("module", value.__name__, found)
    if kind is types.FunctionType:
        if value.__code__ in stack:
            return ("other", f"the function '{value.__name__}', which calls itself")
        try:
            return _function(value, stack)
        except NotSource as why:
            return ("other", f"the function '{value.__name__}' ({why})")
    name = getattr(value, "__name__", None)
    if isinstance(name, str) and (isinstance(value, type) or callable(value)):
        return ("other", f"'{name}'")
    return ("other", f"an object of class {kind.__name__}")


def _function(function, stack):
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
    args = code.co_varnames[: code.co_argcount]
    defaults = dict(
        zip(args[len(args) - len(function.__defaults__ or ()) :], function.__defaults__ or ())
    )
    defaults.update(function.__kwdefaults__ or {})

    def values(of):
        return tuple((name, _value(of[name], names, stack)) for name in sorted(of))

    return ("function", code.co_name, text, line, span, values(found), values(defaults))


def source(function):
    """A function as tagged tuples, equal as long as it means the same; raises NotSource."""
    from fuseline._udf import _ByKeyword

    if isinstance(function, _ByKeyword):
        function = function._function
    if type(function) is not types.FunctionType:
        if isinstance(function, type):
            raise NotSource("a class is not compiled")
        raise NotSource("it is not a function written in Python")
    return _function(function, ())
