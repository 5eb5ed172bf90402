"""Functions over arrays (kind "numpy"): ufuncs, where, clip, select, isnan, astype, masks.

Kinds drawn from Numba's and NumExpr's ufunc tests, PySpark's pandas_udf documentation, pandas
performance guides (where and select instead of apply), and BigQuery's and DuckDB's vectorized
functions. The bodies are our own.
"""

import numpy as np

from udf_corpus import case

TABLE = np.array([10.0, 20.0, 30.0])
HALF = 0.5


def vector(name, function, params, returns, rows, **options):
    """Registers a function over arrays."""
    case(rows=rows, name=name, params=params, returns=returns, kind="numpy", **options)(function)


F1 = [0.5, 1.0, 4.0, -2.25]
F2 = [(0.5, 1.0), (4.0, -2.0), (1e10, 3.0)]
I1 = [1, 5, -7, 100]
I2 = [(1, 2), (7, -3), (100, 10)]

vector("same", lambda x: x, [float], float, F1)
vector("plus_one", lambda x: x + 1, [float], float, F1)
vector("affine", lambda x, y: 2 * x + 3.5 * y - 1, [float, float], float, F2)
vector("sin_cos", lambda x: np.sin(x) * np.cos(x), [float], float, F1)
vector(
    "deep_math",
    lambda x: np.sqrt(np.abs(np.sin(x) * np.cos(x) + np.log1p(np.abs(x)))),
    [float],
    float,
    F1,
)
vector("sqrt", lambda x: np.sqrt(x), [float], float, F1)
vector("log", lambda x: np.log(x), [float], float, F1)
vector("divide", lambda x, y: x / y, [float, float], float, F2)
vector("int_divide", lambda a, b: a / b, [int, int], float, I2)
vector("floor_divide", lambda a, b: a // b, [int, int], int, I2)
vector("remainder", lambda a, b: a % b, [float, float], float, F2)
vector("wrapping", lambda a, b: a * b + a, [int, int], int, I2)
vector("int_bits", lambda a, b: (a & b) ^ (a | ~b), [int, int], int, I2)
vector("power", lambda x: x**2, [float], float, F1)
vector("int_square", lambda a: a**2, [int], int, I1)
vector("relu", lambda x: np.maximum(x, 0), [float], float, F1)
vector("where", lambda x: np.where(x > 0, x, -x), [float], float, F1)
vector("where_none", lambda x, y: np.where(y != 0, x / y, 0.0), [float, float], float, F2)
vector("clip", lambda x: np.clip(x, -1.0, 1.0), [float], float, F1)
vector("clip_ints", lambda a: np.clip(a, 0, 10), [int], int, I1)
vector("isnan", lambda x: np.isnan(x), [float], bool, F1)
vector("fill_nan", lambda x: np.where(np.isnan(x), 0.0, x), [float], float, F1)
vector("finite", lambda x: np.isfinite(x) & (x >= 0), [float], bool, F1)
vector("to_int", lambda x: np.floor(np.clip(x, -1e6, 1e6)).astype(np.int64), [float], int, F1[:3])
vector("to_float", lambda a: a.astype(np.float64) / 2, [int], float, I1)
vector("narrow", lambda a: a.astype(np.int8).astype(np.int64), [int], int, I1)
vector("single", lambda x: x.astype(np.float32).astype(np.float64), [float], float, F1)
vector("sigmoid", lambda x: 1 / (1 + np.exp(-x)), [float], float, F1)
vector("tanh_gate", lambda x, y: np.tanh(x) * HALF + y, [float, float], float, F2)
vector("rint", lambda x: np.rint(x), [float], float, F1)
vector("round_two", lambda x: np.round(x, 2), [float], float, F1)
vector("sign", lambda x: np.sign(x), [float], float, F1)
vector("hypot", lambda x, y: np.hypot(x, y), [float, float], float, F2)
vector("arctan2", lambda x, y: np.arctan2(y, x), [float, float], float, F2)
vector("min_of", lambda a, b: np.minimum(a, b), [int, int], int, I2)
vector("logic", lambda a, b: np.logical_and(a > 0, b < 5), [int, int], bool, I2)
vector("negated", lambda a: -a, [int], int, I1)
vector("absolute", lambda a: np.abs(a), [int], int, I1)
vector("is_even", lambda a: a % 2 == 0, [int], bool, I1)
vector("radians", lambda x: np.deg2rad(x), [float], float, F1)
vector("minus_mean", lambda x: x - np.mean(x), [float], float, F1, stays="reduction")
vector("sorted", lambda x: np.sort(x), [float], float, F1, stays="order")
vector("running", lambda x: np.cumsum(x), [float], float, F1, stays="running")
vector("lookup", lambda a: TABLE[np.clip(a, 0, 2)], [int], float, I1)


@case(kind="numpy", rows=F1)
def grade(x: float) -> int:
    return np.select([x >= 4, x >= 1, x >= 0], [3, 2, 1], default=0)


@case(kind="numpy", rows=F2)
def haversine(lat: float, lon: float) -> float:
    p = np.radians(lat)
    q = np.radians(lon)
    a = np.sin(p / 2) ** 2 + np.cos(p) * np.sin(q / 2) ** 2
    return 2 * 6371.0 * np.arcsin(np.sqrt(np.clip(a, 0, 1)))


@case(kind="numpy", rows=F2)
def bmi_class(weight: float, height: float) -> int:
    bmi = weight / height**2
    out = np.zeros(len(bmi), dtype=np.int64)
    out[bmi >= 18.5] = 1
    out[bmi >= 25] = 2
    return out


@case(kind="numpy", rows=F1)
def tax(income: float) -> float:
    low = np.minimum(income, 10000) * 0.1
    high = np.where(income > 10000, (income - 10000) * 0.3, 0)
    return low + high


@case(kind="numpy", rows=I2)
def safe_ratio(a: int, b: int) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        r = a / b
    return np.where(b == 0, np.nan, r)
