"""How all sides of a comparison are timed, and how their answers are compared.

The sides take turns, and another one goes first in each round, so a machine that gets slower in between does
so for all. A side is a function of the round's number, which it writes into its query, so that no cache of
results or plans answers. The first run of each is not counted. A cell has a share of time: it has as many
rounds as fit into that, and a side that is so slow that it would eat it all alone has fewer.
"""

import gc
import math
import time


def in_turns(sides, repeats, share=3.0, least=1):
    """Seconds of each side in each round: `{name: [seconds]}`."""
    warm = {}
    for name, side in sides.items():
        gc.collect()
        begin = time.perf_counter()
        result = side(0)
        warm[name] = time.perf_counter() - begin
        del result
    # Each side has an equal part of what is left of the time.
    each = share / max(1, len(sides))
    rounds = {name: max(least, min(repeats, int(each / took) + 1)) for name, took in warm.items()}
    times = {name: [] for name in sides}
    names = list(sides)
    for number in range(1, max(rounds.values(), default=0) + 1):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            if len(times[name]) >= rounds[name]:
                continue
            gc.collect()
            begin = time.perf_counter()
            result = sides[name](number)
            times[name].append(time.perf_counter() - begin)
            del result
    return times


def reset_peak():
    """Forgets this process's peak of memory; gives what is resident now."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return _status("VmRSS")


def peak():
    """The most memory that was resident since."""
    return _status("VmHWM")


def _status(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field)) * 1024


def same(left, right, relative=1e-9, absolute=1e-9):
    """Whether two Arrow tables have the same rows in any order, floats up to rounding."""
    import numpy as np
    import pyarrow as pa

    if left.num_rows != right.num_rows or left.num_columns != right.num_columns:
        return False

    def matrix(table):
        columns = []
        for column in table.columns:
            if pa.types.is_decimal(column.type):
                # Sums of integers are such in some engines.
                column = column.cast(pa.float64())
            values = column.to_numpy()
            if values.dtype == object:
                # Equal sets of strings have equal numbers in their order.
                values = np.unique(values.astype(str), return_inverse=True)[1]
            columns.append(np.asarray(values, dtype=np.float64))
        # All columns decide the order, so equal multisets of rows come out equal.
        order = np.lexsort(columns[::-1])
        return [column[order] for column in columns]

    return all(
        np.allclose(a, b, rtol=relative, atol=absolute, equal_nan=True)
        for a, b in zip(matrix(left), matrix(right))
    )


def cells(table):
    """Rows of texts and of floats, sorted by the texts, then by the floats."""
    import pyarrow as pa

    columns = []
    for column in table.columns:
        kind = column.type
        if pa.types.is_decimal(kind) or pa.types.is_floating(kind) or pa.types.is_integer(kind):
            columns.append([None if v is None else float(v) for v in column.to_pylist()])
        else:
            # A date may come as a timestamp.
            length = 10 if pa.types.is_temporal(kind) else None
            columns.append([None if v is None else str(v)[:length] for v in column.to_pylist()])

    def order(row):
        exact = [str(v) for v in row if not isinstance(v, float)]
        return exact, [v for v in row if isinstance(v, float)]

    return sorted(zip(*columns), key=order)


def close(a, b):
    """Engines give averages of decimals other types, of other scales."""
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-2)
    return a == b


def same_cells(left, right):
    """Whether two small answers agree, whatever types engines give their columns."""
    left, right = cells(left), cells(right)
    if len(left) != len(right):
        return False
    return all(len(a) == len(b) and all(map(close, a, b)) for a, b in zip(left, right))


class Differs(Exception):
    """Two sides disagree: no times are worth having."""
