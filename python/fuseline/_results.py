"""Columns of a result as NumPy arrays, pandas frames and torch tensors.

The engine gives each column as a pair of memory (an object with `__array_interface__`) and validity
(such an object of bools, or None where every value is valid), or as None if it has no form of
numbers; those columns come together as an Arrow stream whose columns are named by their positions.
"""

import warnings


def _array(column):
    """The column as an array over the engine's memory."""
    import numpy

    memory, validity = column
    array = numpy.asarray(memory)
    if validity is None:
        return array
    # Bools have no value for a missing one.
    objects = array.astype(object)
    objects[~numpy.asarray(validity).reshape(array.shape)] = None
    return objects


def to_numpy(names, columns, rest):
    """A dict of arrays by name."""
    table = None
    if rest is not None:
        import pyarrow

        table = pyarrow.table(rest)
    arrays = {}
    for i, (name, column) in enumerate(zip(names, columns)):
        if name in arrays:
            raise ValueError(f"column '{name}' appears twice; rename one of them with AS")
        if column is not None:
            arrays[name] = _array(column)
        else:
            arrays[name] = _objects(table.column(str(i)))
    return arrays


def _objects(column):
    """An Arrow column as an array of objects, or of what pyarrow makes of it."""
    import numpy
    import pyarrow

    kind = column.type
    if pyarrow.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    if pyarrow.types.is_nested(kind):
        values = numpy.empty(len(column), dtype=object)
        values[:] = column.to_pylist()
        return values
    return column.to_numpy()


def to_torch(names, columns, rest):
    """A dict of tensors by name."""
    import torch

    for name, column in zip(names, columns):
        array = None if column is None else _array(column)
        if array is None or array.dtype.kind not in "biuf":
            kind = "text or another type without numbers" if array is None else array.dtype
            raise TypeError(f"column '{name}' is {kind}; a tensor has numbers without NULLs")
    tensors = {}
    for name, array in to_numpy(names, columns, rest).items():
        with warnings.catch_warnings():
            # torch knows no read-only memory; the documentation of to_torch says what is shared.
            warnings.filterwarnings("ignore", message=".*not writ.*")
            tensors[name] = torch.from_numpy(array)
    return tensors


def to_pandas(names, rows, columns, rest):
    """A data frame over the arrays; pandas copies none of them."""
    import pandas

    index = pandas.RangeIndex(rows)
    others = None
    if rest is not None:
        try:
            import pyarrow
        except ImportError as error:
            i = columns.index(None)
            raise ImportError(
                f"to_pandas needs pyarrow for column '{names[i]}': pip install pyarrow"
            ) from error
        others = pyarrow.table(rest).to_pandas()
    data = {}
    for i, column in enumerate(columns):
        data[i] = _array(column) if column is not None else others[str(i)]
    frame = pandas.DataFrame(data, index=index, copy=False)
    frame.columns = names
    return frame
