"""Functions over arrays are compiled by NumPy's rules, which are not those of Python's numbers."""

import itertools
import math

import pytest
from udf_exact import FLOATS, INTS, exact, vector

np = pytest.importorskip("numpy")

# Its rules of promotion are those that are compiled.
pytestmark = pytest.mark.skipif(int(np.__version__.partition(".")[0]) < 2, reason="before NumPy 2")


# numpy kind


PAIRS = list(itertools.product(INTS, INTS))
FLOAT_PAIRS = list(itertools.product(FLOATS, FLOATS))


def test_numpy_ints_wrap():
    two = ["BIGINT", "BIGINT"]
    vector(lambda a, b: a + b, two, "BIGINT", PAIRS)
    vector(lambda a, b: a * b - a, two, "BIGINT", PAIRS)
    vector(lambda a: -(np.abs(a) ** 2), two[:1], "BIGINT", [(v,) for v in INTS])


def test_numpy_division_by_zero():
    vector(lambda a, b: a / b, ["DOUBLE", "DOUBLE"], "DOUBLE", FLOAT_PAIRS)
    vector(lambda a, b: a / b, ["BIGINT", "BIGINT"], "DOUBLE", PAIRS)
    vector(lambda a, b: a // b, ["BIGINT", "BIGINT"], "BIGINT", PAIRS)
    vector(lambda a, b: a % b, ["BIGINT", "BIGINT"], "BIGINT", PAIRS)


def test_numpy_log_of_negative_is_nan_and_math_log_raises():
    def scalar(a: float) -> float:
        return math.log(a)

    vector(lambda x: np.log(x), ["DOUBLE"], "DOUBLE", [(v,) for v in FLOATS], ulp=1)
    vector(lambda x: np.sqrt(x), ["DOUBLE"], "DOUBLE", [(v,) for v in FLOATS])
    exact(scalar)


def test_numpy_promotion():
    floats = [(v,) for v in FLOATS]
    vector(lambda x: (x.astype(np.float32) * 3).astype(np.float64), ["DOUBLE"], "DOUBLE", floats)
    vector(
        lambda a: (a.astype(np.int8) + 1).astype(np.int64),
        ["BIGINT"],
        "BIGINT",
        [(v,) for v in INTS],
    )
    vector(lambda a, x: a + x, ["BIGINT", "DOUBLE"], "DOUBLE", list(zip(INTS * 2, FLOATS)))
    vector(lambda x: (x > 0) + np.int64(1), ["DOUBLE"], "BIGINT", floats)


def test_numpy_selection():
    floats = [(v,) for v in FLOATS]
    vector(lambda x: np.where(x > 0, x, 0), ["DOUBLE"], "DOUBLE", floats)
    vector(lambda x: np.clip(x, -1, 2.5), ["DOUBLE"], "DOUBLE", floats)
    vector(lambda x: np.isnan(x) | (x < 0), ["DOUBLE"], "BOOLEAN", floats)
    vector(lambda x: np.maximum(x, -0.0), ["DOUBLE"], "DOUBLE", floats)
    vector(lambda x: np.select([x > 5, x > 0], [x, -x], 1.5), ["DOUBLE"], "DOUBLE", floats)


def test_numpy_reductions_are_not_compiled():
    rows = [(1.0,), (2.5,), (-4.0,)]
    vector(lambda x: x - np.mean(x), ["DOUBLE"], "DOUBLE", rows, compiled=False)
    vector(lambda x: np.cumsum(x), ["DOUBLE"], "DOUBLE", rows, compiled=False)
    vector(lambda x: x[::-1].copy(), ["DOUBLE"], "DOUBLE", rows, compiled=False)
