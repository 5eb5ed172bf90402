"""The kinds of functions in a worker process: how each gets its arguments and what it may return.

The same as in-process, where the code is Rust: a test runs one matrix through both, and what
rows.py holds is shared.
"""

import pickle
import time

import fuseline_columns as columns
import fuseline_rows as rows

# The dtypes of Arrow's formats whose values numpy can hold; times without a zone follow below.
DTYPES = {
    "g": "float64",
    "f": "float32",
    "e": "float16",
    "l": "int64",
    "i": "int32",
    "s": "int16",
    "c": "int8",
    "L": "uint64",
    "I": "uint32",
    "S": "uint16",
    "C": "uint8",
    "b": "bool",
    "tdD": "datetime64[D]",
}
UNITS = {"s": "s", "m": "ms", "u": "us", "n": "ns"}


class FailedRow(Exception):
    """The function failed on a row of the batch."""

    def __init__(self, row, error, misfit=False):
        super().__init__(row, error)
        self.row = row
        self.error = error
        self.misfit = misfit


class Trouble(Exception):
    """Something failed that is not the function's fault, or before it was called."""

    def __init__(self, error, what=""):
        super().__init__(error)
        self.error = error
        self.what = what


class WrongResult(Exception):
    """What the function returned is no column, or one of another length or type."""

    def __init__(self, message="", got="", length=None, schema=b""):
        super().__init__(message, got, length)
        self.told = {"message": message, "got": got, "length": length}
        self.schema = schema


def load(request, body):
    """The function of a `load` request."""
    size = request["pickled"]
    kind = KINDS[request["kind"]]
    kind.check()
    function = pickle.loads(memoryview(body)[:size])
    if isinstance(function, type):
        try:
            function = function()
        except Exception as error:
            raise Trouble(error, "its class could not be instantiated") from None
    arrow = None
    trees = [*request["params"], request["returns"]]
    needed = request["kind"] == "arrow" or request["transport"] == "socket"
    if needed or any(columns.Type(tree).needs_arrow() for tree in trees):
        message = "functions of this kind or type need pyarrow: pip install pyarrow"
        pyarrow = need("pyarrow", message)
        arrow = pyarrow.ipc.read_schema(pyarrow.py_buffer(body).slice(size)).types
    known = arrow or [None] * len(trees)
    *params, returns = [columns.Type(tree, a) for tree, a in zip(trees, known)]
    return kind(function, params, returns, request["returns_text"])


def need(name, message):
    """A module that a function of some kind cannot do without."""
    import importlib

    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise ImportError(message) from error
    if name == "pyarrow":
        importlib.import_module("pyarrow.ipc")
    return module


class Function:
    """A function with its types. `call` gives the result column and the failures of rows."""

    def __init__(self, function, params, returns, returns_text):
        self.function = function
        self.params = params
        self.returns = returns
        self.returns_text = returns_text

    @staticmethod
    def check():
        """Imports what the kind needs."""

    def arguments(self, given):
        """What the function is called with."""
        try:
            return [self.argument(column) for column in given]
        except Exception as error:
            raise Trouble(error) from None

    def call(self, given, count, collect, clock):
        """Calls the function on whole columns."""
        arguments = self.arguments(given)
        result = timed(clock, self.function, *arguments)
        return self.result(result, count), []


def timed(clock, function, *arguments):
    """Calls something that spends the user's time."""
    started = time.perf_counter_ns()
    try:
        return function(*arguments)
    finally:
        clock.function += time.perf_counter_ns() - started


class Scalar(Function):
    """A call a row, with Python objects."""

    def __init__(self, *about):
        super().__init__(*about)
        self.loops = {}

    def argument(self, column):
        """A list of objects."""
        return columns.to_list(column)

    def call(self, given, count, collect, clock):
        """Calls the function on each row."""
        lists = self.arguments(given)
        until_error, past_errors = self._loops(len(lists))
        failures = []
        if collect:
            results, failed = timed(clock, past_errors, self.function, count, *lists)
            failures = [describe_row(row, error) for row, error in failed]

            def note(row, error):
                failures.append(describe_row(row, error, misfit=True))

            return columns.from_list(self.returns, results, note), failures
        results, row, error = timed(clock, until_error, self.function, count, *lists)
        if error is not None:
            raise FailedRow(row, error)
        try:
            return columns.from_list(self.returns, results), failures
        except columns.WrongValue as wrong:
            raise FailedRow(wrong.row, wrong.error, misfit=True) from None

    def _loops(self, arguments):
        if arguments not in self.loops:
            self.loops[arguments] = rows.loops(arguments)
        return self.loops[arguments]


