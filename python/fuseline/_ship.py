"""Python functions on their way to worker processes."""

import collections
import io
import os
import pickle
import sys
import types


def _dumps(cloudpickle, function):
    """As cloudpickle.dumps; code keeps the name of its file, which later versions drop, because a
    traceback shows the lines of it."""
    table = cloudpickle.Pickler.dispatch_table

    def reduced(code):
        make, arguments = table[types.CodeType](code)
        named = [code.co_filename if a == "<dynamic-code>" else a for a in arguments]
        return make, tuple(named)

    changed = collections.ChainMap({types.CodeType: reduced}, table)

    class Pickler(cloudpickle.Pickler):
        # Looked up on the class only.
        dispatch_table = changed

    file = io.BytesIO()
    Pickler(file).dump(function)
    return file.getvalue()


def ship(function, name):
    """What a worker needs for a function: it, pickled, and where modules are found.

    Raises TypeError for a function that cannot be pickled.
    """
    try:
        import cloudpickle
    except ImportError:
        cloudpickle = None
    try:
        if cloudpickle is not None:
            data = _dumps(cloudpickle, function)
        else:
            data = pickle.dumps(function)
    except Exception as error:
        advice = (
            "what it refers to (globals, defaults, enclosed variables) goes with it, and must not "
            "be a connection, a file, a lock or the like"
        )
        if cloudpickle is None:
            advice = "pip install cloudpickle, without which only functions of modules can be sent"
        raise TypeError(
            f"UDF '{name}' cannot be sent to a worker process: {type(error).__name__}: {error}; "
            + advice
        ) from error
    return data, [os.fspath(path) for path in sys.path]


def interpreter(name):
    """The interpreter and the program that workers run."""
    if not sys.executable:
        raise RuntimeError(
            f"UDF '{name}': worker processes need to know the interpreter, and sys.executable is "
            "empty"
        )
    folder = os.path.dirname(os.path.abspath(__file__))
    return sys.executable, os.path.join(folder, "_worker.py")
