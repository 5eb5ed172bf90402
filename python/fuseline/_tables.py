"""pandas frames and dicts of arrays, taken apart into columns.

A column is a NumPy array (read where it lies), an object with Arrow data, or a `Converted`, which
makes Arrow arrays of some rows when they are scanned. Nothing is copied here. The engine calls
`columns`; NumPy, pandas and pyarrow are imported only for objects that need them.
"""

import sys


def columns(data):
    """The number of rows, and the columns as pairs of name and column."""
    if isinstance(data, dict):
        return _of_dict(data)
    pandas = sys.modules["pandas"]
    if isinstance(data, pandas.Series):
        data = data.to_frame()
    named = []
    for i, name in enumerate(data.columns):
        named.append((str(name), _of_series(str(name), data.iloc[:, i], pandas)))
    _check_names(name for name, _ in named)
    return len(data), named


def _check_names(names):
    seen = set()
    for name in names:
        if name in seen:
            raise ValueError(f"column '{name}' appears twice; rename one of them")
        seen.add(name)


def _of_dict(data):
    rows = None
    named = []
    for name, values in data.items():
        if not isinstance(name, str):
            raise TypeError(f"the name of a column is a str, not {name!r}")
        column = _of_values(name, values)
        length = len(values)
        if rows is None:
            rows, first = length, name
        elif rows != length:
            raise ValueError(f"columns have different lengths: '{first}' {rows}, '{name}' {length}")
        named.append((name, column))
    return rows or 0, named


def _of_values(name, values):
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(values, (pandas.Series, pandas.Index)):
        return _of_series(name, values, pandas)
    if hasattr(values, "__array_interface__"):
        return _of_array(name, values)
    if hasattr(values, "__arrow_c_stream__") or hasattr(values, "__arrow_c_array__"):
        return _one_column(values)
    if hasattr(values, "__array__"):
        import numpy

        return _of_array(name, numpy.asarray(values))
    kind = type(values).__qualname__
    raise TypeError(
        f"column '{name}' is of type {kind}, which is no array: numpy.asarray makes one"
    )


def _one_column(values):
    """Arrow data of one column, as a table of one column."""
    polars = sys.modules.get("polars")
    if polars is not None and isinstance(values, polars.Series):
        return values.to_frame()
    import pyarrow

    if not isinstance(values, (pyarrow.Array, pyarrow.ChunkedArray)):
        if hasattr(values, "__arrow_c_stream__"):
            values = pyarrow.chunked_array(values)
        else:
            values = pyarrow.array(values)
    return pyarrow.table({"": values})


def _of_array(name, values):
    """A NumPy array: itself, or converted if Arrow has no such type."""
    masked = "numpy.ma" in sys.modules and isinstance(values, sys.modules["numpy.ma"].MaskedArray)
    if not masked and values.dtype.isnative and values.dtype.kind in "biufmM":
        units = {"m": ("s", "ms", "us", "ns"), "M": ("D", "s", "ms", "us", "ns")}
        wanted = units.get(values.dtype.kind)
        if wanted is None or _unit(values.dtype) in wanted:
            return values
        finer = "D" if _unit(values.dtype) in ("Y", "M", "W") else "s"
        dtype = f"{values.dtype.kind}8[{finer}]"
        return Converted(name, values, lambda part: _arrow(part.astype(dtype)))
    if values.ndim != 1:
        raise TypeError(f"column '{name}' has {values.ndim} dimensions and type {values.dtype}")
    if masked:
        import numpy

        return Converted(
            name, values, lambda part: _arrow(part.data, mask=numpy.ma.getmaskarray(part))
        )
    if values.dtype.kind == "O":
        return _of_objects(name, values)
    if values.dtype.kind in "SU":
        return Converted(name, values, _arrow)
    if values.dtype.kind in "biufmM":
        native = values.dtype.newbyteorder("=")
        return Converted(name, values, lambda part: _arrow(part.astype(native)))
    raise TypeError(f"column '{name}' has the NumPy type {values.dtype}, which no column can have")


def _unit(dtype):
    import numpy

    return numpy.datetime_data(dtype)[0] if numpy.datetime_data(dtype)[1] == 1 else None


def _of_series(name, series, pandas):
    import numpy

    dtype = series.dtype
    if isinstance(dtype, numpy.dtype):
        return _of_array(name, series.to_numpy())
    if isinstance(dtype, pandas.DatetimeTZDtype):
        # The moments are counted in UTC; only the zone is added to their memory.
        values = series.array.asi8.view(f"M8[{dtype.unit}]")
        return Zoned(values, _zone_name(dtype.tz))
    arrow = getattr(pandas, "ArrowDtype", None)
    in_arrow = arrow is not None and isinstance(dtype, arrow)
    if not in_arrow and isinstance(dtype, pandas.StringDtype):
        in_arrow = str(dtype.storage).startswith("pyarrow")
    if in_arrow:
        import pyarrow

        return pyarrow.table({"": series.array.__arrow_array__()})
    return Converted(name, series.array, _arrow)


def _zone_name(zone):
    """A time zone as Arrow names it."""
    for attribute in ("key", "zone"):
        name = getattr(zone, attribute, None)
        if isinstance(name, str):
            return name
    offset = zone.utcoffset(None)
    if offset is None:
        raise TypeError(f"the time zone {zone!r} has no name")
    minutes = int(offset.total_seconds()) // 60
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def _of_objects(name, values):
    """A column of Python objects: a type for all of them, looked for without converting them.

    NaN stays NaN among numbers; among other objects it means that there is no value.
    """
    import pyarrow

    try:
        kind = pyarrow.infer_type(values, from_pandas=True)
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        raise TypeError(f"column '{name}' holds objects that are no column: {error}") from error
    missing = not pyarrow.types.is_floating(kind)

    def convert(part):
        return pyarrow.array(part, kind, from_pandas=missing)

    return Converted(name, values, convert, kind)


def _arrow(values, **options):
    import pyarrow

    array = pyarrow.array(values, **options)
    return array.combine_chunks() if isinstance(array, pyarrow.ChunkedArray) else array


class Zoned:
    """Moments with a time zone: NumPy's memory and the zone's name."""

    def __init__(self, values, zone):
        self.values = values
        self.zone = zone


class Converted:
    """A column that is converted chunk by chunk when it is scanned."""

    def __init__(self, name, values, make, kind=None):
        self.name = name
        self.values = values
        self.make = make
        if kind is None:
            try:
                kind = make(values[:0]).type
            except Exception as error:
                dtype = values.dtype
                raise TypeError(f"column '{name}' has the type {dtype}: {error}") from error
        self.type = kind

    def __len__(self):
        """The rows of the column."""
        return len(self.values)

    def convert(self, start, stop):
        """An Arrow array of the rows from `start` up to, and without, `stop`."""
        array = self.make(self.values[start:stop])
        return array.combine_chunks() if hasattr(array, "combine_chunks") else array