class Numpy(Function):
    """NumPy arrays, a call a batch."""

    @staticmethod
    def check():
        """Imports numpy."""
        need("numpy", "functions of this kind need NumPy: pip install numpy")

    def argument(self, column):
        """A read-only array; masked where there are nulls; of objects for types without a dtype."""
        import numpy

        data = self._values(column)
        listed = column.nulls and column.type.format.startswith("+w:")
        if data is None or listed:
            return rows.objects(columns.to_list(column))
        if not column.nulls:
            return data
        bits = numpy.frombuffer(column.buffers[0], dtype="uint8")
        valid = numpy.unpackbits(bits, count=column.length, bitorder="little").view("bool")
        return numpy.ma.MaskedArray(data, ~valid)

    def _values(self, column):
        """The values whatever is null; None for types without a dtype."""
        import numpy

        code = column.type.format
        if code.startswith("+w:"):
            width, items = int(code[3:]), column.children[0]
            if width == 0 or items.nulls or items.type.children:
                return None
            items = self._values(items)
            return None if items is None else items.reshape(column.length, width)
        name = dtype_of(column.type)
        if name is None:
            return None
        data = column.buffers[1]
        if code == "b":
            bits = numpy.frombuffer(data, dtype="uint8")
            array = numpy.unpackbits(bits, count=column.length, bitorder="little").view("bool")
        elif code == "tdD":
            array = numpy.frombuffer(data, dtype="int32").astype("int64").view(name)
        else:
            array = numpy.frombuffer(data, dtype=name)
        array = array[: column.length]
        array.flags.writeable = False
        return array

    def result(self, result, count, noun="a NumPy array"):
        """The column that an array stands for."""
        import numpy

        if not isinstance(result, numpy.ndarray):
            what = "None" if result is None else type(result).__qualname__
            raise WrongResult(f"returned {what}, not {noun} with a value for each of {count} rows")
        shape = result.shape
        if not shape:
            raise WrongResult(
                "returned an array without dimensions, not one with a value for each of "
                f"{count} rows"
            )
        if shape[0] != count:
            raise WrongResult(length=shape[0])
        if isinstance(result, numpy.ma.MaskedArray):
            gone = numpy.ma.getmaskarray(result)
            return with_nulls(self.result(result.data, count, noun), gone)
        code = self.returns.format
        width = int(code[3:]) if code.startswith("+w:") else None
        if len(shape) > 2 or (len(shape) > 1 and shape[1] != width):
            shown = ", ".join(map(str, shape))
            raise WrongResult(
                f"returned an array of shape ({shown}), but was declared to return "
                f"{self.returns_text}"
            )
        if result.dtype.kind in "OUST":
            return self.objects(rows.object_items(result))
        if len(shape) > 1:
            items = self._flat(result, self.returns.children[0], count * width)
            return columns.Column(self.returns, count, 0, [None], [items])
        return self._flat(result, self.returns, count)

    def objects(self, items):
        """A column of objects, all of which must fit."""
        try:
            return columns.from_list(self.returns, items)
        except columns.WrongValue as wrong:
            raise WrongResult(
                f"returned a value on row {wrong.row} that does not fit {self.returns_text}: "
                f"{one_line(wrong.error)}"
            ) from None

    def _flat(self, result, type_, items):
        """An array of plain values, in any shape, as a column of `items` values."""
        import numpy

        name = dtype_of(type_)
        if name is None:
            raise WrongResult(got=f"{result.dtype} (NumPy)")
        expected = numpy.dtype(name)
        if result.dtype != expected:
            # Times of another unit are the same times.
            if result.dtype.kind != expected.kind or expected.kind not in "Mm":
                raise WrongResult(got=f"{result.dtype} (NumPy)")
            result = result.astype(expected)
        whole = numpy.ascontiguousarray(result).reshape(-1)
        if expected.kind in "Mm":
            return self._times(whole.view("int64"), type_)
        if type_.format == "b":
            return columns.Column(type_, items, 0, [None, numpy.packbits(whole, bitorder="little")])
        return columns.Column(type_, items, 0, [None, whole.view("uint8")])

    def _times(self, numbers, type_):
        """Instants and spans: NaT is NULL."""
        import numpy

        gone = numbers == numpy.iinfo("int64").min
        if type_.format == "tdD":
            days = numbers.astype("int32")
            gone |= days != numbers
            numbers = days
        return with_nulls(columns.Column(type_, len(numbers), 0, [None, numbers]), gone)


class Arrow(Function):
    """pyarrow arrays, a call a batch."""

    def argument(self, column):
        """A pyarrow.Array over the same memory."""
        return columns.to_arrow(column, column.type.arrow)

    def result(self, result, count):
        """The column of an Arrow array, whoever made it."""
        import pyarrow

        # The results of pyarrow's functions may come in chunks.
        if hasattr(result, "chunks") and hasattr(result, "combine_chunks"):
            result = result.combine_chunks()
        if not hasattr(result, "__arrow_c_array__"):
            raise WrongResult(f"returned {type(result).__qualname__}, not an Arrow array")
        if not isinstance(result, pyarrow.Array):
            result = pyarrow.array(result)
        if len(result) != count:
            raise WrongResult(length=len(result))
        expected = self.returns.arrow
        if result.type != expected:
            if not same_but_for_encoding(result.type, expected):
                schema = pyarrow.schema([("got", result.type)]).serialize()
                raise WrongResult(got=str(result.type), schema=schema)
            result = result.cast(expected)
        return columns.from_arrow(self.returns, result)


