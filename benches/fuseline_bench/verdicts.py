"""Medians, spreads, and who has won: ratios of medians with a confidence interval.

The interval is a bootstrap of the ratio of two medians (scipy). A comparison is won or lost if the whole
interval lies on one side of 1, else it is even. Which sides are compared is written here, by suite: like with
like, so a function that is called row by row is compared with other engines' that are.
"""

import dataclasses
import math
import warnings

# Of suites with several models: ours, and the peers' that do the same kind of thing.
PAIRS = {
    "udf-models": {
        "in process, row": ["DuckDB native UDF", "Polars map_elements", "PySpark udf"],
        "in process, numpy": [
            "DuckDB Arrow UDF",
            "Polars map_batches",
            "DataFusion UDF",
            "PySpark pandas_udf",
        ],
        "worker, socket, Arrow stream": ["PySpark pandas_udf"],
        "worker, shared memory": ["PySpark pandas_udf"],
        "compiled into the loop": ["numba"],
        "the same as SQL": ["DuckDB, the same as SQL", "Spark, the same as SQL"],
    },
    "plus-one": {
        "fuseline, SQL": ["DuckDB, SQL", "Polars, expression", "Spark, SQL"],
        "fuseline, scalar function": ["DuckDB, native function", "PySpark, udf"],
        "fuseline, numpy function": ["DuckDB, Arrow function", "PySpark, pandas_udf"],
        "fuseline, pandas function": ["PySpark, pandas_udf"],
        "fuseline, compiled function": ["DuckDB, SQL", "Polars, expression", "Spark, SQL"],
    },
    "fusion": {"fused": ["by hand"]},
}
PLAIN = {
    "fuseline": ["duckdb", "polars", "datafusion", "pyarrow", "spark"],
}


def median(values):
    import numpy as np

    return float(np.median(values))


def spread(values):
    """Half the distance of the quartiles, as a share of the median."""
    import numpy as np

    low, high = np.quantile(values, [0.25, 0.75])
    return float((high - low) / 2 / np.median(values))


@dataclasses.dataclass
class Verdict:
    suite: str
    case: str
    ours: str
    peer: str
    ratio: float
    low: float
    high: float
    our_seconds: float
    peer_seconds: float

    @property
    def word(self):
        if self.high < 1:
            return "won"
        return "lost" if self.low > 1 else "even"


def interval(ours, theirs):
    """The ratio of two medians, and where it lies with 95 % confidence."""
    import numpy as np
    from scipy import stats

    ratio = median(ours) / median(theirs)
    if min(len(ours), len(theirs)) < 3:
        # Too few to say how sure it is: half as much again either way.
        return ratio, ratio / 1.5, ratio * 1.5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = stats.bootstrap(
            (ours, theirs),
            lambda a, b, axis=-1: np.median(a, axis=axis) / np.median(b, axis=axis),
            n_resamples=499,
            method="percentile",
            rng=np.random.default_rng(1),
        ).confidence_interval
    low, high = float(found.low), float(found.high)
    if math.isnan(low) or math.isnan(high):
        return ratio, ratio, ratio
    return ratio, low, high


def of(suite):
    """All verdicts of a suite's results, the worst first."""
    cases = {}
    for cell in suite["cells"]:
        if cell.get("seconds"):
            cases.setdefault(cell["case"], {})[cell["engine"]] = cell["seconds"]
    found = []
    for case, engines in cases.items():
        for ours, peers in PAIRS.get(suite["suite"], PLAIN).items():
            there = {p: engines[p] for p in peers if p in engines}
            if ours not in engines or not there:
                continue
            best = min(there, key=lambda p: median(there[p]))
            ratio, low, high = interval(engines[ours], there[best])
            found.append(
                Verdict(
                    suite["suite"],
                    case,
                    ours,
                    best,
                    ratio,
                    low,
                    high,
                    median(engines[ours]),
                    median(there[best]),
                )
            )
    return sorted(found, key=lambda v: -v.ratio)