class Pandas(Numpy):
    """pandas Series, a call a batch."""

    @staticmethod
    def check():
        """Imports pandas."""
        Numpy.check()
        need("pandas", "functions of this kind need pandas: pip install pandas")

    def argument(self, column):
        """A Series; of objects where there are nulls, so that NaN stays NaN and None is NULL."""
        import pandas

        if column.nulls or column.type.format.startswith("+w:"):
            values = rows.objects(columns.to_list(column))
        else:
            values = super().argument(column)
        if values.dtype.kind == "O":
            return pandas.Series(values, copy=False, dtype="object")
        return pandas.Series(values, copy=False)

    def result(self, result, count, noun="a Series"):
        """The column of a Series, or of an array."""
        import pandas

        if not isinstance(result, pandas.Series):
            return super().result(result, count, noun)
        if len(result) != count:
            raise WrongResult(length=len(result))
        if hasattr(result.dtype, "byteorder") and result.dtype.kind != "O":
            return super().result(result.to_numpy(), count, noun)
        floats = self.returns.format in ("e", "f", "g")
        return self.objects(rows.series_items(result, floats))


KINDS = {"scalar": Scalar, "numpy": Numpy, "arrow": Arrow, "pandas": Pandas}


def dtype_of(type_):
    """The dtype of a column of a type; None: objects."""
    code = type_.format
    if code.startswith("ts") and code.endswith(":"):
        return f"datetime64[{UNITS[code[2]]}]"
    if code.startswith("tD"):
        return f"timedelta64[{UNITS[code[2]]}]"
    return DTYPES.get(code)


def with_nulls(column, gone):
    """The column with nulls also where `gone` is true."""
    import numpy

    if gone.ndim > 1:
        gone = gone.all(axis=1)
    if not gone.any():
        return column
    valid = ~gone
    if column.buffers[0] is not None:
        bits = numpy.frombuffer(column.buffers[0], dtype="uint8")
        there = numpy.unpackbits(bits, count=column.length, bitorder="little").view("bool")
        valid = valid & there
    column.buffers[0] = numpy.packbits(valid, bitorder="little")
    column.nulls = int(column.length - valid.sum())
    return column


def same_but_for_encoding(a, b):
    """Whether only the encoding of text and bytes, or the names of nested fields, differ."""
    import pyarrow

    kinds = pyarrow.types
    views = (getattr(kinds, "is_string_view", None), getattr(kinds, "is_binary_view", None))

    def text(t):
        view = views[0] is not None and views[0](t)
        return kinds.is_string(t) or kinds.is_large_string(t) or view

    def data(t):
        view = views[1] is not None and views[1](t)
        return kinds.is_binary(t) or kinds.is_large_binary(t) or view

    def listed(t):
        return kinds.is_list(t) or kinds.is_large_list(t)

    if text(a) and text(b) or data(a) and data(b):
        return True
    if listed(a) and listed(b):
        return same_but_for_encoding(a.value_type, b.value_type)
    if kinds.is_fixed_size_list(a) and kinds.is_fixed_size_list(b):
        same = a.list_size == b.list_size
        return same and same_but_for_encoding(a.value_type, b.value_type)
    if kinds.is_struct(a) and kinds.is_struct(b) and a.num_fields == b.num_fields:
        return all(a.field(i).type == b.field(i).type for i in range(a.num_fields))
    return a == b


# ---- Exceptions ----------------------------------------------------------------------------------

HIDDEN = {__file__, columns.__file__, rows.__file__}


def complaint(error):
    """The answer that tells of an exception, and its body: the exception pickled, if it can be."""
    if isinstance(error, WrongResult):
        return {"answer": "bad result", **error.told}, error.schema
    kind, row, what, misfit = "raised", None, "", False
    if isinstance(error, FailedRow):
        row, misfit, error = error.row, error.misfit, error.error
    elif isinstance(error, Trouble):
        kind, what, error = "trouble", error.what, error.error
    told = {"row": row, "what": what, "misfit": misfit, **describe(error)}
    return {"answer": kind, **told}, pickled(error)


def describe_row(row, error, misfit=False):
    """A failed row, which the parent notes."""
    return {"row": row, "misfit": misfit, **describe(error)}


def one_line(error):
    """The exception's class and what it says: "ZeroDivisionError: division by zero"."""
    try:
        said = str(error)
    except Exception:
        said = ""
    name = type(error).__qualname__
    return f"{name}: {said}" if said else name


def describe(error):
    """An exception as text: what it says, and where in the function it happened."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename in HIDDEN:
        frames = frames.tb_next
    trace = rows.trace_of(error.with_traceback(frames))
    return {"message": one_line(error), "trace": trace, "ordinary": isinstance(error, Exception)}


def pickled(error):
    """The exception as bytes, which the parent can load; empty where it cannot be."""
    # Without its traceback, which does not pickle, and whose frames see the arguments.
    error = error.with_traceback(None)
    try:
        try:
            import cloudpickle
        except ImportError:
            data = pickle.dumps(error)
        else:
            data = cloudpickle.dumps(error)
        # Classes whose __init__ wants more than `args` pickle, and fail to load.
        pickle.loads(data)
    except Exception:
        return b""
    return data
